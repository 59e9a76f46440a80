"""rollout status, watch, pause, resume, promote, abort: for one under way, paused or cut off."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import click

from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo, echo_json
from unitq.cli.rollback import of_rollback, pace
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit, NoMatchError, NotPermittedError, PreflightError
from unitq.grants.model import VERBS, prefix
from unitq.linux import files, proc
from unitq.linux.interrupts import PAUSE
from unitq.model import names
from unitq.model.settings import Share
from unitq.revisions import state, store
from unitq.revisions.model import settings_of
from unitq.rollout import ledger_store, report
from unitq.rollout.deployment import Roll, carried_out, plan_to, way_back, ways_out
from unitq.rollout.execute import Waiting, waiting_options, with_max_unavailable
from unitq.text import duration, number, unitq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unitq.cli.scope import Scope
    from unitq.model.layout import AppLayout
    from unitq.revisions.model import Revision
    from unitq.rollout.detach import Ended
    from unitq.rollout.ledger import Story

_LOOK_AGAIN = 0.5  # seconds


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


def _story(scope: Scope) -> Story:
    app = scope.installed().app
    story = ledger_store.latest(scope.layout.app(app))
    if story is None:
        raise NoMatchError(f"{app} has had no rollout", hint="`unitq deploy` begins one")
    return story


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
    return _resumed(
        current(), max_unavailable, Waiting(as_json, timeout, fail_on_kill), promoted=False
    )


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
    return _resumed(
        current(), max_unavailable, Waiting(as_json, timeout, fail_on_kill), promoted=True
    )


def _resumed(
    scope: Scope, max_unavailable: Share | None, waiting: Waiting, *, promoted: bool
) -> Exit:
    from unitq.linux.interrupts import Interrupts

    app = scope.installed().app
    with state.lock(scope.layout, app, state.command_name()):
        story = _story(scope)
        if not story.resumable:
            raise NoMatchError(
                f"rollout {story.number} of {app} has ended: nothing to go on with",
                hint=f"`{unitq(app, user=scope.user)} status` shows what runs",
            )
        if promoted and not story.awaiting:
            raise NoMatchError(
                f"rollout {story.number} of {app} {story.how} and does not wait for promotion",
                hint=f"`{unitq(app, user=scope.user)} rollout resume` goes on with it",
            )
        place = scope.layout.app(app)
        before = scope.installed()
        target = _target(scope, story, before)
        systemd = scope.systemd()
        # Of a way back its own, else what the command line that began it said.
        given = story.settings if target.id == story.revision else None
        base = settings_of(given) if given else target.rollout
        plan = plan_to(scope, systemd, before, target, store.unit_texts(place, target), base)
        settings = with_max_unavailable(base, max_unavailable or _pace_of(story))
        back = way_back(scope, target)
        if story.kind == "rollback" or target.id == story.back_to:
            # One that fails now is not rolled back either.
            settings, back = of_rollback(settings), None
        roll = Roll(
            story.kind, scope, systemd, plan, None, settings, back,
            promoted=promoted or story.promoted,
        )  # fmt: skip
        waiting.say(f"{app}: rollout {story.number} goes on to revision {target.number}")
        with (
            Interrupts().caught() as interrupts,
            _reopened(place, story.number, len(plan.changes)) as book,
        ):
            if promoted:
                book.write("promote", by=state.whoami())
            return carried_out(roll, book, waiting, interrupts)


def _reopened(place: AppLayout, number: int, instances: int) -> ledger_store.Ledger:
    with files.nothing_changed("cannot write the ledger"):
        return ledger_store.resume(place, number, instances)


def _pace_of(story: Story) -> Share | None:
    """What the command line of the rollout said."""
    text = story.max_unavailable
    return Share(int(text.removesuffix("%")), text.endswith("%")) if text else None


def _target(scope: Scope, story: Story, before: Revision) -> Revision:
    """Where a rollout that goes on goes to. Raises PreflightError where that was never written."""
    if before.id in (story.revision, story.back_to):
        return before
    place = scope.layout.app(before.app)
    notes: list[str] = []
    known = store.every(place, notes.append)
    whole = store.complete(place, known)
    for revision in known:
        if revision.id == story.revision and revision.id in whole:
            return revision
    raise PreflightError(
        f"rollout {story.number} of {before.app} was cut off before anything was changed",
        problems=tuple(notes),
        hint="`unitq rollout abort` closes it; then deploy again",
    )


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
    scope = current()
    app = scope.installed().app
    story = ledger_store.latest(scope.layout.app(app))
    holder = state.at_work(scope.layout, app)
    if holder and (story is None or not story.unfinished or story.pid != holder["pid"]):
        # Only a rollout knows the signal; anything else would die of it.
        raise NoMatchError(
            f"`{holder['doing']}` (PID {holder['pid']}) is no rollout that can be paused now",
            hint="`unitq rollout abort` stops it at a safe point, as Ctrl-C does",
        )
    return _tell(PAUSE, "pauses")


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
    app = scope.installed().app
    if state.at_work(scope.layout, app):
        return _tell(signal.SIGINT, "stops")
    with state.lock(scope.layout, app, state.command_name()):
        story = _story(scope)
        if not ledger_store.in_the_way(scope.layout.app(app)):
            raise NoMatchError(f"no rollout of {app} is under way, paused or cut off")
        with _reopened(scope.layout.app(app), story.number, 0) as book:
            book.write("end", code=int(Exit.INTERRUPTED), aborted=True)
    echo(
        f"rollout {story.number} of {app} is given up; "
        f"`{unitq(app, user=scope.user)} status` shows what runs"
    )
    return Exit.OK


def _tell(number: int, does: str) -> Exit:
    scope = current()
    app = scope.installed().app
    holder = state.at_work(scope.layout, app)
    if holder is None:
        raise NoMatchError(f"no rollout of {app} is at work")
    try:
        os.kill(holder["pid"], number)
    except ProcessLookupError:
        raise NoMatchError(f"no rollout of {app} is at work any more") from None
    except PermissionError as error:
        raise NotPermittedError(f"PID {holder['pid']}: {error.strerror}") from error
    echo(f"`{holder['doing']}` (PID {holder['pid']}) {does} once what is in hand is finished")
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
    app = scope.installed().app
    story = _story(scope)
    holder = state.at_work(scope.layout, app)
    how, code = _how(story, at_work=holder is not None)
    if code is Exit.LOCKED and state.busy(scope.layout, app):
        how, code = "at work, or cut off: only root can tell", Exit.OK
    elif code is Exit.LOCKED and not ledger_store.in_the_way(scope.layout.app(app)):
        how, code = "cut off before anything was changed", Exit.OK
    if as_json:
        document = {
            "format": 1,
            "app": app,
            "rollout": story.number,
            "command": story.kind,
            "state": how,
            "revision": story.revision,
            "previous_revision": story.previous,
            "rolled_back_to": story.back_to,
            "began": round(story.began, 3),
            "ended": None if story.ended is None else round(story.ended, 3),
            "by": story.by,
            "pid": holder["pid"] if holder else None,
            "exit_code": story.code,
        }
        echo_json(document)
        return code
    since = duration(max(0.0, time.time() - (story.ended or story.began)))
    goes_on = story.previous in (None, story.revision)
    replaces = "" if goes_on else f", replaces {number(story.previous)}"
    echo(
        f"{app}: rollout {story.number} ({story.kind} of revision {number(story.revision)}"
        f"{replaces}, by {story.by}): {how}, {'began' if story.ended is None else 'ended'} "
        f"{since} ago"
    )
    if code is Exit.LOCKED or code is Exit.PAUSED:
        echo(f"  next: {ways_out(app, story, user=scope.user)}", err=True)
    return code


def _how(story: Story, *, at_work: bool) -> tuple[str, Exit]:
    if story.unfinished:
        return ("at work", Exit.OK) if at_work else (story.state, Exit.LOCKED)
    if story.paused:
        return story.state, Exit.PAUSED
    return report.result(story.code), Exit.OK


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
    from unitq.rollout import detach

    scope = current()
    app = scope.installed().app
    unit = names.rollout(app)
    progress = ledger_store.Progress(scope.layout.app(app))

    def show() -> None:
        for line in progress.news():
            echo(line)

    last = detach.ended(scope.systemd(), unit, show)
    if scope.user or os.geteuid() == 0:
        state.wait_until_idle(scope.layout, app, show)
    else:
        _wait_unseen(scope, app, show)
    for granted, found in _failed_grants(scope, app):
        if found.at > last.at:
            unit, last = granted, found
    show()
    story = _story(scope)
    if (last.signal or last.code != story.code) and last.at > (story.ended or story.began):
        # It came to its end before it began: a check failed, or somebody else was at work. Or it
        # was killed.
        user = "--user " if scope.user else ""
        echo(f"{app}: {unit} {last.words}; `journalctl {user}-u {unit}` has what it said")
        if not last.signal:
            # One of systemd's own statuses is none of ours either (systemd.exec(5)).
            return last.code if last.code in list(Exit) else Exit.BROKEN
        if story.code is not None:
            return Exit.BROKEN  # before it began
    how, _ = _how(story, at_work=False)
    echo(f"{app}: rollout {story.number} ({story.kind} of {number(story.revision)}): {how}")
    if story.code:
        told = f"{unitq(app, user=scope.user)} show {number(story.revision)}"
        echo(f"  next: `{told}` has the report", err=True)
    return Exit.LOCKED if story.code is None else story.code


def _wait_unseen(scope: Scope, app: str, show: Callable[[], None]) -> None:
    """Returns once nobody is at work on the app, as far as it shows without reading its lock."""
    systemd = scope.systemd()
    while True:
        story = ledger_store.latest(scope.layout.app(app))
        at_work = story is not None and story.unfinished and proc.runs(story.pid, "unitq")
        rows = systemd.units(_granted(app, VERBS))
        if not at_work and all(row.active in ("inactive", "failed") for row in rows):
            return
        show()
        state.wait_for(story.pid if story and at_work else os.getpid(), _LOOK_AGAIN)


def _failed_grants(scope: Scope, app: str) -> Iterator[tuple[str, Ended]]:
    """Those units of members that have failed, and how."""
    from unitq.rollout import detach

    systemd = scope.systemd()
    # What else a member may start is none that one leaves and comes back to.
    for row in systemd.units(_granted(app, ("deploy", "rollback"))):
        if row.active == "failed":
            yield row.name, detach.failure_of(systemd, row.name)


def _granted(app: str, verbs: Iterable[str]) -> list[str]:
    return [f"{prefix(verb, app)}*" for verb in verbs]
