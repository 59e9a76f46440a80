"""What the account that owns the code and the workers can name never reaches root's terminal raw.

The release's name, log lines, command lines, fields in the journal, the output of a hook: each
holds every attack of tests/harness/terminal.py, and each command shows it, on a real terminal and
in a pipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import terminal
from tests.harness.terminal import ATTACKS, EVIL, EVIL_NAME, WORD, Shown
from unitq.systemd import journal_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# As www-data it prints every attack, and says it to the journal in fields of its own, too.
SPEAKS = """
import os, signal, socket, sys
for line in {lines!r}:
    if "\\n" not in line:
        os.write(1, os.fsencode(line) + b"\\n")
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
def field(name, value):
    value = os.fsencode(value)
    return name + b"\\n" + len(value).to_bytes(8, "little") + value + b"\\n"
for line in {lines!r}:
    journal.send(field(b"MESSAGE", "said: " + line) + field(b"SYSLOG_IDENTIFIER", line))
journal.send(field(b"MESSAGE", "one") + field(b"MESSAGE", "two") + field(b"PRIORITY", "3"))
if os.path.exists("broken"):
    sys.exit(3)
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""
LINES = [f"a{attack}{WORD}" for attack in ATTACKS.values()]


class Speaking:
    """An app whose code and processes say nothing but attacks."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.hook = site.home / "hook"
        printed = "".join(f"{line}\n" for line in LINES).encode()
        (site.home / "said").write_bytes(printed)
        self.hook.write_text(f"#!/bin/sh\ncat {site.home}/said\nexit ${{HOOK:-1}}\n")
        self.hook.chmod(0o755)
        self.configure()
        self.switch(EVIL_NAME)

    def configure(self, **more: Any) -> None:
        worker = {"command": f"{sys.executable} speaks.py", "instances": 2}
        self.site.config(workers={"sms": worker}, **more)

    def switch(self, name: str) -> None:
        (self.site.release(name) / "speaks.py").write_text(SPEAKS.format(lines=LINES))
        self.site.switch(name)

    def run(
        self, run: Callable[..., Shown], *arguments: str, environment: dict[str, str] | None = None
    ) -> Shown:
        """A unitq command; the witness does not hear of it, so it may only look."""
        argv = [sys.executable, "-m", "unitq", *arguments]
        wide = {"COLUMNS": "9000", **(environment or {})}
        return run(argv, self.site.home, self.site.scope.environment | wide)


@pytest.fixture
def speaking(system_site: Site) -> Speaking:
    return Speaking(system_site)


def harmless(shown: Shown, *, marks: bool = True) -> None:
    """`marks`: the whole of the attacks is in it, those on rich, too."""
    assert WORD.encode() in shown.raw, shown
    found = [attack for attack in shown.attacks() if marks or "rich has" not in attack]
    assert found == [], shown


def test_of_a_release_that_runs(speaking: Speaking) -> None:
    site = speaking.site
    both = (terminal.in_a_pipe, terminal.on_a_terminal)
    for run in both:
        harmless(speaking.run(run, "plan"))
    first = site.deploy()
    harmless(Shown(0, first.output.encode()))
    speaking.switch(f"2/{EVIL_NAME}")
    shown = speaking.run(terminal.on_a_terminal, "deploy", "--max-unavailable", "2")
    assert shown.code == 0, shown
    harmless(shown)
    for run in both:
        for words in ("status", "history", "show", "diff 1 2", "releases --json", "show --json"):
            harmless(speaking.run(run, *words.split()), marks="json" not in words)
    watching = speaking.run(
        lambda *given: terminal.on_a_terminal(*given, until=b"serving"), "status", "--watch"
    )
    harmless(watching)


def test_of_releases_that_a_script_would_compare(speaking: Speaking) -> None:
    """What stands there instead of the name would make it delete the release."""
    site = speaking.site
    site.deploy()
    done = site.unitq("releases")
    assert (done.code, done.stdout) == (1, ""), done
    assert "--json has every name as it is" in done.stderr
    assert [row["release"] for row in site.unitq("releases", "--json").json["releases"]] == [
        str(site.current.resolve())
    ]


def test_of_lines_in_the_journal(speaking: Speaking) -> None:
    site = speaking.site
    site.deploy()
    both = (terminal.in_a_pipe, terminal.on_a_terminal)
    for run in both:
        for words in (["logs", "-n", "1000"], ["logs", "-n", "1000", "--json"]):
            harmless(speaking.run(run, *words), marks="--json" not in words)
        harmless(speaking.run(run, "ctl", "tail", "-100000", "sms_01"))
    following = speaking.run(
        lambda *given: terminal.on_a_terminal(*given, until=b"[red]"), "logs", "-f", "-n", "1000"
    )
    assert following.code == 130
    harmless(following)
    following = speaking.run(
        lambda *given: terminal.on_a_terminal(*given, until=WORD.encode()),
        "ctl",
        "tail",
        "-f",
        "sms_01",
    )
    harmless(following, marks=False)


def test_no_field_begins_an_entry_of_its_own(speaking: Speaking) -> None:
    """journalctl prints a line feed in an identifier as it is: a line that looks like systemd's."""
    site = speaking.site
    site.deploy()
    shown = site.unitq("logs", "-n", "1000")
    assert r"a\nQQ[" in shown.stdout, shown
    assert not [line for line in shown.stdout.splitlines() if line.startswith(WORD)]
    # Two fields of one name are no fault of ours.
    assert "]: one" in shown.stdout
    # More lines of one message stand below its first, and never at the beginning.
    assert "said: a\n" in shown.stdout


def test_of_the_last_words_of_what_fails(speaking: Speaking) -> None:
    site = speaking.site
    speaking.configure(rollout={"min_healthy": "1s"})  # it has to fail before that
    site.deploy()
    speaking.switch(f"2/{EVIL_NAME}")
    (site.current / "broken").touch()
    shown = speaking.run(terminal.on_a_terminal, "deploy")
    assert shown.code == 7, shown
    harmless(shown)
    for run in (terminal.in_a_pipe, terminal.on_a_terminal):
        for words in ("show 2", "history", "status"):
            harmless(speaking.run(run, *words.split()))
    again = site.unitq("rollback", "1")
    harmless(Shown(again.code, again.output.encode()))


def test_of_hooks(speaking: Speaking) -> None:
    for name in ("before_deploy", "after_deploy"):
        speaking.configure(hooks={name: [str(speaking.hook)]})
        shown = speaking.run(terminal.on_a_terminal, "deploy")
        assert b"hooks." + name.encode() in shown.raw
        harmless(shown)


TITLE = "cli_set_process_title('resque-1.2: ' . getenv('TITLE')); echo 'up'; sleep(600);"


@pytest.fixture
def stray(speaking: Speaking, redis: RedisServer) -> Iterator[subprocess.Popen[bytes]]:
    """A process outside of all units whose title, which it chooses, is an attack."""
    site = speaking.site
    site.config(
        environment={"REDIS_BACKEND": redis.address, "INTERVAL": "0.05"},
        workers={"sms": {"command": site.php(), "preset": "php-resque", "queues": ["sms"]}},
    )
    site.deploy()
    process = subprocess.Popen(
        ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "--",
         "php", "-r", TITLE],
        # The title has the room that its arguments and its environment had.
        cwd=site.current, env={"TITLE": EVIL, "ROOM": "x" * 1000}, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.read(2) == b"up"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_of_the_titles_of_orphans(speaking: Speaking, stray: subprocess.Popen[bytes]) -> None:
    for run in (terminal.in_a_pipe, terminal.on_a_terminal):
        for words in ("orphans", "orphans --json"):
            shown = speaking.run(run, *words.split())
            assert f"{stray.pid}".encode() in shown.raw, shown
            assert b"resque-1.2: a" in shown.raw, shown
            harmless(shown, marks="json" not in words)
        # A script would compare the name of the release with what is printed.
        in_use = speaking.run(run, "releases", "--in-use")
        assert b"--json has every name as it is" in in_use.raw
        harmless(in_use)
    harmless(speaking.run(terminal.on_a_terminal, "orphans", "--drain"))


def test_a_note_of_ours_has_no_field_of_others(system_site: Site) -> None:
    unit = system_site.unit("sms", 1)
    journal_write.note(unit, ["killed\nPRIORITY=0\nMESSAGE_ID=x\x1b[2J\udcff"], user=False)
    subprocess.run(["journalctl", "--sync"], check=True, timeout=30)
    found = subprocess.run(
        ["journalctl", "--identifier=unitq", "--lines=1", "--output=json"],
        check=True, capture_output=True, timeout=30,
    ).stdout  # fmt: skip
    entry = json.loads(found)
    assert entry["MESSAGE"] == r"killed\nPRIORITY=0\nMESSAGE_ID=x\x1b[2J\xff"
    assert entry["PRIORITY"] == "4"
    assert "MESSAGE_ID" not in entry
    assert entry["SYSLOG_PID"] == str(os.getpid())
