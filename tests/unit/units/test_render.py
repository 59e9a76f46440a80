"""Unit texts and environments: golden files, and what must hold for any value.

What systemd makes of the texts: tests/systemd/units/test_injection.py. After a deliberate change of
a template, UNITQ_UPDATE_GOLDEN=1 python -m pytest with this file; then look at the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.build import HEAD, SYSTEM, TEXTS, USER, app, rendered
from unitq.cmdline.exec_line import command_line, executable, prefixes
from unitq.errors import ConfigError, Exit
from unitq.rollout.checks.preflight import verify
from unitq.systemd.envfile import environment_file
from unitq.toml.document import toml
from unitq.units.render import Code, UnitText, path, render

if TYPE_CHECKING:
    from unitq.model.layout import Layout

GOLDEN = Path(__file__).parent / "golden"

SMALLEST = """\
[workers.sms]
command = "/usr/bin/php bin/resque"
"""

FULL = """\
app = "my-shop"
user = "www-data"
group = "www-data"
directory = "/srv/my shop/100%/current"
environment_file = ["/etc/shop/env", "/etc/shop/more"]
environment = { APP_ENV = "production" }

[rollout]
max_unavailable = "25%"
min_healthy = "5s"

[workers.sms-high]
command = "-bin/php worker --queue %i $QUEUE"
queues = ["sms", "default"]
instances = 4
stop_timeout = "infinity"
stop_signal = "SIGTERM"
kill_mode = "mixed"
restart_delay = "1min 30s"
start_limit = "5/1min"
nice = -5
umask = "027"
limits = { LimitNOFILE = "1024:65536", LimitAS = "2G" }
environment = { SECRET = 'a "quoted" $1 \\ `x` %n' }

[workers.sms-high.unit]
OnFailure = "alert@%n.service"
After = ["redis.service", "mysql.service"]

[workers.sms-high.service]
Type = "notify"
MemoryMax = "512M"
ProtectHome = true
ExecStartPre = ["/usr/bin/test -e .env", "-/usr/bin/php warm-up"]

[workers.mail]
command = "bash -c 'exec php mail'"
user = "1000"
group = "mail"
directory = "/srv/mail"
environment_file = []
"""

PROBED = """\
[rollout]
on_drain_timeout = "wait"

[workers.sms]
command = "bin/worker"
user = "www-data"
group = "mail"
environment_file = "/etc/shop/env"
probe = { command = "bin/probe --instance %i", timeout = "1min 30s", successes = 3 }

[workers.beat]
command = "bin/beat"
singleton = true
"""

CASES = {
    "probed": (PROBED, HEAD, SYSTEM),
    "probed-user": (re.sub(r'(?m)^(user|group) = ".*"\n', "", PROBED), HEAD, USER),
    "smallest": (SMALLEST, HEAD, SYSTEM),
    "smallest-user": (SMALLEST, HEAD, USER),
    "full": ("", FULL, SYSTEM),
    "full-user": ("", re.sub(r'(?m)^(user|group) = ".*"\n', "", FULL), USER),
}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    workers, head, scope = CASES[case]
    found = app(workers, head)
    code = {
        worker.name: Code("/srv/r/1", "release 1", (b"A=1\n",) * len(worker.environment_files))
        for worker in found.workers
    }
    texts = {unit.name: unit.text for unit in rendered(found, scope=scope, code=code).units}
    folder = GOLDEN / case
    if os.environ.get("UNITQ_UPDATE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    expected = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    assert texts == expected


@pytest.mark.parametrize("case", CASES)
def test_texts_are_tidy(case: str) -> None:
    workers, head, scope = CASES[case]
    for unit in rendered(app(workers, head), scope=scope).units:
        assert unit.text.endswith("\n")
        for line in unit.text.splitlines():
            assert line == line.rstrip()
            assert not line.endswith("\\"), "the next line would become part of this one"
        assert "\n\n\n" not in unit.text
        assert "{" not in unit.text, "a template's own syntax is left"
        assert re.search(r"(?m)^\[X-Unitq\]\nApp=", unit.text), "nobody would know whose it is"
        # A directive that is there twice would be read twice, and for most the last one wins.
        once = re.findall(
            r"(?m)^(Slice|KillMode|KillSignal|TimeoutStopSec|User|Nice|Type)=", unit.text
        )
        allowed = 2 if "full" in case else 1  # the file gives a Type of its own, behind ours
        assert all(once.count(key) <= (allowed if key == "Type" else 1) for key in once)


def environment(workers: str, head: str = HEAD) -> dict[str, str]:
    return dict(rendered(app(workers, head)).workers[0].environment)


SHARED = (
    *("User", "Group", "WorkingDirectory", "Environment", "EnvironmentFile", "StandardInput"),
    *("LimitCORE", "ProtectSystem", "ProtectControlGroups"),
)


def lines(text: str, *keys: str) -> list[str]:
    return [line for line in text.splitlines() if line.partition("=")[0] in keys]


@pytest.mark.parametrize("case", ["probed", "probed-user"])
def test_a_probe_has_what_its_worker_has_but_not_its_slice(case: str) -> None:
    workers, head, scope = CASES[case]
    code = {"sms": Code("/srv/r/1", "release 1", (b"A=1\n",))}
    found = rendered(app(workers, head), scope=scope, code=code)
    sms, beat = found.workers
    assert sms.probe
    assert sms.probe.name == "unitq-shop-sms.probe@.service"
    assert lines(sms.probe.text, *SHARED) == lines(sms.unit.text, *SHARED)
    assert len(lines(sms.probe.text, *SHARED)) == (6 if scope.user else 10)
    assert lines(sms.probe.text, "Slice") == ["Slice=unitq-shop.slice"]
    assert not lines(sms.probe.text, "Restart", "WantedBy", "PartOf")
    assert "[Install]" not in sms.probe.text
    assert (sms.probes, sms.singleton) == (3, False)
    assert (beat.probe, beat.probes, beat.singleton) == (None, 0, True)
    assert [unit.name for unit in found.units].count(sms.probe.name) == 1


@pytest.mark.parametrize("case", CASES)
def test_systemd_finds_nothing_wrong(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # a user's manager has one
    workers, head, scope = CASES[case]
    units = rendered(app(workers, head), scope=scope).units
    assert not verify(units, user_scope=scope.user)
    (broken,) = verify(
        [UnitText(unit.name, unit.text.replace("Type=oneshot", "Type=once")) for unit in units]
        if "probed" in case
        else [UnitText("unitq-a-b@.service", "[Service]\nExecStart=/bin/true\nType=once\n")],
        user_scope=scope.user,
    )
    assert "Type=once" in broken.place or "once" in broken.message


def test_waiting_for_a_drain_is_endless_and_killing_is_not() -> None:
    for words, expected in (("kill", "TimeoutStopSec=5min"), ("wait", "TimeoutStopSec=infinity")):
        text = f'[rollout]\non_drain_timeout = "{words}"\n{SMALLEST}'
        (worker,) = rendered(app(text)).workers
        assert lines(worker.unit.text, "TimeoutStopSec") == [expected]
        assert ("on_drain_timeout" in worker.unit.text) == (words == "wait")
        assert worker.stop_timeout == 300


def test_the_worker_is_told_who_it_is() -> None:
    assert environment(SMALLEST) == {"UNITQ_APP": "shop", "UNITQ_WORKER": "sms"}


def test_queues_become_the_resque_familys_variable_unless_that_is_set() -> None:
    queues = f'{SMALLEST}queues = ["sms", "default"]\n'
    assert environment(queues)["QUEUE"] == "sms,default"
    assert environment(f'{queues}environment = {{ QUEUE = "*" }}\n')["QUEUE"] == "*"
    assert "QUEUE" not in environment(SMALLEST)


def test_a_secret_is_in_no_unit() -> None:
    secret = "s3cr3t-%h"
    text = f'{SMALLEST}environment = {{ TOKEN = "{secret}" }}\n'
    found = rendered(app(text))
    assert not any(secret in unit.text for unit in found.units)
    assert ("TOKEN", secret) in found.workers[0].environment


def fingerprint(workers: str, scope: Layout = SYSTEM, release: str = "/srv/r/1") -> str:
    return rendered(app(workers), scope=scope, release=release).workers[0].fingerprint


def test_the_same_file_gives_the_same_fingerprint_and_any_change_another() -> None:
    every = [
        fingerprint(SMALLEST),
        fingerprint(f"{SMALLEST}nice = 1\n"),
        fingerprint(f'{SMALLEST}environment = {{ A = "1" }}\n'),
        fingerprint(f'{SMALLEST}environment = {{ A = "2" }}\n'),
        fingerprint(SMALLEST, release="/srv/r/2"),
        fingerprint(SMALLEST, scope=USER),
    ]
    assert len(set(every)) == len(every)
    assert fingerprint(SMALLEST) == fingerprint(SMALLEST)
    # How many there are is no part of what each of them runs, nor is who asks it how it is.
    for more in (
        "instances = 5",
        "singleton = true",
        'probe = { command = "/bin/true" }',
        'probe = { command = "/bin/false", successes = 3 }',
    ):
        assert fingerprint(f"{SMALLEST}{more}\n") == fingerprint(SMALLEST)
    head = '[rollout]\nmax_surge = 1\ncanary = 1\n[hooks]\non_failure = ["/bin/true"]\n'
    assert fingerprint(f"{head}{SMALLEST}") == fingerprint(SMALLEST)


RELEASE = "/var/lib/unitq/shop/pins/sms/%i/release"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("php bin/resque", "php bin/resque"),
        ("/usr/bin/php bin/resque", "/usr/bin/php bin/resque"),
        ("bin/worker -v", f"{RELEASE}/bin/worker -v"),
        ("./worker", f"{RELEASE}/worker"),
        ("-@bin/worker x", f"-@{RELEASE}/bin/worker x"),
        ("!!bin/worker", f"!!{RELEASE}/bin/worker"),
        ('"bin/my worker" x', f'"{RELEASE}/bin/my worker" x'),
        ("'bin/my worker' x", f"'{RELEASE}/bin/my worker' x"),
        ("%h/bin/worker", "%h/bin/worker"),
        ("$HOME/bin/worker", "$HOME/bin/worker"),
        ("../worker", f"{RELEASE}/../worker"),
    ],
)
def test_a_relative_program_is_the_releases_own(command: str, expected: str) -> None:
    assert command_line(command, RELEASE) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("php x", "php"),
        ("-/usr/bin/php x", "/usr/bin/php"),
        ("'/opt/my app/run' x", "/opt/my app/run"),
        ('"run"', "run"),
        ("@bash resque -c x", "bash"),
    ],
)
def test_the_program_of_a_command_line(command: str, expected: str) -> None:
    assert executable(command) == expected


def test_what_stands_before_the_program_of_a_command_line() -> None:
    assert [prefixes(line) for line in ("a -b", "-a", " -@a", "!!/a", "'-a'")] == [
        *("", "-", "-@", "!!", ""),
    ]


@given(st.text())
def test_a_path_holds_no_specifier(text: str) -> None:
    assert "%" not in path(text).replace("%%", "")
    assert path(text).replace("%%", "%") == text


# systemd.exec(5), EnvironmentFile=: how it reads a value in double quotes.
_UNQUOTED = re.compile(r'\\([\\"$`])')


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"])))
def test_an_environment_file_gives_back_what_went_in(value: str) -> None:
    text = environment_file((("A", value),))
    assert text.startswith('A="')
    assert text.endswith('"\n')
    inner = text[3:-2]
    assert _UNQUOTED.sub(r"\1", inner) == value
    assert not re.search(r'(?<!\\)(?:\\\\)*"', inner), "the value would end here"


def test_an_operators_own_template_of_a_worker_goes_with_our_probe() -> None:
    own = {**TEXTS, "worker@.service.j2": "[Service]\nExecStart={{ command }}\n"}
    found = render(app(PROBED), SYSTEM, {n: Code("/r", "1") for n in ("sms", "beat")}, own)
    (worker, _) = found.workers
    assert worker.unit.text.startswith("[Service]\nExecStart=/var/lib/unitq/")
    assert worker.probe
    assert "Type=oneshot" in worker.probe.text


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp")), max_size=60),
    st.sampled_from(["/bin/true ", "bin/probe ", '"bin/a b" ', ""]),
)
def test_a_probe_is_one_line_whatever_it_holds(text: str, before: str) -> None:
    command = f"{before}{text}"
    try:
        found = app(f"{SMALLEST}probe = {{ command = {toml(command)} }}\n")
    except ConfigError:
        return
    plain = rendered(app(f'{SMALLEST}probe = {{ command = "/bin/true" }}\n')).workers[0].probe
    probe = rendered(found).workers[0].probe
    assert probe
    assert plain
    every, expected = probe.text.split("\n"), plain.text.split("\n")
    assert len(every) == len(expected)
    changed = [one for one, other in zip(every, expected, strict=True) if one != other]
    assert all(line.startswith("ExecStart=") and not line.endswith("\\") for line in changed)


def test_a_broken_template_of_an_operators_own_is_told_with_its_line() -> None:
    for broken, said in (
        ("[Unit]\n{{ nosuch }}\n", "'nosuch' is undefined"),
        ("[Unit]\n{% if %}\n", "worker@.service.j2, line 2: "),
    ):
        with pytest.raises(ConfigError, match=r"unit template worker@\.service\.j2") as caught:
            render(
                app(SMALLEST),
                SYSTEM,
                {"sms": Code("/r", "1")},
                {**TEXTS, "worker@.service.j2": broken},
            )
        assert said in caught.value.message
        assert caught.value.exit is Exit.USAGE


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ app.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ self.__init__.__globals__.__builtins__.open('/etc/passwd').read() }}",
        "{{ '{0.__class__.__mro__}'.format(app) }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ 1 + 'a' }}",
        "{{ [][0] }}",
        "{{ nothing }}",
        "{{ (limits or [])|attr('append')(1) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ environment_files.append('x') }}",
    ],
)
def test_a_template_runs_nothing_and_ends_in_words(text: str) -> None:
    broken = {**TEXTS, "worker@.service.j2": text}
    with pytest.raises(ConfigError, match=r"unit template worker@\.service\.j2"):
        render(app(SMALLEST), SYSTEM, {"sms": Code("/r", "1")}, broken)
