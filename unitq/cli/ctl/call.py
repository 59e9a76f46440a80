"""One action of `unitq ctl`, as it was typed, and what several of them say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.cli.output import echo
from unitq.supervisor.ctl.format import Code
from unitq.supervisor.ctl.format import error as error_line
from unitq.supervisor.ctl.help import USAGE

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.supervisor.ctl.names import Match


class Call(NamedTuple):
    """One action, as it was typed."""

    scope: Scope
    action: str
    words: list[str]

    def wrong(self, message: str, code: Code = Code.GENERIC) -> Code:
        """Says what is wrong with the arguments, and what the action takes."""
        echo(message)
        echo(USAGE[self.action])
        return code


def say(words: str) -> None:
    """Says what supervisorctl would not, on standard error."""
    echo(f"unitq: {words}", err=True)


def why(found: Match) -> str:
    """Returns why a name stands for nothing; says what to type in its place, where there is any."""
    if found.hint:
        say(found.hint)
    return found.why


def refuse(found: Match) -> None:
    """Says that a name stands for nothing."""
    echo(error_line(found.name, why(found)))
