"""`hardening` and `credentials` under a real systemd: what workers can reach, and what stays true.

tests/workers/reach.py tries things and writes down how they went. That each can be done without
`hardening` is part of the tests: a refusal that was there anyway proves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import WORKERS, Scope, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

PAGE = Path(__file__).parents[3] / "docs" / "hardening.md"
WORDS = ("off", None, "standard", "strict")

REFUSED = "Operation not permitted"
READ_ONLY = "Read-only file system"
# What becomes of each attempt; "yes" where nothing is said.
RIGHTS = {"rights of a setuid program": "no", "a setuid program of its own": REFUSED}
HIDDEN = {"see processes of others": "No such file or directory"}
REACH: dict[str | None, dict[str, str]] = {
    "off": {},
    None: {},
    "standard": {**RIGHTS, **HIDDEN},
    "strict": {
        **RIGHTS,
        **HIDDEN,
        "write into the release": READ_ONLY,
        "write elsewhere": READ_ONLY,
        "meet others in /tmp": "No such file or directory",
        "a user namespace": REFUSED,
        "trace a process": REFUSED,
        "a vsock": "Address family not supported by protocol",
    },
}


def lay_out(site: Site) -> dict[str, str]:
    """What the attempts need of the machine; returns the environment that tells where it is."""
    setuid = site.home / "setuid-id"
    shutil.copy("/usr/bin/id", setuid)
    setuid.chmod(0o4755)
    elsewhere = site.home / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o1777)
    in_tmp = Path("/tmp", f"of-others-{site.app}")
    in_tmp.touch()
    for release in ("1", "2"):
        folder = site.home / "releases" / release
        folder.chmod(0o1777)
        (folder / "storage").mkdir()
        (folder / "storage").chmod(0o1777)
    return {"SETUID": str(setuid), "ELSEWHERE": str(elsewhere), "IN_TMP": str(in_tmp)}


def reach(site: Site) -> str:
    return f"{sys.executable} -IS {WORKERS / 'reach.py'} {site.out}"


def told(site: Site, number: int = 1) -> dict[str, Any]:
    """What this instance, as it is now, could reach."""
    path = site.out / f"reach-{number}.json"

    def there() -> bool:
        if not path.exists():
            return False
        return bool(json.loads(path.read_text())["pid"] in site.pids().values())

    wait_until(there, 30, "what the worker could reach")
    found: dict[str, Any] = json.loads(path.read_text())
    del found["pid"]
    return found


def attempts(site: Site, word: str | None, **settings: Any) -> dict[str, str]:
    """What an instance with this word is refused."""
    writable = ["storage", str(site.out)] if word == "strict" else None
    settings = {"command": reach(site), "instances": 1, "writable": writable, **settings}
    site.config(hardening=word, environment=lay_out(site), workers={"w": settings})
    result = site.deploy()
    assert "warning" not in result.output, result
    return {name: how for name, how in told(site).items() if how != "yes"}


@pytest.mark.variants
@pytest.mark.parametrize("word", WORDS)
def test_what_a_worker_can_reach(system_site: Site, word: str | None) -> None:
    assert attempts(system_site, word) == REACH[word]


@pytest.mark.variants
@pytest.mark.parametrize("word", ["standard", "strict"])
def test_a_line_of_the_operators_own_wins(system_site: Site, word: str) -> None:
    own = {"NoNewPrivileges": False, "ProtectProc": "default"}
    found = attempts(system_site, word, service=own)
    assert not found.keys() & {*RIGHTS, *HIDDEN}
    assert found.get("write elsewhere") == REACH[word].get("write elsewhere")


@pytest.mark.parametrize(("preset", "hidden"), [("php-resque", False), ("none", True)])
def test_a_framework_that_asks_ps_sees_the_workers_of_others(
    system_site: Site, preset: str, hidden: bool
) -> None:
    # It would take living workers of another account for dead, and fail their jobs.
    found = attempts(system_site, "standard", preset=preset)
    assert ("see processes of others" in found) is hidden
    assert found.keys() >= RIGHTS.keys()


@pytest.mark.variants
@pytest.mark.parametrize("word", ["standard", "strict"])
def test_in_a_users_own_scope_it_starts_and_says_what_is_missing(
    user_site: Site, word: str
) -> None:
    site = user_site
    found = attempts(site, word)
    check = site.unitq("check")
    assert check.code == 0, check
    assert f'"{word}" with --user is' in check.stdout
    assert "need root" in check.stdout
    assert "rights of a setuid program" in found
    assert ("a user namespace" in found) is (word == "strict")
    assert "write elsewhere" not in found
    assert site.unitq("status").code == 0


def exposure(*arguments: str) -> float:
    told = Scope("system").run("systemd-analyze", "security", "--no-pager", *arguments).stdout
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", told)
    assert found, told
    return float(found[1])


@pytest.mark.variants
@pytest.mark.parametrize("word", WORDS)
def test_the_exposure_is_what_the_page_and_check_say(system_site: Site, word: str | None) -> None:
    site = system_site
    site.config(hardening=word, workers={"w": {"command": site.odd("steady"), "instances": 1}})
    rendered = site.unitq("render", "--output", str(site.home / "units"))
    assert rendered.code == 0, rendered
    unit = f"unitq-{site.app}-w@.service"
    score = exposure("--offline=true", str(site.home / "units" / unit))
    if word == "strict":
        assert score <= 2.0
    row = next(
        line for line in PAGE.read_text().splitlines() if line.startswith(f"| {_in_page(word)} |")
    )
    version = Scope("system").run("systemctl", "--version").stdout.split()[1]
    if version == "252":
        assert row.endswith(f"| {score} |")
    check = site.unitq("check")
    assert check.code == 0, check
    (line,) = (line for line in check.stdout.splitlines() if "exposure" in line)
    assert f": exposure {score} of 10" in line
    assert ('"strict" would make it' in check.stdout) is (word != "strict")
    # And of the running one, with what systemd adds.
    site.deploy()
    assert exposure(site.unit("w", 1)) <= score + 0.1


def _in_page(word: str | None) -> str:
    return f'`"{word}"`' if word else "none"


@pytest.mark.variants
@pytest.mark.parametrize("word", ["standard", "strict"])
def test_status_and_deploy_tell_the_truth_in_namespaces(
    system_site: Site, redis: RedisServer, word: str
) -> None:
    """php-resque's title wipes the environment: only fd 0 tells the revision."""
    site = system_site
    table: dict[str, Any] = {
        "command": site.php(),
        "preset": "php-resque",
        "environment": site.resque_environment(redis),
        "probe": {"command": "/bin/sh -c 'test -r template.php && test ! -w /etc/hosts'"},
    }
    site.config(workers={"sms": table})
    first = site.deploy("--json").json["revision"]
    if word == "strict":
        table["writable"] = ["template.php"]
    site.config(hardening=word, workers={"sms": table})
    plan = site.unitq("plan", "--json").json
    assert {step["action"] for step in plan["instances"]} == {"restart"}
    second = site.deploy("--json").json["revision"]
    assert first != second
    for code in ("2", "1"):
        before = site.pids()
        site.switch(code)
        stale = site.unitq("status", "--json")
        assert stale.code == 0, stale  # what runs is what was deployed
        reloads = site.reloads()
        report = site.deploy("--json").json
        # The sandbox follows the pin: a change of the code alone needs no daemon-reload.
        assert site.reloads() == reloads
        assert report["result"] == "ok"
        assert not set(before.values()) & set(site.pids().values())
        status = site.unitq("status", "--json")
        assert status.code == 0, status
        for pid in site.pids().values():
            assert b"UNITQ_REVISION" not in Path(f"/proc/{pid}/environ").read_bytes()
            stdin = os.readlink(f"/proc/{pid}/fd/0")
            assert report["revision"] in stdin
            assert os.readlink(f"/proc/{pid}/cwd") == str(site.home / "releases" / code)
    assert site.unitq("plan").code == 0
    orphans = site.unitq("orphans", "--json")
    assert orphans.code == 0, orphans
    # One outside of the unit is found all the same.
    stray = site.scope.start(
        *("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups"),
        *site.php().split(),
        cwd=site.home / "releases" / "2",
        environment=site.resque_environment(redis),
    )
    try:
        wait_until(lambda: site.unitq("orphans").code == 15, 20, "the orphan found")
    finally:
        stray.end()


@pytest.mark.variants
@pytest.mark.parametrize("word", [None, "strict"])
def test_a_probe_sees_what_its_instance_has_in_tmp(system_site: Site, word: str | None) -> None:
    site = system_site
    table = {
        "command": f"/bin/sh -c 'touch /tmp/{site.app}-%i; exec {site.odd('steady')}'",
        "probe": {"command": f"/usr/bin/test -e /tmp/{site.app}-%i"},
    }
    site.config(hardening=word, workers={"w": table})
    assert site.deploy().code == 0
    assert Path(f"/tmp/{site.app}-1").exists() is (word is None)


@pytest.mark.variants
@pytest.mark.parametrize("word", ["standard", "strict"])
def test_a_word_that_a_worker_does_not_bear_is_rolled_back(system_site: Site, word: str) -> None:
    """The canary of the word is the first instance: the others never meet it."""
    site = system_site
    attempt = "x = open('/proc/1/comm')" if word == "standard" else "x = open('new', 'w')"
    (site.release(1) / "w.py").write_text(f"import time\n{attempt}\ntime.sleep(1000)\n")
    site.release(1).chmod(0o1777)
    table = {"command": f"{sys.executable} -IS w.py", "instances": 3, "stop_signal": "SIGTERM"}
    rollout = {"on_failure": "rollback", "min_healthy": "1s"}
    site.config(workers={"w": table}, rollout=rollout)
    site.deploy()
    before = site.pids()
    site.config(hardening=word, workers={"w": table}, rollout=rollout)
    result = site.deploy(code=9)
    assert "Traceback" not in result.stdout
    assert site.unitq("status").code == 0
    kept = set(before.items()) & set(site.pids().items())
    assert len(kept) == 2


def test_writable_follows_the_release(system_site: Site) -> None:
    site = system_site
    assert "write into its storage" not in attempts(site, "strict")
    site.switch("2")
    site.deploy()
    assert told(site)["write into its storage"] == "yes"
    assert told(site)["write into the release"] == READ_ONLY
    # As Capistrano has it: one folder for all releases, by a link.
    shared = site.home / "shared" / "my storage"
    shared.mkdir(parents=True)
    shared.chmod(0o1777)
    (site.home / "releases" / "1" / "storage").rmdir()
    (site.home / "releases" / "1" / "storage").symlink_to(shared)
    site.switch("1")
    reloads = site.reloads()
    site.deploy()
    assert site.reloads() == reloads
    assert told(site)["write into its storage"] == "yes"
    assert told(site)["write elsewhere"] == READ_ONLY


@pytest.mark.variants
@pytest.mark.parametrize("path", ["no such", "/srv/no such"])
def test_a_writable_path_that_is_missing_stops_the_deploy(system_site: Site, path: str) -> None:
    site = system_site
    table = {"command": site.odd("steady"), "writable": [path]}
    site.config(hardening="strict", workers={"w": table})
    result = site.deploy(code=13)
    assert "workers.w.writable" in result.stderr
    assert path in result.stderr
    assert site.files() == []
    # Its own /tmp has none of this.
    table = {**table, "writable": ["/tmp"], "directory": "/var/tmp"}
    site.config(hardening="strict", workers={"w": table})
    refused = site.deploy(code=13).stderr
    assert "workers.w.directory: /var/tmp: under" in refused
    assert "workers.w.writable: /tmp: under" in refused
    table = {"command": table["command"]}
    # A name that systemd's syntax knows about is one path all the same.
    Path(site.release(1), 'no "such" \\ 100%').mkdir()
    site.config(hardening="strict", workers={"w": {**table, "writable": ['no "such" \\ 100%']}})
    site.deploy()
    assert site.unitq("status").code == 0


def test_mail_by_a_setgid_program_is_noted(system_site: Site) -> None:
    site = system_site
    postdrop = Path("/usr/sbin/postdrop")
    assert not postdrop.exists()
    site.config(hardening="standard", workers={"w": {"command": site.odd("steady")}})
    assert "mail()" not in site.unitq("check").output
    postdrop.write_text("#!/bin/sh\n")
    try:
        postdrop.chmod(0o2755)
        assert "note: hardening: PHP's mail() and `sendmail` fail" in site.unitq("check").stdout
        own = {"NoNewPrivileges": False}
        site.config(
            hardening="standard", workers={"w": {"command": site.odd("steady"), "service": own}}
        )
        assert "mail()" not in site.unitq("check").output
    finally:
        postdrop.unlink()


# --- credentials ----------------------------------------------------------------------------------

SECRET = "pass-4711"
OTHER = "pass-4712"


@pytest.fixture
def store() -> Iterator[Path]:
    """/etc/credstore.encrypted, as it was afterwards."""
    folder = Path("/etc/credstore.encrypted")
    made = not folder.exists()
    folder.mkdir(mode=0o700, exist_ok=True)
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        path.unlink()
    if made:
        folder.rmdir()


def encrypt(site: Site, path: Path, secret: str, name: str = "DB_PASSWORD") -> None:
    plain = site.home / "plain"
    plain.touch(0o600)
    plain.write_text(secret)
    path.unlink(missing_ok=True)
    done = site.scope.run("systemd-creds", "encrypt", f"--name={name}", str(plain), str(path))
    plain.unlink()
    assert done.code == 0, done
    assert secret not in path.read_text()


def put(site: Site, path: Path, secret: str, *, encrypted: bool) -> None:
    if encrypted:
        encrypt(site, path, secret)
        return
    path.touch(0o600)
    path.write_text(secret)
    if site.scope.user:
        os.chown(path, site.scope.uid, site.scope.uid)


def leaks(site: Site, secret: str) -> list[str]:
    """Where unitq's files or systemd have the secret, or a hash of it that can be guessed."""
    guesses = {
        text.encode()
        for known in (secret.encode(), b"DB_PASSWORD" + secret.encode())
        for text in (secret, hashlib.sha256(known).hexdigest(), hashlib.md5(known).hexdigest())
    }
    found = [
        str(path)
        for path in site.files()
        if path.is_file() and any(guess in path.read_bytes() for guess in guesses)
    ]
    units = [site.unit("w", 1), f"unitq-{site.app}-w.probe@1.service"]
    shown = site.systemctl("show", "--all", *units).stdout
    journal = site.scope.journal("--unit", f"unitq-{site.app}*")
    return found + [
        what for what, text in (("D-Bus", shown), ("journal", journal)) if secret in text
    ]


@pytest.mark.variants
@pytest.mark.parametrize("word", [None, "strict"])
@pytest.mark.parametrize("kind", ["encrypted", "plain"])
def test_a_credential_reaches_the_worker_and_nobody_else(
    system_site: Site, store: Path, kind: str, word: str | None
) -> None:
    site = system_site
    # A name of which each character means something to systemd somewhere.
    path = (store if kind == "encrypted" else site.home) / f'{site.app} 100% "db": $x;#'
    put(site, path, SECRET, encrypted=kind == "encrypted")
    seen = "/bin/sh -c 'grep -qx pass-471. \"$$CREDENTIALS_DIRECTORY/DB_PASSWORD\"'"
    settings = {"credentials": {"DB_PASSWORD": str(path)}, "probe": {"command": seen}}
    attempts(site, word, **settings)
    assert told(site)["secret DB_PASSWORD"] == SECRET
    (pid,) = site.pids().values()
    assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    assert leaks(site, SECRET) == []
    key = site.scope.state_dir / site.app / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    user = Scope("user")
    where = f"/run/credentials/{site.unit('w', 1)}/DB_PASSWORD"
    assert Path(where).read_text() == SECRET
    for forbidden in (where, str(key)):
        refused = user.run("cat", forbidden)
        assert "Permission denied" in refused.stderr, refused


@pytest.mark.parametrize("kind", ["encrypted", "plain"])
def test_a_changed_secret_is_a_new_revision(site: Site, store: Path, kind: str) -> None:
    if site.scope.user and kind == "encrypted":
        pytest.skip("no user's manager decrypts before systemd 256")
    encrypted = kind == "encrypted"
    path = store / f"{site.app}.db" if encrypted else site.home / "db"
    put(site, path, SECRET, encrypted=encrypted)
    table = {
        "command": reach(site),
        "instances": 2,
        "credentials": {"DB_PASSWORD": {"path": str(path), "encrypted": encrypted}},
    }
    steady = {"command": site.odd("steady"), "instances": 1}
    if site.scope.user:
        # Every part of the way to a secret must be the user's own, or root's.
        os.chown(site.home, site.scope.uid, site.scope.uid)
    site.config(environment=lay_out(site), workers={"w": table, "other": steady})
    first = site.deploy("--json").json["revision"]
    other = site.pids("other")
    before = site.pids("w")
    # The same secret, written again (encrypted: with other bytes) is no change.
    put(site, path, SECRET, encrypted=encrypted)
    assert site.unitq("plan").code == 0
    put(site, path, OTHER, encrypted=encrypted)
    plan = site.unitq("plan")
    assert plan.code == 12, plan
    assert SECRET not in plan.output
    assert OTHER not in plan.output
    assert "no way back brings an old one back" in plan.stdout
    # systemd reads it at each start: a crash in between gets the new one. The page says so.
    site.systemctl("kill", "--signal=KILL", site.unit("w", 2))
    wait_until(lambda: site.pids("w").get("w@2") not in (None, before["w@2"]), 20, "w@2 again")
    assert told(site, 2)["secret DB_PASSWORD"] == OTHER
    assert told(site, 1)["secret DB_PASSWORD"] == SECRET
    report = site.deploy("--json").json
    assert report["revision"] != first
    assert {row["instance"] for row in report["instances"] if row["action"] == "restart"} == {
        "w@1", "w@2",
    }  # fmt: skip
    assert told(site, 1)["secret DB_PASSWORD"] == OTHER
    assert site.pids("other") == other
    assert site.unitq("status").code == 0
    back = site.unitq("rollback")
    assert back.code == 0, back
    assert told(site, 1)["secret DB_PASSWORD"] == OTHER
    assert leaks(site, SECRET) + leaks(site, OTHER) == []


def test_a_secret_that_cannot_be_loaded_stops_the_deploy(system_site: Site, store: Path) -> None:
    site = system_site
    path, steady = store / f"{site.app}.db", {"command": site.odd("steady"), "instances": 1}
    plain = site.home / "plain-secret"
    plain.touch(0o600)
    plain.write_text(SECRET)
    links = site.home / "links"
    links.mkdir()
    (links / "mine").symlink_to(plain)
    shutil.chown(links, "www-data")
    folder = site.home / "open"
    folder.mkdir()
    (folder / "secret").write_text(SECRET)
    folder.chmod(0o777)
    fifo = site.home / "fifo"
    os.mkfifo(fifo)
    large = site.home / "large"
    large.write_bytes(b"x" * ((1 << 20) + 1))
    large.chmod(0o600)

    def refused(secret: object, said: str) -> None:
        site.config(workers={"w": {**steady, "credentials": {"DB_PASSWORD": secret}}})
        for command in ("deploy", "plan"):
            result = site.unitq(command, timeout=20)
            assert result.code == 13, result
            assert "workers.w.credentials" in result.stderr
            assert said in result.stderr, result
            assert SECRET not in result.output
            assert "Traceback" not in result.output
        check = site.unitq("check")
        assert (check.code, said in check.stdout) == (3, True), check
        assert site.files() == []

    refused(str(path), "No such file or directory")
    encrypt(site, path, SECRET, name="OTHER")
    refused(str(path), "'OTHER' does not match")
    path.write_text("no credential at all")
    refused(str(path), "cannot be decrypted")
    encrypt(site, path, SECRET)
    refused({"path": str(path), "encrypted": False}, "is encrypted")
    refused(str(links / "mine"), "www-data owns")
    refused(str(folder / "secret"), "others than root may write")
    refused(str(fifo), "not a file")
    refused("/dev/zero", "others than root")
    refused("/etc", "not a file")
    refused(str(large), "larger than 1 MiB")
    plain.chmod(0o644)
    site.config(workers={"w": {**steady, "credentials": {"DB_PASSWORD": str(plain)}}})
    result = site.deploy()
    assert "every account of this machine can read it" in result.stderr
    assert leaks(site, SECRET) == []


def test_an_encrypted_secret_with_user_is_refused(user_site: Site) -> None:
    site = user_site
    secret = {"DB_PASSWORD": "/etc/credstore.encrypted/db"}
    site.config(workers={"w": {"command": site.odd("steady"), "credentials": secret}})
    result = site.deploy(code=13)
    assert "with --user systemd cannot decrypt" in result.stderr
