"""Who gets the signal that pauses a worker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unitq.instances.signal_targets import Process, recipients


def test_a_worker_without_a_shell() -> None:
    assert recipients([Process(10, 1, True)]) == (10,)


def test_the_worker_below_its_shell_and_not_its_child_at_work() -> None:
    shell, worker, child = Process(10, 1, False), Process(11, 10, True), Process(12, 11, True)
    program = Process(13, 12, False)
    assert recipients([child, shell, program, worker]) == (11,)


def test_all_that_stand_side_by_side() -> None:
    shell = Process(10, 1, False)
    assert recipients([shell, Process(11, 10, True), Process(12, 10, True)]) == (11, 12)


def test_nobody_who_would_die_of_it() -> None:
    assert recipients([Process(10, 1, False), Process(11, 10, False)]) == ()
    assert recipients([]) == ()


@given(st.lists(st.builds(Process, st.integers(1, 9), st.integers(0, 9), st.booleans())))
def test_whoever_gets_it_has_a_handler_and_none_above_him(processes: list[Process]) -> None:
    known = {process.pid: process for process in processes}
    told = recipients(processes)
    for pid in told:
        assert known[pid].catches
        parent = known[pid].parent
        assert parent == pid or parent not in known or not known[parent].catches or parent in (pid,)
    # A tree in which somebody catches it has somebody who gets it, if it is a tree.
    if any(p.catches for p in known.values()) and all(p.parent < p.pid for p in known.values()):
        assert told
