"""Which texts of a unit stop a process alike."""

from __future__ import annotations

import pytest

from tests.harness.build import app, rendered
from unitq.model import names
from unitq.units.same_stop import alike, stop_timeout, with_longer_limit
from unitq.units.text import PIN

TEMPLATE = names.template("shop", "sms")


def text(**settings: str) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
    found = app(f'[workers.sms]\ncommand = "/bin/worker"\n{lines}')
    return next(unit.text for unit in rendered(found).units if unit.name == TEMPLATE)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"nice": "5"},
        {"umask": '"0077"'},
        {"queues": '["sms"]'},
        {"limits": "{ LimitNOFILE = 1024 }"},
        {"environment": '{ A = "b" }'},
        {"restart_delay": '"5s"'},
        {"start_limit": '"5/1min"'},
        {"user": '"ann"'},
    ],
)
def test_what_counts_at_the_start_only(settings: dict[str, str]) -> None:
    assert alike(text(), text(**settings))
    assert alike(text(**settings), text())


def test_a_directive_that_goes_on_over_lines_may_say_anything() -> None:
    before = "[Service]\nExecStart=/bin/a \\\n  -x\n"
    # The second line may belong to any directive: alone it names none that is harmless.
    assert not alike(before, before.replace("-x", "Nice=5"))
    assert not alike("[Service]\n", "[Service]\nNice=5 \\\n")
    assert not alike("[Service]\n", "[Service]\nEnvironment=A=1 \\\nNice=2\n")
    assert alike("[Service]\n", "[Service]\nNice=5\n")


def test_a_command_counts_at_the_start_only() -> None:
    assert alike(text(), text().replace("/bin/worker", "/bin/other"))


@pytest.mark.parametrize(
    "settings",
    [
        {"stop_signal": '"SIGTERM"'},
        {"stop_timeout": '"1min"'},
        {"kill_mode": '"mixed"'},
        {"service": '{ ExecStop = "/bin/true" }'},
        {"service": '{ MemoryMax = "100M" }'},
        {"service": '{ SomethingNew = "1" }'},
        {"unit": '{ BindsTo = "redis.service" }'},
    ],
)
def test_what_counts_at_the_stop_too(settings: dict[str, str]) -> None:
    assert not alike(text(), text(**settings))
    assert not alike(text(**settings), text())


def test_a_pin_is_like_its_text() -> None:
    assert alike(PIN + text(), text())


def test_a_line_that_goes_on_is_not_trusted() -> None:
    assert not alike("[Service]\nEnvironment=A=b \\\nKillSignal=SIGTERM\n", "[Service]\n")


def test_a_directive_that_moved_to_another_section_is_no_directive_there() -> None:
    assert not alike(
        "[Service]\nKillSignal=SIGQUIT\n[Unit]\n", "[Service]\n[Unit]\nKillSignal=SIGQUIT\n"
    )


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ("TimeoutStopSec=3s", 3.0),
        ("TimeoutStopSec = 5min 20s ", 320.0),
        ("TimeoutStopSec=90", 90.0),
        ("TimeoutStopSec=infinity", float("inf")),
        ("TimeoutStopSec=0", float("inf")),
        ("TimeoutStopSec=3s\nTimeoutStopSec=1h", 3600.0),  # the last one wins
        ("", None),
        ("TimeoutStopSec=", None),
        ("TimeoutStopSec=soon", None),
        ("# TimeoutStopSec=3s", None),
        ("TimeoutStartSec=3s", None),
        # Of these nothing is claimed.
        ("TimeoutStopSec=3s\nTimeoutSec=1h", None),
        ("TimeoutStopSec=3s \\\n4s", None),
        ("ExecStart=/bin/a \\\nTimeoutStopSec=3s", None),
    ],
)
def test_how_long_a_text_lets_a_process_take(lines: str, seconds: float | None) -> None:
    assert stop_timeout(f"[Service]\n{lines}\n") == seconds
    longer = "[Service]\nTimeoutStopSec=2h\n"
    changed = with_longer_limit(f"[Service]\n{lines}\n", longer)
    expected = 7200.0 if seconds is not None and seconds < 7200.0 else seconds
    assert stop_timeout(changed) == expected
    if expected == seconds:
        assert changed == f"[Service]\n{lines}\n"
    else:
        assert alike(with_longer_limit(changed, longer), changed)


def test_only_the_limit_changes() -> None:
    old = "[Service]\nKillSignal=SIGTERM\nTimeoutStopSec=3s\n# end\n"
    new = "[Service]\nKillSignal=SIGQUIT\nTimeoutStopSec=20s\nNice=5\n"
    assert with_longer_limit(old, new) == old.replace("3s", "20s")
    assert with_longer_limit(new, old) == new
