"""What a rollout reports: the values, the block of text that is made of them, what to type next."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.build import app, instance, revision
from tests.harness.world import pace
from unitq.cli.presenter import show
from unitq.errors import Exit
from unitq.instances.state import Observed, UnsafeStop, Wrapper
from unitq.queues.model import Job
from unitq.rollout.engine.instance import InstanceState, Phase
from unitq.rollout.engine.rollout import Rollout
from unitq.rollout.plan import Change, DrainLimit, PlannedChange
from unitq.rollout.reports import report_text
from unitq.rollout.reports.observed_report import Run, report_of
from unitq.rollout.reports.outcome import Outcome, RollbackOutcome
from unitq.rollout.reports.report import Command, Report
from unitq.systemd.exit_status import End, Ending

if TYPE_CHECKING:
    from unitq.revisions.model import Revision

FIRST = revision(app(), release="1")
SECOND = revision(app(), FIRST, release="2")
THIRD = revision(app(), SECOND, release="1")._replace(restores=1)

HEALTHY = {"phase": Phase.HEALTHY, "before": "a", "pid_before": 7, "touched": 10.0, "gone": 11.5}
DRAINED = HEALTHY | {"ending": Ending(End.DRAINED)}
FAILED = DRAINED | {
    "phase": Phase.FAILED,
    "reason": "it ended soon after its start: exited with status 3",
}
WAITING = {"phase": Phase.WAITING}
SLOW = "slowest drain: sms@1 1.5 s · 58 s"
LOST = "its job may be lost"
HANDLER = "(it has no handler for it, or was not up yet: is stop_signal the right one?)"


def outcome(target: Revision, *slots: dict[str, Any], **more: Any) -> Outcome:
    """What became of sms@1, sms@2, …; those that are healthy serve on `target`."""
    steps = tuple(
        PlannedChange(instance(f"sms@{number}"), each.get("do", Change.RESTART), "")
        for number, each in enumerate(slots, 1)
    )
    made = {
        step.instance: InstanceState(
            step, **{key: value for key, value in each.items() if key != "do"}
        )
        for step, each in zip(steps, slots, strict=True)
    }
    up = Observed("active", "running", revision=target.id)
    old = replace(up, revision="0-000000")
    seen = {
        name: {Phase.HEALTHY: up, Phase.FAILED: Observed()}.get(slot.phase, old)
        for name, slot in made.items()
    }
    values: dict[str, Any] = {"seconds": 58.0, "least_serving": {"sms": 2}} | more
    return Outcome(rollout=Rollout(made.values(), pace()), seen=seen, **values)


def run(verb: str = "deploy", rollout: int | None = 17, **more: Any) -> Run:
    values: dict[str, Any] = {
        "typed": f"unitq {verb}",
        "by": "ann",
        "host": "web3",
        "ended": 1_700_000_058.0,
    }
    return Run(verb, 1_700_000_000.0, rollout=rollout, **(values | more))


def document(*arguments: Any, **more: Any) -> dict[str, Any]:
    """The report as JSON; nothing of it is lost on the way to the disk and back."""
    told = report_of(*arguments, **more)
    found: dict[str, Any] = told.to_json()
    assert read(found) == told
    assert json.dumps(read(found).to_json()) == json.dumps(found)
    return found


def read(told: dict[str, Any]) -> Report:
    """What is left of the report once it was on disk."""
    return Report.from_json(json.loads(json.dumps(told)))


def text(told: dict[str, Any]) -> list[str]:
    """The block, of what is left of the report once it was on disk."""
    return [line.text for line in report_text.block(read(told))]


def before(told: dict[str, Any]) -> tuple[Command, ...]:
    """What the next report of the rollout says of the commands before."""
    return read(told).for_the_next


def test_success_is_one_line_and_the_block_says_where_when_and_who(
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow = DRAINED | {"gone": 41.0}
    done = outcome(SECOND, DRAINED, slow, DRAINED)
    told = document(run(), SECOND, FIRST.id, done, (), Exit.OK)
    line = (
        "ok: 3 of 3 on 2 · least serving: 2 of 3 · 0 killed · 0 processes on old code · "
        "slowest drain: sms@2 31 s · 58 s"
    )
    show(read(told))
    assert capsys.readouterr() == (f"{line}\n", "")
    head, by, *rest = text(told)
    assert head == (
        f"rollout 17 of shop on web3: deploy of revision 2 ({SECOND.hash}, release 2), replaces 1"
    )
    # The zone is that of whoever reads it.
    assert re.fullmatch(
        r"  by ann, 2023-11-1\d \d\d:\d\d:20 to (\S+ )?\d\d:\d\d:18 \S+: unitq deploy", by
    )
    assert rest == [line]
    assert told["slowest_drain"] == {"instance": "sms@2", "seconds": 31.0}
    assert (told["on_revision"], told["serving"], told["next"]) == (3, 3, None)


@pytest.mark.parametrize(
    ("detail", "advice"),
    [
        ("died of SIGQUIT", f" {HANDLER}"),
        ("died of SIGHUP", f" {HANDLER}"),
        ("died of SIGSEGV", ", so it crashed: its job may be lost"),
        ("died of SIGABRT", ", so it crashed: its job may be lost"),
        ("exited with status 1", ""),
    ],
)
def test_why_it_did_not_drain_is_no_guess(detail: str, advice: str) -> None:
    died = HEALTHY | {"ending": Ending(End.DIED, detail)}
    told = document(run(), SECOND, FIRST.id, outcome(SECOND, died), (), Exit.OK)
    assert f"warning: sms@1 did not drain: {detail}{advice}" in text(told)


@pytest.mark.parametrize("code", [Exit.OK, Exit.STALE])
@pytest.mark.parametrize(
    ("ending", "lost", "count"),
    [
        (Ending(End.DRAINED), False, ""),
        (Ending(End.DRAINED, "it left PID 8 (curl) behind, killed by systemd"), False, ""),
        (None, False, ""),
        (Ending(End.DIED, "died of SIGQUIT"), True, " · 0 killed · 1 did not drain"),
        (Ending(End.DIED, "exited with status 1"), True, " · 0 killed · 1 did not drain"),
        (Ending(End.UNKNOWN, "honcho ended it"), True, " · 0 killed · 1 did not drain"),
        (Ending(End.KILLED, "SIGKILL at stop_timeout"), True, " · 1 killed"),
    ],
)
def test_no_bare_ok_where_a_job_may_be_lost(
    ending: Ending | None, lost: bool, count: str, code: Exit
) -> None:
    done = outcome(SECOND, HEALTHY | {"ending": ending})
    told = document(run(), SECOND, FIRST.id, done, (), code)
    (line,) = told["summary"]
    word = "ok" if code is Exit.OK else "old code left"
    assert line.startswith(f"{word}, but jobs may be lost: " if lost else f"{word}: ")
    assert count in line
    assert (told["result"], told["exit_code"]) == (word, code)
    named = told["killed"] + told["died"]
    assert named == (["sms@1"] if lost else [])


def test_a_failure_is_the_whole_block_what_went_wrong_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = outcome(
        SECOND, FAILED, WAITING, WAITING, logs={instance("sms@1"): ("booting", "no database")}
    )
    back = RollbackOutcome(
        THIRD, outcome(THIRD, {"phase": Phase.HEALTHY, "do": Change.START}, seconds=10.0)
    )
    told = document(run(), SECOND, FIRST.id, failed, (), Exit.ROLLED_BACK, back)
    show(read(told))
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "sms@1 failed: it ended soon after its start: exited with status 3",
        "  | booting",
        "  | no database",
        "  next: once the cause is mended, `unitq -c /srv/shop/unitq.toml deploy`",
    ]
    blank, *rest = printed.out.splitlines()
    assert not blank
    assert rest[0].startswith("rollout 17 of shop on web3: deploy of revision 2 (")
    # Nobody has looked at the old code before the way back.
    assert rest[2:] == [
        "failed: 0 of 3 on 2 · 2 serving · least serving: 2 of 3 · 0 killed · " + SLOW,
        "rolled back: 1 of 1 on 3 · 0 killed · 0 processes on old code · 10 s",
    ]
    assert told["summary"] == rest[2:]
    assert sorted(text(told)) == sorted([*rest, *printed.err.splitlines()])


def test_what_was_killed_or_touched_by_somebody_is_named_and_why() -> None:
    killed = HEALTHY | {"gone": 15.0, "ending": Ending(End.KILLED, "SIGKILL at stop_timeout")}
    died = HEALTHY | {"ending": Ending(End.DIED, "died of SIGQUIT")}
    done = outcome(
        SECOND, killed, died, DRAINED | {"external_changes": ("restarted by somebody else",)}
    )
    told = document(run(), SECOND, FIRST.id, done, (), Exit.OK)
    assert text(told)[2:-1] == [
        f"warning: sms@1 was killed after 5.0 s (SIGKILL at stop_timeout, PID 7): {LOST}",
        "warning: sms@3 was restarted by somebody else meanwhile",
        f"warning: sms@2 did not drain: died of SIGQUIT {HANDLER}",
    ]
    assert "1 killed" in text(told)[-1]


def test_where_a_stop_does_not_reach_the_worker_is_said_once_for_those_alike() -> None:
    done = outcome(SECOND, DRAINED, DRAINED, DRAINED, DRAINED)
    bash = UnsafeStop(Wrapper("bash"), "php", "SIGQUIT")
    honcho = UnsafeStop(Wrapper("honcho", kills=True), "php", "SIGTERM")
    found = {"sms@1": bash, "sms@2": bash, "sms@3": honcho}
    seen = {
        name: replace(sight, pid=name.number, unsafe_stop=found.get(str(name)))
        for name, sight in done.seen.items()
    }
    told = document(run(), SECOND, FIRST.id, replace(done, seen=seen), (), Exit.OK)
    assert [row["unreached"] for row in told["instances"]] == [
        "its main process is bash (PID 1); php below it does not get SIGQUIT",
        "its main process is bash (PID 2); php below it does not get SIGQUIT",
        "its main process is honcho (PID 3), which soon ends php below it once it gets SIGTERM",
        None,
    ]
    warned = [line for line in text(told) if line.startswith("warning")]
    assert warned == [
        "warning: sms@1, sms@2: its main process is bash; php below it does not get SIGQUIT",
        f"warning: sms@3: {told['instances'][2]['unreached']}",
    ]
    assert sum("end with `exec`" in line for line in text(told)) == 2


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (3.0, 20.0, "up to 20 s (the new stop_timeout; 3.0 s before)"),
        (20.0, 3.0, "up to 20 s (the old stop_timeout; 3.0 s once the new processes run)"),
        (3.0, math.inf, "as long as it takes (the new stop_timeout; 3.0 s before)"),
        (
            math.inf,
            600.0,
            "as long as it takes (the old stop_timeout; 10 min once the new processes run)",
        ),
    ],
)
def test_which_stop_timeout_held_is_said(before: float, after: float, line: str) -> None:
    done = replace(outcome(SECOND, DRAINED), limits=(DrainLimit("sms", before, after),))
    told = document(run(), SECOND, FIRST.id, done, (), Exit.OK)
    assert f"sms: drains for {line}" in text(told)


def test_of_one_that_was_killed_the_jobs_that_it_may_have_had_are_named() -> None:
    killed = HEALTHY | {"gone": 15.0, "ending": Ending(End.KILLED, "SIGKILL at stop_timeout")}
    name = instance("sms@1")
    jobs = tuple(Job("sms", "Send", f"id{n}", None, f"hash{n}", None) for n in range(7))

    def told(*possible: Job) -> list[str]:
        done = outcome(
            SECOND, killed, possible={name: possible}, logs={name: ("Task Send[id0] received",)}
        )
        return text(document(run(), SECOND, FIRST.id, done, (), Exit.OK))[2:-1]

    head, log, *rest = told(*jobs[:1])
    assert head.endswith(f"{LOST}; its framework does not record which one")
    assert log == "  | Task Send[id0] received"
    assert rest == ["  perhaps lost with sms@1: Send id0 of queue sms, payload hash0"]
    _, _, *rest = told(*jobs)
    assert len(rest) == 6
    assert rest[-1] == "  and 2 more: --json has all of them"
    assert told()[0].endswith("its queues had no in-flight job")


def test_without_a_drain_there_is_no_slowest() -> None:
    done = outcome(FIRST, {"phase": Phase.HEALTHY, "do": Change.START})
    told = document(run("start", None), FIRST, FIRST.id, done, (), Exit.OK)
    assert told["slowest_drain"] is None
    head, _, line = text(told)
    assert head == f"start of shop on web3: revision 1 ({FIRST.hash}, release 1)"
    assert line == "ok: 1 of 1 on 1 · 0 killed · 0 processes on old code · 58 s"


def test_unchanged_counts_what_is_as_it_should_be() -> None:
    told = document(run(rollout=None), SECOND, SECOND.id, None, (), Exit.OK)
    assert told["summary"] == ["unchanged: 3 of 3 on 2"]
    assert (told["on_revision"], told["serving"], told["result"]) == (3, 3, "unchanged")


def test_what_goes_on_keeps_what_came_before() -> None:
    killed = HEALTHY | {"gone": 15.0, "ending": Ending(End.KILLED, "SIGKILL at stop_timeout")}
    first = document(
        run(), SECOND, FIRST.id, outcome(SECOND, killed, DRAINED, WAITING), (), Exit.PAUSED
    )
    again = run(typed="unitq rollout resume", by="bob", earlier=before(first))
    kept = {"phase": Phase.KEPT, "do": Change.KEEP}
    second = document(
        again, SECOND, FIRST.id, outcome(SECOND, kept, kept, WAITING), (), Exit.INTERRUPTED
    )
    last = run(typed="unitq rollout resume", earlier=before(second))
    done = outcome(SECOND, kept, kept, DRAINED)
    lines = text(document(last, SECOND, FIRST.id, done, (), Exit.OK))
    assert [line.rpartition(": ")[2] for line in lines if line.startswith("  by ")] == [
        "unitq deploy", "unitq rollout resume", "unitq rollout resume",
    ]  # fmt: skip
    assert [line.partition(":")[0] for line in lines if " on 2 ·" in line] == [
        "paused", "interrupted", "ok",
    ]  # fmt: skip
    assert sum("sms@1 was killed after 5.0 s" in line for line in lines) == 1
    # What one could have typed then says nothing now.
    assert not [line for line in lines if "next:" in line]


def test_of_earlier_commands_only_instances_with_something_to_say_are_kept() -> None:
    back = RollbackOutcome(THIRD, outcome(THIRD, DRAINED, FAILED))
    told = document(
        run(), SECOND, FIRST.id, outcome(SECOND, FAILED, DRAINED), (), Exit.DEGRADED, back
    )
    (kept,) = before(told)
    assert [row.instance for row in kept.instances] == ["sms@1"]
    assert kept.rollback
    assert [row.instance for row in kept.rollback.instances] == ["sms@2"]
    assert len(told["instances"]) == 2


def test_of_commands_without_number_the_newest_are_kept() -> None:
    told = document(run(), SECOND, FIRST.id, outcome(SECOND, FAILED, DRAINED), (), Exit.DEGRADED)
    for number in range(50):
        told |= replace(read(told), seconds=float(number), earlier=before(told)).to_json()
    assert [each["seconds"] for each in told["earlier"]] == [*map(float, range(29, 49))]


TOML = "/srv/shop/unitq.toml"
BACK = RollbackOutcome(THIRD, outcome(THIRD, FAILED))
CUT = RollbackOutcome(THIRD, outcome(THIRD, WAITING, interrupted=True))

EACH = "1 of 1 instances were attempted; 1 failed"
MENDED = "once the cause is mended"
DEPLOY = f"`unitq -c {TOML} deploy`"
ON, AWAY = "`unitq -a shop rollout resume` continues", "`unitq -a shop rollback` goes back"
SAME = "the same command continues from here"
OTHER = "`unitq -a shop history` lists what else `unitq -a shop rollback N` may go to"
AFTER = "systemd finishes what was ordered: `unitq -a shop status` shows it; then"


@pytest.mark.parametrize(
    ("made", "code", "back", "expected"),
    [
        (run(), Exit.DEGRADED, None, f"1 not touched; {MENDED}, {DEPLOY}; or {ON}, {AWAY}"),
        (run("rollback"), Exit.DEGRADED, None, f"1 not touched; {MENDED}, {ON}; {OTHER}"),
        # A deploy is refused then.
        (run(cut_off=True), Exit.DEGRADED, None, f"1 not touched; {MENDED}, {ON}, {AWAY}"),
        (run("restart", None), Exit.DEGRADED, None, f"1 not touched; {MENDED}, {SAME}"),
        (run(), Exit.DEGRADED, BACK,
         f"{EACH}; {MENDED}, {ON} the rollback; or {DEPLOY}"),
        (run(), Exit.DEGRADED, CUT, f"1 not touched; the rollback is not complete: {ON} it"),
        (run(), Exit.ROLLED_BACK, BACK, f"{MENDED}, {DEPLOY}"),
        (run(), Exit.INTERRUPTED, None, f"1 not touched; {ON}, {AWAY}"),
        # Not `rollback`: that would go further back.
        (run("rollback"), Exit.INTERRUPTED, None, f"1 not touched; {ON}"),
        (run("restart", None), Exit.INTERRUPTED, None, f"1 not touched; {SAME}"),
        (run(), Exit.PAUSED, None, f"1 not touched; {ON}, {AWAY}"),
        (run(), Exit.GAVE_UP_WAITING, None, f"1 not touched; {AFTER} {ON}, {AWAY}"),
        (run("restart", None), Exit.DETACHED, None, f"1 not touched; {AFTER} {SAME}"),
        (run(), Exit.KILLED, None, None),
    ],
)  # fmt: skip
def test_what_to_type_next(
    made: Run, code: Exit, back: RollbackOutcome | None, expected: str | None
) -> None:
    done = outcome(SECOND, FAILED, WAITING)
    told = document(made, SECOND, FIRST.id, done, (), code, back)
    assert told["next"] == expected
    assert [line for line in text(told) if "next:" in line] == (
        [f"  next: {expected}"] if expected else []
    )


def test_one_that_could_not_be_told_anything_is_as_it_was() -> None:
    # Its pin could not be moved: no order was given.
    refused = {"phase": Phase.FAILED, "reason": "its pin cannot be moved: Read-only file system"}
    done = outcome(SECOND, FAILED, refused, {"phase": Phase.HEALTHY, "do": Change.KEEP})
    told = document(run(), SECOND, FIRST.id, done, (), Exit.DEGRADED)
    assert told["next"].startswith("1 not touched; ")
    done = outcome(SECOND, FAILED, DRAINED, {"phase": Phase.HEALTHY, "do": Change.KEEP})
    told = document(run(), SECOND, FIRST.id, done, (), Exit.DEGRADED)
    assert told["next"].startswith("2 of 2 instances were attempted; 1 failed; ")


def test_a_way_back_that_broke_off_is_no_way_back() -> None:
    back = RollbackOutcome(THIRD, outcome(THIRD, HEALTHY, broken="/var/x: Read-only file system"))
    assert back.exit is Exit.DEGRADED
    told = document(run(), SECOND, FIRST.id, outcome(SECOND, FAILED), (), Exit.DEGRADED, back)
    assert told["error"] == "/var/x: Read-only file system"
    assert "  the rollout ended there: /var/x: Read-only file system" in text(told)


def test_in_a_users_scope_each_command_says_so() -> None:
    done = outcome(SECOND, FAILED, WAITING)
    told = document(run(user=True), SECOND, FIRST.id, done, (), Exit.DEGRADED)
    assert told["next"].count("`unitq --user -") == told["next"].count("`unitq ") == 3
    assert text(told)[0].startswith("rollout 17 of shop (--user) on web3: ")


def test_why_nothing_was_rolled_back_is_said() -> None:
    why = "no earlier revision was stable and is still there"
    told = document(run(why_not=why), SECOND, None, outcome(SECOND, FAILED), (), Exit.DEGRADED)
    assert f"  not rolled back: {why}" in text(told)


def test_a_log_that_stands_above_already_is_not_printed_again() -> None:
    logs = {instance("sms@1"): ("booting", "no database")}
    first = document(
        run(), SECOND, FIRST.id, outcome(SECOND, FAILED, WAITING, logs=logs), (), Exit.PAUSED
    )
    again = run(typed="unitq rollout resume", earlier=before(first))
    second = document(
        again, SECOND, FIRST.id, outcome(SECOND, FAILED, WAITING, logs=logs), (), Exit.DEGRADED
    )
    lines = text(second)
    assert [line for line in lines if line.startswith(("sms@1 failed", "  | "))] == [
        "sms@1 failed: it ended soon after its start: exited with status 3",
        "  | booting",
        "  | no database",
        "sms@1 failed: it ended soon after its start: exited with status 3",
        "  | as above",
    ]
    # What it has printed since is news.
    logs = {instance("sms@1"): ("booting", "no disk")}
    other = document(
        again, SECOND, FIRST.id, outcome(SECOND, FAILED, WAITING, logs=logs), (), Exit.DEGRADED
    )
    assert [line for line in text(other) if line.startswith("  | ")] == [
        "  | booting", "  | no database", "  | booting", "  | no disk",
    ]  # fmt: skip
