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
    from collections.abc import Callable, Iterable, Mapping

    from unitq.model.names import InstanceName

_NUMBER = re.compile(r"[_-]?(?P<number>[0-9]{1,4})")
_LAST_NUMBER = re.compile(r"(?P<before>.*?)(?P<number>[0-9]+)(?P<after>[^0-9]*)")
_OWN = re.compile(r"(?P<worker>.+)@(?P<number>[1-9][0-9]{0,3})")


class Process(NamedTuple):
    """One instance, as Supervisor would call it: a process."""

    app: str
    instance: InstanceName


class Wanted(NamedTuple):
    """What there is to be of a worker."""

    instances: int
    name: str = ""  # its supervisor_name


class Found(NamedTuple):
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


def split(name: str) -> tuple[str, str | None]:
    """Group and process of a name; None: all of the group. As Supervisor's split_namespec."""
    group, colon, process = name.partition(":")
    if not colon:
        return name, name
    return group, None if process in ("", "*") else process


def joined(group: str, process: str) -> str:
    """The name of a process in a group. As Supervisor's make_namespec."""
    return process if group == process else f"{group}:{process}"


def default(worker: str, count: int, number: int) -> str:
    """The name of an instance that nobody has named."""
    return worker if count == number == 1 else f"{worker}:{worker}_{number - 1:02d}"


def counted(first: str, number: int) -> str:
    """The name of an instance by the first one's: `x-8000` is followed by `x-8001`."""
    if number == 1:
        return first
    group, name = split(first)
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
        names = {process: self._named(process) for process in self._processes}
        often = Counter(names.values())
        # What two have is neither's: those are called by their app.
        self._names = {
            process: name if often[name] == 1 else self._by_app(process)
            for process, name in names.items()
        }

    def group(self, app: str, worker: str) -> str:
        """The group of a worker's processes: its own, or the app where its name is not enough."""
        wanted = self._wanted.get(app, {}).get(worker)
        if wanted and wanted.name:
            return split(wanted.name)[0]
        having = {name for name, workers in self._wanted.items() if worker in workers}
        return app if having - {app} else worker

    def of(self, process: Process) -> str:
        """What a process is called."""
        return self._names.get(process) or self._named(process)

    def ordered(self) -> list[Process]:
        """Every process, in Supervisor's order."""
        return sorted(self._processes, key=lambda process: split(self.of(process)))

    def find(self, said: str) -> Found:
        """What a name stands for; without processes: nothing."""
        group, name = split(said)
        if name is None:
            return self._first(
                group,
                (
                    lambda one: self._has_name(one) and split(self.of(one))[0] == group,
                    lambda one: one.instance.worker == group,
                    lambda one: one.app == group,
                    lambda one: one.instance.worker.startswith(f"{group}-"),
                ),
                whole=True,
            )
        known = joined(group, name)
        exact = self._first(known, (lambda one: self.of(one) == known,))
        if exact.processes:
            return exact
        ways = _within(self, group, name) if ":" in said else self._bare(said)
        return self._first(known, ways)

    def _named(self, process: Process) -> str:
        app, (worker, number) = process
        wanted = self._wanted.get(app, {}).get(worker)
        if wanted and wanted.name:
            return counted(wanted.name, number)
        name = default(worker, wanted.instances if wanted else 0, number)
        return joined(self.group(app, worker), split(name)[1] or worker)

    def _by_app(self, process: Process) -> str:
        app, (worker, number) = process
        return joined(app, f"{worker}_{number - 1:02d}")

    def _has_name(self, one: Process) -> bool:
        wanted = self._wanted.get(one.app, {}).get(one.instance.worker)
        return bool(wanted and wanted.name)

    def _bare(self, said: str) -> tuple[Callable[[Process], bool], ...]:
        own = _OWN.fullmatch(said)
        return (
            lambda one: bool(own) and str(one.instance) == said,
            lambda one: said == one.instance.worker and self.whole(one),
            # Not without a sign between: queue2 is no way to say "the third of queue".
            lambda one: (
                not self._has_name(one)
                and said.startswith(one.instance.worker)
                and said[len(one.instance.worker) :][:1] in ("_", "-")
                and _number(said.removeprefix(one.instance.worker)) == one.instance.number
            ),
        )

    def whole(self, one: Process) -> bool:
        """Whether the worker's name means this instance too; its only one is all of it."""
        wanted = self._wanted.get(one.app, {}).get(one.instance.worker)
        return wanted is None or wanted.instances != 1 or one.instance.number == 1

    def stands_for(self, one: Process, name: str, short: str) -> bool:
        """Whether a name within a group is the process's; `short` is its worker's there."""
        if name == short:
            return self.whole(one)
        if name == str(one.instance):
            return True
        # Whose names are known is not to be guessed at: it may count from another number.
        guess = name.startswith(short) and not self._has_name(one)
        return guess and _number(name[len(short) :]) == one.instance.number

    def counts(self, one: Process, name: str) -> bool:
        """`sms:0`, which process_name=%(process_num)d makes."""
        return not self._has_name(one) and _number(name) == one.instance.number

    def _first(
        self, said: str, ways: Iterable[Callable[[Process], bool]], *, whole: bool = False
    ) -> Found:
        """By the first way to read the name that anything fits."""
        for way in ways:
            found = tuple(filter(way, self._processes))
            apps = tuple(sorted({one.app for one in found}))
            if len(apps) > 1:
                return Found((), not whole, said, apps)
            if found and not whole and len({one.instance.worker for one in found}) > 1:
                return Found((), True, said)  # one name, two meanings: none
            if found:
                single = not whole and len(found) == 1
                return Found(found, single, self.of(found[0]) if "@" in said else said)
        return Found((), not whole, said)


def _within(names: Names, group: str, name: str) -> tuple[Callable[[Process], bool], ...]:
    """The ways to read a name within a group."""
    return (
        lambda one: (
            one.instance.worker == group
            and (names.stands_for(one, name, group) or names.counts(one, name))
        ),
        lambda one: one.app == group and names.stands_for(one, name, one.instance.worker),
        # Of worker shop-mail, `mail`: `mail_00` in group shop.
        lambda one: (
            one.instance.worker.startswith(f"{group}-")
            and names.stands_for(one, name, one.instance.worker.removeprefix(f"{group}-"))
        ),
    )


def _number(text: str) -> int | None:
    """The instance's number by what stands behind the worker's name: Supervisor counts from 0."""
    match = _NUMBER.fullmatch(text)
    return int(match["number"]) + 1 if match else None
