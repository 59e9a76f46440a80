"""With --json an error is a document, too."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import click
import pytest

from unitq.cli import main as cli_main
from unitq.cli.output import echo_json
from unitq.errors import (
    ConfigError,
    Exit,
    GoingDownError,
    LockedError,
    NoMatchError,
    NotPermittedError,
    PreflightError,
    SystemdError,
    UnitqError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def restored_interrupt() -> Iterator[None]:
    """main() ignores SIGINT once it has been interrupted, and ends; the tests go on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli_main.main(list(words))
    assert isinstance(ended.value.code, int)
    return (ended.value.code, *capsys.readouterr())


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raise_it(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli_main.cli, "main", raise_it)


@pytest.mark.parametrize(
    "kind",
    [
        UnitqError, ConfigError, NoMatchError, NotPermittedError, LockedError, PreflightError,
        GoingDownError, SystemdError,
    ],
)  # fmt: skip
def test_each_error_is_a_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[UnitqError]
) -> None:
    raising(monkeypatch, kind("what \x1b[31m", hint="do this", problems=("one", "two")))
    code, out, err = run(capsys, "-a", "shop", "plan", "--json")
    assert json.loads(out) == {
        "format": 1,
        "error": {
            "message": "what \x1b[31m",
            "problems": ["one", "two"],
            "hint": "do this",
            "exit_code": code,
        },
    }
    assert code == kind.exit
    assert err.startswith("unitq: what \\x1b[31m\n  one\n")
    assert run(capsys, "-a", "shop", "plan")[:2] == (code, "")
    # Behind "--" there are no options.
    assert run(capsys, "-a", "shop", "status", "--", "--json")[:2] == (code, "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (click.UsageError("no such option"), Exit.USAGE, "no such option"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted"),
        (click.Abort(), Exit.INTERRUPTED, "interrupted"),
        (ZeroDivisionError("a"), Exit.BROKEN, "ZeroDivisionError: a"),
        (OSError(30, "Read-only file system", "/x"), Exit.BROKEN, "/x: Read-only file system"),
    ],
)
def test_what_is_no_error_of_ours_is_one_as_well(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: Exit,
    message: str,
) -> None:
    raising(monkeypatch, error)
    ended, out, _ = run(capsys, "status", "--json")
    assert ended == code
    found = json.loads(out)["error"]
    assert (found["message"], found["exit_code"]) == (message, code)


def test_a_disk_that_refuses_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, OSError(30, "Read-only file system", "/var/lib/unitq/shop"))
    code, _, err = run(capsys, "remove", "--yes")
    assert code == Exit.BROKEN
    assert err.startswith("unitq: /var/lib/unitq/shop: Read-only file system\n")
    assert "bug" not in err
    raising(monkeypatch, PermissionError(13, "Permission denied", "/x"))
    assert "bug" in run(capsys, "status")[2]


def test_a_document_is_not_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def print_and_fail(**_: Any) -> None:
        echo_json({"format": 1})
        raise UnitqError("later")

    monkeypatch.setattr(cli_main.cli, "main", print_and_fail)
    code, out, _ = run(capsys, "orphans", "--json")
    assert (code, json.loads(out)) == (Exit.BROKEN, {"format": 1})


def test_real_command_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bad.toml").write_text("app = 1\n")
    code, out, _ = run(capsys, "-c", "bad.toml", "check", "--json")
    found = json.loads(out)["error"]
    assert (code, found["exit_code"]) == (2, 2)
    assert len(found["problems"]) > 1
    code, out, _ = run(capsys, "status", "--json", "--nonsense")
    assert (code, json.loads(out)["error"]["exit_code"]) == (2, 2)
    code, out, _ = run(capsys, "-a", "nothing-of-that-name", "status", "--json")
    assert (code, json.loads(out)["error"]["exit_code"]) == (4, 4)
    # supervisorctl knows no --json.
    assert run(capsys, "ctl", "--json")[1] == ""
