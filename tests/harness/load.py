"""Jobs for the workers, and the count of what became of them.

Everything is counted from what the workers leave in Redis: `begun` when a child starts on a job,
`sent` when the message is out (see tests/workers/resque.php). The enqueued jobs are noted there
too, in the same transaction that enqueues them, so that any process can count.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import redis

# One atomic look at everything: read one key after the other and a job that moves meanwhile is
# seen twice, or not at all.
_LOOK = """
local p = ARGV[1] .. ':'
local function list(key) return redis.call('LRANGE', p .. key, 0, -1) end
local waiting = {}
for _, queue in ipairs(redis.call('SMEMBERS', p .. 'queues')) do
  for _, job in ipairs(list('queue:' .. queue)) do waiting[#waiting + 1] = job end
end
local hands = {}
for _, worker in ipairs(redis.call('SMEMBERS', p .. 'workers')) do
  local job = redis.call('GET', p .. 'worker:' .. worker)
  if job then hands[#hands + 1] = worker; hands[#hands + 1] = job end
end
return {list('enqueued'), list('begun'), list('sent'), list('failed'), waiting, hands}
"""

# A job that is popped and not yet registered as in hand is nowhere for a moment.
_SETTLE = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was enqueued."""

    id: str
    queue: str
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Run:
    """One child's work on a job. `sent` is None if it did not get to the end."""

    id: str
    text: str
    pid: int
    child: int
    revision: str
    instance: str
    begun: float
    sent: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the jobs. Times are unix times."""

    jobs: tuple[Job, ...]
    runs: tuple[Run, ...]
    finished_ids: frozenset[str]
    waiting: tuple[str, ...]
    """Not finished, still in a queue."""
    in_hand: tuple[str, ...]
    """Not finished, registered by a worker that is alive."""
    lost: tuple[str, ...]
    """Enqueued or begun, and neither finished, nor in hand, nor waiting."""
    failed: tuple[str, ...]
    """Those of the lost that are at least in Resque's failed list."""
    twice: tuple[str, ...]
    """Begun or sent more than once: the customer has two messages, or nearly."""

    @property
    def enqueued(self) -> int:
        """The number of jobs enqueued."""
        return len(self.jobs)

    @property
    def finished(self) -> int:
        """The number of jobs whose message went out, each counted once."""
        return len(self.finished_ids)

    @property
    def drained(self) -> bool:
        """Nothing waits and nobody works."""
        return not self.waiting and not self.in_hand

    def stale_after(self, moment: float, new_text: str) -> tuple[Run, ...]:
        """The runs begun after the moment with another text than the new one."""
        return tuple(run for run in self.runs if run.begun > moment and run.text != new_text)

    def __str__(self) -> str:
        return (
            f"{self.enqueued} enqueued, {self.finished} finished, {len(self.lost)} lost"
            f" ({len(self.failed)} of them in the failed list), {len(self.twice)} run twice,"
            f" {len(self.waiting)} waiting, {len(self.in_hand)} in hand"
        )


def tally(
    client: redis.Redis,
    prefix: str = "resque",
    alive: Callable[[int], bool] | None = None,
) -> Tally:
    """Count now. `alive` tells whether a worker's PID is one; by default /proc here is asked.

    What a killed worker had in hand stays registered until another worker prunes it: it is lost
    all the same.
    """
    alive = alive or _alive
    look = cast("list[list[str]]", client.eval(_LOOK, 0, prefix))
    enqueued, begun, sent, failed, waiting, hands = look
    jobs = tuple(Job(**json.loads(text)) for text in enqueued)
    runs = _runs([json.loads(text) for text in begun], [json.loads(text) for text in sent])

    done = {run.id for run in runs if run.sent is not None}
    queued = {_job_id(json.loads(text)) for text in waiting} - done
    held = {
        _job_id(json.loads(text)["payload"])
        for worker, text in zip(hands[::2], hands[1::2], strict=True)
        if alive(int(worker.split(":")[1]))
    } - done
    known = {job.id for job in jobs} | {run.id for run in runs}
    lost = known - done - queued - held
    failures = {_job_id(json.loads(text)["payload"]) for text in failed}
    begins = Counter(run.id for run in runs)
    return Tally(
        jobs=jobs,
        runs=runs,
        finished_ids=frozenset(done),
        waiting=tuple(sorted(queued)),
        in_hand=tuple(sorted(held)),
        lost=tuple(sorted(lost)),
        failed=tuple(sorted(lost & failures)),
        twice=tuple(sorted(each for each, count in begins.items() if count > 1)),
    )


def wait_drained(
    client: redis.Redis,
    timeout: float,
    prefix: str = "resque",
    alive: Callable[[int], bool] | None = None,
) -> Tally:
    """Wait until every job is finished or lost for good, and count."""
    deadline = time.monotonic() + timeout
    quiet_since: float | None = None
    while True:
        count = tally(client, prefix, alive)
        now = time.monotonic()
        if count.drained:
            if not count.lost:
                return count
            quiet_since = now if quiet_since is None else quiet_since
            if now - quiet_since >= _SETTLE:
                return count
        else:
            quiet_since = None
        if now > deadline:
            raise TimeoutError(f"not drained after {timeout:g} s: {count}")
        time.sleep(0.05)


class Load:
    """Enqueues jobs in Resque's format: some at once, or at a rate from a thread.

    As a context manager it enqueues for as long as the context lasts.
    """

    def __init__(
        self,
        client: redis.Redis,
        queues: Sequence[str] = ("sms",),
        *,
        rate: float = 20.0,
        seconds: tuple[float, float] = (0.05, 0.05),
        limit: int | None = None,
        prefix: str = "resque",
        seed: int = 0,
    ) -> None:
        self._client = client
        self._queues = tuple(queues)
        self._rate = rate
        self._seconds = seconds
        self._limit = limit
        self._prefix = prefix
        # The same durations in every run; the ids differ, so that runs can share a Redis.
        self._random = random.Random(seed)
        self._name = secrets.token_hex(3)
        self._count = 0
        self._lock = threading.Lock()  # some at once, while the thread goes on
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def enqueued(self) -> int:
        """The number of jobs enqueued so far."""
        return self._count

    def enqueue(self, count: int, seconds: float | None = None) -> tuple[Job, ...]:
        """Enqueue so many jobs now, each of the given length or of one drawn from the range."""
        return tuple(self._enqueue_one(seconds) for _ in range(count))

    def enqueue_held(self, count: int, gate: Path) -> None:
        """Enqueue so many jobs now that take until the file, which is made, is removed."""
        gate.touch()
        for _ in range(count):
            self._enqueue_one(0.0, gate)

    def start(self) -> None:
        """Begin to enqueue at the rate, until stop() or until the limit is reached."""
        assert self._thread is None, "already started"
        self._stop.clear()
        self._thread = threading.Thread(target=self._flow, name="load", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Enqueue no more; a fault of the thread is raised here."""
        self._stop.set()
        self._join()

    def wait(self, timeout: float) -> None:
        """Wait until the limit is reached."""
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError(f"{self._count} of {self._limit} jobs enqueued")
        self._join()

    def tally(self) -> Tally:
        """Count now."""
        return tally(self._client, self._prefix)

    def wait_drained(self, timeout: float) -> Tally:
        """Wait until every job is finished or lost for good, and count."""
        return wait_drained(self._client, timeout, self._prefix)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise RuntimeError("the load broke off") from error

    def _flow(self) -> None:
        try:
            begun = time.monotonic()
            done = 0
            while self._limit is None or done < self._limit:
                # By the clock and not by pauses, or the rate would sink with the load.
                if self._stop.wait(max(0.0, begun + done / self._rate - time.monotonic())):
                    return
                self._enqueue_one(None)
                done += 1
        except Exception as error:  # noqa: BLE001  (raised again by stop, in the test's thread)
            self._error = error

    def _enqueue_one(self, seconds: float | None, gate: Path | None = None) -> Job:
        with self._lock:
            number = self._count
            self._count += 1
            length = self._random.uniform(*self._seconds) if seconds is None else seconds
        job = Job(
            id=f"{self._name}-{number:05d}",
            queue=self._queues[number % len(self._queues)],
            seconds=round(length, 4),
            at=time.time(),
        )
        argument: dict[str, Any] = {"id": job.id, "seconds": job.seconds}
        if gate is not None:
            argument["while"] = str(gate)
        payload = {"class": "SendSms", "args": [argument], "id": job.id}
        note = {"id": job.id, "queue": job.queue, "seconds": job.seconds, "at": job.at}
        with self._client.pipeline(transaction=True) as pipe:
            pipe.sadd(f"{self._prefix}:queues", job.queue)
            pipe.rpush(f"{self._prefix}:enqueued", json.dumps(note))
            pipe.rpush(f"{self._prefix}:queue:{job.queue}", json.dumps(payload))
            pipe.execute()
        return job


def _runs(begun: list[dict[str, Any]], sent: list[dict[str, Any]]) -> tuple[Run, ...]:
    # A child does one job, so id and child name a run; its two traces may still be two of a kind
    # where Redis went away between a command and its answer, and then count as two runs.
    ends: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for trace in sent:
        ends.setdefault((trace["id"], trace["child"]), []).append(trace)
    runs = []
    for trace in begun:
        mine = ends.get((trace["id"], trace["child"]))
        end = mine.pop(0) if mine else None
        runs.append(_run(trace, begun=trace["at"], sent=end["at"] if end else None))
    for rest in ends.values():
        runs.extend(_run(trace, begun=trace["started"], sent=trace["at"]) for trace in rest)
    return tuple(sorted(runs, key=lambda run: run.begun))


def _run(trace: dict[str, Any], *, begun: float, sent: float | None) -> Run:
    return Run(
        id=trace["id"],
        text=trace["text"],
        pid=trace["pid"],
        child=trace["child"],
        revision=trace["revision"],
        instance=trace["instance"],
        begun=begun,
        sent=sent,
    )


def _job_id(payload: dict[str, Any]) -> str:
    return str(payload["id"])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
