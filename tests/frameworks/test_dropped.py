"""A job that RQ takes at the moment of its stop signal: it is not run, and the report names it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.frameworks.table import FRAMEWORKS, Way
from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.frameworks.conftest import Proof

pytestmark = [pytest.mark.frameworks, pytest.mark.quick]


def test_what_rq_takes_and_does_not_begin_is_named(prove: Callable[..., Proof]) -> None:
    (framework,) = (each for each in FRAMEWORKS if each.name == "rq")
    proof = prove(framework)
    (worker,) = proof.deploy([Way.DIRECT])
    worker.enqueue(1, 0.1)
    proof.wait_done(worker)
    result = proof.site.unitq("restart", "--json", timeout=120)
    assert (result.code, result.json["dropped_jobs"]) == (0, []), result

    # Redis gives a job to the worker that waits for one. It is stopped, and finds the signal first.
    wait_until(lambda: _waits_for_a_job(proof), 60, "the worker waits for a job")
    (pid,) = proof.site.pids(worker.name).values()
    os.kill(pid, signal.SIGSTOP)
    (number,) = worker.enqueue(1, 0.1)
    result = proof.site.unitq("restart", "--json", timeout=120)
    (row,) = result.json["instances"]
    assert (result.code, row["ending"], result.json["killed"]) == (0, "drained", []), result
    (job,) = result.json["dropped_jobs"]
    assert (job["queue"], job["id"]) == (worker.name, f"{worker.name}-{number}"), result
    assert result.json["summary"][0].startswith("ok, but jobs may be lost: "), result
    assert not [run for run in worker.runs() if run.job == number], "it was run"

    shown = proof.site.unitq("restart", "--fail-on-kill", timeout=120)
    assert f"perhaps lost: job.work {worker.name}-{number} of queue {worker.name}" in shown.output
    assert shown.code == 14, shown


def _waits_for_a_job(proof: Proof) -> bool:
    return any(each["cmd"] == "blmove" for each in proof.redis.client.client_list())
