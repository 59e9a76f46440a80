"""What `check` says of a configuration that is valid but may not be meant so. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.core.model import ROLLOUT, KillMode
from unitq.core.render import executable, prefixes
from unitq.core.settings import OnDrainTimeout

if TYPE_CHECKING:
    from unitq.core.model import App, Probe, Worker
    from unitq.core.settings import RolloutSettings

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})

# A single "&" that ends a command: not "&&", and not that of a redirection such as "2>&1".
_BACKGROUND = re.compile(r"(?<![&>])&(?![&>0-9])")
_SHORT_STOP = 30.0  # seconds


class Level(StrEnum):
    """An error stops a deploy; a warning may lose jobs; a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` found, with its place in the configuration."""

    level: Level
    place: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Framework:
    """How a queue framework wants to be stopped."""

    name: str
    pattern: re.Pattern[str]
    signals: tuple[str, ...]  # these drain it; the first is the best
    kill_modes: tuple[KillMode, ...]
    why: str


_BOTH = (KillMode.CONTROL_GROUP, KillMode.MIXED)
_MIXED = (KillMode.MIXED,)


def _framework(
    name: str, pattern: str, signals: tuple[str, ...], kill_modes: tuple[KillMode, ...], why: str
) -> Framework:
    return Framework(name, re.compile(rf"(?:^|[\s/'\"])(?:{pattern})"), signals, kill_modes, why)


# What each does with each signal, from its source: rq/worker/base.py, celery/apps/worker.py,
# dramatiq/cli.py, huey/consumer.py, sidekiq's lib/sidekiq/cli.rb, Laravel's Queue/Worker.php, …
FRAMEWORKS = (
    _framework(
        "Sidekiq", r"sidekiq\b", ("SIGTERM",), _BOTH, "it has no handler for SIGQUIT and dies of it"
    ),
    _framework(
        "RQ", r"rq\s+worker\b", ("SIGTERM",), _MIXED, "SIGTERM to its child kills the job in hand"
    ),
    _framework(
        "Celery",
        r"celery\b.*\bworker\b",
        ("SIGTERM",),
        _MIXED,
        "SIGQUIT is its cold shutdown, and a signal to its children breaks their jobs",
    ),
    _framework(
        "Dramatiq",
        r"dramatiq\s",
        ("SIGTERM", "SIGINT"),
        _MIXED,
        "it dies of SIGQUIT, and a second SIGTERM to its children breaks their jobs",
    ),
    _framework(
        "Huey", r"huey_consumer\b", ("SIGINT",), _MIXED, "SIGTERM and SIGQUIT drop the job in hand"
    ),
    _framework("arq", r"arq\s+\S+", ("SIGTERM",), _BOTH, "it dies of SIGQUIT"),
    _framework("saq", r"saq\s+\S+", ("SIGTERM",), _BOTH, "it dies of SIGQUIT"),
    _framework("taskiq", r"taskiq\s+worker\b", ("SIGTERM",), _BOTH, "it dies of SIGQUIT"),
    _framework(
        "Laravel Horizon", r"artisan['\"]?\s+horizon\b", ("SIGTERM",), _BOTH, "it dies of SIGQUIT"
    ),
    _framework(
        "Laravel",
        r"artisan['\"]?\s+queue:(?:work|listen)\b",
        ("SIGTERM", "SIGQUIT"),
        _BOTH,
        "before 9.24 it dies of SIGQUIT",
    ),
    _framework(
        "Symfony Messenger",
        r"console['\"]?\s+messenger:consume\b",
        ("SIGTERM",),
        _BOTH,
        "before 7.1 SIGQUIT ends it with the job in hand",
    ),
)


def advice(app: App) -> list[Finding]:
    """What can be said of a configuration without a look at the machine."""
    return [
        *_of_rollout(app.rollout),
        *(finding for worker in app.workers for finding in _of_worker(worker, app.rollout)),
    ]


def _of_rollout(rollout: RolloutSettings) -> list[Finding]:
    """What is set and means nothing."""
    if rollout.canary.number:
        return []
    return [
        Finding(
            Level.NOTE,
            f"rollout.{key}",
            "means nothing without canaries: nobody goes first",
            "`canary` says how many instances of each worker do",
        )
        for key in ("canary_soak", "promote")
        if getattr(rollout, key) != getattr(ROLLOUT, key)
    ]


def _of_worker(worker: Worker, rollout: RolloutSettings) -> list[Finding]:
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
            )
        )
    if wrapped := shell_wrapped(worker.command):
        found += _of_wrapper(worker, place, wrapped)
    for framework in FRAMEWORKS:
        if framework.pattern.search(wrapped or worker.command):
            found += _of_framework(worker, place, framework)
            break
    if worker.directory in worker.command:
        found.append(
            Finding(
                Level.WARNING,
                f"{place}.command",
                f"names {worker.directory}: after a crash it would run what is there by then, "
                "deployed or not",
                "write paths relative to `directory`; the command runs in it",
            )
        )
    if worker.probe:
        found += _of_probe(worker.probe, worker.directory, f"{place}.probe.command")
    return found


def _of_probe(probe: Probe, directory: str, place: str) -> list[Finding]:
    found = []
    if "-" in prefixes(probe.command):
        found.append(
            Finding(
                Level.WARNING,
                place,
                'begins with "-", with which systemd takes every failure for a success',
                'leave the "-" out',
            )
        )
    if directory in probe.command:
        found.append(
            Finding(
                Level.WARNING,
                place,
                f"names {directory}: it would ask with the code that is there by then, not with "
                "the instance's",
                "write paths relative to `directory`; the command runs in it",
            )
        )
    return found


def _of_wrapper(worker: Worker, place: str, wrapped: str) -> list[Finding]:
    if _hands_over(wrapped):
        return []
    better = _with_exec(wrapped) or "the last of its script"
    if worker.kill_mode is KillMode.MIXED:
        return [
            Finding(
                Level.ERROR,
                f"{place}.kill_mode",
                'with "mixed" the shell gets the stop signal and the worker below it does not: '
                "bash ignores SIGQUIT, and other signals end the shell and kill the worker at once",
                f"write `exec` before the worker's command in the shell: {better}",
            )
        ]
    if worker.stop_signal in ("SIGQUIT", "SIGINT") and _BACKGROUND.search(wrapped):
        return [
            Finding(
                Level.WARNING,
                f"{place}.command",
                f"what a shell starts with & ignores {worker.stop_signal}: unless it sets a "
                "handler of its own, it is never told to stop, and killed at stop_timeout",
                "start the worker without &, by `exec`",
            )
        ]
    return [
        Finding(
            Level.NOTE,
            f"{place}.command",
            "a shell stands between systemd and the worker; the stop signal reaches both",
            f"drop the shell, or write `exec` before the worker's command: {better}",
        )
    ]


def _hands_over(script: str) -> bool:
    """Whether the shell becomes the worker by `exec`; `exec 2>&1` only redirects."""
    return bool(re.search(r"(?:^|;|&&|\n)\s*exec\s+(?![0-9]*[<>])", script))


def _with_exec(script: str) -> str:
    """The script with `exec` before its last command; empty where it takes more to say so."""
    before, both, last = script.rpartition("&&")
    if re.search(r"[;|&()`\n]", before.replace("&&", "") + last) or re.match(r"\s*\w+=", last):
        return ""
    return f"{before}{both} exec {last.strip()}".strip()


def _of_framework(worker: Worker, place: str, framework: Framework) -> list[Finding]:
    found = []
    if worker.stop_signal not in framework.signals:
        found.append(
            Finding(
                Level.WARNING,
                f"{place}.stop_signal",
                f"this looks like {framework.name}, and {worker.stop_signal} loses its jobs: "
                f"{framework.why}",
                f'stop_signal = "{framework.signals[0]}"',
            )
        )
    if worker.kill_mode not in framework.kill_modes:
        found.append(
            Finding(
                Level.WARNING,
                f"{place}.kill_mode",
                f"this looks like {framework.name}: {framework.why}",
                f'kill_mode = "{framework.kill_modes[0]}"',
            )
        )
    return found


def shell_wrapped(command: str) -> str:
    """The script that a shell is given with -c; empty where the command is no such shell."""
    if executable(command).rpartition("/")[2] not in _SHELLS:
        return ""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith("-"):
            break
        if word.startswith("--"):
            continue
        if "c" in word:
            return next(rest, "")
        if word.endswith("o"):
            next(rest, "")  # bash -euo pipefail -c …
    return ""
