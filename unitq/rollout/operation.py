"""One command that starts, stops or replaces workers: runs the rollout, shows it, reports."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field, replace
from functools import partial
from time import time
from typing import TYPE_CHECKING

from unitq.errors import Exit
from unitq.instances import observe, paused
from unitq.linux import proc
from unitq.linux.interrupts import Interrupts
from unitq.model import names
from unitq.revisions import state
from unitq.rollout import ledger_store
from unitq.rollout.advisory import Advisory
from unitq.rollout.current_state import as_running
from unitq.rollout.engine.rollout import begin
from unitq.rollout.executor import Executor, Quiet
from unitq.rollout.in_flight_setup import Queues, requeue_jobs, trackers
from unitq.rollout.ledger_store import LedgerError
from unitq.rollout.plan import Change
from unitq.rollout.plan import plan as make_plan
from unitq.rollout.reports import report_text
from unitq.rollout.reports.observed_report import Run, report_of, reported
from unitq.systemd import journal_write
from unitq.text import number, plural, unitq
from unitq.units import unit_files
from unitq.units.same_stop import alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from unitq.context import Scope
    from unitq.instances.state import Observed
    from unitq.model.app import App
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.orphans.evidence import Orphan
    from unitq.revisions.model import Revision
    from unitq.rollout.engine.rollout import Rollout
    from unitq.rollout.executor import Progress, Stop
    from unitq.rollout.ledger_store import Ledger
    from unitq.rollout.plan import Plan, PlannedChange
    from unitq.rollout.presenter import Presenter
    from unitq.rollout.reports.outcome import Outcome, RollbackOutcome
    from unitq.rollout.reports.report import Command, Report
    from unitq.systemd.manager import Systemd


# These promise that no instance runs old code once they are done.
_BRINGS_CODE = frozenset({"deploy", "rollback"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long the user waits, and what counts as a failure."""

    limit: float | None = None  # seconds; None: as long as it takes
    fail_on_kill: bool = False
    began: float = field(default_factory=time)  # when the command did; seconds since 1970


class Operation:
    """What a command needs from its first read of the state to its report."""

    def __init__(
        self,
        verb: str,
        scope: Scope,
        presenter: Presenter,
        waiting: Waiting | None = None,
        *,
        systemd: Systemd | None = None,
        interrupts: Interrupts | None = None,
    ) -> None:
        """`verb`: deploy, restart …, as the report calls it. Connects to systemd when needed."""
        self.verb = verb
        self.scope = scope
        self.presenter = presenter
        self.waiting = waiting or Waiting()
        self.interrupts = interrupts or Interrupts()
        self._systemd = systemd
        # unitq.toml, where the command has read it: it is not read again to find Redis.
        self.configured: tuple[App, Path] | None = None

    @property
    def systemd(self) -> Systemd:
        """The connection, the same one each time. Raises SystemdError."""
        if self._systemd is None:
            self._systemd = self.scope.systemd()
        return self._systemd

    def running(self, revision: Revision) -> dict[InstanceName, observe.Instance]:
        """Returns every instance of the app, as it is now."""
        where = observe.machine(self.systemd, self.scope.layout)
        return observe.running(self.systemd, self.scope.layout, where, revision)

    def plan(
        self,
        current: Revision | None,
        target: Revision,
        units: Mapping[str, str],
        settings: RolloutSettings | None = None,
    ) -> Plan:
        """Returns the plan from what runs now to `target`.

        `settings` where they are not the target's own.
        """
        layout = self.scope.layout
        settings = settings or target.rollout
        seen = self._by_pins(self.running(target), target.app)
        notes = paused.notes(layout, target.app)
        return make_plan(
            current,
            target,
            units=units,
            installed=unit_files.of_app(layout.unit_dir, target.app),
            running=as_running(seen, settings.min_healthy.seconds, notes),
            linked=unit_files.started_by(layout.unit_dir, names.target(target.app)),
            reload=state.reload_pending(layout.app(target.app)),
            settings=settings,
        )

    def _by_pins(
        self, seen: dict[InstanceName, observe.Instance], app: str
    ) -> dict[InstanceName, observe.Instance]:
        """Returns the same, where processes of other accounts count as running what is pinned.

        Only root may read what they run, and a plan is for everybody; a note says so.
        """
        place = self.scope.layout.app(app)
        unread = [
            name for name, instance in seen.items() if instance.present and not instance.readable
        ]
        pins = {name: pin for name in unread if (pin := state.pin_of(place, name))}
        if unread:
            self.presenter.note(
                f"note: cannot read {plural(len(unread), 'instance')} (not root); each counts as "
                "running what was last started"
            )
        return seen | {
            name: seen[name]._replace(revisions=frozenset({pin})) for name, pin in pins.items()
        }

    def roll(
        self,
        revision: Revision,
        steps: tuple[PlannedChange, ...],
        settings: RolloutSettings,
        ledger: Ledger | None = None,
        *,
        promoted: bool = False,
    ) -> Outcome:
        """Runs the rollout and shows its progress; returns its outcome.

        `promoted`: no canaries, they were healthy before. Raises what the executor raises.
        """
        gc.enable()  # it may go on for hours; __main__.py switched it off
        scope = self.scope
        steps = tuple(_switching(scope, revision.app, step) for step in steps)
        advisory = Advisory(self.presenter.warn)
        question = partial(self._warn_of_paused_instances, revision.app, steps)
        advisory.ask("whether any of them is paused is not known", question, None)
        question = partial(self._warn_of_moved_checkouts, revision, steps)
        advisory.ask("whether a checkout has moved is not known", question, None)
        wanted = {
            step.instance: code
            for step in steps
            if step.change is not Change.STOP and (code := revision.code(step.instance))
        }
        probes = {worker.name: worker.probes for worker in revision.workers}
        ending = any(step.change not in (Change.KEEP, Change.START) for step in steps)
        queues = Queues(scope, revision, self.configured)
        jobs, presence = trackers(queues, advisory, ending=ending)
        executor = Executor(
            self.systemd, scope.layout, revision.app, ledger, jobs, presence, advisory
        )
        with self.presenter.progress(jobs, ledger.progress if ledger else None) as progress:
            outcome = executor.run(
                begin(steps, settings, wanted, probes=probes, promoted=promoted),
                _Tolerant(progress, advisory),
                interrupts=self.interrupts,
                limit=self.waiting.limit,
            )
        if jobs and outcome.killed:
            requeue = partial(requeue_jobs, queues, outcome, jobs)
            outcome = replace(outcome, requeued=advisory.ask("no job was put back", requeue, {}))
        for killed in outcome.killed:
            # Reports of a restart or a stop are not kept; people look for a job in the journal.
            row = reported(revision.app, killed, outcome)
            words = report_text.kill_notes(row)
            note = partial(journal_write.note, row.unit, words, user=scope.user)
            advisory.ask("the journal does not name who was killed", note, None)
        return outcome

    def close(
        self,
        revision: Revision,
        previous: str | None,
        outcome: Outcome,
        *,
        ledger: Ledger | None = None,
        back: RollbackOutcome | None = None,
        why_not: str | None = None,
        then: Callable[[Report], None] | None = None,
        restore: str = "",
    ) -> Report:
        """Keeps and shows the report, hands it to `then`, and returns it.

        `back` is the rollback that followed a failure, `why_not` why there was none. `restore` is
        what brings code back that was updated in place.
        """
        code = back.exit if back else outcome.exit(fail_on_kill=self.waiting.fail_on_kill)
        now_wanted = back.revision if back else revision
        advisory = Advisory(self.presenter.warn)

        def old_code() -> Sequence[observe.Instance]:
            return observe.leftovers(now_wanted, self.running(now_wanted).values())

        leftovers = advisory.ask("what runs now was not looked at", old_code, None)
        if code is Exit.OK and leftovers and self.verb in _BRINGS_CODE:
            code = Exit.STALE
        run = Run(
            self.verb, self.waiting.began, self.scope.user, ledger.number if ledger else None,
            self._earlier(ledger) if ledger else (), why_not, bool(ledger and ledger.failed),
            restore,
        )  # fmt: skip
        orphans = self._orphans(now_wanted, advisory)
        report = report_of(run, revision, previous, outcome, leftovers, code, back, orphans)
        if ledger:
            self.keep(ledger, report, outcome, back)
        self._show(report)
        if then:
            advisory.ask("the hook after it was not run to its end", partial(then, report), None)
        return report

    def close_unchanged(
        self, revision: Revision, previous: str | None, *, orphans_too: bool = False
    ) -> Report:
        """Returns and shows the report of a command with nothing to do."""
        run = Run(self.verb, self.waiting.began, self.scope.user)
        orphans = None
        if orphans_too:
            orphans = self._orphans(revision, Advisory(self.presenter.warn))
        report = report_of(run, revision, previous, None, (), Exit.OK, orphans=orphans)
        self._show(report)
        return report

    def keep(
        self, ledger: Ledger, report: Report, outcome: Outcome, back: RollbackOutcome | None
    ) -> None:
        """Keeps the report, and that the rollout has ended.

        What cannot be kept has happened all the same: that is a warning.
        """
        more = {"cut_short": True} if back and back.cut_short else {}
        if outcome.rollout.awaiting:
            more["awaiting"] = True
        try:
            ledger.keep(report)
        except OSError as error:
            self.presenter.warn(
                f"the report of rollout {ledger.number} cannot be kept: {error.strerror}; no "
                "automatic rollback will go to this revision"
            )
        try:
            ledger.write("end", code=report.exit_code, **more)
        except LedgerError as error:
            self.presenter.warn(
                f"{error.message}; before the next deploy, "
                f"`{unitq(report.app, user=self.scope.user)} rollout resume` has to "
                "look at it again"
            )

    def _show(self, report: Report) -> None:
        """Shows the report, without what its readers may not see."""
        if state.shared_output():
            report = ledger_store.public(report)
        if report.withheld:
            shown = f"{unitq(report.app, user=False)} show {number(report.revision)}"
            self.presenter.warn(
                "what workers printed, and which jobs they had, is for those who may read the "
                f"journal (group systemd-journal): `{shown}`"
            )
        self.presenter.report(report)

    def _orphans(self, revision: Revision, advisory: Advisory) -> tuple[Orphan, ...] | None:
        """Returns what works for the app outside its units; None: not known.

        By the processes alone. It is about the host: the outcome of the rollout stands either way.
        """
        from unitq.orphans import find

        def scan() -> tuple[Orphan, ...]:
            return find.scan(find.prepare_search(self.scope, revision)).orphans

        return advisory.ask("orphans were not looked for", scan, None)

    def _earlier(self, ledger: Ledger) -> tuple[Command, ...]:
        """Returns what the commands before this one did in the same rollout."""
        try:
            earlier = ledger.earlier_report()
            return earlier.for_the_next if earlier else ()
        except (OSError, ValueError, LookupError, TypeError) as error:
            self.presenter.warn(
                f"the earlier report of rollout {ledger.number} cannot be read: {error!r}; left out"
            )
            return ()

    def _warn_of_paused_instances(self, app: str, steps: Iterable[PlannedChange]) -> None:
        """Warns of paused instances that are replaced: their successors will take jobs."""
        runtime = str(self.scope.layout.runtime_dir.parent)
        notes = paused.notes(self.scope.layout, app)
        replaced = [
            str(step.instance)
            for step in steps
            if step.change is Change.RESTART
            and (note := notes.get(step.instance))
            and (invocation := proc.invocation(names.unit(app, step.instance), runtime))
            and invocation.id == note
        ]
        if replaced:
            self.presenter.warn(
                f"{', '.join(replaced)} {'is' if len(replaced) == 1 else 'are'} paused, and what "
                "takes the place will take jobs; `unitq pause` once it runs"
            )

    def _warn_of_moved_checkouts(self, revision: Revision, steps: Iterable[PlannedChange]) -> None:
        """Warns where what is started now runs another commit than the deployed one."""
        starting = {
            step.instance.worker
            for step in steps
            if step.change in (Change.START, Change.RESTART, Change.SURGE)
        }
        for name, head in observe.different_heads(revision).items():
            worker = revision.worker(name)
            if worker and name in starting:
                self.presenter.warn(
                    f"{name}: HEAD of {worker.release} is now {head[:12]}: what is started now "
                    f"runs it, and not {worker.code_version}; `unitq deploy` rolls it out as a "
                    "revision"
                )


def _switching(scope: Scope, app: str, step: PlannedChange) -> PlannedChange:
    """Returns the step, with whether the instance must be stopped under its older unit text."""
    if step.change in (Change.KEEP, Change.STOP):
        return step
    folder = scope.layout.unit_dir
    pin = unit_files.pin(folder, names.unit(app, step.instance))
    if pin is None or alike(
        pin, unit_files.text(folder, names.template(app, step.instance.worker))
    ):
        return step
    return replace(step, switches_unit_text=True)


class _Tolerant:
    """Progress that ends when nobody reads it any more: a lost terminal must not stop a rollout."""

    def __init__(self, shown: Progress, advisory: Advisory) -> None:
        self._shown: Progress = shown
        self._advisory = advisory
        self.interval = shown.interval

    def stopping(self, stop: Stop) -> None:
        """Passes it on."""
        self._pass(lambda: self._shown.stopping(stop))

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Observed], now: float) -> None:
        """Passes on what has changed."""
        self._pass(lambda: self._shown.update(rollout, seen, now))

    def _pass(self, show: Callable[[], None]) -> None:
        try:
            show()
            return
        except OSError:
            pass  # nobody reads it
        except Exception as error:  # noqa: BLE001  (the advisory says it)
            self._advisory.warn(error, "no more progress is shown")
        self._shown, self.interval = Quiet(), None
