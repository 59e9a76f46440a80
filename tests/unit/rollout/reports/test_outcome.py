"""One exit code for each outcome, the worst first."""

from __future__ import annotations

from typing import Any

import pytest

from unitq.errors import Exit
from unitq.model.names import InstanceName
from unitq.model.settings import Duration, RolloutSettings, Share
from unitq.rollout.engine.instance import InstanceState, Phase
from unitq.rollout.engine.rollout import Rollout
from unitq.rollout.plan import Change, PlannedChange
from unitq.rollout.reports.outcome import Outcome
from unitq.systemd.exit_status import End, Ending

SETTINGS = RolloutSettings(Share(1), Duration("1s", 1.0), Duration("1s", 1.0))


def outcome(*slots: tuple[Phase, End | None], **values: Any) -> Outcome:
    found = []
    for number, (phase, end) in enumerate(slots, 1):
        name = InstanceName("sms", number)
        ending = Ending(end) if end else None
        planned = PlannedChange(name, Change.RESTART, "")
        found.append(InstanceState(planned, phase, ending=ending))
    told: dict[str, Any] = {"seen": {}, "seconds": 1.0, "least_serving": {}}
    return Outcome(Rollout(found, SETTINGS), **(told | values))


GOOD = (Phase.HEALTHY, End.DRAINED)
KILLED = (Phase.HEALTHY, End.KILLED)
FAILED = (Phase.FAILED, None)
WAITS = (Phase.WAITING, None)


@pytest.mark.parametrize(
    ("found", "fail_on_kill", "expected"),
    [
        (outcome(GOOD), True, Exit.OK),
        (outcome(KILLED), False, Exit.OK),
        (outcome(KILLED), True, Exit.KILLED),
        (outcome(FAILED, WAITS), False, Exit.DEGRADED),
        (outcome(GOOD, broken="x"), False, Exit.DEGRADED),
        (outcome(FAILED, WAITS, gave_up=True), False, Exit.DEGRADED),
        (outcome(FAILED, KILLED), True, Exit.DEGRADED),
        (outcome(FAILED, WAITS, interrupted=True, paused=True), False, Exit.DEGRADED),
        (outcome(WAITS, gave_up=True), False, Exit.GAVE_UP_WAITING),
        (outcome(WAITS, gave_up=True, interrupted=True), False, Exit.GAVE_UP_WAITING),
        (outcome(WAITS, interrupted=True), False, Exit.INTERRUPTED),
        (outcome(GOOD, interrupted=True), False, Exit.OK),
        (outcome(WAITS, interrupted=True, paused=True), False, Exit.INTERRUPTED),
        (outcome(WAITS, paused=True), False, Exit.PAUSED),
        (outcome(GOOD, paused=True), False, Exit.OK),
        (outcome(WAITS, KILLED, paused=True), True, Exit.PAUSED),
        (outcome(FAILED, detached=True), True, Exit.DETACHED),
    ],
)
def test_the_exit_code(found: Outcome, fail_on_kill: bool, expected: Exit) -> None:
    assert found.exit(fail_on_kill=fail_on_kill) is expected


def test_who_did_not_drain() -> None:
    found = outcome(GOOD, KILLED, (Phase.HEALTHY, End.DIED), (Phase.HEALTHY, End.UNKNOWN), WAITS)
    assert [slot.instance.number for slot in found.killed] == [2]
    assert [slot.instance.number for slot in found.died] == [3, 4]
