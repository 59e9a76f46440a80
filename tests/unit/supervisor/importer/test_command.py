"""The command: what it writes, refuses and asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.build import PRESETS
from tests.unit.cli.test_cli import Done, unitq
from unitq.config.parse import parse
from unitq.errors import Exit
from unitq.model.app import KillMode
from unitq.supervisor.importer.draft import uncomment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unitq.model.app import Worker

    Command = Callable[..., Done]

__all__ = ["unitq"]  # a fixture


def worker(unitq: Command, tmp_path: Path, command: str) -> tuple[Worker, str]:
    """The worker of a program, and what has to be decided, on one line."""
    conf = f"[program:w]\ncommand={command}\ndirectory={tmp_path}\n"
    (tmp_path / "x.conf").write_text(conf)
    done = unitq("import", "x.conf")
    assert done.code == Exit.OK, done.stderr
    app = parse(done.stdout, source="x", presets=PRESETS)
    return app.workers[0], " ".join(done.stderr.split())


def test_only_comments_are_written_too(unitq: Command, tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text(
        "[program:w]\ncommand=rq worker\nautostart=false\ndirectory=/srv/a\n"
        "[program:nginx]\ncommand=nginx\n"
    )
    done = unitq("import", "x.conf", "-o", "unitq.toml")
    assert done.code == Exit.OK, done.stderr
    assert "wrote unitq.toml: take the # away from what is to run" in done.stdout
    text = (tmp_path / "unitq.toml").read_text()
    assert "\n[workers" not in text
    app = parse(uncomment(text), source="x", presets=PRESETS)
    assert [one.name for one in app.workers] == ["w", "nginx"]


def test_only_fcgi_programs_are_refused_in_three_parts(unitq: Command, tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text("[fcgi-program:x]\ncommand=/x\nsocket=tcp://:1\n")
    done = unitq("import", "x.conf", "-o", "unitq.toml")
    assert done.code == Exit.USAGE
    what, why, hint = done.stderr.splitlines()
    assert "it has only [fcgi-program:x]" in what
    assert "Supervisor opens the socket" in why
    assert "write a .socket unit" in hint
    assert not (tmp_path / "unitq.toml").exists()


@pytest.mark.parametrize("name", ["PATH", "HOME", "USER", "SHELL", "PWD"])
def test_a_variable_of_the_session_is_asked_for(
    unitq: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/mine")
    monkeypatch.setenv("OTHER", "theirs")
    (tmp_path / "x.conf").write_text(
        f'[program:w]\ncommand=rq worker\ndirectory=/srv/a\nenvironment=A="%(ENV_{name})s",'
        'B="%(ENV_OTHER)s"\n'
    )
    done = unitq("import", "x.conf")
    assert done.code == Exit.USAGE
    assert f"--env {name}=…; {name} of your session would be another" in done.stderr
    done = unitq("import", "x.conf", "--env", f"{name}=/its")
    assert done.code == Exit.OK
    assert 'A = "/its"' in done.stdout
    assert 'B = "theirs"' in done.stdout
    assert "read from the environment of this command:" in done.stderr
    assert "/mine" not in done.stdout


STAYS = "#!/bin/sh\nphp work.php\n"


def test_what_could_be_read_is_known(unitq: Command, tmp_path: Path) -> None:
    (tmp_path / "run").write_text(STAYS.replace("php", "exec php"))
    for command, mode in (
        ("/bin/sleep 5", KillMode.MIXED),  # machine code
        (f"{tmp_path}/run", KillMode.MIXED),  # hands over
        ("php work.php", KillMode.MIXED),  # whatever it is, it is no shell's script
    ):
        found, said = worker(unitq, tmp_path, command)
        assert found.kill_mode is mode, command
        assert "could not be read" not in said


@pytest.mark.parametrize("command", ["{}/gone", "timeout 1h {}/gone", "bash {}/gone", "{}"])
def test_what_could_not_be_read_may_be_a_shell_s_script(
    unitq: Command, tmp_path: Path, command: str
) -> None:
    found, said = worker(unitq, tmp_path, command.format(tmp_path))
    assert found.kill_mode is KillMode.CONTROL_GROUP
    assert "every process gets the stop signal" in said or "could not be read here" in said


def test_a_shell_is_kept_for_a_script_that_needs_it(unitq: Command, tmp_path: Path) -> None:
    script = tmp_path / "nosb.sh"
    script.write_text("php work.php\n")
    found, _ = worker(unitq, tmp_path, f'/bin/bash -c "{script} --x"')
    # Relative, were it not below /tmp: see cmdline/script_file.py.
    assert found.command == f"/bin/bash {script} --x"
    script.write_text(STAYS)
    found, _ = worker(unitq, tmp_path, f'/bin/bash -c "{script} --x"')
    assert found.command == "./nosb.sh --x"
