"""TOML text into plain data, with nothing in it that could hurt a unit file or a terminal.

For unitq.toml and for presets: every mistake is a ConfigError, and all of a file come at once.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from unitq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.toml.values import Path

TEXT_MAX = 1024 * 1024
VALUE_MAX = 64 * 1024
KEY_MAX = 255
SHOWN_MAX = 60  # characters of a value or a key that a message repeats
_NUMBER_MAX = 2**63  # TOML's whole numbers have 64 bits
DEPTH_MAX = 16  # the file itself needs 5
# tomllib takes quadratic time for a key of thousands of parts, and nobody writes one.
_PART = r"""(?:"[^"\n]*+"|'[^'\n]*+'|[A-Za-z0-9_-]++)[ \t]*+"""
_ENDLESS_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:\.[ \t]*+{_PART}){{200}}")

PROBLEMS_MAX = 100  # nobody reads more, and a file of rubbish could have a hundred thousand


def place(path: Path) -> str:
    """`workers.sms.queues[1]`; keys in quotes where TOML wants them."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", key) and len(key) <= SHOWN_MAX
            text += f"{'.' if text else ''}{key if bare else quote(key)}"
    return text


def quote(text: str) -> str:
    """The text in quotes, short and on one line; nothing in it can be an order to a terminal."""
    short = text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"
    return '"' + "".join(_visible(c) for c in short) + '"'


def _visible(c: str) -> str:
    if c in '"\\':
        return f"\\{c}"
    if c.isprintable():
        return c
    return f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}"


def toml(value: Any) -> str:
    """The value as TOML writes it, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case dict():
            return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
        case list() | tuple():
            return f"[{', '.join(toml(item) for item in value)}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


def toml_text(text: str) -> str:
    """A text as TOML writes it; in single quotes, where nothing is escaped, if it can be."""
    return f"'{text}'" if "'" not in text and text.isprintable() else toml(text)


def describe(value: object, *, secret: bool = False) -> str:
    """What stands in the file, or only of what type it is."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case bool():
            return "true or false" if secret else str(value).lower()
        case int() | float() if secret:
            return "a number"
        case str():
            return "a string" if secret else quote(value)
        case datetime() | date() | time():
            return "a date or time"
        case int() if not -_NUMBER_MAX <= value < _NUMBER_MAX:
            return "a huge number"
        case _:
            return str(value)


def read(text: str, source: str) -> tuple[dict[str, Any], dict[Path, int], dict[Path, str]]:
    """The data, the order in which places stand in the file, and what must reach no unit file.

    Raises ConfigError where it is no TOML at all, or nested so deeply that nobody means it.
    """
    data = load(text, source)
    order: dict[Path, int] = {(): 0}
    problems: dict[Path, str] = {}
    for path, value in _walk(data):
        order[path] = len(order)
        if len(path) > DEPTH_MAX:
            # Whatever else is wrong: nothing below needs to know how to walk into this.
            raise refusal(source, [f"{place(path[:3])}: nested too deeply"])
        if bad := unsafe(path[-1], KEY_MAX, "the key ") or unsafe(value, VALUE_MAX):
            problems[path] = bad + _OTHERWISE * _in_environment(path, value)
    return data, order, problems


# What no unit file may hold, an environment file may (systemd.exec(5), EnvironmentFile=).
_OTHERWISE = (
    '; an environment_file may hold it: NAME="…", in double quotes, with line breaks and tabs as '
    "they are"
)


def _in_environment(path: Path, value: object) -> bool:
    """Whether it is a value of `environment` that a file could hold: line breaks and tabs."""
    named = len(path) > 1 and path[-2] == "environment"
    return named and isinstance(value, str) and not any(map(_forbidden, value.translate(_MAY)))


_MAY = {ord(character): None for character in "\n\t"}


def load(text: str, source: str) -> dict[str, Any]:
    """The data, unchecked. Raises ConfigError where it is no TOML, or takes too long to read.

    Every TOML that another account may have written is read here: tomllib itself hangs on some.
    """
    if len(text) > TEXT_MAX:
        raise refusal(source, [f"longer than {TEXT_MAX // 1024} KiB"])
    if match := re.search("[\ud800-\udfff]", text):
        # This is how Python reads bytes that are not UTF-8 when it is told to go on.
        line = text.count("\n", 0, match.start()) + 1
        raise refusal(source, [f"line {line}: not UTF-8; save the file in that encoding"])
    if _ENDLESS_KEY.search(text):
        raise refusal(source, ["a key has hundreds of parts"])
    # Windows editors begin a file with a byte order mark; TOML 1.1 ignores it.
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise refusal(source, [_syntax(str(error))], hint=_syntax_hint(str(error))) from None
    except RecursionError:
        raise refusal(source, ["nested too deeply"]) from None
    except ValueError:
        # Python converts no number of more than 4,300 digits.
        raise refusal(source, ["contains a huge number"]) from None


def _syntax(said: str) -> str:
    """`line 3, column 5: …`: what tomllib said, its place first."""
    parts = re.fullmatch(
        r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", said, re.DOTALL
    )
    if parts is None:
        return _shorten(said)
    where = f"line {parts[2]}, column {parts[3]}" if parts[2] else "at the end of the file"
    what = parts[1][:1].lower() + parts[1][1:]
    return f"{where}: {_shorten(what)}"


def _syntax_hint(said: str) -> str:
    if said.startswith("Invalid value"):
        return 'text needs quotes: user = "www-data"; true and false are written small'
    if said.startswith("Unescaped '\\'"):
        return "in single quotes a backslash is only a backslash: 'a\\b'"
    if said.startswith(("Cannot overwrite", "Cannot declare")):
        return "the same key or table stands there twice"
    if said.startswith("Illegal character '\\n'"):
        return "a closing quote is missing in this line"
    return ""


def _shorten(said: str) -> str:
    line = "".join(c if c.isprintable() else " " for c in said)
    return line if len(line) <= 200 else f"{line[:199]}…"


def _walk(data: dict[str, Any]) -> Iterator[tuple[Path, object]]:
    """Every place in the data, in the file's order; without recursion, whatever the depth."""
    ahead: list[tuple[Path, object]] = [((), data)]
    while ahead:
        path, value = ahead.pop()
        if path:
            yield path, value
        if isinstance(value, dict):
            ahead.extend(((*path, key), value[key]) for key in reversed(value))
        elif isinstance(value, list):
            ahead.extend(((*path, index), value[index]) for index in reversed(range(len(value))))


def unsafe(value: object, longest: int, what: str = "") -> str:
    """Why this string must reach no unit file, if so."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "a whole number has at most 64 bits"
    if not isinstance(value, str):
        return ""
    if len(value) > longest or len(value.encode(errors="surrogatepass")) > longest:
        return f"{what}is longer than {longest} bytes"
    bad = next((c for c in value if _forbidden(c)), None)
    if bad is None:
        return ""
    if bad in "\n\r\u2028\u2029\x85":
        # In a unit file the next line would be another directive.
        return f"{what}contains a line break (U+{ord(bad):04X})"
    kind = "control character" if unicodedata.category(bad) == "Cc" else "character"
    return f"{what}contains the {kind} U+{ord(bad):04X}, which no unit file may hold"


def _forbidden(c: str) -> bool:
    if c < "\x7f":
        return c < " "
    code = ord(c)
    # The last line: Unicode's non-characters, with which systemd takes no line for UTF-8.
    return (
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")
        or 0xFDD0 <= code <= 0xFDEF
        or code & 0xFFFE == 0xFFFE
    )


def lines(problems: dict[Path, str], order: dict[Path, int]) -> list[str]:
    """One line each, in the order of the file; what is missing comes at the end of its table."""

    def rank(path: Path) -> tuple[int, ...]:
        # The position of each key on the way, and behind all of them for a key that is not there.
        return tuple(order.get(path[: depth + 1], len(order)) for depth in range(len(path)))

    return [f"{place(path)}: {problems[path]}" for path in sorted(problems, key=rank)]


def refusal(source: str, lines: list[str], hint: str = "") -> ConfigError:
    """All that is wrong with a file, in one."""
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    if len(lines) > PROBLEMS_MAX:
        count = f"more than {PROBLEMS_MAX} mistakes, of which these are the first"
        lines = lines[:PROBLEMS_MAX]
    return ConfigError(f"{source}: {count}", hint=hint, problems=tuple(lines))
