"""What the report of a deploy says of processes outside the app's units."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.rollout.reports.test_report import (
    DRAINED,
    FIRST,
    SECOND,
    document,
    outcome,
    read,
    run,
)
from unitq.errors import Exit
from unitq.model.process import Process
from unitq.orphans.evidence import Mark, Orphan
from unitq.rollout.reports import report_text

if TYPE_CHECKING:
    from collections.abc import Sequence


def orphan(pid: int, *children: int, current: bool | None) -> Orphan:
    first, *rest = (Process(each, 1, 0, executable="/usr/bin/php") for each in (pid, *children))
    return Orphan(first, tuple(rest), "sms", (Mark.TITLE,), "/srv/shop/releases/1", current)


def told(orphans: Sequence[Orphan] | None, *, unchanged: bool = False) -> dict[str, Any]:
    done = None if unchanged else outcome(SECOND, DRAINED)
    found = document(run(), SECOND, FIRST.id, done, (), Exit.OK, orphans=orphans)
    back: dict[str, Any] = json.loads(json.dumps(found))
    return back


def test_none_costs_no_line() -> None:
    for orphans in ((), None):
        found = told(orphans)
        assert len(report_text.ending(read(found))) == 1
        assert "0 processes on old code" in found["summary"][0]
        assert found["orphans"] == (None if orphans is None else [])


@pytest.mark.parametrize("unchanged", [True, False])
def test_they_are_counted_and_what_to_type_is_there(unchanged: bool) -> None:
    two = (orphan(7, 8, current=False), orphan(9, current=None))
    found = told(two, unchanged=unchanged)
    assert [one["pids"] for one in found["orphans"]] == [[7, 8], [9]]
    line = report_text.ending(read(found))[-1]
    assert line.wrong
    assert line.text == (
        "warning: 2 orphans of shop, 1 on old code, outside its units: "
        "`unitq -a shop orphans` shows more, --drain ends them"
    )
    if not unchanged:
        # With its child; what cannot be told is not called old.
        assert "2 processes on old code" in found["summary"][0]
    assert found["exit_code"] == 0


def test_all_or_none_on_old_code() -> None:
    (old,) = [report_text.ending(read(told((orphan(7, current=False),))))[-1].text]
    assert old.startswith("warning: 1 orphan of shop on old code, outside its units: ")
    (new,) = [report_text.ending(read(told((orphan(7, current=True),))))[-1].text]
    assert new.startswith("warning: 1 orphan of shop, outside its units: ")


def test_a_report_of_an_older_unitq_says_nothing_of_them() -> None:
    found = told(())
    del found["orphans"]
    assert len(report_text.ending(read(found))) == 1
