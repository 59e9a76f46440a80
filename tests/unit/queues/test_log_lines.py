"""Which jobs a worker has in hand by what it prints. The lines are of the frameworks themselves."""

from __future__ import annotations

import pytest

from tests.harness.build import PRESETS
from unitq.model.names import InstanceName
from unitq.queues.journal_jobs import FEW, MANY, JournalJobs, Printing
from unitq.queues.log_lines import InFlight, JobLog, follow, in_flight_jobs
from unitq.systemd.journal_event import Print

CELERY, HUEY = PRESETS["celery"].prints, PRESETS["huey"].prints
MAIN, CHILD = "[2026-11-24 02:00:00,001: INFO/MainProcess] ", "[…: INFO/ForkPoolWorker-1] "
ONE = "3f0a1c07-d2e4-4c52-9f4b-0d8f6f1f3b11"
LINES = "[2026-11-24 02:00:00,001] INFO:huey:Worker-1:"


def lines(*texts: str, at: float = 100.0) -> list[Print]:
    return [Print(at + index, text) for index, text in enumerate(texts)]


def open_ids(said: JobLog) -> list[str]:
    return list(said.open)


@pytest.mark.parametrize(
    "end",
    [
        f"{CHILD}Task shop.send[{ONE}] succeeded in 0.1s: None",
        f"{CHILD}Task shop.send[{ONE}] raised unexpected: ValueError('x')",
        f"{CHILD}Task shop.send[{ONE}] retry: Retry in 10s",
        f"{CHILD}Task shop.send[{ONE}] ignored",
        f"{MAIN}Discarding revoked task: shop.send[{ONE}]",
        f"{MAIN}Hard time limit (30s) exceeded for shop.send[{ONE}]",
    ],
)
def test_a_task_of_celery_begins_and_ends(end: str) -> None:
    begun = follow(JobLog(), CELERY, lines(f"{MAIN}Task shop.send[{ONE}] received"), "sms")
    (job,) = begun.open.values()
    assert (job.queue, job.name, job.id, job.since) == ("sms", "shop.send", ONE, 100.0)
    assert open_ids(
        follow(begun, CELERY, lines(f"{MAIN}Soft time limit (3s) exceeded for …"), "")
    ) == [ONE]
    assert follow(begun, CELERY, lines(end), "sms") == JobLog({}, True)
    # Before 5.1 it was said in another way.
    old = follow(JobLog(), CELERY, lines(f"{MAIN}Received task: shop.send[{ONE}]  "), "sms")
    assert open_ids(old) == [ONE]


@pytest.mark.parametrize(
    "end",
    [
        f"{LINES}shop.send: {ONE} executed in 20.001s",
        f"{LINES}shop.send: {ONE} @2026-11-24 02:00:00 p=10 2 retries executed in 0.1s",
        f"{LINES}shop.send: {ONE}, on error shop.sorry: 77 executed in 0.1s",
        f"INFO: huey: shop.send: {ONE} exp=30 -> shop.then: 78 executed in 3.0s",
        f"{LINES}Unhandled exception in task {ONE}.",
        f"{LINES}Task {ONE} raised RetryTask, retrying.",
        f"{LINES}Task {ONE} timed out after 3s.",
    ],
)
def test_a_task_of_huey_begins_and_ends(end: str) -> None:
    texts = (f"{LINES}Executing shop.send: {ONE}, on error shop.sorry: 77", f"{LINES}hello: world")
    begun = follow(JobLog(), HUEY, lines(*texts), "")
    (job,) = begun.open.values()
    assert (job.name, job.id, job.hash) == ("shop.send", ONE, "")
    assert follow(begun, HUEY, lines(end), "") == JobLog({}, True)


def test_lines_that_are_read_again_change_nothing() -> None:
    texts = [
        f"{LINES}Executing a.b: 1",
        f"{LINES}a.b: 1 executed in 1s",
        f"{LINES}Executing a.b: 2",
    ]
    once = follow(JobLog(), HUEY, lines(*texts), "")
    assert follow(once, HUEY, lines(*texts[1:], at=101.0), "") == once
    assert open_ids(once) == ["2"]


def test_a_job_may_have_been_begun_before_the_lines_that_were_read() -> None:
    journal = Journal()
    printed = JournalJobs({"mail": Printing("huey", HUEY, "mail")}, journal)
    name = InstanceName("mail", 1)
    # Others of its threads begin and end meanwhile.
    some = ["Executing a.b: 1", "huey: a.b: 1 executed in 1s"]
    journal.lines = {"a": lines("Executing a.b: 0", *some * FEW)[-FEW:]}
    assert printed.look({name: "a"}, {})[name] == InFlight(None, ()), "it said that it has none"
    journal.lines["a"] += lines("Executing a.b: 7", at=5000.0)
    (job,) = printed.look({name: "a"}, {})[name].jobs or ()
    assert job.id == "7"
    # Where all is read there is no doubt.
    journal.lines = {"a": lines(*some)}
    printed = JournalJobs({"mail": Printing("huey", HUEY, "mail")}, journal)
    assert printed.look({name: "a"}, {}, ended=True)[name].jobs == ()


def test_when_a_fetched_task_has_begun_is_known_of_the_only_one() -> None:
    texts = [
        "Task a[1] received",
        "Task a[2] received",
        "Task a[1] succeeded",
        "Task a[3] received",
    ]
    said = follow(JobLog(), CELERY, lines(*texts), "")
    assert [(job.id, job.since) for job in said.open.values()] == [("2", 102.0), ("3", None)]
    assert follow(said, CELERY, lines(*texts[1:], at=101.0), "") == said
    # Huey prints what begins.
    both = follow(JobLog(), HUEY, lines("Executing a: 1", "Executing a: 2"), "")
    assert [job.since for job in both.open.values()] == [100.0, 101.0]


def test_what_is_fetched_ahead_is_told_from_what_is_at_work() -> None:
    said = follow(JobLog(), CELERY, lines("Task a[1] received", "Task a[2] received"), "")
    (one, two) = said.open.values()
    assert in_flight_jobs(said, CELERY, frozenset({"2", "3"})) == InFlight((one,), ())
    # With late acknowledgement both are still in Redis, and without Redis nobody knows.
    assert in_flight_jobs(said, CELERY, frozenset({"1", "2"})) == InFlight(None, (one, two))
    assert in_flight_jobs(said, CELERY, None) == InFlight(None, (one, two))
    assert in_flight_jobs(JobLog({}, True), CELERY, None) == InFlight((), ())
    # It may have jobs, and does not print them.
    assert in_flight_jobs(JobLog(), CELERY, frozenset()) == InFlight(None, ())


def test_where_the_journal_left_lines_out_nothing_is_certain() -> None:
    """What it began may have ended, and it may have begun another: j1 was done, j2 is lost."""
    gap = Print(101.0, "", gap=True)
    said = follow(JobLog(), HUEY, [*lines("Executing a.b: j1"), gap], "mail")
    assert in_flight_jobs(said, HUEY, None) == InFlight(None, tuple(said.open.values()))
    assert open_ids(said) == ["j1"]
    # Also later, and where nothing is open: it may have begun what is not there.
    said = follow(said, HUEY, lines("a.b: j1 executed in 1s", at=110.0), "mail")
    assert in_flight_jobs(said, HUEY, None) == InFlight(None, ())


class Journal:
    """What would be read, and how it was asked for."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Print]] = {}
        self.most = 0
        self.asked: list[tuple[tuple[str, ...], float | None]] = []

    def __call__(
        self, starts: object, since: float | None, lines: int, *, ended: bool
    ) -> dict[str, list[Print]]:
        assert isinstance(starts, list)
        self.asked.append((tuple(starts), since))
        self.most = lines
        assert ended is (lines >= MANY)
        return {
            start: [each for each in self.lines[start] if since is None or each.time >= since]
            for start in starts
        }


def test_a_start_is_read_once_and_then_what_came_since() -> None:
    journal = Journal()
    printed = JournalJobs({"mail": Printing("huey", HUEY, "mail")}, journal)
    first, second = InstanceName("mail", 1), InstanceName("mail", 2)
    starts = {first: "a", second: "b", InstanceName("sms", 1): "c"}
    journal.lines = {"a": lines("Executing a.b: 1"), "b": lines("Executing a.b: 5", at=200.0)}
    assert [*printed.look(starts, {})] == [first, second]
    journal.lines["a"] += lines("a.b: 1 executed in 1s", "Executing a.b: 2", at=300.0)
    found = printed.look(starts, {})
    assert [[job.id for job in found[name].jobs or ()] for name in (first, second)] == [
        ["2"],
        ["5"],
    ]
    assert journal.asked == [(("a", "b"), None), (("a", "b"), 98.0)]
    # One that has printed nothing yet is read from its beginning.
    journal.lines["d"] = []
    printed.look({first: "d"}, {})
    printed.look({first: "d"}, {})
    assert journal.asked[2:] == [(("d",), None), (("d",), None)]
    # Of one that was killed more is read.
    assert journal.most == FEW
    printed.look({first: "a"}, {}, ended=True)
    assert (journal.asked[-1], journal.most) == ((("a",), None), MANY)
