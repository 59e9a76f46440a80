"""What has to hold before anything is granted: otherwise the grant gives root away, or nothing."""

from __future__ import annotations

import grp
import os
import stat
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import NoMatchError, PreflightError
from unitq.grants.store import RULES
from unitq.linux import trust
from unitq.model.finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.grants.model import Grant

_NOT_ROOTS = "an account that can change it would be root by the next deploy"


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
            problems=tuple(problem.text for problem in problems),
        )


def _of_polkit() -> Iterator[Finding]:
    if not os.path.isdir(RULES):
        yield Finding(
            Level.ERROR,
            str(RULES),
            "there is no such directory",
            "`apt install polkitd` (Debian 12, Ubuntu 24.04; older ones: see docs/operating.md)",
            "no polkit here reads rules, and a grant is one",
        )


def _of_the_configuration(path: Path) -> Iterator[Finding]:
    try:
        with trust.resolve(path) as found:
            if other := found.beyond():
                mend = f"`chown root {other.path} && chmod go-w {other.path}`"
                yield Finding(Level.ERROR, str(path), trust.describe(other), mend, _NOT_ROOTS)
    except OSError as error:
        yield Finding(
            Level.ERROR,
            str(path),
            error.strerror or "cannot be read",
            "put the app's configuration there",
            "a granted deploy reads this file and no other",
        )


def _of_the_program() -> Iterator[Finding]:
    """What root would run: this interpreter, the libraries, and unitq itself."""
    places = [sys.executable, *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    folder = str(Path(__file__).parents[1])
    for place in (*places, folder):
        with trust.resolve(place) as found:
            if other := found.beyond():
                yield Finding(Level.ERROR, place, trust.describe(other), _ELSEWHERE, _NOT_ROOTS)
                return
    for place in (*places[1:], folder):
        if other_file := next(_not_roots(place), None):
            what = "others than root can change it"
            yield Finding(Level.ERROR, other_file, what, _ELSEWHERE, _NOT_ROOTS)
            return


_ELSEWHERE = "install unitq as root, such as in /opt/unitq"


def _not_roots(folder: str) -> Iterator[str]:
    for at, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(at, name)
            status = os.lstat(path)
            link = stat.S_ISLNK(status.st_mode)
            if status.st_uid != trust.ROOT or (status.st_mode & 0o022 and not link):
                yield path
