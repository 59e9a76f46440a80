"""The history of revisions: what became of each, where a rollback leads, what may be deleted."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.build import app
from unitq.errors import Exit, NoMatchError
from unitq.model.layout import AppLayout
from unitq.model.settings import Duration, Share
from unitq.revisions import store
from unitq.revisions.history import (
    Difference,
    Entry,
    Environment,
    Setting,
    State,
    Verdict,
    contents,
    difference,
    entries,
    find,
    last_stable,
)
from unitq.revisions.model import Revision, WorkerRevision, dump
from unitq.rollout.reports import stored_reports as reports
from unitq.systemd.envfile import assignments, environment_file

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLLOUT = app().rollout


def made(
    number: int,
    content: str = "",
    *,
    restores: int | None = None,
    instances: int = 1,
    units: tuple[str, ...] = ("unitq-shop.target",),
    **refers: str,
) -> Revision:
    """A revision of a worker sms; two of the same `content` run the same."""
    content = content or f"c{number}"
    identity = f"{number}-{number:06x}"
    worker = WorkerRevision(
        name="sms",
        revision=refers.get("sms", identity),
        fingerprint=content,
        instances=instances,
        stop_timeout=60.0,
        release=f"/srv/shop/releases/{content}",
        code_version=f"release {content}",
    )
    return Revision(
        number=number,
        hash=f"{number:06x}",
        app="shop",
        created=1e9 + number,
        by="ann",
        config="/srv/shop/unitq.toml",
        workers=(worker,),
        units=units,
        rollout=ROLLOUT,
        restores=restores,
    )


def report(
    number: int, revision: Revision, result: str = "ok", code: int = 0, command: str = "deploy"
) -> dict[str, Any]:
    return {
        "rollout": number,
        "command": command,
        "result": result,
        "exit_code": code,
        "revision": revision.id,
        "seconds": float(number),
        "killed": [],
        "failed": [],
    }


def verdict(*arguments: Any) -> Verdict:
    return Verdict.from_json(report(*arguments))


def verdicts(place: AppLayout) -> list[Verdict]:
    return [each.verdict for each in reports.reports(place, pytest.fail)]


@pytest.mark.parametrize(
    ("commit", "state"), [(None, State.STABLE), ("a482b2f41b51", State.UNKNOWN)]
)
def test_what_ran_another_commit_proves_nothing_of_its_own(
    commit: str | None, state: State
) -> None:
    """As after `rollout resume` in a checkout that was updated since."""
    only = made(1, "a")
    told = report(1, only, "old code left", 15, "rollout resume")
    told["old_code"] = [{"instance": "sms@1", "pids": [7], "commit": commit}]
    (entry,) = entries([only], [Verdict.from_json(told)], {}, only.id)
    assert entry.state is state


# --- what became of a revision --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ([], State.UNKNOWN),
        ([("ok", 0, "deploy")], State.STABLE),
        ([("unchanged", 0, "deploy")], State.STABLE),
        ([("killed", 14, "deploy")], State.STABLE),
        ([("ok", 0, "rollback")], State.STABLE),
        ([("ok", 0, "scale")], State.STABLE),
        ([("failed", 7, "deploy")], State.FAILED),
        ([("rolled back", 9, "deploy")], State.FAILED),
        ([("whatever it will be called", 9, "deploy")], State.FAILED),
        ([("interrupted", 10, "deploy")], State.UNKNOWN),
        ([("detached", 130, "deploy")], State.UNKNOWN),
        ([("gave up waiting", 6, "deploy")], State.UNKNOWN),
        ([("paused", 11, "deploy")], State.UNKNOWN),
        # The last one counts.
        ([("failed", 7, "deploy"), ("ok", 0, "deploy")], State.STABLE),
        ([("ok", 0, "deploy"), ("failed", 7, "deploy")], State.FAILED),
        ([("interrupted", 10, "deploy"), ("ok", 0, "deploy")], State.STABLE),
        # These are about some instances and not about the revision.
        ([("ok", 0, "stop")], State.UNKNOWN),
        ([("ok", 0, "deploy"), ("failed", 7, "start")], State.STABLE),
        ([("failed", 7, "deploy"), ("ok", 0, "restart")], State.FAILED),
        # What acts on some instances says nothing of the revision, whatever became of it.
        *(
            ([("ok", 0, "deploy"), ("failed", 7, verb)], State.STABLE)
            for verb in ("start", "stop", "restart", "remove", "signal")
        ),
        *(
            ([("failed", 7, "deploy"), ("ok", 0, verb)], State.FAILED)
            for verb in ("start", "stop", "restart", "remove", "signal")
        ),
    ],
)
def test_a_revision_is_what_its_last_rollout_came_to(
    told: list[tuple[str, int, str]], state: State
) -> None:
    about = [verdict(n, made(1), *one) for n, one in enumerate(told, 1)]
    (found,) = entries([made(1)], [*about, verdict(9, made(2), "failed", 7)], {}, None)
    assert found.state is state
    assert found.reports == tuple(range(1, len(told) + 1))


def test_newest_first_with_what_runs_and_what_is_current() -> None:
    rows = entries(
        [made(9), made(10), made(11)],
        [verdict(3, made(10), "ok")],
        {made(9).id: 2},
        made(11).id,
    )
    assert [row.revision.number for row in rows] == [11, 10, 9]
    assert [row.current for row in rows] == [True, False, False]
    assert [row.in_use for row in rows] == [0, 0, 2]
    assert [row.seconds for row in rows] == [None, 3.0, None]


def test_what_cannot_be_read_is_not_nothing() -> None:
    (row,) = entries([made(1)], [], None, None)
    assert row.in_use is None


# --- where a rollback leads -----------------------------------------------------------------------

# Each revision: number, content, "+" stable, "-" failed, "?" unknown, and what it restores.
ROLLBACKS: dict[str, tuple[list[tuple[Any, ...]], int | None]] = {
    "the first one has nothing before it": ([(1, "a", "+")], None),
    "the one before": ([(1, "a", "+"), (2, "b", "+")], 1),
    "from a failed one as well": ([(1, "a", "+"), (2, "b", "-")], 1),
    "a failed one is skipped": ([(1, "a", "+"), (2, "b", "-"), (3, "c", "+")], 1),
    "an unknown one is skipped": ([(1, "a", "+"), (2, "b", "?"), (3, "c", "+")], 1),
    "all failed": ([(1, "a", "-"), (2, "b", "-"), (3, "c", "+")], None),
    "the same content is no way back": ([(1, "a", "+"), (2, "b", "+"), (3, "b", "+")], 1),
    "only the same content": ([(1, "a", "+"), (2, "a", "+")], None),
    "a rollback never toggles": ([(1, "a", "+"), (2, "b", "+"), (3, "a", "+", 1)], None),
    "a rollback goes further back": (
        [(1, "a", "+"), (2, "b", "+"), (3, "c", "+"), (4, "b", "+", 2)],
        1,
    ),
    "a rollback of a rollback": (
        [(1, "a", "+"), (2, "b", "+"), (3, "c", "+"), (4, "b", "+", 2), (5, "a", "+", 1)],
        None,
    ),
    "to a rollback, which is what that restored": (
        [(1, "a", "+"), (2, "b", "+"), (3, "c", "+"), (4, "b", "+", 2), (5, "d", "+"),
         (6, "b", "+", 4)],
        1,
    ),
    "a deploy after a rollback goes to the rollback": (
        [(1, "a", "+"), (2, "b", "+"), (3, "a", "+", 1), (4, "c", "+")],
        3,
    ),
    "never to what was rolled back from": (
        [(1, "a", "+"), (2, "b", "+"), (3, "c", "+"), (4, "b", "-", 2), (5, "d", "+")],
        2,
    ),
    "nor past a rollback of the same content": (
        [(1, "a", "+"), (2, "b", "+"), (3, "c", "+"), (4, "b", "+", 2), (5, "b", "+")],
        1,
    ),
    "by content, not by number": (
        [(1, "a", "+"), (2, "b", "+"), (3, "a", "+"), (4, "b", "+"), (5, "a", "+", 3)],
        None,
    ),
    "past what was rolled back from since": (
        [(1, "x", "+"), (2, "b", "+"), (3, "a", "+"), (4, "b", "+"), (5, "a", "+", 3)],
        1,
    ),
    "forth by number, and back": (
        [(1, "a", "+"), (2, "b", "+"), (3, "a", "+"), (4, "b", "+"), (5, "a", "+", 3),
         (6, "b", "+", 4)],
        3,
    ),
    "what was deployed again since": (
        [(1, "a", "+"), (2, "b", "+"), (3, "a", "+", 1), (4, "b", "+"), (5, "c", "+")],
        4,
    ),
    "what it restores may be gone": ([(1, "a", "+"), (4, "b", "+", 3), (5, "c", "+", 4)], 1),
}  # fmt: skip


def rows(table: list[tuple[Any, ...]]) -> tuple[Entry, ...]:
    known = [made(n, content, restores=(*r, None)[0]) for n, content, _, *r in table]
    told = []
    for revision, (n, _, state, *_) in zip(known, table, strict=True):
        result = {"+": ("ok", 0), "-": ("failed", 7), "?": ("interrupted", 10)}[state]
        told.append(verdict(n, revision, *result))
    return entries(known, told, {}, known[-1].id)


@pytest.mark.parametrize("case", ROLLBACKS)
def test_a_rollback_goes_to(case: str) -> None:
    table, expected = ROLLBACKS[case]
    found = rows(table)
    target = last_stable(found, found[0].revision, {row.revision.id for row in found})
    assert (target.revision.number if target else None) == expected


def test_what_is_not_complete_is_no_way_back() -> None:
    found = rows([(1, "a", "+"), (2, "b", "+"), (3, "c", "+")])
    target = last_stable(found, found[0].revision, {made(1).id})
    assert target
    assert target.revision.number == 1
    assert last_stable(found, found[0].revision, set()) is None


def test_from_in_between_only_what_is_older_counts() -> None:
    found = rows([(1, "a", "+"), (2, "b", "+"), (3, "c", "+")])
    target = last_stable(found, made(2, "b"), {row.revision.id for row in found})
    assert target
    assert target.revision.number == 1


@pytest.mark.parametrize(
    "other", [{"instances": 2}, {"units": ("unitq-shop.target", "unitq-shop-x.slice")}]
)
def test_counts_and_units_are_content_too(other: dict[str, Any]) -> None:
    known = [made(1, "a", **other), made(2, "a")]
    found = entries(known, [verdict(1, known[0])], {}, None)
    assert last_stable(found, known[1], {known[0].id}) == found[1]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("+-?"), st.none() | st.integers(1, 12)),
        min_size=1,
        max_size=12,
    )
)
def test_rollbacks_one_after_another_go_back_in_time_and_end(
    history: list[tuple[str, str, int | None]],
) -> None:
    known: list[Revision] = []
    told = []
    results = {"+": ("ok", 0), "-": ("failed", 7), "?": ("interrupted", 10)}
    for n, (content, state, restores) in enumerate(history, 1):
        back = restores if restores and restores < n else None
        # What restores another has its content.
        known.append(made(n, known[back - 1].workers[0].fingerprint if back else content,
                          restores=back))  # fmt: skip
        told.append(verdict(n, known[-1], *results[state]))
    seen: list[int] = []
    current = known[-1]
    while target := last_stable(
        entries(known, told, {}, current.id), current, {revision.id for revision in known}
    ):
        assert target.state is State.STABLE
        assert target.revision.workers[0].fingerprint != current.workers[0].fingerprint
        assert not seen or target.revision.number < seen[-1]
        seen.append(target.revision.number)
        current = made(
            len(known) + 1,
            target.revision.workers[0].fingerprint,
            restores=target.revision.number,
        )
        known.append(current)
        told.append(verdict(len(known), current))
    assert len(seen) <= len(history)


# --- which one is meant ---------------------------------------------------------------------------

KNOWN = [
    made(1)._replace(hash="aaaa11"),
    made(2)._replace(hash="aaab22"),
    made(3)._replace(hash="123456"),
    made(4)._replace(hash="123456"),
    made(5)._replace(hash="555555"),
    made(5)._replace(hash="666666"),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("1", "1-aaaa11"),
        ("2-aaab22", "2-aaab22"),
        ("aaab", "2-aaab22"),
        ("aaaa1", "1-aaaa11"),
        ("3", "3-123456"),
        ("4-123456", "4-123456"),
        ("5", "5-666666"),  # the current one: the other never became that
        ("5-555555", "5-555555"),
        ("555555", "5-555555"),
    ],
)
def test_a_revision_by_number_id_or_hash(wanted: str, expected: str) -> None:
    assert find(KNOWN, wanted, "5-666666").id == expected


@pytest.mark.parametrize("wanted", ["6", "7-aaaa11", "f", "", "-1", "01", "1-", "AAAA11"])
def test_an_unknown_revision_is_a_no_match_that_names_the_known(wanted: str) -> None:
    with pytest.raises(NoMatchError, match="there is no revision") as caught:
        find(KNOWN, wanted, "5-666666")
    assert caught.value.exit is Exit.NO_MATCH
    assert "5-555555, 5-666666" in caught.value.hint or "5-666666, 5-555555" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "named", "other"),
    [("aaa", "1-aaaa11", "3-"), ("123456", "4-123456, 3-123456", "1-"), ("5", "5-555555", "4-")],
)
def test_several_are_named_and_none_is_guessed(wanted: str, named: str, other: str) -> None:
    with pytest.raises(NoMatchError, match="several") as caught:
        find(KNOWN, wanted, None)
    assert named in caught.value.hint
    assert f" {other}" not in caught.value.hint


# --- how two differ -------------------------------------------------------------------------------


def differing(
    before: Revision,
    after: Revision,
    units: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
    environments: tuple[Any, Any] = ({}, {}),
) -> Difference:
    return difference(before, after, units=units, environments=environments)


def test_the_same_content_does_not_differ_whoever_deployed_it() -> None:
    other = made(2, "a", restores=1)._replace(by="bob", created=5.0)
    assert not differing(made(1, "a"), other)


def test_code_counts_and_settings_differ() -> None:
    changed = ROLLOUT._replace(max_unavailable=Share(25, percent=True), max_failures=2)
    after = made(2, "b", instances=3)._replace(rollout=changed)
    found = differing(made(1, "a"), after, environments=({"sms": {}}, {"sms": {}}))
    (worker,) = found.workers
    assert (worker.worker, worker.change, worker.replaced) == ("sms", "change", True)
    assert worker.settings == (
        Setting("code_version", "release a", "release b"),
        Setting("release", "/srv/shop/releases/a", "/srv/shop/releases/b"),
        Setting("instances", 1, 3),
    )
    assert worker.environment == Environment()
    assert found.rollout == (Setting("max_unavailable", 1, "25%"), Setting("max_failures", 0, 2))


def test_a_count_alone_replaces_no_process_and_needs_no_environment() -> None:
    (worker,) = differing(made(1, "a"), made(2, "a", instances=3)).workers
    assert not worker.replaced
    assert worker.environment == Environment()


def test_of_variables_the_names() -> None:
    old = {"A": "1", "B": "secret", "C": "x", "UNITQ_REVISION": "1-a"}
    new = {"A": "1", "B": "other", "D": "y", "UNITQ_REVISION": "2-b"}
    (worker,) = differing(made(1), made(2), environments=({"sms": old}, {"sms": new})).workers
    assert worker.environment == Environment(("D",), ("C",), ("B",))


@pytest.mark.parametrize(("old", "new"), [(None, {}), ({}, None), (None, None)])
def test_an_environment_that_cannot_be_read_is_not_called_equal(old: Any, new: Any) -> None:
    (worker,) = differing(made(1), made(2), environments=({"sms": old}, {"sms": new})).workers
    assert worker.replaced
    assert worker.environment is None


def test_workers_come_and_go() -> None:
    mail = made(2).workers[0]._replace(name="mail")
    after = made(2)._replace(workers=(mail,))
    environments: tuple[Any, Any] = ({"sms": {"A": "1"}}, {"mail": {"B": "2"}})
    found = differing(made(1), after, environments=environments)
    assert [(each.worker, each.change) for each in found.workers] == [
        ("mail", "add"),
        ("sms", "remove"),
    ]
    assert [each.environment for each in found.workers] == [
        Environment(added=("B",)),
        Environment(removed=("A",)),
    ]


def test_units_as_a_diff() -> None:
    found = differing(
        made(1, "a"), made(2, "a"), units=({"x": "Nice=1\n", "y": "1\n"}, {"x": "Nice=2\n"})
    )
    assert [file.name for file in found.units] == ["x", "y"]
    assert "-Nice=1\n+Nice=2\n" in found.units[0].diff
    assert found.units[1].after is None


def test_rollout_settings_are_shown_as_they_are_written() -> None:
    from unitq.revisions.history import rollout_settings

    written = rollout_settings(ROLLOUT._replace(min_healthy=Duration("0", 0.0), canary=Share(2)))
    assert written["min_healthy"] == "0"
    assert written["canary"] == 2
    assert written["on_failure"] == "rollback"
    assert set(written) == set(ROLLOUT._fields)


# --- environment files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("A=1", {"A": "1"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("# A=1\n;B=2\n  C = 3  \n", {"C": "3"}),
        ("A=\"x y\"\nB='x y'\n", {"A": "x y", "B": "x y"}),
        ('A="x\ny"\n', {"A": "x\ny"}),
        ('A="x\\"y\\$\\n"\n', {"A": 'x"y$\\n'}),
        ('A="x\\\ny"\n', {"A": "xy"}),
        ("A=x\\\ny\n", {"A": "xy"}),
        ("A=x\\ \nB=1\n", {"A": "x ", "B": "1"}),
        ("A=x # no comment\n", {"A": "x # no comment"}),
        ("A=it's\n", {"A": "it's"}),
        ("A='x ' y \n", {"A": "x y"}),
        ("A='x '\n", {"A": "x "}),
        ("A=\nB=''\n", {"A": "", "B": ""}),
        ("export A=1\n1A=2\n=3\nA-B=4\nnothing\n\nC=5\n", {"C": "5"}),
        ('A="not closed\nB=1\n', {"A": "not closed\nB=1\n"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("", {}),
    ],
)
def test_an_environment_file_is_read_as_systemd_reads_it(
    text: str, expected: dict[str, str]
) -> None:
    assert assignments(text) == expected


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    )
)
def test_what_we_write_is_read_back(environment: dict[str, str]) -> None:
    assert assignments(environment_file(tuple(environment.items()))) == environment


# --- on disk --------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> AppLayout:
    return AppLayout(PurePosixPath(tmp_path / "shop"), PurePosixPath(tmp_path / "shop.lock"))


def stored(place: AppLayout, revision: Revision) -> Path:
    """Puts a revision on disk as a deploy does, and makes it current."""
    home = Path(place.revisions) / revision.id
    (home / "_units").mkdir(parents=True)
    (home / "revision.json").write_text(dump(revision))
    for worker in revision.workers:
        if worker.revision == revision.id:
            (home / worker.name).mkdir()
            (home / worker.name / "env").write_text('A="1"\n')
            (home / worker.name / "release").symlink_to(worker.release)
    return home


def told(place: AppLayout, one: Mapping[str, Any]) -> Path:
    path = Path(place.state) / "rollouts" / str(one["rollout"]) / "report.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(one))
    return path


def test_without_any_report_there_is_none(place: AppLayout) -> None:
    notes: list[str] = []
    assert reports.reports(place, notes.append) == []
    assert not notes


def test_reports_come_oldest_first_by_number(place: AppLayout) -> None:
    for number in (10, 9, 100):
        told(place, report(number, made(1)))
    notes: list[str] = []
    found = reports.reports(place, notes.append)
    assert [each.document["rollout"] for each in found] == [9, 10, 100]
    assert [each.verdict.rollout for each in found] == [9, 10, 100]
    assert [each.document["by"] for each in found] == [None] * 3
    assert not notes


def test_a_report_tells_of_another_revision_in_passing(place: AppLayout) -> None:
    failed = report(1, made(2), "failed", 7)
    told(place, report(1, made(3)) | {"earlier": [failed, report(1, made(3), "interrupted", 10)]})
    whole, *rest = reversed(reports.reports(place, pytest.fail))
    assert (whole.verdict.revision, whole.verdict.result) == (made(3).id, "ok")
    (before,) = rest
    assert before.verdict == Verdict.from_json(failed)
    assert before.document == whole.document
    entry, *_ = entries([made(2)], verdicts(place), None, None)
    assert entry.state is State.FAILED


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"command": 3}', "[" * 100_000, "\udcff",
     json.dumps(report(2, made(1)) | {"seconds": "long"}),
     json.dumps(report(2, made(1)) | {"earlier": None}),
     json.dumps(report(2, made(1)) | {"old_code": ["sms@1"]}),
     json.dumps(report(2, made(1)) | {"old_code": 7}),
     json.dumps(report(2, made(1)) | {"earlier": [{"revision": 3}]})],
)  # fmt: skip
def test_a_damaged_report_is_left_out_and_said(place: AppLayout, text: str) -> None:
    told(place, report(1, made(1)))
    told(place, report(2, made(1))).write_bytes(text.encode(errors="surrogateescape"))
    told(place, report(3, made(1)))
    notes: list[str] = []
    found = reports.reports(place, notes.append)
    assert [each.verdict.rollout for each in found] == [1, 3]
    (note,) = notes
    assert "rollouts/2/report.json: damaged" in note
    assert "\n" not in note


def test_a_rollout_without_a_report_is_said(place: AppLayout) -> None:
    told(place, report(1, made(1))).unlink()
    notes: list[str] = []
    assert reports.reports(place, notes.append) == []
    assert notes == ["rollout 1 has no report: it is running, or it was killed"]
    # It was cut off, and somebody has gone back from it since.
    told(place, report(2, made(1)))
    notes.clear()
    assert [each.verdict.rollout for each in reports.reports(place, notes.append)] == [2]
    assert notes == []


def test_a_damaged_revision_is_left_out_and_said(place: AppLayout) -> None:
    stored(place, made(1))
    (stored(place, made(2)) / "revision.json").write_text("{")
    (stored(place, made(3)) / "revision.json").unlink()
    notes: list[str] = []
    assert store.read_all(place, notes.append) == [made(1)]
    assert len(notes) == 2
    assert all("left out" in note for note in notes)


def test_the_environment_is_the_files_one_after_another(place: AppLayout) -> None:
    home = stored(place, made(1)) / "sms"
    for name, text in {"env.1": "A=0\nB=1\nC=1", "env.2": "B=2", "env.10": "C=10"}.items():
        (home / name).write_text(text)
    notes: list[str] = []
    found = store.environment(place, made(1).workers[0], notes.append)
    assert found == {"A": "1", "B": "2", "C": "10"}
    assert not notes
    shutil.rmtree(home)
    assert store.environment(place, made(1).workers[0], notes.append) is None
    assert "No such file" in notes[0]


def kept(place: AppLayout) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in Path(place.revisions).iterdir())


@pytest.mark.parametrize(
    ("keep", "expected"), [(10, [*range(6, 16)]), (3, [13, 14, 15]), (0, [15])]
)
def test_the_newest_are_kept(place: AppLayout, keep: int, expected: list[int]) -> None:
    for number in range(1, 16):
        stored(place, made(number))
    reports.prune(place, made(15), keep)
    assert kept(place) == expected


def test_what_runs_is_pinned_or_is_the_way_back_is_kept(place: AppLayout, tmp_path: Path) -> None:
    known = [made(number) for number in range(1, 16)]
    known[14] = known[14]._replace(workers=(known[14].workers[0]._replace(revision=known[1].id),))
    # 4 is complete; what it left alone is of 3.
    known[3] = known[3]._replace(
        workers=(known[3].workers[0]._replace(revision=known[2].id, release=str(tmp_path)),)
    )
    # 9 and 8 were stable too, but are not there any more, or lead to nothing.
    for number in (4, 8, 9):
        told(place, report(number, known[number - 1]))
    for revision in known:
        stored(place, revision)
    pin = Path(place.pin("sms", 1))
    pin.parent.mkdir(parents=True)
    pin.symlink_to(f"../../revisions/{known[5].id}/sms")
    reports.prune(place, known[14], 2, running=[known[6].id])
    # 2: the current one refers to it; 3: the way back does; 6: pinned; 7: runs; the two newest.
    assert kept(place) == [2, 3, 4, 6, 7, 14, 15]


def test_that_a_revision_was_rolled_back_from_is_not_forgotten(place: AppLayout) -> None:
    known = [made(1, "a"), made(2, "b"), made(3, "a", restores=1), made(4, "a")]
    for revision in known:
        stored(place, revision)
    reports.prune(place, known[3], 1, running=[known[1].id])
    assert kept(place) == [2, 3, 4]


def test_a_damaged_revision_goes_in_its_turn(place: AppLayout) -> None:
    for number in range(1, 6):
        (stored(place, made(number)) / "revision.json").write_text("{")
    stored(place, made(6))
    reports.prune(place, made(6), 3)
    assert kept(place) == [4, 5, 6]


def test_the_last_reports_are_kept_and_those_that_say_what_is_stable(place: AppLayout) -> None:
    stored(place, made(1))
    stored(place, made(2))
    told(place, report(1, made(1)))
    told(place, report(2, made(2)))
    for number in range(3, 80):
        told(place, report(number, made(2), command="restart"))
    reports.prune(place, made(2))
    found = sorted(int(path.name) for path in (Path(place.state) / "rollouts").iterdir())
    assert found == [1, 2, *range(30, 80)]
    left = verdicts(place)
    states = [row.state for row in entries([made(1), made(2)], left, {}, None)]
    assert states == [State.STABLE, State.STABLE]


WORKERS = ("sms", "mail", "push")
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "do": st.sampled_from(["deploy", "deploy", "deploy", "scale", "rollback"]),
            "changed": st.sets(st.sampled_from(WORKERS)),
            "result": st.sampled_from([("ok", 0), ("ok", 0), ("failed", 7), None]),
            "pinned": st.booleans(),
            "runs": st.booleans(),
            "gone": st.booleans(),  # the release directory is deleted by and by
            "prune": st.booleans(),
        }
    ),
    min_size=1,
    max_size=30,
)


class Shop:
    """An app with a history, on disk, without systemd."""

    def __init__(self, home: Path, keep: int) -> None:
        self.place = AppLayout(PurePosixPath(home / "shop"), PurePosixPath(home / "lock"))
        self.home, self.keep = home, keep
        self.current: Revision | None = None
        self.running: list[str] = []
        self.rollouts = 0

    def step(self, step: Mapping[str, Any]) -> None:
        before = self.current
        revision = self.successor(step, before)
        stored(self.place, revision)
        self.current = revision
        if step["result"]:
            self.rollouts += 1
            told(self.place, report(self.rollouts, revision, *step["result"]))
        if step["pinned"]:
            worker = revision.workers[0]
            pin = Path(self.place.pin(worker.name, revision.number % 3 + 1))
            pin.parent.mkdir(parents=True, exist_ok=True)
            pin.unlink(missing_ok=True)
            pin.symlink_to(f"../../revisions/{worker.revision}/{worker.name}")
        if step["runs"]:
            self.running = [*self.running, revision.workers[-1].revision][-2:]
        if step["gone"] and before and before.number > 1:
            shutil.rmtree(self.home / f"release-{before.number}", ignore_errors=True)
        if step["prune"]:
            self.prune()

    def successor(self, step: Mapping[str, Any], before: Revision | None) -> Revision:
        number = before.number + 1 if before else 1
        fresh = made(number)
        release = self.home / f"release-{number}"
        release.mkdir()
        target = self.way_back() if step["do"] == "rollback" else None
        if target:
            return target._replace(number=number, hash=fresh.hash, restores=target.number)
        if before and step["do"] == "scale":
            more = before.workers[0]._replace(instances=before.workers[0].instances + 1)
            return before._replace(
                number=number, hash=fresh.hash, workers=(more, *before.workers[1:])
            )
        old = {worker.name: worker for worker in before.workers} if before else {}
        return fresh._replace(
            workers=tuple(
                old[name]
                if name in old and name not in step["changed"]
                else fresh.workers[0]._replace(name=name, release=str(release))
                for name in WORKERS
            )
        )

    def known(self) -> list[Revision]:
        return store.read_all(self.place, pytest.fail)

    def way_back(self) -> Revision | None:
        if self.current is None:
            return None
        known = self.known()
        rows = entries(known, verdicts(self.place), {}, self.current.id)
        target = last_stable(rows, self.current, store.complete(self.place, known))
        return target.revision if target else None

    def prune(self) -> None:
        assert self.current
        before, back = {each.id: each for each in self.known()}, self.way_back()
        pinned = store.revisions_in_pins(self.place)
        # One that stayed only because another referred to it may have lost what it refers to.
        there = set(Path(self.place.revisions).glob("*/*/env"))
        reports.prune(self.place, self.current, self.keep, self.running)
        # Whatever is there can be loaded: `known` fails the test otherwise.
        after = {each.id: each for each in self.known()}
        assert after.items() <= before.items()
        newest = sorted(before.values(), key=lambda each: each.number)[-self.keep :]
        needed = [self.current, *newest, *([back] if back else [])]
        needed += [before[name] for name in {*pinned, *self.running} if name in before]
        by_number = {each.number: each.id for each in before.values()}
        for each in needed:
            assert after[each.id] == each
            for worker in each.workers:
                path = Path(self.place.revisions) / worker.revision / worker.name / "env"
                assert path.exists() or path not in there
                assert path.exists() or each.id in {*pinned, *self.running}
            if each.restores in by_number:
                assert by_number[each.restores] in after
        assert self.way_back() == back
        # What is kept does not grow with the number of deploys.
        assert len(after) <= (self.keep + 7) * (len(WORKERS) + 2) * 2
        reports.prune(self.place, self.current, self.keep, self.running)
        assert {each.id for each in self.known()} == after.keys()


@settings(deadline=None)
@given(STEPS, st.integers(1, 4))
def test_pruning_never_takes_what_is_needed(history: list[dict[str, Any]], keep: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        shop = Shop(Path(home), keep)
        for step in history:
            shop.step(step)
        shop.prune()


def test_a_worker_left_alone_is_the_same_whatever_form_its_fingerprint_has() -> None:
    # 2 was rolled back from, to 1, by an older unitq; 4 is 3 with keyed fingerprints; 5 is the same
    # again after a detour. The newest differs from all of them.
    every = [
        made(1, "a"), made(2, "b"), made(3, "a", restores=1, sms="1-000001"),
        made(4, "keyed a", sms="1-000001"), made(5, "keyed a"), made(6, "keyed c"),
    ]  # fmt: skip
    same = contents(every)
    groups = {frozenset(one for one in same if same[one] == content) for content in same.values()}
    assert groups == {
        frozenset({"1-000001", "3-000003", "4-000004", "5-000005"}),
        frozenset({"2-000002"}),
        frozenset({"6-000006"}),
    }
