"""A process that the kernel killed for want of memory is said to be that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.build import instance
from tests.harness.world import pace
from unitq.cli.status import text
from unitq.instances.status import InstanceStatus
from unitq.linux import proc
from unitq.rollout.engine.instance import InstanceState, Phase
from unitq.rollout.engine.rollout import Rollout
from unitq.rollout.plan import Change, PlannedChange
from unitq.rollout.reports.out_of_memory import WORDS, killed_pids, record_causes, suspects
from unitq.status.app_status import Status, StatusList, WorkerStatus
from unitq.systemd import journal
from unitq.systemd.exit_status import End, Ending

if TYPE_CHECKING:
    from pathlib import Path


ONE, TWO, THREE = (instance(f"sms@{number}") for number in (1, 2, 3))
SIGKILL = Ending(End.KILLED, "died of SIGKILL")


def rollout() -> Rollout:
    changes = [PlannedChange(name, Change.RESTART, "") for name in (ONE, TWO, THREE)]
    states = [
        InstanceState(changes[0], Phase.HEALTHY, before="a", pid_before=11, ending=SIGKILL),
        InstanceState(
            changes[1],
            Phase.FAILED,
            before="b",
            invocation="n",
            ending=Ending(End.DRAINED),
            reason="it ended soon after its start: died of SIGKILL",
        ),
        InstanceState(
            changes[2],
            Phase.HEALTHY,
            before="c",
            ending=Ending(End.KILLED, "SIGKILL at stop_timeout"),
        ),
    ]
    return Rollout(states, pace())


def test_only_what_died_of_an_unexplained_sigkill_is_asked_about() -> None:
    assert [state.instance for state in suspects(rollout())] == [ONE, TWO]


def test_the_cause_is_in_the_report() -> None:
    found = rollout()
    record_causes(found, {ONE, THREE}, {TWO})
    assert found.instances[ONE].ending == Ending(End.KILLED, WORDS)
    assert found.instances[TWO].reason == f"it ended soon after its start: {WORDS}"
    assert found.instances[TWO].ending == Ending(End.DRAINED)
    assert found.instances[THREE].ending == Ending(End.KILLED, "SIGKILL at stop_timeout")
    same = rollout()
    record_causes(same, (), ())
    assert same.instances == rollout().instances


def test_the_kernel_names_whom_it_killed() -> None:
    log = [
        "Out of memory: Killed process 4711 (php) total-vm:1kB, anon-rss:2kB",
        "Memory cgroup out of memory: Killed process 12 (python3) total-vm:1kB",
        "oom-kill:constraint=CONSTRAINT_MEMCG,task=php,pid=99,uid=33",
        "php[7]: Out of memory in line 3",
    ]
    assert killed_pids(log) == {4711, 12}


def test_the_journal_is_asked_for_the_managers_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def journalctl(arguments: list[str], *, user: bool) -> str:
        asked.append(arguments)
        return '{"INVOCATION_ID": "a"}\n{"INVOCATION_ID": "b"}\n'

    monkeypatch.setattr(journal, "_journalctl", journalctl)
    assert journal.out_of_memory(["a", "b", "c"], user=False) == {"a", "b"}
    assert {"_PID=1", "INVOCATION_ID=c"} <= set(asked[0])
    assert journal.out_of_memory([], user=False) == frozenset()
    assert len(asked) == 1


def test_a_cgroup_counts_its_own(tmp_path: Path) -> None:
    assert proc.cgroup_oom_kills(str(tmp_path)) is None
    (tmp_path / "memory.events").write_text("low 0\nhigh 7\nmax 3\noom 1\noom_kill 2\n")
    assert proc.cgroup_oom_kills(str(tmp_path)) == 2
    (tmp_path / "memory.events").write_text("low 0\n")
    assert proc.cgroup_oom_kills(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("counts", "words"),
    [({"sms": 2}, "2 processes killed: out of memory"), ({"sms": 0}, ""), ({}, "")],
)
def test_status_says_so(counts: dict[str, int], words: str) -> None:
    from tests.harness.build import app, revision
    from unitq.instances import observe

    made = revision(app())
    row = InstanceStatus(observe.Instance(ONE, "unitq-shop-sms@1.service"), None, None)
    worker = WorkerStatus("sms", made.worker("sms"), (row,), counts.get("sms"))
    statuses = StatusList((Status(made, (worker,), (row,), None, None),))
    line = text.lines(statuses)[-1]
    assert ("out of memory" in line) is bool(words)
    assert words in line
    document = statuses.to_json()
    assert document["apps"][0]["workers"][0]["oom_kills"] == counts.get("sms")
