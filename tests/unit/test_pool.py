"""How script/test shares the machine between its parts: tests/harness/pool.py and suite.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.pool import AGAIN, End, Job, Pool, failed_tests, next_of, report
from tests.harness.seconds import seconds_of_files
from tests.harness.suite import (
    MOST,
    UNKNOWN,
    Suite,
    by_file,
    by_framework,
    by_test,
    costs,
    measured,
    packed,
)

# --- what is run when -----------------------------------------------------------------------------


def job(name: str, seconds: float = 0.0, after: str = "") -> Job:
    return Job(name, ("true",), seconds, (), after)


def test_the_longest_first_and_what_others_wait_for_takes_as_long_as_they_do() -> None:
    waiting = [job("short", 1), job("long", 9), job("setup", 2), job("needs", 8, "setup")]
    begun: list[str] = []
    while (found := next_of(waiting, begun)) is not None:
        waiting.remove(found)
        begun.append(found.name)
    assert begun == ["setup", "long", "needs", "short"]
    assert next_of([job("needs", 8, "setup")], ["other"]) is None
    assert next_of([], []) is None


TESTS = ["t.py::a", "t.py::a[1]", "t.py::a[1] - b]", "t.py::a b", "u.py::a", "unit/cli", "v.py"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("FAILED t.py::a - assert 1 == 2", "t.py::a"),
        ("FAILED t.py::a", "t.py::a"),
        ("ERROR t.py::a - no sandbox", "t.py::a"),
        ("FAILED t.py::a[1] - AssertionError", "t.py::a[1]"),
        # A parameter may hold what divides a name from its message.
        ("FAILED t.py::a[1] - b] - KeyError", "t.py::a[1] - b]"),
        ("FAILED t.py::a b - KeyError: 'x'", "t.py::a b"),
        # Of a folder, or of a file.
        ("FAILED unit/cli/x.py::a[1] - KeyError - 'x'", "unit/cli/x.py::a[1]"),
        ("ERROR v.py::b", "v.py::b"),
        ("FAILED unit/client/x.py::a", None),
        ("FAILED t.py::other - it is not of this job", None),
        ("XFAIL t.py::a - known", None),
        ("E   FAILED t.py::a", None),
    ],
)
def test_what_failed_is_read_from_the_summary(line: str, found: str | None) -> None:
    expected_tests = (found,) if found else ()
    assert failed_tests(f"..F\n{line}\n{line}\n1 failed", TESTS) == expected_tests


def test_long_files_are_dealt_out_and_no_test_is_forgotten() -> None:
    tests = [f"tests/{file}.py::t[{n}]" for file in ("long", "short", "new") for n in range(7)]
    seconds = {"tests/long.py": 2 * MOST + 1, "tests/short.py": MOST}
    cost = costs(tests, seconds)
    assert sum(cost.values()) == pytest.approx(2 * MOST + 1 + MOST + UNKNOWN)
    assert cost["tests/new.py::t[1]"] == pytest.approx(UNKNOWN / 7)
    groups = by_file(cost)
    new = [f"tests/new.py ({n} of 4)" for n in (1, 2, 3, 4)]
    long = [f"tests/long.py ({n} of 3)" for n in (1, 2, 3)]
    assert sorted(groups) == [*long, *new, "tests/short.py"]
    assert sorted(test for group in groups.values() for test in group) == sorted(tests)
    assert [len(groups[name]) for name in long] == [3, 2, 2]
    # Never more groups than tests.
    assert len(by_file({tests[0]: 1e6})) == 1
    # What does not run today costs nothing.
    assert list(by_file({test: cost[test] for test in tests[:2]})) == ["tests/long.py"]


def test_short_files_share_a_sandbox() -> None:
    seconds = {"a.py": MOST / 3, "b.py": MOST / 3, "c.py": MOST / 4, "d.py": 1.0, "long.py": MOST}
    tests = [f"{file}::t[{n}]" for file in seconds for n in range(2)]
    groups = by_file(costs(tests, seconds))
    assert sorted(groups) == ["a.py, b.py, c.py, d.py", "long.py"]
    assert sorted(test for group in groups.values() for test in group) == sorted(tests)
    assert packed({"a": MOST, "b": 1.0, "c": 2 * MOST, "d": MOST - 1}) == [["c"], ["a"], ["d", "b"]]
    assert packed({}) == []


def test_every_room_of_the_unit_tests_is_in_one_process() -> None:
    rooms = [room for job in Suite({}).core(long=False) for room in job.tests]
    files = Path("tests/unit").rglob("test_*.py")
    assert all(sum(path.is_relative_to(room) for room in rooms) == 1 for path in files)


def test_the_seconds_of_files_are_read_from_what_pytest_prints() -> None:
    output = "..F\nseconds of tests/unit/cli/test_a.py: 1.20\nseconds of tests/b.py: 3.00\n1 failed"
    found = seconds_of_files(output)
    assert found == {"tests/unit/cli/test_a.py": 1.2, "tests/b.py": 3.0}
    again = {"tests/unit/cli/test_c.py": 2.1, "tests/b.py": 0.5}
    ends = [
        End(Job("one", (), tests=("t",)), 0, 9.0, measured=found),
        End(Job("two", (), tests=("t",)), 0, 9.0, measured=again),
        End(Job("mypy", ()), 0, 6.5),
    ]
    assert measured(ends) == {"mypy": 7, "tests/b.py": 4, "tests/unit/cli": 4}


def test_frameworks_and_reboots() -> None:
    tests = ["f.py::proof[rq]", "f.py::proof[celery]", "f.py::more[rq]", "f.py::alone"]
    assert by_framework(tests) == {
        "rq": ["f.py::proof[rq]", "f.py::more[rq]"], "celery": ["f.py::proof[celery]"],
        "alone": ["f.py::alone"],
    }  # fmt: skip
    assert list(by_test(tests).values()) == [[test] for test in tests]


# --- how it is run --------------------------------------------------------------------------------


def shell(name: str, script: str, *tests: str, after: str = "", seconds: float = 0.0) -> Job:
    return Job(name, ("/bin/sh", "-c", script, "sh"), seconds, tests, after)


def test_what_they_print_is_not_mixed_and_never_more_run_than_there_are_slots(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    count = f"ls {tmp_path} | wc -l >> {tmp_path}/../most"
    script = f"touch {tmp_path}/$$; for i in 1 2 3; do echo $0 $i; sleep 0.05; {count}; done"
    jobs = [
        Job(f"job {n}", ("/bin/sh", "-c", f"{script}; rm {tmp_path}/$$; exit {n % 2}", f"job-{n}"))
        for n in range(6)
    ]
    summary = Pool(3).run(jobs)
    assert sorted(summary.failed) == ["job 1", "job 3", "job 5"]
    printed = capfd.readouterr().out
    for n in range(6):
        assert f"\n=== job {n}\njob-{n} 1\njob-{n} 2\njob-{n} 3\n--- job {n}: " in printed
    assert re.search("^--- job 1: FAILED with status 1, [0-9]+ s$", printed, re.MULTILINE)
    assert re.search("^--- job 2: ok, [0-9]+ s$", printed, re.MULTILINE)
    seen = {int(line) for line in (tmp_path.parent / "most").read_text().split()}
    assert max(seen) == 3
    assert report(summary, 1.0) == 1


def fails_once(mark: Path, *tests: str) -> str:
    """A shell script like pytest: these tests fail if it was not run before."""
    lines = "".join(f"echo 'FAILED {test} - busy'; " for test in tests)
    return f'echo ran "$@"; test -e {mark} || {{ touch {mark}; {lines}exit 1; }}'


def test_only_the_failed_test_is_run_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = fails_once(tmp_path / "mark", "t::b")
    jobs = [shell("one", script, "t::a", "t::b", "t::c"), shell("two", "true", "t::d")]
    summary = Pool(2).run(jobs)
    printed = capfd.readouterr().out
    assert (summary.failed, summary.only_alone) == ([], ["t::b"])
    assert "ran t::a t::b t::c\n" in printed
    assert "=== one, again and alone\nran t::b\n--- one, again and alone: ok" in printed
    assert report(summary, 7.4) == 0
    told = capfd.readouterr().out
    assert "failed beside others, passed alone: t::b\n" in told
    assert "all passed, 7 s" in told


def test_what_fails_again_has_failed(tmp_path: Path) -> None:
    always = "echo FAILED t::b; exit 1"
    summary = Pool(2).run([shell("one", always, "t::a", "t::b"), shell("two", "true", "t::d")])
    assert (summary.failed, summary.only_alone) == (["one"], [])


def test_many_failures_are_not_the_machines(tmp_path: Path) -> None:
    tests = [f"t::{n}" for n in range(AGAIN + 1)]
    jobs = [
        shell("one", fails_once(tmp_path / "one", *tests[:2]), *tests[:2]),
        shell("two", fails_once(tmp_path / "two", *tests[2:]), *tests[2:]),
    ]
    summary = Pool(2).run(jobs)
    assert (sorted(summary.failed), summary.only_alone) == (["one", "two"], [])
    assert sum(len(end.failed) for end in summary.ends) == AGAIN + 1


def test_a_sandbox_that_does_not_boot_gets_a_second_chance(tmp_path: Path) -> None:
    jobs = [shell("one", fails_once(tmp_path / "mark"), "t::a", "t::b"), shell("two", "true")]
    summary = Pool(2).run(jobs)
    assert (summary.failed, summary.only_alone) == ([], ["one"])


def test_what_computes_is_not_repeated(tmp_path: Path) -> None:
    summary = Pool(2).run([shell("lint", fails_once(tmp_path / "mark")), shell("two", "true")])
    assert (summary.failed, summary.only_alone) == (["lint"], [])


@pytest.mark.parametrize("slots", [1, 3])
def test_what_needs_another_runs_after_it_or_not_at_all(
    slots: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        shell("bad", "sleep 0.1; exit 1"), shell("good", f"sleep 0.1; touch {tmp_path}/good"),
        shell("vain", "echo never", after="bad", seconds=9),
        shell("follows", f"test -e {tmp_path}/good", after="good", seconds=9),
    ]  # fmt: skip
    summary = Pool(slots).run(jobs)
    assert sorted(summary.failed) == ["bad", "vain (not run)"]
    assert "never" not in capfd.readouterr().out
    assert len(summary.ends) == 3


# --- and how it ends ------------------------------------------------------------------------------

DRIVER = """
import sys
from tests.harness.pool import Job, Pool
script = "trap 'echo cleaned > $0.clean; exit 1' INT TERM; touch $0; while :; do sleep 0.05; done"
jobs = [Job(n, ("/bin/sh", "-c", script, f"{sys.argv[1]}/{n}")) for n in ("a", "b", "c")]
pool = Pool(2)
pool.run(jobs)
sys.exit(pool.status)
"""


@pytest.mark.parametrize(
    ("number", "everybody"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)],
    ids=["Ctrl-C", "TERM", "HUP"],
)
def test_a_signal_ends_all_of_it_and_nothing_is_left(
    number: signal.Signals, everybody: bool, tmp_path: Path
) -> None:
    """A terminal tells everybody in it; a `kill` the one process alone."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        start_new_session=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (os.killpg if everybody else os.kill)(driver.pid, number)
    out, _ = driver.communicate(timeout=30)
    assert driver.returncode == 128 + number
    # The third was never begun, and the others could clean up and say how they ended.
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == ["b", "b.clean", "c", "c.clean"]
    assert out.count("FAILED with status 1") == 2
    with pytest.raises(ProcessLookupError):
        os.killpg(driver.pid, 0)
