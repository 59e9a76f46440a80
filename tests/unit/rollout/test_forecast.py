"""What a plan promises of its rollout."""

from __future__ import annotations

import math

import pytest

from tests.harness.build import HEAD, app, instance, revision
from unitq.rollout.forecast import Forecast, forecast
from unitq.rollout.plan import Change, DrainLimit, PlannedChange


def expected(counts: dict[Change, int], rollout: str = "", worker: str = "") -> Forecast:
    text = f'[workers.sms]\ncommand = "/bin/worker"\nstop_timeout = "1min"\n{worker}'
    found = revision(app(text, head=f"{HEAD}\n[rollout]\nhealthy_deadline = '30s'\n{rollout}"))
    steps = [
        PlannedChange(instance(f"sms@{number}"), do, "")
        for number, do in enumerate((do for do, count in counts.items() for _ in range(count)), 1)
    ]
    (part,) = forecast(steps, found, found.rollout)
    return part


def test_a_sliding_window_of_one() -> None:
    part = expected({Change.RESTART: 4})
    assert (part.least, part.most, part.seconds) == (3, 4, 4 * 90)


@pytest.mark.parametrize(
    ("rollout", "least", "most", "seconds"),
    [
        ("max_unavailable = 2", 2, 4, 2 * 90),
        ("max_unavailable = '100%'", 0, 4, 90),
        ("max_unavailable = 0\nmax_surge = 1", 4, 5, 4 * 90),
        ("max_surge = '50%'", 3, 6, 2 * 90),
        ("canary = 1\ncanary_soak = '1min'", 3, 4, 5 * 90 + 60),
        ("on_drain_timeout = 'wait'", 3, 4, math.inf),
    ],
)
def test_the_pace_decides(rollout: str, least: int, most: int, seconds: float) -> None:
    part = expected({Change.RESTART: 4}, rollout)
    assert (part.least, part.most, part.seconds) == (least, most, seconds)


def test_what_is_new_comes_first_and_what_goes_last() -> None:
    part = expected({Change.KEEP: 2, Change.START: 1, Change.STOP: 1})
    assert (part.instances, part.least, part.most, part.seconds) == (3, 2, 4, 30 + 60)


def test_a_singleton_has_no_surge() -> None:
    part = expected({Change.RESTART: 1}, "max_unavailable = 0\nmax_surge = 1", "singleton = true")
    assert (part.least, part.most) == (0, 1)


def test_old_processes_may_take_as_long_as_their_own_limit_says() -> None:
    found = revision(app('[workers.sms]\ncommand = "/bin/worker"\nstop_timeout = "1min"\n'))
    steps = [PlannedChange(instance("sms@1"), Change.RESTART, "")]
    limits = [DrainLimit("sms", before=600.0, after=60.0), DrainLimit("mail", 9000.0, 60.0)]
    (part,) = forecast(steps, found, found.rollout, limits)
    (plain,) = forecast(steps, found, found.rollout)
    assert part.seconds - plain.seconds == 540.0


def test_a_worker_that_is_left_alone_is_not_spoken_of() -> None:
    found = revision(app())
    assert forecast([PlannedChange(instance("sms@1"), Change.KEEP, "")], found, found.rollout) == ()
