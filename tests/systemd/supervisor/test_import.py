"""unitq import against a real systemd, and beside a real supervisord.

What supervisord started a process with, systemd must start it with: every argument, variable and
folder, whatever is in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import leftovers
from tests.harness.build import PRESETS, USER, rendered
from tests.harness.import_corpus import CASES, imported
from tests.systemd.conftest import wait_until
from unitq.config.parse import parse
from unitq.rollout.checks.preflight import verify
from unitq.supervisor.importer import report as import_report
from unitq.supervisor.importer.draft import uncomment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


@pytest.mark.variants
@pytest.mark.parametrize("case", CASES)
def test_systemd_finds_nothing_wrong_with_what_was_imported(case: str) -> None:
    made = imported(case)
    text = made.text if made.report.written else uncomment(made.text)
    found = parse(text, source="unitq.toml", presets=PRESETS)
    wrong = verify(rendered(found).units, user_scope=False)
    if 'user = "nobody"' in made.text:
        # The report says so.
        assert "user nobody: systemd calls that not safe" in " ".join(made.report.text().split())
        wrong = [one for one in wrong if "Special user nobody" not in one.message]
    assert not wrong


def test_systemd_finds_nothing_wrong_with_a_users_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    text = imported("mixed-users", user_scope=True).text
    found = parse(text, source="unitq.toml", presets=PRESETS)
    assert not verify(rendered(found, scope=USER).units, user_scope=True)


# Writes what it was started with, and stays.
SHOW = """\
import json, os, signal, sys
target = sys.argv[1]
umask = os.umask(0)
os.umask(umask)
shown = {
    "arguments": sys.argv[2:],
    "folder": os.getcwd(),
    "umask": umask,
    "user": os.getuid(),
    "environment": dict(os.environ),
}
with open(target + ".new", "w") as file:
    json.dump(shown, file)
os.rename(target + ".new", target)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""

CONF = r"""
[supervisord]
nodaemon=true
user=root
logfile=/dev/null
logfile_maxbytes=0
pidfile={home}/supervisord.pid
environment={mark}="{app}",SHARED="of all",OVER="daemon"

[program:quotes]
command={show} {out}/quotes "two words" 'single $HOME' "a\"b" back\\slash "" "%%" $VAR ${{VAR}} %%i a;b *.txt ~ `id` \$x "tab	x" ";" & "&&" '|' > é漢💥 @x -e +y {{a,b}} "\n" '\x41' "$$" '%%n%%H' \\$HOME ! "{odd}"
directory={current}
user=www-data
umask=027

[program:lines]
command={show}
  {out}/lines
  "second
  line" --last
directory={current}
environment=OVER="program",EMPTY="",URL="https://u:p%%40ss@x/?a=1#b",TEXT='it is "so"; $HOME %%i \n `x`',LIST="a,b"
user=www-data

[program:numbers]
command={show} {out}/numbers-%(process_num)03d "port 80%(process_num)02d" %(program_name)s %(host_node_name)s $x
process_name=%(program_name)s_%(process_num)03d
numprocs=3
numprocs_start=8
directory={current}
environment=NUMBER="n%(process_num)d $x",SAME="%(numprocs)d"
user=www-data

[program:from-one]
command={show} {out}/from-one-%(process_num)d "%(process_num)s of 2"
process_name=%(process_num)d
numprocs=2
numprocs_start=1
environment=NUMBER="%(process_num)d"
directory={current}
user=www-data

[program:shell]
command=/bin/bash -c "cd '{current}' && A=1 B='two  words' exec {show} {out}/shell 'a  b' \"c'd\" 100%%"
user=www-data

[program:kept]
command=/bin/sh -c "C=\$SHARED; export C; {show} {out}/kept \"\$C\" '\$C' 50%% $OVER"
directory={current}
user=www-data
environment=OVER="program"
"""  # noqa: E501

NAMES = (
    *("quotes", "lines", "numbers-008", "numbers-009", "numbers-010", "from-one-1", "from-one-2"),
    *("shell", "kept"),
)


def collected(site: Site) -> dict[str, Any]:
    """What every process has written; all of it is taken away."""
    files = {name: site.out / name for name in NAMES}
    missing = "every process has written what it was started with"
    wait_until(lambda: all(path.exists() for path in files.values()), 30, missing)
    found = {name: json.loads(path.read_text()) for name, path in files.items()}
    for path in files.values():
        path.unlink()
    return found


@contextlib.contextmanager
def supervisord(conf: Path) -> Iterator[None]:
    """A real one, in the foreground."""
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


# What systemd, supervisord, a shell or unitq sets by itself; the report names them.
OWN = ("SUPERVISOR_", "UNITQ_", "SYSTEMD_", "LC_", "XDG_")
ALSO = frozenset(
    {
        *("HOME", "LANG", "LOGNAME", "PATH", "PWD", "OLDPWD", "SHELL", "SHLVL", "USER", "_"),
        *("INVOCATION_ID", "JOURNAL_STREAM", "TERM", "MEMORY_PRESSURE_WATCH"),
        *("MEMORY_PRESSURE_WRITE", "LINES", "COLUMNS"),  # the last two are readline's
    }
)


def given(environment: dict[str, str], inherited: set[str]) -> dict[str, str]:
    """The variables that the configuration gave."""
    return {
        name: value
        for name, value in environment.items()
        if name not in ALSO | inherited and not name.startswith(OWN)
    }


def test_every_process_is_started_as_supervisord_started_it(system_site: Site) -> None:
    show = system_site.home / "show.py"
    show.write_text(SHOW)
    conf = system_site.home / "supervisord.conf"
    conf.write_text(
        CONF.format(
            home=system_site.home,
            mark=leftovers.MARK,
            app=system_site.app,
            show=f"{sys.executable} -IS {show}",
            out=system_site.out,
            current=system_site.current,
            odd="\x01\x7f\x80\u00a0\u200b\u2060\ue000\ufeffé",
        )
    )
    conf.chmod(0o644)
    with supervisord(conf):
        before = collected(system_site)
    done = system_site.unitq("-a", system_site.app, "import", str(conf), "-o", "unitq.toml")
    assert done.code == 0, str(done)
    assert max(map(len, done.stdout.splitlines())) <= import_report.WIDTH
    assert system_site.unitq("check").code == 0
    assert system_site.unitq("import", str(conf), "--check").code == 0
    deployed = system_site.unitq("deploy")
    assert deployed.code == 0, str(deployed)
    after = collected(system_site)
    inherited = set(os.environ) - {leftovers.MARK}
    for name in NAMES:
        old, new = before[name], after[name]
        for what in ("arguments", "folder", "umask", "user"):
            assert new[what] == old[what], (name, what)
        assert given(new["environment"], inherited) == given(old["environment"], inherited), name
    assert before["quotes"]["arguments"][1] == "single $HOME"
    assert before["numbers-010"]["arguments"][0] == "port 8010"


ENDING = """
[supervisord]
environment={mark}="{app}"
[program:expected]
command={odd} die-after 2 7
directory={current}
exitcodes=0,7
startsecs=1
user=www-data
[program:unexpected]
command={odd} die-after 2 8
directory={current}
exitcodes=0,7
user=www-data
[program:zero]
command={odd} die-after 2 0
directory={current}
user=www-data
[program:always]
command={odd} die-after 2 0
directory={current}
autorestart=true
user=www-data
[program:never]
command={odd} die-after 2 1
directory={current}
autorestart=false
user=www-data
[program:out]
command={odd} steady
directory={current}
stdout_logfile=NONE
user=www-data
"""


def test_what_ends_is_started_again_where_supervisor_did_so(system_site: Site) -> None:
    conf = system_site.home / "supervisord.conf"
    conf.write_text(
        ENDING.format(
            mark=leftovers.MARK,
            app=system_site.app,
            odd=system_site.odd(),
            current=system_site.current,
        )
    )
    conf.chmod(0o644)
    done = system_site.unitq("-a", system_site.app, "import", str(conf), "-o", "unitq.toml")
    assert done.code == 0, str(done)
    # One of them ends after two seconds, and is to be started again all the same.
    assert system_site.unitq("deploy", "--min-healthy", "1s").code == 0

    def value(name: str, key: str) -> str:
        unit = f"unitq-{system_site.app}-{name}@1.service"
        return system_site.systemctl("show", f"--property={key}", "--value", unit).stdout.strip()

    def again(name: str) -> bool:
        return int(value(name, "NRestarts")) >= 1

    for name in ("unexpected", "always"):
        wait_until(lambda name=name: again(name), 20, f"{name} was started again")  # type: ignore[misc]
    wanted = {"expected": "inactive", "zero": "inactive"}
    # It ends by design, so a deploy that waits for it to stay would fail: it is a comment.
    assert value("never", "LoadState") == "not-found"
    assert "# [workers.never]" in system_site.toml.read_text()
    wait_until(
        lambda: wanted == {name: value(name, "ActiveState") for name in wanted}, 20, "all ended"
    )
    assert not any(again(name) for name in wanted)
    assert (value("out", "StandardOutput"), value("out", "StandardError")) == ("null", "journal")
    unit = f"unitq-{system_site.app}-out@1.service"
    said = subprocess.run(
        ["journalctl", "-u", unit, "-o", "cat"], capture_output=True, text=True, check=True
    )
    assert "steady: " not in said.stdout


AROUND = """
[supervisord]
environment={mark}="{app}"
[program:su]
command=su -s /bin/bash www-data -c "{odd} slow-drain 2"
directory={current}
[program:nosb]
command=/bin/bash -c "{home}/nosb --x"
directory={current}
user=www-data
[program:loop]
command=/bin/sh -c "while true; do {odd} steady; sleep 1; done"
directory={current}
user=www-data
autorestart=true
[program:once]
command={odd} exit 0
directory={current}
autorestart=false
startsecs=0
"""


def test_what_stood_around_a_worker_is_gone_and_it_drains(system_site: Site) -> None:
    site = system_site
    script = site.home / "nosb"
    script.write_text(f"echo from a shell\n{site.odd('slow-drain', '1')}\n")
    script.chmod(0o755)
    conf = site.home / "supervisord.conf"
    conf.write_text(
        AROUND.format(
            mark=leftovers.MARK, app=site.app, odd=site.odd(), current=site.current, home=site.home
        )
    )
    conf.chmod(0o644)
    done = site.unitq("-a", site.app, "import", str(conf), "-o", "unitq.toml")
    assert done.code == 0, str(done)
    text = site.toml.read_text()
    assert "# Type=oneshot" in text
    # A loop around what no framework is known of is left as it is where it sleeps, so a timer.
    assert "# OnUnitInactiveSec=1s" in text
    assert site.deploy().code == 0
    pids = site.pids()
    assert set(pids) == {"su@1", "nosb@1"}
    wanted = pwd.getpwnam("www-data").pw_uid
    for name in pids:
        assert os.stat(f"/proc/{pids[name]}").st_uid == wanted
    # No su above it: the worker is the main process, and gets its two seconds.
    assert b"slow-drain" in Path(f"/proc/{pids['su@1']}/cmdline").read_bytes()
    again = site.unitq("restart")
    assert again.code == 0, str(again)
    assert "0 killed" in again.output


WORKER = """\
import pathlib, signal, sys, time
out = pathlib.Path(sys.argv[1])
def stop(*_):
    time.sleep(2)  # the job in flight
    (out / f"done-{sys.argv[2]}-{time.time()}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
while True:
    signal.pause()
"""

UNIT = """
[Unit]
Description=An old worker
[Service]
User=www-data
EnvironmentFile=-{home}/old.env
Environment={mark}={app}
ExecStart={python} -IS {home}/worker.py {out} $NAME
KillMode=mixed
TimeoutStopSec=30
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""


def test_a_unit_becomes_a_worker_and_no_job_is_lost_on_the_way(system_site: Site) -> None:
    site = system_site
    (site.home / "worker.py").write_text(WORKER)
    (site.home / "old.env").write_text("NAME=x\n")
    name = f"{site.app}-old.service"
    unit = Path("/run/systemd/system") / name
    drop_in = unit.with_name(f"{name}.d") / "10-where.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\nWorkingDirectory={site.current}\n")
    unit.write_text(
        UNIT.format(
            home=site.home, mark=leftovers.MARK, app=site.app, python=sys.executable, out=site.out
        )
    )
    try:
        site.systemctl("daemon-reload")
        site.systemctl("start", name)
        done = site.unitq("-a", site.app, "import", str(unit), "-o", "unitq.toml")
        assert done.code == 0, str(done)
        assert f"systemctl disable --now '{name}'" in " ".join(done.stdout.split())
        assert site.unitq("check").code == 0
        # As it is printed: the old unit stops first, with the time that it always had.
        site.systemctl("disable", "--now", name)
        assert len(list(site.out.glob("done-x-*"))) == 1
    finally:
        site.systemctl("stop", name, check=False)
        unit.unlink()
        drop_in.unlink()
        drop_in.parent.rmdir()
        site.systemctl("daemon-reload")
    site.deploy()
    (pid,) = site.pids().values()
    assert os.readlink(f"/proc/{pid}/cwd") == str(site.current.resolve())
    again = site.unitq("restart")
    assert again.code == 0, str(again)
    assert "0 killed" in again.output
    assert len(list(site.out.glob("done-x-*"))) == 2
