"""Makes the report of a rollout from what was observed."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from dataclasses import dataclass, field
from math import isinf
from typing import TYPE_CHECKING

from unitq.errors import Exit
from unitq.model import names
from unitq.revisions import state
from unitq.rollout.engine.instance import Phase
from unitq.rollout.plan import Change
from unitq.rollout.report import (
    Command,
    OldCode,
    Report,
    ReportedInstance,
    ReportedJob,
    ReportedOrphan,
    Requeued,
    SlowestDrain,
    StopTimeout,
    Way,
    WayBack,
)
from unitq.systemd.exit_status import End
from unitq.text import duration, number, plural, unitq

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unitq.instances import observe
    from unitq.orphans.evidence import Orphan
    from unitq.queues.model import Job
    from unitq.revisions.model import Revision
    from unitq.rollout.engine.instance import InstanceState
    from unitq.rollout.outcome import Outcome
    from unitq.rollout.plan import DrainLimit

_RESULTS = {
    Exit.OK: "ok",
    Exit.GAVE_UP_WAITING: "gave up waiting",
    Exit.DEGRADED: "failed",
    Exit.ROLLED_BACK: "rolled back",
    Exit.INTERRUPTED: "interrupted",
    Exit.PAUSED: "paused",
    Exit.KILLED: "killed",
    Exit.STALE: "old code left",
    Exit.DETACHED: "detached",
}

# Why no rollback followed a failure.
NO_WAY_BACK = "no earlier revision was stable and is still there"


def result(code: int | None) -> str:
    """One word for how a rollout ended."""
    return _RESULTS.get(Exit(code), "failed") if code in list(Exit) else "unknown"


@dataclass(frozen=True, slots=True)
class Run:
    """One command that rolled: what was typed, where, when and by whom."""

    verb: str  # deploy, rollback, restart …: of a rollout that goes on, the one that began it
    began: float  # seconds since 1970
    user: bool = False  # in the scope of a user
    rollout: int | None = None  # its number; None: it has no ledger
    earlier: tuple[Command, ...] = ()  # commands of the same rollout that got less far
    why_not: str | None = None  # why no rollback followed a failure
    cut_off: bool = False  # its ledger could not be written to the end: a deploy is refused
    restore: str = ""  # what brings the old code back; empty: `unitq rollback` does
    typed: str = field(default_factory=state.command_name)
    by: str = field(default_factory=state.whoami)
    host: str = field(default_factory=lambda: os.uname().nodename)
    ended: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Back:
    """A rollback that followed a failure."""

    revision: Revision
    outcome: Outcome

    @property
    def whole(self) -> bool:
        """Whether everything is healthy on the old revision again."""
        done = self.outcome
        return done.rollout.complete and not done.failed and not done.broken

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


def report_of(
    run: Run,
    revision: Revision,
    previous: str | None,
    outcome: Outcome | None,
    leftovers: Sequence[observe.Instance] | None,
    code: Exit,
    back: Back | None = None,
    orphans: Sequence[Orphan] | None = None,
) -> Report:
    """Returns the report. `outcome` None: nothing was to be done; `orphans` None: not looked for.

    `leftovers` are the instances on old code; None: nobody has looked.
    """
    word = "unchanged" if outcome is None else _RESULTS[code]
    count = len(revision.instances)
    summary = [f"{word}: {count} of {count} on {revision.number}"]
    if outcome and back:
        summary = [
            _summary("failed", revision, outcome, None),
            _summary(word, back.revision, back.outcome, leftovers, orphans or ()),
        ]
    elif outcome:
        # Who reads no further than the first word must not take lost jobs for none.
        lost = code in (Exit.OK, Exit.STALE) and (outcome.killed or outcome.died or outcome.dropped)
        first = f"{word}, but jobs may be lost" if lost else word
        summary = [_summary(first, revision, outcome, leftovers, orphans or ())]
    last = Command(
        command=run.verb,
        command_line=run.typed,
        by=run.by,
        began=round(run.began, 3),
        ended=round(run.ended, 3),
        result=word,
        exit_code=int(code),
        summary=tuple(summary),
        revision=revision.id,
        way=_way(revision, outcome),
        rollback=_way_back(back) if back else None,
    )
    return Report(
        last=last,
        host=run.host,
        user=run.user,
        app=revision.app,
        rollout=run.rollout,
        previous=previous,
        restores=revision.restores,
        code_versions={worker.name: worker.code_version for worker in revision.workers},
        old_code=None if leftovers is None else tuple(_old_code(one) for one in leftovers),
        orphans=None if orphans is None else tuple(_orphan(one) for one in orphans),
        error=_broken(outcome, back),
        no_rollback=run.why_not,
        next=_next(run, revision, outcome, code, back) if outcome else None,
        earlier=run.earlier,
    )


def _broken(outcome: Outcome | None, back: Back | None) -> str | None:
    return (outcome and outcome.broken) or (back and back.outcome.broken) or None


def _old_code(one: observe.Instance) -> OldCode:
    return OldCode(str(one.name), tuple(one.pids), one.moved or None)


def _orphan(one: Orphan) -> ReportedOrphan:
    return ReportedOrphan(
        one.process.pid, tuple(one.pids), one.worker, one.release or None, one.current
    )


def _way_back(back: Back) -> WayBack:
    way = _way(back.revision, back.outcome)
    return WayBack(back.revision.id, back.revision.restores, way)


def _way(revision: Revision, outcome: Outcome | None) -> Way:
    """What is told of the way there, and of the way back."""
    if outcome is None:
        count = len(revision.instances)
        return Way(0.0, count, count, {}, None, (), (), (), (), (), ())
    slots = tuple(outcome.rollout.instances.values())
    on_revision, serving = _counts(revision, outcome)
    slow = max(slots, key=_drained_for, default=None)
    return Way(
        seconds=round(outcome.seconds, 3),
        on_revision=on_revision,
        serving=serving,
        least_serving=dict(outcome.least_serving),
        slowest_drain=SlowestDrain(str(slow.instance), round(slow.drained_for, 3))
        if slow and slow.drained_for is not None
        else None,
        instances=tuple(instance(revision.app, slot, outcome) for slot in slots),
        killed=tuple(str(slot.instance) for slot in outcome.killed),
        died=tuple(str(slot.instance) for slot in outcome.died),
        failed=tuple(str(slot.instance) for slot in outcome.failed),
        stop_timeouts=stop_timeouts(outcome.limits),
        dropped_jobs=tuple(_job(job) for job in outcome.dropped),
    )


def stop_timeouts(limits: Iterable[DrainLimit]) -> tuple[StopTimeout, ...]:
    """How long old processes may take to end where a deploy changes that."""
    return tuple(
        StopTimeout(
            limit.worker, _finite(limit.seconds), _finite(limit.before), _finite(limit.after)
        )
        for limit in limits
    )


def _finite(seconds: float) -> float | None:
    return None if isinf(seconds) else seconds


def _drained_for(slot: InstanceState) -> float:
    return -1.0 if slot.drained_for is None else slot.drained_for


def _staying(outcome: Outcome) -> list[InstanceState]:
    slots = outcome.rollout.instances.values()
    return [slot for slot in slots if slot.planned.change not in (Change.STOP, Change.SURGE)]


def _counts(revision: Revision, outcome: Outcome) -> tuple[int, int]:
    """How many of those that stay serve on the revision, and how many serve at all."""
    seen = {
        name: found
        for name in (slot.instance for slot in _staying(outcome))
        if (found := outcome.seen.get(name)) and found.serving and not found.elsewhere
    }
    fresh = sum(found.revision == revision.goal(name) for name, found in seen.items())
    return fresh, len(seen)


def instance(app: str, slot: InstanceState, outcome: Outcome) -> ReportedInstance:
    """What there is to say of one instance."""
    seen = outcome.seen.get(slot.instance)
    return ReportedInstance(
        instance=str(slot.instance),
        unit=names.unit(app, slot.instance),
        action=str(slot.planned.change),
        why=slot.planned.why,
        phase=str(slot.phase),
        revision=seen.revision if seen else None,
        pid_before=slot.pid_before or None,
        ending=str(slot.ending.end) if slot.ending else None,
        ending_detail=slot.ending.detail if slot.ending else "",
        drain_seconds=None if slot.drained_for is None else round(slot.drained_for, 3),
        reason=slot.reason,
        foreign=tuple(slot.external_changes),
        unreached=seen.unsafe_stop.words(seen.pid) if seen and seen.unsafe_stop else None,
        log=tuple(outcome.logs.get(slot.instance, ())),
        jobs=_in_hand(slot, outcome.jobs.get(slot.instance)),
        possible_jobs=_in_hand(slot, outcome.possible.get(slot.instance)),
        requeued=_requeued(outcome.requeued.get(slot.instance)),
    )


def _requeued(why_not: str | None) -> Requeued | None:
    return None if why_not is None else Requeued(not why_not, why_not)


def _in_hand(slot: InstanceState, jobs: Sequence[Job] | None) -> tuple[ReportedJob, ...] | None:
    """The jobs that it had in hand when it ended otherwise than by itself; None: not known."""
    if slot.ending is None or slot.ending.end is End.DRAINED:
        return ()
    return None if jobs is None else tuple(_job(job) for job in jobs)


def _job(job: Job) -> ReportedJob:
    return ReportedJob(
        queue=job.queue or None,
        name=job.name or None,
        id=job.id or None,
        since=None if job.since is None else round(job.since, 3),
        hash=job.hash or None,
    )


def _summary(
    word: str,
    revision: Revision,
    outcome: Outcome,
    leftovers: Sequence[observe.Instance] | None,
    orphans: Sequence[Orphan] = (),
) -> str:
    """The closing line. `leftovers` None: what comes after it says what is left of the old code."""
    slots = outcome.rollout.instances.values()
    staying = _staying(outcome)
    stopped = [s for s in slots if s.phase is Phase.STOPPED and s.planned.change is Change.STOP]
    parts = []
    if staying:
        fresh, serving = _counts(revision, outcome)
        parts.append(f"{fresh} of {len(staying)} on {revision.number}")
        if serving != fresh:
            parts.append(f"{serving} serving")
        if outcome.least_serving and any(slot.planned.change is Change.RESTART for slot in staying):
            parts.append(f"least serving: {_least(staying, outcome)}")
    if stopped:
        parts.append(f"{len(stopped)} stopped")
    parts.append(f"{len(outcome.killed)} killed")
    if outcome.died:
        parts.append(f"{len(outcome.died)} did not drain")
    if leftovers is not None:
        old = sum(len(one.pids) for one in leftovers)
        # The line is a proof for the whole host.
        old += sum(len(one.pids) for one in orphans if one.current is False)
        parts.append(f"{plural(old, 'process')} on old code")
    slow = max(slots, key=_drained_for, default=None)
    if slow and slow.drained_for is not None:
        parts.append(f"slowest drain: {slow.instance} {duration(slow.drained_for)}")
    parts.append(duration(outcome.seconds))
    return f"{word}: {' · '.join(parts)}"


def _least(staying: Sequence[InstanceState], outcome: Outcome) -> str:
    """`sms 3 of 4, mail 0 of 1`: a worker's only instance cannot serve while it is replaced."""
    of = Counter(slot.instance.worker for slot in staying)
    least = outcome.least_serving
    if len(of) == 1:
        (worker,) = of
        return f"{least[worker]} of {of[worker]}"
    return ", ".join(f"{worker} {least[worker]} of {of[worker]}" for worker in sorted(of))


def _next(
    run: Run, revision: Revision, outcome: Outcome, code: Exit, back: Back | None
) -> str | None:
    """What to type now, from whatever directory; None: nothing."""
    last = back.outcome if back else outcome
    left = _left(last)
    typed = unitq(revision.app, user=run.user)
    deploy = f"`unitq{' --user' * run.user} -c {shlex.quote(revision.config)} deploy`"
    on, away = f"`{typed} rollout resume` goes on", f"`{typed} rollback` goes back"
    if run.restore:
        # A rollback is refused before that. Once git proves the code, it restarts the least.
        plain = deploy.strip("`")
        then = (
            f"{typed} rollback"
            if "git -C " in run.restore
            else (f"{typed} rollout abort && {plain}")
        )
        away = f"to go back: {run.restore.replace(plain, then)}"
    # `rollback` once more would go further back than what this one went to.
    ways = on if run.verb == "rollback" or run.why_not == NO_WAY_BACK else f"{on}, {away}"
    again = "the same command again goes on from here"
    if code is Exit.STALE:
        return (
            f"`{typed} status` names what runs old code; where it says MOVED: {deploy}; where it "
            "says NO: it outlived its stop (KillMode=process in a drop-in?), so end it once its "
            "job is done"
        )
    if code is Exit.ROLLED_BACK:
        return f"once the cause is mended, {deploy}"
    if run.cut_off:
        return f"{left}; once the cause is mended, {ways}"
    if code is Exit.DEGRADED and back and back.cut_short:
        return f"{left}; the rollback is not complete: {on} with it"
    if code is Exit.DEGRADED and back:
        return f"{left}; once the cause is mended, {on} with the way back; or {deploy}"
    if code is Exit.DEGRADED and run.rollout is None:
        return f"{left}; once the cause is mended, {again}"
    if code is Exit.DEGRADED and run.verb == "rollback":
        other = f"`{typed} history` lists what else `{typed} rollback N` may go to"
        return f"{left}; once the cause is mended, {on}; {other}"
    if code is Exit.DEGRADED and run.restore:
        # Not `rollout resume`: it would start a commit that mends the code under the number of
        # the one that failed.
        return f"{left}; for the old code: {run.restore}; once the cause is mended, {deploy}"
    if code is Exit.DEGRADED:
        return f"{left}; once the cause is mended, {deploy}; or {ways}"
    if code is Exit.PAUSED and last.rollout.awaiting:
        return (
            f"the canaries are healthy, {left}; `{typed} rollout promote` goes on with the others, "
            f"{away}"
        )
    if code in (Exit.PAUSED, Exit.INTERRUPTED):
        return f"{left}; {again if run.rollout is None else ways}"
    if code in (Exit.DETACHED, Exit.GAVE_UP_WAITING):
        then = again if run.rollout is None else ways
        return f"{left}; what was begun goes on in systemd: `{typed} status` tells; then {then}"
    return None


def _left(outcome: Outcome) -> str:
    """How many instances are as they were, those included that could not be told anything."""
    slots = [
        each
        for each in outcome.rollout.instances.values()
        if each.planned.change is not Change.KEEP
    ]
    failed = [each for each in slots if each.phase is Phase.FAILED]
    left = sum(each.phase is Phase.WAITING for each in outcome.rollout.instances.values())
    left += sum(not each.touched for each in failed)
    if left:
        return f"{left} not touched"
    return f"{len(slots)} of {len(slots)} instances were attempted; {len(failed)} failed"


def replaces(revision: Revision, previous: str | None) -> str:
    """The headline of a deploy, or a rollback."""
    versions = sorted({worker.code_version for worker in revision.workers})
    code = versions[0] if len(versions) == 1 else f"{len(versions)} releases"
    before = ""
    if previous:
        goes_on = previous == revision.id
        before = ", what differs from it" if goes_on else f" replaces {number(previous)}"
        if revision.restores is not None and not goes_on:
            before += f", restores {revision.restores}"
    return f"{revision.app}: revision {revision.number} ({revision.hash}, {code}){before}"
