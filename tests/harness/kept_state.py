"""The state of an app as a text: every file that unitq keeps of it, readable and to be compared.

    ==== state/revisions/1-0c9d2e/sms/env 0600
    UNITQ_REVISION="1-0c9d2e"
    ==== state/current -> revisions/1-0c9d2e
    ==== state/key 0600 hex
    9f3c…
    ==== state/revisions/2-77a1b0/_units/unitq-kept.target 0644 as state/revisions/1-0c9d2e/…
    ==== state/rollouts/2/ledger.jsonl 0644 zeros 65536

`units/` is systemd's folder, `state/` and `run/` are unitq's, `home/` is the app's. What differs
from one machine to the next is replaced when it is written: times lie at a fixed moment in the
past, and the process that wrote a ledger cannot exist. Python's path is filled in when it is read.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

THEN = 1_700_000_000  # seconds since 1970: before any clock that this is read by
NO_PROCESS = 1 << 30  # above PID_MAX_LIMIT of Linux, 1 << 22
NO_BOOT = "00000000-0000-4000-8000-000000000000"
PYTHON = "@PYTHON@"

_HEAD = "==== "
_TIME = re.compile(r"(?<![\w.])(1[6-9]\d{8})(\.\d+)?(?![\w.])")
_LEDGER_LINE = re.compile(r'(\{.*),"crc":"[0-9a-f]{8}"\}')
_LEDGER = "ledger.jsonl"
_OF_HOME = frozenset({"unitq.toml", "current"})  # the rest is code


class Entry(NamedTuple):
    """A file or a symlink."""

    mode: int = 0o644
    content: bytes = b""
    zeros: int = 0  # bytes of 0 behind the content: room that was taken on disk
    target: str = ""  # of a symlink


def read(roots: Mapping[str, Path], app: str) -> dict[str, Entry]:
    """Returns what is there of the app below these folders, by `ROOT/PATH`."""
    found = {}
    for root, folder in roots.items():
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            # In the name of a slice a "-" is written so, as it means "below" there.
            of_app = app in name or app.replace("-", r"\x2d") in name
            if not (name in _OF_HOME if root == "home" else of_app):
                continue
            if path.is_symlink():
                found[f"{root}/{name}"] = Entry(target=os.readlink(path))
            elif path.is_file():
                content = path.read_bytes()
                text = content.rstrip(b"\0")
                mode = path.stat().st_mode & 0o777
                found[f"{root}/{name}"] = Entry(mode, text, len(content) - len(text))
    return found


def neutral(entries: Mapping[str, Entry], began: float, ended: float) -> dict[str, Entry]:
    """Returns the same without what belongs to this machine and this hour."""

    def moved(match: re.Match[str]) -> str:
        at = float(match[0])
        if not began - 5 <= at <= ended + 5:
            return match[0]
        return repr(round(THEN + at - began, 6)) if match[2] else str(THEN + int(at) - int(began))

    def change(name: str, entry: Entry) -> Entry:
        try:
            text = entry.content.decode()
        except UnicodeDecodeError:
            return entry
        text = _TIME.sub(moved, text.replace(sys.executable, PYTHON))
        if name.endswith(_LEDGER):
            text = "".join(map(_ledger_line, text.splitlines()))
        elif name.startswith("run/") and name.endswith(".lock"):
            text = re.sub(r'"pid": \d+', f'"pid": {NO_PROCESS}', text)
        return entry._replace(content=text.encode())

    return {name: change(name, entry) for name, entry in entries.items()}


def _ledger_line(line: str) -> str:
    # The sum is that of what stands before it, so it changes with it.
    match = _LEDGER_LINE.fullmatch(line)
    assert match, line
    body = re.sub(r'"pid":\d+', f'"pid":{NO_PROCESS}', match[1])
    body = re.sub(r'"boot":"[^"]*"', f'"boot":"{NO_BOOT}"', body)
    return f'{body},"crc":"{zlib.crc32(body.encode()):08x}"}}\n'


def dump(entries: Mapping[str, Entry]) -> str:
    """The text; what is there twice is written once."""
    lines: list[str] = []
    before: dict[bytes, str] = {}
    for name, entry in entries.items():
        if entry.target:
            lines.append(f"{_HEAD}{name} -> {entry.target}\n")
            continue
        head = f"{_HEAD}{name} {entry.mode:04o}"
        head += f" zeros {entry.zeros}" if entry.zeros else ""
        if len(entry.content) > len(name) and entry.content in before:
            lines.append(f"{head} as {before[entry.content]}\n")
            continue
        before[entry.content] = name
        try:
            text = entry.content.decode()
            printable = text.replace("\n", "").isprintable() and not text.startswith(_HEAD)
        except UnicodeDecodeError:
            printable = False
        if not printable:
            lines.append(f"{head} hex\n{entry.content.hex()}\n")
        elif text and not text.endswith("\n"):
            lines.append(f"{head} no-newline\n{text}\n")
        else:
            lines.append(f"{head}\n{text}")
    return "".join(lines)


def load(text: str) -> dict[str, Entry]:
    """What `dump` wrote, with this machine's Python. Raises AssertionError where it is damaged."""
    found: dict[str, Entry] = {}
    for head, body in _parts(text):
        name, _, rest = head.partition(" ")
        assert name not in found, f"{name} is there twice"
        if rest.startswith("-> "):
            found[name] = Entry(target=rest[3:])
            continue
        mode, *words = rest.split()
        options = dict(zip(words, [*words[1:], ""], strict=False))
        content = body.replace(PYTHON, sys.executable).encode()
        if "hex" in options:
            content = bytes.fromhex(body)
        elif "as" in options:
            content = found[options["as"]].content
        elif "no-newline" in options:
            content = content.removesuffix(b"\n")
        found[name] = Entry(int(mode, 8), content, int(options.get("zeros", 0)))
    return found


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for part in f"\n{text}".split(f"\n{_HEAD}")[1:]:
        head, _, body = part.partition("\n")
        yield head, f"{body}\n" if body else ""


def write(entries: Mapping[str, Entry], roots: Mapping[str, Path], uid: int) -> None:
    """Puts them on disk, owned by the account; folders have the mode that unitq gives them."""
    for name, entry in entries.items():
        root, _, below = name.partition("/")
        path = roots[root] / below
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir()
                folder.chmod(0o755)
                os.chown(folder, uid, -1)
        if entry.target:
            path.symlink_to(entry.target)
        else:
            path.write_bytes(entry.content)
            os.truncate(path, len(entry.content) + entry.zeros)
            path.chmod(entry.mode)
        os.chown(path, uid, -1, follow_symlinks=False)


def outline(value: object) -> object:
    """Keys and types of a JSON document, without the values; a list has one element for all."""
    if isinstance(value, dict):
        return {key: outline(each) for key, each in value.items()}
    if isinstance(value, list):
        merged: object = None
        for at, each in enumerate(value):
            merged = outline(each) if at == 0 else _both(merged, outline(each))
        return [merged] if value else []
    if isinstance(value, bool | str) or value is None:
        return type(value).__name__.replace("NoneType", "null")
    return "number"


def _both(one: object, other: object) -> object:
    """What fits either. A key that only some elements of a list have ends with a "?"."""
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(other, dict) and not _ONE_OF & (one | other).keys():
        always = one.keys() & other.keys()
        plain = [
            {key.removesuffix("?"): each for key, each in found.items()} for found in (one, other)
        ]
        merged: dict[str, object] = {}
        for key in [*plain[0], *(key for key in plain[1] if key not in plain[0])]:
            there = [found[key] for found in plain if key in found]
            merged[key if key in always else f"{key}?"] = _both(there[0], there[-1])
        return merged
    if isinstance(one, list) and isinstance(other, list):
        return [_both(one[0], other[0])] if one and other else one or other
    kinds = sorted({*_kinds(one), *_kinds(other)})
    if not any(kind[0] in "{[" for kind in kinds):
        return "|".join(kinds)
    return {"one of": [json.loads(kind) if kind[0] in "{[" else kind for kind in kinds]}


_ONE_OF = frozenset({"one of"})


def _kinds(value: object) -> list[str]:
    """The names of the types that it may have; what has parts as JSON."""
    if isinstance(value, str):
        return value.split("|")
    if isinstance(value, dict) and value.keys() == _ONE_OF:
        return [kind for each in value["one of"] for kind in _kinds(each)]
    return [json.dumps(value)]


def unlike(recorded: object, found: object, where: str = "") -> Iterator[str]:
    """Where an outline is not one of the same kind of document, in words.

    Keys may be added, none may go, and what is an object, or a list of them, stays one. What a
    plain value is may depend on the moment: null stands for any, or for a list of them, and such
    a list may be empty.
    """
    if isinstance(recorded, dict) and recorded.keys() == _ONE_OF:
        yield from min((list(unlike(each, found, where)) for each in recorded["one of"]), key=len)
    elif isinstance(found, dict) and found.keys() == _ONE_OF:
        for each in found["one of"]:
            yield from unlike(recorded, each, where)
    elif isinstance(recorded, dict) and isinstance(found, dict):
        before, now = ({key.removesuffix("?"): key for key in one} for one in (recorded, found))
        always = {key for key in before if not before[key].endswith("?")}
        yield from (f"{where}.{key} is gone" for key in sorted(always - now.keys()))
        missed = [key for key in sorted(always & now.keys()) if now[key].endswith("?")]
        yield from (f"{where}.{key} is not in each of them any more" for key in missed)
        for key in sorted(before.keys() & now.keys()):
            yield from unlike(recorded[before[key]], found[now[key]], f"{where}.{key}")
    elif isinstance(recorded, list) and isinstance(found, list) and recorded and found:
        yield from unlike(recorded[0], found[0], f"{where}[]")
    elif not _alike(recorded, found):
        yield f"{where} was {json.dumps(recorded)}, and is {json.dumps(found)}"


def _alike(recorded: object, found: object) -> bool:
    """Whether both are plain values, or lists of them of which one is empty, and of one kind."""
    if not (_plain(recorded) and _plain(found)):
        return False
    if "null" in (recorded, found):
        return True
    if isinstance(recorded, str) and isinstance(found, str):
        return {*found.split("|")} <= {*recorded.split("|"), "null"}
    return isinstance(recorded, list) and isinstance(found, list)


def _plain(outlined: object) -> bool:
    if isinstance(outlined, list):
        return all(isinstance(each, str) for each in outlined)
    return isinstance(outlined, str)
