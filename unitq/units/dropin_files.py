"""The drop-ins of a unit, as systemd finds them: a look at directories, no question to systemd."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from unitq.units.dropins import DropIn, folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# systemd.unit(5), "Unit File Load Path"; what is first wins. Generated and transient units are
# left out: nothing generates units of ours.
_SYSTEM = (
    "/etc/systemd/system.control", "/run/systemd/system.control", "/etc/systemd/system",
    "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
)  # fmt: skip
_USER = (
    "/etc/systemd/user", "/run/systemd/user", "/usr/local/share/systemd/user",
    "/usr/share/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user",
)  # fmt: skip
_FILE_MAX = 1 << 16  # bytes


class DropIns:
    """Those of unitq's units. Reads each directory once, however many units are asked for."""

    def __init__(self, unit_dir: str, *, user: bool) -> None:
        """`unit_dir` is where unitq writes its units."""
        places: Sequence[str] = _SYSTEM
        if user:
            runtime = f"/run/user/{os.getuid()}/systemd"
            own = (f"{unit_dir}.control", f"{runtime}/user.control", unit_dir, f"{runtime}/user")
            places = (*own, *_USER)
        self._folders = {place: _folders(place) for place in places}
        self._any = frozenset[str]().union(*self._folders.values())

    def of(self, units: Iterable[str]) -> list[DropIn]:
        """Returns the drop-ins of these units, each once, in the order in which systemd reads."""
        dropins: dict[str, DropIn] = {}
        for unit in units:
            for path in self._paths(unit):
                if path not in dropins and (text := _text(path)):
                    dropins[path] = DropIn(path, text)
        return list(dropins.values())

    def _paths(self, unit: str) -> list[str]:
        if not self._any:
            return []
        names = folders(unit)
        by_name: dict[str, str] = {}
        # All services' own come last, whatever the place.
        for wanted in (names[:-1], names[-1:]):
            for place, there in self._folders.items():
                for name in wanted:
                    if name in there:
                        for file in _files(f"{place}/{name}"):
                            by_name.setdefault(file, f"{place}/{name}/{file}")
        return [by_name[name] for name in sorted(by_name)]


def _folders(place: str) -> frozenset[str]:
    try:
        return frozenset(
            name
            for name in os.listdir(place)
            if name == "service.d" or (name.startswith("unitq-") and name.endswith(".service.d"))
        )
    except OSError:
        return frozenset()


def _files(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.endswith(".conf")]
    except OSError:
        return []


def _text(path: str) -> str:
    """The text; empty of one that is masked by a link to /dev/null, or cannot be read."""
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_FILE_MAX)
    except OSError:
        return ""
