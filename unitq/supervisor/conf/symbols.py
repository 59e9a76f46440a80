"""What several processes have in common: their command with a sign in place of each number.

Whether the signs stand for the numbers is proved afterwards, process by process.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.exec_line import line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Of Unicode's private use, which no configuration has; where one does, nothing is proved.
_FIRST = 0xE000
_MOST = 100
LETTERS = "".join(chr(_FIRST + index) for index in range(_MOST))

_SIGN = re.compile(f"[{LETTERS}]")
# printf(1) and Python agree about these.
_SIMPLE = re.compile(r"0?[0-9]{0,3}[dixXou]|s")


class Pattern(NamedTuple):
    """A command and an environment; the sign number i stands for the number in `formats[i]`."""

    command: str
    environment: tuple[tuple[str, str], ...]
    formats: tuple[str, ...]


class Symbols:
    """Hands out the signs."""

    def __init__(self) -> None:
        self.formats: list[str] = []

    def instead(self, name: str, spec: str) -> str | None:
        """The sign for a number in this format; None for what is no such number."""
        if name != "process_num" or not _SIMPLE.fullmatch(spec):
            return None
        if spec not in self.formats:
            self.formats.append(spec)
        at = self.formats.index(spec)
        return chr(_FIRST + at) if at < _MOST else None


def has_sign(text: str) -> bool:
    """Whether a number stands in the text."""
    return _SIGN.search(text) is not None


def pieces(text: str, formats: Sequence[str]) -> list[tuple[str, str]]:
    """The text as pairs: plain text, and the format of the number behind it ("" for the last)."""
    found = []
    at = 0
    for sign in _SIGN.finditer(text):
        index = ord(sign[0]) - _FIRST
        found.append((text[at : sign.start()], formats[index] if index < len(formats) else "d"))
        at = sign.end()
    return [*found, (text[at:], "")]


def filled(text: str, formats: Sequence[str], number: int) -> str:
    """The text with a number in place of the signs."""
    return "".join(
        plain + (str(f"%{spec}" % number) if spec else "") for plain, spec in pieces(text, formats)
    )


def replaced(text: str, signs: Mapping[str, str]) -> str:
    """The text with other texts in place of the signs; keys are formats' signs."""
    return _SIGN.sub(lambda found: signs.get(found[0], found[0]), text)


def proved(
    pattern: Pattern,
    processes: Sequence[tuple[str, tuple[tuple[str, str], ...]]],
    numbers: Iterable[int],
) -> bool:
    """Whether the pattern, with each number in turn, is what each process really has."""
    return all(
        filled(pattern.command, pattern.formats, number) == command
        and tuple((k, filled(v, pattern.formats, number)) for k, v in pattern.environment)
        == environment
        for number, (command, environment) in zip(numbers, processes, strict=True)
    )


def plain(spec: str) -> bool:
    """Whether the number stands there as it is, without zeros before it."""
    return spec in ("d", "i", "u", "s", "0d", "0i", "0u")


def numbered(
    arguments: Sequence[str],
    environment: Sequence[tuple[str, str]],
    formats: Sequence[str],
    start: int,
) -> tuple[str, bool]:
    """The command line of a worker whose instances differ by a number.

    Their first had the number `start`; ours is 1. Returns the line, and whether a shell has to
    count for it. Words and values have signs in place of the numbers .
    """
    texts = [*arguments, *(value for _, value in environment)]
    specs = [spec for text in texts for _, spec in pieces(text, formats) if spec]
    if start == 1 and all(map(plain, specs)):
        before = ["/usr/bin/env", *(f"{name}={value}" for name, value in environment)]
        every = [*(before if environment else ()), *arguments]
        return re.sub(f"[{LETTERS}]", "%i", line(every, keep=LETTERS)), False
    parts = ["exec", *(["env"] if environment else [])]
    parts += [f"{name}={_shell_word(value, formats, start)}" for name, value in environment]
    parts += [_shell_word(text, formats, start) for text in arguments]
    return line(["/bin/sh", "-c", " ".join(parts)]), True


def _shell_word(text: str, formats: Sequence[str], start: int) -> str:
    if not has_sign(text):
        return shlex.quote(text)
    count = f"$((UNITQ_INSTANCE {'-' if start < 1 else '+'} {abs(start - 1)}))"
    count = count if start != 1 else "$UNITQ_INSTANCE"
    written = []
    for before, spec in pieces(text, formats):
        written.append(re.sub(r'([\\"$`])', r"\\\1", before))
        if spec:
            written.append(count if plain(spec) else f"$(printf %{spec} {count})")
    return f'"{"".join(written)}"'
