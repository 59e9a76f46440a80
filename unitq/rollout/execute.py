"""What deploy, start, stop, restart, scale and remove share: run a rollout, show it, report it."""

from __future__ import annotations

import gc
import re
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

import click

from unitq.cli import progress, report_text
from unitq.cli.output import echo, echo_json, is_terminal
from unitq.errors import ConfigError, Exit
from unitq.instances import observe, paused
from unitq.linux import proc
from unitq.model import names
from unitq.revisions import state
from unitq.rollout import report, withheld
from unitq.rollout.advisory import Advisory
from unitq.rollout.engine.rollout import begin
from unitq.rollout.executor import Executor, Progress, Quiet
from unitq.rollout.in_flight_setup import looks, put_back
from unitq.rollout.plan import Change, PlannedChange, Running
from unitq.systemd import journal_write
from unitq.text import number, unitq
from unitq.units import unit_files
from unitq.units.same_stop import alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unitq.cli.scope import Scope
    from unitq.instances.state import Seen
    from unitq.linux.interrupts import Interrupts
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings, Share
    from unitq.orphans.evidence import Orphan
    from unitq.revisions.model import Revision
    from unitq.rollout.engine.rollout import Rollout
    from unitq.rollout.executor import Stop
    from unitq.rollout.ledger_store import Ledger
    from unitq.rollout.outcome import Outcome
    from unitq.rollout.report import Back
    from unitq.systemd.manager import Systemd


# These promise that no instance runs old code once they are done.
_BRINGS_CODE = frozenset({"deploy", "rollback"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """How the user wants to wait and what he wants to see."""

    json: bool = False
    limit: float | None = None
    fail_on_kill: bool = False
    began: float = field(default_factory=time)  # when the command did; seconds since 1970
    # Somebody else's way to show what happens, and what became of it, in place of our own.
    shown: Progress | None = None
    ended: Callable[[Mapping[str, Any]], None] | None = None

    def say(self, line: str) -> None:
        """Prints a line for a person, where one is meant to read it and still there."""
        if not self.json and self.ended is None:
            with suppress(OSError):
                echo(line)

    def tell(self, document: Mapping[str, Any]) -> None:
        """Prints the report. The outcome stands, whether or not anybody is left to read it."""
        hidden: list[dict[str, Any]] = []
        if state.shared_output():
            document, hidden = withheld.split(document)
        with suppress(OSError):
            if hidden:
                shown = f"{unitq(document['app'], user=False)} show {number(document['revision'])}"
                warn(
                    "what workers printed, and which jobs they had, is for those who may read the "
                    f"journal (group systemd-journal): `{shown}`"
                )
            if self.ended:
                self.ended(document)
            elif self.json:
                echo_json(document)
            else:
                report_text.show(document)


def waiting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json, --timeout and --fail-on-kill."""
    for option in (
        click.option(
            "--fail-on-kill",
            is_flag=True,
            help="Exit with 14 if a worker had to be killed at its stop_timeout.",
        ),
        click.option(
            "--timeout", metavar="TIME", callback=_seconds,
            help="Wait at most so long (90s, 10min); what was begun goes on in systemd. Exit 6.",
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON object; see docs/json.md."),
    ):  # fmt: skip
        function = option(function)
    return function


message_option = click.option(
    "-m",
    "--message",
    metavar="TEXT",
    default="",
    callback=lambda _context, _parameter, value: _one_line(value),
    help="Why, in a line; `unitq history` and `unitq show` have it.",
)


def _one_line(text: str) -> str:
    if len(text) > 200 or not text.isprintable():
        raise click.BadParameter("expected one line of at most 200 characters")
    return text


def _seconds(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> float | None:
    if value is None:
        return None
    from unitq.model.duration import parse

    try:
        return parse(value).seconds
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def share(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> Share | None:
    """The value of --max-unavailable."""
    if value is None:
        return None
    from unitq.model.settings import Share

    digits = value.removesuffix("%")
    percent = value.endswith("%")
    # Four digits at most: Python refuses to convert some thousands of them.
    if re.fullmatch("[0-9]{1,4}", digits) and 1 <= int(digits) <= (100 if percent else 4096):
        return Share(int(digits), percent)
    raise click.BadParameter(f'expected a number from 1 or a percentage to "100%", got "{value}"')


def running(
    systemd: Systemd, scope: Scope, where: observe.Machine, revision: Revision
) -> dict[InstanceName, observe.Instance]:
    """Every instance of the app: those that systemd knows and those that should be there."""
    pinned = state.pinned_instances(scope.layout.app(revision.app))
    workers = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
    known = pinned | set(revision.instances)
    found = observe.instances(systemd, where, revision.app, workers, known)
    found = observe.compared(revision, found)
    # What is loaded, not wanted, not there and not pinned is only a memory of systemd's.
    return {
        name: instance
        for name, instance in found.items()
        if name in known or instance.present or revision.wanted(name)
    }


def as_running(
    instances: Mapping[InstanceName, observe.Instance],
    min_healthy: float = 0.0,
    notes: Mapping[InstanceName, str] | None = None,
) -> dict[InstanceName, Running]:
    """What a plan needs to know of them; `notes` say which are paused (instances/paused.py)."""
    notes = notes or {}
    return {
        name: Running(
            active=instance.present,
            revision=instance.told,
            moved=instance.moved or ("a commit that nothing tells" if instance.doubtful else ""),
            serving=instance.serving,
            ending=instance.ending,
            replaced=bool(instance.replaced),
            unproven=instance.begun is not None and _age(instance) < min_healthy,
            paused=name in notes and notes[name] == instance.invocation,
        )
        for name, instance in instances.items()
    }


def _age(instance: observe.Instance) -> float:
    """Seconds that its main process has lived, whatever the wall clock says; inf: it is gone.

    Not where it has ended since systemd called it running: then what follows is young.
    """
    age = proc.age(instance.main_pid) if instance.main_pid else None
    if age is None:
        return 0.0 if instance.serving else float("inf")
    return age


def keep(instance: InstanceName) -> PlannedChange:
    """A step that leaves the instance alone but counts it."""
    return PlannedChange(instance, Change.KEEP, "not asked for")


def carry_out(
    scope: Scope,
    systemd: Systemd,
    revision: Revision,
    steps: tuple[PlannedChange, ...],
    settings: RolloutSettings,
    waiting: Waiting,
    interrupts: Interrupts,
    book: Ledger | None = None,
    *,
    promoted: bool = False,
) -> Outcome:
    """Runs the rollout, showing its progress. `promoted`: no canaries, they are judged already."""
    gc.enable()  # it may go on for hours; __main__.py switched it off
    steps = tuple(_switching(scope, revision.app, step) for step in steps)
    advisory = Advisory(warn)
    question = partial(_warn_of_paused, scope, revision.app, steps)
    advisory.ask("whether any of them is paused is not known", question, None)
    question = partial(_warn_of_moved, revision, steps)
    advisory.ask("whether a checkout has moved is not known", question, None)
    workers = {worker.name: worker for worker in revision.workers}
    wanted = {
        step.instance: workers[step.instance.worker].revision
        for step in steps
        if step.change is not Change.STOP and step.instance.worker in workers
    }
    probes = {worker.name: worker.probes for worker in revision.workers}
    ending = any(step.change not in (Change.KEEP, Change.START) for step in steps)
    held, there = looks(scope, revision, advisory, ending=ending)
    applier = Executor(systemd, scope.layout, revision.app, book, held, there, advisory)
    keep = book.progress if book else None
    with ExitStack() as stack:
        shown: Progress
        if waiting.shown:
            shown = waiting.shown
        elif is_terminal() and not waiting.json:
            shown = stack.enter_context(progress.Live(held, keep))
        else:
            shown = progress.Lines(held, keep, read=not waiting.json)
        outcome = applier.run(
            begin(steps, settings, wanted, probes=probes, promoted=promoted),
            _Tolerant(shown, advisory),
            interrupts=interrupts,
            limit=waiting.limit,
        )
    if held and outcome.killed:
        back = partial(put_back, scope, revision, outcome, held)
        outcome = replace(outcome, requeued=advisory.ask("no job was put back", back, {}))
    for slot in outcome.killed:
        # Reports of a restart or a stop are not kept, and whoever looks for a job looks there.
        row = report.row(revision.app, slot, outcome)
        note = partial(journal_write.note, row["unit"], report_text.killed(row), user=scope.user)
        advisory.ask("the journal does not name who was killed", note, None)
    return outcome


def _warn_of_paused(scope: Scope, app: str, steps: Iterable[PlannedChange]) -> None:
    """Says which of those that are replaced take no jobs now, while their successors will."""
    runtime = str(scope.layout.runtime_dir.parent)
    notes = paused.notes(scope.layout, app)
    found = [
        str(step.instance)
        for step in steps
        if step.change is Change.RESTART
        and (note := notes.get(step.instance))
        and (life := proc.invocation(names.unit(app, step.instance), runtime))
        and life.id == note
    ]
    if found:
        warn(
            f"{', '.join(found)} {'is' if len(found) == 1 else 'are'} paused, and what takes the "
            "place will take jobs; `unitq pause` once it runs"
        )


def _warn_of_moved(revision: Revision, steps: Iterable[PlannedChange]) -> None:
    """Says where what is started now runs another commit than the deployed one."""
    starting = {
        step.instance.worker
        for step in steps
        if step.change in (Change.START, Change.RESTART, Change.SURGE)
    }
    for name, head in observe.moved_heads(revision).items():
        worker = revision.worker(name)
        if worker and name in starting:
            warn(
                f"{name}: HEAD of {worker.release} is now {head[:12]}: what is started now runs "
                f"it, and not {worker.code_version}; `unitq deploy` rolls it out as a revision"
            )


def _switching(scope: Scope, app: str, step: PlannedChange) -> PlannedChange:
    """The step, knowing whether the instance must be stopped by the older text that it runs by."""
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
        self._passed(lambda: self._shown.stopping(stop))

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Seen], now: float) -> None:
        """Passes on what has changed."""
        self._passed(lambda: self._shown.update(rollout, seen, now))

    def _passed(self, show: Callable[[], None]) -> None:
        try:
            show()
            return
        except OSError:
            pass  # nobody reads it
        except Exception as error:  # noqa: BLE001  (the advisory says it)
            self._advisory.said(error, "no more progress is shown")
        self._shown, self.interval = Quiet(), None


def close(
    verb: str,
    scope: Scope,
    systemd: Systemd,
    revision: Revision,
    previous: str | None,
    outcome: Outcome,
    waiting: Waiting,
    *,
    book: Ledger | None = None,
    back: Back | None = None,
    why_not: str | None = None,
    then: Callable[[dict[str, Any]], None] | None = None,
    restore: str = "",
) -> Exit:
    """Keeps and prints the report, hands it to `then`, and returns the exit code.

    `why_not`: why no rollback (`back`) has followed a failure. `restore`: what brings code back
    that was updated in place.
    """
    code = back.exit if back else outcome.exit(fail_on_kill=waiting.fail_on_kill)
    now_wanted = back.revision if back else revision
    advisory = Advisory(warn)

    def old_code() -> Sequence[observe.Instance]:
        where = observe.machine(systemd, scope.layout)
        found = running(systemd, scope, where, now_wanted)
        return observe.leftovers(now_wanted, found.values())

    leftovers = advisory.ask("what runs now was not looked at", old_code, None)
    if code is Exit.OK and leftovers and verb in _BRINGS_CODE:
        code = Exit.STALE
    run = report.Run(
        verb, waiting.began, scope.user, book.number if book else None,
        _earlier(book) if book else (), why_not, bool(book and book.failed), restore,
    )  # fmt: skip
    left = orphans(scope, now_wanted, advisory)
    document = report.document(run, revision, previous, outcome, leftovers, code, back, left)
    if book:
        written(book, document, outcome, back)
    waiting.tell(document)
    if then:
        advisory.ask("the hook after it was not run to its end", partial(then, document), None)
    return code


def orphans(scope: Scope, revision: Revision, advisory: Advisory) -> tuple[Orphan, ...] | None:
    """What works for the app outside its units, by the processes alone; None: not to be found out.

    It is about the host and not about the rollout, whose outcome stands either way.
    """
    from unitq.orphans import find

    def look() -> tuple[Orphan, ...]:
        return find.look(find.known(scope, revision)).orphans

    return advisory.ask("orphans were not looked for", look, None)


def _earlier(book: Ledger) -> tuple[Mapping[str, Any], ...]:
    """What the commands before this one did in the same rollout."""
    try:
        kept = book.kept()
        return report.earlier(kept) if kept else ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        warn(f"the earlier report of rollout {book.number} cannot be read: {error!r}; left out")
        return ()


def written(book: Ledger, document: dict[str, Any], outcome: Outcome, back: Back | None) -> None:
    """Keeps the report, and that this is the end. What cannot be kept has happened all the same."""
    from unitq.rollout.ledger_store import LedgerError

    more = {"cut_short": True} if back and back.cut_short else {}
    if outcome.rollout.awaiting:
        more["awaiting"] = True
    try:
        book.report(document)
    except OSError as error:
        warn(
            f"the report of rollout {book.number} cannot be kept: {error.strerror}; no rollback "
            "goes to this revision by itself"
        )
    try:
        book.write("end", code=document["exit_code"], **more)
    except LedgerError as error:
        warn(
            f"{error.message}; before the next deploy, "
            f"`{unitq(document['app'], user=document['scope'] == 'user')} rollout resume` has to "
            "look at it again"
        )


def warn(words: str) -> None:
    """Says something that the outcome does not depend on."""
    with suppress(OSError):
        echo(f"warning: {words}", err=True)


def with_max_unavailable(settings: RolloutSettings, value: Share | None) -> RolloutSettings:
    """The settings with what the command line says."""
    return settings if value is None else settings._replace(max_unavailable=value)


def need_terminal(question: str) -> None:
    """Raises ConfigError where nobody is there to answer."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{question}: there is no terminal to ask at", hint="--yes answers yes")
