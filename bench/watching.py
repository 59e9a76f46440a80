"""Where a setup's processes are, looked at from outside 20 times a second.

A process is the setup's if it works in one of its releases: neither a process title nor another
parent changes that. It is *managed* where its manager can find it again: below supervisord in the
tree of processes, or in the cgroup of one of the app's units. Else it is an orphan.

    python -m bench.watching --root /srv/X --out FILE (--supervisord PID | --slice PATH)

writes a line for each look, and ends at SIGTERM. `Watch` runs just that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

INTERVAL = 0.05

_START_TIMEOUT = 30.0


class Process(NamedTuple):
    """One process of the setup."""

    pid: int
    parent: int
    cgroup: str


class Sample(NamedTuple):
    """One look: the PIDs of all the setup's processes. A unix time."""

    at: float
    managed: frozenset[int]
    orphans: frozenset[int]


class Home(NamedTuple):
    """Whose processes are managed: those below a process, or those of a slice's services."""

    supervisord: int = 0
    slice: str = ""

    def holds(self, process: Process, found: Mapping[int, Process]) -> bool:
        """Whether this process, one of those found, is managed."""
        if self.slice:
            within = process.cgroup.startswith(f"{self.slice}/")
            return within and ".service" in process.cgroup[len(self.slice) :]
        parent = process.parent
        while parent in found:
            parent = found[parent].parent
        return parent == self.supervisord

    @property
    def arguments(self) -> tuple[str, ...]:
        """As the command line has it."""
        return ("--slice", self.slice) if self.slice else ("--supervisord", str(self.supervisord))


def look(root: Path, home: Home) -> Sample:
    """Look once."""
    at = time.time()
    found = {process.pid: process for process in _below(f"{root}/")}
    managed = frozenset(pid for pid, process in found.items() if home.holds(process, found))
    return Sample(at, managed, frozenset(found) - managed)


def _below(directory: str) -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        # One that ends while it is looked at, or is a zombie, works nowhere.
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/{name}/cwd").startswith(directory):
                continue
            with open(f"/proc/{name}/stat") as file:
                state, parent, *_ = file.read().rpartition(")")[2].split()
            with open(f"/proc/{name}/cgroup") as file:
                cgroup = next((line[3:].rstrip("\n") for line in file if line[:3] == "0::"), "")
            if state not in "ZX":
                yield Process(int(name), int(parent), cgroup)


class Watch:
    """Looks for as long as the context lasts, from a process of its own."""

    def __init__(self, root: Path, home: Home, out: Path) -> None:
        self._out = out
        self._command = (
            *(sys.executable, "-m", "bench.watching", "--root", str(root), "--out", str(out)),
            *home.arguments,
        )
        self._process: subprocess.Popen[str] | None = None

    def samples(self) -> tuple[Sample, ...]:
        """What was seen."""
        lines = [json.loads(line) for line in self._out.read_text().splitlines()]
        return tuple(
            Sample(at, frozenset(managed), frozenset(orphans)) for at, managed, orphans in lines
        )

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_TIMEOUT)
        if not ready or self._process.stdout.readline() != "ready\n":
            self._process.kill()
            self._process.wait()
            raise RuntimeError("nothing is being watched")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(_START_TIMEOUT)
        assert self._process.stdout is not None
        self._process.stdout.close()
        if status != 0 and error is None:
            raise RuntimeError(f"the watch broke off: exit {status}")


def main() -> None:
    """Look until SIGTERM."""
    parser = argparse.ArgumentParser(prog="bench.watching", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--supervisord", type=int, default=0)
    parser.add_argument("--slice", default="")
    chosen = parser.parse_args()
    home = Home(chosen.supervisord, chosen.slice)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    # Ctrl-C is for the benchmark, which ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(PermissionError):
        # What the machine does besides is for the workers to bear.
        os.nice(-10)
    # A line at a time, so that what is written is whole whatever happens.
    with chosen.out.open("w", buffering=1) as out:
        due = time.monotonic()
        while not stopped.is_set():
            at, managed, orphans = look(chosen.root, home)
            first = out.tell() == 0
            out.write(json.dumps([round(at, 4), sorted(managed), sorted(orphans)]) + "\n")
            if first:
                print("ready", flush=True)
            # A look that comes late does not make the next ones come in a bunch.
            due = max(due + INTERVAL, time.monotonic())
            stopped.wait(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
