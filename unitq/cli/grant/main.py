"""grant: which groups may deploy which apps without root."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json, echo_lines, echo_text
from unitq.cli.scope import current, scope_options
from unitq.context import app_of
from unitq.errors import ConfigError, Exit, NoMatchError, NotPermittedError
from unitq.text import table

if TYPE_CHECKING:
    from collections.abc import Collection

    from unitq.context import Scope
    from unitq.grants.model import Grant


@click.command(
    epilog="""\b
Examples:
  unitq grant                                        what is granted
  unitq grant --group deployers -a shop              print what that would write
  unitq grant --group deployers -a shop --install    write it
  unitq grant --group deployers -a shop --revoke     take it back
  unitq grant --install                              write all again, after an update of unitq

\b
A member then types `unitq -a shop deploy`. docs/operating.md has what that gives away.
Exit codes: 0; 3 a file of the grants is missing or changed; 4 no such group or app; 13 polkit is
missing, or others than root control what root would run.
"""
)
@scope_options
@click.option("--group", metavar="GROUP", help="Whose members may deploy.")
@click.option("--install", is_flag=True, help="Write the units and polkit's rule. As root.")
@click.option("--revoke", is_flag=True, help="Take back: of the app, the group, or both; or all.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def grant(group: str | None, install: bool, revoke: bool, as_json: bool) -> int:
    """Let a group deploy an app without root, by systemd and polkit.

    Members may deploy, roll back, start, restart, pause and resume the app, and go on with or stop
    a rollout, all as root's /etc/unitq/APP.toml says: no argument or file of theirs reaches root.
    Without --install and --revoke nothing is changed.
    """
    from unitq.grants import store

    scope = current()
    if scope.user or scope.config:
        raise ConfigError("grants are about /etc/unitq/APP.toml: without --user and -c")
    if install and revoke:
        raise ConfigError("--install and --revoke: one of them")
    if not (install or revoke):
        return _preview(scope, group) if group else _listed(scope, as_json=as_json)
    if os.geteuid() != 0:
        raise NotPermittedError("only root grants and revokes", hint="run it as root (sudo)")
    with store.lock():
        before = set(store.grants())
        return _revoked(scope, group, before) if revoke else _installed(scope, group, before)


def _new(scope: Scope, group: str) -> Grant:
    """The grant that is meant, checked. Raises UnitqError where it must not be given."""
    from unitq.grants import checks, model

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


def _preview(scope: Scope, group: str) -> int:
    from unitq.grants import store

    new = _new(scope, group)
    for path, text in store.file_texts({*store.grants(), new}).items():
        echo(f"# {path}")
        echo_text(text)
    echo("nothing was changed; --install writes these files, as root", err=True)
    return Exit.OK


def _installed(scope: Scope, group: str | None, before: Collection[Grant]) -> int:
    from unitq.grants import checks, store

    if group is None and not before:
        raise ConfigError("nothing is granted yet", hint="--group GROUP -a APP says to whom")
    # Without a group: all that is granted is written again, where it still may be.
    asked = set(before) if group is None else {_new(scope, group)}
    for one in asked:
        checks.refuse(one)
    changed = store.install(scope.systemd(), {*before, *asked})
    for one in sorted(asked):
        echo(
            f"{one.app}: members of {one.group} may deploy it: `unitq -a {one.app} deploy`"
            + ("" if changed else " (nothing had to be changed)")
        )
        _warn_of_reading(one)
    return Exit.OK


def _warn_of_reading(one: Grant) -> None:
    """Says where members may deploy and not see beforehand what that would do."""
    from unitq.grants import checks, member

    path = checks.config(one.app)
    found = path.stat()
    if not (found.st_mode & 0o004 or (found.st_mode & 0o040 and found.st_gid == member.gid(one))):
        echo(
            f"note: members cannot read {path}, which `plan`, `check` and `queues` do; if it holds "
            f"no secret that they must not see: chgrp {one.group} {path} && chmod 0640 {path}"
        )


def _revoked(scope: Scope, group: str | None, before: Collection[Grant]) -> int:
    from unitq.grants import store

    gone = {one for one in before if scope.app in (None, one.app) and group in (None, one.group)}
    wanted = set(before) - gone
    store.install(scope.systemd(), wanted)
    for one in sorted(gone):
        echo(f"{one.app}: no longer granted to {one.group}")
    if not gone:
        left = ", ".join(f"{one.app} to {one.group}" for one in sorted(wanted)) or "nothing"
        echo(f"no such grant; nothing was changed. Granted: {left}")
    return Exit.OK


def _listed(scope: Scope, *, as_json: bool) -> int:
    from unitq.grants import store
    from unitq.grants.model import VERBS

    every = store.grants()
    found = [one for one in every if scope.app in (None, one.app)]
    states = store.states(every)
    bad = {
        path: state
        for path, state in states.items()
        if state in (store.State.MISSING, store.State.CHANGED)
    }
    if as_json:
        document = {
            "format": 1,
            "grants": [
                {"app": one.app, "group": one.group, "commands": _commands()} for one in found
            ],
            "files": [{"path": str(path), "state": str(state)} for path, state in states.items()],
        }
        echo_json(document)
        return Exit.NOT_AS_WANTED if bad else Exit.OK
    if found:
        echo_lines(table(("APP", "GROUP"), [(one.app, one.group) for one in found]))
        echo(f"Members may: {', '.join(' '.join(words) for words in VERBS.values())}.")
    else:
        echo("nothing is granted; `unitq grant --group GROUP -a APP` shows what would be")
    for path, state in bad.items():
        echo(f"{path}: {state}; `unitq grant --install` writes it again", err=True)
    return Exit.NOT_AS_WANTED if bad else Exit.OK


def _commands() -> list[str]:
    from unitq.grants.model import VERBS

    return [" ".join(words) for words in VERBS.values()]
