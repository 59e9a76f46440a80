"""Processes that work for an app outside its units: found, told from what only looks like them,
drained."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.load import Load
from tests.systemd.cli.test_commands import Terminal
from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import REPO, WORKERS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Running, Site

pytestmark = pytest.mark.systemd

HOST = socket.gethostname()
RESQUE = WORKERS / "resque.php"

# As the app's own workers: of no other account a registration says anything.
WORKER = ("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "--")

# In a unit it ends at SIGQUIT; by hand it has no handler.
WAITS = """
import os, signal, sys
if "UNITQ_INSTANCE" in os.environ:
    signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
print("up", flush=True)
while True:
    signal.pause()
"""


class Strays:
    """Processes beside the app's units, as people and Supervisor leave them. Killed at the end."""

    def __init__(self, site: Site, redis: RedisServer) -> None:
        self.site, self.redis = site, redis
        self._started: list[Running] = []
        self._adopted: list[int] = []

    def start(
        self, *argv: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Running:
        """Any command, outside of every unit."""
        environment = self.site.resque_environment(self.redis) | dict(environment or {})
        running = self.site.scope.start(
            *argv, cwd=cwd or self.site.current, environment=environment
        )
        self._started.append(running)
        return running

    def adopted(self, release: int = 1, script: str = str(RESQUE), **environment: str) -> int:
        """A worker whose shell was killed, as Supervisor does it: PID 1 has it now."""
        before = set(self.registered())
        cwd = self.site.home / "releases" / str(release)
        # What follows the worker keeps bash from becoming it.
        shell = self.start("bash", "-c", f"php {script}; true", cwd=cwd, environment=environment)
        wait_until(lambda: set(self.registered()) - before, what="the stray registers")
        (pid,) = set(self.registered()) - before
        self._adopted.append(pid)
        os.kill(shell.pid, signal.SIGKILL)
        shell.wait()
        wait_until(lambda: parent(pid) == 1, what="PID 1 has it")
        return pid

    def registered(self) -> list[int]:
        """The PIDs of all registered workers."""
        return [
            int(str(each).split(":")[1]) for each in self.redis.client.smembers("resque:workers")
        ]

    def end(self) -> None:
        """Kills what is left of them."""
        for pid in self._adopted:
            for each in (*children(pid), pid):
                kill(each)
        for running in self._started:
            for each in children(running.pid):
                kill(each)
            running.end()


def parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def strays(system_site: Site, redis: RedisServer) -> Iterator[Strays]:
    """The app, with two workers of its own, in release 1; and whoever else is started."""
    configured(system_site, redis)
    system_site.deploy()
    found = Strays(system_site, redis)
    wait_until(lambda: len(found.registered()) == 2, what="its own register")
    try:
        yield found
    finally:
        found.end()


def configured(site: Site, redis: RedisServer, *, stop_timeout: str = "20s") -> None:
    site.config(
        environment={"REDIS_BACKEND": redis.address, "INTERVAL": "0.05"},
        redis={"url": redis.url},
        workers={
            "sms": {
                "command": site.php(),
                "preset": "php-resque",
                "queues": ["sms"],
                "stop_timeout": stop_timeout,
            }
        },
    )


def orphans(site: Site, *arguments: str, code: int) -> dict[int, dict[str, Any]]:
    """What `unitq orphans --json` says, by PID."""
    result = site.unitq("orphans", "--json", *arguments)
    assert result.code == code, result
    assert result.json["exit_code"] == code
    assert result.json["notes"] == [], result
    return {each["pid"]: each for each in result.json["orphans"]}


def test_one_whose_shell_was_killed_is_found_with_current_and_with_old_code(
    strays: Strays,
) -> None:
    site = strays.site
    pid = strays.adopted()
    found = orphans(site, code=3)
    assert found.keys() == {pid}
    one = found[pid]
    assert (one["parent"], one["kept_by"], one["worker"]) == (1, "init", "sms")
    assert one["release"] == str(site.home / "releases/1")
    assert (one["current"], one["user"], one["queues"]) == (True, "root", ["sms"])
    # Its title has been written over its command line and its environment.
    assert one["command"].startswith("resque-1.2: ")
    assert one["known_by"] == ["title", "directory", "registered"]

    site.switch(2)
    deploy = site.deploy()
    assert "1 process on old code" in deploy.stdout, deploy
    assert f"1 orphan of {site.app} on old code" in deploy.stderr, deploy
    assert "orphans" in deploy.stderr
    assert site.unitq("status").code == 0
    one = orphans(site, code=15)[pid]
    assert (one["current"], one["release"]) == (False, str(site.home / "releases/1"))
    text = site.unitq("orphans")
    assert text.code == 15, text
    assert f"{site.app}: 1 orphan, 1 on OLD CODE" in text.stdout, text
    assert "kept by: PID 1 adopted it" in text.stdout, text
    again = site.unitq("deploy", "--json")
    assert (again.code, again.json["result"]) == (0, "unchanged"), again
    assert [each["pids"] for each in again.json["orphans"]] == [[pid]]


def test_a_host_full_of_look_alikes_has_none(strays: Strays, make_site: Any) -> None:
    site = strays.site
    copy = site.home / "releases/1/worker.php"
    copy.write_text(RESQUE.read_text())
    (site.home / "releases/1/console").write_text("<?php sleep(600);")
    other = make_site(site.scope)  # another app, with its own directory and queue
    elsewhere = {"QUEUE": "mail", "PROCESS_TITLE": "0"}
    script, directory = str(RESQUE), str(site.current)
    mine = {"UNITQ_APP": site.app, "UNITQ_REVISION": "1-000000"}
    started = [
        strays.start("tail", "-f", f"{directory}/template.php"),
        strays.start("tail", "-f", script),
        strays.start("bash", "-c", f"cd {directory}; read x < <(sleep 600); exit # php {script}"),
        # `php worker.php` stands on their command lines, and is not what they run.
        strays.start("bash", "-c", f"exec -a 'php {script}' sleep 600"),
        strays.start("python3", "-c", "import time; time.sleep(600)", script),
        strays.start("sh", "-c", f"exec grep -r resque /dev/zero {script} 2> /dev/null"),
        strays.start("timeout", "600", "sleep", "600"),
        # An editor: the same interpreter, and the script as an argument of another one.
        strays.start("php", "-r", "sleep(600);", script),
        strays.start("php", f"{site.home}/releases/1/console", "cache:clear", script),
        strays.start("php", "-S", "127.0.0.1:0", "-t", directory),
        # A shell and what it has started, with all of a worker's environment.
        strays.start("bash", "-c", "sleep 600; true", environment=mine),
        # Other apps' workers: their own directory, and a queue of their own in the same Redis.
        strays.start("php", script, cwd=other.current, environment=elsewhere),
        strays.start("php", script, cwd=other.current, environment={"QUEUE": "mail"}),
        # Of another app of unitq's, which says so.
        strays.start(
            "php", script, environment=elsewhere | {"UNITQ_APP": other.app, "QUEUE": "news"}
        ),
    ]
    wait_until(lambda: len(strays.registered()) == 5, what="the other workers register")
    # A registration that somebody else's PID has by now, and one of a shell.
    for each in (started[0], started[2]):
        strays.redis.client.sadd("resque:workers", f"{HOST}:{each.pid}:sms")
    assert orphans(site, code=0) == {}
    assert all(each.running for each in started), [each.output() for each in started]
    text = site.unitq("orphans")
    assert (text.code, "no orphans among" in text.stdout) == (0, True), text
    assert site.unitq("deploy", "--json").json["orphans"] == []


def test_what_keeps_them_is_told(strays: Strays) -> None:
    site = strays.site
    plain = {"PROCESS_TITLE": "0"}
    by_hand = strays.start("php", str(RESQUE), environment=plain)
    unit = f"handmade-{site.app}.service"
    settings = [f"--setenv={k}={v}" for k, v in site.resque_environment(strays.redis).items()]
    site.scope.run(
        "systemd-run", f"--unit={unit}", f"--working-directory={site.current}", *settings,
        *site.php().split(),
    )  # fmt: skip
    try:
        wait_until(lambda: len(strays.registered()) == 4, what="they register")
        main = int(site.systemctl("show", "--property=MainPID", "--value", unit).stdout)
        found = orphans(site, code=3)
        assert found.keys() == {by_hand.pid, main}
        assert (found[main]["kept_by"], found[main]["unit"]) == ("unit", unit)
        assert unit in found[main]["keeper"]
        assert found[by_hand.pid]["kept_by"] in ("process", "session", "unit")
        assert found[by_hand.pid]["parent"] == os.getpid()
        assert found[by_hand.pid]["known_by"][0] == "program"
    finally:
        site.systemctl("stop", unit)


def test_it_is_found_where_redis_is_down_or_not_configured(strays: Strays) -> None:
    site = strays.site
    pid = strays.adopted()
    text = site.toml.read_text()
    site.write(text.replace(strays.redis.url, "redis://:s3cret@127.0.0.1:1/0"))
    down = site.unitq("orphans", "--json")
    assert down.code == 3, down
    assert [each["pid"] for each in down.json["orphans"]] == [pid]
    assert down.json["orphans"][0]["queues"] is None
    assert len(down.json["notes"]) == 1, down
    assert "s3cret" not in down.output
    site.write(text.replace(f'url = "{strays.redis.url}"', ""))
    assert orphans(site, code=3).keys() == {pid}


def test_a_registration_leads_to_one_that_nothing_else_gives_away(strays: Strays) -> None:
    """An older copy of the app, in another directory, takes jobs from the app's queue."""
    site = strays.site
    old = site.out / "old"
    old.mkdir()
    (old / "template.php").write_text('<?php return "old";')
    copy = old / "resque.php"
    copy.write_text(RESQUE.read_text())
    running = strays.start(*WORKER, "php", str(copy), cwd=old, environment={"PROCESS_TITLE": "0"})
    wait_until(lambda: running.pid in strays.registered(), what="it registers")
    one = orphans(site, code=3)[running.pid]
    assert one["known_by"] == ["queues", "registered"]
    assert (one["release"], one["current"]) == (None, None)


def test_a_drain_waits_for_the_job_and_loses_none(strays: Strays) -> None:
    site, redis = strays.site, strays.redis
    site.switch(2)
    site.deploy()
    pid = strays.adopted(1)
    # Its own workers must not take the job.
    assert site.unitq("stop").code == 0
    (job,) = Load(redis.client).enqueue(1, 2.0)
    wait_until(lambda: redis.client.llen("resque:begun") == 1, what="the stray takes the job")
    (one,) = orphans(site, code=15).values()
    assert [each["id"] for each in one["jobs"]] == [job.id]
    assert len(one["children"]) == 1, "the child that does the job is no orphan of its own"

    drained = site.unitq("orphans", "--drain", "--json")
    assert drained.code == 0, drained
    (one,) = drained.json["orphans"]
    assert one["pid"] == pid
    assert one["drain"]["told"] == [pid], "not the child"
    assert (one["drain"]["signal"], one["drain"]["ended"]) == ("SIGQUIT", True)
    assert (one["drain"]["killed"], one["drain"]["why_not"]) == ([], None)
    assert not os.path.exists(f"/proc/{pid}")
    assert redis.client.llen("resque:sent") == 1
    assert redis.client.llen("resque:failed") == 0
    assert redis.client.scard("resque:workers") == 0
    assert orphans(site, code=0) == {}


def test_only_those_that_are_named_are_drained(strays: Strays) -> None:
    site = strays.site
    one, two, three = strays.adopted(), strays.adopted(), strays.adopted()
    assert orphans(site, str(two), code=3).keys() == {two}
    shown = site.unitq("orphans", str(two))
    assert f"{site.app}: 1 orphan · 2 others not named here" in shown.stdout, shown
    assert f"orphans --drain {two}`" in shown.stderr, shown

    drained = site.unitq("orphans", "--drain", str(two), str(three))
    assert drained.code == 0, drained
    assert not os.path.exists(f"/proc/{two}")
    assert not os.path.exists(f"/proc/{three}")
    lines = {line.split()[0]: line for line in drained.stdout.splitlines()}
    assert str(one) not in lines, drained
    for pid in (two, three):
        assert re.search(r"  ended after \d", lines[str(pid)]), drained
    # What is over has no keeper and no age.
    assert "kept by" not in drained.stdout, drained
    assert "PARENT" not in drained.stdout, drained
    assert f"{site.app}: no orphan is left · 2 ended, 0 killed · another one not named here" in (
        drained.stdout
    ), drained

    last = site.unitq("orphans", "--drain", "--json", str(one))
    assert (last.code, last.json["others"]) == (0, 0), last
    assert [(each["pid"], each["drain"]["ended"]) for each in last.json["orphans"]] == [(one, True)]
    assert orphans(site, code=0) == {}


def test_a_pid_that_is_no_orphan_is_refused_and_nothing_is_touched(strays: Strays) -> None:
    site, redis = strays.site, strays.redis
    pid = strays.adopted()
    beside = strays.start("sleep", "600")
    gone = strays.start("true")
    gone.wait()
    mine = site.pids("sms")["sms@1"]
    for other, words in {
        1: "nothing says that it works for",
        beside.pid: "nothing says that it works for",
        gone.pid: f"there is no process {gone.pid}",
        mine: f"no orphan but of sms@1, an instance of {site.app}",
    }.items():
        refused = site.unitq("orphans", "--drain", "--yes", str(pid), str(other))
        assert (refused.code, refused.stdout) == (4, ""), refused
        assert words in refused.stderr, refused
        assert "nothing is done" in refused.stderr, refused
    both = site.unitq("orphans", "--drain", str(mine), "1", str(pid))
    assert both.code == 4, both
    assert "2 PIDs of no orphan" in both.stderr, both
    assert "sms@1" in both.stderr, both
    assert site.unitq("orphans", "0").code == 2
    assert site.unitq("stop").code == 0
    Load(redis.client).enqueue(1, 60.0)
    wait_until(lambda: redis.client.llen("resque:begun") == 1, what="the stray takes the job")
    (child,) = orphans(site, code=3)[pid]["children"]
    refused = site.unitq("orphans", "--drain", "--yes", str(child))
    assert refused.code == 4, refused
    assert f"a child of the orphan {pid}" in refused.stderr, refused
    assert beside.running
    assert os.path.exists(f"/proc/{pid}"), "it was not told"
    assert os.path.exists(f"/proc/{child}")


def test_a_release_is_in_use_while_an_orphan_runs_from_it(strays: Strays) -> None:
    site = strays.site
    one, two, three = (str(site.release(number)) for number in (1, 2, 3))
    site.switch(2)
    site.deploy()
    old = strays.adopted(1)
    # Of no revision: it was there before unitq.
    older = strays.adopted(3)
    in_use = site.unitq("releases", "--in-use")
    assert (in_use.code, in_use.stdout) == (0, f"{one}\n{two}\n{three}\n"), in_use
    for pid, release in ((old, one), (older, three)):
        assert f"process {pid}, an orphan that works as sms, runs from {release}: " in in_use.stderr
    told = site.unitq("releases", "--in-use", "--json").json
    assert shape(told["releases"][0]).keys() == shape(documented("releases"))["releases"][0].keys()
    found = {each["release"]: each for each in told["releases"]}
    assert {each: found[each]["orphans"] for each in found} == {one: [old], two: [], three: [older]}
    assert (found[one]["pids"], found[three]["revisions"]) == ([], [])
    assert told["notes"] == []
    # All that are kept, for which nobody looks at processes.
    kept = site.unitq("releases", "--json")
    assert [each["orphans"] for each in kept.json["releases"]] == [None, None]
    assert kept.stderr == ""

    assert site.unitq("orphans", "--drain", str(old), str(older)).code == 0
    in_use = site.unitq("releases", "--in-use")
    assert (in_use.stdout, in_use.stderr) == (f"{two}\n", "")


def test_an_orphan_of_which_nobody_knows_the_release_keeps_them_all(strays: Strays) -> None:
    """By way of the link, in no release: what the link led to then is not to be seen."""
    site = strays.site
    for number in (1, 2):
        (site.release(number) / "worker.py").write_text(WAITS)
    site.config(workers={"sms": {"command": f"{sys.executable} worker.py", "instances": 1}})
    site.deploy()
    running = strays.start(sys.executable, f"{site.current}/worker.py", cwd=site.out)
    running.wait_for("up")
    assert site.unitq("releases", "--in-use").code == 0
    site.switch(2)
    site.deploy()
    refused = site.unitq("releases", "--in-use")
    assert (refused.code, refused.stdout) == (1, ""), refused
    assert f"process {running.pid} works as sms" in refused.stderr, refused
    assert "its release is unknown" in refused.stderr, refused
    running.signal(signal.SIGKILL)
    running.wait()
    assert site.unitq("releases", "--in-use").code == 0


def test_below_a_shell_the_worker_is_told_and_not_the_shell(strays: Strays) -> None:
    site = strays.site
    shell = strays.start("bash", "-c", f"php {RESQUE}; echo its shell lived on")
    wait_until(lambda: len(strays.registered()) == 3, what="it registers")
    (worker,) = children(shell.pid)
    drained = site.unitq("orphans", "--drain", "--json")
    assert drained.code == 0, drained
    (one,) = drained.json["orphans"]
    assert (one["pid"], one["parent"], one["drain"]["told"]) == (worker, shell.pid, [worker])
    assert "its shell lived on" in shell.wait().stdout


def test_one_that_takes_too_long_is_killed_only_if_that_is_wanted(strays: Strays) -> None:
    site, redis = strays.site, strays.redis
    configured(site, redis, stop_timeout="1s")
    site.deploy()
    assert site.unitq("stop").code == 0
    pid = strays.adopted(1)
    (job,) = Load(redis.client).enqueue(1, 60.0)
    wait_until(lambda: redis.client.llen("resque:begun") == 1, what="the stray takes the job")
    # Nobody is there to be asked.
    left = site.unitq("orphans", "--drain")
    assert left.code == 6, left
    assert "told to end, and still there" in left.stdout, left
    # It is there: what keeps it and what it is busy with is said as before.
    assert "kept by: " in left.stdout, left
    assert "in hand: SendSms" in left.stdout, left
    assert f"{site.app}: 1 orphan left · 0 ended, 0 killed" in left.stdout, left
    (one,) = orphans(site, code=3).values()
    (child,) = one["children"]

    killed = site.unitq("orphans", "--drain", "--yes", "--json")
    assert killed.code == 0, killed
    (one,) = killed.json["orphans"]
    assert one["drain"]["killed"] == [pid, child]
    assert [each["id"] for each in one["drain"]["lost"]] == [job.id]
    assert job.id[:8] in killed.stderr, killed
    assert not os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"/proc/{child}")
    assert redis.client.llen("resque:sent") == 0


def test_one_without_a_handler_is_not_told(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    # In a unit it is a good worker; by hand it has no handler and would die with its job.
    (site.home / "releases/1/worker.py").write_text(WAITS)
    site.config(workers={"sms": {"command": f"{sys.executable} worker.py", "instances": 1}})
    site.deploy()
    found = Strays(site, redis)
    try:
        running = found.start(sys.executable, "worker.py")
        running.wait_for("up")
        left = site.unitq("orphans", "--drain", "--json")
        assert left.code == 3, left
        (one,) = left.json["orphans"]
        assert (one["pid"], one["drain"]["told"]) == (running.pid, [])
        assert "no" in one["drain"]["why_not"]
        assert "handler for SIGQUIT" in one["drain"]["why_not"]
        assert running.running
        killed = site.unitq("orphans", "--drain", "--yes", "--json")
        assert killed.code == 0, killed
        assert killed.json["orphans"][0]["drain"]["killed"] == [running.pid]
        assert running.wait().code == -signal.SIGKILL
    finally:
        found.end()


CONTAINER = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


def test_a_container_counts_only_if_it_has_the_release_itself(
    strays: Strays, make_site: Any
) -> None:
    site = strays.site
    other = make_site(site.scope)
    worker = f"exec php {RESQUE}"
    # The same path, and yet another directory.
    looks = strays.start(
        *CONTAINER, "bash", "-c",
        f"hostname box1; mount --bind {other.home}/releases/1 {site.home}/releases/1 && "
        f"cd {site.home}/releases/1 && {worker}",
        environment={"QUEUE": "mail"}, cwd=site.out,
    )  # fmt: skip
    real = strays.start(*CONTAINER, "bash", "-c", f"hostname box2; {worker}")
    wait_until(lambda: strays.redis.client.scard("resque:workers") == 4, what="they register")
    found = orphans(site, code=3)
    (one,) = found.values()
    assert (one["parent"], one["kept_by"]) == (real.pid, "container")
    assert looks.running


def test_a_registration_from_inside_a_container_leads_to_its_process(
    strays: Strays, make_site: Any
) -> None:
    """Code of its own, a host name of its own, PIDs of its own: only its registration is ours."""
    site = strays.site
    copy = site.out / "image"
    copy.mkdir()
    (copy / "template.php").write_text('<?php return "image";')
    (copy / "resque.php").write_text(RESQUE.read_text())
    identity, worker = secrets.token_hex(32), " ".join(WORKER)
    plain = {"PROCESS_TITLE": "0", "INTERVAL": "0.05"}
    inside = strays.start(
        *("systemd-run", "--scope", "--quiet", f"--unit=docker-{identity}.scope", *CONTAINER),
        *("bash", "-c", f"hostname {identity[:12]}; {worker} php {copy}/resque.php; true"),
        cwd=copy, environment=plain,
    )  # fmt: skip
    # The same, but of a name that any container of any machine may have.
    chosen = strays.start(
        *("systemd-run", "--scope", "--quiet", f"--unit=docker-{secrets.token_hex(32)}.scope"),
        *(*CONTAINER, "bash", "-c", f"hostname worker; php {copy}/resque.php; true"),
        cwd=copy, environment=plain,
    )  # fmt: skip
    ids = strays.redis.client.smembers
    wait_until(lambda: len(ids("resque:workers")) == 4, what="they register")
    hosts = {str(each).split(":")[0] for each in ids("resque:workers")}
    assert hosts == {HOST, identity[:12], "worker"}
    (one,) = orphans(site, code=3).values()
    assert (one["known_by"][-1], one["queues"]) == ("registered", ["sms"])
    assert (one["kept_by"], one["unit"]) == ("container", f"docker-{identity}.scope")
    assert (one["release"], one["current"]) == (None, None)

    (job,) = Load(strays.redis.client).enqueue(1, 0.1)
    drained = site.unitq("orphans", "--drain", "--json")
    assert drained.code == 0, drained
    assert drained.json["orphans"][0]["drain"]["told"] == [one["pid"]]
    wait_until(lambda: not inside.running, what="it has ended")
    assert len(ids("resque:workers")) == 3
    assert chosen.running
    wait_until(lambda: strays.redis.client.llen("resque:sent") == 1, what=f"{job.id} is done")


def test_it_prints_what_is_documented(strays: Strays) -> None:
    site = strays.site
    strays.adopted()
    found = site.unitq("orphans", "--json").json
    example = documented("orphans")
    found["orphans"][0]["children"] = [1]
    for key in ("jobs", "unit"):
        found["orphans"][0][key] = example["orphans"][0][key]
    assert shape(found) == shape(example)
    page = (REPO / "docs" / "json.md").read_text(encoding="utf-8")
    block = re.search(r"`drain` is null.*?```json\n(.*?)```", page, re.DOTALL)
    assert block
    drained = site.unitq("orphans", "--drain", "--json").json["orphans"][0]["drain"]
    assert drained.keys() == json.loads(block[1]).keys()


def test_who_is_no_root_is_told_so(strays: Strays) -> None:
    refused = strays.site.scope.run(
        "setpriv", "--reuid=tester", "--regid=tester", "--init-groups", "--",
        *("python3", "-m", "unitq", "-a", strays.site.app, "orphans"),
    )  # fmt: skip
    assert refused.code == 5, refused
    assert "(not root)" in refused.stderr, refused


def test_in_a_user_s_own_scope(user_site: Site, redis: RedisServer) -> None:
    configured(user_site, redis)
    user_site.deploy()
    found = Strays(user_site, redis)
    try:
        running = found.start("php", str(RESQUE))
        wait_until(lambda: running.pid in found.registered(), what="it registers")
        one = orphans(user_site, code=3)[running.pid]
        assert (one["user"], one["current"]) == ("tester", True)
        drained = user_site.unitq("orphans", "--drain", "--json")
        assert (drained.code, running.wait().code) == (0, 0), drained
    finally:
        found.end()


def test_ctrl_c_leaves_it_to_finish(strays: Strays) -> None:
    site, redis = strays.site, strays.redis
    assert site.unitq("stop").code == 0
    pid = strays.adopted()
    Load(redis.client).enqueue(1, 4.0)
    wait_until(lambda: redis.client.llen("resque:begun") == 1, what="the stray takes the job")
    drain = site.start("orphans", "--drain")
    drain.wait_for(f"SIGQUIT to PID {pid}")
    drain.signal(signal.SIGINT)
    done = drain.wait()
    assert done.code == 10, done
    assert "told to end, and still there" in done.stdout, done
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="it ends by itself")
    assert redis.client.llen("resque:sent") == 1


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 6)])
def test_on_a_terminal_it_asks_before_it_kills(strays: Strays, answer: str, code: int) -> None:
    site, redis = strays.site, strays.redis
    configured(site, redis, stop_timeout="1s")
    site.deploy()
    assert site.unitq("stop").code == 0
    pid = strays.adopted()
    Load(redis.client).enqueue(1, 60.0)
    wait_until(lambda: redis.client.llen("resque:begun") == 1, what="the stray takes the job")
    terminal = Terminal(site, "orphans", "--drain")
    terminal.wait_for("Kill 1 orphan (SIGKILL)?")
    assert "in hand: SendSms" in terminal.shown
    assert os.path.exists(f"/proc/{pid}")
    terminal.type(answer)
    assert terminal.end() == code, terminal.shown
    assert os.path.exists(f"/proc/{pid}") == (code != 0)


def test_a_release_that_was_deleted_is_told_by_its_path(strays: Strays) -> None:
    site = strays.site
    pid = strays.adopted()
    site.switch(2)
    site.deploy()
    shutil.rmtree(site.home / "releases/1")
    one = orphans(site, code=15)[pid]
    assert (one["release"], one["current"]) == (str(site.home / "releases/1"), False)
    assert f"{site.home}/releases/1 (deleted)" in site.unitq("orphans").stdout


def test_a_script_by_way_of_the_link_is_what_it_led_to_then(strays: Strays) -> None:
    """A worker that is nowhere in a release: only its script's path tells."""
    site = strays.site
    (site.home / "releases/1/worker.py").write_text(WAITS)
    (site.home / "releases/2/worker.py").write_text(WAITS)
    site.config(workers={"sms": {"command": f"{sys.executable} worker.py", "instances": 1}})
    site.deploy()
    running = strays.start(sys.executable, f"{site.current}/worker.py", cwd=site.out)
    running.wait_for("up")
    one = orphans(site, code=3)[running.pid]
    assert (one["release"], one["current"]) == (str(site.home / "releases/1"), True)
    assert "directory" not in one["known_by"]
    site.switch(2)
    site.deploy()
    one = orphans(site, code=15)[running.pid]
    assert (one["release"], one["current"]) == (None, False)


LOOP = "#!/bin/bash\nwhile :; do sleep 0.2; done\n"
FORMS = {
    "a script of bash's": ("bin/worker", LOOP),
    "below env": ("/usr/bin/env bin/worker", LOOP.replace("/bin/bash", "/usr/bin/env bash")),
    "an interpreter of its own": (
        "bin/worker",
        '#!/usr/bin/awk -f\nBEGIN { while (1) system("sleep 0.2") }\n',
    ),
    "a script that hands over": ("bin/worker", '#!/bin/sh\nexec "$(dirname "$0")/../native" 600\n'),
}
# What leaves an orphan: a daemon's child, in that one's unit; a process group and session of its
# own, PID 1 its parent; another unit's main process.
WAYS = {
    "another unit's": ("systemd-run", "--scope", "--quiet", "setsid", "--fork", "--"),
    "PID 1 has it": ("setsid", "--fork", "--"),
    "another unit's main process": ("systemd-run", "--quiet", "--property=Type=exec", "--"),
}


@pytest.mark.variants
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_command_is_found_and_ended(system_site: Site, form: str) -> None:
    """With no Redis and no preset: what is in the release, and what the kernel runs."""
    site = system_site
    command, script = FORMS[form]
    for release in ("1", "2"):
        folder = site.home / "releases" / release
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / "worker").write_text(script)
        (folder / "bin" / "worker").chmod(0o755)
        shutil.copy("/usr/bin/sleep", folder / "native")
    signals = {"stop_signal": "SIGTERM"}
    site.config(workers={"w": {"command": command, "instances": 1, **signals}})
    site.deploy()
    assert orphans(site, code=0) == {}
    words = shlex.split(command)
    words = [
        str(site.home / "releases/1" / word) if word == "bin/worker" else word for word in words
    ]
    before = site.pids("w")
    for way in WAYS.values():
        site.scope.start(*way, *words, cwd=site.home / "releases/1").wait()

    def of_the_release() -> set[int]:
        found = subprocess.run(
            ["pgrep", "-f", f"{site.home}/releases/1/"], capture_output=True, text=True, check=False
        )
        return {int(word) for word in found.stdout.split()} - set(before.values())

    wait_until(lambda: len(of_the_release()) == len(WAYS), what="all of them run")
    try:
        found = orphans(site, code=3)
        assert found.keys() == of_the_release()
        assert {one["release"] for one in found.values()} == {str(site.home / "releases/1")}
        assert {one["current"] for one in found.values()} == {True}
        assert site.pids("w") == before
        # They have no handler: nothing is told, and killed only because we say so.
        ended = site.unitq("orphans", "--drain", "--yes", "--json")
        assert ended.code == 0, ended
        assert of_the_release() == set()
    finally:
        for pid in of_the_release():
            kill(pid)


def test_what_serves_in_a_session_of_its_own_is_not_offered(system_site: Site) -> None:
    """PAM moves what `su -` starts out of the unit: it is the app's running worker."""
    site = system_site
    script = site.home / "releases/1/worker.py"
    script.write_text(WAITS)
    command = f"/usr/bin/python3 {script}"
    worker = {"command": command, "instances": 1, "stop_timeout": "3s", "user": "root"}
    site.config(workers={"sms": worker})
    site.deploy()
    # As a command of its own it would be refused.
    folder = Path(f"/run/systemd/system/{site.unit('sms', 1)}.d")
    folder.mkdir(parents=True)
    su = f"/usr/bin/su - tester -c {shlex.quote(command)}"
    (folder / "su.conf").write_text(f"[Service]\nExecStart=\nExecStart={su}\n")
    try:
        site.systemctl("daemon-reload")
        site.systemctl("restart", site.unit("sms", 1))
        _is_only_shown(site, script)
    finally:
        shutil.rmtree(folder)
        site.systemctl("daemon-reload")


def _is_only_shown(site: Site, script: Path) -> None:
    wait_until(lambda: bool(running_as(str(script))), what="it runs")
    (pid,) = running_as(str(script))
    found = site.unitq("orphans", "--json")
    claims = {each["pid"]: each["claim"] for each in found.json["claimed"]}
    assert (found.code, found.json["orphans"], claims) == (3, [], {pid: "serving"}), found
    text = site.unitq("orphans")
    assert "has left its unit" in text.stdout, text
    assert "--drain" not in text.stderr, text
    for pids in ([], [str(pid)]):
        refused = site.unitq("orphans", "--drain", "--yes", *pids)
        assert refused.code == (4 if pids else 3), refused
    assert running_as(str(script)) == [pid]


def running_as(script: str) -> list[int]:
    """The processes of python that run this script."""
    found = subprocess.run(
        ["pgrep", "-f", f"^[^ ]*python[^ ]* {script}"], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


REUSED = """
import os, signal
from unitq.linux import pidfd
first = os.fork()
if not first:
    signal.pause()
with pidfd.hold([first]) as held:
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(first - 1))
    second = os.fork()
    if not second:
        signal.pause()
    assert second == first, "another process has its PID"
    assert not held[first].lives
    assert not held[first].send(signal.SIGKILL)
    assert os.waitpid(second, os.WNOHANG) == (0, 0), "and lives on"
    os.kill(second, signal.SIGKILL)
print("held")
"""


def test_a_signal_never_reaches_who_has_the_pid_by_now(system_site: Site) -> None:
    done = system_site.scope.run(
        "unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", REUSED
    )
    assert (done.code, done.stdout) == (0, "held\n"), done
