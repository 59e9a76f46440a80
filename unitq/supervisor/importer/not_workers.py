"""Programs that Supervisor ran and that are no workers: written as comments, with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.presets.detect import program as invoked
from unitq.supervisor.importer import companions, exec_line, timers
from unitq.supervisor.importer.loops import loop
from unitq.supervisor.importer.services import service

if TYPE_CHECKING:
    from unitq.supervisor.conf.programs import Program
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.detect import Looks
    from unitq.supervisor.importer.loops import Loop
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.toml_draft import Draft

_IN_A_FILE = 10  # seconds: a script that sleeps less between two runs may be a worker's own loop


class Command(NamedTuple):
    """A program's command."""

    arguments: tuple[str, ...]  # with absolute paths
    line: str  # in systemd's syntax
    peeled: Peeled
    looks: Looks


def aside(part: Part, draft: Draft, command: Command, *, once: str = "") -> None:
    """Writes the draft as a comment where it is no worker, and says what takes its place.

    `once`: why it is known to end; see runs_once.
    """
    if command.looks.preset is not None:
        return
    companions.beside(part, draft, command.line, command.looks.heads)
    first = invoked(command.arguments)
    found = service(first.program) if first and not first.interpreter else None
    if found:
        _off(draft, [
            f"{found.program}: distributions have a unit for it, {found.unit}.",
            "Use that; its options belong into its own configuration. As it was:",
        ])  # fmt: skip
        part.only(
            f"{found.program} has a unit of the distribution's, {found.unit}: use that. Here it is "
            "a comment"
        )
    elif timer := command.peeled.timer or _in_file(command):
        in_file = command.peeled.timer is None
        _off(draft, [
            "A job that runs every so often, and not the worker of a queue: a timer starts it.",
            *(["What its script does before the loop has to be done in there, too."] * in_file),
            *timers.every(_task(draft, command, timer), timer.interval),
            "", "As it was:",
        ])  # fmt: skip
        part.only(
            f"a loop that sleeps {timer.interval:.15g} s is a timer: its units stand in a comment, "
            "to be copied"
        )
    elif once:
        _off(draft, [
            f"It runs once ({once}): as a worker it would fail each deploy, which waits for it to",
            "stay. Before or after each deploy: before_deploy, after_deploy in [hooks].",
            *timers.once(_task(draft, command, None)),
            "", "If it is to stay, and never ends of itself:",
        ])  # fmt: skip
        part.only(
            f"it runs once ({once}): a oneshot unit stands in a comment, to be copied; [hooks] can "
            "run it with each deploy"
        )


def runs_once(program: Program) -> str:
    """Returns why a program is one that ends; empty: it is to stay.

    Most programs have neither: "unexpected" is the default of autorestart, and 1 of startsecs.
    """
    settings = program.settings
    at_once = "startsecs" in program.given and settings.startsecs <= 0
    if settings.autorestart == "never":
        return "autorestart=false"
    if settings.autorestart == "unexpected" and at_once and 0 in settings.exitcodes:
        return "startsecs=0, and 0 is an expected exit status"
    return ""


def _in_file(command: Command) -> Loop | None:
    """The endless loop in a shell's script, where it sleeps for long."""
    for head in command.looks.heads.values():
        lines = [line for line in head.splitlines() if not line.lstrip().startswith("#")]
        found = loop("\n".join(lines), whole=False)
        if found and found.interval >= _IN_A_FILE:
            return found._replace(words=())
    return None


def _task(draft: Draft, command: Command, timer: Loop | None) -> timers.Task:
    arguments = command.arguments
    if timer is not None:
        arguments = timer.words or ("/bin/sh", "-c", timer.body)
    return timers.Task(
        draft.name,
        exec_line.line(arguments),
        str(draft.keys["directory"]),
        str(draft.keys.get("user", "")),
        tuple(draft.environment.items()),
    )


def _off(draft: Draft, comments: list[str]) -> None:
    draft.off = True
    draft.comments += comments
