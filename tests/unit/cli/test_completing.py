"""What a shell completes: right, quick, silent, and nothing that a shell could run."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitq.cli import completions
from unitq.cli.main import cli

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ROOT = Path(__file__).parents[3]


def completed(*words: str, cwd: Path | None = None, last: str = "") -> list[str]:
    """As bash gets it, in a process of its own. Nothing else may be printed."""
    line = " ".join(["unitq", *words, last])
    done = subprocess.run(
        [sys.executable, "-m", "unitq"],
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "_UNITQ_COMPLETE": "bash_complete",
            "COMP_WORDS": line, "COMP_CWORD": str(len(words) + 1),
        },
        cwd=cwd, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "last", "expected"),
    [
        ((), "ro", ["plain,rollout", "plain,rollback"]),
        (("presets",), "cel", ["plain,celery"]),
        (("init", "--preset"), "side", ["plain,sidekiq"]),
        (("deploy", "--promote"), "", ["plain,auto", "plain,manual"]),
        (("deploy", "--on-failure"), "r", ["plain,rollback"]),
        (("signal",), "USR", ["plain,USR1", "plain,USR2"]),
        (("signal",), "SIGQ", ["plain,SIGQUIT"]),
        (("completion",), "z", ["plain,zsh"]),
        (("-c",), "", ["file,"]),
        (("import",), "", ["file,"]),
        (("takeover",), "", ["file,"]),
        (("trust", "add"), "", ["file,"]),
        (("import", "--directory"), "", ["dir,"]),
        # Of an app that nobody has installed there is nothing to complete with.
        (("-a", "no-such-app", "restart"), "", []),
        (("-a", "no-such-app", "scale"), "", []),
        (("-a", "no-such-app", "rollback"), "", []),
        (("-a", "../../etc", "restart"), "", []),
    ],
)
def test_enums_presets_and_files(words: tuple[str, ...], last: str, expected: list[str]) -> None:
    assert sorted(completed(*words, last=last)) == sorted(expected)


def test_a_wrong_file_here_is_no_traceback(tmp_path: Path) -> None:
    for text in ("app = ", "app = 7", 'app = "$(touch x)"', "\0"):
        (tmp_path / "unitq.toml").write_text(text)
        assert completed("restart", cwd=tmp_path) == []
    assert not (tmp_path / "x").exists()


def items(names: list[str], incomplete: str = "") -> list[str]:
    complete = completions.words(*names)
    context = click.Context(cli)
    found: list[CompletionItem] = complete(context, click.Argument(["x"]), incomplete)
    return [item.value for item in found]


EVIL = [
    "$(id)", "`id`", "a;id", "a b", "a\nplain,id", "*", "?", "~root", "-rf", "a|b", "a&b", "'", '"',
    "a,b", "\x1b[2J", "{a,b}", "!!", "#", "\\", "é", "", "a:b",
]  # fmt: skip


def test_a_name_that_a_shell_reads_is_left_out() -> None:
    assert items([*EVIL, "sms", "sms@1", "42-3fa9c1", "sms=4"]) == [
        "sms", "sms@1", "42-3fa9c1", "sms=4",
    ]  # fmt: skip


@given(st.text(max_size=20))
def test_nothing_but_plain_names(name: str) -> None:
    for found in items([name]):
        assert set(found) <= {*string.ascii_letters, *string.digits, *"_.@=+-"}
        assert not found.startswith("-")


def test_what_goes_wrong_is_no_completion() -> None:
    def broken(scope: object, incomplete: str) -> list[str]:
        raise RuntimeError("whatever")

    assert completions._names(broken)(click.Context(cli), click.Argument(["x"]), "") == []


def test_the_first_word_imports_no_command() -> None:
    code = (
        "import os, sys, click; from unitq.cli.main import cli;"
        "cli.shell_complete(click.Context(cli), '');"
        "heavy = {'unitq.rollout.executor', 'unitq.cli.deploy', 'redis'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
