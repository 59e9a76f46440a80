"""Times, ids and JSON as frameworks write them, and passwords from where they are kept."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from unitq.errors import ConfigError, NotPermittedError
from unitq.model.app import Worker
from unitq.queues import secrets
from unitq.queues.values import moment, moments, number, pairs, pid, table, text

if TYPE_CHECKING:
    from pathlib import Path

AT = 1_795_440_000.0


@pytest.mark.parametrize(
    "written",
    [
        AT, int(AT), AT * 1000, int(AT * 1000), f"{AT:.0f}", b"1795440000.0", str(int(AT * 1000)),
        "2026-11-23T13:20:00Z", "2026-11-23T13:20:00.000000Z", "2026-11-23T14:20:00+01:00",
        "2026-11-23T13:20:00", "2026-11-23 13:20:00 UTC", "2026-11-23 14:20:00 +0100",
        "Mon Nov 23 13:20:00 UTC 2026", "Mon Nov 23 14:20:00 +01 2026",
        "Mon Nov 23 18:50:00 +0530 2026",
    ],
)  # fmt: skip
def test_a_moment_in_every_spelling(written: object) -> None:
    assert moment(written) == AT


@pytest.mark.parametrize(
    "written",
    [None, True, "", b"\xff", "soon", [], {}, 0, -1, "nan", "inf", 1e300, "Mon Nov 23 XYZ 2026",
     "Mon Nov 23 13:20:00 XYZ 2026"],
)  # fmt: skip
def test_what_is_no_moment_is_none(written: object) -> None:
    assert moment(written) is None


def test_rubbish_is_empty() -> None:
    for rubbish in (None, b"\xff", b"[1]", "{", b"[" * 100_000, 7):
        assert table(rubbish) == {}
    assert pairs(None) == pairs(7) == {}
    assert (number(b"x"), number(b"12"), number(None)) == (None, 12, None)
    assert text(b"\xff") == "�"


@pytest.mark.parametrize(
    "written",
    [
        "9" * 5000, b"9" * 5000, 10**400, -(10**400), "²", "٤٢", "1_0", "0x10", "1e3", 2**63, b"",
        [], {},
    ],
)  # fmt: skip
def test_what_is_no_number_of_redis_is_none(written: object) -> None:
    assert number(written) is None or written == "1_0"
    assert pid(written) is None or written == "1_0"


def test_a_process_has_a_small_number() -> None:
    assert [pid(each) for each in (b"1", "2147483647", 0, -1, 2**31, 2**40)] == [
        1, 2147483647, None, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "written",
    [
        10**400, "9" * 5000, b"-" * 9, "Mon Nov 23 13:20:00 +99:99 2026",
        "0001-01-01T00:00:00+14:00",
        "Mon Jan  1 00:00:00 +2359 0001", "\0" * 6, float("nan"),
    ],
)  # fmt: skip
def test_no_moment_is_too_odd(written: object) -> None:
    assert moment(written) in (None, pytest.approx(-62135647200))
    assert len(moments([written, 1, None])) == 3


def test_what_nests_too_deep_is_rubbish() -> None:
    for depth, there in ((90, True), (150, False), (900, False)):
        nested = '{"a":' + "[" * depth + "]" * depth + "}"
        assert bool(table(nested)) is there
    # Many, but not deep.
    assert len(table(json.dumps({"a": [[]] * 500}))["a"]) == 500


def worker(*files: Path, **environment: str) -> Worker:
    return Worker(
        name="sms", command="/bin/w", instances=1, directory="/",
        environment=tuple(environment.items()), environment_files=tuple(map(str, files)),
    )  # fmt: skip


def test_a_password_is_found_as_systemd_finds_a_variable(tmp_path: Path) -> None:
    first, second = tmp_path / "a.env", tmp_path / "b.env"
    first.write_text("OTHER=1\nREDIS_PASSWORD='one two'\n")
    second.write_text("# REDIS_PASSWORD=no\nREDIS_PASSWORD=later\n")

    def found(*workers: Worker) -> str:
        return secrets.from_variable("REDIS_PASSWORD", workers, "password_variable")

    assert found(worker(REDIS_PASSWORD="own")) == "own"
    assert found(worker(first, REDIS_PASSWORD="own")) == "one two"
    assert found(worker(first, second)) == "later"
    assert found(worker(), worker(first)) == "one two"
    with pytest.raises(ConfigError, match="no worker has a variable REDIS_PASSWORD"):
        found(worker())
    with pytest.raises(ConfigError, match="No such file"):
        found(worker(tmp_path / "none"))


def test_a_password_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret \n")
    assert secrets.from_file(str(path), "password_file") == "s3cret "
    if os.getuid() != 0:
        path.chmod(0)
        with pytest.raises(NotPermittedError) as caught:
            secrets.from_file(str(path), "password_file")
        assert "s3cret" not in str(caught.value)


def test_a_password_in_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.redis").write_text("s3cret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secrets.from_credential("shop.redis", "password_credential") == "s3cret"
    with pytest.raises(ConfigError, match="there is no credential other") as caught:
        secrets.from_credential("other", "password_credential")
    assert "systemd-creds encrypt" in caught.value.hint
