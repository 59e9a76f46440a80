"""Writes revisions and deletes them. Apart from state.py, which every command needs to be quick."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.core.envfile import environment_file, file_names
from unitq.core.revision import Revision, dump
from unitq.host import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.core.layout import AppLayout
    from unitq.core.render import Rendered, RenderedWorker

# Revisions that are kept besides the current one and those that an instance runs.
_HISTORY = 10

# Beside the workers' folders: no worker's name begins with "_".
_UNITS = "_units"


def write(place: AppLayout, revision: Revision, rendered: Rendered) -> None:
    """Puts a revision on disk, whole or not at all. Raises OSError."""
    with _whole(place, revision) as home:
        _write_into(home, revision, rendered)


def write_copy(place: AppLayout, source: Revision, revision: Revision) -> None:
    """Puts a revision on disk that has the units of `source`. Raises OSError."""
    with _whole(place, revision) as home:
        units = home / _UNITS
        units.mkdir()
        units.chmod(0o755)
        for name, text in unit_texts(place, source).items():
            files.write(units / name, text.encode(), 0o644)
        files.sync(units)
        files.write(home / "revision.json", dump(revision).encode(), 0o644)
        files.sync(home)


@contextmanager
def _whole(place: AppLayout, revision: Revision) -> Iterator[Path]:
    """A folder to write a revision into; it gets its name when the block ends, or goes."""
    home = Path(place.revisions) / revision.id
    files.folder(home.parent)
    for left in home.parent.glob(f".*{files.TEMPORARY}"):
        shutil.rmtree(left)  # by a unitq that was killed; it may hold secrets
    staged = files.beside(home)
    try:
        staged.mkdir()
        staged.chmod(0o755)
        yield staged
        # The same id can only be there if a deploy died before it made this revision current.
        shutil.rmtree(home, ignore_errors=True)
        staged.replace(home)
        files.sync(home.parent)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _write_into(home: Path, revision: Revision, rendered: Rendered) -> None:
    units = home / _UNITS
    units.mkdir()
    units.chmod(0o755)
    for unit in rendered.units:
        files.write(units / unit.name, unit.text.encode(), 0o644)
    files.sync(units)
    for worker in rendered.workers:
        wanted = revision.worker(worker.name)
        if wanted and wanted.revision == revision.id:
            _write_worker(home / worker.name, revision.id, worker)
    files.write(home / "revision.json", dump(revision).encode(), 0o644)
    files.sync(home)


def _write_worker(home: Path, revision: str, worker: RenderedWorker) -> None:
    home.mkdir()
    home.chmod(0o755)
    # The environment may hold secrets. PID 1 reads it before it drops rights.
    environment = (*worker.environment, ("UNITQ_REVISION", revision))
    files.write(home / "env", environment_file(environment).encode(), 0o600)
    for name, content in zip(file_names(len(worker.code.files)), worker.code.files, strict=True):
        files.write(home / name, content, 0o600)
    files.write(home / "stdin", b"", 0o444)
    (home / "release").symlink_to(worker.code.release)
    files.sync(home)


def discard(place: AppLayout, revision: Revision) -> None:
    """Deletes a revision that did not become current, and the folders that were made for it."""
    shutil.rmtree(Path(place.revisions) / revision.id, ignore_errors=True)
    for folder in (place.revisions, place.state, place.state.parent):
        with suppress(OSError):
            Path(folder).rmdir()  # only if nothing is in it


def prune(place: AppLayout, revision: Revision) -> None:
    """Deletes old revisions: never the current one, one that it needs, or one that is pinned."""
    needed = {revision.id} | {worker.revision for worker in revision.workers}
    for path in Path(place.state).glob("pins/*/*"):
        with suppress(OSError, IndexError):
            needed.add(str(path.readlink()).split("/")[-2])
    found = [
        (int(number), path)
        for path in Path(place.revisions).iterdir()
        if (number := path.name.partition("-")[0]).isdigit()
    ]
    for _, path in sorted(found)[:-_HISTORY]:
        if path.name not in needed:
            shutil.rmtree(path, ignore_errors=True)


def remove(place: AppLayout) -> None:
    """Deletes all that unitq knows of the app."""
    # `current` goes first: what is half deleted must not look installed.
    with suppress(FileNotFoundError):
        Path(place.current).unlink()
    if Path(place.state).exists():
        shutil.rmtree(place.state)
    with suppress(OSError):
        Path(place.state).parent.rmdir()  # only if no other app is there
