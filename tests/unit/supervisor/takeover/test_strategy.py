"""takeover: who is told, in which order, and what changes in Supervisor's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from signal import SIGTERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.build import PRESETS, app
from tests.harness.import_corpus import OF_SUPERVISOR, around, file
from unitq.errors import ConfigError
from unitq.model.names import InstanceName
from unitq.model.process import Process
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.ini import Ini
from unitq.supervisor.conf.programs import Settings, read
from unitq.supervisor.conf.section import Surroundings
from unitq.supervisor.conf.server import addresses
from unitq.supervisor.takeover.autostart import copy_of
from unitq.supervisor.takeover.autostart_edit import switch_off
from unitq.supervisor.takeover.strategy import UP, Pair, Way, between, in_order, way, workers_of

# --- Supervisor's files ---------------------------------------------------------------------------


def ini_of(text: str) -> Ini:
    ini = Ini()
    ini.read(text, "f")
    return ini


def off(text: str, *sections: str) -> str:
    return switch_off({"f": text}, ini_of(text), sections).get("f", text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[program:a]\ncommand=x\n", "[program:a]\nautostart=false\ncommand=x\n"),
        (
            "[program:a] ; c\r\n  command=x\r\n    more\r\n",
            "[program:a] ; c\r\n  autostart=false\r\n  command=x\r\n    more\r\n",
        ),
        (
            "[program:a]\n; one\n\n\tcommand=x",
            "[program:a]\n\tautostart=false\n; one\n\n\tcommand=x",
        ),
        (
            "\ufeff[program:a]\ncommand=x\nAutoStart : Yes   ; keep\n",
            "\ufeff[program:a]\ncommand=x\nAutoStart : false   ; keep\n",
        ),
        (
            "[program:a]\nautostart=true\ncommand=x\nautostart=%(ENV_A)s\n",
            "[program:a]\nautostart=true\ncommand=x\nautostart=false\n",
        ),
        (
            "[DEFAULT]\nautostart=true\n[program:a]\ncommand=x\n",
            "[DEFAULT]\nautostart=true\n[program:a]\nautostart=false\ncommand=x\n",
        ),
        (
            "[program:a]\ncommand=x\n[program:b]\ncommand=y\n[program:a]\nuser=z\n",
            "[program:a]\nautostart=false\ncommand=x\n[program:b]\ncommand=y\n[program:a]\nuser=z\n",
        ),
        ("[program:a]\rcommand=x\r", "[program:a]\rautostart=false\rcommand=x\r"),
    ],
)
def test_autostart_is_switch_off_and_all_else_stays(before: str, after: str) -> None:
    assert off(before, "program:a") == after
    assert off(after, "program:a") == after


def test_what_has_changed_since_it_was_read_is_not_touched() -> None:
    ini = ini_of("[program:a]\ncommand=x\nautostart=true\n")
    for text in ("", "[program:b]\nautostart=true\n", "[program:a]\nautostart=true\n more\n"):
        with pytest.raises(ConfigError, match="cannot be switched off here"):
            switch_off({"f": text}, ini, ["program:a"])


@pytest.mark.parametrize("case", OF_SUPERVISOR)
def test_nothing_else_changes_in_files_from_the_field(case: str) -> None:
    path = file(case)
    ini, _ = conf_files.load(path, conf_files.read(path), around(case))
    before = read(ini, around(case), str(path))
    texts = {source: conf_files.read(Path(source)) for source in ini.sources}
    sections = [one.section for one in before.programs]
    changed = switch_off(texts, ini, sections)
    again = Ini()
    for source in ini.sources:
        again.read(changed.get(source, texts[source]), source)
    for section in sections:
        options = dict(again.sections[section])
        assert options.pop("autostart").value == "false"
        was = {name: one for name, one in ini.sections[section].items() if name != "autostart"}
        assert options.keys() == was.keys()
    for source, text in changed.items():
        rest = [line for line in text.splitlines() if not line.strip().startswith("autostart")]
        old = texts[source].splitlines()
        assert rest == [line for line in old if not line.strip().startswith("autostart")]


_NAME = st.sampled_from(["command", "user", "x-y", "priority", "environment"])
_VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
_NOISE = st.sampled_from(["", "; note", "# note", "   ", " ; in", "\t"])
_ON = st.sampled_from(["autostart=true", "AUTOSTART : on ; c", "autostart = yes", " autostart=1"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [draw(_NOISE)]
    for name in draw(st.lists(st.sampled_from(["program:a", "program:b", "other"]), max_size=5)):
        lines.append(draw(st.sampled_from(["", "  "])) + f"[{name}]" + draw(_NOISE))
        indent = draw(st.sampled_from(["", " ", "\t", "    "]))
        option = st.tuples(_NAME, st.sampled_from(["=", ":", " = "]), _VALUE)
        more = draw(st.lists(st.one_of(_NOISE, option.map("".join)), max_size=4))
        lines += [line if line.strip()[:1] in ("", ";", "#") else indent + line for line in more]
        if draw(st.booleans()):
            lines.append(draw(_ON))
    return end.join(lines) + draw(st.sampled_from(["", end]))


def values(ini: Ini) -> dict[tuple[str, str], str]:
    return {
        (section, name): option.value
        for section, options in ini.sections.items()
        for name, option in options.items()
    }


@given(texts())
def test_only_autostart_lines_change(text: str) -> None:
    try:
        ini = ini_of(text)
    except ConfigError:
        return
    sections = [name for name in ini.sections if name.startswith("program:")]
    try:
        changed = off(text, *sections)
    except ConfigError:
        # Refused, and not half done: an autostart that a second line spoils, a header at the end.
        return
    before, after = values(ini), values(ini_of(changed))
    wanted = {(section, "autostart"): "false" for section in sections}
    assert after == before | wanted
    old, new = text.splitlines(keepends=True), changed.splitlines(keepends=True)
    kept = [line for line in new if "autostart" not in line.lower()]
    assert kept == [line for line in old if "autostart" not in line.lower()]


def test_the_copy_is_hidden_where_include_would_read_it() -> None:
    one = Path("/etc/supervisor/conf.d/sms.conf")
    assert copy_of(one, ["/etc/supervisor/conf.d/*.conf"]).name == "sms.conf.before-unitq"
    assert copy_of(one, ["/etc/supervisor/conf.d/*"]).name == ".sms.conf.before-unitq"


# --- where supervisord listens --------------------------------------------------------------------

AROUND = Surroundings("/etc/supervisor", "web3", {"RUN": "/run"})


def listens(text: str) -> list[str]:
    return [str(one) for one in addresses(ini_of(text), AROUND)]


def test_where_it_listens() -> None:
    unix = "[unix_http_server]\nfile=%(ENV_RUN)s/s.sock ; x\n"
    assert listens(unix) == ["unix:///run/s.sock"]
    assert listens("[unix_http_server]\nfile=%(here)s/s.sock") == ["unix:///etc/supervisor/s.sock"]
    assert listens(f"[inet_http_server]\nport=*:9001\n{unix}") == [
        "unix:///run/s.sock",
        "http://127.0.0.1:9001",
    ]
    assert listens("[inet_http_server]\nport=9001") == ["http://127.0.0.1:9001"]
    assert listens("[inet_http_server:two]\nport=LOCALHOST:80") == ["http://localhost:80"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[supervisord]\n", "no way to supervisord"),
        ("[inet_http_server]\nport=10.0.0.5:9001", "only 10.0.0.5:9001"),
        ("[inet_http_server]\nport=x:y", "1 mistake"),
        ("[inet_http_server]\nport=0", "1 mistake"),
        ("[unix_http_server]\nfile=%(ENV_NO)s", "1 mistake"),
    ],
)
def test_no_way_to_it(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        listens(text)


def test_the_password_behind_a_hash_is_the_one_of_supervisorctl() -> None:
    text = "[unix_http_server]\nfile=/s\nusername=u\npassword={SHA}abc\n"
    (one,) = addresses(ini_of(f"{text}[supervisorctl]\nusername=u\npassword=p%%\n"), AROUND)
    assert (one.username, one.password) == ("u", "p%")
    assert "p%" not in str(one)


# --- who is told ----------------------------------------------------------------------------------


def member(
    pid: int, parent: int, words: str, *, catches: bool = False, state: str = "S"
) -> Process:
    parts = tuple(words.split("|"))
    caught = -1 if catches else 0
    return Process(pid, parent, 1, state, caught=caught, executable=parts[0], words=parts)


def told(*family: Process, strict: bool = True) -> list[int]:
    return [one.pid for one in workers_of(family, SIGTERM, strict=strict)]


def test_the_worker_is_found_below_what_stands_above_it() -> None:
    php = member(3, 2, "/usr/bin/php|resque", catches=True)
    child = member(4, 3, "/usr/bin/php|resque", catches=True)
    assert told(php, child) == [3]
    for above in (
        "/bin/bash|-c|x",
        "npm run worker",
        "/usr/bin/node|/x/npm-cli.js|run",
        "sudo|php",
    ):
        # sudo has handlers of its own, and is not the worker.
        top = member(2, 1, above, catches=above.startswith("sudo"))
        assert between(top)
        assert told(top, php, child) == [3]
    nested = (member(1, 0, "/bin/sh|run"), member(2, 1, "-bash"), php, child)
    assert told(*nested) == [3]
    two = (member(2, 1, "/bin/sh"), php, member(5, 2, "/usr/bin/tee"))
    assert told(*two) == [3]


def test_who_would_die_of_it_is_not_told() -> None:
    php = member(3, 2, "/usr/bin/php|resque")
    assert told(php) == []
    assert told(php, strict=False) == [3]
    dead = member(3, 2, "/usr/bin/php", catches=True, state="Z")
    assert told(member(2, 1, "/bin/bash"), dead) == []
    assert told(member(2, 1, "/bin/bash"), strict=False) == []
    assert told(member(2, 1, "/bin/bash"), member(3, 2, "/bin/sleep"), strict=False) == [3]
    # What has no handler may stand above one that has.
    assert told(member(2, 1, "/opt/wrap"), member(3, 2, "/x", catches=True), strict=False) == [3]
    assert told() == []


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from(["bash", "php", "sudo"])),
        max_size=6,
    )
)
def test_nobody_is_told_below_another_who_is(shape: list[tuple[int, bool, str]]) -> None:
    family = [member(100, 1, "bash")]
    for index, (parent, catches, name) in enumerate(shape):
        above = family[min(parent, len(family) - 1)].pid
        family.append(member(101 + index, above, name, catches=catches))
    found = workers_of(family, SIGTERM, strict=True)
    assert all(one.catches(SIGTERM) and not between(one) for one in found)
    parents = {one.pid: one.parent for one in family}
    pids = {one.pid for one in found}
    for one in found:
        above = one.parent
        while above in parents:
            assert above not in pids
            above = parents[above]


SETTINGS = Settings(
    priority=999, autostart=True, autorestart="always", startsecs=1, startretries=3,
    stopsignal="SIGTERM", stopwaitsecs=10, stopasgroup=False, killasgroup=False, exitcodes=(0,),
    redirect_stderr=False, numprocs=1, numprocs_start=0, user=None, umask=None,
)  # fmt: skip


def settings(signal: str, seconds: int, *, group: bool = False) -> Settings:
    return replace(SETTINGS, stopsignal=signal, stopwaitsecs=seconds, stopasgroup=group)


PHP = (member(3, 2, "/usr/bin/php", catches=True),)
BELOW = (member(2, 1, "/bin/bash"), *PHP)


@pytest.mark.parametrize(
    ("signal", "seconds", "group", "known", "expected"),
    [
        ("SIGQUIT", 3600, False, True, Way.STOP),
        ("SIGQUIT", 3599, False, True, Way.DRAIN),  # stop_timeout is 1h
        ("SIGTERM", 3600, False, True, Way.DRAIN),
        ("SIGQUIT", 3600, False, False, Way.DRAIN),
        ("SIGQUIT", 3600, True, True, Way.STOP),
    ],
)
def test_supervisors_own_stop_only_where_it_loses_nothing(
    signal: str, seconds: int, group: bool, known: bool, expected: Way
) -> None:
    worker = app(
        '[workers.sms]\ncommand = "/usr/bin/php vendor/bin/resque"\npreset = "php-resque"'
    ).workers[0]
    preset = PRESETS["php-resque"]
    how = settings(signal, seconds, group=group)
    assert way(PHP, how, worker, preset, known=known) is expected
    assert way(BELOW, how, worker, preset, known=known) is Way.HOLD


def test_rq_is_not_stopped_as_a_group() -> None:
    worker = app(
        '[workers.w]\ncommand = "/v/bin/rq worker"\npreset = "rq"\nstop_timeout = "10s"'
    ).workers[0]
    preset = PRESETS["rq"]
    assert way(PHP, settings("SIGTERM", 10), worker, preset, known=True) is Way.STOP
    assert way(PHP, settings("SIGTERM", 10, group=True), worker, preset, known=True) is Way.DRAIN


def test_without_a_preset_the_operators_signal_counts() -> None:
    worker = app(
        '[workers.w]\ncommand = "/bin/w"\nstop_signal = "SIGTERM"\nkill_mode = "mixed"\n'
        'stop_timeout = "10s"'
    ).workers[0]
    assert way(PHP, settings("SIGTERM", 10), worker, None, known=True) is Way.STOP
    assert way(PHP, settings("SIGINT", 10), worker, None, known=True) is Way.DRAIN
    assert way(PHP, settings("SIGTERM", 10, group=True), worker, None, known=True) is Way.DRAIN


def test_a_real_time_signal_is_one_that_supervisor_cannot_send() -> None:
    worker = app(
        '[workers.w]\ncommand = "/bin/w"\nstop_signal = "SIGRTMIN+3"\nkill_mode = "mixed"\n'
        'stop_timeout = "10s"'
    ).workers[0]
    assert way(PHP, settings("SIGTERM", 10), worker, None, known=True) is Way.DRAIN


_STATES = ("STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "UNKNOWN")


@given(st.lists(st.tuples(st.sampled_from(_STATES), st.booleans()), max_size=12))
def test_never_more_and_never_fewer_by_more_than_one(
    states: list[tuple[str, bool]],
) -> None:
    every = [
        Pair(f"w:{n}", InstanceName("w", n + 1), state, 0, serving)
        for n, (state, serving) in enumerate(states)
    ]
    found = in_order(every)
    assert {pair.process for pair in found} == {p.process for p in every if not p.moved}
    # Done in this order, there are never more than there were, nor fewer than all but one.
    there = [pair.serving + (pair.state in UP) for pair in every]
    total, serving = max(len(every), sum(there)), sum(1 for one in there if one)
    position = {pair.process: index for index, pair in enumerate(every)}
    for pair in found:
        index = position[pair.process]
        there[index] = int(pair.serving)
        assert sum(1 for one in there if one) >= serving - 1
        there[index] = 1
        assert sum(there) <= total
        serving = max(serving, sum(1 for one in there if one))
