"""What `check` says of a worker against what is known of its framework."""

from __future__ import annotations

import pytest

from tests.harness.build import HEAD, PRESETS, app
from unitq.config.lint import lint_app
from unitq.model.finding import Finding, Level, WorkerFacts


def findings(
    command: str,
    *lines: str,
    head: str = HEAD,
    heads: dict[str, str] | None = None,
    variables: dict[str, str] | None = None,
) -> list[Finding]:
    text = "\n".join(["[workers.w]", f"command = '''{command}'''", *lines])
    seen = {"w": WorkerFacts(heads or {}, variables or {})}
    return lint_app(app(text, head), PRESETS, seen)


def places(*arguments: str) -> list[tuple[str, str]]:
    return [
        (str(found.level), found.place.removeprefix("workers.w.")) for found in findings(*arguments)
    ]


# A framework without its preset.


@pytest.mark.parametrize(
    ("command", "preset"),
    [
        ("/venv/bin/rq worker", "rq"),
        ("php vendor/bin/resque", "php-resque"),
        ("bash -c 'celery -A a worker; true'", "celery"),
        ("bundle exec sidekiq", "sidekiq"),
    ],
)
@pytest.mark.parametrize("lines", [(), ('stop_signal = "SIGTERM"', 'kill_mode = "mixed"')])
def test_a_framework_without_its_preset_is_refused(
    command: str, preset: str, lines: tuple[str, ...]
) -> None:
    found = next(f for f in findings(command, *lines) if f.place == "workers.w.preset")
    assert found.level is Level.ERROR
    assert PRESETS[preset].title in found.message
    assert f'add preset = "{preset}"' in found.hint
    assert 'preset = "none"' in found.hint


@pytest.mark.parametrize("preset", ["none", "rq"])
def test_with_a_preset_it_is_not(preset: str) -> None:
    assert not findings("/venv/bin/rq worker", f'preset = "{preset}"')


def test_none_silences_all_of_it() -> None:
    lines = ('preset = "none"', 'stop_signal = "SIGTERM"', 'kill_mode = "control-group"')
    assert not findings("/venv/bin/rq worker", *lines)


def test_the_script_gives_it_away_as_well() -> None:
    heads = {"w.js": "const { Worker } = require('bullmq'); new Worker('q', f)"}
    (found,) = findings("node w.js", heads=heads)
    assert 'preset = "bullmq"' in found.hint
    assert "w.js says so" in found.message


def test_another_frameworks_preset_is_a_warning() -> None:
    (found,) = findings("celery -A a worker", 'preset = "rq"')
    assert (found.level, found.hint) == (Level.WARNING, 'preset = "celery"')


# Shells and launchers before a worker.


@pytest.mark.parametrize("preset", ["rq", "celery", "dramatiq"])
@pytest.mark.parametrize("lines", [(), ('kill_mode = "control-group"',)])
def test_behind_a_shell_what_loses_jobs_is_refused(preset: str, lines: tuple[str, ...]) -> None:
    program = PRESETS[preset].command.split(" -n ")[0]
    command = f"bash -c 'cd x && {program}'"
    found = findings(command, f'preset = "{preset}"', *lines)
    (error,) = [each for each in found if each.level is Level.ERROR]
    assert error.place == "workers.w.command"
    assert "every process has to get the stop signal" in error.why
    assert f"bash -c 'cd x && exec {program}'" in error.hint
    # What is advised is taken.
    assert not findings(f"bash -c 'cd x && exec {program}'", f'preset = "{preset}"')


@pytest.mark.parametrize("preset", ["rq", "celery", "dramatiq"])
def test_sigint_to_every_process_is_safe_there(preset: str) -> None:
    command = f"bash -c '{PRESETS[preset].command}; true'"
    found = findings(command, f'preset = "{preset}"', 'stop_signal = "SIGINT"')
    assert not [each for each in found if each.level is Level.ERROR]


@pytest.mark.parametrize(
    "preset",
    ["php-resque", "resque", "sidekiq", "huey", "arq", "saq", "taskiq", "laravel", "horizon",
     "symfony-messenger", "bullmq", "node-resque"],
)  # fmt: skip
def test_behind_a_shell_the_others_are_told_how_to_do_without(preset: str) -> None:
    command = PRESETS[preset].command
    (found,) = findings(f"/bin/bash -c '{command}'", f'preset = "{preset}"')
    assert (found.level, found.place) == (Level.NOTE, "workers.w.command")
    assert f"exec {command}" in found.hint


def test_mixed_behind_npm_is_refused() -> None:
    (found,) = findings("npm run worker", 'preset = "bullmq"', 'kill_mode = "mixed"')
    assert (found.level, found.place) == (Level.ERROR, "workers.w.kill_mode")
    assert not [f for f in findings("npm run worker", 'preset = "bullmq"') if f.level == "error"]
    found = findings("npm run worker", 'preset = "rq"')[0]
    assert "npm stands before the worker" in found.message


def test_mixed_for_a_shells_script_is_refused() -> None:
    heads = {"bin/w": "#!/bin/sh\nphp vendor/bin/resque\n"}
    (found,) = findings("bin/w", 'preset = "php-resque"', heads=heads)
    assert found.level is Level.ERROR
    assert found.message.startswith("bin/w is a shell script")
    assert 'kill_mode = "control-group"' in found.hint
    assert places("bin/w", 'preset = "php-resque"', 'kill_mode = "control-group"') == [
        ("note", "kill_mode")
    ]
    # Where it is as it has to be, nobody is told to have it otherwise.
    mode = 'kill_mode = "control-group"'
    assert not findings("bin/w", 'preset = "php-resque"', mode, heads=heads)
    heads = {"bin/w": "#!/bin/sh\nexec php vendor/bin/resque\n"}
    assert not findings("bin/w", 'preset = "php-resque"', heads=heads)
    heads = {"bin/w": "#!/bin/sh\nrq worker\n"}
    (found,) = findings("bin/w", 'preset = "rq"', heads=heads)
    assert "control-group" not in found.hint


# Settings against what is known.


@pytest.mark.parametrize(
    ("preset", "command", "line", "place", "said"),
    [
        ("rq", "rq worker", 'stop_signal = "SIGQUIT"', "stop_signal", "stays in progress"),
        ("celery", "celery -A a worker", 'stop_signal = "SIGQUIT"', "stop_signal", "cold shutdown"),
        ("sidekiq", "sidekiq", 'stop_signal = "SIGUSR2"', "stop_signal", "only Pro and Enterprise"),
        ("huey", "huey_consumer a.b", 'stop_signal = "SIGTERM"', "stop_signal", "is lost"),
        ("huey", "huey_consumer a.b -g TERM", 'stop_signal = "SIGINT"', "stop_signal", "SIGINT"),
        ("php-resque", "php bin/resque", 'stop_signal = "SIGTERM"', "stop_signal", "kills the"),
        ("resque", "rake resque:work", 'stop_signal = "SIGTERM"', "stop_signal", "kills the child"),
        ("symfony-messenger", "bin/console messenger:consume a", 'stop_signal = "SIGQUIT"',
         "stop_signal", "since 7.1"),
        ("laravel", "php artisan queue:work", 'stop_signal = "SIGQUIT"', "stop_signal", "9.24"),
        ("rq", "rq worker", 'kill_mode = "control-group"', "kill_mode", "kills the work horse"),
        ("celery", "celery -A a worker", 'kill_mode = "control-group"', "kill_mode", "tasks are"),
        ("dramatiq", "dramatiq a.b", 'kill_mode = "control-group"', "kill_mode", "twice"),
        ("saq", "saq a.b --workers 2", 'kill_mode = "mixed"', "kill_mode", "does not tell"),
        ("celery", "celery -A a worker", 'stop_signal = "SIGINT"', "stop_signal", "status 1"),
        ("taskiq", "taskiq worker a:b --wait-tasks-timeout 5", "", "command", "cuts tasks off"),
        ("php-resque", "php bin/resque", "environment = { COUNT = 2 }", "environment", "COUNT"),
        ("php-resque", "bash -c 'COUNT=4 exec php bin/resque'", "", "environment", "COUNT"),
    ],
)  # fmt: skip
def test_a_contradiction_is_a_warning_with_its_source(
    preset: str, command: str, line: str, place: str, said: str
) -> None:
    found = findings(command, f'preset = "{preset}"', line)
    matching = [each for each in found if each.place == f"workers.w.{place}"]
    assert [each.level for each in matching] == [Level.WARNING]
    assert said in matching[0].text
    assert matching[0].why.endswith("]"), "no source"
    assert matching[0].hint


@pytest.mark.parametrize(
    ("preset", "command", "lines"),
    [
        ("rq", "rq worker", ('stop_signal = "SIGINT"', 'kill_mode = "mixed"')),
        ("sidekiq", "sidekiq", ('stop_signal = "INT"',)),
        ("php-resque", "php bin/resque", ("environment = { COUNT = 1 }",)),
        ("saq", "saq a.b --workers 2", ()),
        ("saq", "saq a.b --workers 2", ('kill_mode = "control-group"',)),
        ("resque", "rake resque:work", ("environment = { TERM_CHILD = 1 }",)),
        ("taskiq", "taskiq worker a:b", ()),
        (
            "celery",
            "celery -A a worker --loglevel=DEBUG",
            ('stop_signal = "SIGINT"', "service = { SuccessExitStatus = 1 }"),
        ),
    ],
)
def test_what_is_known_to_be_safe_is_not_spoken_of(
    preset: str, command: str, lines: tuple[str, ...]
) -> None:
    assert not findings(command, f'preset = "{preset}"', *lines)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("celery -A a worker", True),
        ("celery -A a worker -l warning", True),
        ("celery -A a worker -l info", False),
        ("celery -A a worker --loglevel INFO -c 2", False),
        ("celery -A a worker -lINFO", False),
        # It may be in there.
        ("./start-worker", False),
    ],
)
def test_that_the_jobs_of_a_killed_worker_will_have_no_names(command: str, said: bool) -> None:
    found = findings(command, 'preset = "celery"')
    assert [each.level for each in found] == [Level.NOTE] * said
    assert not said or "--loglevel=INFO" in found[0].hint


def test_term_child_is_spoken_of_where_it_loses_jobs_only() -> None:
    lines = ('preset = "resque"', "environment = { TERM_CHILD = 1 }")
    found = findings("rake resque:work", *lines, 'kill_mode = "control-group"')
    assert [each.level for each in found] == [Level.NOTE, Level.ERROR]
    # From one of the user's own files, too.
    found = findings(
        "rake resque:work", lines[0], 'kill_mode = "control-group"', variables={"TERM_CHILD": "1"}
    )
    assert [each.level for each in found] == [Level.NOTE, Level.ERROR]


def test_every_process_where_it_is_safe_is_a_note_about_programs_of_jobs() -> None:
    lines = ('preset = "php-resque"', 'kill_mode = "control-group"')
    (found,) = findings("php bin/resque", *lines)
    assert (found.level, found.place) == (Level.NOTE, "workers.w.kill_mode")
    assert "programs that a job has started" in found.message


LIMITS = [
    ("sidekiq", "sidekiq -t 60", "35s", "60 s on its command line"),
    ("sidekiq", "sidekiq --timeout=60", "35s", "60 s on its command line"),
    ("sidekiq", "sidekiq", "29s", "25 s by default"),
    ("laravel", "php artisan queue:work --timeout=600", "90s", "600 s on its command line"),
    ("laravel", "php artisan queue:work", "1min", "60 s by default"),
    (
        "celery",
        "celery -A a worker -l INFO --time-limit=3600",
        "10min",
        "3600 s on its command line",
    ),
    ("dramatiq", "dramatiq a.b --worker-shutdown-timeout 900000", "630s", "900 s on its"),
    ("dramatiq", "dramatiq a.b", "5min", "600 s by default"),
    ("huey", "huey_consumer a.b -t 600", "5min", "600 s on its command line"),
    ("rq", "rq worker", "1min", "180 s by default"),
]


@pytest.mark.parametrize(("preset", "command", "stop_timeout", "said"), LIMITS)
def test_a_stop_timeout_below_the_frameworks_own_limit(
    preset: str, command: str, stop_timeout: str, said: str
) -> None:
    lines = (f'preset = "{preset}"', f'stop_timeout = "{stop_timeout}"')
    found = [each for each in findings(command, *lines) if each.level is Level.WARNING]
    assert [each.place for each in found] == ["workers.w.stop_timeout"]
    assert said in found[0].why
    better = found[0].hint.removesuffix(", or longer")
    assert not findings(command, lines[0], better)
    waiting = f'{HEAD}[rollout]\non_drain_timeout = "wait"\n'
    assert not findings(command, *lines, head=waiting)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_every_example_as_it_stands_has_nothing_against_it(preset: str) -> None:
    assert not findings(PRESETS[preset].command, f'preset = "{preset}"')
