"""The secrets of `credentials`, as systemd would load them: looked at before a deploy.

No secret is printed, written or put into a message. What a revision keeps of one is its seal.
"""

from __future__ import annotations

import base64
import hmac
import os
import shlex
import stat
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import NotPermittedError
from unitq.linux import programs, trust
from unitq.model.finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import PurePath

    from unitq.model.app import App, Credential, Worker
    from unitq.revisions.model import Revision
    from unitq.units.render import Seal

SIZE_MAX = 1 << 20  # bytes, of one and of all of a worker's: CREDENTIALS_TOTAL_SIZE_MAX of systemd
_DECRYPT_SECONDS = 10.0  # a TPM takes its time
_KEY_BYTES = 32

# What an encrypted credential begins with (creds-util.h of systemd): the kinds of key, as IDs.
_ENCRYPTED = frozenset(
    bytes.fromhex(number)
    for number in (
        "5a1c6a86df9d4096b1d5a65e0862f19a", "55b9ed1d38594d43a8319d2ebb332ac6",
        "0c7cc07b117645919c4b0bea08bc20fe", "faf7eb9341e3412ca1a436f95a29362f",
        "93a894094874449090caf2fc93cab553", "ef4ac13679a9480ea7db68897f9f165d",
        "af4950a849134eb1a73846304ff30c05", "adbc4ca3efb64201ba881b6f2e4095ea",
        "058469daf6f54324800549da0f8ea2fb",
    )
)  # fmt: skip


class DecryptError(Exception):
    """systemd-creds cannot decrypt it: the words of systemd, without the secret."""


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
    looked: set[Credential] = set()
    trusted = (os.getuid(),) if user_scope else ()
    for worker in app.workers:
        for each in worker.credentials:
            if each in looked:
                continue
            looked.add(each)
            place = f"workers.{worker.name}.credentials.{each.name}"
            if user_scope and each.encrypted:
                findings.append(_not_in_user_scope(each, place))
                continue
            try:
                content[each] = _content(each, trusted)
            except _RefusedError as refused:
                findings.append(Finding(Level.ERROR, place, refused.message, refused.hint))
        findings += _too_large(worker, content)
    findings += _open_to_all(content, app)
    return Secrets(content, tuple(findings))


class _RefusedError(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
        with trust.resolved(path) as found:
            if say := found.beyond(*trusted):
                # systemd opens it as root at each start: a link of theirs could name any file.
                raise _RefusedError(
                    f"{path}: {_who(say.uid)} {say.why} {say.path}, and so decides which file "
                    "systemd reads as root",
                    f"`install -o root -g root -m 0600 {path} /etc/credstore/` and name it there",
                )
            if not stat.S_ISREG(os.fstat(found.descriptor).st_mode):
                raise _RefusedError(f"{path}: not a file")
            with open(found.open(), "rb") as file:
                content = file.read(2 * SIZE_MAX + 1)  # in base64 it is larger
    except PermissionError as error:
        raise _RefusedError(f"{path}: {error.strerror}", "as root it can be read") from None
    except OSError as error:
        raise _RefusedError(f"{path}: {error.strerror}", _made(credential)) from None
    if not credential.encrypted:
        if encrypted(content):
            raise _RefusedError(
                f"{path}: is encrypted, and the worker would get it as it stands",
                f'`{credential.name} = {{ path = "{path}", encrypted = true }}`',
            )
        return content
    try:
        return decrypt(path, credential.name)
    except DecryptError as error:
        raise _RefusedError(f"{path}: cannot be decrypted: {error}", _made(credential)) from None


def _made(credential: Credential) -> str:
    """The command that makes such a credential."""
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


def encrypted(content: bytes) -> bool:
    """Whether this is what `systemd-creds encrypt` writes."""
    try:
        head = base64.b64decode(b"".join(content[:64].split())[:24], validate=True)
    except ValueError:
        return False
    return head[:16] in _ENCRYPTED


def decrypt(path: str | PurePath, name: str) -> bytes:
    """The secret. Raises DecryptError."""
    try:
        done = subprocess.run(
            [programs.path_of("systemd-creds"), "decrypt", f"--name={name}", str(path), "-"],
            env=programs.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DECRYPT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DecryptError(f"systemd-creds: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise DecryptError(lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout


def _too_large(worker: Worker, content: Mapping[Credential, bytes]) -> Iterator[Finding]:
    if sum(len(content.get(each, b"")) for each in worker.credentials) > SIZE_MAX:
        yield Finding(
            Level.ERROR,
            f"workers.{worker.name}.credentials",
            f"together larger than {SIZE_MAX >> 20} MiB, which is all that systemd hands over",
        )


def _open_to_all(content: Iterable[Credential], app: App) -> Iterator[Finding]:
    """Plain files that other accounts can read as well."""
    for each in content:
        try:
            readable = not each.encrypted and os.stat(each.path).st_mode & stat.S_IROTH
        except OSError:
            continue
        if readable:
            where = next(w.name for w in app.workers if each in w.credentials)
            yield Finding(
                Level.WARNING,
                f"workers.{where}.credentials.{each.name}",
                f"{each.path}: every account of this machine can read it",
                f"`chmod 0600 {each.path}`; systemd reads it as root",
            )


# --- seals ----------------------------------------------------------------------------------------
#
# A revision's file is readable by all, and a plain hash of a password can be guessed from there. So
# what goes into a fingerprint is a hash with a key that only root can read: of credentials, and of
# the environment.


def key(path: PurePath) -> bytes:
    """The app's key, or a new one where there is none yet; `keep` puts it there."""
    try:
        with open(path, "rb") as file:
            found = file.read(_KEY_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return os.urandom(_KEY_BYTES)
    except PermissionError as error:
        raise NotPermittedError(f"{path}: {error.strerror}", hint="run it as root") from error
    return found if len(found) == _KEY_BYTES else os.urandom(_KEY_BYTES)


def seals(
    worker: Worker, content: Mapping[Credential, bytes], sealing: bytes
) -> tuple[tuple[str, str], ...]:
    """Each credential's name and the keyed hash of its secret: equal only for an equal secret."""
    return tuple(
        (each.name, hmac.digest(sealing, content[each], "sha256").hex())
        for each in worker.credentials
        if each in content
    )


def sealing(key: bytes) -> Seal:
    """Returns what makes the seal of a worker's environment."""

    def seal(worker: str, content: bytes) -> str:
        return hmac.digest(key, f"{worker}\0".encode() + content, "sha256").hex()

    return seal


def as_before(revision: Revision | None) -> Seal:
    """Returns the seals of a revision, for who has no key: whatever the environment is now."""
    workers = revision.workers if revision else ()
    seals = {worker.name: worker.sealed for worker in workers}
    return lambda worker, _: seals.get(worker, "")
