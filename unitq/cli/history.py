"""history, show, diff: what was deployed, when, and how two revisions differ. Reads only."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from unitq.cli.output import echo_json, echo_lines
from unitq.cli.revision_argument import revision_argument, tell
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit
from unitq.revisions import history as core
from unitq.revisions import store
from unitq.revisions.in_place import commit_of, overwritten_workers, updated_in_place
from unitq.rollout import report_text
from unitq.rollout.archive import AppArchive, observe_instances, open_archive
from unitq.rollout.report import Report
from unitq.text import duration, number, plural, table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from unitq.instances.observe import Instance
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.units.text import FileChange

_HEADER = ("REVISION", "HASH", "WHEN", "BY", "CODE", "STATE", "RUNS", "NOTE")

_json = click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")


def _in_use(instances: Sequence[Instance]) -> Counter[str] | None:
    if not all(one.readable for one in instances):
        return None
    return Counter(name for one in instances for name in one.revisions)


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
@_json
def history(as_json: bool) -> int:
    """Show what was deployed, and what became of it.

    STATE is what the last rollout of a revision came to: stable, failed, or unknown where nobody
    saw its end. RUNS is how many instances have a living process that was started from it: a
    worker that later deploys left alone still runs the revision that last changed it. As another
    user than root, processes of others cannot be read: RUNS is "?".
    """
    found = open_archive(current())
    instances = tuple(observe_instances(found, found.scope.systemd()).values())
    rows = core.entries(found.revisions, found.verdicts, _in_use(instances), found.current.id)
    target = core.last_stable(rows, found.current, store.complete(found.place, found.revisions))
    back = target.revision.id if target else None
    if as_json:
        echo_json(
            found.document(
                current=found.current.id,
                last_stable=back,
                revisions=[_entry(row) for row in rows],
            )
        )
    else:
        lost = {row.revision.id for row in rows if overwritten_workers(row.revision, found.current)}
        echo_lines(table(_HEADER, [_cells(row, back, lost) for row in rows]))
    tell(found)
    return Exit.OK


def _cells(row: core.Entry, back: str | None, lost: Collection[str]) -> tuple[str, ...]:
    revision = row.revision
    marks = []
    if row.current:
        marks.append("current")
    if revision.restores is not None:
        marks.append(f"restores {revision.restores}")
    if any(map(updated_in_place, revision.workers)):
        marks.append("code in place")
    if revision.id in lost:
        marks.append("its files are replaced")
    elif revision.id == back:
        marks.append("a rollback goes here")
    if revision.why:
        marks.append(revision.why)
    return (
        str(revision.number),
        revision.hash,
        _when(revision.created),
        revision.by,
        _code(revision),
        str(row.state),
        "?" if row.in_use is None else str(row.in_use),
        ", ".join(marks),
    )


def _code(revision: Revision) -> str:
    return ", ".join(sorted({worker.code_version for worker in revision.workers})) or "-"


def _when(seconds: float | None) -> str:
    """Local time; the zone is that of whoever reads it."""
    if seconds is None:
        return "?"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _head(row: core.Entry) -> dict[str, Any]:
    revision = row.revision
    return {
        "revision": revision.id,
        "number": revision.number,
        "hash": revision.hash,
        "deployed_at": round(revision.created, 3),
        "deployed_by": revision.by,
        "why": revision.why,
        "config": revision.config,
        "state": str(row.state),
        "current": row.current,
        "restores": revision.restores,
        "seconds": row.seconds,
    }


def _entry(row: core.Entry) -> dict[str, Any]:
    workers = [_worker(worker) for worker in row.revision.workers]
    return _head(row) | {"in_use": row.in_use, "workers": workers, "reports": list(row.reports)}


def _worker(worker: WorkerRevision) -> dict[str, Any]:
    return {
        "worker": worker.name,
        "revision": worker.revision,
        "instances": worker.instances,
        "release": worker.release,
        "code_version": worker.code_version,
        "commit": commit_of(worker) or None,
        "in_place": updated_in_place(worker),
    }


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
@revision_argument("wanted", "[REVISION]")
@_json
def show(wanted: str | None, as_json: bool) -> int:
    """Show one revision.

    Who deployed it, when and from which file, what it runs and with which settings, and the report
    of each rollout about it. Of the environment only the names: values may be secrets. REVISION is
    a number, an id or the beginning of a hash; without it, the current one.
    """
    found = open_archive(current())
    revision = found.find(wanted)
    (row,) = core.entries((revision,), found.verdicts, None, found.current.id)
    names = {
        worker.name: store.environment(found.place, worker, found.note)
        for worker in revision.workers
    }
    about = _about(found, revision)
    if as_json:
        echo_json(found.document(**_shown(row, names, about)))
    else:
        echo_lines([*_lines(row, names), *_blocks(found, about)])
    tell(found)
    return Exit.OK


def _about(found: AppArchive, revision: Revision) -> list[Mapping[str, Any]]:
    """The reports that tell of it, each once and whole, oldest first."""
    about = [each for each in found.reports if each.verdict.revision == revision.id]
    return list({each.verdict.rollout: each.document for each in about}.values())


def _blocks(found: AppArchive, about: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    for report in about:
        try:
            lines += ["", *(line.text for line in report_text.block(Report.from_json(report)))]
        except (LookupError, TypeError, ValueError) as error:
            found.note(
                f"the report of rollout {report['rollout']} is damaged "
                f"({type(error).__name__}: {error}): left out"
            )
    return lines


def _shown(
    row: core.Entry, names: core.Environments, about: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    revision = row.revision
    return _head(row) | {
        "workers": [
            _worker(worker)
            | {
                "release_exists": _exists(worker.release),
                "stop_timeout": worker.stop_timeout,
                "environment": _names(names[worker.name]),
            }
            for worker in revision.workers
        ],
        "units": list(revision.units),
        "rollout": core.rollout_settings(revision.rollout),
        "reports": list(about),
    }


def _names(environment: dict[str, str] | None) -> list[str] | None:
    return None if environment is None else sorted(environment)


def _exists(path: str) -> bool | None:
    """Whether it is there; None: it lies where we may not look."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return True


_EXISTS = {True: "", False: "  (GONE)", None: "  (not to be seen)"}


def _lines(row: core.Entry, names: core.Environments) -> list[str]:
    revision = row.revision
    lines = [
        f"{revision.app}: revision {revision.id}, {row.state}{', current' * row.current}",
        f"  deployed: {_when(revision.created)} by {revision.by} from {revision.config}",
    ]
    if revision.why:
        lines.append(f"  why: {revision.why}")
    if revision.restores is not None:
        lines.append(f"  restores: {revision.restores}")
    for worker in revision.workers:
        there = _EXISTS[_exists(worker.release)]
        limit = "no limit" if worker.stop_timeout is None else duration(worker.stop_timeout)
        environment = _names(names[worker.name])
        since = f", unchanged since {number(worker.revision)}" * (worker.revision != revision.id)
        lines += [
            f"  worker {worker.name}: {plural(worker.instances, 'instance')}{since}",
            f"    code: {worker.code_version}{', in place' * updated_in_place(worker)}",
            f"    release: {worker.release}{there}",
            f"    stop timeout: {limit}",
            "    environment: " + ("not to be read" if environment is None
                                  else " ".join(environment)),
        ]  # fmt: skip
    settings = core.rollout_settings(revision.rollout)
    lines.append("  rollout: " + ", ".join(f"{name} {value}" for name, value in settings.items()))
    return lines + [f"  unit: {name}" for name in revision.units]


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
@revision_argument("before", "REVISION", required=True)
@revision_argument("after", "[REVISION]")
@_json
def diff(before: str, after: str | None, as_json: bool) -> int:
    """Show how two revisions differ.

    The units as a unified diff; of each worker code, release, counts and settings; of its
    environment the names of variables that were added, removed or changed, and no value: it may
    be a secret. Without a second REVISION, from the first to the current one. A revision is a
    number, an id or the beginning of a hash.
    """
    found = open_archive(current())
    old, new = found.find(before), found.find(after)
    changed = core.difference(
        old,
        new,
        units=(store.unit_texts(found.place, old), store.unit_texts(found.place, new)),
        environments=(_environments(found, old, new), _environments(found, new, old)),
    )
    if as_json:
        echo_json(found.document(**_difference(old, new, changed)))
    else:
        echo_lines(_difference_lines(old, new, changed))
    tell(found)
    return Exit.PENDING if changed else Exit.OK


def _environments(found: AppArchive, revision: Revision, other: Revision) -> core.Environments:
    """The environments of those workers that run something else in the other revision."""
    same = {(worker.name, worker.fingerprint) for worker in other.workers}
    return {
        worker.name: store.environment(found.place, worker, found.note)
        for worker in revision.workers
        if (worker.name, worker.fingerprint) not in same
    }


def _difference(old: Revision, new: Revision, changed: core.Difference) -> dict[str, Any]:
    return {
        "before": old.id,
        "after": new.id,
        "differs": bool(changed),
        "units": [
            {"unit": file.name, "change": _change(file), "diff": file.diff}
            for file in changed.units
        ],
        "workers": [
            {
                "worker": worker.worker,
                "change": worker.change,
                "replaced": worker.replaced,
                "settings": [setting._asdict() for setting in worker.settings],
                "environment": worker.environment._asdict() if worker.environment else None,
            }
            for worker in changed.workers
        ],
        "rollout": [setting._asdict() for setting in changed.rollout],
    }


def _change(file: FileChange) -> str:
    return "create" if file.before is None else "delete" if file.after is None else "replace"


def _difference_lines(old: Revision, new: Revision, changed: core.Difference) -> list[str]:
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


def _setting(setting: core.Setting) -> str:
    before, after = ("none" if value is None else value for value in setting[1:])
    return f"{setting.name}: {before} -> {after}"
