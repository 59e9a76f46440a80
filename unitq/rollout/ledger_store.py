"""The ledgers on disk, one for each rollout, and the report beside each. See rollout/ledger.py.

Every account may read that a worker failed. What it printed, and which jobs it had, is for those
who may read the journal: that part of a report is in a file of its own.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from unitq.errors import UnitqError
from unitq.linux import files
from unitq.printable import one_line
from unitq.revisions import state
from unitq.revisions.model import plain
from unitq.rollout.ledger import Record, Story, line, records, story
from unitq.rollout.reports.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from unitq.model.layout import AppLayout
    from unitq.model.settings import RolloutSettings

_LEDGER = "ledger.jsonl"
_REPORT = "report.json"
_LOGS = "logs.json"  # of the report, what only those may read who may read the journal
_PROGRESS = "progress.log"
_PROGRESS_OF_JOBS = "progress-jobs.log"  # the same lines, with the jobs; as private

# Taken on disk before anything is done: a disk that fills up meanwhile does not stop a rollback.
_RESERVED = 64 << 10
_RESERVED_PER_INSTANCE = 2 << 10

# A rollback is a revision of its own, with a ledger and a report. Its space is taken before the
# deploy that it may have to undo, and freed when it begins.
_ROLLBACK_SPACE = ".way-back"
_HELD = 448 << 10
_HELD_PER_INSTANCE = 18 << 10


class LedgerError(UnitqError):
    """The next step cannot be written into the ledger, and so is not taken."""


class Ledger:
    """The ledger of one rollout, open for writing. A context manager."""

    def __init__(self, place: AppLayout, number: int, instances: int) -> None:
        """Opens it, or makes it. Raises OSError, on a full disk too."""
        self.number = number
        self._place = place
        self._folder = Path(place.rollout(number))
        self._staged = files.beside(self._folder / _REPORT)
        self._staged_logs = files.beside(self._folder / _LOGS)
        path = self._folder / _LEDGER
        self._made = not os.path.exists(path)
        self._void = False
        self._held: int | None = None  # bytes that were held before this rollout did
        self._descriptor = -1
        self.failed = False  # it cannot be written any more: the rollout counts as cut off
        try:
            files.folder(self._folder)
            self._descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
            )
            content = path.read_bytes()
            kept = records(content)
            self._seq = len(kept)
            self._end = sum(len(line(record)) for record in kept)
            # What is torn goes, so that nothing of it can follow what is written now.
            os.ftruncate(self._descriptor, self._end)
            room = _RESERVED + instances * _RESERVED_PER_INSTANCE
            os.posix_fallocate(self._descriptor, self._end, room)
            # Without a report no later rollback would take its revision for a stable one.
            _reserve(self._staged, room)
            _reserve(self._staged_logs, room, private=True)
            files.sync(self._folder)
        except OSError as error:
            error.filename = error.filename or str(path)  # a full disk does not say where
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._discard(everything=self._made)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._end)
        os.close(self._descriptor)
        self._discard(everything=self._void and self._made)

    def void(self) -> None:
        """Nothing was changed: of a ledger just begun nothing is left once it is closed."""
        self._void = True

    def open_with(self, what: str, **data: Any) -> None:
        """Writes the first record, before anything is changed. Raises OSError; it is closed then.

        With none of its own before this one, nothing of it is left.
        """
        try:
            self._append(what, data)
            os.fdatasync(self._descriptor)
        except OSError:
            self.void()
            self.__exit__()
            raise

    def hold_rollback_space(self, instances: int) -> None:
        """Takes the disk space of a rollback. Raises OSError; the ledger is closed then."""
        path = Path(self._place.state) / _ROLLBACK_SPACE
        try:
            with open(path, "ab") as file:
                self._held = file.tell()
                os.fchmod(file.fileno(), 0o600)
                os.posix_fallocate(file.fileno(), 0, _HELD + instances * _HELD_PER_INSTANCE)
        except OSError as error:
            error.filename = error.filename or str(path)
            self.void()
            self.__exit__()
            raise

    def write(self, what: str, **data: Any) -> None:
        """Writes a record down: on disk when this returns. Raises LedgerError."""
        self.note(what, **data)
        self.sync()

    def note(self, what: str, **data: Any) -> None:
        """Writes a record that is on disk after the next `sync` only. Raises LedgerError."""
        with self._in_words():
            self._append(what, data)

    def sync(self) -> None:
        """Returns when all that was written is on disk (fdatasync(2)). Raises LedgerError."""
        with self._in_words():
            os.fdatasync(self._descriptor)

    def keep(self, report: Report) -> None:
        """Keeps the closing report beside it. Raises OSError."""
        document, private = _split(report.to_json())
        if private:
            _fill(self._staged_logs, private)
            self._staged_logs.replace(self._folder / _LOGS)
        _fill(self._staged, document)
        self._staged.replace(self._folder / _REPORT)
        files.sync(self._folder)
        if not private:
            (self._folder / _LOGS).unlink(missing_ok=True)

    def progress(self, words: str, jobs: str = "") -> None:
        """Keeps a line for those who watch; `jobs` is its end for those who may read the journal.

        Nothing depends on it: on a full disk it is left out.
        """
        with suppress(OSError):
            for name, text in ((_PROGRESS_OF_JOBS, words + jobs), (_PROGRESS, words)):
                private = name == _PROGRESS_OF_JOBS
                with open(self._folder / name, "a", encoding="utf-8", opener=_private) as file:
                    if file.tell() == 0:
                        _open_to_readers(file.fileno(), private=private)
                    file.write(f"{one_line(text)}\n")

    def earlier_report(self) -> Report | None:
        """Returns the report of an earlier command of this rollout.

        Raises OSError, and LookupError, TypeError or ValueError: damaged.
        """
        try:
            document = json.loads((self._folder / _REPORT).read_bytes())
        except FileNotFoundError:
            return None
        return Report.from_json(whole(self._folder, document))

    def _append(self, what: str, data: dict[str, Any]) -> None:
        text = line(Record(self._seq + 1, time(), what, data))
        os.pwrite(self._descriptor, text, self._end)
        self._seq += 1
        self._end += len(text)

    def _discard(self, *, everything: bool) -> None:
        """Leaves nothing behind but the ledger; that neither if `everything`: nothing is in it."""
        with suppress(OSError):
            self._staged.unlink(missing_ok=True)
            self._staged_logs.unlink(missing_ok=True)
        if not everything:
            return
        with suppress(OSError):
            (self._folder / _LEDGER).unlink(missing_ok=True)
            (self._folder / _PROGRESS).unlink(missing_ok=True)
            (self._folder / _PROGRESS_OF_JOBS).unlink(missing_ok=True)
        place = self._place
        if self._held:
            with suppress(OSError):
                os.truncate(Path(place.state) / _ROLLBACK_SPACE, self._held)
        elif self._held == 0:
            free_rollback_space(place)
        for folder in (self._folder, place.rollouts, place.state, place.state.parent):
            with suppress(OSError):
                Path(folder).rmdir()  # only if nothing is in it

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            if self.failed:
                raise OSError(errno.EIO, "an earlier record could not be written")
            yield
        except OSError as error:
            self.failed = True
            raise LedgerError(
                f"the ledger cannot be written any more: {self._folder / _LEDGER}: "
                f"{error.strerror}; nothing further is touched",
                hint="systemd finishes what was ordered; `unitq rollout status` says what to type",
            ) from error


def _fill(path: Path, value: object) -> None:
    with open(path, "r+b") as file:
        file.write(f"{json.dumps(value, indent=2)}\n".encode())
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _reserve(path: Path, room: int, *, private: bool = False) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _open_to_readers(descriptor, private=private)
        os.posix_fallocate(descriptor, 0, room)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_to_readers(descriptor: int, *, private: bool) -> None:
    if private:
        files.for_journal_readers(descriptor)
    else:
        os.fchmod(descriptor, 0o644)


# What only those may see who may read the journal. The mark says that it is left out.
_PRIVATE = ("log", "jobs", "possible_jobs", "dropped_jobs")
_MARK = "withheld"


def public(report: Report) -> Report:
    """Returns the report without what only those may see who may read the journal."""
    return Report.from_json(_split(report.to_json())[0])


def whole(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Returns a report with its private part. Raises OSError, and ValueError: damaged."""
    if not document.get(_MARK):
        return document
    private = json.loads((folder / _LOGS).read_bytes())
    rows = list(_private_rows(document))
    if [row.get("instance") for row in rows] != [row.get("instance") for row in private]:
        raise ValueError("not of this report")
    for row, hidden in zip(rows, private, strict=True):
        row |= {key: hidden[key] for key in _PRIVATE if key in hidden}
    document.pop(_MARK, None)
    return document


def _split(report: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the report for everybody, and its private part; nothing where all is public."""
    document: dict[str, Any] = json.loads(json.dumps(report))
    private = []
    for row in _private_rows(document):
        hidden = {key: row[key] for key in _PRIVATE if row.get(key)}
        private.append({"instance": row.get("instance"), **hidden})
        row |= {key: [] if key == "log" else None for key in hidden}
    if not any(len(row) > 1 for row in private):
        return document, []
    document[_MARK] = True
    return document, private


def _private_rows(report: Mapping[str, Any]) -> Iterator[Any]:
    """Yields what has private keys: the instances, and each attempt itself."""
    for command in (report, *report.get("earlier", ())):
        for attempt in (command, command.get("rollback") or {}):
            if "dropped_jobs" in attempt:  # not in a report of an older unitq
                yield attempt
            yield from attempt.get("instances", ())


def _sweep(place: AppLayout) -> None:
    """Deletes what killed unitqs left behind; the lock says that no other is at work."""
    for name in os.listdir(place.rollouts):
        for kept in (_REPORT, _LOGS):
            with suppress(OSError):
                files.beside(Path(place.rollouts) / name / kept).unlink(missing_ok=True)


def _tighten(place: AppLayout) -> None:
    """Takes from all accounts what a unitq before this one let them read."""
    for name in os.listdir(place.rollouts):
        folder = Path(place.rollouts) / name
        if not os.path.exists(folder / _PROGRESS_OF_JOBS):
            _close(folder / _PROGRESS)
        try:
            document, private = _split(json.loads((folder / _REPORT).read_bytes()))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, AttributeError):
            _close(folder / _REPORT)  # damaged: nobody knows what is in it
            continue
        if private:
            # On a full disk it stays as it is, but for fewer.
            _close(folder / _REPORT)
            with suppress(OSError):
                files.replace(folder / _LOGS, f"{json.dumps(private)}\n".encode(), 0o600)
                _close(folder / _LOGS)
                files.replace(folder / _REPORT, f"{json.dumps(document)}\n".encode(), 0o644)


def _close(path: Path) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            files.for_journal_readers(descriptor)
        finally:
            os.close(descriptor)


def begin(
    place: AppLayout,
    kind: str,
    *,
    revision: str,
    previous: str | None,
    instances: int,
    max_unavailable: str | None,
    settings: RolloutSettings | None = None,
) -> Ledger:
    """Returns a new ledger with its first record. Raises OSError.

    A rollback takes the room that was held for it; anything else holds room for one.
    """
    if kind == "rollback":
        free_rollback_space(place)
    if os.path.isdir(place.rollouts):
        _tighten(place)
        _sweep(place)
    ledger = Ledger(place, _last(place) + 1, instances)
    ledger.open_with(
        "begin",
        kind=kind,
        revision=revision,
        previous=previous,
        by=state.whoami(),
        command=state.command_name(),
        max_unavailable=max_unavailable,
        settings=None if settings is None else plain(settings),
        pid=os.getpid(),
        boot=_boot(),
    )
    if kind != "rollback":
        ledger.hold_rollback_space(instances)
    return ledger


def free_rollback_space(place: AppLayout) -> None:
    """Frees the disk space that was held for a rollback."""
    (Path(place.state) / _ROLLBACK_SPACE).unlink(missing_ok=True)


def resume(place: AppLayout, number: int, instances: int) -> Ledger:
    """Returns the ledger of a rollout that continues, with a record of it. Raises OSError."""
    ledger = Ledger(place, number, instances)
    ledger.open_with("resume", by=state.whoami(), pid=os.getpid(), boot=_boot())
    return ledger


def latest(place: AppLayout) -> Story | None:
    """Returns what the newest ledger says; None: there was no rollout yet."""
    for number in range(_last(place), 0, -1):
        kept = read(place, number)
        if (newest := story(number, kept)) is not None:
            return newest
    return None


def blocking(place: AppLayout) -> Story | None:
    """Returns a rollout that blocks the next one; None: there is none, or it is running."""
    story = latest(place)
    if story is None or not story.blocks:
        return None
    if story.unfinished and not os.path.exists(place.revisions / story.revision):
        # Its revision is what a deploy writes first: nothing was changed.
        return None
    return story


def read(place: AppLayout, number: int) -> tuple[Record, ...]:
    """Returns the records of one rollout; none where there is no such ledger."""
    try:
        return records((Path(place.rollout(number)) / _LEDGER).read_bytes())
    except FileNotFoundError:
        return ()


class Progress:
    """The lines of a rollout at work, and of each that begins later, as they come."""

    def __init__(self, place: AppLayout) -> None:
        self._place = place
        last = latest(place)
        # One that has ended is no news.
        self._number = _last(place) + (last is not None and not last.unfinished)
        self._at = 0

    def news(self) -> list[str]:
        """Returns those that were written since the last call."""
        number = max(_last(self._place), self._number)
        if number != self._number:
            self._number, self._at = number, 0
        folder = Path(self._place.rollout(number))
        for name in (_PROGRESS_OF_JOBS, _PROGRESS):
            with suppress(FileNotFoundError, PermissionError), open(folder / name, "rb") as file:
                file.seek(self._at)
                # The last line may be half there.
                lines, end, _ = file.read().rpartition(b"\n")
                self._at += len(lines) + len(end)
                return lines.decode(errors="replace").split("\n") if end else []
        return []


def _last(place: AppLayout) -> int:
    try:
        return max((int(n) for n in os.listdir(place.rollouts) if n.isdigit()), default=0)
    except FileNotFoundError:
        return 0


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
