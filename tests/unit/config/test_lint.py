"""What `check` says of a file that is valid but may not be meant so."""

from __future__ import annotations

import pytest

from tests.harness.build import app
from unitq.cmdline.invocation import inline_script
from unitq.config.lint import lint_app
from unitq.model.finding import Finding, Level, WorkerFacts


def worker(command: str, *keys: str) -> str:
    lines = [f"command = '''{command}'''", 'stop_timeout = "10min"', *keys]
    return "\n".join(["[workers.sms]", *dict.fromkeys(lines)])


def findings(command: str, *keys: str) -> list[Finding]:
    return lint_app(app(worker(command, *keys)))


def places(command: str, *keys: str) -> list[tuple[Level, str]]:
    return [
        (found.level, found.place.removeprefix("workers.sms."))
        for found in findings(command, *keys)
    ]


def test_nothing_to_say() -> None:
    assert not findings("/usr/bin/php bin/resque")


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("bash -c 'php bin/resque'", "php bin/resque"),
        ('/bin/bash -c "php bin/resque"', "php bin/resque"),
        ("-/bin/sh -c 'a; b'", "a; b"),
        ("bash -lc 'php bin/resque'", "php bin/resque"),
        ("bash -l -c 'php bin/resque'", "php bin/resque"),
        ("/usr/bin/env bash -c 'x'", "x"),
        ("bash --norc -c 'x'", "x"),
        ("bash -eu -o pipefail -c 'x'", "x"),
        ("bash -euo pipefail -c 'x'", "x"),
        ("bash worker.sh", ""),
        ("bash worker.sh -c x", ""),
        ("bash -c", ""),
        ("bash -c 'unclosed", ""),
        ("php bin/resque -c 'x'", ""),
        ("/opt/bash-tools/run -c x", ""),
    ],
)
def test_a_shell_is_recognised(command: str, script: str) -> None:
    assert inline_script(command) == script


@pytest.mark.parametrize(
    ("script", "better"),
    [
        ("php bin/resque", "exec php bin/resque"),
        ("cd app && php bin/resque", "cd app && exec php bin/resque"),
        ("a && b && php x", "a && b && exec php x"),
        ("QUEUE=sms php bin/resque", "QUEUE=sms exec php bin/resque"),
        # Too much for a rewrite that is surely right.
        ("php bin/resque; true", "the last of its script"),
        ("exec 2>&1; php bin/resque", "the last of its script"),
    ],
)
def test_a_shell_gets_a_note_with_the_better_command(script: str, better: str) -> None:
    (found,) = findings(f"bash -c '{script}'")
    assert (found.level, found.place) == (Level.NOTE, "workers.sms.command")
    assert found.hint.endswith(f": {better}")


@pytest.mark.parametrize("script", ["php bin/resque & wait", "php a & php b & wait -n"])
def test_a_worker_in_the_background_ignores_sigquit(script: str) -> None:
    (found,) = findings(f"bash -c '{script}'")
    assert (found.level, found.place) == (Level.WARNING, "workers.sms.command")
    assert "ignores SIGQUIT" in found.message


@pytest.mark.parametrize("script", ["php x && true", "php x 2>&1", "php x >&2", "php x &>log"])
def test_what_only_looks_like_the_background_is_a_note(script: str) -> None:
    assert [found.level for found in findings(f"bash -c '{script}'")] == [Level.NOTE]


@pytest.mark.parametrize(
    "script", ["exec php bin/resque", "cd app && exec php x", ". ./env; exec php x", " exec php x"]
)
@pytest.mark.parametrize("kill_mode", ["mixed", "control-group"])
def test_a_shell_that_hands_over_is_fine(script: str, kill_mode: str) -> None:
    # As check itself advises: what it says must not be refused afterwards.
    assert not findings(f"bash -c '{script}'", f'kill_mode = "{kill_mode}"')


def test_a_shell_under_mixed_is_refused_the_worker_below_would_not_be_told() -> None:
    (found,) = findings("bash -c 'php bin/resque'", 'kill_mode = "mixed"')
    assert (found.level, found.place) == (Level.ERROR, "workers.sms.kill_mode")
    assert "exec" in found.hint


@pytest.mark.parametrize(
    ("stop_timeout", "said"),
    [("29s", True), ("0.5s", True), ("30s", False), ("1min", False), ("infinity", False)],
)
def test_a_short_stop_timeout_gets_a_note(stop_timeout: str, said: bool) -> None:
    text = worker("/bin/worker").replace("10min", stop_timeout)
    found = lint_app(app(text))
    assert [(f.level, f.place) for f in found] == (
        [(Level.NOTE, "workers.sms.stop_timeout")] if said else []
    )


def test_where_a_job_is_waited_for_no_stop_timeout_is_too_short() -> None:
    text = worker("/bin/worker").replace("10min", "1s")
    assert lint_app(app(text))
    assert not lint_app(app(f'[rollout]\non_drain_timeout = "wait"\n{text}'))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["canary = 1", 'canary_soak = "5min"', 'promote = "manual"'], []),
        (['canary = "10%"', 'promote = "manual"'], []),
        (['canary_soak = "5min"'], ["canary_soak"]),
        (['promote = "manual"'], ["promote"]),
        (['canary = "0%"', "canary_soak = 0", 'promote = "manual"'], ["canary_soak", "promote"]),
        (['promote = "auto"', 'canary_soak = "30s"'], []),
    ],
)
def test_what_is_said_of_canaries_that_there_are_not_gets_a_note(
    lines: list[str], expected: list[str]
) -> None:
    text = "\n".join(["[rollout]", *lines, worker("/bin/worker")])
    found = lint_app(app(text))
    assert [(each.level, each.place) for each in found] == [
        (Level.NOTE, f"rollout.{key}") for key in expected
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("bin/probe %i", ""),
        ("-bin/probe", "takes every failure for a success"),
        ("@-/bin/probe x", "takes every failure for a success"),
        ("bin/probe -x", ""),
        ("/srv/shop/current/bin/probe", "names /srv/shop/current"),
        ("php /srv/shop/current/bin/probe", "names /srv/shop/current"),
    ],
)
def test_a_probe_that_asks_nothing_or_the_wrong_code(command: str, said: str) -> None:
    found = findings("/bin/worker", f"probe = {{ command = '{command}' }}")
    assert [(each.level, each.place) for each in found] == (
        [(Level.WARNING, "workers.sms.probe.command")] if said else []
    )
    assert all(said in each.text for each in found)


def test_a_command_that_names_the_directory_would_run_what_is_there_after_a_crash() -> None:
    assert places("/usr/bin/php /srv/shop/current/bin/resque") == [(Level.WARNING, "command")]
    assert places("/srv/shop/current/bin/worker") == [(Level.WARNING, "command")]
    assert places("bin/worker") == []


def test_where_no_link_is_moved_a_whole_path_leads_to_the_same_code() -> None:
    lines = """
[workers.w]
command = "/usr/bin/php /srv/shop/current/artisan x"
stop_timeout = "1min"
probe = { command = "/srv/shop/current/bin/probe" }
"""
    for seen, names in (({}, ["moving-path"] * 2), ({"w": WorkerFacts(in_place=True)}, [])):
        assert [each.name for each in lint_app(app(lines), None, seen)] == names


def test_every_worker_is_looked_at() -> None:
    text = "\n".join(
        f'[workers.{name}]\ncommand = "/bin/worker"\nstop_timeout = "1s"' for name in ("a", "b")
    )
    assert [found.place for found in lint_app(app(text))] == [
        "workers.a.stop_timeout",
        "workers.b.stop_timeout",
    ]


@pytest.mark.parametrize(
    ("command", "sign"),
    [
        ("cd /srv/x && php y", "&&"),
        ("php x || php y", "||"),
        ("php x | logger", "|"),
        ("php x ; php y", ";"),
        ("php x &", "&"),
        ("php x > log", ">"),
        ("php x >>/var/log/x", ">>/var/log/x"),
        ("php x 2>/dev/null", "2>/dev/null"),
        ("php x 2>&1", "2>&1"),
        ("php x < in", "<"),
        ("php x $(hostname)", "$(hostname)"),
        ("php x `hostname`", "`hostname`"),
        ("bash -c 'exec a' && b", "&&"),
    ],
)
def test_what_only_a_shell_would_understand_gets_a_warning(command: str, sign: str) -> None:
    (found,) = [one for one in findings(command) if one.name == "shell-syntax"]
    assert (found.level, found.place) == (Level.WARNING, "workers.sms.command")
    assert f"gets {sign} as" in found.message
    assert f"put {sign} into quotes" in found.hint


@pytest.mark.parametrize(
    "command",
    [
        "php x '&&' \"|\" '2>&1'",
        r"find . -name x -exec rm {} \;",
        "php x --filter=a>b --sep=| a&b a;b x&&y",
        "php x *.php [ab]? ~",
        "bash -c 'a && b | c > d; e &'",
        "php x -gt <id> >5",
        "php x worker@$(hostname)",
        'php x "a ; b" --x="> y"',
    ],
)
def test_a_word_that_is_meant_as_it_stands_gets_none(command: str) -> None:
    assert not [one for one in findings(command) if one.name == "shell-syntax"]


@pytest.mark.parametrize(
    ("rest", "instead"),
    [
        ("&", "leave it out: systemd runs"),
        (">> /log 2>&1", "StandardOutput"),
        ("2>&1", "StandardOutput"),
        ("&& b", "`directory`"),
        ("| logger", "/bin/bash -c"),
        ("< /in", "/bin/bash -c"),
    ],
)
def test_each_sign_of_a_shell_has_its_way(rest: str, instead: str) -> None:
    (found,) = [one for one in findings(f"/bin/a {rest}") if one.name == "shell-syntax"]
    assert instead in found.hint


def test_a_probe_has_no_shell_either() -> None:
    (found,) = findings("php x", '[workers.sms.probe]\ncommand = "bin/a | grep ok"')
    assert found.place == "workers.sms.probe.command"
