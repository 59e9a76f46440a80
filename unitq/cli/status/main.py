"""status: what is there. On the fast path: nothing is imported that is not used."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.cli.scope import current, scope_options
from unitq.cli.status.columns import HEADER, WRAPPED, fitted
from unitq.cli.status.model import Asked, Status, look
from unitq.cli.targets import targets
from unitq.errors import Exit, NoMatchError, UnitqError
from unitq.revisions import state
from unitq.text import duration, number, plural, size, table, unitq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unitq.context import Scope
    from unitq.instances.status import InstanceStatus
    from unitq.revisions.model import Revision
    from unitq.systemd.manager import Systemd


_NAMED = 5  # instances of a worker of which it is said why they do not serve
_FRESH = {
    "": "-",
    "current": "yes",
    "in place": "in place",
    "moved": "MOVED",
    "old": "NO",
    "unknown": "?",
}


def _number(current: Revision, name: str | None) -> str:
    """`5 (= 3)` for 3 where that is what 5 has gone back to: reports speak of 5."""
    return f"{current.number} (= {number(name)})" if current.repeats(name) else number(name)


def _cells(row: InstanceStatus, current: Revision) -> tuple[str, ...]:
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


def _table(sight: Status) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows."""
    cells = [_cells(row, sight.revision) for row in sight.rows]
    if sight.queued is None or not sight.asked.jobs:
        return HEADER, cells
    from unitq.cli.status.queues import job_cell

    jobs = [job_cell(sight.queued, row.instance) for row in sight.rows]
    return (*HEADER, "JOB"), [(*row, job) for row, job in zip(cells, jobs, strict=True)]


def _queues(sight: Status) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of the queues of the workers that are shown; None: there are none."""
    if sight.queued is None or not sight.asked.queues:
        return None
    from unitq.cli.status.queues import table

    workers = dict.fromkeys(row.instance.name.worker for row in sight.rows)
    header, rows = table(sight.queued, workers)
    return (header, rows) if rows else None


def _summaries(sight: Status) -> list[str]:
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
            ("of which nothing tells the code", sum(row.instance.code_unknown for row in rows)),
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
        from unitq.rollout.observed_report import result

        typed = f"{unitq(sight.revision.app, user=sight.user)} show {number(last.revision)}"
        lines.append(
            f"rollout {last.number} ({last.kind} of {number(last.revision)}) ended: "
            f"{result(last.code)}; `{typed}` has the report"
        )
    return lines


def _trouble(row: InstanceStatus) -> str:
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
    if row.unexplained:
        return (
            f"{name}: {plural(instance.restarts or 0, 'restart')}, and whether it crashes in a "
            "loop only the journal tells, which cannot be read: root may, and group systemd-journal"
        )
    return ""


def _text(sights: Sequence[Status]) -> list[str]:
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


def _coloured(sights: Sequence[Status]) -> list[Any]:
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


def _style(row: InstanceStatus) -> str:
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
    revisions = [state.require_current(scope.layout, app) for app in apps]
    return scope, revisions, scope.systemd()


def _looks(
    scope: Scope,
    systemd: Systemd,
    revisions: Sequence[Revision],
    targets: Sequence[str],
    also: Asked,
) -> list[Status]:
    return [look(scope, systemd, revision, targets, also) for revision in revisions]


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


def _print(sights: Sequence[Status], code: Exit, *, as_json: bool, user: bool) -> None:
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
                    revisions = [state.require_current(scope.layout, app) for app in apps]
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
def _shown(scope: Scope, *, as_json: bool) -> Iterator[Callable[[Sequence[Status], Exit], None]]:
    """How each look is shown: in its place on a terminal, one below the other elsewhere."""
    if as_json or not is_terminal():
        first = True

        def below(sights: Sequence[Status], code: Exit) -> None:
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
