"""One instance in a rollout, and what becomes of it as it is seen.

Everything here is pure: a slot and a sight in, a slot out, the time as an argument.

    waiting  -> draining   its stop or restart was ordered, the old process is not gone yet
    waiting  -> starting   it was not running, its start was ordered
    waiting  -> settling   one more than usual, and an earlier rollout has started it already
    draining -> starting   the old process is gone (how it ended is noted on the way)
    draining -> drained    the same where the unit text changes: not before nothing runs under it
    drained  -> starting   the text was changed and the start ordered
    draining -> stopped    the old process is gone and nothing is to follow
    starting -> settling   the unit job is done, a new process runs the wanted revision
    settling -> healthy    the same process for min_healthy seconds, and its probes agree
    settling -> starting   somebody else told systemd to stop or restart it: a new chance
    healthy  -> settling   somebody else restarted it: it has to prove itself again
    healthy  -> draining   one more than usual that is no longer needed
    any      -> failed     healthy, kept and stopped ones too: they are watched until the end
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.instances.state import EXITED, LEFT_BEHIND, Seen, ending_of, failure
from unitq.model.settings import Duration
from unitq.rollout.plan import Do
from unitq.systemd.exit_status import End, Ending

if TYPE_CHECKING:
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.plan import Step


class Phase(StrEnum):
    """Where an instance stands in the rollout."""

    KEPT = "kept"
    WAITING = "waiting"
    DRAINING = "draining"
    DRAINED = "drained"
    STARTING = "starting"
    SETTLING = "settling"
    HEALTHY = "healthy"
    STOPPED = "stopped"
    FAILED = "failed"


IN_FLIGHT = frozenset({Phase.DRAINING, Phase.DRAINED, Phase.STARTING, Phase.SETTLING})
FINAL = frozenset({Phase.KEPT, Phase.HEALTHY, Phase.STOPPED, Phase.FAILED})

# systemd shows "dead" in passing before it starts an instance again; what has been down for this
# many seconds stays so.
PASSING = 1.0

# What systemd has not brought back in so many seconds crashes in a loop, or cannot start at all.
CRASHING = 10.0

UNTOLD = (
    "nothing tells which code its process runs: write `command` without `</dev/null` and without "
    "a `cd` to other code, and no StandardInput= or WorkingDirectory= into its unit"
)
_RESTARTED = "restarted by somebody else"
_STOPPED = "stopped by somebody else"


class What(StrEnum):
    """What is to be ordered for one instance."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"  # where it is down by now: a start
    SWITCH = "switch"  # its unit text changes, then it is started; nothing runs under the old one
    PROBE = "probe"  # asked whether it works


@dataclass(frozen=True, slots=True)
class Slot:
    """One instance in the rollout."""

    step: Step
    phase: Phase
    before: str = ""  # the invocation that was there when it was touched
    pid_before: int = 0
    invocation: str = ""  # the new one
    touched: float = 0.0  # when it was told to stop or start
    gone: float | None = None  # when the old process was seen gone
    begun: float | None = None  # since when the new one has had time to become healthy
    ready: float | None = None  # when it became healthy
    ending: Ending | None = None
    reason: str = ""  # why it failed
    leaving: bool = False  # its process is to end and nothing is to follow
    current: bool = False  # kept, and seen to run what is wanted
    down: float | None = None  # since when it is down, of one that waits, or serves beside others
    lost: float | None = None  # since when one that waits does not serve
    gone_for_good: bool = False  # it waits, and has been down for longer than in passing
    probing: str = ""  # the invocation that a probe asks just now
    passed: int = 0  # successful probes in a row
    probed: float | None = None  # when the last probe ended
    detail: str = ""  # what the last probe said
    told: str = ""  # the invocation that somebody else told systemd to stop
    away: bool = False  # and it is neither back nor down yet
    foreign: tuple[str, ...] = ()  # what somebody else did to it meanwhile

    @property
    def instance(self) -> InstanceName:
        return self.step.instance

    @property
    def drained_for(self) -> float | None:
        """Seconds from the order to the end of the old process; None where there was none."""
        return self.gone - self.touched if self.before and self.gone is not None else None

    @property
    def stopped_by_somebody(self) -> bool:
        """Whether it failed only because somebody else stopped it."""
        return self.phase is Phase.FAILED and _STOPPED in self.foreign

    @property
    def waits_to_restart(self) -> bool:
        return self.phase is Phase.WAITING and self.step.do is Do.RESTART

    def unmoved(self, seen: Seen, wanted: str | None) -> bool:
        """Whether this sight says nothing about it: most of a large fleet, most of the time.

        `wanted` is the revision that it is to run; None: any.
        """
        if self.phase is Phase.WAITING:
            if self.told or seen.active == "deactivating" or self.step.do is Do.SURGE:
                return False
            settled = seen.serving and not self.gone_for_good and self.lost is None
            return (
                self.step.do is not Do.RESTART
                or settled
                or (self.gone_for_good and not seen.serving)
            )
        if self.phase is Phase.HEALTHY:
            same = seen.serving and seen.invocation == self.invocation and not self.told
            right = wanted is None or seen.revision is None or seen.revision == wanted
            return same and right and self.step.do not in (Do.SURGE, Do.KEEP)
        return self.phase in (Phase.STOPPED, Phase.FAILED)


class Order(NamedTuple):
    """What is to be ordered for which instance."""

    slot: Slot
    what: What


class Terms(NamedTuple):
    """What is asked of one instance."""

    settings: RolloutSettings
    wanted: str | None  # the revision; None: any
    probes: int  # successful ones in a row; 0: none are asked for

    @property
    def chance(self) -> Duration:
        """How long an instance may take to become healthy.

        A healthy_deadline that ends before min_healthy does would fail whatever is started.
        """
        deadline, least = self.settings.healthy_deadline, self.settings.min_healthy.seconds
        if deadline.seconds > least:
            return deadline
        seconds = self.settings.start_timeout.seconds + least
        return Duration(f"{seconds:g}s", seconds)


def looked(slot: Slot, seen: Seen, now: float, terms: Terms) -> Slot:
    """The slot after a look at its instance."""
    slot = _meddled(slot, seen)
    if slot.told:
        slot = _returned(slot, seen, now)
    if slot.waits_to_restart:
        slot = _gone(slot, seen, now)
    if slot.told:
        pass  # what it will be when it is back is not known yet
    elif slot.phase is Phase.DRAINING and (slot.leaving or slot.step.switch):
        slot = _stopping(slot, seen, now)
    elif slot.phase in (Phase.DRAINING, Phase.STARTING):
        slot = _starting(slot, seen, now, terms)
    elif slot.phase is Phase.DRAINED:
        slot = _empty(_noting_the_end(slot, seen), seen)
    elif slot.phase is Phase.WAITING:
        slot = _adopted(slot, seen, now, terms)
    if slot.step.do is Do.KEEP and seen.serving:
        slot = _kept(slot, seen, now, terms)
    if slot.phase in (Phase.SETTLING, Phase.HEALTHY) and not slot.told:
        slot = _watched(slot, seen, now, terms)
    if slot.phase in (Phase.STARTING, Phase.SETTLING):
        slot = _in_time(slot, now, terms)
    if slot.phase is Phase.HEALTHY and slot.step.do is Do.SURGE:
        slot = _there(slot, seen, now)
    return slot


# --- what we have ordered -------------------------------------------------------------------------


def _stopping(slot: Slot, seen: Seen, now: float) -> Slot:
    slot = _noting_the_end(slot, seen)
    if seen.job or seen.active == "deactivating":
        return slot
    if seen.active in ("inactive", "failed"):
        # draining -> stopped: nothing is left in its cgroup; or drained: its unit text may change
        phase = Phase.STOPPED if slot.leaving else Phase.DRAINED
        return replace(slot, phase=phase, gone=now)
    return _empty(slot, seen)


def _empty(slot: Slot, seen: Seen) -> Slot:
    if seen.down:
        return slot
    # draining, drained -> failed: somebody cancelled the stop or started it again
    return back_again(slot, seen)


def back_again(slot: Slot, seen: Seen) -> Slot:
    """The failed slot of an instance that runs though it was told to stop."""
    return failed(slot, f"it is {seen.active} ({seen.sub}) again: something else started it")


def _starting(slot: Slot, seen: Seen, now: float, terms: Terms) -> Slot:
    slot = _noting_the_end(slot, seen)
    is_new = bool(seen.invocation) and seen.invocation != slot.before
    if slot.gone is None and (is_new or seen.active in ("inactive", "activating", "failed")):
        # draining -> starting: the old process is gone
        slot = replace(slot, phase=Phase.STARTING, gone=now, begun=now)
    if seen.job or seen.active == "deactivating":
        timeout = terms.settings.start_timeout
        if slot.begun is not None and now >= slot.begun + timeout.seconds:
            # starting -> failed: no answer within start_timeout
            # systemd has the process, and waits (sd_notify(3)); with Type=exec that takes no time.
            waits = seen.active == "activating" and seen.sub == "start" and seen.pid
            why = ": Type=notify, and the worker has not sent READY=1" if waits else ""
            return failed(slot, f"still not started after {timeout}{why}")
        return slot
    if not seen.serving:
        # starting -> failed: the job is done and the process is not there
        return failed(slot, failure(seen))
    if not is_new:
        # draining -> failed: the order was cancelled and the old process is still there
        return failed(slot, "the restart was cancelled by something else: the old process runs")
    # starting -> settling
    return _settling(slot, seen)


def _gone(slot: Slot, seen: Seen, now: float) -> Slot:
    """Whether one that waits is down for good, or comes back with its own code."""
    if seen.serving:
        back = slot.lost is None and not slot.gone_for_good
        return slot if back else replace(slot, down=None, lost=None, gone_for_good=False)
    if slot.gone_for_good:
        return slot
    # systemd shows "dead" in passing in a restart, and starts what crashes in a loop for ever.
    down = (now if slot.down is None else slot.down) if seen.down else None
    lost = now if slot.lost is None else slot.lost
    if seen.active == "deactivating":
        lost = now
    if (down is not None and now >= down + PASSING) or now >= lost + CRASHING:
        return replace(slot, down=None, lost=None, gone_for_good=True)
    same = (down, lost) == (slot.down, slot.lost)
    return slot if same else replace(slot, down=down, lost=lost)


def _adopted(slot: Slot, seen: Seen, now: float, terms: Terms) -> Slot:
    there = seen.serving and seen.revision is not None and seen.revision == terms.wanted
    if slot.step.do is not Do.SURGE or not there:
        return slot
    # waiting -> settling: a rollout that was cut short has started it
    return _settling(replace(slot, begun=now), seen)


def _settling(slot: Slot, seen: Seen) -> Slot:
    return replace(slot, phase=Phase.SETTLING, invocation=seen.invocation, ready=None, passed=0)


# --- what somebody else does ----------------------------------------------------------------------


def _meddled(slot: Slot, seen: Seen) -> Slot:
    """Notes that somebody else told systemd to stop it, be it to start it again."""
    if slot.phase not in (Phase.WAITING, Phase.KEPT, Phase.SETTLING, Phase.HEALTHY) and not (
        slot.phase is Phase.STARTING and slot.told
    ):
        return slot
    if seen.job or not seen.told_to_stop or slot.told == seen.invocation:
        return slot
    # settling -> starting: what comes back gets the rest of the time
    phase = Phase.STARTING if slot.phase is Phase.SETTLING else slot.phase
    return replace(slot, phase=phase, told=seen.invocation, away=True)


def _returned(slot: Slot, seen: Seen, now: float) -> Slot:
    """The slot after somebody else told systemd to stop it: back, lost, or not known yet."""
    again = seen.invocation not in ("", slot.told)
    died = again and (seen.active == "failed" or seen.sub == "auto-restart")
    if not seen.serving and not died:
        return slot if slot.away is not seen.down else replace(slot, away=not seen.down)
    noted = (*slot.foreign, _RESTARTED) if again else slot.foreign
    slot = replace(slot, told="", away=False, foreign=noted)
    if slot.phase is Phase.HEALTHY and again:
        # healthy -> settling: it is another process
        slot = replace(slot, phase=Phase.STARTING, begun=now)
    if slot.phase is not Phase.STARTING:
        return slot
    # starting -> settling, or failed: it came back and died
    return (
        failed(slot, f"{_RESTARTED}, and then: {failure(seen)}") if died else _settling(slot, seen)
    )


# --- what is there --------------------------------------------------------------------------------


def _kept(slot: Slot, seen: Seen, now: float, terms: Terms) -> Slot:
    """What served when the rollout began must serve at its end; what was down then need not."""
    if slot.phase is Phase.KEPT and slot.invocation != seen.invocation:
        slot = replace(slot, invocation=seen.invocation)
    if slot.current or seen.revision is None or seen.revision != terms.wanted:
        return slot
    # Since when it is healthy counts if it is a canary of an earlier rollout.
    healthy = seen.since + terms.settings.min_healthy.seconds if seen.since else now
    return replace(slot, current=True, ready=healthy if slot.phase is Phase.KEPT else slot.ready)


def _watched(slot: Slot, seen: Seen, now: float, terms: Terms) -> Slot:
    if slot.phase is Phase.SETTLING and slot.begun is None:
        slot = replace(slot, begun=now)  # one that is kept
    if slot.phase is Phase.SETTLING and not slot.invocation:  # also one that is kept
        if _about_to_start(seen):
            return slot  # by a rollout that was cut short, or again by systemd
        slot = replace(slot, invocation=seen.invocation if seen.serving else "")
    if slot.phase is Phase.HEALTHY and _between_lives(slot, seen):
        return replace(slot, invocation="") if slot.invocation else slot
    if slot.phase is Phase.HEALTHY and not slot.invocation and seen.serving:
        slot = replace(slot, invocation=seen.invocation)
    if seen.elsewhere and seen.serving:
        # settling, healthy -> failed: what systemd watches is not the worker
        return failed(slot, f"the worker left its unit: {seen.elsewhere}")
    if seen.invocation != slot.invocation or not seen.serving:
        # settling, healthy -> failed: it died, whether or not systemd has started another
        again = " and was started again" if seen.serving else ""
        lived = (
            "after it had been healthy" if slot.phase is Phase.HEALTHY else "soon after its start"
        )
        return failed(slot, f"it ended {lived}{again}: {failure(seen)}")
    known = seen.revision is not None and terms.wanted is not None
    if known and seen.revision != terms.wanted and slot.step.do is not Do.KEEP:
        # settling, healthy -> failed: somebody moved the pin, or started it before it was moved
        return failed(slot, f"it runs revision {seen.revision}, not {terms.wanted}")
    lived_on = now >= seen.since + terms.settings.min_healthy.seconds
    if slot.phase is Phase.SETTLING and lived_on and terms.wanted and seen.revision is None:
        # settling -> failed: what cannot be proved is not the wanted code
        return failed(slot, UNTOLD)
    if slot.phase is Phase.SETTLING and lived_on and slot.passed >= terms.probes:
        # settling -> healthy: the same process for min_healthy, and its probes agree
        return replace(slot, phase=Phase.HEALTHY, ready=now)
    return slot


def _about_to_start(seen: Seen) -> bool:
    """Whether it is being started, or "dead" in passing, with no end of a process to tell of."""
    if seen.active == "activating":
        return seen.sub != "auto-restart"
    return seen.active == "inactive" and seen.result == "success" and seen.code == 0


def _between_lives(slot: Slot, seen: Seen) -> bool:
    """Whether a healthy worker exited 0, as many do after so many jobs, and is started again."""
    return (
        seen.active in ("inactive", "activating", "deactivating")
        and slot.invocation in ("", seen.invocation)
        and seen.code in (0, EXITED)
        and seen.status == 0
    )


def _in_time(slot: Slot, now: float, terms: Terms) -> Slot:
    if slot.begun is None or now < slot.begun + terms.chance.seconds:
        return slot
    if slot.told:
        # starting -> failed: it never came back
        return stopped_by_somebody(slot, "and it did not come back in time")
    said = f": {slot.detail}" if slot.detail else ""
    # starting, settling -> failed: healthy_deadline
    return failed(slot, f"still not healthy after {terms.chance}{said}")


def _there(slot: Slot, seen: Seen, now: float) -> Slot:
    """One more than usual serves in the place of others, which must not wait for it for ever."""
    if not seen.down:
        return replace(slot, down=None) if slot.down is not None else slot
    if slot.down is None:
        return replace(slot, down=now)
    # healthy -> failed: it exited 0 and is not started again, or somebody stopped it
    return lost(slot, seen) if now >= slot.down + PASSING else slot


def lost(slot: Slot, seen: Seen) -> Slot:
    """The slot of an instance that served and stays down."""
    if slot.told:
        return stopped_by_somebody(slot, "and it was not started again")
    return failed(slot, f"it ended and was not started again: {failure(seen)}")


def _noting_the_end(slot: Slot, seen: Seen) -> Slot:
    """How the old process ends shows only while its invocation is still the unit's."""
    if not slot.before or seen.invocation not in ("", slot.before):
        return slot
    ending = ending_of(seen)
    if ending is None or ending == slot.ending:
        return slot
    if slot.ending and slot.ending.end is End.KILLED:
        return slot
    if slot.ending and slot.ending.detail == LEFT_BEHIND and ending.end is End.DRAINED:
        return slot  # to be seen for a moment only
    return replace(slot, ending=ending)


def stopped_by_somebody(slot: Slot, rest: str = "") -> Slot:
    """The failed slot of an instance that somebody else stopped."""
    slot = replace(slot, foreign=(*slot.foreign, _STOPPED))
    return failed(slot, f"somebody else stopped it {rest}".rstrip())


def found_stopped(slot: Slot, seen: Seen) -> tuple[str, ...]:
    """What somebody else did to an instance, noted when an order of ours ends their part."""
    return (*slot.foreign, _STOPPED) if slot.told and seen.down else slot.foreign


def failed(slot: Slot, reason: str) -> Slot:
    """The slot, failed for this reason."""
    return replace(slot, phase=Phase.FAILED, reason=reason)
