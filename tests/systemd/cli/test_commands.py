"""Every command, in both scopes, as a user types it; what it says is compared with what is true."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.systemd.conftest import Scope, Site, sites, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tests.harness.observer import Observer
    from tests.harness.redis_server import RedisServer

    Observe = Callable[[Site], AbstractContextManager[Observer]]
    MakeSite = Callable[..., Site]

pytestmark = pytest.mark.systemd

ESCAPE = "\x1b"


def configured(site: Site, **workers: dict[str, Any]) -> Site:
    """Two workers, sms with three instances and mail with one, unless the test says otherwise."""
    site.config(
        workers=workers
        or {
            "sms": {"command": site.odd("steady"), "instances": 3},
            "mail": {"command": site.odd("steady"), "instances": 1},
        },
        rollout={"min_healthy": "100ms"},
    )
    return site


@pytest.fixture(scope="module", params=["system", "user"])
def app(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One deployed app for all the tests that only look at it."""
    with sites() as make:
        site = configured(make(Scope(request.param)))
        site.deploy()
        yield site


@pytest.fixture(scope="module", params=["system", "user"])
def shared(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One deployed app for all the tests that act and leave everything running."""
    with sites() as make:
        site = configured(make(Scope(request.param)))
        site.deploy()
        yield site


@pytest.fixture
def busy(shared: Site) -> Site:
    """The same, as deployed."""
    if shared.active() != 4:
        shared.deploy()
    return shared


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, site: Site, *arguments: str, columns: int = 120) -> None:
        user = ("--user",) if site.scope.user else ()
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [*site.scope.prefix, sys.executable, "-m", "unitq", *user, *arguments],
            cwd=site.home,
            env=site.scope.environment | {"TERM": "xterm-256color", "COLUMNS": str(columns)},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""

    def read(self, timeout: float) -> bool:
        """Read what there is; False at the end."""
        ready, _, _ = select.select([self._master], [], [], timeout)
        if ready:
            try:
                self.shown += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                return False
        return True

    def wait_for(self, text: str, timeout: float = 20.0) -> None:
        """Read until the text is there."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            assert self.read(0.1), f"ended without {text!r}: {self.shown}"
            assert time.monotonic() < deadline, f"no {text!r}: {self.shown}"

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self._master, text.encode())

    def signal(self, number: int) -> None:
        """Send the process a signal, as Ctrl-C does."""
        self._process.send_signal(number)

    def end(self, timeout: float = 30.0) -> int:
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + timeout
        try:
            while self.read(0.1):
                assert time.monotonic() < deadline, f"no end: {self.shown}"
            return self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._master)


# --- from nothing to a running app ----------------------------------------------------------------


def test_from_init_to_remove_as_the_first_steps_say(site: Site) -> None:
    before = set(site.scope.unit_dir.rglob("*"))
    code = site.release(1)
    done = site.unitq("init", "-c", str(site.toml), "--app", site.app, cwd=code)
    # The directory is root's, as in a deploy by root; a user makes the file in his own.
    if site.scope.user:
        assert done.code == 5
        shutil.chown(site.home, "tester")
        done = site.unitq("init", "-c", str(site.toml), "--app", site.app, cwd=code)
    assert done.code == 0, done
    assert f"unitq -c {site.toml} check" in done.stdout
    text = site.toml.read_text()
    if not site.scope.user:
        # The code is root's, and there is nobody to ask.
        text = text.replace('#user = "www-data"', 'user = "www-data"', 1)
    text = re.sub(r"(?m)^command = .*$", f'command = "{site.odd("steady")}"', text)
    text = re.sub(r"(?m)^#min_healthy = .*$", 'min_healthy = "100ms"', text)
    text = re.sub(
        r"(?m)^#environment = .*$",
        f'environment = {{ UNITQ_TEST_MARK = "{site.app}" }}',
        text,
        count=1,
    )
    site.write(text)
    checked = site.unitq("check")
    assert checked.code == 2, "names that begin with UNITQ_ are unitq's own"
    assert "UNITQ_TEST_MARK" in checked.stderr
    site.write(re.sub(r"(?m)^environment = .*$", "", text))
    checked = site.unitq("check")
    assert checked.code == 0, checked
    assert f"ok (app {site.app}; worker default: 4)" in checked.stdout
    assert site.unitq("plan").code == 12
    done = site.deploy()
    assert "4 of 4 on 1" in done.stdout
    assert site.active("default") == 4
    assert site.unitq("status").code == 0
    done = site.unitq("remove", "--yes")
    assert done.code == 0, done
    assert set(site.scope.unit_dir.rglob("*")) - before <= {site.scope.unit_dir}
    assert not site.files()
    assert not site.show()


def test_plan_changes_nothing_and_tells_everything(site: Site) -> None:
    configured(site)
    untouched = site.files()
    planned = site.unitq("plan")
    assert planned.code == 12, planned
    assert not planned.stderr
    for line in (
        f"+++ b/unitq-{site.app}-sms@.service",
        "+KillSignal=SIGQUIT",
        "  sms@1: start (not running)",
        "  mail@1: start (not running)",
        "4 start; one daemon-reload",
    ):
        assert line in planned.stdout.splitlines()
    dry = site.unitq("deploy", "--dry-run")
    assert dry.code == 12
    assert dry.stdout.splitlines()[2:] == planned.stdout.splitlines()[2:]
    found = site.unitq("plan", "--json").json
    assert found["pending"]
    assert len(found["units"]) == 6
    assert {each["change"] for each in found["units"]} == {"create"}
    assert len(found["boot_links"]) == 4
    assert site.files() == untouched
    assert not site.show()

    site.deploy()
    for arguments in (["plan"], ["deploy", "--dry-run"]):
        done = site.unitq(*arguments)
        assert (done.code, done.stdout) == (0, f"{site.app}: nothing to do: all on revision 1\n")
    assert site.unitq("plan", "--json").json["pending"] is False

    site.switch(2)
    pids, times = site.pids(), site.mtimes()
    planned = site.unitq("plan")
    assert planned.code == 12
    assert "4 restart; no daemon-reload" in planned.stdout
    assert "code 2" in planned.stdout or "release 2" in planned.stdout
    assert site.pids() == pids
    assert site.mtimes() == times


def test_the_name_of_the_code_may_be_given(site: Site) -> None:
    configured(site)
    done = site.deploy("--revision", "build-4711")
    assert "build-4711" in done.stdout
    assert site.deploy("--revision", "build-4711").stdout == "unchanged: 4 of 4 on 1\n"
    # The directory is the same: what it is called decides.
    done = site.deploy("--revision", "build-4712")
    assert "build-4712) replaces 1" in done.stdout
    assert "build-4712" in site.unitq("status").stdout


def test_deploy_prints_a_line_per_step_and_no_colour_into_a_pipe(busy: Site) -> None:
    busy.switch(2)
    done = busy.deploy()
    assert ESCAPE not in done.output
    assert not done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(
        rf"{busy.app}: revision \d+ \([0-9a-f]{{6}}, release 2\) replaces \d+", lines[0]
    )
    for name in ("sms@1", "sms@2", "sms@3", "mail@1"):
        mine = [line for line in lines if line.split()[0] == name]
        assert re.fullmatch(rf"  {name} +draining \(PID \d+\)", mine[0])
        assert re.fullmatch(
            rf"  {name} +drained in [\d.]+ s, started, healthy  \[[1-4]/4\]", mine[1]
        )
    counted = re.findall(r"\[(\d)/4\]", done.stdout)
    assert counted == ["1", "2", "3", "4"]
    assert re.fullmatch(
        r"ok: 4 of 4 on \d+ · least serving: mail 0 of 1, sms 2 of 3 · 0 killed · "
        r"0 processes on old code · slowest drain: \S+ [\d.]+ s · [\d.]+ s",
        lines[-1],
    )


def test_deploy_on_a_terminal_shows_who_drains_and_leaves_the_same_lines(
    system_site: Site,
) -> None:
    site = configured(
        system_site, sms={"command": system_site.odd("slow-drain", "1"), "instances": 2}
    )
    site.deploy()
    site.switch(2)
    terminal = Terminal(site, "deploy")
    terminal.wait_for("draining for")
    assert terminal.end() == 0
    assert ESCAPE in terminal.shown
    assert "to go" in terminal.shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)
    assert re.search(r"sms@2 +drained in 1\.\d s, started, healthy +\[2/2\]", plain)
    assert "ok: 2 of 2 on 2" in plain


# --- looking --------------------------------------------------------------------------------------

HEADER = ["INSTANCE", "STATE", "SINCE", "PID", "REVISION", "FRESH", "PROCESSES", "MEMORY",
          "RESTARTS"]  # fmt: skip


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table that lines up, by the columns of its header."""
    lines = table.splitlines()
    starts = [lines[0].index(title) for title in HEADER]
    found = []
    for line in lines[1:]:
        if re.match(r"\S+: \d", line) or not line:
            break
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        for start in starts[1:]:
            assert line[start - 1 : start] in ("", " "), f"not aligned: {line}"
        found.append(dict(zip(HEADER, cells, strict=True)))
    return found


def test_status_in_a_pipe_is_plain_aligned_and_true(app: Site) -> None:
    done = app.unitq("status")
    assert done.code == 0, done
    assert not done.stderr
    assert ESCAPE not in done.stdout
    assert done.stdout.splitlines()[0].split() == HEADER
    pids = app.pids()
    found = rows(done.stdout)
    assert {row["INSTANCE"]: int(row["PID"]) for row in found} == pids
    # As in unitq.toml, not by the alphabet.
    assert [row["INSTANCE"] for row in found] == ["sms@1", "sms@2", "sms@3", "mail@1"]
    for row in found:
        assert row["STATE"] == "active (running)"
        assert (row["REVISION"], row["FRESH"]) == ("1", "yes")
        assert (row["PROCESSES"], row["RESTARTS"]) == ("1", "0")
        assert re.fullmatch(r"[\d.]+ [KM]", row["MEMORY"])
        assert re.fullmatch(r"[\d.]+ (s|min)", row["SINCE"])
    assert "sms: 3 of 3 serving · revision 1, release 1" in done.stdout.splitlines()
    assert "mail: 1 of 1 serving · revision 1, release 1" in done.stdout.splitlines()


def test_status_on_a_terminal_is_the_same_in_colour(app: Site) -> None:
    terminal = Terminal(app, "status")
    assert terminal.end() == 0
    assert ESCAPE in terminal.shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)
    for name, pid in app.pids().items():
        assert re.search(rf"(?m)^{name} +active \(running\) .* {pid} ", plain)


@pytest.mark.parametrize("columns", [80, 120])
def test_status_leaves_out_what_matters_least_where_a_terminal_is_narrow(
    app: Site, columns: int
) -> None:
    terminal = Terminal(app, "status", columns=columns)
    assert terminal.end() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)
    gone = set(HEADER) - set(plain.splitlines()[0].split())
    # How much fits, PIDs have a say in.
    assert gone in ([{"MEMORY"}, {"MEMORY", "PROCESSES"}] if columns == 80 else [set()])
    assert "…" not in plain
    for name, pid in app.pids().items():
        assert re.search(rf"(?m)^{name} +active \(running\) +[\d.]+ \S+ +{pid} ", plain)


def test_status_for_scripts_and_for_monitoring(system_site: Site) -> None:
    site = configured(system_site)
    nothing = site.unitq("status", "--check", "-a", "no-such-app")
    assert (nothing.code, nothing.stdout[:10], nothing.stderr) == (3, "UNKNOWN - ", "")
    site.deploy()

    def check() -> tuple[int, str]:
        done = site.unitq("status", "--check")
        quiet = site.unitq("status", "-q")
        assert (quiet.stdout, quiet.stderr, quiet.code) == ("", "", site.unitq("status").code)
        assert (done.stderr, done.stdout.count("\n"), done.stdout.count("|")) == ("", 1, 1)
        return done.code, done.stdout.strip()

    assert check() == (0, "OK - 4 of 4 serving | serving=4;;; old=0")
    site.systemctl("stop", site.unit("sms", 2))
    code, line = check()
    assert (code, line[:40]) == (1, "WARNING - 3 of 4 serving; down: sms@2 in"), line
    assert site.unitq("status", "-q").code == 3
    site.systemctl("stop", site.unit("mail", 1))
    assert check()[0] == 2
    for unit in (site.unit("sms", 2), site.unit("mail", 1)):
        site.systemctl("start", unit)
    assert check()[0] == 0
    for words in (["-q", "--check"], ["-q", "--json"], ["--check", "--watch"]):
        assert site.unitq("status", *words).code == 2


def test_status_watch_into_a_pipe_prints_looks(system_site: Site) -> None:
    site = configured(system_site)
    site.deploy()
    text, documents = site.start("status", "--watch"), site.start("status", "--watch", "--json")
    text.wait_for("3 of 3 serving")
    documents.wait_for('"serving": 3')
    site.systemctl("stop", site.unit("sms", 2))
    text.wait_for("2 of 3 serving")
    documents.wait_for('"serving": 2')
    for running in (text, documents):
        running.signal(signal.SIGINT)
    ended, told = text.wait(), documents.wait()
    assert (ended.code, told.code, ended.stderr, told.stderr) == (3, 3, "", ""), (ended, told)
    assert ESCAPE not in ended.stdout
    assert len(re.findall(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", ended.stdout)) >= 2
    looks = [json.loads(line) for line in told.stdout.splitlines()]
    assert [looks[0]["exit_code"], looks[-1]["exit_code"]] == [0, 3]
    # Who reads has gone: it ends.
    piped = site.scope.run(
        "bash", "-c", 'timeout 20 "$@" | head -n 1', "bash", sys.executable, "-m", "unitq",
        "status", "--watch", "-a", site.app,
    )  # fmt: skip
    assert (piped.code, piped.stderr) == (0, ""), piped


def test_status_watch_draws_until_ctrl_c(system_site: Site) -> None:
    site = configured(system_site)
    site.deploy()
    terminal = Terminal(site, "status", "--watch")
    try:
        terminal.wait_for("3 of 3 serving")
        site.systemctl("stop", site.unit("sms", 2))
        terminal.wait_for("2 of 3 serving")
        terminal.shown = ""
        site.systemctl("start", site.unit("sms", 2))
        terminal.wait_for("3 of 3 serving")
        terminal.signal(signal.SIGINT)
    finally:
        code = terminal.end()
    assert code == 0
    assert "Traceback" not in terminal.shown


def test_status_json_says_what_systemd_and_proc_say(app: Site) -> None:
    before = time.time()
    found = app.unitq("status", "--json").json
    assert (found["format"], found["scope"], found["exit_code"]) == (1, app.scope.name, 0)
    (one,) = [each for each in found["apps"] if each["app"] == app.app]
    told = {each["instance"]: each for worker in one["workers"] for each in worker["instances"]}
    shown = app.show()
    assert told.keys() == shown.keys()
    for name, each in told.items():
        truth = shown[name]
        assert each["unit"] == truth["Id"]
        assert (each["active"], each["sub"]) == (truth["ActiveState"], truth["SubState"])
        assert each["main_pid"] == int(truth["MainPID"])
        assert each["pids"] == [int(truth["MainPID"])]
        assert each["invocation"] == truth["InvocationID"]
        assert each["revision"] == each["wanted_revision"] == app.revisions()[name]
        assert each["fresh"] is True
        assert 0 <= before - each["since"] < 600
    assert one["config"] == str(app.toml)


def test_targets(app: Site) -> None:
    for targets, expected in (
        ([], ["mail@1", "sms@1", "sms@2", "sms@3"]),
        (["sms"], ["sms@1", "sms@2", "sms@3"]),
        (["sms@3"], ["sms@3"]),
        (["sms@[12]", "mail"], ["mail@1", "sms@1", "sms@2"]),
        (["*@1"], ["mail@1", "sms@1"]),
    ):
        done = app.unitq("status", *targets)
        assert done.code == 0, done
        assert sorted(row["INSTANCE"] for row in rows(done.stdout)) == expected


def test_an_unknown_target_is_a_no_match_and_nothing_is_done(app: Site) -> None:
    pids, times = app.pids(), app.mtimes()
    verbs = [["stop"], ["restart"], ["start"], ["logs"], ["signal", "KILL"]]
    for verb, target in [
        *((["status"], target) for target in ("smss", "sms@4", "mail@*2")),
        *((verb, "sms@9") for verb in verbs),
    ]:
        # A known one beside it: nothing is done by halves.
        done = app.unitq(*verb, "sms@1", target)
        assert done.code == 4, done
        assert f"no worker or instance of {app.app} matches {target}" in done.stderr
        worker, at, _ = target.partition("@")
        assert (f"hint: {worker} has " if at else "workers: ") in done.stderr
        assert not done.stdout
    assert app.pids() == pids
    assert app.mtimes() == times


def test_no_configuration_file_is_needed_to_look_or_to_act(app: Site) -> None:
    nowhere = Path("/")
    for arguments in (
        ["-a", app.app, "status"],
        ["status", "-a", app.app],
        ["status", f"--app={app.app}"],
        ["status"],  # the only one
        ["-a", app.app, "start"],
        ["start", "-a", app.app, "sms@1"],
    ):
        done = app.unitq(*arguments, cwd=nowhere)
        assert done.code == 0, done
    # The file's own app, whatever the current directory.
    done = app.unitq("status", "-c", str(app.toml), cwd=nowhere)
    assert done.code == 0
    assert "sms: 3 of 3" in done.stdout
    done = app.unitq("-a", "nosuch", "status", cwd=nowhere)
    assert done.code == 4
    assert "no app nosuch is installed here" in done.stderr
    assert app.app in done.stderr


def test_the_environment_may_name_the_file(app: Site) -> None:
    done = app.unitq("plan", cwd=Path("/"), environment={"UNITQ_CONFIG": str(app.toml)})
    assert done.code == 0, done
    done = app.unitq("plan", cwd=Path("/"), environment={"UNITQ_CONFIG": "/nosuch.toml"})
    assert done.code == 2
    assert "/nosuch.toml: No such file or directory" in done.stderr


@pytest.mark.parametrize("app", ["user"], indirect=True)
def test_user_scope_is_asked_for_before_or_after_the_verb(app: Site) -> None:
    for arguments in (["--user", "status"], ["status", "--user"], ["status", "--user", "sms"]):
        done = app.scope.run(sys.executable, "-m", "unitq", *arguments, cwd=app.home)
        assert done.code == 0, done
        assert "sms: 3 of 3 serving" in done.stdout
    # Without it, the system's: where there is no such app.
    done = app.scope.run(sys.executable, "-m", "unitq", "status", "-a", app.app)
    assert done.code == 4
    assert "--user" in done.stderr


def test_check_says_it_is_ready(app: Site) -> None:
    done = app.unitq("check")
    assert done.code == 0
    assert f"ok (app {app.app}; worker sms: 3, worker mail: 1)" in done.stdout
    # WORKER of conftest has 20 s.
    assert "note: workers.sms.stop_timeout: " in done.stdout
    found = app.unitq("check", "--json").json["findings"]
    assert {each["level"] for each in found} == {"note"}
    # And the exposure of both workers, which systemd rates in the system scope.
    places = [each["place"].rpartition(".")[2] for each in found]
    hardening = [] if app.scope.user else ["hardening"]
    assert sorted(places) == [*hardening, "stop_timeout", "stop_timeout"]


def test_render_prints_exactly_what_is_installed(app: Site) -> None:
    done = app.unitq("render")
    assert done.code == 0
    parts = re.split(r"(?m)^# (/\S+/unitq-\S+)\n", done.stdout)[1:]
    printed = dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(printed) == 6
    for path, text in printed.items():
        assert Path(path).parent == app.scope.unit_dir
        assert Path(path).read_text() == text.removesuffix("\n")
    folder = app.out / "units"
    done = app.unitq("render", "--output", str(folder))
    assert done.code == 0
    for path in printed:
        assert (folder / Path(path).name).read_text() == Path(path).read_text()
    shutil.rmtree(folder)


def test_start_of_what_runs_is_success(app: Site) -> None:
    pids = app.pids()
    done = app.unitq("start")
    assert done.code == 0
    assert "ok: 4 of 4 on 1" in done.stdout
    assert app.unitq("start", "sms@2", "--json").json["result"] == "ok"
    assert app.pids() == pids


def test_the_schema_takes_the_file(app: Site) -> None:
    import tomllib

    schema = app.unitq("schema").json
    jsonschema.validate(tomllib.loads(app.toml.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"app": "../x", "workers": {}}, schema)


def test_version(app: Site) -> None:
    done = app.unitq("--version")
    assert done.code == 0
    assert re.fullmatch(r"unitq \d+\.\d+\S*\n", done.stdout)


# --- logs -----------------------------------------------------------------------------------------


def test_logs_of_the_app_of_a_worker_and_of_an_instance(app: Site) -> None:
    pids = app.pids()
    everything = app.unitq("logs").stdout
    for pid in pids.values():
        assert f"started, pid {pid}" in everything
    mail = app.unitq("logs", "mail").stdout
    assert f"started, pid {pids['mail@1']}" in mail
    assert "sms@" not in mail
    one = app.unitq("logs", "sms@3").stdout
    assert f"started, pid {pids['sms@3']}" in one
    assert not re.search(r"sms@[12]\b", one)
    # systemd's own words about the unit are there too.
    assert "Started" in one


def test_logs_as_many_lines_as_asked_for_and_since_when(app: Site) -> None:
    for count in (1, 2):
        assert len(app.unitq("logs", "-n", str(count)).stdout.splitlines()) == count
    assert app.unitq("logs", "--since", "-1h", "sms").stdout.count("started, pid") >= 3
    assert "started" not in app.unitq("logs", "--since", "tomorrow").stdout
    done = app.unitq("logs", "--since", "whenever")
    assert done.code != 0
    assert "whenever" in done.stderr


def test_logs_as_json_are_the_journals_own(app: Site) -> None:
    done = app.unitq("logs", "--json", "sms@2", "-n", "50")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(
        entry["SYSLOG_IDENTIFIER"] == f"{app.app}-sms@2" and "started, pid" in entry["MESSAGE"]
        for entry in entries
    )


def test_logs_may_be_followed(system_site: Site) -> None:
    site = configured(system_site)
    site.deploy()
    following = site.start("logs", "-f", "sms")
    following.wait_for("started, pid")
    site.systemctl("restart", site.unit("sms", 2))
    following.wait_for(f"started, pid {site.pids('sms')['sms@2']}")
    following.signal(signal.SIGTERM)
    following.wait()


# --- start, stop, restart -------------------------------------------------------------------------


def test_stop_and_start_of_some(busy: Site) -> None:
    pids = busy.pids()
    done = busy.unitq("stop", "sms@[12]")
    assert done.code == 0, done
    assert "2 stopped · 0 killed" in done.stdout
    assert busy.pids() == {name: pids[name] for name in ("sms@3", "mail@1")}

    done = busy.unitq("status")
    assert done.code == 3
    assert "sms: 1 of 3 serving" in done.stdout
    assert {row["STATE"] for row in rows(done.stdout)} == {"active (running)", "inactive (dead)"}
    assert busy.unitq("status", "sms@3").code == 0
    # What is down already is no error, and nothing else is touched.
    assert busy.unitq("stop", "sms@1").code == 0

    # A rolling restart of one is not held up by those that were stopped on purpose.
    done = busy.unitq("restart", "sms@3", timeout=20)
    assert done.code == 0, done
    assert busy.active("sms") == 1

    done = busy.unitq("start")
    assert done.code == 0, done
    assert "4 of 4 on" in done.stdout
    assert busy.active() == 4
    assert busy.pids()["mail@1"] == pids["mail@1"]
    assert busy.unitq("status").code == 0


def test_stop_of_everything_stops_the_target_and_deploy_brings_it_back(busy: Site) -> None:
    done = busy.unitq("stop")
    assert done.code == 0, done
    assert busy.active() == 0
    assert not busy.workers()
    assert busy.systemctl("is-active", busy.target, check=False).stdout.strip() == "inactive"
    assert busy.unitq("status").code == 3
    done = busy.deploy()
    assert "4 of 4 on" in done.stdout
    assert busy.systemctl("is-active", busy.target).stdout.strip() == "active"


def test_restart_is_rolling(busy: Site, observe: Observe) -> None:
    pids = busy.pids()
    with observe(busy) as observer:
        done = busy.unitq("restart", "sms")
    assert done.code == 0, done
    assert "least serving: mail 1 of 1, sms 2 of 3" in done.stdout
    now = busy.pids()
    assert now["mail@1"] == pids["mail@1"]
    assert not {now[f"sms@{n}"] for n in (1, 2, 3)} & set(pids.values())
    assert set(busy.revisions().values()) == set(busy.revisions("mail").values())
    least = observer.summary().least_active("sms")
    assert least == 2, least


def test_restart_all_at_once(busy: Site) -> None:
    pids = busy.pids()
    done = busy.unitq("restart", "--all-at-once")
    assert done.code == 0, done
    assert not set(busy.pids().values()) & set(pids.values())
    # All drain before the first is healthy.
    verbs = [line.split()[1] for line in done.stdout.splitlines()[:-1]]
    assert verbs == ["draining"] * 4 + ["drained"] * 4


def test_restart_of_what_is_down_starts_it(busy: Site) -> None:
    busy.unitq("stop", "sms@2")
    done = busy.unitq("restart", "sms", "--max-unavailable", "50%")
    assert done.code == 0, done
    assert busy.active() == 4


# --- scale, signal --------------------------------------------------------------------------------


def test_scale_touches_only_what_comes_or_goes(busy: Site) -> None:
    pids = busy.pids()
    done = busy.unitq("scale", "sms=5")
    assert done.code == 0, done
    assert "6 of 6 on" in done.stdout
    now = busy.pids()
    assert now.keys() - pids.keys() == {"sms@4", "sms@5"}
    assert {name: now[name] for name in pids} == pids
    assert busy.unitq("status").code == 0

    done = busy.unitq("scale", "sms=1", "mail=2")
    assert done.code == 0, done
    now = busy.pids()
    assert now.keys() == {"sms@1", "mail@1", "mail@2"}
    assert now["sms@1"] == pids["sms@1"]
    enabled = {path.name for path in (busy.scope.unit_dir / f"{busy.target}.wants").iterdir()}
    assert enabled == {busy.unit("sms", 1), busy.unit("mail", 1), busy.unit("mail", 2)}
    assert not (busy.scope.state_dir / busy.app / "pins/sms/2").exists()
    assert busy.unitq("status").code == 0

    # Nothing to do is success; the file wins at the next deploy.
    assert busy.unitq("scale", "sms=1").code == 0
    assert busy.pids() == now
    assert busy.unitq("plan").code == 12
    busy.deploy()
    assert busy.pids().keys() == pids.keys()
    assert busy.pids()["sms@1"] == pids["sms@1"]


NONSENSE = [
    (["sms=0"], 2, "unitq stop sms"),
    (["sms=4097"], 2, "from 1 to 4096"),
    (["sms=-1"], 2, "WORKER=COUNT"),
    (["sms=" + "9" * 5000], 2, "WORKER=COUNT"),
    (["sms"], 2, "WORKER=COUNT"),
    (["=3"], 4, "no worker"),
    (["sms=2", "smss=3"], 4, "no worker smss"),
]


def test_scale_to_nonsense_changes_nothing(app: Site) -> None:
    times, pids = app.mtimes(), app.pids()
    for words, code, said in NONSENSE[::3] if app.scope.user else NONSENSE:
        done = app.unitq("scale", *words)
        assert done.code == code, done
        assert said in done.stderr
    assert app.mtimes() == times
    assert app.pids() == pids


def test_signal_reaches_main_processes_or_all(site: Site) -> None:
    deaf = {"command": site.odd("ignore-quit"), "instances": 2, "stop_timeout": "500ms"}
    shell = {"command": f"/bin/bash -c '{site.odd('steady')}; true'", "instances": 1}
    configured(site, deaf=deaf, shell=shell).deploy()
    pids = site.pids()
    done = site.unitq("signal", "QUIT", "deaf@2")
    assert done.code == 0, done
    assert done.stdout == f"deaf@2: QUIT to PID {pids['deaf@2']}\n"
    heard = (
        [f"-u{site.unit('deaf', 2)}"]
        if not site.scope.user
        else [f"--user-unit={site.unit('deaf', 2)}"]
    )
    wait_until(lambda: "ignores SIGQUIT" in site.scope.journal(*heard), 5)
    other = heard[0].replace("@2", "@1")
    assert "ignores" not in site.scope.journal(other)
    # bash ignores SIGQUIT, and only it is told; with all processes the worker below is, too.
    (inner,) = [p.pid for p in site.workers() if "steady" in p.command and p.pid != pids["shell@1"]]
    for name in ("3", "sigquit"):
        assert site.unitq("signal", name, "shell").code == 0
    time.sleep(0.2)
    assert inner in {p.pid for p in site.workers()}
    done = site.unitq("signal", "quit", "shell", "--all-processes")
    assert done.code == 0
    wait_until(lambda: inner not in {p.pid for p in site.workers()}, 5)
    assert site.pids()["deaf@1"] == pids["deaf@1"]

    site.unitq("stop", "deaf@1")
    done = site.unitq("signal", "CONT", "deaf")
    assert done.code == 0
    assert "deaf@1: not running" in done.stderr
    assert "deaf@2: CONT" in done.stdout
    done = site.unitq("signal", "CONT", "deaf@1")
    assert (done.code, done.stdout) == (3, "")


# --- remove ---------------------------------------------------------------------------------------


def test_remove_asks_and_leaves_nothing(site: Site) -> None:
    root = site.scope.unit_dir
    before = {str(path) for path in root.rglob("*")} if root.exists() else set()
    configured(site).deploy()
    pids = site.pids()

    done = site.unitq("remove")
    assert done.code == 2
    assert "--yes" in done.stderr
    terminal = Terminal(site, "remove")
    terminal.wait_for("Go on?")
    for path in (root / f"unitq-{site.app}-sms@.service", site.scope.state_dir / site.app):
        assert str(path) in terminal.shown
    assert "4 instances" in terminal.shown
    terminal.type("\n")  # no answer is no
    assert terminal.end() == 10, terminal.shown
    assert "nothing was changed" in terminal.shown
    assert site.pids() == pids

    terminal = Terminal(site, "remove")
    terminal.wait_for("Go on?")
    terminal.type("y\n")
    assert terminal.end() == 0, terminal.shown
    assert not site.workers()
    assert not site.show()
    after = {str(path) for path in root.rglob("*")}
    assert after - before <= {str(root)}
    assert not (site.scope.state_dir / site.app).exists()
    loaded = site.systemctl("list-units", "--all", "--no-legend", f"unitq-{site.app}*").stdout
    assert not loaded.strip(), loaded
    listed = site.systemctl("list-unit-files", "--no-legend", f"unitq-{site.app}*", check=False)
    assert not listed.stdout.strip(), listed
    assert site.toml.exists()
    assert site.current.exists()

    assert site.unitq("remove", "--yes").code == 4


# --- several apps ---------------------------------------------------------------------------------


def test_several_apps_on_one_host(make_site: MakeSite, scope: Scope) -> None:
    one, two = make_site(scope), make_site(scope)
    folder = scope.home / ".config/unitq" if scope.user else Path("/etc/unitq")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if scope.user:
        for path in (folder, folder.parent):
            shutil.chown(path, "tester", "tester")
    nowhere = Path("/")
    try:
        for site in (one, two):
            configured(site, sms={"command": site.odd("steady"), "instances": 1})
            target = folder / f"{site.app}.toml"
            target.write_bytes(site.toml.read_bytes())
            target.chmod(0o644)

        done = one.unitq("deploy", cwd=nowhere)
        assert done.code == 2
        assert "several configuration files" in done.stderr
        assert "-a APP" in done.stderr
        for site in (one, two):
            done = site.unitq("-a", site.app, "deploy", cwd=nowhere)
            assert done.code == 0, done

        # Both are shown, and each under its name.
        done = one.unitq("status", cwd=nowhere)
        assert done.code == 0
        for site in (one, two):
            assert f"{site.app} · 1 instance" in done.stdout.splitlines()
            assert str(site.pids()["sms@1"]) in done.stdout
        found = one.unitq("status", "--json", cwd=nowhere).json
        assert {each["app"] for each in found["apps"]} >= {one.app, two.app}
        # Where a unitq.toml is, that app is meant.
        assert two.app not in one.unitq("status").stdout
        # What acts wants to be told which.
        done = one.unitq("restart", cwd=nowhere)
        assert done.code == 4
        assert "name one with -a APP" in done.stderr
        pids = two.pids()
        assert one.unitq("-a", one.app, "stop", cwd=nowhere).code == 0
        assert two.pids() == pids
        # One that is down is seen though the other is fine.
        assert one.unitq("status", cwd=nowhere).code == 3
        assert one.unitq("status", "-a", two.app, cwd=nowhere).code == 0
    finally:
        for site in (one, two):
            (folder / f"{site.app}.toml").unlink(missing_ok=True)
        if made:
            folder.rmdir()


# --- what status must find out --------------------------------------------------------------------


def test_status_shows_old_code_before_anything_else(site: Site) -> None:
    broken = site.release(2)
    (broken / "broken").touch()
    # Fails before it counts as started, so no clock decides.
    check = {"ExecStartPre": "/usr/bin/test ! -e broken"}
    configured(site, sms={"command": site.odd("steady"), "instances": 3, "service": check})
    site.deploy()
    site.switch(2)
    site.deploy(code=7)
    done = site.unitq("status")
    assert done.code == 15, done
    found = {row["INSTANCE"].partition("@")[2]: row for row in rows(done.stdout)}
    assert (found["2"]["FRESH"], found["3"]["FRESH"]) == ("NO", "NO")
    assert (found["2"]["REVISION"], found["3"]["REVISION"]) == ("1", "1")
    assert found["1"]["FRESH"] != "NO"
    assert "2 on OLD CODE" in done.stdout
    told = site.unitq("status", "--json")
    assert told.code == told.json["exit_code"] == 15
    assert told.json["apps"][0]["workers"][0]["stale"] == 2
    # Only what is asked for counts.
    assert site.unitq("status", "sms@1").code == 3
    # Mended by the next release.
    site.switch(3)
    site.deploy()
    assert site.unitq("status").code == 0


def test_status_of_a_worker_that_nobody_wants_any_more(system_site: Site) -> None:
    site = configured(system_site)
    site.deploy()
    # Somebody starts one by hand that is not among those wanted.
    pins = site.scope.state_dir / site.app / "pins/sms"
    (pins / "7").symlink_to(os.readlink(pins / "1"))
    site.systemctl("start", site.unit("sms", 7))
    done = site.unitq("status")
    # It runs the code that is wanted, but nobody wants it.
    assert done.code == 3, done
    (row,) = [row for row in rows(done.stdout) if row["INSTANCE"].endswith("@7")]
    assert row["FRESH"] == "not wanted"
    assert site.unitq("plan").code == 12
    done = site.deploy()
    assert "1 stopped" in done.stdout
    assert site.unitq("status").code == 0


def test_somebody_without_rights_sees_all_but_what_runs(system_site: Site) -> None:
    site = configured(system_site)
    site.deploy()
    as_tester = Scope("user")
    done = as_tester.run(sys.executable, "-m", "unitq", "-a", site.app, "status")
    assert done.code == 0, done
    assert not done.stderr
    found = rows(done.stdout)
    assert [row["FRESH"] for row in found] == ["?"] * 4
    assert {row["INSTANCE"]: int(row["PID"]) for row in found} == site.pids()
    assert "3 not to be read (not root)" in done.stdout
    told = as_tester.run(sys.executable, "-m", "unitq", "-a", site.app, "status", "--json").json
    (one,) = told["apps"]
    for worker in one["workers"]:
        for each in worker["instances"]:
            assert each["fresh"] is None
            assert each["revision"] is None
            assert each["serving"]
    site.unitq("stop", "mail")
    done = as_tester.run(sys.executable, "-m", "unitq", "-a", site.app, "status")
    assert done.code == 3


TITLE = (
    '/usr/bin/php -r \'cli_set_process_title(str_repeat("x", 4000)); echo "wiped\\n"; '
    "pcntl_async_signals(true); pcntl_signal(SIGQUIT, fn() => exit(0)); while (true) sleep(9);'"
)


def test_a_worker_that_wipes_its_environment_still_tells_its_revision(site: Site) -> None:
    configured(site, sms={"command": TITLE, "instances": 2})
    site.deploy()

    def wiped() -> bool:
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in site.pids().values()]
        return not any(b"UNITQ_REVISION" in each for each in environments)

    wait_until(wiped, 10, "environments wiped")
    done = site.unitq("status")
    assert done.code == 0, done
    assert [row["FRESH"] for row in rows(done.stdout)] == ["yes", "yes"]
    assert [row["REVISION"] for row in rows(done.stdout)] == ["1", "1"]
    # And a deploy neither restarts it for nothing nor takes old code for new.
    pids = site.pids()
    assert site.deploy().stdout == "unchanged: 2 of 2 on 1\n"
    site.switch(2)
    site.deploy()
    assert not set(site.pids().values()) & set(pids.values())
    wait_until(wiped, 10, "environments wiped")
    assert [row["REVISION"] for row in rows(site.unitq("status").stdout)] == ["2", "2"]


def test_a_resque_worker_with_a_process_title_tells_its_revision(
    system_site: Site, redis: RedisServer
) -> None:
    site = system_site
    site.config(
        workers={"sms": {"command": site.php(), "instances": 2}},
        environment=site.resque_environment(redis, PROCESS_TITLE="1"),
    )
    site.deploy()
    found = site.unitq("status", "--json").json["apps"][0]["workers"][0]["instances"]
    assert [each["fresh"] for each in found] == [True, True]
    assert "2 of 2 serving" in site.unitq("status").stdout


# --- shells ---------------------------------------------------------------------------------------


def complete(app: Site, words: Sequence[str]) -> list[str]:
    """What bash offers for the last word of a command line, by the script that unitq prints."""
    script = """
        source <("$1" -m unitq completion bash) || exit 1
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        COMP_LINE="$*"
        COMP_POINT=${#COMP_LINE}
        function=$(complete -p unitq | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        "$function" unitq "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    # The script calls `unitq`, which is on the path as .venv/bin/unitq.
    done = app.scope.run(
        "bash", "-c", script, "bash", sys.executable, "unitq", *words, cwd=Path("/")
    )
    assert done.code == 0, done
    assert not done.stderr, done
    return done.stdout.split()


def test_bash_completes_commands_options_workers_and_instances(app: Site) -> None:
    user = ["--user"] if app.scope.user else []
    assert complete(app, [*user, "dep"]) == ["deploy"]
    assert complete(app, [*user, "deploy", "--dry"]) == ["--dry-run"]
    named = [*user, "-a", app.app]
    assert sorted(complete(app, [*named, "restart", ""])) == ["mail", "sms"]
    assert complete(app, [*named, "stop", "s"]) == ["sms"]
    assert complete(app, [*named, "logs", "sms@"]) == ["sms@1", "sms@2", "sms@3"]
    assert complete(app, [*named, "status", "x"]) == []
    assert sorted(complete(app, ["restart", *named, "sms@1", "m"])) == ["mail"]
    assert complete(app, [*user, "-a", app.app[:-1]]) == [app.app]
    assert complete(app, [*named, "scale", "s"]) == ["sms=3"]
    kept = complete(app, [*named, "rollback", ""])
    assert kept == complete(app, [*named, "show", ""])
    assert [each.partition("-")[0] for each in kept] == ["1"]
