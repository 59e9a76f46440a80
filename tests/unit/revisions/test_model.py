"""Revisions: when a deploy makes a new one, which workers it is about, and what is on disk."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.build import ORIGIN, app, instance, rendered, revision
from unitq.errors import Exit, UnitqError
from unitq.model.recycle import Recycle
from unitq.model.settings import Duration, RolloutSettings, Share
from unitq.revisions.model import (
    Origin,
    Revision,
    WorkerRevision,
    dump,
    load,
    successor,
)
from unitq.units.render import Code

TWO = """\
[workers.sms]
command = "/bin/worker sms"
instances = 3
[workers.mail]
command = "/bin/worker mail"
"""
LATER = Origin(created=ORIGIN.created + 60, by="bob", config="/elsewhere/unitq.toml")


def test_the_first_revision_has_number_1_and_its_id_on_every_worker() -> None:
    first = revision(app(TWO))
    assert first.number == 1
    assert first.id == f"1-{first.hash}"
    assert len(first.hash) == 6
    assert {worker.revision for worker in first.workers} == {first.id}
    assert [str(name) for name in first.instances] == ["sms@1", "sms@2", "sms@3", "mail@1"]


def test_nothing_changed_is_the_same_object_whoever_deploys_and_when() -> None:
    found = app(TWO)
    first = revision(found)
    again = successor(first, rendered(found), found.rollout, LATER)
    assert again is first


def test_new_code_is_a_new_revision_of_every_worker() -> None:
    first = revision(app(TWO))
    second = revision(app(TWO), first, release="2")
    assert second.number == 2
    assert second.hash != first.hash
    assert {worker.revision for worker in second.workers} == {second.id}
    assert second.worker("sms") != first.worker("sms")


def test_a_worker_that_did_not_change_keeps_its_revision() -> None:
    first = revision(app(TWO))
    second = revision(app(TWO.replace('mail"\n', 'mail --fast"\n')), first)
    assert second.number == 2
    assert second.goal(instance("sms@1")) == first.id
    assert second.goal(instance("mail@1")) == second.id
    third = revision(app(TWO.replace("worker sms", "worker sms --fast")), second)
    assert third.goal(instance("sms@1")) == third.id
    # Back to what it was before: the process that runs is another one all the same.
    assert third.goal(instance("mail@1")) == third.id


@pytest.mark.parametrize(
    "change",
    [
        ('command = "/bin/worker sms"', 'command = "/bin/worker sms -v"'),
        ("instances = 3", "instances = 3\nnice = 5"),
        ("instances = 3", 'instances = 3\nenvironment = { A = "b" }'),
        ("instances = 3", 'instances = 3\nqueues = ["a"]'),
        ("instances = 3", 'instances = 3\nstop_timeout = "1h"'),
        ("instances = 3", 'instances = 3\nservice = { MemoryMax = "1G" }'),
        ("instances = 3", 'instances = 3\nuser = "www-data"'),
    ],
)
def test_whatever_changes_what_a_process_runs_or_how_restarts_it(change: tuple[str, str]) -> None:
    first = revision(app(TWO))
    second = revision(app(TWO.replace(*change)), first)
    assert second.goal(instance("sms@1")) == second.id
    assert second.goal(instance("mail@1")) == first.id


def test_an_environment_file_of_other_content_restarts_its_worker() -> None:
    text = TWO.replace("instances = 3", 'instances = 3\nenvironment_file = "/etc/shop/env"')
    found = app(text)

    def deployed(before: Revision | None, content: bytes) -> Revision:
        code = {"sms": Code("/srv/shop/releases/1", "release 1", (content,))}
        return successor(before, rendered(found, code=code), found.rollout, ORIGIN)

    first = deployed(None, b"A=1\n")
    assert deployed(first, b"A=1\n") is first
    second = deployed(first, b"A=2\n")
    assert second.goal(instance("sms@1")) == second.id
    assert second.goal(instance("mail@1")) == first.id


@pytest.mark.parametrize(
    "change",
    [("instances = 3", "instances = 2"), ("instances = 3", "instances = 4")],
)
def test_a_count_alone_touches_no_process(change: tuple[str, str]) -> None:
    first = revision(app(TWO))
    second = revision(app(TWO.replace(*change)), first)
    assert second.number == 2
    assert {worker.revision for worker in second.workers} == {first.id}


@pytest.mark.parametrize(
    "line",
    [
        'probe = { command = "/bin/true" }',
        'probe = { command = "/bin/true", successes = 3 }',
        "singleton = true",
    ],
)
def test_a_probe_or_that_it_is_alone_touches_no_process_but_is_noted(line: str) -> None:
    text = TWO.replace("instances = 3", "instances = 1")
    first = revision(app(text))
    assert {(worker.singleton, worker.probes) for worker in first.workers} == {(False, 0)}
    found = app(text.replace("instances = 1", f"instances = 1\n{line}"))
    second = revision(found, first)
    assert second.number == 2
    assert {worker.revision for worker in second.workers} == {first.id}
    sms = second.worker("sms")
    assert sms
    assert sms.singleton == ("singleton" in line)
    assert sms.probes == (3 if "successes" in line else "probe" in line)
    assert revision(found, second) is second
    assert load(dump(second), "x") == second
    assert revision(app(text), second).worker("sms") == first.worker("sms")


def test_another_command_of_a_probe_is_another_revision_that_restarts_nothing() -> None:
    # Else the unit texts that the revision keeps would not be those that are installed.
    text = f'{TWO}probe = {{ command = "/bin/true" }}\n'
    first = revision(app(text))
    second = revision(app(text.replace("/bin/true", "/bin/false")), first)
    assert (second.number, second.units) == (2, first.units)
    assert second.workers == first.workers
    assert second.with_instances({"sms": 5}, LATER).hash == second.hash
    later = revision(
        app(text.replace("/bin/true", "/bin/false")), second.with_instances({"sms": 5}, LATER)
    )
    assert {worker.revision for worker in later.workers} == {first.id}


def test_rollout_settings_alone_touch_no_process_but_are_noted() -> None:
    first = revision(app(TWO))
    second = revision(app(f"[rollout]\nmax_unavailable = 2\n{TWO}"), first)
    assert second is not first
    assert second.rollout.max_unavailable == Share(2)
    assert {worker.revision for worker in second.workers} == {first.id}


def test_a_worker_that_is_renamed_is_another_one() -> None:
    first = revision(app(TWO))
    second = revision(app(TWO.replace("workers.mail", "workers.post")), first)
    assert second.worker("mail") is None
    assert second.goal(instance("mail@1")) is None
    assert second.goal(instance("post@1")) == second.id
    assert second.goal(instance("sms@1")) == first.id


def test_scale_changes_counts_only() -> None:
    first = revision(app(TWO))
    second = first.with_instances({"sms": 5}, LATER)
    assert second.number == 2
    assert second.hash == first.hash
    assert second.by == "bob"
    assert second.goal(instance("sms@5")) == first.id
    assert second.goal(instance("sms@6")) is None
    assert second.worker("mail") == first.worker("mail")
    assert second.with_instances({"sms": 5, "mail": 1}, LATER) is second


def test_what_repeats_an_earlier_revision_runs_the_same_under_another_number() -> None:
    first = revision(app())
    second = revision(app(), first, release="2")
    back = second.back_to(first, ORIGIN)
    again = revision(app(), back, release="3").back_to(back, ORIGIN)
    for each in (back, again, back.with_instances({"sms": 9}, ORIGIN)):
        assert each.repeats(first.id)
        assert each.repeats(back.id) is (each is not back)
        assert not each.repeats(second.id)
        assert not each.repeats(each.id)
        assert not each.repeats(None)
    assert not second.repeats(first.id)
    assert not first.repeats("1-")


def test_a_deploy_after_scale_goes_by_the_file_again() -> None:
    found = app(TWO)
    third = revision(found, revision(found).with_instances({"sms": 5}, LATER))
    assert third.number == 3
    assert third.goal(instance("sms@4")) is None


def test_endless_stop_timeouts_survive_the_disk() -> None:
    first = revision(app(TWO.replace("instances = 3", 'stop_timeout = "infinity"')))
    assert first.workers[0].stop_timeout is None
    assert "Infinity" not in dump(first)
    assert load(dump(first), "x") == first


DURATIONS = st.builds(
    Duration,
    st.sampled_from(["10s", "1min 30s", "0", "250ms"]),
    st.floats(0, 1e6, allow_nan=False),
)
REVISIONS = st.builds(
    Revision,
    number=st.integers(1, 10**6),
    hash=st.text("0123456789abcdef", min_size=6, max_size=6),
    app=st.just("shop"),
    created=st.floats(0, 4e9),
    by=st.text(),
    config=st.text(),
    workers=st.lists(
        st.builds(
            WorkerRevision,
            name=st.text(),
            revision=st.text(),
            fingerprint=st.text(),
            instances=st.integers(1, 4096),
            stop_timeout=st.none() | st.floats(0, 1e9),
            release=st.text(),
            code_version=st.text(),
            recycle=st.none()
            | st.builds(
                Recycle,
                st.none() | st.integers(1, 2**50),
                st.none() | st.just(Duration("6h", 21600.0)),
                st.builds(Share, st.integers(0, 100), st.just(True)),
            ),
        ),
        max_size=3,
    ).map(tuple),
    units=st.lists(st.text(), max_size=3).map(tuple),
    rollout=st.builds(
        RolloutSettings,
        st.builds(Share, st.integers(1, 100), st.booleans()),
        DURATIONS,
        DURATIONS,
        canary_soak=DURATIONS,
        healthy_deadline=DURATIONS,
    ),
)


@given(REVISIONS)
def test_a_revision_comes_back_from_the_disk_as_it_was(found: Revision) -> None:
    assert load(dump(found), "revision.json") == found


WHOLE = dump(revision(app(TWO)))


@given(st.integers(0, len(WHOLE) - 2), st.integers(0, 40), st.binary(max_size=10))
def test_a_damaged_file_is_an_error_in_words_or_still_whole(
    start: int, length: int, instead: bytes
) -> None:
    text = WHOLE[:start] + instead.decode("latin-1") + WHOLE[start + length :]
    where = "/var/lib/unitq/shop/current/revision.json"
    try:
        assert isinstance(load(text, where), Revision)
    except UnitqError as damage:
        error = damage
    else:
        return
    assert error.message.startswith(f"{where}: ")
    assert error.exit is Exit.BROKEN
    assert error.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        "{}",
        '{"format": "1"}',
        json.dumps(json.loads(WHOLE) | {"workers": None}),
        json.dumps(json.loads(WHOLE) | {"workers": [1]}),
        json.dumps(json.loads(WHOLE) | {"workers": [{"name": "sms"}]}),
        json.dumps(json.loads(WHOLE) | {"rollout": {}}),
        json.dumps(json.loads(WHOLE) | {"rollout": 3}),
        json.dumps(json.loads(WHOLE) | {"units": None}),
        json.dumps(json.loads(WHOLE) | {"format": None}),
        "[" * 100_000,
        b"\0" * 600,  # what a file system may show after a power cut
        b'{"by": "\xff"}',
    ],
)
def test_rubbish_is_damaged(text: str | bytes) -> None:
    with pytest.raises(UnitqError, match="damaged") as caught:
        load(text, "revision.json")
    assert "\n" not in caught.value.message


def test_a_later_format_is_said_and_not_guessed_at() -> None:
    with pytest.raises(UnitqError, match=r"written by a later unitq \(format 2\)"):
        load(WHOLE.replace('"format": 1', '"format": 2'), "revision.json")


def test_keys_that_a_later_unitq_added_to_this_format_do_no_harm() -> None:
    text = json.dumps(json.loads(WHOLE) | {"ledger": "x"})
    assert load(text, "revision.json") == revision(app(TWO))
