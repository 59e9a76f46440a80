"""unitq signal: what can cost jobs is refused, and nobody gets it; all else arrives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import wait_until
from tests.systemd.instances.test_serving import script

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# What Celery has handlers for, of the signals that are of interest here.
CELERY = """\
import signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, lambda *_: sys.exit(0))
signal.signal(signal.SIGUSR1, lambda *_: print("stack trace", flush=True))
while True:
    time.sleep(60)
"""


def journal(site: Site, number: int = 1) -> str:
    return site.scope.journal(f"--{'user-' * site.scope.user}unit={site.unit('sms', number)}")


def test_what_the_preset_says_against_is_refused_unless_forced(site: Site) -> None:
    site.excuse("processes")
    sms = {"preset": "rq", "command": site.odd("steady"), "instances": 2}
    site.config(workers={"sms": sms})
    site.deploy()
    before = site.pids("sms")
    # It has a handler for QUIT: only the preset knows what RQ makes of it.
    refused = site.unitq("signal", "QUIT", "sms")
    assert refused.code == 13, refused
    assert "sms@1, sms@2: RQ, SIGQUIT: dies, and the job stays in progress" in refused.stderr
    assert "--force sends it all the same" in refused.stderr
    # And none for USR2.
    refused = site.unitq("signal", "USR2", "sms@1", "--json")
    assert refused.code == 13, refused
    error = refused.json["error"]
    assert error["exit_code"] == 13
    (problem,) = error["problems"]
    assert "has no handler for SIGUSR2, so it would die at once" in problem
    assert site.unitq("signal", "KILL").code == 13
    assert site.pids("sms") == before
    assert "told to stop" not in journal(site)
    sent = site.unitq("signal", "QUIT", "sms@1", "--force")
    assert (sent.code, sent.stdout) == (0, f"sms@1: QUIT to PID {before['sms@1']}\n")
    wait_until(lambda: "told to stop by SIGQUIT" in journal(site))
    assert site.pids("sms")["sms@2"] == before["sms@2"]


# As RQ does it (rq/worker/base.py, request_stop): the first lets the job finish, the next kills it.
TWICE = """\
import os, signal, time
def stop(*_):
    print("drains", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    end = time.monotonic() + 6
    while time.monotonic() < end:
        time.sleep(0.05)
    print("the job is done", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("forced", [False, True])
def test_a_second_signal_that_kills_the_job_is_refused(site: Site, forced: bool) -> None:
    sms = {"preset": "rq", "command": script(site, TWICE), "instances": 1}
    site.config(workers={"sms": sms})
    site.deploy()
    before = site.pids("sms")
    site.systemctl("stop", "--no-block", site.unit("sms", 1))
    wait_until(lambda: "drains" in journal(site))
    refused = site.unitq("signal", "TERM", "sms")
    assert refused.code == 13, refused
    assert "sms@1: RQ drains, and SIGTERM would be its second signal" in refused.stderr
    if forced:
        assert site.unitq("signal", "TERM", "sms", "--force").code == 0
    process = Path(f"/proc/{before['sms@1']}")
    wait_until(lambda: not process.exists(), 15)
    assert ("the job is done" in journal(site)) is not forced


def test_pausing_by_hand_works(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    site.config(
        environment=site.resque_environment(redis, INTERVAL="0.02"),
        workers={"sms": {"preset": "php-resque", "command": site.php(), "instances": 1}},
    )
    site.deploy()
    before = site.pids("sms")
    wait_until(lambda: redis.client.scard("resque:workers") == 1, 10, "it is up")
    for name in ("USR2", "CONT"):
        sent = site.unitq("signal", name, "sms", "--json")
        assert sent.code == 0, sent
        assert shape(sent.json) == shape(documented("signal"))
        assert sent.json["instances"] == [{"instance": "sms@1", "pids": [before["sms@1"]]}]
    assert site.pids("sms") == before
    assert site.unitq("signal", "TERM", "sms").code == 13


def test_a_stack_trace_may_be_asked_for(site: Site) -> None:
    site.config(workers={"sms": {"preset": "celery", "command": script(site, CELERY)}})
    site.deploy()
    before = site.pids("sms")
    assert site.unitq("signal", "USR1").code == 0
    wait_until(lambda: "stack trace" in journal(site))
    assert site.unitq("signal", "USR2").code == 13
    assert "cold shutdown" in site.unitq("signal", "QUIT").stderr
    assert site.pids("sms") == before


def test_without_a_preset_the_kernel_tells_who_would_die(site: Site) -> None:
    wrapped = f"/bin/bash -c '{site.odd('steady')}; exit $$?'"
    site.config(workers={"sms": {"command": wrapped, "instances": 1}})
    site.deploy()
    before = site.pids("sms")
    refused = site.unitq("signal", "HUP")
    assert refused.code == 13, refused
    assert "sms@1: bash has no handler for SIGHUP" in refused.stderr
    refused = site.unitq("signal", "HUP", "--all-processes")
    assert refused.code == 13, refused
    assert "bash, python" in refused.stderr
    assert site.unitq("signal", "CONT", "--all-processes").code == 0
    assert site.pids("sms") == before
