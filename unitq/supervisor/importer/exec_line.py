"""Command lines in systemd's syntax (systemd.service(5), "Command lines"), from plain words."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from unitq.supervisor.conf.symbols import LETTERS, has_sign, pieces, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_BARE = re.compile(r"[A-Za-z0-9_./:@+,=%-]+")
# systemd takes these before the program for something else (systemd.service(5), Table 1).
_PREFIXES = "@-:+!|"
_BACKSLASH = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def word(text: str) -> str:
    """One word, whatever it holds: `%` and `$` mean nothing special in it."""
    escaped = "".join(_character(c) for c in text.replace("%", "%%").replace("$", "$$"))
    return escaped if _BARE.fullmatch(escaped) else f'"{escaped}"'


def _character(c: str) -> str:
    if c in _BACKSLASH:
        return _BACKSLASH[c]
    return c if c.isprintable() or c in LETTERS else "".join(f"\\x{b:02x}" for b in c.encode())


def line(arguments: Sequence[str]) -> str:
    """A command line of these words."""
    return " ".join([_program(arguments[0]), *map(word, arguments[1:])])


def _program(text: str) -> str:
    """The first word. A variable may not stand there, nor what looks like a prefix."""
    if text[0] in _PREFIXES or "$" in text or "=" in text:
        # The same through env(1), where it is a word like any other.
        return f"/usr/bin/env -- {word(text)}" if "=" not in text else word(text)
    return word(text)


def numbered(
    arguments: Sequence[str],
    environment: Sequence[tuple[str, str]],
    formats: Sequence[str],
    start: int,
) -> tuple[str, bool]:
    """The command line of a worker whose instances differ by a number.

    Their first had the number `start`; ours is 1. Returns the line, and whether a shell has to
    count for it. Words and values have signs in place of the numbers (see symbols.py).
    """
    texts = [*arguments, *(value for _, value in environment)]
    specs = [spec for text in texts for _, spec in pieces(text, formats) if spec]
    if start == 1 and all(map(plain, specs)):
        before = ["/usr/bin/env", *(f"{name}={value}" for name, value in environment)]
        every = [*(before if environment else ()), *arguments]
        return re.sub(f"[{LETTERS}]", "%i", line(every)), False
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
