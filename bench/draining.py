"""Workers that take a given time to stop and write down when they were told and when they went."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.app import App

if TYPE_CHECKING:
    from collections.abc import Sequence

# No other process takes part, neither to wait nor to tell the time: `read -t` waits for what nobody
# ever writes. A drain of 0.2 s takes 0.2004 s.
_WORKER = """\
told() {
  told=$EPOCHREALTIME
  read -r seconds < "drains/$UNITQ_INSTANCE"
  read -r -t "$seconds" -u 9
  echo "drain $told $EPOCHREALTIME" >> "times/$UNITQ_INSTANCE"
  exit 0
}
exec 9<> never
trap told QUIT
echo "up $EPOCHREALTIME" >> "times/$UNITQ_INSTANCE"
read -r -u 9
"""

# What is up for systemd writes it down a little later.
_PATIENCE = 20.0


class Drain(NamedTuple):
    """What one worker wrote down: seconds since the run began."""

    instance: int
    asked: float  # how long its drain is to take
    told: float
    gone: float
    up: float  # the next process


class DrainingApp(App):
    """An app with one such worker; instance n takes `drains[n - 1]` seconds to stop."""

    command = "/bin/bash worker.sh"

    def __init__(self, name: str, drains: Sequence[float], min_healthy: float = 0.0) -> None:
        super().__init__(name, len(drains), min_healthy)
        self.drains = tuple(drains)
        self._times = self.root / "times"

    def prepare(self) -> None:
        """Put the worker and the length of each drain into its directory."""
        (self.root / "worker.sh").write_text(_WORKER)
        os.mkfifo(self.root / "never", 0o666)
        drains = self.root / "drains"
        drains.mkdir()
        for instance, seconds in enumerate(self.drains, 1):
            (drains / str(instance)).write_text(f"{seconds:.6f}\n")
        self._times.mkdir()
        for path in (self.root / "never", self._times):
            shutil.chown(path, "www-data")

    def forget(self) -> None:
        """What was written down before this does not count."""
        for path in self._times.iterdir():
            path.unlink()

    def recorded(self, began: float) -> tuple[Drain, ...]:
        """What each instance wrote down; exactly one drain and one start, or RuntimeError.

        `began` is what time.time() said when the run began.
        """
        return tuple(self._recorded(instance, began) for instance in range(1, self.instances + 1))

    def _recorded(self, instance: int, began: float) -> Drain:
        until = time.monotonic() + _PATIENCE
        while True:
            path = self._times / str(instance)
            lines = [line.split() for line in path.read_text().splitlines()]
            if [line[0] for line in lines] == ["drain", "up"]:
                told, gone, up = (float(cell) - began for cell in (*lines[0][1:], lines[1][1]))
                return Drain(instance, self.drains[instance - 1], told, gone, up)
            if len(lines) > 1 or time.monotonic() > until:
                raise RuntimeError(f"instance {instance} was not restarted once: {lines}")
            time.sleep(0.05)
