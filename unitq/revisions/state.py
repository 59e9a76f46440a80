"""What is wanted, the pins and the lock, on disk. Where each lies: model/layout.py."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from time import time
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import LockedError, NoMatchError, NotPermittedError, UnitqError
from unitq.linux import files, proc
from unitq.model import names
from unitq.revisions.model import Revision, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from unitq.model.layout import AppLayout, Layout
    from unitq.model.names import InstanceName


_LOOK_AGAIN = 0.5  # seconds


def apps(layout: Layout) -> list[str]:
    """The apps that are installed in this scope."""
    try:
        names_in_it = os.listdir(layout.state_dir)
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise _not_yours(error, layout.state_dir) from error
    return sorted(name for name in names_in_it if os.path.islink(layout.app(name).current))


def current(place: AppLayout) -> Revision | None:
    """The revision that is wanted; None where the app was never deployed."""
    path = Path(place.current) / "revision.json"
    try:
        return load(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise _not_yours(error, path) from error
    except OSError as error:
        raise UnitqError(f"{path}: {error.strerror}") from error


def _not_yours(error: OSError, path: PurePath) -> NotPermittedError:
    return NotPermittedError(
        f"{path}: {error.strerror}", hint="$HOME says where your own apps are: is it really yours?"
    )


def require_current(layout: Layout, app: str) -> Revision:
    """The revision that is wanted. Raises NoMatchError where there is no such app."""
    # What can be no app's name must not lead out of our folders.
    plausible = len(app) < 64 and "/" not in app and not app.startswith(".")
    revision = current(layout.app(app)) if plausible else None
    if revision is None:
        known = ", ".join(apps(layout)) or "none"
        raise NoMatchError(
            f"no app {app} is installed here (installed: {known})",
            hint="`unitq deploy` installs it; --user looks at your own units",
        )
    return revision


def make_current(place: AppLayout, revision: Revision) -> AbstractContextManager[None]:
    """From the end of the block on this is what is wanted; if the block fails, nothing is."""
    return files.linking(Path(place.current), f"revisions/{revision.id}")


def pin(place: AppLayout, instance: InstanceName, revision: str) -> None:
    """The next start of this instance gets this revision's code and environment."""
    files.folder(Path(place.pins(instance.worker)))
    target = f"../../revisions/{revision}/{instance.worker}"
    path = Path(place.pin(instance.worker, instance.number))
    if pin_of(place, instance) != revision:
        # Not synced one by one, see sync_pins: a power cut may bring an older pin back, whole.
        files.link(path, target, synced=False)


def sync_pins(place: AppLayout, workers: Iterable[str]) -> None:
    """Makes the pins of these workers survive a power cut."""
    for folder in (*(place.pins(worker) for worker in workers), place.state / "pins"):
        with suppress(FileNotFoundError):
            files.sync(Path(folder))


def pin_of(place: AppLayout, instance: InstanceName) -> str | None:
    """The revision that the next start of this instance gets."""
    try:
        return os.readlink(place.pin(instance.worker, instance.number)).split("/")[-2]
    except (OSError, IndexError):
        return None


def pin_time(place: AppLayout, instance: InstanceName) -> float | None:
    """When the pin of this instance was moved to where it leads, in seconds since 1970."""
    try:
        return os.lstat(place.pin(instance.worker, instance.number)).st_mtime
    except OSError:
        return None


def unpin(place: AppLayout, instance: InstanceName) -> None:
    """Forgets an instance that is no longer wanted."""
    with suppress(FileNotFoundError):
        Path(place.pin(instance.worker, instance.number)).unlink()
    with suppress(OSError):  # others are in there
        Path(place.pins(instance.worker)).rmdir()
    with suppress(OSError):
        (Path(place.state) / "pins").rmdir()


# Between writing unit files and the daemon-reload that makes systemd read them, a crash must not
# be forgotten: the mark is set before the first write and removed after the reload.


def _reload_mark(place: AppLayout) -> Path:
    return Path(place.state) / "reload-pending"


def reload_pending(place: AppLayout) -> bool:
    """Whether unit files changed that systemd may not have read."""
    return os.path.exists(_reload_mark(place))


def mark_reload(place: AppLayout, *, pending: bool) -> None:
    """Sets or removes that mark."""
    if pending:
        if not reload_pending(place):
            files.folder(Path(place.state))
            files.write(_reload_mark(place), b"", 0o644)
            files.sync(Path(place.state))
    else:
        with suppress(OSError):  # at worst one reload more
            _reload_mark(place).unlink(missing_ok=True)


@contextmanager
def lock(layout: Layout, app: str, doing: str) -> Iterator[None]:
    """Holds the app against other unitqs. Raises LockedError, which names the holder.

    A kernel lock: it goes with the process that holds it, however that ends. Python opens files
    close-on-exec, so nothing that we start can keep it.
    """
    path = Path(layout.app(app).lock)
    with files.preflight_errors("cannot take the lock"):
        files.folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            typed = f"unitq{' --user' * layout.user} -a {app}"
            who = "it has just begun"
            if holder := _holder(descriptor):
                seconds = max(0, round(time() - holder.since))
                who = f"`{holder.doing}` by {holder.by}, PID {holder.pid}, for {seconds} s"
            raise LockedError(
                f"another unitq is at work on {app}: {who}",
                hint=f"`{typed} rollout watch` waits for its end, `{typed} rollout abort` stops it "
                "at a safe point, as Ctrl-C does",
            ) from None
        note = Holder(os.getpid(), doing, whoami(), time())._asdict()
        with suppress(OSError):  # the lock holds all the same, and does not say who has it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        yield
    finally:
        os.close(descriptor)


class Holder(NamedTuple):
    """Who holds an app, as its lock file says."""

    pid: int
    doing: str  # what was typed
    by: str  # the account, or the person behind sudo or a grant
    since: float  # seconds since 1970


def at_work(layout: Layout, app: str) -> Holder | None:
    """Returns who holds the app; None: nobody does."""
    try:
        descriptor = os.open(layout.app(app).lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def busy(layout: Layout, app: str) -> bool:
    """Whether somebody holds the app, or we may not know."""
    return hidden(layout, app) or at_work(layout, app) is not None


def hidden(layout: Layout, app: str) -> bool:
    """Whether there is a lock that we may not look at: only root may."""
    path = layout.app(app).lock
    return os.path.exists(path) and not os.access(path, os.R_OK)


def wait_until_idle(layout: Layout, app: str, meanwhile: Callable[[], None]) -> None:
    """Returns once nobody holds the app; calls `meanwhile` now and then."""
    while (holder := at_work(layout, app)) and not proc.is_gone(holder.pid):
        meanwhile()
        wait_for(holder.pid, _LOOK_AGAIN)
    # Who has just begun, or whom we may not know.
    try:
        descriptor = os.open(layout.app(app).lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # whether one holds root's, only root can tell
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def wait_for(pid: int, seconds: float) -> None:
    """Waits until the process has ended, for so many seconds at most."""
    import select  # `status` has no need of it

    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)


def _holder(descriptor: int) -> Holder | None:
    """Returns what the lock file says; None: its holder has just begun."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return Holder(note["pid"], note["doing"], note["by"], note["since"])
    except (ValueError, KeyError):
        return None


_acting_for = ""  # the account that a granted command works for, see cli/grant/granted.py


def act_for(account: str) -> None:
    """From now on this account is who runs this: polkit has vouched for it."""
    global _acting_for  # noqa: PLW0603
    _acting_for = account


def shared_output() -> bool:
    """Whether others read what this prints: of a granted command, all members of its group."""
    return bool(_acting_for)


def whoami() -> str:
    """Who runs this: the person behind sudo or a grant, where there is one."""
    import pwd

    if _acting_for:
        return _acting_for
    if person := os.environ.get("SUDO_USER"):
        return person
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def command_name() -> str:
    """What was typed, for the note in the lock."""
    return " ".join(["unitq", *sys.argv[1:]])[:200]


def instances_with_pin(place: AppLayout) -> set[InstanceName]:
    """Every instance that has a pin."""
    instances = set()
    with suppress(FileNotFoundError):
        for worker in os.listdir(place.state / "pins"):
            for number in os.listdir(place.pins(worker)):
                if number.isdigit():
                    instances.add(names.InstanceName(worker, int(number)))
    return instances
