"""Options that contradict being managed: what `check` says of each, and of what looks alike."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.harness.build import PRESETS, app
from unitq.config.lint import lint_app, remove_allowed
from unitq.config.option_lint import option_values, settings_files
from unitq.model.finding import Certainty, Finding, Level, WorkerFacts

E, W, N = Level.ERROR, Level.WARNING, Level.NOTE
TWO = "instances = 2"


class Row(NamedTuple):
    """A worker, and the findings of [[checks]] that it has."""

    preset: str  # "": none is written
    command: str
    lines: tuple[str, ...] = ()
    found: tuple[tuple[str, Level], ...] = ()
    heads: tuple[tuple[str, str], ...] = ()


def row(preset: str, command: str, *lines: str, **found: Level) -> Row:
    return Row(preset, command, lines, tuple((k.replace("_", "-"), v) for k, v in found.items()))


def worker_table(one: Row) -> str:
    preset = [f'preset = "{one.preset}"'] if one.preset else []
    return "\n".join(["[workers.w]", f"command = '''{one.command}'''", *one.lines, *preset])


def findings(one: Row) -> list[Finding]:
    return lint_app(app(worker_table(one)), PRESETS, {"w": WorkerFacts(dict(one.heads))})


NAMES = {check.name for preset in PRESETS.values() for check in preset.checks}


def said(one: Row) -> tuple[tuple[str, Level], ...]:
    return tuple((each.name, each.level) for each in findings(one) if each.name in NAMES)


CELERY = "celery -A shop worker -l INFO"
ROWS = [
    # Celery
    row("celery", f"{CELERY} --detach", detaches=E),
    row("celery", f"{CELERY} -D", detaches=E),
    row("celery", "celery -A shop worker -EDl INFO", detaches=E),
    row("celery", f"/bin/bash -c 'cd /srv && exec {CELERY} --detach'", detaches=E),
    row("celery", f"env A=b nice -n 5 venv/bin/python -m {CELERY} -D", detaches=E),
    row("celery", "celery -ADjango worker -lINFO"),
    row("celery", "celery -A shop worker -l INFO -Q D,B"),
    row("celery", "celery -A shop worker -n -D -l INFO"),
    row("celery", f"{CELERY} -B -n w-%i@%%h", TWO, second_scheduler=E),
    row("celery", f"{CELERY} --beat -n w-%i@%%h", TWO, second_scheduler=E),
    row("celery", f"{CELERY} -EB -n w-%i@%%h", TWO, second_scheduler=E),
    row("celery", f"{CELERY} -B"),
    row("celery", f"{CELERY} -b redis://B -n w-%i@%%h", TWO),
    row("celery", f"{CELERY} --purge", purges=E),
    row("celery", f"{CELERY} --discard", purges=E),
    row("celery", f"{CELERY} -Q purge"),
    row("celery", f"{CELERY} --pidfile=/run/c.pid -n w-%i@%%h", TWO, shared_pidfile=E),
    row("celery", f"{CELERY} --pidfile /run/c-%%h.pid -n w-%i@%%h", TWO, shared_pidfile=E),
    row("celery", f"{CELERY} --pidfile=/run/c.pid"),
    row("celery", f"{CELERY} --pidfile=/run/c-%i.pid -n w-%i@%%h", TWO),
    row("celery", f"{CELERY} --pidfile=/run/%%n.pid -n w-%i@%%h", TWO),
    row("celery", f"{CELERY} --pidfile=/run/%p-%j.pid -n w-%i@%%h", TWO, shared_pidfile=E),
    row("celery", f"{CELERY} --pidfile=/run/c-${{UNITQ_INSTANCE}}.pid -n w-%i@%%h", TWO),
    row("celery", f"bash -c 'exec {CELERY} --pidfile=/run/c-$N.pid -n w-%i@%%h'", TWO),
    row("celery", f"{CELERY} --statedb=/var/c.db -n w-%i@%%h", TWO, shared_statedb=W),
    row("celery", f"{CELERY} -S /var/c.db -n w-%i@%%h", TWO, shared_statedb=W),
    row("celery", f"{CELERY} -S /var/%i.db -n w-%i@%%h", TWO),
    row("celery", f"{CELERY} -n w@%h", node_name=W),
    row("celery", f"{CELERY} -nw@%h", node_name=W),
    row("celery", f"{CELERY} --hostname=w-%i@%h", TWO, node_name=W),
    row("celery", f"{CELERY} --hostname w@%%h", TWO, node_name=W),
    row("celery", f"{CELERY} -n w-%%i@%%h", TWO, node_name=W),
    row("celery", CELERY, TWO, node_name=N),
    row("celery", f"{CELERY} -n w@%%h"),
    row("celery", f"{CELERY} -n %p-%i@%%h", TWO),
    row("celery", f"{CELERY} -n w-${{UNITQ_INSTANCE}}@%%h", TWO),
    row("celery", f"{CELERY} -f /var/log/c.log", log_file=N),
    row("celery", f"{CELERY} --logfile=/var/log/c.log", log_file=N),
    row("celery", CELERY),
    row("celery", CELERY, 'stop_signal = "SIGINT"', exit_status=W),
    row("celery", CELERY, 'stop_signal = "SIGINT"', "service = { SuccessExitStatus = 1 }"),
    row("celery", CELERY, 'environment = { REMAP_SIGTERM = "SIGQUIT" }', remapped_signal=E),
    row("celery", f"bash -c 'REMAP_SIGTERM=QUIT exec {CELERY}'", remapped_signal=E),
    row("celery", CELERY, 'environment = { REMAP_SIGTERM = "SIGTERM" }'),
    # In a shell's script systemd expands nothing: there `%h` is Celery's.
    row("celery", "bin/w")._replace(
        heads=(("bin/w", f"#!/bin/sh\nexec {CELERY} -n w@%h --detach\n"),),
        found=(("detaches", E),),
    ),
    row("celery", "bin/w", TWO)._replace(
        heads=(("bin/w", f"#!/bin/sh\nexec {CELERY} -n w-%i@%h\n"),), found=(("node-name", W),)
    ),
    # What only hands its options on may be meant otherwise.
    row("celery", "bin/celery-worker --detach", detaches=W),
    row("celery", "bin/celery-worker -D"),
    # RQ
    row("rq", "rq worker --burst a", one_shot=E),
    row("rq", "venv/bin/rq worker -b a", one_shot=E),
    row("rq", "rq worker -vb a", one_shot=E),
    row("rq", "rq worker-pool -b a -n 3", one_shot=E),
    row("rq", "python manage.py rqworker --burst", one_shot=E),
    row("rq", "timeout 1h uv run rq worker --burst", one_shot=E),
    row("rq", "rq worker burst"),
    row("rq", "rq worker --name-prefix=b --results-ttl 5 -u redis://b a"),
    row("rq", "rq worker --burst-size=5"),
    row("rq", "rq worker -n shop a", TWO, worker_name=E),
    row("rq", "rq worker --name=shop a", TWO, worker_name=E),
    row("rq", "rq worker --name=shop a", worker_name=W),
    row("rq", "rq worker -n shop-%i a", TWO, worker_name=W),
    row("rq", "rq worker -nshop-%i a", TWO, worker_name=W),
    row("rq", "rq worker --name shop-%%i a", TWO, worker_name=E),
    row("rq", "rq worker-pool -n 4 a", TWO),
    row("rq", "rq worker --with-scheduler", TWO),
    row("rq", "rq worker a b", several_queues=W),
    row("rq", "rq worker -u redis://x --name=y-%i -s a b", several_queues=W, worker_name=W),
    row("rq", "rq worker-pool a b -n 2", several_queues=W),
    row("rq", "venv/bin/rq worker", 'queues = ["a", "b"]', several_queues=W),
    row("rq", "rq worker", 'queues = ["a"]'),
    row("rq", "rq worker", 'queues = ["a b"]'),
    row("rq", "rq worker a -u redis://b"),
    row("rq", "rq worker --pid /run/rq.pid", TWO, shared_pidfile=N),
    row("rq", "rq worker --pid=/run/rq-%i.pid", TWO),
    # Laravel
    row("laravel", "php artisan queue:work --once", one_shot=E),
    row("laravel", "php artisan queue:work redis --stop-when-empty", one_shot=E),
    row("laravel", "/bin/sh -c 'php -d memory_limit=1G artisan queue:work --once'", one_shot=E),
    row("laravel", "php artisan queue:work --queue=once --name once"),
    row("laravel", "php artisan queue:listen", listens=E),
    row("laravel", "php artisan queue:work --queue=queue:listen"),
    row("laravel", "php artisan queue:work --max-jobs=5", 'service = { Restart = "on-failure" }',
        never_back=E),
    row("laravel", "php artisan queue:work --max-time 5", 'service = { Restart = "no" }',
        never_back=E),
    row("laravel", "php artisan queue:work --max-jobs=5"),
    row("laravel", "php artisan queue:work --max-jobs=5", 'service = { Restart = "always" }'),
    row("laravel", "php artisan queue:work", 'stop_signal = "SIGQUIT"', old_version=W),
    row("laravel", "php artisan queue:work", "environment = { STOP = 'SIGQUIT' }"),
    # Horizon
    row("horizon", "php artisan horizon", TWO, second_master=W),
    row("horizon", "php artisan horizon"),
    # Symfony Messenger
    row("symfony-messenger", "bin/console messenger:consume a -l 50",
        'service = { Restart = "on-failure" }', never_back=E),
    row("symfony-messenger", "bin/console messenger:consume a --time-limit=50"),
    row("symfony-messenger", "bin/console messenger:consume a --limit=1", one_message=N),
    row("symfony-messenger", "bin/console messenger:consume a --limit=10"),
    # Sidekiq
    row("sidekiq", "bundle exec sidekiq -d", detaches=E),
    row("sidekiq", "sidekiq -vd", detaches=E),
    row("sidekiq", "sidekiq -q d -e daemon -cd"),
    row("sidekiq", "sidekiq -P tmp/s.pid", removed_option=W),
    row("sidekiq", "sidekiq --logfile log/s.log", removed_option=W),
    row("sidekiq", "sidekiq -q P -e L"),
    # Resque
    row("resque", "rake resque:work BACKGROUND=yes", detaches=E),
    row("resque", "rake resque:work", "environment = { BACKGROUND = 1 }", detaches=E),
    row("resque", "rake resque:work", "environment = { MY_BACKGROUND = 1 }"),
    row("resque", "rake resque:work", "environment = { INTERVAL = 0 }", one_shot=E),
    row("resque", "rake resque:work INTERVAL=0.0", one_shot=E),
    row("resque", "rake resque:work INTERVAL=0.1"),
    row("resque", "bundle exec rake environment resque:workers COUNT=4", many_in_one=E),
    row("resque", "rake resque:work"),
    row("resque", "rake resque:work PIDFILE=/run/r.pid", TWO, shared_pidfile=N),
    row("resque", "rake resque:work PIDFILE=/run/r.pid"),
    row("resque", "rake resque:work", "environment = { TERM_CHILD = 1 }",
        'kill_mode = "control-group"', term_child=E),
    row("resque", "rake resque:work", "environment = { TERM_CHILD = 1 }"),
    # php-resque
    row("php-resque", "php bin/resque", "environment = { COUNT = 2 }", many_in_one=W),
    row("php-resque", "php bin/resque", "environment = { COUNT = 1 }"),
    row("php-resque", "bash -c 'PIDFILE=/run/r.pid exec php bin/resque'", TWO, shared_pidfile=N),
    row("php-resque", "bash -c 'PIDFILE=/run/r.pid exec php bin/resque'"),
    # Dramatiq
    row("dramatiq", "dramatiq shop --pid-file=/run/d.pid", TWO, shared_pidfile=E),
    row("dramatiq", "dramatiq shop --pid-file=/run/d-%i.pid", TWO),
    row("dramatiq", "dramatiq shop --pid-file=/run/d-${UNITQ_INSTANCE}.pid", TWO),
    row("dramatiq", "dramatiq shop --pid-file=/run/%j.pid", TWO, shared_pidfile=E),
    row("dramatiq", "dramatiq shop --watch src", reloads=W),
    row("dramatiq", "dramatiq shop -Q watch"),
    # Huey
    row("huey", "huey_consumer shop.huey", TWO, second_scheduler=W),
    row("huey", "huey_consumer shop.huey -w 4", TWO, second_scheduler=W),
    row("huey", "huey_consumer shop.huey -n", TWO),
    row("huey", "huey_consumer shop.huey --no-periodic -w 2", TWO),
    row("huey", "huey_consumer shop.huey"),
    row("huey", "huey_consumer shop.huey -nf", TWO, flushes_locks=W),
    row("huey", "huey_consumer shop.huey -f"),
    row("huey", "huey_consumer shop.huey -l /var/log/h.log", log_file=N),
    row("huey", "huey_consumer shop.huey -k process -d l"),
    # arq, saq, taskiq
    row("arq", "arq shop.Settings --burst", one_shot=E),
    row("arq", "arq --check shop.Settings", one_shot=E),
    row("arq", "arq shop.Settings --no-burst"),
    row("arq", "arq shop.Settings --watch src", reloads=W),
    row("arq", "arq shop.watch.Settings"),
    row("arq", "arq shop.check.Settings"),
    row("saq", "saq shop.settings --check", one_shot=E),
    row("saq", "saq shop.settings --web", TWO, shared_port=W),
    row("saq", "saq shop.settings --web"),
    row("saq", "saq shop.check.settings"),
    row("taskiq", "taskiq worker a:b --reload", reloads=W),
    row("taskiq", "taskiq worker a:b -w 2 -r", reloads=W),
    row("taskiq", "taskiq worker a:b --receiver r --workers 2"),
    row("taskiq", "taskiq worker a:b --reload-dir src"),
    row("taskiq", "taskiq worker a:b --wait-tasks-timeout 5", cuts_off=W),
    row("taskiq", "taskiq worker a:b --app-dir --wait-tasks-timeout"),
    # Of no framework
    row("", "celery multi start w1 -A shop", detaches=E),
    row("", "/usr/bin/python3 -m celery -A shop multi restart w1", detaches=E),
    row("celery", "celery multi start 4 -A shop", detaches=E),
    row("celery", "celery -A multi worker -l INFO"),
    row("", "bin/delayed_job start", detaches=E),
    row("", "bundle exec bin/delayed_job -n 2 start", detaches=E),
    row("", "script/delayed_job --pid-dir=/run restart", detaches=E),
    row("", "bin/delayed_job run"),
    row("", "/etc/init.d/cron start", detaches=E),
    row("", "service celeryd start", detaches=E),
    row("", "bash -c 'service celeryd start'", detaches=E),
    row("", "systemctl --no-block restart x.service", detaches=E),
    row("", "bin/service --name start"),
    row("", "start-stop-daemon --start --background --exec /bin/w", detaches=E),
    row("", "tmux new-session -d -s w bin/w", detaches=E),
    row("", "tmux new bin/w"),
    row("", "screen -dmS w bin/w", detaches=E),
    row("", "screen -S w bin/w"),
    row("", "bash -c 'cd /srv && dtach -n /tmp/s bin/w'", detaches=E),
    row("", "abduco -n w bin/w", detaches=E),
    row("", "nq bin/w", detaches=E),
    row("", "bundle exec good_job start --daemonize", detaches=E),
    row("", "bundle exec good_job start"),
    row("", "bundle exec shoryuken -R -C c.yml -d", detaches=E),
    row("resque", "resque-pool --daemon --environment production", detaches=E),
    row("", "pm2 start w.js", detaches=E),
    row("", "pm2 start w.js --no-daemon"),
    row("", "pm2-runtime start w.js"),
    row("", "setsid --fork bin/w", detaches=E),
    row("", "setsid bin/w"),
    row("", "supervisord -c s.conf", detaches=E),
    row("", "supervisord -n -c s.conf"),
    row("", "bin/w start"),
    row("bullmq", "node --watch worker.js", reloads=W),
    row("", "nodemon worker.js", reloads=W),
    row("node-resque", "node worker.js --watch"),
    row("", "bin/w", TWO, 'service = { RuntimeDirectory = "rtd" }', shared_directory=E),
    row("", "bin/w", TWO, 'service = { RuntimeDirectory = "a-%i b" }', shared_directory=E),
    row("none", "bin/w", TWO, 'service = { RuntimeDirectory = ["a-%i", "b"] }',
        shared_directory=E),
    row("", "bin/w", TWO, 'service = { RuntimeDirectory = "rtd-%j" }', shared_directory=E),
    row("", "bin/w", 'service = { RuntimeDirectory = "rtd" }'),
    row("", "bin/w", TWO, 'service = { RuntimeDirectory = "rtd-%i b/%i" }'),
    row("", "bin/w", TWO,
        'service = { RuntimeDirectory = "rtd", RuntimeDirectoryPreserve = true }'),
    row("", "bin/w", TWO,
        'service = { RuntimeDirectory = "rtd", RuntimeDirectoryPreserve = "restart" }',
        shared_directory=E),
    row("", "bin/w", TWO, 'service = { StateDirectory = "std" }'),
    row("", "bin/w", 'service = { Restart = "on-failure" }', never_back=W),
    row("", "bin/w", 'service = { Restart = "no" }', never_back=W),
    row("", "bin/w", 'service = { Restart = "always" }'),
    row("", "bin/w", 'unit = { Requires = "redis-server.service" }', stops_with=W),
    row("", "bin/w", 'unit = { BindsTo = "a.service rabbitmq.service" }', stops_with=W),
    row("", "bin/w", 'unit = { Requires = "network-online.target" }'),
    row("", "bin/w", 'unit = { BindsTo = "srv-shop.mount" }'),
    row("", "bin/w", 'unit = { Wants = "redis-server.service" }'),
]  # fmt: skip


@pytest.mark.parametrize("one", ROWS, ids=lambda one: f"{one.preset}: {one.command} {one.lines}")
def test_what_contradicts_being_managed_is_said_and_nothing_else(one: Row) -> None:
    # A framework's own row may say more of what also holds in general.
    assert set(said(one)) >= set(one.found)
    more = {(name, level) for name, level in said(one) if (name, level) not in one.found}
    assert more <= {("never-back", W)} if one.found else not more, more


@pytest.mark.parametrize("one", [one for one in ROWS if one.found], ids=lambda one: one.command)
def test_each_finding_says_what_why_and_what_to_write(one: Row) -> None:
    for each in findings(one):
        if each.name in NAMES - {"time-limit"}:
            assert each.message
            assert each.why
            assert each.hint
            assert f"[{each.name}, {each.certainty}]" in each.text
            lines = (*one.lines, f'allow = ["{each.name}"]')
            configured = app(worker_table(one._replace(lines=lines)))
            assert each not in remove_allowed([each], configured)


@pytest.mark.parametrize("name", PRESETS)
def test_no_check_is_without_an_example_and_a_near_miss(name: str) -> None:
    """Each check is found by a row above, and by one of the same preset it is not."""
    own = {one: findings(one) for one in ROWS if name in ("none", one.preset)}
    for number, check in enumerate(PRESETS[name].checks):
        what = f"{name}: checks[{number}], {check.name}"
        assert check.name, what
        assert check.source, what
        assert check.instead, what
        said = {one for one, found in own.items() if any(f.message == check.says for f in found)}
        assert any(not one.found or check.name not in dict(one.found) for one in own), what
        assert said, what
        # What has the same word, option, variable or directive in it, and is fine.
        marks = [*check.options, *check.lacks, check.variable, check.directive, check.stop_signal]
        alike = [
            one
            for one in own.keys() - said
            if not any(filter(None, marks))
            or any(mark.strip("-") in f"{one.command} {one.lines}" for mark in filter(None, marks))
        ]
        assert alike, what


def test_a_second_process_during_a_rollout_counts_as_an_instance() -> None:
    lines = '[workers.w]\ncommand = "rq worker -n shop"\npreset = "rq"\n[rollout]\nmax_surge = 1'
    found = lint_app(app(lines), PRESETS)
    assert [(each.name, each.level) for each in found] == [("worker-name", E)]


@pytest.mark.parametrize(
    ("preset", "one", "other", "name"),
    [
        ("laravel", "php artisan queue:work", "php artisan queue:work --once", "one-shot"),
        ("laravel", "php artisan queue:work", "php artisan queue:listen", "listens"),
        ("celery", CELERY, f"{CELERY} --detach", "detaches"),
    ],
)
def test_what_a_script_may_start_instead_is_only_a_possibility(
    preset: str, one: str, other: str, name: str
) -> None:
    way = f"if [ $1 = a ]; then exec {one}; else exec {other}; fi\n"
    of_file = Row(preset, "bin/w", heads=(("bin/w", f"#!/bin/sh\n{way}"),))
    for each in (of_file, row(preset, f'sh -c "{way.strip()}"')):
        (found,) = (f for f in findings(each) if f.name == name)
        assert (found.level, found.certainty) == (W, Certainty.POSSIBLE)


def test_options_of_a_program_that_is_not_known_are_only_a_possibility() -> None:
    (found,) = (f for f in findings(row("rq", "bin/worker --burst")) if f.name == "one-shot")
    assert (found.level, found.certainty) == (W, Certainty.POSSIBLE)


VALUED = frozenset({"-n", "-q", "--name", "-ds"})


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("-n a", ["a"]),
        ("-na", ["a"]),
        ("-n=a", ["a"]),
        ("--name a", ["a"]),
        ("--name=a", ["a"]),
        ("--name=", [""]),
        ("-vn a", ["a"]),
        ("-vna -q x", ["a"]),
        ("-qn a", []),
        ("-q -n a", []),
        ("-ds -n -n b", ["b"]),
        ("--named=a", []),
        ("-- -n a", []),
        ("-n", [""]),
        ("-n a --name=b", ["a", "b"]),
    ],
)
def test_every_way_to_write_an_option_with_a_value(words: str, values: list[str]) -> None:
    assert list(option_values(words.split(), ("-n", "--name"), VALUED)) == values


LIMITS = [
    ("celery", f"{CELERY} --soft-time-limit 900", {}, "900 s on its command line", "905s"),
    ("celery", f"{CELERY} --soft-time-limit=900 --time-limit=960", {}, "960 s", "965s"),
    ("laravel", "bash -c 'exec php artisan queue:work --timeout=1800'", {}, "1800 s", "1805s"),
    ("sidekiq", "sidekiq", {"config/sidekiq.yml": ":timeout: 120\n"}, "in config/sid", "125s"),
    ("sidekiq", "sidekiq", {"config/sidekiq.yml": "production:\n  timeout: 60"}, "60 s", "65s"),
    ("sidekiq", "sidekiq -C config/b.yml", {"config/b.yml": "timeout: 60"}, "b.yml", "65s"),
    ("sidekiq", "sidekiq -t 1209600", {}, "gives a job 1209600 s", "1209605s"),
    ("sidekiq", f"sidekiq -t {'9' * 5000}", {}, "gives a job 1000000000 s", "1000000005s"),
    ("sidekiq", "sidekiq", {"config/sidekiq.yml": f"timeout: {'9' * 30}"}, "1000000000 s", "05s"),
    ("horizon", "php artisan horizon", {"config/horizon.php": "'timeout' => 60,\n'timeout' => 300"},
     "300 s in config/horizon.php", "305s"),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "command", "settings", "told", "least"), LIMITS)
def test_a_limit_of_the_frameworks_own_is_read_where_it_is_set(
    preset: str, command: str, settings: dict[str, str], told: str, least: str
) -> None:
    worker = app(f"[workers.w]\npreset = \"{preset}\"\ncommand = '''{command}'''").workers[0]
    assert set(settings) <= set(settings_files(worker, PRESETS[preset], {}))
    lines = f"[workers.w]\npreset = \"{preset}\"\ncommand = '''{command}'''"
    lines += '\nstop_timeout = "30s"' if preset == "sidekiq" else ""
    found = lint_app(app(lines), PRESETS, {"w": WorkerFacts(settings=settings)})
    if preset == "celery":
        lines += '\nstop_timeout = "10min"'
    (limit,) = (each for each in found if each.name == "time-limit")
    assert told in limit.why
    assert least in limit.hint


def test_the_command_line_goes_before_the_file_and_the_file_before_the_default() -> None:
    settings = {"config/sidekiq.yml": ":timeout: 120\n"}
    lines = '[workers.w]\npreset = "sidekiq"\nstop_timeout = "35s"\ncommand = "sidekiq{}"'
    seen = {"w": WorkerFacts(settings=settings)}
    assert not [f for f in lint_app(app(lines.format(" -t 25")), PRESETS, seen) if f.name]
    seen = {"w": WorkerFacts(settings={"config/sidekiq.yml": ":timeout: <%= 5 %>\n"})}
    assert not [f for f in lint_app(app(lines.format("")), PRESETS, seen) if f.name]
