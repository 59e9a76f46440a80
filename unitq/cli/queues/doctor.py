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
from unitq.queues.job_text import job_text, shown
from unitq.queues.registrations import Finding, Living, Standing, judged
from unitq.text import plural, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Sample
    from unitq.queues.prune import Pruned
    from unitq.queues.reader import Source
    from unitq.queues.sources import Way


class Patient(NamedTuple):
    """A registration, where it is, and what has become of it."""

    source: Source
    finding: Finding
    pruned: Pruned | None = None

    @property
    def bad(self) -> bool:
        return self.finding.standing.bad and not (self.pruned and self.pruned.done)

    @property
    def prunable(self) -> bool:
        from unitq.queues.prune import FAMILIES

        known = self.source.keys.registry in FAMILIES
        return known and self.finding.standing is Standing.DEAD and self.pruned is None


def living(pid: int) -> Living | None:
    """The process of that PID."""
    found = proc.living(pid)
    return Living(*found) if found else None


def examined(app: str, found: Way, *, as_json: bool, prune: bool, yes: bool) -> int:
    """Looks, says what there is, removes what may be; the exit code."""
    from unitq.queues.snapshot import take_snapshot

    if as_json and prune and not yes:
        raise ConfigError("--prune --json cannot ask", hint="add --yes")
    host = os.uname().nodename
    samples = take_snapshot(found.connection, found.sources, numbers=False)
    patients = _patients(app, host, found, samples)
    if prune and any(patient.prunable for patient in patients):
        if not yes:
            echo_lines(_text(app, host, found, patients, samples))
            count = sum(patient.prunable for patient in patients)
            if not confirm(f"Remove {plural(count, 'dead worker')}?"):
                echo("not removed; nothing was changed")
                return Exit.INTERRUPTED
        # Somebody has thought about the answer meanwhile: the processes are looked for once more.
        now = _patients(app, host, found, samples)
        patients = [
            _treated(found, patient, after.finding)
            for patient, after in zip(patients, now, strict=True)
        ]
    lost = [job for sample in samples for job in sample.jobs if job.stale]
    bad = any(patient.bad for patient in patients) or bool(lost)
    code = Exit.NOT_AS_WANTED if bad else Exit.OK
    if code is Exit.OK and any(sample.refused for sample in samples):
        code = Exit.BROKEN  # Redis refused to say it: to see none does not mean that all is well
    if as_json:
        echo_json(_json(app, host, found, patients, samples, code))
        return code
    echo_lines(_text(app, host, found, patients, samples))
    for sample in samples:
        for note in sample.notes:
            echo(f"note: {note}", err=True)
    if any(patient.prunable for patient in patients):
        echo("  next: `unitq queues doctor --prune` removes the dead ones", err=True)
    return code


def _patients(app: str, host: str, found: Way, samples: Sequence[Sample]) -> list[Patient]:
    return [
        Patient(source, finding)
        for source, sample in zip(found.sources, samples, strict=True)
        for finding in judged(
            sample.registry.workers or (), app=app, host=host, living=living, now=time.time()
        )
    ]


def _treated(found: Way, patient: Patient, now: Finding) -> Patient:
    """The patient, pruned if it is still dead."""
    from unitq.queues.prune import Pruned, prune

    if not patient.prunable:
        return patient
    if now.standing is not Standing.DEAD:
        return patient._replace(finding=now, pruned=Pruned(done=False, words="it lives again"))
    outcome = prune(found.connection, patient.source, now.registration, now.why)
    return patient._replace(pruned=outcome)


def _text(
    app: str, host: str, found: Way, patients: Sequence[Patient], samples: Sequence[Sample]
) -> list[str]:
    lines = [f"{app} · {found.connection.where} · host {host}"]
    rest = [p for p in patients if p.finding.standing is not Standing.SERVING]
    now = samples[0].time
    if rest:
        rows = []
        for patient in rest:
            finding = patient.finding
            jobs = ", ".join(job_text(job, now) for job in finding.jobs) or "-"
            outcome = patient.pruned.words if patient.pruned else finding.why
            name = shown(finding.registration.id)
            rows.append((name, finding.standing.value, jobs, outcome))
        # The last column is as long as it wants to be.
        lines += table(("WORKER", "STATE", "JOB IN HAND", "WHY"), rows)
    for sample in samples:
        for job in sample.jobs:
            if job.stale:
                words = job_text(job, now)
                note = f"; {job.note}" if job.note else ""
                lines.append(f"{shown(job.queue)}: {words}: {job.stale}{note}")
    counts = Counter(patient.finding.standing for patient in patients)
    if patients:
        parts = [f"{counts[each]} {each}" for each in Standing if counts[each]]
        lines.append(f"{plural(len(patients), 'worker')} registered: {', '.join(parts)}")
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
    found: Way,
    patients: Sequence[Patient],
    samples: Sequence[Sample],
    code: Exit,
) -> dict[str, Any]:
    return {
        "format": 1,
        "app": app,
        "host": host,
        "redis": found.connection.where,
        "exit_code": int(code),
        "workers": [_worker(patient) for patient in patients],
        "stale_jobs": [
            queue_text.job_json(sample.preset, job) | {"why": job.stale, "what_follows": job.note}
            for sample in samples
            for job in sample.jobs
            if job.stale
        ],
        "notes": [note for sample in samples for note in sample.notes],
    }


def _worker(patient: Patient) -> dict[str, Any]:
    source, finding, pruned = patient
    one = finding.registration
    return {
        "preset": source.preset,
        "id": one.id,
        "host": one.host,
        "pid": one.pid,
        "queues": None if one.queues is None else list(one.queues),
        "since": None if one.since is None else round(one.since, 3),
        "heartbeat": None if one.heartbeat is None else round(one.heartbeat, 3),
        "state": finding.standing.value,
        "stale": finding.standing.bad,
        "why": finding.why,
        "instance": finding.instance or None,
        "unit": finding.unit or None,
        "jobs": [queue_text.job_json(source.preset, job) for job in finding.jobs],
        "pruned": None if pruned is None else pruned.done,
        "outcome": None if pruned is None else pruned.words,
    }
