"""Environment files as systemd reads them (systemd.exec(5), EnvironmentFile=)."""

from __future__ import annotations

import re
from dataclasses import dataclass

# systemd.exec(5), EnvironmentFile=: what a backslash may quote inside double quotes.
_QUOTED = str.maketrans({character: f"\\{character}" for character in '\\"$`'})


def environment_file(environment: tuple[tuple[str, str], ...]) -> str:
    """The text of an EnvironmentFile= that gives exactly these values."""
    return "".join(f'{name}="{value.translate(_QUOTED)}"\n' for name, value in environment)


def file_names(count: int) -> tuple[str, ...]:
    """What a revision calls its copies of the user's environment files."""
    return tuple(f"env.{number}" for number in range(1, count + 1))


# A variable that systemd takes (systemd.exec(5), Environment=); others it leaves out.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

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
    return {match[1]: match[2] or match[3] or match[4] or "" for match in _DOTENV.finditer(text)}


_ENDS = "\n\r"
_BLANK = " \t\n\r"


@dataclass(slots=True)
class Statement:
    """One assignment of an environment file, as systemd takes it, or what it takes for none."""

    line: int  # where it begins, from 1, as an editor counts
    name: str = ""  # without blanks behind it; may be none that systemd takes
    value: str | None = None  # None: there is no "=", and systemd leaves it out
    last_line: int = 0
    closed: bool = True  # False: the file ends inside of its quotes
    after_quotes: str = ""  # what follows the last closing quote, blanks at its ends left out;
    # a line break stands for one that a backslash takes away
    eaten: bool = False  # a letter or digit, outside of quotes, lost the backslash before it
    joined: bool = False  # a backslash at the end of a line adds the next one
    bare: str = ""  # the parts of the value where a shell would expand `$`
    comment: bool = False  # a "#" behind a blank, outside of quotes: a comment elsewhere

    @property
    def taken(self) -> bool:
        """Whether the worker gets the variable."""
        return self.value is not None and bool(NAME.fullmatch(self.name))


def assignments(text: str) -> dict[str, str]:
    """What systemd reads from an EnvironmentFile=: names and values; the last of a name counts."""
    return {
        statement.name: statement.value or "" for statement in statements(text) if statement.taken
    }


def undecodable(statement: Statement) -> bool:
    """Whether systemd refuses the whole file for it; the text is decoded by `surrogateescape`.

    Of an assignment only, also of one that it would leave out: src/basic/utf8.c, unichar_is_valid()
    takes neither surrogates nor what Unicode calls noncharacters.
    """
    return statement.value is not None and bool(
        _NOT_UNICODE.search(statement.name) or _NOT_UNICODE.search(statement.value)
    )


_NOT_UNICODE = re.compile(
    "[\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)


def statements(text: str, *, joins_comments: bool = False) -> list[Statement]:
    """Returns all that systemd reads from an EnvironmentFile=, in order.

    It is not a shell's syntax: a quote in the middle of a value is an ordinary character, and
    the rules follow systemd's own parser (src/basic/env-file.c), state by state. `joins_comments`:
    as before systemd 254, where a backslash at the end of a comment joins the next line to it.
    """
    complete: list[Statement] = []
    state, line, now = "before", 1, Statement(0)
    # Characters, as a long value takes too long to be put together one by one.
    name: list[str] = []
    value: list[str] = []
    bare: list[str] = []
    behind: list[str] = []
    firm = 0  # so much of the value stays: blanks after it at the end of the line do not count

    def finish(state: str) -> None:
        now.name, now.last_line = "".join(name).rstrip(_BLANK), line
        if state != "name":
            now.value = "".join(value[:firm]) + "".join(value[firm:]).rstrip(_BLANK)
        now.after_quotes, now.bare = "".join(behind).strip(_BLANK), "".join(bare)
        complete.append(now)

    for index, character in enumerate(text):
        ends = character in _ENDS
        if state == "before":
            if character in "#;":
                state = "comment"
            elif character not in _BLANK:
                state, firm, now = "name", 0, Statement(line)
                for part in (name, value, bare, behind):
                    part.clear()
                name.append(character)
        elif state == "comment":
            if character == "\\":
                state = "comment, escaped"
            elif ends:
                state = "before"
        elif state == "comment, escaped":
            state = "before" if ends and not joins_comments else "comment"
        elif state == "name":
            if ends:
                finish(state)
                state = "before"
            elif character == "=":
                state = "value begins"
            else:
                name.append(character)
        elif state == "value begins":
            if ends:
                finish(state)
                state = "before"
            elif character in "'\"":
                state = character
                behind.clear()
            elif character == "\\":
                state = "escaped"
            elif character not in _BLANK:
                state = "value"
                for part in (value, behind, bare):
                    part.append(character)
                now.comment |= character == "#" and text[index - 1] in _BLANK
        elif state == "value":
            if ends:
                finish(state)
                state = "before"
            elif character == "\\":
                state, firm = "escaped", len(value)
            else:
                for part in (value, behind, bare):
                    part.append(character)
                now.comment |= character == "#" and text[index - 1] in _BLANK
        elif state == "escaped":
            state = "value"
            if ends:
                now.joined = True
                behind.append("\n")
            else:
                value.append(character)
                now.eaten |= character.isalnum()
            firm = len(value)
        elif state == "'":
            if character == "'":
                state = "value begins"
            else:
                value.append(character)
            firm = len(value)
        elif state == '"':
            if character == '"':
                state = "value begins"
            elif character == "\\":
                state = '\\"'
            else:
                value.append(character)
                bare.append(character)
            firm = len(value)
        else:  # behind a backslash in double quotes
            state = '"'
            if character in '\\"$`':
                value.append(character)
            elif character != "\n":
                value += ("\\", character)
            firm = len(value)
        # Two characters may end one line.
        if character == "\n" or (character == "\r" and text[index + 1 : index + 2] != "\n"):
            line += 1
    if state not in ("before", "comment", "comment, escaped"):
        now.closed = state not in ("'", '"', '\\"')
        finish(state)
    return complete
