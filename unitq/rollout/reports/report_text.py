"""A report as text: at the end of a rollout, and later from what was kept of it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from unitq.queues.job_text import short_text
from unitq.text import duration, number, plural, unitq

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unitq.rollout.reports.report import (
        Attempt,
        Command,
        Report,
        ReportedInstance,
        ReportedJob,
        ReportedOrphan,
        StopTimeout,
    )

_NAMED = 5  # instances that one line names
_ADVICE = " (it has no handler for it, or was not up yet: is stop_signal the right one?)"
# What the kernel sends to a program that goes wrong, and what abort(3) does (signal(7)): no stop.
_CRASHES = {f"died of {name}" for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")}


class Line(NamedTuple):
    """One line, and whether it is about something that went wrong."""

    text: str
    wrong: bool = False


def block(report: Report) -> list[Line]:
    """Returns all that a report says: what, where, when and by whom; of each command."""
    lines = [Line(_headline(report))]
    for command in report.earlier:
        lines += [Line(_by(command)), *_attempts(command)]
    return _without_repeats([*lines, Line(_by(report)), *ending(report)])


def _without_repeats(lines: Iterable[Line]) -> list[Line]:
    """Leaves out the log of a failure that an earlier command of the rollout has shown."""
    kept: list[Line] = []
    shown: set[tuple[str, ...]] = set()
    groups: list[list[Line]] = []
    for line in lines:
        if groups and line.text.startswith("  | "):
            groups[-1].append(line)
        else:
            groups.append([line])
    for first, *log in groups:
        key = (first.text.partition(" failed: ")[0], *(line.text for line in log))
        kept += [first, *([Line("  | as above", wrong=True)] if log and key in shown else log)]
        shown.add(key)
    return kept


def ending(report: Report) -> list[Line]:
    """Returns what failed and why, what was killed, the closing line, what to type next."""
    lines = _attempts(report, report.error)
    if report.orphans:
        lines.append(Line(f"warning: {_orphans(report, report.orphans)}", wrong=True))
    if report.no_rollback:
        lines.append(Line(f"  not rolled back: {report.no_rollback}", wrong=True))
    if report.next:
        lines.append(Line(f"  next: {report.next}", wrong=True))
    return lines


def _attempts(command: Command, error: str | None = None) -> list[Line]:
    """Returns what became of the instances in the rollout and in the rollback after it."""
    lines = [*_mishaps(command.instances), *_dropped_jobs(command)]
    if error:
        lines.append(Line(f"  the rollout ended there: {error}", wrong=True))
    lines += [Line(text) for text in limits(command.stop_timeouts)]
    first, *second = command.summary
    lines.append(Line(first))
    if back := command.rollback:
        lines += _mishaps(back.instances)
        lines += [Line(text) for text in limits(back.stop_timeouts)]
        lines += _dropped_jobs(back)
    return [*lines, *(Line(text) for text in second)]


def limits(rows: Iterable[StopTimeout]) -> list[str]:
    """Returns which stop_timeout holds for old processes, for each worker where it changes."""
    return [f"{row.worker}: drains for {_limit(row)}" for row in rows]


def _limit(row: StopTimeout) -> str:
    def span(seconds: float | None) -> str:
        return "as long as it takes" if seconds is None else duration(seconds)

    applied, before, after = row.seconds, row.before, row.after
    most = span(applied) if applied is None else f"up to {span(applied)}"
    if applied == after:
        return f"{most} (the new stop_timeout; {span(before)} before)"
    return f"{most} (the old stop_timeout; {span(after)} once the new processes run)"


def _orphans(report: Report, orphans: Sequence[ReportedOrphan]) -> str:
    old = sum(orphan.current is False for orphan in orphans)
    count = plural(len(orphans), "orphan")
    code = "" if not old else " on old code" if old == len(orphans) else f", {old} on old code"
    typed = unitq(report.app, user=report.user)
    where = f"{count} of {report.app}{code}, outside its units"
    return f"{where}: `{typed} orphans` shows more, --drain ends them"


def _headline(report: Report) -> str:
    app = f"{report.app}{' (--user)' * report.user} on {report.host}"
    versions = sorted(set(report.code_versions.values()))
    code = versions[0] if len(versions) == 1 else f"{len(versions)} releases"
    _, _, fingerprint = report.revision.partition("-")
    words = f"revision {number(report.revision)} ({fingerprint}, {code})"
    if report.previous_revision not in (None, report.revision):
        words += f", replaces {number(report.previous_revision)}"
    if report.restores is not None:
        words += f", restores {report.restores}"
    if report.rollout is None:
        return f"{report.command} of {app}: {words}"
    return f"rollout {report.rollout} of {app}: {report.command} of {words}"


def _by(command: Command) -> str:
    began, ended = time.localtime(command.began), time.localtime(command.ended)
    same_day = began[:3] == ended[:3]
    until = time.strftime("%H:%M:%S %Z" if same_day else "%Y-%m-%d %H:%M:%S %Z", ended)
    since = time.strftime("%Y-%m-%d %H:%M:%S", began)
    return f"  by {command.by}, {since} to {until}: {command.command_line}"


def _mishaps(rows: Sequence[ReportedInstance]) -> Iterable[Line]:
    shown: dict[tuple[str, ...], str] = {}
    for row in rows:
        if row.phase == "failed":
            yield Line(f"{row.instance} failed: {row.reason}", wrong=True)
            log = _general_log(row)
            if log and log in shown:
                yield Line(f"  | as {shown[log]}", wrong=True)
                continue
            shown[log] = row.instance
            yield from (Line(f"  | {text}", wrong=True) for text in row.log)
    for row in rows:
        if row.ending == "killed":
            yield Line(
                f"warning: {row.instance} was killed after "
                f"{duration(row.drain_seconds or 0.0)} ({row.ending_detail}, "
                f"PID {row.pid_before}): {_loss(row)}",
                wrong=True,
            )
            if row.phase != "failed":
                yield from (Line(f"  | {text}", wrong=True) for text in row.log)
    for row in rows:
        for job in row.jobs or ():
            yield Line(f"  {_fate(row)}: {_job(job)}", wrong=True)
    for row in rows:
        if row.ending == "killed":
            yield from _possible_jobs(row)
    for row in rows:
        if row.ending == "drained" and row.ending_detail:
            yield Line(f"warning: {row.instance} drained; {row.ending_detail}", wrong=True)
    for row in rows:
        for change in row.external_changes:
            yield Line(f"warning: {row.instance} was {change} meanwhile", wrong=True)
    yield from (Line(f"warning: {text}", wrong=True) for text in _did_not_drain(rows))
    yield from _unsafe_stops(rows)


def _general_log(row: ReportedInstance) -> tuple[str, ...]:
    """Returns what a failed instance printed, without what tells it from another one.

    Sorted: what a worker prints and what systemd says of it race to the journal.
    """
    number = row.instance.rpartition("@")[2]
    names = (re.escape(row.unit), re.escape(row.instance), rf"\binstance {number}\b")
    own = re.compile("|".join((*names, r"\b(?i:pid) \d+")))
    return tuple(sorted(own.sub("%", text) for text in row.log))


def kill_notes(row: ReportedInstance) -> list[str]:
    """Returns what there is to say of a killed instance, without what it printed."""
    lines = [line.text for line in _mishaps([row]) if not line.text.startswith("  | ")]
    return [line.strip().removeprefix("warning: ") for line in lines]


def _loss(row: ReportedInstance) -> str:
    jobs = row.jobs
    if jobs is not None:
        return plural(len(jobs), "in-flight job") if jobs else "it had no in-flight job"
    if row.possible_jobs is None:
        return "its job may be lost"
    if not row.possible_jobs:
        return "its queues had no in-flight job"
    return "its job may be lost; its framework does not record which one"


def _possible_jobs(row: ReportedInstance) -> Iterable[Line]:
    """Yields the jobs of which one may have been its own."""
    if row.jobs is None:
        yield from _first_jobs(f"  perhaps lost with {row.instance}", row.possible_jobs or ())


def _dropped_jobs(attempt: Attempt) -> Iterable[Line]:
    """Yields the jobs that a worker took just before its stop signal, and did not begin."""
    jobs = attempt.dropped_jobs
    if jobs:
        yield Line(
            f"warning: {plural(len(jobs), 'job')} taken by a worker that was told to stop, and not "
            "begun; RQ puts such a job into its failed list some minutes later",
            wrong=True,
        )
    yield from _first_jobs("  perhaps lost", jobs)


def _first_jobs(head: str, jobs: Sequence[ReportedJob]) -> Iterable[Line]:
    for job in jobs[:_NAMED]:
        yield Line(f"{head}: {_job(job)}", wrong=True)
    if (more := len(jobs) - _NAMED) > 0:
        yield Line(f"  and {more} more: --json has all of them", wrong=True)


def _fate(row: ReportedInstance) -> str:
    """Returns what became of its in-flight jobs."""
    back = row.requeued
    if back is None:
        return f"lost with {row.instance}"
    if back.done:
        return f"put back into its queue ({row.instance} had it)"
    return f"lost with {row.instance}, and not put back ({back.why_not})"


def _job(job: ReportedJob) -> str:
    """Returns all that it takes to find a job again: an operator may have to do it."""
    what = short_text(job.name or "a job")
    identity = f" {short_text(job.id)}" if job.id else ""
    since = "" if job.since is None else f", begun {_clock(job.since)}"
    queue = f" of queue {short_text(job.queue)}" if job.queue else ""
    # What it printed does not tell the payload.
    payload = f"payload {job.hash}" if job.hash else "as it printed"
    return f"{what}{identity}{queue}{since}, {payload}"


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _unsafe_stops(rows: Sequence[ReportedInstance]) -> Iterable[Line]:
    """Yields the workers that a stop does not reach, those together that are started alike."""
    groups: dict[str, list[ReportedInstance]] = {}
    for row in rows:
        if words := row.unreached:
            groups.setdefault(re.sub(r" \(PID \d+\)", "", words), []).append(row)
    for words, alike in groups.items():
        why = alike[0].unreached if len(alike) == 1 else words
        yield Line(f"warning: {_names([row.instance for row in alike])}: {why}", wrong=True)
        yield Line(
            "  a stop can cost its job; let the command begin with the worker itself, or a script "
            "end with `exec` and the worker",
            wrong=True,
        )


def _did_not_drain(rows: Sequence[ReportedInstance]) -> Iterable[str]:
    """Yields a line for each way to end: a hundred instances often end the same way."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.ending in ("died", "unknown"):
            groups.setdefault(row.ending_detail, []).append(row.instance)
    for detail, instances in groups.items():
        advice = _ADVICE * detail.startswith("died of SIG")
        if detail.partition(" (")[0] in _CRASHES:
            advice = ", so it crashed: its job may be lost"
        yield f"{_names(instances)} did not drain: {detail}{advice}"


def _names(instances: Sequence[str]) -> str:
    more = f" and {len(instances) - _NAMED} more" * (len(instances) > _NAMED)
    return f"{', '.join(instances[:_NAMED])}{more}"
