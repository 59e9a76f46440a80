"""Presets: our files, an operator's own, and what a worker gets of them."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import pytest

from tests.harness.build import HEAD, PRESETS, app, rendered
from unitq.config.apply_preset import below_scripts
from unitq.config.parse import parse
from unitq.errors import ConfigError, UnitqError
from unitq.model.app import App, KillMode, Worker
from unitq.model.finding import WorkerFacts
from unitq.presets import store
from unitq.presets.file import parse as read
from unitq.presets.model import Basis
from unitq.revisions.history import difference
from unitq.revisions.model import Origin, dump, load, successor
from unitq.units.render import Code

GOLDEN = Path(__file__).parent / "golden"
NAMES = (
    "arq", "bullmq", "celery", "dramatiq", "horizon", "huey", "laravel", "node-resque",
    "php-resque", "resque", "rq", "saq", "sidekiq", "symfony-messenger", "taskiq", "none",
)  # fmt: skip
FRAMEWORKS = NAMES[:-1]

MINIMAL = 'title = "X"\n[stop]\nsignal = "SIGTERM"\n'


def worker(lines: str) -> Worker:
    return app(f"[workers.w]\n{lines}").workers[0]


def of(preset: str, command: str, *lines: str) -> Worker:
    return worker("\n".join([f'preset = "{preset}"', f"command = '''{command}'''", *lines]))


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        app(text)
    return caught.value.problems


# Our files.


def test_there_is_one_for_each_framework_and_none_is_the_last() -> None:
    assert tuple(PRESETS) == NAMES


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_preset_says_enough(name: str) -> None:
    preset = PRESETS[name]
    assert preset.about
    assert preset.command
    assert preset.stop.why
    assert preset.stop.timeout_why
    assert preset.redis
    assert preset.stop.signal in dict(preset.signals)
    assert "SIGQUIT" in dict(preset.signals), "what our own default would do"
    assert preset.recognise.command or preset.recognise.script
    assert preset.facts
    assert any(fact.source for fact in preset.facts)
    # What was not run must say so.
    measured = any(fact.basis is Basis.MEASURED for fact in preset.facts)
    assert measured == bool(preset.versions) == (name != "horizon")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_golden(name: str) -> None:
    command = PRESETS[name].command
    found = app(f'[workers.w]\npreset = "{name}"\ncommand = "{command}"\nqueues = ["a", "b"]')
    units = rendered(found)
    texts = {unit.name: unit.text for unit in units.units if unit.name.endswith(".service")}
    environment = dict(units.workers[0].environment)
    texts["environment"] = "".join(f"{key}={environment[key]}\n" for key in environment)
    folder = GOLDEN / name
    if os.environ.get("UNITQ_UPDATE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    assert texts == {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def test_none_is_as_without_a_preset() -> None:
    lines = 'command = "/bin/worker"\nqueues = ["a", "b"]'
    without = app(f"[workers.w]\n{lines}")
    none = app(f'[workers.w]\npreset = "none"\n{lines}')
    assert rendered(without).workers[0].unit == rendered(none).workers[0].unit
    assert rendered(without).workers[0].fingerprint == rendered(none).workers[0].fingerprint
    assert dict(rendered(none).workers[0].environment)["QUEUE"] == "a,b"


# What a worker gets.


def test_a_preset_sets_what_the_file_does_not() -> None:
    found = of("rq", "/venv/bin/rq worker")
    assert (found.stop_signal, found.kill_mode) == ("SIGTERM", KillMode.MIXED)
    assert found.stop_timeout.seconds == 200
    assert found.preset == "rq"


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('stop_signal = "SIGQUIT"', "stop_signal", "SIGQUIT"),
        ('stop_signal = "INT"', "stop_signal", "SIGINT"),
        ('kill_mode = "control-group"', "kill_mode", KillMode.CONTROL_GROUP),
    ],
)
def test_what_is_given_wins_also_where_it_is_our_own_default(
    line: str, field: str, value: object
) -> None:
    assert getattr(of("rq", "/venv/bin/rq worker", line), field) == value


def test_a_given_stop_timeout_wins_also_where_it_is_our_own_default() -> None:
    assert of("rq", "rq worker", 'stop_timeout = "5min"').stop_timeout.seconds == 300


@pytest.mark.parametrize(
    ("preset", "quiet", "resume"),
    [
        ("php-resque", "SIGUSR2", "SIGCONT"),
        ("resque", "SIGUSR2", "SIGCONT"),
        ("laravel", "SIGUSR2", "SIGCONT"),
        ("horizon", "SIGUSR2", "SIGCONT"),
        ("sidekiq", "SIGTSTP", ""),
        ("rq", "", ""),
        ("celery", "", ""),
        ("symfony-messenger", "", ""),
        ("none", "", ""),
    ],
)
def test_quiet_and_resume(preset: str, quiet: str, resume: str) -> None:
    found = of(preset, "/bin/worker")
    assert (found.quiet, found.resume) == (quiet, resume)


@pytest.mark.parametrize(
    ("command", "mode"),
    [
        ("php vendor/bin/resque", KillMode.MIXED),
        ("bash -c 'exec php vendor/bin/resque'", KillMode.MIXED),
        # bash would ignore SIGQUIT, and dash die of it and take the worker along.
        ("bash -c 'php vendor/bin/resque'", KillMode.CONTROL_GROUP),
        ("/bin/sh -c 'cd x && php vendor/bin/resque; true'", KillMode.CONTROL_GROUP),
        ("bash -euo pipefail -c 'php vendor/bin/resque | logger'", KillMode.CONTROL_GROUP),
        ("npm run worker", KillMode.CONTROL_GROUP),
        ("/usr/bin/yarn worker", KillMode.CONTROL_GROUP),
    ],
)
def test_behind_a_shell_every_process_gets_the_signal(command: str, mode: KillMode) -> None:
    found = of("php-resque", command)
    assert found.kill_mode is mode
    assert ("stands before the worker" in found.from_preset.why) == (mode is KillMode.CONTROL_GROUP)


@pytest.mark.parametrize(
    ("preset", "command", "signal", "mode"),
    [
        ("saq", "saq a.b --workers 2", "SIGTERM", KillMode.CONTROL_GROUP),
        ("saq", "saq a.b --workers=12", "SIGTERM", KillMode.CONTROL_GROUP),
        ("saq", "saq a.b --workers 1", "SIGTERM", KillMode.MIXED),
        ("saq", "saq a.b", "SIGTERM", KillMode.MIXED),
        ("huey", "huey_consumer a.b", "SIGINT", KillMode.MIXED),
        ("huey", "huey_consumer a.b -g TERM", "SIGTERM", KillMode.MIXED),
        ("huey", "huey_consumer a.b --graceful-signal=TERM -w 2", "SIGTERM", KillMode.MIXED),
        ("celery", "celery -A a worker -P threads", "SIGTERM", KillMode.MIXED),
    ],
)
def test_some_command_lines_are_cases_of_their_own(
    preset: str, command: str, signal: str, mode: KillMode
) -> None:
    found = of(preset, command)
    assert (found.stop_signal, found.kill_mode) == (signal, mode)


def text(found: App, **files: bytes) -> str:
    code = {"w": Code("/r", "1", tuple(files.values()))}
    return rendered(found, code=code).workers[0].unit.text


def test_the_unit_says_why_the_kill_mode_is_what_it_is() -> None:
    unit = text(app('[workers.w]\npreset = "celery"\ncommand = "celery -A a worker"'))
    assert re.search(r"\n# preset celery: SIGQUIT is Celery's cold shutdown[^\n]*\n# ", unit)
    assert max(len(line) for line in unit.splitlines() if line.startswith("# preset")) <= 100


def test_the_users_own_type_wins_and_stands_there_once() -> None:
    lines = 'preset = "sidekiq"\ncommand = "sidekiq"\nservice = { Type = "exec" }'
    unit = text(app(f"[workers.w]\n{lines}"))
    assert "Type=notify" not in unit
    ready = text(app('[workers.w]\npreset = "sidekiq"\ncommand = "sidekiq"'))
    for line in ("Type=notify", "NotifyAccess=all", "WatchdogSec=10s", "KillSignal=SIGTERM"):
        assert ready.count(f"\n{line}\n") == 1


def environment(lines: str, *files: bytes) -> dict[str, str]:
    found = app(f'[workers.w]\ncommand = "/bin/w"\n{lines}')
    code = {"w": Code("/r", "1", files)}
    return dict(rendered(found, code=code).workers[0].environment)


def test_a_presets_environment_gives_way_to_the_users_own() -> None:
    assert environment('preset = "sidekiq"')["MALLOC_ARENA_MAX"] == "2"
    own = environment('preset = "sidekiq"\nenvironment = { MALLOC_ARENA_MAX = 4 }')
    assert own["MALLOC_ARENA_MAX"] == "4"
    # The file that unitq writes is read after the user's own: it must not say it at all.
    from_file = environment('preset = "sidekiq"', b"A=1\n", b"MALLOC_ARENA_MAX=8\n")
    assert "MALLOC_ARENA_MAX" not in from_file


def test_further_exit_statuses_and_a_simple_type() -> None:
    own = read(
        f'{MINIMAL}success_exit_status = [7, "SIGUSR1"]\n[service]\ntype = "simple"',
        name="own", source="own.toml",
    )  # fmt: skip
    found = parse(
        f'{HEAD}[workers.w]\npreset = "own"\ncommand = "/bin/w"', source="x", presets={"own": own}
    )
    unit = text(found)
    assert "\nSuccessExitStatus=7\nSuccessExitStatus=SIGUSR1\n" in unit
    assert "\nType=simple\n" in unit
    assert "success" not in unit, "the comment is about exec"


# queues = [...]


@pytest.mark.parametrize(
    ("preset", "command", "expected"),
    [
        ("rq", "rq worker -u redis://h", "rq worker -u redis://h sms default"),
        ("celery", "celery -A a worker", "celery -A a worker -Q sms,default"),
        ("sidekiq", "sidekiq -c 5", "sidekiq -c 5 -q sms -q default"),
        ("laravel", "php artisan queue:work", "php artisan queue:work --queue=sms,default"),
        ("symfony-messenger", "php bin/console messenger:consume",
         "php bin/console messenger:consume sms default"),
        ("dramatiq", "dramatiq a.b -p 2", "dramatiq a.b -p 2 -Q sms default"),
        ("php-resque", "php vendor/bin/resque", "php vendor/bin/resque"),
        ("bullmq", "node worker.js", "node worker.js"),
        ("none", "/bin/w", "/bin/w"),
    ],
)  # fmt: skip
def test_queues_reach_the_command_the_frameworks_way(
    preset: str, command: str, expected: str
) -> None:
    lines = f'preset = "{preset}"\ncommand = "{command}"\nqueues = ["sms", "default"]'
    assert f"\nExecStart={expected}\n" in text(app(f"[workers.w]\n{lines}"))


@pytest.mark.parametrize("preset", ["php-resque", "resque", "none"])
def test_the_resque_family_finds_them_in_its_environment(preset: str) -> None:
    assert environment(f'preset = "{preset}"\nqueues = ["a", "b"]')["QUEUE"] == "a,b"


@pytest.mark.parametrize("preset", ["rq", "arq", "bullmq", "huey", "horizon"])
def test_others_have_no_such_variable(preset: str) -> None:
    assert "QUEUE" not in environment(f'preset = "{preset}"\nqueues = ["a", "b"]')


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("a b", '"a b"'),
        ("50%", "50%%"),
        ("$HOME", '"$$HOME"'),
        ("it's", '"it\'s"'),
        ("say \"x\"", '"say \\"x\\""'),
        ("back\\\\slash", '"back\\\\\\\\slash"'),
        ("ü", '"ü"'),
        (";", '";"'),
        ("a;b", '"a;b"'),
    ],
)  # fmt: skip
def test_queues_are_escaped_for_systemd(queue: str, expected: str) -> None:
    lines = f"preset = \"rq\"\ncommand = \"rq worker\"\nqueues = ['''{queue}''']"
    unit = text(app(f"[workers.w]\n{lines}"))
    assert f"\nExecStart=rq worker {expected}\n".replace("\\\\\\\\", "\\\\\\\\") in unit


def test_behind_a_colon_systemd_replaces_no_variable_and_needs_no_second_dollar() -> None:
    lines = 'preset = "rq"\ncommand = ":/bin/rq worker"\nqueues = [\'$x\']'
    assert '\nExecStart=:/bin/rq worker "$x"\n' in text(app(f"[workers.w]\n{lines}"))


@pytest.mark.parametrize(
    ("preset", "command"),
    [
        ("rq", "rq worker high"),
        ("rq", "rq worker -u redis://h high"),
        ("rq", "rq worker --burst high"),
        ("rq", "/venv/bin/rq worker-pool -n 3 high"),
        ("celery", "celery -A a worker -Q x"),
        ("celery", "celery -A a worker --queues=x"),
        ("sidekiq", "sidekiq -q x"),
        ("sidekiq", "sidekiq -qx"),
        ("laravel", "php artisan queue:work --queue=x"),
        ("symfony-messenger", "php bin/console messenger:consume async"),
        ("symfony-messenger", "console messenger:consume --time-limit 3 -vv async"),
        ("dramatiq", "dramatiq a -Q x"),
        ("php-resque", "bash -c 'QUEUE=x php vendor/bin/resque'"),
        ("resque", "bash -c 'QUEUES=x rake resque:work'"),
    ],
)
def test_queues_that_are_in_the_command_already_clash(preset: str, command: str) -> None:
    lines = f'preset = "{preset}"\ncommand = "{command}"\nqueues = ["a"]'
    (problem,) = mistakes(f"[workers.w]\n{lines}")
    assert problem.startswith("workers.w.queues: the command names queues already (")
    assert not worker(f'preset = "{preset}"\ncommand = "{command}"').from_preset.arguments


@pytest.mark.parametrize(
    ("preset", "command", "queues"),
    [
        ("dramatiq", "dramatiq a -Q x", ("x",)),
        ("dramatiq", "dramatiq a -Q x y -p 2", ("x", "y")),
        ("dramatiq", "/bin/sh -c 'exec dramatiq a --queues x y'", ("x", "y")),
        ("dramatiq", "/bin/sh -c 'dramatiq a -Q x; exit $$?'", ("x",)),
        ("dramatiq", "dramatiq a -p 2", ()),
        ("laravel", "php artisan queue:work redis --queue=high,low --tries=3", ("high", "low")),
        ("celery", "celery -A a worker -Q x,y -c 4", ("x", "y")),
        # They say themselves what they take.
        ("sidekiq", "sidekiq -q x", ()),
    ],
)
def test_queues_are_read_out_of_the_command(
    preset: str, command: str, queues: tuple[str, ...]
) -> None:
    assert worker(f'preset = "{preset}"\ncommand = "{command}"').queues == queues


@pytest.mark.parametrize(
    ("preset", "command"),
    [
        ("rq", "rq worker -u redis://h"),
        ("rq", "rq worker --burst -v"),
        ("rq", "rq worker --name x-%i -w rq.SimpleWorker --with-scheduler"),
        ("symfony-messenger", "console messenger:consume --time-limit=3 -vv"),
        ("symfony-messenger", "console messenger:consume --limit 5 --bus a"),
        ("celery", "celery -A a worker -c 4"),
        ("laravel", "php artisan queue:work redis --sleep=3"),
    ],
)
def test_options_are_no_queues(preset: str, command: str) -> None:
    found = worker(f'preset = "{preset}"\ncommand = "{command}"\nqueues = ["a"]')
    assert found.from_preset.arguments


def test_queues_in_the_environment_clash_as_well() -> None:
    head = f'{HEAD}environment = {{ QUEUE = "x" }}\n'
    lines = '[workers.w]\npreset = "resque"\ncommand = "rake resque:work"\nqueues = ["a"]'
    with pytest.raises(ConfigError) as caught:
        app(lines, head)
    assert "QUEUE in environment names queues already" in caught.value.problems[0]
    assert "QUEUE in environment" in mistakes(f'{lines}\nenvironment = {{ QUEUE = "y" }}')[0]


@pytest.mark.parametrize(
    "command",
    [
        "bash -c 'rq worker'",
        "sh -c 'exec rq worker'",
        "sh -c 'rq worker -u redis://h | tee -a rq.log'",
        "sh -c 'rq worker 2>&1'",
        "sh -c 'rq worker >rq.log'",
        "sh -c 'rq worker && exit'",
        "npm start",
    ],
)
def test_arguments_are_not_put_behind_a_shells(command: str) -> None:
    (problem,) = mistakes(f'[workers.w]\npreset = "rq"\ncommand = "{command}"\nqueues = ["a"]')
    assert "cannot be put behind a shell's" in problem


def test_a_queue_is_never_taken_for_an_option() -> None:
    lines = '[workers.w]\npreset = "rq"\ncommand = "rq worker"\nqueues = ["a", "--burst"]'
    assert "workers.w.queues[1]: begins with" in mistakes(lines)[0]


# unitq.toml


def test_an_unknown_preset_is_told_with_all_others_and_the_nearest_name() -> None:
    (problem, other) = mistakes('[workers.w]\npreset = "sidekik"\ncommand = "x"\ninstances = 0')
    assert problem.startswith('workers.w.preset: no such preset (did you mean "sidekiq"?); there')
    assert all(name in problem for name in NAMES)
    assert other.startswith("workers.w.instances")


@pytest.mark.parametrize("value", ["5", '""', '"a b"', '"../x"', "[]", "true"])
def test_what_is_no_name_of_a_preset(value: str) -> None:
    (problem,) = mistakes(f'[workers.w]\npreset = {value}\ncommand = "x"')
    assert problem.startswith('workers.w.preset: expected the name of a preset such as "php-')


# Revisions.

ORIGIN = Origin(1.0, "ann", "/x")


def test_a_revision_knows_what_later_commands_need_of_a_preset() -> None:
    found = app('[workers.w]\npreset = "resque"\ncommand = "x"\nqueues = ["a", "b"]')
    made = successor(None, rendered(found), found.rollout, ORIGIN)
    again = load(dump(made), "revision.json")
    assert again == made
    (kept,) = again.workers
    assert (kept.preset, kept.queues, kept.quiet, kept.resume) == (
        "resque", ("a", "b"), "SIGUSR2", "SIGCONT",
    )  # fmt: skip


def test_a_revision_of_before_there_were_presets_loads() -> None:
    found = app('[workers.w]\ncommand = "x"')
    made = successor(None, rendered(found), found.rollout, ORIGIN)
    old = re.sub(r'(?s),\s*"preset": null,\s*"queues": \[\],\s*"quiet": "",\s*"resume": ""', "",
                 dump(made))  # fmt: skip
    assert "preset" not in old
    assert load(old, "revision.json") == made
    # And a deploy of the same changes nothing.
    assert successor(load(old, "x"), rendered(found), found.rollout, ORIGIN) == made


def test_another_preset_that_sets_the_same_is_a_revision_that_restarts_nothing() -> None:
    lines = 'command = "x"\nstop_signal = "SIGTERM"\nkill_mode = "control-group"\n'
    lines = f'[workers.w]\n{lines}stop_timeout = "1min"\n'
    first = successor(None, rendered(app(lines)), app(lines).rollout, ORIGIN)
    with_preset = app(f'{lines}preset = "bullmq"')
    second = successor(first, rendered(with_preset), with_preset.rollout, ORIGIN)
    assert second.number == 2
    assert second.hash != first.hash
    assert second.workers[0].revision == first.id
    # And what has changed is said.
    (change,) = difference(first, second, units=({}, {}), environments=({}, {})).workers
    assert not change.replaced
    assert [tuple(setting) for setting in change.settings] == [("preset", None, "bullmq")]


# An operator's own.


def own(folder: Path, **files: str) -> store.Presets:
    (folder / "presets").mkdir()
    for name, content in files.items():
        (folder / "presets" / f"{name}.toml").write_text(content)
    return store.load(PurePosixPath(folder))


def test_an_operators_own_comes_first_and_wins(tmp_path: Path) -> None:
    found = own(tmp_path, acme=MINIMAL, rq=MINIMAL)
    assert list(found)[:2] == ["acme", "rq"]
    assert list(found)[-1] == "none"
    assert set(found) == {*NAMES, "acme"}
    assert store.own(PurePosixPath(tmp_path)) == {"acme", "rq"}
    assert store.load(PurePosixPath(tmp_path))["rq"].title == "X"


CHECK = f"{MINIMAL}[[checks]]\nsays = 'x'\n"

BAD = {
    'title = "X"': 'stop: missing, for example stop = { signal = "SIGTERM" }',
    '[stop]\nsignal = "SIGTERM"': 'title: missing, for example title = "Our framework"',
    'title = "X"\n[stop]': 'stop.signal: missing, for example signal = "SIGTERM"',
    f"{MINIMAL}kill_mod = 'mixed'": 'stop.kill_mod: unknown key, did you mean "kill_mode"?',
    f"{MINIMAL}kill_mode = 'process'": 'stop.kill_mode: "process" leaves processes behind',
    f"{MINIMAL}timeout = 'long'": "stop.timeout: expected a time span",
    f"{MINIMAL}drains = ['SIGINT']": "stop.drains: must name SIGTERM",
    f"{MINIMAL}drains_all = ['SIGINT']": "stop.drains_all: must name SIGTERM",
    f"{MINIMAL}drains = ['SIGKILL', 'SIGTERM']": "stop.drains[0]: SIGKILL cannot be caught",
    f"{MINIMAL}success_exit_status = [256]": "stop.success_exit_status[0]: expected a whole",
    f"{MINIMAL}why = 'a\\'": "stop.why: must not end in a backslash",
    f'{MINIMAL}why = "a\\nKillMode=none"': "stop.why: contains a line break (U+000A)",
    'title = "X"\n[stop]\nsignal = "SIGTREM"': 'stop.signal: expected a signal such as "SIGTERM", '
    'got "SIGTREM", did you mean "SIGTERM"?',
    'title = "X"\nstop = 5': "stop: expected a table, got a number",
    f"{MINIMAL}[recognise]\ncommand = ['(']": "recognise.command[0]: not a regular expression: ",
    f"{MINIMAL}[recognise]\ncommand = ['(?i)x']": "recognise.command[0]: flags must be those",
    f"{MINIMAL}[recognise]\ncommand = 'x'": "recognise.command: expected a list of regular",
    f"{MINIMAL}[service]\ntype = 'forking'": 'service.type: expected "simple", "exec"',
    f"{MINIMAL}[service]\nwatchdog = 0": "service.watchdog: expected a finite time span",
    f"{MINIMAL}[quiet]\nresume = 'CONT'": "quiet.resume: means nothing without signal",
    f"{MINIMAL}[queues]\nvariable = 'A B'": "queues.variable: expected the name of a variable",
    f"{MINIMAL}[queues]\narguments = ['-Q']": 'queues.arguments: expected "{queues}" somewhere',
    f"{MINIMAL}[queues]\neach = ['-q']": 'queues.each: expected "{queue}" somewhere in it',
    f"{MINIMAL}[environment]\nUNITQ_X = 1": "environment.UNITQ_X: names that begin with UNITQ_",
    f"{MINIMAL}[signals]\nTERM = 'x'": 'signals.TERM: expected a signal such as "SIGTERM", got "T',
    f"{MINIMAL}[[cases]]\ncommand = 'x'": "cases[0].why: missing",
    f"{MINIMAL}[[checks]]\nsays = 'x'": "checks[0].says: of what?",
    f"{CHECK}instances = 2": "checks[0].says: of what?",
    f"{CHECK}options = ['burst']": "checks[0].options[0]: expected an option such as",
    f"{CHECK}options = '-b'": "checks[0].options: expected a list of strings",
    f"{CHECK}lacks = ['-b c']": "checks[0].lacks[0]: expected an option such as",
    f"{CHECK}options = ['-b']\nlevel = 'fatal'": 'checks[0].level: expected "error", "warning"',
    f"{CHECK}options = ['-b']\nlevel = 'error'": "checks[0].name: missing; who knows better",
    f"{CHECK}options = ['-b']\nsure = 'maybe'": 'checks[0].sure: expected "certain", "likely"',
    f"{CHECK}options = ['-b']\nname = 'One Shot'": "checks[0].name: expected small letters",
    f"{CHECK}options = ['-b']\nname = 5": "checks[0].name: expected small letters",
    f"{CHECK}options = ['-b']\ninstances = 0": "checks[0].instances: expected a whole number",
    f"{CHECK}command = 'a'\nvalue = 'b'": "checks[0].value: of what?",
    f"{CHECK}variable = 'A'\ndirective = 'Type'\nvalue = 'b'": "checks[0].value: of which?",
    f"{CHECK}directive = 'a b'": "checks[0].directive: expected the name of a directive",
    f"{CHECK}opions = ['-b']": "checks[0].opions: unknown key",
    f"{MINIMAL}[recognise]\nvalued = ['c']": "recognise.valued[0]: expected an option",
    f"{MINIMAL}[[limits]]\noptions = ['-t']\nfiles = ['a']": "limits[0].line: needs files",
    f"{MINIMAL}[[limits]]\noptions = ['-t']\nline = '(a)'": "limits[0].line: needs files",
    f"{MINIMAL}[[limits]]\nfiles = ['a']\nline = 'a'": "limits[0].line: needs a group",
    f"{MINIMAL}[[limits]]\nfiles = ['/etc/a']\nline = '(a)'": "limits[0].files[0]: expected a pa",
    f"{MINIMAL}[[limits]]\nfiles = ['a/../b']\nline = '(a)'": "limits[0].files[0]: expected a pa",
    f"{MINIMAL}[[limits]]\ndefault = 5\nfile_options = ['-C']": "limits[0].file_options: means",
    f"{MINIMAL}[[limits]]\ncommand = 'x'": "limits[0].command: needs a group",
    f"{MINIMAL}[[limits]]\nunit = 's'": "limits[0].command: missing; command, options",
    f"{MINIMAL}[prints]\nbegun = ['x']": "prints.begun[0]: needs a group (?P<id>",
    f"{MINIMAL}[prints]\nbegun = ['(?P<id>x)']": "prints.ended: missing; without it",
    f"{MINIMAL}[prints]\nneeds = '-v'": "prints.needs: needs given beside it",
    f"{MINIMAL}[[facts]]\nsays = 'x'\nbasis = 'heard'": "facts[0].basis: expected",
    f"{MINIMAL}facts2 = 5": "stop.facts2: unknown key",
    f"facts = 5\n{MINIMAL}": "facts: expected tables such as [[facts]], got a number",
    f"facts = [5]\n{MINIMAL}": "facts[0]: expected a table, got a number",
    f"redis = 5\n{MINIMAL}": "redis: expected a table, got a number",
    "title = X": "line 1, column 9: invalid value",
    "": "title: missing",
}


@pytest.mark.parametrize("content", BAD)
def test_a_bad_file_is_told_and_no_traceback(content: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(content, name="acme", source="acme.toml")
    assert caught.value.message.startswith("acme.toml: ")
    assert any(problem.startswith(BAD[content]) for problem in caught.value.problems), (
        caught.value.problems
    )


def test_all_mistakes_of_a_file_come_at_once_and_in_its_order() -> None:
    text = 'titel = "X"\n[stop]\nsignal = "SIGKILL"\ntimeout = 0\n[queues]\nvariable = ""\n'
    with pytest.raises(ConfigError) as caught:
        read(text, name="acme", source="acme.toml")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "titel", "stop.signal", "stop.timeout", "queues.variable",
    ]  # fmt: skip


def test_what_several_keys_get_wrong_is_told_beside_other_mistakes() -> None:
    text = f"{MINIMAL}drains = ['INT']\ntimeout = 0\n[[limits]]\nmargin = 'x'\nline = '(a)'\n"
    with pytest.raises(ConfigError) as caught:
        read(text, name="acme", source="acme.toml")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "stop.drains", "stop.timeout", "limits[0].margin", "limits[0].line", "limits[0].command",
    ]  # fmt: skip


def test_only_the_presets_that_are_asked_for_are_read(tmp_path: Path) -> None:
    found = own(tmp_path, good=MINIMAL, bad="= 5")
    assert found["good"].title == "X"
    (tmp_path / "presets/bad.toml").write_text(MINIMAL)
    assert found["bad"].title == "X"
    (tmp_path / "presets/good.toml").write_text("= 5")
    assert found["good"].title == "X", "one command sees one text"


def test_a_bad_file_is_in_nobody_elses_way(tmp_path: Path) -> None:
    found = own(tmp_path, one="title = 5", two="= 5", rq="= 5", good=MINIMAL)
    assert set(found.broken) == {"one", "two", "rq"}
    assert set(found) == {*NAMES, "good"} - {"rq"}, "ours is not what the operator meant"
    assert found.get("good")
    assert found.get("nobody's") is None
    for name in found.broken:
        with pytest.raises(ConfigError, match=rf"{name}\.toml"):
            found.get(name)
        # As in a configuration that names it, whatever else is wrong there.
        with pytest.raises(ConfigError, match=rf"{name}\.toml"):
            parse(
                f'{HEAD}[workers.w]\ncommand = "x"\npreset = "{name}"\nnice = "x"\n',
                source="unitq.toml",
                presets=found,
            )
    parse(f'{HEAD}[workers.w]\ncommand = "x"\npreset = "good"\n', source="u.toml", presets=found)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "presets"
    folder.mkdir()

    def broken() -> UnitqError:
        ((_, error),) = store.load(PurePosixPath(tmp_path)).broken.items()
        return error

    (folder / "acme.toml").write_bytes(b'title = "\xff"')
    assert "not UTF-8" in broken().in_short
    (folder / "acme.toml").unlink()
    (folder / "acme.toml").mkdir()
    assert "Is a directory" in broken().in_short
    (folder / "acme.toml").rmdir()
    (folder / "a b.toml").write_text(MINIMAL)
    assert "not a name for a preset" in broken().problems[0]
    (folder / "a b.toml").rename(folder / "readme.txt")
    assert set(store.load(PurePosixPath(tmp_path))) == set(NAMES)


@pytest.mark.parametrize(
    ("command", "watched"),
    [
        ("sidekiq", True),
        ("sh -c 'exec sidekiq'", True),
        # WATCHDOG_PID is the shell's there: Sidekiq would not answer, and be killed at work.
        ("sh -c sidekiq", False),
        ("bash -c 'sidekiq; exit $$?'", False),
    ],
)
def test_no_watchdog_waits_for_a_worker_below_a_shell(command: str, watched: bool) -> None:
    unit = text(app(f'[workers.w]\npreset = "sidekiq"\ncommand = "{command}"'))
    assert ("\nWatchdogSec=" in unit) is watched
    assert "\nType=notify\n" in unit


@pytest.mark.parametrize(
    ("line", "head", "watchdog"),
    [
        ("", "bundle exec sidekiq", ""),
        ("", "exec bundle exec sidekiq", "10s"),
        ("service = { WatchdogSec = '7s' }", "bundle exec sidekiq", "7s"),
    ],
)
def test_nor_for_one_below_a_shells_script(line: str, head: str, watchdog: str) -> None:
    lines = f'preset = "sidekiq"\ncommand = "bin/w"\nkill_mode = "control-group"\n{line}'
    seen = {"w": WorkerFacts({"bin/w": f"#!/bin/sh\n{head}\n"})}
    unit = text(below_scripts(app(f"[workers.w]\n{lines}"), seen))
    found = [each for each in unit.splitlines() if each.startswith("WatchdogSec=")]
    assert found == ([f"WatchdogSec={watchdog}"] if watchdog else [])
    assert "\nType=notify\n" in unit


@pytest.mark.parametrize("name", PRESETS)
def test_every_fact_says_how_it_is_known(name: str) -> None:
    """A file and lines, a document; or of what was measured, the version."""
    assert not [fact.says for fact in PRESETS[name].facts if not fact.source]
