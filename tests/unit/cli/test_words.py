"""The words of the command line: help, those of other tools, and what a Ctrl-C may say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from unitq import __version__
from unitq.cli import main as module
from unitq.cli.main import GROUPS, cli, main
from unitq.errors import Exit
from unitq.linux import changes
from unitq.rollout.executor import Stop
from unitq.rollout.progress import stop_line

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


@pytest.fixture
def unitq(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, shown.out, shown.err

    return run


def test_every_command_is_in_one_group_of_the_help() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(cli.list_commands(click.Context(cli)))


def test_help_and_version_are_words_too(unitq: Callable[..., tuple[int, str, str]]) -> None:
    assert unitq("help")[:2] == unitq("--help")[:2]
    code, text, _ = unitq("help", "rollout", "status")
    assert (code, text.startswith("Usage: unitq rollout status")) == (0, True)
    assert unitq("version") == (0, f"unitq {__version__}\n", "")
    for words in (("help", "nosuch"), ("help", "deploy", "x"), ("version", "x")):
        assert unitq(*words)[0] == Exit.USAGE


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("reread", "unitq plan"),
        ("update", "unitq deploy"),
        ("tail", "unitq logs"),
        ("reload", "unitq deploy"),
        ("statsu", "'status'"),
        *((word, "`unitq ") for word in module._ELSEWHERE),
    ],
)
def test_words_of_other_tools_lead_to_ours(
    word: str, right: str, unitq: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = unitq(word)
    assert (code, out) == (Exit.USAGE, "")
    assert right in err
    for named in re.findall(r"`unitq (\S+?)`? ", err):
        assert named.strip("`") in cli.list_commands(click.Context(cli)), err


# --- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [False, True])
def test_nothing_was_changed_is_said_only_where_it_is_so(
    changed: bool, unitq: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def interrupted() -> None:
        if changed:
            changes.note()
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "get_command", lambda *_: interrupted)
    code, _, err = unitq("status")
    assert code == Exit.INTERRUPTED
    assert ("nothing was changed" in err) is not changed
    assert ("may be done" in err) is changed


OTHER = "touches no other"
SECOND = f"{OTHER}; Ctrl-C again leaves at once, and systemd finishes them"
BOTH = "sms@1, sms@2 draining (at most 42 s more) and mail@1 starting"
MANY = "a@1, a@2, a@3 and 1 more draining (as long as their jobs take)"
STOPS = [
    (Stop(True, (), (), 0.0), "interrupted: no instance is between two states, so it stops here"),
    (
        Stop(True, ("sms@1", "sms@2"), ("mail@1",), 42.0),
        f"interrupted: finishes {BOTH}, {SECOND}",
    ),
    (Stop(False, ("a@1", "a@2", "a@3", "a@4"), (), None), f"paused: finishes {MANY}, {OTHER}"),
]


@pytest.mark.parametrize(("stop", "words"), STOPS)
def test_a_rollout_says_what_it_finishes_first(stop: Stop, words: str) -> None:
    assert stop_line(stop) == words


# --- what may not be read, and what is gone -------------------------------------------------------

_RAISES = {"exists", "is_file", "is_dir", "is_symlink"}


def test_no_question_about_a_path_raises() -> None:
    """Path.exists() and its like raise PermissionError until Python 3.13, os.path's do not."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "unitq").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _RAISES
        # os.path's, a directory entry's, and Folder.exists() of linux/folder.py.
        and ast.unparse(node.func.value) not in ("os.path", "entry", "folder")
    ]
    assert wrong == []


def test_where_a_folder_is_gone_it_is_said_in_words(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for words in (["init"], ["check"], ["plan"], ["--user", "status"], ["import"]):
        gone.mkdir()
        done = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1" && rmdir "$1" && shift && exec "$@"', "sh", str(gone),
             sys.executable, "-m", "unitq", *words],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode not in (0, 1), done
        assert "internal error" not in done.stderr, done
        assert "Traceback" not in done.stderr, done
