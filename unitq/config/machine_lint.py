"""Settings that the machine around the workers does not keep: memory limits, a shutdown. Pure."""

from __future__ import annotations

from math import ceil, isinf
from typing import TYPE_CHECKING, NamedTuple

from unitq.config.directives import size
from unitq.model.finding import Certainty, Finding, error, warning
from unitq.model.settings import OnDrainTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unitq.model.app import App, Worker
    from unitq.model.settings import Duration


class Patience(NamedTuple):
    """How long systemd waits for units to stop before it forces them; None: not known."""

    reboot: float | None = None  # seconds; JobTimeoutSec= of reboot.target (systemd.special(7))
    user_manager: float | None = None  # in a user's scope: TimeoutStopSec= of user@UID.service


def of_memory(app: App) -> Iterator[Finding]:
    """Yields the workers that can never be recycled for their size."""
    for worker in app.workers:
        if worker.recycle is None or worker.recycle.memory is None:
            continue
        place, limit = f"workers.{worker.name}.recycle.memory", worker.recycle.memory
        if (most := _bytes(worker, "MemoryMax")) is not None and most <= limit:
            yield error(
                place,
                f"is {_mib(limit)}, and MemoryMax= is {_mib(most)}",
                "set it well below MemoryMax=",
                "the kernel kills the worker with its job before it is recycled",
                "recycle-memory",
            )
        if (high := _bytes(worker, "MemoryHigh")) is not None and high < limit:
            yield error(
                place,
                f"is {_mib(limit)}, and MemoryHigh= is {_mib(high)}",
                "set it below MemoryHigh=, or leave MemoryHigh= out",
                "above that the kernel slows the worker down to a standstill, and it is never "
                "recycled",
                "recycle-memory",
                Certainty.LIKELY,
            )


def of_shutdown(app: App, patience: Patience) -> Iterator[Finding]:
    """Yields, for each limit of the machine's, the workers that may take longer to stop."""
    limits = [
        (patience.reboot, "a reboot", "reboot.target and poweroff.target, JobTimeoutSec=",
         ("`systemctl edit reboot.target`, and the same for poweroff.target; write there", "[Unit]",
          "JobTimeoutSec")),
        (patience.user_manager, "a reboot, or where your systemd ends",
         "user@.service, TimeoutStopSec=",
         ("as root `systemctl edit user@.service`; write there", "[Service]", "TimeoutStopSec")),
    ]  # fmt: skip
    wait = app.rollout.on_drain_timeout is OnDrainTimeout.WAIT
    for limit, when, what, (edit, section, directive) in limits:
        if limit is None:
            continue
        longer = {
            w.name: w.stop_timeout for w in app.workers if wait or w.stop_timeout.seconds > limit
        }
        if longer:
            named = ", ".join(
                f"{name} ({'wait' if wait else time})" for name, time in longer.items()
            )
            yield warning(
                "on_drain_timeout" if wait else "stop_timeout",
                f"does not hold at {when} for {named}",
                f"{edit}, on two lines: {section} {directive}={_enough(wait, longer.values())}",
                f"systemd waits {limit:.0f} s ({what}), then kills what is left",
                "shutdown-time",
            )


def _enough(wait: bool, times: Iterable[Duration]) -> str:
    """What a limit of the machine's has to be: the longest stop, and some more."""
    longest = max(time.seconds for time in times)
    return "infinity" if wait or isinf(longest) else f"{ceil(longest / 60) + 5}min"


def of_linger(account: str, *, lingers: bool) -> list[Finding]:
    """Returns a warning where a user's workers end with the session of who has started them."""
    if lingers:
        return []
    return [
        warning(
            "--user",
            f"the workers end when {account} logs out, and none starts at a boot",
            f"`sudo loginctl enable-linger {account}`",
            "a user's systemd runs while its account is logged in; cron, CI, su and sudo are no "
            "login",
            name="no-linger",
        )
    ]


def _bytes(worker: Worker, directive: str) -> int | None:
    """Returns the limit that counts; None: there is none, or it is a share of the machine's."""
    values = dict(worker.service).get(directive, ())
    try:
        return size(values[-1]) if values else None
    except ValueError:
        return None


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f}M"
