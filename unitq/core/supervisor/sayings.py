"""What is to be known about a command, besides what it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unitq.core.supervisor.report import Part
    from unitq.core.supervisor.unwrap import Plain

COUNTED = (
    "instances are counted from 1: a shell computes the number that Supervisor gave each, and "
    "hands over by exec. Write %i where the number itself does not matter"
)


def shell(part: Part, found: Plain, *, counted: bool) -> None:
    """What becomes of the shell around a command."""
    if found.unwrapped:
        if not counted:
            part.changed("command", "without the shell around it, which did nothing else")
        part.note("the worker is the main process now: it gets the stop signal, not a shell")
    elif found.with_exec:
        part.changed(
            "command",
            f"the shell stays ({found.why}), with `exec` before the worker: it gets the stop "
            "signal, and nothing is left below the shell",
        )
    elif found.script:
        if not found.hands_over:
            part.note(
                f"the shell stays between systemd and the worker: {found.why or 'it has to'}. If "
                "its last command is the worker, write `exec` before it"
            )
        else:
            part.note(f"the shell stays until its exec: {found.why}")


def program(part: Part, found: Plain) -> None:
    """Programs that are best left out, or that belong to Supervisor."""
    name = found.arguments[0].rpartition("/")[2]
    if name == "pidproxy":
        part.note(
            "pidproxy is Supervisor's: systemd needs none, so run the program in the foreground"
        )
    elif name in ("sudo", "su", "runuser"):
        part.note(f"{name} stays the worker's parent: `user` in unitq.toml needs no {name}")
    elif name in ("supervisorctl", "supervisord"):
        part.note(f"it runs {name}, which will not be there")
    if any("SUPERVISOR_" in word for word in found.arguments):
        part.note("it uses SUPERVISOR_… variables: UNITQ_WORKER and UNITQ_INSTANCE are set instead")
