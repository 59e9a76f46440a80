"""Root obeys only root: attacks on what unitq reads, by the account that deploys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import TESTER, toml_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# What reads unitq.toml, and what it is told to do with it.
OBEYING = [
    ("check",),
    ("plan",),
    ("render",),
    ("deploy",),
    ("deploy", "--detach"),
    ("deploy", "--dry-run"),
    ("queues",),
    ("takeover", "--dry-run"),
]


@pytest.fixture
def steady(system_site: Site) -> Site:
    """An app of root's own file, deployed."""
    system_site.config(workers={"sms": {"command": system_site.odd("steady"), "instances": 1}})
    return system_site


@pytest.fixture
def theirs(system_site: Site) -> Iterator[Path]:
    """A folder that the deploying account owns, with its own unitq.toml and a hook in it."""
    folder = Path("/srv") / f"unitq-test-theirs-{system_site.app}"
    folder.mkdir()
    hook = folder / "hook"
    hook.write_text(f"#!/bin/sh\nid -un > {system_site.out}/hook-ran\n")
    hook.chmod(0o755)
    document = {
        "app": system_site.app,
        "directory": str(system_site.current),
        "user": TESTER,
        "hooks": {"before_deploy": ["hook"]},
        "workers": {"sms": {"command": system_site.odd("steady")}},
    }
    (folder / "unitq.toml").write_text(toml_text(document))
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, TESTER, TESTER)
    yield folder
    shutil.rmtree(folder)
    Path("/etc/unitq/trust").unlink(missing_ok=True)


def untouched(site: Site) -> bool:
    """Whether nothing at all was done."""
    return not site.files() and not (site.out / "hook-ran").exists()


@pytest.mark.parametrize("arguments", OBEYING, ids=" ".join)
def test_root_does_not_obey_the_file_of_another(
    system_site: Site, theirs: Path, arguments: tuple[str, ...]
) -> None:
    for where in (
        {"cwd": theirs},
        {"environment": {"UNITQ_CONFIG": f"{theirs}/unitq.toml"}},
    ):
        result = system_site.unitq(*arguments, **where)
        assert result.code == 13, result
        assert f"belongs to {TESTER}" in result.stderr
        assert f"unitq trust add {theirs}/unitq.toml --owner {TESTER}" in result.stderr
        assert f"/etc/unitq/{system_site.app}.toml" in result.stderr
    assert untouched(system_site)


def as_typed(site: Site, words: str) -> subprocess.CompletedProcess[str]:
    """Runs what a hint says, as an operator does who copies it into a shell."""
    venv = str(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", "-c", words],
        cwd=site.home,
        env={"PATH": f"{venv}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ways(stderr: str) -> list[str]:
    """The commands of a refusal, in order."""
    lines = stderr.splitlines()
    found = [line.removeprefix("  hint: ") for line in lines if line.startswith("  hint: ")]
    return found + [line.split(": ", 1)[1] for line in lines if line.startswith("  or, ")]


def test_each_way_out_works_as_it_is_printed(system_site: Site, theirs: Path) -> None:
    # A place with a space, which an app deployed by an earlier unitq runs from.
    place = theirs / "the app"
    place.mkdir()
    file = (theirs / "unitq.toml").rename(place / "unitq.toml")
    rewrite(file, '"hook"', f'"{theirs}/hook"')
    rewrite(file, f'["{theirs}/hook"]', f'{{ command = ["{theirs}/hook"], user = "{TESTER}" }}')
    for path in (place, file):
        shutil.chown(path, TESTER, TESTER)
    roots = Path(f"/etc/unitq/{system_site.app}.toml")
    roots.unlink(missing_ok=True)
    refused = system_site.unitq("-c", str(file), "deploy")
    install, trust = ways(refused.stderr)
    assert "\\n" not in refused.stderr, refused.stderr
    assert as_typed(system_site, trust).returncode == 0
    assert system_site.unitq("-c", str(file), "deploy").code == 0
    assert system_site.unitq("trust", "remove", str(file)).code == 0
    # Now the app belongs to that file, so the other one has to take it over.
    install, _ = ways(system_site.unitq("-c", str(file), "deploy").stderr)
    try:
        done = as_typed(system_site, install)
        assert done.returncode == 0, done
        assert roots.stat().st_uid == 0
    finally:
        roots.unlink(missing_ok=True)


def test_a_hint_does_not_say_to_overwrite_another_file(system_site: Site, theirs: Path) -> None:
    roots = Path(f"/etc/unitq/{system_site.app}.toml")
    roots.parent.mkdir(exist_ok=True)
    roots.write_text("# root's\n")
    try:
        result = system_site.unitq("-c", str(theirs / "unitq.toml"), "deploy")
        hint = ways(result.stderr)[0]
        assert hint.startswith(f"{roots} exists: `diff {roots} {theirs}/unitq.toml` first")
    finally:
        roots.unlink()


def test_the_file_of_a_release_is_trusted_by_its_link(system_site: Site, theirs: Path) -> None:
    release = theirs / "releases" / "1"
    release.mkdir(parents=True)
    file = (theirs / "unitq.toml").rename(release / "unitq.toml")
    link = theirs / "current"
    link.symlink_to("releases/1")
    rewrite(file, f'"{system_site.current}"', f'"{link}"')
    result = system_site.unitq("deploy", cwd=release)
    assert ways(result.stderr)[1] == f"unitq trust add {link}/unitq.toml --owner {TESTER}"


def _mode_of_file(folder: Path) -> Path:
    (folder / "unitq.toml").chmod(0o666)
    return folder / "unitq.toml"


def _group_of_file(folder: Path) -> Path:
    os.chown(folder / "unitq.toml", 0, 33)
    (folder / "unitq.toml").chmod(0o664)
    return folder / "unitq.toml"


def _mode_of_folder(folder: Path) -> Path:
    folder.chmod(0o777)
    return folder / "unitq.toml"


def _owner_of_folder(folder: Path) -> Path:
    shutil.chown(folder, TESTER)
    return folder / "unitq.toml"


def _link_into_theirs(folder: Path) -> Path:
    theirs = folder / "theirs"
    theirs.mkdir()
    (folder / "unitq.toml").rename(theirs / "unitq.toml")
    shutil.chown(theirs, TESTER)
    (folder / "unitq.toml").symlink_to("theirs/unitq.toml")
    return folder / "unitq.toml"


def _link_through_theirs(folder: Path) -> Path:
    # The folder that the link leads through is theirs, what it leads to is not.
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "back").symlink_to(folder)
    shutil.chown(theirs, TESTER)
    return theirs / "back" / "unitq.toml"


def _link_in_tmp(folder: Path) -> Path:
    link = Path("/tmp") / f"{folder.name}.toml"
    link.symlink_to(folder / "unitq.toml")
    os.chown(link, 1000 if TESTER == "root" else _uid(), -1, follow_symlinks=False)
    return link


def _hard_link_in_tmp(folder: Path) -> Path:
    link = Path("/srv") / f"sticky-{folder.name}"
    link.mkdir()
    link.chmod(0o1777)
    os.link(folder / "unitq.toml", link / "unitq.toml")
    return link / "unitq.toml"


def _acl(folder: Path) -> Path:
    subprocess.run(["setfacl", "-m", f"u:{TESTER}:rw", folder / "unitq.toml"], check=True)
    return folder / "unitq.toml"


def _uid() -> int:
    import pwd

    return pwd.getpwnam(TESTER).pw_uid


@pytest.mark.parametrize(
    "prepare",
    [
        _mode_of_file,
        _group_of_file,
        _mode_of_folder,
        _owner_of_folder,
        _link_into_theirs,
        _link_through_theirs,
        _link_in_tmp,
        _hard_link_in_tmp,
        _acl,
    ],
)
def test_every_way_to_change_a_file_counts(steady: Site, prepare: Callable[[Path], Path]) -> None:
    path = prepare(steady.home)
    try:
        for verb in ("check", "deploy"):
            result = steady.unitq("-c", str(path), verb, cwd=Path("/"))
            assert result.code == 13, result
            assert "root does not obey this unitq.toml" in result.stderr
        assert untouched(steady)
    finally:
        if not path.is_relative_to(steady.home):
            path.unlink()
            if path.parent.name.startswith("sticky"):
                path.parent.rmdir()


def test_a_sticky_folder_is_no_hole_for_what_is_roots_in_it(steady: Site) -> None:
    folder = steady.home / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    shutil.copy(steady.toml, folder / "unitq.toml")
    assert steady.unitq("check", cwd=folder).code == 0


def test_a_file_of_others_names_no_app_to_change(steady: Site, theirs: Path) -> None:
    """He writes another app's name into his file; root stops something in his folder."""
    steady.deploy()
    before = steady.pids()
    for verb in (
        ("stop",),
        ("restart",),
        ("start",),
        ("scale", "sms=3"),
        ("pause",),
        ("rollback",),
        ("signal", "KILL"),
        ("recycle",),
        ("remove", "--yes"),
    ):
        result = steady.unitq(*verb, cwd=theirs)
        assert result.code == 13, (verb, result)
    assert steady.pids() == before
    # What reads works.
    assert steady.unitq("status", cwd=theirs).code == 0
    assert steady.unitq("-a", steady.app, "restart", cwd=theirs).code == 0


def test_what_is_deployed_runs_on_where_its_file_is_no_longer_roots(steady: Site) -> None:
    steady.deploy()
    shutil.chown(steady.toml, TESTER)
    for verb in ("status", "history", "show", "releases", "logs"):
        assert steady.unitq(verb).code == 0, verb
    result = steady.unitq("deploy")
    assert result.code == 13
    assert "install -D -m 644" in result.stderr
    # It is that app's own file: what is installed may be restarted.
    assert steady.unitq("restart").code == 0


def test_queues_of_what_is_deployed_are_read_with_the_rights_of_its_owner(
    steady: Site, redis: RedisServer
) -> None:
    """He has `queues` send a root-only file to his Redis as password."""
    command = steady.odd("steady")
    worker = {"sms": {"command": command, "instances": 1, "preset": "php-resque"}}
    steady.config(workers=worker, redis={"url": redis.url})
    steady.deploy()
    shutil.chown(steady.toml, TESTER)
    assert steady.unitq("queues").code == 0
    secret = steady.home / "root-only"
    secret.write_text("s3cret-0815")
    secret.chmod(0o600)
    text = steady.toml.read_text()
    for line in (
        f'password_file = "{secret}"',
        'password_credential = "shop"',
    ):
        steady.toml.write_text(text.replace("url", f"{line}\nurl", 1).replace('"url', "url"))
        result = steady.unitq("queues")
        assert result.code in (5, 13), result
        assert "s3cret" not in result.output
    steady.toml.write_text(text)
    # What changes something refuses.
    assert steady.unitq("queues", "doctor").code == 0
    assert steady.unitq("queues", "doctor", "--prune").code == 13
    # Another app's file is not looked at, either.
    steady.toml.rename(steady.home / "other.toml")
    assert steady.unitq("-c", "other.toml", "queues").code == 13


def test_an_app_of_another_file_is_not_replaced(steady: Site) -> None:
    steady.deploy()
    before = steady.pids()
    copy = steady.home / "copy" / "unitq.toml"
    copy.parent.mkdir()
    copy.write_text(steady.toml.read_text().replace("sms", "mail"))
    for verb in ("plan", "deploy"):
        result = steady.unitq("-c", str(copy), verb)
        assert result.code == 13, result
        assert str(copy) in result.stderr
        assert str(steady.toml) in result.stderr
        assert "--adopt" in result.stderr
    assert steady.pids() == before
    # The same file by another name is the same file.
    link = steady.home / "link.toml"
    link.symlink_to(steady.toml)
    assert steady.unitq("-c", str(link), "deploy").code == 0
    assert steady.unitq("-c", str(copy), "plan", "--adopt").code == 12
    assert steady.unitq("-c", str(copy), "deploy", "--adopt").code == 0
    assert set(steady.pids()) == {"mail@1"}
    # From now on it is that file's.
    assert steady.unitq("-c", str(copy), "deploy").code == 0
    assert steady.unitq("-c", str(steady.toml), "deploy").code == 13


def test_adopting_the_same_settings_is_remembered(steady: Site) -> None:
    steady.deploy()
    before = steady.pids()
    copy = Path(shutil.copy(steady.toml, steady.home / "copy.toml"))
    assert steady.unitq("-c", str(copy), "deploy", "--adopt").code == 0
    assert steady.unitq("-c", str(copy), "deploy").code == 0
    assert steady.pids() == before


def test_a_file_that_was_moved_needs_no_adopting(steady: Site) -> None:
    steady.deploy()
    moved = steady.toml.rename(steady.home / "moved.toml")
    assert steady.unitq("-c", str(moved), "deploy").code == 0


def test_a_worker_that_runs_as_root_says_so(steady: Site) -> None:
    worker = {"sms": {"command": steady.odd("steady"), "instances": 1}}
    steady.config(workers=worker, user=None)
    assert steady.unitq("check").code == 3
    result = steady.unitq("deploy")
    assert result.code == 13
    assert 'user = "root" only if they need root' in result.stderr
    assert untouched(steady)
    steady.config(workers=worker, user="root")
    assert steady.deploy().code == 0


def test_root_runs_no_environment_of_others(steady: Site) -> None:
    evil = steady.home / "env"
    evil.write_text("LD_PRELOAD=/tmp/evil.so\n")
    shutil.chown(evil, TESTER)
    steady.config(
        user="root",
        workers={"sms": {"command": steady.odd("steady"), "environment_file": str(evil)}},
    )
    result = steady.unitq("deploy")
    assert result.code == 13
    assert f"{evil}" in result.stderr or "environment_file" in result.stderr
    # The account that runs it anyway may say what it runs with.
    steady.config(
        user=TESTER,
        workers={"sms": {"command": steady.odd("steady"), "environment_file": str(evil)}},
    )
    assert steady.unitq("plan").code == 12


# --- hooks ------------------------------------------------------------------------------------


def hook(site: Site, *, owner: str, name: str = "hook") -> Path:
    """A program that notes who ran it."""
    path = site.home / name
    path.write_text(f"#!/bin/sh\nid -un >> {site.out}/hook-ran\ntty >> {site.out}/hook-ran\ntrue\n")
    path.chmod(0o755)
    shutil.chown(path, owner)
    return path


def ran_as(site: Site) -> list[str]:
    return (site.out / "hook-ran").read_text().split("\n")[0].split()


@pytest.mark.parametrize("behind", [(), ("/bin/sh",), ("/usr/bin/env", "sh")])
def test_a_hook_of_others_does_not_run_as_root(steady: Site, behind: tuple[str, ...]) -> None:
    program = hook(steady, owner=TESTER)
    worker = {"sms": {"command": steady.odd("steady"), "instances": 1}}
    steady.config(workers=worker, hooks={"before_deploy": [*behind, str(program)]})
    if behind[:1] != ("/usr/bin/env",):
        result = steady.unitq("deploy")
        assert result.code == 13, result
        assert f"would run {program} as root" in result.stderr
        assert untouched(steady)
    command = [*behind, str(program)]
    steady.config(workers=worker, hooks={"before_deploy": {"command": command, "user": TESTER}})
    steady.deploy()
    assert ran_as(steady) == [TESTER]


def test_roots_hook_runs_as_root_and_has_no_terminal(steady: Site) -> None:
    program = hook(steady, owner="root")
    steady.config(
        workers={"sms": {"command": steady.odd("steady"), "instances": 1}},
        hooks={"before_deploy": [str(program)]},
    )
    steady.deploy()
    assert ran_as(steady) == ["root"]
    assert "not a tty" in (steady.out / "hook-ran").read_text()


# --- a file that root trusts another account with ----------------------------------------------


@pytest.fixture
def trusted(system_site: Site, theirs: Path) -> Path:
    """The other account's file, trusted."""
    result = system_site.unitq("trust", "add", f"{theirs}/unitq.toml", "--owner", TESTER)
    assert result.code == 0, result
    return theirs / "unitq.toml"


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_trusted_file_is_obeyed_with_its_owners_rights(system_site: Site, trusted: Path) -> None:
    check = system_site.unitq("-c", str(trusted), "check")
    assert check.code == 0, check
    assert f"{TESTER} may change this file" in check.stdout
    result = system_site.unitq("-c", str(trusted), "deploy")
    assert result.code == 0, result
    assert ran_as(system_site) == [TESTER]
    # By the app's name from anywhere, as by root's own.
    assert system_site.unitq("-a", system_site.app, "deploy", cwd=Path("/")).code == 0
    assert system_site.unitq("trust", "--json").json["trusted"] == [
        {
            "path": str(trusted),
            "owner": TESTER,
            "run_as": [],
            "app": system_site.app,
            "obeyed": True,
            "why_not": None,
        }
    ]
    assert "yes" in system_site.unitq("trust").stdout


WORKERS = '["workers"."sms"]'


def directive(table: str, line: str) -> tuple[str, str]:
    return WORKERS, f"[workers.sms.{table}]\n{line}\n{WORKERS}"


FORBIDDEN = {
    "root": (f'"{TESTER}"', '"root"'),
    "number": (f'"{TESTER}"', '"0"'),
    "another account": (f'"{TESTER}"', '"www-data"'),
    "a group": (WORKERS, f'{WORKERS}\ngroup = "disk"'),
    "a command as root": directive("service", 'ExecStartPre = "+/bin/true"'),
    "output": directive("service", 'StandardOutput = "append:/etc/passwd"'),
    "credentials": directive("service", 'LoadCredential = "x:/etc/shadow"'),
    "secrets of root": (WORKERS, f'{WORKERS}\ncredentials = {{ X = "/etc/shadow" }}'),
    "capabilities": directive("service", 'AmbientCapabilities = "CAP_SYS_ADMIN"'),
    "binds": directive("service", 'BindPaths = "/etc:/srv"'),
    "groups": directive("service", 'SupplementaryGroups = "disk"'),
    "state": directive("service", 'StateDirectory = "unitq"'),
    "other units": directive("unit", 'Wants = "reboot.target"'),
    "before others": directive("unit", 'Before = "sockets.target"'),
    "nice": (WORKERS, f"{WORKERS}\nnice = -5"),
    "real time": (WORKERS, f"{WORKERS}\nlimits = {{ LimitRTPRIO = 99 }}"),
    "never killed": directive("service", "OOMScoreAdjust = -1000"),
    "on failure": directive("unit", 'OnFailure = "reboot.target"'),
    "hook as root": ('["hook"]', '{ command = ["hook"], user = "root" }'),
    "hook as another": ('["hook"]', '{ command = ["hook"], user = "www-data" }'),
    "credential of root": (
        WORKERS,
        f'[redis]\nurl = "redis://127.0.0.1:1/0"\npassword_credential = "x"\n{WORKERS}',
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_owner_cannot_gain_rights(system_site: Site, trusted: Path, what: str) -> None:
    text = trusted.read_text()
    old, new = FORBIDDEN[what]
    assert old in text
    trusted.write_text(text.replace(old, new, 1))
    for verb in ("check", "plan", "deploy"):
        result = system_site.unitq("-c", str(trusted), verb)
        assert result.code == 13, result
    assert untouched(system_site)


@pytest.mark.parametrize(
    "command",
    [
        *(f"{prefix}/bin/sleep inf" for prefix in ("+", "!", "!!", "-+", "@+", ":+", "- +")),
        '"+/bin/sleep" inf',
        "'+/bin/sleep' inf",
        r"\x2b/bin/sleep inf",
        r'-"\053/bin/sleep" inf',
        '""+/bin/sleep inf',
        "/bin/true ; +/bin/sleep inf",
    ],
)
@pytest.mark.parametrize("key", ["command", "probe"])
def test_a_command_has_no_prefix_that_gives_rights(
    system_site: Site, trusted: Path, command: str, key: str
) -> None:
    text = trusted.read_text()
    place = f'{WORKERS}\n"command" = {json.dumps(system_site.odd("steady"))}'
    assert place in text
    new = f"{WORKERS}\n{key} = {json.dumps(command)}"
    if key == "probe":
        new = f"{place}\nprobe.command = {json.dumps(command)}"
    trusted.write_text(text.replace(place, new))
    result = system_site.unitq("-c", str(trusted), "deploy")
    assert result.code == 13, result
    assert "runs with root's rights" in result.stderr
    assert untouched(system_site)


def test_the_owner_cannot_take_another_app(
    make_site: Callable[..., Site], system_site: Site, trusted: Path
) -> None:
    other = make_site()
    other.config(workers={"sms": {"command": other.odd("steady"), "instances": 1}})
    other.deploy()
    before = other.pids()
    rewrite(trusted, f'"{system_site.app}"', f'"{other.app}"')
    assert system_site.unitq("-c", str(trusted), "deploy").code == 13
    # Neither where that app's own file is gone.
    other.toml.unlink()
    assert system_site.unitq("-c", str(trusted), "deploy").code == 13
    assert other.pids() == before


def test_run_as_names_further_accounts(system_site: Site, trusted: Path) -> None:
    rewrite(trusted, f'"{TESTER}"', '"www-data"')
    refused = system_site.unitq("-c", str(trusted), "deploy")
    assert refused.code == 13
    assert f"unitq trust add {trusted} --owner {TESTER} --run-as www-data" in refused.stderr
    again = system_site.unitq(
        "trust", "add", str(trusted), "--owner", TESTER, "--run-as", "www-data"
    )
    assert again.code == 0, again
    assert system_site.unitq("-c", str(trusted), "deploy").code == 0
    assert ran_as(system_site) == [TESTER]


def test_a_third_account_is_not_trusted(system_site: Site, trusted: Path) -> None:
    shutil.chown(trusted, "www-data")
    assert system_site.unitq("-c", str(trusted), "deploy").code == 13
    assert "no: " in system_site.unitq("trust").stdout
    shutil.chown(trusted, TESTER)
    trusted.chmod(0o666)
    assert system_site.unitq("-c", str(trusted), "deploy").code == 13
    assert untouched(system_site)


def test_a_list_that_others_can_write_is_not_believed(system_site: Site, trusted: Path) -> None:
    Path("/etc/unitq/trust").chmod(0o666)
    result = system_site.unitq("-c", str(trusted), "deploy")
    assert result.code == 13
    assert "chmod go-w /etc/unitq/trust" in result.stderr
    assert untouched(system_site)


def test_trust_is_root_s_to_give(system_site: Site, theirs: Path) -> None:
    path = f"{theirs}/unitq.toml"
    command = ("setpriv", f"--reuid={TESTER}", f"--regid={TESTER}", "--init-groups", "--")
    unitq = (*command, shutil.which("unitq", path=system_site.scope.environment["PATH"]) or "")
    assert system_site.scope.run(*unitq, "trust", "add", path, "--owner", TESTER).code == 5
    assert system_site.scope.run(*unitq, "trust", "remove", path).code == 5
    assert system_site.scope.run(*unitq, "trust").code == 0
    for wrong, said in (
        (("--owner", "root"), "is root"),
        (("--owner", "nosuch"), "no account nosuch"),
        (("--owner", TESTER, "--run-as", "root"), "never runs as root"),
        (("--owner", "www-data"), "www-data is not the only account that can change it"),
    ):
        result = system_site.unitq("trust", "add", path, *wrong)
        assert result.code == 2, result
        assert said in result.stderr
    assert system_site.unitq("trust", "add", str(theirs / "gone"), "--owner", TESTER).code == 2
    assert system_site.unitq("trust", "remove", path).code == 4


def test_trust_is_taken_back(system_site: Site, trusted: Path) -> None:
    assert system_site.unitq("trust", "remove", str(trusted)).code == 0
    assert system_site.unitq("-c", str(trusted), "deploy").code == 13


# --- templates, presets, pipes ------------------------------------------------------------------


@pytest.fixture
def etc() -> Iterator[Path]:
    """/etc/unitq, as it was before."""
    folder = Path("/etc/unitq")
    there = folder.exists()
    folder.mkdir(exist_ok=True)
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not there:
        folder.rmdir()


def test_templates_of_others_are_not_rendered(steady: Site, etc: Path) -> None:
    template = etc / "units" / "worker@.service.j2"
    template.parent.mkdir()
    template.write_text("[Service]\nExecStart=+/bin/sh -c 'id > /tmp/pwned'\n")
    shutil.chown(template, TESTER)
    result = steady.unitq("deploy")
    assert result.code == 13, result
    assert "root does not obey this unit template" in result.stderr
    assert untouched(steady)


def test_presets_of_others_are_not_taken(steady: Site, etc: Path) -> None:
    preset = etc / "presets" / "acme.toml"
    preset.parent.mkdir()
    preset.write_text('title = "Acme"\n[stop]\nsignal = "SIGKILL"\n')
    shutil.chown(preset, TESTER)
    steady.config(
        workers={"sms": {"command": steady.odd("steady"), "preset": "acme", "instances": 1}}
    )
    result = steady.unitq("deploy")
    assert result.code == 13, result
    assert "root does not obey this preset" in result.stderr
    assert untouched(steady)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.mknod(path, 0o20666, 0x105)])
def test_what_is_no_file_ends_at_once(system_site: Site, make: Callable[[Path], None]) -> None:
    place = system_site.home / "place"
    place.mkdir()
    make(place / "unitq.toml")
    for verb in ("check", "deploy", "status"):
        result = system_site.unitq(verb, timeout=30, cwd=place)  # a pipe would hold it for ever
        assert result.code in (2, 4), result


# --- which file is meant --------------------------------------------------------------------------


def test_roots_file_is_found_by_name_and_by_place(
    make_site: Callable[..., Site], etc: Path
) -> None:
    """As `unitq init` sets it up: /etc/unitq/APP.toml, for two apps."""
    one, two = make_site(), make_site()
    for site in (one, two):
        site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})
        shutil.move(site.toml, etc / f"{site.app}.toml")
    assert one.unitq("deploy", cwd=Path("/")).code == 2  # which?
    assert one.unitq("-a", one.app, "deploy", cwd=Path("/")).code == 0
    assert two.unitq("deploy", cwd=two.home).code == 0
    assert set(two.pids()) == {"sms@1"}
    # In the release, behind the link, and beside the link.
    for place in (two.home, two.current, two.current.resolve()):
        assert f"app {two.app}" in one.unitq("check", cwd=place).stdout
        told = one.unitq("status", "--json", cwd=place).json
        assert [app["app"] for app in told["apps"]] == [two.app]
        assert one.unitq("restart", cwd=place).code == 0


def test_a_file_of_others_hides_none_of_roots(system_site: Site, etc: Path, theirs: Path) -> None:
    """The repository has a unitq.toml; root has its own of the same app."""
    system_site.config(workers={"sms": {"command": system_site.odd("steady"), "instances": 1}})
    shutil.move(system_site.toml, etc / f"{system_site.app}.toml")
    shutil.copy(theirs / "unitq.toml", system_site.home)
    shutil.chown(system_site.toml, TESTER)
    assert system_site.unitq("deploy").code == 0
    assert not (system_site.out / "hook-ran").exists()
    # Elsewhere it is not known what is meant: not the only one that there is.
    assert system_site.unitq("deploy", cwd=theirs).code == 13
