"""Directives of an operator's own that work against a smooth stop."""

from __future__ import annotations

import pytest

from tests.harness.build import app
from unitq.config.service_lint import of_app


@pytest.mark.parametrize(
    ("service", "named", "part"),
    [
        ('ExecStop = "/bin/kill -TERM $MAINPID"', "exec-stop", '`stop_signal = "SIGTERM"`'),
        ('ExecStop = "/bin/kill -s INT $MAINPID"', "exec-stop", '`stop_signal = "SIGINT"`'),
        ('ExecStop = "/bin/kill $MAINPID"', "exec-stop", '`stop_signal = "SIGTERM"`'),
        ('ExecStop = "/bin/kill -SIGUSR2 $MAINPID"', "exec-stop", '"SIGUSR2"'),
        ("ExecStop = \"/bin/sh -c 'pkill -QUIT php'\"", "exec-stop", '"SIGQUIT"'),
        ('ExecStop = ["/bin/true", "/usr/bin/killall php"]', "exec-stop", ""),
        ("SendSIGHUP = true", "exec-stop", "SIGHUP right after SIGQUIT"),
        ("SendSIGHUP = false", "", ""),
        ('WatchdogSec = "30s"', "watchdog", "30s, but nothing says"),
        ('WatchdogSec = "30s"\nType = "exec"', "watchdog", ""),
        ('ExecStop = "/usr/bin/php artisan horizon:terminate --wait"', "", ""),
        ('ExecStop = "/opt/bin/skill-report"', "", ""),
        ('ExecStop = ["/bin/kill $MAINPID", ""]', "", ""),
        ('WatchdogSec = "30s"\nType = "notify"', "", ""),
        ('WatchdogSec = "30s"\nNotifyAccess = "all"', "", ""),
        ('WatchdogSec = "0"', "", ""),
    ],
)
def test_the_table(service: str, named: str, part: str) -> None:
    found = list(of_app(app(f'[workers.w]\ncommand = "w"\n[workers.w.service]\n{service}\n')))
    assert [each.name for each in found] == ([named] if named else []), found
    assert all(part in each.text for each in found)
