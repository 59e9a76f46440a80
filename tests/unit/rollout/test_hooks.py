"""Hooks: what they get, what they leave behind, and what is said of how they ended."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unitq.model.app import Hook, Hooks
from unitq.model.finding import Level
from unitq.model.settings import Duration
from unitq.rollout import hook_process
from unitq.rollout.checks import preflight
from unitq.rollout.hook_process import TAIL, HookError, HookResult

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 30.0  # seconds; a test that waits so long has failed


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file for the number of a process that outlives its hook; it is killed at the end."""
    file = tmp_path / "pids"
    yield file
    if file.exists():
        for pid in file.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def run(folder: Path, script: str, *arguments: str, seconds: float = LONG) -> HookResult:
    """Runs a Python program as a hook."""
    file = folder / "hook"
    file.write_text(f"#!{sys.executable} -IS\n{script}\n")
    file.chmod(0o755)
    hook = Hook(("./hook", *arguments), Duration(f"{seconds}s", seconds))
    return hook_process.run(hook, {"app": "shop"}, directory=folder)


def shell(folder: Path, script: str, seconds: float = LONG) -> HookResult:
    hook = Hook(("/bin/sh", "-c", script), Duration(f"{seconds}s", seconds))
    return hook_process.run(hook, {}, directory=folder)


def until(met: Any, what: str) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_it_gets_the_document_its_arguments_and_the_directory(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import json, os, sys; print(json.dumps([json.load(sys.stdin), sys.argv, os.getcwd()]))",
        "a b",
        "$HOME *; `id`",
        "",
    )
    assert done.ok
    assert (done.code, done.signal, done.timed_out) == (0, None, False)
    assert json.loads(done.output) == [
        {"app": "shop"},
        [f"{tmp_path}/hook", "a b", "$HOME *; `id`", ""],
        str(tmp_path),
    ]
    assert 0 < done.seconds < LONG


def test_a_large_document_that_is_not_read_is_no_reason_to_wait(tmp_path: Path) -> None:
    document = {"instances": ["x" * 100] * 10_000}
    done = hook_process.run(Hook(("/bin/true",)), document, directory=tmp_path)
    assert done.ok
    hook = Hook(("/bin/sh", "-c", "wc -c"))
    assert (
        int(hook_process.run(hook, document, directory=tmp_path).output)
        == len(json.dumps(document)) + 1
    )


def test_a_relative_directory_is_no_trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "hook").write_text("#!/bin/sh\npwd\n")
    (folder / "hook").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    done = hook_process.run(Hook(("hook",)), {}, directory=Path("app"))
    assert done.output.strip() == str(folder)


@pytest.mark.parametrize(
    ("script", "code", "number", "words"),
    [
        ("exit 0", 0, None, "exit status 0"),
        ("exit 3", 3, None, "exit status 3"),
        ("kill -KILL $$", None, signal.SIGKILL, "ended by SIGKILL"),
        ("kill -40 $$", None, 40, f"ended by SIGRTMIN+{40 - signal.SIGRTMIN}"),
    ],
)
def test_how_it_ended_is_told(
    tmp_path: Path, script: str, code: int | None, number: int | None, words: str
) -> None:
    done = shell(tmp_path, script)
    assert (done.code, done.signal, done.timed_out) == (code, number, False)
    assert done.ok == (code == 0)
    assert str(done) == words


def test_both_streams_arrive_in_order_and_of_much_output_the_end(tmp_path: Path) -> None:
    assert shell(tmp_path, "echo a; echo b >&2; echo c").output == "a\nb\nc\n"
    done = run(tmp_path, "for n in range(200_000): print(n)")
    assert done.ok
    assert len(done.output) == TAIL
    assert done.output.endswith("\n199998\n199999\n")


def test_bytes_that_are_no_text_are_no_trouble(tmp_path: Path) -> None:
    assert shell(tmp_path, r"printf '\377a\303'").output == "�a�"


def test_one_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    done = shell(tmp_path, "echo a; exec >&- 2>&-; sleep 0.3; exit 4")
    assert (done.code, done.output) == (4, "a\n")
    assert done.seconds >= 0.3


def test_a_hook_that_takes_too_long_is_ended_with_all_of_its_group(
    tmp_path: Path, pids: Path
) -> None:
    done = shell(
        tmp_path,
        # The child does not hear SIGTERM.
        f"(trap '' TERM; exec sleep 1000) & echo $! > {pids}; echo begun; wait",
        seconds=0.5,
    )
    assert done.timed_out
    assert not done.ok
    assert (done.code, done.signal) == (None, signal.SIGTERM)
    assert done.output == "begun\n"
    assert 0.5 <= done.seconds < 4
    assert str(done).startswith("not done in time: ended after 0.")
    until(lambda: not alive(int(pids.read_text())), "its child is killed")


def test_one_that_ignores_sigterm_is_killed_five_seconds_later(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
        "while True: time.sleep(1)",
        seconds=0.5,
    )
    assert (done.timed_out, done.signal) == (True, signal.SIGKILL)
    assert 5.5 <= done.seconds < 8
    assert done.output == "no\n"


def test_one_that_ends_well_after_sigterm_was_too_late_all_the_same(tmp_path: Path) -> None:
    done = shell(tmp_path, "trap 'echo cleared; exit 0' TERM; sleep 1000 & wait", seconds=0.5)
    assert (done.timed_out, done.code, done.ok) == (True, 0, False)
    assert done.output == "cleared\n"


# Forks a process of its own session that holds standard output and goes on to write to it, and
# leaves. It tells its number, and which descriptors it has.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(1000)
until = time.monotonic() + 10
while not (os.path.exists(sys.argv[1]) and os.stat(sys.argv[1]).st_size):
    assert time.monotonic() < until
print(sorted(os.listdir("/proc/self/fd")))
"""


def test_a_daemon_that_it_leaves_holds_nothing_of_ours_and_lives_on(
    tmp_path: Path, pids: Path
) -> None:
    lock = tmp_path / "lock"
    with lock.open("w") as ours:
        # Python's own descriptors are not inherited anyway; one of a library's may be.
        os.set_inheritable(ours.fileno(), True)
        fcntl.flock(ours, fcntl.LOCK_EX)
        done = run(tmp_path, DAEMON, str(pids))
        assert done.ok, done.output
    daemon = int(pids.read_text())
    assert alive(daemon)
    assert done.seconds < LONG / 2
    # 0 to 2, and the one with which it lists them.
    assert done.output == "['0', '1', '2', '3']\n"
    with lock.open("w") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    inherited = {os.readlink(f"/proc/{daemon}/fd/{number}") for number in "012"}
    assert str(lock) not in inherited
    assert alive(daemon)


def test_a_daemon_that_goes_on_to_write_is_not_listened_to(tmp_path: Path, pids: Path) -> None:
    done = shell(tmp_path, f"setsid yes & echo $! > {pids}; exit 0")
    assert done.ok
    assert done.seconds < LONG / 2


def test_it_is_in_a_session_of_its_own(tmp_path: Path) -> None:
    done = run(tmp_path, "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0))")
    assert done.output == "True\n"


def test_our_own_way_out_leaves_no_hook_behind(
    tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> bool:
        until(lambda: pids.exists() and pids.read_text(), "the hook runs")
        raise KeyboardInterrupt

    monkeypatch.setattr(hook_process, "_wait_for_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shell(tmp_path, f"echo $$ > {pids}; sleep 1000")
    until(lambda: not alive(int(pids.read_text())), "it is killed")


def _missing(folder: Path) -> str:
    return str(folder / "nosuch")


def _not_executable(folder: Path) -> str:
    (folder / "plain").write_text("#!/bin/sh\n")
    return "plain"


def _folder(folder: Path) -> str:
    (folder / "folder").mkdir()
    return "./folder"


def _no_program(folder: Path) -> str:
    (folder / "text").write_text("hello\n")
    (folder / "text").chmod(0o755)
    return "text"


def _no_interpreter(folder: Path) -> str:
    (folder / "script").write_text("#!/nosuch/interpreter\n")
    (folder / "script").chmod(0o755)
    return "script"


@pytest.mark.parametrize("make", [_missing, _not_executable, _folder, _no_program, _no_interpreter])
def test_one_that_cannot_be_started_is_an_error_in_words(tmp_path: Path, make: Any) -> None:
    command = make(tmp_path)
    with pytest.raises(HookError) as caught:
        hook_process.run(Hook((command,)), {}, directory=tmp_path)
    assert caught.value.message.startswith(f"hook {tmp_path}/")
    assert " cannot be started: " in caught.value.message
    assert caught.value.hint


def test_the_path_is_not_searched(tmp_path: Path) -> None:
    with pytest.raises(HookError):
        hook_process.run(Hook(("true",)), {}, directory=tmp_path)


# What `check` says of them.


def test_check_finds_programs_that_are_not_there_or_cannot_be_run(tmp_path: Path) -> None:
    plain = _not_executable(tmp_path)
    (tmp_path / "good").write_text("#!/bin/sh\n")
    (tmp_path / "good").chmod(0o755)
    assert not preflight.of_hooks(Hooks(), tmp_path, user_scope=True)
    assert not preflight.of_hooks(
        Hooks(Hook(("good",)), Hook(("/bin/true", "x"))), tmp_path, user_scope=True
    )
    found = preflight.of_hooks(
        Hooks(Hook(("curl",)), Hook((plain,)), Hook(("/no/such",))), tmp_path, user_scope=True
    )
    assert [(each.level, each.place, each.message) for each in found] == [
        (Level.ERROR, "hooks.before_deploy", f"there is no program {tmp_path}/curl"),
        (Level.ERROR, "hooks.after_deploy", f"{tmp_path}/plain is not executable"),
        (Level.ERROR, "hooks.on_failure", "there is no program /no/such"),
    ]
    assert "$PATH" in found[0].hint
    assert "chmod" in found[1].hint
