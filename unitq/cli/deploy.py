"""check, render, plan, deploy: from unitq.toml to running workers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unitq.cli import completions
from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo, echo_json, echo_lines, echo_text
from unitq.cli.plan_text import as_text
from unitq.cli.presenter import operation
from unitq.cli.rollout_options import (
    given,
    message_option,
    rollout_options,
    unavailable,
    waiting_options,
)
from unitq.cli.scope import current, scope_options
from unitq.cli.targets import WholeApp
from unitq.errors import Exit
from unitq.linux import files, folder
from unitq.rollout import check as checking
from unitq.rollout import deploy as deploying
from unitq.rollout.plan_summary import summary
from unitq.rollout.prepare import Request, prepare
from unitq.rollout.wanted_units import units_to_deploy

if TYPE_CHECKING:
    from unitq.model.settings import Share
    from unitq.rollout.check import CheckResult
    from unitq.rollout.prepare import Prepared


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
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def check(ask_redis: bool, as_json: bool) -> int:
    """Look for mistakes in unitq.toml and on this machine.

    Validates the file, has systemd verify the units, and looks for missing programs, directories
    and users, and for what loses jobs. Notes how much of the machine each worker can reach.
    `allow = ["pipe"]` silences the finding that ends in [pipe, certain].
    Changes nothing. Exits with 0, with 2 if the file is invalid, with 3 if something is missing,
    with 5 if something can only be read as root.
    """
    found = checking.check(current(), ask_redis=ask_redis)
    if as_json:
        echo_json(_checked(found))
    else:
        for finding in found.findings:
            echo_lines(finding.lines)
        if found.redis and found.redis.reachable:
            echo(found.redis)
        counts = ", ".join(f"worker {w.name}: {w.instances}" for w in found.app.workers)
        verdict = "ok" if found.ready else "not ready"
        echo(f"{found.path}: {verdict} (app {found.app.name}; {counts})")
    return found.exit


def _checked(found: CheckResult) -> dict[str, Any]:
    rows = [
        {
            "level": str(f.level),
            "certainty": str(f.certainty),
            "name": f.name,
            "place": f.place,
            "message": f.message,
            "why": f.why,
            "hint": f.hint,
        }
        for f in found.findings
    ]
    asked = {"redis": found.redis.to_json()} if found.redis else {}
    return {"format": 1, "file": str(found.path), "findings": rows, **asked}


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
def render(output: str | None) -> int:
    """Print or write the systemd units, without installing anything.

    They are those that a deploy would install now. Needs neither systemd nor the code. Of
    environments only the files are named: values may be secrets (`unitq show` has the names).
    """
    scope = current()
    units = units_to_deploy(scope, scope.load()[0]).units
    if output is None:
        for unit in units:
            echo(f"# {scope.layout.unit_dir / unit.name}")
            echo_text(f"{unit.text}\n")
        return Exit.OK
    with files.preflight_errors("cannot write"), folder.output(output, make=True) as place:
        for unit in units:
            place.replace(unit.name, unit.text.encode(), 0o644)
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
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def plan(label: str | None, adopt: bool, as_json: bool) -> int:
    """Show what a deploy would change: units as a diff, and what happens to each instance.

    Changes nothing. Exits with 0 if nothing is to be done, with 12 if changes are pending; with 5
    where only root can tell whether an environment has changed.
    """
    command = operation("plan", as_json)
    app, path = command.scope.load()
    return _shown(prepare(command, Request(app, path, label, adopt=adopt)), as_json=as_json)


def _shown(prepared: Prepared, *, as_json: bool) -> Exit:
    """Prints the plan; returns the exit code."""
    if as_json:
        echo_json(summary(prepared).to_json())
    else:
        echo_lines(as_text(summary(prepared)))
    if prepared.plan.pending:
        return Exit.PENDING
    return Exit.NOT_PERMITTED if prepared.unknown else Exit.OK


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
Ctrl-C finishes the instances in hand and stops (exit 10); the same command goes on from there.
A second Ctrl-C detaches at once (exit 130); what was begun goes on in systemd.
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
    label: str | None,
    message: str,
    max_unavailable: Share | None,
    adopt: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    timeout: float | None,
    fail_on_kill: bool,
    **flags: str | None,
) -> int:  # fmt: skip
    """Install what unitq.toml says and roll it out.

    Checks everything first. Then installs the units, starts what is new, restarts what runs
    something else than what is wanted now, a few at a time, each healthy before the next drains,
    and stops what is gone. Instances that run the wanted code and units already are left alone.
    """
    command = operation("deploy", as_json, timeout, fail_on_kill)
    scope = command.scope
    app, path, settings = scope.load_paced(given(flags, max_unavailable))
    request = Request(app, path, label, message, max_unavailable, settings, adopt)
    if dry_run:
        return _shown(prepare(command, request), as_json=as_json)
    if not detach:
        return deploying.deploy(command, request)
    unit = deploying.deploy_detached(command, request, sys.argv[1:])
    user = "--user " if scope.user else ""
    echo(
        f"{app.name}: the deploy runs as {unit}; `unitq {user}-a {app.name} rollout watch` waits "
        f"for it, `journalctl {user}-u {unit}` has what it prints"
    )
    return Exit.OK
