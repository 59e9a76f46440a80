"""grant: which groups may deploy which apps without root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json, echo_lines, echo_text
from unitq.cli.scope import json_option, scope_options
from unitq.errors import ConfigError, Exit
from unitq.text import table

if TYPE_CHECKING:
    from unitq.api import App
    from unitq.grants.grant import Granted, GrantList, Revoked


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
@json_option
def grant(app: App, group: str | None, install: bool, revoke: bool, as_json: bool) -> int:
    """Let a group deploy an app without root, by systemd and polkit.

    Members may deploy, roll back, start, restart, pause and resume the app, and continue or stop a
    rollout, all as root's /etc/unitq/APP.toml says: no argument or file of theirs reaches root.
    Without --install and --revoke nothing is changed.
    """
    if app.user or app.scope.config:
        raise ConfigError("grants are about /etc/unitq/APP.toml: without --user and -c")
    if install and revoke:
        raise ConfigError("--install and --revoke: one of them")
    if install:
        return _install(app.grant(group))
    if revoke:
        return _revoke(app.revoke(group))
    if group is None:
        return _list(app.grants(), as_json=as_json)
    for path, text in app.grant_preview(group).items():
        echo(f"# {path}")
        echo_text(text)
    echo("nothing was changed; --install writes these files, as root", err=True)
    return Exit.OK


def _install(granted: Granted) -> int:
    for grant in granted.grants:
        echo(
            f"{grant.app}: members of {grant.group} may deploy it: `unitq -a {grant.app} deploy`"
            + ("" if granted.changed else " (nothing had to be changed)")
        )
        if path := granted.unreadable.get(grant):
            echo(
                f"note: members cannot read {path}, which `plan`, `check` and `queues` do; if it "
                f"holds no secret that they must not see: chgrp {grant.group} {path} && "
                f"chmod 0640 {path}"
            )
    return Exit.OK


def _revoke(revoked: Revoked) -> int:
    for grant in revoked.grants:
        echo(f"{grant.app}: no longer granted to {grant.group}")
    if not revoked.grants:
        left = ", ".join(f"{grant.app} to {grant.group}" for grant in revoked.left) or "nothing"
        echo(f"no such grant; nothing was changed. Granted: {left}")
    return Exit.OK


def _list(grants: GrantList, *, as_json: bool) -> int:
    if as_json:
        echo_json(grants.to_json())
        return grants.exit_code
    if grants.grants:
        rows = [(grant.app, grant.group) for grant in grants.grants]
        echo_lines(table(("APP", "GROUP"), rows))
        echo(f"Members may: {', '.join(grants.commands)}.")
    else:
        echo("nothing is granted; `unitq grant --group GROUP -a APP` shows what would be")
    for path, state in grants.bad.items():
        echo(f"{path}: {state}; `unitq grant --install` writes it again", err=True)
    return grants.exit_code
