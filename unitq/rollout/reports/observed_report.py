"""Makes the report of a rollout from what was observed."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from dataclasses import dataclass, field
from math import isinf
from typing import TYPE_CHECKING, Any

from unitq.errors import Exit
from unitq.model import names
from unitq.revisions import state
from unitq.rollout.engine.instance import Phase
from unitq.rollout.plan import Change
from unitq.rollout.reports.report import (
    OldCode,
    Report,
    ReportedInstance,
    ReportedJob,
    ReportedOrphan,
    Requeued,
    Rollback,
    SlowestDrain,
    StopTimeout,
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
    from unitq.rollout.plan import DrainLimit
    from unitq.rollout.reports.outcome import Outcome, RollbackOutcome
    from unitq.rollout.reports.report import Command

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
NO_TARGET = "no earlier revision was stable and is still there"


def result(code: int | None) -> str:
    """Returns a word or two for how a rollout ended."""
    return _RESULTS.get(Exit(code), "failed") if code in list(Exit) else "unknown"


@dataclass(frozen=True, slots=True)
class Run:
    """One command that rolled: what was typed, where, when and by whom."""

    verb: str  # deploy, rollback, restart …: of a rollout that was resumed, the one that began it
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


def report_of(
    run: Run,
    revision: Revision,
    previous: str | None,
    outcome: Outcome | None,
    leftovers: Sequence[observe.Instance] | None,
    code: Exit,
    back: RollbackOutcome | None = None,
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
    errors = [part.broken for part in (outcome, back and back.outcome) if part and part.broken]
    return Report(
        command=run.verb,
        command_line=run.typed,
        host=run.host,
        scope="user" if run.user else "system",
        app=revision.app,
        rollout=run.rollout,
        by=run.by,
        began=round(run.began, 3),
        ended=round(run.ended, 3),
        result=word,
        exit_code=int(code),
        summary=tuple(summary),
        previous_revision=previous,
        restores=revision.restores,
        code_versions={worker.name: worker.code_version for worker in revision.workers},
        **_attempt(revision, outcome),
        old_code=None if leftovers is None else tuple(map(_old_code, leftovers)),
        orphans=None if orphans is None else tuple(map(_orphan, orphans)),
        rollback=Rollback(**_attempt(back.revision, back.outcome), restores=back.revision.restores)
        if back
        else None,
        error=errors[0] if errors else None,
        no_rollback=run.why_not,
        next=_next(run, revision, outcome, code, back) if outcome else None,
        earlier=run.earlier,
    )


def _old_code(instance: observe.Instance) -> OldCode:
    return OldCode(str(instance.name), tuple(instance.pids), instance.moved or None)


def _orphan(orphan: Orphan) -> ReportedOrphan:
    pid, pids = orphan.process.pid, tuple(orphan.pids)
    return ReportedOrphan(pid, pids, orphan.worker, orphan.release or None, orphan.current)


def _attempt(revision: Revision, outcome: Outcome | None) -> dict[str, Any]:
    """Returns the fields of an Attempt; `outcome` None: nothing was to be done."""
    count = len(revision.instances)
    states = tuple(outcome.rollout.instances.values()) if outcome else ()
    on_revision, serving = _counts(revision, outcome) if outcome else (count, count)
    slow = _slowest(states)
    return {
        "revision": revision.id,
        "seconds": round(outcome.seconds, 3) if outcome else 0.0,
        "on_revision": on_revision,
        "serving": serving,
        "least_serving": dict(outcome.least_serving) if outcome else {},
        "slowest_drain": slow and SlowestDrain(slow.instance, round(slow.seconds, 3)),
        "instances": tuple(
            reported(revision.app, state, outcome) for state in states if outcome is not None
        ),
        "killed": _names(outcome.killed) if outcome else (),
        "died": _names(outcome.died) if outcome else (),
        "failed": _names(outcome.failed) if outcome else (),
        "stop_timeouts": stop_timeouts(outcome.limits) if outcome else (),
        "dropped_jobs": tuple(map(_job, outcome.dropped)) if outcome else (),
    }


def _names(states: Iterable[InstanceState]) -> tuple[str, ...]:
    return tuple(str(state.instance) for state in states)


def stop_timeouts(limits: Iterable[DrainLimit]) -> tuple[StopTimeout, ...]:
    """Returns how long old processes may take to end where a deploy changes that."""
    return tuple(
        StopTimeout(
            limit.worker,
            *(None if isinf(s) else s for s in (limit.seconds, limit.before, limit.after)),
        )
        for limit in limits
    )


def _slowest(states: Iterable[InstanceState]) -> SlowestDrain | None:
    drains = [
        SlowestDrain(str(state.instance), state.drained_for)
        for state in states
        if state.drained_for is not None
    ]
    return max(drains, key=lambda drain: drain.seconds, default=None)


def _staying(outcome: Outcome) -> list[InstanceState]:
    states = outcome.rollout.instances.values()
    return [state for state in states if state.planned.change not in (Change.STOP, Change.SURGE)]


def _counts(revision: Revision, outcome: Outcome) -> tuple[int, int]:
    """Returns how many of those that stay serve on the revision, and how many serve at all."""
    serving = {
        state.instance: observed
        for state in _staying(outcome)
        if (observed := outcome.seen.get(state.instance))
        and observed.serving
        and not observed.elsewhere
    }
    current = sum(observed.revision == revision.goal(name) for name, observed in serving.items())
    return current, len(serving)


def reported(app: str, state: InstanceState, outcome: Outcome) -> ReportedInstance:
    """Returns what became of one instance."""
    name, ending = state.instance, state.ending
    observed = outcome.seen.get(name)
    why_not = outcome.requeued.get(name)
    return ReportedInstance(
        instance=str(name),
        unit=names.unit(app, name),
        action=str(state.planned.change),
        why=state.planned.why,
        phase=str(state.phase),
        revision=observed.revision if observed else None,
        pid_before=state.pid_before or None,
        ending=str(ending.end) if ending else None,
        ending_detail=ending.detail if ending else "",
        drain_seconds=None if state.drained_for is None else round(state.drained_for, 3),
        reason=state.reason,
        external_changes=tuple(state.external_changes),
        unreached=observed.unsafe_stop.words(observed.pid)
        if observed and observed.unsafe_stop
        else None,
        log=tuple(outcome.logs.get(name, ())),
        jobs=_jobs(state, outcome.jobs.get(name)),
        possible_jobs=_jobs(state, outcome.possible.get(name)),
        requeued=None if why_not is None else Requeued(not why_not, why_not),
    )


def _jobs(state: InstanceState, jobs: Sequence[Job] | None) -> tuple[ReportedJob, ...] | None:
    """Returns the in-flight jobs of one that did not end as a drain ends; None: not known."""
    if state.ending is None or state.ending.end is End.DRAINED:
        return ()
    return None if jobs is None else tuple(map(_job, jobs))


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
    """Returns the closing line. `leftovers` None: the line after it says what runs old code."""
    states = outcome.rollout.instances.values()
    staying = _staying(outcome)
    stopped = sum(
        state.phase is Phase.STOPPED and state.planned.change is Change.STOP for state in states
    )
    parts = []
    if staying:
        current, serving = _counts(revision, outcome)
        parts.append(f"{current} of {len(staying)} on {revision.number}")
        if serving != current:
            parts.append(f"{serving} serving")
        restarted = any(state.planned.change is Change.RESTART for state in staying)
        if outcome.least_serving and restarted:
            parts.append(f"least serving: {_least(staying, outcome)}")
    if stopped:
        parts.append(f"{stopped} stopped")
    parts.append(f"{len(outcome.killed)} killed")
    if outcome.died:
        parts.append(f"{len(outcome.died)} did not drain")
    if leftovers is not None:
        old = sum(len(instance.pids) for instance in leftovers)
        # The line is a proof for the whole host.
        old += sum(len(orphan.pids) for orphan in orphans if orphan.current is False)
        parts.append(f"{plural(old, 'process')} on old code")
    if slow := _slowest(states):
        parts.append(f"slowest drain: {slow.instance} {duration(slow.seconds)}")
    return f"{word}: {' · '.join([*parts, duration(outcome.seconds)])}"


def _least(staying: Sequence[InstanceState], outcome: Outcome) -> str:
    """`sms 3 of 4, mail 0 of 1`: a worker's only instance cannot serve while it is replaced."""
    sizes = Counter(state.instance.worker for state in staying)
    least = outcome.least_serving
    if len(sizes) == 1:
        ((worker, size),) = sizes.items()
        return f"{least[worker]} of {size}"
    return ", ".join(
        f"{worker} {least[worker]} of {size}" for worker, size in sorted(sizes.items())
    )


def _next(
    run: Run, revision: Revision, outcome: Outcome, code: Exit, back: RollbackOutcome | None
) -> str | None:
    """Returns what to type now, from whatever directory; None: nothing."""
    last = back.outcome if back else outcome
    left = _left(last)
    typed = unitq(revision.app, user=run.user)
    deploy = f"`unitq{' --user' * run.user} -c {shlex.quote(revision.config)} deploy`"
    resume, rollback = f"`{typed} rollout resume` continues", f"`{typed} rollback` goes back"
    if run.restore:
        # A rollback is refused before that. Once git proves the code, it restarts the least.
        plain = deploy.strip("`")
        then = (
            f"{typed} rollback" if "git -C " in run.restore else f"{typed} rollout abort && {plain}"
        )
        rollback = f"to go back: {run.restore.replace(plain, then)}"
    # `rollback` once more would go further back than what this one went to.
    ways = f"{resume}, {rollback}"
    if run.verb == "rollback" or run.why_not == NO_TARGET:
        ways = resume
    again = "the same command continues from here" if run.rollout is None else ways
    mended = f"{left}; once the cause is mended, "
    match code:
        case Exit.STALE:
            return (
                f"`{typed} status` names what runs old code; where it says MOVED: {deploy}; where "
                "it says NO: it outlived its stop (KillMode=process in a drop-in?), so end it once "
                "its job is done"
            )
        case Exit.ROLLED_BACK:
            return f"once the cause is mended, {deploy}"
        case _ if run.cut_off:
            return f"{mended}{ways}"
        case Exit.DEGRADED if back and back.cut_short:
            return f"{left}; the rollback is not complete: {resume} it"
        case Exit.DEGRADED if back:
            return f"{mended}{resume} the rollback; or {deploy}"
        case Exit.DEGRADED if run.rollout is None:
            return f"{mended}{again}"
        case Exit.DEGRADED if run.verb == "rollback":
            other = f"`{typed} history` lists what else `{typed} rollback N` may go to"
            return f"{mended}{resume}; {other}"
        case Exit.DEGRADED if run.restore:
            # Not `rollout resume`: it would start a commit that mends the code under the number of
            # the one that failed.
            return f"{left}; for the old code: {run.restore}; once the cause is mended, {deploy}"
        case Exit.DEGRADED:
            return f"{mended}{deploy}; or {ways}"
        case Exit.PAUSED if last.rollout.awaiting:
            promote = f"`{typed} rollout promote` continues with the others"
            return f"the canaries are healthy, {left}; {promote}, {rollback}"
        case Exit.PAUSED | Exit.INTERRUPTED:
            return f"{left}; {again}"
        case Exit.DETACHED | Exit.GAVE_UP_WAITING:
            ordered = f"systemd finishes what was ordered: `{typed} status` shows it"
            return f"{left}; {ordered}; then {again}"
    return None


def _left(outcome: Outcome) -> str:
    """Returns how many instances are as they were, also those that no order has reached."""
    states = outcome.rollout.instances.values()
    changing = [state for state in states if state.planned.change is not Change.KEEP]
    failed = [state for state in changing if state.phase is Phase.FAILED]
    left = sum(state.phase is Phase.WAITING for state in states)
    left += sum(not state.touched for state in failed)
    if left:
        return f"{left} not touched"
    total = len(changing)
    return f"{total} of {total} instances were attempted; {len(failed)} failed"


def replaces(revision: Revision, previous: str | None) -> str:
    """Returns the headline of a deploy, or a rollback."""
    versions = sorted({worker.code_version for worker in revision.workers})
    code = versions[0] if len(versions) == 1 else f"{len(versions)} releases"
    before = ""
    if previous == revision.id:
        before = ", what differs from it"
    elif previous:
        before = f" replaces {number(previous)}"
        if revision.restores is not None:
            before += f", restores {revision.restores}"
    return f"{revision.app}: revision {revision.number} ({revision.hash}, {code}){before}"
