"""Who may deploy what without root: what is granted, granting and revoking it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.context import app_of
from unitq.errors import ConfigError, Exit, NoMatchError, NotPermittedError
from unitq.grants import checks, member, model, store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.context import Scope
    from unitq.grants.model import Grant

_BAD = (store.State.MISSING, store.State.CHANGED)


@dataclass(frozen=True, slots=True)
class GrantList:
    """What is granted, and whether the files say so."""

    grants: tuple[Grant, ...]
    files: Mapping[Path, store.State]

    @property
    def commands(self) -> list[str]:
        """What members may type."""
        return [" ".join(words) for words in model.VERBS.values()]

    @property
    def bad(self) -> dict[Path, store.State]:
        """The files that have to be written again."""
        return {path: state for path, state in self.files.items() if state in _BAD}

    @property
    def exit_code(self) -> Exit:
        """NOT_AS_WANTED where a file is missing or changed."""
        return Exit.NOT_AS_WANTED if self.bad else Exit.OK

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "grants": [
                {"app": grant.app, "group": grant.group, "commands": self.commands}
                for grant in self.grants
            ],
            "files": [
                {"path": str(path), "state": str(state)} for path, state in self.files.items()
            ],
        }


class Granted(NamedTuple):
    """What an installation has done."""

    grants: list[Grant]
    changed: bool  # a file was written
    unreadable: dict[Grant, Path]  # configurations that members cannot read


class Revoked(NamedTuple):
    """What was taken back, and what is left."""

    grants: list[Grant]
    left: list[Grant]


def grant_list(scope: Scope) -> GrantList:
    """Returns what is granted, of all apps or of the one that is named."""
    grants = store.grants()
    mine = tuple(grant for grant in grants if scope.app in (None, grant.app))
    return GrantList(mine, store.states(grants))


def preview(scope: Scope, group: str) -> dict[Path, str]:
    """Returns the files that a grant would write, with their texts."""
    return store.file_texts({*store.grants(), _new(scope, group)})


def install(scope: Scope, group: str | None) -> Granted:
    """Grants it; without a group, all that is granted is written again, where it still may be."""
    _need_root()
    with store.lock():
        before = set(store.grants())
        if group is None and not before:
            raise ConfigError("nothing is granted yet", hint="--group GROUP -a APP says to whom")
        grants = before if group is None else {_new(scope, group)}
        for grant in grants:
            checks.refuse(grant)
        changed = store.install(scope.systemd(), before | grants)
        unreadable = {
            grant: checks.config(grant.app) for grant in grants if not _readable_by(grant)
        }
        return Granted(sorted(grants), changed, unreadable)


def revoke(scope: Scope, group: str | None) -> Revoked:
    """Takes back what was granted: of the app, the group, or both; or all."""
    _need_root()
    with store.lock():
        before = set(store.grants())
        gone = {
            grant
            for grant in before
            if scope.app in (None, grant.app) and group in (None, grant.group)
        }
        store.install(scope.systemd(), before - gone)
        return Revoked(sorted(gone), sorted(before - gone))


def _need_root() -> None:
    if os.geteuid() != 0:
        raise NotPermittedError("only root grants and revokes", hint="run it as root (sudo)")


def _readable_by(grant: Grant) -> bool:
    """Whether members may see beforehand what a deploy would do."""
    stat = checks.config(grant.app).stat()
    by_group = stat.st_mode & 0o040 and stat.st_gid == member.gid(grant)
    return bool(stat.st_mode & 0o004 or by_group)


def _new(scope: Scope, group: str) -> Grant:
    """The grant that is meant, checked. Raises UnitqError where it must not be given."""
    app = scope.app or _only_app(scope)
    new = model.validate(app, group)
    path = checks.config(app)
    if not os.path.exists(path):
        raise NoMatchError(
            f"{path}: no such file, and a granted deploy reads no other",
            hint=f"`install -D -m 0644 unitq.toml {path}`",
        )
    checks.refuse(new)
    if app_of(path) not in (None, app):  # None: not to be read by this account, or unfinished
        raise ConfigError(f"{path} is about app {app_of(path)}, not {app}")
    return new


def _only_app(scope: Scope) -> str:
    found = sorted(path.stem for path in Path(scope.layout.config_dir).glob("*.toml"))
    if len(found) == 1:
        return found[0]
    raise NoMatchError(
        f"which app? configured in /etc/unitq: {', '.join(found) or 'none'}", hint="-a APP names it"
    )


def run_of_member(scope: Scope, verb: str) -> member.Run | None:
    """Returns the unit of root's that a member starts with this; None: no grant is needed, or is.

    Raises NotPermittedError or NoMatchError where another app is granted than the one meant.
    """
    if os.geteuid() == 0 or scope.user:
        return None
    account = member.name()
    mine = member.covering(store.grants(), account) if account else ()
    if account is None or not mine:
        return None
    here = app_of(Path("unitq.toml"))
    app = _granted_app(scope.app or here, tuple(grant.app for grant in mine))
    return member.Run(scope.systemd(), verb, app, account, other_here=bool(here))


def _granted_app(meant: str | None, granted: tuple[str, ...]) -> str:
    """The granted app that is meant. Raises NotPermittedError or NoMatchError."""
    listed = ", ".join(sorted(set(granted)))
    if meant is None and len(set(granted)) == 1:
        return granted[0]
    if meant is None:
        raise NoMatchError(
            f"several apps are granted to you: {listed}", hint="name one with -a APP"
        )
    if meant not in granted:
        raise NotPermittedError(
            f"{meant} is not granted to you; granted: {listed}",
            hint="name one of them with -a APP, or run it as root (sudo)",
        )
    return meant
