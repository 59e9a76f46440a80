"""What takes an app to a revision: install, roll, roll back where it fails, report.

Shared by deploy, scale, rollback and `rollout resume`. What is done is in the ledger
before it is done.
"""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unitq.cli.output import echo
from unitq.errors import (
    Exit,
    GoingDownError,
    LockedError,
    NotPermittedError,
    PreflightError,
    SystemdError,
    UnitqError,
)
from unitq.instances import observe, paused
from unitq.linux import files
from unitq.model import names
from unitq.model.settings import OnFailure, Share
from unitq.revisions import checkout, history, in_place, state, store
from unitq.revisions.model import Origin, Revision, plain, restored
from unitq.rollout import install, ledger_store
from unitq.rollout.advisory import Advisory, end_in_words, in_words
from unitq.rollout.engine.instance import IN_FLIGHT
from unitq.rollout.engine.rollout import begin
from unitq.rollout.execute import as_running, carry_out, close, running, warn
from unitq.rollout.executor import forget, out_of_reach
from unitq.rollout.ledger import story
from unitq.rollout.outcome import Outcome
from unitq.rollout.plan import Change, Plan
from unitq.rollout.plan import plan as make_plan
from unitq.rollout.report import NO_WAY_BACK, Back
from unitq.text import plural, unitq
from unitq.units import unit_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from unitq.cli.scope import Scope
    from unitq.linux.interrupts import Interrupts
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.execute import Waiting
    from unitq.rollout.ledger import Story
    from unitq.rollout.ledger_store import Ledger
    from unitq.systemd.manager import Systemd
    from unitq.units.render import Rendered


@dataclass(frozen=True, slots=True)
class Roll:
    """One app on its way to a revision."""

    verb: str
    scope: Scope
    systemd: Systemd
    plan: Plan
    content: Rendered | Revision | None  # see install.install
    settings: RolloutSettings
    way_back: Revision | None  # what to roll back to where it fails
    keep: int | None = None  # so many revisions stay; None: nothing is deleted
    then: Callable[[dict[str, Any]], None] | None = None  # gets the report
    promoted: bool = False  # what it takes the app to has proved itself before

    @property
    def app(self) -> str:
        return self.plan.target.app

    @property
    def previous(self) -> str | None:
        return self.plan.current.id if self.plan.current else None

    @property
    def restore(self) -> str:
        """What brings the old code back where it was updated in place; empty: a rollback does."""
        goal = self.way_back
        return restore(self.scope, goal, self.plan.target) if goal else ""


def restore(scope: Scope, goal: Revision, now: Revision) -> str:
    """What brings the code of `goal` back where that of `now` has replaced its files.

    Empty where a rollback does.
    """
    gone = in_place.overwritten(goal, now)
    return checkout.how_to_restore(goal, gone, now, typed_deploy(scope, now)) if gone else ""


def typed_deploy(scope: Scope, revision: Revision) -> str:
    """The command that deploys this app, from whatever directory."""
    return f"unitq{' --user' * scope.user} -c {shlex.quote(revision.config)} deploy"


def nothing_in_the_way(scope: Scope, app: str) -> None:
    """Raises LockedError where an unfinished rollout has to be dealt with first."""
    story = ledger_store.in_the_way(scope.layout.app(app))
    if story is None:
        return
    raise LockedError(
        f"rollout {story.number} of {app} ({story.kind} of {story.revision} by {story.by}) "
        f"{story.how}",
        hint=ways_out(app, story, user=scope.user),
    )


def ways_out(app: str, story: Story, *, user: bool) -> str:
    """What may follow a rollout that was cut off or is paused."""
    on = "promote" if story.awaiting else "resume"
    typed = unitq(app, user=user)
    return (
        f"`{typed} rollout {on}` goes on, `{typed} rollback` goes back, "
        f"`{typed} rollout abort` leaves everything as it is"
    )


def plan_to(
    scope: Scope,
    systemd: Systemd,
    current: Revision | None,
    target: Revision,
    units: Mapping[str, str],
    settings: RolloutSettings | None = None,
) -> Plan:
    """The plan from what is there to `target`; `settings` where they are not the target's own."""
    layout = scope.layout
    settings = settings or target.rollout
    seen = running(systemd, scope, observe.machine(systemd, layout), target)
    seen = _by_pins(seen, scope, target.app)
    return make_plan(
        current,
        target,
        units=units,
        installed=unit_files.installed(layout.unit_dir, target.app),
        running=as_running(seen, settings.min_healthy.seconds, paused.notes(layout, target.app)),
        linked=unit_files.enabled(layout.unit_dir, names.target(target.app)),
        reload=state.reload_pending(layout.app(target.app)),
        settings=settings,
    )


def _by_pins(
    seen: dict[InstanceName, observe.Instance], scope: Scope, app: str
) -> dict[InstanceName, observe.Instance]:
    """The same, but what another account's processes run is what they were to be started with.

    Only root may ask them, and a plan is for everybody; it says so.
    """
    place = scope.layout.app(app)
    unread = [name for name, one in seen.items() if one.present and not one.readable]
    told = {name: pin for name in unread if (pin := state.pinned(place, name))}
    if unread:
        echo(
            f"note: {plural(len(unread), 'instance')} may be looked into by root only; taken to "
            "run what was last started",
            err=True,
        )
    return seen | {name: seen[name]._replace(revisions=frozenset({told[name]})) for name in told}


def way_back(scope: Scope, target: Revision) -> Revision | None:
    """The revision that a rollback from `target` would go to; None: there is none."""
    place = scope.layout.app(target.app)
    known = store.every(place, _unsaid)
    found = history.entries(known, store.reports(place, _unsaid), None, None)
    entry = history.last_stable(found, target, store.complete(place, known))
    return entry.revision if entry else None


def _unsaid(words: str) -> None:
    """What cannot be read is no way back; `unitq history` says why."""


def begun(
    roll: Roll, max_unavailable: Share | None, settings: RolloutSettings | None = None
) -> Ledger:
    """Opens the ledger: nothing is changed before. Raises PreflightError on a full disk.

    `settings` are those that the command line has changed, for who goes on with the rollout.
    """
    with files.nothing_changed("cannot write the ledger"):
        return ledger_store.begin(
            roll.scope.layout.app(roll.app),
            roll.verb,
            revision=roll.plan.target.id,
            previous=roll.previous,
            instances=len(roll.plan.changes),
            max_unavailable=None if max_unavailable is None else str(max_unavailable),
            settings=None if settings is None else plain(settings),
        )


def carried_out(roll: Roll, book: Ledger, waiting: Waiting, interrupts: Interrupts) -> Exit:
    """Takes the app there, or back; prints the report, keeps it, and returns the exit code."""
    try:
        outcome = _rolled(roll, book, waiting, interrupts)
    except (PreflightError, NotPermittedError):
        book.void()
        raise
    except (ledger_store.LedgerError, GoingDownError):
        raise  # cut off: what it was about to do has to be looked at again
    except UnitqError as error:
        if out_of_reach(roll.systemd):
            raise  # cut off as well, whatever the last words were
        # It ended with an error that was told: the same command again goes on.
        with suppress(ledger_store.LedgerError):
            book.write("end", code=int(error.exit))
        raise
    except Exception as error:  # noqa: BLE001  (told in the report, and gone back from)
        outcome = _broken(roll, end_in_words(error))
    back: Back | str | None = None
    # What somebody else stopped says nothing about the release.
    to_blame = [slot for slot in outcome.failed if not slot.stopped_externally]
    if ((outcome.rollout.failed and to_blame) or outcome.broken) and not outcome.detached:
        back = _rolled_back(roll, outcome, book, waiting, interrupts)
    failed = outcome.failed or outcome.broken
    why_not = None
    if isinstance(back, str):
        why_not, back = f"it could not begin: {back}", None
    elif failed and back is None:
        why_not = _why_not(roll, outcome)
    return close(
        roll.verb, roll.scope, roll.systemd, roll.plan.target, _previous(roll, book), outcome,
        waiting, book=book, back=back, why_not=why_not, then=roll.then,
        restore="" if back else roll.restore,
    )  # fmt: skip


def _broken(roll: Roll, why: str) -> Outcome:
    """What became of a rollout that ended before its first look, by what nobody expected."""
    rollout = begin(roll.plan.changes, roll.settings, {}, probes={})
    return Outcome(rollout=rollout, seen={}, seconds=0.0, least_serving={}, broken=why)


def _previous(roll: Roll, book: Ledger) -> str | None:
    """What it replaces: of a rollout that goes on, what it replaced when it began."""
    told = story(book.number, ledger_store.read(roll.scope.layout.app(roll.app), book.number))
    return told.previous if told and told.revision == roll.plan.target.id else roll.previous


def _why_not(roll: Roll, outcome: Outcome) -> str:
    """Why a failure is followed by no rollback, in words."""
    if outcome.detached:
        return "nobody waited for the end"
    if not outcome.rollout.failed and not outcome.broken:
        return f"no more have failed than max_failures ({roll.settings.max_failures}) allows"
    if outcome.failed and all(slot.stopped_externally for slot in outcome.failed):
        return "somebody stopped what failed, which says nothing about the release"
    if roll.way_back is None and roll.plan.target.restores is not None:
        return "this is a rollback, which is never rolled back"
    if roll.settings.on_failure is not OnFailure.ROLLBACK:
        return f'on_failure = "{roll.settings.on_failure}"'
    if roll.way_back is not None and (
        gone := in_place.overwritten(roll.way_back, roll.plan.target)
    ):
        return (
            f"the code in {', '.join(in_place.directories(gone))} is updated in place, so a "
            "rollback would start the same files again; instances that were not restarted still "
            "run the old code, from memory"
        )
    return NO_WAY_BACK


def _rolled(roll: Roll, book: Ledger, waiting: Waiting, interrupts: Interrupts) -> Outcome:
    plan, layout = roll.plan, roll.scope.layout
    book.write("install", revision=plan.target.id, files=len(plan.files), pins=len(plan.pins))
    install.install(roll.systemd, layout, plan, roll.content)
    outcome = carry_out(
        roll.scope, roll.systemd, plan.target, plan.changes, roll.settings, waiting, interrupts,
        book, promoted=roll.promoted,
    )  # fmt: skip
    outcome = replace(outcome, limits=plan.limits)
    if outcome.rollout.complete and not outcome.failed:
        deleted = [change for change in plan.files if change.after is None]
        gone = [
            step.instance for step in plan.changes if step.change in (Change.STOP, Change.SURGE)
        ]
        alive = {seen.revision for seen in outcome.seen.values() if seen.revision}
        try:
            install.clean(roll.systemd, layout, roll.app, deleted, gone)
            forget(roll.systemd, layout, roll.app, gone)
            if roll.keep is not None:
                store.prune(layout.app(roll.app), plan.target, roll.keep, alive)
        except OSError as error:
            Advisory(warn).said(error, "what is no longer wanted stays until the next deploy")
    return outcome


def _rolled_back(
    roll: Roll, failed: Outcome, book: Ledger, waiting: Waiting, interrupts: Interrupts
) -> Back | str | None:
    """The rollback after a failure, or why it could not begin.

    None: there is nothing to go back to, or it is not wanted.

    A rollback is never rolled back.
    """
    goal = roll.way_back
    if goal is None or roll.settings.on_failure is not OnFailure.ROLLBACK:
        return None
    if in_place.overwritten(goal, roll.plan.target):
        return None  # it would start the same files, also where the old ones are still in memory
    why = f"revision {roll.plan.target.number} failed"
    origin = Origin(time.time(), state.whoami(), goal.config, why)
    target = restored(roll.plan.target, goal, origin)
    try:
        return _way_there(roll, goal, target, failed, book, waiting, interrupts)
    except GoingDownError:
        raise
    except Exception as error:
        if isinstance(error, SystemdError) and out_of_reach(roll.systemd):
            raise
        # A disk that is full, or read-only, mostly.
        with suppress(ledger_store.LedgerError):
            book.write("stay", revision=roll.plan.target.id)
        why = in_words(error)
        with suppress(OSError):
            echo(
                f"warning: no rollback, all is left as it is: {why}; once that is "
                f"mended, `{unitq(roll.app, user=roll.scope.user)} rollback` goes back",
                err=True,
            )
        return why


def _way_there(
    roll: Roll,
    goal: Revision,
    target: Revision,
    failed: Outcome,
    book: Ledger,
    waiting: Waiting,
    interrupts: Interrupts,
) -> Back:
    """Goes back to `goal`, as the revision `target`."""
    place = roll.scope.layout.app(roll.app)
    ledger_store.give_up_way_back(place)
    plan = plan_to(
        roll.scope, roll.systemd, roll.plan.target, target, store.unit_texts(place, goal)
    )
    urgent: set[InstanceName] = {slot.instance for slot in failed.failed}
    # Where the rollout broke off, some may still be on their way to what has failed, whatever
    # runs at this moment.
    if failed.broken:
        urgent |= {
            slot.instance for slot in failed.rollout.instances.values() if slot.phase in IN_FLIGHT
        }
    steps = tuple(
        replace(
            step,
            failed_before=True,
            change=Change.RESTART if step.change is Change.KEEP else step.change,
        )
        if step.instance in urgent
        else step
        for step in plan.changes
    )
    # One that fails now must not keep the others on the code that has failed already.
    settings = goal.rollout._replace(max_failures=len(steps), canary=Share(0))
    book.write("rollback", revision=target.id, restores=goal.id)
    there = Roll(
        "rollback", roll.scope, roll.systemd, replace(plan, changes=steps), goal, settings, None,
        promoted=True,
    )  # fmt: skip
    words = f"{roll.app}: rolling back to revision {goal.number}, as {target.number}"
    waiting.say(words)
    book.progress(words)
    return Back(target, _rolled(there, book, waiting, interrupts))
