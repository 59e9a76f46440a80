"""The unit of a probe, on its own: what it runs as, and that its end is told as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import TESTER, wait_until

if TYPE_CHECKING:
    from tests.systemd.conftest import Result, Site

pytestmark = pytest.mark.systemd

# Tells all that it is asked for here, and ends as the file beside unitq.toml says.
PROBE = """\
#!/bin/bash
out={out}
{{
  echo "user=$(id -un)"
  echo "directory=$(pwd -P)"
  echo "instance=$UNITQ_INSTANCE"
  echo "argument=$1"
  echo "secret=$SECRET"
  echo "own=$OWN"
  echo "revision=$UNITQ_REVISION"
  echo "stdin=$(readlink /proc/$$/fd/0)"
  echo "cgroup=$(sed -n s/^0:://p /proc/$$/cgroup)"
}} > $out/told.$1
echo "asked of $1"
if [ -e $out/stubborn ]; then trap '' TERM; fi
if [ -e $out/hang ]; then echo hanging; while :; do sleep 1; done; fi
if [ -e $out/fail ]; then exit 7; fi
"""


def deployed(site: Site, **probe: Any) -> Site:
    """An app with two instances of a worker that has a probe."""
    for release in ("1", "2"):
        path = site.release(release) / "bin" / "probe"
        path.parent.mkdir()
        path.write_text(PROBE.format(out=site.out))
        path.chmod(0o755)
    configure(site, **probe)
    site.deploy()
    return site


def configure(site: Site, **probe: Any) -> None:
    worker = {
        "command": site.odd("steady"),
        "environment": {"OWN": "a b %i $x"},
        "probe": {"command": "bin/probe %i", "timeout": "1s", **probe},
    }
    site.config(workers={"sms": worker}, environment={"SECRET": "hunter2"})


def unit(site: Site, number: int = 1) -> str:
    return f"unitq-{site.app}-sms.probe@{number}.service"


def ask(site: Site, number: int = 1) -> Result:
    return site.systemctl("start", unit(site, number), check=False)


def result(site: Site) -> str:
    told = site.systemctl("show", "--property=Result", "--value", unit(site))
    return told.stdout.strip()


def told(site: Site, number: int = 1) -> dict[str, str]:
    lines = (site.out / f"told.{number}").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_it_runs_as_the_instance_does_and_is_no_process_of_it(site: Site) -> None:
    deployed(site)
    before = site.show("sms")
    assert ask(site, 2).code == 0
    found = told(site, 2)
    revision = site.revisions("sms")["sms@2"]
    home = site.scope.state_dir / site.app / "revisions" / revision / "sms"
    cgroup = found.pop("cgroup")
    assert found == {
        "user": TESTER if site.scope.user else "www-data",
        "directory": str(site.home / "releases" / "1"),
        "instance": "2",
        "argument": "2",
        "secret": "hunter2",
        "own": "a b %i $x",
        "revision": revision,
        "stdin": str(home / "stdin"),
    }
    assert cgroup.endswith(f"/{site.cgroup.rpartition('/')[2]}/{unit(site, 2)}")
    assert site.show("sms") == before
    assert "asked of 2" in site.scope.journal(f"--identifier={site.app}-sms@2-probe")
    assert "asked" not in site.scope.journal(f"--identifier={site.app}-sms@2")


def test_it_asks_with_the_release_of_its_instance(system_site: Site) -> None:
    site = deployed(system_site)
    assert ask(site).code == 0
    first = told(site)
    site.switch(2)
    # Not deployed: the instance runs release 1, and so does its probe.
    assert ask(site).code == 0
    assert told(site) == first
    site.deploy()
    assert ask(site).code == 0
    assert told(site)["directory"] == str(site.home / "releases" / "2")
    assert told(site)["revision"] == site.revisions("sms")["sms@1"] != first["revision"]


def test_its_failure_is_the_units_and_not_the_workers(site: Site) -> None:
    deployed(site)
    before = site.pids("sms")
    (site.out / "fail").touch()
    assert ask(site).code != 0
    assert result(site) == "exit-code"
    # As often as it likes: no start limit.
    for _ in range(8):
        assert ask(site).code != 0
    (site.out / "fail").unlink()
    assert ask(site).code == 0
    assert result(site) == "success"
    assert site.pids("sms") == before


@pytest.mark.parametrize("stubborn", [False, True])
def test_one_that_hangs_fails_in_time_and_leaves_nothing(system_site: Site, stubborn: bool) -> None:
    site = deployed(system_site)
    (site.out / "hang").touch()
    if stubborn:
        (site.out / "stubborn").touch()
    done = ask(site)
    assert done.code != 0
    assert 0.9 < done.seconds < (9 if stubborn else 4)
    assert result(site) == "timeout"
    assert not [each for each in site.workers() if "bin/probe" in " ".join(each.command)]
    (site.out / "hang").unlink()
    assert ask(site).code == 0


def test_a_change_of_the_probe_restarts_nothing_and_is_installed(site: Site) -> None:
    deployed(site)
    before = site.pids("sms")
    configure(site, command="bin/probe 5%i", timeout="9s", successes=3)
    assert site.unitq("plan").code == 12
    site.deploy()
    assert site.pids("sms") == before
    assert site.unitq("plan").code == 0
    assert ask(site).code == 0
    assert told(site, 51)["argument"] == "51"
    installed = site.scope.unit_dir / f"unitq-{site.app}-sms.probe@.service"
    kept = site.scope.state_dir / site.app / "current" / "_units" / installed.name
    assert kept.read_text() == installed.read_text()
    # And without one, it goes.
    site.config(
        workers={"sms": {"command": site.odd("steady"), "environment": {"OWN": "a b %i $x"}}},
        environment={"SECRET": "hunter2"},
    )
    site.deploy()
    assert site.pids("sms") == before
    assert not installed.exists()


def test_check_finds_a_probe_that_is_not_there_or_not_systemds(system_site: Site) -> None:
    site = deployed(system_site)
    configure(site, command="bin/nosuch")
    done = site.unitq("check")
    assert done.code == 3
    assert "workers.sms.probe.command: there is no program" in done.output
    configure(site, command="bin/probe 'open")
    done = site.unitq("check")
    assert done.code == 3
    assert "sms.probe@.service" in done.output
    assert site.unitq("deploy").code == 13


def test_on_drain_timeout_wait_kills_nobody(system_site: Site) -> None:
    site = system_site
    site.config(
        workers={"sms": {"command": site.holding(), "instances": 1, "stop_timeout": "1s"}},
        rollout={"on_drain_timeout": "wait"},
    )
    site.deploy()
    site.hold(1)
    (pid,) = site.pids("sms").values()
    restart = site.start("restart")
    wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "deactivating")
    with pytest.raises(AssertionError, match="not within"):
        wait_until(lambda: site.show("sms")["sms@1"]["MainPID"] != str(pid), timeout=2.5)
    site.let_go()
    assert restart.wait().code == 0
    assert "kill" not in restart.wait().stderr.lower()
