"""status: what is there. On the fast path: nothing is imported that is not used."""

from __future__ import annotations

import gc
import os
import time
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.cli.scope import chosen, current, scope_options
from unitq.cli.status.columns import HEADER, WRAPPED, fitted
from unitq.cli.targets import targets
from unitq.errors import Exit, NoMatchError, UnitqError
from unitq.instances import observe, paused
from unitq.linux import proc
from unitq.model import names
from unitq.revisions import state
from unitq.revisions.in_place import nothing_to_compare
from unitq.rollout import ledger_store
from unitq.text import duration, number, plural, size, table, unitq
from unitq.units.dropin_files import DropIns
from unitq.units.dropins import changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from unitq.cli.scope import Scope
    from unitq.cli.status.queues import Queued
    from unitq.instances.crash_loop import CrashLoop
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.rollout.ledger import Story
    from unitq.systemd.manager import Systemd
    from unitq.units.dropins import Change


# How a rollout may have ended that did not get where it was to go.
_FAILED = frozenset({
    Exit.BROKEN, Exit.GAVE_UP_WAITING, Exit.DEGRADED, Exit.ROLLED_BACK, Exit.INTERRUPTED,
    Exit.DETACHED,
})  # fmt: skip


_NAMED = 5  # instances of a worker of which it is said why they do not serve
_FRESH = {
    "": "-",
    "current": "yes",
    "in place": "in place",
    "moved": "MOVED",
    "old": "NO",
    "unknown": "?",
}


class Row(NamedTuple):
    """One instance, with what should be."""

    instance: observe.Instance
    wanted: str | None  # the revision that it should run; None: it should not run
    code: str | None  # the revision that its worker should run
    paused: bool = False  # told to take no jobs, and that holds for this life of it
    young: bool = False  # it has not lived for min_healthy
    crashed: bool = False  # it ended, and not with 0, and is being started again
    loop: CrashLoop | None = None
    unproved: bool = False  # it has ended again and again, and the journal does not tell how
    age: float | None = None  # seconds in its state, by no clock that anybody sets

    @property
    def fresh(self) -> bool | None:
        return self.instance.fresh(self.code)

    @property
    def serving(self) -> bool:
        bad = self.paused or self.loop or self.unproved or self.instance.elsewhere
        return self.instance.serving and not bad

    def code_state(self, worker: WorkerRevision | None) -> str:
        """Which code it runs: current, in place, moved, old, unknown; empty: it has no process."""
        if not self.instance.pids:
            return ""
        if self.instance.moved:
            return "moved"
        if self.fresh is not True:
            return "old" if self.fresh is False else "unknown"
        nothing = self.instance.uncompared or (worker and nothing_to_compare(worker))
        return "in place" if nothing else "current"

    @property
    def state(self) -> str:
        if self.instance.active == "deactivating":
            return "draining"
        if self.loop:
            return "crash loop"
        if self.instance.sub.startswith("auto-restart"):
            return "crashed, restarting" if self.crashed else "restarting"
        if self.instance.elsewhere:
            return "left its unit"
        if self.paused:
            return "paused"
        if self.unproved:
            return "starting, again and again"
        if self.instance.serving and self.young:
            return "starting"
        return f"{self.instance.active} ({self.instance.sub})"


class Asked(NamedTuple):
    """What is to be shown beside systemd's part; it takes Redis."""

    queues: bool = False
    jobs: bool = False


class Sight(NamedTuple):
    """One app as it is."""

    revision: Revision
    rows: tuple[Row, ...]
    rollout: Story | None  # one that was cut off or is paused
    last: Story | None  # the last one, where it failed
    asked: Asked
    queued: Queued | None = None  # only where it was asked for
    user: bool = False  # in a user's own scope
    oom_kills: Mapping[str, int] = MappingProxyType({})  # by worker, where the kernel counts
    deleted: frozenset[str] = frozenset()  # workers whose release is not there any more
    heads: dict[str, str] = {}  # noqa: RUF012  (where HEAD is now, by worker, if it has moved)
    dropins: Mapping[str, Sequence[Change]] = MappingProxyType({})  # by worker

    @property
    def code(self) -> Exit:
        """15 before 3: old code is what nobody must overlook."""
        if any(row.fresh is False for row in self.rows):
            return Exit.STALE
        if any(row.instance.untold for row in self.rows):
            return Exit.NOT_AS_WANTED
        if all(row.serving and row.wanted for row in self.rows):
            return Exit.OK
        return Exit.NOT_AS_WANTED


def _look(
    scope: Scope, systemd: Systemd, revision: Revision, wanted: Sequence[str], also: Asked
) -> Sight:
    where = observe.machine(systemd, scope.layout)
    place = scope.layout.app(revision.app)
    pinned = state.pinned_instances(place)
    known = {*revision.instances, *pinned}
    workers = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
    found = observe.instances(systemd, where, revision.app, workers, known, detailed=True)
    found = observe.compared(revision, found)
    shown = {n: i for n, i in found.items() if i.present or revision.wanted(n)}
    asked: set[InstanceName] = chosen(revision, wanted, shown)
    notes = paused.notes(scope.layout, revision.app)
    least = revision.rollout.min_healthy.seconds
    # As in unitq.toml; what nobody wants any more comes last.
    order = {worker.name: index for index, worker in enumerate(revision.workers)}
    rows = tuple(
        Row(
            instance,
            revision.wanted(name),
            revision.code(name),
            name in notes and notes[name] == instance.invocation,
            young=_young(instance, least),
            crashed=_crashed(systemd, instance),
            age=_age(systemd, instance),
        )
        for name, instance in sorted(
            shown.items(), key=lambda each: (order.get(each[0].worker, len(order)), each[0])
        )
        if name in asked
    )
    rows = _with_loops(rows, least, user=scope.user)
    story = last = ledger_store.latest(place)
    if story and not (story.in_the_way and ledger_store.in_the_way(place)):
        story = None
    if story and story.unfinished and state.busy(scope.layout, revision.app):
        story = None  # somebody is at work on it
    if last and (story or last.code not in _FAILED):
        last = None
    queued = None
    if also.queues or also.jobs:
        from unitq.cli.status.queues import looked

        queued = looked(scope, revision, shown.values(), numbers=also.queues, jobs=also.jobs)
    oom_kills = {
        worker: count
        for worker in workers
        if where.accounted and (count := _oom_kills(where, revision.app, worker)) is not None
    }
    return Sight(
        revision, rows, story, last, also, queued, scope.user,
        oom_kills, _deleted(revision), observe.moved_heads(revision), _dropins(scope, revision),
    )  # fmt: skip


def _dropins(scope: Scope, revision: Revision) -> dict[str, list[Change]]:
    """What drop-ins change of the installed units; the units' texts are read only if any do."""
    there = DropIns(str(scope.layout.unit_dir), user=scope.user)
    found = {}
    for worker in revision.workers:
        template = names.template(revision.app, worker.name)
        each = names.instances(worker.name, worker.instances)
        files = there.of([template, *(names.unit(revision.app, name) for name in each)])
        if files:
            from unitq.units import unit_files

            found[worker.name] = changes(unit_files.text(scope.layout.unit_dir, template), files)
    return found


def _age(systemd: Systemd, instance: observe.Instance) -> float | None:
    """How long it has been what it is; the wall clock may be set meanwhile (clock_gettime(2))."""
    if instance.since is None:
        return None
    if instance.serving and instance.main_pid:
        age = proc.age(instance.main_pid)
        if age is not None:
            return age
    name = "StateChangeTimestampMonotonic"
    stamp: int = systemd.properties(instance.unit, name)[name]
    return max(0.0, time.monotonic() - stamp / 1e6)


def _oom_kills(where: observe.Machine, app: str, worker: str) -> int | None:
    """Of all that the worker's slice has held; it is there for as long as anything is in it."""
    path = f"{names.slice_path(app)}/{names.worker_slice(app, worker)}"
    return proc.cgroup_oom_kills(f"{where.cgroup}/{path}")


def _young(instance: observe.Instance, least: float) -> bool:
    """Whether it runs, and has not lived for so many seconds; by no clock that anybody sets.

    Also where its process has ended since systemd was asked: what follows is younger still.
    """
    if not instance.serving:
        return False
    age = proc.age(instance.main_pid) if instance.main_pid else None
    return age is None or age < least


def _crashed(systemd: Systemd, instance: observe.Instance) -> bool:
    """Whether it is being started again after an end that is not that of so many jobs: exit 0.

    False also where it has been started again meanwhile: systemd then tells a code of 0, and no
    longer how the process before ended.
    """
    if not instance.sub.startswith("auto-restart"):
        return False
    told = systemd.properties(instance.unit, "ExecMainCode", "ExecMainStatus")
    return (told["ExecMainCode"], told["ExecMainStatus"]) not in ((0, 0), (os.CLD_EXITED, 0))


def _with_loops(rows: tuple[Row, ...], least: float, *, user: bool) -> tuple[Row, ...]:
    """The rows, with the crash loops. The journal is asked only for those that it may be about."""
    ends = {row.instance.unit: _ends(row) for row in rows}
    suspects = [unit for unit, count in ends.items() if count >= 3]
    if not suspects:
        return rows
    from unitq.instances.crash_loop import crash_loop, lives_known
    from unitq.systemd import journal

    told, now = journal.lives(suspects, user=user), time.monotonic()
    found = []
    for row in rows:
        unit = row.instance.unit
        if unit in told:
            loop = crash_loop(told[unit], now, least, ends[unit])
            known = lives_known(told[unit]) >= 3
            row = row._replace(loop=loop, unproved=loop is None and not known)  # noqa: PLW2901
        found.append(row)
    return tuple(found)


def _ends(row: Row) -> int:
    """How often it has ended since the last deliberate start, where it is not healthy now."""
    instance = row.instance
    between = instance.sub.startswith("auto-restart")
    starting = instance.active == "activating" or row.young
    return (instance.restarts or 0) + between if row.wanted and starting else 0


def _deleted(revision: Revision) -> frozenset[str]:
    """The workers whose release is not there any more; not those that we may not look at."""
    found = set()
    for worker in revision.workers:
        try:
            os.stat(worker.release)
        except (FileNotFoundError, NotADirectoryError):
            found.add(worker.name)
        except OSError:
            continue  # unknown
    return frozenset(found)


def _number(current: Revision, name: str | None) -> str:
    """`5 (= 3)` for 3 where that is what 5 has gone back to: reports speak of 5."""
    return f"{current.number} (= {number(name)})" if current.repeats(name) else number(name)


def _cells(row: Row, current: Revision) -> tuple[str, ...]:
    instance = row.instance
    state = row.code_state(current.worker(instance.name.worker))
    fresh = _FRESH[state]
    if row.wanted is None:
        fresh = "not wanted"
    return (
        str(instance.name),
        row.state,
        "-" if row.age is None else duration(row.age),
        str(instance.main_pid or "-"),
        (_number(current, instance.revision) if row.fresh else number(instance.revision))
        if instance.pids
        else "-",
        fresh,
        str(len(instance.pids)),
        size(instance.memory),
        "-" if instance.restarts is None else str(instance.restarts),
    )


def _table(sight: Sight) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows."""
    cells = [_cells(row, sight.revision) for row in sight.rows]
    if sight.queued is None or not sight.asked.jobs:
        return HEADER, cells
    from unitq.cli.status.queues import job_cell

    jobs = [job_cell(sight.queued, row.instance) for row in sight.rows]
    return (*HEADER, "JOB"), [(*row, job) for row, job in zip(cells, jobs, strict=True)]


def _queues(sight: Sight) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of the queues of the workers that are shown; None: there are none."""
    if sight.queued is None or not sight.asked.queues:
        return None
    from unitq.cli.status.queues import table

    workers = dict.fromkeys(row.instance.name.worker for row in sight.rows)
    header, rows = table(sight.queued, workers)
    return (header, rows) if rows else None


def _summaries(sight: Sight) -> list[str]:
    lines = []
    for worker in sight.revision.workers:
        rows = [row for row in sight.rows if row.instance.name.worker == worker.name]
        if not rows:
            continue
        parts = [f"{sum(row.serving for row in rows)} of {len(rows)} serving"]
        for what, count in (
            ("starting", sum(row.state == "starting" for row in rows)),
            ("in a crash loop", sum(row.loop is not None for row in rows)),
            ("outside of their units", sum(bool(row.instance.elsewhere) for row in rows)),
            ("draining", sum(row.instance.active == "deactivating" for row in rows)),
            ("failed", sum(row.instance.active == "failed" for row in rows)),
            ("paused", sum(row.paused for row in rows)),
            ("on OLD CODE", sum(row.fresh is False and not row.instance.moved for row in rows)),
            ("on ANOTHER COMMIT", sum(bool(row.instance.moved) for row in rows)),
            ("of which nothing tells the code", sum(row.instance.untold for row in rows)),
            ("not to be read (not root)", sum(not row.instance.readable for row in rows)),
        ):
            if count:
                parts.append(f"{count} {what}")
        if killed := sight.oom_kills.get(worker.name):
            parts.append(f"{plural(killed, 'process')} killed: out of memory")
        code = f"revision {_number(sight.revision, worker.revision)}, {worker.code_version}"
        lines.append(f"{worker.name}: {', '.join(parts)} · {code}")
        if worker.name in sight.deleted:
            lines.append(
                f"{worker.name}: its release {worker.release} was deleted; what ends cannot start "
                "again: put it back, or deploy another"
            )
        lines += [f"{worker.name}: {change}" for change in sight.dropins.get(worker.name, ())]
        troubles = [words for row in rows if (words := _trouble(row))]
        lines += troubles[:_NAMED]
        if (more := len(troubles) - _NAMED) > 0:
            lines.append(f"{worker.name}: and {more} more like these")
        if head := sight.heads.get(worker.name):
            lines.append(
                f"{worker.name}: HEAD of {worker.release} is now {head[:12]}, which is not "
                f"deployed: what is started from now on runs it; "
                f"`{unitq(sight.revision.app, user=sight.user)} deploy` rolls it out"
            )
    if story := sight.rollout:
        lines.append(
            f"rollout {story.number} ({story.kind} of {number(story.revision)}) {story.how}: "
            f"`{unitq(sight.revision.app, user=sight.user)} rollout status` says how to go on"
        )
    if last := sight.last:
        from unitq.rollout.report import result

        typed = f"{unitq(sight.revision.app, user=sight.user)} show {number(last.revision)}"
        lines.append(
            f"rollout {last.number} ({last.kind} of {number(last.revision)}) ended: "
            f"{result(last.code)}; `{typed}` has the report"
        )
    return lines


def _trouble(row: Row) -> str:
    """Why one that is up does not serve, in a line; empty: there is nothing to say."""
    name, instance = row.instance.name, row.instance
    if loop := row.loop:
        times = f"{plural(loop.restarts, 'restart')} in {duration(loop.seconds)}"
        return f"{name}: crash loop ({times}, last: {loop.last})"
    if instance.elsewhere:
        return f"{name}: the worker left its unit: {instance.elsewhere}"
    if instance.replaced:
        return (
            f"{name}: runs {instance.replaced} as it was before that was deleted or renamed; "
            "another is there now: restart it"
        )
    if row.unproved:
        return (
            f"{name}: {plural(instance.restarts or 0, 'restart')}, and whether it crashes in a "
            "loop only the journal tells, which cannot be read: root may, and group systemd-journal"
        )
    return ""


def _text(sights: Sequence[Sight]) -> list[str]:
    lines: list[str] = []
    for sight in sights:
        header, cells = _table(sight)
        title = f"{sight.revision.app} · {plural(len(cells), 'instance')}"
        if lines:
            lines.append("")
        if len(sights) > 1:
            lines.append(title)
        lines += table(header, cells)
        if queues := _queues(sight):
            lines += ["", *table(*queues), ""]
        lines += _summaries(sight)
    return lines


def _coloured(sights: Sequence[Sight]) -> list[Any]:
    """The same for a terminal: parts that stand one below the other."""
    from unitq.cli import screen

    parts: list[Any] = []
    for sight in sights:
        title = sight.revision.app if len(sights) > 1 else ""
        styles = [_style(row) for row in sight.rows]
        shown = fitted(*_table(sight), screen.width())
        parts.append(screen.table(*shown, styles, title=title, wrapped=WRAPPED))
        if queues := _queues(sight):
            parts += [screen.line(), screen.table(*queues), screen.line()]
        parts += [*(screen.line(words, "dim") for words in _summaries(sight)), screen.line()]
    return parts[:-1]


def _style(row: Row) -> str:
    failed = row.instance.active == "failed" or row.loop or row.instance.elsewhere
    if row.fresh is False or failed or row.wanted is None:
        return "red"
    return "" if row.serving else "yellow"


@click.command(
    epilog="""\b
Examples:
  unitq status                  the app of ./unitq.toml, or all that are installed
  unitq -a shop status sms
  unitq status --json | jq '.apps[].workers[] | {worker, serving, stale}'
  unitq status --watch
  unitq status --queues -v      how much waits, and which job each instance has in hand
  unitq status -q && echo all is well
  unitq status --check          for Nagios, Icinga, Checkmk and their like

\b
Exit codes: 0 everything that should run does; 3 something does not, or nothing tells its code; 15
a process runs old code, or a commit that is not deployed; 4 no such app, worker or instance. With
--check those of the monitoring plug-ins: 0 OK, 1 WARNING, 2 CRITICAL (a worker has no instance
that serves), 3 UNKNOWN.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option(
    "--watch", is_flag=True,
    help="Look again when something happens, and every 2 s, until Ctrl-C. A terminal is redrawn; "
    "into a pipe or a file each look is printed, with --json one document a line.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print nothing: the exit code tells.")
@click.option("--check", is_flag=True, help="One line in the form of the monitoring plug-ins.")
@click.option("--queues", is_flag=True, help="Also how much waits in each worker's queues.")
@click.option("-v", "--verbose", is_flag=True, help="Also the job that each instance has in hand.")
@targets
def status(
    targets: tuple[str, ...],
    as_json: bool,
    watch: bool,
    quiet: bool,
    check: bool,
    queues: bool,
    verbose: bool,
) -> int:
    """Show what runs, and whether it runs the wanted code.

    Read from systemd and from the processes themselves, not from records; no configuration file
    is needed. FRESH says whether every process of an instance was started from the revision that
    is wanted now, REVISION from which its main process was: "5 (= 3)" where that was 3 and 5 has
    gone back to it, as a rollback does. "MOVED": HEAD of its checkout had moved since the deploy
    when it was started, so it runs another commit. "in place": a directory whose files change
    without a version, so nothing is to be compared. "?": nothing tells; as another user than root,
    processes of others cannot be read. Where the terminal is too narrow, MEMORY, PROCESSES and
    RESTARTS are left out first.

    --queues and -v ask Redis, for a second at most; where it is they take from the configuration
    file. Redis has no say in the exit code.
    """
    if sum((quiet, check, as_json or watch or queues or verbose)) > 1:
        raise click.UsageError(
            "-q, --check, and the options for the display (--json, --watch, --queues, -v) exclude "
            "each other"
        )
    if check:
        return _check(targets)
    scope, revisions, systemd = _meant()
    if watch:
        apps = [revision.app for revision in revisions]
        return _watch(scope, systemd, apps, targets, Asked(queues, verbose), as_json=as_json)
    sights = _looks(scope, systemd, revisions, targets, Asked(queues, verbose))
    code = max((sight.code for sight in sights), default=Exit.OK)
    if quiet:
        return code
    _print(sights, code, as_json=as_json, user=scope.user)
    return code


def _meant() -> tuple[Scope, list[Revision], Systemd]:
    """Where to look, and what is wanted of which apps. Raises NoMatchError where there is none."""
    scope = current()
    apps = scope.apps()
    if not apps:
        raise NoMatchError(
            "no app is installed here",
            hint="`unitq deploy` installs one; --user looks at your own units",
        )
    revisions = [state.installed(scope.layout, app) for app in apps]
    return scope, revisions, scope.systemd()


def _looks(
    scope: Scope,
    systemd: Systemd,
    revisions: Sequence[Revision],
    targets: Sequence[str],
    also: Asked,
) -> list[Sight]:
    return [_look(scope, systemd, revision, targets, also) for revision in revisions]


def _check(targets: Sequence[str]) -> int:
    """Prints the plug-ins' line. Whatever goes wrong is UNKNOWN: our codes are none of theirs."""
    from unitq.cli.status import check

    try:
        scope, revisions, systemd = _meant()
        sights = _looks(scope, systemd, revisions, targets, Asked())
        said = check.answer(
            [
                check.Member(
                    sight.revision.app, row.instance.name.worker, str(row.instance.name),
                    row.wanted is not None, row.serving, row.state, row.fresh,
                    row.instance.readable,
                )
                for sight in sights for row in sight.rows
            ],
            [
                f"rollout {sight.rollout.number} of {sight.revision.app} {sight.rollout.how}"
                for sight in sights if sight.rollout
            ],
        )  # fmt: skip
    except UnitqError as error:
        said = check.unknown(error.in_short)
    except Exception as error:  # noqa: BLE001  (any end but one of theirs would be misread)
        said = check.unknown(f"{type(error).__name__}: {error}")
    echo(said.line)
    return said.state


def _print(sights: Sequence[Sight], code: Exit, *, as_json: bool, user: bool) -> None:
    if as_json:
        from unitq.cli.status.json import document

        # Not indented: that would take json's encoder in Python, 100 ms for 1,000 instances.
        echo_json(document(sights, code, user=user), indent=None)
    elif is_terminal():
        from unitq.cli import screen

        screen.show(_coloured(sights))
    else:
        echo_lines(_text(sights))
    if not as_json:
        for sight in sights:
            for note in sight.queued.notes if sight.queued else ():
                echo(f"note: {sight.revision.app}: {note}", err=True)


def _watch(
    scope: Scope,
    systemd: Systemd,
    apps: Sequence[str],
    wanted: Sequence[str],
    also: Asked,
    *,
    as_json: bool,
) -> int:
    from unitq.systemd.errors import BusLostError

    gc.enable()  # __main__.py switched it off
    code = Exit.OK
    with _shown(scope, as_json=as_json) as show:
        try:
            while True:
                try:
                    revisions = [state.installed(scope.layout, app) for app in apps]
                    sights = _looks(scope, systemd, revisions, wanted, also)
                    code = max(sight.code for sight in sights)
                    show(sights, code)
                    systemd.subscribe(row.instance.unit for sight in sights for row in sight.rows)
                    # Times and memory change without a signal.
                    systemd.events(2.0)
                except BusLostError:
                    systemd.reconnect()
        except KeyboardInterrupt:
            return code


@contextmanager
def _shown(scope: Scope, *, as_json: bool) -> Iterator[Callable[[Sequence[Sight], Exit], None]]:
    """How each look is shown: in its place on a terminal, one below the other elsewhere."""
    if as_json or not is_terminal():
        first = True

        def below(sights: Sequence[Sight], code: Exit) -> None:
            nonlocal first
            if not as_json:
                echo_lines([""] * (not first) + [time.strftime("%Y-%m-%d %H:%M:%S")])
            _print(sights, code, as_json=as_json, user=scope.user)
            first = False

        yield below
        return
    from unitq.cli.screen import Picture

    with Picture() as picture:
        yield lambda sights, _: picture.draw(*_coloured(sights))
