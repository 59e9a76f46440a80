"""A steady flow of jobs of given lengths, the same before each restart whatever came before it."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.harness.load import Load

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import redis

    from tests.harness.load import Job


class Mix(NamedTuple):
    """So many jobs each second, and each length (seconds) with its share of them."""

    rate: float
    shares: tuple[tuple[float, float], ...]

    @property
    def busy(self) -> float:
        """How many workers it keeps at work on average."""
        return self.rate * sum(seconds * share for seconds, share in self.shares)


class Traffic:
    """Enqueues for as long as the context lasts.

    `anew(n)` begins the n-th sequence: it depends on n and on nothing else, so that in every setup
    the same jobs come in at the same times before the n-th restart.
    """

    def __init__(self, client: redis.Redis, mix: Mix) -> None:
        self._load = Load(client)
        self._mix = mix
        self._jobs: list[Job] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._flow, name="traffic", daemon=True)
        self._error: Exception | None = None
        self._sequence(0)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All enqueued so far."""
        return tuple(self._jobs)

    def anew(self, number: int) -> None:
        """Begin this sequence now."""
        with self._lock:
            self._sequence(number)

    def wait_drained(self, timeout: float) -> None:
        """Return when no job waits and no living worker has one in hand; else TimeoutError."""
        self._load.wait_drained(timeout)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise RuntimeError("the traffic broke off") from self._error

    def _sequence(self, number: int) -> None:
        self._random = random.Random(number)
        self._begun = time.monotonic()
        self._done = 0

    def _flow(self) -> None:
        lengths, shares = zip(*self._mix.shares, strict=True)
        try:
            while not self._stop.is_set():
                with self._lock:
                    # By the clock and not by pauses, or the rate would sink with the load.
                    left = self._begun + self._done / self._mix.rate - time.monotonic()
                    if left <= 0:
                        (seconds,) = self._random.choices(lengths, shares)
                        self._jobs += self._load.enqueue(1, seconds)
                        self._done += 1
                        continue
                # A new sequence may begin meanwhile: its first job is not to wait for this one's.
                self._stop.wait(min(left, 0.01))
        except Exception as error:  # noqa: BLE001  (raised again at the end, in the caller's thread)
            self._error = error
