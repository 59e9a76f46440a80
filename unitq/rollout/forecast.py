"""Predicts a rollout before anything is touched: its order, its pace, its worst case."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from unitq.model.settings import OnDrainTimeout
from unitq.rollout.plan import Change

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.settings import RolloutSettings
    from unitq.revisions.model import Revision
    from unitq.rollout.plan import DrainLimit, PlannedChange


class Forecast(NamedTuple):
    """One worker's part of a rollout."""

    worker: str
    instances: int  # that stay
    replaced: int
    serving: int  # of those, now
    least: int  # that serve throughout, as long as nothing fails
    most: int  # processes at any time
    canaries: int
    seconds: float  # if each drain and each start takes as long as it may; inf: no limit


def forecast(
    changes: Iterable[PlannedChange],
    target: Revision,
    settings: RolloutSettings,
    limits: Iterable[DrainLimit] = (),
) -> tuple[Forecast, ...]:
    """Returns what each worker that is touched goes through."""
    limits = tuple(limits)
    workers: dict[str, list[PlannedChange]] = {}
    for planned in changes:
        workers.setdefault(planned.instance.worker, []).append(planned)
    return tuple(
        _forecast(name, workers[name], target, settings, limits)
        for name in sorted(workers)
        if any(planned.change is not Change.KEEP for planned in workers[name])
    )


def _forecast(
    name: str,
    changes: list[PlannedChange],
    target: Revision,
    settings: RolloutSettings,
    limits: tuple[DrainLimit, ...],
) -> Forecast:
    counts = Counter(planned.change for planned in changes)
    staying = counts[Change.KEEP] + counts[Change.START] + counts[Change.RESTART]
    replaced = counts[Change.RESTART]
    worker = target.worker(name)
    surge = 0 if worker and worker.singleton else min(settings.surge(staying), replaced)
    # Without a surge, one at a time has to go all the same.
    width = max(settings.unavailable(staying), 0 if surge else 1) if staying else 0
    kept = (Change.KEEP, Change.RESTART)
    serving = sum(planned.serving and planned.change in kept for planned in changes)
    drain = _drain(target, name, settings, limits)
    return Forecast(
        worker=name,
        instances=staying,
        replaced=replaced,
        serving=serving,
        # What is down is unavailable as well, and counts against what others may be.
        least=min(serving, max(0, staying - width)) if replaced else serving,
        most=staying + surge + counts[Change.STOP],
        canaries=min(replaced, settings.canaries(staying)),
        seconds=_worst(counts, width + surge, settings, drain),
    )


def _drain(
    target: Revision, worker: str, settings: RolloutSettings, limits: Iterable[DrainLimit]
) -> float:
    """Returns the seconds that a drain may take; of a worker that is gone it is not known."""
    if longest := [limit.seconds for limit in limits if limit.worker == worker]:
        return max(longest)
    revised = target.worker(worker)
    if settings.on_drain_timeout is OnDrainTimeout.WAIT:
        return math.inf
    if revised is None:
        return 0.0
    return math.inf if revised.stop_timeout is None else revised.stop_timeout


def _worst(counts: Counter[Change], width: int, settings: RolloutSettings, drain: float) -> float:
    start = settings.healthy_deadline.seconds
    # What is new starts first, what leaves stops last; in between the window moves.
    seconds = start if counts[Change.START] else 0.0
    if counts[Change.RESTART]:
        rounds = math.ceil(counts[Change.RESTART] / max(1, width))
        if settings.canary.number:
            rounds += 1
            seconds += settings.canary_soak.seconds
        seconds += rounds * (drain + start)
    return seconds + (drain if counts[Change.STOP] else 0.0)
