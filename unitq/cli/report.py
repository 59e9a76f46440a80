"""What a rollout did, as text and as JSON, from observation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from unitq.cli.text import duration, number, plural
from unitq.core import names
from unitq.core.errors import Exit
from unitq.core.plan import Do
from unitq.core.rollout import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq import observe
    from unitq.core.outcome import Outcome
    from unitq.core.revision import Revision
    from unitq.core.rollout import Slot

_RESULTS = {
    Exit.OK: "ok",
    Exit.GAVE_UP_WAITING: "gave up waiting",
    Exit.DEGRADED: "failed",
    Exit.ROLLED_BACK: "rolled back",
    Exit.INTERRUPTED: "interrupted",
    Exit.PAUSED: "paused",
    Exit.KILLED: "killed",
    Exit.DETACHED: "detached",
}


def result(code: int | None) -> str:
    """One word for how a rollout ended."""
    return _RESULTS.get(Exit(code), "failed") if code in list(Exit) else "unknown"


_NAMED = 5  # instances that one line names
_ADVICE = " (it has no handler for it, or was not up yet: is stop_signal the right one?)"


@dataclass(frozen=True, slots=True)
class Back:
    """A rollback that followed a failure."""

    revision: Revision
    outcome: Outcome

    @property
    def whole(self) -> bool:
        """Whether everything is healthy on the old revision again."""
        return self.outcome.rollout.complete and not self.outcome.failed

    @property
    def cut_short(self) -> bool:
        """Whether somebody ended it, or the wait for it, before it was complete."""
        ended = self.outcome.interrupted or self.outcome.paused or self.outcome.gave_up
        return ended and not self.outcome.rollout.complete

    @property
    def exit(self) -> Exit:
        """The exit code of a rollout that it followed."""
        if self.outcome.detached:
            return Exit.DETACHED
        return Exit.ROLLED_BACK if self.whole else Exit.DEGRADED


def document(
    verb: str,
    revision: Revision,
    previous: str | None,
    outcome: Outcome | None,
    leftovers: Sequence[observe.Instance],
    code: Exit,
    back: Back | None = None,
) -> dict[str, Any]:
    """The report as plain values; docs/json.md describes it."""
    return {
        "format": 1,
        "command": verb,
        "app": revision.app,
        "result": "unchanged" if outcome is None else _RESULTS[code],
        "exit_code": int(code),
        "revision": revision.id,
        "previous_revision": previous,
        **_outcome(revision.app, outcome),
        "old_code": [{"instance": str(one.name), "pids": list(one.pids)} for one in leftovers],
        "rollback": {
            "revision": back.revision.id,
            "restores": back.revision.restores,
            **_outcome(revision.app, back.outcome),
        }
        if back
        else None,
    }


def _outcome(app: str, outcome: Outcome | None) -> dict[str, Any]:
    slots = outcome.rollout.slots.values() if outcome else ()
    return {
        "seconds": round(outcome.seconds, 3) if outcome else 0.0,
        "least_serving": dict(outcome.least_serving) if outcome else {},
        "instances": [_slot(app, slot, outcome) for slot in slots if outcome],
        "killed": [str(slot.instance) for slot in outcome.killed] if outcome else [],
        "failed": [str(slot.instance) for slot in outcome.failed] if outcome else [],
    }


def _slot(app: str, slot: Slot, outcome: Outcome) -> dict[str, Any]:
    seen = outcome.seen.get(slot.instance)
    return {
        "instance": str(slot.instance),
        "unit": names.unit(app, slot.instance),
        "action": str(slot.step.do),
        "why": slot.step.why,
        "phase": str(slot.phase),
        "revision": seen.revision if seen else None,
        "pid_before": slot.pid_before or None,
        "ending": str(slot.ending.end) if slot.ending else None,
        "ending_detail": slot.ending.detail if slot.ending else "",
        "drain_seconds": None if slot.drained_for is None else round(slot.drained_for, 3),
        "reason": slot.reason,
        "foreign": list(slot.foreign),
        "log": list(outcome.logs.get(slot.instance, ())),
    }


def as_text(
    revision: Revision,
    outcome: Outcome,
    leftovers: Sequence[observe.Instance],
    code: Exit,
    back: Back | None = None,
) -> None:
    """Prints the closing lines: what failed and why, what was killed, one line in all."""
    _mishaps(outcome)
    if back:
        click.echo(_summary("failed", revision, outcome, ()))
        _mishaps(back.outcome)
        click.echo(_summary(_RESULTS[code], back.revision, back.outcome, leftovers))
    else:
        click.echo(_summary(_RESULTS[code], revision, outcome, leftovers))
    cut_short = back is not None and back.cut_short
    if hint := _next(revision, back.outcome if back else outcome, code, cut_short=cut_short):
        click.echo(f"  next: {hint}", err=True)


def _mishaps(outcome: Outcome) -> None:
    for slot in outcome.failed:
        click.echo(f"{slot.instance} failed: {slot.reason}", err=True)
        for line in outcome.logs.get(slot.instance, ()):
            click.echo(f"  | {line}", err=True)
    for slot in outcome.killed:
        click.echo(
            f"warning: {slot.instance} was killed after {duration(slot.drained_for or 0.0)} "
            f"({slot.ending.detail if slot.ending else ''}, PID {slot.pid_before}): "
            "the job in hand may be lost",
            err=True,
        )
    for slot in outcome.rollout.slots.values():
        for what in slot.foreign:
            click.echo(f"warning: {slot.instance} was {what} meanwhile", err=True)
    for line in _did_not_drain(outcome.died):
        click.echo(f"warning: {line}", err=True)


def _did_not_drain(slots: Sequence[Slot]) -> list[str]:
    """One line for each way to end: a hundred instances often end the same way."""
    by_detail: dict[str, list[str]] = {}
    for slot in slots:
        detail = slot.ending.detail if slot.ending else ""
        by_detail.setdefault(detail, []).append(str(slot.instance))
    return [
        f"{', '.join(found[:_NAMED])}{f' and {len(found) - _NAMED} more' * (len(found) > _NAMED)} "
        f"did not drain: {detail}{_ADVICE * detail.startswith('died of SIG')}"
        for detail, found in by_detail.items()
    ]


def _summary(
    result: str, revision: Revision, outcome: Outcome, leftovers: Sequence[observe.Instance]
) -> str:
    slots = outcome.rollout.slots.values()
    staying = [slot for slot in slots if slot.step.do not in (Do.STOP, Do.SURGE)]
    stopped = [s for s in slots if s.phase is Phase.STOPPED and s.step.do is Do.STOP]
    parts = []
    if staying:
        serving = sum(outcome.seen[slot.instance].serving for slot in staying)
        fresh = sum(
            outcome.seen[slot.instance].serving
            and outcome.seen[slot.instance].revision == revision.wanted(slot.instance)
            for slot in staying
        )
        parts.append(f"{fresh} of {len(staying)} on {revision.number}")
        if serving != fresh:
            parts.append(f"{serving} serving")
        if any(slot.step.do is Do.RESTART for slot in staying):
            parts.append(f"least serving: {_least(staying, outcome)}")
    if stopped:
        parts.append(f"{len(stopped)} stopped")
    parts.append(f"{len(outcome.killed)} killed")
    parts.append(f"{plural(sum(len(one.pids) for one in leftovers), 'process')} on old code")
    parts.append(duration(outcome.seconds))
    return f"{result}: {' · '.join(parts)}"


def _least(staying: Sequence[Slot], outcome: Outcome) -> str:
    """`sms 3 of 4, mail 0 of 1`: a worker's only instance cannot serve while it is replaced."""
    of = Counter(slot.instance.worker for slot in staying)
    least = outcome.least_serving
    if len(of) == 1:
        (worker,) = of
        return f"{least[worker]} of {of[worker]}"
    return ", ".join(f"{worker} {least[worker]} of {of[worker]}" for worker in sorted(of))


def _next(revision: Revision, outcome: Outcome, code: Exit, *, cut_short: bool) -> str:
    waiting = sum(slot.phase is Phase.WAITING for slot in outcome.rollout.slots.values())
    left = f"{waiting} not touched" if waiting else "all were touched"
    if code is Exit.DEGRADED and cut_short:
        return (
            f"{left}; the rollback is not complete: `unitq -a {revision.app} rollout resume` "
            "goes on with it"
        )
    if code is Exit.DEGRADED:
        return (
            f"{left}; fix the cause and run `unitq deploy` again (`unitq -a {revision.app} logs`)"
        )
    if code is Exit.ROLLED_BACK:
        return f"fix the cause and run `unitq deploy` again (`unitq -a {revision.app} logs`)"
    if code is Exit.PAUSED and outcome.rollout.awaiting:
        app = revision.app
        return (
            f"the canaries are healthy, {left}; `unitq -a {app} rollout promote` goes on, "
            f"`unitq -a {app} rollback` goes back"
        )
    if code is Exit.PAUSED:
        app = revision.app
        return (
            f"{left}; `unitq -a {app} rollout resume` goes on, `unitq -a {app} rollback` goes back"
        )
    if code is Exit.INTERRUPTED:
        return f"{left}; the same command again goes on from here"
    if code in (Exit.DETACHED, Exit.GAVE_UP_WAITING):
        return f"{left}; what was begun goes on in systemd; `unitq -a {revision.app} status` tells"
    return ""


def replaces(revision: Revision, previous: str | None) -> str:
    """The headline of a deploy."""
    versions = sorted({worker.code_version for worker in revision.workers})
    code = versions[0] if len(versions) == 1 else f"{len(versions)} releases"
    before = ""
    if previous:
        goes_on = previous == revision.id
        before = ", what differs from it" if goes_on else f" replaces {number(previous)}"
    return f"{revision.app}: revision {revision.number} ({revision.hash}, {code}){before}"
