"""In which order things are put on disk: what a power cut may take, and what it must not.

ext4 writes more than it is asked to, so that the reboot tests would not notice. Here each call is
noted: what is renamed was synced, and the folder that holds the new name is synced before anything
relies on it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.harness.build import app, rendered, report, reported
from unitq.linux import files
from unitq.linux.folder import TEMPORARY
from unitq.model import names
from unitq.model.layout import AppLayout, Layout, user
from unitq.model.names import InstanceName
from unitq.revisions import state
from unitq.revisions.model import Origin, Revision, successor
from unitq.rollout import install, ledger_store
from unitq.rollout.engine.instance import Action, ActionKind, InstanceState, Phase
from unitq.rollout.orders import Orders
from unitq.rollout.plan import Change, PlannedChange, plan
from unitq.units import unit_files
from unitq.units.text import PIN

if TYPE_CHECKING:
    from collections.abc import Callable

APP = app()
ONE = InstanceName("sms", 1)


class Call(NamedTuple):
    """A change, or a sync, of a path."""

    what: str
    path: str


class Disk:
    """Notes changes and syncs, as paths; and can end the process, as it were, at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Call] = []
        self.stop_at: int | None = None
        for name in ("fsync", "fdatasync"):
            self._wrap(monkeypatch, name, self._of_descriptor)
        for name in ("rename", "replace", "symlink", "unlink", "mkdir", "rmdir"):
            self._wrap(monkeypatch, name, self._of_path)

    def _wrap(
        self, monkeypatch: pytest.MonkeyPatch, name: str, path_of: Callable[..., str]
    ) -> None:
        real: Any = getattr(os, name)

        def noted(*arguments: Any, **more: Any) -> Any:
            if self.stop_at is not None and len(self.calls) >= self.stop_at:
                raise Killed
            path = path_of(name, arguments, more)
            done = real(*arguments, **more)
            self.calls.append(Call("sync" if "sync" in name else name, path))
            return done

        monkeypatch.setattr(os, name, noted)

    @staticmethod
    def _of_descriptor(_: str, arguments: tuple[Any, ...], __: dict[str, Any]) -> str:
        return os.readlink(f"/proc/self/fd/{arguments[0]}")

    @staticmethod
    def _of_path(name: str, arguments: tuple[Any, ...], more: dict[str, Any]) -> str:
        path = os.fspath(arguments[1 if name in ("rename", "replace", "symlink") else 0])
        folder = more.get("dst_dir_fd") or more.get("dir_fd")
        above = os.readlink(f"/proc/self/fd/{folder}") if folder is not None else ""
        return os.path.join(above, path)

    def index(self, what: str, path: object) -> int:
        """The last call of this kind on this path."""
        found = [i for i, call in enumerate(self.calls) if call == Call(what, str(path))]
        assert found, f"no {what} of {path} in {self.calls}"
        return found[-1]

    def renamed(self, path: object) -> int:
        return max(
            i for i, each in enumerate(self.calls)
            if each.what in ("rename", "replace") and each.path == str(path)
        )  # fmt: skip

    def is_safe(self, path: Path) -> None:
        """Its content was synced under its temporary name, and after the rename its folder."""
        at = self.renamed(path)
        staged = path.with_name(f".{path.name}{TEMPORARY}")
        assert Call("sync", str(staged)) in self.calls[:at], f"{path} was renamed unsynced"
        assert Call("sync", str(path.parent)) in self.calls[at:], f"the new {path} is not synced"


class Killed(BaseException):
    """The process ends here: nothing catches this, and nothing is cleaned up for it."""


@pytest.fixture
def place(tmp_path: Path) -> AppLayout:
    return AppLayout(PurePosixPath(tmp_path / "shop"), PurePosixPath(tmp_path / "shop.lock"))


def test_a_mark_to_reload_is_on_disk(place: AppLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    state.mark_reload(place, pending=True)
    mark = f"{place.state}/reload-pending"
    assert disk.index("sync", mark) < disk.index("sync", place.state)
    assert state.reload_pending(place)


def test_new_folders_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    files.folder(tmp_path / "a" / "b")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert disk.index("mkdir", folder) < disk.index("sync", folder.parent)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_file_that_replaces_another_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shop.conf"
    path.write_text("old")
    disk = Disk(monkeypatch)
    files.replace(path, b"new", 0o640)
    disk.is_safe(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o640)


def test_pins_are_on_disk_once_they_are_synced(
    place: AppLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    state.pin(place, ONE, "2-b")
    state.sync_pins(place, ["sms"])
    assert disk.renamed(place.pin("sms", 1)) < disk.index("sync", place.pins("sms"))
    assert disk.index("mkdir", place.pins("sms")) < disk.index("sync", place.state / "pins")


def test_a_report_is_on_disk(place: AppLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    with ledger_store.begin(
        place, "deploy", revision="1-a", previous=None, instances=1, max_unavailable=None
    ) as book:
        disk = Disk(monkeypatch)
        book.keep(report())
        disk.is_safe(Path(place.rollout(1)) / "report.json")
    assert book.earlier_report() == report()


def test_what_workers_printed_is_on_disk_and_apart_from_the_report(
    place: AppLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = report(instances=(reported("sms@1", phase="failed", log=("no database",)),))
    with ledger_store.begin(
        place, "deploy", revision="1-a", previous=None, instances=1, max_unavailable=None
    ) as book:
        disk = Disk(monkeypatch)
        book.keep(failed)
        folder = Path(place.rollout(1))
        for name in ("logs.json", "report.json"):
            disk.is_safe(folder / name)
    assert "no database" not in (folder / "report.json").read_text()
    assert book.earlier_report() == failed


def test_a_record_is_on_disk_before_anything_follows(
    place: AppLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    with ledger_store.begin(
        place, "deploy", revision="1-a", previous=None, instances=1, max_unavailable=None
    ) as book:
        path = f"{place.rollout(1)}/ledger.jsonl"
        assert disk.calls[-1].what != "rename"
        begun = disk.index("sync", path)
        book.note("order", instance="sms@1")
        assert disk.index("sync", path) == begun
        book.sync()
        assert disk.index("sync", path) > begun


def test_what_killed_unitqs_left_behind_goes(place: AppLayout) -> None:
    more: dict[str, Any] = {"previous": None, "instances": 1, "max_unavailable": None}
    book = ledger_store.begin(place, "deploy", revision="1-a", **more)
    left = Path(place.rollout(1))
    assert list(left.glob(f".*{TEMPORARY}"))
    del book  # killed: nothing is closed
    ledger_store.begin(place, "deploy", revision="2-b", **more).__exit__()
    assert not list(left.glob(f".*{TEMPORARY}"))
    assert (left / "ledger.jsonl").exists()


def test_unit_files_are_on_disk_under_another_name_before_the_first_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unitq.units.text import FileChange

    disk = Disk(monkeypatch)
    unit_dir = tmp_path / "units"
    changes = [FileChange(f"unitq-{each}.service", None, each) for each in "abc"]
    unit_files.apply(PurePosixPath(unit_dir), changes)
    paths = [unit_dir / change.name for change in changes]
    for path in paths:
        disk.is_safe(path)
    first = min(disk.renamed(path) for path in paths)
    staged = [path.with_name(f".{path.name}{TEMPORARY}") for path in paths]
    assert all(disk.index("sync", each) < first for each in staged)


# --- an install that is cut off anywhere ----------------------------------------------------------


class Systemd:
    """Notes what it is told, and how things are on disk by then."""

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self.layout = layout
        self.disk = disk
        self.enabled_with: list[tuple[str, int]] = []

    def enable(self, units: list[str]) -> None:
        wants = Path(self.layout.unit_dir) / f"{names.target('shop')}.wants"
        wants.mkdir(parents=True, exist_ok=True)
        for unit in units:
            if unit != names.target("shop"):
                (wants / unit).touch()
                self.enabled_with.append((unit, len(self.disk.calls)))

    def disable(self, units: list[str]) -> None:
        for unit in units:
            (Path(self.layout.unit_dir) / f"{names.target('shop')}.wants" / unit).unlink()

    def reload(self) -> None:
        self.disk.calls.append(Call("reload", ""))

    def start(self, unit: str, _mode: str = "replace") -> str:
        self.disk.calls.append(Call("start", unit))
        return ""


def _plan(layout: Layout, command: str, current: Revision | None) -> tuple[Any, Any, Revision]:
    from unitq.rollout.plan import Running

    found = app(f'[workers.sms]\ncommand = "{command}"\ninstances = 2')
    units = rendered(found, scope=layout)
    origin = Origin(1.0, "root", "/etc/unitq/shop.toml")
    target = successor(current, units, found.rollout, origin)
    running = {}
    if current:
        running = {name: Running(True, current.id) for name in current.instances}
    made = plan(
        current,
        target,
        units={unit.name: unit.text for unit in units.units},
        installed=unit_files.of_app(layout.unit_dir, "shop"),
        running=running,
        linked=unit_files.started_by(layout.unit_dir, names.target("shop")),
        reload=state.reload_pending(layout.app("shop")),
    )
    return made, units, target


def _layout(folder: Path) -> Layout:
    return user(home=str(folder), uid=1000, environment={})


def test_pins_are_on_disk_before_a_start_at_boot_is_enabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, disk = _layout(tmp_path), Disk(monkeypatch)
    systemd, place = Systemd(layout, disk), layout.app("shop")
    made, units, target = _plan(layout, "/bin/old", None)
    install.install(systemd, layout, made, units)  # type: ignore[arg-type]
    assert [unit for unit, _ in systemd.enabled_with] == list(target.links)
    for number in (1, 2):
        assert state.pin_of(place, InstanceName("sms", number)) == target.id
    (at,) = {at for _, at in systemd.enabled_with}
    synced = disk.calls[:at]
    last = max(disk.renamed(place.pin("sms", number)) for number in (1, 2))
    assert Call("sync", str(place.pins("sms"))) in synced[last:]
    revision = place.revisions / target.id
    assert disk.renamed(revision) < disk.index("sync", place.revisions) < at
    assert disk.renamed(place.current) < disk.index("sync", place.state) < at
    # systemd does not sync the links that it makes.
    wants = Path(layout.unit_dir) / f"{names.target('shop')}.wants"
    assert Call("sync", str(wants)) in disk.calls[at:]


def test_an_install_that_is_cut_off_anywhere_leaves_nobody_with_a_text_that_is_not_his(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each rename: what systemd would read then belongs to the code that the pins name."""
    seen = []
    for stop_at in range(200):
        with monkeypatch.context() as patched:
            folder = tmp_path / str(stop_at)
            folder.mkdir()
            layout, place = _layout(folder), _layout(folder).app("shop")
            disk = Disk(patched)
            systemd = Systemd(layout, disk)
            made, units, first = _plan(layout, "/bin/old", None)
            install.install(systemd, layout, made, units)  # type: ignore[arg-type]
            made, units, second = _plan(layout, "/bin/new", first)
            assert made.pins
            disk.calls.clear()
            disk.stop_at = stop_at
            try:
                install.install(systemd, layout, made, units)  # type: ignore[arg-type]
                cut_off = False
            except Killed:
                cut_off = True
            disk.stop_at = None
            texts = unit_files.of_app(layout.unit_dir, "shop")
            template = texts[names.template("shop", "sms")]
            for name in first.instances:
                effective = texts.get(names.unit("shop", name), template)
                assert "/bin/old" in effective, f"cut off at {disk.calls[-1]}"
                assert state.pin_of(place, name) == first.id
            # What systemd may not have read is marked, from before the first new name.
            changed = [call for call in disk.calls if call.path.startswith(str(layout.unit_dir))]
            renamed = any(call.what == "replace" for call in changed)
            reloaded = Call("reload", "") in disk.calls
            assert state.reload_pending(place) or not renamed or reloaded
            # And what is wanted is there whole.
            wanted = state.current(place)
            assert wanted is not None
            assert wanted.id in (first.id, second.id)
            seen.append(template.count("/bin/new") == 1)
            if not cut_off:
                break
    assert not cut_off
    assert PIN in texts[names.unit("shop", ONE)]
    # It was cut off before the template was replaced, and after.
    assert set(seen) == {False, True}
    assert len(seen) > 20


@pytest.mark.parametrize("what", ["switch", "clean"])
def test_what_is_cut_off_after_the_stop_is_marked_and_never_old_code_by_the_new_text(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each change on disk, in mid-rollout: the old process is gone, the new text may follow."""
    for stop_at in range(100):
        with monkeypatch.context() as patched:
            folder = tmp_path / str(stop_at)
            folder.mkdir()
            layout, place = _layout(folder), _layout(folder).app("shop")
            disk = Disk(patched)
            systemd: Any = Systemd(layout, disk)
            made, units, first = _plan(layout, "/bin/old", None)
            install.install(systemd, layout, made, units)
            made, units, second = _plan(layout, "/bin/new", first)
            install.install(systemd, layout, made, units)
            assert PIN in unit_files.text(layout.unit_dir, names.unit("shop", ONE))
            disk.calls.clear()
            disk.stop_at = stop_at
            try:
                if what == "switch":
                    order = Action(
                        InstanceState(PlannedChange(ONE, Change.RESTART, ""), Phase.DRAINED),
                        ActionKind.SWITCH,
                    )
                    Orders(systemd, layout, "shop").switch([order], {ONE: second.id})
                else:
                    install.clean(systemd, layout, "shop", (), [ONE])
                cut_off = False
            except Killed:
                cut_off = True
            disk.stop_at = None
            pinned = unit_files.pin(layout.unit_dir, names.unit("shop", ONE))
            if what == "switch" and pinned is None:
                # The template holds from now on, and so must its code.
                assert state.pin_of(place, ONE) == second.id
            changed = [call for call in disk.calls if call.path.startswith(str(layout.unit_dir))]
            unread = any(call.what == "unlink" for call in changed) and pinned is None
            assert state.reload_pending(place) or not unread or Call("reload", "") in disk.calls
            if not cut_off:
                break
    assert not cut_off
    assert pinned is None
    assert stop_at > 3
