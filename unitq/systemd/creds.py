"""Encrypted credentials, decrypted by systemd-creds(1)."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

from unitq.linux import programs

if TYPE_CHECKING:
    from pathlib import PurePath


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


def is_encrypted(content: bytes) -> bool:
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
