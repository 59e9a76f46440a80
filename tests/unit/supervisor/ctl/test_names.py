"""Supervisor's names for instances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor.options import make_namespec, split_namespec

from unitq.model.names import InstanceName, instances
from unitq.supervisor.ctl.names import (
    Names,
    Process,
    Wanted,
    numbered_name,
    process_name,
    split_name,
)


def names(wanted: dict[str, dict[str, int]], *more: str, **said: str) -> Names:
    """Every instance that is wanted, and more: `shop sms@3`; `said` are names of Supervisor's."""
    processes = [
        Process(app, instance)
        for app, workers in wanted.items()
        for worker, count in workers.items()
        for instance in instances(worker, count)
    ]
    known = {
        app: {worker: Wanted(count, said.get(worker, "")) for worker, count in workers.items()}
        for app, workers in wanted.items()
    }
    return Names(known, [*processes, *map(process, more)])


def process(text: str) -> Process:
    app, _, rest = text.partition(" ")
    worker, _, number = rest.rpartition("@")
    return Process(app, InstanceName(worker, int(number)))


ONE = {"shop": {"sms": 2, "mail": 1, "shop-push": 3}}
TWO = {"shop": {"sms": 2, "mail": 1}, "blog": {"sms": 1, "feed": 2}}


@given(st.text("ab:*", max_size=6))
def test_a_name_is_split_as_supervisor_splits_it(name: str) -> None:
    group, process = split_name(name)
    assert (group, process) == split_namespec(name)
    if process is not None:
        assert process_name(group, process) == make_namespec(group, process)


def test_what_instances_are_called() -> None:
    found = names(ONE)
    assert [found.of(one) for one in found.in_order()] == [
        "mail", "shop-push:shop-push_00", "shop-push:shop-push_01", "shop-push:shop-push_02",
        "sms:sms_00", "sms:sms_01",
    ]  # fmt: skip


def test_a_worker_that_two_apps_have_is_called_by_its_app() -> None:
    found = names(TWO)
    assert [found.of(one) for one in found.in_order()] == [
        "blog:sms", "feed:feed_00", "feed:feed_01", "mail", "shop:sms_00", "shop:sms_01",
    ]  # fmt: skip


def test_one_that_is_there_for_a_while_renames_no_other() -> None:
    found = names(ONE, "shop mail@2", "shop gone@1")
    assert found.of(process("shop mail@1")) == "mail"
    assert found.of(process("shop mail@2")) == "mail:mail_01"
    assert found.of(process("shop gone@1")) == "gone:gone_00"
    assert found.find("mail").processes == (process("shop mail@1"),)
    assert len(found.find("mail:*").processes) == 2


@pytest.mark.parametrize("wanted", [ONE, TWO])
def test_every_name_that_status_shows_leads_back(wanted: dict[str, dict[str, int]]) -> None:
    found = names(wanted)
    for one in found.in_order():
        back = found.find(found.of(one))
        assert back.processes == (one,)
        assert back.single
        assert back.name == found.of(one)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("mail", "mail@1"),
        ("mail:mail", "mail@1"),
        ("mail:mail_00", "mail@1"),  # numprocs=1 with process_name=…_%(process_num)02d
        ("mail_00", "mail@1"),
        ("mail@1", "mail@1"),
        ("sms:sms_00", "sms@1"),
        ("sms:sms_01", "sms@2"),
        ("sms:sms-1", "sms@2"),
        ("sms:sms1", "sms@2"),
        ("sms:1", "sms@2"),
        ("sms_01", "sms@2"),
        ("sms-1", "sms@2"),
        ("sms@2", "sms@2"),
        ("sms:sms@2", "sms@2"),
        ("shop:mail", "mail@1"),  # the group that became the app
        ("shop:sms_01", "sms@2"),
        ("shop:push_02", "shop-push@3"),  # a group that became the beginning of a name
        ("shop:shop-push_02", "shop-push@3"),
    ],
)
def test_names_of_one_process(said: str, meant: str) -> None:
    found = names(ONE).find(said)
    assert found.processes == (process(f"shop {meant}"),)
    assert found.single


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("sms:*", 2), ("sms:", 2), ("sms", 2), ("mail:*", 1), ("shop:*", 6), ("shop:sms", 2),
        ("shop-push:*", 3), ("shop:push", 3),
    ],
)  # fmt: skip
def test_names_of_groups(said: str, count: int) -> None:
    found = names(ONE).find(said)
    assert len(found.processes) == count
    assert not found.single


def test_the_beginning_of_names_is_a_group() -> None:
    found = names({"all": {"shop-mail": 1, "shop-sms": 2, "shopping": 1}})
    assert {one.instance.worker for one in found.find("shop:*").processes} == {
        "shop-mail", "shop-sms",
    }  # fmt: skip
    assert found.find("shop:mail").single


@pytest.mark.parametrize(
    "said",
    [
        "nosuch", "sms:sms_02", "sms_02", "sms2", "sms1", "shop", "sms@3", "sms@0", "sms:mail",
        "shop:1", "shop:nosuch", "nosuch:mail", "mail_01", "sm", "s*", "sms:sms_0*", "", ":", "@1",
        "sms:sms_99999999999999999999", "sms_٣",
    ],
)  # fmt: skip
def test_what_stands_for_nothing(said: str) -> None:
    found = names(ONE).find(said)
    assert not found.processes
    assert not found.apps


def test_a_worker_with_a_number_in_its_name_wins() -> None:
    found = names({"shop": {"queue": 3, "queue_1": 1, "queue2": 1}})
    assert found.find("queue_1").processes == (process("shop queue_1@1"),)
    assert found.find("queue2").processes == (process("shop queue2@1"),)
    assert found.find("queue:queue_01").processes == (process("shop queue@2"),)


def test_what_two_apps_have_is_refused_until_it_is_said_which() -> None:
    found = names(TWO)
    for said in ("sms", "sms:*", "sms_00", "sms@1", "sms:sms_00"):
        refused = found.find(said)
        assert not refused.processes
        assert refused.apps == ("blog", "shop")
    assert found.find("shop:sms_00").processes == (process("shop sms@1"),)
    assert found.find("blog:sms").processes == (process("blog sms@1"),)
    assert len(found.find("blog:*").processes) == 3
    # Only one of them has a second one, and it is that one's only here.
    assert found.find("sms@2").processes == (process("shop sms@2"),)


def test_a_name_in_answers_is_the_one_that_was_typed() -> None:
    found = names(ONE)
    assert found.find("sms:sms_00").name == "sms:sms_00"
    assert found.find("mail:mail").name == "mail"
    assert found.find("sms@1").name == "sms:sms_00"
    assert found.find("nosuch:*").name == "nosuch"


# --- what Supervisor called them ------------------------------------------------------------------


def test_the_others_count_on_from_the_first_name() -> None:
    for first, third in (
        ("sms:sms_00", "sms:sms_02"), ("sms:sms_08", "sms:sms_10"), ("t:t-8000", "t:t-8002"),
        ("q:9", "q:11"), ("q2:q2-1-x", "q2:q2-3-x"), ("shop:mail", "shop:mail_02"),
        ("mail", "mail:mail_02"), ("worker7", "worker7:worker9"),
    ):  # fmt: skip
        assert numbered_name(first, 1) == first
        assert numbered_name(first, 3) == third


def test_the_names_of_a_worker_that_has_some() -> None:
    found = names({"app": {"web": 3, "mail": 1, "sms": 2}}, web="tornado:tornado-8000",
                  mail="shop:mail", sms="shop:sms_1")  # fmt: skip
    assert [found.of(one) for one in found.in_order()] == [
        "shop:mail", "shop:sms_1", "shop:sms_2",
        "tornado:tornado-8000", "tornado:tornado-8001", "tornado:tornado-8002",
    ]  # fmt: skip
    assert found.find("tornado:tornado-8001").processes == (process("app web@2"),)
    assert len(found.find("tornado:*").processes) == 3
    assert len(found.find("shop:*").processes) == 3
    assert found.find("shop:mail").single
    assert found.find("shop:sms_1").processes == (process("app sms@1"),)
    # Our own names stay; a guess by our own way to count would be another instance.
    assert found.find("sms@1").name == "shop:sms_1"
    assert len(found.find("web").processes) == 3
    for said in ("sms_01", "sms:sms_01", "sms:1", "app:sms_01", "web_00", "shop:sms_0"):
        assert not found.find(said).processes


def test_a_name_that_two_would_have_is_nobodys() -> None:
    found = names({"shop": {"a": 2, "b": 2}}, a="x:x_1", b="x:x_2")
    assert [found.of(one) for one in found.in_order()] == [
        "shop:a_01", "shop:b_00", "x:x_1", "x:x_3",
    ]  # fmt: skip
    assert not found.find("x:x_2").processes
    for one in found.in_order():
        assert found.find(found.of(one)).processes in ((one,), ())
    found = names({"shop": {"a": 2, "a_00": 1}})
    assert found.find("shop:a_00").processes == ()
