"""Passwords, from where the configuration says: never on a command line, in a log or a message."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import ConfigError, NotPermittedError
from unitq.linux.read_as import UnreadableError, read
from unitq.systemd.creds import DecryptError, decrypt
from unitq.systemd.envfile import assignments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unitq.linux.trust import Control
    from unitq.model.app import Worker

_FILE_MAX = 1 << 20  # bytes

# systemd.exec(5), LoadCredential=: where a credential of that name is looked for.
_STORES = ("/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore")


def from_variable(
    name: str, workers: Iterable[Worker], key: str, told_by: Sequence[Control] = ()
) -> str:
    """Returns a variable of the workers' environment. Raises ConfigError where none has it.

    As systemd does it: a variable of an `environment_file` wins over one of `environment`, and one
    of a later file over one of an earlier. `told_by`: see linux/read_as.py.
    """
    paths: dict[str, None] = {}
    for worker in workers:
        value = dict(worker.environment).get(name)
        for path in worker.environment_files:
            paths[path] = None
            value = assignments(_read(Path(path), key, told_by)).get(name, value)
        if value is not None:
            return value
    files = ", ".join(paths) or "no environment_file is given"
    raise ConfigError(
        f"redis.{key}: no worker has a variable {name} (looked in environment; {files})",
        hint=f"write {name}=… into an environment_file of the app, which only root can read",
    )


def from_file(path: str, key: str, told_by: Sequence[Control] = ()) -> str:
    """Returns the content of a file, without the line break at its end."""
    return _read(Path(path), key, told_by).rstrip("\r\n")


def from_credential(name: str, key: str) -> str:
    """Returns a credential of systemd's, decrypted where it is encrypted."""
    own = os.environ.get("CREDENTIALS_DIRECTORY")
    for folder in (*([own] if own else []), *_STORES):
        if _exists(path := Path(folder) / name, key):
            return _read(path, key).rstrip("\r\n")
    for folder in _STORES:
        if _exists(path := Path(f"{folder}.encrypted") / name, key):
            return _decrypt(path, name, key)
    raise ConfigError(
        f"redis.{key}: there is no credential {name} in {', '.join(_STORES)}, "
        "nor in their .encrypted neighbours",
        hint=f"systemd-creds encrypt --name={name} - /etc/credstore.encrypted/{name}",
    )


def _exists(path: Path, key: str) -> bool:
    try:
        path.stat()
    except PermissionError:  # the store's folder is root's
        raise NotPermittedError(
            f"redis.{key}: {path}: Permission denied", hint="as root it can be read"
        ) from None
    except (OSError, ValueError):
        return False
    return True


def _decrypt(path: Path, name: str, key: str) -> str:
    try:
        content = decrypt(path, name)
    except DecryptError as error:
        raise ConfigError(
            f"redis.{key}: {path} cannot be decrypted: {error}",
            hint="only root can, on the machine that it was encrypted for",
        ) from None
    return content.decode(errors="replace").rstrip("\r\n")


def _read(path: Path, key: str, told_by: Sequence[Control] = ()) -> str:
    try:
        content = read(path, _FILE_MAX, told_by=told_by)
    except UnreadableError as error:
        kind = NotPermittedError if error.denied else ConfigError
        raise kind(f"redis.{key}: {path}: {error.reason}", hint=error.hint) from None
    return content.decode(errors="replace")
