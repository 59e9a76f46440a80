"""States, lines and exit codes of `unitq ctl`, held against Supervisor's own code."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import supervisorctl
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.states import RUNNING_STATES, SIGNALLABLE_STATES, STOPPED_STATES, ProcessStates

from tests.harness.build import app, rendered
from unitq.cli.ctl.main import _ACTIONS
from unitq.model.names import InstanceName
from unitq.revisions.model import Origin, Revision, successor
from unitq.rollout.plan import Plan, Running, plan
from unitq.supervisor.ctl.format import (
    DONE,
    PRIORITY,
    Code,
    Facts,
    GroupChange,
    State,
    available,
    changes,
    description,
    error,
    reread_lines,
    state_of,
    status_lines,
)
from unitq.supervisor.ctl.help import INSTEAD, USAGE


class Controller:
    """What supervisorctl's plug-in writes to."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def output(self, line: str) -> None:
        self.lines.append(line)


def theirs() -> tuple[Controller, Any]:
    controller = Controller()
    return controller, supervisorctl.DefaultControllerPlugin(controller)


NAMES = st.text("abcz-_0:", min_size=1, max_size=45)


@given(st.lists(st.tuples(NAMES, st.sampled_from(State), st.text(max_size=20)), max_size=5))
def test_status_is_in_the_columns_of_supervisorctl(rows: list[tuple[str, State, str]]) -> None:
    controller, plugin = theirs()
    plugin._show_statuses(
        [
            {"group": name, "name": name, "statename": str(state), "description": text}
            for name, state, text in rows
        ]
    )
    assert status_lines(rows) == controller.lines


def test_the_lines_as_they_are() -> None:
    rows = [
        ("mail", State.RUNNING, "pid 53, uptime 0:02:05"),
        ("sms:sms_00", State.STOPPED, "Not started"),
    ]
    assert status_lines(rows) == [
        "mail                             RUNNING   pid 53, uptime 0:02:05",
        "sms:sms_00                       STOPPED   Not started",
    ]
    assert error("sms", "no such process") == "sms: ERROR (no such process)"


@given(st.integers(0, 10**8))
def test_the_uptime_is_supervisors(seconds: int) -> None:
    now = 1_700_000_000
    interface = SupervisorNamespaceRPCInterface(SimpleNamespace())
    told = interface._interpretProcessInfo(
        {"state": ProcessStates.RUNNING, "start": now - seconds, "now": now, "pid": 7, "name": "x"}
    )
    facts = Facts(active="active", sub="running", pid=7, age=seconds + 0.7)
    assert description(facts, State.RUNNING) == told


@given(st.integers(1, 4_000_000_000), st.sampled_from([State.STOPPED, State.EXITED]))
def test_the_date_of_the_end_is_supervisors(ended: int, state: State) -> None:
    interface = SupervisorNamespaceRPCInterface(SimpleNamespace())
    code = getattr(ProcessStates, state)
    told = interface._interpretProcessInfo({"state": code, "start": 1, "stop": ended, "name": "x"})
    assert description(Facts(ended=float(ended)), state) == told


def test_the_date_is_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert description(Facts(ended=1_700_000_000.9), State.STOPPED) == "Nov 15 07:13 AM"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_nothing_was_started_yet() -> None:
    interface = SupervisorNamespaceRPCInterface(SimpleNamespace())
    told = interface._interpretProcessInfo({"state": 0, "start": 0, "stop": 0, "name": "x"})
    assert description(Facts(), State.STOPPED) == told == "Not started"


@pytest.mark.parametrize("state", State)
def test_what_a_state_means_is_supervisors(state: State) -> None:
    code = getattr(ProcessStates, state)
    assert state.stopped == (code in STOPPED_STATES)
    assert state.started == (code in RUNNING_STATES)
    assert state.signallable == (code in SIGNALLABLE_STATES)


def test_every_state_of_supervisor_is_known() -> None:
    known = {name for name in vars(ProcessStates) if name.isupper()}
    assert {str(state) for state in State} == known


def test_the_exit_codes_are_supervisors() -> None:
    lsb, of_status = supervisorctl.LSBInitExitStatuses, supervisorctl.LSBStatusExitStatuses
    assert (Code.OK, Code.GENERIC) == (lsb.SUCCESS, lsb.GENERIC)
    assert Code.INVALID_ARGUMENTS == lsb.INVALID_ARGS
    assert Code.UNIMPLEMENTED == lsb.UNIMPLEMENTED_FEATURE
    assert Code.NOT_RUNNING == lsb.NOT_RUNNING
    assert Code.STATUS_NOT_RUNNING == of_status.NOT_RUNNING
    assert Code.STATUS_UNKNOWN == of_status.UNKNOWN


DEAD = Facts(ended=1.0, asked=False)
ONCE = DEAD._replace(restarts=False)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Facts(active="active", sub="running", age=0.9), State.STARTING),
        (Facts(active="active", sub="running", age=1.0), State.RUNNING),
        (Facts(active="active", sub="running"), State.RUNNING),
        (Facts(active="reloading", sub="reload", age=5.0), State.RUNNING),
        (Facts(active="activating", sub="start", age=None), State.STARTING),
        (Facts(active="activating", sub="auto-restart", result="exit-code"), State.BACKOFF),
        (Facts(active="activating", sub="auto-restart-queued"), State.BACKOFF),
        (Facts(active="deactivating", sub="stop-sigterm"), State.STOPPING),
        (Facts(), State.STOPPED),
        (Facts("not-loaded"), State.STOPPED),
        (Facts("not-found"), State.UNKNOWN),
        (Facts("masked"), State.UNKNOWN),
        (Facts("error"), State.UNKNOWN),
        (DEAD._replace(asked=True), State.STOPPED),
        (DEAD, State.EXITED),
        (DEAD._replace(asked=None), State.STOPPED),
        (ONCE._replace(active="failed", result="exit-code", code=1), State.EXITED),
        (ONCE._replace(active="failed", result="signal", code=2, status=9), State.EXITED),
        (ONCE._replace(active="failed", result="signal", asked=None), State.EXITED),
        (ONCE._replace(active="failed", result="exit-code", code=1, status=203), State.FATAL),
        # systemd gave up on it: Restart=always, and it is down though nobody said so.
        (DEAD._replace(active="failed", result="exit-code", code=1, status=3), State.FATAL),
        # Killed at stop_timeout, or ended badly when it was told to end: it was stopped.
        (DEAD._replace(active="failed", result="timeout", asked=True), State.STOPPED),
        (DEAD._replace(active="failed", result="start-limit-hit"), State.FATAL),
        (Facts(active="failed", result="start-limit-hit"), State.FATAL),
    ],
)
def test_systemds_states_in_supervisors_words(facts: Facts, state: State) -> None:
    assert state_of(facts, 1.0) is state


def test_why_it_does_not_run_is_said() -> None:
    crashed = Facts(active="activating", sub="auto-restart", result="exit-code", code=1, status=3)
    assert description(crashed, State.BACKOFF) == "exited with status 3"
    given_up = Facts(active="failed", result="start-limit-hit", code=1, status=3)
    assert "start-limit-hit" in description(given_up, State.FATAL)
    assert description(Facts(active="deactivating"), State.STOPPING) == ""
    assert description(Facts(active="activating"), State.STARTING) == ""


def test_a_line_of_avail_is_supervisors() -> None:
    _, plugin = theirs()
    for name in ("sms:sms_00", "m" * 40):
        for used in (True, False):
            told = plugin._formatConfigInfo(
                {
                    "group": name, "name": name, "inuse": used, "autostart": True,
                    "group_prio": PRIORITY, "process_prio": PRIORITY,
                }
            )  # fmt: skip
            assert available(name, used=used) == told


@given(st.dictionaries(NAMES, st.sampled_from(GroupChange), max_size=6))
def test_reread_prints_what_supervisorctl_would(found: dict[str, GroupChange]) -> None:
    controller, plugin = theirs()
    kinds = (GroupChange.ADDED, GroupChange.CHANGED, GroupChange.REMOVED)
    plugin._formatChanges([[n for n, c in found.items() if c is kind] for kind in kinds])
    assert reread_lines(found.items()) == controller.lines


# --- what a deploy would do -----------------------------------------------------------------------


ORIGIN = Origin(1.0, "alice", "/etc/unitq/shop.toml")


def made(text: str, before: Revision | None = None) -> Revision:
    found = app(text)
    return successor(before, rendered(found), found.rollout, ORIGIN)


def planned(before: Revision | None, after: Revision, *, stopped: tuple[str, ...] = ()) -> Plan:
    running = (
        {
            name: Running(active=str(name) not in stopped, revision=before.goal(name))
            for name in before.instances
        }
        if before
        else {}
    )
    units = dict.fromkeys(after.units, "")
    return plan(
        before, after, units=units, installed=units, running=running, linked=after.links,
        reload=False,
    )  # fmt: skip


SMS = '[workers.sms]\ncommand = "/bin/sms"\ninstances = 2\n'
MAIL = '[workers.mail]\ncommand = "/bin/mail"\n'


def test_what_reread_says_of_each_worker() -> None:
    before = made(SMS + MAIL)
    after = made(
        SMS.replace("/bin/sms", "/bin/other") + '[workers.new]\ncommand = "/bin/n"', before
    )
    assert changes(planned(before, after)) == {
        "mail": GroupChange.REMOVED, "new": GroupChange.ADDED, "sms": GroupChange.CHANGED,
    }  # fmt: skip
    assert changes(planned(None, before)) == {"mail": GroupChange.ADDED, "sms": GroupChange.ADDED}


def test_another_count_is_a_change_and_a_stopped_one_is_none() -> None:
    before = made(SMS + MAIL)
    more = made(SMS.replace("2", "3") + MAIL, before)
    assert changes(planned(before, more)) == {"sms": GroupChange.CHANGED}
    same = planned(before, before, stopped=("sms@1",))
    assert same.pending
    assert changes(same) == {}


def test_old_code_is_a_change() -> None:
    before = made(SMS + MAIL)
    found = planned(before, before)
    running = {
        InstanceName("sms", 1): Running(True, "0-abcdef"),
        InstanceName("sms", 2): Running(True, before.goal(InstanceName("sms", 2))),
        InstanceName("mail", 1): Running(True, before.goal(InstanceName("mail", 1))),
    }
    units = dict.fromkeys(before.units, "")
    found = plan(
        before, before, units=units, installed=units, running=running, linked=before.links,
        reload=False,
    )  # fmt: skip
    assert changes(found) == {"sms": GroupChange.CHANGED}


def test_every_change_has_the_word_of_update() -> None:
    assert set(DONE) == set(GroupChange)


# --- help -----------------------------------------------------------------------------------------


def test_every_action_of_supervisorctl_is_answered() -> None:
    real = supervisorctl.DefaultControllerPlugin(Controller())
    actions = {name.removeprefix("do_") for name in dir(real) if name.startswith("do_")}
    assert {*USAGE, *INSTEAD} - {""} == actions


def test_the_page_has_every_action() -> None:
    page = (Path(__file__).parents[4] / "docs" / "leaving-supervisor.md").read_text()
    table = page[page.index("### Every command") :]
    for action in {*USAGE, *INSTEAD} - {""}:
        assert f"`{action}`" in table or f"`{action} " in table, action


def test_an_action_is_answered_in_one_place() -> None:
    # Without a name Supervisor's `pid` is the daemon's.
    assert USAGE.keys() & INSTEAD.keys() == {"pid"}
    assert _ACTIONS.keys() == USAGE.keys()
    for module, _, name in (where.partition(":") for where in _ACTIONS.values()):
        assert callable(getattr(import_module(f"unitq.cli.ctl.{module}"), name))
