"""The parts of the test suite, as commands: what `script/test` runs. See there.

`python -m tests.harness.suite PART [ARGUMENT…]`.

How long each file of tests takes is in tests/seconds.json, so that the longest starts first and is
dealt out to several sandboxes, and short files share one. `UNITQ_UPDATE_SECONDS=1 script/test all`
measures it anew.
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
from collections import Counter, defaultdict
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

# Commands side by side. Tests with systemd compute for a third of their time, and wait.
SLOTS = 2 * (os.cpu_count() or 1) + 1
# Seconds of a group of tests: a longer one could be the last, a shorter one pays a boot for little.
MOST = 75.0
# Of a file that nobody has measured yet.
UNKNOWN = 300.0

UNIT = "tests/unit"
MARKED = ("tests/systemd", "tests/reboot", "tests/frameworks")


class Collected:
    """A plugin that notes the tests that pytest has found, with their marks."""

    def __init__(self) -> None:
        self.marks: dict[str, set[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Called by pytest."""
        for item in session.items:
            self.marks[item.nodeid] = {mark.name for mark in item.iter_markers()}


def collect(folders: Sequence[str]) -> dict[str, set[str]]:
    """Returns the tests of these folders, as pytest finds them. Exits where it cannot."""
    found, said = Collected(), io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(["--collect-only", "-q", *folders], plugins=[found])
    if status == pytest.ExitCode.INTERRUPTED:
        sys.exit(128 + signal.SIGINT)
    if status != pytest.ExitCode.OK or not found.marks:
        print(said.getvalue())
        sys.exit("script/test: FAILED: the tests cannot be collected")
    return found.marks


def file_of(test: str) -> str:
    """Returns the file that a test is in."""
    return test.partition("::")[0]


def room_of(test: str) -> str:
    """Returns what has an entry of its own in seconds.json: a room of the unit tests, or a file."""
    file = file_of(test)
    return "/".join(file.split("/")[:3]) if file.startswith(f"{UNIT}/") else file


def costs(tests: Iterable[str], seconds: Mapping[str, float]) -> dict[str, float]:
    """Returns the seconds of each test: all of a file take the same share of what it takes."""
    tests = list(tests)
    counts = Counter(map(file_of, tests))
    return {test: seconds.get(file_of(test), UNKNOWN) / counts[file_of(test)] for test in tests}


def by_file(tests: Mapping[str, float]) -> dict[str, list[str]]:
    """Returns the tests in groups, by name, of at most MOST seconds each.

    Those of a long file are dealt out like cards: each group gets its share of the cases of one
    parametrized test, which take equally long. Short files share a group.
    """
    files = defaultdict(list)
    for test in tests:
        files[file_of(test)].append(test)
    groups = {}
    short = {}
    for file, members in files.items():
        seconds = sum(tests[test] for test in members)
        if seconds < MOST / 2:
            short[file] = seconds
            continue
        count = min(len(members), math.ceil(round(seconds / MOST, 3)))
        for number in range(count):
            name = file if count == 1 else f"{file} ({number + 1} of {count})"
            groups[name] = members[number::count]
    for together in packed(short):
        groups[", ".join(together)] = [test for file in together for test in files[file]]
    return groups


def packed(seconds: Mapping[str, float]) -> list[list[str]]:
    """Returns the names in groups of at most MOST seconds: each into the first that has room."""
    groups: list[tuple[float, list[str]]] = []
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):
        place = next(
            (i for i, (sum_, _) in enumerate(groups) if sum_ + seconds[name] <= MOST), None
        )
        if place is None:
            groups.append((seconds[name], [name]))
        else:
            taken, names = groups[place]
            groups[place] = (taken + seconds[name], [*names, name])
    return [names for _, names in groups]


def by_framework(tests: Iterable[str]) -> dict[str, list[str]]:
    """Returns the tests in groups by their parameter, the framework; or by their own name."""
    groups = defaultdict(list)
    for test in tests:
        name, _, parameter = test.partition("::")[2].partition("[")
        groups[parameter.rstrip("]") or name].append(test)
    return dict(groups)


def by_test(tests: Iterable[str]) -> dict[str, list[str]]:
    """Returns a group for each test."""
    return {test.partition("::")[2]: [test] for test in tests}


class Suite:
    """The jobs of each part."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = seconds
        self._folders: Sequence[str] = MARKED
        self._marks: dict[str, set[str]] | None = None

    def jobs(self, part: str, arguments: Sequence[str]) -> list[Job]:
        """Returns the jobs of a part; the arguments go to pytest."""
        match part:
            case "lint":
                return self.lint()
            case "core":
                return self.core(arguments)
            case "fast":
                return [*self.lint(), *self.core(long=False)]
            case "systemd":
                return self.systemd(arguments)
            case "reboot":
                return self.reboot(arguments)
            case "frameworks":
                return self.frameworks(arguments)
            case "all":
                return [*self.daily(long=True), *self.reboot(), *self.frameworks(quick=True)]
        self._folders = MARKED[:1]
        return self.daily(long=False)

    def daily(self, *, long: bool) -> list[Job]:
        """What a change has to pass before it is proposed; `long` adds tests of that mark."""
        return [*self.lint(), *self.core(long=long), *self.systemd(long=long)]

    def lint(self) -> list[Job]:
        """Style, types, boundaries."""
        commands = {
            "ruff check": ("ruff", "check"), "ruff format": ("ruff", "format", "--check"),
            "mypy": ("mypy",), "import-linter": ("lint-imports",),
        }  # fmt: skip
        return [self._computing(name, *command) for name, command in commands.items()]

    def core(self, arguments: Sequence[str] = (), *, long: bool = True) -> list[Job]:
        """What needs no systemd: a process for several rooms, as one would keep one core busy."""
        title, marks = "tests without systemd", ("systemd", "reboot", "frameworks")
        expression = " and ".join(f"not {mark}" for mark in (*marks, *(() if long else ("long",))))
        command = (*GIVING_WAY, *PYTEST, "-m", expression)
        if arguments:
            return [Job(title, (*command, *arguments))]
        rooms = {
            room: self._seconds.get(room, UNKNOWN)
            for path in Path(UNIT).iterdir()
            if path.is_dir() or path.match("test_*.py")
            if "__pycache__" not in (room := str(path))
        }
        return [
            Job(f"{title}: {', '.join(group)}", command, sum(rooms[r] for r in group), tuple(group))
            for group in packed(rooms)
        ]

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
        grouping: Callable[[Mapping[str, float]], dict[str, list[str]]],
        after: str = "",
    ) -> list[Job]:
        every = costs(self._all(), self._seconds)
        return [
            Job(
                f"{title}: {name}", command, sum(every[test] for test in group), tuple(group), after
            )
            for name, group in grouping({test: every[test] for test in tests}).items()
        ]

    def _marked(self, mark: str) -> list[str]:
        return [test for test in self._all() if mark in self._of(test)]

    def _of(self, test: str) -> set[str]:
        return self._all()[test]

    def _all(self) -> dict[str, set[str]]:
        if self._marks is None:
            self._marks = collect(self._folders)
        return self._marks


def measured(ends: Iterable[End]) -> dict[str, float]:
    """Returns the table: seconds by room or file, or by the name of what is no test."""
    table: dict[str, float] = defaultdict(float)
    for end in ends:
        if not end.job.tests:
            table[end.job.name] += end.seconds
        for file, seconds in end.measured.items():
            table[room_of(file)] += seconds
    return {name: math.ceil(seconds) for name, seconds in sorted(table.items())}


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
