"""What runs once, or every so often, as units of systemd's: text to copy from a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHERE = "/etc/systemd/system"


class Task(NamedTuple):
    """What is run, in systemd's words."""

    name: str  # of the unit, without ".service"
    command: str  # in systemd's syntax, by an absolute path or a bare name
    directory: str
    user: str = ""
    environment: Sequence[tuple[str, str]] = ()


def once(task: Task) -> list[str]:
    """Returns the lines of a unit that runs it once at each boot, and how to install it."""
    return [
        f"At each boot, as {_WHERE}/{task.name}.service",
        f"(then `systemctl enable --now {task.name}.service`):",
        "",
        *_service(task, stays=True),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]


def every(task: Task, seconds: float) -> list[str]:
    """Returns the lines of a unit and its timer, `seconds` between two runs, as the loop had it."""
    return [
        f"As {_WHERE}/{task.name}.service and {task.name}.timer",
        f"(then `systemctl enable --now {task.name}.timer`; stopping it does not stop a run):",
        "",
        *_service(task, stays=False),
        "",
        "[Timer]",
        f"OnBootSec={seconds:.15g}s",
        f"OnUnitInactiveSec={seconds:.15g}s",
        "AccuracySec=1s",
        "[Install]",
        "WantedBy=timers.target",
    ]


def _service(task: Task, *, stays: bool) -> list[str]:
    lines = ["[Service]", "Type=oneshot"]
    lines += ["RemainAfterExit=yes"] if stays else []
    lines += [f"User={task.user}"] if task.user else []
    lines.append(f"WorkingDirectory={task.directory}")
    lines += [f"Environment={_quoted(f'{name}={value}')}" for name, value in task.environment]
    lines.append(f"ExecStart={task.command}")
    return lines


def _quoted(text: str) -> str:
    text = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
