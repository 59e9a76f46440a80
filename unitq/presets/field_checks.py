"""One value of a preset's file each: plain TOML in, a checked value out, or a MistakeError."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from unitq.model.finding import Certainty, Level
from unitq.model.hardening import DIRECTIVES
from unitq.model.suggest import either
from unitq.presets.model import Basis
from unitq.toml import directives, values
from unitq.toml.values import MistakeError, MistakesError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def text(value: object) -> str:
    """A string with something in it, without blanks at its ends."""
    if not isinstance(value, str) or not value.strip():
        raise MistakeError("a string with something in it")
    if value.endswith("\\"):
        raise MistakeError(why="must not end in a backslash")
    return value.strip()


def words(value: object) -> tuple[str, ...]:
    """A list of strings."""
    if not isinstance(value, list):
        raise MistakeError("a list of strings")
    wrong = [
        MistakeError("a string with something in it", at=(index,))
        for index, item in enumerate(value)
        if not isinstance(item, str) or not item
    ]
    if wrong:
        raise MistakesError(wrong)
    return tuple(value)


def hardening(value: object) -> tuple[str, ...]:
    """A list of directives that `hardening` may set."""
    for index, directive in enumerate(words(value)):
        if directive not in DIRECTIVES:
            example = MistakeError("a directive of hardening", words=sorted(DIRECTIVES))
            raise example.below(index)
    return words(value)


def signals(value: object) -> tuple[str, ...]:
    """A list of signals that may stop a worker."""
    if not isinstance(value, list):
        raise MistakeError('a list of signals such as ["SIGTERM"]')
    return tuple(inside(value, values.stop_signal))


def any_signals(value: object) -> tuple[str, ...]:
    """A list of signals of any kind."""
    if not isinstance(value, list):
        raise MistakeError('a list of signals such as ["SIGUSR2"]')
    return tuple(inside(value, values.any_signal))


def inside(value: list[object], check: Callable[[object], T]) -> list[T]:
    """Every item of a list, checked; all mistakes in it at once."""
    every, wrong = [], []
    for index, item in enumerate(value):
        try:
            every.append(check(item))
        except MistakeError as mistake:
            wrong.append(mistake.below(index))
    if wrong:
        raise MistakesError(wrong)
    return every


def pattern(value: object) -> re.Pattern[str]:
    """A regular expression."""
    if not isinstance(value, str) or not value:
        raise MistakeError("a regular expression in single quotes such as 'rq worker'")
    try:
        return re.compile(value, re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        raise MistakeError(why=f"not a regular expression: {error}") from None


def patterns(value: object) -> tuple[re.Pattern[str], ...]:
    """A list of them."""
    if not isinstance(value, list):
        raise MistakeError("a list of regular expressions such as ['rq worker']")
    return tuple(inside(value, pattern))


def patterns_of(group: str) -> Callable[[object], tuple[re.Pattern[str], ...]]:
    """A list of regular expressions that all have this group."""

    def check(value: object) -> tuple[re.Pattern[str], ...]:
        found = patterns(value)
        wrong = [
            MistakeError(why=f"needs a group (?P<{group}>…)", at=(index,))
            for index, each in enumerate(found)
            if group not in each.groupindex
        ]
        if wrong:
            raise MistakesError(wrong)
        return found

    return check


def commands(value: object) -> tuple[re.Pattern[str], ...]:
    """A list of them that have to end with a word."""
    if not isinstance(value, list):
        raise MistakeError("a list of regular expressions such as ['rq worker']")
    return tuple(re.compile(rf"(?:{found.pattern})(?!\S)") for found in inside(value, _plain))


def _plain(value: object) -> re.Pattern[str]:
    found = pattern(value)
    if re.match(r"\(\?[aiLmsux]+\)", found.pattern):
        raise MistakeError(why="flags must be those of a group, such as (?i:…)")
    return found


def statuses(value: object) -> tuple[str, ...]:
    """Exit statuses and signals, as SuccessExitStatus= takes them (systemd.service(5))."""
    expected = 'a list of exit statuses and signals such as [1, "SIGTERM"]'
    if not isinstance(value, list):
        raise MistakeError(expected)

    def status(item: object) -> str:
        if isinstance(item, str):
            return values.stop_signal(item)
        return str(values.whole(0, 255)(item))

    return tuple(inside(value, status))


def unit_type(value: object) -> str:
    """`Type=`, as far as every systemd since 249 knows it."""
    types = tuple(word for word in directives.TYPES if word != "notify-reload")
    if not isinstance(value, str) or value not in types:
        raise MistakeError(either([f'"{word}"' for word in types]), words=types)
    return value


def word_of(words: tuple[str, ...]) -> Callable[[object], str]:
    """One of these words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise MistakeError(either([f'"{word}"' for word in words]), words=words)
        return value

    return check


def level(value: object) -> Level:
    """How bad a finding is."""
    return Level(word_of(tuple(Level))(value))


def certainty(value: object) -> Certainty:
    """How sure a finding is."""
    return Certainty(word_of(tuple(Certainty))(value))


def finding_name(value: object) -> str:
    """The name by which `allow` silences a finding."""
    if not isinstance(value, str) or not re.fullmatch(values.FINDING_NAME, value):
        raise MistakeError('small letters, digits and "-" such as "one-shot"')
    return value


def options(value: object) -> tuple[str, ...]:
    """Options of a command line, with their dashes."""
    for index, option in enumerate(words(value)):
        if not re.fullmatch(r"--?\w[\w-]*", option):
            raise MistakeError('an option such as "-b" or "--burst"', at=(index,))
    return words(value)


def directive(value: object) -> str:
    """The name of one of systemd's directives."""
    if not isinstance(value, str) or not re.fullmatch(directives.DIRECTIVE, value):
        raise MistakeError('the name of a directive such as "RuntimeDirectory"')
    return value


def files(value: object) -> tuple[str, ...]:
    """Paths below the release."""
    for index, path in enumerate(words(value)):
        if path.startswith("/") or ".." in path.split("/"):
            raise MistakeError('a path below the release such as "config/app.yml"', at=(index,))
    return words(value)


def basis(value: object) -> Basis:
    """How a fact is known."""
    return Basis(word_of(tuple(Basis))(value))


def notes(value: object) -> tuple[tuple[str, str], ...]:
    """What each signal does."""

    def check(key: str, item: object) -> tuple[str, ...]:
        if values.any_signal(key) != key:
            raise MistakeError(why='not a signal such as "SIGTERM"')
        return (text(item),)

    pairs = values.each(value, check, 'a table such as { SIGTERM = "finishes the job" }')
    return tuple((key, text) for key, (text,) in pairs)


def count(value: object) -> int | None:
    """A whole number."""
    return values.whole(0, 10**9)(value)


def variable(value: object) -> str:
    """The name of an environment variable."""
    if not isinstance(value, str) or not re.fullmatch(values.VARIABLE, value):
        raise MistakeError('the name of a variable such as "QUEUE"')
    return value


def separator(value: object) -> str:
    """What stands between queues."""
    if not isinstance(value, str) or not value:
        raise MistakeError('what stands between queues, such as ","')
    return value
