"""What has to hold before anything is granted: otherwise the grant gives root away, or nothing."""

from __future__ import annotations

import grp
import os
import stat
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import unitq
from unitq.errors import NoMatchError, PreflightError
from unitq.grants.store import RULES
from unitq.linux import trust

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.grants.model import Grant

_NOT_ROOTS = "whoever controls it would be root by the next deploy"


def config(app: str) -> Path:
    """The configuration that a granted deploy reads."""
    return Path("/etc/unitq") / f"{app}.toml"


def refuse(grant: Grant) -> None:
    """Raises NoMatchError or PreflightError with all that is in the way of this grant."""
    try:
        grp.getgrnam(grant.group)
    except KeyError:
        raise NoMatchError(
            f"there is no group {grant.group}", hint=f"`groupadd {grant.group}` makes it"
        ) from None
    problems = [*_of_polkit(), *_of_the_program(), *_of_the_configuration(config(grant.app))]
    if problems:
        raise PreflightError(
            f"{grant.app} cannot be granted to {grant.group}; nothing was changed",
            problems=tuple(problems),
        )


def _of_polkit() -> Iterator[str]:
    if not os.path.isdir(RULES):
        yield (
            f"{RULES}: there is no such directory, so no polkit that reads rules: "
            "`apt install polkitd` (Debian 12, Ubuntu 24.04; older ones: see docs/deploy-users.md)"
        )


def _of_the_configuration(path: Path) -> Iterator[str]:
    try:
        with trust.resolved(path) as found:
            if other := found.beyond():
                yield (
                    f"{path}: {trust.spelled(other)}; {_NOT_ROOTS}: "
                    f"`chown root {other.path} && chmod go-w {other.path}`"
                )
    except OSError as error:
        yield f"{path}: {error.strerror}; a granted deploy reads this file and no other"


def _of_the_program() -> Iterator[str]:
    """What root would run: this interpreter, the libraries, and unitq itself."""
    places = [sys.executable, *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    folder = str(Path(unitq.__file__).parent)
    for place in (*places, folder):
        with trust.resolved(place) as found:
            if other := found.beyond():
                yield f"{place}: {trust.spelled(other)}; {_NOT_ROOTS}: {_ELSEWHERE}"
                return
    for place in (*places[1:], folder):
        if other_file := next(_not_roots(place), None):
            yield f"{other_file} is not root's alone; {_NOT_ROOTS}: {_ELSEWHERE}"
            return


_ELSEWHERE = "install unitq as root, such as in /opt/unitq"


def _not_roots(folder: str) -> Iterator[str]:
    for at, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(at, name)
            found = os.lstat(path)
            link = stat.S_ISLNK(found.st_mode)
            if found.st_uid != trust.ROOT or (found.st_mode & 0o022 and not link):
                yield path
