"""What systemd drops or changes in an environment file, by line. Pure.

Values may be secrets: a finding has names and lines, and of a line without a name only its number.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from unitq.model.app import environment_places
from unitq.model.finding import Certainty, Finding, error, note, shared, warning
from unitq.systemd.envfile import NAME, statements, undecodable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from unitq.model.app import App
    from unitq.systemd.envfile import Statement
    from unitq.units.render import Code

_BOM = "\ufeff"
_EXPORT = re.compile(r"export\s+(\S+)")
# So much of an invalid name is shown: a part of a key that is spread over lines must not be.
_LIKE_A_NAME = re.compile(r"[A-Za-z0-9_]{1,30}(?:[.-][A-Za-z0-9_]{1,30})+")
# What another program would expand: phpdotenv and shells ${X}, shells $(command) as well.
_BRACES = re.compile(
    r"\$\{([A-Za-z_]\w{0,100})[^}\w][^}$]{0,200}\}|\$\{([A-Za-z_]\w{0,100})\}|(\$\()"
)
_DOLLAR = re.compile(r"\$([A-Za-z_]\w*)")
_OF_EVERYBODY = frozenset({"HOME", "HOSTNAME", "PATH", "PWD", "USER"})
_GOES_ON = re.compile(r"(?m)^[ \t]*[#;].*\\\r?$")
# The first line of the next assignment; the end of a base64 text is none.
_SWALLOWED = re.compile(r"(?m)^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)=[^=\s]")


def of_app(app: App, code: Mapping[str, Code]) -> list[Finding]:
    """Returns what is said of the environment files; of one that all workers read, once."""
    content: dict[str, bytes] = {}
    for worker in app.workers:
        content |= dict(zip(worker.environment_files, code[worker.name].files, strict=False))
    return [
        finding
        for path, where in environment_places(app).items()
        for place in shared("environment_file", where, len(app.workers))
        for finding in findings(content[path], path, place)
    ]


def findings(content: bytes, path: str, place: str) -> list[Finding]:
    """Returns what systemd drops or changes in this file; `path` is what it is called."""
    text = content.decode(errors="surrogateescape")
    lines = statements(text)
    listed = [
        *_encoding(lines, path, place),
        *_losses(lines, path, place),
        *_comments(text, path, place),
        *_twice(lines, path, place),
    ]
    known = {line.name for line in lines if line.taken} | _OF_EVERYBODY
    for statement in lines:
        if statement.taken:
            listed += _alterations(statement, known, path, place)
    return _first_of_each(listed, path)


def _first_of_each(findings: Sequence[Finding], path: str) -> list[Finding]:
    """Returns a screen of them at most, also of a file in which each line begins with `export`."""
    kept: list[Finding] = []
    count: dict[str, int] = {}
    for finding in findings:
        count[finding.name] = count.get(finding.name, 0) + 1
        if not finding.name or count[finding.name] <= _SHOWN:
            kept.append(finding)
    for name, number in count.items():
        if name and number > _SHOWN:
            first = next(finding for finding in kept if finding.name == name)
            more = number - _SHOWN
            kept.append(
                replace(
                    first,
                    message=f"{path}: {more} more line{'s' * (more > 1)} of this kind",
                    hint="as above; then check again",
                )
            )
    return kept


def _encoding(entries: Sequence[Statement], path: str, place: str) -> Iterator[Finding]:
    lines = [entry.line for entry in entries if undecodable(entry)]
    if lines:
        yield error(
            place,
            f"{path}, {_line_numbers(lines)}: not UTF-8",
            "`iconv -f ISO-8859-1 -t UTF-8` converts what is Latin-1",
            "systemd refuses the whole file, and the worker does not start",
        )


def _losses(entries: Sequence[Statement], path: str, place: str) -> Iterator[Finding]:
    without = [entry.line for entry in entries if entry.value is None and not _of_the_mark(entry)]
    if without:
        yield _warning(
            place, f'{path}, {_line_numbers(without)}: no "="', "env-dropped",
            "NAME=value; a value of several lines needs double quotes around it",
            "systemd leaves it out",
        )  # fmt: skip
    for entry in entries:
        if entry.value is None or entry.taken:
            continue
        where = f"{path}, line {entry.line}"
        left_out = "systemd leaves the variable out"
        if entry.name.startswith(_BOM):
            if not entry.name.lstrip(_BOM).startswith(("#", ";")):
                yield _warning(
                    place,
                    f"{where}: the file begins with a byte order mark",
                    "env-dropped",
                    f"`sed -i '1s/^\\xEF\\xBB\\xBF//' {path}`",
                    left_out,
                )
        elif export := _EXPORT.fullmatch(entry.name):
            name = export[1] if NAME.fullmatch(export[1]) else "NAME"
            yield _warning(
                place, f"{where}: begins with `export`", "env-dropped",
                f"write {name}=… without it", left_out,
            )  # fmt: skip
        elif _LIKE_A_NAME.fullmatch(entry.name):
            better = re.sub(r"\W", "_", entry.name)
            better = f"_{better}" * better[0].isdigit() or better
            yield _warning(
                place, f"{where}: {entry.name} is no name that systemd takes", "env-dropped",
                f"letters, digits and _ only, such as {better}; or let `command` begin with "
                f"/usr/bin/env {entry.name}=…", left_out,
            )  # fmt: skip
        else:
            yield _warning(
                place, f'{where}: what is before the "=" is no name that systemd takes',
                "env-dropped", "letters, digits and _ only, and no digit first", left_out,
            )  # fmt: skip


def _of_the_mark(statement: Statement) -> bool:
    """Whether it is a comment that only a byte order mark before it keeps from being one."""
    return statement.name.startswith(_BOM) and statement.name.lstrip(_BOM)[:1] in ("", "#", ";")


def _comments(text: str, path: str, place: str) -> Iterator[Finding]:
    """Yields assignments that an older systemd takes for a part of the comment above them."""
    if not _GOES_ON.search(text):
        return
    kept = {statement.line for statement in statements(text, joins_comments=True)}
    for statement in statements(text):
        if statement.taken and statement.line not in kept:
            yield _warning(
                place,
                f"{path}, line {statement.line}: the comment above ends in a backslash",
                "env-dropped",
                f"end line {statement.line - 1} without the backslash",
                f"systemd before 254 takes {statement.name} for a part of it",
            )


def _twice(entries: Sequence[Statement], path: str, place: str) -> Iterator[Finding]:
    lines: dict[str, list[int]] = {}
    for statement in entries:
        if statement.taken:
            lines.setdefault(statement.name, []).append(statement.line)
    for name, where in lines.items():
        if len(where) > 1:
            yield note(
                place,
                f"{path}: {name} is set in lines {_runs(where)}",
                "delete all but one",
                "the last one counts",
                "env-twice",
                Certainty.CERTAIN,
            )


def _alterations(
    statement: Statement, known: AbstractSet[str], path: str, place: str
) -> Iterator[Finding]:
    name, value = statement.name, statement.value or ""
    where = f"{path}, line {statement.line}"
    swallowed = _SWALLOWED.findall("\n".join(value.split("\n")[1:]))
    if not statement.closed or (swallowed and "\n" in value and statement.after_quotes):
        more = f", {_some(swallowed)} too" if swallowed else ""
        what = "is never closed" if not statement.closed else "is closed lines later"
        yield _warning(
            place, f"{where}: the quote before the value of {name} {what}", "env-quote",
            "close it on the same line; a quote inside of quotes is \\\" in double ones",
            f"what follows becomes a part of it{more}",
        )  # fmt: skip
        return  # the rest of its value is not meant to be one
    if statement.joined and _SWALLOWED.search(statement.after_quotes.partition("\n")[2]):
        yield _warning(
            place, f"{where}: the value of {name} ends in a backslash", "env-backslash",
            f"{name}='…', in single quotes", "the next line becomes a part of it",
        )  # fmt: skip
    elif statement.eaten:
        yield _warning(
            place, f"{where}: the value of {name} has backslashes", "env-backslash",
            f"{name}='…', in single quotes", "systemd takes them out",
        )  # fmt: skip
    if statement.comment:
        yield _warning(
            place, f"{where}: a comment behind the value of {name}", "env-comment",
            "put the comment on a line of its own", "to systemd it is a part of the value",
        )  # fmt: skip
    if reference := _reference(statement.bare, known):
        yield _warning(
            place, f"{where}: {name} gets {reference} as it stands", "env-literal",
            "write the value out; where the `$` is meant: single quotes",
            "systemd expands nothing here",
        )  # fmt: skip
    if "\r" in value:
        yield _warning(
            place, f"{where}: the value of {name} has carriage returns", "env-crlf",
            f"`sed -i 's/\\r$//' {path}`", "systemd keeps them",
        )  # fmt: skip


def _reference(bare: str, known: AbstractSet[str]) -> str:
    """Returns what a value refers to, in a form that may be shown; empty: nothing."""
    if braces := _BRACES.search(bare):
        name = braces[1] or braces[2]
        return f"${{{name}}}" if name else "$(…)"
    names = (match[1] for match in _DOLLAR.finditer(bare))
    return next((f"${name}" for name in names if name in known), "")


def _warning(place: str, message: str, name: str, hint: str, why: str) -> Finding:
    sure = Certainty.CERTAIN if name in ("env-dropped", "env-crlf") else Certainty.LIKELY
    return warning(place, message, hint, why, name, sure)


def _line_numbers(lines: Sequence[int]) -> str:
    return f"line{'s' * (len(lines) > 1)} {_runs(lines)}"


def _runs(lines: Sequence[int]) -> str:
    """Returns line numbers in words: `3, 5 to 28`."""
    runs = [[lines[0], lines[0]]]
    for before, line in pairwise(lines):
        if line == before + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return _some(
        [
            f"{first}" if first == last else f"{first}{' to ' if last > first + 1 else ', '}{last}"
            for first, last in runs
        ]
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


_SHOWN = 5
