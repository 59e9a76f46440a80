"""history, show, diff: what was deployed, when, and how two revisions differ. Reads only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import echo, echo_json, echo_lines
from unitq.cli.scope import json_option, scope_options
from unitq.errors import Exit
from unitq.rollout.reports import report_text
from unitq.text import duration, number, plural, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.api import App
    from unitq.archive.history import History, RevisionDiff, RevisionView
    from unitq.revisions.history import Entry, Setting
    from unitq.revisions.model import Revision

_HEADER = ("REVISION", "HASH", "WHEN", "BY", "CODE", "STATE", "RUNS", "NOTE")


@click.command(
    epilog="""\b
Examples:
  unitq history                   newest first
  unitq -a shop history --json | jq '.revisions[] | select(.state == "stable") | .revision'

\b
Exit codes: 0; 4 no such app is installed.
"""
)
@scope_options
@json_option
def history(app: App, as_json: bool) -> int:
    """Show what was deployed, and what became of it.

    STATE is what the last rollout of a revision came to: stable, failed, or unknown where nobody
    saw its end. RUNS is how many instances have a living process that was started from it: a
    worker that later deploys left alone still runs the revision that last changed it. As another
    user than root, processes of others cannot be read: RUNS is "?".
    """
    history = app.history()
    _show(history, lambda: table(_HEADER, [_cells(entry, history) for entry in history.entries]),
          as_json=as_json)  # fmt: skip
    return Exit.OK


def _show(
    value: History | RevisionView | RevisionDiff, lines: Callable[[], list[str]], *, as_json: bool
) -> None:
    if as_json:
        echo_json(value.to_json())
    else:
        echo_lines(lines())
    for words in value.archive.notes:
        echo(f"note: {words}", err=True)


def _cells(entry: Entry, history: History) -> tuple[str, ...]:
    revision = entry.revision
    marks = []
    if entry.current:
        marks.append("current")
    if revision.restores is not None:
        marks.append(f"restores {revision.restores}")
    if history.in_place(entry):
        marks.append("code in place")
    if revision.id in history.overwritten:
        marks.append("its files are replaced")
    elif revision.id == history.last_stable:
        marks.append("a rollback goes here")
    if revision.why:
        marks.append(revision.why)
    return (
        str(revision.number),
        revision.hash,
        _when(revision.created),
        revision.by,
        _code(revision),
        str(entry.state),
        "?" if entry.in_use is None else str(entry.in_use),
        ", ".join(marks),
    )


def _code(revision: Revision) -> str:
    return ", ".join(sorted({worker.code_version for worker in revision.workers})) or "-"


def _when(seconds: float | None) -> str:
    """Returns local time in the reader's zone, or "?"."""
    if seconds is None:
        return "?"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


@click.command(
    epilog="""\b
Examples:
  unitq show                the current revision
  unitq show 41             by its number; 41-90b1de or 90b1 do as well
  unitq show --json | jq '.workers[] | {worker, release}'

\b
Exit codes: 0; 4 no such app or revision.
"""
)
@scope_options
@click.argument(
    "wanted", required=False, metavar="[REVISION]", shell_complete=completions.revisions
)
@json_option
def show(app: App, wanted: str | None, as_json: bool) -> int:
    """Show one revision.

    Who deployed it, when and from which file, what it runs and with which settings, and the report
    of each rollout about it. Of the environment only the names: values may be secrets. REVISION is
    a number, an id or the beginning of a hash; without it, the current one.
    """
    view = app.revision(wanted)
    _show(view, lambda: _view_lines(view), as_json=as_json)
    return Exit.OK


_EXISTS = {True: "", False: "  (GONE)", None: "  (not to be seen)"}


def _view_lines(view: RevisionView) -> list[str]:
    entry, revision = view.entry, view.entry.revision
    lines = [
        f"{revision.app}: revision {revision.id}, {entry.state}{', current' * entry.current}",
        f"  deployed: {_when(revision.created)} by {revision.by} from {revision.config}",
    ]
    if revision.why:
        lines.append(f"  why: {revision.why}")
    if revision.restores is not None:
        lines.append(f"  restores: {revision.restores}")
    for worker in revision.workers:
        there = _EXISTS[view.releases[worker.release]]
        limit = "no limit" if worker.stop_timeout is None else duration(worker.stop_timeout)
        environment = view.names(worker.name)
        since = f", unchanged since {number(worker.revision)}" * (worker.revision != revision.id)
        lines += [
            f"  worker {worker.name}: {plural(worker.instances, 'instance')}{since}",
            f"    code: {worker.code_version}{', in place' * view.in_place(worker)}",
            f"    release: {worker.release}{there}",
            f"    stop timeout: {limit}",
            "    environment: " + ("not to be read" if environment is None
                                  else " ".join(environment)),
        ]  # fmt: skip
    settings = (f"{name} {value}" for name, value in view.rollout.items())
    lines += [f"  rollout: {', '.join(settings)}", *(f"  unit: {name}" for name in revision.units)]
    for report in view.reports():
        lines += ["", *(line.text for line in report_text.block(report))]
    return lines


@click.command(
    epilog="""\b
Examples:
  unitq diff 41             what changed since then
  unitq diff 40 41          from one to the other

\b
Exit codes: 0 no difference; 12 they differ; 4 no such app or revision.
"""
)
@scope_options
@click.argument("before", metavar="REVISION", shell_complete=completions.revisions)
@click.argument("after", required=False, metavar="[REVISION]", shell_complete=completions.revisions)
@json_option
def diff(app: App, before: str, after: str | None, as_json: bool) -> int:
    """Show how two revisions differ.

    The units as a unified diff; of each worker code, release, counts and settings; of its
    environment the names of variables that were added, removed or changed, and no value: it may
    be a secret. Without a second REVISION, from the first to the current one. A revision is a
    number, an id or the beginning of a hash.
    """
    diff = app.diff(before, after)
    _show(diff, lambda: _diff_lines(diff), as_json=as_json)
    return diff.exit_code


def _diff_lines(diff: RevisionDiff) -> list[str]:
    old, new, changed = diff.before, diff.after, diff.difference
    if not changed:
        return [f"{old.app}: {old.id} and {new.id} do not differ"]
    lines = [f"{old.app}: from {old.id} to {new.id}"]
    lines += [line for file in changed.units for line in file.diff.rstrip("\n").split("\n")]
    for worker in changed.workers:
        processes = " (its processes are replaced)" * worker.replaced
        verb = {"add": "added", "remove": "removed", "change": "changed"}[worker.change]
        lines.append(f"worker {worker.worker}: {verb}{processes}")
        lines += [f"  {_setting(setting)}" for setting in worker.settings]
        if worker.environment is None:
            lines.append("  environment: not to be read")
            continue
        for sign, names in zip("+-~", worker.environment, strict=True):
            lines += [f"  environment: {sign}{name}" for name in names]
    lines += [f"rollout: {_setting(setting)}" for setting in changed.rollout]
    return lines


def _setting(setting: Setting) -> str:
    before, after = ("none" if value is None else value for value in setting[1:])
    return f"{setting.name}: {before} -> {after}"
