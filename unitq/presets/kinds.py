"""The kinds of values that only presets have: each its type, constraints and words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from unitq.model.hardening import DIRECTIVES
from unitq.model.suggest import either
from unitq.toml import values
from unitq.toml.kinds import DIRECTIVE, TYPES, AnySignal, Items, Kind, StopSignal, forms, text
from unitq.toml.values import MistakeError

if TYPE_CHECKING:
    from collections.abc import Callable


def _some(value: str) -> str:
    if not value.strip():
        raise ValueError(value)
    return values.line(value).strip()


def word(*words: str) -> Any:
    """One of these words."""
    expected = either([f'"{each}"' for each in words])
    return Annotated[str, Kind("word", expected, text("|".join(words)), near=words)]


def items(item: Any, expected: str) -> Kind:
    """A list of them."""
    return Kind("list", expected, Items[item])


Text = Annotated[str, Kind("text", "a string with something in it", str, _some)]
_Word = Annotated[
    str, Kind("word", "a string with something in it", Annotated[str, Field(min_length=1)])
]
Texts = Annotated[tuple[str, ...], items(_Word, "a list of strings")]
Signals = Annotated[tuple[str, ...], items(StopSignal, 'a list of signals such as ["SIGTERM"]')]
AnySignals = Annotated[tuple[str, ...], items(AnySignal, 'a list of signals such as ["SIGUSR2"]')]
Variable = Annotated[
    str, Kind("variable", 'the name of a variable such as "QUEUE"', text(values.VARIABLE))
]
Separator = Annotated[
    str,
    Kind(
        "separator", 'what stands between queues, such as ","', Annotated[str, Field(min_length=1)]
    ),
]
FindingName = Annotated[
    str,
    Kind("name", 'small letters, digits and "-" such as "one-shot"', text(values.FINDING_NAME)),
]
Directive = Annotated[
    str,
    Kind("directive", 'the name of a directive such as "RuntimeDirectory"', text(DIRECTIVE)),
]
UnitType = word(*(name for name in TYPES if name != "notify-reload"))  # of every systemd since 249
_Option = Annotated[
    str,
    Kind("option", 'an option such as "-b" or "--burst"', text(r"--?\w[\w-]*")),
]
Options = Annotated[tuple[str, ...], items(_Option, "a list of strings")]
OptionSet = Annotated[
    frozenset[str], Kind("list", "a list of strings", Items[_Option], frozenset[str])
]


def _below(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(path)
    return path


Files = Annotated[
    tuple[str, ...],
    items(
        Annotated[
            str,
            Kind("path", 'a path below the release such as "config/app.yml"',
                 Annotated[str, Field(min_length=1)], _below),
        ],
        "a list of strings",
    ),
]  # fmt: skip
Hardenings = Annotated[
    tuple[str, ...],
    items(
        Annotated[
            str,
            Kind("directive", "a directive of hardening", text("|".join(sorted(DIRECTIVES))),
                 near=sorted(DIRECTIVES)),
        ],
        "a list of strings",
    ),
]  # fmt: skip


def _pattern(then: Callable[[re.Pattern[str]], re.Pattern[str]] = lambda found: found) -> Kind:
    """A regular expression."""

    def check(value: str) -> re.Pattern[str]:
        try:
            found = re.compile(value, re.MULTILINE)
        except (re.error, RecursionError, OverflowError) as error:
            raise MistakeError(why=f"not a regular expression: {error}") from None
        return then(found)

    expected = "a regular expression in single quotes such as 'rq worker'"
    return Kind("regular expression", expected, Annotated[str, Field(min_length=1)], check)


def _ending_a_word(found: re.Pattern[str]) -> re.Pattern[str]:
    if re.match(r"\(\?[aiLmsux]+\)", found.pattern):
        raise MistakeError(why="flags must be those of a group, such as (?i:…)")
    return re.compile(rf"(?:{found.pattern})(?!\S)")


def _with_id(found: re.Pattern[str]) -> re.Pattern[str]:
    if "id" not in found.groupindex:
        raise MistakeError(why="needs a group (?P<id>…)")
    return found


def _with_number(found: re.Pattern[str]) -> re.Pattern[str]:
    if not found.groups:
        raise MistakeError(why=r"needs a group that is the number, such as (\d+)")
    return found


_LIST = "a list of regular expressions such as ['rq worker']"
Pattern = Annotated[re.Pattern[str], _pattern()]
NumberPattern = Annotated[re.Pattern[str], _pattern(_with_number)]
Patterns = Annotated[tuple[re.Pattern[str], ...], items(Pattern, _LIST)]
CommandPatterns = Annotated[
    tuple[re.Pattern[str], ...],
    items(Annotated[re.Pattern[str], _pattern(_ending_a_word)], _LIST),
]
JobPatterns = Annotated[
    tuple[re.Pattern[str], ...], items(Annotated[re.Pattern[str], _pattern(_with_id)], _LIST)
]


# As SuccessExitStatus= takes them (systemd.service(5)).
Statuses = Annotated[
    tuple[str, ...],
    items(
        Annotated[
            str,
            Kind("exit status", 'a whole number from 0 to 255, or a signal such as "SIGTERM"',
                 forms(StopSignal, Annotated[int, Field(ge=0, le=255)]), str),
        ],
        'a list of exit statuses and signals such as [1, "SIGTERM"]',
    ),
]  # fmt: skip
# What each signal does.
Notes = Annotated[
    tuple[tuple[str, str], ...],
    Kind(
        "table",
        'a table such as { SIGTERM = "finishes the job" }',
        dict[
            Annotated[
                str,
                Kind("signal", 'a signal such as "SIGTERM"',
                     text(f"SIG({'|'.join(values.SIGNALS)}|{values.REAL_TIME})")),
            ],
            Text,
        ],
        lambda table: tuple(table.items()),
    ),
]  # fmt: skip
