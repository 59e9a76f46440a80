"""Units as the frameworks' manuals tell people to write them: what each becomes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import PRESETS
from tests.unit.cli.test_cli import Done, unitq
from unitq.config.lint import lint_app
from unitq.config.parse import parse
from unitq.errors import Exit
from unitq.model.app import KillMode
from unitq.model.finding import Level

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unitq.model.app import App

    Command = Callable[..., Done]

__all__ = ["unitq"]  # a fixture

# extra/systemd/celery.service and celery.conf of Celery 5.7.0; the file's path is another.
CELERY = r"""
[Unit]
Description=Celery Service
After=network.target

[Service]
Type=forking
User=celery
Group=celery
EnvironmentFile=-{file}
WorkingDirectory=/opt/celery
ExecStart=/bin/sh -c '${{CELERY_BIN}} -A $CELERY_APP multi start $CELERYD_NODES \
	--pidfile=${{CELERYD_PID_FILE}} --logfile=${{CELERYD_LOG_FILE}} \
	--loglevel="${{CELERYD_LOG_LEVEL}}" $CELERYD_OPTS'
ExecStop=/bin/sh -c '${{CELERY_BIN}} multi stopwait $CELERYD_NODES \
	--pidfile=${{CELERYD_PID_FILE}} --logfile=${{CELERYD_LOG_FILE}}'
ExecReload=/bin/sh -c '${{CELERY_BIN}} -A $CELERY_APP multi restart $CELERYD_NODES'
Restart=always

[Install]
WantedBy=multi-user.target
"""
CELERY_CONF = """
# See the documentation
CELERY_APP="proj"
CELERYD_NODES="{nodes}"
CELERYD_OPTS="{options}"
CELERY_BIN="/usr/bin/celery"
CELERYD_PID_FILE="/run/celery/%n.pid"
CELERYD_LOG_FILE="/var/log/celery/%n%I.log"
CELERYD_LOG_LEVEL="INFO"
"""

# examples/systemd/sidekiq.service of Sidekiq (0aaaf07), with the system's ruby.
SIDEKIQ = """
[Unit]
Description=sidekiq
After=syslog.target network.target

[Service]
Type=notify
WatchdogSec=10
WorkingDirectory=/opt/myapp/current
ExecStart=/usr/local/bin/bundle exec sidekiq -e production
User=deploy
Group=deploy
UMask=0002
Environment=MALLOC_ARENA_MAX=2
RestartSec=1
Restart=on-failure
StandardOutput=syslog
StandardError=syslog
SyslogIdentifier=sidekiq

[Install]
WantedBy=multi-user.target
"""

LARAVEL = """
[Unit]
Description=Laravel queue %i
Requires=redis-server.service
After=redis-server.service

[Service]
User=www-data
Restart=on-failure
ExecStart=/usr/bin/php /var/www/app/artisan queue:work --queue=%i --timeout=600
KillSignal=SIGINT
"""


def imported(unitq: Command, tmp_path: Path, name: str, text: str, *words: str) -> tuple[App, str]:
    """The app, and what has to be decided, on one line; `check` has no error."""
    (tmp_path / name).write_text(text)
    done = unitq("import", name, *words)
    assert done.code == Exit.OK, done.stderr
    app = parse(done.stdout, source="unitq.toml", presets=PRESETS)
    assert not [one for one in lint_app(app, PRESETS) if one.level is Level.ERROR]
    assert len(done.stderr.splitlines()) <= 24
    return app, " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("nodes", "name", "count"),
    [("worker", "worker", 1), ("w1 w2 w3", "w", 3), ("4", "celery", 4), ("", "celery", 1)],
)
def test_celery_multi_is_one_worker(
    unitq: Command, tmp_path: Path, nodes: str, name: str, count: int
) -> None:
    conf = tmp_path / "celery.conf"
    conf.write_text(CELERY_CONF.format(nodes=nodes, options="--concurrency=8 -c:w1 3 -Q mail,sms"))
    app, said = imported(unitq, tmp_path, "celery.service", CELERY.format(file=conf))
    (worker,) = app.workers
    assert worker.command == (
        "/usr/bin/celery -A proj worker --loglevel=INFO --concurrency=8 -Q mail,sms "
        f"-n {name}%i@%%h"
    )
    assert (worker.instances, worker.preset, worker.user, worker.group) == (
        *(count, "celery", "celery", "celery"),
    )
    assert worker.directory == "/opt/celery"
    assert worker.environment_files == (str(conf),)
    assert "Type" not in dict(worker.service)
    assert "`celery multi` is gone" in said
    assert "-c:w1 3" in said
    assert "ExecStop= is gone" in said
    assert "systemctl disable --now 'celery.service'" in said


def test_a_time_limit_in_its_environment_file_counts(unitq: Command, tmp_path: Path) -> None:
    conf = tmp_path / "celery.conf"
    conf.write_text(CELERY_CONF.format(nodes="w", options="--time-limit=7200"))
    app, _ = imported(unitq, tmp_path, "celery.service", CELERY.format(file=conf))
    assert app.workers[0].stop_timeout.seconds == 7205


def test_variables_that_are_not_known_are_asked_for_all_at_once(
    unitq: Command, tmp_path: Path
) -> None:
    (tmp_path / "celery.service").write_text(CELERY.format(file="/nonexistent/celery"))
    done = unitq("import", "celery.service")
    assert done.code == Exit.USAGE
    for name in ("CELERY_BIN", "CELERY_APP", "CELERYD_NODES", "CELERYD_OPTS"):
        assert f"the value of {name} is not known" in done.stderr
        assert f"--env {name}=…" in done.stderr
    given = [
        *("CELERY_BIN=/usr/bin/celery", "CELERY_APP=shop", "CELERYD_NODES=w", "CELERYD_OPTS="),
        *("CELERYD_PID_FILE=", "CELERYD_LOG_FILE=", "CELERYD_LOG_LEVEL=INFO"),
    ]
    words = [word for one in given for word in ("--env", one)]
    app, said = imported(
        unitq, tmp_path, "celery.service", CELERY.format(file="/nonexistent/celery"), *words
    )
    assert app.workers[0].command == "/usr/bin/celery -A shop worker --loglevel=INFO -n w%i@%%h"
    assert "/nonexistent/celery is not there" in said


def test_sidekiq_keeps_its_notification(unitq: Command, tmp_path: Path) -> None:
    app, said = imported(unitq, tmp_path, "sidekiq.service", SIDEKIQ)
    (worker,) = app.workers
    assert app.name == "myapp"
    assert (worker.command, worker.preset) == (
        *("/usr/local/bin/bundle exec sidekiq -e production", "sidekiq"),
    )
    service = dict(worker.service)
    assert (service["Type"], service["WatchdogSec"]) == (("notify",), ("10",))
    assert (worker.user, worker.group, worker.umask) == ("deploy", "deploy", "0002")
    assert dict(worker.environment)["MALLOC_ARENA_MAX"] == "2"
    assert worker.restart_delay.seconds == 1
    assert "Restart=on-failure: here it is always started again" in said


def test_a_template_is_a_worker_for_each_queue_that_is_enabled(
    unitq: Command, tmp_path: Path
) -> None:
    wants = tmp_path / "multi-user.target.wants"
    wants.mkdir()
    for queue in ("mail", "sms"):
        (wants / f"queue-worker@{queue}.service").symlink_to("../queue-worker@.service")
    app, said = imported(unitq, tmp_path, "queue-worker@.service", LARAVEL)
    found = {worker.name: worker for worker in app.workers}
    assert sorted(found) == ["queue-worker-mail", "queue-worker-sms"]
    mail = found["queue-worker-mail"]
    assert mail.command == "/usr/bin/php artisan queue:work --queue=mail --timeout=600"
    assert (mail.directory, mail.stop_signal, mail.stop_timeout.seconds) == (
        *("/var/www/app", "SIGTERM", 605),
    )
    explained = " ".join(unitq("import", "queue-worker@.service", "--explain").stderr.split())
    assert "The unit: SIGINT to every process, and 90s for the job; it ended the job" in explained
    assert "Restart=on-failure" in said
    assert "Requires=redis-server.service is Wants= here" in said
    assert dict(mail.unit)["Wants"] == ("redis-server.service",)


@pytest.mark.parametrize(("enabled", "count"), [((1, 2, 10), 3), ((), 1)])
def test_a_template_with_numbers_is_one_worker(
    unitq: Command, tmp_path: Path, enabled: tuple[int, ...], count: int
) -> None:
    wants = tmp_path / "default.target.wants"
    wants.mkdir()
    for number in enabled:
        (wants / f"w@{number}.service").symlink_to("../w@.service")
    text = LARAVEL.replace("--queue=%i", "--name=%i")
    app, said = imported(unitq, tmp_path, "w@.service", text)
    (worker,) = app.workers
    assert worker.instances == count
    assert worker.command == "/usr/bin/php /var/www/app/artisan queue:work --name=%i --timeout=600"
    assert ("it is a template" in said) is (not enabled)


def test_drop_ins_count(unitq: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sidekiq.service.d"
    folder.mkdir()
    (folder / "10-more.conf").write_text(
        "[Service]\nTimeoutStopSec=5min\nEnvironment=A=1 'B=x y'\n"
    )
    (folder / "20-last.conf").write_text(
        "# ours\n[Service]\nExecStart=\nExecStart=/usr/local/bin/bundle \\\n# why\n  exec sidekiq\n"
    )
    app, _ = imported(unitq, tmp_path, "sidekiq.service", SIDEKIQ)
    (worker,) = app.workers
    assert worker.command == "/usr/local/bin/bundle exec sidekiq"
    assert worker.stop_timeout.seconds == 300
    assert set(worker.environment) >= {("A", "1"), ("B", "x y"), ("MALLOC_ARENA_MAX", "2")}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("KillSignal=QUIT", "KillMode=mixed", "TimeoutStopSec=30"), ("SIGQUIT", "mixed", 30)),
        (("KillMode=process",), ("SIGTERM", "mixed", 90)),
        ((), ("SIGTERM", "control-group", 90)),
        (("TimeoutStopSec=0",), ("SIGTERM", "control-group", float("inf"))),
        (("TimeoutSec=1h 5min",), ("SIGTERM", "control-group", 3900)),
        (("TimeoutStopSec=10", "TimeoutStopSec="), ("SIGTERM", "control-group", 90)),
    ],
)
def test_without_a_framework_it_stops_as_it_did(
    unitq: Command, tmp_path: Path, lines: tuple[str, ...], expected: tuple[str, str, float]
) -> None:
    text = "\n".join(["[Service]", "User=app", "WorkingDirectory=/srv/a", "Restart=always",
                      "ExecStart=/usr/bin/env worker", *lines])  # fmt: skip
    app, _ = imported(unitq, tmp_path, "w.service", f"{text}\n")
    (worker,) = app.workers
    assert (worker.stop_signal, worker.kill_mode, worker.stop_timeout.seconds) == (
        *(expected[0], KillMode(expected[1]), expected[2]),
    )


def test_a_long_time_limit_is_written_out(unitq: Command, tmp_path: Path) -> None:
    text = (
        "[Service]\nUser=app\nWorkingDirectory=/srv/a\nRestart=always\nTimeoutStopSec=60\n"
        "ExecStart=/usr/bin/php artisan queue:work --timeout=2592000\n"
    )
    app, _ = imported(unitq, tmp_path, "w.service", text)
    assert str(app.workers[0].stop_timeout) == "2592005s"


@pytest.mark.parametrize("yes", ["yes", "True", "1"])
def test_an_account_that_systemd_makes_up_is_not_roots(
    unitq: Command, tmp_path: Path, yes: str
) -> None:
    text = (
        f"[Service]\nDynamicUser={yes}\nWorkingDirectory=/srv/a\nRestart=always\n"
        "ExecStart=/usr/bin/env worker\n"
    )
    app, said = imported(unitq, tmp_path, "w.service", text)
    assert app.workers[0].user is None
    assert "root" not in said


def test_what_systemd_would_put_into_a_variable_has_to_be_decided(
    unitq: Command, tmp_path: Path
) -> None:
    text = (
        "[Service]\nUser=app\nWorkingDirectory=/srv/a\nRestart=always\n"
        'Environment=A=50%% "B=%h/x" C=%%h\nExecStart=/usr/bin/env worker\n'
    )
    app, said = imported(unitq, tmp_path, "w.service", text)
    assert dict(app.workers[0].environment) == {"A": "50%", "B": "%h/x", "C": "%h"}
    assert "environment: B has %h in it" in said
    assert "environment: A" not in said
    assert "environment: C" not in said


@pytest.mark.parametrize(
    ("start", "written", "user"),
    [
        ("/bin/sh -c 'cd /srv/b && exec php artisan queue:work'", "php artisan queue:work", "app"),
        ("-/usr/bin/sudo -u other php artisan queue:work", "php artisan queue:work", "other"),
        ("/bin/bash -lc 'exec bundle exec sidekiq'", '/bin/bash -lc "exec bundle exec sidekiq"',
         "app"),
        ('/usr/bin/php artisan queue:work --name="a b" 100%%', None, "app"),
        ("/usr/bin/php artisan queue:work $ARGS", "/usr/bin/php artisan queue:work $ARGS", "app"),
        ("@/usr/bin/php artisan queue:work ${X}y", None, "app"),
    ],
)  # fmt: skip
def test_its_command_keeps_its_meaning(
    unitq: Command, tmp_path: Path, start: str, written: str | None, user: str
) -> None:
    text = f"[Service]\nUser=app\nWorkingDirectory=/srv/a\nRestart=always\nExecStart={start}\n"
    app, said = imported(unitq, tmp_path, "w.service", text)
    (worker,) = app.workers
    assert worker.user == user
    assert worker.preset
    if written:
        assert worker.command == written
    if "$" in start:
        assert "which nothing that could be read here sets" in said
    if "cd " in start:
        assert worker.directory == "/srv/b"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.service", "[Service]\nType=oneshot\nExecStart=/bin/x\n", "it runs once"),
        ("x.service", "[Service]\nUser=x\n", "there is no ExecStart="),
        ("x.timer", "[Timer]\nOnCalendar=daily\n", "a timer unit starts no worker"),
        ("x.service", "[Service]\nrubbish\n", "line 2: neither a [Section] nor a directive"),
        ("x.service", "ExecStart=/bin/x\n", "line 1: neither"),
    ],
)
def test_what_is_no_worker_is_refused(
    unitq: Command, tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / name).write_text(text)
    done = unitq("import", name)
    assert (done.code, done.stdout) == (Exit.USAGE, "")
    assert why in done.stderr


def test_every_directive_has_its_line(unitq: Command, tmp_path: Path) -> None:
    (tmp_path / "sidekiq.service").write_text(f"{SIDEKIQ}\n[Service]\nFinalKillSignal=SIGABRT\n")
    document = json.loads(unitq("import", "sidekiq.service", "--json").stdout)
    (section,) = document["sections"]
    fates = {one["option"]: one["fate"] for one in section["options"]}
    assert fates["FinalKillSignal"] == fates["SyslogIdentifier"] == fates["WantedBy"] == "left"
    assert fates["ExecStart"] == fates["Type"] == fates["WatchdogSec"] == "same"
    assert any("FinalKillSignal" in one["says"] for one in document["decisions"])
    account = unitq("import", "sidekiq.service", "--explain").stderr
    assert "FinalKillSignal" in account


def test_a_unit_is_as_secret_as_its_parts(unitq: Command, tmp_path: Path) -> None:
    path = tmp_path / "sidekiq.service"
    path.write_text(SIDEKIQ)
    for mode in (0o600, 0o644):
        path.chmod(mode)
        assert unitq("import", path.name, "-o", "new.toml", "--force").code == Exit.OK
        assert (tmp_path / "new.toml").stat().st_mode & 0o777 == mode
