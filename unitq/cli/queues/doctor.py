"""queues doctor: registrations against processes; what is dead is removed if asked to."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.cli.output import confirm, echo, echo_json, echo_lines
from unitq.cli.queues import text as queue_text
from unitq.errors import ConfigError, Exit
from unitq.linux import proc
from unitq.queues.job_text import job_text, short_text
from unitq.queues.registrations import Finding, Living, Status, classify
from unitq.text import plural, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Sample
    from unitq.queues.prune import Pruned
    from unitq.queues.reader import Source
    from unitq.queues.sources import QueueAccess


class Diagnosis(NamedTuple):
    """A registration, where it is, and what has become of it."""

    source: Source
    finding: Finding
    pruned: Pruned | None = None

    @property
    def bad(self) -> bool:
        return self.finding.status.bad and not (self.pruned and self.pruned.done)

    @property
    def prunable(self) -> bool:
        from unitq.queues.prune import FAMILIES

        known = self.source.keys.registry in FAMILIES
        return known and self.finding.status is Status.DEAD and self.pruned is None


def living(pid: int) -> Living | None:
    """The process of that PID."""
    found = proc.living(pid)
    return Living(*found) if found else None


def examine(app: str, found: QueueAccess, *, as_json: bool, prune: bool, yes: bool) -> int:
    """Looks, says what there is, removes what may be; the exit code."""
    from unitq.queues.snapshot import take_snapshot

    if as_json and prune and not yes:
        raise ConfigError("--prune --json cannot ask", hint="add --yes")
    host = os.uname().nodename
    samples = take_snapshot(found.connection, found.sources, numbers=False)
    diagnoses = _diagnoses(app, host, found, samples)
    if prune and any(diagnosis.prunable for diagnosis in diagnoses):
        if not yes:
            echo_lines(_text(app, host, found, diagnoses, samples))
            count = sum(diagnosis.prunable for diagnosis in diagnoses)
            if not confirm(f"Remove {plural(count, 'dead worker')}?"):
                echo("not removed; nothing was changed")
                return Exit.INTERRUPTED
        # Somebody has thought about the answer meanwhile: the processes are looked for once more.
        now = _diagnoses(app, host, found, samples)
        diagnoses = [
            _prune(found, diagnosis, after.finding)
            for diagnosis, after in zip(diagnoses, now, strict=True)
        ]
    lost = [job for sample in samples for job in sample.jobs if job.stale]
    bad = any(diagnosis.bad for diagnosis in diagnoses) or bool(lost)
    code = Exit.NOT_AS_WANTED if bad else Exit.OK
    if code is Exit.OK and any(sample.refused for sample in samples):
        code = Exit.BROKEN  # Redis refused to say it: to see none does not mean that all is well
    if as_json:
        echo_json(_json(app, host, found, diagnoses, samples, code))
        return code
    echo_lines(_text(app, host, found, diagnoses, samples))
    for sample in samples:
        for note in sample.notes:
            echo(f"note: {note}", err=True)
    if any(diagnosis.prunable for diagnosis in diagnoses):
        echo("  next: `unitq queues doctor --prune` removes the dead ones", err=True)
    return code


def _diagnoses(
    app: str, host: str, found: QueueAccess, samples: Sequence[Sample]
) -> list[Diagnosis]:
    return [
        Diagnosis(source, finding)
        for source, sample in zip(found.sources, samples, strict=True)
        for finding in classify(
            sample.registry.workers or (), app=app, host=host, living=living, now=time.time()
        )
    ]


def _prune(found: QueueAccess, diagnosis: Diagnosis, now: Finding) -> Diagnosis:
    """The diagnosis, pruned if it is still dead."""
    from unitq.queues.prune import Pruned, prune

    if not diagnosis.prunable:
        return diagnosis
    if now.status is not Status.DEAD:
        return diagnosis._replace(finding=now, pruned=Pruned(done=False, words="it lives again"))
    outcome = prune(found.connection, diagnosis.source, now.registration, now.why)
    return diagnosis._replace(pruned=outcome)


def _text(
    app: str,
    host: str,
    found: QueueAccess,
    diagnoses: Sequence[Diagnosis],
    samples: Sequence[Sample],
) -> list[str]:
    lines = [f"{app} · {found.connection.where} · host {host}"]
    rest = [p for p in diagnoses if p.finding.status is not Status.SERVING]
    now = samples[0].time
    if rest:
        rows = []
        for diagnosis in rest:
            finding = diagnosis.finding
            jobs = ", ".join(job_text(job, now) for job in finding.jobs) or "-"
            outcome = diagnosis.pruned.words if diagnosis.pruned else finding.why
            name = short_text(finding.registration.id)
            rows.append((name, finding.status.value, jobs, outcome))
        # The last column is as long as it wants to be.
        lines += table(("WORKER", "STATE", "JOB IN HAND", "WHY"), rows)
    for sample in samples:
        for job in sample.jobs:
            if job.stale:
                words = job_text(job, now)
                note = f"; {job.note}" if job.note else ""
                lines.append(f"{short_text(job.queue)}: {words}: {job.stale}{note}")
    counts = Counter(diagnosis.finding.status for diagnosis in diagnoses)
    if diagnoses:
        parts = [f"{counts[each]} {each}" for each in Status if counts[each]]
        lines.append(f"{plural(len(diagnoses), 'worker')} registered: {', '.join(parts)}")
    elif any(sample.notes for sample in samples):
        lines.append("which workers are registered is not known: Redis does not say it")
    elif any(sample.registry.workers is not None for sample in samples):
        lines.append("no worker is registered")
    else:
        names = ", ".join(sample.preset for sample in samples)
        lines.append(f"{names}: its workers are not in Redis")
    return lines


def _json(
    app: str,
    host: str,
    found: QueueAccess,
    diagnoses: Sequence[Diagnosis],
    samples: Sequence[Sample],
    code: Exit,
) -> dict[str, Any]:
    return {
        "format": 1,
        "app": app,
        "host": host,
        "redis": found.connection.where,
        "exit_code": int(code),
        "workers": [_worker(diagnosis) for diagnosis in diagnoses],
        "stale_jobs": [
            queue_text.job_json(sample.preset, job) | {"why": job.stale, "what_follows": job.note}
            for sample in samples
            for job in sample.jobs
            if job.stale
        ],
        "notes": [note for sample in samples for note in sample.notes],
    }


def _worker(diagnosis: Diagnosis) -> dict[str, Any]:
    source, finding, pruned = diagnosis
    one = finding.registration
    return {
        "preset": source.preset,
        "id": one.id,
        "host": one.host,
        "pid": one.pid,
        "queues": None if one.queues is None else list(one.queues),
        "since": None if one.since is None else round(one.since, 3),
        "heartbeat": None if one.heartbeat is None else round(one.heartbeat, 3),
        "state": finding.status.value,
        "stale": finding.status.bad,
        "why": finding.why,
        "instance": finding.instance or None,
        "unit": finding.unit or None,
        "jobs": [queue_text.job_json(source.preset, job) for job in finding.jobs],
        "pruned": None if pruned is None else pruned.done,
        "outcome": None if pruned is None else pruned.words,
    }
