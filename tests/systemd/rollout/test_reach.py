"""After a start: which process takes the jobs, and whether a stop reaches it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.systemd.instances.test_serving import script

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# What no look at the command line finds: the program that systemd starts becomes something else.
BECOMES = """\
import os
command = {command!r}
os.execv(command[0], command)
"""
MIXED = {"kill_mode": "mixed", "stop_signal": "SIGTERM"}


def becomes(site: Site, *command: str) -> str:
    return script(site, BECOMES.format(command=list(command)))


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash"])
def test_a_worker_below_a_shell_that_does_not_pass_the_signal_on(site: Site, shell: str) -> None:
    site.excuse("killed", "processes")
    command = becomes(site, shell, "-c", f"{site.odd('steady')}; true")
    sms = {"command": command, "instances": 2, "stop_timeout": "1s", **MIXED}
    site.config(workers={"sms": sms})
    done = site.deploy()
    name = os.path.basename(shell)
    below = rf"its main process is {name}; python\S* below it does not get SIGTERM"
    assert re.search(rf"^warning: sms@1, sms@2: {below}$", done.stderr, re.M), done
    rows = site.unitq("show", "--json").json
    assert rows
    done = site.unitq("restart", "sms@1", "--json")
    (row, kept) = sorted(done.json["instances"], key=lambda row: row["instance"])
    pid = site.pids("sms")["sms@1"]
    assert f"its main process is {name} (PID {pid});" in row["unreached"]
    assert kept["unreached"] is None  # it was told when it was started


@pytest.mark.variants
@pytest.mark.parametrize(
    ("script_of_shell", "settings"),
    [
        ("{worker}; true", {"stop_signal": "SIGTERM"}),  # every process gets it
        ("trap 'kill $!; wait' TERM; {worker} & wait; wait", MIXED),
        ("exec {worker}", MIXED),
        ("{worker}", MIXED),  # bash becomes its only command
    ],
    ids=["control-group", "trap", "exec", "only"],
)
def test_a_worker_that_gets_the_signal_is_no_matter(
    site: Site, script_of_shell: str, settings: dict[str, str]
) -> None:
    text = script_of_shell.format(worker=site.odd("steady"))
    command = becomes(site, "/bin/bash", "-c", text)
    site.config(workers={"sms": {"command": command, "instances": 1, **settings}})
    done = site.deploy()
    assert "main process" not in done.output, done
    done = site.unitq("restart")
    assert (done.code, "killed" in done.stdout) == (0, True), done
    assert "0 killed" in done.stdout
    assert done.stderr == ""


def client(site: Site, name: str) -> str:
    """A program of that name which only waits, as a client does for its daemon."""
    path = site.out / name
    path.write_text("#!/usr/bin/python3 -IS\nimport time\ntime.sleep(1000)\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.variants
@pytest.mark.parametrize("name", ["docker", "ssh", "kubectl"])
@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        ("{client} run shop worker", "its main process is {name}, a client"),
        (
            "/bin/bash -c '{client} run shop worker; exit $?'",
            "its main process is bash, which waits for {name}, a client",
        ),
        ("/bin/bash -c 'exec {client} run shop worker'", "its main process is {name}, a client"),
    ],
    ids=["plain", "shell", "exec"],
)
def test_a_client_of_a_daemon_fails_the_deploy_and_does_not_serve(
    system_site: Site, name: str, wrapped: str, said: str
) -> None:
    site = system_site
    site.excuse("processes", "capacity", "killed")
    words = wrapped.format(client=client(site, name))
    command = script(site, f"import os, shlex\nw = shlex.split({words!r})\nos.execv(w[0], w)\n")
    sms = {"command": command, "instances": 1, "stop_signal": "SIGTERM"}
    site.config(workers={"sms": sms}, rollout={"min_healthy": "500ms"})
    done = site.deploy(code=7)
    expected = f"{said.format(name=name)}, and the worker runs elsewhere"
    assert f"sms@1 failed: the worker left its unit: {expected}" in done.stderr, done
    look = site.unitq("status")
    assert look.code == 3, look
    assert "0 of 1 serving, 1 outside of their units" in look.stdout
    rows = site.unitq("status", "--json").json["apps"][0]["workers"][0]["instances"]
    assert expected in rows[0]["elsewhere"]
