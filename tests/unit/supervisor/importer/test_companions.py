"""Schedulers and web pages beside the workers: known as what they are, and not as workers."""

from __future__ import annotations

import pytest

from tests.harness.build import PRESETS
from tests.unit.supervisor.importer.test_smallest import decisions, imported, of, program
from unitq.presets.detect import framework_of
from unitq.supervisor.importer.not_workers import companion

SCHEDULERS = [
    "celery -A shop beat", "venv/bin/celery --app=shop --quiet beat -l INFO -s /var/lib/beat",
    "python -m celery -A flower beat", "rq cron cron.py", "rqscheduler -i 5",
    "python manage.py rqscheduler", "bundle exec rake environment resque:scheduler",
    "php artisan schedule:work", "taskiq scheduler shop:scheduler", "periodiq shop",
    "bash -c 'cd /srv/a && exec celery -A shop beat'", "env A=1 celery -A shop beat",
]  # fmt: skip
MONITORS = [
    "celery -A shop flower --port=5555", "celery -A beat events", "flower --broker=x",
    "rq-dashboard -u redis://x", "rqinfo -i 1", "rq info", "resque-web -F", "bull-board",
]  # fmt: skip
WORKERS = [
    "celery -A beat worker", "celery -A flower worker -B", "rq worker cron", "rq worker flower",
    "php artisan queue:work schedule:work", "php artisan horizon", "rake resque:work",
    "php flower.php", "python beat.py", "celery inspect active",
]  # fmt: skip


@pytest.mark.parametrize("command", SCHEDULERS)
def test_a_scheduler_runs_once(command: str) -> None:
    assert framework_of(PRESETS, command, {}) is None
    (worker,) = of(
        found := imported(program(command, "numprocs=2", "process_name=%(process_num)s"))
    )
    assert (worker.singleton, worker.instances, worker.preset) == (True, 1, None)
    assert (worker.stop_signal, str(worker.stop_timeout)) == ("SIGTERM", "10s")  # as it was
    assert "ran 2 times" in decisions(found)
    (worker,) = of(found := imported(program(command)))
    assert worker.singleton
    assert "times, which" not in decisions(found)


@pytest.mark.parametrize("command", MONITORS)
def test_a_monitor_takes_no_jobs(command: str) -> None:
    assert framework_of(PRESETS, command, {}) is None
    (worker,) = of(found := imported(program(command)))
    assert (worker.singleton, worker.preset) == (False, None)
    assert "it takes no jobs, so no preset applies" in found.text


@pytest.mark.parametrize("command", WORKERS)
def test_a_worker_is_none_of_these(command: str) -> None:
    assert companion(command, {}) is None


@pytest.mark.parametrize(
    ("program", "head"),
    [
        ("bin/celery -A shop beat", "from celery.__main__ import main\n"),
        ("bin/flower", "from flower.__main__ import main\n"),
        ("bin/rq-dashboard", "from rq_dashboard.cli import main\n"),
        ("bin/rqscheduler", "from rq_scheduler.scripts.rqscheduler import main\n"),
        ("bin/rq info", "from rq.cli import main\n"),
        ("bin/resque-web", "require 'resque/server'\nVegas::Runner.new(Resque::Server, 'x')\n"),
    ],
)
def test_their_scripts_are_no_workers_either(program: str, head: str) -> None:
    heads = {program.split(maxsplit=1)[0]: f"#!/usr/bin/env x\n{head}"}
    assert framework_of(PRESETS, program, heads) is None
    assert companion(program, heads) is not None
