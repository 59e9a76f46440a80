"""What fits on a terminal, and the monitoring plug-ins' line."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from unitq.cli import screen
from unitq.cli.status.check import Answer, Member, State, judge, unknown
from unitq.cli.status.text import HEADER, WRAPPED, fit

ROW = ("sms@1", "active (running)", "12 min", "1234567", "42 (= 40)", "yes", "2", "41 M", "0")
LOOP = "crash loop (19 restarts in 2 min, last: exited with status 1)"
ALWAYS = {"INSTANCE", "STATE", "SINCE", "PID"}


@pytest.mark.parametrize(
    ("width", "gone"),
    [
        (200, set()),
        (100, set()),
        (80, {"MEMORY", "PROCESSES"}),
        (70, {"MEMORY", "PROCESSES", "RESTARTS"}),
        (55, {"MEMORY", "PROCESSES", "RESTARTS", "REVISION"}),
        (40, set(HEADER) - ALWAYS),
        (10, set(HEADER) - ALWAYS),
    ],
)
def test_memory_processes_and_restarts_go_first(width: int, gone: set[str]) -> None:
    header, rows = fit(HEADER, [ROW], width)
    assert set(HEADER) - set(header) == gone
    assert (
        dict(zip(header, rows[0], strict=True)).items()
        <= dict(zip(HEADER, ROW, strict=True)).items()
    )


@given(
    st.lists(
        st.tuples(*(st.text("ab c@(1)", max_size=30) for _ in HEADER)), max_size=4
    ),
    st.integers(1, 250),
)  # fmt: skip
def test_never_pid_state_or_age(rows: list[tuple[str, ...]], width: int) -> None:
    header, shown = fit(HEADER, rows, width)
    assert set(header) >= ALWAYS
    assert len(shown) == len(rows)
    assert all(len(row) == len(header) for row in shown)


@pytest.mark.parametrize("state", ["active (running)", "crashed, restarting", LOOP])
@pytest.mark.parametrize("width", [80, 100, 132])
def test_nothing_is_cut_on_a_terminal(state: str, width: int) -> None:
    row = (f"{'w' * 20}@12", state, *ROW[2:])
    header, rows = fit(HEADER, [row], width)
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(
        screen.table(header, rows, [""], wrapped=WRAPPED)
    )
    shown = out.getvalue()
    assert "…" not in shown
    for cell in (row[0], row[2], row[3]):
        assert cell in shown
    # In several lines of its column, if need be.
    words = re.sub(r"\s+", " ", shown)
    assert all(word in words for word in state.split())


def member(name: str = "sms@1", **more: object) -> Member:
    values: dict[str, object] = {
        "app": "shop", "worker": name.partition("@")[0], "name": name, "wanted": True,
        "serving": True, "state": "active (running)", "fresh": True, "readable": True,
    }  # fmt: skip
    return Member(**(values | more))  # type: ignore[arg-type]


DOWN = member("sms@2", serving=False, state="failed (failed)", fresh=None)
CASES = [
    ([member(), member("sms@2")], (), "OK - 2 of 2 serving | serving=2;;; old=0"),
    (
        [member(), DOWN],
        (),
        "WARNING - 1 of 2 serving; down: sms@2 failed (failed) | serving=1;;; old=0",
    ),
    (
        [member("mail@1"), DOWN],
        (),
        "CRITICAL - 1 of 2 serving; down: sms@2 failed (failed) | serving=1;;; old=0",
    ),
    (
        [member(), member("sms@2", fresh=False)],
        (),
        "WARNING - 2 of 2 serving; 1 on old code: sms@2 | serving=2;;; old=1",
    ),
    (
        [member(), member("old@1", wanted=False, fresh=False)],
        (),
        "WARNING - 1 of 1 serving; 1 on old code: old@1 | serving=1;;; old=1",
    ),
    (
        [member()],
        ("rollout 7 of shop was cut off",),
        "WARNING - 1 of 1 serving; rollout 7 of shop was cut off | serving=1;;; old=0",
    ),
    (
        [member(readable=False, fresh=None)],
        (),
        "OK - 1 of 1 serving; which code runs cannot be read (not root) | serving=1;;; old=U",
    ),
    (
        [member(), DOWN._replace(app="api", worker="x", name="x@1", state="a|b")],
        (),
        "CRITICAL - 1 of 2 serving; down: api/x@1 a/b | serving=1;;; old=0",
    ),
    ([], (), "OK - 0 of 0 serving | serving=0;;; old=0"),
]


@pytest.mark.parametrize(("members", "rollouts", "line"), CASES)
def test_the_plug_ins_line(members: list[Member], rollouts: tuple[str, ...], line: str) -> None:
    state = State[line.partition(" ")[0]]
    assert judge(members, rollouts) == Answer(state, line)


def test_many_are_counted_and_not_all_named() -> None:
    said = judge([member(), *(DOWN._replace(name=f"sms@{n}") for n in range(2, 30))])
    assert "sms@6 failed (failed), 23 more |" in said.line
    assert said.line.count("|") == 1


def test_what_cannot_be_told_is_unknown() -> None:
    assert unknown("D-Bus | gone") == Answer(State.UNKNOWN, "UNKNOWN - D-Bus / gone")
