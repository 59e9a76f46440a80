"""Commands side by side: never more than there are slots, and those that take longest first.

What one prints is shown whole once it has ended, so that nothing is mixed; where there is one slot
only, as it comes. Tests that failed beside others are run again, alone: a busy machine fails tests
that measure time. More than a few such failures are not the machine's.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.seconds import seconds_of_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import FrameType

# So many tests are run again: more are a failure.
AGAIN = 6


@dataclass(frozen=True)
class Job:
    """A command, and what is known of it before it has run."""

    name: str
    command: tuple[str, ...]
    seconds: float = 0.0
    """What it is expected to take."""
    tests: tuple[str, ...] = ()
    """The tests that it runs, or their folders: its last arguments. Each test may be repeated."""
    after: str = ""
    """The name of the job without whose good end it cannot run."""

    @property
    def argv(self) -> tuple[str, ...]:
        """Returns all words of the command."""
        return (*self.command, *self.tests)


@dataclass(frozen=True)
class End:
    """How a job ended."""

    job: Job
    status: int
    seconds: float
    failed: tuple[str, ...] = ()
    """Of its tests, as pytest's summary has them."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Seconds by file of tests, as tests/harness/seconds.py prints them."""


@dataclass
class Summary:
    """What became of all jobs."""

    ends: list[End] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Jobs, by name."""
    only_alone: list[str] = field(default_factory=list)
    """Tests, or jobs, that failed beside others and passed alone."""


def next_of(waiting: Iterable[Job], good: Iterable[str]) -> Job | None:
    """Returns what is to be started next; None: all of these wait for another's end.

    What others wait for takes as long as they do, too.
    """
    waiting, good = list(waiting), set(good)

    def length(job: Job) -> float:
        behind = [other.seconds for other in waiting if other.after == job.name]
        return job.seconds + max(behind, default=0.0)

    ready = [job for job in waiting if not job.after or job.after in good]
    return max(ready, key=lambda job: (length(job), job.name), default=None)


def failed_tests(output: str, tests: Sequence[str]) -> tuple[str, ...]:
    """Returns those of the tests that the summary of `pytest -ra` calls failed."""
    found = {}
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("FAILED", "ERROR"):
            # What stands behind it may be anything, and so may be a parameter.
            named = [t for t in tests if rest == t or rest.startswith(f"{t} - ")]
            if any(rest.startswith((f"{t}/", f"{t}::")) for t in tests):  # a folder, or a file
                named.append(rest.partition(" - ")[0])
            found.update(dict.fromkeys(sorted(named, key=len)[-1:]))
    return tuple(found)


class Pool:
    """Runs jobs, and says at once how each has ended."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: dict[int, tuple[Job, subprocess.Popen[bytes], Path | None, float]] = {}
        self._logs = tempfile.TemporaryDirectory(prefix="unitq-test-")
        self._count = 0
        self.status = 0
        """What to exit with: not 0 once a signal has ended it."""

    def run(self, jobs: Iterable[Job]) -> Summary:
        """Runs all of them, and the failed tests of some again."""
        waiting, summary = list(jobs), Summary()
        before = {
            number: signal.signal(number, self._told)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            with self._logs:
                self._run(waiting, summary)
                if not self.status:
                    self._again(summary)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return summary

    def _run(self, waiting: list[Job], summary: Summary) -> None:
        single = self._slots == 1 or len(waiting) == 1
        good: list[str] = []
        while True:
            while not self.status and len(self._running) < self._slots:
                # In their own order where nothing is gained by another.
                job = next(iter(waiting), None) if single else next_of(waiting, good)
                if job is None:
                    break
                waiting.remove(job)
                self._start(job, shown=single)
            if not self._running:
                return
            end = self._one_ended()
            summary.ends.append(end)
            if end.status == 0:
                good.append(end.job.name)
                continue
            vain = [job for job in waiting if job.after == end.job.name]
            waiting[:] = [job for job in waiting if job not in vain]
            summary.failed += [f"{job.name} (not run)" for job in vain]

    def _again(self, summary: Summary) -> None:
        """Runs what failed once more, if it is little; and says what has failed in the end."""
        bad = [end for end in summary.ends if end.status]
        # One whose summary names none of its tests, as its sandbox did not boot, counts as one.
        number = sum(max(1, len(end.failed)) for end in bad if end.job.tests)
        for end in bad:
            job = end.job
            if not job.tests or self._slots == 1 or number > AGAIN or self.status:
                summary.failed.append(job.name)
                continue
            tests = end.failed or job.tests
            self._start(replace(job, name=f"{job.name}, again and alone", tests=tests), shown=True)
            if self._one_ended().status:
                summary.failed.append(job.name)
            else:
                summary.only_alone += end.failed or [job.name]

    def _start(self, job: Job, *, shown: bool) -> None:
        log = None
        if shown:
            print(f"\n=== {job.name}", flush=True)
            process = subprocess.Popen(job.argv)
        else:
            self._count += 1
            log = Path(self._logs.name) / str(self._count)
            with log.open("wb") as out:
                process = subprocess.Popen(
                    job.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
                )
        self._running[os.pidfd_open(process.pid)] = (job, process, log, time.monotonic())
        if self.status:  # since a moment ago
            self._end(job, process)

    def _one_ended(self) -> End:
        """Waits for one of those that run, and shows what it printed."""
        # A signal does not end the wait: what runs may report, and clean up after itself.
        descriptor = select.select(list(self._running), [], [])[0][0]
        job, process, log, begun = self._running.pop(descriptor)
        os.close(descriptor)
        status, seconds = process.wait(), time.monotonic() - begun
        failed: tuple[str, ...] = ()
        measured: dict[str, float] = {}
        if log is not None:
            output = log.read_text(errors="replace")
            log.unlink()
            print(f"\n=== {job.name}\n{output}", end="" if output.endswith("\n") else "\n")
            failed, measured = failed_tests(output, job.tests), seconds_of_files(output)
        said = "ok" if status == 0 else f"FAILED with status {status}"
        print(f"--- {job.name}: {said}, {seconds:.0f} s", flush=True)
        return End(job, status, seconds, failed, measured)

    def _told(self, number: int, _frame: FrameType | None) -> None:
        """Starts nothing more. A terminal tells those that run as well; else that is done here."""
        self.status = 128 + number
        for job, process, _, _ in list(self._running.values()):
            self._end(job, process)

    def _end(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        if self.status != 128 + signal.SIGINT:
            # pytest cleans up after Ctrl-C only.
            sandbox = "script/sandbox" in job.command
            process.send_signal(signal.SIGTERM if sandbox else signal.SIGINT)


def report(summary: Summary, seconds: float) -> int:
    """Prints the end of it all; returns what to exit with."""
    print()
    if summary.only_alone:
        print(f"script/test: failed beside others, passed alone: {', '.join(summary.only_alone)}")
    if summary.failed:
        print(f"script/test: FAILED: {'; '.join(summary.failed)}")
        return 1
    print(f"script/test: all passed, {seconds:.0f} s")
    return 0
