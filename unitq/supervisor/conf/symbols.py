"""What several processes have in common: their command with a sign in place of each number.

Whether the signs stand for the numbers is proved afterwards, process by process.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.exec_line import line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Of Unicode's private use, which no configuration has; where one does, nothing is proved. The
# first stands for a number as it is, the others for one with zeros before it, by how many digits.
_FIRST = 0xE000
LETTERS = "".join(chr(_FIRST + width) for width in range(10))

_SIGN = re.compile(f"[{LETTERS}]")
_FORMAT = re.compile(r"(?:0([1-9]?))?[diu]|s")


class Pattern(NamedTuple):
    """A command and an environment with signs in place of the number."""

    command: str
    environment: tuple[tuple[str, str], ...]


def sign(name: str, spec: str) -> str | None:
    """Returns the sign for `process_num` in a format such as 02d; None: it has none."""
    match = _FORMAT.fullmatch(spec)
    return chr(_FIRST + int(match[1] or 0)) if match and name == "process_num" else None


def has_sign(text: str) -> bool:
    """Whether a number stands in the text."""
    return _SIGN.search(text) is not None


def fill(text: str, number: int) -> str:
    """Returns the text with a number in place of the signs."""
    return _SIGN.sub(lambda match: f"{number:0{ord(match[0]) - _FIRST}d}", text)


def proved(
    pattern: Pattern,
    processes: Sequence[tuple[str, tuple[tuple[str, str], ...]]],
    numbers: Iterable[int],
) -> bool:
    """Whether the pattern, with each number in turn, is what each process really has."""
    return all(
        fill(pattern.command, number) == command
        and tuple((name, fill(value, number)) for name, value in pattern.environment) == environment
        for number, (command, environment) in zip(numbers, processes, strict=True)
    )


def numbered_line(
    arguments: Sequence[str], environment: Sequence[tuple[str, str]], start: int
) -> tuple[str, bool]:
    """The command line of a worker whose instances differ by a number.

    Their first had the number `start`; ours is 1. Returns the line, and whether a shell has to
    count for it. Words and values have signs in place of the numbers.
    """
    texts = [*arguments, *(value for _, value in environment)]
    signs = {match for text in texts for match in _SIGN.findall(text)}
    if start == 1 and signs <= {LETTERS[0]}:
        before = ["/usr/bin/env", *(f"{name}={value}" for name, value in environment)]
        words = [*(before if environment else ()), *arguments]
        return _SIGN.sub("%i", line(words, keep=LETTERS)), False
    shift = f"{'-' if start < 1 else '+'} {abs(start - 1)}"
    count = "${UNITQ_INSTANCE}" if start == 1 else f"$((UNITQ_INSTANCE {shift}))"
    parts = ["exec", *(["env"] if environment else [])]
    parts += [f"{name}={_shell_word(value, count)}" for name, value in environment]
    parts += [_shell_word(text, count) for text in arguments]
    return line(["/bin/sh", "-c", " ".join(parts)]), True


def _shell_word(text: str, count: str) -> str:
    """A word in the shell's syntax; `count` computes the number there."""
    if not has_sign(text):
        return shlex.quote(text)

    def number(match: re.Match[str]) -> str:
        width = ord(match[0]) - _FIRST
        return f"$(printf %0{width}d {count})" if width else count

    escaped = re.sub(r'([\\"$`])', r"\\\1", text)
    return f'"{_SIGN.sub(number, escaped)}"'
