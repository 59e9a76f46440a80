"""Writes revisions, lists and deletes them, and reads the reports of rollouts.

Apart from state.py, which every command needs to be quick.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError, UnitqError
from unitq.linux import files
from unitq.linux.folder import TEMPORARY
from unitq.revisions import state
from unitq.revisions.in_place import updated_in_place
from unitq.revisions.model import Revision, dump, load
from unitq.revisions.process_revision import Made
from unitq.systemd.envfile import assignments, environment_file, file_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unitq.model.layout import AppLayout
    from unitq.revisions.model import WorkerRevision
    from unitq.units.render import Rendered, RenderedWorker

    # Is told in words what was skipped, and why.
    Note = Callable[[str], None]


# Beside the workers' folders: no worker's name begins with "_".
_UNITS = "_units"


def write(place: AppLayout, revision: Revision, rendered: Rendered) -> None:
    """Puts a revision on disk, whole or not at all. Raises OSError."""
    if rendered.key and not os.path.exists(place.key):
        files.folder(Path(place.state))
        files.replace(Path(place.key), rendered.key, 0o600)
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
    for left in home.parent.glob(f".*{TEMPORARY}"):
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
    if not os.path.islink(place.current):
        Path(place.key).unlink(missing_ok=True)
    for folder in (place.revisions, place.state, place.state.parent):
        with suppress(OSError):
            Path(folder).rmdir()  # only if nothing is in it


def remove(place: AppLayout) -> None:
    """Deletes all that unitq knows of the app."""
    # `current` goes first: what is half deleted must not look installed.
    with suppress(FileNotFoundError):
        Path(place.current).unlink()
    if os.path.exists(place.state):
        shutil.rmtree(place.state)
    with suppress(OSError):
        Path(place.state).parent.rmdir()  # only if no other app is there


# Reading. What cannot be read is skipped, and `note` is told of it: never silently.


def ids(place: AppLayout) -> list[str]:
    """The ids of all revisions on disk, newest first; none of them is read."""
    return [path.name for _, path in sorted(by_number(Path(place.revisions)), reverse=True)]


def read_all(place: AppLayout, note: Note) -> list[Revision]:
    """All revisions on disk that can be read, oldest first."""
    revisions = []
    for _, path in sorted(by_number(Path(place.revisions))):
        try:
            revisions.append(
                load((path / "revision.json").read_bytes(), str(path / "revision.json"))
            )
        except UnitqError as error:
            note(f"{error.message}: left out")
        except OSError as error:
            note(f"{path / 'revision.json'}: {error.strerror}: left out")
    return revisions


REPORT: dict[str, type | tuple[type, ...]] = {
    "command": str,
    "result": str,
    "exit_code": int,
    "revision": str,
    "seconds": (int, float),
    "killed": list,
    "failed": list,
}


def release_exists(worker: WorkerRevision) -> bool:
    """Whether the path of a release still leads to it.

    A directory that was updated in place may have become a link since, with other code behind it.
    Not where a directory above was moved, with a link left behind, as an administrator does.
    """
    led_elsewhere = os.path.realpath(worker.release) != worker.release
    linked = os.path.islink(worker.release) or updated_in_place(worker)
    return os.path.isdir(worker.release) and not (led_elsewhere and linked)


def complete(place: AppLayout, revisions: Sequence[Revision]) -> set[str]:
    """The ids of those revisions of which everything is there, the release directories included."""
    return {
        revision.id
        for revision in revisions
        if all(
            os.path.isdir(place.revisions / worker.revision / worker.name)
            and release_exists(worker)
            for worker in revision.workers
        )
    }


def revisions_in_pins(place: AppLayout) -> set[str]:
    """The ids of the revisions that the next start of any instance gets."""
    names = {state.pin_of(place, instance) for instance in state.instances_with_pin(place)}
    return {name for name in names if name}


def unit_texts(place: AppLayout, revision: Revision) -> dict[str, str]:
    """The unit texts of a revision by name. Raises UnitqError where they cannot be read."""
    folder = Path(place.revisions) / revision.id / _UNITS
    try:
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}
    except OSError as error:
        raise UnitqError(f"{error.filename or folder}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnitqError(f"{folder}: damaged: a unit that is not UTF-8") from error


def environment(place: AppLayout, worker: WorkerRevision, note: Note) -> dict[str, str] | None:
    """The variables that a worker is started with, besides systemd's own; None: not to be read."""
    folder = Path(place.revisions) / worker.revision / worker.name
    variables: dict[str, str] = {}
    try:
        # In the order of the unit's EnvironmentFile= lines: a later one wins.
        copies = [path for path in folder.iterdir() if path.name.startswith("env.")]
        for path in (*sorted(copies, key=lambda path: int(path.suffix[1:])), folder / "env"):
            variables |= assignments(path.read_bytes().decode(errors="surrogateescape"))
    except PermissionError:
        note(f"the environment of {worker.name} may be read by root only: it may hold secrets")
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        note(f"the environment of {worker.name} is not to be read: {folder}: {reason}")
        return None
    return variables


def release(place: AppLayout, revision: str, worker: str) -> str | None:
    """The release directory of a worker of the revision of that id; None: it is not on disk.

    Raises NotPermittedError where it may not be read.
    """
    link = place.revisions / revision / worker / "release"
    try:
        return os.readlink(link)
    except PermissionError as error:
        raise NotPermittedError(f"{link}: {error.strerror}", hint="run it as root") from error
    except OSError:
        return None


def worker_releases(place: AppLayout, worker: str) -> dict[str, Made]:
    """What is on disk of a worker: by the id of each revision, the release and when it was made."""
    releases = {}
    for _, path in sorted(by_number(Path(place.revisions))):
        with suppress(OSError):
            link = path / worker / "release"
            releases[path.name] = Made(os.readlink(link), os.lstat(link).st_mtime)
    return releases


def by_number(folder: Path) -> list[tuple[int, Path]]:
    """What has a number as its name, or before the first dash of it."""
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise NotPermittedError(f"{folder}: {error.strerror}", hint="run it as root") from error
    return [
        (int(number), path)
        for path in paths
        if (number := path.name.partition("-")[0]).isdecimal() and number.isascii()
    ]
