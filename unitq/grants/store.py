"""The files of all grants: a record, systemd's units, polkit's rule. Written by root, whole or not.

The record is what counts; the others follow from it. A unit looks into it once more when it is
started, so what is revoked ends with the record, whatever polkit still has in memory.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError, PreflightError
from unitq.grants import model, rule
from unitq.linux import files, trust
from unitq.model import layout
from unitq.units import templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unitq.grants.model import Grant
    from unitq.systemd.manager import Systemd

_SYSTEM = layout.system()
RECORD = Path(_SYSTEM.config_dir) / "grants.json"
UNITS = Path(_SYSTEM.unit_dir)
RULES = Path("/etc/polkit-1/rules.d")
RULE = RULES / "50-unitq.rules"
_LOCK = Path(_SYSTEM.runtime_dir) / ".grants.lock"  # no app's name begins with a dot
_MAX = 1 << 20  # bytes


class State(StrEnum):
    """How a file is, beside what it should be."""

    AS_WRITTEN = "as written"
    MISSING = "missing"
    CHANGED = "changed"
    UNREADABLE = "unreadable"  # by this account


def grants() -> tuple[Grant, ...]:
    """All grants. Raises ConfigError, and NotPermittedError where others than root wrote them."""
    try:
        with trust.resolve(RECORD) as found:
            if other := found.beyond():
                raise NotPermittedError(
                    f"{RECORD} is not obeyed: {trust.describe(other)}",
                    hint=f"`ls -ld {other.path}`; only root may own and write it",
                )
            with open(found.open(), "rb") as file:
                text = file.read(_MAX).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ()  # who may not read it has no use for it
    return model.parse(text, str(RECORD))


def program() -> tuple[str, ...]:
    """What the units run. Isolated (-I): no PYTHON* variable and no directory says what is run."""
    return (sys.executable, "-I", "-m", "unitq.cli.grant.granted")


def file_texts(wanted: Iterable[Grant]) -> dict[Path, str]:
    """The text of every file that these grants need; none for none."""
    from unitq.grants.units import TEMPLATE, units

    grants_given = tuple(wanted)
    if not grants_given:
        return {}
    texts = units(templates.ours(TEMPLATE), program())
    return {
        **{UNITS / name: text for name, text in texts.items()},
        RECORD: model.record(grants_given),
        RULE: rule.rule(grants_given),
    }


def states(wanted: Iterable[Grant]) -> dict[Path, State]:
    """How each file is that these grants need."""
    return {path: _state(path, text) for path, text in file_texts(wanted).items()}


def _state(path: Path, text: str) -> State:
    try:
        content = path.read_bytes()
    except PermissionError:
        return State.UNREADABLE
    except OSError:
        return State.MISSING
    return State.AS_WRITTEN if content == text.encode() else State.CHANGED


@contextmanager
def lock() -> Iterator[None]:
    """Holds the grants against another `unitq grant`, which waits meanwhile."""
    with files.preflight_errors("cannot take the lock"):
        files.folder(_LOCK.parent)
        descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def install(systemd: Systemd, wanted: Iterable[Grant]) -> bool:
    """Makes exactly these grants hold, under the lock; returns whether anything was changed.

    Raises PreflightError where a file is in the way, or the disk says no. What is taken away ends
    before what belongs to it goes, and what is given begins once all that belongs to it is there.
    """
    texts = file_texts(wanted)
    ours = {RECORD, RULE, *(UNITS / model.template(verb) for verb in model.VERBS)}
    for path in ours - {RECORD}:
        _refuse_foreign(path)
    stale = [path for path in ours if path not in texts and os.path.lexists(path)]
    fresh = [path for path, text in texts.items() if _state(path, text) is not State.AS_WRITTEN]
    taken_away = not set(grants()) <= set(wanted) or RECORD in stale
    order = [RULE, RECORD] if taken_away else [RECORD, RULE]
    units = [path for path in (*fresh, *stale) if path.parent == UNITS]
    before, after = ([], units) if taken_away else (units, [])
    with files.preflight_errors("cannot grant"):
        for path in (*before, *(path for path in order if path in (*fresh, *stale)), *after):
            if path in texts:
                files.folder(path.parent)
                files.replace(path, texts[path].encode(), 0o644)
            else:
                path.unlink(missing_ok=True)
            if before and path == before[-1]:
                systemd.reload()
    if after:
        systemd.reload()
    return bool(fresh or stale)


def _refuse_foreign(path: Path) -> None:
    """Raises PreflightError where somebody else's file has the name of one of ours."""
    try:
        mark = rule.MARK if path == RULE else "# Written by `unitq grant`"
        foreign = os.path.islink(path) or not path.read_text(errors="replace").startswith(mark)
    except FileNotFoundError:
        return
    if foreign:
        raise PreflightError(
            f"{path} exists, and unitq did not write it", hint="move that file away"
        )
