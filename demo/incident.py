"""The case that unitq exists for, first as it happened, then with unitq. See `script/demo --help`.

Four PHP workers take text messages from a queue in Redis; each has read the text when it started.
They are started through `bash -c`. Jobs flow in all the time while the text changes and the
workers are restarted. Then it is counted what became of the jobs and of the processes: from Redis,
from /proc and from an observer process of its own, never from what unitq says.

Exits with 0 if every promise was kept, with 1 if one was broken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from demo import verdict
from demo.narrator import Narrator
from demo.shop import COMMAND, INSTANCES, MAX_UNAVAILABLE, MIN_HEALTHY, USER, Shop
from demo.verdict import Counts, Promises, Restart, Watched
from tests.harness import leftovers
from tests.harness.load import Load, Tally
from tests.harness.observer import Observer
from tests.harness.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.harness.leftovers import Process

_UNITQ = str(Path(sys.executable).with_name("unitq"))

# Seconds that a job takes.
_SHORTEST, _LONGEST = 0.1, 0.6

# Jobs go on for so long after each restart: among them those with an old text would show.
_AFTER = 2.0

_DRAIN_TIMEOUT = 20.0
_START_TIMEOUT = 15.0
_COMMAND_TIMEOUT = 120.0

# What a restart may take for each turn of its window, besides the job in hand and min_healthy.
_SLACK = 5.0


class Incident:
    """A restart as a supervisor does it that knows parent and child, but not what is below."""

    def __init__(self, shop: Shop, redis: RedisServer, narrator: Narrator, rate: float) -> None:
        self._shop = shop
        self._redis = redis
        self._narrator = narrator
        self._rate = rate
        self._shells: list[subprocess.Popen[bytes]] = []

    def run(self) -> Counts:
        """Start, restart, count, and clean up."""
        say = self._narrator.say
        prefix = "incident"
        self._shop.release()
        load = Load(
            self._redis.client, rate=self._rate, seconds=(_SHORTEST, _LONGEST), prefix=prefix
        )
        try:
            self._start(prefix)
            say(f'{INSTANCES} workers run: bash -c "{COMMAND}", each in {self._shop.current}.')
            with load:
                time.sleep(_AFTER / 2)
                restart = self._restart(prefix)
                time.sleep(_AFTER)
            tally = _drained(load)
            found = leftovers.find(directory=self._shop.root)
            counts = _counts(tally, [restart], [restart.seconds], *_old(found, self._shop))
            orphans = [each for each in found if each.parent == 1]
        finally:
            self._clean_up()
        say(
            f"Seen in /proc: {len(orphans)} of the {counts.processes} worker processes have lost"
            f" their bash, are children of PID 1 now, and go on taking jobs."
        )
        say(
            f"Seen in Redis: {counts.stale} of the {counts.judged} jobs begun after that restart"
            f" went out with the old text."
        )
        return counts

    def _restart(self, prefix: str) -> Restart:
        say = self._narrator.say
        changed = time.time()
        self._shop.release()
        say(f'The text changes to "{self._shop.text}". Each bash is sent SIGTERM.')
        began = time.time()
        old, self._shells = self._shells, []
        for shell in old:
            shell.terminate()
        died = sum(shell.wait(_START_TIMEOUT) == -signal.SIGTERM for shell in old)
        say(f"{died} of {len(old)} have died of it. Nobody has told the workers below them.")
        self._start(prefix)
        ended = time.time()
        say(f"{INSTANCES} new ones are started: a supervisor would now say that all is well.")
        return Restart(self._shop.text, changed, began, ended)

    def _start(self, prefix: str) -> None:
        registered = self._registered(prefix)
        environment = {
            "PATH": os.defpath,
            "QUEUE": "sms",
            "REDIS_BACKEND": self._redis.address,
            "PREFIX": prefix,
        }
        for _ in range(INSTANCES):
            shell = subprocess.Popen(
                ["bash", "-c", COMMAND],
                cwd=self._shop.current,
                env=environment,
                user=USER,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._shells.append(shell)
        _wait(
            lambda: len(self._registered(prefix) - registered) == INSTANCES,
            _START_TIMEOUT,
            f"{INSTANCES} workers registered in Redis",
        )

    def _registered(self, prefix: str) -> set[str]:
        return cast("set[str]", self._redis.client.smembers(f"{prefix}:workers"))

    def _clean_up(self) -> None:
        _end_all(self._shop.root)
        for shell in self._shells:
            shell.wait(_START_TIMEOUT)


class Cure:
    """The same workers, the same changes, with unitq."""

    def __init__(self, app: str, shop: Shop, redis: RedisServer, narrator: Narrator) -> None:
        self._app = app
        self._shop = shop
        self._redis = redis
        self._narrator = narrator
        self._restarts: list[Restart] = []
        self._codes: list[int] = []
        self._processes = self._old = self._outside = 0

    def run(self, deploys: int, rate: float) -> tuple[Counts, Watched]:
        """Deploy, then deploy so many changes of the text, and count."""
        say = self._narrator.say
        self._shop.release()
        say(f"Release {self._shop.number} is in place; unitq.toml is written:")
        for line in self._shop.configure(self._app, self._redis.address).splitlines():
            self._narrator.show(line)
        load = Load(self._redis.client, rate=rate, seconds=(_SHORTEST, _LONGEST))
        with tempfile.TemporaryDirectory(prefix="unitq-demo-") as scratch, ExitStack() as stack:
            observer = Observer(self._app, Path(scratch, "observed"))
            stack.enter_context(observer)
            stack.callback(self._clean_up)
            say(
                "An observer process listens to systemd and samples the cgroups 20 times a second."
                f" From now on {rate:g} jobs a second come in, of {_SHORTEST:g} to {_LONGEST:g} s."
            )
            with load:
                self._deploy(time.time())
                start = time.time()
                self._pause(load)
                # Where nothing got to run there is nothing to restart either.
                for _ in range(deploys if self._codes == [0] else 0):
                    changed = time.time()
                    self._shop.release()
                    say(f'The text changes to "{self._shop.text}"; `current` is moved to it.')
                    self._deploy(changed)
                    summary = observer.summary(self._restarts[-1].began, self._restarts[-1].ended)
                    say(
                        f"Observed: {self._restarts[-1].seconds:.1f} s,"
                        f" never fewer than {summary.least_active('sms')} workers serving."
                    )
                    self._pause(load)
                end = time.time()
            tally = _drained(load)
            say("No more jobs come in, and the queue is empty.")
            self._unitq("status")
            least = observer.summary(start, end).least_active("sms")
        # The first deploy had nothing to restart.
        seconds = [restart.seconds for restart in self._restarts[1:]]
        counts = _counts(tally, self._restarts, seconds, self._processes, self._old)
        return counts, Watched(self._outside, least, tuple(self._codes))

    def _deploy(self, changed: float) -> None:
        began = time.time()
        self._unitq("deploy")
        self._restarts.append(Restart(self._shop.text, changed, began, time.time()))
        found = leftovers.find(directory=self._shop.root, cgroup=leftovers.slice_path(self._app))
        processes, old = _old(found, self._shop)
        outside = len(leftovers.outside(found, leftovers.slice_path(self._app)))
        self._processes += processes
        self._old += old
        self._outside += outside
        self._narrator.say(
            f"Seen in /proc: {processes} worker processes, {outside} outside the app's cgroups,"
            f" {old} of an old release."
        )

    def _pause(self, load: Load) -> None:
        time.sleep(_AFTER)
        judged, stale = verdict.stale(load.tally().runs, self._restarts[-1:])
        self._narrator.say(
            f"Seen in Redis: {len(judged)} jobs were begun since,"
            f" {len(stale)} of them with an old text."
        )

    def _unitq(self, *arguments: str) -> None:
        self._narrator.say(f"$ unitq {' '.join(arguments)}")
        with subprocess.Popen(
            [_UNITQ, *arguments],
            cwd=self._shop.root,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            # One that hangs is killed, and counts as failed.
            watchdog = threading.Timer(_COMMAND_TIMEOUT, process.kill)
            watchdog.start()
            for line in process.stdout:
                self._narrator.show(line.rstrip("\n"))
            code = process.wait()
            watchdog.cancel()
        self._codes.append(code)
        if code != 0:
            self._narrator.show(f"(exit code {code})")

    def _clean_up(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [_UNITQ, "remove", "--yes"],
                cwd=self._shop.root,
                env=_environment(),
                check=False,
                timeout=_COMMAND_TIMEOUT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
        _end_all(self._shop.root)


def _environment() -> dict[str, str]:
    """Ours, but for what would point unitq at another configuration file."""
    return {name: value for name, value in os.environ.items() if name != "UNITQ_CONFIG"}


def _old(found: Sequence[Process], shop: Shop) -> tuple[int, int]:
    """How many there are, and how many work in another release than the current one.

    The working directory is what a process read its code from, and nothing can change it but the
    process itself. One that has none is about to end.
    """
    current = str(shop.current.resolve())
    known = [each for each in found if each.directory]
    return len(known), sum(each.directory != current for each in known)


def _counts(
    tally: Tally,
    restarts: Sequence[Restart],
    seconds: Iterable[float],
    processes: int,
    old: int,
) -> Counts:
    judged, stale = verdict.stale(tally.runs, restarts)
    return Counts(
        enqueued=tally.enqueued,
        finished=tally.finished,
        lost=len(tally.lost),
        twice=len(tally.twice),
        judged=len(judged),
        stale=len(stale),
        processes=processes,
        old=old,
        seconds=tuple(seconds),
    )


def _drained(load: Load) -> Tally:
    try:
        return load.wait_drained(_DRAIN_TIMEOUT)
    except TimeoutError:
        # What is not finished by now counts as that.
        return load.tally()


def _wait(done: Callable[[], bool], timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {timeout:g} s: {what}")
        time.sleep(0.02)


def _end_all(directory: Path) -> None:
    """End the workers below the directory, one by one, whoever their parents are by now."""
    for process in leftovers.find(directory=directory):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    leftovers.wait_gone(lambda: leftovers.find(directory=directory), _START_TIMEOUT)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--deploys", type=int, default=3, metavar="N")
    parser.add_argument("--rate", type=float, default=8.0, metavar="JOBS")
    parser.add_argument("--app", default="shop", metavar="NAME")
    chosen = parser.parse_args()
    if chosen.deploys < 1 or chosen.rate <= 0:
        parser.error("--deploys and --rate must be positive")
    return chosen


def run(app: str, deploys: int, rate: float, narrator: Narrator) -> int:
    """Tell the whole story, and return the exit status."""
    root = Path("/srv", app)
    with ExitStack() as stack:
        shop = Shop(root)
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        redis = stack.enter_context(RedisServer())
        narrator.say(
            f"A shop sends text messages from a queue in Redis (a private one, at {redis.address})."
            f" {INSTANCES} PHP workers take them; each reads the text once, when it starts."
        )
        narrator.heading("The incident: what restarting bash does to the worker below it")
        # Twice the workers will be there in the end, and shall all have something to do.
        incident = Incident(shop, redis, narrator, 2 * rate).run()
        narrator.heading("The same workers, the same bash, with unitq")
        seen, watched = Cure(app, shop, redis, narrator).run(deploys, rate)
    turns = INSTANCES / MAX_UNAVAILABLE
    promises = Promises(INSTANCES, MAX_UNAVAILABLE, turns * (_LONGEST + MIN_HEALTHY + _SLACK))
    rows = verdict.verdict(seen, watched, promises, incident)
    narrator.heading("What happened, counted in Redis, in /proc and by the observer")
    narrator.table(verdict.table(rows))
    status = verdict.exit_status(rows)
    broken = [row.what for row in rows if not row.kept]
    narrator.verdict(
        f"BROKEN: {'; '.join(broken)}" if broken else "Every promise was kept.", good=not broken
    )
    return status


def main() -> int:
    """Run the demo from the command line."""
    chosen = _arguments()
    if "UNITQ_SANDBOX" not in os.environ:
        print("demo: this wants a systemd of its own: script/demo boots one", file=sys.stderr)
        return 2
    # The workers run as another user and have to read what is laid out here.
    os.umask(0o022)
    try:
        return run(chosen.app, chosen.deploys, chosen.rate, Narrator())
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
