"""What `check` says of shells, pipes, loops and wrappers before a worker."""

from __future__ import annotations

import pytest

from tests.harness.build import PRESETS, app
from unitq.config.lint import lint_app
from unitq.model.finding import Finding, Level, WorkerFacts

CONTROL, MIXED = 'kill_mode = "control-group"', 'kill_mode = "mixed"'
QUIT, TERM = 'stop_signal = "SIGQUIT"', 'stop_signal = "SIGTERM"'
RQ, RESQUE, LARAVEL = "rq worker a", "php bin/resque", "php artisan queue:work"
OURS = {"pipe", "loop", "wrapper", "launcher", "elsewhere", "shell", "background"}


def findings(command: str, *lines: str, heads: dict[str, str] | None = None) -> list[Finding]:
    text = "\n".join(
        ["[workers.w]", f"command = '''{command}'''", 'stop_timeout = "10min"', *lines]
    )
    found = lint_app(app(text), PRESETS, {"w": WorkerFacts(heads or {})})
    return [each for each in found if each.name in OURS]


@pytest.mark.parametrize("mode", [CONTROL, MIXED, ""])
@pytest.mark.parametrize("preset", ['preset = "rq"', 'preset = "none"', ""])
@pytest.mark.parametrize(
    ("command", "name", "hint"),
    [
        (f'bash -c "exec {RQ} 2>&1 | tee -a /tmp/w.log"', "pipe", "append:/tmp/w.log"),
        (f'bash -c "{RQ} | logger"', "pipe", "leave the pipe out"),
        (f'env A=1 sh -c "cd x && ({RQ}) |& cat"', "pipe", "StandardOutput"),
        (f'bash -c "while true; do {RQ}; sleep 1; done"', "loop", 'restart_delay = "1s"'),
        (f'bash -c "while :; do {RQ} || true; done"', "loop", f"command = '{RQ}'"),
        (f'bash -c "until {RQ}; do sleep 5; done"', "loop", 'restart_delay = "5s"'),
        (f'bash -c "for i in 1 2; do nice {RQ}; done"', "loop", f"command = 'nice {RQ}'"),
        (
            'bash -c "until bundle exec rails runner P.run; do sleep 5; done"',
            "loop",
            "command = 'bundle exec rails runner P.run', and restart_delay = \"5s\"",
        ),
        (f"bash -c 'while :; do {RQ} $Q; done'", "loop", "start it by `exec`"),
        (f"su - app -c '{RQ}'", "elsewhere", 'user = "app"'),
        (f"su -c '{RQ}' app", "elsewhere", 'user = "app"'),
        (f"runuser -l app -c '{RQ}'", "elsewhere", 'user = "app"'),
        (f"sudo -Hu app {RQ}", "elsewhere", 'user = "app"'),
        (f"sudo {RQ}", "elsewhere", 'user = "ACCOUNT"'),
        (f'sudo -u "#1000" {RQ}', "elsewhere", 'user = "1000"'),
        (f"docker run --rm image {RQ}", "elsewhere", "restart policy"),
        # What it starts stands in the image.
        ("docker run --rm app/worker", "elsewhere", "restart policy"),
        ("docker compose -f x.yml up worker", "elsewhere", "restart policy"),
        ("docker start -a w", "elsewhere", "restart policy"),
        ("sh -c 'exec docker run app/worker'", "elsewhere", "restart policy"),
        (f"docker exec app {RQ}", "elsewhere", "restart policy"),
        (f"kubectl exec pod -- {RQ}", "elsewhere", "Deployment"),
        (f"systemd-run --wait --pipe {RQ}", "elsewhere", "unitq makes the unit"),
        (f"ssh host {RQ}", "elsewhere", "that host"),
        (f"bash -c 'exec su app -c \"{RQ}\"'", "elsewhere", 'user = "app"'),
        (f"bash -c 'cd x; sudo -u app {RQ}'", "elsewhere", 'user = "app"'),
        (f"script -qefc '{RQ}' /dev/null", "wrapper", "unitq logs"),
        (f"timeout -k 5 1h {RQ}", "wrapper", "recycle"),
        (f"setsid {RQ}", "wrapper", "session"),
        ("honcho start", "wrapper", "unitq import Procfile"),
    ],
)
def test_what_loses_jobs_in_every_mode_is_refused(
    command: str, name: str, hint: str, preset: str, mode: str
) -> None:
    lines = [line for line in (preset, mode, TERM) if line]
    found = findings(command, *lines)
    assert [(each.level, each.name) for each in found] == [(Level.ERROR, name)]
    assert hint in found[0].hint
    assert found[0].why


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (f"flock -n /l {RESQUE}", "singleton = true"),
        (f"xvfb-run -a {RESQUE}", "Xvfb"),
        (f"unshare --fork {RESQUE}", "no fork"),
        (f"bash -c 'exec flock /l {RESQUE}'", "singleton = true"),
        (f"flock /l -c 'exec {RESQUE}'", "singleton = true"),
    ],
)
def test_what_only_does_not_pass_the_signal_on(command: str, hint: str) -> None:
    lines = ('preset = "php-resque"', QUIT)
    (found,) = findings(command, *lines, MIXED)
    assert (found.level, found.name, found.place) == (
        Level.ERROR, "wrapper", "workers.w.kill_mode",
    )  # fmt: skip
    assert hint in found.hint
    # Where each process gets it, and the framework bears that, no job is lost: measured.
    (found,) = findings(command, *lines)
    assert (found.level, found.name) == (Level.WARNING, "wrapper")
    (found,) = findings(command.replace(RESQUE, RQ), 'preset = "rq"')
    assert (found.level, found.name) == (Level.ERROR, "wrapper")
    assert "every process has to get the stop signal" in found.why


@pytest.mark.parametrize("before", ["honcho run", "watchmedo auto-restart --", "runuser -u app --"])
def test_a_keeper_that_kills_does_so_at_its_own_signals(before: str) -> None:
    (found,) = findings(f"{before} {RESQUE}", 'preset = "php-resque"', TERM, CONTROL)
    assert found.level is Level.ERROR
    (found,) = findings(f"{before} {RESQUE}", 'preset = "php-resque"', QUIT, CONTROL)
    assert found.level is Level.WARNING


@pytest.mark.parametrize(
    "before",
    ["env A=1", "nice -n 5", "chpst -u app", "gosu app", "setpriv --reuid app", "flock -F /l",
     "unshare -m", "poetry run", "bundle exec", "timeout --foreground 1h", "tini --",
     "dumb-init -c", "catatonit --", "uv run --env-file .env", "busybox nice", "linux32",
     "ip netns exec blue", "ip -n x netns exec blue", "runcon -t x", "valgrind --tool=none"],
)  # fmt: skip
@pytest.mark.parametrize("shell", ["{}", 'bash -c "exec {}"', 'sh -c "exec 2>&1; cd x && exec {}"'])
def test_what_hands_over_or_passes_on_is_fine(before: str, shell: str) -> None:
    assert not findings(shell.format(f"{before} {RQ}"), 'preset = "rq"')


@pytest.mark.parametrize(
    ("before", "option"),
    [("timeout 1h", "--foreground"), ("dumb-init", "--single-child"), ("tini -g --", "")],
)
def test_what_tells_the_whole_group_is_a_warning(before: str, option: str) -> None:
    (found,) = findings(f"{before} {RQ}", 'preset = "rq"')
    assert (found.level, found.name) == (Level.WARNING, "wrapper")
    assert option in found.hint
    # SIGTERM loses its jobs, and is what timeout sends when its time is over.
    before = before.replace("timeout", "timeout -s QUIT")
    assert not findings(f"{before} {RESQUE}", 'preset = "php-resque"')


@pytest.mark.parametrize(
    ("before", "name"),
    [("timeout -k 5 1h", "timeout"), ("runuser -u app --", "runuser"), ("script -qc", "script"),
     ("watchmedo auto-restart --", "watchmedo"), ("setsid", "setsid"), ("honcho run", "honcho")],
)  # fmt: skip
@pytest.mark.parametrize("shell", ["", "cd x && ", "A=1 ", ". env; "])
def test_a_shell_hides_no_wrapper_below_it(before: str, name: str, shell: str) -> None:
    worker = f'"{LARAVEL}"' if before.startswith("script") else LARAVEL
    found = findings(f"bash -c '{shell}{before} {worker}'", 'preset = "laravel"', CONTROL, TERM)
    (error,) = [each for each in found if each.level is Level.ERROR]
    assert (error.name, error.message.split()[0]) == ("wrapper", name)


def test_setsid_forks_only_where_it_leads_its_process_group() -> None:
    for script in (f"setsid {LARAVEL}; true", f"setsid {LARAVEL} & wait"):
        found = findings(f"bash -c '{script}'", 'preset = "laravel"', CONTROL, TERM)
        assert [each.level for each in found] == [Level.NOTE], script


@pytest.mark.parametrize(
    ("script", "ends"),
    [
        ("{} &", True),
        ("nohup {} > /dev/null 2>&1 &", True),
        ("{} & echo $! > w.pid", True),
        ("for i in 1 2; do {} & done", True),
        ("{} & wait", False),
        ("{} & {} & wait $!", False),
        ("for i in 1 2; do {} & done; wait", False),
        ("{} & sleep infinity", False),
        ("{} & tail -f log", False),
        ("trap 'kill $!' TERM; {} &", False),
    ],
)
def test_a_shell_that_ends_above_its_worker(script: str, ends: bool) -> None:
    command = f'bash -c "{script.replace("{}", LARAVEL)}"'
    found = findings(command, 'preset = "laravel"', CONTROL, TERM)
    assert ("background" in {each.name for each in found if each.level is Level.ERROR}) is ends


@pytest.mark.parametrize(
    ("preset", "command", "loses"),
    [
        ("rq", "timeout -s KILL 1h rq worker a", "SIGKILL"),
        ("rq", "timeout --signal=9 1h rq worker a", "SIGKILL"),
        ("none", "timeout -s SIGKILL 1h ./w", "SIGKILL"),
        ("celery", "timeout --foreground -s QUIT 1h celery -A shop worker", "SIGQUIT"),
        ("huey", "timeout 1h huey_consumer shop.huey", "SIGTERM"),
        ("huey", "timeout -s INT 1h huey_consumer shop.huey", ""),
        ("huey", "timeout 1h huey_consumer shop.huey -g TERM", ""),
        ("php-resque", f"timeout 1h {RESQUE}", "SIGTERM"),
        ("laravel", f"timeout 1h {LARAVEL}", ""),
        ("rq", "timeout --foreground 1h rq worker a", ""),
    ],
)
def test_a_time_limit_ends_the_worker_by_a_signal_of_its_own(
    preset: str, command: str, loses: str
) -> None:
    found = findings(command, f'preset = "{preset}"')
    errors = [each.message for each in found if each.level is Level.ERROR]
    assert errors == ([f"timeout ends the worker by {loses} when its time is over"] * bool(loses))


@pytest.mark.parametrize("before", ["uv run", "timeout 1h", "tini --", "dotenvx run --"])
def test_what_is_passed_on_may_be_a_second_signal(before: str) -> None:
    for preset, command in (("celery", "celery -A shop worker"), ("rq", RQ)):
        lines = (f'preset = "{preset}"', 'stop_signal = "SIGINT"')
        found = findings(f"{before} {command}", *lines, CONTROL)
        assert [(each.level, each.name) for each in found] == [(Level.WARNING, "wrapper")]
        assert "as well" in found[0].message
    before = before.replace("timeout", "timeout -s QUIT")
    assert not findings(f"{before} {RESQUE}", 'preset = "php-resque"', CONTROL)


def test_a_signal_that_it_does_not_pass_on() -> None:
    (found,) = findings(f"pdm run {RESQUE}", 'preset = "php-resque"')
    assert (found.level, found.name) == (Level.ERROR, "wrapper")
    assert "SIGQUIT" in found.message


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (f"#!/bin/sh\nwhile true; do\n  {RESQUE}\n  sleep 1\ndone\n", "loop"),
        (f"#!/bin/sh\n{RESQUE} | tee log\n", "pipe"),
        (f"#!/bin/sh\nexec su app -c '{RESQUE}'\n", "elsewhere"),
        (f"#!/bin/sh\nexec flock /l {RESQUE}\n", "wrapper"),
        (f"#!/bin/sh\nif x; then exec {RESQUE}; fi\n{RESQUE}\n", "shell"),
        (f"#!/bin/sh\nwhile ! nc -z db 1; do sleep 1; done\nps | grep x | wc -l\nexec {RESQUE}\n",
         ""),
        (f"#!/bin/sh\ntrap 'kill -TERM $P; wait $P' TERM\n{RESQUE} & P=$!\nwait $P\n", "trap"),
        (f"#!/bin/zsh\nif [[ x ]] {{\n{RESQUE}\n", "unknown"),
    ],
)  # fmt: skip
def test_a_script_in_a_file(head: str, name: str) -> None:
    found = findings("bin/w", 'preset = "php-resque"', MIXED, heads={"bin/w": head})
    if name in ("trap", "unknown"):
        (one,) = found
        assert (one.level, one.name, str(one.certainty)) == (Level.WARNING, "shell", "possible")
    else:
        assert [(each.level, each.name) for each in found] == (
            [(Level.ERROR, name)] if name else []
        )


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (f"{RESQUE} | tee log", ["pipe"]),
        (f"exec su app -c '{RESQUE}'", ["elsewhere"]),
        (f"exec watchmedo auto-restart -- {RESQUE}", ["wrapper"]),
        (f"exec {RESQUE} --other", []),
        ("npm start", []),
        ("exec npm start", []),
        ("exec docker run image", []),
    ],
)
def test_what_only_one_way_of_a_script_does_is_no_error(other: str, names: list[str]) -> None:
    for head in (
        f'#!/bin/sh\ncase "$1" in\n other) {other} ;;\n *) exec {RESQUE} ;;\nesac\n',
        f"#!/bin/sh\nif [ $1 = work ]; then exec {RESQUE}; else {other}; fi\n",
    ):
        found = findings("bin/w", 'preset = "php-resque"', MIXED, TERM, heads={"bin/w": head})
        assert [(each.name, each.level, str(each.certainty)) for each in found] == [
            (name, Level.WARNING, "possible") for name in names
        ]


def test_what_every_way_of_a_script_does_is_an_error() -> None:
    head = f"#!/bin/sh\nif [ $1 = a ]; then {RESQUE} | tee a; else {RESQUE} | tee b; fi\n"
    found = findings("bin/w", 'preset = "php-resque"', MIXED, TERM, heads={"bin/w": head})
    assert [(each.level, each.name) for each in found] == [(Level.ERROR, "pipe")]


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        (f"while [ -f on ]; do {RESQUE}; echo again; sleep 2; done",
         f"command = '{RESQUE}', and rest"),
        (f"cd /srv; while true; do {RESQUE}; done", "start it by `exec`, without the loop: syst"),
        (f"export A=1; while :; do {RESQUE}; sleep 5; done",
         'by `exec`, without the loop, and restart_delay = "5s": systemd'),
        (f"A=1; while :; do {RESQUE}; done", "start it by `exec`"),
    ],
)  # fmt: skip
def test_what_is_done_before_a_loop_is_not_to_be_lost(script: str, hint: str) -> None:
    (found,) = findings(f'bash -c "{script}"', 'preset = "php-resque"', MIXED)
    assert (found.level, found.name) == (Level.ERROR, "loop")
    assert hint in found.hint


def test_what_a_file_says_is_not_quoted() -> None:
    head = f"#!/bin/sh\nwhile true; do {RESQUE} --key=secret; sleep 1; done\n"
    (found,) = findings("bin/w", 'preset = "php-resque"', MIXED, heads={"bin/w": head})
    assert "secret" not in found.text
    assert 'restart_delay = "1s"' in found.hint


def test_it_can_be_silenced_by_its_name() -> None:
    from unitq.config.lint import remove_allowed

    it = app(f"""[workers.w]\ncommand = "bash -c '{RQ} | cat'"\npreset = "rq"\nallow = ["pipe"]""")
    kept = remove_allowed(lint_app(it, PRESETS), it)
    assert not [each for each in kept if each.name == "pipe" or each.place.endswith("allow")]
