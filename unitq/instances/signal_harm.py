"""Whether a signal would end workers in the middle of their jobs, or cost them their jobs. Pure."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from unitq.model import signals

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from unitq.model.names import InstanceName
    from unitq.presets.model import Preset

# What does not end a process that has no handler for it (signal(7), "Standard signals"): it is
# ignored, or stops the process, or lets it go on.
_HARMLESS = frozenset({
    signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
    signal.SIGURG, signal.SIGWINCH,
})  # fmt: skip

_NAMED = 5  # instances that one line names


class Recipient(NamedTuple):
    """A process that would get the signal."""

    program: str  # php
    handles: bool | None  # it has a handler for it, ignores it or waits for it; None: not known


class Framework(NamedTuple):
    """What is known of the program that a worker runs."""

    preset: Preset  # as it applies to the worker's command
    stop_signal: str  # the worker's own: systemd sends it whenever the worker is to stop


def problems(
    number: int,
    recipients: Mapping[InstanceName, Sequence[Recipient]],
    frameworks: Mapping[str, Framework],
    draining: Container[InstanceName] = (),
) -> tuple[str, ...]:
    """Returns why the signal should not be sent, a line for each reason; empty: no reason is known.

    `frameworks` are those of workers with a preset, by the name of the worker; `draining` are the
    instances that systemd has told to stop.
    """
    by_reason: dict[str, list[str]] = {}
    for name, processes in recipients.items():
        framework = frameworks.get(name.worker)
        reason = _deadly(number, processes)
        if not reason and framework:
            reason = _harmful(number, framework, whole=len(processes) > 1, again=name in draining)
        if reason:
            by_reason.setdefault(reason, []).append(str(name))
    return tuple(f"{_list(names)}: {reason}" for reason, names in by_reason.items())


def _deadly(number: int, processes: Iterable[Recipient]) -> str:
    """Why the signal would end one of these processes at once."""
    name = signals.name(number)
    if number in _HARMLESS:
        return ""
    programs = dict.fromkeys(process.program for process in processes if process.handles is False)
    if not programs:
        return ""
    if number == signal.SIGKILL:
        return f"no process can handle {name}: the worker dies at once, and its job with it"
    return f"{', '.join(programs)} has no handler for {name}, so it would die at once"


def _harmful(number: int, framework: Framework, *, whole: bool, again: bool) -> str:
    """What the preset says against the signal.

    `whole`: more than the main process gets it; `again`: it has been told to stop before.
    """
    name = signals.name(number)
    stop = framework.preset.stop
    if again and name in stop.again:
        does = dict(framework.preset.signals)[name]
        return f"{framework.preset.title} drains, and {name} would be its second signal: {does}"
    if whole and name in stop.drains and name not in stop.drains_all:
        why = f": {stop.why.removesuffix('.')}" if stop.why else ""
        return f"{framework.preset.title}, {name} to every process{why}"
    if name not in stop.loses or name in (*stop.drains, framework.stop_signal):
        return ""
    return f"{framework.preset.title}, {name}: {dict(framework.preset.signals)[name]}"


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
