"""Which releases are in use: by processes of the app, by pins, by orphans."""

from __future__ import annotations

import os.path
from pathlib import PurePosixPath as Path
from typing import TYPE_CHECKING

from unitq.config import scripts
from unitq.errors import NotPermittedError, UnitqError
from unitq.instances import observe
from unitq.linux import proc
from unitq.linux.links import moving_link
from unitq.model import names
from unitq.revisions import state, store
from unitq.revisions.around import command_paths
from unitq.rollout.app_archive import AppArchive, observe_instances
from unitq.units.text import read_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.linux.links import Link


class Uses:
    """Who uses which release directory."""

    def __init__(self) -> None:
        self.pids: dict[str, set[int]] = {}
        self.pinned: dict[str, set[names.InstanceName]] = {}
        self.orphans: dict[str, set[int]] = {}  # their PIDs, and those of their children
        self.orphan_notes: list[str] = []  # of these, in words

    @property
    def releases(self) -> set[str]:
        """All that are in use."""
        return {*self.pids, *self.pinned, *self.orphans}


def uses_of(archive: AppArchive) -> Uses:
    """Returns who uses which release. Raises NotPermittedError, UnitqError: one is unknown."""
    uses = Uses()
    kept = {worker.release for revision in archive.revisions for worker in revision.workers}
    # Pins first and last: one that moves meanwhile counts with what it was and what it is.
    _pins(archive, uses)
    for pid, worker in sorted(_processes(archive).items()):
        _process(archive, uses, kept, pid, worker)
    around = _around(archive)
    for instance in observe_instances(archive, archive.scope.systemd()).values() if around else ():
        for link in around.get(instance.name.worker, ()):
            _through(archive, uses, link, instance.pids)
    _orphans(archive, uses)
    _pins(archive, uses)
    return uses


def _orphans(archive: AppArchive, uses: Uses) -> None:
    """What works for the app outside its units, in a release of a revision that is kept or not."""
    # Not for those who only ask what is kept.
    from unitq.orphans.find import prepare_search, scan
    from unitq.orphans.registered import RegistrationReader

    what = prepare_search(archive.scope, archive.current)
    redis = RegistrationReader(archive.scope, archive.current)
    for orphan in scan(what, redis.read()).every:
        pid = orphan.process.pid
        if orphan.release:
            uses.orphans.setdefault(orphan.release, set()).update(orphan.pids)
            uses.orphan_notes.append(
                f"process {pid}, an orphan that works as {orphan.worker}, runs from "
                f"{orphan.release}: `{_typed(archive)} orphans` shows more, --drain ends it"
            )
        elif orphan.claim is None and not orphan.elsewhere:
            raise UnitqError(
                f"process {pid} works as {orphan.worker} outside the units of "
                f"{archive.current.app}; its release is unknown",
                hint=f"`{_typed(archive)} orphans --drain {pid}` lets it finish and end",
            )
    for words in (*what.notes, *redis.notes):
        archive.note(words)


def _typed(archive: AppArchive) -> str:
    from unitq.text import unitq

    return unitq(archive.current.app, user=archive.scope.user)


def _pins(archive: AppArchive, uses: Uses) -> None:
    for instance in state.instances_with_pin(archive.place):
        revision = state.pin_of(archive.place, instance)
        release = store.release(archive.place, revision, instance.worker) if revision else None
        if release:
            uses.pinned.setdefault(release, set()).add(instance)
        else:
            archive.note(f"the pin of {instance} leads nowhere: its next start would fail")


def _processes(archive: AppArchive) -> dict[int, str | None]:
    """Returns every process of the app, with its worker where it is one's."""
    app = archive.current.app
    systemd = archive.scope.systemd()
    where = observe.machine(systemd, archive.scope.layout)
    of_slice = proc.pids(f"{where.cgroup}/{names.slice_path(app)}")
    # A drop-in may have moved an instance to another slice: systemd knows where it is.
    of_instances = {
        pid: instance.name.worker
        for instance in observe_instances(archive, systemd).values()
        for pid in instance.pids
    }
    return dict.fromkeys(of_slice) | of_instances


def _process(
    archive: AppArchive, uses: Uses, kept: Iterable[str], pid: int, worker: str | None
) -> None:
    evidence = proc.evidence(pid)
    try:
        directory = proc.working_directory(pid)
    except PermissionError:
        directory, evidence = None, evidence._replace(readable=False)
    if not evidence.readable:
        raise NotPermittedError(
            f"{archive.current.app}: cannot read process {pid}, so its release is unknown",
            hint="run it as root (sudo)",
        )
    inside = {release for release in kept if directory and Path(directory).is_relative_to(release)}
    started = _releases_of(archive, evidence.revision, worker) if evidence.revision else set()
    # One that was renamed under it is in use as well, by another name.
    renamed = {other for release in kept if (other := _sibling(release, directory))}
    for release in inside | started | (set() if inside else renamed):
        uses.pids.setdefault(release, set()).add(pid)
    if evidence.revision and not started and directory is not None and not inside:
        raise UnitqError(
            f"process {pid} runs revision {evidence.revision}, of which nothing is left, so its "
            "release is unknown",
            hint="`unitq restart` brings it to the current revision",
        )


def _sibling(release: str, directory: str | None) -> str:
    """Returns the directory beside a release that a process is in; empty where there is none."""
    folder = f"{Path(release).parent}/"
    if directory is None or folder == "//" or not directory.startswith(folder):
        return ""
    sibling = f"{folder}{directory[len(folder) :].partition('/')[0]}"
    return sibling if os.path.isdir(sibling) else ""


def _releases_of(archive: AppArchive, revision: str, worker: str | None) -> set[str]:
    """Returns the releases that a process of this revision may use: its worker's, or all."""
    known = {
        worker_revision.name for other in archive.revisions for worker_revision in other.workers
    }
    workers = [worker] if worker else sorted(known)
    releases = {store.release(archive.place, revision, name) for name in workers}
    return {release for release in releases if release}


def _around(archive: AppArchive) -> dict[str, set[Link]]:
    """By worker, the links that each release moves and that its command goes through.

    Its pin does not hold these: the release in use is another one than `directory` says.
    """
    links: dict[str, set[Link]] = {}
    for revision in archive.revisions:
        texts = store.unit_texts(archive.place, revision)
        for worker in revision.workers:
            text = texts.get(names.template(revision.app, worker.name), "")
            unit = read_unit(text, str(archive.place.pins(worker.name)))
            command = unit.command if unit else ""
            heads = scripts.heads(command, worker.release)
            for used in command_paths(command, worker.release, heads):
                if link := moving_link(used.path):
                    links.setdefault(worker.name, set()).add(link)
    return links


def _through(archive: AppArchive, uses: Uses, link: Link, pids: Iterable[int]) -> None:
    """Notes the release that an instance came to by a link.

    Raises UnitqError where the link has been moved since, and nothing tells.
    """
    folder = f"{Path(link.target).parent}/"
    inside: dict[str, set[int]] = {}
    for pid in pids:
        if not proc.older_than(pid, link.path):
            inside.setdefault(link.target, set()).add(pid)
        for path in proc.places(pid):
            if path.startswith(folder):
                release = f"{folder}{path[len(folder) :].partition('/')[0]}"
                inside.setdefault(release, set()).add(pid)
    if not inside and (alive := [pid for pid in pids if proc.age(pid) is not None]):
        raise UnitqError(
            f"process {alive[0]} was started through {link.path}, which was moved since, so its "
            "release is unknown",
            hint=f"`{_typed(archive)} restart` brings it to the current one; "
            f"`{_typed(archive)} check` says what to write",
        )
    for release, users in inside.items():
        uses.pids.setdefault(release, set()).update(users)
