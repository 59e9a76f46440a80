"""The unit files of an app in systemd's own folder."""

from __future__ import annotations

import configparser
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import PreflightError
from unitq.linux import files
from unitq.units.text import PIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from unitq.units.text import FileChange


def of_app(unit_dir: PurePosixPath, app: str) -> dict[str, str]:
    """The texts of the unit files that unitq wrote for this app, by name."""
    return {
        path.name: text
        for path in _candidates(Path(unit_dir))
        if (text := _text(path)) is not None and owner(text) == app
    }


def pin(unit_dir: PurePosixPath, unit: str) -> str | None:
    """The pin of an instance's unit, an older text than its template's; None: it has none."""
    content = _text(Path(unit_dir) / unit)
    return content if content and content.startswith(PIN) else None


def text(unit_dir: PurePosixPath, unit: str) -> str:
    """The text of a unit file; empty where there is none that can be read."""
    return _text(Path(unit_dir) / unit) or ""


def owner(text: str) -> str | None:
    """The app that a unit file was written for; None: unitq did not write it."""
    # systemd ignores sections and keys that start with X- (systemd.unit(5)): room for our mark.
    parser = configparser.RawConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        parser.read_string(text)
        return parser.get("X-Unitq", "App", fallback=None)
    except configparser.Error:
        return None


def refuse_foreign(unit_dir: PurePosixPath, app: str, wanted: Sequence[str]) -> None:
    """Raises PreflightError where a unit of one of these names exists and is not this app's."""
    for name in wanted:
        path = Path(unit_dir) / name
        if not os.path.lexists(path):
            continue
        app_of_file = owner(_text(path) or "")
        if app_of_file == app and not os.path.islink(path):
            continue
        reason = (
            f"app {app_of_file} has it"
            if app_of_file and app_of_file != app
            else "unitq did not write it"
        )
        raise PreflightError(
            f"{path} exists, and {reason}",
            hint="rename the app or the worker, or move that file away (`systemctl unmask` if it "
            "is a mask)",
        )


def apply(unit_dir: PurePosixPath, changes: Sequence[FileChange]) -> None:
    """Writes and deletes unit files: all of them, or none where the disk says no.

    Every new text is on disk under a temporary name before the first rename, so a full or a
    read-only disk is met before anything is changed. Raises OSError.
    """
    folder = Path(unit_dir)
    files.folder(folder)
    staged: list[tuple[Path, Path]] = []
    try:
        for change in changes:
            if change.after is not None:
                path = folder / change.name
                files.beside(path).unlink(missing_ok=True)
                files.write(files.beside(path), change.after.encode(), 0o644)
                staged.append((files.beside(path), path))
        for temporary, path in staged:
            temporary.replace(path)
    except OSError:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
        raise
    for change in changes:
        if change.after is None:
            (folder / change.name).unlink(missing_ok=True)
    files.sync(folder)


def started_by(unit_dir: PurePosixPath, target: str) -> set[str]:
    """The units that the target starts: the names of its links."""
    wants = Path(unit_dir) / f"{target}.wants"
    try:
        return {path.name for path in wants.iterdir()}
    except FileNotFoundError:
        return set()


def sync_links(unit_dir: PurePosixPath, target: str) -> None:
    """Makes what systemd has enabled or disabled survive a power cut: it does not itself."""
    folder = Path(unit_dir)
    above = [link.parent for link in folder.glob(f"*.wants/{target}")]
    for place in (folder / f"{target}.wants", *above, folder):
        with suppress(FileNotFoundError):  # with its last link systemd removes it
            files.sync(place)


def probe(unit_dir: PurePosixPath, target: str) -> None:
    """Finds out whether systemd will be able to make links there. Raises OSError."""
    folder = Path(unit_dir)
    files.folder(folder)
    trial = files.beside(folder / f"{target}.wants")
    trial.unlink(missing_ok=True)
    files.write(trial, b"", 0o644)
    trial.unlink()


def unlink(unit_dir: PurePosixPath, target: str) -> None:
    """Takes away the links by which an app starts at boot."""
    wants = Path(unit_dir) / f"{target}.wants"
    for path in (*wants.glob("*"), *Path(unit_dir).glob(f"*.wants/{target}")):
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        wants.rmdir()


def _candidates(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("unitq-*") if os.path.isfile(path))
    except OSError:
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
