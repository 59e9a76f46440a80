"""Which units of this machine each worker is ordered after, and what `check` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.core.envfile import assignments
from unitq.core.finding import Finding, Level
from unitq.core.render import environment_of
from unitq.systemd.local_services import obstacle, served, unknown
from unitq.units.ordering import addresses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.core.model import App, Worker
    from unitq.core.preset import Preset
    from unitq.core.render import Code
    from unitq.systemd.local_services import Served, Surroundings
    from unitq.units.ordering import Address


class ShutdownOrder(NamedTuple):
    """What the workers of an app are ordered after."""

    after: Mapping[str, tuple[str, ...]]  # units by worker
    findings: tuple[Finding, ...]
    refused: tuple[Finding, ...]  # of units that the file names: a deploy does not begin


def shutdown_order(
    app: App, code: Mapping[str, Code], presets: Mapping[str, Preset], around: Surroundings
) -> ShutdownOrder:
    """Returns the units that workers stop before, and start after.

    Those that unitq.toml names, and those that serve Redis or RabbitMQ to workers on this machine.
    """
    refused = tuple(
        Finding(
            Level.ERROR,
            "after",
            f"{unit}: {why}; systemd would leave a start out",
            f'leave "{unit}" out',
        )
        for unit in app.after
        if (why := obstacle(unit, around))
    )
    known = {worker.name: _addresses(app, worker, code, presets) for worker in app.workers}
    once = dict.fromkeys(each for some in known.values() for each in some)
    found = {each.address: each for each in served(once, around)}
    after = {
        name: tuple(
            dict.fromkeys((*app.after, *(s.unit for a in some if (s := found.get(a)) and s.unit)))
        )
        for name, some in known.items()
    }
    findings = [
        Finding(
            Level.WARNING,
            "after",
            f"there is no unit {unit} on this machine",
            "`systemctl list-units` lists them; it would do nothing",
        )
        for unit in unknown(app.after, around.manager)
    ]
    findings += [_said(each, bool(app.after)) for each in found.values()]
    return ShutdownOrder(after, tuple(findings), refused)


def _addresses(
    app: App, worker: Worker, code: Mapping[str, Code], presets: Mapping[str, Preset]
) -> tuple[Address, ...]:
    preset = presets.get(worker.preset or app.redis.preset or "")
    environment: dict[str, str] = {}
    for file in code[worker.name].files:
        environment |= assignments(file.decode(errors="replace"))
    environment |= dict(environment_of(app, worker, code[worker.name]))
    return addresses(
        app.redis.url,
        app.redis.sentinels,
        environment,
        default=bool(preset and preset.redis),
    )


def _said(one: Served, named: bool) -> Finding:
    source = f" ({one.address.source})" if one.address.source else ""
    if one.unit:
        return Finding(
            Level.NOTE,
            "after",
            f"{one.address}{source} is {one.unit}: workers start after it, and stop before it at "
            "a shutdown",
        )
    return Finding(
        Level.NOTE if named else Level.WARNING,
        "after",
        f"{one.address}{source} is on this machine, and workers cannot be ordered after it: "
        f"{one.why}; at a shutdown both stop at once, and jobs are lost",
        'after = ["NAME.service"] names the unit that keeps it, if there is one',
    )
