"""What `check` says of a configuration that is valid but may not be meant so. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.cmdline.exec_line import names_folder, prefixes, shell_sign
from unitq.config import option_lint, preset_lint, wrapper_lint
from unitq.model.app import ROLLOUT
from unitq.model.finding import Certainty, Finding, Level, Seen
from unitq.model.hardening import Hardening
from unitq.model.settings import OnDrainTimeout
from unitq.presets import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.model.app import App, Probe, Worker
    from unitq.model.settings import RolloutSettings
    from unitq.presets.model import Preset

_SHORT_STOP = 30.0  # seconds


def lint_app(
    app: App, presets: Mapping[str, Preset] | None = None, seen: Mapping[str, Seen] | None = None
) -> list[Finding]:
    """What can be said of a configuration.

    `seen` has what was found on the machine for each worker; without it less can be said.
    """
    found = _of_rollout(app.rollout)
    for worker in app.workers:
        there = (seen or {}).get(worker.name, Seen())
        found += _of_worker(worker, app.rollout, there)
        wait = app.rollout.on_drain_timeout is OnDrainTimeout.WAIT
        found += _of_signs(worker)
        preset = (presets or {}).get(worker.preset or "")
        own = preset.for_command(worker.command) if preset and preset.name != NONE else None
        found += wrapper_lint.of_worker(worker, presets or {}, own, there)
        found += preset_lint.of_worker(worker, presets or {}, there)
        found += option_lint.of_worker(worker, presets or {}, there, app.rollout, wait=wait)
    return found


def _of_rollout(rollout: RolloutSettings) -> list[Finding]:
    """What is set and means nothing."""
    if rollout.canary.number:
        return []
    return [
        Finding(
            Level.NOTE,
            f"rollout.{key}",
            "means nothing without canaries",
            "`canary` says how many instances of each worker go first",
            name="no-canary",
            sure=Certainty.CERTAIN,
        )
        for key in ("canary_soak", "promote")
        if getattr(rollout, key) != getattr(ROLLOUT, key)
    ]


def _of_worker(worker: Worker, rollout: RolloutSettings, seen: Seen) -> list[Finding]:
    place = f"workers.{worker.name}"
    found = []
    killed = rollout.on_drain_timeout is OnDrainTimeout.KILL
    if killed and worker.stop_timeout.seconds < _SHORT_STOP:
        found.append(
            Finding(
                Level.NOTE,
                f"{place}.stop_timeout",
                f"a job that needs longer than {worker.stop_timeout} is killed by a deploy",
                "give it the time of the longest job, and some more",
                name="short-stop",
            )
        )
    # Without a link the whole path leads where the relative one does.
    if not seen.in_place and names_folder(worker.command, worker.directory):
        found.append(
            Finding(
                Level.WARNING,
                f"{place}.command",
                f"names {worker.directory}",
                "write paths relative to `directory`; the command runs in it",
                "after a crash it would run what is there by then, deployed or not",
                "moving-path",
            )
        )
    if worker.probe:
        release = "" if seen.in_place else worker.directory
        found += _of_probe(worker.probe, release, f"{place}.probe.command")
    if worker.hardening not in (None, Hardening.OFF):
        found += _of_hardening(worker, place)
    return found


def _of_hardening(worker: Worker, place: str) -> list[Finding]:
    if "+" in prefixes(worker.command):
        return [
            Finding(
                Level.WARNING,
                f"{place}.command",
                'begins with "+"',
                'leave the "+" out',
                "systemd then applies neither `user` nor `hardening`",
                sure=Certainty.CERTAIN,
            )
        ]
    return []


def _of_signs(worker: Worker) -> list[Finding]:
    """What only a shell would understand."""
    place = f"workers.{worker.name}"
    commands = [(f"{place}.command", worker.command)]
    if worker.probe:
        commands.append((f"{place}.probe.command", worker.probe.command))
    return [
        Finding(
            Level.WARNING,
            where,
            f"the program gets {sign} as an argument",
            f"{_without_sign(sign)}; put {sign} into quotes if it is meant",
            "systemd starts the program without a shell",
            "shell-syntax",
        )
        for where, command in commands
        if (sign := shell_sign(command))
    ]


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


def _of_probe(probe: Probe, directory: str, place: str) -> list[Finding]:
    found = []
    if "-" in prefixes(probe.command):
        found.append(
            Finding(
                Level.WARNING,
                place,
                'begins with "-"',
                'leave the "-" out',
                "systemd then takes every failure for a success",
                "ignored-failure",
                Certainty.CERTAIN,
            )
        )
    if names_folder(probe.command, directory):
        found.append(
            Finding(
                Level.WARNING,
                place,
                f"names {directory}",
                "write paths relative to `directory`; the command runs in it",
                "it would ask with the code that is there by then, not with the instance's",
                "moving-path",
            )
        )
    return found
