"""One action of `unitq ctl` as typed, and messages that several actions print."""

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
    """One action as typed."""

    scope: Scope
    action: str
    words: list[str]

    def wrong(self, message: str, code: Code = Code.GENERIC) -> Code:
        """Prints what is wrong with the arguments, and the usage; returns `code`."""
        echo(message)
        echo(USAGE[self.action])
        return code


def say(words: str) -> None:
    """Prints to standard error what supervisorctl has no words for."""
    echo(f"unitq: {words}", err=True)


def why(match: Match) -> str:
    """Returns why a name matches nothing; prints what to type instead, if there is a hint."""
    if match.hint:
        say(match.hint)
    return match.why


def refuse(match: Match) -> None:
    """Prints that a name matches nothing."""
    echo(error_line(match.name, why(match)))
