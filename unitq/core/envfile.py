"""Environment files as systemd reads them (systemd.exec(5), EnvironmentFile=)."""

from __future__ import annotations

import re

# systemd.exec(5), EnvironmentFile=: what a backslash may quote inside double quotes.
_QUOTED = str.maketrans({character: f"\\{character}" for character in '\\"$`'})


def environment_file(environment: tuple[tuple[str, str], ...]) -> str:
    """The text of an EnvironmentFile= that gives exactly these values."""
    return "".join(f'{name}="{value.translate(_QUOTED)}"\n' for name, value in environment)


def file_names(count: int) -> tuple[str, ...]:
    """What a revision calls its copies of the user's environment files."""
    return tuple(f"env.{number}" for number in range(1, count + 1))


# A variable that systemd takes (systemd.exec(5), Environment=); others it leaves out.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# One line of a `.env`: a name, and a value that is quoted or has no blank.
_DOTENV = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*"""
    r"""(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#"']\S*)?)""",
    re.MULTILINE,
)


def dotenv(text: str) -> dict[str, str]:
    """What phpdotenv and its kin read from a `.env`, as far as they agree.

    No escapes, no `${NAME}`, no value over several lines. Other than in systemd's files, there may
    be `export` before a name and a comment behind a value.
    """
    return {found[1]: found[2] or found[3] or found[4] or "" for found in _DOTENV.finditer(text)}


_ENDS = "\n\r"
_BLANK = " \t\n\r"


def assignments(text: str) -> dict[str, str]:
    """What systemd reads from an EnvironmentFile=: names and values; the last of a name counts.

    It is not a shell's syntax: a quote in the middle of a value is an ordinary character, and
    the rules follow systemd's own parser (src/basic/env-file.c), state by state. A comment ends
    with its line, as since systemd 254; earlier ones went on behind a backslash.
    """
    found: dict[str, str] = {}
    state, name, value = "before", "", ""
    firm = 0  # so much of the value stays: blanks after it at the end of the line do not count

    def done() -> None:
        if _NAME.fullmatch(key := name.rstrip(_BLANK)):
            found[key] = value[:firm] + value[firm:].rstrip(_BLANK)

    for character in text:
        ends = character in _ENDS
        if state == "before":
            if character in "#;":
                state = "comment"
            elif character not in _BLANK:
                state, name, value, firm = "name", character, "", 0
        elif state == "comment":
            state = "before" if ends else state
        elif state == "name":
            if ends:
                state = "before"
            elif character == "=":
                state = "value begins"
            else:
                name += character
        elif state == "value begins":
            if ends:
                done()
                state = "before"
            elif character in "'\"":
                state = character
            elif character == "\\":
                state = "escaped"
            elif character not in _BLANK:
                state, value = "value", value + character
        elif state == "value":
            if ends:
                done()
                state = "before"
            elif character == "\\":
                state, firm = "escaped", len(value)
            else:
                value += character
        elif state == "escaped":
            state = "value"
            if not ends:
                value += character
                firm = len(value)
        elif state == "'":
            if character == "'":
                state = "value begins"
            else:
                value += character
            firm = len(value)
        elif state == '"':
            if character == '"':
                state = "value begins"
            elif character == "\\":
                state = '\\"'
            else:
                value += character
            firm = len(value)
        else:  # behind a backslash in double quotes
            state = '"'
            if character in '\\"$`':
                value += character
            elif not ends:
                value += f"\\{character}"
            firm = len(value)
    if state not in ("before", "comment", "name"):
        done()
    return found
