"""The kinds of values that only presets have: each its type, constraints and words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from unitq.model.hardening import DIRECTIVES
from unitq.model.suggest import either
from unitq.toml import values
from unitq.toml.types import DIRECTIVE, SOME, TYPES, AnySignal, Items, Kind, StopSignal, forms
from unitq.toml.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable


def _some(value: str) -> str:
    if not value.strip():
        raise ValueError(value)
    return values.line(value).strip()


def word(*words: str) -> Kind:
    """One of these words."""
    return Kind(either([f'"{text}"' for text in words]), "|".join(words), near=words)


def items(item: Any, expected: str = "a list of strings") -> Kind:
    """A list of them."""
    return Kind(expected, Items[item])


def _below(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(path)
    return path


_SOME = "a string with something in it"
_FILE = 'a path below the release such as "config/app.yml"'
_HARD = Kind("a directive of hardening", "|".join(DIRECTIVES), near=sorted(DIRECTIVES))
_Option = Annotated[str, Kind('an option such as "-b" or "--burst"', r"--?\w[\w-]*")]

Text = Annotated[str, Kind(_SOME, str, _some)]
Texts = Annotated[tuple[str, ...], items(Annotated[str, Kind(_SOME, SOME)])]
Signals = Annotated[tuple[str, ...], items(StopSignal, 'a list of signals such as ["SIGTERM"]')]
AnySignals = Annotated[tuple[str, ...], items(AnySignal, 'a list of signals such as ["SIGUSR2"]')]
Variable = Annotated[str, Kind('the name of a variable such as "QUEUE"', values.VARIABLE)]
Separator = Annotated[str, Kind('what stands between queues, such as ","', SOME)]
FindingName = Annotated[
    str, Kind('small letters, digits and "-" such as "one-shot"', values.FINDING_NAME)
]
Directive = Annotated[str, Kind('the name of a directive such as "RuntimeDirectory"', DIRECTIVE)]
# As far as every systemd since 249 knows them.
UnitType = Annotated[str, word(*(name for name in TYPES if name != "notify-reload"))]
Options = Annotated[tuple[str, ...], items(_Option)]
OptionSet = Annotated[frozenset[str], Kind("a list of strings", Items[_Option], frozenset)]
Files = Annotated[tuple[str, ...], items(Annotated[str, Kind(_FILE, SOME, _below)])]
Hardenings = Annotated[tuple[str, ...], items(Annotated[str, _HARD])]


def _pattern(then: Callable[[re.Pattern[str]], re.Pattern[str]] = lambda found: found) -> Kind:
    """A regular expression."""

    def check(value: str) -> re.Pattern[str]:
        try:
            pattern = re.compile(value, re.MULTILINE)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidValueError(why=f"not a regular expression: {error}") from None
        return then(pattern)

    expected = "a regular expression in single quotes such as 'rq worker'"
    return Kind(expected, SOME, check)


def _ending_a_word(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if re.match(r"\(\?[aiLmsux]+\)", pattern.pattern):
        raise InvalidValueError(why="flags must be those of a group, such as (?i:…)")
    return re.compile(rf"(?:{pattern.pattern})(?!\S)")


def _with_id(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if "id" not in pattern.groupindex:
        raise InvalidValueError(why="needs a group (?P<id>…)")
    return pattern


def _with_number(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if not pattern.groups:
        raise InvalidValueError(why=r"needs a group that is the number, such as (\d+)")
    return pattern


def _patterns(pattern: Kind) -> Kind:
    expected = "a list of regular expressions such as ['rq worker']"
    return items(Annotated[re.Pattern[str], pattern], expected)


Pattern = Annotated[re.Pattern[str], _pattern()]
NumberPattern = Annotated[re.Pattern[str], _pattern(_with_number)]
Patterns = Annotated[tuple[re.Pattern[str], ...], _patterns(_pattern())]
CommandPatterns = Annotated[tuple[re.Pattern[str], ...], _patterns(_pattern(_ending_a_word))]
JobPatterns = Annotated[tuple[re.Pattern[str], ...], _patterns(_pattern(_with_id))]

# As SuccessExitStatus= takes them (systemd.service(5)).
_STATUS = 'a whole number from 0 to 255, or a signal such as "SIGTERM"'
_STATUSES = 'a list of exit statuses and signals such as [1, "SIGTERM"]'
_Status = Kind(_STATUS, forms(StopSignal, Annotated[int, Field(ge=0, le=255)]), str)
Statuses = Annotated[tuple[str, ...], items(Annotated[str, _Status], _STATUSES)]

# What each signal does.
_Signal = Kind('a signal such as "SIGTERM"', f"SIG({'|'.join(values.SIGNALS)}|{values.REAL_TIME})")
Notes = Annotated[
    tuple[tuple[str, str], ...],
    Kind(
        'a table such as { SIGTERM = "finishes the job" }',
        dict[Annotated[str, _Signal], Text],
        lambda table: tuple(table.items()),
    ),
]
