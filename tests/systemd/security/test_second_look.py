"""Attacks that a second person tried: what any account may write, or swap, while root looks."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import REPO, TESTER, toml_text
from tests.systemd.security.conftest import SYSTEM, as_account
from unitq.systemd import journal
from unitq.systemd.exit_status import End

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Site


pytestmark = pytest.mark.systemd

UNIT = "unitq-test-second-look.service"
# What systemd says where it kills at the time limit, and where a unit was told to stop.
KILLED = "MESSAGE=unit: Killing process 1 (php) with signal SIGKILL."
STOPPED = "MESSAGE_ID=9d1aaa27d60140bd96365438aad20286"
EXITED = "MESSAGE_ID=98e322203f7a4ed290d09fe03c09fe15"


# --- the journal ----------------------------------------------------------------------------------

_LOG = """
import socket, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.sendto("".join(f"{field}\\n" for field in sys.argv[1:]).encode(), sys.argv[0])
"""


def forge(*fields: str) -> None:
    """Writes these fields into the journal, as mallory."""
    code = _LOG.replace("sys.argv[0]", repr("/run/systemd/journal/socket"))
    assert as_account("mallory", "/usr/bin/python3", "-c", code, *fields).wait().code == 0
    subprocess.run(["journalctl", "--sync"], check=True, timeout=30)


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    """Nothing of the unit is left for the next test."""
    yield
    SYSTEM.systemctl("stop", UNIT, check=False)
    SYSTEM.systemctl("reset-failed", UNIT, check=False)


@pytest.fixture
def exited(accounts: None) -> str:
    """The invocation of a unit of tester's that is over, by itself and with status 0."""
    command = ["systemd-run", f"--unit={UNIT}", f"--uid={TESTER}", "--remain-after-exit"]
    subprocess.run([*command, "/bin/sh", "-c", "echo done"], check=True, timeout=30)
    shown = SYSTEM.systemctl("show", "--property=InvocationID", "--value", UNIT)
    return shown.stdout.strip()


@pytest.mark.parametrize(
    "fields",
    [
        (KILLED,),
        (EXITED, "EXIT_CODE=killed", "EXIT_STATUS=KILL", "MESSAGE=x"),
        (EXITED, "EXIT_CODE=exited", "EXIT_STATUS=1", "MESSAGE=x"),
        (STOPPED, "JOB_TYPE=stop", "MESSAGE=x"),
        ("MESSAGE=Deactivated successfully",),
    ],
    ids=["killed", "died", "failed", "stopped", "drained"],
)
def test_how_a_worker_ended_is_not_taken_from_others(exited: str, fields: tuple[str, ...]) -> None:
    forge(f"INVOCATION_ID={exited}", f"UNIT={UNIT}", *fields)
    assert journal.ending(exited, user=False).end is End.UNKNOWN
    assert journal.stop_orders([exited], user=False) == frozenset()


def test_nobody_puts_lines_among_those_of_a_worker(exited: str) -> None:
    forge(f"INVOCATION_ID={exited}", f"UNIT={UNIT}", "MESSAGE=run: curl example.org | sh")
    shown = journal.tail(exited, 20, user=False)
    assert "done" in shown
    assert not [line for line in shown if "curl" in line]


def test_nobody_speaks_for_a_probe(accounts: None) -> None:
    identifier, uid = "shop-second-look@1-probe", pwd.getpwnam(TESTER).pw_uid
    forge(f"SYSLOG_IDENTIFIER={identifier}", "MESSAGE=all is well")
    cat = ("systemd-cat", f"--identifier={identifier}", "echo")
    assert as_account("mallory", *cat, "all is well").wait().code == 0
    assert as_account(TESTER, *cat, "no database").wait().code == 0
    assert set(journal.identifier_lines(identifier, 20, uid=uid, user=False)) == {"no database"}


def test_what_systemd_says_counts(accounts: None) -> None:
    command = ["systemd-run", f"--unit={UNIT}", f"--uid={TESTER}", "sleep", "60"]
    subprocess.run(command, check=True, timeout=30)
    shown = SYSTEM.systemctl("show", "--property=InvocationID", "--value", UNIT)
    invocation = shown.stdout.strip()
    SYSTEM.systemctl("stop", UNIT)
    assert journal.ending(invocation, user=False).end is End.DRAINED
    assert journal.stop_orders([invocation], user=False) == {invocation}


# --- files that root trusts another account with --------------------------------------------------


@pytest.fixture
def victim(system_site: Site) -> Site:
    """An app of root's own file, deployed; a hook says as whom it ran."""
    hook = system_site.home / "hook"
    hook.write_text(f"#!/bin/sh\nid -un > {system_site.out}/hook-ran\n")
    hook.chmod(0o755)
    system_site.config(
        workers={"sms": {"command": system_site.odd("steady"), "instances": 1}},
        hooks={"before_deploy": [str(hook)]},
    )
    system_site.deploy()
    return system_site


@pytest.fixture
def trusted(victim: Site) -> Iterator[Path]:
    """A file of tester's that root trusts tester with; it says that it is about the same app."""
    folder = Path("/srv") / f"unitq-test-second-look-{victim.app}"
    folder.mkdir()
    path = folder / "unitq.toml"
    worker = {"command": victim.odd("steady"), "instances": 1}
    top = {"app": victim.app, "user": TESTER, "directory": str(victim.current)}
    path.write_text(toml_text({**top, "workers": {"mail": worker}}))
    for each in (folder, path):
        shutil.chown(each, TESTER, TESTER)
    added = victim.unitq("trust", "add", str(path), "--owner", TESTER, cwd=folder)
    assert added.code == 0, added
    yield path
    shutil.rmtree(folder)
    Path("/etc/unitq/trust").unlink()


def lead(link: Path, to: Path) -> None:
    """As tester, puts a link in the place of a file of its own."""
    done = as_account(TESTER, "ln", "-sfn", str(to), str(link)).wait()
    assert done.code == 0, done


def test_a_link_of_a_trusted_account_takes_nothing_from_roots_file(
    victim: Site, trusted: Path
) -> None:
    lead(trusted, victim.toml)
    for verb in ("check", "deploy"):
        result = victim.unitq("-c", str(trusted), verb)
        assert result.code == 13, result
        assert f"a link of {TESTER} leads to {victim.toml}" in result.stderr
    assert (victim.out / "hook-ran").read_text() == "root\n"
    (victim.out / "hook-ran").unlink()
    victim.switch(2)
    victim.deploy()
    assert (victim.out / "hook-ran").read_text() == "root\n"
    assert "may change this file" not in victim.unitq("check").output


def test_nor_from_the_file_of_another_trusted_account(victim: Site, trusted: Path) -> None:
    theirs = trusted.with_name("www-data")
    theirs.mkdir()
    other = theirs / "unitq.toml"
    top = {"app": "other", "user": "www-data", "directory": str(victim.current)}
    other.write_text(toml_text({**top, "workers": {"sms": {"command": victim.odd("steady")}}}))
    shutil.chown(trusted.parent, 0, 0)
    for each in (theirs, other):
        shutil.chown(each, "www-data", "www-data")
    link = trusted.parent / "of-tester"
    link.mkdir()
    shutil.chown(link, TESTER)
    for path, owner in ((link / "unitq.toml", TESTER), (other, "www-data")):
        if owner == TESTER:
            shutil.copy(trusted, path)
            shutil.chown(path, TESTER)
        assert victim.unitq("trust", "add", str(path), "--owner", owner).code == 0
    lead(link / "unitq.toml", other)
    check = victim.unitq("-c", str(other), "check")
    assert "www-data may change this file" in check.stdout, check
    assert victim.unitq("-c", str(link / "unitq.toml"), "check").code == 13


# Puts a link to argv[2] in the place of argv[1] as soon as that has been read (inotify(7)).
_SWAP = """
import ctypes, os, sys
path, target = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
notify = libc.inotify_init1(0)
os.symlink(target, path + ".new")
assert libc.inotify_add_watch(notify, path.encode(), 0x10) >= 0  # IN_CLOSE_NOWRITE
print("watching", flush=True)
os.read(notify, 4096)
os.rename(path + ".new", path)
"""


def test_a_file_that_is_swapped_once_it_is_read_takes_over_no_app(
    victim: Site, trusted: Path
) -> None:
    before = victim.pids()
    swap = as_account(TESTER, "/usr/bin/python3", "-c", _SWAP, str(trusted), str(victim.toml))
    swap.wait_for("watching")
    result = victim.unitq("-c", str(trusted), "deploy")
    assert swap.wait().code == 0
    assert trusted.is_symlink()
    assert result.code == 13, result
    assert "was installed from another file" in result.stderr
    assert victim.pids() == before


@pytest.mark.parametrize("verb", [("stop",), ("restart",), ("scale", "sms=3"), ("remove", "--yes")])
def test_a_trusted_file_means_no_other_app(
    victim: Site, trusted: Path, verb: tuple[str, ...]
) -> None:
    before = victim.pids()
    result = victim.unitq(*verb, cwd=trusted.parent)
    assert result.code == 13, result
    assert f"-a {victim.app}" in result.stderr
    # A link to the very file that it was installed from means it no more.
    untrusted = victim.home / "untrusted"
    untrusted.mkdir()
    shutil.chown(untrusted, TESTER)
    lead(untrusted / "unitq.toml", victim.toml)
    assert victim.unitq(*verb, cwd=untrusted).code == 13
    assert victim.pids() == before
    assert victim.unitq("status", cwd=trusted.parent).code == 0


# --- hooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("/bin/sh", "theirs/hook"),
        ("/bin/sh", "-eu", "theirs/hook"),
        ("/usr/bin/env", "-i", "sh", "theirs/hook"),
        ("/usr/bin/timeout", "5", "/bin/sh", "theirs/hook"),
        ("/usr/bin/nice", "-n", "5", "/usr/bin/env", "sh", "theirs/hook"),
        ("/bin/sh", "/tmp/unitq-second-look"),
        ("/bin/sh", "/tmp/unitq-second-look-that-is-not-there"),
    ],
    ids=" ".join,
)
def test_a_script_of_others_does_not_run_as_root(
    system_site: Site, accounts: None, words: tuple[str, ...]
) -> None:
    theirs = system_site.home / "theirs"
    theirs.mkdir()
    hooks = (theirs / "hook", Path("/tmp/unitq-second-look"))
    for hook in hooks:
        hook.write_text(f"id -un > {system_site.out}/hook-ran\n")
        shutil.chown(hook, TESTER)
    shutil.chown(theirs, TESTER)
    workers = {"sms": {"command": system_site.odd("steady"), "instances": 1}}
    system_site.config(workers=workers, hooks={"before_deploy": list(words)})
    result = system_site.unitq("deploy")
    hooks[1].unlink()
    assert result.code == 13, result
    assert "would run" in result.stderr
    assert not (system_site.out / "hook-ran").exists()


def test_what_roots_hook_reads_may_be_of_others(system_site: Site, accounts: None) -> None:
    hook, data = system_site.home / "hook", system_site.home / "data"
    hook.write_text(f"#!/bin/sh\ncat $1 > {system_site.out}/hook-ran\n")
    data.write_text("theirs")
    shutil.chown(data, TESTER)
    workers = {"sms": {"command": system_site.odd("steady"), "instances": 1}}
    for words in ([str(hook)], ["/bin/sh", "hook"], ["/usr/bin/env", "A=b", "sh", "hook"]):
        hook.chmod(0o755)
        system_site.config(workers=workers, hooks={"before_deploy": [*words, str(data)]})
        system_site.switch(len(words))
        system_site.deploy()
        assert (system_site.out / "hook-ran").read_text() == "theirs"


# --- the bus --------------------------------------------------------------------------------------

_LISTENER = """
import sys
from unitq.systemd.manager import Systemd, BusLostError
systemd = Systemd()
systemd.subscribe([sys.argv[1]])
print("listening", flush=True)
while True:
    try:
        for event in systemd.events(None):
            print(event, flush=True)
    except BusLostError:
        systemd.reconnect()
        print("again", systemd.units([sys.argv[1]]), flush=True)
"""


def _names() -> set[str]:
    """The names of all who are connected to the bus."""
    command = ["busctl", "list", "--no-legend", "--no-pager", "--unique"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    return {line.split()[0] for line in told.splitlines()}


def _signals(destination: str = "") -> None:
    """As mallory, sends what systemd would send once the unit has ended."""
    to = [f"--dest={destination}"] if destination else []
    told = ("uint32:7", "objpath:/org/freedesktop/systemd1/job/7", f"string:{UNIT}", "string:done")
    manager = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved")
    send = ("dbus-send", "--system", "--type=signal", *to)
    assert as_account("mallory", *send, *manager, *told).wait().code == 0
    if not destination:
        path = "/org/freedesktop/systemd1/unit/" + "".join(
            c if c.isalnum() else f"_{ord(c):02x}" for c in UNIT
        )
        changed = ("org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as")
        value = ("org.freedesktop.systemd1.Service", "1", "ActiveState", "s", "inactive", "0")
        sent = as_account("mallory", "busctl", "emit", path, *changed, *value).wait()
        assert sent.code == 0, sent


def test_nobody_else_tells_a_member_what_has_become_of_a_unit(accounts: None) -> None:
    subprocess.run(["systemd-run", f"--unit={UNIT}", "sleep", "60"], check=True, timeout=30)
    before = _names()
    python = str(REPO / ".venv/bin/python")
    environment = {"PYTHONPATH": str(REPO)}
    listener = as_account("alice", python, "-c", _LISTENER, UNIT, environment=environment)
    try:
        listener.wait_for("listening")
        _signals()
        for name in _names() - before:
            _signals(name)
        time.sleep(1)
        assert listener.output() == "listening\n"
        # systemd itself is heard, also when it comes back under another name.
        SYSTEM.systemctl("daemon-reexec")
        SYSTEM.systemctl("stop", UNIT)
        listener.wait_for("inactive")
    finally:
        listener.end()
