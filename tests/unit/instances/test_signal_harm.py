"""Which signals are refused, and why."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from unitq.instances.signal_harm import Framework, Recipient, problems
from unitq.linux import proc
from unitq.model.names import InstanceName
from unitq.presets import store as stored
from unitq.presets.file import parse

if TYPE_CHECKING:
    from unitq.presets.model import Preset

ONE, TWO = InstanceName("sms", 1), InstanceName("sms", 2)


@cache
def preset(name: str) -> Preset:
    return stored.load(PurePosixPath("/nowhere"))[name]


def refused(
    name: str | None,
    number: int,
    *,
    handles: bool | None = True,
    command: str = "",
    own: str = "",
) -> str:
    recipients = {ONE: [Recipient("php", handles)]}
    known = {}
    if name:
        fitted = preset(name).for_command(command)
        known = {"sms": Framework(fitted, own or fitted.stop.signal)}
    return "; ".join(problems(number, recipients, known))


@pytest.mark.parametrize(
    ("name", "number", "reason"),
    [
        ("rq", signal.SIGUSR2, "RQ, SIGUSR2: dies"),
        ("rq", signal.SIGQUIT, "RQ, SIGQUIT: dies, and the job stays in progress"),
        ("rq", signal.SIGTERM, ""),
        ("php-resque", signal.SIGUSR2, ""),
        ("php-resque", signal.SIGCONT, ""),
        ("php-resque", signal.SIGQUIT, ""),
        ("php-resque", signal.SIGTERM, "php-resque, SIGTERM: resque/php-resque kills the child"),
        ("php-resque", signal.SIGUSR1, "kills the child"),
        ("celery", signal.SIGUSR1, ""),
        ("celery", signal.SIGHUP, ""),
        ("celery", signal.SIGQUIT, "cold shutdown"),
        ("huey", signal.SIGTERM, "the task in hand is lost"),
        ("sidekiq", signal.SIGTSTP, ""),
        ("sidekiq", signal.SIGTTIN, ""),
        (None, signal.SIGUSR2, ""),
    ],
)
def test_what_the_preset_says(name: str | None, number: int, reason: str) -> None:
    said = refused(name, number)
    assert reason in said
    assert bool(said) is bool(reason)


@pytest.mark.parametrize(
    ("name", "number", "command", "count", "reason"),
    [
        ("dramatiq", signal.SIGTERM, "dramatiq shop", 3, "SIGTERM to every process: SIGTERM to"),
        ("dramatiq", signal.SIGTERM, "dramatiq shop", 1, ""),
        ("dramatiq", signal.SIGINT, "dramatiq shop", 3, ""),
        ("celery", signal.SIGTERM, "celery -A p worker", 3, "Celery, SIGTERM to every process"),
        ("celery", signal.SIGTERM, "celery -A p worker -P threads", 3, ""),
        ("laravel", signal.SIGTERM, "php artisan queue:work", 3, ""),
        ("rq", signal.SIGTERM, "rq worker a", 2, "RQ, SIGTERM to every process"),
        ("rq", signal.SIGINT, "rq worker a", 2, ""),
    ],
)
def test_what_drains_a_main_process_may_cost_jobs_where_all_get_it(
    name: str, number: int, command: str, count: int, reason: str
) -> None:
    fitted = preset(name).for_command(command)
    known = {"sms": Framework(fitted, fitted.stop.signal)}
    found = "; ".join(problems(number, {ONE: [Recipient("x", True)] * count}, known))
    assert reason in found
    assert bool(reason) is bool(found)


def test_what_lets_jobs_finish_for_this_command_is_sent() -> None:
    assert not refused("huey", signal.SIGTERM, command="huey_consumer.py app.huey -g TERM")
    # What systemd sends at every stop is what the operator has chosen, and `check` has judged.
    assert not refused("resque", signal.SIGTERM, own="SIGTERM")


@pytest.mark.parametrize(
    ("number", "handles", "reason"),
    [
        (signal.SIGUSR2, False, "php has no handler for SIGUSR2, so it would die at once"),
        (signal.SIGQUIT, False, "php has no handler for SIGQUIT, so it would die at once"),
        (signal.SIGKILL, False, "no process can handle SIGKILL"),
        (signal.SIGUSR2, True, ""),
        (signal.SIGUSR2, None, ""),  # not known, so nothing is claimed
        (signal.SIGCONT, False, ""),
        (signal.SIGTSTP, False, ""),
        (signal.SIGWINCH, False, ""),
        (signal.SIGSTOP, False, ""),
    ],
)
@pytest.mark.parametrize("name", [None, "node-resque"])
def test_what_has_no_handler(
    name: str | None, number: int, handles: bool | None, reason: str
) -> None:
    said = refused(name, number, handles=handles)
    if name and number == signal.SIGQUIT and handles:
        return
    assert reason in said
    assert bool(said) is bool(reason)


@pytest.mark.parametrize(
    ("name", "number", "reason"),
    [
        ("rq", signal.SIGTERM, "RQ drains, and SIGTERM would be its second signal: finishes"),
        ("rq", signal.SIGINT, "RQ drains, and SIGINT"),
        ("dramatiq", signal.SIGTERM, "a second one ends it at once"),
        ("huey", signal.SIGINT, "a second one interrupts them"),
        ("celery", signal.SIGINT, "a second one is cold"),
        ("celery", signal.SIGTERM, ""),
        ("sidekiq", signal.SIGTERM, ""),
        ("arq", signal.SIGTERM, ""),
        ("php-resque", signal.SIGQUIT, ""),
    ],
)
def test_a_second_signal_may_cost_the_job_that_the_first_one_spares(
    name: str, number: int, reason: str
) -> None:
    assert not refused(name, number)
    known = {"sms": Framework(preset(name), preset(name).stop.signal)}
    both = {each: [Recipient("php", handles=True)] for each in (ONE, TWO)}
    said = "; ".join(problems(number, both, known, {TWO}))
    assert reason in said
    assert said.startswith("sms@2: ") is bool(reason)


def test_a_reason_is_said_once_for_all_whom_it_holds_for() -> None:
    recipients = {ONE: [Recipient("php", False)], TWO: [Recipient("php", False)]}
    (line,) = problems(signal.SIGUSR2, recipients, {})
    assert line.startswith("sms@1, sms@2: php has no handler")
    many = {InstanceName("sms", number): [Recipient("php", False)] for number in range(1, 10)}
    (line,) = problems(signal.SIGUSR2, many, {})
    assert "sms@5 and 4 more: php" in line


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", False),
        ("signal.signal(12, lambda *_: None)", True),
        ("signal.signal(12, signal.SIG_IGN)", True),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [12])", True),  # for sigwait or signalfd
    ],
    ids=["default", "handler", "ignored", "blocked"],
)
def test_what_the_kernel_says_of_a_process(code: str, expected: bool) -> None:
    words = [
        sys.executable,
        "-c",
        f"import signal, time\n{code}\nprint(flush=True)\ntime.sleep(60)",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            process.stdout.readline()
            assert proc.handles(process.pid, signal.SIGUSR2) is expected
            assert proc.handles(process.pid, signal.SIGKILL) is False
        finally:
            process.kill()
    assert proc.handles(process.pid, signal.SIGUSR2) is None


# Words by which a preset says that a worker dies or a job is cut off, at the beginning or alone.
HARM = ("dies", "kills the child", "ends at once", "exits with 0 at once", "cold shutdown",
        "ends the master", "is --timeout")  # fmt: skip


@pytest.mark.parametrize("name", sorted(stored.names(PurePosixPath("/nowhere")) - {"none"}))
def test_each_signal_that_is_said_to_cost_jobs_is_one_that_loses_them(name: str) -> None:
    found = preset(name)
    says = dict(found.signals)
    assert {*found.stop.loses, *found.stop.again} <= {*says}
    first = {each for each, words in says.items() if words.startswith(HARM)}
    assert first <= {*found.stop.loses}
    # Their own: what stops them, pauses them, and lets them take jobs again.
    good = {found.stop.signal, *found.stop.drains, *found.stop.drains_all}
    assert not {*found.stop.loses} & {*good, found.quiet.signal, found.quiet.resume}


@pytest.mark.parametrize(
    ("loses", "problem"),
    [
        ('["SIGTERM"]', "SIGTERM cannot be in drains as well"),
        ('["SIGHUP"]', "[signals] has to say what SIGHUP does"),
        ('["SIGNOPE"]', "signal such as"),
        ('"SIGUSR1"', "a list of signals"),
    ],
)
def test_a_preset_that_contradicts_itself_is_refused(loses: str, problem: str) -> None:
    text = f'title = "Own"\n[stop]\nsignal = "SIGTERM"\nloses = {loses}\n[signals]\nSIGUSR1 = "x"\n'
    with pytest.raises(Exception, match="own") as refusal:
        parse(text, name="own", source="own.toml")
    assert problem in str(refusal.value.problems)  # type: ignore[attr-defined]
