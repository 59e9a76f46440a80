"""What `check` says of a configuration that is valid but may not be meant so. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.cmdline.exec_line import names_folder, prefixes, shell_sign
from unitq.config import option_lint, preset_lint, wrapper_lint
from unitq.model.app import ROLLOUT
from unitq.model.finding import Certainty, Finding, WorkerFacts, note, warning
from unitq.model.hardening import Hardening
from unitq.model.settings import OnDrainTimeout
from unitq.model.suggest import nearest
from unitq.presets import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from unitq.model.app import App, Probe, Worker
    from unitq.model.settings import RolloutSettings
    from unitq.presets.model import Preset

_SHORT_STOP = 30.0  # seconds


def lint_app(
    app: App,
    presets: Mapping[str, Preset] | None = None,
    seen: Mapping[str, WorkerFacts] | None = None,
) -> list[Finding]:
    """What can be said of a configuration.

    `seen` has what was found on the machine for each worker; without it less can be said.
    """
    findings = [*_of_rollout(app.rollout)]
    for worker in app.workers:
        there = (seen or {}).get(worker.name, WorkerFacts())
        findings += _of_worker(worker, app.rollout, there)
        wait = app.rollout.on_drain_timeout is OnDrainTimeout.WAIT
        findings += _of_signs(worker)
        preset = (presets or {}).get(worker.preset or "")
        own = preset.for_command(worker.command) if preset and preset.name != NONE else None
        findings += wrapper_lint.of_worker(worker, presets or {}, own, there)
        findings += preset_lint.of_worker(worker, presets or {}, there)
        findings += option_lint.of_worker(worker, presets or {}, there, app.rollout, wait=wait)
    return findings


def _of_rollout(rollout: RolloutSettings) -> Iterator[Finding]:
    """Yields what is set and means nothing."""
    for key in ("canary_soak", "promote") if not rollout.canary.number else ():
        if getattr(rollout, key) != getattr(ROLLOUT, key):
            yield note(
                f"rollout.{key}",
                "means nothing without canaries",
                "`canary` says how many instances of each worker go first",
                name="no-canary",
                sure=Certainty.CERTAIN,
            )


def _of_worker(worker: Worker, rollout: RolloutSettings, seen: WorkerFacts) -> Iterator[Finding]:
    place = f"workers.{worker.name}"
    killed = rollout.on_drain_timeout is OnDrainTimeout.KILL
    if killed and worker.stop_timeout.seconds < _SHORT_STOP:
        yield note(
            f"{place}.stop_timeout",
            f"a job that needs longer than {worker.stop_timeout} is killed by a deploy",
            "give it the time of the longest job, and some more",
            name="short-stop",
        )
    # Without a link the whole path leads where the relative one does.
    if not seen.in_place and names_folder(worker.command, worker.directory):
        yield warning(
            f"{place}.command",
            f"names {worker.directory}",
            "write paths relative to `directory`; the command runs in it",
            "after a crash it would run the release of that time, deployed or not",
            "moving-path",
        )
    if worker.probe:
        release = "" if seen.in_place else worker.directory
        yield from _of_probe(worker.probe, release, f"{place}.probe.command")
    if worker.hardening not in (None, Hardening.OFF) and "+" in prefixes(worker.command):
        yield warning(
            f"{place}.command",
            'begins with "+"',
            'leave the "+" out',
            "systemd then applies neither `user` nor `hardening`",
            sure=Certainty.CERTAIN,
        )


def _of_signs(worker: Worker) -> Iterator[Finding]:
    """Yields what only a shell would understand."""
    commands = {"command": worker.command}
    if worker.probe:
        commands["probe.command"] = worker.probe.command
    for key, command in commands.items():
        if sign := shell_sign(command):
            yield warning(
                f"workers.{worker.name}.{key}",
                f"the program gets {sign} as an argument",
                f"{_without_sign(sign)}; put {sign} into quotes if it is meant",
                "systemd starts the program without a shell",
                "shell-syntax",
            )


def _without_sign(sign: str) -> str:
    """What to write in place of what only a shell would understand."""
    if sign == "&":
        return "leave it out: systemd runs the worker in the background"
    if "<" not in sign and ">" in sign:
        return (
            "leave the redirection out: `unitq logs` has the output; for a file: service = "
            '{ StandardOutput = "append:/path", StandardError = "append:/path" }'
        )
    return (
        "`directory` takes the place of `cd X &&`; what needs a shell is "
        "command = '/bin/bash -c \"… exec the-worker\"'"
    )


def _of_probe(probe: Probe, directory: str, place: str) -> Iterator[Finding]:
    if "-" in prefixes(probe.command):
        yield warning(
            place,
            'begins with "-"',
            'leave the "-" out',
            "systemd then takes every failure for a success",
            "ignored-failure",
            Certainty.CERTAIN,
        )
    if names_folder(probe.command, directory):
        yield warning(
            place,
            f"names {directory}",
            "write paths relative to `directory`; the command runs in it",
            "it would ask with the newest release's code, not with the instance's",
            "moving-path",
        )


# --- `allow` --------------------------------------------------------------------------------------


def remove_allowed(findings: Iterable[Finding], app: App) -> list[Finding]:
    """Returns the findings that nobody allows, and a note for each name that silences nothing.

    A worker's `allow` is for its own findings, the app's for all.
    """
    own = {worker.name: frozenset(worker.allow) for worker in app.workers}
    shared = frozenset(app.allow)
    kept: list[Finding] = []
    used: set[tuple[str, str]] = set()  # name of the worker, or none; name of the finding
    for finding in findings:
        worker = _worker_of(finding.place)
        if not finding.name:
            kept.append(finding)
        elif finding.name in own.get(worker, ()):
            used.add((worker, finding.name))
        elif finding.name in shared:
            used.add(("", finding.name))
        else:
            kept.append(finding)
    places = {"": shared, **own}
    names_said = {finding.name for finding in kept if finding.name}
    unused = [
        note(
            f"workers.{worker}.allow" if worker else "allow",
            f'"{name}" silences nothing',
            f'did you mean "{near}"?' if (near := nearest(name, names_said)) else "leave it out",
            sure=Certainty.CERTAIN,
        )
        for worker, names in places.items()
        for name in sorted(names)
        if (worker, name) not in used
    ]
    return kept + unused


def _worker_of(place: str) -> str:
    """Returns the worker that a place is of; empty where it is of none."""
    parts = place.split(".")
    return parts[1] if parts[0] == "workers" and len(parts) > 1 else ""
