"""Directives that work against how unitq stops a worker: in `service`, and in drop-ins. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.model.finding import Certainty, Finding, warning
from unitq.units.text import YES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unitq.model.app import App, Worker
    from unitq.units.dropins import Change

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
    yield warning(
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
    yield warning(
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
    yield warning(
        f"workers.{worker.name}.service.WatchdogSec",
        f"{values[-1]}, but nothing says that this worker answers it",
        'leave it out; or, for a worker that does, add Type = "notify" or NotifyAccess = "main"',
        "systemd kills a worker (SIGABRT) that does not send WATCHDOG=1 that often, with its job",
        name="watchdog",
    )


def of_dropins(
    worker: str, template: str, changes: Iterable[Change], *, user: bool
) -> list[Finding]:
    """Returns a warning for each drop-in; `template` is the worker's unit."""
    typed = f"systemctl {'--user ' * user}"
    return [
        warning(
            f"workers.{worker}",
            str(change),
            f"say it in unitq.toml, and take it out there: `{typed}cat {template}` shows all, "
            f"`{typed}revert {template}` deletes what `systemctl edit` made",
            "systemd goes by the drop-in, so what unitq says of starts, drains and limits may not "
            "hold",
            name="drop-in",
            sure=Certainty.CERTAIN,
        )
        for change in changes
    ]


def _values(worker: Worker, directive: str) -> list[str]:
    values = list(dict(worker.service).get(directive, ()))
    # An empty value takes back what is before it (systemd.syntax(7)).
    return values[len(values) - values[::-1].index("") :] if "" in values else values
