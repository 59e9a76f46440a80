"""rollout status, watch, pause, resume, promote, abort: for one under way, paused or cut off."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo, echo_json
from unitq.cli.presenter import operation
from unitq.cli.rollout_options import pace, waiting_options
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit
from unitq.grants.watch import follow
from unitq.rollout import control, ledger_store
from unitq.rollout import resume as core
from unitq.rollout.blocking_rollout import ways_out
from unitq.text import duration, number, unitq

if TYPE_CHECKING:
    from unitq.model.settings import Share
    from unitq.revisions.state import Holder


@click.group(
    epilog="""\b
Examples:
  unitq rollout status          what is under way, or how the last one ended
  unitq rollout resume          go on with one that was cut off or is paused
  unitq rollout pause           stop the one at work at a safe point
"""
)
@scope_options
def rollout() -> None:
    """A rollout under way, paused, or cut off: look at it, stop it, go on."""


@rollout.command(
    epilog="""\b
Examples:
  unitq rollout resume
  unitq -a shop rollout resume --max-unavailable 50%

\b
Exit codes: those of deploy.
"""
)
@scope_options
@pace
@waiting_options
@by_grant("rollout.resume")
def resume(
    max_unavailable: Share | None, as_json: bool, timeout: float | None, fail_on_kill: bool
) -> int:
    """Go on with a rollout that was cut off, interrupted or paused.

    From what is there: instances that run the wanted code already are left alone. No
    configuration file is read; what was to be rolled out is what it was.
    """
    command = operation("rollout resume", as_json, timeout, fail_on_kill)
    return core.resume(command, max_unavailable)


@rollout.command(
    epilog="""\b
Examples:
  unitq rollout promote         the canaries are good: replace the others
"""
)
@scope_options
@pace
@waiting_options
@by_grant("rollout.promote")
def promote(
    max_unavailable: Share | None, as_json: bool, timeout: float | None, fail_on_kill: bool
) -> int:
    """Go on with a rollout that waits for promotion: its canaries are good."""
    command = operation("rollout promote", as_json, timeout, fail_on_kill)
    return core.resume(command, max_unavailable, promote=True)


@rollout.command(
    epilog="""\b
Examples:
  unitq rollout pause           then `unitq rollout resume`
"""
)
@scope_options
@by_grant("rollout.pause")
def pause() -> int:
    """Stop the rollout at work at a safe point, to go on later. It then exits with 11."""
    return _told(control.pause(current()), "pauses")


@rollout.command(
    epilog="""\b
Examples:
  unitq rollout abort           leave everything as it is
"""
)
@scope_options
@by_grant("rollout.abort")
def abort() -> int:
    """Give a rollout up, and leave everything as it is: some instances new, some old.

    One at work stops at a safe point first, as with Ctrl-C. `unitq status` shows what runs.
    """
    scope = current()
    if holder := control.interrupt(scope):
        return _told(holder, "stops")
    app, story = scope.installed().app, core.give_up(scope)
    echo(
        f"rollout {story.number} of {app} is given up; "
        f"`{unitq(app, user=scope.user)} status` shows what runs"
    )
    return Exit.OK


def _told(holder: Holder, does: str) -> Exit:
    echo(f"`{holder.doing}` (PID {holder.pid}) {does} once what is in hand is finished")
    return Exit.OK


@rollout.command(
    "status",
    epilog="""\b
Examples:
  unitq rollout status
  unitq -a shop rollout status --json | jq .state

\b
Exit codes: 0 at work or ended; 8 cut off; 11 paused, or waiting for promotion.
""",
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def show(as_json: bool) -> int:
    """Say what is under way, or how the last rollout ended."""
    scope = current()
    found = control.status(scope)
    app, story = found.app, found.story
    if as_json:
        echo_json(found.to_json())
        return found.code
    since = duration(max(0.0, time.time() - (story.ended or story.began)))
    goes_on = story.previous in (None, story.revision)
    replaces = "" if goes_on else f", replaces {number(story.previous)}"
    echo(
        f"{app}: rollout {story.number} ({story.kind} of revision {number(story.revision)}"
        f"{replaces}, by {story.by}): {found.state}, "
        f"{'began' if story.ended is None else 'ended'} {since} ago"
    )
    if found.code in (Exit.LOCKED, Exit.PAUSED):
        echo(f"  next: {ways_out(app, story, user=scope.user)}", err=True)
    return found.code


@rollout.command(
    epilog="""\b
Examples:
  unitq deploy --detach && unitq rollout watch
"""
)
@scope_options
def watch() -> int:
    """Show the progress of the rollout at work until it ends, and exit as it does.

    The lines are those that the command prints where it runs: in another terminal, in CI, by
    itself. Those that it has printed already come first. Ctrl-C ends only the watching.
    """
    scope = current()
    lines = ledger_store.Progress(scope.layout.app(scope.installed().app))

    def show() -> None:
        for line in lines.news():
            echo(line)

    found = follow(scope, show)
    app, story = found.app, found.story
    if found.unit:
        user = "--user " if scope.user else ""
        echo(
            f"{app}: {found.unit} {found.last.words}; `journalctl {user}-u {found.unit}` has what "
            "it said"
        )
    if not found.began:
        return found.code
    how, _ = control.stands(story, at_work=False)
    echo(f"{app}: rollout {story.number} ({story.kind} of {number(story.revision)}): {how}")
    if story.code:
        told = f"{unitq(app, user=scope.user)} show {number(story.revision)}"
        echo(f"  next: `{told}` has the report", err=True)
    return found.code
