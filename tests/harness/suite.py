"""The parts of the test suite, as commands: what `script/test` runs. See there.

`python -m tests.harness.suite PART [ARGUMENT…]`.

How long each file of tests took is in tests/seconds.json, so that what takes longest is begun first
and is dealt out to several sandboxes. `UNITQ_UPDATE_SECONDS=1 script/test all` measures it anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.pool import Job, Pool, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.harness.pool import End

SECONDS = Path(__file__).resolve().parents[1] / "seconds.json"

PYTEST = (sys.executable, "-m", "pytest")
SANDBOX = ("script/sandbox", "run", "--", "python", "-m", "pytest")
# They only compute. What measures time beside them goes first.
GIVING_WAY = ("nice", "-n", "10")

INSTALLED = "queue frameworks, installed"

# Commands side by side. They mostly wait: one more than there are cores keeps these busy.
SLOTS = (os.cpu_count() or 1) + 1
# No group of tests is to take much longer: it could be the last.
MOST = 100.0
# Of a file that nobody has measured yet.
UNKNOWN = 300.0


class Collected:
    """A plugin that notes the tests that pytest has found, with their marks."""

    def __init__(self) -> None:
        self.marks: dict[str, set[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Called by pytest."""
        for item in session.items:
            self.marks[item.nodeid] = {mark.name for mark in item.iter_markers()}


def collect(expression: str) -> dict[str, set[str]]:
    """Returns the tests of these marks, as pytest finds them. Exits where it cannot."""
    found, said = Collected(), io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(["--collect-only", "-q", "-m", expression], plugins=[found])
    if status == pytest.ExitCode.INTERRUPTED:
        sys.exit(128 + signal.SIGINT)
    if status != pytest.ExitCode.OK or not found.marks:
        print(said.getvalue())
        sys.exit("script/test: FAILED: the tests cannot be collected")
    return found.marks


def file_of(test: str) -> str:
    """Returns the file that a test is in."""
    return test.partition("::")[0]


def by_file(tests: Iterable[str], seconds: Mapping[str, float]) -> dict[str, list[str]]:
    """Returns the tests in groups, by name; those of a long file in several, dealt out like cards.

    So each group gets its share of the cases of one parametrized test, which take equally long.
    """
    files = defaultdict(list)
    for test in tests:
        files[file_of(test)].append(test)
    groups = {}
    for file, members in files.items():
        count = min(len(members), max(1, math.ceil(seconds.get(file, 0.0) / MOST)))
        for number in range(count):
            name = file if count == 1 else f"{file} ({number + 1} of {count})"
            groups[name] = members[number::count]
    return groups


def by_framework(tests: Iterable[str], _seconds: Mapping[str, float]) -> dict[str, list[str]]:
    """Returns the tests in groups by their parameter, the framework; or by their own name."""
    groups = defaultdict(list)
    for test in tests:
        name, _, parameter = test.partition("::")[2].partition("[")
        groups[parameter.rstrip("]") or name].append(test)
    return dict(groups)


def by_test(tests: Iterable[str], _seconds: Mapping[str, float]) -> dict[str, list[str]]:
    """Returns a group for each test."""
    return {test.partition("::")[2]: [test] for test in tests}


def expected(tests: Sequence[str], every: Iterable[str], seconds: Mapping[str, float]) -> float:
    """Returns what a group takes: of each file its share."""
    whole: dict[str, int] = defaultdict(int)
    for test in every:
        whole[file_of(test)] += 1
    return sum(seconds.get(file_of(test), UNKNOWN) / whole[file_of(test)] for test in tests)


class Suite:
    """The jobs of each part."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = seconds
        self._marks: dict[str, set[str]] | None = None

    def jobs(self, part: str, arguments: Sequence[str]) -> list[Job]:
        """Returns the jobs of a part; the arguments go to pytest."""
        match part:
            case "lint":
                return self.lint()
            case "core":
                return self.core(arguments)
            case "fast":
                return [*self.lint(), *self.core()]
            case "systemd":
                return self.systemd(arguments)
            case "reboot":
                return self.reboot(arguments)
            case "frameworks":
                return self.frameworks(arguments)
            case "all":
                return [*self.daily(long=True), *self.reboot(), *self.frameworks(quick=True)]
        return self.daily(long=False)

    def daily(self, *, long: bool) -> list[Job]:
        """What a change has to pass before it is proposed; `long` adds tests of that mark."""
        return [*self.lint(), *self.core(), *self.systemd(long=long)]

    def lint(self) -> list[Job]:
        """Style, types, boundaries."""
        commands = {
            "ruff check": ("ruff", "check"), "ruff format": ("ruff", "format", "--check"),
            "mypy": ("mypy",), "import-linter": ("lint-imports",),
        }  # fmt: skip
        return [self._computing(name, *command) for name, command in commands.items()]

    def core(self, arguments: Sequence[str] = ()) -> list[Job]:
        """What needs no systemd."""
        mark = "not systemd and not reboot and not frameworks"
        return [self._computing("tests without systemd", *PYTEST, "-m", mark, *arguments)]

    def systemd(self, arguments: Sequence[str] = (), *, long: bool = True) -> list[Job]:
        """Against a real systemd: each group in a sandbox of its own."""
        title, command = "tests with systemd", (*SANDBOX, "-m", "systemd")
        if arguments:
            return [Job(title, (*command, *arguments))]
        tests = [test for test in self._marked("systemd") if long or "long" not in self._of(test)]
        return self._groups(title, command, tests, by_file)

    def reboot(self, arguments: Sequence[str] = ()) -> list[Job]:
        """They boot sandboxes themselves, one each."""
        title, command = "tests of reboots", (*PYTEST, "-m", "reboot")
        if arguments:
            return [Job(title, (*command, *arguments))]
        return self._groups(title, command, self._marked("reboot"), by_test)

    def frameworks(self, arguments: Sequence[str] = (), *, quick: bool = False) -> list[Job]:
        """Every queue framework; where one cannot be installed this part fails, and no other."""
        title = "queue frameworks, quick" if quick else "queue frameworks"
        mark = "frameworks and quick" if quick else "frameworks and not quick"
        command = (*SANDBOX, "-m", mark)
        install = Job(INSTALLED, ("script/setup", "frameworks"), self._seconds.get(INSTALLED, 0.0))
        if arguments:
            return [install, Job(title, (*command, *arguments), after=INSTALLED)]
        tests = [t for t in self._marked("frameworks") if ("quick" in self._of(t)) is quick]
        return [install, *self._groups(title, command, tests, by_framework, after=INSTALLED)]

    def _computing(self, name: str, *command: str) -> Job:
        return Job(name, (*GIVING_WAY, *command), self._seconds.get(name, UNKNOWN))

    def _groups(
        self,
        title: str,
        command: tuple[str, ...],
        tests: Sequence[str],
        grouping: Callable[[Iterable[str], Mapping[str, float]], dict[str, list[str]]],
        after: str = "",
    ) -> list[Job]:
        return [
            Job(
                f"{title}: {name}",
                command,
                expected(group, tests, self._seconds),
                tuple(group),
                after,
            )
            for name, group in grouping(tests, self._seconds).items()
        ]

    def _marked(self, mark: str) -> list[str]:
        return [test for test in self._all() if mark in self._of(test)]

    def _of(self, test: str) -> set[str]:
        return self._all()[test]

    def _all(self) -> dict[str, set[str]]:
        if self._marks is None:
            self._marks = collect("systemd or reboot or frameworks")
        return self._marks


def measured(ends: Iterable[End]) -> dict[str, float]:
    """Returns the table: seconds by file, or by the name of what is no test."""
    found: dict[str, float] = defaultdict(float)
    for end in ends:
        files = [file_of(test) for test in end.job.tests] or [end.job.name]
        for file in files:
            found[file] += end.seconds / len(files)
    return {name: math.ceil(seconds) for name, seconds in sorted(found.items())}


def main() -> int:
    """Runs what the command line names; returns what to exit with."""
    part, *arguments = sys.argv[1:]
    begun = time.monotonic()
    pool = Pool(SLOTS)
    known = json.loads(SECONDS.read_text())
    summary = pool.run(Suite(known).jobs(part, arguments))
    if pool.status:
        return pool.status
    if os.environ.get("UNITQ_UPDATE_SECONDS"):
        SECONDS.write_text(f"{json.dumps(known | measured(summary.ends), indent=2)}\n")
    return report(summary, time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
