"""What registrations are worth: whether their process serves, is gone, or runs elsewhere.

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

# A worker with a heartbeat as young as this, in seconds, may live where we do not see it: in
# another container or machine of this name. Longer than Resque's interval of 60 s, the longest.
RECENTLY = 90.0


class Status(StrEnum):
    """What a registration is."""

    SERVING = "serving"  # a process of an instance
    DEAD = "dead"  # of this host, and its process is gone
    ORPHAN = "orphan"  # its process lives outside every unit of the app
    STALE = "stale"  # no heartbeat for too long; whether its process lives is not known
    UNCLEAR = "unclear"  # whose its PID is now is not known
    OTHER_APP = "other app"  # its process is another app's of unitq
    ELSEWHERE = "elsewhere"  # of another host
    UNKNOWN = "unknown"  # the framework does not say enough to tell

    @property
    def bad(self) -> bool:
        """Whether an operator should look at it."""
        return self in (Status.DEAD, Status.ORPHAN, Status.STALE, Status.UNCLEAR)


class Living(NamedTuple):
    """A process that runs."""

    started: float | None  # seconds since 1970; None: it may not be read
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
        """Its in-flight jobs."""
        return self.registration.jobs


def classify(
    registrations: Iterable[Registration],
    *,
    app: str,
    host: str,
    living: Callable[[int], Living | None],
    now: float,
) -> list[Finding]:
    """Returns each of them with its status, in their order. `now` is in seconds since 1970."""
    known = [_without_future(registration, now) for registration in registrations]
    newest: dict[int, Registration] = {}  # by PID of this host
    for registration in known:
        if registration.host == host and registration.pid is not None:
            other = newest.setdefault(registration.pid, registration)
            if (registration.since or 0.0) > (other.since or 0.0):
                newest[registration.pid] = registration
    findings = [_classify(registration, app, host, living, newest) for registration in known]
    return [_with_heartbeat(finding, now) for finding in findings]


def _without_future(registration: Registration, now: float) -> Registration:
    # A start in the future says nothing of when it was.
    if registration.since is None or registration.since <= now + REUSED_AFTER:
        return registration
    return registration._replace(since=None)


def _with_heartbeat(finding: Finding, now: float) -> Finding:
    """Returns the same; what seems dead is unclear where its heartbeat is young."""
    heartbeat = finding.registration.heartbeat
    if finding.status is not Status.DEAD or heartbeat is None or now - heartbeat > RECENTLY:
        return finding
    why = (
        f"{finding.why}, but its heartbeat is {max(0.0, now - heartbeat):.0f} s old: killed just "
        "now, or of another machine or container of this name; look again in two minutes"
    )
    return finding._replace(status=Status.UNCLEAR, why=why)


def _classify(
    registration: Registration,
    app: str,
    host: str,
    living: Callable[[int], Living | None],
    newest: dict[int, Registration],
) -> Finding:
    instance = unit = ""

    def finding(status: Status, why: str) -> Finding:
        return Finding(registration, status, why, instance, unit)

    pid, since, stale = registration.pid, registration.since, registration.stale
    if registration.host is not None and registration.host != host:
        return finding(Status.ELSEWHERE, stale or f"of host {registration.host}")
    if registration.host is None or pid is None:
        if stale:
            return finding(Status.STALE, stale)
        return finding(Status.UNKNOWN, "the framework does not say which process it is")
    process = living(pid)
    if process is None:
        return finding(Status.DEAD, f"its process {pid} is gone")
    if process.started is None:
        return finding(Status.UNCLEAR, f"PID {pid} may not be looked at: as root it can be")
    instance, unit = instance_and_unit(app, process.cgroup)
    late = since is not None and process.started - since > REUSED_AFTER
    if instance:
        last = newest[pid]
        if last is not registration and last.since is not None and since is not None:
            return finding(Status.DEAD, f"PID {pid} is a later worker's, {last.id}")
        if late:
            # Ours, so it is only named: a clock that was set must not unregister a living worker.
            return finding(Status.UNCLEAR, f"PID {pid} is {instance}'s, which began later")
        if stale:
            return finding(Status.STALE, f"{stale}, but {instance} lives")
        return finding(Status.SERVING, "")
    if late:
        # The clock that is compared here may have been set; but what lives outside is no
        # process of ours, and it did not make this registration.
        return finding(Status.DEAD, f"PID {pid} is another process now, which began later")
    if other := next(filter(names.is_instance, process.cgroup.split("/")), ""):
        return finding(Status.OTHER_APP, f"its process {pid} belongs to {other}")
    outside = f"lives outside every unit of {app}"
    if since is None:
        return finding(Status.UNCLEAR, f"PID {pid} {outside}, and may be another process now")
    place = unit or process.cgroup
    return finding(Status.ORPHAN, f"its process {pid} {outside}{place and f', in {place}'}")


def instance_and_unit(app: str, cgroup: str) -> tuple[str, str]:
    """Returns the instance of the app and the unit that a cgroup is of; empty where it is none."""
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
