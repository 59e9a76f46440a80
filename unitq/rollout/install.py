"""Installs a revision: files, links, one daemon-reload. And takes an app away again."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from unitq.errors import NoMatchError
from unitq.linux import files
from unitq.model import names
from unitq.revisions import state, store
from unitq.revisions.model import Revision
from unitq.units import unit_files
from unitq.units.text import FileChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from unitq.model.layout import AppLayout, Layout
    from unitq.model.names import InstanceName
    from unitq.rollout.plan import Plan
    from unitq.systemd.manager import Systemd
    from unitq.units.render import Rendered


def install(
    systemd: Systemd, layout: Layout, plan: Plan, content: Rendered | Revision | None
) -> None:
    """Puts the plan's revision and unit files in place; no instance is touched.

    `content` is what the revision is made of, or the one whose units it has; None: it is on disk.

    Ordered so that the next deploy mends a crash anywhere: the revision is whole before anything
    names it, pins are on disk before their instances start at boot, and what systemd may not have
    read yet is marked. Units that are no longer wanted keep their file until they have stopped:
    without it systemd would forget their time limit and signal.
    """
    place = layout.app(plan.target.app)
    # The pins first: should only some be written, the template is still the old one.
    written = [*plan.pins, *(change for change in plan.files if change.after is not None)]
    # systemd will start at boot what has never been started: it must find its code by then.
    unpinned = [name for name in plan.target.instances if state.pin_of(place, name) is None]
    with (
        files.preflight_errors("cannot install"),
        _undone(place, plan, unpinned),
        ExitStack() as stack,
    ):
        if plan.target is not plan.current:
            if isinstance(content, Revision):
                store.write_copy(place, content, plan.target)
            elif content is not None:
                store.write(place, plan.target, content)
            stack.enter_context(state.make_current(place, plan.target))
        for name in unpinned:
            state.pin(place, name, str(plan.target.goal(name)))
        if unpinned:
            state.sync_pins(place, {name.worker for name in unpinned})
        if plan.links:
            unit_files.probe(layout.unit_dir, names.target(plan.target.app))
        if written or plan.links:
            state.mark_reload(place, pending=True)
        if written:
            unit_files.apply(layout.unit_dir, written)
    _link(systemd, layout, plan.target)
    # Links that go with a worker can wait for the reload that its unit files need; see `clean`.
    later = bool(plan.files) and not written
    if state.reload_pending(place) and not later:
        systemd.reload()
        state.mark_reload(place, pending=False)
    # The target must be up for its stop to stop everything; it must not start anything now.
    systemd.start(names.target(plan.target.app), "ignore-dependencies")
    if (timer := names.recycle_timer(plan.target.app)) in plan.target.units:
        systemd.start(timer)


@contextmanager
def _undone(place: AppLayout, plan: Plan, unpinned: Iterable[InstanceName]) -> Iterator[None]:
    """Takes back what a full or a read-only disk has let us write."""
    marked = state.reload_pending(place)
    try:
        yield
    except OSError:
        with suppress(OSError):
            state.mark_reload(place, pending=marked)
        with suppress(OSError):
            for name in unpinned:
                state.unpin(place, name)
        if plan.target is not plan.current:
            store.discard(place, plan.target)
        raise


def _link(systemd: Systemd, layout: Layout, target: Revision) -> None:
    """Makes exactly the wanted instances start at boot, and what looks after them."""
    app = target.app
    wanted = set(target.links)
    there = unit_files.started_by(layout.unit_dir, names.target(app))
    if missing := sorted(wanted - there):
        systemd.enable([names.target(app), *missing])
    if surplus := sorted(there - wanted):
        systemd.disable(surplus)
    if missing or surplus:
        unit_files.sync_links(layout.unit_dir, names.target(app))


def switch(systemd: Systemd, layout: Layout, app: str, units: Sequence[str]) -> None:
    """Takes the pins away of units whose old process is gone: their template holds from now on."""
    place = layout.app(app)
    there = [unit for unit in units if unit_files.pin(layout.unit_dir, unit)]
    pins = [FileChange(unit, None, None) for unit in there]
    if pins:
        state.mark_reload(place, pending=True)
        unit_files.apply(layout.unit_dir, pins)
    if state.reload_pending(place):
        systemd.reload()
        state.mark_reload(place, pending=False)


def clean(
    systemd: Systemd,
    layout: Layout,
    app: str,
    deleted: Sequence[FileChange],
    gone: Iterable[InstanceName],
) -> None:
    """Deletes the unit files of workers and the pins of instances that are gone, once stopped."""
    place = layout.app(app)
    units = (names.unit(app, name) for name in gone)
    pins = [FileChange(u, None, None) for u in units if unit_files.pin(layout.unit_dir, u)]
    if (timer := names.recycle_timer(app)) in {change.name for change in deleted}:
        with suppress(NoMatchError):
            systemd.stop(timer)
    deleted = [*pins, *deleted]
    if deleted:
        state.mark_reload(place, pending=True)
        unit_files.apply(layout.unit_dir, deleted)
        systemd.reload()
        state.mark_reload(place, pending=False)


def remove(systemd: Systemd, layout: Layout, app: str, units: Sequence[FileChange]) -> None:
    """Deletes all that deploy installed. The instances have stopped before."""
    target = names.target(app)
    links = sorted(unit_files.started_by(layout.unit_dir, target))
    with suppress(NoMatchError):
        systemd.stop(target)
    try:
        systemd.disable([*links, target])
    except NoMatchError:
        # Somebody has deleted unit files: systemd then knows of no links to take away.
        unit_files.unlink(layout.unit_dir, target)
    unit_files.apply(layout.unit_dir, units)
    systemd.reload()
    store.remove(layout.app(app))
