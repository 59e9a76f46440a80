"""The benchmark of the incident: how it counts, and that README.md has what it counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.account import COLUMNS, Outcome, Restart, count, judge, least_serving
from bench.incident import BEGIN, END, README, RESULT, outcome_of, rendered, replaced
from bench.managers import SETUPS
from bench.watching import Home, Process, Sample
from tests.harness.load import Job


def run(identity: str, at: float, text: str) -> dict[str, Any]:
    return {"event": "begun", "id": identity, "at": at, "text": text, "pid": 9, "worker": 1}


def mark(event: str, pid: int, at: float) -> dict[str, Any]:
    return {"event": event, "pid": pid, "at": at}


def sample(at: float, *managed: int, orphans: tuple[int, ...] = ()) -> Sample:
    return Sample(at, frozenset(managed), frozenset(orphans))


RESTARTS = (Restart(2, 10.0, 20.0, 0), Restart(3, 30.0, 40.0, 0))


@pytest.mark.parametrize(
    ("at", "text", "expected"),
    [
        (5, "text 1", (0, 0)),  # nothing has been restarted yet
        (15, "text 1", (0, 0)),  # under way: either is right
        (21, "text 1", (1, 1)),
        (21, "text 2", (1, 0)),
        (35, "text 2", (1, 0)),  # the second is under way
        (35, "text 3", (1, 0)),
        (35, "text 1", (1, 1)),
        (41, "text 2", (1, 1)),
        (41, "text 3", (1, 0)),
    ],
)
def test_a_job_is_judged_by_the_last_restart_that_had_ended(
    at: float, text: str, expected: tuple[int, int]
) -> None:
    assert judge([run("a", at, text)], RESTARTS) == expected


def test_serving_is_managed_and_up_and_not_told() -> None:
    trace = [mark("up", 1, 1.0), mark("up", 2, 1.0), mark("told", 1, 5.0)]
    assert least_serving([sample(2, 1, 2)], trace) == 2
    # It lives and drains.
    assert least_serving([sample(2, 1, 2), sample(6, 1, 2)], trace) == 1
    # One is gone; one is nobody's any more; one has not come up.
    assert least_serving([sample(2, 1)], trace) == 1
    assert least_serving([sample(2, 1, orphans=(2,))], trace) == 1
    assert least_serving([sample(0.5, 1, 2)], trace) == 0
    # A shell or a child never says that it is up.
    assert least_serving([sample(2, 1, 2, 3)], trace) == 2


def test_a_pid_that_comes_back_is_another_process() -> None:
    trace = [mark("up", 1, 1.0), mark("told", 1, 2.0), mark("up", 1, 3.0)]
    assert least_serving([sample(4, 1)], trace) == 1


def test_jobs_are_counted_by_what_was_written_down() -> None:
    jobs = [Job(identity, "sms", 1.0, 0.0) for identity in "abcd"]
    trace = [
        mark("up", 1, 0.0),
        run("a", 9.5, "text 1"),
        {"event": "done", "id": "a", "at": 10.5},
        run("b", 9.0, "text 1"),  # cut off, and known to Resque
        run("c", 25.0, "text 1"),
        run("c", 26.0, "text 2"),
        {"event": "done", "id": "c", "at": 27.0},
    ]
    looks = [sample(9, 1), sample(20.1, 1, orphans=(7, 8)), sample(50, 1, orphans=(7,))]
    found = count("bash", 4, jobs, ["b"], trace, RESTARTS[:1], looks)
    assert (found.jobs, found.lost, found.failed, found.twice) == (4, 2, 1, 1)
    assert (found.judged, found.stale) == (2, 1)
    assert (found.orphans, found.orphans_after) == (1, (2,))
    assert (found.seconds, found.least) == ((10.0,), 1)
    # c had not begun when the restart did; d never did.
    assert found.in_hand == ((1.0, 1.0),)


def test_what_supervisord_has_is_below_it() -> None:
    home = Home(supervisord=100)
    found = {each.pid: each for each in (Process(1, 100, ""), Process(2, 1, ""), Process(3, 1, ""))}
    assert all(home.holds(process, found) for process in found.values())
    orphan = Process(4, 1, "")
    del found[1]
    assert not home.holds(orphan, {4: orphan})
    assert not home.holds(found[2], found)


def test_what_unitq_has_is_in_a_service_of_its_slice() -> None:
    home = Home(slice="/unitq.slice/unitq-shop.slice")

    def holds(cgroup: str) -> bool:
        return home.holds(Process(1, 1, cgroup), {})

    assert holds("/unitq.slice/unitq-shop.slice/unitq-shop-sms.slice/unitq-shop-sms@1.service")
    assert not holds("/unitq.slice/unitq-shop.slice")
    assert not holds("/unitq.slice/unitq-shop2.slice/unitq-shop2-sms@1.service")
    assert not holds("/user.slice/session-1.scope")


def test_the_table_in_the_readme_is_what_was_measured() -> None:
    text = README.read_text(encoding="utf-8")
    document = json.loads(RESULT.read_text(encoding="utf-8"))
    assert replaced(text, rendered(document)) == text
    table = [line for line in _between(text).splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(SETUPS)
    assert {line.count("|") for line in table} == {len(COLUMNS) + 1}
    outcomes = {each.setup: each for each in map(outcome_of, document["rows"])}
    assert list(outcomes) == [setup.name for setup in SETUPS]
    # What the story above the table says.
    assert outcomes["bash"].orphans > 0
    assert outcomes["bash"].stale > 0
    for kept in (outcomes["unitq-bash"], outcomes["unitq"]):
        assert (kept.orphans, kept.stale, kept.lost, kept.twice) == (0, 0, 0, 0)
        assert kept.least == kept.workers - 1


def test_it_names_no_machine() -> None:
    document = json.loads(RESULT.read_text(encoding="utf-8"))
    assert set(document["machine"]) == {"cores", "systemd", "python", "load", "versions"}


def test_what_stands_around_the_table_stays() -> None:
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb\n", "new\n") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"
    with pytest.raises(ValueError, match="marks"):
        replaced(f"a\n{BEGIN}\n", "new\n")


def test_a_command_that_failed_is_told_below_the_table() -> None:
    document = json.loads(RESULT.read_text(encoding="utf-8"))
    assert "ended with status" not in rendered(document)
    document["rows"][0]["statuses"][0] = 7
    said = " ".join(rendered(document).split())
    assert "Supervisor, defaults: 1 of 10 restarts ended with status 7." in said


def _between(text: str) -> str:
    return text.partition(BEGIN)[2].partition(END)[0]


def test_a_row_survives_json() -> None:
    row = json.loads(RESULT.read_text(encoding="utf-8"))["rows"][0]
    assert isinstance(outcome_of(row), Outcome)
    with pytest.raises(KeyError):
        outcome_of({name: value for name, value in row.items() if name != "least"})
