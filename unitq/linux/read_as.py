"""Reads a file that root is told of, with no more rights than those have who decide what it is."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from unitq.linux import trust
from unitq.linux.account import account as find_account
from unitq.linux.account import name_of
from unitq.linux.trust import ANYONE, Control, Why, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.linux.trust import Resolved

_SECONDS = 10.0
_NOBODY = 65534
_OK, _FAILED = b"+", b"-"


class UnreadableError(Exception):
    """A file is not read: why, in words that fit behind its path. Never quotes what is in it."""

    def __init__(self, reason: str, hint: str = "", *, denied: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.denied = denied  # it is there, but not for us


def read(
    path: str | os.PathLike[str],
    most: int,
    *,
    told_by: Sequence[Control] = (),
    public: bool = False,
) -> bytes:
    """Returns the content of a regular file of at most `most` bytes. Never blocks.

    An ordinary user reads with their own rights. As root it depends on who decides where the path
    leads, by owning or being able to write a directory or a link on the way:

    - root alone: that very file is read, whoever owns it;
    - root and one other account: a child process with the rights of that account opens the path,
      and no more is read than the account may read;
    - several accounts, or a group, or everybody: it is refused; with `public` it is read with the
      rights of nobody, as what everybody may read is no secret. For what decides nothing.

    `told_by` are those who decide that this path is read at all: see `authors`.
    Raises UnreadableError.
    """
    text = os.fspath(path)
    try:
        if os.geteuid() != 0:
            return _content(_open(text), most)
        with resolve(text) as found:
            say = [*told_by, *_on_the_way(found)]
            if not say:
                return _content(found.open(), most)
    except PermissionError:
        raise UnreadableError("Permission denied", "as root it can be read", denied=True) from None
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    except ValueError:  # a NUL in the path
        raise UnreadableError("no path of a file") from None
    accounts = {control.uid for control in say}
    if len(accounts) == 1 and ANYONE not in accounts:
        return _as_account(text, say[0], most)
    if not public:
        raise _refusal(say)
    try:
        return _as_account(text, say[0]._replace(uid=_NOBODY), most)
    except UnreadableError as error:
        raise _refusal(say) if error.denied else error from None


def authors(path: str | os.PathLike[str]) -> tuple[Control, ...]:
    """Who decides what a file says, besides root, also one that is gone for a moment.

    Nothing for an ordinary user, who reads with their own rights whatever a file says.
    """
    if os.geteuid() != 0:
        return ()
    try:
        return trust.deciding(path)
    except OSError:
        return (Control(ANYONE, os.fspath(path), Why.MAY_WRITE),)


def deciding(account: str | None) -> tuple[Control, ...]:
    """Returns the say of an account that decides which files are read; of none: nobody's.

    Raises LookupError where there is no such account.
    """
    return (Control(find_account(account).uid, "/", Why.OWNS),) if account is not None else ()


def _on_the_way(found: Resolved) -> list[Control]:
    """Who decides which file it is. Who may only change what is in it decides nothing of that."""
    inside = (Why.OWNS, Why.MAY_WRITE)
    return [
        control
        for control in found.controls
        if control.path != found.path or control.why not in inside
    ]


def _refusal(say: list[Control]) -> UnreadableError:
    anyone = next((control for control in say if control.uid == ANYONE), None)
    if anyone is None:
        names = " and ".join(dict.fromkeys(name_of(control.uid) for control in say))
        return UnreadableError(
            f"{names} both decide what this path leads to ({say[-1].path})",
            "put it where one account, or root alone, owns every directory and link on the way",
            denied=True,
        )
    if anyone.why is Why.LINKED:
        return UnreadableError(
            f"{anyone.path} has a second name, and everybody may write to its directory",
            "move it to a directory of root's, or of one account's",
            denied=True,
        )
    if anyone.why is Why.MAY_MAKE:
        return UnreadableError(
            f"everybody may make files in {anyone.path}, and so decide what is read here",
            "move it to a directory of root's, or of one account's",
            denied=True,
        )
    return UnreadableError(
        f"others than its owner may write to {anyone.path}, and so decide what is read here",
        f"chmod go-w {anyone.path}",
        denied=True,
    )


def _as_account(path: str, say: Control, most: int) -> bytes:
    from unitq.linux import confined

    def work() -> bytes:
        try:
            return _OK + _content(_open(path), most)
        except OSError as error:
            return _FAILED + str(error.errno or errno.EIO).encode()
        except UnreadableError as error:
            return _FAILED + error.reason.encode()

    name = name_of(say.uid)
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        ended = confined.run(
            work, confined.rights_of(say.uid), seconds=_SECONDS, most=most + 1, folder=root
        )
    except OSError as error:
        raise UnreadableError(f"cannot be read as {name}: {error.strerror}") from None
    finally:
        os.close(root)
    outcome, content = ended.output[:1], ended.output[1:]
    if ended.status != 0 or outcome not in (_OK, _FAILED):
        raise UnreadableError(f"could not be read as {name} within {_SECONDS:g} s")
    if outcome == _OK:
        return content
    reason = content.decode(errors="replace")
    if not reason.isdigit():
        raise UnreadableError(reason)
    if int(reason) not in (errno.EACCES, errno.EPERM):
        raise UnreadableError(os.strerror(int(reason)))
    raise UnreadableError(
        f"{name} decides what this path leads to ({say.path}), but may not read it",
        # No chown: who decides the path can make it a link to any file, and chown(1) follows it.
        f"write it as a file that {name} owns, or in a directory of root's, such as /etc",
        denied=True,
    )


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)


def _content(descriptor: int, most: int) -> bytes:
    try:
        # A pipe or a device may have no end.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableError("not a file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1) or b""  # None: of a kernel's file that has nothing yet
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise UnreadableError(f"larger than {most} bytes")
    return content
