"""check, render, plan, deploy: from unitq.toml to running workers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo, echo_text
from unitq.cli.plan_text import as_text
from unitq.cli.presenter import presenter
from unitq.cli.rollout_options import (
    message_option,
    rollout_options,
    rollout_settings,
    unavailable,
    waiting_options,
)
from unitq.cli.scope import json_option, scope_options
from unitq.cli.targets import WholeApp
from unitq.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.api import App, Deploy
    from unitq.cli.presenter import Screen
    from unitq.model.settings import Share
    from unitq.rollout.checks.check import CheckResult


@click.command(
    cls=WholeApp,
    epilog="""\b
Examples:
  unitq check                   look at ./unitq.toml
  unitq -c shop.toml check --json
  unitq check --redis           ask the Redis that [redis] names, too
""",
)
@scope_options
@click.option("--redis", "ask_redis", is_flag=True, help="Ask the Redis that [redis] names, too.")
@json_option
def check(app: App, ask_redis: bool, as_json: bool) -> int:
    """Look for mistakes in unitq.toml and on this machine.

    Validates the file, has systemd verify the units, and looks for missing programs, directories
    and users, and for what loses jobs. Notes how much of the machine each worker can reach.
    `allow = ["pipe"]` silences the finding that ends in [pipe, certain].
    Changes nothing. Exits with 0, with 2 if the file is invalid, with 3 if something is missing,
    with 5 if something can only be read as root.
    """
    return presenter(as_json=as_json).show(app.check(redis=ask_redis), _check_lines)


def _check_lines(checked: CheckResult) -> Iterator[str]:
    for finding in checked.findings:
        yield from finding.lines
    if checked.redis and checked.redis.reachable:
        yield str(checked.redis)
    workers = checked.app.workers
    counts = ", ".join(f"worker {worker.name}: {worker.instances}" for worker in workers)
    verdict = "ok" if checked.ready else "not ready"
    yield f"{checked.path}: {verdict} (app {checked.app.name}; {counts})"


@click.command(
    epilog="""\b
Examples:
  unitq render                       print every unit
  unitq render --output /tmp/units   write one file each
"""
)
@scope_options
@click.option(
    "--output",
    metavar="DIR",
    shell_complete=completions.folders,
    help="Write the files there instead of printing them.",
)
def render(app: App, output: str | None) -> int:
    """Print or write the systemd units, without installing anything.

    They are those that a deploy would install now. Needs neither systemd nor the code. Of
    environments only the files are named: values may be secrets (`unitq show` has the names).
    """
    for unit in app.render(output):
        if output is None:
            echo(f"# {app.scope.layout.unit_dir / unit.name}")
            echo_text(f"{unit.text}\n")
        else:
            echo(Path(output) / unit.name)
    return Exit.OK


_label = click.option(
    "--revision",
    "label",
    metavar="NAME",
    help="What the code is called (a commit, a build number), instead of finding it out.",
)
_adopt = click.option(
    "--adopt",
    is_flag=True,
    help="Take over an app of this name that was installed from another file.",
)


@click.command(
    cls=WholeApp,
    epilog="""\b
Examples:
  unitq plan            the changes, as a diff and one line per instance
  unitq plan --json
""",
)
@scope_options
@_label
@_adopt
@json_option
def plan(app: App, label: str | None, adopt: bool, as_json: bool) -> int:
    """Show what a deploy would change: units as a diff, and what happens to each instance.

    Changes nothing. Exits with 0 if nothing is to be done, with 12 if changes are pending; with 5
    where only root can tell whether an environment has changed.
    """
    shown = presenter(as_json=as_json)
    return shown.show(app.plan(revision=label, adopt=adopt, presenter=shown), as_text)


@click.command(
    cls=WholeApp,
    epilog="""\b
Examples:
  unitq deploy                            after each change of the code or of unitq.toml
  unitq deploy --revision $GIT_COMMIT     in a pipeline
  unitq deploy --max-unavailable 25%      faster
  unitq deploy --canary 1 --promote manual
  unitq deploy --dry-run                  only show what would happen

\b
Ctrl-C finishes the instances under way and stops (exit 10); the same command resumes.
A second Ctrl-C detaches at once (exit 130); systemd finishes what was begun.
Exit codes: docs/runbook.md.
""",
)
@scope_options
@_label
@click.option(
    "--max-unavailable",
    metavar="N|N%",
    callback=unavailable,
    help="How many instances of a worker may be unavailable at a time, draining ones included.",
)
@rollout_options
@_adopt
@click.option("--dry-run", is_flag=True, help="Only show the plan; exits as `unitq plan` does.")
@click.option(
    "--detach",
    is_flag=True,
    help="Check, then let systemd run the deploy, and return. `unitq rollout watch` waits for it.",
)
@message_option
@waiting_options
@by_grant("deploy")
def deploy(
    app: App,
    label: str | None,
    message: str,
    max_unavailable: Share | None,
    adopt: bool,
    dry_run: bool,
    detach: bool,
    presenter: Screen,
    timeout: float | None,
    fail_on_kill: bool,
    **flags: str | None,
) -> int:
    """Install what unitq.toml says and roll it out.

    Checks everything first. Then installs the units, starts what is new, restarts what runs
    something else than what is wanted now, a few at a time, each healthy before the next drains,
    and stops what is gone. Instances that run the wanted code and units already are left alone.
    """
    asked: Deploy = {
        "revision": label, "message": message, "max_unavailable": max_unavailable, "adopt": adopt,
        "options": rollout_settings(flags, max_unavailable), "presenter": presenter,
        "timeout": timeout, "fail_on_kill": fail_on_kill,
    }  # fmt: skip
    if dry_run:
        return presenter.show(app.plan(**asked), as_text)
    if not detach:
        return app.deploy(**asked).exit_code
    name, unit = app.deploy_in_background(sys.argv[1:], **asked)
    user = "--user " * app.user
    echo(
        f"{name}: the deploy runs as {unit}; `unitq {user}-a {name} rollout watch` waits "
        f"for it, `journalctl {user}-u {unit}` has what it prints"
    )
    return Exit.OK
