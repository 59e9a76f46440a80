"""The ledger: what a killed rollout leaves behind is read as far as it is whole."""

from __future__ import annotations

import errno
import grp
import json
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.build import report, reported
from unitq.errors import Exit
from unitq.model.layout import AppLayout
from unitq.rollout import ledger_store
from unitq.rollout.ledger import Record, Story, line, records, story
from unitq.rollout.reports.report import Report, ReportedJob, Rollback

WHATS = st.sampled_from(["begin", "order", "end"])
DATA = st.dictionaries(
    st.text(min_size=1).filter(lambda key: key not in ("seq", "at", "what", "crc")),
    st.none() | st.integers() | st.text() | st.lists(st.text(), max_size=3),
    max_size=4,
)


def numbered(found: list[tuple[str, dict[str, Any]]]) -> tuple[Record, ...]:
    return tuple(Record(n, float(n), what, data) for n, (what, data) in enumerate(found, 1))


MANY = st.lists(st.tuples(WHATS, DATA), max_size=6).map(numbered)


@given(MANY)
def test_what_was_written_is_read(told: tuple[Record, ...]) -> None:
    assert records(b"".join(map(line, told))) == told


@given(MANY)
def test_every_line_is_json(told: tuple[Record, ...]) -> None:
    for each in told:
        assert json.loads(line(each))["seq"] == each.seq


@given(MANY, st.data())
def test_a_torn_end_costs_only_what_is_torn(told: tuple[Record, ...], data: st.DataObject) -> None:
    whole = b"".join(map(line, told))
    cut = data.draw(st.integers(0, len(whole)))
    found = records(whole[:cut] + data.draw(st.sampled_from([b"", b"\0" * 100, b'{"seq"', b"\n"])))
    assert found == told[: len(found)]
    # A line without its end of line is whole all the same: its checksum says so.
    assert sum(len(line(each)) for each in found) >= cut - max(
        (len(line(each)) for each in told), default=0
    )


@given(MANY.filter(bool), st.data())
def test_what_follows_a_damaged_line_is_not_believed(
    told: tuple[Record, ...], data: st.DataObject
) -> None:
    lines = [line(each) for each in told]
    hit = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[hit]) - 2))
    lines[hit] = lines[hit][:place] + bytes([lines[hit][place] ^ 1]) + lines[hit][place + 1 :]
    assert records(b"".join(lines)) == told[:hit]


@pytest.fixture
def place(tmp_path: Path) -> AppLayout:
    return AppLayout(PurePosixPath(tmp_path / "shop"), PurePosixPath(tmp_path / "shop.lock"))


def begun(place: AppLayout, kind: str = "deploy") -> ledger_store.Ledger:
    return ledger_store.begin(
        place, kind, revision="2-bbbbbb", previous="1-aaaaaa", instances=4, max_unavailable=None
    )


def latest(place: AppLayout) -> Story:
    found = ledger_store.latest(place)
    assert found is not None
    return found


def test_a_rollout_without_an_end_is_in_the_way(place: AppLayout) -> None:
    with begun(place) as opened:
        opened.write("order", instance="sms@1", do="restart")
    found = latest(place)
    assert (found.number, found.revision, found.previous) == (1, "2-bbbbbb", "1-aaaaaa")
    assert found.unfinished
    assert found.blocks
    assert found.resumable


@pytest.mark.parametrize(
    ("kind", "code", "in_the_way", "resumable"),
    [
        ("deploy", Exit.OK, False, False),
        ("deploy", Exit.ROLLED_BACK, False, False),
        ("deploy", Exit.PAUSED, True, True),
        ("deploy", Exit.INTERRUPTED, False, True),
        ("deploy", Exit.DEGRADED, False, True),
        ("rollback", Exit.PAUSED, True, True),
        ("restart", Exit.INTERRUPTED, False, False),
    ],
)
def test_the_end_says_what_may_follow(
    place: AppLayout, kind: str, code: Exit, *, in_the_way: bool, resumable: bool
) -> None:
    with begun(place, kind) as opened:
        opened.write("end", code=int(code))
    found = latest(place)
    assert (found.unfinished, found.blocks, found.resumable) == (False, in_the_way, resumable)


def test_a_killed_restart_is_not_in_the_way_of_a_deploy(place: AppLayout) -> None:
    with begun(place, "restart"):
        pass
    assert not latest(place).blocks


def test_a_resumed_rollout_goes_on_in_the_same_ledger(place: AppLayout) -> None:
    with begun(place) as opened:
        opened.write("order", instance="sms@1", do="restart")
    path = Path(place.rollout(1), "ledger.jsonl")
    with path.open("ab") as file:
        file.write(b'{"seq":3,"what":"ord')  # as a power cut leaves it
    with ledger_store.resume(place, 1, 4) as again:
        again.write("promote")
        again.write("end", code=0)
    assert [each.what for each in ledger_store.read(place, 1)] == [
        "begin", "order", "resume", "promote", "end",
    ]  # fmt: skip
    assert latest(place).promoted
    assert path.read_bytes().count(b"\n") == 5


def test_each_rollout_has_its_own_number(place: AppLayout) -> None:
    for _ in range(3):
        with begun(place) as opened:
            opened.write("end", code=0)
    assert latest(place).number == 3
    assert len(ledger_store.read(place, 2)) == 2


def test_one_that_was_cut_off_before_its_first_record_has_changed_nothing(place: AppLayout) -> None:
    with begun(place) as opened:
        opened.write("end", code=0)
    Path(place.rollout(2)).mkdir()
    Path(place.rollout(2), "ledger.jsonl").write_bytes(b"\0" * 65536)
    assert latest(place).number == 1
    with begun(place) as opened:
        assert opened.number == 3


def test_nothing_was_ever_rolled_out(place: AppLayout) -> None:
    assert ledger_store.latest(place) is None
    assert story(1, ()) is None


def test_the_report_is_kept_beside(place: AppLayout) -> None:
    with begun(place) as opened:
        assert opened.earlier_report() is None
        opened.keep(report(result="paused"))
    document = json.loads(Path(place.rollout(1), "report.json").read_text(encoding="utf-8"))
    assert document == report(result="paused").to_json()
    with ledger_store.resume(place, 1, 4) as again:
        assert again.earlier_report() == report(result="paused")


JOB = ReportedJob("sms", "SendSms", "7", None, None)
ROW = reported("sms@1", possible_jobs=())
ROW_SAID = replace(ROW, log=("PASSWORD=x",), jobs=(JOB,))
BACK = Rollback(
    revision="2-b", restores=1, seconds=1.0, least_serving={}, slowest_drain=None, killed=(),
    failed=(), instances=(replace(ROW_SAID, possible_jobs=(JOB,)),),
)  # fmt: skip
REPORT = report(
    result="failed",
    instances=(ROW_SAID, reported("sms@2")),
    dropped_jobs=(JOB,),
    rollback=BACK,
    earlier=(replace(report(instances=(ROW_SAID,)).for_later(), instances=(ROW_SAID,)),),
)
SAID = REPORT.to_json()


def private(path: Path) -> bool:
    """Whether only root, or the owner, and who may read the journal may read it."""
    found = path.stat()
    if os.geteuid() != 0:
        return found.st_mode & 0o777 == 0o600
    try:
        group = grp.getgrnam("systemd-journal").gr_gid
    except KeyError:
        return found.st_mode & 0o777 == 0o600
    return (found.st_mode & 0o777, found.st_gid) == (0o640, group)


def test_what_workers_printed_is_kept_apart(place: AppLayout) -> None:
    with begun(place) as opened:
        opened.keep(REPORT)
        opened.progress("sms@1 draining", ": SendSms 7")
    folder = Path(place.rollout(1))
    for path in folder.iterdir():
        if path.name in ("logs.json", "progress-jobs.log"):
            assert private(path), path
        else:
            assert path.stat().st_mode & 0o777 == 0o644, path
            assert not {"PASSWORD", "SendSms", '"7"'} & set(path.read_text().split()), path
            assert "SendSms" not in path.read_text()
    public = json.loads((folder / "report.json").read_text())
    assert public["withheld"] is True
    assert public["instances"][0] == report(instances=(ROW,)).to_json()["instances"][0]
    assert ledger_store.public(REPORT) == Report.from_json(public)
    assert ledger_store.whole(folder, public) == SAID
    with ledger_store.resume(place, 1, 4) as again:
        assert again.earlier_report() == REPORT
        again.keep(report())
    assert not (folder / "logs.json").exists()


def test_what_an_older_unitq_left_open_is_closed(place: AppLayout) -> None:
    for number, text in (
        (1, json.dumps(SAID)),
        (2, "{"),
        (3, json.dumps(report(instances=(ROW,)).to_json())),
    ):
        folder = Path(place.rollout(number))
        folder.mkdir(parents=True)
        for name, content in (("report.json", text), ("progress.log", "sms@1 draining: SendSms")):
            (folder / name).write_text(content)
            (folder / name).chmod(0o644)
    with begun(place):
        pass
    folder = Path(place.rollout(1))
    assert private(folder / "logs.json")
    assert private(folder / "progress.log")
    document = json.loads((folder / "report.json").read_text())
    assert "PASSWORD" not in json.dumps(document)
    assert ledger_store.whole(folder, document) == SAID
    assert private(Path(place.rollout(2)) / "report.json")
    assert (Path(place.rollout(3)) / "report.json").stat().st_mode & 0o777 == 0o644
    # What is closed stays, and is not closed twice.
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with begun(place):
        pass
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_ledger_takes_its_room_before_anything_is_done(place: AppLayout) -> None:
    with begun(place):
        assert Path(place.rollout(1), "ledger.jsonl").stat().st_size > 64 << 10
    assert Path(place.rollout(1), "ledger.jsonl").stat().st_size < 1000


def test_no_room_for_it_leaves_nothing(place: AppLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    with begun(place) as opened:
        opened.write("end", code=0)

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        begun(place)
    assert [path.name for path in Path(place.rollouts).iterdir()] == ["1"]
    with pytest.raises(OSError, match="No space left"):
        ledger_store.resume(place, 1, 4)
    assert [each.what for each in ledger_store.read(place, 1)] == ["begin", "end"]


def test_a_report_has_its_room_from_the_beginning(place: AppLayout) -> None:
    with begun(place) as opened:
        reserved = {path.name: path.stat().st_size for path in Path(place.rollout(1)).iterdir()}
        assert all(size > 64 << 10 for size in reserved.values()), reserved
        assert len(reserved) == 3
        opened.keep(report())
    assert sorted(os.listdir(place.rollout(1))) == ["ledger.jsonl", "report.json"]
    with ledger_store.resume(place, 1, 4):
        pass
    assert sorted(os.listdir(place.rollout(1))) == ["ledger.jsonl", "report.json"]


def test_what_cannot_be_written_down_is_an_error_in_words(
    place: AppLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with begun(place) as opened:
        monkeypatch.setattr(os, "fdatasync", broken)
        with pytest.raises(ledger_store.LedgerError, match=r"rollouts/1/.*Input/output error"):
            opened.write("order", instance="sms@1", do="restart")
    with pytest.raises(OSError, match="Input/output error"):
        begun(place)
    assert os.listdir(place.rollouts) == ["1"]


def test_a_rollback_that_could_not_begin_led_nowhere(place: AppLayout) -> None:
    with begun(place) as opened:
        opened.write("rollback", revision="3-aaaaaa", restores="1-aaaaaa")
    assert latest(place).back_to == "3-aaaaaa"
    with ledger_store.resume(place, 1, 4) as opened:
        opened.write("stay", revision="2-bbbbbb")
    assert latest(place).back_to is None
