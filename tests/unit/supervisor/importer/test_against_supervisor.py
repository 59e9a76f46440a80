"""What we read against what Supervisor itself reads: its own parser is the judge."""

from __future__ import annotations

import io
import os
import shlex
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from supervisor import datatypes
from supervisor import options as theirs

from tests.harness.import_corpus import ENVIRONMENT, HOST, OF_SUPERVISOR, around, file, programs
from unitq.errors import ConfigError
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.expand import ExpansionError, expand, pairs
from unitq.supervisor.conf.ini import Ini

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAST = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.fixture
def of_supervisor(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Reads a case with Supervisor's own ServerOptions. Users and folders need not be there."""

    def same(value: Any) -> Any:
        return value

    for name in ("name_to_uid", "gid_for_uid", "existing_directory", "existing_dirpath"):
        monkeypatch.setattr(theirs, name, same)
    monkeypatch.setattr(theirs, "colon_separated_user_group", same)
    monkeypatch.setattr(datatypes, "existing_dirpath", same)
    monkeypatch.setattr(theirs.platform, "node", lambda: HOST)

    def read(case: str) -> Any:
        path = file(case)
        text = conf_files.read(path).removeprefix("\ufeff").replace("\r\n", "\n")
        if "[supervisord]" not in text:
            text += "\n[supervisord]\n"
        opened = io.StringIO(text)
        opened.name = str(path)
        found = theirs.ServerOptions()
        found.environ_expansions = {f"ENV_{name}": value for name, value in ENVIRONMENT.items()}
        found.here = around(case).here
        found.configfile = str(path)
        return found.read_config(opened)

    return read


RESTARTS = {
    "always": datatypes.RestartUnconditionally,
    "never": False,
    "unexpected": datatypes.RestartWhenExitUnexpected,
}


def log(value: str | None) -> Any:
    return datatypes.Automatic if value is None else datatypes.logfile_name(value)


def ours(case: str) -> Iterator[dict[str, Any]]:
    found = programs(case)
    for program in found.programs:
        options = program.settings
        for process in program.processes:
            stdout, stderr = log(process.stdout), log(process.stderr)
            yield {
                "group": program.group,
                "name": process.name,
                "command": process.command,
                "environment": dict(found.daemon.environment) | dict(process.environment),
                "directory": process.directory,
                "priority": options.priority,
                "autostart": options.autostart,
                "autorestart": RESTARTS[options.autorestart],
                "startsecs": options.startsecs,
                "startretries": options.startretries,
                "stopsignal": signal.Signals[options.stopsignal],
                "stopwaitsecs": options.stopwaitsecs,
                "stopasgroup": options.stopasgroup,
                "killasgroup": options.killasgroup,
                "exitcodes": list(options.exitcodes),
                "redirect_stderr": options.redirect_stderr,
                "uid": options.user,
                "umask": options.umask,
                "stdout_logfile": None if stdout is datatypes.Syslog else stdout,
                "stderr_logfile": (
                    None if stderr is datatypes.Syslog or options.redirect_stderr else stderr
                ),
            }


def key(process: dict[str, Any]) -> tuple[str, str]:
    return process["group"], process["name"]


@pytest.mark.parametrize("case", OF_SUPERVISOR)
def test_the_same_processes(case: str, of_supervisor: Callable[[str], Any]) -> None:
    mine = sorted(ours(case), key=key)
    names = mine[0].keys() - {"group"}
    read = of_supervisor(case)
    found = [
        {"group": group.name, **{name: getattr(process, name) for name in names}}
        for group in read.process_group_configs
        for process in group.process_configs
    ]
    assert mine == sorted(found, key=key)
    daemon = programs(case).daemon
    assert read.environment == dict(daemon.environment)
    assert read.user == daemon.user
    assert read.directory == daemon.directory
    assert read.umask == (0o022 if daemon.umask is None else daemon.umask)
    assert read.minfds == (1024 if daemon.minfds is None else daemon.minfds)


# --- the format -----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *("[a]", "[program:x]", "[DEFAULT]", "[", "]", "[]", "[a]b", "[a] ;c", "k", "K=v", "k:v"),
        *("=", ":", "=v", "a=b=c", "a = b", "  more", "\tmore", ";", "#", " ;", " #", "a;b ;c #d"),
        *("x ; y", "x ;y", "'q ; r'", '"q', "", " ", "\x0b", "\u00a0", "\u3000", "\x1c", "é", "%"),
        *("rem x", "k=", "k=v\\", "\x00", "\x85", "\u2028", "a;b", "a#b", "a ;b #c", "a#b ;c #d"),
    ]
)
LINE = st.lists(PIECES, max_size=4).map("".join)
TEXT = st.lists(LINE, max_size=12).map("\n".join)


def their_sections(text: str) -> dict[str, dict[str, str]] | None:
    parser = theirs.UnhosedConfigParser()
    try:
        parser.read_file(io.StringIO(text))
    except theirs.ConfigParser.Error:
        return None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def our_sections(text: str) -> dict[str, dict[str, str]] | None:
    ini = Ini()
    try:
        ini.read(text, "x")
    except ConfigError:
        return None
    return {
        section: {name: option.value for name, option in ini.options(section).items()}
        for section in ini.sections
    }


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(TEXT)
@example("[a]\nk=v\n  more\n\n  more still\n; c\n  end ;x\nl=1")
@example("[a]\nk=a;b ;c #d")
def test_the_reader_is_supervisors(text: str) -> None:
    assert our_sections(text) == their_sections(text)


@FAST
@given(TEXT, TEXT)
def test_a_second_file_goes_on_with_the_first(first: str, second: str) -> None:
    parser, ini = theirs.UnhosedConfigParser(), Ini()
    for text in (first, second):
        try:
            parser.read_file(io.StringIO(text))
        except theirs.ConfigParser.Error:
            with pytest.raises(ConfigError):
                ini.read(text, "x")
            return
        ini.read(text, "x")
        parser.expand_here("/here")
        ini.expand_here("/here")
    assert {s: dict(parser.items(s)) for s in parser.sections()} == {
        s: {name: option.value for name, option in ini.options(s).items()} for s in ini.sections
    }


VALUES: dict[str, str | int] = {"here": "/h", "process_num": 7, "ENV_A": "a%b", "numprocs": 3}
SPECS = st.sampled_from(
    [
        *("%(here)s", "%(process_num)d", "%(process_num)02d", "%(process_num)s", "%(ENV_A)s", "%%"),
        *("%", "%s", "%d", "%(x)s", "%(here)d", "%(here)", "%(process_num)5.2f", "%(process_num)x"),
        *("%(process_num)c", "%(here)r", "%(here)a", "%(process_num)#o", "% d", "%(", "%()s", "a"),
        *(")", "(", "s", "%(process_num)ld", "%(here)10s", "%(here).1s", "%(process_num)+d", "%5d"),
        *("%(here)*s", "%(here)%", "%(a(b))s", "%(process_num)b", "%(here)-9s", "\n"),
    ]
)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.lists(SPECS, max_size=5).map("".join))
def test_expansions_are_supervisors(text: str) -> None:
    try:
        mine = expand(text, VALUES)
    except ExpansionError:
        # What Supervisor expands all the same has the dictionary itself in it, or is `%(x)%`.
        try:
            other = theirs.expand(text, VALUES, "x")
        except ValueError:
            return
        assert "{" in other or ")%" in text or "%()" in text
        return
    assert mine == theirs.expand(text, VALUES, "x")


PAIRS = st.sampled_from(
    [*"AB12=,,,==\"\"''#;? \n.-/+():@\\é$`", "KEY", '="x"', "='y'", "=z,", '="a,b",', "_", "a.b"]
)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.lists(PAIRS, max_size=14).map("".join))
@example("A=\"he said 'no'\"")
def test_lists_of_variables_are_supervisors(text: str) -> None:
    try:
        mine = dict(pairs(text))
    except ValueError:
        with pytest.raises(ValueError):
            datatypes.dict_of_key_value_pairs(text)
        return
    assert mine == datatypes.dict_of_key_value_pairs(text)


def test_wide_formats_are_refused_and_do_not_fill_the_memory() -> None:
    for text in ("%(process_num)0999999999d", "%(process_num).99999f", "%(here)9999s"):
        with pytest.raises(ExpansionError, match="wider"):
            expand(text, VALUES)


@pytest.mark.parametrize("case", OF_SUPERVISOR)
def test_commands_can_be_split_or_are_left_out(case: str) -> None:
    for program in programs(case).programs:
        for process in program.processes:
            try:
                assert shlex.split(process.command)
            except ValueError:
                assert case == "comments"


def test_this_is_the_supervisor_that_is_asked() -> None:
    assert theirs.VERSION.startswith("4.")
    assert os.path.basename(theirs.__file__) == "options.py"
