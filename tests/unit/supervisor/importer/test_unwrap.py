"""Commands on their way from Supervisor to systemd: what is run stays the same.

A real shell is asked what a script does; what we make of it without the shell must do the same.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.harness.build import PRESETS
from tests.harness.import_corpus import ENVIRONMENT, HOST, recognise
from unitq.cmdline.exec_line import line
from unitq.cmdline.shell import simple
from unitq.cmdline.without_shell import plain
from unitq.config.parse import parse
from unitq.errors import ConfigError
from unitq.supervisor.conf.ini import Ini
from unitq.supervisor.conf.programs import read
from unitq.supervisor.conf.section import Surroundings
from unitq.supervisor.conf.symbols import fill, numbered_line, sign
from unitq.supervisor.importer.recognise import Wishes
from unitq.supervisor.importer.translate import Imported, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

AROUND = Surroundings("/etc/supervisor", HOST, ENVIRONMENT)


def imported(text: str) -> Imported:
    ini = Ini()
    ini.read(text, "supervisord.conf")
    return translate(
        ini, read(ini, AROUND, "supervisord.conf"), Wishes("supervisord.conf"), recognise
    )


def split(command: str, instance: int = 1) -> list[str]:
    """A command line as systemd.service(5) says that systemd reads it; without variables."""
    found: list[str] = []
    word: str | None = None
    quote, at = "", 0
    while at < len(command):
        c = command[at]
        if not quote and c == " ":
            found += [] if word is None else [word]
            word = None
        elif not quote and c in "\"'" and word is None:
            quote, word = c, ""
        elif c == quote:
            quote = ""
        elif c == "\\":
            escape = command[at + 1]
            if escape == "x":
                word = (word or "") + chr(int(command[at + 2 : at + 4], 16))
                at += 2
            else:
                word = (word or "") + {"n": "\n", "t": "\t", "r": "\r"}.get(escape, escape)
            at += 1
        else:
            word = (word or "") + c
        at += 1
    found += [] if word is None else [word]
    return [one.replace("%i", str(instance)) if "%%" not in one else one for one in found]


def plainly(words: Sequence[str]) -> list[str]:
    assert not any(re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", word) for word in words)
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


WORD = st.text(
    st.sampled_from([*"ab/.-=%$\\\"'; \n\t|&<>*~#!@{}()`:+,[]", "é", "💥", "\x01", "\x7f"]),
    max_size=8,
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(WORD, max_size=5))
@example(["%i", "$HOME", "${X}", "\\x41", ";", ""])
def test_words_are_the_same_behind_systemds_syntax(words: list[str]) -> None:
    written = line(["/bin/echo", *words])
    assert plainly(split(written)) == ["/bin/echo", *words]
    assert not re.search("[\n\x01]", written)


@pytest.mark.parametrize("program", ["-x", "@x", "+y", "!z", ":a", "|b", "a$b"])
def test_a_program_is_no_prefix_and_no_variable(program: str) -> None:
    written = split(line([program, "a"]))
    assert written[0] == "/usr/bin/env"
    assert plainly(written)[-2:] == [program, "a"]


# --- numbers --------------------------------------------------------------------------------------

SHOW = "import json,os,sys; print(json.dumps([sys.argv[1:], os.environ.get('NUMBER')]))"


@pytest.mark.parametrize("start", [0, 1, 2, 30, 999])
@pytest.mark.parametrize("spec", ["d", "02d", "s", "05d", "0d", "i", "03u"])
def test_each_instance_gets_the_number_that_supervisor_gave(start: int, spec: str) -> None:
    number = sign("process_num", spec)
    assert number
    words = [sys.executable, "-c", SHOW, f"a{number}b", "$x `y` \"z\" 'q' \\", "plain"]
    written, shell = numbered_line(words, [("NUMBER", f"n {number}")], start)
    assert shell is (start != 1 or spec not in ("d", "s", "i", "0d"))
    for instance in (1, 2, 12):
        arguments = plainly(split(written, instance))
        done = subprocess.run(
            arguments,
            env={"UNITQ_INSTANCE": str(instance), "PATH": os.environ["PATH"]},
            capture_output=True,
            check=True,
            timeout=30,
        )
        expected = [fill(word, start + instance - 1) for word in words[3:]]
        assert expected[0] == f"a{f'%{spec}' % (start + instance - 1)}b"
        assert json.loads(done.stdout) == [expected, f"n {expected[0][1:-1]}"]


@pytest.mark.parametrize("spec", ["5d", "x", "04x", "X", "o", "010d", "+d"])
def test_what_is_no_plain_number_makes_a_worker_each(spec: str) -> None:
    assert sign("process_num", spec) is None
    found = imported(
        f"[program:p]\ncommand=/bin/x %(process_num){spec}\ndirectory=/srv\nnumprocs=2\n"
        "process_name=%(process_num)d\nnumprocs_start=9\n"
    )
    workers = parse(found.text, source="unitq.toml").workers
    assert [worker.command.split() for worker in workers] == [
        f"/bin/x {f'%{spec}' % number}".split() for number in (9, 10)
    ]


# --- shells ---------------------------------------------------------------------------------------

# Prints what it was run with. Its name is a word that no shell knows.
PROBE = """\
#!/bin/sh
for word in "$@"; do printf '<%s>' "$word"; done
printf ' in %s with %s,%s,%s' "$(pwd -P)" "${A-none}" "${B-none}" "${C-none}"
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shell")
    (folder / "sub dir").mkdir()
    (folder / "probe").write_text(PROBE)
    (folder / "probe").chmod(0o755)
    return folder


def ran(arguments: Sequence[str], directory: str, environment: dict[str, str]) -> object:
    done = subprocess.run(
        arguments,
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        check=False,
        timeout=30,
    )
    # What is not found is said in the shell's words, which `exec` is one of.
    return None if done.stdout.startswith(b"/bin/bash: ") else done.stdout or None


BITS = st.sampled_from(
    [
        *("cd 'sub dir' && ", "cd sub\\ dir && ", 'cd "sub dir" && ', "cd . ; ", "cd nowhere && "),
        *("A=1 ", "B='x y' ", 'C="a $A" ', "A=~ ", "export A=2; ", "export B=3 C='4 5' && "),
        *("exec ", "A=5 && ", "exec env ", "'A'=6 ", "cd - && ", "set -e; ", "umask 77 && "),
    ]
)
ENDS = st.sampled_from(
    [
        *(
            "",
            " a b",
            " 'a  b'",
            ' "c$A"',
            " d\\ e",
            " '$A'",
            ' "q\\"r"',
            " ~",
            " *",
            " [a]",
            " #x",
        ),
        *(
            " x; true",
            " && true",
            " & true",
            " | cat",
            " 2>&1",
            " >&2",
            " $(id)",
            " `id`",
            " {a,b}",
        ),
        *(" !x", " a=b", ' ""', " ''", " é", " \\$A", ' "\\n"', " a'b'c", " '' ; ", ";", " \\\\"),
    ]
)


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(BITS, max_size=3).map("".join), st.lists(ENDS, max_size=3).map("".join))
@example("cd 'sub dir' && exec ", " a b")
@example("A=1 B='x y' ", " 'a  b'")
def test_what_is_unwrapped_does_what_the_shell_did(there: Path, before: str, behind: str) -> None:
    script = f"{before}{there}/probe{behind}"
    found = plain(("/bin/bash", "-c", script), str(there), (("A", "0"),))
    with_shell = ran(("/bin/bash", "-c", script), str(there), {"A": "0"})
    if found.unwrapped:
        directory = found.directory or "/"
        if with_shell is None:
            # The shell would not have come so far, and neither do we.
            if Path(directory).is_dir() and shutil.which(found.arguments[0]):
                assert ran(found.arguments, directory, dict(found.environment)) is None
            return
        assert ran(found.arguments, directory, {"A": "0", **dict(found.environment)}) == with_shell
    else:
        assert found.why
        # With `exec` in it or not: it does the same.
        assert ran(found.arguments, str(there), {"A": "0"}) == with_shell


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("bash", "-c", "cd /srv/x && exec php y"), (("php", "y"), "/srv/x")),
        (("/bin/sh", "-c", "php 'a b'"), (("php", "a b"), "/base")),
        (("bash", "-ec", "A=1 php y"), (("php", "y"), "/base")),
        (("bash", "-c", "cd x && cd y && php z;"), (("php", "z"), "/base/x/y")),
        (("sh", "-e", "-c", "exec php y"), (("php", "y"), "/base")),
    ],
)
def test_a_shell_that_does_nothing_is_left_out(
    arguments: tuple[str, ...], expected: tuple[tuple[str, ...], str]
) -> None:
    found = plain(arguments, "/base", ())
    assert (found.unwrapped, (found.arguments, found.directory)) == (True, expected)


@pytest.mark.parametrize(
    ("script", "hands_over", "with_exec"),
    [
        ("php x | cat", False, False),
        ("php x & php y", False, False),
        ("while true; do php x; done", False, False),
        ("source v/bin/activate && php x", True, True),
        ("ulimit -n 9; php x > /log 2>&1", True, True),
        ("> /log php x", False, False),
        ("2> /log php x", False, False),
        ("exec > /log", False, False),
        ("trap 'x' EXIT; php x", False, False),
        ("exec php x > /log", True, False),
        ("php $X", True, True),
        ("X=1; php $X", True, True),
        ("X=1 php $X", True, True),
        ("cd /a && X=1 Y='2 3' php x > /log", True, True),
        ("X=1", False, False),
        ("X=1 > /log php x", True, True),
        ("php x || true", False, False),
        ("umask 2 && wait", False, False),
        ("php <<EOF", False, False),
        ("", False, False),
        ("php 'x", False, False),
        ("php x \\", False, False),
        ("exec -a name php x $Y", True, False),
        # What comes last is not the worker.
        ("php x; sleep 5", False, False),
        ("php x && echo done", False, False),
        ("php x; php y", False, False),
        ("php a && php x $Y", True, True),
        ("sleep 1; php x $Y", True, True),
    ],
)
def test_a_shell_that_is_needed_stays(script: str, hands_over: bool, with_exec: bool) -> None:
    found = plain(("bash", "-c", script), "/base", ())
    assert not found.unwrapped
    assert found.why
    assert (found.hands_over, found.with_exec) == (hands_over, with_exec)
    if with_exec:
        assert " exec php x" in f" {found.script}" or "exec php $X" in found.script


@pytest.mark.parametrize(
    "arguments",
    [
        ("bash", "-lc", "php x"),
        ("bash", "-i", "-c", "php x"),
        ("bash", "-xc", "php x"),
        ("bash", "-c", "php x", "name"),
        ("bash", "-o", "pipefail", "-c", "php x"),
        ("bash", "--login", "-c", "php x"),
        ("bash", "script.sh"),
        ("bash",),
        ("bash", "-c"),
    ],
)
def test_a_shell_with_more_than_a_script_stays(arguments: tuple[str, ...]) -> None:
    assert not plain(arguments, "/base", ()).unwrapped


def test_a_variable_that_a_shell_reads_a_file_for_keeps_it() -> None:
    assert plain(("bash", "-c", "php x"), "/", ()).unwrapped
    assert not plain(("bash", "-c", "php x"), "/", (("BASH_ENV", "/x"),)).unwrapped


def test_words_know_where_they_stand() -> None:
    (first, second) = simple("  cd 'a b' && php \"x\"y ")
    assert (first.command.words, first.then) == (("cd", "a b"), "&&")
    written = [(word.text, word.start) for word in second.command.written]
    assert written == [("php", 14), ("xy", 18)]


# --- anything at all ------------------------------------------------------------------------------

OPTIONS = st.sampled_from(
    [
        *("command", "command", "command", "environment", "directory", "process_name", "numprocs"),
        *("numprocs_start", "stopsignal", "stopwaitsecs", "startsecs", "startretries", "exitcodes"),
        *("autorestart", "user", "umask", "stdout_logfile", "priority", "minfds", "programs"),
        *(
            "files",
            "events",
            "socket",
            "stopasgroup",
            "killasgroup",
            "autostart",
            "redirect_stderr",
        ),
    ]
)
SOME = st.sampled_from(
    [
        *("/bin/x", "php y", "bash -c 'cd /x && exec y'", "%(process_num)d", "%(program_name)s"),
        *(
            "%(ENV_HOME)s",
            'A="1",B=2',
            "0",
            "1",
            "3",
            "-5",
            "99999999999999999999",
            "true",
            "false",
        ),
        *(
            "/srv/x",
            "../x",
            "~",
            "a b",
            "é",
            "\u2028",
            "\x01",
            "\ue000",
            "%%",
            "%",
            "'",
            '"',
            "KILL",
        ),
        *("TERM", "unexpected", "AUTO", "NONE", "www-data", "777", "x" * 300, "\\", ";", "$HOME"),
        *("tcp://1:2", "TICK_60", "a,b", "C=1", "UNITQ_X=1", '="', "-x", "\x00", "\x7f", "\ufffe"),
    ]
)
SECTIONS = st.sampled_from(
    [
        *("program:a", "program:b", "program:é", "program: x", "program:", "program:" + "n" * 200),
        *("supervisord", "group:g", "eventlistener:e", "fcgi-program:f", "DEFAULT", "program:a b"),
        *("unix_http_server", "rpcinterface:x", "nonsense", "program:UPPER.dot"),
    ]
)
OPTION = st.tuples(OPTIONS, st.lists(SOME, max_size=4).map(" ".join)).map("=".join)
SECTION = st.tuples(SECTIONS, st.lists(OPTION, max_size=8)).map(
    lambda found: "\n".join([f"[{found[0]}]", "command=/bin/x", *found[1]])
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(SECTION, max_size=4).map("\n".join))
def test_any_file_is_an_error_with_a_place_or_a_valid_unitq_toml(text: str) -> None:
    try:
        found = imported(text)
    except ConfigError:
        return
    assert found.report.text()
    json.dumps(found.report.to_json())
    if re.search(r"(?m)^\[workers\.", found.text):
        app = parse(found.text, source="unitq.toml", presets=PRESETS)
        assert app.workers


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(WORD, min_size=1, max_size=4))
def test_a_whole_command_arrives(words: list[str]) -> None:
    command = " ".join(shlex.quote(f"x{word}") for word in words).replace("%", "%%")
    if re.search(r"[\n\t ][;#]|[\x01]", command) or "\n" in command:
        return  # the file's own format would take it for something else
    found = imported(f"[program:p]\ncommand=/bin/x {command}\ndirectory=/srv\n")
    (worker,) = parse(found.text, source="unitq.toml").workers
    assert plainly(split(worker.command)) == ["/bin/x", *(f"x{word}" for word in words)]
