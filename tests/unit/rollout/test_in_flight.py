"""When it is looked at what drains, and what is made of what Redis tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.harness.world import pace
from unitq.errors import UnitqError
from unitq.model.names import InstanceName
from unitq.presets.model import Prints
from unitq.queues.journal_jobs import JournalJobs, Printing
from unitq.queues.model import Job, Registration
from unitq.rollout.advisory import Advisory
from unitq.rollout.engine.instance import Phase
from unitq.rollout.engine.rollout import Rollout, begin
from unitq.rollout.in_flight import Consumes, Draining, InFlightTracker, Presence, Snapshot
from unitq.rollout.plan import Change, PlannedChange
from unitq.systemd.journal_event import Print

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE, TWO = InstanceName("sms", 1), InstanceName("sms", 2)


def registered(pid: int, *jobs: str) -> Registration:
    return Registration(
        id=f"web1:{pid}:sms",
        host="web1",
        pid=pid,
        queues=("sms",),
        since=None,
        heartbeat=None,
        jobs=tuple(Job("sms", "SendSms", job, None, job, None) for job in jobs),
    )


def draining(*names: InstanceName, touched: float = 100.0) -> Rollout:
    rollout = begin(
        tuple(PlannedChange(name, Change.RESTART, "") for name in (ONE, TWO)), pace(), {}
    )
    for name in names:
        state = rollout.instances[name]
        rollout.update(replace(state, phase=Phase.DRAINING, touched=touched))
    return rollout


class Redis:
    """What it would tell, and how often it was asked."""

    def __init__(self, *told: Registration) -> None:
        self.told: tuple[Registration, ...] | Exception = told
        self.asked = 0
        self.said: list[str] = []

        self.unsigned: dict[str, tuple[Job, ...]] = {}
        self.unbegun: tuple[str, ...] = ()
        self.time = 1_800_000_000.0

    def __call__(self) -> Snapshot:
        self.asked += 1
        if isinstance(self.told, Exception):
            raise self.told
        unbegun = tuple(Job("sms", "SendSms", job, None, job, None) for job in self.unbegun)
        return Snapshot(self.time, self.told, self.unsigned, unbegun=unbegun)

    def hands(self) -> InFlightTracker:
        return InFlightTracker(
            self, Advisory(self.said.append), {"sms": Consumes("saq", frozenset({"sms"}))}
        )


def ids(hands: InFlightTracker, name: InstanceName) -> list[str]:
    return [job.id for job in hands.jobs[name]]


def test_the_last_look_is_just_before_the_end_and_only_once() -> None:
    redis = Redis(registered(11, "a"))
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (10, 11, 12), 60.0)], 100.0)
    assert ids(hands, ONE) == ["a"]
    rollout = draining(ONE)
    assert hands.due(rollout, watched=False) == 159.5
    hands.refresh(rollout, 159.0, watched=False)
    assert redis.asked == 1
    redis.told = (registered(11, "b"),)
    hands.refresh(rollout, 159.5, watched=False)
    assert (redis.asked, ids(hands, ONE)) == (2, ["b"])
    assert hands.due(rollout, watched=False) is None


def test_whoever_watches_sees_each_second() -> None:
    hands = Redis(registered(11, "a")).hands()
    hands.track(draining(), [Draining(ONE, (11,), None)], 100.0)
    assert hands.due(draining(ONE), watched=True) == 101.0
    assert hands.due(draining(ONE), watched=False) is None
    assert hands.due(draining(), watched=True) is None


def test_a_job_that_was_finished_is_gone_and_a_record_that_was_deleted_is_not() -> None:
    redis = Redis(registered(11, "a"))
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 1.0)], 100.0)
    redis.told = ()
    hands.refresh(draining(ONE), 100.5, watched=False)
    assert ids(hands, ONE) == ["a"]
    redis.told = (registered(11),)
    hands.track(draining(ONE), [], 100.6)
    assert ids(hands, ONE) == []


def test_one_that_has_ended_has_left_its_pid_to_somebody_else() -> None:
    redis = Redis(registered(11, "a"))
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 60.0)], 100.0)
    redis.told = (registered(11, "of another"), registered(22, "b"))
    hands.track(draining(), [Draining(TWO, (22,), 60.0)], 110.0)
    assert (ids(hands, ONE), ids(hands, TWO)) == (["a"], ["b"])


def unsigned(*jobs: tuple[str, float | None], queue: str = "sms") -> dict[str, tuple[Job, ...]]:
    return {"saq": tuple(Job(queue, "send", name, since, name, None) for name, since in jobs)}


def possible(hands: InFlightTracker, name: InstanceName = ONE) -> list[str]:
    return [job.id for job in hands.possible[name]]


def test_jobs_that_nobody_has_signed_may_be_of_whoever_had_them_all_the_while() -> None:
    redis = Redis()
    began = redis.time - 60
    redis.unsigned = unsigned(("long", began), ("short", began), ("again", began))
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 1.0)], 100.0)
    assert possible(hands) == ["long", "short", "again"]
    redis.time += 10
    # One is done; one has been begun once more, by another; one is new.
    redis.unsigned = unsigned(("long", began), ("again", began + 65), ("new", began + 66))
    hands.refresh(draining(ONE), 100.5, watched=False)
    assert (possible(hands), hands.jobs) == (["long"], {})


def test_one_taken_between_the_look_and_the_signal_may_be_its_own() -> None:
    redis = Redis()
    redis.unsigned = unsigned()
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 1.0)], 100.0)
    redis.unsigned = unsigned(("then", redis.time + 0.5), ("later", redis.time + 1.5))
    hands.refresh(draining(ONE), 100.5, watched=False)
    assert possible(hands) == ["then"]


def test_where_nothing_says_when_a_job_was_begun_it_must_have_been_there_before() -> None:
    redis = Redis()
    redis.unsigned = unsigned(("a", None), ("b", None))
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 1.0)], 100.0)
    redis.unsigned = unsigned(("b", None), ("c", None))
    hands.refresh(draining(ONE), 100.5, watched=False)
    assert possible(hands) == ["b"]


def test_jobs_of_other_queues_and_of_other_frameworks_are_not_its_own() -> None:
    redis = Redis()
    redis.unsigned = unsigned(("a", None), queue="mail")
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 1.0)], 100.0)
    assert possible(hands) == []
    hands = InFlightTracker(
        redis, Advisory(redis.said.append), {"sms": Consumes("saq", frozenset())}
    )
    hands.track(draining(), [Draining(ONE, (11,), 1.0)], 100.0)
    assert hands.possible == {}, "nobody has said which queues it takes"
    redis.unsigned = {"bullmq": unsigned(("a", None))["saq"]}
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 1.0)], 100.0)
    assert hands.possible == {}


def printing(texts: dict[str, list[str]]) -> JournalJobs:
    """Of `sms`, which prints what it begins and ends; each line is a second after the other."""
    prints = Prints.model_validate({"begun": ["begin (?P<id>.+)"], "ended": ["end (?P<id>.+)"]})

    def read(
        starts: Sequence[str], since: float | None, lines: int, *, ended: bool
    ) -> dict[str, list[Print]]:
        found = {name: [Print(float(i), t) for i, t in enumerate(texts[name])] for name in starts}
        early = since or 0.0
        return {name: [one for one in own if one.time >= early] for name, own in found.items()}

    return JournalJobs({"sms": Printing("huey", prints, "sms")}, read)


def test_what_a_framework_only_prints_is_read_and_once_more_when_it_was_killed() -> None:
    texts = {"a": ["begin 1", "begin 2"], "b": []}
    said: list[str] = []
    hands = InFlightTracker(None, Advisory(said.append), printed=printing(texts))
    told = [Draining(ONE, (11,), 60.0, "a"), Draining(TWO, (12,), 60.0, "b")]
    hands.track(draining(), told, 100.0)
    assert ids(hands, ONE) == ["1", "2"]
    assert TWO not in hands.jobs, "it may have one, and does not print it"
    assert hands.due(draining(ONE), watched=True) == 101.0
    texts["a"] += ["end 1", "begin 3"]
    hands.refresh(draining(ONE), 159.5, watched=False)
    assert ids(hands, ONE) == ["2", "3"]
    assert hands.due(draining(ONE), watched=False) is None
    texts["a"] += ["end 3"]
    hands.read_rest([ONE])
    assert (ids(hands, ONE), hands.possible, said) == (["2"], {}, [])


def test_what_was_begun_after_the_last_look_was_acknowledged_by_the_end() -> None:
    prints = Prints.model_validate(
        {"begun": ["begin (?P<id>.+)"], "ended": ["end (?P<id>.+)"], "ahead": True}
    )
    texts = [Print(1.0, "begin 1"), Print(1.0, "begin 2")]
    fetched = {"celery": frozenset({"2"})}

    def read(
        starts: Sequence[str], since: float | None, lines: int, *, ended: bool
    ) -> dict[str, list[Print]]:
        return dict.fromkeys(starts, texts)

    hands = InFlightTracker(
        lambda: Snapshot(100.0, (), {}, fetched),
        Advisory(lambda _: None),
        printed=JournalJobs({"sms": Printing("celery", prints, "sms")}, read),
    )
    hands.track(draining(), [Draining(ONE, (11,), 60.0, "a")], 100.0)
    assert ids(hands, ONE) == ["1"]
    # It ends the first, begins the second, and is killed before anybody has looked again.
    texts.append(Print(2.0, "end 1"))
    fetched["celery"] = frozenset()
    hands.read_rest([ONE])
    assert (ids(hands, ONE), hands.possible) == (["2"], {})


def test_a_journal_that_does_not_answer_is_asked_seldom_and_that_is_said_once() -> None:
    asked = 0

    def read(starts: Sequence[str], since: float | None, lines: int, *, ended: bool) -> NoReturn:
        nonlocal asked
        asked += 1
        raise UnitqError("the journal did not answer within 2 s")

    prints = Prints.model_validate({"begun": ["begin (?P<id>.+)"], "ended": ["end (?P<id>.+)"]})
    said: list[str] = []
    printed = JournalJobs({"sms": Printing("huey", prints, "")}, read)
    hands = InFlightTracker(None, Advisory(said.append), printed=printed)
    for at in (100.0, 101.0, 106.0):
        hands.track(draining(ONE), [Draining(ONE, (11,), 60.0, "a")], at)
    assert said == ["the journal did not answer within 2 s: which jobs are in flight is not known"]
    assert asked == 2


def test_a_redis_that_fails_does_not_keep_the_journal_from_being_read() -> None:
    redis = Redis()
    redis.told = UnitqError("Redis at web2: refused")
    hands = InFlightTracker(
        redis, Advisory(redis.said.append), printed=printing({"a": ["begin 1"]})
    )
    hands.track(draining(ONE), [Draining(ONE, (11,), 60.0, "a")], 100.0)
    assert (ids(hands, ONE), redis.asked) == (["1"], 1)
    assert hands.due(draining(ONE), watched=True) == 101.0


@pytest.mark.parametrize(
    "error",
    [
        UnitqError("Redis at web2: refused"),
        OSError(111, "refused"),
        RuntimeError("refused"),
        AssertionError("refused"),
        KeyError("refused"),
        RecursionError("refused"),
    ],
    ids=repr,
)
def test_a_redis_that_fails_is_asked_seldom_and_that_is_said_once(error: Exception) -> None:
    redis = Redis()
    redis.told = error
    hands = redis.hands()
    for at in (100.0, 101.0, 102.0):
        hands.track(draining(ONE), [Draining(ONE, (11,), 60.0)], at)
        hands.refresh(draining(ONE), at + 1, watched=True)
    assert redis.asked == 1
    (said,) = redis.said
    assert "refused" in said
    assert said.endswith("jobs in flight are not known")
    assert hands.jobs == {}
    # It is back: that is seen some seconds later.
    redis.told = (registered(11, "job"),)
    hands.refresh(draining(ONE), 106.0, watched=True)
    assert ids(hands, ONE) == ["job"]


def test_a_silent_redis_is_asked_once_more_before_a_kill() -> None:
    redis = Redis()
    redis.told = UnitqError("Redis at web2: refused")
    hands = redis.hands()
    hands.track(draining(ONE), [Draining(ONE, (11,), 2.0)], 100.0)
    redis.told = (registered(11, "job"),)
    hands.refresh(draining(ONE), 101.0, watched=True)
    assert redis.asked == 1
    assert hands.due(draining(ONE), watched=False) == 101.5
    hands.refresh(draining(ONE), 101.5, watched=False)
    assert ids(hands, ONE) == ["job"]


def test_who_is_registered() -> None:
    redis = Redis(registered(11))
    presence = Presence(redis, frozenset({"sms"}))
    assert presence.missing((10, 11)) == ""
    assert presence.missing((10, 12)) == "it is not registered in Redis"
    redis.told = UnitqError("Redis at web2: refused")
    assert presence.missing((11,)) == "Redis at web2: refused"


def dropped(redis: Redis, *looks: tuple[str, ...]) -> list[str]:
    """What is found dropped by an instance that has drained, where these looks follow."""
    hands = redis.hands()
    hands.track(draining(), [Draining(ONE, (11,), 60.0)], 100.0)
    waiting = list(looks)
    redis.unbegun = waiting.pop(0)
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        redis.unbegun = waiting.pop(0)

    found = [job.id for job in hands.find_dropped(wait)]
    assert len(pauses) == len(looks) - 1, "it waits only where there is something to see"
    return found


def test_a_job_that_was_taken_and_is_never_begun_was_dropped() -> None:
    assert dropped(Redis(), ("a",), ("a",)) == ["a"]
    assert dropped(Redis(), ()) == []
    # One that lives begins its job in a moment, and takes another.
    assert dropped(Redis(), ("a", "b"), ("b", "c")) == ["b"]
    assert dropped(Redis(), ("a",), ()) == []


def test_what_nobody_has_told_to_stop_drops_nothing_and_redis_may_fail() -> None:
    redis = Redis()
    redis.unbegun = ("a",)
    hands = redis.hands()
    assert hands.find_dropped(lambda _: None) == ()
    assert redis.asked == 0
    redis.unbegun = ()
    hands.track(draining(), [Draining(ONE, (11,), 60.0)], 100.0)
    redis.told = UnitqError("redis is gone")
    assert hands.find_dropped(lambda _: None) == ()
    assert redis.said == ["redis is gone: jobs in flight are not known"]
