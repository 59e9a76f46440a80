"""Who is to be recycled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unitq.model.names import InstanceName
from unitq.model.recycle import Recycle, Usage, due
from unitq.model.settings import Duration, Share

HOUR = Duration("1h", 3600.0)
EXACT = Share(0, percent=True)
M = 1 << 20


def one(number: int, age: float, memory: int | None = 10 * M) -> Usage:
    return Usage(InstanceName("sms", number), f"life {number}", age, memory)


def names(found: tuple[object, ...]) -> list[str]:
    return [str(getattr(each, "name")) for each in found]  # noqa: B009


def test_the_oldest_goes_first() -> None:
    seen = [one(1, 4000.0), one(2, 9000.0), one(3, 10.0)]
    found = due(Recycle(None, HOUR, EXACT), seen, 10.0)
    assert names(found) == ["sms@2", "sms@1"]
    assert found[0].why == "150 min old, and 1h is the age"


def test_the_limit_itself_is_too_much() -> None:
    limits = Recycle(100 * M, HOUR, EXACT)
    assert due(limits, [one(1, 3599.9, 100 * M - 1)], 0.0) == ()
    assert names(due(limits, [one(1, 3600.0)], 0.0)) == ["sms@1"]
    assert names(due(limits, [one(1, 0.0, 100 * M)], 0.0)) == ["sms@1"]


def test_memory_that_cannot_be_read_is_no_reason() -> None:
    assert due(Recycle(1, None, EXACT), [one(1, 100.0, None)], 0.0) == ()
    assert names(due(Recycle(1, HOUR, EXACT), [one(1, 3600.0, None)], 0.0)) == ["sms@1"]


def test_what_has_just_started_is_left_alone_whatever_its_size() -> None:
    limits = Recycle(M, None, EXACT)
    assert due(limits, [one(1, 9.9, 500 * M)], 10.0) == ()
    (found,) = due(limits, [one(1, 10.0, 500 * M)], 10.0)
    assert found.why == "500M in use, and 1M is the limit"


def test_what_was_started_together_is_not_due_together() -> None:
    limits = Recycle(None, HOUR, Share(50, percent=True))
    counts = [len(due(limits, [one(n, age) for n in range(100)], 0.0)) for age in (1799, 2700)]
    assert counts[0] == 0
    assert 30 < counts[1] < 70
    assert len(due(limits, [one(n, 3600.0) for n in range(100)], 0.0)) == 100


@given(
    st.lists(st.builds(one, st.integers(1, 99), st.floats(0, 1e6), st.none() | st.integers(0))),
    st.none() | st.integers(1, 2**40),
    st.integers(0, 100),
    st.floats(0, 100),
)
def test_nobody_is_due_who_is_below_what_jitter_allows(
    seen: list[Usage], memory: int | None, jitter: int, least: float
) -> None:
    limits = Recycle(memory, HOUR, Share(jitter, percent=True))
    found = due(limits, seen, least)
    assert found == due(limits, seen, least)
    share = 1 - jitter / 100
    for each in seen:
        old, large = each.age / 3600.0, (each.memory or 0) / memory if memory else 0.0
        told = sum(each.name == name.name for name in found)
        if max(old, large) < share * 0.999 or each.age < least:
            others = [s for s in seen if s.name == each.name and s is not each]
            assert not told or others
        if max(old, large) >= 1 and each.age >= least:
            assert told
