"""status: what is there. On the fast path: nothing is imported that is not used."""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from unitq import observe
from unitq.cli.scope import chosen, current, scope_options
from unitq.cli.targets import targets
from unitq.cli.text import duration, number, plural, size, table
from unitq.core.errors import Exit, NoMatchError
from unitq.host import ledger, paused, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.cli.scope import Scope
    from unitq.core.ledger import Story
    from unitq.core.names import InstanceName
    from unitq.core.revision import Revision
    from unitq.host.systemd import Systemd

_HEADER = (
    "WORKER", "INSTANCE", "STATE", "SINCE", "PID", "REVISION", "FRESH", "PROCESSES", "MEMORY",
    "RESTARTS",
)  # fmt: skip


class Row(NamedTuple):
    """One instance, with what should be."""

    instance: observe.Instance
    wanted: str | None  # the revision that it should run; None: it should not run
    code: str | None  # the revision that its worker should run
    paused: bool = False  # told to take no jobs, and that holds for this life of it

    @property
    def fresh(self) -> bool | None:
        return self.instance.fresh(self.code)

    @property
    def serving(self) -> bool:
        return self.instance.serving and not self.paused

    @property
    def state(self) -> str:
        if self.instance.active == "deactivating":
            return "draining"
        if self.instance.sub == "auto-restart":
            return "crashed, restarting"
        if self.paused:
            return "paused"
        return f"{self.instance.active} ({self.instance.sub})"


class Sight(NamedTuple):
    """One app as it is."""

    revision: Revision
    rows: tuple[Row, ...]
    rollout: Story | None  # one that was cut off or is paused

    @property
    def code(self) -> Exit:
        """15 before 3: old code is what nobody must overlook."""
        if any(row.fresh is False for row in self.rows):
            return Exit.STALE
        if all(row.serving and row.wanted for row in self.rows):
            return Exit.OK
        return Exit.NOT_AS_WANTED


def _look(scope: Scope, systemd: Systemd, revision: Revision, wanted: Sequence[str]) -> Sight:
    where = observe.machine(systemd, scope.layout)
    place = scope.layout.app(revision.app)
    pinned = state.pinned_instances(place)
    known = {*revision.instances, *pinned}
    workers = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
    found = observe.instances(systemd, where, revision.app, workers, known, detailed=True)
    shown = {n: i for n, i in found.items() if i.present or revision.wanted(n)}
    asked: set[InstanceName] = chosen(revision, wanted, shown)
    notes = paused.notes(scope.layout, revision.app)
    rows = tuple(
        Row(
            instance,
            revision.wanted(name),
            revision.code(name),
            name in notes and notes[name] == instance.invocation,
        )
        for name, instance in shown.items()
        if name in asked
    )
    story = ledger.in_the_way(place)
    if story and story.unfinished and state.busy(scope.layout, revision.app):
        story = None  # somebody is at work on it
    return Sight(revision, rows, story)


def _json(scope: Scope, sights: Sequence[Sight], code: Exit) -> str:
    # Not indented: that would take json's encoder in Python, 100 ms for 1,000 instances.
    return json.dumps(
        {
            "format": 1,
            "scope": "user" if scope.user else "system",
            "exit_code": int(code),
            "apps": [_app(sight) for sight in sights],
        }
    )


def _app(sight: Sight) -> dict[str, Any]:
    revision = sight.revision
    names_of_workers = {worker.name for worker in revision.workers}
    names_of_workers |= {row.instance.name.worker for row in sight.rows}
    return {
        "app": revision.app,
        "exit_code": int(sight.code),
        "revision": revision.id,
        "deployed_at": round(revision.created, 3),
        "deployed_by": revision.by,
        "config": revision.config,
        "rollout": _rollout(sight.rollout),
        "workers": [_worker(sight, name) for name in sorted(names_of_workers)],
    }


def _rollout(story: Story | None) -> dict[str, Any] | None:
    if story is None:
        return None
    return {"rollout": story.number, "state": story.state, "revision": story.revision}


def _worker(sight: Sight, name: str) -> dict[str, Any]:
    wanted = sight.revision.worker(name)
    rows = [row for row in sight.rows if row.instance.name.worker == name]
    return {
        "worker": name,
        "revision": wanted.revision if wanted else None,
        "release": wanted.release if wanted else None,
        "code_version": wanted.code_version if wanted else None,
        "wanted": wanted.instances if wanted else 0,
        "serving": sum(row.serving for row in rows),
        "stale": sum(row.fresh is False for row in rows),
        "instances": [_instance(row) for row in rows],
    }


def _instance(row: Row) -> dict[str, Any]:
    instance = row.instance
    return {
        "instance": str(instance.name),
        "unit": instance.unit,
        "load": instance.load,
        "active": instance.active,
        "sub": instance.sub,
        "job": instance.job,
        "serving": row.serving,
        "paused": row.paused,
        "wanted": row.wanted is not None,
        "since": None if instance.since is None else round(instance.since, 3),
        "main_pid": instance.main_pid or None,
        "pids": list(instance.pids),
        "invocation": instance.invocation or None,
        "revision": instance.revision,
        "wanted_revision": row.wanted,
        "fresh": row.fresh,
        "restarts": instance.restarts,
        "memory_bytes": instance.memory,
    }


def _cells(row: Row, now: float) -> tuple[str, ...]:
    instance = row.instance
    since = instance.since
    fresh = {True: "yes", False: "NO", None: "?" if instance.pids else "-"}[row.fresh]
    if row.wanted is None:
        fresh = "not wanted"
    return (
        instance.name.worker,
        str(instance.name.number),
        row.state,
        "-" if since is None else duration(max(0.0, now - since)),
        str(instance.main_pid or "-"),
        number(instance.revision) if instance.pids else "-",
        fresh,
        str(len(instance.pids)),
        size(instance.memory),
        "-" if instance.restarts is None else str(instance.restarts),
    )


def _summaries(sight: Sight) -> list[str]:
    lines = []
    for worker in sight.revision.workers:
        rows = [row for row in sight.rows if row.instance.name.worker == worker.name]
        if not rows:
            continue
        parts = [f"{sum(row.serving for row in rows)} of {len(rows)} serving"]
        for what, count in (
            ("draining", sum(row.instance.active == "deactivating" for row in rows)),
            ("failed", sum(row.instance.active == "failed" for row in rows)),
            ("paused", sum(row.paused for row in rows)),
            ("on OLD CODE", sum(row.fresh is False for row in rows)),
            ("not to be read (not root)", sum(not row.instance.readable for row in rows)),
        ):
            if count:
                parts.append(f"{count} {what}")
        code = f"revision {number(worker.revision)}, {worker.code_version}"
        lines.append(f"{worker.name}: {', '.join(parts)} · {code}")
    if story := sight.rollout:
        lines.append(
            f"rollout {story.number} ({story.kind} of {number(story.revision)}) {story.how}: "
            f"`unitq -a {sight.revision.app} rollout status` says how to go on"
        )
    return lines


def _text(sights: Sequence[Sight]) -> str:
    now = time.time()
    blocks = []
    for sight in sights:
        cells = [_cells(row, now) for row in sight.rows]
        title = f"{sight.revision.app} · {plural(len(cells), 'instance')}"
        lines = [title] if len(sights) > 1 else []
        blocks.append("\n".join([*lines, table(_HEADER, cells), *_summaries(sight)]))
    return "\n\n".join(blocks)


def _rich(sights: Sequence[Sight]) -> Any:
    """The same in colour, for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now = time.time()
    parts: list[Any] = []
    for sight in sights:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        if len(sights) > 1:
            shown.title, shown.title_justify = sight.revision.app, "left"
        for title in _HEADER:
            shown.add_column(title, no_wrap=True)
        for row in sight.rows:
            shown.add_row(*_cells(row, now), style=_style(row))
        parts += [shown, *(Text(line, style="dim") for line in _summaries(sight)), Text()]
    return Group(*parts[:-1])


def _style(row: Row) -> str:
    if row.fresh is False or row.instance.active == "failed" or row.wanted is None:
        return "red"
    return "" if row.serving else "yellow"


@click.command(
    epilog="""\b
Examples:
  unitq status                  the app of ./unitq.toml, or all that are installed
  unitq -a shop status sms
  unitq status --json | jq '.apps[].workers[] | {worker, serving, stale}'
  unitq status --watch

\b
Exit codes: 0 everything that should run does; 3 something does not; 15 a process runs old code;
4 no such app, worker or instance.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option("--watch", is_flag=True, help="Redraw when something happens, until Ctrl-C.")
@targets
def status(targets: tuple[str, ...], as_json: bool, watch: bool) -> int:
    """Show what runs, and whether it runs the wanted code.

    Read from systemd and from the processes themselves, not from records; no configuration file
    is needed. FRESH says whether every process of an instance was started from the revision that
    is wanted now. As another user than root, processes of others cannot be read: FRESH is "?".
    """
    scope = current()
    apps = scope.apps()
    if not apps:
        raise NoMatchError(
            "no app is installed here",
            hint="`unitq deploy` installs one; --user looks at your own units",
        )
    revisions = [state.installed(scope.layout, app) for app in apps]
    systemd = scope.systemd()
    if watch:
        return _watch(scope, systemd, apps, targets)
    sights = [_look(scope, systemd, revision, targets) for revision in revisions]
    code = max((sight.code for sight in sights), default=Exit.OK)
    if as_json:
        click.echo(_json(scope, sights, code))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(_rich(sights))
    else:
        click.echo(_text(sights))
    return code


def _watch(scope: Scope, systemd: Systemd, apps: Sequence[str], wanted: Sequence[str]) -> int:
    from rich.console import Console
    from rich.live import Live

    from unitq.host.bus_errors import BusLostError

    gc.enable()  # __main__.py switched it off
    code = Exit.OK
    with Live(console=Console(highlight=False), auto_refresh=False) as display:
        try:
            while True:
                try:
                    revisions = [state.installed(scope.layout, app) for app in apps]
                    sights = [_look(scope, systemd, revision, wanted) for revision in revisions]
                    code = max(sight.code for sight in sights)
                    display.update(_rich(sights), refresh=True)
                    systemd.subscribe(row.instance.unit for sight in sights for row in sight.rows)
                    # Times and memory change without a signal.
                    systemd.events(2.0)
                except BusLostError:
                    systemd.reconnect()
        except KeyboardInterrupt:
            return code
