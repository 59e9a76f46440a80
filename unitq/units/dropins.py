"""Drop-ins that change how a worker is started, stopped, restarted or killed. Pure.

`systemctl edit`, configuration management and packages add them (systemd.unit(5)); systemd goes by
them, and what unitq says of drains and limits no longer holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.units.text import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

# systemd.kill(5), systemd.service(5), systemd.unit(5).
DIRECTIVES = frozenset(
    {
        "ExecReload", "ExecStart", "ExecStartPre", "ExecStop", "ExecStopPost", "FinalKillSignal",
        "KillMode", "KillSignal", "LogNamespace", "OOMPolicy", "RefuseManualStart",
        "RefuseManualStop", "RemainAfterExit", "Restart", "RestartForceExitStatus",
        "RestartKillSignal", "RestartMaxDelaySec", "RestartMode", "RestartPreventExitStatus",
        "RestartSec", "RestartSteps", "RuntimeMaxSec", "SendSIGHUP", "SendSIGKILL", "StandardInput",
        "StartLimitAction", "StartLimitBurst", "StartLimitIntervalSec", "SuccessExitStatus",
        "TimeoutAbortSec", "TimeoutSec", "TimeoutStopFailureMode", "TimeoutStopSec", "Type",
        "User", "WatchdogSec", "WatchdogSignal", "WorkingDirectory",
    }
)  # fmt: skip
_LONG = frozenset({"ExecReload", "ExecStart", "ExecStartPre", "ExecStop", "ExecStopPost"})


class DropIn(NamedTuple):
    """A file that systemd reads behind a unit's own text."""

    path: str
    text: str


class Change(NamedTuple):
    """What one drop-in sets, against what unitq wrote."""

    path: str
    sets: tuple[str, ...]  # `KillSignal=SIGHUP`
    wrote: tuple[str, ...]  # `KillSignal=SIGQUIT`; what unitq does not write is left out

    def __str__(self) -> str:
        wrote = f"; unitq wrote {', '.join(self.wrote)}" if self.wrote else ""
        return f"{self.path} sets {', '.join(self.sets)}{wrote}"


def folders(unit: str) -> list[str]:
    """Returns the directories of a unit's drop-ins, by name, those that win first.

    systemd.unit(5): the instance's own, its template's, those of each beginning of the name that
    ends in a dash, and those of all services.
    """
    stem, _, kind = unit.rpartition(".")
    prefix, at, instance = stem.partition("@")
    parts = prefix.split("-")
    prefixes = [prefix, *("-".join(parts[:count]) + "-" for count in range(len(parts) - 1, 0, -1))]
    names = []
    for name in prefixes:
        if at and instance:
            names.append(f"{name}@{instance}.{kind}.d")
        names.append(f"{name}{at}.{kind}.d")
    return [*names, f"{kind}.d"]


def changes(text: str, dropins: Sequence[DropIn]) -> list[Change]:
    """Returns the drop-ins that set something else than the unit's own text, in their order."""
    own = dict(settings(text))
    differences = []
    for dropin in dropins:
        sets = {
            name: value for name, value in settings(dropin.text)
            if name in DIRECTIVES and own.get(name, "") != value
        }  # fmt: skip
        if sets:
            differences.append(
                Change(
                    dropin.path,
                    tuple(_setting(name, value) for name, value in sets.items()),
                    tuple(_setting(name, own[name]) for name in sets if name in own),
                )
            )
    return differences


def last(text: str, dropins: Sequence[DropIn], directive: str) -> str:
    """Returns the value that counts of a directive that takes one; empty: nothing sets it."""
    texts = [text, *(dropin.text for dropin in dropins)]
    values = [value for text_ in texts for name, value in settings(text_) if name == directive]
    return values[-1] if values else ""


def _setting(name: str, value: str) -> str:
    # A command may be long, and what is in it is of no use here.
    return f"{name}=…" if name in _LONG and value else f"{name}={value}"
