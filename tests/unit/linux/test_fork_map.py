"""Reading by several processes gives what one would have read."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from unitq.linux import fork_map

if TYPE_CHECKING:
    from collections.abc import Sequence

SELF = os.getpid()


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})


def who_read(part: Sequence[int]) -> list[tuple[int, int]]:
    return [(number, os.getpid()) for number in part]


@pytest.mark.parametrize("count", [0, 1, 99, 199, 200, 1001])
def test_every_item_is_answered_in_order(count: int) -> None:
    answers = fork_map.begin(who_read, range(count))()
    assert [number for number, _ in answers] == list(range(count))


def test_only_many_items_are_worth_a_process() -> None:
    few, many = fork_map.begin(who_read, range(199))(), fork_map.begin(who_read, range(1000))()
    assert {pid for _, pid in few} == {SELF}
    assert len({pid for _, pid in many}) == 4


def test_what_a_killed_process_should_have_read_is_read_here() -> None:
    def read(part: Sequence[int]) -> list[tuple[int, int]]:
        if os.getpid() != SELF:
            os.kill(os.getpid(), signal.SIGKILL)
        return who_read(part)

    answers = fork_map.begin(read, range(400))()
    assert answers == [(number, SELF) for number in range(400)]


def test_an_error_is_an_error() -> None:
    def read(part: Sequence[int]) -> list[int]:
        if 399 in part:
            raise FileNotFoundError("399")
        return list(part)

    with pytest.raises(FileNotFoundError):
        fork_map.begin(read, range(400))()


def test_answers_larger_than_a_pipe_arrive() -> None:
    def read(part: Sequence[int]) -> list[str]:
        return [str(number) * 1000 for number in part]

    assert fork_map.begin(read, range(400))() == read(range(400))
