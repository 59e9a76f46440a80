"""%(expansions)s and lists of KEY="value", as Supervisor reads them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

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
    """The text with its expansions: Python's `%` with a dictionary, which is what Supervisor does.

    `instead` may answer for a name and its format (`02d`) in place of the value; `used` collects
    the names. Raises ExpansionError, with every variable that is missing.
    """
    parts = []
    missing: dict[str, ExpansionError] = {}
    at = 0
    while (found := text.find("%", at)) >= 0:
        parts.append(text[at:found])
        if text.startswith("%%", found):
            parts.append("%")
            at = found + 2
            continue
        spec = _SPEC.match(text, found)
        if spec is None:
            raise ExpansionError(
                f'"{text[found : found + 12]}" is no expansion such as %(process_num)02d; '
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


class Pairs(NamedTuple):
    """Variables, and what is odd about how they stand there."""

    values: tuple[tuple[str, str], ...]
    odd: tuple[str, ...] = ()


def pairs(text: str, *, letters: str = "") -> Pairs:
    """`KEY="value",OTHER=value` as Supervisor splits it; `letters` are part of words besides.

    Raises ValueError. Supervisor takes whatever stands between two of them for the comma.
    """
    tokens = _tokens(text, letters, "#")
    found: dict[str, str] = {}
    odd = []
    at = 0
    while at < len(tokens):
        if len(tokens) < at + 3 or tokens[at + 1] != "=":
            raise ValueError(
                'expected KEY="value", with a comma before the next; a value that has other '
                "characters than letters, digits and /.+-():_ needs quotes"
            )
        name = tokens[at]
        if name in found:
            odd.append(f"{name} stands there twice; the last counts")
        value = tokens[at + 2]
        found[name] = value.strip("'\"")
        if value[:1] in "'\"" and found[name] != value[1:-1]:
            odd.append(f"of {name} Supervisor takes all quotes at either end away, not one pair")
        between = tokens[at + 3 : at + 4]
        if between not in ([], [","]):
            odd.append(
                f"behind {name} stands no comma where Supervisor expects one; it goes on behind "
                "it: quotes are missing around the value"
            )
        at += 4
    if len(tokens) != len(_tokens(text, letters, "", strict=False)):
        odd.append('what follows "#" is a comment to Supervisor; quotes keep it')
    return Pairs(tuple(found.items()), tuple(odd))


def _tokens(text: str, letters: str, comments: str, *, strict: bool = True) -> list[str]:
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():" + letters
    lexer.commenters = comments
    try:
        return list(lexer)
    except ValueError as error:
        if not strict:
            return []
        raise ValueError(f"{str(error).lower()}") from None
