"""releases: which release directories must stay. For the clean-up of Capistrano and Deployer."""

from __future__ import annotations

from pathlib import PurePosixPath as Path
from typing import TYPE_CHECKING, Any

import click

from unitq import observe
from unitq.cli.output import echo, echo_json, echo_lines
from unitq.cli.scope import current, scope_options
from unitq.cli.stored import Stored, looked, stored
from unitq.core import names
from unitq.core.errors import Exit, NotPermittedError, UnitqError
from unitq.host import processes, revisions, state
from unitq.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable


class Uses:
    """Who uses which release directory."""

    def __init__(self) -> None:
        self.pids: dict[str, set[int]] = {}
        self.pinned: dict[str, set[names.InstanceName]] = {}
        self.orphans: dict[str, set[int]] = {}  # their PIDs, and those of their children
        self.told: list[str] = []  # of these, in words

    @property
    def releases(self) -> set[str]:
        """All that are in use."""
        return {*self.pids, *self.pinned, *self.orphans}


@click.command(
    epilog="""\b
Examples:
  unitq releases                                        of all revisions that are kept
  unitq -a shop releases --in-use > keep.txt || exit    those that must not be deleted now

\b
Exit codes: 0; 1 it cannot be told; 4 no such app is installed; 5 root is needed, nothing printed.
"""
)
@scope_options
@click.option(
    "--in-use",
    is_flag=True,
    help="Only those that a living process was started from or is in, or that the next start of "
    "an instance gets.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def releases(in_use: bool, as_json: bool) -> int:
    """List the release directories that are needed, one a line.

    Without --in-use: those of all revisions that are kept, as a rollback may go to any of them.
    With it, for the clean-up of Capistrano or Deployer: what an old worker that still drains runs
    counts as well, and what an orphan does (see `unitq orphans`), which is named. It needs root, or
    --user; a list that may not be complete is not printed.
    """
    found = stored(current())
    kept: dict[str, list[str]] = {}
    for revision in found.revisions:
        for release in {worker.release for worker in revision.workers}:
            kept.setdefault(release, []).append(revision.id)
    uses = _uses(found, kept) if in_use else None
    shown = sorted(kept if uses is None else uses.releases)
    if as_json:
        echo_json(
            found.document(
                only_in_use=in_use,
                releases=[_release(release, kept.get(release, []), uses) for release in shown],
            )
        )
    else:
        _refuse_unprintable(shown)
        echo_lines(shown)
        for words in uses.told if uses else ():
            echo(f"note: {words}", err=True)
    found.tell()
    return Exit.OK


def _refuse_unprintable(releases: Iterable[str]) -> None:
    """Raises UnitqError: a script would compare names with what is printed in their place."""
    if odd := [release for release in releases if one_line(release) != release]:
        raise UnitqError(
            f"a release has characters in its name that are not printed: {odd[0]}",
            hint="--json has every name as it is",
        )


def _release(release: str, kept: list[str], uses: Uses | None) -> dict[str, Any]:
    return {
        "release": release,
        "revisions": kept,
        "pids": sorted(uses.pids.get(release, ())) if uses else None,
        "pinned": [str(name) for name in sorted(uses.pinned.get(release, ()))] if uses else None,
        "orphans": sorted(uses.orphans.get(release, ())) if uses else None,
    }


def _uses(found: Stored, kept: Iterable[str]) -> Uses:
    """What is in use. Raises NotPermittedError or UnitqError where that cannot be told for sure."""
    uses = Uses()
    # Pins first and last: one that moves meanwhile counts with what it was and what it is.
    _pins(found, uses)
    for pid, worker in sorted(_processes(found).items()):
        _process(found, uses, kept, pid, worker)
    _orphans(found, uses)
    _pins(found, uses)
    return uses


def _orphans(found: Stored, uses: Uses) -> None:
    """What works for the app outside its units, in a release of a revision that is kept or not."""
    # Not for those who only ask what is kept.
    from unitq.cli.orphan_look import known, look
    from unitq.cli.orphan_redis import Redis

    what = known(found.scope, found.current)
    redis = Redis(found.scope, found.current)
    for orphan in look(what, redis.registered()).every:
        pid = orphan.process.pid
        if orphan.release:
            uses.orphans.setdefault(orphan.release, set()).update(orphan.pids)
            uses.told.append(
                f"process {pid}, an orphan that works as {orphan.worker}, runs from "
                f"{orphan.release}: `{_typed(found)} orphans` shows more, --drain ends it"
            )
        elif orphan.claim is None and not orphan.elsewhere:
            raise UnitqError(
                f"process {pid} works as {orphan.worker} outside the units of "
                f"{found.current.app}, and nobody can say from which release",
                hint=f"`{_typed(found)} orphans --drain {pid}` lets it finish and end",
            )
    for words in (*what.notes, *redis.notes):
        found.note(words)


def _typed(found: Stored) -> str:
    from unitq.cli.text import unitq

    return unitq(found.current.app, user=found.scope.user)


def _pins(found: Stored, uses: Uses) -> None:
    for instance in state.pinned_instances(found.place):
        revision = state.pinned(found.place, instance)
        release = revisions.release(found.place, revision, instance.worker) if revision else None
        if release:
            uses.pinned.setdefault(release, set()).add(instance)
        else:
            found.note(f"the pin of {instance} leads nowhere: its next start would fail")


def _processes(found: Stored) -> dict[int, str | None]:
    """Every process of the app, with its worker where it is one's."""
    app = found.current.app
    systemd = found.scope.systemd()
    where = observe.machine(systemd, found.scope.layout)
    of_slice = processes.pids(f"{where.cgroup}/{names.slice_path(app)}")
    # A drop-in may have moved an instance to another slice: systemd knows where it is.
    of_instances = {
        pid: one.name.worker for one in looked(found, systemd).values() for pid in one.pids
    }
    return dict.fromkeys(of_slice) | of_instances


def _process(found: Stored, uses: Uses, kept: Iterable[str], pid: int, worker: str | None) -> None:
    evidence = processes.evidence(pid)
    try:
        directory = processes.working_directory(pid)
    except PermissionError:
        directory, evidence = None, evidence._replace(readable=False)
    if not evidence.readable:
        raise NotPermittedError(
            f"{found.current.app}: process {pid} may not be read, so nobody can say which release "
            "it uses",
            hint="run it as root (sudo)",
        )
    inside = {release for release in kept if directory and Path(directory).is_relative_to(release)}
    started = _started_from(found, evidence.revision, worker) if evidence.revision else set()
    for release in inside | started:
        uses.pids.setdefault(release, set()).add(pid)
    if evidence.revision and not started and directory is not None and not inside:
        raise UnitqError(
            f"process {pid} runs revision {evidence.revision}, of which nothing is left, so nobody "
            "can say which release it uses",
            hint="`unitq restart` brings it to the current revision",
        )


def _started_from(found: Stored, revision: str, worker: str | None) -> set[str]:
    """The releases that a process of this revision may use: its worker's, or all there are."""
    known = {each.name for one in found.revisions for each in one.workers}
    workers = [worker] if worker else sorted(known)
    told = {revisions.release(found.place, revision, name) for name in workers}
    return {release for release in told if release}
