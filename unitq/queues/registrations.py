"""What registered workers are worth: those whose process is gone, or is not where it should be.

Pure: what Redis and the kernel say are arguments. In doubt a registration is named and kept.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.model import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unitq.queues.model import Job, Registration

# A process that began so many seconds after a registration did not make it. Whole seconds in
# Redis and a clock that was set a little are allowed for; PIDs come round much later.
REUSED_AFTER = 60.0

# Who was heard of so many seconds ago may live where we do not see it: another container or
# machine of this name. Longer than Resque's interval, the longest that there is, of 60 s.
RECENTLY = 90.0


class Status(StrEnum):
    """What a registration is."""

    SERVING = "serving"  # a process of an instance
    DEAD = "dead"  # of this host, and its process is gone
    ORPHAN = "orphan"  # its process lives outside every unit of the app
    STALE = "stale"  # no heartbeat for too long; whether its process lives is not known
    UNCLEAR = "unclear"  # nobody can tell whose its PID is now
    OTHER_APP = "other app"  # its process is another app's of unitq
    ELSEWHERE = "elsewhere"  # of another host
    UNKNOWN = "unknown"  # the framework does not say enough to tell

    @property
    def bad(self) -> bool:
        """Whether somebody should look at it."""
        return self in (Status.DEAD, Status.ORPHAN, Status.STALE, Status.UNCLEAR)


class Living(NamedTuple):
    """A process that there is."""

    started: float | None  # seconds since 1970; None: it may not be looked at
    cgroup: str  # as /proc/PID/cgroup shows it


class Finding(NamedTuple):
    """A registration, and what it is worth."""

    registration: Registration
    status: Status
    why: str
    instance: str = ""  # sms@3, where its process is an instance's
    unit: str = ""  # of systemd, where its process is in one

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What it had in hand."""
        return self.registration.jobs


def classify(
    registrations: Iterable[Registration],
    *,
    app: str,
    host: str,
    living: Callable[[int], Living | None],
    now: float,
) -> list[Finding]:
    """Each of them, in their order. `now` is in seconds since 1970."""
    # Who says that it began in the future says nothing of when it did.
    every = tuple(
        each._replace(since=None)
        if each.since is not None and not each.since <= now + REUSED_AFTER
        else each
        for each in registrations
    )
    newest = _newest(every, host)
    found = [_classify(each, app, host, living, newest) for each in every]
    return [_doubted(each, now) if each.status is Status.DEAD else each for each in found]


def _doubted(dead: Finding, now: float) -> Finding:
    """The same, or unclear where its heartbeat says otherwise."""
    heartbeat = dead.registration.heartbeat
    if heartbeat is None or now - heartbeat > RECENTLY:
        return dead
    why = (
        f"{dead.why}, but its heartbeat is {max(0.0, now - heartbeat):.0f} s old: killed just now, "
        "or of another machine or container of this name; look again in two minutes"
    )
    return dead._replace(status=Status.UNCLEAR, why=why)


def _newest(every: Iterable[Registration], host: str) -> dict[int, Registration]:
    """Of several registrations with one PID of this host, the one that was made last."""
    found: dict[int, Registration] = {}
    for each in every:
        if each.host == host and each.pid is not None:
            other = found.get(each.pid)
            if other is None or (each.since or 0.0) > (other.since or 0.0):
                found[each.pid] = each
    return found


def _classify(
    one: Registration,
    app: str,
    host: str,
    living: Callable[[int], Living | None],
    newest: dict[int, Registration],
) -> Finding:
    if one.host is not None and one.host != host:
        return Finding(one, Status.ELSEWHERE, one.stale or f"of host {one.host}")
    if one.host is None or one.pid is None:
        if one.stale:
            return Finding(one, Status.STALE, one.stale)
        return Finding(one, Status.UNKNOWN, "the framework does not say which process it is")
    process = living(one.pid)
    if process is None:
        return Finding(one, Status.DEAD, f"its process {one.pid} is gone")
    instance, unit = instance_and_unit(app, process.cgroup)
    if process.started is None:
        why = f"PID {one.pid} may not be looked at: as root it can be"
        return Finding(one, Status.UNCLEAR, why)
    late = one.since is not None and process.started - one.since > REUSED_AFTER
    if instance:
        return _of_instance(one, instance, unit, late=late, newest=newest[one.pid])
    if late:
        # The clock that is compared here may have been set; but what lives outside is no
        # process of ours, and it did not make this registration.
        why = f"PID {one.pid} is another process now, which began later"
        return Finding(one, Status.DEAD, why, unit=unit)
    if other := _other_app(process.cgroup):
        why = f"its process {one.pid} belongs to {other}"
        return Finding(one, Status.OTHER_APP, why, unit=unit)
    if one.since is None:
        why = f"PID {one.pid} lives outside every unit of {app}, and may be another process now"
        return Finding(one, Status.UNCLEAR, why, unit=unit)
    where = unit or process.cgroup
    why = f"its process {one.pid} lives outside every unit of {app}{where and f', in {where}'}"
    return Finding(one, Status.ORPHAN, why, unit=unit)


def _of_instance(
    one: Registration, instance: str, unit: str, *, late: bool, newest: Registration
) -> Finding:
    if newest is not one and newest.since is not None and one.since is not None:
        why = f"PID {one.pid} is a later worker's, {newest.id}"
        return Finding(one, Status.DEAD, why, instance, unit)
    if late:
        # Ours, so it is only named: a clock that was set must not cost a living worker its place.
        why = f"PID {one.pid} is {instance}'s, which began later"
        return Finding(one, Status.UNCLEAR, why, instance, unit)
    if one.stale:
        return Finding(one, Status.STALE, f"{one.stale}, but {instance} lives", instance, unit)
    return Finding(one, Status.SERVING, "", instance, unit)


def instance_and_unit(app: str, cgroup: str) -> tuple[str, str]:
    """The instance of the app and the unit that a cgroup is of; empty where it is none."""
    parts = [part for part in cgroup.split("/") if part]
    units = [part for part in parts if part.endswith((".service", ".scope"))]
    for part in units:
        prefix, _, rest = part.partition("@")
        worker = prefix.removeprefix(f"unitq-{app}-")
        number = rest.removesuffix(".service")
        if names.is_instance(part) and worker != prefix and _in_app(app, parts, worker):
            return f"{worker}@{number}", part
    return "", units[-1] if units else ""


def _in_app(app: str, parts: list[str], worker: str) -> bool:
    """Whether the name is this app's, and not that of an app whose name begins like it.

    `unitq-my-shop-sms@1.service` is of app my or of my-shop: the slice tells.
    """
    slices = [part for part in parts if part.startswith("unitq-") and part.endswith(".slice")]
    return not slices or names.worker_slice(app, worker) in slices


def _other_app(cgroup: str) -> str:
    """Another app's unit that the cgroup is in."""
    parts = cgroup.split("/")
    found = [part for part in parts if names.is_instance(part)]
    return found[0] if found else ""
