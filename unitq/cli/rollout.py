"""rollout status, watch, pause, resume, promote, abort: for one under way, paused or cut off."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo
from unitq.cli.presenter import presenter
from unitq.cli.rollout_options import pace, waiting_options
from unitq.cli.scope import json_option, scope_options
from unitq.errors import Exit
from unitq.text import duration, number, unitq

if TYPE_CHECKING:
    from typing import Unpack

    from unitq.api import App, Run
    from unitq.model.settings import Share
    from unitq.revisions.state import Holder
    from unitq.rollout.control import Status as RolloutStatus


@click.group(
    epilog="""\b
Examples:
  unitq rollout status          what is under way, or how the last one ended
  unitq rollout resume          continue one that was cut off or is paused
  unitq rollout pause           stop the one at work at a safe point
"""
)
@scope_options
def rollout(app: App) -> None:
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
def resume(app: App, max_unavailable: Share | None, **run: Unpack[Run]) -> int:
    """Go on with a rollout that was cut off, interrupted or paused.

    Instances that run the wanted code already are left alone. No
    configuration file is read; what was to be rolled out is what it was.
    """
    return app.resume_rollout(max_unavailable=max_unavailable, **run).exit_code


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
def promote(app: App, max_unavailable: Share | None, **run: Unpack[Run]) -> int:
    """Go on with a rollout that waits for promotion: its canaries are good."""
    return app.promote(max_unavailable=max_unavailable, **run).exit_code


@rollout.command(
    epilog="""\b
Examples:
  unitq rollout pause           then `unitq rollout resume`
"""
)
@scope_options
@by_grant("rollout.pause")
def pause(app: App) -> int:
    """Stop the rollout at work at a safe point, to go on later. It then exits with 11."""
    return _tell(app.pause_rollout(), "pauses")


@rollout.command(
    epilog="""\b
Examples:
  unitq rollout abort           leave everything as it is
"""
)
@scope_options
@by_grant("rollout.abort")
def abort(app: App) -> int:
    """Give a rollout up, and leave everything as it is: some instances new, some old.

    One at work stops at a safe point first, as with Ctrl-C. `unitq status` shows what runs.
    """
    name = app.installed().app
    stopped = app.abort_rollout()
    if not isinstance(stopped, int):
        return _tell(stopped, "stops")
    echo(
        f"rollout {stopped} of {name} is given up; "
        f"`{unitq(name, user=app.user)} status` shows what runs"
    )
    return Exit.OK


def _tell(holder: Holder, does: str) -> Exit:
    echo(f"`{holder.doing}` (PID {holder.pid}) {does} once the instances under way are finished")
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
@json_option
def show(app: App, as_json: bool) -> int:
    """Say what is under way, or how the last rollout ended."""
    status = app.rollout()
    code = presenter(as_json=as_json).show(status, _lines)
    if status.ways_out and not as_json:
        echo(f"  next: {status.ways_out}", err=True)
    return code


def _lines(status: RolloutStatus) -> list[str]:
    story = status.story
    since = duration(max(0.0, time.time() - (story.ended or story.began)))
    again = story.previous in (None, story.revision)
    replaces = "" if again else f", replaces {number(story.previous)}"
    line = (
        f"{status.app}: rollout {story.number} ({story.kind} of revision "
        f"{number(story.revision)}{replaces}, by {story.by}): {status.state}, "
        f"{'began' if story.ended is None else 'ended'} {since} ago"
    )
    return [line]


@rollout.command(
    epilog="""\b
Examples:
  unitq deploy --detach && unitq rollout watch
"""
)
@scope_options
def watch(app: App) -> int:
    """Show the progress of the rollout at work until it ends, and exit as it does.

    The lines are those that the command prints where it runs: in another terminal, in CI, or
    in the background. Those that it has printed already come first. Ctrl-C ends only the watching.
    """
    end = app.watch_rollout(echo)
    story, user = end.story, "--user " * app.user
    if end.unit:
        echo(
            f"{end.app}: {end.unit} {end.last.words}; `journalctl {user}-u {end.unit}` has what "
            "it said"
        )
    if not end.began:
        return end.code
    echo(f"{end.app}: rollout {story.number} ({story.kind} of {number(story.revision)}): {end.how}")
    if story.code:
        typed = f"{unitq(end.app, user=app.user)} show {number(story.revision)}"
        echo(f"  next: `{typed}` has the report", err=True)
    return end.code
