"""%(expansions)s and lists of KEY="value", as Supervisor reads them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WIDTH_MAX = 1000  # no number in a command line is written wider, and Python would pad for ever

_SPEC = re.compile(
    r"%(?:\((?P<name>[^()]*)\))(?P<format>[#0\- +]*(?P<width>[0-9]*)(?:\.(?P<digits>[0-9]*))?[hlL]?"
    r"(?P<type>[diouxXeEfFgGcrsa]))"
)


class ExpansionError(ValueError):
    """What cannot be expanded; `missing` has the environment's variables that are not there.

    The text says what is wrong, without the place.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


def expand(
    text: str,
    values: Mapping[str, str | int],
    *,
    instead: Callable[[str, str], str | None] | None = None,
    used: set[str] | None = None,
) -> str:
    """Returns the text with its expansions: Python's `%` with a dictionary, as Supervisor does it.

    `instead` may answer for a name and its format (`02d`) in place of the value; `used` collects
    the names. Raises ExpansionError, with every variable that is missing.
    """
    parts = []
    missing: dict[str, ExpansionError] = {}
    at = 0
    while (percent := text.find("%", at)) >= 0:
        parts.append(text[at:percent])
        if text.startswith("%%", percent):
            parts.append("%")
            at = percent + 2
            continue
        spec = _SPEC.match(text, percent)
        if spec is None:
            raise ExpansionError(
                f'"{text[percent : percent + 12]}" is no expansion such as %(process_num)02d; '
                "a percent sign is written %%"
            )
        try:
            parts.append(_one(spec, values, instead))
        except ExpansionError as error:
            if not error.missing:
                raise
            missing.setdefault(error.missing[0], error)
        if used is not None:
            used.add(spec["name"])
        at = spec.end()
    parts.append(text[at:])
    if missing:
        raise ExpansionError("; ".join(map(str, missing.values())), tuple(missing))
    return "".join(parts)


def _one(
    spec: re.Match[str],
    values: Mapping[str, str | int],
    instead: Callable[[str, str], str | None] | None,
) -> str:
    name = spec["name"]
    if name not in values:
        missing = name.removeprefix("ENV_") if name.startswith("ENV_") else ""
        why = f"{missing} is not in the environment" if missing else "there is no such name"
        raise ExpansionError(f"%({name}){spec['format']}: {why}", (missing,) if missing else ())
    numbers = (spec["width"], spec["digits"] or "")
    if any(len(number) > 4 or int(number or "0") > WIDTH_MAX for number in numbers):
        raise ExpansionError(f"%({name}){spec['format']}: wider than {WIDTH_MAX}")
    if instead and (other := instead(name, spec["format"])) is not None:
        return other
    try:
        return str(f"%({name}){spec['format']}" % {name: values[name]})
    except (TypeError, ValueError, OverflowError) as error:
        raise ExpansionError(f"%({name}){spec['format']}: {error}") from None


def pairs(text: str, *, letters: str = "") -> tuple[tuple[str, str], ...]:
    """Returns the variables of `KEY="value",OTHER=value` as Supervisor splits it.

    `letters` are part of words besides. Raises ValueError. Supervisor takes whatever stands
    between two of them for the comma.
    """
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():" + letters
    try:
        tokens = list(lexer)
    except ValueError as error:
        raise ValueError(f"{str(error).lower()}") from None
    variables: dict[str, str] = {}
    for at in range(0, len(tokens), 4):
        if len(tokens) < at + 3 or tokens[at + 1] != "=":
            raise ValueError(
                'expected KEY="value", with a comma before the next; a value that has other '
                "characters than letters, digits and /.+-():_ needs quotes"
            )
        variables[tokens[at]] = tokens[at + 2].strip("'\"")
    return tuple(variables.items())
