"""Bad input and broken hosts: a clear error, the right exit code, and nothing changed.

Every test compares the unit directory, the state directory and the processes before and after,
byte by byte, whatever unitq says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import Scope, Site, sites, toml_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.systemd.conftest import Result

    MakeSite = Callable[..., Site]

pytestmark = pytest.mark.systemd


# --- what there is --------------------------------------------------------------------------------


def listing(folder: Path) -> dict[str, str]:
    """Every file, link and folder below, with its mode and a hash of what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.exists() else []:
        mode = f"{path.lstat().st_mode:o}"
        if path.is_symlink():
            found[str(path)] = f"{mode} -> {os.readlink(path)}"
        elif path.is_dir():
            found[str(path)] = mode
        else:
            found[str(path)] = f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def everything(site: Site) -> dict[str, Any]:
    """All that unitq might change."""
    return {
        "units": listing(site.scope.unit_dir),
        "state": listing(site.scope.state_dir),
        "config": site.toml.read_bytes() if site.toml.is_file() else b"",
        "pids": site.pids(),
        "processes": sorted(process.pid for process in site.workers()),
    }


def said(result: Result, code: int, *words: str) -> Result:
    """What every refusal looks like: its code, its words on stderr, and no traceback."""
    assert result.code == code, result
    assert "Traceback" not in result.output, result
    assert "internal error" not in result.output, result
    for word in words:
        assert word in result.stderr, f"{word!r} is not said: {result}"
    assert result.stderr.startswith(("unitq: ", "Usage: ", "Error: ")), result
    return result


@contextmanager
def unchanged(site: Site) -> Iterator[None]:
    """Nothing is changed by what is done in the block."""
    before = everything(site)
    yield
    assert everything(site) == before


def steady(site: Site, **top: Any) -> Site:
    """Two instances of a worker that behaves."""
    site.config(
        workers={"sms": {"command": site.odd("steady"), "instances": 2}},
        rollout={"min_healthy": "100ms"},
        **top,
    )
    return site


@pytest.fixture(scope="module", params=["system", "user"])
def app(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One deployed app, which no test in here may change."""
    with sites() as make:
        site = steady(make(Scope(request.param)))
        site.deploy()
        yield site


# --- the file -------------------------------------------------------------------------------------

HEAD = 'app = "APP"\ndirectory = "/srv"\n'
WORKER = '[workers.sms]\ncommand = "/bin/sleep 9"\n'

BROKEN = {
    "empty": ("", "app: missing"),
    "no TOML": ("app = shop\n", "line 1"),
    "unknown key": (HEAD + 'usr = "root"\n' + WORKER, 'usr: unknown key, did you mean "user"?'),
    "no worker": (HEAD, "workers: missing"),
    "a float of instances": (HEAD + WORKER + "instances = 2.0\n", "workers.sms.instances"),
    "too many instances": (HEAD + WORKER + "instances = 4097\n", "got 4097"),
    "beyond Python": (HEAD + WORKER + f"instances = {'9' * 5000}\n", "huge number"),
    "no signal": (HEAD + WORKER + 'stop_signal = "SIGQIUT"\n', '"SIGQUIT"'),
    "a line break": (HEAD + '[workers.sms]\ncommand = "a\\nUser=root"\n', "line break"),
    "a backslash at the end": (HEAD + "[workers.sms]\ncommand = 'x \\'\n", "backslash"),
    "our directive": (HEAD + WORKER + '[workers.sms.service]\nExecStart = "x"\n', "use command"),
    "a way out": ('app = "APP"\ndirectory = "/srv/../etc"\n' + WORKER, '".."'),
    "no directory": ('app = "APP"\n' + WORKER, "directory: missing"),
}  # fmt: skip


def test_a_broken_file_is_told_and_nothing_is_changed(app: Site) -> None:
    path = app.home / "broken.toml"
    # The parsing is the same in both scopes, and tested in detail in tests/unit/config.
    cases = dict(list(BROKEN.items())[:3]) if app.scope.user else BROKEN
    with unchanged(app):
        for text, words in cases.values():
            path.write_text(text.replace("APP", app.app))
            path.chmod(0o644)
            said(app.unitq("deploy", "-c", str(path)), 2, "broken.toml", words)
        for verb in (["plan"], ["check"], ["render"], ["deploy", "--dry-run"]):
            said(app.unitq(*verb, "-c", str(path)), 2, "broken.toml", words)
        # What runs is no matter of the file: it is there for the app's name only.
        path.write_text(f'app = "{app.app}"\ninstences = 3\n')
        assert app.unitq("status", "-c", str(path)).code == 0


NAMES = ["../x", "a b", "", "..", "-rf", "é", "a.b", "a@1", "a%i", "x" * 300]


def test_unsafe_names_reach_neither_a_path_nor_a_unit(app: Site) -> None:
    path = app.home / "names.toml"
    worker = {"command": "/bin/sleep 9"}
    with unchanged(app):
        for name in NAMES[::4] if app.scope.user else NAMES:
            document = {"app": name, "directory": "/srv", "workers": {name: worker}}
            path.write_text(toml_text(document))
            path.chmod(0o644)
            done = said(app.unitq("deploy", "-c", str(path)), 2, "2 mistakes")
            assert "a name of letters, digits" in done.stderr
        for name in ("..", f"../unitq/{app.app}", "/etc", "x" * 300):
            said(app.unitq("-a", name, "status"), 4, "no app")
            said(app.unitq("remove", "-a", name, "--yes"), 4, "no app")
        said(app.unitq("-a", app.app, "scale", "../x=3"), 4, "no worker")


def test_a_name_that_systemd_would_find_too_long(app: Site) -> None:
    path = app.home / "long.toml"
    document = {"app": "a" + "-" * 60, "directory": "/srv",
                "workers": {"b" + "-" * 60: {"command": "/bin/sleep 9"}}}  # fmt: skip
    path.write_text(toml_text(document))
    path.chmod(0o644)
    with unchanged(app):
        said(app.unitq("deploy", "-c", str(path)), 2, "systemd allows 255")


def test_a_file_that_cannot_be_read(app: Site) -> None:
    with unchanged(app):
        said(app.unitq("deploy", "-c", "/nosuch.toml"), 2, "/nosuch.toml: No such file")
        said(app.unitq("deploy", "-c", "/etc"), 2, "/etc: Is a directory")
        said(app.unitq("deploy", "-c", "/proc/self/mem"), 2, "/proc/self/mem")
        said(app.unitq("deploy", "-c", "/dev/zero"), 2, "/dev/zero")
        if app.scope.user:
            said(app.unitq("deploy", "-c", "/etc/shadow"), 2, "/etc/shadow: Permission denied")


# --- what the file names is not there -------------------------------------------------------------


def refused(site: Site, *words: str, code: int = 13, **worker: Any) -> None:
    """A deploy with this worker is refused, and check finds the same."""
    site.config(workers={"sms": {"command": site.odd("steady"), **worker}})
    with unchanged(site):
        assert not said(site.unitq("deploy"), code, *words).stdout
        found = site.unitq("check")
        assert found.code == 3, found
        assert "Traceback" not in found.output
        for word in words:
            assert word in found.stdout
        assert "not ready" in found.stdout


@pytest.fixture
def bare(system_site: Site) -> Site:
    """An app that was never deployed; what a deploy looks for is the same in both scopes."""
    return system_site


def test_a_missing_user_or_group(system_site: Site) -> None:
    site = system_site
    refused(site, "workers.sms.user", "there is no user nosuch", user="nosuch")
    refused(site, "workers.sms.group", "there is no group nosuch", group="nosuch")


def test_user_scope_cannot_change_the_user(user_site: Site) -> None:
    refused(user_site, "workers.sms.user", "with --user every worker runs as you", user="root")


def test_a_missing_program(bare: Site) -> None:
    refused(bare, "workers.sms.command", "/nosuch/program", command="/nosuch/program x")
    refused(bare, "workers.sms.command", "no program nosuch-program", command="nosuch-program x")
    refused(bare, "workers.sms.command", "releases/1/bin/nosuch", command="bin/nosuch x")
    refused(bare, "workers.sms.command", "releases/1/bin/no.sh", command="/bin/sh bin/no.sh x")
    (bare.release(1) / "plain").write_text("#!/bin/sh\n")
    refused(bare, "workers.sms.command", "is not executable", "chmod +x", command="./plain")


def test_a_missing_directory(bare: Site) -> None:
    refused(bare, "workers.sms.directory", "/nosuch/dir", directory="/nosuch/dir")
    refused(bare, "workers.sms.directory", "not a directory", directory="/etc/passwd")
    bare.current.unlink()
    bare.current.symlink_to("current")
    refused(bare, "workers.sms.directory", str(bare.current))
    bare.current.unlink()
    bare.current.symlink_to("releases/gone")
    refused(bare, "workers.sms.directory", "No such file or directory")


def test_a_missing_or_damaged_environment_file(bare: Site) -> None:
    refused(bare, "environment_file", "/nosuch.env: No such file", environment_file="/nosuch.env")
    refused(bare, "environment_file", "/etc: ", environment_file="/etc")
    path = bare.home / "nul.env"
    path.write_bytes(b"A=\0\n")
    path.chmod(0o644)
    refused(bare, "environment_file", "NUL byte", environment_file=str(path))
    refused(bare, "environment_file", "/dev/zero: not a file", environment_file="/dev/zero")
    path.write_bytes(b"#" * (1 << 21))
    refused(bare, "environment_file", "larger than", environment_file=str(path))


@pytest.mark.variants
@pytest.mark.parametrize(
    ("place", "says", "wrong"),
    [
        ("environment_file", "/nosuch.env: No such file", {"environment_file": "/nosuch.env"}),
        ("directory", "/nosuch/dir: No such file", {"directory": "/nosuch/dir"}),
        ("directory", "git names no commit", {"code_version": "git"}),
    ],
)
def test_what_is_missing_hides_no_other_finding(
    bare: Site, place: str, says: str, wrong: dict[str, Any]
) -> None:
    own = {} if "code_version" in wrong else wrong
    workers = {
        "sms": {"command": bare.odd("steady"), **own},
        "mail": {"command": "/nosuch/program", "user": "nosuch"},
        "cold": {"command": bare.odd("steady"), "stop_timeout": "5s"},
    }
    bare.config(workers=workers, **({} if own else wrong))
    others = ("there is no user nosuch", "no program /nosuch/program")
    with unchanged(bare):
        found = bare.unitq("check", "--json")
        assert found.code == 3, found
        rows = found.json["findings"]
        assert [r["message"] for r in rows if says in r["message"]], rows
        assert {r["place"] for r in rows if says in r["message"]} == (
            {f"workers.sms.{place}"} if own else {place}
        )
        assert all(any(other in row["message"] for row in rows) for other in others), rows
        assert any(row["name"] == "short-stop" for row in rows)
        said(bare.unitq("deploy"), 13, says, *others)


def test_what_only_root_may_read_hides_no_other_finding(bare: Site) -> None:
    path = bare.home / "secret.env"
    path.write_text("A=1\n")
    path.chmod(0o600)
    workers = {"mail": {"command": "/nosuch/program", "environment_file": str(path)}}
    bare.config(workers=workers)
    done = Scope("user").run("unitq", "-c", str(bare.toml), "check")
    assert done.code == 5, done
    assert "no program /nosuch/program" in done.stdout
    assert f"error: workers.mail.environment_file: {path}: Permission denied" in done.stdout
    found = bare.unitq("check")
    assert (found.code, str(path) in found.stdout) == (3, False), found


def test_a_broken_template_hides_no_other_finding(bare: Site) -> None:
    folder = Path("/etc/unitq/units")
    folder.mkdir(parents=True)
    try:
        (folder / "worker@.service.j2").write_text("{% if %}")
        bare.config(workers={"mail": {"command": "/nosuch/program"}})
        found = bare.unitq("check")
        assert found.code == 2, found
        for word in ("units: unit template worker@.service.j2", "no program /nosuch/program"):
            assert word in found.stdout
    finally:
        shutil.rmtree(folder)


def test_what_systemd_itself_would_ignore_is_refused(system_site: Site) -> None:
    site = system_site
    ignored: list[dict[str, Any]] = [
        {"MemoryMax": "lots"},
        {"NoSuchDirective": "x"},
        {"ProtectHome": "perhaps"},
        {"ExecStartPre": "relative/path"},
        {"SuccessExitStatus": "SIGNOPE"},
    ]
    steady_ = {"command": site.odd("steady")}
    site.config(workers={f"w{n}": {**steady_, "service": each} for n, each in enumerate(ignored)})
    with unchanged(site):
        done = said(site.unitq("deploy"), 13, "systemd says: ", "nothing was changed")
        for number, table in enumerate(ignored):
            (name,) = table
            assert f"-w{number}@.service" in done.stderr
            assert f"({name}=" in done.stderr


def test_a_command_line_that_systemd_cannot_read_is_refused(system_site: Site) -> None:
    site = system_site
    for command in ('""', "-", "@/bin/sleep", "/bin/a ; /bin/b", "/bin/sleep 'x", "/bin/sleep %Q"):
        site.config(workers={"sms": {"command": command}})
        with unchanged(site):
            said(site.unitq("deploy"), 13, "nothing was changed")


def test_all_that_is_missing_is_told_at_once(system_site: Site) -> None:
    site = system_site
    site.config(
        workers={
            "a": {"command": "/nosuch/program", "user": "nosuch"},
            "b": {"command": site.odd("steady"), "service": {"MemoryMax": "lots"}},
        }
    )
    with unchanged(site):
        said(site.unitq("deploy"), 13, "workers.a.command", "workers.a.user", "MemoryMax", "nosuch")


# --- units that are not ours ----------------------------------------------------------------------


@contextmanager
def foreign(path: Path, text: str | None, *, owner: Site) -> Iterator[None]:
    """A unit file of that name; None: a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.symlink_to("/dev/null")
    else:
        path.write_text(text)
    if owner.scope.user:
        shutil.chown(path.parent, "tester")
    owner.systemctl("daemon-reload")
    try:
        yield
    finally:
        path.unlink()
        owner.systemctl("daemon-reload")


FOREIGN = {
    "by hand": "[Service]\nExecStart=/bin/sleep 9\n",
    "empty": "",
    "mask": None,
    "rubbish": "\x00\x01[",
    "claims nothing": "[X-Unitq]\n",
    "of another app": "[X-Unitq]\nApp=another\n[Service]\nExecStart=/bin/sleep 9\n",
}


def test_a_unit_of_that_name_that_is_not_ours_is_left_alone(site: Site) -> None:
    steady(site)
    path = site.scope.unit_dir / f"unitq-{site.app}-sms@.service"
    for kind in ("mask", "by hand") if site.scope.user else FOREIGN:
        text = FOREIGN[kind]
        words = "app another has it" if kind == "of another app" else "unitq did not write it"
        with foreign(path, text, owner=site), unchanged(site):
            said(site.unitq("deploy"), 13, str(path), words, "unmask")
    # With it out of the way all is well.
    site.deploy()


def test_another_app_whose_names_lead_to_the_same_unit(make_site: MakeSite, scope: Scope) -> None:
    # shop + a-b and shop-a + b: both are unitq-shop-a-b@.service.
    one = make_site(scope)
    two = make_site(scope, name=f"{one.app}-a")
    one.config(workers={"a-b": {"command": one.odd("steady")}})
    one.deploy()
    two.config(workers={"b": {"command": two.odd("steady")}})
    with unchanged(one), unchanged(two):
        said(two.unitq("deploy"), 13, f"app {one.app} has it", "rename the app or the worker")


def test_an_app_whose_name_begins_like_anothers_does_not_touch_it(
    make_site: MakeSite, scope: Scope
) -> None:
    # The longer one first: at the end the shorter one is removed first, and leaves nothing.
    name = f"shop-{secrets.token_hex(3)}"
    long = make_site(scope, name=f"{name}-sms")
    short = make_site(scope, name=name)
    for site in (long, short):
        steady(site).deploy()
    pids = long.pids()
    short.unitq("stop")
    assert long.pids() == pids
    assert short.unitq("remove", "--yes").code == 0
    assert long.pids() == pids
    assert long.unitq("status").code == 0


def test_a_workers_name_may_be_a_word_of_ours(system_site: Site) -> None:
    site = system_site
    worker = {"command": site.odd("steady"), "instances": 1}
    names = (
        "units",
        "pins",
        "current",
        "revisions",
        "revision",
        "release",
        "env",
        "stdin",
        "slice",
    )
    site.config(workers=dict.fromkeys(names, worker), rollout={"min_healthy": "100ms"})
    site.deploy()
    assert site.unitq("scale", "units=2").code == 0
    assert site.active() == len(names) + 1
    assert site.unitq("status").code == 0


# --- without the rights ---------------------------------------------------------------------------


def test_not_root_in_system_scope(system_site: Site) -> None:
    site = steady(system_site)
    site.deploy()
    site.switch(2)
    tester = Scope("user")

    def unitq(*arguments: str) -> Result:
        return tester.run(sys.executable, "-m", "unitq", *arguments, cwd=site.home)

    with unchanged(site):
        for arguments in (["deploy"], ["stop"], ["start"], ["restart"], ["scale", "sms=3"],
                          ["signal", "--force", "HUP"], ["remove", "--yes"]):  # fmt: skip
            done = said(unitq(*arguments), 5)
            assert "root" in done.stderr
            assert "--user" in done.stderr
        # What only looks is allowed.
        assert unitq("plan").code == 12
        assert unitq("status").code == 0
        assert unitq("check").code == 0


def test_root_may_not_use_a_users_state_by_mistake(user_site: Site) -> None:
    site = steady(user_site)
    site.deploy()
    with unchanged(site):
        # sudo without a login: HOME is another user's, and so is the runtime directory.
        done = site.scope.run(
            sys.executable, "-m", "unitq", "--user", "status", environment={"HOME": "/root"}
        )
        said(done, 5, "Permission denied")


# --- without systemd, without the bus -------------------------------------------------------------


def without(paths: Sequence[str], *argv: str, cwd: Path) -> Result:
    """Run it in a mount namespace of its own where these sockets lead nowhere."""
    hide = " && ".join(f"mount --bind /dev/null {path}" for path in paths)
    system = Scope("system")
    return system.run(
        "unshare", "--mount", "--", "sh", "-c", f'{hide} && exec "$@"', "sh", *argv, cwd=cwd
    )


PRIVATE, BUS = "/run/systemd/private", "/run/dbus/system_bus_socket"


def test_no_systemd_to_talk_to(system_site: Site) -> None:
    site = steady(system_site)
    site.deploy()
    site.switch(2)
    unitq = (sys.executable, "-m", "unitq")
    with unchanged(site):
        for arguments in (["deploy"], ["plan"], ["status"], ["restart"], ["stop"]):
            done = without([PRIVATE, BUS], *unitq, *arguments, cwd=site.home)
            said(done, 1, "no systemd to talk to", "PID 1")
        # These need none.
        for arguments in (["render"], ["schema"], ["--version"]):
            assert without([PRIVATE, BUS], *unitq, *arguments, cwd=site.home).code == 0
    # Without the private socket the bus does, and without the bus the private socket.
    for missing in (PRIVATE, BUS):
        done = without([missing], *unitq, "status", cwd=site.home)
        assert done.code == 0, done
    done = without([PRIVATE], *unitq, "deploy", cwd=site.home)
    assert done.code == 0, done
    assert set(site.revisions().values()) == {
        os.readlink(site.scope.state_dir / site.app / "current").rpartition("/")[2]
    }


def test_no_user_manager_to_talk_to(user_site: Site) -> None:
    site = steady(user_site)
    with unchanged(site):
        for directory in ("/run/user/99999", "/nosuch", "/tmp"):
            done = site.scope.run(
                *(sys.executable, "-m", "unitq", "--user", "deploy"),
                cwd=site.home,
                environment={"XDG_RUNTIME_DIR": directory},
            )
            said(done, done.code, "")
            assert done.code in (1, 5, 13), done
    # status, which needs no lock: it is the manager that is missing.
    site.deploy()
    with unchanged(site):
        done = site.scope.run(
            *(sys.executable, "-m", "unitq", "--user", "status"),
            environment={"XDG_RUNTIME_DIR": "/nosuch"},
        )
        said(done, 1, "no user manager to talk to", "enable-linger")


def test_outside_of_the_sandbox_there_is_none(system_site: Site) -> None:
    site = steady(system_site)
    unitq = (sys.executable, "-m", "unitq")
    with unchanged(site):
        # A root without /run, as in a container.
        done = site.scope.run(
            "unshare", "--mount", "--", "sh", "-c",
            'mount -t tmpfs none /run && exec "$@"', "sh", *unitq, "deploy", cwd=site.home,
        )  # fmt: skip
        said(done, 1, "no systemd to talk to")


# --- a disk that says no --------------------------------------------------------------------------


@contextmanager
def mounted(site: Site, path: Path) -> Iterator[Callable[[str], None]]:
    """A tmpfs with a copy of the folder over it; yields a function that changes its options.

    All of it happens on top: what the test leaves there is gone at the end.
    """
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    if site.scope.user:
        for folder in (path, path.parent, path.parent.parent):
            shutil.chown(folder, "tester", "tester")
    copy = Path(tempfile.mkdtemp(prefix="unitq-test-"))
    run("mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "none", str(copy))
    run("cp", "-a", f"{path}/.", str(copy))
    run("mount", "--bind", str(copy), str(path))
    try:
        yield lambda options: run("mount", "-o", f"remount,{options}", str(copy))
    finally:
        # Lazily: after a failure, workers may still have a file in there open.
        run("umount", "--lazy", str(path))
        run("umount", "--lazy", str(copy))
        copy.rmdir()
        if made:
            path.rmdir()


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=20)


def inodes(path: Path) -> int:
    """How many files there are on this file system."""
    found = os.statvfs(path)
    return found.f_files - found.f_ffree


def fill(site: Site, path: Path, limit: Callable[[str], None], code: int = 13) -> int:
    """Deploy with room for one file more each time, until there is enough; returns how often.

    tmpfs gives each file, folder and link one inode: so this fails at each of them in turn.
    """
    base = inodes(path)
    for room in range(60):
        limit(f"nr_inodes={base + room}")
        before = everything(site)
        done = site.unitq("deploy")
        if done.code == 0:
            return room
        if done.code != 13:
            # The revision is in place; what fails now is in systemd's or the rollout's hands.
            return room
        said(done, code, "No space left on device", str(path), "nothing was changed")
        assert everything(site) == before, f"changed with room for {room}"
    raise AssertionError("never enough room")


def test_a_full_disk_at_each_write_of_a_first_deploy(system_site: Site) -> None:
    site = steady(system_site)
    state = site.scope.state_dir
    with mounted(site, state) as limit:
        times = fill(site, state, limit)
        assert times > 10, "it wrote more files than that"
        assert not site.show() or site.active() <= 2
        limit("nr_inodes=10000")
        site.deploy()
        assert site.active() == 2
        assert site.unitq("remove", "--yes").code == 0


def test_a_full_disk_at_each_write_of_a_later_deploy(user_site: Site) -> None:
    site = steady(user_site)
    state = site.scope.state_dir
    with mounted(site, state) as limit:
        site.deploy()
        pids = site.pids()
        site.switch(2)
        site.config(
            workers={"sms": {"command": site.odd("steady"), "instances": 2, "nice": 1}},
            rollout={"min_healthy": "100ms"},
        )
        assert fill(site, state, limit) > 5
        limit("nr_inodes=10000")
        site.deploy()
        assert not set(site.pids().values()) & set(pids.values())
        assert site.unitq("status").code == 0
        assert site.unitq("remove", "--yes").code == 0


def test_a_full_disk_at_each_unit_file(system_site: Site) -> None:
    site = steady(system_site)
    units = site.scope.unit_dir
    with mounted(site, units) as limit:
        assert fill(site, units, limit) >= 4
        limit("nr_inodes=10000")
        site.deploy()
        assert site.active() == 2
        assert site.unitq("status").code == 0
        assert site.unitq("remove", "--yes").code == 0
    site.systemctl("daemon-reload")


@pytest.mark.parametrize(("where", "place"), [("system", "unit_dir"), ("user", "state_dir")])
def test_a_read_only_folder(make_site: MakeSite, where: str, place: str) -> None:
    site = steady(make_site(Scope(where)))
    folder: Path = getattr(site.scope, place)
    with mounted(site, folder) as remount:
        remount("ro")
        with unchanged(site):
            said(site.unitq("deploy"), 13, "Read-only file system", "nothing was changed")
        remount("rw")
        site.deploy()
        site.switch(2)
        remount("ro")
        with unchanged(site):
            said(site.unitq("scale", "sms=3"), 13, "Read-only file system", "nothing was changed")
            if place == "state_dir":
                said(site.unitq("deploy"), 13, "Read-only file system", "nothing was changed")
        if place == "unit_dir":
            # New code alone needs nothing to be written there.
            site.deploy()
        remount("rw")
        site.unitq("remove", "--yes")
    site.systemctl("daemon-reload")


def test_no_room_at_all_for_content(system_site: Site) -> None:
    site = steady(system_site)
    for folder in (site.scope.unit_dir, site.scope.state_dir):
        with mounted(site, folder) as limit:
            # All blocks are taken: a file can be made, and nothing written into it.
            used = sum(f.stat().st_blocks for f in folder.rglob("*") if f.is_file()) // 8
            limit(f"size={4 * max(1, used)}k")
            filler = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
            with contextlib.suppress(OSError):
                while True:
                    os.write(filler, b"\0" * 4096)
            os.close(filler)
            with unchanged(site):
                said(site.unitq("deploy"), 13, "No space left on device", str(folder))


def test_an_immutable_folder(system_site: Site) -> None:
    site = steady(system_site)
    folder = site.scope.unit_dir
    with mounted(site, folder):
        version = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
        if version < (6, 6):
            pytest.skip("tmpfs has had such attributes since Linux 6.6")
        run("chattr", "+i", str(folder))
        try:
            with unchanged(site):
                done_ = said(site.unitq("deploy"), 5, "Operation not permitted", "lsattr")
                assert "sudo" not in done_.stderr
        finally:
            run("chattr", "-i", str(folder))


def test_a_lock_that_cannot_be_taken(site: Site) -> None:
    steady(site)
    site.deploy()
    with mounted(site, site.scope.runtime_dir) as remount:
        remount("ro")
        with unchanged(site):
            said(site.unitq("deploy"), 13, "cannot take the lock", "Read-only file system")
        remount("rw")


# --- damage ---------------------------------------------------------------------------------------


def test_a_damaged_record_is_told_and_what_runs_goes_on(system_site: Site) -> None:
    site = steady(system_site)
    site.deploy()
    record = site.scope.state_dir / site.app / "current/revision.json"
    whole = record.read_bytes()
    for content in (b"", b"\0" * 400, b"[]", b'{"format": 1}'):
        record.write_bytes(content)
        with unchanged(site):
            for arguments in (["status"], ["deploy"]):
                said(site.unitq(*arguments), 1, str(record), "damaged")
    record.write_bytes(whole)
    assert site.unitq("status").code == 0


def test_a_unit_file_that_somebody_edited_is_put_right(system_site: Site) -> None:
    site = steady(system_site)
    site.deploy()
    pids = site.pids()
    path = site.scope.unit_dir / f"unitq-{site.app}-sms@.service"
    whole = path.read_text()
    path.write_text(whole.replace("KillSignal=SIGQUIT", "KillSignal=SIGKILL"))
    planned = site.unitq("plan")
    assert planned.code == 12
    assert "-KillSignal=SIGKILL" in planned.stdout
    site.deploy()
    assert path.read_text() == whole
    assert site.pids() == pids


def test_remove_takes_what_is_left_of_an_app(system_site: Site) -> None:
    site = steady(system_site)
    site.deploy()
    # Somebody has begun to clear up by hand.
    (site.scope.unit_dir / site.target).unlink()
    (site.scope.unit_dir / f"unitq-{site.app}-sms@.service").unlink()
    site.systemctl("daemon-reload")
    done = site.unitq("remove", "--yes")
    assert done.code == 0, done
    assert not site.files()
    assert not site.workers()
