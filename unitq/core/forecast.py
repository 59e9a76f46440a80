"""What a rollout will be like, before anything is touched: its order, its pace, its worst case."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from unitq.core.plan import Change
from unitq.core.settings import OnDrainTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.core.plan import DrainLimit, PlannedChange
    from unitq.core.revision import Revision
    from unitq.core.settings import RolloutSettings


class Forecast(NamedTuple):
    """One worker's part of a rollout."""

    worker: str
    instances: int  # that stay
    replaced: int
    serving: int  # of those, now
    least: int  # serving at every moment, as long as nothing fails
    most: int  # processes at any moment
    canaries: int
    seconds: float  # should each drain and each start take all the time it may; inf: no limit


def forecast(
    steps: Iterable[PlannedChange],
    target: Revision,
    settings: RolloutSettings,
    limits: Iterable[DrainLimit] = (),
) -> tuple[Forecast, ...]:
    """What each worker that is touched goes through."""
    limits = tuple(limits)
    every = list(steps)
    found = []
    for name in sorted({step.instance.worker for step in every}):
        mine = [step for step in every if step.instance.worker == name]
        if all(step.change is Change.KEEP for step in mine):
            continue
        counts = {do: sum(step.change is do for step in mine) for do in Change}
        staying = counts[Change.KEEP] + counts[Change.START] + counts[Change.RESTART]
        replaced = counts[Change.RESTART]
        worker = target.worker(name)
        surge = 0 if worker and worker.singleton else min(settings.surge(staying), replaced)
        # Without any beside them, one at a time has to go all the same.
        width = max(settings.unavailable(staying), 0 if surge else 1) if staying else 0
        up = sum(step.serving and step.change in (Change.KEEP, Change.RESTART) for step in mine)
        found.append(
            Forecast(
                worker=name,
                instances=staying,
                replaced=replaced,
                serving=up,
                # What is down is unavailable as well, and takes of what others may be.
                least=min(up, max(0, staying - width)) if replaced else up,
                most=staying + surge + counts[Change.STOP],
                canaries=min(replaced, settings.canaries(staying)),
                seconds=_worst(
                    counts, width + surge, settings, _drain(target, name, settings, limits)
                ),
            )
        )
    return tuple(found)


def _drain(
    target: Revision, worker: str, settings: RolloutSettings, limits: Iterable[DrainLimit]
) -> float:
    """Seconds that a drain may take. A worker that is gone had its own limit, which we forget."""
    if longest := [limit.seconds for limit in limits if limit.worker == worker]:
        return max(longest)
    found = target.worker(worker)
    if settings.on_drain_timeout is OnDrainTimeout.WAIT:
        return math.inf
    if found is None:
        return 0.0
    return math.inf if found.stop_timeout is None else found.stop_timeout


def _worst(counts: dict[Change, int], width: int, settings: RolloutSettings, drain: float) -> float:
    start = settings.healthy_deadline.seconds
    # What is new comes first, what goes last; between them the window moves on.
    seconds = start if counts[Change.START] else 0.0
    if counts[Change.RESTART]:
        rounds = math.ceil(counts[Change.RESTART] / max(1, width))
        if settings.canary.number:
            rounds += 1
            seconds += settings.canary_soak.seconds
        seconds += rounds * (drain + start)
    return seconds + (drain if counts[Change.STOP] else 0.0)
