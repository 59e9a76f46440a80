"""Programs that unitq itself runs, as unitq.toml has them: a list of arguments and a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.model.app import Hook
from unitq.model.suggest import either, nearest
from unitq.toml.values import MistakeError, MistakesError, span, user

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS = ("command", "timeout", "user")
_EXAMPLE = '["bin/hook", "shop"]'
_TIME = span(zero=False, infinite=False)


def hook(value: object) -> Hook:
    """A program and its arguments as a list, or a table with that list and a time limit."""
    if not isinstance(value, dict):
        return Hook(_arguments(value))
    wrong = [*_keys(value)]
    command: tuple[str, ...] = ()
    timeout = Hook(()).timeout
    account = None
    if "command" in value:
        try:
            command = _arguments(value["command"])
        except MistakesError as several:
            wrong += [mistake.below("command") for mistake in several.every]
        except MistakeError as mistake:
            wrong.append(mistake.below("command"))
    if "timeout" in value:
        try:
            timeout = _TIME(value["timeout"])
        except MistakeError as mistake:
            wrong.append(mistake.below("timeout"))
    if "user" in value:
        try:
            account = user(value["user"])
        except MistakeError as mistake:
            wrong.append(mistake.below("user"))
    if wrong:
        raise MistakesError(wrong)
    return Hook(command, timeout, account)


def _keys(table: Iterable[str]) -> Iterable[MistakeError]:
    meant = set()
    for key in table:
        if key not in KEYS:
            near = nearest(key, KEYS)
            known = (
                f'did you mean "{near}"?'
                if near
                else f"the keys here are {either(KEYS, last='and')}"
            )
            yield MistakeError(why=f"unknown key, {known}", at=(key,))
            meant.add(near)
    if "command" not in table and "command" not in meant:
        yield MistakeError(why=f"missing, for example command = {_EXAMPLE}", at=("command",))


def _arguments(value: object) -> tuple[str, ...]:
    """The program and its arguments, of which any may be empty but the program."""
    if not isinstance(value, list) or not value:
        raise MistakeError(f"a list of strings such as {_EXAMPLE}")
    wrong = [
        MistakeError("a string", at=(index,))
        for index, item in enumerate(value)
        if not isinstance(item, str)
    ]
    if value[0] == "":
        wrong.append(MistakeError("the program to run", at=(0,)))
    if wrong:
        raise MistakesError(wrong)
    return tuple(value)
