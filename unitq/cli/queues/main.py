"""queues: how many jobs wait, who takes them, and how fast."""

from __future__ import annotations

import select
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.cli.queues import text as queue_text
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit
from unitq.queues import model
from unitq.queues.job_text import job_text, short_text
from unitq.queues.sources import QueueAccess, load_app, queue_access
from unitq.text import plural
from unitq.toml.values import SPAN, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Sample

_JOBS_SHOWN = 20


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> float:  # noqa: ARG001
    try:
        found = span(value).seconds
    except ValueError:
        raise click.BadParameter(f"expected {SPAN}") from None
    if found > 3600:
        raise click.BadParameter("at most 1 h")
    return found


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  unitq queues                          lengths, and rates from two looks one second apart
  unitq queues --interval 10s           steadier rates
  unitq queues --interval 0             one look, no rates
  unitq queues --json | jq '.queues[] | select(.waiting > 1000)'
  unitq queues --watch
  unitq queues --watch --json           a line for each look
  unitq queues doctor                   registered workers that are dead

\b
Exit codes: 0; 1 Redis does not answer, or refuses part of it; 2 the configuration does not say
where the queues are.
""",
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--interval", default="1s", show_default=True, metavar="SPAN", callback=_seconds,
    help="The time between two looks, for the rates; 0: one look.",
)  # fmt: skip
@click.pass_context
def queues(context: click.Context, as_json: bool, watch: bool, interval: float) -> int:
    """Show the queues: what waits, what is in hand, what failed, and how fast it goes.

    Only reads, and takes unitq.toml for where Redis is and whose keys there are. IN/S and OUT/S
    with a "≥" come from the lengths alone: what came and went between two looks is not in it.
    """
    if context.invoked_subcommand is not None:
        return Exit.OK
    scope = current()
    app, path = load_app(scope)
    found = queue_access(app, scope.presets(), str(path))
    if watch:
        from unitq.cli.queues.watch import watched

        if not interval:
            raise click.UsageError("--watch needs a time between two looks; --interval 0 is one")
        below = partial(_print, app.name, found, as_json=as_json)
        return watched(found, interval, None if is_terminal() and not as_json else below)
    before, now = _looked(found, interval)
    _print(app.name, found, before, now, as_json=as_json)
    if not as_json:
        for note in _notes(now):
            echo(f"note: {note}", err=True)
    # What Redis has refused may be any number: to print the rest is not all that was asked for.
    return Exit.BROKEN if any(sample.refused for sample in now) else Exit.OK


def _looked(found: QueueAccess, interval: float) -> tuple[list[Sample] | None, list[Sample]]:
    from unitq.queues.snapshot import take_snapshot

    before = None
    if interval:
        # Ages and workers are of interest only as they are now.
        before = take_snapshot(found.connection, found.sources, ages=False)
        select.select([], [], [], interval)
    return before, take_snapshot(found.connection, found.sources)


def _print(
    name: str,
    found: QueueAccess,
    before: Sequence[Sample] | None,
    now: Sequence[Sample],
    *,
    as_json: bool,
) -> None:
    if as_json:
        echo_json(_json(name, found, before, now), indent=None)
    else:
        echo_lines(_text(name, found, before, now))


def _notes(samples: Sequence[Sample]) -> list[str]:
    every = [note for sample in samples for note in sample.notes]
    every += [words for sample in samples for words in model.pauses(sample)]
    if not any(sample.queues for sample in samples):
        every.append(queue_text.NO_QUEUES)
    return list(dict.fromkeys(every))


def _text(
    name: str, found: QueueAccess, before: Sequence[Sample] | None, now: Sequence[Sample]
) -> list[str]:
    time = now[0].time
    lines = [f"{name} · {found.connection.where}"]
    lines += queue_text.text(queue_text.rows(now, before), time)
    jobs = [job for sample in now for job in sample.jobs]
    if jobs:
        lines += ["", f"in hand: {plural(len(jobs), 'job')}"]
        jobs.sort(key=lambda job: job.since or time)
        for job in jobs[:_JOBS_SHOWN]:
            worker = f", {short_text(job.worker)}" if job.worker else ""
            stale = f" · {job.stale}" if job.stale else ""
            words = job_text(job, time)
            lines.append(f"  {words} ({short_text(job.queue)}{worker}){stale}")
        if len(jobs) > _JOBS_SHOWN:
            lines.append(f"  and {len(jobs) - _JOBS_SHOWN} more; --json has them all")
    return lines


def _json(
    name: str, found: QueueAccess, before: Sequence[Sample] | None, now: Sequence[Sample]
) -> dict[str, Any]:
    time = now[0].time
    rows = [queue_text.row_json(preset, row, time) for preset, row in queue_text.rows(now, before)]
    return {
        "format": 1,
        "app": name,
        "redis": found.connection.where,
        "at": round(time, 3),
        "interval_seconds": round(now[0].at - before[0].at, 3) if before else None,
        "queues": [row for row in rows if row["queue"] is not None],
        "all": [row for row in rows if row["queue"] is None],
        "jobs": [queue_text.job_json(sample.preset, job) for sample in now for job in sample.jobs],
        "notes": _notes(now),
    }


@queues.command(
    epilog="""\b
Examples:
  unitq queues doctor
  unitq queues doctor --prune           show the dead, ask, and remove them
  unitq queues doctor --prune --yes --json

\b
Exit codes: 0 nothing is stale; 1 Redis does not answer, or refuses part of it; 3 something is,
also after --prune.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option(
    "--prune", is_flag=True, help="Remove the dead workers of this host, their jobs marked failed."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def doctor(as_json: bool, prune: bool, yes: bool) -> int:
    """Find workers that are registered in Redis and dead, and jobs that nobody works on.

    A worker of this host is dead if its process is gone, or if its PID is another process now. One
    whose process lives outside every unit of the app is an orphan: nobody supervises it, and it may
    run old code. Workers of other hosts are listed and never touched. --prune removes the dead as
    their framework would have: a job in hand is first marked as failed where the framework can.
    """
    from unitq.cli.queues.doctor import examine

    scope = current()
    app, path = load_app(scope, reading=not prune)
    found = queue_access(app, scope.presets(), str(path))
    return examine(app.name, found, as_json=as_json, prune=prune, yes=yes)
