"""unitq ctl against a real systemd, beside a real supervisord that runs the same programs.

What supervisorctl prints and how it exits is asked of supervisorctl, not written down here.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness import leftovers
from tests.systemd.conftest import WORKERS, Result, Scope, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

HEAD = """\
[supervisord]
nodaemon=true
user=root
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
environment={mark}="{app}"
[unix_http_server]
file={home}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/supervisor.sock
"""

SEVERAL = """
[program:{name}]
command={command}
process_name=%(program_name)s_%(process_num)02d
numprocs={count}
startsecs=0
stopwaitsecs=20
"""


class Both:
    """The same programs under both, and the same command given to both."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.conf = site.home / "supervisord.conf"
        self.symlink = site.home / "bin" / "supervisorctl"
        self.symlink.parent.mkdir()
        self.symlink.symlink_to(Path(sys.executable).parent / "unitq")

    def configure(self, programs: dict[str, tuple[str, int]]) -> None:
        """Both configurations: command and count of each program."""
        head = HEAD.format(home=self.site.home, mark=leftovers.MARK, app=self.site.app)
        parts = [head]
        for name, (command, count) in programs.items():
            text = SEVERAL.format(name=name, command=command, count=count)
            if count == 1:
                text = re.sub("(?m)^process_name=.*\n", "", text)
            parts.append(text)
        self.conf.write_text("".join(parts))
        self.site.config(
            workers={
                name: {"command": command, "instances": count}
                for name, (command, count) in programs.items()
            },
            user="root",
        )

    def supervisorctl(self, *words: str) -> Result:
        """The real one."""
        return self.site.scope.run(
            *(sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.conf)), *words
        )

    def ctl(self, *words: str, cwd: Path = Path("/")) -> Result:
        """Ours, by the name of theirs, with the option that scripts give to it."""
        return self.site.scope.run(str(self.symlink), "-c", str(self.conf), *words, cwd=cwd)

    def same(self, *words: str, ordered: bool = True) -> tuple[Result, Result]:
        """Both answers, which must be the same, but for PIDs and times."""
        theirs, ours = self.supervisorctl(*words), self.ctl(*words)
        told, said = neutral(theirs.stdout), neutral(ours.stdout)
        if not ordered:
            told, said = sorted(told), sorted(said)
        assert said == told, (words, theirs, ours)
        assert ours.code == theirs.code, (words, theirs, ours)
        return theirs, ours


def neutral(text: str) -> list[str]:
    """The lines, without what differs from run to run. No column is touched."""
    text = re.sub(
        r"pid [0-9]+, uptime [0-9]+:[0-9]{2}:[0-9]{2}$", "pid N, uptime T", text, flags=re.M
    )
    text = re.sub(r"[A-Z][a-z]{2} [0-9]{2} [0-9]{2}:[0-9]{2} [AP]M$", "DATE", text, flags=re.M)
    return re.sub(r"^[1-9][0-9]*$", "N", text, flags=re.M).splitlines()


@contextlib.contextmanager
def supervisord(both: Both, answers: int = 0) -> Iterator[None]:
    """A real one, in the foreground, as soon as `status` exits as it should."""
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(both.conf)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=both.site.scope.environment,
    )
    try:
        wait_until(lambda: both.supervisorctl("status").code == answers, 60, "supervisord answers")
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def both(system_site: Site) -> Iterator[Both]:
    """Two of sms, one of mail, running under both."""
    made = Both(system_site)
    steady = system_site.odd("steady")
    made.configure({"sms": (steady, 2), "mail": (steady, 1)})
    system_site.deploy()
    with supervisord(made):
        yield made


# --- the same answers -----------------------------------------------------------------------------


def test_what_is_asked_is_answered_alike(both: Both) -> None:
    for words in (
        "status", "status sms:*", "status mail", "status sms:sms_01 mail",
        "status mail nosuch nosuch:* sms:sms_02", "status mail:mail", "pid all",
        "pid mail sms:sms_00 nosuch", "pid sms:*", "pid sms: mail", "avail", "reread", "update",
        "update mail", "update nosuch", "version",
    ):  # fmt: skip
        both.same(*words.split())
    # The very numbers, and not only their form.
    _, ours = both.same("pid", "mail")
    assert ours.stdout == f"{both.site.pids('mail')['mail@1']}\n"
    shown = both.ctl("status", "sms:sms_01").stdout.split()
    assert shown[3] == f"{both.site.pids('sms')['sms@2']},"


def test_what_is_wrong_is_answered_alike(both: Both) -> None:
    before = both.site.pids()
    for words in (
        "start mail sms:sms_00", "start sms:*", "start all", "start nosuch:*", "start nosuch mail",
        "stop nosuch", "stop nosuch:*", "restart nosuch:*", "signal HUP nosuch",
        "signal HUP nosuch:*", "signal BOGUS mail", "signal BOGUS sms:*", "signal 99 mail",
        "tail nosuch", "tail sms:*", "tail mail bogus", "tail -x mail", "tail -f",
        "bogus command",
    ):  # fmt: skip
        both.same(*words.split())
    # What the action takes is said in words of our own.
    for words in ("start", "stop", "restart", "signal CONT", "tail", "tail a b c d", "reread x"):
        theirs, ours = both.supervisorctl(*words.split()), both.ctl(*words.split())
        assert ours.code == theirs.code, (words, theirs, ours)
        assert ours.stdout.splitlines()[0] == theirs.stdout.splitlines()[0], words
    assert both.site.pids() == before


def test_what_is_done_is_answered_alike(both: Both) -> None:
    for words in (
        "stop mail", "stop mail", "status", "pid mail sms:sms_00", "pid all", "signal USR1 mail",
        "signal USR1 mail nosuch", "stop sms:*", "status sms:*", "stop all", "start sms:*",
        "start mail nosuch", "restart sms:*", "stop mail", "restart mail sms:sms_01 nosuch",
        "stop mail", "restart mail:*", "stop all", "start all", "status", "signal CONT mail",
        "signal 18 sms:*", "signal cont mail nosuch", "signal 0 mail",
    ):  # fmt: skip
        both.same(*words.split(), ordered=False)
    assert both.site.active() == 3


def test_a_name_that_nobody_has_keeps_no_other_from_its_turn(both: Both) -> None:
    before = both.site.pids()
    done = both.ctl("restart", "nosuch", "mail")
    assert done.code == 1
    assert done.stdout.splitlines() == [
        "nosuch: ERROR (no such process)", "mail: stopped", "mail: started",
        "nosuch: ERROR (no such process)",
    ]  # fmt: skip
    after = both.site.pids()
    assert after["mail@1"] != before["mail@1"]
    assert {**after, "mail@1": 0} == {**before, "mail@1": 0}


def test_what_changes_is_answered_alike(both: Both) -> None:
    steady = both.site.odd("steady")
    both.configure({"sms": (steady, 3), "push": (steady, 2)})
    both.same("reread")
    assert both.ctl("reread").stdout == "mail: disappeared\npush: available\nsms: changed\n"
    theirs, ours = both.supervisorctl("update"), both.ctl("update")
    assert (theirs.code, ours.code) == (0, 0)
    # sms was never stopped as a whole.
    assert sorted([*ours.stdout.splitlines(), "sms: stopped"]) == sorted(theirs.stdout.splitlines())
    both.same("status")
    both.same("avail")
    both.same("reread")
    both.same("update")
    assert both.site.active() == 5


NAMED = """
[program:plain]
command={odd} steady
startsecs=1
[program:laravel]
command={odd} steady
process_name=%(program_name)s_%(process_num)02d
numprocs=2
[program:tornado]
command={odd} hold {home}/none-%(process_num)d
process_name=web-%(process_num)d
numprocs=2
numprocs_start=8000
[program:from-one]
command={odd} steady
process_name=%(program_name)s%(process_num)d
numprocs=2
numprocs_start=1
[program:alone]
command={odd} steady
process_name=%(program_name)s_%(process_num)02d
[program:mail]
command={odd} steady
[group:shop]
programs=mail,from-one
"""


def test_the_names_of_an_import_are_the_names_that_scripts_know(system_site: Site) -> None:
    both = Both(system_site)
    text = HEAD.format(home=system_site.home, mark=leftovers.MARK, app=system_site.app)
    named = NAMED.format(odd=system_site.odd(), home=system_site.home)
    both.conf.write_text(text + named)
    options = ("--directory", str(system_site.current), "-o", "unitq.toml")
    done = system_site.unitq("-a", system_site.app, "import", str(both.conf), *options)
    assert done.code == 0, str(done)
    system_site.deploy()
    with supervisord(both):
        wait_until(
            lambda: "STARTING" not in both.supervisorctl("status").stdout, 60, "all are RUNNING"
        )
        wait_until(lambda: "STARTING" not in both.ctl("status").stdout, 60, "all are RUNNING")
        both.same("status")
        for words in ("status shop:*", "status tornado:web-8001 shop:mail", "pid shop:from-one1",
                      "avail", "reread", "status from-one1", "stop shop:*",
                      "start shop:*"):  # fmt: skip
            both.same(*words.split(), ordered=False)
        before = system_site.pids()
        both.same("stop", "tornado:web-8001", "shop:from-one2", ordered=False)
        gone = {"tornado@2", "shop-from-one@2"}
        assert before.keys() - system_site.pids().keys() == gone
        both.same("status")


ENDS = """
[program:once]
command={ends} exit 0
autorestart=false
startsecs=0
[program:wrong]
command={ends} exit 3
autorestart=false
startsecs=0
[program:broken]
command={ends} exit 3
startretries=1
[program:later]
command={odd} die-after 1 7
autorestart=false
startsecs=0
[program:stays]
command={odd} steady
autorestart=false
startsecs=0
"""


def test_the_states_of_what_ended_are_alike(system_site: Site) -> None:
    both = Both(system_site)
    odd, ends = system_site.odd(), f"/bin/sh {WORKERS / 'odd.sh'}"
    text = HEAD.format(home=system_site.home, mark=leftovers.MARK, app=system_site.app)
    both.conf.write_text(text + ENDS.format(odd=odd, ends=ends))
    once = {"instances": 1, "service": {"Restart": "no"}}
    system_site.config(
        workers={
            "once": {"command": f"{ends} exit 0", **once},
            "wrong": {"command": f"{ends} exit 3", **once},
            "broken": {"command": f"{ends} exit 3", "instances": 1, "start_limit": "2/1min"},
            "later": {"command": f"{odd} die-after 1 7", **once},
            "stays": {"command": f"{odd} steady", **once},
        },
        rollout={"max_failures": 5},
        user="root",
    )
    system_site.deploy(code=7)

    def words(told: Result) -> dict[str, str]:
        return {line.split()[0]: line.split()[1] for line in told.stdout.splitlines()}

    settled = {
        "once": "EXITED", "wrong": "EXITED", "broken": "FATAL", "later": "EXITED",
        "stays": "RUNNING",
    }  # fmt: skip
    with supervisord(both, answers=3):
        wait_until(lambda: words(both.supervisorctl("status")) == settled, 60, "theirs")
        wait_until(lambda: words(both.ctl("status")) == settled, 60, "ours")
        both.same("status", "once", "wrong", "later", "stays")
        assert both.ctl("status", "broken").stdout.endswith("exited with status 3\n")
        # Told to stop is STOPPED, and ended by itself EXITED, whatever the exit status.
        both.same("stop", "stays")
        both.same("status", "stays")
        assert words(both.ctl("status"))["stays"] == "STOPPED"
        both.same("stop", "later")
        theirs, _ = both.same("start", "broken")
        assert theirs.code == 7


def _has_printed(tail: Callable[..., Result], name: str) -> bool:
    return tail("tail", name).stdout.strip() != ""


def test_what_they_print_is_shown_alike(both: Both) -> None:
    def shown(told: Result) -> list[str]:
        assert told.code == 0
        # supervisorctl ends with a line of its own.
        assert told.stdout.endswith("\n\n")
        return re.sub("pid [0-9]+", "pid N", told.stdout).splitlines()

    for name in ("mail", "sms:sms_01"):
        # What a process has just printed is on its way to either.
        for tail in (both.supervisorctl, both.ctl):
            wait_until(partial(_has_printed, tail, name))
    for words in ("tail mail", "tail mail stdout", "tail -100000 sms:sms_01"):
        theirs, ours = both.supervisorctl(*words.split()), both.ctl(*words.split())
        assert shown(ours) == shown(theirs)
    whole = both.ctl("tail", "mail").stdout
    assert both.ctl("tail", "-8", "mail").stdout == whole.removesuffix("\n")[-8:] + "\n"
    theirs = both.supervisorctl("tail", "-8", "mail")
    assert len(theirs.stdout) == 9
    noted = both.ctl("tail", "mail", "stderr")
    assert (noted.code, noted.stdout) == (0, whole)
    assert "both streams" in noted.stderr


# --- our own --------------------------------------------------------------------------------------


def test_following_ends_with_the_reader(both: Both) -> None:
    site = both.site
    following = site.scope.start(str(both.symlink), "tail", "-f", "mail")
    try:
        following.wait_for("==> Press Ctrl-C to exit <==")
        following.wait_for("odd steady: started")
        assert both.ctl("restart", "mail").code == 0
        following.wait_for("told to stop")
    finally:
        following.end()


def test_a_restart_is_rolling_and_stops_at_the_first_failure(system_site: Site) -> None:
    both = Both(system_site)
    system_site.config(
        workers={"sms": {"command": system_site.odd("crash-on", "broken"), "instances": 3}}
    )
    system_site.deploy()
    before = system_site.pids()
    (system_site.current / "broken").touch()
    done = both.ctl("restart", "sms:*")
    assert done.code == 7, str(done)
    assert done.stdout.splitlines() == [
        "sms:sms_00: stopped", "sms:sms_00: ERROR (spawn error)",
        "sms:sms_01: ERROR (left as it was)", "sms:sms_02: ERROR (left as it was)",
    ]  # fmt: skip
    assert "exited with status 3" in done.stderr
    after = system_site.pids()
    assert {name: after.get(name) for name in ("sms@2", "sms@3")} == {
        name: before[name] for name in ("sms@2", "sms@3")
    }
    (system_site.current / "broken").unlink()
    assert both.ctl("restart", "all").code == 0
    assert system_site.active() == 3


def test_in_both_scopes_by_either_name(site: Site) -> None:
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 2}})
    before = site.unitq("ctl", "status")
    assert (before.code, before.stdout) == (4, "")
    assert "no app" in before.stderr
    assert site.unitq("ctl", "stop", "sms:*").code == 7
    first = site.unitq("ctl", "reread")
    assert (first.code, first.stdout) == (0, "sms: available\n"), str(first)
    done = site.unitq("ctl", "update")
    assert (done.code, done.stdout) == (0, "sms: added process group\n"), str(done)
    for name in ("sms:sms_01", "sms@2", "sms_01"):
        shown = site.unitq("ctl", "status", name)
        assert shown.code == 0
        assert re.fullmatch(
            r"sms:sms_01 {23}RUNNING   pid [0-9]+, uptime 0:[0-9:]{5}\n", shown.stdout
        )
    done = site.unitq("ctl", "stop", "sms@2")
    assert (done.code, done.stdout) == (0, "sms:sms_01: stopped\n")
    # In a user's scope too it is known that somebody stopped it.
    shown = site.unitq("ctl", "status")
    assert shown.code == 3
    assert [line.split()[1] for line in shown.stdout.splitlines()] == ["RUNNING", "STOPPED"]
    tailed = site.unitq("ctl", "tail", "sms_01")
    assert "told to stop" in tailed.stdout
    noted = site.unitq("ctl", "reread")
    assert noted.stdout == "No config updates to processes\n"
    assert "sms:sms_01" in noted.stderr
    done = site.unitq("ctl", "restart", "sms")
    assert done.code == 0
    assert sorted(done.stdout.splitlines()) == [
        "sms:sms_00: started", "sms:sms_00: stopped", "sms:sms_01: started",
    ]  # fmt: skip


def test_code_in_place_is_no_change_of_the_configuration(system_site: Site) -> None:
    """Supervisor's reread and update compare what is configured; nothing tells code in place."""
    site, both = system_site, Both(system_site)
    place = site.home / "in-place"
    place.mkdir()
    workers = {name: {"command": site.odd("steady"), "instances": 1} for name in ("mail", "sms")}

    def ctl(*words: str) -> str:
        done = both.ctl("-c", str(site.toml), *words)
        assert done.code == 0, str(done)
        return done.stdout

    def unchanged() -> None:
        before = site.pids()
        for _ in range(2):
            assert ctl("reread") == "No config updates to processes\n"
            assert ctl("update") == ""
        assert site.pids() == before

    site.config(workers=workers, directory=str(place))
    site.deploy()
    unchanged()
    # A checkout with changes is as little told from itself as a directory without git.
    git = ("git", "-C", str(place), "-c", "user.name=a", "-c", "user.email=a@example.org")
    (place / "file").touch()
    for words in (("init", "-q"), ("add", "file"), ("commit", "-qm", "one")):
        subprocess.run([*git, *words], check=True, timeout=30)
    (place / "file").write_text("changed\n")
    site.deploy()
    unchanged()
    # What is configured otherwise is a change of its worker, and of no other.
    before = site.pids()
    workers["mail"]["stop_timeout"] = "11s"
    site.config(workers=workers, directory=str(place))
    assert ctl("reread") == "mail: changed\n"
    assert "mail: updated process group\n" in ctl("update")
    assert site.pids()["sms@1"] == before["sms@1"]
    unchanged()
    # A deploy is for code.
    site.deploy()
    assert site.pids()["sms@1"] != before["sms@1"]


def test_what_is_not_there_says_what_to_do(system_site: Site) -> None:
    both = Both(system_site)
    system_site.config(workers={"sms": {"command": system_site.odd("steady")}})
    system_site.deploy()
    before = system_site.pids()
    for words in ("shutdown", "reload", "remove sms", "fg sms", "open http://x", "maintail", "pid",
                  "add sms", "clear all", "help", "help start", "exit", "quit", "", "-i",
                  "-i status"):  # fmt: skip
        done = both.ctl(*words.split())
        assert (done.code, done.stdout) == (3, ""), words
        (line,) = done.stderr.splitlines()
        assert line.startswith("unitq: not in unitq: "), words
    away = both.ctl("-s", "http://web2.example:9001", "stop", "all")
    assert away.code == 2
    assert "ssh web2.example" in away.stderr
    assert system_site.pids() == before


def test_options_of_supervisorctl_are_taken(system_site: Site) -> None:
    both = Both(system_site)
    system_site.config(workers={"sms": {"command": system_site.odd("steady"), "instances": 1}})
    system_site.deploy()
    done = system_site.scope.run(
        *(str(both.symlink), "-s", "unix:///run/supervisor.sock", "-u", "a", "-p", "b"),
        *("--configuration=/etc/supervisor/supervisord.conf", "-r", "/x", "status", "sms"),
    )
    assert done.code == 0, str(done)
    assert done.stdout.split()[:2] == ["sms", "RUNNING"]
    assert done.stderr == ""
    ours = both.ctl("-c", str(system_site.toml), "reread")
    assert ours.stdout == "No config updates to processes\n"
    # Commands for a shell that there is not are not swallowed in silence.
    piped = system_site.scope.run("sh", "-c", f"echo stop all | {both.symlink}")
    assert (piped.code, piped.stdout) == (3, "")
    assert system_site.active() == 1
    wrong = both.ctl("--bogus", "status")
    assert wrong.code == 2


def test_who_may_look_may_not_act(system_site: Site) -> None:
    both = Both(system_site)
    system_site.config(workers={"sms": {"command": system_site.odd("steady"), "instances": 2}})
    system_site.deploy()
    before = system_site.pids()
    tester = Scope("user")
    shown = tester.run(str(both.symlink), "status")
    assert shown.code == 0, str(shown)
    assert [int(line.split()[3].strip(",")) for line in shown.stdout.splitlines()] == [
        before["sms@1"], before["sms@2"],
    ]  # fmt: skip
    for words in ("stop all", "restart sms:*", "signal HUP sms:sms_00"):
        done = tester.run(str(both.symlink), *words.split())
        assert done.code == 1, str(done)
        assert "signalled" not in done.stdout
        assert "stopped" not in done.stdout
    assert system_site.pids() == before


def test_a_password_is_not_kept(system_site: Site) -> None:
    both = Both(system_site)
    system_site.config(workers={"sms": {"command": system_site.odd("steady")}})
    done = system_site.scope.run(
        str(both.symlink), "-u", "root", "-p", "swordfish", "update", cwd=system_site.home
    )
    assert done.code == 0, str(done)
    kept = [path.read_text() for path in system_site.files() if path.suffix in (".json", ".jsonl")]
    assert any("update" in text for text in kept)
    assert not any("swordfish" in text for text in kept)


def test_several_apps(make_site: Callable[..., Site]) -> None:
    shop, blog = make_site(), make_site()
    steady = {"instances": 1}
    shop.config(
        workers={
            "sms": {"command": shop.odd("steady"), "instances": 2},
            "mail": {"command": shop.odd("steady"), **steady},
        }
    )
    blog.config(workers={"sms": {"command": blog.odd("steady"), **steady}})
    shop.deploy()
    blog.deploy()
    both = Both(shop)
    shown = both.ctl("status")
    assert shown.code == 0
    known = [line.split()[0] for line in shown.stdout.splitlines()]
    expected = ["mail", f"{shop.app}:sms_00", f"{shop.app}:sms_01", f"{blog.app}:sms"]
    assert sorted(known) == sorted(expected)
    refused = both.ctl("stop", "sms:*")
    assert refused.code == 1
    assert "in several apps" in refused.stdout
    assert "-a" in refused.stderr
    assert shop.active() + blog.active() == 4
    assert both.ctl("stop", f"{blog.app}:sms", "mail").code == 0
    assert (shop.active(), blog.active()) == (2, 0)
    assert both.ctl("-a", shop.app, "stop", "sms:*").code == 0
    assert shop.active() == 0
    done = both.ctl("start", "all")
    assert done.code == 0
    assert sorted(done.stdout.splitlines()) == sorted(f"{name}: started" for name in expected)
    # Where a unitq.toml is, that app is meant.
    assert both.ctl("status", cwd=shop.home).stdout.count("RUNNING") == 3
    # From anywhere, each by the file that it was deployed from.
    blog.config(workers={"sms": {"command": blog.odd("steady"), "instances": 2}})
    assert both.ctl("reread").stdout == f"{blog.app}: changed\n"
    assert both.ctl("update", "mail").stdout == ""
    assert both.ctl("update", blog.app).stdout == f"{blog.app}: updated process group\n"
    assert blog.active() == 2


def test_an_update_of_one_group_changes_no_other(both: Both) -> None:
    steady = both.site.odd("steady")
    both.configure({"sms": (steady, 3), "mail": (steady, 2)})
    before = both.site.pids()
    done = both.ctl("update", "sms")
    assert (done.code, done.stdout) == (1, "ERROR: sms: not updated\n")
    assert "mail" in done.stderr
    assert both.site.pids() == before
    done = both.ctl("update", "sms", "mail")
    assert (done.code, done.stdout) == (
        0, "mail: updated process group\nsms: updated process group\n",
    )  # fmt: skip


def test_a_mistake_in_the_configuration_changes_nothing(both: Both) -> None:
    both.site.write("app = 1\n")
    before = both.site.pids()
    for action in ("reread", "update"):
        done = both.site.unitq("-c", "unitq.toml", "ctl", action)
        assert done.code == 1
        assert done.stdout.startswith("ERROR: CANT_REREAD: ")
    assert both.site.pids() == before
