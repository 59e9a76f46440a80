"""unitq.toml: what it gives, and what it says of mistakes."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.harness.build import PRESETS
from tests.harness.config_page import reference
from unitq.config import directives, parse, types
from unitq.config.schema import RolloutTable, json_schema
from unitq.config.starter import REDIS_RARE, starter
from unitq.errors import ConfigError, Exit
from unitq.model.app import (
    App,
    CodeVersion,
    Credential,
    Hook,
    Hooks,
    KillMode,
    PresetDefaults,
    Probe,
    Redis,
    StartLimit,
    Worker,
)
from unitq.model.hardening import Hardening
from unitq.model.recycle import Recycle
from unitq.model.settings import (
    Duration,
    OnDrainTimeout,
    OnFailure,
    OnKilled,
    Promote,
    RolloutSettings,
    Share,
)
from unitq.toml import values
from unitq.toml.document import toml
from unitq.toml.messages import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[3] / "docs"

SMALLEST = """
app = "shop"
directory = "/srv/shop/current"
[workers.sms]
command = "/usr/bin/php bin/resque"
"""

EVERYTHING = """
app = "shop"
user = "www-data"
group = "1000"
directory = "/srv//shop/./current/"
environment = { APP_ENV = "production", WAIT = 5 }
environment_file = "/etc/shop/env"
code_version = "git"
history = 20
after = ["postgresql.service"]
allow = ["env-file"]

[redis]
url = "redis://:secret@127.0.0.1:6379/0"

[rollout]
max_unavailable = "0%"
min_healthy = 0
start_timeout = "2min"
max_surge = "25%"
canary = 2
canary_soak = "5min"
promote = "manual"
healthy_deadline = 90
max_failures = 3
on_failure = "pause"
on_drain_timeout = "wait"

[hooks]
before_deploy = ["bin/before", "a b", ""]
after_deploy = { command = ["/bin/after"] }
on_failure = { command = ["/bin/alert"], timeout = 30 }

[workers.sms]
command = "  bin/worker --id %i "
queues = ["sms", "default"]
instances = 4
stop_timeout = "10min"
stop_signal = "TERM"
kill_mode = "mixed"
restart_delay = 0
start_limit = "5/1min"
nice = -5
umask = "022"
limits = { LimitNOFILE = 65536, LimitAS = "1G:2G" }
user = "sms"
group = "sms"
directory = "/srv/sms"
hardening = "strict"
writable = ["/srv/sms/log"]
credentials = { KEY = "/etc/credstore.encrypted/sms" }
environment = { WAIT = "10", EMPTY = "" }
environment_file = ["/etc/sms/a", "/etc/sms/b"]

[workers.sms.probe]
command = " bin/probe %i"
timeout = "2s"
successes = 3

[workers.sms.recycle]
memory = "256M"
age = "6h"
jitter = "5%"

[workers.sms.unit]
OnFailure = "alert@%n.service"

[workers.sms.service]
ProtectHome = true
PrivateTmp = false
CPUWeight = 50
ExecStartPre = ["/bin/true", " /bin/echo a "]
X-Note = ""

[workers.mail]
command = "bin/mail"
preset = "laravel"
singleton = true
allow = ["pipe"]
probe = { command = "bin/probe" }
recycle = { age = 60 }

[workers.push]
command = "rq worker"
preset = "rq"
probe = "registered"

[workers.pull]
command = "php bin/resque"
preset = "php-resque"
on_killed = "requeue"
supervisor_name = "jobs:pull-8000"
"""


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse.parse(text, source="unitq.toml")
    return caught.value.problems


def worker(lines: str) -> str:
    """The smallest file with some more lines for its worker."""
    return f"{SMALLEST}{lines}"


# What a file gives.


def test_the_smallest_file_gets_every_default() -> None:
    assert parse.parse(SMALLEST, source="unitq.toml") == App(
        name="shop",
        workers=(
            Worker(
                name="sms",
                command="/usr/bin/php bin/resque",
                instances=1,
                directory="/srv/shop/current",
            ),
        ),
        rollout=RolloutSettings(Share(1), Duration("10s", 10), Duration("90s", 90)),
        code_version=CodeVersion.AUTO,
        redis=Redis(),
    )


def test_the_largest_numbers_are_taken() -> None:
    text = f"{SMALLEST}instances = 4096\n[rollout]\nmax_unavailable = 4096\nmax_surge = 4096\n"
    app = parse.parse(text, source="unitq.toml")
    assert app.workers[0].instances == 4096
    assert (app.rollout.max_unavailable, app.rollout.max_surge) == (Share(4096), Share(4096))


@pytest.mark.parametrize("path", ["/" + "a" * 4094, "/" + "é" * 2047])
def test_the_longest_path_is_taken(path: str) -> None:
    text = f'{SMALLEST}directory = "{path}"\n'
    (worker,) = parse.parse(text, source="unitq.toml").workers
    assert worker.directory == path


def test_every_key_arrives_in_the_app() -> None:
    app = parse.parse(EVERYTHING, source="unitq.toml", presets=PRESETS)
    assert app == App(
        name="shop",
        workers=(
            Worker(
                name="sms",
                command="bin/worker --id %i",
                instances=4,
                directory="/srv/sms",
                queues=("sms", "default"),
                user="sms",
                group="sms",
                environment=(("APP_ENV", "production"), ("WAIT", "10"), ("EMPTY", "")),
                environment_files=("/etc/sms/a", "/etc/sms/b"),
                stop_timeout=Duration("10min", 600),
                stop_signal="SIGTERM",
                kill_mode=KillMode.MIXED,
                restart_delay=Duration("0s", 0),
                start_limit=StartLimit(5, Duration("1min", 60)),
                nice=-5,
                umask="0022",
                limits=(("LimitNOFILE", "65536"), ("LimitAS", "1G:2G")),
                hardening=Hardening.STRICT,
                writable=("/srv/sms/log",),
                credentials=(Credential("KEY", "/etc/credstore.encrypted/sms", encrypted=True),),
                unit=(("OnFailure", ("alert@%n.service",)),),
                service=(
                    ("ProtectHome", ("yes",)),
                    ("PrivateTmp", ("no",)),
                    ("CPUWeight", ("50",)),
                    ("ExecStartPre", ("/bin/true", "/bin/echo a")),
                    ("X-Note", ("",)),
                ),
                probe=Probe("bin/probe %i", Duration("2s", 2), 3),
                recycle=Recycle(256 << 20, Duration("6h", 21600), Share(5, percent=True)),
            ),
            Worker(
                name="mail",
                command="bin/mail",
                instances=1,
                directory="/srv/shop/current",
                user="www-data",
                group="1000",
                environment=(("APP_ENV", "production"), ("WAIT", "5")),
                environment_files=("/etc/shop/env",),
                singleton=True,
                allow=("pipe",),
                probe=Probe("bin/probe", Duration("5s", 5), 1),
                recycle=Recycle(None, Duration("60s", 60), Share(10, percent=True)),
                preset="laravel",
                stop_signal="SIGTERM",
                kill_mode=KillMode.MIXED,
                stop_timeout=Duration("90s", 90),
                quiet="SIGUSR2",
                resume="SIGCONT",
                from_preset=PresetDefaults(why=f"preset laravel: {PRESETS['laravel'].stop.why}"),
            ),
            Worker(
                name="push",
                command="rq worker",
                instances=1,
                directory="/srv/shop/current",
                user="www-data",
                group="1000",
                environment=(("APP_ENV", "production"), ("WAIT", "5")),
                environment_files=("/etc/shop/env",),
                registered=True,
                preset="rq",
                stop_signal="SIGTERM",
                kill_mode=KillMode.MIXED,
                stop_timeout=PRESETS["rq"].stop.timeout,
                from_preset=PresetDefaults(why=f"preset rq: {PRESETS['rq'].stop.why}"),
            ),
            Worker(
                name="pull",
                command="php bin/resque",
                instances=1,
                directory="/srv/shop/current",
                user="www-data",
                group="1000",
                environment=(("APP_ENV", "production"), ("WAIT", "5")),
                environment_files=("/etc/shop/env",),
                on_killed=OnKilled.REQUEUE,
                supervisor_name="jobs:pull-8000",
                preset="php-resque",
                stop_signal="SIGQUIT",
                kill_mode=KillMode.MIXED,
                stop_timeout=PRESETS["php-resque"].stop.timeout,
                quiet="SIGUSR2",
                resume="SIGCONT",
                from_preset=PresetDefaults(
                    why=f"preset php-resque: {PRESETS['php-resque'].stop.why}",
                    leave_out=("ProtectProc",),
                ),
            ),
        ),
        rollout=RolloutSettings(
            max_unavailable=Share(0, percent=True),
            min_healthy=Duration("0s", 0),
            start_timeout=Duration("2min", 120),
            max_surge=Share(25, percent=True),
            canary=Share(2),
            canary_soak=Duration("5min", 300),
            promote=Promote.MANUAL,
            healthy_deadline=Duration("90s", 90),
            max_failures=3,
            on_failure=OnFailure.PAUSE,
            on_drain_timeout=OnDrainTimeout.WAIT,
        ),
        code_version=CodeVersion.GIT,
        redis=Redis(url="redis://:secret@127.0.0.1:6379/0"),
        allow=("env-file",),
        after=("postgresql.service",),
        history=20,
        hooks=Hooks(
            before_deploy=Hook(("bin/before", "a b", ""), Duration("1min", 60)),
            after_deploy=Hook(("/bin/after",), Duration("1min", 60)),
            on_failure=Hook(("/bin/alert",), Duration("30s", 30)),
        ),
    )


def test_every_field_of_the_model_can_be_set_in_the_file() -> None:
    app = parse.parse(EVERYTHING, source="unitq.toml", presets=PRESETS)
    untouched = Worker(name="", command="", instances=0, directory="")
    for field in dataclasses.fields(Worker):
        default = getattr(untouched, field.name)
        assert any(getattr(each, field.name) != default for each in app.workers), field.name
    for field in dataclasses.fields(App):
        if field.name in ("file", "owner"):
            continue  # the file cannot say where it is, and whose
        default = None if field.default is dataclasses.MISSING else field.default
        assert getattr(app, field.name) not in (default, Hooks()), field.name
    for hook in ("before_deploy", "after_deploy", "on_failure"):
        assert hook in dict(app.hooks)
    plain = parse.parse(SMALLEST, source="unitq.toml").rollout
    for key, value in app.rollout._asdict().items():
        assert value != getattr(plain, key), key


def test_the_defaults_of_a_rollout_are_those_of_its_settings() -> None:
    given = parse.parse(SMALLEST, source="unitq.toml").rollout
    assert given == RolloutSettings(given.max_unavailable, given.min_healthy, given.start_timeout)
    assert set(RolloutTable.model_fields) == set(RolloutSettings._fields)


def test_what_the_command_line_says_takes_the_place_of_the_file() -> None:
    text = 'app = "shop"\ndirectory = "/srv"\n[workers.sms]\ncommand = "true"\n'
    text += "[rollout]\ncanary = 2\nmax_failures = 3\n"
    app = parse.parse(text, source="x", rollout={"canary": "25%", "promote": "manual"})
    assert str(app.rollout.canary) == "25%"
    assert app.rollout.promote == "manual"
    assert app.rollout.max_failures == 3
    with pytest.raises(ConfigError, match=r"--on-failure: .*; --max-surge: "):
        parse.parse(text, source="x", rollout={"on_failure": "cry", "max_surge": "lots"})


def test_every_worker_may_have_a_directory_of_its_own() -> None:
    text = 'app = "a"\n[workers.b]\ncommand = "c"\ndirectory = "/d"\n'
    assert parse.parse(text, source="unitq.toml").workers[0].directory == "/d"


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse.parse(f"\ufeff{SMALLEST}", source="unitq.toml").name == "shop"


def test_a_command_may_go_over_several_lines_as_toml_joins_them() -> None:
    text = SMALLEST.replace('"/usr/bin/php bin/resque"', '"""\n/usr/bin/php \\\n    bin/resque"""')
    assert parse.parse(text, source="unitq.toml").workers[0].command == "/usr/bin/php bin/resque"


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('stop_timeout = "infinity"', "stop_timeout", Duration("infinity", float("inf"))),
        ("stop_timeout = 90", "stop_timeout", Duration("90s", 90)),
        ('stop_signal = "SIGRTMIN+3"', "stop_signal", "SIGRTMIN+3"),
        ('stop_signal = "USR1"', "stop_signal", "SIGUSR1"),
        ('start_limit = "none"', "start_limit", StartLimit(0, Duration("0", 0))),
        ('start_limit = "3 / 1h 30min"', "start_limit", StartLimit(3, Duration("1h 30min", 5400))),
        ('user = "first.last@example"', "user", "first.last@example"),
        ('user = "0"', "user", "0"),
        ('directory = "/"', "directory", "/"),
        ('limits.LimitNICE = "+5:-5"', "limits", (("LimitNICE", "+5:-5"),)),
        ('limits.LimitRTTIME = "200ms"', "limits", (("LimitRTTIME", "200ms"),)),
        ('limits.LimitCORE = "0:infinity"', "limits", (("LimitCORE", "0:infinity"),)),
        ('service.Type = "notify"', "service", (("Type", ("notify",)),)),
        ("service.Delegate = true", "service", (("Delegate", ("yes",)),)),
        ('unit.ConditionPathExists = "/a"', "unit", (("ConditionPathExists", ("/a",)),)),
        ('command = "a b \\\\\\" %i 😀"', "command", 'a b \\" %i 😀'),
        ('environment.A = "%i $x \\"\\\\ ✉ "', "environment", (("A", '%i $x "\\ ✉ '),)),
    ],
)
def test_a_value_arrives_as_it_should(line: str, field: str, value: object) -> None:
    text = (
        worker(line)
        if "command" not in line
        else worker("").replace('command = "/usr/bin/php bin/resque"', line)
    )
    assert getattr(parse.parse(text, source="unitq.toml").workers[0], field) == value


# What it says of mistakes.


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        parse.parse(
            """
            app = "my shop"
            usr = "www-data"
            [rollout]
            max_unavailable = 0
            healthy_deadline = 5
            [workers.sms]
            instence = 4
            stop_timeout = "10 minuts"
            [workers.sms.service]
            ExecStart = "x"
            [workers."../x"]
            command = ""
            """,
            source="unitq.toml",
        )
    assert caught.value.exit is Exit.USAGE
    assert caught.value.message == "unitq.toml: 11 mistakes"
    assert caught.value.problems == (
        (
            'app: expected a name of letters, digits, "-" and "_", 1 to 63 characters, first a '
            'letter or digit, got "my shop"'
        ),
        'usr: unknown key, did you mean "user"?',
        "rollout.max_unavailable: may be 0 only if max_surge is above 0",
        "rollout.healthy_deadline: must be longer than min_healthy, but is 5s against 10s",
        'workers.sms.instence: unknown key, did you mean "instances"?',
        (
            'workers.sms.stop_timeout: expected a time span such as "90s", "10min" or "infinity", '
            'longer than zero, got "10 minuts"'
        ),
        "workers.sms.service.ExecStart: unitq writes this directive itself: use command",
        'workers.sms.command: missing, for example command = "/usr/bin/php bin/resque"',
        (
            'workers."../x": expected a name of letters, digits, "-" and "_", 1 to 63 characters, '
            'first a letter or digit, got "../x"'
        ),
        'workers."../x".command: expected a command line such as "/usr/bin/php bin/resque", got ""',
        'directory: missing, for example directory = "/srv/shop/current"',
    )


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        ("rollout = { max_unavailable = 0, canary = 'x' }", {"max_unavailable", "canary"}),
        ("rollout = { min_healthy = '2min', promote = 1 }", {"healthy_deadline", "promote"}),
        ("redis = { password_file = '/', password_variable = 'B', master = '' }",
         {"password_file", "master"}),
        ("workers.w = { command = 'x', singleton = true, instances = 2, nice = 'x' }",
         {"instances", "nice"}),
        ("workers.w = { singleton = true, instances = 2 }", {"instances", "command"}),
        ("workers.w = { command = 'x', recycle = { jitter = '5%' }, umask = 1 }",
         {"recycle", "umask"}),
    ],
)  # fmt: skip
def test_what_several_keys_get_wrong_is_told_beside_other_mistakes(
    lines: str, places: set[str]
) -> None:
    """And nothing that only follows from another mistake."""
    found = mistakes(f"{lines}\n{SMALLEST}")
    assert {
        re.split(r"[.](?=[a-z_]+(?:\[\d+\])?$)", each.split(": ")[0])[-1] for each in found
    } == (places)


def test_an_empty_file_hears_what_is_needed() -> None:
    assert mistakes("") == (
        'app: missing, for example app = "shop"',
        "workers: missing; at least one [workers.NAME] is needed",
        'directory: missing, for example directory = "/srv/shop/current"',
    )


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        (
            "app = shop",
            "line 1, column 7: invalid value",
            'text needs quotes: user = "www-data"; true and false are written small',
        ),
        ("app", "at the end of the file: expected '=' after a key in a key/value pair", ""),
        (
            '[a]\nb = "x\n',
            "line 2, column 7: illegal character '\\n'",
            "a closing quote is missing in this line",
        ),
        (
            "[workers.a]\n[workers.a]",
            "line 2, column 11: cannot declare ('workers', 'a') twice",
            "the same key or table stands there twice",
        ),
        (
            'a = "C:\\dir"',
            "line 1, column 10: unescaped '\\' in a string",
            "in single quotes a backslash is only a backslash: 'a\\b'",
        ),
        ('a = 1\nb = "\udce4"', "line 2: not UTF-8; save the file in that encoding", ""),
        ("a = " + "1" * 5000, "contains a huge number", ""),
        ("a = " + "[" * 5000, "nested too deeply", ""),
        ("a = " + "[" * 50 + "]" * 50, "a[0][0]: nested too deeply", ""),
        ("a." * 100 + "b = 1", "a.a.a: nested too deeply", ""),
        ("a." * 100_000 + "b = 1", "a key has hundreds of parts", ""),
        ("#" * 2_000_000, "longer than 1024 KiB", ""),
    ],
)
def test_a_file_that_is_no_toml_is_told_where(text: str, problem: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse.parse(text, source="unitq.toml")
    assert caught.value.message == "unitq.toml: 1 mistake"
    assert (caught.value.problems, caught.value.hint) == ((problem,), hint)


MISTAKES = [
    # Names and keys.
    ('app = "-x"', "app",
     ('expected a name of letters, digits, "-" and "_", 1 to 63 characters, first a letter or '
      'digit, got "-x"')),
    ("presets = 1", "presets",
     ("unknown key; the keys here are app, user, group, directory, "
      "environment, environment_file, hardening, writable, credentials, allow, code_version, "
      "history, after, redis, rollout, hooks and workers")),
    ("instances = 2", "instances", "unknown key here, it belongs in [workers.NAME]"),
    ('url = "redis://a"', "url", "unknown key here, it belongs in [redis]"),
    ("min_healthy = 2", "min_healthy", "unknown key here, it belongs in [rollout]"),
    ('code_version = "gti"', "code_version",
     'expected "auto", "git", "release" or "always", got "gti", did you mean "git"?'),
    # Containers of the wrong kind; what stands there may be a secret.
    ('redis = "redis://:secret@x"', "redis", "expected a table, got a string"),
    ("rollout = [1]", "rollout", "expected a table, got a list"),
    ('environment = "PASSWORD=secret"', "environment",
     'expected a table such as { APP_ENV = "production" }, got a string'),
    ("environment_file = 1", "environment_file",
     'expected an absolute path such as "/etc/shop/env", or a list of them, got 1'),
    ('environment_file = ["/a", "b"]', "environment_file[1]",
     'expected an absolute path such as "/etc/shop/env", got "b"'),
    # The rest of the first lines.
    ("user = 1000", "user",
     ('expected a name such as "www-data" or a number in quotes such as '
      '"1000", got 1000')),
    ('user = "65535"', "user",
     ('expected a name such as "www-data" or a number in quotes such as '
      '"1000", got "65535"')),
    ('user = "a:b"', "user",
     ('expected a name such as "www-data" or a number in quotes such as '
      '"1000", got "a:b"')),
    ('redis.url = "http://:secret@x"', "redis.url",
     ('expected a URL such as '
      '"redis://127.0.0.1:6379/0", "rediss://…" or "unix:///run/redis.sock", got a string')),
    ('redis.url = "redis://:secret@x/a"', "redis.url",
     ("expected a database number at the end of "
      'the URL: "redis://127.0.0.1:6379/0", got a string')),
    ('redis.url = "redis://x:70000"', "redis.url",
     ('expected a URL such as '
      '"redis://127.0.0.1:6379/0", "rediss://…" or "unix:///run/redis.sock", got a string')),
    ('redis.url = "redis://a?ssl_cert_reqs=none"', "redis.url",
     'after "?" there may be "db=NUMBER" and nothing else'),
    ('redis.preset = "../x"', "redis.preset",
     'expected the name of a preset such as "php-resque", got a string'),
    ('redis.password_variable = "s3cret!"', "redis.password_variable",
     ('expected the name of a variable such as "REDIS_PASSWORD", not what is in it, '
      "got a string")),
    ('redis = { password_file = "/a", password_variable = "B" }', "redis.password_file",
     "there is password_variable already: one of them is enough"),
    ('redis = { password_file = "/a", url = "redis://:secret@a" }', "redis.password_file",
     "there is a password in the URL already"),
    ('redis = { sentinels = ["a:1", "b"], master = "m" }', "redis.sentinels[1]",
     'expected a place such as "10.0.0.1:26379", got a string'),
    ('redis = { sentinels = [], master = "m" }', "redis.sentinels",
     ('expected a list of places such as ["10.0.0.1:26379", "10.0.0.2:26379"], got a list')),
    ('redis.master = "mymaster"', "redis.sentinels",
     "missing; sentinels and master go together"),
    ('redis = { url = "redis://a", ca_file = "/a" }', "redis.ca_file",
     "is for a URL that begins with rediss://"),
    ('redis = { url = "rediss://a", cert_file = "/a" }', "redis.key_file",
     "missing; cert_file and key_file go together"),
    ('redis.url = "unix://run"', "redis.url",
     'expected an absolute path in the URL: "unix:///run/redis.sock", got a string'),
    ('environment = { A = true }', "environment.A",
     "expected a string or a whole number; quotes make a string of anything, got true or false"),
    ('environment = { A = 1.5 }', "environment.A",
     "expected a string or a whole number; quotes make a string of anything, got a number"),
    ('environment = { A-B = "x" }', "environment.A-B",
     ("not a name for a variable: letters, digits "
      'and "_", first a letter or "_"')),
    ('environment = { UNITQ_A = "x" }', "environment.UNITQ_A",
     "names that begin with UNITQ_ are unitq's own"),
    ('environment = { NOTIFY_SOCKET = "x" }', "environment.NOTIFY_SOCKET",
     "systemd sets this variable itself"),
    ('environment = { A = "x\\ny" }', "environment.A",
     ("contains a line break (U+000A); an environment_file may hold it: "
      'NAME="…", in double quotes, with line breaks and tabs as they are')),
    ('environment = { A = "x\\ty" }', "environment.A",
     ("contains the control character U+0009, which no unit file may hold; an environment_file "
      'may hold it: NAME="…", in double quotes, with line breaks and tabs as they are')),
    ('environment = { A = "x\\u001b\\ny" }', "environment.A",
     "contains the control character U+001B, which no unit file may hold"),
    ('environment = { "A\\u001b" = 1 }', 'environment."A\\u001B"',
     "the key contains the control character U+001B, which no unit file may hold"),
    ('rollout.max_unavailable = "101%"', "rollout.max_unavailable",
     ("expected a whole number from "
      '0 to 4096, or a percentage such as "25%", got "101%"')),
    ("rollout.max_unavailable = 4097", "rollout.max_unavailable",
     'expected a whole number from 0 to 4096, or a percentage such as "25%", got 4097'),
    ("rollout.max_failures = 4097", "rollout.max_failures",
     "expected a whole number from 0 to 4096, got 4097"),
    ("rollout.max_unavailable = true", "rollout.max_unavailable",
     ("expected a whole number from "
      '0 to 4096, or a percentage such as "25%", got true')),
    ('rollout.start_timeout = "infinity"', "rollout.start_timeout",
     'expected a finite time span such as "90s" or "1min 30s", longer than zero, got "infinity"'),
    ('rollout.min_healthy = "2min"', "rollout.healthy_deadline",
     "must be longer than min_healthy, but is 2min against 2min"),
    ("rollout = { max_unavailable = 0 }", "rollout.max_unavailable",
     "may be 0 only if max_surge is above 0"),
    ('rollout = { max_unavailable = "0%", max_surge = "0%" }', "rollout.max_unavailable",
     "may be 0 only if max_surge is above 0"),
    ("rollout = { max_unavailable = 0, max_surg = 1 }", "rollout.max_surg",
     'unknown key, did you mean "max_surge"?'),
    ("rollout = { max_unavailable = 0, max_surge = -1 }", "rollout.max_surge",
     'expected a whole number from 0 to 4096, or a percentage such as "25%", got -1'),
    ('rollout.canary = "half"', "rollout.canary",
     'expected a whole number from 0 to 4096, or a percentage such as "25%", got "half"'),
    ('rollout.canary_soak = "infinity"', "rollout.canary_soak",
     'expected a finite time span such as "90s" or "1min 30s", got "infinity"'),
    ("rollout.healthy_deadline = 0", "rollout.healthy_deadline",
     'expected a finite time span such as "90s" or "1min 30s", longer than zero, got 0'),
    ('rollout.promote = "manuel"', "rollout.promote",
     'expected "auto" or "manual", got "manuel", did you mean "manual"?'),
    ("rollout.max_failures = -1", "rollout.max_failures",
     "expected a whole number from 0 to 4096, got -1"),
    ('rollout.max_failures = "10%"', "rollout.max_failures",
     'expected a whole number from 0 to 4096, got "10%"'),
    ("rollout.on_failure = true", "rollout.on_failure",
     'expected "rollback" or "pause", got true'),
    ('rollout.on_drain_timeout = "forever"', "rollout.on_drain_timeout",
     'expected "kill" or "wait", got "forever"'),
    ("history = 0", "history", "expected a whole number from 1 to 1000, got 0"),
    ("history = 1001", "history", "expected a whole number from 1 to 1000, got 1001"),
    ('after = "a.service"', "after",
     'expected a list of units such as ["postgresql.service"], got "a.service"'),
    ('after = ["a"]', "after[0]",
     'expected the name of a unit such as "postgresql.service", got "a"'),
    ('after = ["a b.service"]', "after[0]",
     'expected the name of a unit such as "postgresql.service", got "a b.service"'),
    ('after = ["%n.service"]', "after[0]",
     'expected the name of a unit such as "postgresql.service", got "%n.service"'),
    (r'after = ["a.service\nExecStop=x.service"]', "after[0]", "contains a line break (U+000A)"),
    ("max_surge = 1", "max_surge", "unknown key here, it belongs in [rollout]"),
    ('after_deploy = ["a"]', "after_deploy", "unknown key here, it belongs in [hooks]"),
    # Hooks. An argument may be a token: none is repeated.
    ('hooks = ["a"]', "hooks", "expected a table, got a list"),
    ('hooks.after_deplyo = ["a"]', "hooks.after_deplyo",
     'unknown key, did you mean "after_deploy"?'),
    ('hooks.before_deploy = "bin/hook secret"', "hooks.before_deploy",
     'expected a list of strings such as ["bin/hook", "shop"], got a string'),
    ("hooks.before_deploy = []", "hooks.before_deploy",
     'expected a list of strings such as ["bin/hook", "shop"], got a list'),
    ('hooks.before_deploy = ["", "a"]', "hooks.before_deploy[0]",
     "expected the program to run, got a string"),
    ('hooks.before_deploy = ["a", 5]', "hooks.before_deploy[1]", "expected a string, got a number"),
    ('hooks.before_deploy = ["a\\nb"]', "hooks.before_deploy[0]", "contains a line break (U+000A)"),
    ("hooks.before_deploy = {}", "hooks.before_deploy.command",
     'missing, for example command = ["bin/hook", "shop"]'),
    ('hooks.before_deploy = { comand = ["a"] }', "hooks.before_deploy.comand",
     'unknown key, did you mean "command"?'),
    ('hooks.before_deploy = { command = ["a"], shell = true }', "hooks.before_deploy.shell",
     "unknown key; the keys here are command, timeout and user"),
    ('hooks.before_deploy = { command = [["a"]] }', "hooks.before_deploy.command[0]",
     "expected a string, got a list"),
    ('hooks.before_deploy = { command = "a" }', "hooks.before_deploy.command",
     'expected a list of strings such as ["bin/hook", "shop"], got a string'),
    ('hooks.before_deploy = { command = ["a"], timeout = "infinity" }',
     "hooks.before_deploy.timeout",
     'expected a finite time span such as "90s" or "1min 30s", longer than zero, got "infinity"'),
    ('hooks.before_deploy = { command = ["a"], user = "a b" }', "hooks.before_deploy.user",
     'expected a name such as "www-data" or a number in quotes such as "1000", got "a b"'),
]  # fmt: skip

WORKER_MISTAKES = [
    ("supervisor_name = 'a b'", "supervisor_name",
     'expected a name or GROUP:NAME such as "sms:sms_00", got "a b"'),
    ("supervisor_name = 'a:b:c'", "supervisor_name",
     'expected a name or GROUP:NAME such as "sms:sms_00", got "a:b:c"'),
    ("supervisor_name = ''", "supervisor_name",
     'expected a name or GROUP:NAME such as "sms:sms_00", got ""'),
    ("supervisor_name = 1", "supervisor_name",
     'expected a name or GROUP:NAME such as "sms:sms_00", got 1'),
    ("queues = 'sms'", "queues", 'expected a list of names such as ["sms", "default"], got "sms"'),
    ("queues = ['a', 'a']", "queues[1]", "stands in the list twice"),
    ("queues = ['a,b']", "queues[0]", "a comma stands between queues; write them as a list"),
    ("queues = [['a']]", "queues[0]", 'expected the name of a queue such as "default", got a list'),
    ("instances = 0", "instances", "expected a whole number from 1 to 4096, got 0"),
    ("instances = -1", "instances", "expected a whole number from 1 to 4096, got -1"),
    ("instances = 4_097", "instances", "expected a whole number from 1 to 4096, got 4097"),
    ("instances = 4097", "instances", "expected a whole number from 1 to 4096, got 4097"),
    ("instances = '4'", "instances", 'expected a whole number from 1 to 4096, got "4"'),
    ("instances = 4.0", "instances", "expected a whole number from 1 to 4096, got 4.0"),
    ("instances = true", "instances", "expected a whole number from 1 to 4096, got true"),
    ("instances = nan", "instances", "expected a whole number from 1 to 4096, got nan"),
    ("instances = 1979-05-27", "instances",
     "expected a whole number from 1 to 4096, got a date or time"),
    ("instances = 99999999999999999999", "instances", "a whole number has at most 64 bits"),
    ("instences = 4", "instences", 'unknown key, did you mean "instances"?'),
    ("numprocs = 4", "numprocs", 'unknown key, did you mean "instances"?'),
    ("stop-timeout = 4", "stop-timeout", 'unknown key, did you mean "stop_timeout"?'),
    ("max_unavailable = 4", "max_unavailable", "unknown key here, it belongs in [rollout]"),
    ("code_version = 'git'", "code_version",
     "unknown key here, it belongs at the top level, before the first [table]"),
    ("rollout.min_healthy = 1", "rollout", "unknown key here, it belongs at the top level"),
    ("MemoryMax = '1G'", "MemoryMax",
     "unknown key; systemd directives belong in [workers.sms.service]"),
    ("TimeoutStopSec = 5", "TimeoutStopSec", "unknown key; use stop_timeout"),
    ("stop_timeout = 0", "stop_timeout",
     'expected a time span such as "90s", "10min" or "infinity", longer than zero, got 0'),
    ("stop_timeout = 1.5", "stop_timeout",
     'expected a time span such as "90s", "10min" or "infinity", longer than zero, got 1.5'),
    ("stop_timeout = -5", "stop_timeout",
     'expected a time span such as "90s", "10min" or "infinity", longer than zero, got -5'),
    ("stop_signal = 'SIGKILL'", "stop_signal",
     ("SIGKILL cannot be caught, so the in-flight job would be lost; it is sent anyway to what is "
     "left after stop_timeout")),
    ("stop_signal = 'STOP'", "stop_signal", "SIGSTOP freezes a worker and does not stop it"),
    ("stop_signal = 'SIGTREM'", "stop_signal",
     'expected a signal such as "SIGTERM", got "SIGTREM", did you mean "SIGTERM"?'),
    ("stop_signal = 3", "stop_signal", 'expected a signal such as "SIGTERM", got 3'),
    ("kill_mode = 'process'", "kill_mode",
     ('"process" leaves processes behind that still run the '
      'old code; use "control-group" or "mixed"')),
    ("kill_mode = 'mxed'", "kill_mode",
     'expected "control-group" or "mixed", got "mxed", did you mean "mixed"?'),
    ("restart_delay = 'infinity'", "restart_delay",
     'expected a finite time span such as "90s" or "1min 30s", got "infinity"'),
    ("start_limit = '0/1min'", "start_limit",
     'expected "none", or starts per time span such as "5/1min", got "0/1min"'),
    ("start_limit = 5", "start_limit",
     'expected "none", or starts per time span such as "5/1min", got 5'),
    ("nice = 20", "nice", "expected a whole number from -20 to 19, got 20"),
    ("umask = 22", "umask", 'expected an octal number in quotes such as "0022", got 22'),
    ("umask = '0088'", "umask", 'expected an octal number in quotes such as "0022", got "0088"'),
    ("directory = 'a'", "directory",
     'expected an absolute path such as "/srv/shop/current", got "a"'),
    ("directory = '/a/../b'", "directory", 'expected a path without "..", got "/a/../b"'),
    ("directory = '/" + "a" * 4095 + "'", "directory", "a path has at most 4095 bytes"),
    ("directory = '/" + "é" * 2048 + "'", "directory", "a path has at most 4095 bytes"),
    ("limits.NOFILE = 5", "limits.NOFILE",
     ('expected the name of a limit such as "LimitNOFILE", got "NOFILE", did you mean '
      '"LimitNOFILE"?')),
    ("limits.LimitNOFILE = '2G'", "limits.LimitNOFILE",
     ("expected a whole number such as 65536, "
      '"infinity", or two of them as "soft:hard", got "2G"')),
    ("limits.LimitAS = '2G:1G'", "limits.LimitAS",
     'the soft limit is above the hard one in "2G:1G"'),
    ("limits.LimitAS = '1:2:3'", "limits.LimitAS",
     ('expected a size such as "2G", "infinity", or '
      'two of them as "soft:hard", got "1:2:3"')),
    ("limits = 5", "limits", "expected a table such as { LimitNOFILE = 65536 }, got 5"),
    ("service.Type = 'forking'", "service.Type",
     ('Type "forking" takes the starter\'s exit for the '
      "worker's start; run the worker in the foreground")),
    ("service.Type = 'notfy'", "service.Type",
     ('expected "simple", "exec", "notify", '
      '"notify-reload" or "idle", got "notfy", did you mean "notify"?')),
    ("service.KillMode = 'process'", "service.KillMode",
     "unitq writes this directive itself: use kill_mode"),
    ("service.limitnofile = 5", "service.limitnofile",
     "unitq writes this directive itself: use limits"),
    ("service.Environment = 'A=secret'", "service.Environment",
     ("unitq writes this directive "
      "itself: use environment: every user of this machine can read what stands here")),
    ("unit.StartLimitBurst = 5", "unit.StartLimitBurst",
     "unitq writes this directive itself: use start_limit"),
    ("unit.'A=b' = 5", 'unit."A=b"',
     'expected the name of a directive such as "MemoryMax", got "A=b"'),
    ("service.A = 1.5", "service.A",
     "expected a string, a whole number, true or false, or a list of these, got 1.5"),
    ("service.A = ['a', ['b']]", "service.A[1]",
     "expected a string, a whole number, true or false, or a list of these, got a list"),
    ("service.A = []", "service.A", "expected at least one value in the list, got a list"),
    ("service.A = 'b\\'", "service.A",
     "must not end in a backslash, which joins the unit file's next line to it"),
    ('service.A = "b\\u2028ExecStart=c"', "service.A", "contains a line break (U+2028)"),
    ('service.A = "b\\u007f"', "service.A",
     "contains the control character U+007F, which no unit file may hold"),
    ('service.A = "b\\ufdd0"', "service.A",
     "contains the character U+FDD0, which no unit file may hold"),
    ("service.A = '" + "b" * 70_000 + "'", "service.A", "is longer than 65536 bytes"),
    ("singleton = 1", "singleton", "expected true or false, got 1"),
    ("singleton = true\ninstances = 2", "instances", "must be 1 where singleton is true"),
    ("probe = 'bin/probe'", "probe",
     'expected "registered", or a table such as { command = "bin/probe %i" }, got "bin/probe"'),
    ("probe = 'registered'", "probe",
     "needs [redis] url, and one of the presets whose workers register with their PID"),
    ("on_killed = 'requeue'", "on_killed",
     "needs [redis] url, and one of the presets which keep a job whole"),
    ("on_killed = 'retry'", "on_killed", 'expected "report" or "requeue", got "retry"'),
    ("probe = {}", "probe.command", 'missing, for example command = "bin/probe %i"'),
    ("probe = { comand = 'a' }", "probe.comand", 'unknown key, did you mean "command"?'),
    ("probe = { command = 'a', interval = 5 }", "probe.interval",
     "unknown key; the keys here are command, timeout and successes"),
    ("probe = { command = ['a'] }", "probe.command",
     'expected a command line such as "/usr/bin/php bin/resque", got a list'),
    ("probe = { command = 'a\\' }", "probe.command",
     "must not end in a backslash, which joins the unit file's next line to it"),
    ('probe = { command = "a\\nUser=root" }', "probe.command", "contains a line break (U+000A)"),
    ("probe = { command = 'a', timeout = 0 }", "probe.timeout",
     'expected a finite time span such as "90s" or "1min 30s", longer than zero, got 0'),
    ("probe = { command = 'a', successes = 0 }", "probe.successes",
     "expected a whole number from 1 to 100, got 0"),
    ("successes = 2", "successes", "unknown key here, it belongs in [workers.NAME.probe]"),
    ("recycle = {}", "recycle", 'needs a limit: memory = "256M", or age = "6h", or both'),
    ("recycle = { memory = 256 }", "recycle.memory",
     'expected a size such as "256M" or "1G", got 256'),
    ("recycle = { memory = '256MB' }", "recycle.memory",
     'expected a size such as "256M" or "1G", got "256MB"'),
    ("recycle = { age = '0' }", "recycle.age",
     'expected a finite time span such as "90s" or "1min 30s", longer than zero, got "0"'),
    ("recycle = { age = '6h', jitter = 10 }", "recycle.jitter",
     'expected a percentage such as "10%", got 10'),
    ("recycle = { age = '6h', memery = '1G' }", "recycle.memery",
     'unknown key, did you mean "memory"?'),
    ("memory = '256M'", "memory", "unknown key here, it belongs in [workers.NAME.recycle]"),
    ("timeout = 2", "timeout", 'unknown key, did you mean "stop_timeout"?'),
]  # fmt: skip


@pytest.mark.parametrize(("line", "place", "problem"), MISTAKES)
def test_a_mistake_in_the_apps_keys_is_named(line: str, place: str, problem: str) -> None:
    rest = SMALLEST.replace('app = "shop"', "") if line.startswith("app") else SMALLEST
    assert mistakes(f"{line}\n{rest}") == (f"{place}: {problem}",)


@pytest.mark.parametrize(("line", "place", "problem"), WORKER_MISTAKES)
def test_a_mistake_in_a_worker_is_named(line: str, place: str, problem: str) -> None:
    assert mistakes(worker(line)) == (f"workers.sms.{place}: {problem}",)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ('""', 'expected a command line such as "/usr/bin/php bin/resque", got ""'),
        ('"  "', 'expected a command line such as "/usr/bin/php bin/resque", got "  "'),
        ('["php"]', 'expected a command line such as "/usr/bin/php bin/resque", got a list'),
        ("'php\\'", "must not end in a backslash, which joins the unit file's next line to it"),
        ("'php\\ '", "must not end in a backslash, which joins the unit file's next line to it"),
        ('"""php\nUser=root"""', "contains a line break (U+000A)"),
        ('"php\\u0000"', "contains the control character U+0000, which no unit file may hold"),
        ('"' + "a" * 40_000 + '"', "longer than 32768 bytes; put it into a script"),
    ],
)
def test_a_command_that_systemd_cannot_run_is_refused(command: str, problem: str) -> None:
    text = SMALLEST.replace('"/usr/bin/php bin/resque"', command)
    assert mistakes(text) == (f"workers.sms.command: {problem}",)


@pytest.mark.parametrize("name", ["../x", "a b", "ä", "-x", "", "x" * 64, "x" * 300, "a@b", "a/b"])
def test_an_unsafe_name_is_refused_for_apps_and_workers(name: str) -> None:
    (for_app,) = mistakes(SMALLEST.replace('"shop"', f'"{name}"'))
    (for_worker,) = mistakes(SMALLEST.replace("workers.sms", f'workers."{name}"'))
    assert for_app.startswith('app: expected a name of letters, digits, "-" and "_"')
    assert re.search("expected a name of letters|the key is longer than 255 bytes", for_worker)
    assert len(for_app) < 200
    assert len(for_worker) < 250


def test_two_names_that_are_too_long_together_are_refused() -> None:
    text = SMALLEST.replace("shop", "a" + "-" * 40, 1).replace("sms", "b" + "-" * 40)
    assert mistakes(text) == (
        (
            f"workers.b{'-' * 40}: with the app's name it makes a unit's name of 335 characters, "
            'and systemd allows 255; "-" counts for four'
        ),
    )


def test_only_the_worker_without_a_directory_is_named() -> None:
    text = """
    app = "shop"
    [workers.a]
    command = "x"
    directory = "/a"
    [workers.b]
    command = "x"
    """
    assert mistakes(text) == ("workers.b.directory: missing, here or for the whole app",)


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("directory =", "dirctory =", 'dirctory: unknown key, did you mean "directory"?'),
        ("[workers.sms]", "[worker.sms]", 'worker: unknown key, did you mean "workers"?'),
        ("command =", "cmd =", 'workers.sms.cmd: unknown key, did you mean "command"?'),
    ],
)
def test_a_mistyped_key_is_not_missing_as_well(right: str, wrong: str, problem: str) -> None:
    assert mistakes(SMALLEST.replace(right, wrong)) == (problem,)


def test_a_file_without_workers_needs_one() -> None:
    text = 'app = "shop"\ndirectory = "/a"\nworkers = {}'
    assert mistakes(text) == ("workers: empty; at least one [workers.NAME] is needed",)
    assert mistakes(text.replace("{}", "5")) == ("workers: expected a table, got a number",)
    assert mistakes(text.replace("{}", "{ a = 5 }")) == (
        "workers.a: expected a table, got a number",
    )


def test_of_very_many_mistakes_the_first_hundred_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse.parse("".join(f"k{n} = 1\n" for n in range(20_000)), source="unitq.toml")
    assert (
        caught.value.message == "unitq.toml: more than 100 mistakes, of which these are the first"
    )
    assert len(caught.value.problems) == 100
    assert caught.value.problems[0].startswith("k0: unknown key")


def test_control_characters_in_keys_reach_no_terminal() -> None:
    (problem, *_) = mistakes('"a\\u001b[2J\\u202e" = 1\n' + SMALLEST)
    assert problem == (
        '"a\\u001B[2J\\u202E": the key contains the control character U+001B, which no unit file '
        "may hold"
    )


# Whatever stands in it.

SAFE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp")), max_size=30)
VERBATIM = SAFE.filter(lambda text: bool(text.strip()) and not text.strip(" ").endswith("\\"))
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,10}", fullmatch=True)
VARIABLES = st.dictionaries(
    st.from_regex(r"[A-Z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
        lambda name: name not in values.RESERVED_VARIABLES and not name.startswith("UNITQ_")
    ),
    st.one_of(SAFE, st.integers(-(2**63), 2**63 - 1)),
    max_size=3,
)
PATHS = st.from_regex(r"(/[a-z %$\"'\\]{1,8}){1,3}", fullmatch=True)
USERS = st.one_of(st.sampled_from(["www-data", "a.b@c", "_x$"]), st.integers(0, 65534).map(str))
SPANS = st.one_of(
    st.integers(1, 10**6),
    st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["s", " min", "hours", "ms"])),
)
SIZES = st.one_of(st.integers(0, 10**9), st.sampled_from(["2G", "1.5M", "0:infinity", "1K:2K"]))
SCALARS = st.one_of(VERBATIM, st.booleans(), st.integers(-(2**63), 2**63 - 1))
DIRECTIVES = st.dictionaries(
    st.sampled_from(["MemoryMax", "X-Note", "ProtectHome", "Documentation", "ExecStartPre"]),
    st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=3)),
    max_size=3,
)


def some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


SHARED = {
    "user": USERS,
    "group": USERS,
    "environment": VARIABLES,
    "environment_file": st.one_of(PATHS, st.lists(PATHS, unique=True, max_size=2)),
}
WORKERS = st.fixed_dictionaries(
    {"command": VERBATIM},
    optional={
        **SHARED,
        "directory": PATHS,
        "queues": st.lists(
            SAFE.filter(
                lambda text: bool(text.strip()) and text == text.strip() and "," not in text
            ),
            unique=True,
            max_size=3,
        ),
        "instances": st.integers(1, 4096),
        "stop_timeout": st.one_of(SPANS, st.just("infinity")),
        "stop_signal": st.sampled_from(["SIGTERM", "INT", "SIGRTMIN", "RTMAX-3", "SIGRTMIN+30"]),
        "kill_mode": st.sampled_from(list(map(str, KillMode))),
        "restart_delay": st.one_of(SPANS, st.just(0)),
        "start_limit": st.sampled_from(["none", "5/1min", "3 / 90"]),
        "nice": st.integers(-20, 19),
        "umask": st.from_regex(r"0?[0-7]{3}", fullmatch=True),
        "limits": some(LimitFSIZE=SIZES, LimitNOFILE=st.integers(0, 10**6), LimitCPU=SPANS),
        "unit": DIRECTIVES,
        "service": DIRECTIVES,
        "probe": st.fixed_dictionaries(
            {"command": VERBATIM},
            optional={"timeout": SPANS, "successes": st.integers(1, 100)},
        ),
        "recycle": st.fixed_dictionaries(
            {"age": SPANS},
            optional={
                "memory": st.sampled_from(["1K", "256M", "999999T"]),
                "jitter": st.integers(0, 100).map("{}%".format),
            },
        ),
    },
)
ALONE = WORKERS.map(lambda keys: {**keys, "instances": 1, "singleton": True})
SHARES = st.one_of(st.integers(1, 4096), st.integers(1, 100).map("{}%".format))
ARGUMENTS = st.builds(
    lambda program, rest: [program, *rest], SAFE.filter(bool), st.lists(SAFE, max_size=3)
)
HOOK = st.one_of(
    ARGUMENTS, st.fixed_dictionaries({"command": ARGUMENTS}, optional={"timeout": SPANS})
)
VALID = st.fixed_dictionaries(
    {
        "app": NAMES,
        "directory": PATHS,
        "workers": st.dictionaries(
            NAMES, st.one_of(WORKERS, ALONE), min_size=1, max_size=3
        ),
    },
    optional={
        **SHARED,
        "code_version": st.sampled_from(list(map(str, CodeVersion))),
        "redis": some(url=st.sampled_from(["redis://a:1/0", "rediss://u:p@[::1]", "unix:///a?db=1"])),
        "rollout": st.one_of(
            some(
                max_unavailable=SHARES,
                max_surge=st.one_of(SHARES, st.sampled_from([0, "0%"])),
                min_healthy=st.integers(0, 30),
                start_timeout=st.integers(1, 10**6),
                healthy_deadline=st.integers(31, 10**6),
                canary=st.one_of(SHARES, st.sampled_from([0, "0%"])),
                canary_soak=st.one_of(SPANS, st.just(0)),
                promote=st.sampled_from(list(map(str, Promote))),
                max_failures=st.integers(0, 4096),
                on_failure=st.sampled_from(list(map(str, OnFailure))),
                on_drain_timeout=st.sampled_from(list(map(str, OnDrainTimeout))),
            ),
            st.fixed_dictionaries(
                {"max_unavailable": st.sampled_from([0, "0%"]), "max_surge": SHARES}
            ),
        ),
        "history": st.integers(1, 1000),
        "after": st.lists(st.sampled_from(("a.service", "b@1.service", "srv.mount")), unique=True),
        "hooks": some(before_deploy=HOOK, after_deploy=HOOK, on_failure=HOOK),
    },
)  # fmt: skip


def as_toml(data: dict[str, Any]) -> str:
    text = "".join(f"{key} = {toml(value)}\n" for key, value in data.items())
    assert tomllib.loads(text) == data
    return text


def strings(value: object) -> Iterator[str]:
    """Every string in an app, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from strings(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from strings(getattr(value, field.name))


def safe(text: str) -> bool:
    return not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")
        or 0xFDD0 <= ord(c) <= 0xFDEF
        or ord(c) % 0x10000 >= 0xFFFE
        for c in text
    )


def outcome(text: str) -> App | ConfigError:
    """An app or a ConfigError, and nothing else; either is fit to be used."""
    found: App | ConfigError
    try:
        found = parse.parse(text, source="unitq.toml")
    except ConfigError as error:
        found = error
    if isinstance(found, App):
        assert all(safe(string) for string in strings(found))
    else:
        assert found.problems
        lines = (found.message, found.hint, *found.problems)
        assert all(safe(line) and "pydantic" not in line for line in lines)
    return found


FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            *("1", "-1", "0", "1.5", "nan", "-inf", "true", "1979-05-27", "07:32:00", "[]", "{}"),
            *("1979-05-27T07:32:00Z", "[[1]]", "[{}]", "{a.b = 1}", "'a'", '"\\u0000"', "0xfF"),
            *('"\\nUser=root"', '"\\U0001FFFF"', '"a\\\\"', '"10min"', '"5/1min"', "{ x = nan }"),
            "999999999999999999999",
        ]
    ),
    st.recursive(
        st.one_of(SAFE, st.booleans(), st.integers()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)
        ),
        max_leaves=5,
    ).map(toml),
)
KEYS = st.one_of(
    st.sampled_from(
        [
            *("app", "user", "directory", "environment", "environment_file", "environment.A"),
            *("redis", "redis.url", "rollout", "rollout.min_healthy", "rollout.start_timeout"),
            *(
                "rollout.max_unavailable",
                "workers",
                "workers.a",
                "workers.a.command",
                "code_version",
            ),
            *("workers.a.queues", "workers.a.instances", "workers.a.limits", "workers.a.unit"),
            *("workers.a.limits.LimitNICE", "workers.a.service.Type", "workers.a.unit.A"),
            *("workers.a.stop_timeout", "workers.a.start_limit", "workers.a.nice", '""', "'[key]'"),
            *("workers.'[key]'.command", "workers.a.'[key]'", "workers.''", "workers.a.umask"),
            *("rollout.max_surge", "rollout.healthy_deadline", "rollout.promote", "history"),
            *("hooks", "hooks.on_failure", "hooks.before_deploy.command", "hooks.after_deploy.x"),
            *("workers.a.singleton", "workers.a.probe", "workers.a.probe.command"),
            *("workers.a.recycle", "workers.a.recycle.memory", "workers.a.recycle.'[key]'"),
            *("workers.a.probe.successes", "workers.a.probe.'[key]'", "hooks.'[key]'.'[key]'"),
            *('"\\u0000"', '"\\uFFFE"', "workers.'\u2028'.x", "workers.a.directory"),
        ]
    ),
    SAFE.map(toml),
)


@given(st.one_of(st.text(), st.text("a.[]{}=\"'\\#1,\n ", max_size=40)))
@example("\x00")
@example('a = "\ud800"')
@example("'[key]' = 1")
def test_no_text_at_all_breaks_the_parser(text: str) -> None:
    outcome(text)


@given(st.dictionaries(KEYS, FRAGMENTS, max_size=6))
@settings(max_examples=300)
def test_no_value_at_any_key_breaks_the_parser(lines: dict[str, str]) -> None:
    outcome("".join(f"{key} = {value}\n" for key, value in lines.items()))


@given(VALID, st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_valid_file_gives_an_app_and_satisfies_the_schema(
    data: dict[str, Any], draw: st.DataObject
) -> None:
    app = outcome(as_toml(data))
    assert isinstance(app, App), app.problems
    assert [worker.name for worker in app.workers] == list(data["workers"])
    VALIDATOR.validate(data)
    unknown = draw.draw(NAMES.filter(lambda name: name not in data), label="unknown key")
    if f"{unknown} = " not in starter():
        assert not VALIDATOR.is_valid({**data, unknown: 1})


@given(SAFE.filter(lambda text: len(text) > 5), st.sampled_from(["\n", "\x00", "\u2028"]))
def test_a_secret_is_never_repeated(secret: str, bad: str) -> None:
    marked = f"hunter2{secret}"
    lines = [
        f"environment = {toml(marked)}",
        f"environment = [{toml(marked)}]",
        f"environment = {{ A = {toml(marked + bad)} }}",
        f"environment = {{ A = [{toml(marked)}] }}",
        f"redis = {toml(marked)}",
        f"redis.url = {toml(marked)}",
        f"redis.url = {toml(f'redis://:{marked} @a/b')}",
        f"redis.ulr = {toml(marked)}",
        f"hooks.on_failure = {toml(marked)}",
        f"hooks.on_failure = [[{toml(marked)}]]",
        f"hooks.on_failure.command = {toml(marked)}",
        f"hooks.on_failure.command = [{{ a = {toml(marked)} }}]",
        f"hooks.on_failure.comand = [{toml(marked)}]",
    ]
    for line in lines:
        for text in (f"{line}\n{SMALLEST}", worker(line)):
            error = outcome(text)
            assert isinstance(error, ConfigError)
            assert "hunter2" not in "".join((error.message, error.hint, *error.problems))


# What systemd says.


def test_systemd_accepts_what_is_accepted_here(tmp_path: Path) -> None:
    times = ("0", "10", "1.5s", "10min", "1s:2s", "5:infinity", "infinity")
    counts = (0, 5, "18446744073709551614", "0:0", "infinity", "1:infinity")
    sizes = (*counts, "1.5G", "2B", "1K:1M", "16E:infinity")
    nices = ("+19", "-20", "0", "40", "+5:-5", "0:40")
    accepted = [
        f"{key}={value}"
        for key, (_, example) in directives.LIMITS.items()
        for value in (*times, *sizes, *nices)
        if not refusal(directives.Limits, {key: value})
    ]
    assert len(accepted) > 100
    accepted += [
        f"KillSignal={values.stop_signal(signal)}"
        for signal in (*values.SIGNALS, "RTMIN", "RTMIN+30", "RTMAX", "RTMAX-30")
        if signal not in ("KILL", "STOP")
    ]
    masks = ("000", "0777", "022")
    assert not any(refusal(types.Umask, mask) for mask in masks)
    accepted += [f"UMask={mask}" for mask in masks]
    unit = tmp_path / "a.service"
    unit.write_text("\n".join(["[Service]", "ExecStart=/bin/true", *accepted, ""]))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, encoding="utf-8"
    )
    assert "a.service" not in done.stderr


# What is written from the models.

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_the_schema_is_valid_and_says_what_each_key_means() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema
    tables = [schema, *schema["$defs"].values()]
    for table in tables:
        assert table["additionalProperties"] is False
        for key, described in table["properties"].items():
            assert described["description"], key
            assert "null" not in json.dumps(described), key
            whole = {**described, "$defs": schema["$defs"]}
            assert all(_fits(example, whole) for example in described.get("examples", ())), key
            assert "default" not in described or _fits(described["default"], described), key
    assert VALIDATOR.is_valid(tomllib.loads(EVERYTHING))


def _fits(value: object, described: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(described).is_valid(value)


def test_the_schemas_defaults_are_the_models() -> None:
    worker = json_schema()["$defs"]["WorkerTable"]["properties"]
    assert {key: value["default"] for key, value in worker.items() if "default" in value} == {
        "instances": 1,
        "stop_timeout": "5min",
        "stop_signal": "SIGQUIT",
        "kill_mode": "control-group",
        "restart_delay": "1s",
        "start_limit": "none",
        "singleton": False,
        "on_killed": "report",
    }
    rollout = json_schema()["$defs"]["RolloutTable"]["properties"]
    assert {key: value["default"] for key, value in rollout.items()} == {
        "max_unavailable": 1,
        "max_surge": 0,
        "min_healthy": "10s",
        "start_timeout": "90s",
        "healthy_deadline": "2min",
        "canary": 0,
        "canary_soak": "30s",
        "promote": "auto",
        "max_failures": 0,
        "on_failure": "rollback",
        "on_drain_timeout": "kill",
    }
    probe = json_schema()["$defs"]["ProbeTable"]["properties"]
    assert (probe["timeout"]["default"], probe["successes"]["default"]) == ("5s", 1)


@pytest.mark.parametrize(
    "line",
    [
        *("instances = 0", "instances = '4'", "stop_timeout = '10 minuts'", "stop_timeout = 0"),
        *(
            "stop_signal = 'KILL'",
            "kill_mode = 'none'",
            "nice = 20",
            "umask = '9'",
            "unit.'a b' = 1",
        ),
        *("queues = ['a', 'a']", "limits.NOFILE = 1", "environment.A = true", "directory = 'a'"),
        *("singleton = 1", "probe = 'a'", "probe = {}", "probe = { command = 'a', x = 1 }"),
        *("instence = 1", "service.A = 1.5", "start_limit = '5'", "user = 'a:b'"),
    ],
)
def test_an_editor_sees_the_common_mistakes_too(line: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(worker(line)))


def test_the_reference_on_disk_is_the_one_from_the_models() -> None:
    assert (DOCS / "configuration.md").read_text() == reference()


def test_the_reference_has_every_key() -> None:
    schema = json_schema()
    for table in (schema, *schema["$defs"].values()):
        for key in table["properties"]:
            assert key in ("redis", "rollout", "hooks", "workers") or re.search(
                rf"(?m)^\|(?: `\w+`,)* `{key}`(?:,.*)? \| ", reference()
            )


def test_the_starter_file_is_valid_as_it_is() -> None:
    app = parse.parse(starter(), source="unitq.toml")
    assert (app.name, [worker.name for worker in app.workers]) == ("shop", ["default"])


def test_the_starter_file_is_valid_with_every_comment_taken_off_a_key() -> None:
    text = re.sub(r"^#(?=[\[A-Za-z])", "", starter(), flags=re.MULTILINE)
    app = parse.parse(text, source="unitq.toml", presets=PRESETS)
    data = tomllib.loads(text)
    schema = json_schema()
    assert set(data) == set(schema["properties"])
    assert set(data["rollout"]) == set(schema["$defs"]["RolloutTable"]["properties"])
    assert set(data["hooks"]) == set(schema["$defs"]["HooksTable"]["properties"])
    assert set(data["workers"]["default"]["probe"]) == set(
        schema["$defs"]["ProbeTable"]["properties"]
    )
    assert set(data["workers"]["default"]["recycle"]) == set(
        schema["$defs"]["RecycleTable"]["properties"]
    )
    every = set(schema["$defs"]["RedisTable"]["properties"])
    assert set(data["redis"]) == every - set(REDIS_RARE)
    assert set(REDIS_RARE) < every
    assert set(data["workers"]["default"]) == set(schema["$defs"]["WorkerTable"]["properties"])
    assert VALIDATOR.is_valid(data)
    assert app.workers[0].stop_timeout == Duration("5min", 300)


@given(NAMES, PATHS, st.none() | USERS, NAMES, VERBATIM, st.integers(1, 4096))
def test_the_starter_file_takes_any_valid_answer(
    app: str, directory: str, user: str | None, worker: str, command: str, instances: int
) -> None:
    text = starter(
        app=app,
        directory=directory,
        user=user,
        worker=worker,
        command=command,
        instances=instances,
    )
    found = parse.parse(text, source="unitq.toml")
    assert (found.name, found.workers[0].name, found.workers[0].user) == (app, worker, user)
    assert found.workers[0].command == command.strip(" ")
    assert found.workers[0].instances == instances


def test_the_model_needs_no_pydantic() -> None:
    code = "import sys, unitq.model.app, unitq.model.duration; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("preset", ["celery", "laravel", "none"])
def test_a_worker_that_never_registers_is_not_waited_for(preset: str) -> None:
    text = f"""{SMALLEST}
    preset = "{preset}"
    probe = "registered"
    [redis]
    url = "redis://127.0.0.1"
    """
    with pytest.raises(ConfigError) as caught:
        parse.parse(text, source="unitq.toml", presets=PRESETS)
    (found,) = caught.value.problems
    assert found.startswith("workers.sms.probe: needs one of the presets node-resque, php-resque, ")
    assert found.endswith(", whose workers register with their PID")
    assert preset not in found.removeprefix("workers.sms.probe")
