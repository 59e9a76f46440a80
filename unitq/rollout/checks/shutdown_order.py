"""Which units of this machine each worker is ordered after, and what `check` says of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux.read_as import UnreadableError, read
from unitq.model.finding import Certainty, Finding, Level
from unitq.systemd.envfile import assignments, dotenv
from unitq.units.local_services import obstacle, services_of, unknown
from unitq.units.ordering import addresses
from unitq.units.render import environment_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.model.app import App, Worker
    from unitq.presets.model import Preset
    from unitq.units.local_services import Served, Surroundings
    from unitq.units.ordering import Address
    from unitq.units.render import Code

# What workers read themselves: Laravel the first, Symfony both.
_DOTENV = (".env", ".env.local")
_DOTENV_MAX = 1 << 20  # bytes


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
            f"{unit}: {why}",
            f'leave "{unit}" out',
            "systemd would leave a start out",
        )
        for unit in app.after
        if (why := obstacle(unit, around))
    )
    unread: list[Finding] = []
    releases = dict.fromkeys(code[worker.name].release for worker in app.workers)
    own = {release: _dotenv(release, unread) for release in releases}
    known = {
        worker.name: _addresses(app, worker, code[worker.name], presets, own)
        for worker in app.workers
    }
    distinct = dict.fromkeys(address for some in known.values() for address in some)
    by_address = {address.address: address for address in services_of(distinct, around)}
    after = {
        name: tuple(
            dict.fromkeys(
                (*app.after, *(s.unit for a in some if (s := by_address.get(a)) and s.unit))
            )
        )
        for name, some in known.items()
    }
    findings = [
        Finding(
            Level.WARNING,
            "after",
            f"there is no unit {unit} on this machine",
            "`systemctl list-units` lists them",
            "it would do nothing",
            "no-unit",
            Certainty.CERTAIN,
        )
        for unit in unknown(app.after, around.manager)
    ]
    findings += unread
    findings += [_finding(address, bool(app.after)) for address in by_address.values()]
    return ShutdownOrder(after, tuple(findings), refused)


def _dotenv(release: str, unread: list[Finding]) -> dict[str, str]:
    """Returns what the worker's own files say. With no more rights than who may write them."""
    variables: dict[str, str] = {}
    for name in _DOTENV:
        path = os.path.join(release, name)
        if not os.path.lexists(path):
            continue
        try:
            variables |= dotenv(read(path, _DOTENV_MAX, public=True).decode(errors="replace"))
        except UnreadableError as error:
            message = f"{path} is not asked where queues are: {error.reason}"
            why = "workers may need a Redis of this machine until they have stopped"
            unread.append(Finding(Level.NOTE, "after", message, error.hint, why, "dotenv"))
    return variables


def _addresses(
    app: App,
    worker: Worker,
    code: Code,
    presets: Mapping[str, Preset],
    own: Mapping[str, Mapping[str, str]],
) -> tuple[Address, ...]:
    preset = presets.get(worker.preset or app.redis.preset or "")
    environment: dict[str, str] = {}
    for file in code.files:
        environment |= assignments(file.decode(errors="replace"))
    environment |= dict(environment_of(app, worker, code))
    return addresses(
        app.redis.url,
        app.redis.sentinels,
        environment,
        dotenv=own[code.release],
        default=bool(preset and preset.redis),
    )


def _finding(one: Served, named: bool) -> Finding:
    source = f" ({one.address.source})" if one.address.source else ""
    if one.unit:
        return Finding(
            Level.NOTE,
            "after",
            f"{one.address}{source} is {one.unit}",
            why="workers start after it, and stop before it at a shutdown",
            name="ordered",
            sure=Certainty.CERTAIN,
        )
    return Finding(
        Level.NOTE if named else Level.WARNING,
        "after",
        f"{one.address}{source} is on this machine, and workers cannot be ordered after it: "
        f"{one.why}",
        'if a unit runs it, name the unit: after = ["NAME.service"]',
        "at a shutdown both stop at once, and jobs are lost",
        "shutdown-order",
    )
