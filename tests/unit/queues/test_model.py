"""Rates, sums, and what registrations are worth: nothing here asks Redis or the kernel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unitq.queues import model
from unitq.queues.model import Flow, Job, Lengths, Registration, Registry, Sample, flow
from unitq.queues.registrations import Finding, Living, Status, classify, instance_and_unit


def sample(
    at: float, whole: Lengths | None = None, registry: Registry | None = None, **queues: Lengths
) -> Sample:
    return Sample("p", at, at, queues, whole or Lengths(), registry or Registry())


def worker(identity: str, **more: object) -> Registration:
    host, pid, queues = identity.split(":")
    found = Registration(identity, host, int(pid), tuple(queues.split(",")), 1000.0, None)
    return found._replace(**more)  # type: ignore[arg-type]


def test_lengths_alone_give_the_difference() -> None:
    assert flow(Lengths(10), Lengths(30), 2.0) == Flow(10.0, 0.0, None)
    assert flow(Lengths(30), Lengths(10), 2.0) == Flow(0.0, 10.0, 1.0)
    assert flow(Lengths(5), Lengths(0), 1.0).drain == 0.0
    assert flow(Lengths(5), Lengths(5), 1.0) == Flow(0.0, 0.0, None)


def test_totals_give_both_directions() -> None:
    before, after = Lengths(100, done=1000), Lengths(90, done=1040)
    assert flow(before, after, 2.0) == Flow(15.0, 20.0, 18.0, counted=True)
    # A job that a worker has taken has left the queue, and is not done.
    taken = flow(Lengths(10, in_hand=0, done=5), Lengths(9, in_hand=1, done=5), 1.0)
    assert (taken.arrivals, taken.completions) == (0.0, 0.0)
    stream = flow(Lengths(10, added=100, done=90), Lengths(20, added=130, done=110), 1.0)
    assert stream == Flow(30.0, 20.0, None, counted=True)


def test_what_is_not_known_gives_no_rate() -> None:
    assert flow(Lengths(), Lengths(5), 1.0) == Flow()
    assert flow(Lengths(5), Lengths(5), 0.0) == Flow()
    # Somebody has reset the counter.
    assert not flow(Lengths(5, done=9), Lengths(5, done=3), 1.0).counted


@given(
    before=st.integers(0, 10**6), after=st.integers(0, 10**6), done=st.integers(0, 10**6),
    held=st.tuples(st.integers(0, 50), st.integers(0, 50)), seconds=st.floats(0.01, 100.0),
)  # fmt: skip
def test_rates_are_never_negative_and_drain_only_what_shrinks(
    before: int, after: int, done: int, held: tuple[int, int], seconds: float
) -> None:
    old, new = (
        Lengths(before, in_hand=held[0], done=7),
        Lengths(after, in_hand=held[1], done=7 + done),
    )
    for found in (flow(old, new, seconds), flow(Lengths(before), Lengths(after), seconds)):
        assert found.arrivals is not None
        assert found.completions is not None
        assert min(found.arrivals, found.completions) >= 0
        assert (found.drain is None) == (after > 0 and after >= before)


def test_of_one_queue_the_totals_of_all_are_its_own() -> None:
    before = sample(0.0, Lengths(done=100), sms=Lengths(10))
    after = sample(2.0, Lengths(done=120), sms=Lengths(10))
    (row,) = model.rows(after, before)
    assert row.flow == Flow(10.0, 10.0, None, counted=True)
    # Of two of them nobody can say whose they are.
    after = sample(2.0, Lengths(done=120), sms=Lengths(10), mail=Lengths(0))
    assert not any(row.flow and row.flow.counted for row in model.rows(after, before))
    assert model.whole(after, before).flow == Flow(10.0, 10.0, None, counted=True)


def test_workers_and_jobs_are_counted_by_queue() -> None:
    job = Job("sms", "SendSms", "1", None, "h", "w")
    registry = Registry(
        (worker("a:1:sms,mail"), worker("a:2:*"), worker("a:3:sm?"), worker("a:4:gone")), (job, job)
    )
    found = model.rows(sample(0.0, None, registry, sms=Lengths(1), mail=Lengths(2)))
    assert [(row.name, row.workers, row.lengths.in_hand) for row in found] == [
        ("mail", 2, 0), ("sms", 3, 2),
    ]  # fmt: skip
    together = model.whole(sample(0.0, None, registry, sms=Lengths(1), mail=Lengths(2)))
    assert (together.workers, together.lengths.waiting, together.lengths.in_hand) == (4, 3, 2)


# --- registrations

APP = "/unitq.slice/unitq-shop.slice/unitq-shop-sms.slice/unitq-shop-sms@3.service"
BY_HAND = "/user.slice/user-1000.slice/session-1.scope"
OTHER = "/unitq.slice/unitq-mail.slice/unitq-mail-in.slice/unitq-mail-in@1.service"
LIVING = {
    1: Living(900.0, APP),
    2: Living(900.0, BY_HAND),
    3: Living(900.0, OTHER),
    4: Living(5000.0, BY_HAND),
    5: Living(5000.0, APP),
    6: Living(None, ""),
}


def status(*registrations: Registration) -> list[Finding]:
    return classify(registrations, app="shop", host="web1", living=LIVING.get, now=10_000.0)


def test_the_cgroup_says_whose_a_process_is() -> None:
    expected = {
        "web1:1:sms": Status.SERVING,
        "web1:2:sms": Status.ORPHAN,
        "web1:3:sms": Status.OTHER_APP,
        "web1:4:sms": Status.DEAD,  # another process now: it began later
        "web1:5:sms": Status.UNCLEAR,  # ours, and a clock that was set must not cost it its place
        "web1:6:sms": Status.UNCLEAR,  # hidden is not gone
        "web1:7:sms": Status.DEAD,
        "web2:7:sms": Status.ELSEWHERE,
    }
    found = status(*map(worker, expected))
    assert {each.registration.id: each.status for each in found} == expected
    assert (found[0].instance, found[0].unit) == ("sms@3", "unitq-shop-sms@3.service")
    assert "session-1.scope" in found[1].why


def test_a_fresh_heartbeat_without_a_process_is_no_dead_worker() -> None:
    """Two containers of one name share a Redis: neither sees the other's processes."""
    fresh, old = status(
        worker("web1:7:sms", heartbeat=9_990.0), worker("web1:8:sms", heartbeat=9_000.0)
    )
    assert (fresh.status, old.status) == (Status.UNCLEAR, Status.DEAD)
    assert "its process 7 is gone, but its heartbeat is 10 s old" in fresh.why


def test_without_a_time_a_pid_outside_is_unclear() -> None:
    (found,) = status(worker("web1:2:sms", since=None))
    assert (found.status, found.status.bad) == (Status.UNCLEAR, True)


def test_of_two_with_one_pid_the_later_one_is_the_process() -> None:
    old, new = status(worker("web1:1:old"), worker("web1:1:sms", since=2000.0))
    assert (old.status, new.status) == (Status.DEAD, Status.SERVING)
    assert "web1:1:sms" in old.why


def test_a_late_heartbeat_counts_where_no_process_can_be_looked_for() -> None:
    found = status(
        worker("web1:1:sms", stale="no heartbeat for 400 s"),
        worker("web2:1:sms", stale="no heartbeat for 400 s"),
        worker("x:1:sms", host=None, stale="no heartbeat for 90 s"),
        worker("x:2:sms", host=None),
    )
    assert [each.status for each in found] == [
        Status.STALE, Status.ELSEWHERE, Status.STALE, Status.UNKNOWN,
    ]  # fmt: skip
    assert [each.status.bad for each in found] == [True, False, True, False]


def test_apps_whose_names_begin_alike_are_told_apart() -> None:
    slices = "/unitq.slice/unitq-my\\x2dshop.slice/unitq-my\\x2dshop-sms.slice"
    mine = f"{slices}/unitq-my-shop-sms@1.service"
    assert instance_and_unit("my-shop", mine) == ("sms@1", "unitq-my-shop-sms@1.service")
    assert instance_and_unit("my", mine)[0] == ""
    # A drop-in may have moved it to a slice of its own.
    assert instance_and_unit("shop", "/system.slice/unitq-shop-sms@2.service")[0] == "sms@2"
    assert instance_and_unit("shop", "/") == ("", "")
