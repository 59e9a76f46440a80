"""Supervisor's names for instances, and what a name that a script says stands for.

    sms                 worker sms, where there is one instance of it
    sms:sms_00          sms@1, where there are several; sms:* is all of them
    shop:sms_00         sms@1 of app shop, where several apps have a worker sms

Where the worker has a `supervisor_name`, that is the first one's name, and the others count on.
A script may also say shop:sms and shop:* of any app, shop:mail of worker shop-mail (what an import
made of a group), and unitq's own sms and sms@1.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName

_NUMBER = re.compile(r"[_-]?(?P<number>[0-9]{1,4})")
_LAST_NUMBER = re.compile(r"(?P<before>.*?)(?P<number>[0-9]+)(?P<after>[^0-9]*)")


class Process(NamedTuple):
    """One instance, as Supervisor would call it: a process."""

    app: str
    instance: InstanceName


class Wanted(NamedTuple):
    """What there is to be of a worker."""

    instances: int
    name: str = ""  # its supervisor_name


class Match(NamedTuple):
    """What a name stands for."""

    processes: tuple[Process, ...] = ()
    single: bool = True  # it names one process, and not a group
    name: str = ""  # what to call it, or the group, in answers
    apps: tuple[str, ...] = ()  # several: each of them has something of that name

    @property
    def why(self) -> str:
        """Why it has no processes."""
        if self.apps:
            return f"in several apps: {', '.join(self.apps)}"
        return "no such process" if self.single else "no such group"

    @property
    def hint(self) -> str:
        """What to type in its place; empty: there is no such thing."""
        if not self.apps:
            return ""
        return (
            f"{self.name} is in several apps ({', '.join(self.apps)}): say which with "
            f"-a {self.apps[0]}, or as it stands in `status`"
        )


def split_name(name: str) -> tuple[str, str | None]:
    """Returns group and process of a name; None: all of it. As Supervisor's split_namespec."""
    group, colon, process = name.partition(":")
    if not colon:
        return name, name
    return group, None if process in ("", "*") else process


def process_name(group: str, process: str) -> str:
    """Returns the name of a process in a group. As Supervisor's make_namespec."""
    return process if group == process else f"{group}:{process}"


def default_name(worker: str, count: int, number: int) -> str:
    """Returns the name of an instance whose worker has no supervisor_name."""
    return worker if count == number == 1 else f"{worker}:{worker}_{number - 1:02d}"


def numbered_name(first: str, number: int) -> str:
    """Returns the name of an instance by the first one's: `x-8000` is followed by `x-8001`."""
    if number == 1:
        return first
    group, name = split_name(first)
    match = _LAST_NUMBER.fullmatch(name or group)
    if match is None:
        return f"{group}:{name}_{number - 1:02d}"
    digits = match["number"]
    count = str(int(digits) + number - 1).zfill(len(digits))
    return f"{group}:{match['before']}{count}{match['after']}"


class Names:
    """The names of everything that there is."""

    def __init__(
        self, wanted: Mapping[str, Mapping[str, Wanted]], processes: Iterable[Process]
    ) -> None:
        """`wanted` says what there is to be of each worker of each app."""
        self._wanted = wanted
        self._processes = tuple(sorted(processes))
        names = {process: self._own_name(process) for process in self._processes}
        often = Counter(names.values())
        # What two have is neither's: those are called by their app.
        self._names = {
            process: name if often[name] == 1 else self._name_in_app(process)
            for process, name in names.items()
        }

    def group(self, app: str, worker: str) -> str:
        """Returns the group of a worker: its own, or the app where its name is not enough."""
        wanted = self._wanted.get(app, {}).get(worker)
        if wanted and wanted.name:
            return split_name(wanted.name)[0]
        having = {name for name, workers in self._wanted.items() if worker in workers}
        return app if having - {app} else worker

    def of(self, process: Process) -> str:
        """Returns what a process is called."""
        return self._names.get(process) or self._own_name(process)

    def in_order(self) -> list[Process]:
        """Returns every process, in Supervisor's order."""
        return sorted(self._processes, key=lambda process: split_name(self.of(process)))

    def find(self, said: str) -> Match:
        """Returns what a name stands for: those that it fits closest; without processes: nothing.

        Of several apps it is none, and one name for two workers is none either.
        """
        group, name = split_name(said)
        whole = name is None
        known = group if name is None else process_name(group, name)
        ranks = {process: self._rank(process, said) for process in self._processes}
        best = min((rank for rank in ranks.values() if rank is not None), default=None)
        closest = tuple(
            process for process, rank in ranks.items() if best is not None and rank == best
        )
        apps = tuple(sorted({process.app for process in closest}))
        if len(apps) > 1:
            return Match((), not whole, known, apps)
        several = len({process.instance.worker for process in closest}) > 1
        if not closest or (several and not whole):
            return Match((), not whole, known)
        single = not whole and len(closest) == 1
        return Match(closest, single, self.of(closest[0]) if "@" in known else known)

    def _rank(self, process: Process, said: str) -> int | None:
        """How closely a name fits a process: 0 is its own name; None: it does not fit."""
        app, (worker, _) = process
        group, name = split_name(said)
        within = worker.removeprefix(f"{group}-")  # of worker shop-mail in group shop: mail
        fits: tuple[bool, ...]
        if name is None:
            named = self._has_name(process) and split_name(self.of(process))[0] == group
            fits = (named, worker == group, app == group, within != worker)
        elif ":" in said:
            fits = (
                self.of(process) == process_name(group, name),
                worker == group
                and (self._stands_for(process, name, group) or self._counts(process, name)),
                app == group and self._stands_for(process, name, worker),
                within != worker and self._stands_for(process, name, within),
            )
        else:
            fits = (
                self.of(process) == said,
                str(process.instance) == said and "@" in said,
                said == worker and self._is_meant(process),
                # Not without a sign between: queue2 is no way to say "the third of queue".
                said.startswith((f"{worker}_", f"{worker}-"))
                and self._counts(process, said.removeprefix(worker)),
            )
        return next((rank for rank, fit in enumerate(fits) if fit), None)

    def _own_name(self, process: Process) -> str:
        app, (worker, number) = process
        wanted = self._wanted.get(app, {}).get(worker)
        if wanted and wanted.name:
            return numbered_name(wanted.name, number)
        name = default_name(worker, wanted.instances if wanted else 0, number)
        return process_name(self.group(app, worker), split_name(name)[1] or worker)

    def _name_in_app(self, process: Process) -> str:
        app, (worker, number) = process
        return process_name(app, f"{worker}_{number - 1:02d}")

    def _has_name(self, process: Process) -> bool:
        wanted = self._wanted.get(process.app, {}).get(process.instance.worker)
        return bool(wanted and wanted.name)

    def _is_meant(self, process: Process) -> bool:
        """Whether the worker's name means this instance too; its only one is all of it."""
        wanted = self._wanted.get(process.app, {}).get(process.instance.worker)
        return wanted is None or wanted.instances != 1 or process.instance.number == 1

    def _stands_for(self, process: Process, name: str, short: str) -> bool:
        """Whether a name within a group is the process's; `short` is its worker's there."""
        if name == short:
            return self._is_meant(process)
        if name == str(process.instance):
            return True
        return name.startswith(short) and self._counts(process, name[len(short) :])

    def _counts(self, process: Process, text: str) -> bool:
        """Whether it is the instance's number; Supervisor counts from 0.

        Whose names are known may count from another number.
        """
        match = _NUMBER.fullmatch(text)
        is_number = match and int(match["number"]) + 1 == process.instance.number
        return bool(is_number) and not self._has_name(process)
