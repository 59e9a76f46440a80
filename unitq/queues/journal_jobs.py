"""The in-flight jobs of workers, from their log lines in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from unitq.queues.log_lines import InFlight, JobLog, follow, in_flight_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from unitq.model.names import InstanceName
    from unitq.presets.model import Prints
    from unitq.systemd.journal_event import Print

# The last lines of a start that are searched for what it has begun: two for each job, or more …
FEW = 500
# … and where it was killed, and it is worth the second that it takes.
MANY = 20_000

# Of all starts that are asked for at once.
_MOST = 40_000

# Seconds: lines that were on their way to the journal when it was last read are read again.
_OVERLAP = 2.0


class Printing(NamedTuple):
    """How the instances of a worker print their jobs."""

    preset: str
    prints: Prints
    queue: str  # of those jobs; "": not known


class Read(Protocol):
    """Gives what these starts have printed, by invocation. Raises UnitqError.

    Since a time, in seconds since 1970, or so many of the last lines of all of them together.
    """

    def __call__(
        self, starts: Sequence[str], since: float | None, lines: int, *, ended: bool
    ) -> Mapping[str, Sequence[Print]]: ...


class JournalJobs:
    """The jobs that instances have begun and not ended, by what they printed."""

    def __init__(self, printing: Mapping[str, Printing], read: Read) -> None:
        """`printing` is by worker."""
        self._printing = printing
        self._read = read
        self._logs: dict[str, JobLog] = {}  # by invocation
        self._until: dict[str, float] = {}  # the time of the last line that was read

    def tells(self, name: InstanceName) -> bool:
        """Whether its framework prints its jobs at all."""
        return name.worker in self._printing

    def look(
        self,
        starts: Mapping[InstanceName, str],
        fetched: Mapping[str, Set[str]],
        *,
        ended: bool = False,
    ) -> dict[InstanceName, InFlight]:
        """Returns the in-flight jobs of each of these starts (invocations), as far as it logs them.

        `fetched` is by framework: see log_lines.in_flight_jobs. `ended`: the starts are over, and
        no more lines come. Raises UnitqError where the journal cannot be read.
        """
        own = {name: start for name, start in starts.items() if start and self.tells(name)}
        if ended:
            for start in own.values():
                self._until.pop(start, None)
        known = {start for start in own.values() if start in self._until}
        lines: dict[str, Sequence[Print]] = {}
        if new := [start for start in own.values() if start not in known]:
            last = min((MANY if ended else FEW) * len(new), _MOST)
            lines |= self._read(new, None, last, ended=ended)
            whole = sum(map(len, lines.values())) < last
            for start in new:
                self._logs[start] = self._logs.get(start, JobLog())._replace(whole=whole)
        if known:
            since = min(self._until[start] for start in known) - _OVERLAP
            lines |= self._read(sorted(known), since, 0, ended=False)
        jobs = {}
        for name, start in own.items():
            printing, printed = self._printing[name.worker], lines.get(start, ())
            log = follow(self._logs[start], printing.prints, printed, printing.queue)
            self._logs[start] = log
            if printed:
                self._until[start] = printed[-1].time
            jobs[name] = in_flight_jobs(log, printing.prints, fetched.get(printing.preset))
        return jobs
