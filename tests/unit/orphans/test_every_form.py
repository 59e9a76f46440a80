"""Real processes: every form of command, left behind in every way that leaves an orphan.

What the kernel shows of them is judged. Only the cgroup of another unit is put in: without systemd
a test has none.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from unitq.linux.proc import alive
from unitq.orphans import process_table
from unitq.orphans.evidence import AppProfile, WantedCode, WorkerProfile, find_orphans
from unitq.orphans.find import may_be_one, programs_of, words_before
from unitq.orphans.program_match import Releases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from unitq.orphans.evidence import Orphan

MARK = "ORPHAN_TEST"
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
LOOP = "while :; do sleep 0.2; done\n"
PYTHON = "import time\nwhile True:\n    time.sleep(0.2)\n"
PHP = "<?php\nwhile (true) { usleep(200000); }\n"
PERL = "while (1) { select(undef, undef, undef, 0.2); }\n"
AWK = 'BEGIN { while (1) system("sleep 0.2") }\n'
NATIVE = "a copy of sleep"

SCRIPTS = {
    "bash": f"#!/bin/bash\n{LOOP}",
    "sh": f"#!/bin/sh\n{LOOP}",
    "sh with an option": f"#!/bin/sh -e\n{LOOP}",
    "sh with the end of options": f"#!/bin/sh -\n{LOOP}",
    "env bash": f"#!/usr/bin/env bash\n{LOOP}",
    "env -S bash": f"#!/usr/bin/env -S bash -eu -o pipefail\n{LOOP}",
    "python": f"#!{sys.executable}\n{PYTHON}",
    "env python": f"#!/usr/bin/env python3\n{PYTHON}",
    "env -S python": f"#!/usr/bin/env -S python3 -u -W ignore\n{PYTHON}",
    "python with an option": f"#!/usr/bin/python3 -W ignore\n{PYTHON}",
    "php": f"#!/usr/bin/env php\n{PHP}",
    "php with an option": f"#!/usr/bin/php -d memory_limit=64M\n{PHP}",
    "perl": f"#!/usr/bin/perl -w\n{PERL}",
    "awk": f"#!/usr/bin/awk -f\n{AWK}",
    "env -S awk": f"#!/usr/bin/env -S awk -f\n{AWK}",
    "bash that hands over": "#!/bin/bash\nset -e\nexec ./native 600\n",
    "bash that hands over by its own place": (
        '#!/bin/bash\nHERE="$(cd "$(dirname "$0")" && pwd)"\nexec "$HERE/../native" 600\n'
    ),
    "bash that hands over by ${}": '#!/bin/bash\nH=.\nif true; then exec "${H}/native" 600; fi\n',
    "bash that hands over to php": "#!/bin/bash\nexec php -d x=1 worker.php\n",
    "bash that hands over to a script": "#!/bin/bash\nexec bin/other\n",
    "bash with a worker below": "#!/bin/bash\nwhile :; do ./native 600; done\n",
    "bash with php below": "#!/bin/bash\nwhile true; do php worker.php; sleep 1; done\n",
    "bash that goes into a folder": "#!/bin/bash\ncd bin && exec ./native 600\n",
    "bash that goes into its folder": '#!/bin/bash\ncd "$(dirname "$0")"\nexec ./native 600\n',
    "bash that goes into a folder if it is there": (
        "#!/bin/bash\nif [ -d bin ]; then cd bin; fi\nexec ./native 600\n"
    ),
    "bash that goes there and back": (
        "#!/bin/bash\n(cd bin; ls) | wc\ncd bin\ncd ..\nexec ./native 600\n"
    ),
    "bash that goes to a script": "#!/bin/bash\ncd bin || exit 1\nexec ./deeper\n",
    "machine code": NATIVE,
}
# Not by way of bin/worker.
OTHERS = [
    "/bin/sh -c 'cd sub && exec python3 w.py'",
    "/bin/sh -c 'cd sub; exec python3 w.py sms'",
    "/bin/sh -c 'cd {release}/sub && exec python3 ./w.py'",
    "/bin/bash -c '(cd sub && exec python3 w.py)'",
    "/bin/bash -c 'cd bin && exec sh -c \"cd ../sub && exec python3 w.py\"'",
    "/bin/bash -c 'cd sub && cd ../bin && ./native 600; true'",
    "/bin/bash -c 'cd \"$HOME/..$PWD\" && exec python3 sub/w.py'",
    "/bin/bash -c 'exec -a acme {python} sub/w.py sms'",
    "/bin/bash -c 'exec -a acme bash bin/other'",
    "{python} -c 'import time; time.sleep(600)'",
    "{python} -u -W ignore -c 'import time; time.sleep(600)' --queue sms",
    "{python} -uc 'import time; time.sleep(600)' sms",
    "/usr/bin/php -r 'sleep(600);'",
    "/usr/bin/perl -we 'sleep 600'",
]
COMMANDS = [
    "bin/worker",
    "./bin/worker",
    "{release}/bin/worker",
    "bin/worker run --queue=a",
    "-bin/worker",
    "/usr/bin/env bin/worker",
    "/usr/bin/env -i PATH=/usr/bin:/bin {mark} bin/worker",
    "/usr/bin/nice -n 1 bin/worker",
    "/usr/bin/timeout -k 5 600 bin/worker",
    "/usr/bin/flock -s {out}/lock bin/worker",
    "/usr/bin/setsid -w bin/worker",
    "/usr/bin/stdbuf -oL bin/worker",
    "/bin/bash -c 'exec bin/worker'",
    "/bin/sh -c 'cd {release} && bin/worker; true'",
]
# With a script of a shell's, also by its interpreter.
SHELLS = [
    "/bin/bash bin/worker",
    "/bin/bash -eu -o pipefail bin/worker",
    "/bin/sh -x -- bin/worker",
]


class Place(NamedTuple):
    """Where the app's code lies."""

    out: Path
    release: Path
    started: list[subprocess.Popen[bytes]]

    def write(self, name: str, text: str) -> None:
        path = self.release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text == NATIVE:
            shutil.copy(shutil.which("sleep") or "/bin/sleep", path)
        else:
            path.write_text(text)
        path.chmod(0o755)

    def command(self, text: str) -> str:
        return (
            text.replace("{release}", str(self.release))
            .replace("{out}", str(self.out))
            .replace("{mark}", f"{MARK}={os.environ[MARK]}")
            .replace("{python}", sys.executable)
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A release with a worker; what was started there ends with the test."""
    monkeypatch.setenv(MARK, "1")
    release = tmp_path / "releases" / "1"
    release.mkdir(parents=True)
    made = Place(tmp_path, release, [])
    made.write("native", NATIVE)
    made.write("worker.php", PHP)
    made.write("bin/native", NATIVE)
    made.write("bin/deeper", f"#!/bin/sh\n{LOOP}")
    made.write("sub/w.py", PYTHON)
    made.write("bin/other", f"#!/bin/sh\n{LOOP}")
    # What loses its parent becomes ours, in place of PID 1's: so we see what is ours to end.
    assert LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    before = set(children(os.getpid()))
    yield made
    for one in made.started:
        one.kill()
        one.wait(10)
    while left := set(children(os.getpid())) - before:
        for pid in left:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def below(pids: Iterable[int]) -> set[int]:
    """These processes and all below them; zombies have no command line."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children(pid)
    return {pid for pid in found if runs(pid)}


def runs(pid: int) -> bool:
    """Whether it has a command line, which a process lacks for a moment in execve(2), too."""
    until = time.monotonic() + 1
    while not command_line(pid) and alive(pid) and time.monotonic() < until:
        time.sleep(0.001)
    return bool(command_line(pid))


def argv(command: str, release: Path) -> list[str]:
    """As systemd starts it: without its prefix, a relative program taken from the release."""
    words = shlex.split(command.lstrip("-"))
    if "/" in words[0]:
        words[0] = os.path.join(release, words[0].removeprefix("./"))
    return words


def run(words: list[str], place: Place, *, session: bool = False) -> subprocess.Popen[bytes]:
    one = subprocess.Popen(
        words, cwd=place.release, start_new_session=session,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    place.started.append(one)
    return one


FORK = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def start(words: list[str], place: Place) -> dict[str, set[int]]:
    """Starts it in every way that leaves an orphan; by way, its processes."""
    own = os.getpid()
    tops = {
        "a daemon's child": run(words, place),
        "a session of its own": run(words, place, session=True),
        "its main process killed": run(words, place),
        "its shell killed": run(["/bin/bash", "-c", f"{shlex.join(words)}; true"], place),
    }
    before = set(children(own))
    run([sys.executable, "-c", FORK, *words], place).wait(10)
    twice: set[int] = set()
    until = time.monotonic() + 15
    while not twice and time.monotonic() < until:
        time.sleep(0.01)
        new = set(children(own)) - before
        twice = {pid for pid in new if (line := command_line(pid)) and FORK.encode() not in line}
    settled(below({*twice, *(each.pid for each in tops.values())}))
    found = {"forked twice": below(twice)}
    for way, top in tops.items():
        found[way] = below([top.pid])
        # Where the main process is all, there is nothing left to look for.
        if way.endswith("killed") and workers(found[way] - {top.pid}):
            found[way].discard(top.pid)
            top.kill()
            top.wait(10)
    return found


def settled(pids: set[int]) -> None:
    """Waits until each of them runs what it is to run."""
    before: dict[int, bytes] = {}
    until = time.monotonic() + 15
    while time.monotonic() < until:
        now = {pid: command_line(pid) for pid in below(pids)}
        steady = {pid: line for pid, line in now.items() if not passing(line)}
        if steady and steady == before:
            return
        before = steady
        time.sleep(0.04)
    raise AssertionError(f"nothing steady: {before}")


def passing(line: bytes) -> bool:
    """Whether it is the `sleep` of a loop."""
    return b"sleep 0.2" in line.replace(b"\0", b" ")


def command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def app(command: str, place: Place) -> AppProfile:
    releases = Releases((str(place.release),), ((str(place.out / "releases"), ""),))
    found = tuple(programs_of(command, str(place.release), releases, ()))
    work = WorkerProfile("w", found, code=WantedCode("1-aaaaaa", str(place.release)))
    return AppProfile("shop", (work,), releases, {}, frozenset({os.getuid()}))


def judge(of: AppProfile, pids: Iterable[int], cgroup: str = "") -> tuple[Orphan, ...]:
    wanted = process_table.Wanted(
        may_be_one(of.workers), frozenset({"UNITQ_APP"}), words_before(of.workers)
    )
    found = [each for pid in pids if (each := process_table.again(pid, wanted))]
    return find_orphans(of, [replace(each, cgroup=cgroup or each.cgroup) for each in found])


# What stands around a worker is no worker: it is shown neither alone nor with it.
AROUND = ("timeout", "flock", "setsid")


def workers(pids: Iterable[int]) -> set[int]:
    """Those that work, of a command's processes."""
    return {
        pid
        for pid in pids
        if (line := command_line(pid))
        and os.path.basename(line.split(b"\0")[0]).decode() not in AROUND
        and b"\0-c\0" not in line
        and not passing(line)
    }


def forms() -> list[tuple[str, str]]:
    return [
        *((kind, "bin/worker") for kind in SCRIPTS if kind != "machine code"),
        *(("machine code", f"{before}bin/worker 600") for before in ("", "./", "/usr/bin/env ")),
        ("machine code", "/bin/bash -c 'exec -a other bin/worker 600'"),
        *((kind, c) for c in COMMANDS[1:] for kind in ("bash", "awk", "bash that hands over")),
        *((kind, "bin/worker sms") for kind in SCRIPTS if kind != "machine code"),
        *(("bash", command) for command in OTHERS),
        *((kind, command) for command in SHELLS for kind in ("bash", "bash that hands over")),
    ]


@pytest.mark.parametrize(("kind", "command"), forms())
def test_every_form_of_command_is_found_in_every_form_of_orphan(
    kind: str, command: str, place: Place
) -> None:
    place.write("bin/worker", SCRIPTS[kind])
    command = place.command(command)
    of = app(command, place)
    for way, pids in start(argv(command, place.release), place).items():
        orphans = judge(of, pids)
        assert orphans, (way, [command_line(pid) for pid in pids])
        found = {pid for one in orphans for pid in one.pids}
        left = {pid: command_line(pid) for pid in workers(pids) - found}
        assert left == {}, way
        assert {one.release for one in orphans} == {str(place.release)}, way
        # Another cgroup changes nothing, unless it is of a unit of unitq's.
        elsewhere = judge(of, pids, "/system.slice/cron.service")
        assert {one.process.pid for one in elsewhere} == {one.process.pid for one in orphans}
        assert judge(of, pids, "/unitq.slice/unitq-shop.slice/unitq-shop-w@1.service") == ()


def test_a_text_without_a_first_line_is_run_by_a_shell(place: Place) -> None:
    """As by execvp(3); systemd itself refuses it (203/EXEC)."""
    place.write("bin/worker", LOOP)
    of = app("/usr/bin/env bin/worker", place)
    one = run(["/usr/bin/env", "bin/worker"], place)
    settled({one.pid})
    assert [each.process.pid for each in judge(of, [one.pid])] == [one.pid]


LOOK_ALIKES = [
    "tail -f {script}",
    "bash -c 'sleep 600; true' {script}",
    "bash -c 'sleep 600 & wait'",
    "bash -c 'exec -a {script} sleep 600'",
    "bash -c 'exec -a {release}/native sleep 600'",
    "{python} -c 'import time; time.sleep(600)' {script}",
    "awk 'BEGIN { system(\"sleep 600\") }' {script}",
    "sleep 600",
    "bash bin/third",
    "{script} report",
    "{out}/copy/bin/worker",
    "{out}/copy/native 600",
    "timeout 600 tail -f {script}",
]


@pytest.mark.parametrize(
    "kind",
    ["bash", "env python", "awk", "bash that hands over to a script", "bash with a worker below",
     "bash with php below"],
)  # fmt: skip
def test_a_look_alike_is_none(kind: str, place: Place) -> None:
    copy = Place(place.out, place.out / "copy", place.started)
    for each in (place, copy):
        each.write("bin/worker", SCRIPTS[kind])
        each.write("bin/third", f"#!/bin/sh\n{LOOP}")
    copy.write("native", NATIVE)
    copy.write("bin/other", f"#!/bin/sh\n{LOOP}")
    copy.write("worker.php", PHP)
    of = app("bin/worker", place)
    for line in LOOK_ALIKES:
        words = shlex.split(
            place.command(line)
            .replace("{python}", sys.executable)
            .replace("{script}", str(place.release / "bin/worker"))
        )
        if line == "{script} report" and kind in (
            "bash with php below",
            "bash with a worker below",
            "bash that hands over to a script",
        ):
            continue  # what it starts is the worker, whatever it was told itself
        here = copy if "/copy/" in line else place
        one = run(words, here)
        settled({one.pid})
        assert judge(of, below([one.pid])) == (), line
        assert one.poll() is None, line
        one.kill()
        one.wait(10)
