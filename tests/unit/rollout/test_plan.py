"""What is to be done to get from what is there to what is wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import app, instance, rendered, revision
from unitq.model import names
from unitq.model.settings import Share
from unitq.rollout.plan import Change, DrainLimit, Plan, Running, plan, planned_change
from unitq.units.text import PIN, FileChange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.revisions.model import Revision

APP = app()
UNITS = rendered(APP).units
INSTALLED = {unit.name: unit.text for unit in UNITS}
CURRENT = revision(APP)
LINKED = frozenset(names.unit("shop", name) for name in CURRENT.instances)
FRESH = {name: Running(active=True, revision=CURRENT.id) for name in CURRENT.instances}


def made(
    current: Revision | None = CURRENT,
    target: Revision = CURRENT,
    *,
    units: dict[str, str] = INSTALLED,
    installed: dict[str, str] = INSTALLED,
    running: dict[names.InstanceName, Running] = FRESH,
    linked: frozenset[str] = LINKED,
    reload: bool = False,
) -> Plan:
    return plan(
        current,
        target,
        units=units,
        installed=installed,
        running=running,
        linked=linked,
        reload=reload,
    )


def done(found: Plan) -> dict[str, Change]:
    return {str(one.instance): one.change for one in found.changes}


def test_what_is_as_wanted_is_left_alone() -> None:
    found = made()
    assert not found.pending
    assert not found.files
    assert not found.links
    assert not found.changes_to_make
    assert done(found) == {"sms@1": Change.KEEP, "sms@2": Change.KEEP, "sms@3": Change.KEEP}


@pytest.mark.parametrize(
    ("surge", "replaced", "names_of_surge"),
    [
        (0, 3, []),
        (1, 3, ["sms@4"]),
        (3, 3, ["sms@4", "sms@5", "sms@6"]),
        # No more than there are to be replaced, and none where nothing is.
        (4, 3, ["sms@4", "sms@5", "sms@6"]),
        (3, 2, ["sms@4", "sms@5"]),
        (3, 1, ["sms@4"]),
        (3, 0, []),
    ],
)
def test_as_many_more_as_are_allowed_and_as_are_replaced(
    surge: int, replaced: int, names_of_surge: list[str]
) -> None:
    found = _with_surge(surge, dict.fromkeys(range(1, replaced + 1), OLD))
    assert [
        str(one.instance) for one in found.changes if one.change is Change.SURGE
    ] == names_of_surge
    assert sum(one.change is Change.RESTART for one in found.changes) == replaced


def test_one_more_is_counted_for_each_worker_and_never_for_one_that_must_be_alone() -> None:
    three = """
        [workers.mail]
        command = "/usr/bin/mail"
        instances = 2
        [workers.once]
        command = "/usr/bin/once"
        instances = 1
        singleton = true
        [workers.sms]
        command = "/usr/bin/sms"
        instances = 2
    """
    both = revision(app(three))
    # Of mail one is to be replaced, of sms two.
    old = {("mail", 2), ("once", 1), ("sms", 1), ("sms", 2)}
    running = {
        name: Running(active=True, revision=OLD if (name.worker, name.number) in old else both.id)
        for name in both.instances
    }
    found = plan(
        both, both, units={}, installed={}, running=running, linked=both.links, reload=False,
        settings=both.rollout._replace(max_surge=Share(100, percent=True)),
    )  # fmt: skip
    surges = [str(one.instance) for one in found.changes if one.change is Change.SURGE]
    assert surges == ["mail@3", "sms@3", "sms@4"]


def test_one_more_that_runs_what_is_wanted_is_used_again_and_another_is_not() -> None:
    old = dict.fromkeys((1, 2, 3), OLD)
    # Left by a rollout that was cut off.
    found = done(_with_surge(1, old | {4: CURRENT.id}))
    assert (found["sms@4"], len(found)) == (Change.SURGE, 4)
    found = done(_with_surge(1, old | {4: OLD}))
    assert (found["sms@4"], found["sms@5"]) == (Change.STOP, Change.SURGE)
    # It is down: its number is free.
    found = done(_with_surge(1, old | {4: None}))
    assert (found["sms@4"], len(found)) == (Change.SURGE, 4)


OLD = "0-000000"


def _with_surge(surge: int, others: Mapping[int, str | None]) -> Plan:
    running = FRESH | {
        names.InstanceName("sms", number): Running(active=name is not None, revision=name)
        for number, name in others.items()
    }
    return plan(
        CURRENT,
        CURRENT,
        units=INSTALLED,
        installed=INSTALLED,
        running=running,
        linked=LINKED,
        reload=False,
        settings=CURRENT.rollout._replace(max_surge=Share(surge)),
    )


def test_the_first_deploy_writes_everything_and_starts_everything() -> None:
    found = made(None, installed={}, running={}, linked=frozenset())
    assert found.pending
    assert {change.name for change in found.files} == set(INSTALLED)
    assert all(change.before is None for change in found.files)
    assert set(done(found).values()) == {Change.START}
    assert set(found.links) == set(LINKED)


@pytest.mark.parametrize(
    ("running", "do", "why"),
    [
        (Running(active=True, revision=CURRENT.id), Change.KEEP, f"runs {CURRENT.id}"),
        (Running(active=False, revision=None), Change.START, "not running"),
        (None, Change.START, "not running"),
        # By a rollout that was cut off, say: kept it would be gone, and by a text that changes.
        (Running(active=True, revision=CURRENT.id, ending=True), Change.RESTART, "told to stop"),
        (Running(active=True, revision="0-abcdef"), Change.RESTART, "runs 0-abcdef, wanted"),
        (Running(active=True, revision=None), Change.RESTART, "does not tell what it runs"),
        # Down: what it ran last does not matter.
        (Running(active=False, revision=CURRENT.id), Change.START, "not running"),
    ],
)
def test_one_instance(running: Running | None, do: Change, why: str) -> None:
    found = planned_change(instance("sms@1"), CURRENT, running)
    assert found.change is do
    assert why in found.why


@pytest.mark.parametrize("running", [None, FRESH[instance("sms@1")], Running(False, None)])
@pytest.mark.parametrize("name", ["sms@4", "mail@1"])
def test_what_is_not_wanted_stops_whatever_it_runs(name: str, running: Running | None) -> None:
    assert planned_change(instance(name), CURRENT, running).change is Change.STOP


def test_one_that_has_just_started_is_kept_but_has_to_prove_itself() -> None:
    young = {**FRESH, instance("sms@2"): Running(active=True, revision=CURRENT.id, unproven=True)}
    found = made(running=young)
    assert done(found)["sms@2"] is Change.KEEP
    assert [str(one.instance) for one in found.changes if one.unproven] == ["sms@2"]
    assert found.unproved
    # Nothing has to be changed for it, though.
    assert not found.pending
    assert not made().unproved


def test_instances_beyond_the_wanted_number_are_seen() -> None:
    extra = {instance("sms@4"): Running(active=True, revision=CURRENT.id)}
    found = made(running=FRESH | extra)
    assert found.pending
    assert done(found) == {
        "sms@1": Change.KEEP,
        "sms@2": Change.KEEP,
        "sms@3": Change.KEEP,
        "sms@4": Change.STOP,
    }


def test_a_text_that_was_changed_by_hand_is_a_change() -> None:
    name = names.template("shop", "sms")
    edited = INSTALLED | {name: INSTALLED[name].replace("SIGQUIT", "SIGTERM")}
    found = made(installed=edited)
    assert found.pending
    (change,) = found.files
    assert change.name == name
    assert "-KillSignal=SIGTERM\n+KillSignal=SIGQUIT\n" in change.diff
    # The processes are as wanted; the unit file is only put right.
    assert not found.changes_to_make


def test_the_unit_of_a_worker_that_is_gone_is_deleted() -> None:
    found = made(installed=INSTALLED | {"unitq-shop-old@.service": "[Unit]\n"})
    (change,) = found.files
    assert change == FileChange("unitq-shop-old@.service", "[Unit]\n", None)
    assert found.pending


@pytest.mark.parametrize(
    ("linked", "links"),
    [
        (LINKED - {"unitq-shop-sms@2.service"}, ("unitq-shop-sms@2.service",)),
        (LINKED | {"unitq-shop-sms@9.service"}, ("unitq-shop-sms@9.service",)),
    ],
)
def test_boot_links_that_are_missing_or_too_many_are_a_change(
    linked: frozenset[str], links: tuple[str, ...]
) -> None:
    found = made(linked=linked)
    assert found.links == links
    assert found.pending


def test_a_forgotten_reload_is_a_change() -> None:
    assert made(reload=True).pending


def test_a_new_revision_is_a_change_even_where_no_instance_is_touched() -> None:
    # Only max_unavailable differs, say: the next restart has to know.
    target = CURRENT._replace(number=2)
    found = made(target=target)
    assert found.pending
    assert not found.changes_to_make


def test_a_diff_reads_as_one() -> None:
    assert FileChange("x.service", None, "a\nb\n").diff == (
        "--- /dev/null\n+++ b/x.service\n@@ -0,0 +1,2 @@\n+a\n+b\n"
    )
    assert FileChange("x.service", "a\nb\n", None).diff == (
        "--- a/x.service\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"
    )
    assert FileChange("x.service", "a\n", "a\n").diff == ""


# --- pins: an instance that is not rolled yet keeps the text that it runs by ---------------------

TEMPLATE = names.template("shop", "sms")
OLD_TEXT = INSTALLED[TEMPLATE].replace("SIGQUIT", "SIGTERM")
NEXT = CURRENT._replace(
    number=2,
    workers=tuple(worker._replace(revision="2-cccccc") for worker in CURRENT.workers),
)


def unit_of(name: str) -> str:
    return names.unit("shop", instance(name))


def pins(found: Plan) -> dict[str, tuple[str | None, str | None]]:
    return {change.name: (change.before, change.after) for change in found.pins}


def test_a_text_that_changes_is_kept_for_each_instance_that_runs_by_it() -> None:
    found = made(target=NEXT, installed=INSTALLED | {TEMPLATE: OLD_TEXT})
    assert pins(found) == {unit_of(f"sms@{n}"): (None, PIN + OLD_TEXT) for n in (1, 2, 3)}
    assert done(found) == {
        "sms@1": Change.RESTART,
        "sms@2": Change.RESTART,
        "sms@3": Change.RESTART,
    }


def test_what_does_not_run_needs_no_pin() -> None:
    running = FRESH | {instance("sms@2"): Running(active=False, revision=None)}
    found = made(target=NEXT, installed=INSTALLED | {TEMPLATE: OLD_TEXT}, running=running)
    assert set(pins(found)) == {unit_of("sms@1"), unit_of("sms@3")}


def test_what_is_to_stop_stops_by_its_old_text() -> None:
    running = FRESH | {instance("sms@4"): Running(active=True, revision=CURRENT.id)}
    found = made(target=NEXT, installed=INSTALLED | {TEMPLATE: OLD_TEXT}, running=running)
    assert pins(found)[unit_of("sms@4")] == (None, PIN + OLD_TEXT)


def test_code_that_changes_alone_needs_no_pin() -> None:
    assert not made(target=NEXT).pins


def test_a_pin_that_an_interrupted_rollout_left_stays_until_its_instance_is_rolled() -> None:
    left = {unit_of("sms@3"): PIN + OLD_TEXT}
    found = made(target=NEXT, installed=INSTALLED | left)
    assert not found.pins
    assert not found.files


def test_a_second_change_pins_what_is_not_pinned_yet() -> None:
    left = {unit_of("sms@3"): PIN + "older"}
    found = made(target=NEXT, installed=INSTALLED | {TEMPLATE: OLD_TEXT} | left)
    assert set(pins(found)) == {unit_of("sms@1"), unit_of("sms@2")}


def test_a_pin_of_what_is_kept_goes() -> None:
    left = {unit_of("sms@3"): PIN + INSTALLED[TEMPLATE]}
    found = made(installed=INSTALLED | left)
    assert pins(found) == {unit_of("sms@3"): (PIN + INSTALLED[TEMPLATE], None)}
    assert found.pending
    assert not found.changes_to_make


# --- a stop_timeout that changes -----------------------------------------------------------------


def limited(value: str, signal: str = "SIGQUIT") -> str:
    text = re.sub("(?m)^TimeoutStopSec=.*$", f"TimeoutStopSec={value}", INSTALLED[TEMPLATE])
    return text.replace("KillSignal=SIGQUIT", f"KillSignal={signal}")


@pytest.mark.parametrize(
    ("before", "after", "holds"),
    [
        ("3s", "20s", "20s"),
        ("20s", "3s", "20s"),
        ("90", "1min", "90"),
        ("1h", "infinity", "infinity"),
        ("infinity", "1h", "infinity"),
        ("3s", "3000ms", "3s"),
        ("soon", "20s", "soon"),  # not for us to understand
        ("3s", "0", "0"),  # systemd's other word for infinity
    ],
)
@pytest.mark.parametrize("signal", ["SIGQUIT", "SIGTERM"])
def test_a_longer_limit_holds_for_the_old_process_and_nothing_else_of_the_new_text(
    before: str, after: str, holds: str, signal: str
) -> None:
    units = INSTALLED | {TEMPLATE: limited(after)}
    old = limited(before, signal)
    found = made(target=NEXT, units=units, installed=INSTALLED | {TEMPLATE: old})
    if old == units[TEMPLATE]:
        return
    kept = PIN + limited(holds, signal)
    assert pins(found) == {unit_of(f"sms@{number}"): (None, kept) for number in (1, 2, 3)}


def test_the_pin_of_an_interrupted_rollout_gets_a_longer_limit_too() -> None:
    left = {unit_of("sms@3"): PIN + limited("3s", "SIGTERM")}
    units = INSTALLED | {TEMPLATE: limited("1h")}
    found = made(target=NEXT, units=units, installed=units | left)
    kept = PIN + limited("1h", "SIGTERM")
    assert pins(found) == {unit_of("sms@3"): (left[unit_of("sms@3")], kept)}
    # And never a shorter one: what was promised holds.
    again = made(
        target=NEXT,
        units=INSTALLED | {TEMPLATE: limited("3s")},
        installed=units | {unit_of("sms@3"): kept},
    )
    assert unit_of("sms@3") not in pins(again)


def test_what_drains_keeps_its_limit_in_a_rollback_to_what_it_runs() -> None:
    sms = instance("sms@1")
    running = FRESH | {sms: Running(active=True, revision=CURRENT.id, ending=True)}
    units = INSTALLED | {TEMPLATE: limited("3s")}
    found = made(units=units, installed=INSTALLED | {TEMPLATE: limited("20s")}, running=running)
    assert pins(found) == {unit_of("sms@1"): (None, PIN + limited("20s"))}
    assert done(found) == {"sms@1": Change.RESTART, "sms@2": Change.KEEP, "sms@3": Change.KEEP}


def test_a_plan_says_which_limit_holds() -> None:
    units = INSTALLED | {TEMPLATE: limited("20s")}
    found = made(target=NEXT, units=units, installed=INSTALLED | {TEMPLATE: limited("3s")})
    assert found.limits == (DrainLimit("sms", 3.0, 20.0),)
    assert found.limits[0].seconds == 20.0
    back = made(target=NEXT, units=INSTALLED | {TEMPLATE: limited("3s")}, installed=units)
    assert (back.limits, back.limits[0].seconds) == ((DrainLimit("sms", 20.0, 3.0),), 20.0)
    # Nothing drains, or nothing changes, or an operator's own file stays in force.
    assert not made(units=units, installed=INSTALLED, running={}).limits
    assert not made(target=NEXT, units=units, installed=units).limits
    own = {unit_of(f"sms@{number}"): limited("1h") for number in (1, 2, 3)}
    assert not made(target=NEXT, units=units, installed=INSTALLED | own).limits


def test_an_operators_own_file_for_an_instance_is_left_alone() -> None:
    own = {unit_of("sms@3"): INSTALLED[TEMPLATE] + "Nice=5\n"}
    found = made(installed=INSTALLED | own)
    assert not found.pending
