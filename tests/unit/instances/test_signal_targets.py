"""Who gets a signal."""

from __future__ import annotations

from signal import SIGUSR2

from hypothesis import given
from hypothesis import strategies as st

from unitq.instances.signal_targets import recipients
from unitq.model.process import Process


def one(pid: int, parent: int, catches: bool, state: str = "S") -> Process:
    return Process(pid, parent, 0, state, caught=1 << (SIGUSR2 - 1) if catches else 0)


def told(*processes: Process, shells: tuple[int, ...] = (), **more: bool | int) -> list[int]:
    found = recipients(processes, SIGUSR2, lambda each: each.pid in shells, **more)  # type: ignore[arg-type]
    return [each.pid for each in found]


def test_a_worker_without_a_shell() -> None:
    assert told(one(10, 1, True)) == [10]
    assert recipients([one(10, 1, True)], SIGUSR2 - 1) == ()


def test_the_worker_below_its_shell_and_not_its_child_at_work() -> None:
    shell, worker, child = one(10, 1, False), one(11, 10, True), one(12, 11, True)
    program = one(13, 12, False)
    assert told(child, shell, program, worker) == [11]


def test_all_that_stand_side_by_side() -> None:
    shell = one(10, 1, False)
    assert told(shell, one(11, 10, True), one(12, 10, True)) == [11, 12]
    assert told(one(11, 10, True), one(12, 10, True)) == [11, 12], "the one above is not of them"
    assert told(one(11, 10, True), one(12, 1, True), top=11) == [11]


def test_nobody_who_would_die_of_it() -> None:
    assert told(one(10, 1, False), one(11, 10, False)) == []
    assert told() == []
    assert told(one(10, 1, True, "Z")) == []


def test_what_only_stands_above_a_worker_is_passed_over() -> None:
    sudo, worker = one(10, 1, True), one(11, 10, True)
    assert told(sudo, worker, shells=(10,)) == [11]
    assert told(sudo, shells=(10,)) == []


def test_whose_stop_signal_has_no_handler_is_told_all_the_same_where_that_is_wanted() -> None:
    shell, worker, child = one(10, 1, False), one(11, 10, False), one(12, 11, False)
    assert told(shell, worker, child, shells=(10,), strict=False) == [11]
    assert told(shell, worker, one(12, 11, True), shells=(10,), strict=False) == [12]
    assert told(shell, shells=(10,), strict=False) == []


def test_a_circle_of_pids_that_were_used_again_tells_nobody() -> None:
    assert told(one(10, 11, True), one(11, 10, True), one(12, 12, True), one(13, 1, True)) == [13]


@given(st.lists(st.builds(one, st.integers(1, 9), st.integers(0, 9), st.booleans())))
def test_whoever_gets_it_has_a_handler_and_none_above_him(processes: list[Process]) -> None:
    known = {process.pid: process for process in processes}
    for process in recipients(processes, SIGUSR2):
        assert known[process.pid].catches(SIGUSR2)
        parent = known.get(process.parent)
        assert parent is None or not parent.catches(SIGUSR2)
    # A tree in which somebody catches it has somebody who gets it, if it is a tree.
    if all(p.parent < p.pid for p in known.values()):
        assert bool(told(*processes)) is any(p.catches(SIGUSR2) for p in known.values())
