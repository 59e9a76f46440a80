"""Presets on a real systemd: units that it takes, workers that are told in their own way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import PRESETS, SYSTEM
from tests.harness.load import Load
from tests.systemd.conftest import wait_until
from tests.unit.test_docs import example_preset
from unitq.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# A worker that notes how it was started and told, and finishes its "job" before it goes.
WORKER = """\
#!/usr/bin/python3 -IS
import json, os, signal, sys, time

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append("SIGTERM"))
signal.signal(signal.SIGUSR1, lambda *_: told.append("SIGUSR1"))
child = os.fork()
out = f"{sys.argv[1]}/{'child' if child == 0 else 'main'}-{os.environ['UNITQ_INSTANCE']}"

def note():
    with open(out + ".new", "w") as file:
        json.dump({"argv": sys.argv[2:], "told": told, "log": os.environ.get("ACME_LOG")}, file)
    os.rename(out + ".new", out)

note()
while not told:
    time.sleep(0.05)
    if child == 0 and os.getppid() == 1:
        break
time.sleep(0.3)
note()
if child:
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
sys.exit(3)
"""


@pytest.fixture
def acme(site: Site) -> Iterator[Path]:
    """The preset of docs/extending.md, where an operator would put it; and its worker."""
    folder = site.scope.home / ".config/unitq" if site.scope.user else SYSTEM.config_dir
    target = f"{folder}/presets/acme.toml"
    site.scope.run("mkdir", "-p", f"{folder}/presets")
    source = site.out / "acme.toml"
    source.write_text(example_preset())
    assert site.scope.run("cp", str(source), target).code == 0
    for release in (1, 2):
        path = site.release(release) / "bin"
        path.mkdir()
        (path / "acme-worker").write_text(WORKER)
        (path / "acme-worker").chmod(0o755)
    yield site.out
    site.scope.run("rm", "-r", f"{folder}/presets")


def noted(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_a_preset_of_an_operators_own_needs_no_python(site: Site, acme: Path) -> None:
    queues = ["sms", "a b", "$HOME", "50%", 'it\'s "x"', "back\\slash", ";"]
    command = f"bin/acme-worker {acme}"
    site.config(
        workers={"w": {"preset": "acme", "command": command, "queues": queues, "instances": 2}}
    )
    site.deploy()
    shown = site.systemctl(
        "show", "--property=KillSignal,KillMode,SuccessExitStatus", site.unit("w", 1)
    ).stdout
    assert "KillMode=mixed" in shown
    assert "KillSignal=10\n" in shown
    assert "3" in shown.partition("SuccessExitStatus=")[2].split("\n")[0].split()
    wait_until(lambda: (acme / "main-1").exists() and (acme / "child-1").exists(), 10, "begun")
    assert noted(acme / "main-1") == {
        "argv": ["--queues", ":".join(queues)], "told": [], "log": "stdout",
    }  # fmt: skip

    site.switch(2)
    result = site.deploy()
    assert "killed" not in result.stdout.replace("0 workers killed", "").replace("0 killed", "")
    # The main process was told in its way, its child was not, and nothing is left of either.
    wait_until(lambda: noted(acme / "main-2")["told"] == [], 10, "the new one notes its start")
    stopped = site.unitq("stop", "w@1")
    assert stopped.code == 0, stopped
    assert noted(acme / "main-1")["told"] == ["SIGUSR1"]
    assert noted(acme / "child-1")["told"] == ["SIGTERM"], "its parent ended it; SIGUSR1 did not"
    revision = json.loads(
        (site.scope.state_dir / site.app / "current" / "revision.json").read_text()
    )
    (worker,) = revision["workers"]
    assert worker["preset"] == "acme"
    assert worker["queues"] == queues
    assert (worker["quiet"], worker["resume"]) == ("SIGUSR2", "SIGCONT")


# One that prints its jobs, and is at the second of them until it is told to stop, or for good.
PRINTS = """\
#!/usr/bin/python3 -uIS
import signal, sys, time

def told(*_):
    if "for-good" not in sys.argv:
        print("finished b2")
        sys.exit(3)

signal.signal(signal.SIGUSR1, told)
print("begins SendMail a1")
print("finished a1")
print("begins SendSms b2")
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("ends", [True, False])
def test_jobs_that_only_its_lines_tell_of(site: Site, acme: Path, ends: bool) -> None:
    """No Redis is named here at all."""
    (site.release(1) / "bin" / "acme-worker").write_text(PRINTS)
    command = f"bin/acme-worker --verbose{' for-good' * (not ends)}"
    worker = {"preset": "acme", "command": command, "instances": 1, "stop_timeout": "2s"}
    site.config(workers={"w": worker})
    site.deploy()
    shown = site.unitq("status", "-v")
    assert "SendSms b2 for" in shown.stdout, shown
    assert shown.stderr == ""
    (app,) = site.unitq("status", "-v", "--json").json["apps"]
    ((instance,),) = (each["instances"] for each in app["workers"])
    assert [job["id"] for job in instance["jobs"]] == ["b2"]

    result = site.unitq("restart")
    assert "draining" in result.stdout, result
    assert ": SendSms b2 for " in result.stdout, result
    assert ("w@1 was killed" in result.stderr) is (not ends), result
    # Reports of restarts are not kept: it stands among the worker's own lines, too.
    wait_until(lambda: "begins SendSms b2" in site.unitq("logs", "w").stdout)
    logs = site.unitq("logs", "w").stdout
    assert ("]: w@1 was killed after " in logs) is (not ends), logs
    assert ("]: lost with w@1: SendSms b2, begun" in logs) is (not ends), logs
    # Its status 3 is what the preset calls a success.
    assert "did not drain" not in result.stderr
    assert ("lost with w@1: SendSms b2, begun" in result.stderr) is (not ends), result
    report = site.unitq("restart", "--json").json
    (row,) = report["instances"]
    assert [job["id"] for job in row["jobs"]] == ["b2"] * (not ends)
    assert row["possible_jobs"] in (None, [])


def test_a_bad_preset_of_an_operators_own_is_told_and_nothing_is_changed(
    site: Site, acme: Path
) -> None:
    folder = site.scope.home / ".config/unitq" if site.scope.user else SYSTEM.config_dir
    (acme / "bad.toml").write_text('title = 5\n[stop]\nsignal = "SIGKILL"\n')
    site.scope.run("cp", str(acme / "bad.toml"), f"{folder}/presets/bad.toml")
    site.config(workers={"w": {"command": site.odd("steady"), "preset": "bad"}})
    for command in ("deploy", "check", "plan", "render"):
        result = site.unitq(command)
        assert result.code == Exit.USAGE, result
        assert "bad.toml: 2 mistakes" in result.stderr
        assert "stop.signal: SIGKILL cannot be caught" in result.stderr
    assert site.files() == []
    # The others are there, and whoever names none of it is told and not kept from anything.
    listed = site.unitq("presets")
    assert listed.code == Exit.USAGE
    assert "\nacme " in listed.stdout
    assert "bad.toml: 2 mistakes: " in listed.stderr
    site.config(workers={"w": {"command": site.odd("steady")}})
    assert "bad.toml: 2 mistakes: " in site.unitq("check").output
    site.deploy()
    assert site.unitq("status", "-v").code == Exit.OK
    # Nor is what has been installed with it before it was broken.
    site.config(workers={"w": {"command": f"bin/acme-worker {acme}", "preset": "acme"}})
    site.switch(1)
    site.deploy()
    site.scope.run("cp", str(acme / "bad.toml"), f"{folder}/presets/acme.toml")
    shown = site.unitq("status", "-v")
    assert shown.code == Exit.OK
    assert "acme.toml: 2 mistakes: " in shown.stderr
    for command in ("restart", "stop"):
        result = site.unitq(command)
        assert result.code == Exit.OK, result
        assert "acme.toml: 2 mistakes" in result.stderr


def test_a_framework_without_its_preset_is_refused_and_nothing_is_changed(site: Site) -> None:
    release = site.release(1)
    (release / "worker.php").write_text(
        "<?php if (false) { $w = new Resque_Worker(['a']); } while (true) { sleep(1); }"
    )
    site.switch(1)
    for command in ("/usr/bin/php worker.php", "/bin/bash -c 'php worker.php; true'"):
        table = {"command": command, "stop_signal": "SIGTERM"}
        site.config(workers={"sms": table})
        for verb, code in (("deploy", 13), ("plan", 13), ("check", 3)):
            result = site.unitq(verb)
            assert result.code == code, result
            assert 'add preset = "php-resque"' in result.output
            assert "worker.php says so" in result.output
        assert site.files() == []
    site.config(workers={"sms": table | {"preset": "none"}})
    site.deploy()
    assert site.active("sms") == 2
    shown = site.systemctl("show", "--property=KillSignal,KillMode", site.unit("sms", 1)).stdout
    assert "KillMode=control-group" in shown
    assert "KillSignal=15" in shown


@pytest.mark.variants
@pytest.mark.parametrize("through", ["itself", "exec", "bash"])
def test_queues_reach_a_php_worker_and_no_job_is_lost(
    system_site: Site, redis: RedisServer, through: str
) -> None:
    site = system_site
    command = {
        "itself": site.php(),
        "exec": f"/bin/bash -c 'exec {site.php()}'",
        "bash": f"/bin/bash -c '{site.php()}; exit $?'",
    }[through]
    variables = {"REDIS_BACKEND": redis.address, "INTERVAL": "0.05"}
    table = {"preset": "php-resque", "command": command, "queues": ["sms", "mail"]}
    site.config(environment=variables, workers={"sms": table})
    site.deploy()
    shown = site.systemctl(
        "show", "--property=KillMode,KillSignal,TimeoutStopUSec", site.unit("sms", 1)
    ).stdout
    assert f"KillMode={'control-group' if through == 'bash' else 'mixed'}" in shown
    assert "KillSignal=3\n" in shown
    load = Load(redis.client, ("sms", "mail"), rate=20, seconds=(0.05, 0.2))
    with load:
        for _ in range(3):
            result = site.unitq("restart")
            assert result.code == 0, result
    count = load.wait_drained(30)
    assert {job.queue for job in count.jobs} == {"sms", "mail"}
    assert count.finished == count.enqueued > 0, count
    assert (count.lost, count.twice, count.failed) == ((), (), ()), count


@pytest.mark.parametrize("through", ["", "exec "])
def test_no_watchdog_waits_for_a_worker_below_a_script(system_site: Site, through: str) -> None:
    """systemd tells its main process alone of the watchdog: one below never answers."""
    site = system_site
    folder = site.release(1) / "bin"
    folder.mkdir()
    (folder / "sidekiq").write_text(
        "#!/usr/bin/python3 -IS\nimport os, socket, time\n"
        "notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        'notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])\n'
        'while os.environ.get("WATCHDOG_PID") == str(os.getpid()):\n'
        '    notify.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])\n'
        "    time.sleep(0.2)\n"
        "time.sleep(600)\n"
    )
    (folder / "w").write_text(f"#!/bin/bash\ncd .\n{through}bin/sidekiq\nexit 0\n")
    for path in folder.iterdir():
        path.chmod(0o755)
    site.switch(1)
    table = {"preset": "sidekiq", "command": "bin/w", "instances": 1}
    site.config(workers={"w": table})
    assert site.unitq("deploy").code == (0 if through else 13)
    site.config(workers={"w": table | {"kill_mode": "control-group"}})
    site.deploy()
    shown = site.systemctl("show", "--property=WatchdogUSec,Type", site.unit("w", 1)).stdout
    assert "Type=notify" in shown
    assert f"WatchdogUSec={'10s' if through else '0'}\n" in shown
    assert ("WatchdogSec=" in site.unitq("render").stdout) is bool(through)
    assert site.unitq("plan").code == 0, "it is as it should be"


def test_systemd_takes_the_unit_of_every_preset(site: Site) -> None:
    workers: dict[str, dict[str, object]] = {
        name: {
            "preset": name,
            "command": preset.command or "/bin/true",
            "instances": 1,
            # Of RQ several are warned of.
            "queues": ["a b", "$x%"] if name != "rq" else ["$x% b"],
            "stop_timeout": str(preset.stop.timeout),
        }
        for name, preset in PRESETS.items()
    }
    # One that it does not take, so that silence means something.
    workers["wrong"] = {
        "command": "/bin/true",
        "stop_timeout": "1min",
        "service": {"CPUWeight": "soon"},
    }
    site.config(workers=workers)
    found = site.unitq("check", "--json")
    assert found.code == Exit.NOT_AS_WANTED, found
    said = [
        finding["place"]
        for finding in found.json["findings"]
        if finding["message"].startswith(("systemd says", "systemd-analyze"))
    ]
    assert [place.partition(",")[0] for place in said] == [f"unitq-{site.app}-wrong@.service"]
    # And nothing is to be said of their settings, which are the presets' own.
    about = {
        finding["place"]
        for finding in found.json["findings"]
        if not finding["message"].startswith(
            ("there is no program", "there is no file", "systemd says")
        )
        and finding["place"].rpartition(".")[2] != "hardening"  # how exposed it is, is said of each
        and finding["place"] not in ("stop_timeout", "after")  # of the machine around them
    }
    assert about == set()
