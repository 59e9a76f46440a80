"""Whose programs, links and repositories root follows: real accounts, from their directories."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import TESTER, WORKER, Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.systemd.conftest import Result

pytestmark = pytest.mark.systemd

UNITQ = Path(sys.executable).with_name("unitq")  # as installed; `python -m` is Python's own matter
EVIL = '#!/bin/sh\necho "$0 as $(id -u)" >> {ran}\n'
MODULES = ("click", "json", "sitecustomize", "usercustomize", "unitq", "pystemd", "jinja2", "redis")
PROGRAMS = ("git", "journalctl", "systemd-analyze", "systemd-creds", "python3", "env", "setpriv")


@pytest.fixture
def ran(system_site: Site) -> Path:
    """A file that says what of the attacker's has run."""
    place = system_site.home / "ran"
    place.touch()
    place.chmod(0o666)
    return place


@pytest.fixture
def lair(system_site: Site, ran: Path) -> Path:
    """A directory of an ordinary account's, full of code that likes to be loaded."""
    folder = system_site.home / "lair"
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write('{name}\\n')\n")
    for name in PROGRAMS:
        (folder / name).write_text(EVIL.format(ran=ran))
        (folder / name).chmod(0o755)
    tester = pwd.getpwnam(TESTER)
    for path in (folder, *folder.iterdir()):
        os.chown(path, tester.pw_uid, tester.pw_gid)
    return folder


def unitq(
    site: Site, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> Result:
    """The installed command, as root, in that directory."""
    clean = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return site.scope.run(
        str(UNITQ), *arguments, cwd=cwd, environment={**clean, **(environment or {})}
    )


def kept(lair: Path) -> dict[str, str]:
    """What sudo may be told to keep. (PYTHONPATH of root's own start is lost before it begins.)"""
    return {
        "PATH": f"{lair}:{os.environ['PATH']}",
        "PAGER": str(lair / "git"),
        "SYSTEMD_PAGER": str(lair / "git"),
        "TMPDIR": str(lair),
        "GIT_EXEC_PATH": str(lair),
        "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={lair}/bus",
        "SYSTEMD_UNIT_PATH": str(lair),
    }


def test_detached_in_anothers_directory(system_site: Site, lair: Path, ran: Path) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 2}})
    site.deploy()
    before = site.pids()
    site.switch(2)
    begun = unitq(
        site, "-c", "../unitq.toml", "deploy", "--detach", cwd=lair, environment=kept(lair)
    )
    assert begun.code == 0, begun
    ended = unitq(site, "-a", site.app, "rollout", "watch", cwd=Path("/"))
    assert ended.code == 0, ended
    assert not set(site.pids().values()) & set(before.values())
    assert ran.read_text() == ""
    assert [path for path in lair.iterdir() if path.suffix not in (".py", "")] == []


def test_the_unit_is_isolated(system_site: Site, lair: Path) -> None:
    site = system_site
    site.config(
        workers={"sms": {"command": site.odd("steady"), "instances": 1}},
        hooks={"before_deploy": ["hook"]},
    )
    (site.home / "hook").symlink_to("/bin/true")
    site.deploy()
    site.switch(2)
    (site.home / "hook").unlink()
    out = site.home / "unit"
    (site.home / "hook").write_text(
        "#!/bin/sh\n"
        f"{{ cat /proc/$PPID/cmdline | tr '\\0' ' '; echo; readlink /proc/$PPID/cwd; "
        f"cat /proc/$PPID/environ | tr '\\0' '\\n'; }} > {out}\n"
    )
    (site.home / "hook").chmod(0o755)
    environment = kept(lair) | {"PYTHONPATH": "", "UNITQ_CONFIG": "../unitq.toml", "SECRET": "x"}
    begun = unitq(site, "deploy", "--detach", cwd=lair, environment=environment)
    assert begun.code == 0, begun
    assert unitq(site, "-a", site.app, "rollout", "watch", cwd=Path("/")).code == 0
    command, folder, *variables = out.read_text().splitlines()
    assert command.startswith(f"{sys.executable} -I -m unitq deploy --config=")
    assert folder == "/"
    names = {line.partition("=")[0] for line in variables}
    assert not names & {"SECRET", "PAGER", "TMPDIR", "PYTHONPATH", "GIT_EXEC_PATH", "SYSTEMD_PAGER"}
    (path,) = (line for line in variables if line.startswith("PATH="))
    assert str(lair) not in path
    assert f"UNITQ_CONFIG={site.toml}" in variables


@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("plan",),
        ("deploy",),
        ("logs", "-n", "5"),
        ("status", "-v"),
        ("history",),
        ("show",),
        ("restart", "sms"),
    ],
)
def test_the_callers_path_names_no_program(
    system_site: Site, lair: Path, ran: Path, command: tuple[str, ...]
) -> None:
    site = system_site
    site.config(
        directory=str(site.home),
        code_version="auto",
        workers={"sms": {"command": site.odd("steady"), "instances": 1}},
    )
    subprocess.run(["git", "init", "-q", str(site.home)], check=True, timeout=30)
    site.deploy()
    unitq(site, "-c", str(site.toml), *command, cwd=lair, environment=kept(lair))
    assert ran.read_text() == ""


def test_hooks_get_the_systems_path(system_site: Site, lair: Path, ran: Path) -> None:
    site = system_site
    site.config(
        workers={"sms": {"command": site.odd("steady"), "instances": 1}},
        hooks={"before_deploy": ["hook"]},
    )
    (site.home / "hook").write_text("#!/usr/bin/env sh\ngit --version; echo $BUILD > build\n")
    (site.home / "hook").chmod(0o755)
    environment = kept(lair) | {"BUILD": "42", "BASH_ENV": str(lair / "git")}
    done = unitq(site, "deploy", cwd=site.home, environment=environment)
    assert done.code == 0, done
    assert (site.home / "build").read_text() == "42\n"  # its environment is unitq's otherwise
    assert ran.read_text() == ""


@pytest.mark.parametrize("name", ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"])
def test_a_place_of_anothers_is_none_of_roots(system_site: Site, lair: Path, name: str) -> None:
    before = sorted(lair.rglob("*"))
    done = unitq(system_site, "--user", "status", cwd=Path("/"), environment={name: str(lair)})
    assert done.code == 5, done
    assert f"{name}={lair}" in done.stderr
    assert "sudo -H" in done.stderr
    assert sorted(lair.rglob("*")) == before


def test_the_recycle_timer_starts_isolated_python(system_site: Site) -> None:
    site = system_site
    recycle = {"age": "1d"}
    site.config(
        workers={"sms": {"command": site.odd("steady"), "instances": 2, "recycle": recycle}}
    )
    site.deploy()
    unit = f"unitq-{site.app}-recycle.service"
    path = site.scope.unit_dir / unit
    text = path.read_text()
    assert f"\nWorkingDirectory=/\nExecStart={sys.executable} -I -m unitq --app" in text
    site.systemctl("start", unit)
    assert "Result=success" in site.systemctl("show", "--property=Result", unit).stdout

    # As a version before wrote it: the next deploy mends it, and restarts nobody.
    path.write_text(text.replace(" -I ", " ").replace("WorkingDirectory=/\n", ""))
    before = site.pids()
    site.deploy()
    assert path.read_text() == text
    assert site.pids() == before


# environment_file


def as_tester(*command: str) -> None:
    subprocess.run(
        ["setpriv", f"--reuid={TESTER}", f"--regid={TESTER}", "--init-groups", "--", *command],
        check=True,
        timeout=30,
    )


def test_an_environment_file_gives_no_more_than_its_owner_may_read(system_site: Site) -> None:
    site = system_site
    tester = pwd.getpwnam(TESTER)
    shared = site.home / "shared"
    shared.mkdir()
    os.chown(shared, tester.pw_uid, tester.pw_gid)
    secret = site.home / "secret.env"
    secret.write_text("PASSWORD=of-another-app\n")
    secret.chmod(0o600)
    worker = {"command": site.odd("steady"), "instances": 1}
    site.config(environment_file=str(shared / ".env"), workers={"sms": worker})

    as_tester("sh", "-c", f"umask 077; echo MINE=1 > {shared}/.env")
    site.deploy()
    (pid,) = site.pids().values()
    assert b"\0MINE=1\0" in Path(f"/proc/{pid}/environ").read_bytes()

    as_tester("ln", "-sf", str(secret), f"{shared}/.env")
    for command, code in (("check", 3), ("plan", 13), ("deploy", 13)):
        done = site.unitq(command)
        assert done.code == code, done
        assert f"{TESTER} decides what this path leads to" in done.output, done
        assert "of-another-app" not in done.output
    assert site.pids() == {"sms@1": pid}
    state = site.scope.state_dir / site.app
    assert not any(
        b"of-another-app" in path.read_bytes() for path in state.rglob("*") if path.is_file()
    )

    as_tester("mkfifo", f"{shared}/pipe")
    as_tester("ln", "-sf", "pipe", f"{shared}/.env")
    done = site.unitq("check", timeout=20)
    assert (done.code, "not a file" in done.output) == (3, True), done


# git


def test_a_repository_of_anothers_runs_nothing(system_site: Site, lair: Path, ran: Path) -> None:
    site = system_site
    tester = pwd.getpwnam(TESTER)
    code = site.home / "code"
    code.mkdir()
    os.chown(code, tester.pw_uid, tester.pw_gid)
    as_tester(
        "sh", "-ec",
        f"cd {code}; export HOME=/nonexistent; git init -q .; echo 1 > app; git add .\n"
        "git -c user.name=x -c user.email=x@example.org commit -qm x\n"
        "echo '* filter=x' > .gitattributes; echo 2 > app; touch -d 2001-01-01 app\n"
        f"git config filter.x.clean {lair}/git; git config core.fsmonitor {lair}/git",
    )  # fmt: skip
    Path("/root/.gitconfig").write_text("[safe]\n\tdirectory = *\n")
    try:
        worker = {**WORKER, "command": site.odd("steady"), "instances": 1}
        site.config(directory=str(code), code_version="git", workers={"sms": worker})
        site.deploy()
        os.chown(code, 0, 0)  # the directory is root's, what git obeys is not
        done = site.deploy(code=13)
        assert "git names no commit" in done.stderr
    finally:
        Path("/root/.gitconfig").unlink()
    assert ran.read_text() == ""
    shown = site.unitq("show").stdout
    assert "with changes" in shown
