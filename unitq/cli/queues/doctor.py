"""queues doctor: compares registered workers with processes; --prune removes the dead ones."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from unitq.cli.output import confirm, echo, echo_json, echo_lines
from unitq.cli.scope import json_option, scope_options
from unitq.errors import ConfigError, Exit
from unitq.queues.job_text import job_text, short_text
from unitq.text import plural, table

if TYPE_CHECKING:
    from unitq.api import App
    from unitq.queues.doctor import RegistrationList


@click.command(
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
@json_option
@click.option(
    "--prune", is_flag=True, help="Remove the dead workers of this host, their jobs marked failed."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def doctor(app: App, as_json: bool, prune: bool, yes: bool) -> int:
    """Find workers that are registered in Redis and dead, and jobs that no worker holds.

    A worker of this host is dead if its process is gone, or if its PID is another process now. One
    whose process runs outside every unit of the app is an orphan: nothing supervises it, and it may
    run old code. Workers of other hosts are listed and never touched. --prune removes the dead as
    their framework would: an in-flight job is first marked as failed if the framework can do so.
    """
    if as_json and prune and not yes:
        raise ConfigError("--prune --json cannot ask", hint="add --yes")
    examination = app.queue_doctor(prune=prune)
    registered = examination.examine()
    if prune and registered.prunable:
        if not yes:
            echo_lines(_lines(registered))
            if not confirm(f"Remove {plural(registered.prunable, 'dead worker')}?"):
                echo("not removed; nothing was changed")
                return Exit.INTERRUPTED
        registered = examination.prune(registered)
    if as_json:
        echo_json(registered.to_json())
        return registered.exit_code
    echo_lines(_lines(registered))
    for note in registered.notes:
        echo(f"note: {note}", err=True)
    if registered.prunable:
        echo("  next: `unitq queues doctor --prune` removes the dead ones", err=True)
    return registered.exit_code


def _lines(registered: RegistrationList) -> list[str]:
    lines = [f"{registered.app} · {registered.redis} · host {registered.host}"]
    workers, samples = registered.workers, registered.samples
    now, counts = samples[0].time, Counter(worker.finding.status for worker in workers)
    rows = []
    for worker in workers:
        finding = worker.finding
        if finding.status != "serving":
            jobs = ", ".join(job_text(job, now) for job in finding.jobs) or "-"
            outcome = worker.pruned.words if worker.pruned else finding.why
            name = short_text(finding.registration.id)
            rows.append((name, finding.status.value, jobs, outcome))
    if rows:
        lines += table(("WORKER", "STATE", "JOB IN HAND", "WHY"), rows)
    for _, job in registered.stale_jobs:
        note = f"; {job.note}" if job.note else ""
        lines.append(f"{short_text(job.queue)}: {job_text(job, now)}: {job.stale}{note}")
    if workers:
        parts = [f"{counts[state]} {state}" for state in registered.states if counts[state]]
        lines.append(f"{plural(len(workers), 'worker')} registered: {', '.join(parts)}")
    elif registered.notes:
        lines.append("which workers are registered is not known: Redis does not say it")
    elif any(sample.registry.workers is not None for sample in samples):
        lines.append("no worker is registered")
    else:
        names = ", ".join(sample.preset for sample in samples)
        lines.append(f"{names}: its workers are not in Redis")
    return lines
