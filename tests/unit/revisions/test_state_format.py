"""What the version before wrote is read, byte for byte, without a systemd.

The files are those of tests/systemd/revisions/state_format, which says how they came about.
"""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import kept_state
from unitq.errors import UnitqError
from unitq.model.layout import AppLayout
from unitq.revisions import store as revisions
from unitq.revisions.model import dump, load
from unitq.rollout.ledger import Record, line, records, story
from unitq.rollout.reports import stored_reports as rollout_reports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATA = Path(__file__).parents[2] / "systemd/revisions/state_format"
STATES = sorted(str(path.relative_to(DATA).with_suffix("")) for path in DATA.rglob("*.txt"))


def entries(state: str) -> dict[str, kept_state.Entry]:
    return kept_state.load((DATA / f"{state}.txt").read_text(encoding="utf-8"))


def of_kind(state: str, name: str) -> dict[str, bytes]:
    """The contents of all files of this name, by path."""
    return {
        path: entry.content + bytes(entry.zeros)
        for path, entry in entries(state).items()
        if path.endswith(f"/{name}")
    }


def on_disk(state: str, folder: Path) -> AppLayout:
    """Puts what is there of the app into the folder."""
    found = entries(state)
    app = next(
        name.split("/")[1] for name in found if name.endswith("/current") and "state/" in name
    )
    below = {name: entry for name, entry in found.items() if name.startswith("state/")}
    kept_state.write(below, {"state": folder}, os.getuid())
    return AppLayout(PurePosixPath(folder / app), PurePosixPath(folder / "lock"))


def test_there_is_a_state_of_each_scope() -> None:
    cases = ("canary", "cut-off", "settled")
    assert [f"{scope}/{case}" for scope in ("system", "user") for case in cases] == STATES


@pytest.mark.parametrize("state", STATES)
def test_a_revision_is_read_and_would_be_written_the_same(state: str) -> None:
    found = of_kind(state, "revision.json")
    assert found
    for path, content in found.items():
        revision = load(content, path)
        assert dump(revision).encode() == content
        assert revision.id == path.split("/")[-2]


@pytest.mark.parametrize("state", STATES)
def test_a_ledger_is_read_to_its_end_and_would_be_written_the_same(state: str) -> None:
    for path, content in of_kind(state, "ledger.jsonl").items():
        told = records(content)
        assert b"".join(map(line, told)) == content.rstrip(b"\0"), path
        begun = story(int(path.split("/")[-2]), told)
        assert begun, path


@pytest.mark.parametrize(
    ("case", "how"),
    [("settled", "ended"), ("cut-off", "cut off"), ("canary", "awaiting promotion")],
)
@pytest.mark.parametrize("scope", ["system", "user"])
def test_the_last_rollout_is_what_it_was(scope: str, case: str, how: str) -> None:
    found = of_kind(f"{scope}/{case}", "ledger.jsonl")
    number, content = max((int(path.split("/")[-2]), content) for path, content in found.items())
    last = story(number, records(content))
    assert last
    assert (last.state, last.blocks) == (how, how != "ended")


@pytest.mark.parametrize("state", STATES)
def test_all_that_is_on_disk_is_found_and_nothing_is_called_damaged(
    state: str, tmp_path: Path
) -> None:
    place = on_disk(state, tmp_path)
    said: list[str] = []
    known = revisions.read_all(place, said.append)
    reports = rollout_reports.reports(place, said.append)
    # Of a rollout that was cut off there is no report yet.
    assert [words for words in said if "has no report" not in words] == []
    assert len(said) == (1 if state.endswith("cut-off") else 0)
    folders = list(Path(place.revisions).iterdir())
    assert len(known) == len(folders)
    for revision in known:
        assert set(revisions.unit_texts(place, revision)) == set(revision.units)
        for worker in revision.workers:
            environment = revisions.environment(place, worker, said.append)
            assert environment
            assert environment["UNITQ_REVISION"] == worker.revision
    told = {(report.verdict.command, report.verdict.result) for report in reports}
    if state.endswith("settled"):
        assert told >= {
            ("deploy", "ok"),
            ("deploy", "rolled back"),
            ("rollback", "ok"),
            ("scale", "ok"),
        }
        failed = next(each for each in reports if each.verdict.result == "rolled back")
        assert "this release is broken" in json.dumps(failed.document)


# What a later version may add.


def revision_with(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> str:
    found = of_kind("system/settled", "revision.json")
    document = json.loads(found[max(found)])
    return json.dumps(document | dict(change(document)))


def test_a_number_that_rises_says_what_is_not_compatible() -> None:
    text = revision_with(lambda document: {"format": document["format"] + 1})
    with pytest.raises(UnitqError, match=r"written by a later unitq \(format 2\)"):
        load(text, "revision.json")


def _in_worker(document: dict[str, Any]) -> dict[str, Any]:
    return {"workers": [{**worker, "added": 1} for worker in document["workers"]]}


def _in_recycle(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "workers": [
            {**worker, "recycle": worker["recycle"] and {**worker["recycle"], "added": 1}}
            for worker in document["workers"]
        ]
    }


def _in_share(document: dict[str, Any]) -> dict[str, Any]:
    share = {**document["rollout"]["max_unavailable"], "added": 1}
    return {"rollout": {**document["rollout"], "max_unavailable": share}}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: {"added": 1}, id="the revision"),
        pytest.param(lambda found: {"rollout": {**found["rollout"], "added": 1}}, id="rollout"),
        pytest.param(_in_recycle, id="recycle"),
        pytest.param(_in_worker, id="a worker"),
        pytest.param(_in_share, id="a share"),
    ],
)
def test_a_key_that_is_not_known_is_ignored(
    change: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    assert load(revision_with(change), "revision.json") == load(
        revision_with(lambda _: {}), "revision.json"
    )


def test_in_a_ledger_what_is_not_known_is_ignored() -> None:
    (content,) = (
        content
        for path, content in of_kind("system/cut-off", "ledger.jsonl").items()
        if path.endswith("/2/ledger.jsonl")
    )
    told = records(content)
    more = [each._replace(data={**each.data, "added": 1}) for each in told]
    more.append(Record(len(told) + 1, told[-1].at, "added", {"added": 1}))
    read = records(b"".join(map(line, more)))
    assert story(2, read) == story(2, told)


def test_in_a_report_what_is_not_known_is_ignored(tmp_path: Path) -> None:
    place = on_disk("system/settled", tmp_path)
    before = rollout_reports.reports(place, pytest.fail)
    for path in Path(place.rollouts).glob("*/report.json"):
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"added": 1}))
    after = rollout_reports.reports(place, pytest.fail)
    assert [each.verdict for each in after] == [each.verdict for each in before]


# How documents are compared, see tests/systemd/revisions/test_state_format.py.

ROW = {"name": "sms", "pid": 1, "jobs": [{"id": "a"}], "killed": ["sms@1"], "back": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"pid": None, "killed": []}, []),
        ({"killed": None}, []),
        ({"name": "other", "jobs": [{"id": "b"}, {"id": "c"}]}, []),
        ({"pid": "1"}, ['.rows[].pid was "number", and is "str"']),
        ({"killed": "sms@1"}, ['.rows[].killed was ["str"], and is "str"']),
        ({"killed": [1]}, ['.rows[].killed[] was "str", and is "number"']),
        ({"jobs": []}, ['.rows[].jobs was [{"id": "str"}], and is []']),
        ({"jobs": [{"key": "a"}]}, [".rows[].jobs[].id is gone"]),
        ({"jobs": [{"id": "a"}, {}]}, [".rows[].jobs[].id is not in each of them any more"]),
        ({"back": {"id": "a"}}, ['.rows[].back was "null", and is {"id": "str"}']),
        ({"more": 1}, []),
    ],
)
def test_a_document_is_compared_by_its_keys_and_types(
    change: dict[str, Any], said: list[str]
) -> None:
    recorded, found = (kept_state.outline({"rows": [row]}) for row in (ROW, ROW | change))
    assert list(kept_state.unlike(recorded, found)) == said


def test_what_may_be_one_of_several_is_recorded_so() -> None:
    recorded = kept_state.outline([{"back": None}, {"back": {"id": "a"}}, {"back": None, "at": 1}])
    assert recorded == [{"back": {"one of": ["null", {"id": "str"}]}, "at?": "number"}]
    assert list(kept_state.unlike(recorded, kept_state.outline([{"back": {"id": "b"}}]))) == []
    assert list(kept_state.unlike(recorded, kept_state.outline([{"back": {"key": "b"}}]))) != []


def test_the_text_of_a_state_is_the_state() -> None:
    found = {
        "state/a/key": kept_state.Entry(0o600, bytes(range(256))),
        "state/a/long": kept_state.Entry(0o644, b"a line that is as long as its name\n"),
        "state/a/copy": kept_state.Entry(0o600, b"a line that is as long as its name\n"),
        "state/a/no-line-feed": kept_state.Entry(0o644, b"{}"),
        "state/a/empty": kept_state.Entry(0o444, b"", zeros=3),
        "state/a/link": kept_state.Entry(target="../b c"),
    }
    assert kept_state.load(kept_state.dump(found)) == found
