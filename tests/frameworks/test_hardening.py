"""Each framework under both words of `hardening`: jobs done, none lost in a rolling restart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.frameworks import runs
from tests.frameworks.page import WORDS
from tests.frameworks.table import FRAMEWORKS, Framework, Promise, Way
from tests.frameworks.test_proof import _said
from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from tests.frameworks.conftest import Proof

pytestmark = pytest.mark.frameworks

INSTANCES = 2
JOBS = 40
SHORT = 0.3  # seconds
LONG = 8.0  # seconds: the jobs at work when an instance is told to stop


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)
def test_jobs_are_done_under_hardening(
    framework: Framework,
    word: str,
    prove: Callable[..., Proof],
    seen: MutableMapping[tuple[str, str, str], str],
) -> None:
    proof = prove(framework, grace=int(LONG) + 4)
    seen[framework.name, "hardened", word] = "**failed**"
    settings: dict[str, Any] = {"hardening": word, "instances": INSTANCES}
    if word == "strict":
        settings["writable"] = [str(proof.site.out)]
    (worker,) = proof.deploy((Way.DIRECT,), **settings)
    for pid in proof.site.pids().values():
        # The kernel's own word: seccomp filters are on, and rights cannot be gained.
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert int(status["CapBnd"], 16) == 0
    proof.wait_at_work(worker, INSTANCES)
    proof.enqueue(INSTANCES, LONG)
    long = set(worker.jobs[-INSTANCES:])
    wait_until(lambda: long & {run.job for run in worker.runs()}, 60, "a long job begun")
    proof.enqueue(JOBS, SHORT)
    report = proof.roll("restart")
    assert (report["result"], report["failed"]) == ("ok", []), report
    assert report["killed"] == [] or framework.idle_hangs, report
    proof.wait_done(worker)
    parked = worker.parked()
    count = runs.count(set(worker.jobs) - parked, worker.runs())
    assert proof.interrupted(worker), "nothing was in hand: this proves nothing"
    assert count.once or (framework.promise is Promise.AGAIN and count.done_once), count
    assert proof.site.unitq("status").code == 0
    seen[framework.name, "hardened", word] = _said(count)
