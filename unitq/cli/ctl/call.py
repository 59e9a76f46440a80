"""One action of `unitq ctl`, as it was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.cli.output import echo, echo_text
from unitq.supervisor.ctl.format import Code
from unitq.supervisor.ctl.help import ACTIONS

if TYPE_CHECKING:
    from unitq.context import Scope


class Call(NamedTuple):
    """One action, as it was typed."""

    scope: Scope
    action: str
    words: list[str]

    def wrong(self, message: str, code: Code = Code.GENERIC) -> Code:
        """Says what is wrong with the arguments, and what the action takes."""
        echo(message)
        echo_text(ACTIONS[self.action])
        return code
