"""Command lines in systemd's syntax (systemd.service(5)): what they start, and more words."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Words of systemd's syntax as they are written, quotes included.
_RAW = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+""")
# What a shell would not take for a word: whole words only, so that `--filter=a>b` is none.
_SIGNS = re.compile(
    r"&&|\|\||\|&?|;|&|[0-9]?<<?|[0-9]?>>?|&>>?|[0-9]?>&[0-9]|[0-9&]?>>?/\S*|\$\(.*|`.+"
)
_BARE = re.compile(r"[A-Za-z0-9_./:@+,=%-]+")
_BACKSLASH = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}

# systemd.service(5): special executable prefixes, in any order before the command's path.
_PREFIXES = "@-:+!"


# How a command begins that keeps to `User=`. systemd takes quotes and escapes off the first word
# before it looks for "+" and "!" (config_parse_exec), so a quoted or escaped one counts too.
_KEEPS_TO_USER = re.compile(r"""[@:-]*["']?[\w./%]""")


def keeps_to_user(command: str) -> bool:
    """Whether systemd runs all of the command with the rights of `User=`.

    "+" and "!" before the program are root's rights, and each " ; " begins another command.
    """
    separated = any(match[0] == ";" for match in _RAW.finditer(command))
    return not separated and _KEEPS_TO_USER.match(command) is not None


def executable(command: str) -> str:
    """The program that a command line starts, as written: without prefixes and quotes."""
    _, _, word, _ = _first_word(command)
    return word


def prefixes(command: str) -> str:
    """What stands before that program and is none of its name, such as "-" (systemd.service(5))."""
    prefix, _, _, _ = _first_word(command)
    return prefix


def command_line(command: str, release: str) -> str:
    """The command with a relative program (`bin/worker`) taken from the release.

    systemd wants an absolute path or a bare name for the program (systemd.service(5)); arguments
    are relative to the working directory anyway, which is the release.
    """
    prefix, quote, word, rest = _first_word(command)
    if "/" not in word or word.startswith(("/", "%", "$")):
        return command
    program = f"{release}/{word.removeprefix('./')}"
    if not quote:
        program = re.sub(r"""([\\\s"'])""", lambda found: f"\\x{ord(found[1]):02x}", program)
    return f"{prefix}{quote}{program}{quote}{rest}"


def _first_word(command: str) -> tuple[str, str, str, str]:
    """A command line as prefixes, quote, first word, rest."""
    command = command.strip()
    bare = command.lstrip(_PREFIXES)
    prefix = command[: len(command) - len(bare)]
    quoted = re.match(r"""(["'])(.*?)\1""", bare)
    if quoted:
        return prefix, quoted[1], quoted[2], bare[quoted.end() :]
    word = re.match(r"\S*", bare)
    assert word
    return prefix, "", word[0], bare[word.end() :]


def words(command: str) -> list[str]:
    """The words of a command line, without the prefixes. Raises ValueError for an open quote.

    Quotes are the shell's: what systemd's escapes (systemd.syntax(7)) mean is not read.
    """
    return shlex.split(_without_prefixes(command))


def words_of(command: str) -> list[str]:
    """Returns the same, as well as that can be where a quote is open."""
    return split(_without_prefixes(command))


def split(text: str) -> list[str]:
    """Returns the words of a text, as well as that can be where its quotes are not closed."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _without_prefixes(command: str) -> str:
    return command.strip()[len(prefixes(command)) :]


def line(arguments: Sequence[str], *, keep: str = "") -> str:
    """A command line of these words, which arrive as they stand here."""
    rest = (word(text, keep=keep) for text in arguments[1:])
    return " ".join([_program(arguments[0], keep), *rest])


def with_arguments(command: str, arguments: tuple[str, ...]) -> str:
    """The command line with these words behind it, which arrive as they stand here."""
    dollar = ":" not in prefixes(command)  # systemd then replaces no variables
    return " ".join([command, *(word(text, dollar=dollar) for text in arguments)])


def word(text: str, *, dollar: bool = True, keep: str = "") -> str:
    """One word of systemd's syntax, whatever it holds: `%` means nothing special in it.

    `dollar`: nor does `$`, which is replaced there. Characters of `keep` stay as they are.
    """
    text = text.replace("%", "%%")
    text = text.replace("$", "$$") if dollar else text
    escaped = "".join(_character(c, keep) for c in text)
    return escaped if _BARE.fullmatch(escaped) else f'"{escaped}"'


def _character(c: str, keep: str) -> str:
    if c in _BACKSLASH:
        return _BACKSLASH[c]
    return c if c.isprintable() or c in keep else "".join(f"\\x{b:02x}" for b in c.encode())


def _program(text: str, keep: str) -> str:
    """The first word. A variable may not stand there, nor what looks like a prefix."""
    written = word(text, keep=keep)
    if "=" not in text and (text[0] in "@-:+!|" or "$" in text):
        return f"/usr/bin/env -- {written}"  # where it is a word like any other
    return written


def shell_sign(command: str) -> str:
    """The first word that means something to a shell only; empty where there is none.

    systemd passes it on as it is. In quotes, or behind a backslash, it is meant as a word.
    """
    written = [text[0] for text in _RAW.finditer(command)][1:]
    return next((text for text in written if is_sign(text)), "")


def is_sign(text: str) -> bool:
    """Whether a shell would not take this word for one, such as "&&"."""
    return bool(_SIGNS.fullmatch(text))


def names_folder(command: str, folder: str) -> bool:
    """Whether the command names this directory, or something in it, by its whole path."""
    folder = folder.rstrip("/")
    return bool(folder) and bool(re.search(rf"(?<![\w./~-]){re.escape(folder)}(?![\w.-])", command))
