"""An app that was deployed by the version before is managed by this one, and no worker is touched.

What that version left on disk is in state_format/, a file for each app and scope. It was written by
real deploys (`play_*` here) and is put back as it was; the units are then started by systemctl, as
a boot does. So whatever is moved or renamed in unitq has to read it, and to agree with it.

    state_format/SCOPE/settled.txt    three workers, seven revisions: a failed deploy that was
                                      rolled back, a rollback by hand, a scale; an instance that is
                                      stopped, and one that is paused
    state_format/SCOPE/cut-off.txt    unitq was killed in mid-rollout: pinned texts, one drains
    state_format/SCOPE/canary.txt     a canary waits for promotion
    state_format/documents.json       the keys and types of the JSON documents of the commands below

Only when the format on disk or of JSON rises (`format` in revision.json, docs/json.md):

    UNITQ_UPDATE_STATE=1 script/sandbox run -- \\
        python -m pytest -q -m systemd tests/systemd/revisions/test_state_format.py

That replaces the state of the version before by that of this one: keep the old folder beside it for
as long as apps of that version may be met. A key that is added to a document is no reason to write
the state again: UNITQ_UPDATE_DOCUMENTS=1 writes documents.json alone. A key that is gone, or has
another type, breaks scripts of users.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import kept_state
from tests.systemd.conftest import WORKERS, Scope, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Result, Site

    MakeSite = Callable[..., Site]

pytestmark = pytest.mark.systemd

DATA = Path(__file__).parent / "state_format"
DOCUMENTS = DATA / "documents.json"
FORMAT_OF_JSON = 1
UPDATE_STATE = bool(os.environ.get("UNITQ_UPDATE_STATE"))
UPDATE_DOCUMENTS = UPDATE_STATE or bool(os.environ.get("UNITQ_UPDATE_DOCUMENTS"))

# The same in every sandbox, so that the paths and the hashes in the recorded files hold.
FOUR = ("sms@1", "sms@2", "sms@3", "sms@4")
NAMES = {"settled": "kept", "cut-off": "kept-cut", "canary": "kept-canary"}
AS_WWW_DATA = ("--reuid=www-data", "--regid=www-data", "--init-groups")
GATHER = {"max_unavailable": 1, "min_healthy": "150ms", "start_timeout": "20s"}
GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_DATE": f"{kept_state.THEN} +0000",
    "GIT_COMMITTER_DATE": f"{kept_state.THEN} +0000",
}


# --- the app: its code, and how the state came about ----------------------------------------------


def lay_out(site: Site, redis: RedisServer | None = None) -> None:
    """What a deployment tool has put there: programs, releases, a checkout, secrets, Redis."""
    for name in ("odd.py", "resque.php"):
        shutil.copyfile(WORKERS / name, site.home / name)
    for number in (1, 2, 3, 4, 5):
        run = f"exec python3 -IS {site.home}/odd.py hold {site.out}/hold-$1"
        script = site.release(number) / "bin/sms"
        script.parent.mkdir(exist_ok=True)
        # journald looks up which start a line is of while the process lives.
        broken = "echo this release is broken; sleep 0.05; exit 3"
        script.write_text(f"#!/bin/sh\n{broken if number == 3 else run}\n")
        script.chmod(0o755)
    (site.home / "mail.env").write_text("MAIL_FROM=shop@example.org\n")
    (site.home / "secret").write_text("of no value\n")
    (site.home / "secret").chmod(0o600)
    os.chown(site.home / "secret", site.scope.uid, -1)
    if redis:
        (site.home / "redis.sock").symlink_to(redis.socket)
        checkout = site.home / "checkout"
        checkout.mkdir()
        os.chown(checkout, site.scope.uid, -1)
        (checkout / "beat").write_text("beat\n")
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "beat"]):
            who = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
            done = site.scope.run("git", *who, *words, cwd=checkout, environment=GIT)
            assert done.code == 0, done


def configure_settled(site: Site, sms: int = 3) -> None:
    """Three workers: plain ones, a singleton in a checkout, and a framework's with Redis."""
    redis = f"unix://{site.home}/redis.sock"
    site.config(
        redis={"url": redis},
        rollout=GATHER | {"on_failure": None},
        workers={
            "sms": {
                "command": "bin/sms %i",
                "instances": sms,
                "environment_file": f"{site.home}/mail.env",
                "environment": {"GREETING": 'a "quoted" $word'},
                "credentials": {"DB": {"path": f"{site.home}/secret", "encrypted": False}},
                "recycle": {"age": "30d"},
            },
            "beat": {
                "command": f"/usr/bin/env python3 -IS {site.home}/odd.py steady",
                "directory": f"{site.home}/checkout",
                "instances": 1,
                "singleton": True,
                "hardening": "standard",
                "probe": {"command": "/bin/true", "successes": 2},
            },
            "mail": {
                "command": f"/usr/bin/php {site.home}/resque.php",
                "preset": "php-resque",
                "instances": 2,
                "queues": ["mail"],
                "environment": {"REDIS_BACKEND": redis, "INTERVAL": "0.05"},
            },
        },
    )


def play_settled(site: Site) -> None:
    """A year of an app in ten seconds."""
    configure_settled(site)
    site.deploy()
    site.switch(2)
    site.deploy("--message", "the second")
    site.switch(3)
    site.deploy(code=9)
    site.switch(4)
    site.deploy()
    assert site.unitq("rollback", "--message", "4 was slow").code == 0
    site.switch(2)
    assert site.unitq("scale", "sms=4").code == 0
    configure_settled(site, sms=4)
    assert site.unitq("stop", "sms@2").code == 0
    assert site.unitq("pause", "mail@1").code == 0


def configure_cut(site: Site, **more: Any) -> None:
    site.config(
        rollout=GATHER | {"on_failure": None},
        workers={"sms": {"command": "bin/sms %i", "instances": 4, **more}},
    )


def play_cut(site: Site) -> None:
    """sms@1 runs the new release, sms@2 drains, and unitq is dead."""
    configure_cut(site)
    site.deploy()
    site.switch(2)
    configure_cut(site, nice=5, stop_timeout="30s", stop_signal="SIGTERM")
    site.hold(2)
    deploy = site.start("deploy")
    wait_until(lambda: draining(site, 2) or not deploy.running, what="sms@2 drains")
    deploy.signal(signal.SIGKILL)
    assert deploy.wait().code == -signal.SIGKILL, deploy.wait()


def play_canary(site: Site) -> None:
    """sms@1 runs the new release and is healthy; the other three wait for a person's word."""
    configure_cut(site)
    site.deploy()
    site.switch(2)
    site.deploy("--canary", "1", "--canary-soak", "100ms", "--promote", "manual", code=11)


PLAYS = {"settled": play_settled, "cut-off": play_cut, "canary": play_canary}


# --- the state, on disk and in systemd ------------------------------------------------------------


def roots(site: Site) -> dict[str, Path]:
    scope = site.scope
    return {
        "home": site.home,
        "units": scope.unit_dir,
        "state": scope.state_dir,
        "run": scope.runtime_dir,
    }


def draining(site: Site, number: int) -> bool:
    return site.show("sms")[f"sms@{number}"]["ActiveState"] == "deactivating"


def taken_over(make_site: MakeSite, scope: Scope, case: str, redis: RedisServer | None) -> Site:
    """The app as the version before left it, running (UNITQ_UPDATE_STATE: as this one does)."""
    site = make_site(scope, NAMES[case])
    lay_out(site, redis)
    recorded = DATA / scope.name / f"{case}.txt"
    if UPDATE_STATE:
        began = time.time()
        PLAYS[case](site)
        entries = kept_state.read(roots(site), site.app)
        entries = {
            # A note is about one life of an instance, and there will be another.
            name: entry._replace(target="INVOCATION") if ".paused/" in name else entry
            for name, entry in kept_state.neutral(entries, began, time.time()).items()
        }
        recorded.parent.mkdir(parents=True, exist_ok=True)
        recorded.write_text(kept_state.dump(entries))
        assert kept_state.load(kept_state.dump(entries))
        return site
    entries = kept_state.load(recorded.read_text())
    site.current.unlink()
    notes = [name for name in entries if ".paused/" in name]
    kept_state.write(
        {name: entry for name, entry in entries.items() if name not in notes},
        roots(site),
        scope.uid,
    )
    site.write(site.toml.read_text())
    site.systemctl("daemon-reload")
    # As at boot: what the target wants.
    site.systemctl("start", site.target)
    wait_until(lambda: up(site), what="the recorded units run")
    for name in notes:
        life = site.show()[Path(name).name]["InvocationID"]
        note = entries[name]._replace(target=life)
        kept_state.write({name: note}, roots(site), scope.uid)
    if case == "settled":
        # What `stop` came to, and `pause`.
        site.systemctl("stop", site.unit("sms", 2))
        site.systemctl("kill", "--kill-whom=main", "--signal=USR2", site.unit("mail", 1))
    if case == "cut-off":
        site.hold(2)
        site.systemctl("stop", "--no-block", site.unit("sms", 2))
        wait_until(lambda: draining(site, 2), what="sms@2 drains")
    return site


def releases(site: Site) -> dict[str, str]:
    """The release that each main process works in, by the kernel."""
    return {
        name: Path(os.readlink(f"/proc/{pid}/cwd")).name for name, pid in site.pids("sms").items()
    }


def pinned_texts(site: Site) -> list[str]:
    """The instances that have a unit file of their own."""
    start = f"unitq-{site.app}-"
    found = site.scope.unit_dir.glob(f"{start}sms@?*.service")
    return sorted(path.name.removeprefix(start).removesuffix(".service") for path in found)


def up(site: Site) -> bool:
    """Whether all of the app's processes are there, and past their program's start."""
    links = site.scope.unit_dir / f"{site.target}.wants"
    wanted = {path.name for path in links.iterdir() if "@" in path.name}
    found = site.show()
    return len(found) >= len(wanted) and all(
        properties["SubState"] == "running" for properties in found.values()
    )


class Commands:
    """Runs unitq commands, and holds their documents against those that were recorded."""

    def __init__(self, case: str) -> None:
        self.case = case
        there = DOCUMENTS.exists()
        self.recorded: dict[str, Any] = json.loads(DOCUMENTS.read_text()) if there else {}

    def __call__(self, site: Site, *arguments: str, code: int = 0, after: str = "") -> Any:
        """The document of a command with this exit code; without --json what it printed."""
        result = site.unitq(*arguments)
        assert result.code == code, result
        if "--json" not in arguments:
            return result.output
        return self.document(f"{' '.join(arguments)}{after and f' ({after})'}", result, site)

    def document(self, command: str, result: Result, site: Site) -> Any:
        """What it printed, whose keys and types are those that were recorded."""
        name = f"{self.case}: {command}"
        found = kept_state.outline(result.json)
        if UPDATE_DOCUMENTS and site.scope.name == "system":
            self.recorded[name] = found
            text = json.dumps(dict(sorted(self.recorded.items())), indent=1)
            DOCUMENTS.write_text(f"{text}\n")
        assert result.json["format"] == FORMAT_OF_JSON
        differences = list(kept_state.unlike(self.recorded.get(name), found))
        assert not differences, "\n".join((name, *differences))
        return result.json


@contextmanager
def orphan(site: Site) -> Iterator[None]:
    """A worker that somebody has started by hand, in the first release."""
    account = () if site.scope.user else ("setpriv", *AS_WWW_DATA, "--")
    environment = {"QUEUE": "mail", "REDIS_BACKEND": f"unix://{site.home}/redis.sock"}
    left = site.scope.start(
        "/usr/bin/php",
        f"{site.home}/resque.php",
        cwd=site.home / "releases/1",
        environment=environment,
        before=account,
    )
    try:
        yield
    finally:
        left.signal(signal.SIGQUIT)
        ended = left.wait()
    assert ended.code == 0, ended


def look_at_the_rest(site: Site, ask: Commands, redis: RedisServer) -> None:
    """What is the same in either scope."""
    ask(site, "show", "--json")
    ask(site, "diff", "1", "2", "--json", code=12)
    ask(site, "releases", "--json")
    ask(site, "status", "--queues", "-v", "--json", code=3)
    with orphan(site):
        wait_until(lambda: redis.client.scard("resque:workers") == 3, what="the orphan registers")
        dead = f"{socket.gethostname()}:{kept_state.NO_PROCESS}:mail"
        redis.client.sadd("resque:workers", dead)
        ask(site, "queues", "--interval", "0", "--json")
        ask(site, "queues", "doctor", "--json", code=3)
        ask(site, "orphans", "--json", code=15)
    ask(site, "presets", "--json")
    ask(site, "presets", "php-resque", "--json")
    ask(site, "recycle", "--dry-run", "--json")
    ask(site, "check", "--json")


def test_an_app_of_the_version_before_is_managed_and_not_touched(
    make_site: MakeSite, scope: Scope, redis: RedisServer
) -> None:
    site = taken_over(make_site, scope, "settled", redis)
    ask = Commands("settled")
    wait_until(lambda: redis.client.scard("resque:workers") == 2, what="both register")
    before, files = site.pids(), site.mtimes()
    assert sorted(before) == ["beat@1", "mail@1", "mail@2", "sms@1", "sms@3", "sms@4"]

    # What only looks.
    ask(site, "status", code=3)
    status = ask(site, "status", "--json", code=3)
    workers = {worker["worker"]: worker for worker in status["apps"][0]["workers"]}
    assert [worker["stale"] for worker in workers.values()] == [0, 0, 0]
    serving = {name: worker["serving"] for name, worker in workers.items()}
    assert serving == {"sms": 3, "beat": 1, "mail": 1}
    assert [one["paused"] for one in workers["mail"]["instances"]] == [True, False]
    history = ask(site, "history", "--json")
    assert {row["number"]: row["state"] for row in history["revisions"]} == {
        number: "failed" if number == 3 else "stable" for number in range(1, 8)
    }
    assert "4 was slow" in ask(site, "history")
    shown = ask(site, "show", "3", "--json")
    assert "this release is broken" in json.dumps(shown), "the report and what it printed"
    ask(site, "rollout", "status", "--json")
    redis.client.rpush("resque:queue:mail", json.dumps({"class": "Mail", "args": [], "id": "1"}))
    if not scope.user:
        look_at_the_rest(site, ask, redis)
    ask(site, "plan", "--json", code=12, after="one is stopped")
    assert (site.pids(), site.mtimes()) == (before, files)

    # What gives back what the version before took away.
    ask(site, "resume", "mail", "--json")
    ask(site, "start", "sms@2", "--json")
    assert before.items() < site.pids().items()
    before = site.pids()
    ask(site, "status")
    assert ask(site, "plan", "--json")["pending"] is False
    assert ask(site, "deploy", "--json")["result"] == "unchanged"
    assert site.pids() == before

    # And it is an app like any other.
    ask(site, "pause", "mail@2", "--json")
    ask(site, "stop", "sms@1", "--json")
    ask(site, "scale", "sms=3", "--json")
    configure_settled(site, sms=3)
    site.switch(5)
    ask(site, "plan", "--json", code=12, after="a new release")
    ask(site, "deploy", "--json", after="a new release")
    after = site.pids()
    assert {name for name in before if before[name] == after.get(name)} == {"beat@1"}
    ask(site, "rollback", "1", "--json")
    assert releases(site) == dict.fromkeys(FOUR[:3], "1")


def test_a_rollout_that_was_cut_off_is_resumed(make_site: MakeSite, scope: Scope) -> None:
    site = taken_over(make_site, scope, "cut-off", None)
    ask = Commands("cut off")
    files, before = site.mtimes(), site.pids()
    assert releases(site) == {"sms@1": "2", "sms@3": "1", "sms@4": "1"}
    assert pinned_texts(site) == ["sms@2", "sms@3", "sms@4"]
    ask(site, "status", "--json", code=15)
    ask(site, "rollout", "status", "--json", code=8)
    ask(site, "plan", "--json", code=12)
    ask(site, "history", "--json")
    ask(site, "deploy", "--json", code=8)
    assert (site.mtimes(), site.pids()) == (files, before)
    assert draining(site, 2)
    resume = site.start("rollout", "resume", "--json")
    time.sleep(0.3)
    assert draining(site, 2), "who drains is waited for"
    site.let_go()
    resumed = resume.wait()
    assert resumed.code == 0, resumed
    ask.document("rollout resume --json", resumed, site)
    assert releases(site) == dict.fromkeys(FOUR, "2")
    assert site.pids()["sms@1"] == before["sms@1"]
    assert pinned_texts(site) == []
    ask(site, "deploy", "--json", after="resumed")


def test_a_rollout_that_was_cut_off_is_rolled_back(make_site: MakeSite, scope: Scope) -> None:
    site = taken_over(make_site, scope, "cut-off", None)
    before = site.pids()
    site.let_go()
    Commands("cut off")(site, "rollback", "--json")
    assert releases(site) == dict.fromkeys(FOUR, "1")
    after = site.pids()
    assert {name: after[name] for name in ("sms@3", "sms@4")} == {
        name: before[name] for name in ("sms@3", "sms@4")
    }
    assert pinned_texts(site) == []


def test_a_rollout_that_was_cut_off_is_left_as_it_is(make_site: MakeSite, scope: Scope) -> None:
    site = taken_over(make_site, scope, "cut-off", None)
    ask = Commands("cut off")
    before = site.pids()
    ask(site, "rollout", "abort")
    assert (site.pids(), draining(site, 2)) == (before, True)
    ask(site, "rollout", "status", "--json", after="given up")
    site.let_go()
    ask(site, "deploy", "--json", after="given up")
    assert releases(site) == dict.fromkeys(FOUR, "2")
    assert site.pids()["sms@1"] == before["sms@1"]
    assert pinned_texts(site) == []


def test_a_canary_of_the_version_before_is_promoted(make_site: MakeSite, scope: Scope) -> None:
    site = taken_over(make_site, scope, "canary", None)
    ask = Commands("canary")
    before = site.pids()
    ask(site, "status", "--json", code=15)
    ask(site, "rollout", "status", "--json", code=11)
    assert site.pids() == before
    ask(site, "rollout", "promote", "--json")
    assert releases(site) == dict.fromkeys(FOUR, "2")
    assert site.pids()["sms@1"] == before["sms@1"]

    # A version that is older than the state says so, and touches nothing.
    path = scope.state_dir / site.app / "current/revision.json"
    text = path.read_text()
    after = site.pids()
    path.write_text(text.replace('"format": 1', '"format": 2'))
    for command in ("status", "deploy", "restart"):
        assert "written by a later unitq (format 2)" in ask(site, command, code=1)
    assert site.pids() == after
    path.write_text(text)
