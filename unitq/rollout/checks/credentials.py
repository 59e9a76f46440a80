"""The secrets of `credentials`, as systemd would load them: looked at before a deploy.

No secret is printed, written or put into a message. What a revision keeps of one is its seal.
"""

from __future__ import annotations

import hmac
import os
import shlex
import stat
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import NotPermittedError
from unitq.linux import trust
from unitq.model.finding import Certainty, Finding, Level
from unitq.systemd.creds import _KEY_BYTES, DecryptError, decrypt, is_encrypted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import PurePath

    from unitq.model.app import App, Credential, Worker
    from unitq.revisions.model import Revision
    from unitq.units.render import Seal

SIZE_MAX = 1 << 20  # bytes, of one and of all of a worker's: CREDENTIALS_TOTAL_SIZE_MAX of systemd


class Secrets(NamedTuple):
    """What could be read, and what is wrong with the rest."""

    content: Mapping[Credential, bytes]
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        # Tracebacks and test reports show it.
        return f"Secrets(findings={self.findings!r}, …)"


def read(app: App, *, user_scope: bool) -> Secrets:
    """Reads every credential of the app as systemd will: as root, or in the user's own scope."""
    content: dict[Credential, bytes] = {}
    findings: list[Finding] = []
    read_already: set[Credential] = set()
    trusted = (os.getuid(),) if user_scope else ()
    for worker in app.workers:
        for credential in worker.credentials:
            if credential in read_already:
                continue
            read_already.add(credential)
            place = f"workers.{worker.name}.credentials.{credential.name}"
            if user_scope and credential.encrypted:
                findings.append(_not_in_user_scope(credential, place))
                continue
            try:
                content[credential] = _content(credential, trusted)
            except _RefusedError as refused:
                message, hint, why = refused.message, refused.hint, refused.why
                findings.append(Finding(Level.ERROR, place, message, hint, why))
        findings += _too_large(worker, content)
    findings += _open_to_all(content, app)
    return Secrets(content, tuple(findings))


class _RefusedError(Exception):
    def __init__(self, message: str, hint: str, why: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.why = why


def _not_in_user_scope(credential: Credential, place: str) -> Finding:
    return Finding(
        Level.ERROR,
        place,
        f"{credential.path}: with --user systemd cannot decrypt a credential",
        f"`{credential.name} = {{ path = …, encrypted = false }}` with a file of yours, mode 0600",
    )


def _content(credential: Credential, trusted: tuple[int, ...]) -> bytes:
    path = credential.path
    try:
        with trust.resolve(path) as resolved:
            if control := resolved.beyond(*trusted):
                # systemd opens it as root at each start: a link of theirs could name any file.
                raise _RefusedError(
                    f"{path}: {_who(control.uid)} {control.why} {control.path}",
                    f"`install -o root -g root -m 0600 {path} /etc/credstore/` and name it there",
                    "another account than root decides which file systemd reads as root",
                )
            if not stat.S_ISREG(os.fstat(resolved.descriptor).st_mode):
                raise _RefusedError(f"{path}: not a file", _creation(credential))
            with open(resolved.open(), "rb") as file:
                content = file.read(2 * SIZE_MAX + 1)  # in base64 it is larger
    except PermissionError as error:
        raise _RefusedError(f"{path}: {error.strerror}", "as root it can be read") from None
    except OSError as error:
        raise _RefusedError(f"{path}: {error.strerror}", _creation(credential)) from None
    if not credential.encrypted:
        if is_encrypted(content):
            raise _RefusedError(
                f"{path}: is encrypted",
                f'`{credential.name} = {{ path = "{path}", encrypted = true }}`',
                "the worker would get it as it stands",
            )
        return content
    try:
        return decrypt(path, credential.name)
    except DecryptError as error:
        raise _RefusedError(
            f"{path}: cannot be decrypted: {error}", _creation(credential)
        ) from None


def _creation(credential: Credential) -> str:
    """Returns the command that makes such a credential."""
    name, path = credential.name, shlex.quote(credential.path)
    if not credential.encrypted:
        return f"`install -D -m 0600 /dev/stdin {path}`"
    folder = os.path.dirname(credential.path)
    # Neither systemd 252 nor systemd-creds makes /etc/credstore.encrypted.
    made = "" if os.path.isdir(folder) else f"install -d -m 0700 {shlex.quote(folder)} && "
    return f"`{made}systemd-creds encrypt --name={name} - {path}`, on this machine"


def _who(uid: int) -> str:
    import pwd

    if uid == trust.ANYONE:
        return "others than root"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account {uid}"


def _too_large(worker: Worker, content: Mapping[Credential, bytes]) -> Iterator[Finding]:
    if sum(len(content.get(credential, b"")) for credential in worker.credentials) > SIZE_MAX:
        yield Finding(
            Level.ERROR,
            f"workers.{worker.name}.credentials",
            f"together larger than {SIZE_MAX >> 20} MiB",
            "keep what is large in a file that `user` can read",
            "systemd hands over no more to one unit",
        )


def _open_to_all(content: Iterable[Credential], app: App) -> Iterator[Finding]:
    """Plain files that other accounts can read as well."""
    for credential in content:
        try:
            readable = not credential.encrypted and os.stat(credential.path).st_mode & stat.S_IROTH
        except OSError:
            continue
        if readable:
            where = next(w.name for w in app.workers if credential in w.credentials)
            yield Finding(
                Level.WARNING,
                f"workers.{where}.credentials.{credential.name}",
                f"{credential.path}: every account of this machine can read it",
                f"`chmod 0600 {credential.path}`; systemd reads it as root",
                name="open-credential",
                sure=Certainty.CERTAIN,
            )


# --- seals ----------------------------------------------------------------------------------------
#
# A revision's file is readable by all, and a plain hash of a password can be guessed from there. So
# what goes into a fingerprint is a hash with a key that only root can read: of credentials, and of
# the environment.


def key(path: PurePath) -> bytes:
    """Returns the app's key, or a new one where there is none yet; `keep` puts it there."""
    try:
        with open(path, "rb") as file:
            content = file.read(_KEY_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return os.urandom(_KEY_BYTES)
    except PermissionError as error:
        raise NotPermittedError(f"{path}: {error.strerror}", hint="run it as root") from error
    return content if len(content) == _KEY_BYTES else os.urandom(_KEY_BYTES)


def seals(
    worker: Worker, content: Mapping[Credential, bytes], sealing: bytes
) -> tuple[tuple[str, str], ...]:
    """Each credential's name and the keyed hash of its secret: equal only for an equal secret."""
    return tuple(
        (credential.name, hmac.digest(sealing, content[credential], "sha256").hex())
        for credential in worker.credentials
        if credential in content
    )


def sealing(key: bytes) -> Seal:
    """Returns what makes the seal of a worker's environment."""

    def seal(worker: str, content: bytes) -> str:
        return hmac.digest(key, f"{worker}\0".encode() + content, "sha256").hex()

    return seal


def earlier_seals(revision: Revision | None) -> Seal:
    """Returns the seals of a revision, for who has no key: whatever the environment is now."""
    workers = revision.workers if revision else ()
    seals = {worker.name: worker.sealed for worker in workers}
    return lambda worker, _: seals.get(worker, "")
