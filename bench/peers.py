"""unitq beside systemctl, Supervisor, circus and pm2: what each takes for the same idle workers.

All manage so many workers at the same time, and are asked in turn, so that what else the machine
does falls on all of them. CPU is that of the command and of what it asks: PID 1, or the manager's
own daemon. A restart of all ends when each worker is another process, and up. A crash is a SIGKILL
to one worker, up to the begin of its successor. Memory is what stays resident to manage them (PSS).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bench.app import Figure, show
from bench.peer_managers import MANAGERS, Unitq, install, wait_for_workers
from bench.report import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.app import Took
    from bench.peer_managers import Peer

SIZES = "20 100 500"
# Of unitq beside another: the most that it may take of what that takes.
FIRST = 1.0
MANY, OF_MANY = 1000, 0.25
RESTART = 1.05

T = TypeVar("T")

_PATIENCE = 600.0
_PAUSE = 1.0  # seconds of quiet before each restart


class Sample(NamedTuple):
    """One run of one command, in seconds."""

    wall: float
    cpu: float  # of the command
    daemon: float  # CPU, of what it asks


class Result(NamedTuple):
    """One manager with so many workers."""

    name: str
    instances: int
    status: tuple[Sample, ...]
    restart: tuple[Sample, ...]
    crash: tuple[float, ...]  # seconds
    memory: int  # bytes

    def to_json(self) -> dict[str, object]:
        return self._asdict() | {
            "status": [sample._asdict() for sample in self.status],
            "restart": [sample._asdict() for sample in self.restart],
        }


def measure(
    instances: int, runs: int, restarts: int, versions: Mapping[str, str | None]
) -> list[Result]:
    """Returns a result for each manager that has a version."""
    peers = [kind(instances) for kind in MANAGERS if versions.get(kind.name)]
    with contextlib.ExitStack() as stack:
        for peer in peers:
            if not isinstance(peer, Unitq):
                peer.prepare()  # else the deploy does
            stack.callback(peer.stop)
            peer.start()
            wait_for_workers(peer, _PATIENCE)
            _say(f"{peer.name}: {instances} workers are up")
        for peer in peers:
            peer.status()  # not counted: files come into the cache
        status = _in_turn(peers, runs, lambda peer: _timed(peer, peer.status))
        restart = _in_turn(peers, restarts, _restart)
        crash = _in_turn(peers, runs, _crash)
        return [
            Result(
                peer.name, instances, tuple(status[peer.name]), tuple(restart[peer.name]),
                tuple(crash[peer.name]), sum(map(_memory, peer.daemons())),
            )
            for peer in peers
        ]  # fmt: skip


def _in_turn(peers: Sequence[Peer], times: int, take: Callable[[Peer], T]) -> dict[str, list[T]]:
    samples: dict[str, list[T]] = {peer.name: [] for peer in peers}
    for _ in range(times):
        for peer in peers:
            samples[peer.name].append(take(peer))
    return samples


def _timed(peer: Peer, command: Callable[[], Took]) -> Sample:
    before = _cpu(peer)
    took = command()
    return Sample(took.wall, took.cpu, _cpu(peer) - before)


def _restart(peer: Peer) -> Sample:
    time.sleep(_PAUSE)
    old, before, began = frozenset(peer.workers()), _cpu(peer), time.time()
    took = peer.restart()
    last = wait_for_workers(peer, _PATIENCE, old)
    sample = Sample(max(took.wall, last - began), took.cpu, _cpu(peer) - before)
    _say(f"{peer.name}: restart of {peer.instances} in {sample.wall:.2f} s")
    return sample


def _crash(peer: Peer) -> float:
    """Kills one worker; returns the seconds until its successor began."""
    time.sleep(_PAUSE)
    victim = min(peer.workers())
    began = time.time()
    os.kill(victim, signal.SIGKILL)
    wait_for_workers(peer, _PATIENCE, frozenset({victim}))
    return max(peer.workers().values()) - began


def _cpu(peer: Peer) -> float:
    """Seconds that the daemons have used."""
    ticks = 0
    for pid in peer.daemons():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """Its proportional set size in bytes (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def table(results: Sequence[Result], versions: Mapping[str, str | None]) -> list[str]:
    """Lines of Markdown: a row for each manager, with a number for each size in a cell."""
    sizes = "/".join(str(size) for size in dict.fromkeys(result.instances for result in results))
    head = (f"{sizes} workers", *(title for title, _, _ in _COLUMNS))
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, version in versions.items():
        own = [result for result in results if result.name == name]
        cells = [
            "/".join(f"{value(result):.{digits}f}" for result in own)
            for _, value, digits in _COLUMNS
        ]
        if not own:
            cells[0] = "not installed"
        title = f"{name} {version or ''}".rstrip()
        lines.append(f"| {' | '.join((title, *cells))} |")
    return lines


def _wall(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.wall for sample in samples)


def _all_cpu(samples: Sequence[Sample]) -> float:
    """Of the command and of what it asks; a mean, as PID 1's is counted in hundredths."""
    return statistics.mean(sample.cpu + sample.daemon for sample in samples)


# Title, what of a result, digits.
_COLUMNS: tuple[tuple[str, Callable[[Result], float], int], ...] = (
    ("status ms", lambda result: 1000 * _wall(result.status), 0),
    ("CPU ms", lambda result: 1000 * _all_cpu(result.status), 0),
    ("restart s", lambda result: _wall(result.restart), 2),
    ("CPU s", lambda result: _all_cpu(result.restart), 2),
    ("crash s", lambda result: statistics.median(result.crash), 2),
    ("MiB", lambda result: result.memory / 2**20, 1),
)


def figures(results: Sequence[Result]) -> list[Figure]:
    """unitq beside the goals: first of all by status, a restart no slower than systemctl's."""
    found = []
    for own in (result for result in results if result.name == "unitq"):
        others = [r for r in results if r.instances == own.instances and r is not own]
        for other in others:
            many = own.instances >= MANY and other.name in ("systemctl", "Supervisor")
            ratio = _wall(own.status) / _wall(other.status)
            cpu = _all_cpu(own.status) / _all_cpu(other.status)
            what = f"status of {own.instances}: unitq beside {other.name}"
            found.append(Figure(what, OF_MANY if many else FIRST, ratio, "", f"CPU {cpu:.2f}"))
            if other.name == "systemctl":
                ratio = _wall(own.restart) / _wall(other.restart)
                cpu = _all_cpu(own.restart) / _all_cpu(other.restart)
                what = f"restart of all {own.instances}: unitq beside systemctl"
                found.append(Figure(what, RESTART, ratio, "", f"CPU {cpu:.2f}"))
    return found


def _say(words: str) -> None:
    print(f"# {words}", file=sys.stderr, flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="bench/run peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sizes", nargs="*", type=int, help=f"workers of each ({SIZES})")
    parser.add_argument("--runs", type=int, default=9, help="of status, and crashes (9)")
    parser.add_argument("--restarts", type=int, default=3, help="of all workers (3)")
    parser.add_argument("--only", help="managers, with commas between: unitq,systemctl,Supervisor")
    parser.add_argument("--json", action="store_true", help="every run, in place of the table")
    chosen = parser.parse_args()
    sizes = chosen.sizes or [int(size) for size in SIZES.split()]
    only = chosen.only.split(",") if chosen.only else [kind.name for kind in MANAGERS]
    kinds = [kind for kind in MANAGERS if kind.name in only]
    with contextlib.redirect_stdout(sys.stderr):
        there = install()
        versions = {kind.name: there.get(kind.name) for kind in kinds}
        for kind in kinds:
            _say(f"{kind.name}: {kind.status_command}; {kind.restart_command}")
        results: list[Result] = []
        for size in sizes:
            results += measure(size, chosen.runs, chosen.restarts, versions)
            _say("\n# ".join(table(results, versions)))  # a long run may be cut short
    if chosen.json:
        document = {
            "benchmark": "peers",
            "machine": machine(),
            "versions": versions,
            "commands": {kind.name: [kind.status_command, kind.restart_command] for kind in kinds},
            "results": [result.to_json() for result in results],
        }
        print(json.dumps(document, indent=1))
        return
    print("\n".join([*table(results, versions), ""]))
    show(figures(results))


if __name__ == "__main__":
    main()
