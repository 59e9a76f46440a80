"""What the tests of reboots have done inside of the sandbox: `python -m tests.reboot.inside`.

    SCOPE make                 an app with releases 1 and 2, on release 1
    SCOPE change TABLE         release 2, and these keys (JSON) for the worker
    SCOPE redis PORT           a Redis as a service, and four workers that each have a job from it
    SCOPE add TEXT             appends to unitq.toml
    SCOPE told PORT            prints JSON: what that Redis was told of jobs
    SCOPE unitq ARGUMENTS…     runs unitq as the scope's user, in place of this process
    SCOPE facts                prints JSON: each instance as systemd, the kernel and the disk see it
    SCOPE wait NAME STATE      waits until the instance is up, old, draining or new
    SCOPE hold WHAT…           N: instance N does not finish its drain; proof-N: its probe does not
                               agree; nothing: all of them are let go

It goes by the `Site` of the other tests, which a test out there cannot use: all that a site asks
for is asked on the machine that it is on, and that one goes away.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import redis

from tests.harness import leftovers
from tests.systemd.conftest import Scope, Site, wait_until

INSTANCES = 4


def main() -> None:
    """Do what the command line says."""
    scope, verb, *arguments = sys.argv[1:]
    site = Site(Scope(scope), "shop", Path("/srv/shop"))
    match verb:
        case "make":
            _make(site)
        case "change":
            site.switch(2)
            _config(site, json.loads(arguments[0]))
            _on_disk()
        case "redis":
            _redis(site, int(arguments[0]))
        case "add":
            site.toml.write_text(f"{site.toml.read_text()}\n{arguments[0]}\n")
            _on_disk()
        case "told":
            print(json.dumps(_told(int(arguments[0]))))
        case "unitq":
            _unitq(site, arguments)
        case "facts":
            print(json.dumps(_facts(site)))
        case "ledger":
            rollouts = site.scope.state_dir / site.app / "rollouts"
            last = max(rollouts.iterdir(), key=lambda path: int(path.name))
            print((last / "ledger.jsonl").read_bytes().rstrip(b"\0").decode())
        case "wait":
            name, state = arguments
            states = ("old", "new") if state == "up" else (state,)
            wait_until(lambda: _state(site, name) in states, what=f"{name} is {state}")
        case "hold":
            site.let_go()
            site.hold(*arguments)
            _on_disk()
        case _:
            sys.exit(f"unknown: {verb}")


def _make(site: Site) -> None:
    site.home.mkdir()
    site.out.mkdir()
    site.out.chmod(0o1777)
    site.release(2)
    site.switch(1)
    _config(site, {})
    _on_disk()


# As distributions have it: after the network, and so beside the workers.
REDIS = """\
[Unit]
After=network.target

[Service]
Type=notify
ExecStart=/usr/bin/redis-server --port {port} --bind 127.0.0.1 --dir /srv/redis --save "" \\
  --appendonly yes --appendfsync always --supervised systemd --daemonize no

[Install]
WantedBy=multi-user.target
"""
JOB_SECONDS = 3


def _redis(site: Site, port: int) -> None:
    Path("/srv/redis").mkdir(exist_ok=True)
    Path("/etc/systemd/system/shop-redis.service").write_text(REDIS.format(port=port))
    site.systemctl("daemon-reload")
    site.systemctl("enable", "--now", "shop-redis.service")
    worker = {"command": site.odd("job", str(port), str(JOB_SECONDS)), "instances": INSTANCES}
    site.config(workers={"sms": worker}, rollout={"min_healthy": "1s"})
    _on_disk()


def _told(port: int) -> dict[str, list[str]]:
    with redis.Redis(port=port, decode_responses=True) as client:
        found = {key: cast("list[str]", client.lrange(key, 0, -1)) for key in ("begun", "done")}
        client.delete(*found)
    return found


def _config(site: Site, table: dict[str, Any]) -> None:
    proof = f"/bin/sh -c 'test ! -e {site.out}/hold-proof-%i'"
    probe = {"command": proof, "successes": 1}
    worker = {"command": site.holding(), "probe": probe, "instances": INSTANCES, **table}
    rollout = {"on_failure": None, "min_healthy": "2s"}
    site.config(workers={"sms": worker}, rollout=rollout)


def _on_disk() -> None:
    """What an operator has written long ago. What unitq writes is not synced here."""
    os.sync()


def _unitq(site: Site, arguments: list[str]) -> None:
    os.chdir(site.home)
    user = ["--user"] if site.scope.user else []
    argv = [*site.scope.prefix, sys.executable, "-m", "unitq", *user, *arguments]
    os.execvpe(argv[0], argv, site.scope.environment)


def _state(site: Site, name: str) -> str:
    told = site.show("sms").get(name, {"ActiveState": "inactive"})
    if told["ActiveState"] != "active":
        return "draining" if told["ActiveState"] == "deactivating" else told["ActiveState"]
    with suppress(FileNotFoundError):  # it has ended in between
        return "new" if _release(int(told["MainPID"])) == "2" else "old"
    return "gone"


def _release(pid: int) -> str:
    return os.path.basename(os.readlink(f"/proc/{pid}/cwd"))


def _facts(site: Site) -> dict[str, Any]:
    by_pid = {process.pid: process for process in leftovers.every()}
    instances: dict[str, dict[str, Any]] = {}
    for name, told in site.show("sms").items():
        pid = int(told["MainPID"])
        if told["ActiveState"] != "active" or pid not in by_pid:
            instances[name] = {"state": told["ActiveState"]}
            continue
        text = site.systemctl("show", "--property=Nice,TimeoutStopUSec", told["Id"]).stdout
        properties = dict(line.split("=") for line in text.splitlines())
        instances[name] = {
            "state": told["ActiveState"],
            "pid": pid,
            "revision": by_pid[pid].revision,
            "release": _release(pid),
            # Of the process, and of the text that systemd goes by.
            "nice": [os.getpriority(os.PRIO_PROCESS, pid), int(properties["Nice"])],
            "stop_timeout": properties["TimeoutStopUSec"],
        }
    files = site.scope.unit_dir.glob(f"unitq-{site.app}-*@*.service")
    return {
        "instances": instances,
        "pinned": sorted(path.name for path in files if not path.name.endswith("@.service")),
        "current": os.path.basename(os.readlink(site.scope.state_dir / site.app / "current")),
        "outside": len(site.outside()),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }


if __name__ == "__main__":
    main()
