"""One look as the worker's account: what it says is what systemd then does."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unitq.model.finding import Level
from unitq.rollout.checks.reachable import Start, findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.systemd.conftest import Scope, Site

pytestmark = pytest.mark.systemd

USER = "www-data"
SCRIPT = "#!{}\nimport time\ntime.sleep(60)\n"


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path("/srv/reachable")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    shutil.rmtree(path)


def _program(path: Path, mode: int = 0o755, interpreter: str = "/usr/bin/python3") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT.format(interpreter))
    path.chmod(mode)
    return path


def _python_of_root(place: Path) -> Path:
    """As uv does it: an interpreter below root's home, and a link to it in the environment."""
    real = Path("/root/.local/share/uv/python/bin/python3")
    real.parent.mkdir(parents=True, exist_ok=True)
    if not real.exists():
        shutil.copy("/usr/bin/python3", real)
    Path("/root").chmod(0o700)
    link = place / "venv/bin/python"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    return link


def _plain(place: Path) -> str:
    return str(_program(place / "w"))


def _closed_folder(place: Path) -> str:
    program = _program(place / "a/b/w")
    (place / "a").chmod(0o700)
    return str(program)


def _not_executable(place: Path) -> str:
    return str(_program(place / "w", 0o744))


def _executable_unreadable(place: Path) -> str:
    return str(_program(place / "w", 0o711))


def _behind_a_link(place: Path) -> str:
    program = _program(place / "closed/w")
    (place / "closed").chmod(0o700)
    (place / "open").mkdir()
    (place / "open/w").symlink_to(Path("../closed") / program.name)
    return str(place / "open/w")


def _uv(place: Path) -> str:
    return f"{_python_of_root(place)} -c 'import time; time.sleep(60)'"


def _uv_by_first_line(place: Path) -> str:
    return str(_program(place / "w", interpreter=str(_python_of_root(place))))


def _no_interpreter(place: Path) -> str:
    return str(_program(place / "w", interpreter="/srv/gone/bin/python"))


def _script_of_an_interpreter(place: Path) -> str:
    return f"/usr/bin/env A=1 /usr/bin/python3 {_program(place / 'w', 0o600)}"


def _by_group(place: Path) -> str:
    program = _program(place / "a/w", 0o750)
    for path in (place / "a", program):
        path.chmod(0o750)
        os.chown(path, 0, grp.getgrnam("games").gr_gid)
    return str(program)


def _by_acl(place: Path) -> str:
    program = _program(place / "a/w")
    (place / "a").chmod(0o700)
    # What setfacl(1) would write: the owner, user 33 with "x", the group, the mask, others.
    uid = pwd.getpwnam(USER).pw_uid
    entries = [(1, 7, -1), (2, 1, uid), (4, 0, -1), (16, 1, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, bits, who & 0xFFFFFFFF) for tag, bits, who in entries
    )  # fmt: skip
    try:
        os.setxattr(place / "a", "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("no ACLs on this file system")
    return str(program)


# What is made, the group or the groups besides, and a part of what is said; empty: it starts.
TABLE: dict[str, tuple[Callable[[Path], str], dict[str, str], str]] = {
    "plain": (_plain, {}, ""),
    "closed folder": (_closed_folder, {}, "may not enter /srv/reachable/a (mode 0700, root:root)"),
    "not executable": (_not_executable, {}, "may not execute /srv/reachable/w (mode 0744"),
    "behind a link": (_behind_a_link, {}, "may not enter /srv/reachable/closed (mode 0700"),
    "uv below root": (_uv, {}, "may not enter /root (mode 0700, root:root), on the way to"),
    "uv, by the first line": (_uv_by_first_line, {}, "first line of /srv/reachable/w names"),
    "no interpreter": (_no_interpreter, {}, "there is no /srv/gone, which the first line of"),
    "a group that it lacks": (_by_group, {}, "may not enter /srv/reachable/a (mode 0750"),
    "by Group=": (_by_group, {"Group": "games"}, ""),
    "by SupplementaryGroups=": (_by_group, {"SupplementaryGroups": "games"}, ""),
    "by an ACL": (_by_acl, {}, ""),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_is_said_is_what_systemd_does(name: str, place: Path) -> None:
    make, settings, said = TABLE[name]
    command = make(place)
    groups = tuple(settings.get("SupplementaryGroups", "").split())
    start = Start(
        "workers.w", (("command", command),), "/", USER, settings.get("Group", ""), groups
    )
    found = findings([start], user_scope=False)
    assert bool(found) is bool(said), found
    if said:
        assert said in found[0].message
        assert found[0].level is Level.ERROR
    options = [f"--property={key}={value}" for key, value in settings.items()]
    unit = "reachable.service"
    started = subprocess.run(
        ["systemd-run", "--quiet", f"--unit={unit}", f"--uid={USER}", "--service-type=exec",
         "--collect", *options, *_words(command)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    subprocess.run(["systemctl", "stop", unit], capture_output=True, timeout=60)
    assert (started.returncode == 0) is not bool(said), started.stderr


def _by_env(line: str, name: str = "w") -> Callable[[Path], str]:
    def make(place: Path) -> str:
        path = place / name
        path.write_bytes(f"#!{line}\nimport sys\n".encode())
        path.chmod(0o755)
        return str(path)

    return make


def _python_in(place: Path, folder: str, mode: int = 0o755) -> None:
    (place / folder).mkdir(exist_ok=True)
    _program(place / folder / "python9", mode, sys.executable)
    shutil.copy("/usr/bin/python3", place / folder / "python9")
    (place / folder / "python9").chmod(mode)


def _below_root_by_env(place: Path) -> str:
    (place / "python9").symlink_to(_python_of_root(place))
    return _by_env("/usr/bin/env python9")(place)


def _second_of_its_name(place: Path) -> str:
    _python_in(place, "a", 0o600)
    _python_in(place, "b")
    return _by_env(f"/usr/bin/env -S PATH={place}/a:{place}/b python9")(place)


def _script_behind_env(place: Path) -> str:
    _by_env("/srv/gone/python", "python9")(place)
    return _by_env("/usr/bin/env python9")(place)


BY_ENV: dict[str, tuple[Callable[[Path], str], str]] = {
    "found": (_by_env("/usr/bin/env python3"), ""),
    "with options": (_by_env("/usr/bin/env -S python3 -B"), ""),
    "behind assignments": (_by_env("/usr/bin/env -S -i A=1 python3"), ""),
    "by its path": (_by_env("/usr/bin/env /usr/bin/python3"), ""),
    "tabs and blanks": (_by_env("\t/usr/bin/env \tpython3 \t"), ""),
    "the second of its name": (_second_of_its_name, ""),
    "nowhere": (
        _by_env("/usr/bin/env python9"),
        "there is no program python9 on the PATH that it gets",
    ),
    "nowhere with -S": (
        _by_env("/usr/bin/env -S python9 -B"),
        "there is no program python9 on the PATH",
    ),
    "on another PATH": (
        _by_env("/usr/bin/env -S PATH=/srv python3"),
        "no program python3 on the PATH",
    ),
    "options without -S": (_by_env("/usr/bin/env python3 -B"), "is called `python3 -B`"),
    "a path that is not there": (_by_env("/usr/bin/env /srv/gone/x"), "there is no /srv/gone"),
    "written on Windows": (_by_env("/usr/bin/env python3\r"), "ends in a carriage return"),
    "the same without env": (_by_env("/usr/bin/python3\r"), "ends in a carriage return"),
    "a link into root's home": (_below_root_by_env, "may not enter /root (mode 0700, root:root)"),
    "a script of another one": (_script_behind_env, "there is no /srv/gone, which the first line"),
    "env in the command": (
        lambda _: "/usr/bin/env A=1 python9 x",
        "there is no program python9 on",
    ),
    "what is there in the command": (lambda _: "/usr/bin/env A=1 python3 --version", ""),
}


@pytest.mark.parametrize("name", BY_ENV)
def test_what_env_looks_for_is_looked_for_where_it_looks(name: str, place: Path) -> None:
    make, said = BY_ENV[name]
    command = make(place)
    path = f"{place}:/usr/bin"
    start = Start("workers.w", (("command", command),), "/", USER, path=path)
    found = findings([start], user_scope=False)
    assert [said in each.message and each.level for each in found] == [Level.ERROR] * bool(said)
    ended = subprocess.run(
        ["systemd-run", "--quiet", "--wait", f"--uid={USER}", f"--setenv=PATH={path}",
         "--collect", *_words(command)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.returncode == 0) is not bool(said), ended
    unknown = start._replace(path=None)
    assert all("PATH" not in each.message for each in findings([unknown], user_scope=False))


def test_a_hook_is_asked_for_in_the_same_look(system_site: Site) -> None:
    site = system_site
    closed = site.home / "closed"
    closed.mkdir()
    hook = Path(_by_env("/usr/bin/env python9", "hook")(site.home))
    inside = Path(_by_env("/usr/bin/env python3")(closed))
    closed.chmod(0o700)
    hooks = {
        "before_deploy": {"command": [str(inside)], "user": USER},
        "after_deploy": {"command": [str(hook)], "user": USER},
        "on_failure": {"command": ["/usr/bin/python3", str(inside)], "user": USER},
    }
    site.config(workers={"w": {"command": site.odd("steady")}}, hooks=hooks)
    done = site.unitq("check")
    assert done.code == 3, done
    assert (
        f"error: hooks.before_deploy: {USER} may not enter {closed} (mode 0700, root:root), on the "
        f"way to {inside}\n"
        "  the hook cannot be started as that account\n"
        f"  `chmod o+x {closed}`, or another `user` that may enter it\n"
    ) in done.stdout
    assert (
        "error: hooks.after_deploy: there is no program python9 on the PATH that it gets"
        in done.stdout
    )
    assert f"error: hooks.on_failure: {USER} may not enter {closed}" in done.stdout
    closed.chmod(0o755)
    hook.write_text("#!/usr/bin/env python3\n")
    assert site.unitq("check").code == 0


def test_the_path_is_the_one_that_the_unit_gets(system_site: Site) -> None:
    site = system_site
    _python_in(site.home, "own")
    command = _by_env("/usr/bin/env python9")(site.home)
    path = f"{site.home}/own:/usr/bin"
    for key, value in (("environment", {"PATH": path}), ("environment_file", f"{site.home}/e")):
        (site.home / "e").write_text(f"PATH={path}\n")
        site.config(workers={"w": {"command": command, key: value}})
        assert "python9" not in site.unitq("check").stdout
    site.config(workers={"w": {"command": command}})
    done = site.unitq("check")
    assert done.code == 3
    assert (
        "error: workers.w.command: there is no program python9 on the PATH that it gets"
        in done.stdout
    )
    assert "/usr/local/bin" in done.stdout


def test_a_restart_looks_for_it_on_the_same_path(system_site: Site) -> None:
    site = system_site
    _python_in(site.home, "own")
    command = _by_env("/usr/bin/env python9")(site.home)
    Path(command).write_text(
        "#!/usr/bin/env python9\nimport signal, sys\n"
        "signal.signal(signal.SIGQUIT, lambda *_: sys.exit())\nwhile True: signal.pause()\n"
    )
    environment = {"PATH": f"{site.home}/own:/usr/bin"}
    site.config(workers={"w": {"command": command, "environment": environment}})
    site.deploy()
    before = site.pids("w")
    (site.home / "own/python9").rename(site.home / "own/python8")
    done = site.unitq("restart")
    assert done.code == 13, done
    assert "there is no program python9 on the PATH that it gets" in done.stderr
    assert site.pids("w") == before
    (site.home / "own/python8").rename(site.home / "own/python9")
    assert site.unitq("restart").code == 0


def _words(command: str) -> list[str]:
    import shlex

    return shlex.split(command)


@pytest.mark.parametrize("make", [_executable_unreadable, _script_of_an_interpreter])
def test_what_only_the_interpreter_reads(make: Callable[[Path], str], place: Path) -> None:
    """systemd starts these, and the interpreter ends at once."""
    start = Start("workers.w", (("command", make(place)),), "/", USER)
    found = findings([start], user_scope=False)
    if make is _script_of_an_interpreter:
        assert [each.message for each in found] == [
            f"{USER} may not read {place}/w (mode 0600, root:root)"
        ]


def test_what_an_accounts_link_leads_to_is_not_to_be_opened_for_it(place: Path) -> None:
    (place / "w").symlink_to("/etc/shadow")
    start = Start("workers.w", (("command", f"/usr/bin/python3 {place}/w"),), "/", USER)
    (found,) = findings([start], user_scope=False)
    assert found.message.startswith(f"{USER} may not read /etc/shadow")
    assert "chmod" not in found.hint


def test_one_child_for_each_account(place: Path) -> None:
    children: list[int] = []
    os.register_at_fork(after_in_parent=lambda: children.append(1))
    commands = [str(_program(place / f"w{number}")) for number in range(40)]
    starts = [Start(f"workers.{c}", (("command", c),), "/", USER) for c in commands]
    assert findings(starts, user_scope=False) == []
    assert len(children) == 1


def test_check_and_deploy_and_restart(system_site: Site) -> None:
    site = system_site
    closed = site.home / "closed"
    program = _program(closed / "w", interpreter=sys.executable)
    program.write_text(program.read_text().replace("import time", "import signal, time"))
    site.config(workers={"w": {"command": str(program), "preset": "none"}})
    closed.chmod(0o700)
    result = site.unitq("check")
    assert result.code == 3, result
    assert (
        f"error: workers.w.command: {USER} may not enter {closed} (mode 0700, root:root), on the "
        f"way to {program}\n"
        "  systemd cannot start it as that account (203/EXEC)\n"
        f"  `chmod o+x {closed}`, or another `user` or `group` that may enter it\n"
    ) in result.stdout
    result = site.unitq("deploy")
    assert result.code == 13, result
    assert f"may not enter {closed}" in result.stderr
    assert not site.pids("w")
    closed.chmod(0o755)
    assert site.unitq("deploy").code == 0
    before = site.pids("w")
    closed.chmod(0o700)
    result = site.unitq("restart")
    assert result.code == 13, result
    assert f"may not enter {closed}" in result.stderr
    assert site.pids("w") == before
    closed.chmod(0o755)


def test_who_is_not_root_is_told_where_it_matters(system_site: Site) -> None:
    from tests.systemd.conftest import Scope

    site = system_site
    program = _program(site.home / "half/w")
    open_one = _program(site.home / "open/w")
    site.config(workers={"a": {"command": str(program)}, "b": {"command": str(open_one)}})
    half = program.parent
    os.chown(half, pwd.getpwnam("tester").pw_uid, 0)
    half.chmod(0o700)
    tester: Scope = Scope("user")
    result = tester.run("unitq", "-c", str(site.toml), "check")
    assert f"note: workers.a.command: by its mode {USER} may not enter {half}" in result.stdout
    assert "`sudo unitq check` asks as that account" in result.stdout
    assert "workers.b.command" not in result.stdout
    half.chmod(0o755)
    result = tester.run("unitq", "-c", str(site.toml), "check")
    assert "not-root" not in result.stdout
