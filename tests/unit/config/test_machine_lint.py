"""What the machine does not keep of a worker's settings."""

from __future__ import annotations

import pytest

from tests.harness.build import HEAD, app
from unitq.config.machine_lint import Patience, of_memory, of_shutdown
from unitq.model.finding import Level

WORKER = '[workers.sms]\ncommand = "/bin/worker"\n'


@pytest.mark.parametrize(
    ("recycle", "service", "named"),
    [
        ("256M", 'MemoryMax = "512M"', []),
        ("256M", 'MemoryMax = "256M"', ["MemoryMax= is 256M"]),
        ("1G", 'MemoryMax = "512M"', ["MemoryMax= is 512M"]),
        ("256M", "MemoryMax = 134217728", ["MemoryMax= is 128M"]),
        ("256M", 'MemoryHigh = "256M"', []),
        ("256M", 'MemoryHigh = "255M"', ["MemoryHigh= is 255M"]),
        ("1G", 'MemoryHigh = "512M"\nMemoryMax = "768M"', ["MemoryMax=", "MemoryHigh="]),
        # The last line counts.
        ("256M", 'MemoryMax = ["128M", "1G"]', []),
        ("256M", 'MemoryMax = "infinity"\nMemoryHigh = "50%"', []),
        ("256M", "", []),
    ],
)
def test_recycling_comes_before_the_kernel(recycle: str, service: str, named: list[str]) -> None:
    found = list(
        of_memory(
            app(f'{WORKER}recycle = {{ memory = "{recycle}" }}\n[workers.sms.service]\n{service}')
        )
    )
    assert all(each.level is Level.ERROR for each in found)
    assert {each.place for each in found} <= {"workers.sms.recycle.memory"}
    assert len(found) == len(named)
    assert all(words in each.text for words, each in zip(named, found, strict=True))


def test_without_recycling_any_limit_is_the_operators_own() -> None:
    assert not list(of_memory(app(f'{WORKER}[workers.sms.service]\nMemoryHigh = "1M"')))


def test_what_a_shutdown_does_not_wait_for() -> None:
    long = app(f'{WORKER}stop_timeout = "1h"')
    (found,) = of_shutdown(long, Patience(reboot=1800.0))
    assert found.level is Level.WARNING
    assert found.place == "stop_timeout"
    assert found.message == "does not hold at a reboot for sms (1h)"
    assert found.why.startswith("systemd waits 1800 s (reboot.target")
    assert found.hint.endswith("on two lines: [Unit] JobTimeoutSec=65min")
    assert not list(of_shutdown(app(f'{WORKER}stop_timeout = "30min"'), Patience(reboot=1800.0)))
    wait = app(WORKER, f'{HEAD}\n[rollout]\non_drain_timeout = "wait"\n')
    (found,) = of_shutdown(wait, Patience(reboot=1800.0))
    assert found.place == "on_drain_timeout"
    assert found.message == "does not hold at a reboot for sms (wait)"
    assert found.hint.endswith("[Unit] JobTimeoutSec=infinity")
    # As a machine says that has no such limit, or where systemd cannot be asked.
    assert not list(of_shutdown(wait, Patience(reboot=None)))


def test_a_users_manager_has_less_patience() -> None:
    (found,) = of_shutdown(app(f'{WORKER}stop_timeout = "160s"'), Patience(1800.0, 120.0))
    assert "systemd waits 120 s (user@.service" in found.why
    assert found.hint.endswith("[Service] TimeoutStopSec=8min")
    assert len(list(of_shutdown(app(f'{WORKER}stop_timeout = "1h"'), Patience(1800.0, 120.0)))) == 2


def test_all_workers_are_named_at_once() -> None:
    two = f'{WORKER}stop_timeout = "1h"\n{WORKER.replace("sms", "mail")}stop_timeout = "2h"\n'
    short = WORKER.replace("sms", "quick")
    (found,) = of_shutdown(app(f"{two}{short}"), Patience(reboot=1800.0))
    assert found.message.endswith(" for sms (1h), mail (2h)")
