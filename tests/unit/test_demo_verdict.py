"""The demo's verdict: each broken promise is called that, and ends in a non-zero exit status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo import verdict
from demo.verdict import Counts, Promises, Restart, Row, Watched
from tests.harness.load import Run

GOOD = Counts(
    enqueued=100,
    finished=100,
    lost=0,
    twice=0,
    judged=60,
    stale=0,
    processes=24,
    old=0,
    seconds=(3.0, 3.5),
)
WATCHED = Watched(outside=0, least_serving=3, exit_codes=(0, 0, 0))
PROMISES = Promises(instances=4, max_unavailable=1, seconds=20)


def broken(rows: tuple[Row, ...]) -> list[str]:
    return [row.what for row in rows if not row.kept]


def test_all_promises_kept() -> None:
    rows = verdict.verdict(GOOD, WATCHED, PROMISES)
    assert broken(rows) == []
    assert verdict.exit_status(rows) == 0


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (replace(GOOD, finished=99), "jobs finished"),
        (replace(GOOD, lost=1), "jobs lost"),
        (replace(GOOD, twice=1), "jobs run twice"),
        (replace(GOOD, stale=1), "jobs run with old text after the restart ended"),
        (replace(GOOD, old=1), "processes left behind: of an old release"),
        (replace(GOOD, seconds=(3.0, 20.5)), "seconds for a restart of all workers"),
    ],
)
def test_each_broken_promise_counts(seen: Counts, what: str) -> None:
    rows = verdict.verdict(seen, WATCHED, PROMISES)
    assert broken(rows) == [what]
    assert verdict.exit_status(rows) == 1


@pytest.mark.parametrize(
    ("watched", "what"),
    [
        (replace(WATCHED, outside=1), "processes left behind: outside the cgroups"),
        (replace(WATCHED, least_serving=2), "least number of the 4 workers serving"),
        (replace(WATCHED, exit_codes=(0, 7)), "unitq commands that failed"),
    ],
)
def test_each_broken_promise_of_the_watched_counts(watched: Watched, what: str) -> None:
    rows = verdict.verdict(GOOD, watched, PROMISES)
    assert broken(rows) == [what]
    assert verdict.exit_status(rows) == 1


def test_nothing_seen_proves_nothing() -> None:
    nothing = Counts(0, 0, 0, 0, 0, 0, 0, 0, ())
    rows = verdict.verdict(nothing, Watched(0, 0, ()), PROMISES)
    assert {
        "jobs enqueued",
        "jobs run with old text after the restart ended",
        "processes left behind: of an old release",
        "least number of the 4 workers serving",
        "seconds for a restart of all workers",
        "unitq commands that failed",
    } <= set(broken(rows))


def test_the_incident_stands_beside_and_breaks_nothing() -> None:
    incident = replace(GOOD, judged=41, stale=24, processes=12, old=4)
    rows = verdict.verdict(GOOD, WATCHED, PROMISES, incident)
    assert {row.what: row.incident for row in rows} | {
        "jobs run with old text after the restart ended": "24 of 41",
        "processes left behind: of an old release": "4 of 12",
    } == {row.what: row.incident for row in rows}
    assert verdict.exit_status(rows) == 0


def test_the_table_is_aligned_and_says_what_is_broken() -> None:
    rows = verdict.verdict(replace(GOOD, lost=1), WATCHED, PROMISES)
    header, rule, *lines = verdict.table(rows)
    assert len(lines) == len(rows)
    assert [line.split()[-1] for line in lines].count("BROKEN") == 1
    column = header.index("promised")
    assert {line[column - 1] for line in (rule, *lines)} == {" "}
    assert all(line.isascii() for line in (header, rule, *lines))


def run(begun: float, text: str) -> Run:
    return Run("id", text, 1, 2, "", "", begun, begun + 1)


FIRST = Restart("one", changed=9, began=10, ended=12)
SECOND = Restart("two", changed=19, began=20, ended=25)


@pytest.mark.parametrize(
    ("begun", "text", "judged", "old"),
    [
        (11, "zero", False, False),  # the first restart is under way: any text will do
        (13, "one", True, False),
        (13, "zero", True, True),
        (13, "two", True, True),  # nobody has that text yet
        (19.5, "two", True, False),  # it is in place: a worker that crashed may have it
        (22, "one", True, False),  # the second is under way: both are right
        (22, "two", True, False),
        (22, "zero", True, True),
        (26, "one", True, True),
        (26, "two", True, False),
    ],
)
def test_which_texts_are_old(begun: float, text: str, judged: bool, old: bool) -> None:
    runs = [run(begun, text)]
    assert verdict.stale(runs, [FIRST, SECOND]) == (runs if judged else [], runs if old else [])
