"""Directives of `[workers.NAME.service]` that work against how unitq stops a worker. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.model.finding import Finding, Level
from unitq.units.parse import YES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.model.app import App, Worker

_KILLS = re.compile(r"(?<![\w-])(?:p?kill|killall|skill)(?![\w-])")
_SIGNAL = re.compile(r"(?:-s\s*|-{1,2}(?:signal[= ])?)(?:SIG)?([A-Z]{3,5}\d?)\b")


def of_app(app: App) -> Iterator[Finding]:
    """Yields what speaks against the directives that workers have of their own."""
    for worker in app.workers:
        yield from _of_stop(worker)
        yield from _of_hangup(worker)
        yield from _of_watchdog(worker)


def _of_stop(worker: Worker) -> Iterator[Finding]:
    command = next((c for c in _values(worker, "ExecStop") if _KILLS.search(c)), None)
    if command is None:
        return
    signal = _SIGNAL.search(command)
    name = f"SIG{signal[1]}" if signal else "SIGTERM"  # kill(1)
    yield Finding(
        Level.WARNING,
        f"workers.{worker.name}.service.ExecStop",
        "sends a signal of its own",
        f'`stop_signal = "{name}"` in its place',
        f"systemd sends {worker.stop_signal} once the command has ended (systemd.service(5)): a "
        "second signal, at which RQ, Celery and others give up their jobs",
        name="exec-stop",
    )


def _of_hangup(worker: Worker) -> Iterator[Finding]:
    values = _values(worker, "SendSIGHUP")
    if not values or values[-1] not in YES:
        return
    yield Finding(
        Level.WARNING,
        f"workers.{worker.name}.service.SendSIGHUP",
        "sends a signal of its own",
        "leave it out",
        f"systemd sends SIGHUP right after {worker.stop_signal} (systemd.kill(5)): a worker "
        "without a handler for it, such as PHP's, dies with its job",
        name="exec-stop",
    )


def _of_watchdog(worker: Worker) -> Iterator[Finding]:
    values = _values(worker, "WatchdogSec")
    if not values or values[-1] in ("", "0", "infinity"):
        return
    preset = dict(worker.from_preset.service)
    kinds = _values(worker, "Type") or [preset.get("Type", "exec")]
    answers = _values(worker, "NotifyAccess") or "NotifyAccess" in preset
    if answers or kinds[-1].startswith("notify"):
        return
    yield Finding(
        Level.WARNING,
        f"workers.{worker.name}.service.WatchdogSec",
        f"{values[-1]}, but nothing says that this worker answers it",
        'leave it out; or, for a worker that does, add Type = "notify" or NotifyAccess = "main"',
        "systemd kills a worker (SIGABRT) that does not send WATCHDOG=1 that often, with its job",
        name="watchdog",
    )


def _values(worker: Worker, directive: str) -> list[str]:
    values = list(dict(worker.service).get(directive, ()))
    # An empty value takes back what is before it (systemd.syntax(7)).
    return values[len(values) - values[::-1].index("") :] if "" in values else values
