"""Seals of secrets, and what an encrypted one looks like. What systemd does: tests/systemd."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.harness.build import app
from unitq.rollout.checks.credentials import Secrets, key, seals
from unitq.systemd.creds import is_encrypted

if TYPE_CHECKING:
    from pathlib import Path

WORKER = app('[workers.w]\ncommand = "w"\ncredentials = { A = "/a", B = "/b" }').workers[0]
A, B = WORKER.credentials


def test_a_seal_can_be_guessed_by_nobody_without_the_key() -> None:
    known = {A: b"1234", B: b"1234"}
    assert seals(WORKER, known, b"k") == seals(WORKER, known, b"k")
    assert seals(WORKER, known, b"k") != seals(WORKER, known, b"other")
    assert seals(WORKER, known, b"k") != seals(WORKER, {**known, B: b"1235"}, b"k")
    assert [name for name, _ in seals(WORKER, {A: b""}, b"k")] == ["A"]


def test_the_key_is_kept_and_is_another_one_for_each_app(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert key(path) != key(path)  # there is none yet
    path.write_bytes(b"k" * 32)
    assert key(path) == b"k" * 32
    path.write_bytes(b"damaged")
    assert len(key(path)) == 32
    assert key(path) != key(path)


def test_no_report_shows_a_secret() -> None:
    assert "1234" not in repr(Secrets({A: b"1234"}, ()))


def test_what_systemd_creds_writes_is_told_from_a_password() -> None:
    # Its first line, by the host's key (systemd 252), and by host and TPM.
    assert is_encrypted(b"Whxqht+dQJax1aZeCGLxmiAAAAABAAAADAAAABAA\nAAA=\n")
    assert is_encrypted(b"k6iUCUh0RJCQyvL8k8q1UyAAAAABAAAADAAAABAA")
    for plain in (b"", b"secret", b"Whxqht+dQJax", b"\xff" * 64, os.urandom(64), b"A" * 64):
        assert not is_encrypted(plain)
