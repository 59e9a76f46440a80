"""Supervisor's names for instances, and what a name that a script says stands for.

    sms                 worker sms, where there is one instance of it
    sms:sms_00          sms@1, where there are several; sms:* is all of them
    shop:sms_00         sms@1 of app shop, where several apps have a worker sms

A script may also say shop:sms and shop:* of any app, shop:mail of worker shop-mail (what an import
made of a group), and unitq's own sms and sms@1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from unitq.core.names import InstanceName

_NUMBER = re.compile(r"[_-]?(?P<number>[0-9]{1,4})")
_OWN = re.compile(r"(?P<worker>.+)@(?P<number>[1-9][0-9]{0,3})")


class Process(NamedTuple):
    """One instance, as Supervisor would call it: a process."""

    app: str
    instance: InstanceName


class Found(NamedTuple):
    """What a name stands for."""

    processes: tuple[Process, ...] = ()
    single: bool = True  # it names one process, and not a group
    name: str = ""  # what to call it, or the group, in answers
    apps: tuple[str, ...] = ()  # several: each of them has something of that name


def split(name: str) -> tuple[str, str | None]:
    """Group and process of a name; None: all of the group. As Supervisor's split_namespec."""
    group, colon, process = name.partition(":")
    if not colon:
        return name, name
    return group, None if process in ("", "*") else process


def joined(group: str, process: str) -> str:
    """The name of a process in a group. As Supervisor's make_namespec."""
    return process if group == process else f"{group}:{process}"


class Names:
    """The names of everything that there is."""

    def __init__(
        self, wanted: Mapping[str, Mapping[str, int]], processes: Iterable[Process]
    ) -> None:
        """`wanted` says of each app how many instances each worker is to have."""
        self._wanted = wanted
        self._processes = tuple(sorted(processes))

    def group(self, app: str, worker: str) -> str:
        """The group of a worker's processes: its own, or the app where its name is not enough."""
        having = {name for name, workers in self._wanted.items() if worker in workers}
        return app if having - {app} else worker

    def of(self, process: Process) -> str:
        """What a process is called."""
        app, (worker, number) = process
        alone = self._wanted.get(app, {}).get(worker) == 1 and number == 1
        name = worker if alone else f"{worker}_{number - 1:02d}"
        return joined(self.group(app, worker), name)

    def ordered(self) -> list[Process]:
        """Every process, in Supervisor's order."""
        return sorted(self._processes, key=lambda process: split(self.of(process)))

    def find(self, said: str) -> Found:
        """What a name stands for; without processes: nothing."""
        group, name = split(said)
        if ":" not in said:
            return self._first(said, self._bare(said))
        if name is None:
            return self._first(
                group,
                (
                    lambda one: one.instance.worker == group,
                    lambda one: one.app == group,
                    lambda one: one.instance.worker.startswith(f"{group}-"),
                ),
                whole=True,
            )
        ways: list[Callable[[Process], bool]] = [
            lambda one: (
                one.instance.worker == group
                # `sms:0` is what process_name=%(process_num)d makes.
                and (self._is(one, name, group) or _number(name) == one.instance.number)
            ),
            lambda one: one.app == group and self._is(one, name, one.instance.worker),
        ]
        # Of worker shop-mail, `mail`: `mail_00` in group shop.
        ways.append(
            lambda one: (
                one.instance.worker.startswith(f"{group}-")
                and self._is(one, name, one.instance.worker.removeprefix(f"{group}-"))
            )
        )
        return self._first(joined(group, name), ways)

    def _bare(self, said: str) -> tuple[Callable[[Process], bool], ...]:
        own = _OWN.fullmatch(said)
        return (
            lambda one: bool(own) and str(one.instance) == said,
            lambda one: self._is_worker(one, said, said),
            # Not without a sign between: queue2 is no way to say "the third of queue".
            lambda one: (
                said.startswith(one.instance.worker)
                and said[len(one.instance.worker) :][:1] in ("_", "-")
                and _number(said.removeprefix(one.instance.worker)) == one.instance.number
            ),
        )

    def _is_worker(self, one: Process, said: str, worker: str) -> bool:
        """Whether the name is that of the whole worker; its only instance has it too."""
        if said != worker or one.instance.worker != worker:
            return False
        return self._wanted.get(one.app, {}).get(worker) != 1 or one.instance.number == 1

    def _is(self, one: Process, name: str, short: str) -> bool:
        """Whether a name within a group is that of the process; `short` is its worker's there."""
        if name == short:
            return self._is_worker(one, one.instance.worker, one.instance.worker)
        if name == str(one.instance):
            return True
        return name.startswith(short) and _number(name[len(short) :]) == one.instance.number

    def _first(
        self, said: str, ways: Iterable[Callable[[Process], bool]], *, whole: bool = False
    ) -> Found:
        """By the first way to read the name that anything fits."""
        for way in ways:
            found = tuple(filter(way, self._processes))
            apps = tuple(sorted({one.app for one in found}))
            if len(apps) > 1:
                return Found((), not whole, said, apps)
            if found:
                single = not whole and len(found) == 1
                return Found(found, single, self.of(found[0]) if "@" in said else said)
        return Found((), not whole, said)


def _number(text: str) -> int | None:
    """The instance's number by what stands behind the worker's name: Supervisor counts from 0."""
    match = _NUMBER.fullmatch(text)
    return int(match["number"]) + 1 if match else None
