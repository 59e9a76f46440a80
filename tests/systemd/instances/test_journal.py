"""What workers print: in a journal of their own, and without a limit that leaves lines out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import PRESETS
from tests.systemd.conftest import wait_until
from unitq.queues.log_lines import JobLog, follow, in_flight_jobs
from unitq.systemd import journal

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

PRINTS = PRESETS["huey"].prints

pytestmark = pytest.mark.systemd

_BURST = """import time
for number in range({burst}):
    print(f"Executing a.b: {{number}}", flush=True)
time.sleep({pause})
print("after the gap", flush=True)
time.sleep(600)
"""


def _printing(site: Site, *, burst: int = 1, pause: float = 0) -> str:
    path = site.home / "printing.py"
    path.write_text(_BURST.format(burst=burst, pause=pause))
    path.chmod(0o644)
    return f"{sys.executable} -IS {path}"


def test_a_journal_namespace_is_read(system_site: Site) -> None:
    site = system_site
    space = f"ns{site.app.replace('-', '')}"
    worker = {
        "command": _printing(site), "instances": 1, "service": {"LogNamespace": space},
        "stop_signal": "SIGTERM",
    }  # fmt: skip
    site.config(workers={"w": worker})
    site.deploy()
    wait_until(lambda: "after the gap" in site.unitq("logs").stdout, 20, "lines in `logs`")
    result = site.unitq("logs")
    assert f"-- w: journal namespace {space} (LogNamespace=) --" in result.stderr
    assert "Started" in result.stdout  # systemd's own words are in the default journal
    # What fails says why by its last lines, which are there too.
    worker["command"] = f"{sys.executable} -IS -c \"print('broken on purpose'); exit(3)\""
    site.config(workers={"w": worker})
    result = site.unitq("deploy")
    assert result.code == 7, result
    assert "broken on purpose" in result.output
    site.systemctl("stop", f"systemd-journald@{space}.service", check=False)
    site.systemctl("stop", f"systemd-journald@{space}.socket", check=False)


def test_no_line_is_left_out_and_nobody_is_restarted_for_that(system_site: Site) -> None:
    """A file of before has no such line: the next deploy adds it and touches no process."""
    site = system_site
    templates = Path("/etc/unitq/units")
    templates.mkdir(parents=True)
    own = templates / "worker@.service.j2"
    ours = Path(__file__).resolve().parents[3] / "units" / own.name
    before = "".join(
        line for line in ours.read_text().splitlines(keepends=True)
        if "LogRateLimit" not in line
    )  # fmt: skip
    own.write_text(before)
    try:
        site.config(workers={"w": {"command": _printing(site, burst=15_000), "instances": 1,
                                   "stop_signal": "SIGTERM"}})  # fmt: skip
        site.deploy()
    finally:
        own.unlink()
        templates.rmdir()
    unit = Path(site.scope.unit_dir, f"unitq-{site.app}-w@.service")
    assert "LogRateLimitIntervalSec" not in unit.read_text()
    pids = site.pids("w")
    done = site.deploy()
    assert "\nLogRateLimitIntervalSec=0\n" in unit.read_text()
    assert site.pids("w") == pids, done
    assert site.unitq("plan").code == 0
    # And a new start prints more than journald lets through by default.
    assert site.unitq("restart").code == 0
    invocation = site.show("w")["w@1"]["InvocationID"]

    def lines() -> int:
        found = journal.output_by_invocation([invocation], None, 20_000, ended=True, user=False)
        return len(found[invocation])

    wait_until(lambda: lines() >= 15_001, 30, "all lines in the journal")


def test_where_lines_were_left_out_jobs_are_possible_only(system_site: Site) -> None:
    site = system_site
    limits = {"LogRateLimitIntervalSec": "1s", "LogRateLimitBurst": "2"}
    site.config(workers={"w": {
        "command": _printing(site, burst=2000, pause=2.5), "instances": 1, "service": limits,
        "stop_signal": "SIGTERM",
    }})  # fmt: skip
    site.deploy()
    invocation = site.show("w")["w@1"]["InvocationID"]

    def said() -> JobLog:
        found = journal.output_by_invocation([invocation], None, 20_000, ended=True, user=False)
        return follow(JobLog(), PRINTS, found[invocation], "")

    wait_until(lambda: said().gaps, 30, "journald says that it has left out lines")
    found = in_flight_jobs(said(), PRINTS, None)
    assert found.jobs is None
    assert 0 < len(found.possible) < 2000


def test_who_waits_for_ready_is_told_so(system_site: Site) -> None:
    site = system_site
    site.config(
        workers={"w": {"command": site.odd("steady"), "instances": 1,
                       "service": {"Type": "notify"}}},
        rollout={"start_timeout": "2s"},
    )  # fmt: skip
    begun = time.monotonic()
    result = site.unitq("deploy")
    assert result.code == 7, result
    assert "still not started after 2s: Type=notify, and the worker has not sent READY=1" in (
        result.output
    )
    assert time.monotonic() - begun < 60
