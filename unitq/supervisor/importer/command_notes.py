"""What is to be known about a command, besides what it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.cmdline.exec_line import is_sign
from unitq.supervisor.importer.options import Fate
from unitq.supervisor.importer.peel import tee_file
from unitq.supervisor.importer.runtime_options import log_file

if TYPE_CHECKING:
    from unitq.cmdline.without_shell import Plain
    from unitq.supervisor.importer.draft import Draft
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.report import Part

COUNTED = (
    "instances are counted from 1: a shell computes the number that Supervisor gave each, and "
    "hands over by exec. Write %i where the number itself does not matter"
)
RELATIVE = (
    "the command is relative to `directory`: after a crash each instance keeps the release that it "
    "was started on"
)


def shell(part: Part, command: Plain, between: str) -> None:
    """What becomes of the shell around a command; `between` still stands above the worker."""
    if command.unwrapped:
        if part.options["command"].fate is Fate.SAME:
            part.change("command", "without the shell around it, which did nothing else")
        if not between:
            part.note("the worker is the main process now: it gets the stop signal, not a shell")
    elif command.with_exec:
        last = between and f", which is {between} again"
        part.change("command", f"the shell stays ({command.why}), with `exec` before its last "
                    f"command{last}")  # fmt: skip
    elif command.script and not command.hands_over:
        part.note(
            f"the shell stays between systemd and the worker: {command.why or 'it has to'}. If its "
            "last command is the worker, write `exec` before it"
        )
    elif command.script:
        part.note(f"the shell stays until its exec: {command.why}")


def around(part: Part, draft: Draft, peeled: Peeled) -> None:
    """What stood around the worker, and is gone."""
    if peeled.login:
        part.decide(
            f"{peeled.accounts[-1].tool} read the profile of {peeled.user} and began in its home: "
            "the login shell stays for what the profile sets. If the worker needs none of it, "
            "write its command without the shell"
            + ("" if peeled.plain.directory else "; say its `directory`, as the home is not known")
        )
    if peeled.loop:
        if peeled.loop.interval:
            draft.keys["restart_delay"] = f"{peeled.loop.interval:.15g}s"
        part.note("the loop is gone: systemd starts the worker again, and stops it while it drains")
    if peeled.sink:
        part.decide(
            f"its output went into `{' '.join(peeled.sink)}`: it goes to the journal now (`unitq "
            "logs`), as no signal reaches a worker on the left of a pipe without ending the right"
        )
        file = tee_file(peeled.sink)
        if file and not any(hint.startswith("StandardOutput") for hint in draft.hints):
            draft.hints.append(log_file("StandardOutput", file))


def program(part: Part, command: Plain) -> None:
    """Programs that are best left out, or that belong to Supervisor."""
    name = command.arguments[0].rpartition("/")[2]
    if name == "pidproxy":
        part.note("pidproxy is Supervisor's: run the program without it, in the foreground")
    elif name in ("sudo", "su", "runuser", "doas", "chpst", "setpriv"):
        part.decide(
            f"{name} stays, and gets the stop signal in the worker's place: write what it runs as "
            "`command`, and the account as `user`"
        )
    elif name in ("supervisorctl", "supervisord"):
        part.note(f"it runs {name}, which will not be there")
    if sign := next((word for word in command.arguments[1:] if is_sign(word)), ""):
        part.note(
            f'its command has "{sign}" and no shell: Supervisor passes that on as a word, and so '
            "does systemd"
        )
    if any("SUPERVISOR_" in word for word in command.arguments):
        part.note("it uses SUPERVISOR_… variables: UNITQ_WORKER and UNITQ_INSTANCE are set instead")
