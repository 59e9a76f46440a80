"""Which programs unitq starts, and with what environment."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from pathlib import Path

import pytest

from unitq.errors import NotPermittedError
from unitq.linux import programs

root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other accounts")
HIS = pwd.getpwnam("daemon")


def test_it_starts_itself_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.own_command() == (sys.executable, "-I", "-m", "unitq")
    # Installed by `pip install --user`: then those packages are its own.
    parent = Path(programs.__file__).parents[2]
    monkeypatch.setattr("site.getusersitepackages", lambda: str(parent))
    own = programs.own_command()
    assert own == (
        (sys.executable, "-I", "-m", "unitq")
        if sys.flags.no_user_site
        else (sys.executable, "-E", "-P", "-m", "unitq")
    )


@root
def test_roots_programs_are_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("journalctl", "nosuch"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    assert programs.path_of("journalctl") == "/usr/bin/journalctl"
    with pytest.raises(FileNotFoundError, match="there is no program nosuch"):
        programs.path_of("nosuch")


@root
def test_a_program_that_others_may_replace_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="unitq-test-") as folder:
        monkeypatch.setattr(programs, "PATH", f"{folder}:/usr/bin")
        (Path(folder) / "journalctl").write_text("#!/bin/sh\n")
        (Path(folder) / "journalctl").chmod(0o755)
        Path(folder).chmod(0o755)
        assert programs.path_of("journalctl") == f"{folder}/journalctl"
        for owner, mode in ((HIS.pw_uid, 0o755), (0, 0o775)):
            os.chown(folder, owner, 50)
            Path(folder).chmod(mode)
            assert programs.path_of("journalctl") == "/usr/bin/journalctl"
        (Path(folder) / "journalctl").rename(f"{folder}/own")
        with pytest.raises(FileNotFoundError, match="is not root's alone"):
            programs.path_of("own")


KEPT = {"LANG": "de_DE.UTF-8", "LC_TIME": "C", "TZ": "Europe/Berlin", "TERM": "xterm-256color"}
LOST = {
    "PATH": "/evil", "PYTHONPATH": "/evil", "LD_PRELOAD": "/evil.so", "BASH_ENV": "/evil",
    "GIT_CONFIG_GLOBAL": "/evil", "PERL5LIB": "/evil", "NODE_OPTIONS": "--require /evil",
    "SYSTEMD_PAGER": "/evil", "SYSTEMD_EDITOR": "/evil", "SYSTEMD_UNIT_PATH": "/evil",
    "PAGER": "/evil", "TMPDIR": "/evil", "RUBYOPT": "-r/evil", "LESSOPEN": "|/evil",
    "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/evil", "BASH_FUNC_ls%%": "() { /evil; }",
    "F": "() { /evil; }", "IFS": "/evil", "npm_config_userconfig": "/evil", "LUA_INIT": "@/evil",
    "NPM_CONFIG_SCRIPT_SHELL": "/evil", "COMPOSER_HOME": "/evil", "SSH_ASKPASS": "/evil",
    "R_PROFILE_USER": "/evil", "CURL_HOME": "/evil", "PROMPT_COMMAND": "/evil",
    "JDK_JAVA_OPTIONS": "-javaagent:/evil", "XDG_CONFIG_DIRS": "/evil",
}  # fmt: skip


@root
@pytest.mark.parametrize("whole", [False, True])
def test_what_would_run_other_code_is_left_out(
    monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    for name, value in (KEPT | LOST | {"BUILD": "42"}).items():
        monkeypatch.setenv(name, value)
    found = programs.environment(whole=whole)
    assert found.items() >= KEPT.items()
    assert not [name for name, value in found.items() if "evil" in value]
    assert found["PATH"] == programs.PATH
    assert ("BUILD" in found) is whole


@root
@pytest.mark.parametrize("value", ["/etc/passwd", ":/etc/passwd", "../x", "%s", "a b", "\x1b[0m"])
def test_a_locale_is_no_path(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in ("TZ", "LANG", "LC_ALL", "TERM"):
        monkeypatch.setenv(name, value)
    assert value not in programs.environment().values()


@root
def test_anothers_home_is_not_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="unitq-test-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("HOME", f"{folder}/not/there/yet")
        assert programs.own_places()["HOME"] == f"{folder}/not/there/yet"
        assert programs.environment()["HOME"] == f"{folder}/not/there/yet"
        os.chown(folder, HIS.pw_uid, HIS.pw_gid)
        with pytest.raises(NotPermittedError, match="is not root's alone"):
            programs.own_places()
        assert programs.environment()["HOME"] == pwd.getpwuid(0).pw_dir
