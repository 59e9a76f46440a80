"""Small configurations as people have them: what each becomes, and that `check` has no error."""

from __future__ import annotations

import pytest

from tests.harness.build import PRESETS
from unitq.config.lint import lint_app
from unitq.config.parse import parse
from unitq.errors import ConfigError
from unitq.model.app import App, KillMode, Worker
from unitq.model.finding import Level, WorkerFacts
from unitq.presets.detect import framework_of
from unitq.supervisor.conf.ini import Ini
from unitq.supervisor.conf.programs import read
from unitq.supervisor.conf.section import Surroundings
from unitq.supervisor.importer import procfile
from unitq.supervisor.importer.draft import uncomment
from unitq.supervisor.importer.recognise import Looks, Wishes
from unitq.supervisor.importer.translate import Imported, translate

HOMES = {"app": "/home/app"}


def imported(
    text: str, heads: dict[str, str] | None = None, unread: tuple[str, ...] = ()
) -> Imported:
    """What a file becomes; `heads`: the beginnings of scripts, `unread`: what nobody may read."""
    ini = Ini()
    ini.read(text, "x.conf")

    def recognise(line: str, _: str) -> Looks:
        found = framework_of(PRESETS, line, heads or {})
        missing = () if found else unread
        return Looks(found[0] if found else None, heads or {}, PRESETS["none"], missing)

    around = Surroundings("/etc", "host", {})
    return translate(ini, read(ini, around, "x.conf"), Wishes("x.conf", home=HOMES.get), recognise)


def of(
    found: Imported, heads: dict[str, str] | None = None, *, errors: frozenset[str] = frozenset()
) -> tuple[Worker, ...]:
    """Its workers, with those that are comments where nothing else is there."""
    text = found.text if found.report.written else uncomment(found.text)
    workers = parse(text, source="unitq.toml", presets=PRESETS).workers
    app = parse(text, source="unitq.toml", presets=PRESETS)
    seen = {worker.name: WorkerFacts(heads or {}) for worker in workers}
    wrong = [one for one in lint_app(app, PRESETS, seen) if one.level is Level.ERROR]
    assert {one.name for one in wrong} <= errors
    return workers


def program(command: str, *options: str, directory: str = "/srv/a") -> str:
    lines = ["[program:w]", f"command={command}", *options]
    return "\n".join([*lines, *([f"directory={directory}"] if directory else [])]) + "\n"


def decisions(found: Imported) -> str:
    return " ".join(found.report.by_decision())


# --- whose rights ---------------------------------------------------------------------------------

WORK = "php artisan queue:work"


@pytest.mark.parametrize(
    "command",
    [
        f'su app -c "{WORK}"',
        f'su -c "{WORK}" app',
        f'/bin/su -s /bin/sh app -c "exec {WORK}"',
        f'su -m --shell=/bin/bash app --command "{WORK}"',
        f"sudo -u app {WORK}",
        f"sudo -Hnu app -- {WORK}",
        f"sudo -uapp -E {WORK}",
        f"/usr/bin/sudo --user=app --set-home {WORK}",
        f"doas -u app {WORK}",
        f"gosu app {WORK}",
        f"su-exec app:app {WORK}",
        f"setuidgid app {WORK}",
        f"s6-setuidgid app {WORK}",
        f"chpst -u app {WORK}",
        f"runuser -u app -- {WORK}",
        f'runuser app -c "{WORK}"',
        f"setpriv --reuid=app --regid app --init-groups {WORK}",
        f'bash -c "cd /srv/a && sudo -u app {WORK}"',
        f"tini -- gosu app {WORK}",
        f"sudo bash -c \"su app -c '{WORK}'\"",
    ],
)
def test_what_changes_the_account_is_user(command: str) -> None:
    (worker,) = of(imported(program(command, "user=root")))
    assert (worker.user, worker.command, worker.preset) == ("app", WORK, "laravel")
    assert worker.kill_mode is KillMode.MIXED


@pytest.mark.parametrize(
    ("command", "written", "variables"),
    [
        (f'env A=1 su app -c "{WORK}"', WORK, {"A": "1"}),
        (f'/usr/bin/env A=1 B=2 sudo -u app -E C=3 {WORK}', WORK, {"A": "1", "B": "2", "C": "3"}),
        (f"env A=1 sudo -u app {WORK}", WORK, {}),  # sudo takes it away
        (f'env A=1 su app -c "A=2 {WORK}"', WORK, {"A": "2"}),
        (f'timeout -s INT 1h su app -c "{WORK}"', f"timeout -s INT 1h {WORK}", {}),
        (f"nice -n 5 sudo -u app {WORK}", f"nice -n 5 {WORK}", {}),
        (f"nice ionice -c 3 gosu app nohup {WORK}", f"nice ionice -c 3 nohup {WORK}", {}),
        (f'env A=1 timeout 9 su app -c "cd /srv/a && {WORK}"', f"timeout 9 {WORK}", {"A": "1"}),
        (f'bash -c "env A=1 nice su app -c \'{WORK}\'"', f"nice {WORK}", {"A": "1"}),
        (f"timeout 9 tini -- sudo -u app {WORK}", f"timeout 9 tini -- {WORK}", {}),
    ],
)  # fmt: skip
def test_what_stands_before_that_stays_before_the_worker(
    command: str, written: str, variables: dict[str, str]
) -> None:
    (worker,) = of(imported(program(command, "user=root")))
    assert (worker.user, worker.command, worker.preset) == ("app", written, "laravel")
    assert dict(worker.environment) == variables


@pytest.mark.parametrize(
    "command",
    ["env -i A=1 su app -c", "flock /l su app -c", "env -C /x su app -c", "chroot /x su app -c"],
)
def test_what_may_not_work_behind_that_stays_where_it_is(command: str) -> None:
    found = imported(program(f'{command} "{WORK}"', "user=root"))
    assert f"command = '{command} " in found.text.replace('"', "'")


@pytest.mark.parametrize(
    "command",
    [
        "sudo -u app -b php artisan queue:work",  # in the background
        "su app",  # a shell
        "su app -c 'php x' more",  # with arguments
        "chpst -u app -e /etc/env php artisan queue:work",
        "sudo --chroot=/x -u app php artisan queue:work",
        "sudo -u '#1000' php artisan queue:work",
    ],
)
def test_what_does_more_than_that_stays(command: str) -> None:
    found = imported(program(command))
    name = command.partition(" ")[0]
    assert f'command = "{name} ' in found.text.replace("'", '"')
    assert f"{name} stays, and gets the stop signal in the worker's place" in decisions(found)


def test_root_s_sudo_is_root() -> None:
    (worker,) = of(imported(program(f"sudo {WORK}", "user=deploy")))
    assert (worker.user, worker.command) == ("root", WORK)


def test_variables_of_sudo_are_kept() -> None:
    (worker,) = of(imported(program(f"sudo -u app QUEUE=mail APP_ENV=prod {WORK}")))
    assert dict(worker.environment) == {"QUEUE": "mail", "APP_ENV": "prod"}


@pytest.mark.parametrize(
    ("command", "written", "directory"),
    [
        (f'su - app -c "{WORK}"', f'/bin/bash -lc "exec {WORK}"', "/home/app"),
        (f'su - app -c "cd /srv/b && {WORK}"', f'/bin/bash -lc "exec {WORK}"', "/home/app"),
        (f"sudo -iu app {WORK}", f'/bin/bash -lc "exec {WORK}"', "/home/app"),
        (f'su -l other -c "cd /srv/b && {WORK}"', f'/bin/bash -lc "exec {WORK}"', "/srv/b"),
    ],
)
def test_a_login_keeps_its_profile_and_its_home(command: str, written: str, directory: str) -> None:
    found = imported(program(command, directory=""))
    (worker,) = of(found)
    if "cd /srv/b" in command and directory == "/home/app":
        written = written.replace("exec", "cd /srv/b && exec")
    assert (worker.command, worker.directory) == (written, directory)
    assert worker.preset == "laravel"
    assert "read the profile of" in decisions(found)


# --- shells, scripts, loops, pipes ----------------------------------------------------------------

NO_SHEBANG = "echo begins\nphp work.php\n"


def test_a_script_without_a_shebang_keeps_its_shell() -> None:
    heads = {"/srv/nosb.sh": NO_SHEBANG}
    text = program('/bin/bash -c "/srv/nosb.sh --all"')
    (worker,) = of(imported(text, heads), heads)
    assert worker.command == "/bin/bash /srv/nosb.sh --all"
    assert worker.kill_mode is KillMode.CONTROL_GROUP
    heads = {"/srv/nosb.sh": f"#!/bin/bash\n{NO_SHEBANG}"}
    (worker,) = of(imported(text, heads), heads)
    assert worker.command == "/srv/nosb.sh --all"


@pytest.mark.parametrize(
    ("script", "directory"),
    [
        ("php /srv/a/artisan queue:work >> /log 2>&1", "/srv/a"),
        ("cd /srv/b; exec ./work $X", "/srv/b"),
        ("A=1 php /srv/a/artisan queue:work $X", "/srv/a"),
        ("cd $HOME; exec ./work", "/"),
        ("php /srv/a/artisan queue:work & wait", "/"),
    ],
)
def test_the_code_that_a_shell_starts_is_found(script: str, directory: str) -> None:
    text = f'[supervisord]\n[program:w]\nuser=u\ncommand=bash -c "{script}"\n'
    (worker,) = of(imported(text))
    assert str(worker.directory) == directory


def test_variables_before_the_command_do_not_keep_a_shell_above_the_worker() -> None:
    (worker,) = of(
        found := imported(program('bash -c "TERM_CHILD=1 bundle exec rake resque:work > log"'))
    )
    assert "TERM_CHILD=1 exec bundle exec rake" in worker.command
    assert worker.kill_mode is KillMode.MIXED
    assert "TERM_CHILD" not in decisions(found)


def test_what_could_not_be_read_is_said_and_gets_every_signal() -> None:
    found = imported(program("/opt/x/run"), unread=("/opt/x/run",))
    (worker,) = of(found)
    assert worker.kill_mode is KillMode.CONTROL_GROUP
    assert "/opt/x/run could not be read here" in decisions(found)


@pytest.mark.parametrize(
    "script",
    [
        f"while true; do {WORK}; sleep 3; done",
        f"while :; do {WORK}; sleep 3; done;",
        f"while true\\n do {WORK}\\n sleep 3\\n done".replace("\\n", ";").replace(" do;", " do"),
        f"while sleep 3; do {WORK}; done",
        f"until false; do echo again; {WORK}; sleep 3s; done",
        f"for ((;;)); do {WORK}; sleep 3; done",
    ],
)
def test_a_loop_around_a_worker_is_what_systemd_does(script: str) -> None:
    (worker,) = of(imported(program(f'/bin/bash -c "{script}"')))
    assert (worker.command, worker.restart_delay.seconds) == (WORK, 3)


@pytest.mark.parametrize(
    ("command", "exec_start", "seconds"),
    [
        ('bash -c "while true; do php artisan schedule:run; sleep 60; done"',
         "php artisan schedule:run", 60),
        ('sh -c "while :; do /srv/a/report >> /var/log/r; sleep 5m; done"',
         '/bin/sh -c "/srv/a/report >> /var/log/r"', 300),
        ('sudo -u app bash -c "while sleep 10; do bin/poll; done"', "bin/poll", 10),
    ],
)  # fmt: skip
def test_a_loop_that_sleeps_is_a_timer(command: str, exec_start: str, seconds: int) -> None:
    found = imported(program(command))
    assert not found.report.written
    assert f"# ExecStart={exec_start}" in found.text
    assert f"# OnUnitInactiveSec={seconds}s" in found.text
    assert "is a timer" in decisions(found)
    of(found, errors=frozenset({"loop"}))  # as it was


def test_what_check_will_say_is_to_be_decided() -> None:
    found = imported(program("sh -c 'sleep 5; while true; do rq worker; sleep 1; done'"))
    app = parse(found.text, source="unitq.toml", presets=PRESETS)
    warned = [one for one in lint_app(app, PRESETS) if one.level is not Level.NOTE]
    assert warned
    assert all(one.message in decisions(found) for one in warned)


def test_a_loop_in_a_file_is_one_if_it_sleeps_for_long() -> None:
    head = "#!/bin/sh\ncd /srv/a\nwhile true\ndo\n  php report.php\n  sleep {}\ndone\n"
    found = imported(program("/srv/a/loop"), {"/srv/a/loop": head.format(600)})
    assert not found.report.written
    assert "# OnUnitInactiveSec=600s" in found.text
    assert "# ExecStart=/srv/a/loop" not in found.text
    assert "php report.php" in found.text
    assert imported(program("/srv/a/loop"), {"/srv/a/loop": head.format(1)}).report.written == 1


@pytest.mark.parametrize(
    ("behind", "file"),
    [
        ("2>&1 | tee -a /tmp/w.log", "/tmp/w.log"),
        ("|& tee /tmp/w.log", "/tmp/w.log"),
        ("2>&1 | logger -t worker", ""),
        ("| /usr/bin/cronolog '/var/log/%%Y.log'", ""),
    ],
)
def test_a_pipe_into_a_log_is_the_journal(behind: str, file: str) -> None:
    found = imported(program(f'/bin/bash -c "exec rq worker default {behind}"'))
    (worker,) = of(found)
    assert (worker.command, worker.preset) == ("rq worker default", "rq")
    assert worker.kill_mode is KillMode.MIXED
    assert "on the left of a pipe" in decisions(found)
    assert (f'# StandardOutput = "append:{file}"' in found.text) is bool(file)


# --- what is no worker ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("autorestart=false", "startsecs=0"),
        ("autorestart=false",),
        ("autorestart=unexpected", "startsecs=0"),
        ("autorestart=unexpected", "startsecs=0", "exitcodes=0,2"),
    ],
)
def test_what_runs_once_is_a_unit_to_copy(options: tuple[str, ...]) -> None:
    found = imported(program("/srv/a/once --now", "user=app", *options))
    assert not found.report.written
    for line in ("Type=oneshot", "User=app", "WorkingDirectory=/srv/a",
                 "ExecStart=/srv/a/once --now", "WantedBy=multi-user.target"):  # fmt: skip
        assert f"\n# {line}\n" in found.text
    assert "it runs once" in decisions(found)
    (worker,) = of(found)
    assert worker.command == "./once --now"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("/srv/a/worker", ()),
        ("/srv/a/worker", ("autorestart=unexpected",)),
        ("/srv/a/worker", ("autorestart=unexpected", "exitcodes=2", "startsecs=0")),
        ("/srv/a/worker", ("autorestart=true", "startsecs=0")),
        (WORK, ("autorestart=false", "startsecs=0")),  # the worker of a queue
    ],
)
def test_what_is_to_stay_is_a_worker(command: str, options: tuple[str, ...]) -> None:
    assert imported(program(command, *options)).report.written == 1


@pytest.mark.parametrize(
    ("command", "unit"),
    [
        ("nginx -g 'daemon off;'", "nginx.service"),
        ("/usr/sbin/apache2ctl -DFOREGROUND", "apache2.service"),
        ("php-fpm8.3 -F", "fpm.service"),
        ("/usr/sbin/php-fpm --nodaemonize", "fpm.service"),
        ("cron -f", "cron.service"),
        ("crond -n", "crond.service"),
        ("redis-server /etc/redis.conf", "redis-server.service"),
        ("/usr/sbin/rsyslogd -n", "rsyslog.service"),
        ("/usr/sbin/sshd -D", "ssh.service"),
        ("mysqld_safe", "mariadb.service"),
        ("/usr/lib/postgresql/15/bin/postgres -D /x", "postgresql.service"),
        ("sudo -u memcache memcached -m 64", "memcached.service"),
        ('bash -c "exec /usr/sbin/nginx"', "nginx.service"),
        ("tini -- nginx", "nginx.service"),
    ],
)
def test_what_the_distribution_has_a_unit_for_is_said(command: str, unit: str) -> None:
    found = imported(program(command))
    assert not found.report.written
    assert unit in decisions(found)
    assert unit in found.text
    of(found)


def test_nothing_that_is_only_called_alike_is_one() -> None:
    for command in ("/srv/a/bin/master", "php nginx.php", "python -m cron", "bin/nginx-exporter"):
        assert imported(program(command)).report.written == 1


def test_what_is_not_to_start_is_written_as_a_comment() -> None:
    found = imported(program(WORK, "autostart=false"))
    assert not found.report.written
    (worker,) = of(found)
    assert (worker.command, worker.preset) == (WORK, "laravel")
    assert "autostart=false" in decisions(found)


# --- times and places -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        (f"{WORK} --timeout=1800", (), "1805s"),
        (f"{WORK} --timeout=1800", ("stopwaitsecs=60",), "1805s"),
        (f"{WORK} --timeout=2592000", (), "2592005s"),
        (f"{WORK} --timeout=1800", ("stopwaitsecs=7200",), "7200s"),
        (f"{WORK} --timeout=30", (), "90s"),
        (f"{WORK} --timeout=0", (), "90s"),
        ("celery -A shop worker --time-limit=7200", (), "7205s"),
        ("bundle exec sidekiq -t 300", (), "305s"),
    ],
)
def test_a_time_limit_is_the_stop_timeout(
    command: str, options: tuple[str, ...], expected: str
) -> None:
    found = imported(program(command, *options))
    (worker,) = of(found)
    assert str(worker.stop_timeout) == expected
    assert "check: stop_timeout" not in found.text


@pytest.mark.parametrize(
    ("command", "directory"),
    [
        ("php /srv/a/vendor/bin/resque", "/srv/a"),
        ("/srv/a/vendor/bin/resque", "/srv/a"),
        ("php -d memory_limit=512M /srv/a/artisan queue:work", "/srv/a"),
        ("php8.2 -d a=b -d c=d /srv/a/bin/console messenger:consume x", "/srv/a"),
        ("timeout 1h php /srv/a/artisan queue:work", "/srv/a"),
        ("/srv/a/venv/bin/rq worker", "/srv/a"),
        ("/srv/a/.venv/bin/python -m rq.cli worker", "/srv/a"),
        ("/srv/a/env/bin/python /srv/b/manage.py rqworker", "/srv/b"),
        ("node /srv/a/node_modules/.bin/thing", "/srv/a"),
        ("/opt/venv/bin/rq worker", "/"),
        ("/usr/bin/php /usr/bin/thing", "/"),
        ("/srv/a/bin/worker", "/"),
    ],
)
def test_the_directory_is_where_the_app_is(command: str, directory: str) -> None:
    found = imported(program(command, directory=""))
    (worker,) = of(found)
    assert worker.directory == directory
    assert ('directory = "/"' in decisions(found)) is (directory == "/")


def test_one_slow_program_does_not_make_all_slow() -> None:
    two = "[program:a]\ncommand=/srv/a/a\n{}[program:b]\ncommand=/srv/a/b\n{}"

    def healthy(first: str, second: str) -> tuple[float, str]:
        found = imported(two.format(first, second))
        app: App = parse(found.text, source="x", presets=PRESETS)
        return app.rollout.min_healthy.seconds, decisions(found)

    least, said = healthy("startsecs=300\n", "")
    assert least == 10
    assert "startsecs=300: min_healthy is for all workers, and stays 10s" in said
    assert healthy("startsecs=300\n", "startsecs=30\n")[0] == 30
    assert healthy("startsecs=300\n", "startsecs=300\n") == (300, healthy("", "")[1])


def test_every_missing_variable_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        imported(program("/x %(ENV_C)s", 'environment=A="%(ENV_X)s",B="%(ENV_Y)s %(ENV_X)s"'))
    (problem, other) = caught.value.problems
    assert "X is not in the environment" in problem
    assert "Y is not in the environment" in problem
    assert "C is not in the environment" in other
    assert "--env C=… --env X=… --env Y=…" in caught.value.hint


def test_what_all_have_is_said_once() -> None:
    text = "".join(
        f"[program:{name}]\ncommand=/srv/a/{name}\nuser=app\ndirectory=/srv/a\n"
        f'environment=APP_ENV="prod",NAME="{name}"\n'
        for name in ("a", "b")
    )
    found = imported(text)
    for line in ('user = "app"', 'directory = "/srv/a"', 'APP_ENV = "prod"'):
        assert found.text.count(line) == 1
    assert [dict(worker.environment)["NAME"] for worker in of(found)] == ["a", "b"]
    assert all(dict(worker.environment)["APP_ENV"] == "prod" for worker in of(found))


@pytest.mark.parametrize(
    ("command", "preset"),
    [
        ("bundle-2.1 exec sidekiq", "sidekiq"),
        ("bundle3.0 exec sidekiq", "sidekiq"),
        ("flask rq worker", "rq"),
        ("flask --app shop rq worker high", "rq"),
        ("./manage.py rq worker", "rq"),
        ("python3.11 manage.py rq worker", "rq"),
        ("timeout 1h php artisan queue:work", "laravel"),
        ("tini -g -- php artisan queue:work", "laravel"),
        ("dumb-init php artisan queue:work", "laravel"),
    ],
)
def test_a_framework_is_seen_behind_its_runner(command: str, preset: str) -> None:
    (worker,) = of(imported(program(command)))
    assert worker.preset == preset


# --- the account ----------------------------------------------------------------------------------


def test_a_program_in_two_files_is_said() -> None:
    ini = Ini()
    ini.read("[program:w]\ncommand=/srv/a/one\nnumprocs=1\n", "conf.d/a.conf")
    ini.read("[program:w]\ncommand=/srv/a/two\n", "conf.d/b.conf")
    around = Surroundings("/etc", "host", {})

    def recognise(_line: str, _directory: str) -> Looks:
        return Looks()

    found = translate(ini, read(ini, around, "x"), Wishes("x"), recognise)
    assert of(found)[0].command.endswith("two")
    assert "[program:w] is in conf.d/a.conf, then conf.d/b.conf" in decisions(found)
    assert "conf.d/b.conf has the last word" in decisions(found)


def test_the_summary_fits_a_screen_whatever_there_is() -> None:
    text = "".join(
        f"[program:w{n}]\ncommand=/srv/app{n}/worker\nstartsecs={n + 11}\n" for n in range(60)
    )
    lines = imported(f"{text}[program:z]\ncommand=/x\n").report.summary().splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 100 for line in lines)
    assert lines[-1].endswith("more: --explain")
    assert "60 workers" in lines[0] or "61 workers" in lines[0]


def test_nothing_to_decide_is_said_too() -> None:
    found = imported(program(WORK, "user=app", "autorestart=true"))
    found.report.decisions.clear()
    assert found.report.summary().endswith("nothing to decide (every option: --explain)")


# --- a Procfile -----------------------------------------------------------------------------------


def test_a_procfile_s_lines_lose_the_same() -> None:
    def recognise(line: str, _: str) -> Looks:
        found = framework_of(PRESETS, line, {})
        return Looks(found[0] if found else None)

    text = (
        "worker: while true; do rq worker; sleep 2; done\n"
        "mail: rq worker mail 2>&1 | tee -a /tmp/mail.log\n"
        "other: sudo -u app rq worker other\n"
        "hourly: while :; do bin/report; sleep 1h; done\n"
    )
    found = procfile.read(
        text, Wishes("Procfile"), recognise, directory="/srv/a", env_file=None, formation={}
    )
    workers = {worker.name: worker for worker in of(found)}
    assert {name: worker.command for name, worker in workers.items()} == {
        "worker": "rq worker", "mail": "rq worker mail", "other": "rq worker other",
    }  # fmt: skip
    assert workers["other"].user == "app"
    assert workers["worker"].restart_delay.seconds == 2
    assert "# OnUnitInactiveSec=3600s" in found.text
