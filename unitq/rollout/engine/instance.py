"""The state of one instance in a rollout, and how observations and time change it.

Pure: `step()` takes a state, what was seen and the time, and returns the next state.

    waiting  -> draining   its stop or restart was ordered; the old process is still there
    waiting  -> starting   it was not running; its start was ordered
    waiting  -> settling   a surge instance that an earlier rollout has started already
    draining -> starting   the old process is gone (how it ended is recorded on the way)
    draining -> drained    the same, where the unit text changes: nothing runs under it now
    drained  -> starting   the text was changed and the start ordered
    draining -> stopped    the old process is gone and nothing follows
    starting -> settling   the unit job is done; a new process runs the wanted revision
    settling -> healthy    the same process for min_healthy seconds, and its probes agree
    settling -> starting   somebody else told systemd to stop or restart it: a new chance
    healthy  -> settling   somebody else restarted it: it has to prove itself again
    healthy  -> draining   a surge instance that is no longer needed
    any      -> failed     healthy, kept and stopped ones too: they are watched until the end
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.instances.state import EXITED, LEFT_BEHIND, Observed, ending_of, failure
from unitq.model.settings import Duration
from unitq.rollout.plan import Change
from unitq.systemd.exit_status import End, Ending

if TYPE_CHECKING:
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.plan import PlannedChange


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

# Seconds. systemd shows "dead" in passing before it starts an instance again; what has been down
# for longer stays down.
PASSING = 1.0

# Seconds. What systemd has not brought back by then crashes in a loop, or cannot start at all.
CRASHING = 10.0

# Seconds from the end of a probe to the next one.
PROBE_INTERVAL = 1.0

NEVER = float("inf")

UNTOLD = (
    "nothing tells which code its process runs: write `command` without `</dev/null` and without "
    "a `cd` to other code, and no StandardInput= or WorkingDirectory= into its unit"
)
_RESTARTED = "restarted by somebody else"
_STOPPED = "stopped by somebody else"


class ActionKind(StrEnum):
    """What is ordered for one instance."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"  # a start, if it is down by then
    SWITCH = "switch"  # change its unit text, then start it; nothing runs under the old text
    PROBE = "probe"  # ask whether it works


@dataclass(frozen=True, slots=True)
class InstanceState:
    """The state of one instance in the rollout. Times are seconds on the monotonic clock."""

    planned: PlannedChange
    phase: Phase
    before: str = ""  # the invocation that ran when it was touched
    pid_before: int = 0
    invocation: str = ""  # the new one
    touched: float = 0.0  # when it was told to stop or start
    gone: float | None = None  # when the old process was seen gone
    begun: float | None = None  # when the time to become healthy began for the new one
    ready: float | None = None  # when it became healthy
    ending: Ending | None = None
    reason: str = ""  # why it failed
    leaving: bool = False  # its process ends and nothing follows
    current: bool = False  # kept, and seen to run the wanted revision, or to start with it
    down: float | None = None  # since when it is down, if it waits or is a healthy surge
    lost: float | None = None  # since when it does not serve, if it waits
    gone_for_good: bool = False  # it waits, and has been down for longer than in passing
    probing: str = ""  # the invocation that a probe is asking now
    passed: int = 0  # successful probes in a row
    probed: float | None = None  # when the last probe ended
    detail: str = ""  # what the last probe said
    notified: str = ""  # the invocation that somebody else told systemd to stop
    bouncing: bool = False  # and it is neither back nor down yet
    external_changes: tuple[str, ...] = ()  # what somebody else did to it meanwhile

    @property
    def instance(self) -> InstanceName:
        return self.planned.instance

    @property
    def drained_for(self) -> float | None:
        """Seconds from the order to the end of the old process; None if there was none."""
        return self.gone - self.touched if self.before and self.gone is not None else None

    @property
    def stopped_externally(self) -> bool:
        """Whether it failed only because somebody else stopped it."""
        return self.phase is Phase.FAILED and _STOPPED in self.external_changes

    @property
    def waits_to_restart(self) -> bool:
        return self.phase is Phase.WAITING and self.planned.change is Change.RESTART


class Action(NamedTuple):
    """What to order for which instance."""

    state: InstanceState
    kind: ActionKind


class Terms(NamedTuple):
    """What one instance has to achieve."""

    settings: RolloutSettings
    wanted: str | None  # the revision that it has to run; None: any
    probes: int  # successful probes in a row; 0: it is not probed

    @property
    def chance(self) -> Duration:
        """How long an instance may take to become healthy.

        A healthy_deadline that ends before min_healthy would fail every start.
        """
        deadline, least = self.settings.healthy_deadline, self.settings.min_healthy.seconds
        if deadline.seconds > least:
            return deadline
        seconds = self.settings.start_timeout.seconds + least
        return Duration(f"{seconds:g}s", seconds)


def step(state: InstanceState, seen: Observed, now: float, terms: Terms) -> InstanceState:
    """Returns the state after `seen` was observed at `now`.

    A second step with the same observation changes nothing before `next_step_at()`.
    """
    if state.phase in (Phase.STOPPED, Phase.FAILED):
        return state
    state = _notice_external_stop(state, seen)
    if state.notified:
        state = _after_external_stop(state, seen, now)
    if state.waits_to_restart:
        state = _waiting(state, seen, now)
    if state.notified:
        pass  # what it becomes when it is back is not known yet
    elif state.phase is Phase.DRAINING and (state.leaving or state.planned.switches_unit_text):
        state = _stopping(state, seen, now)
    elif state.phase in (Phase.DRAINING, Phase.STARTING):
        state = _starting(state, seen, now, terms)
    elif state.phase is Phase.DRAINED:
        state = _still_empty(_record_ending(state, seen), seen)
    elif state.phase is Phase.WAITING:
        state = _adopt_surge(state, seen, now, terms)
    if state.planned.change is Change.KEEP and (seen.serving or state.phase is Phase.SETTLING):
        state = _watch_kept(state, seen, now, terms)
    if state.phase in (Phase.SETTLING, Phase.HEALTHY) and not state.notified:
        state = _watch(state, seen, now, terms)
    if state.phase in (Phase.STARTING, Phase.SETTLING):
        state = _check_deadline(state, now, terms)
    if state.phase is Phase.HEALTHY and state.planned.change is Change.SURGE:
        state = _watch_surge(state, seen, now)
    return state


def next_step_at(state: InstanceState, seen: Observed, terms: Terms) -> float:
    """Returns when time alone may change the state; NEVER if only an observation can."""
    times = [NEVER]
    if state.phase in (Phase.HEALTHY, Phase.WAITING) and state.down is not None:
        times.append(state.down + PASSING)
    if state.phase is Phase.WAITING and state.lost is not None:
        times.append(state.lost + CRASHING)
    if state.begun is not None and state.phase in (Phase.STARTING, Phase.SETTLING):
        times.append(state.begun + terms.chance.seconds)
        if state.phase is Phase.STARTING and not state.notified:
            times.append(state.begun + terms.settings.start_timeout.seconds)
        # Without an invocation it is not up yet, and `since` says nothing.
        if (
            state.phase is Phase.SETTLING
            and state.invocation
            and (state.passed >= terms.probes or (terms.wanted and seen.revision is None))
        ):
            times.append(seen.since + terms.settings.min_healthy.seconds)
    return min(times)


def next_probe_at(state: InstanceState, terms: Terms) -> float:
    """Returns when to probe the instance next, in the past if at once; NEVER: it needs no probe."""
    if (
        state.phase is not Phase.SETTLING
        or state.probing
        or state.begun is None
        or not state.invocation
        or state.passed >= terms.probes
    ):
        return NEVER
    return state.begun if state.probed is None else state.probed + PROBE_INTERVAL


# --- what we have ordered -------------------------------------------------------------------------


def _stopping(state: InstanceState, seen: Observed, now: float) -> InstanceState:
    state = _record_ending(state, seen)
    if seen.job or seen.active == "deactivating":
        return state
    if seen.active in ("inactive", "failed"):
        # draining -> stopped: nothing is left in its cgroup; or drained: its unit text may change
        phase = Phase.STOPPED if state.leaving else Phase.DRAINED
        return replace(state, phase=phase, gone=now)
    return _still_empty(state, seen)


def _still_empty(state: InstanceState, seen: Observed) -> InstanceState:
    if seen.down:
        return state
    # draining, drained -> failed: somebody cancelled the stop or started it again
    return fail_external_start(state, seen)


def fail_external_start(state: InstanceState, seen: Observed) -> InstanceState:
    """Returns the failed state of an instance that runs though it was told to stop."""
    return fail(state, f"it is {seen.active} ({seen.sub}) again: something else started it")


def _starting(state: InstanceState, seen: Observed, now: float, terms: Terms) -> InstanceState:
    state = _record_ending(state, seen)
    is_new = bool(seen.invocation) and seen.invocation != state.before
    # One that was still being started when it was touched is "activating" until it is stopped.
    ended = seen.active in ("inactive", "failed") or (seen.active == "activating" and not seen.pid)
    if state.gone is None and (is_new or ended):
        # draining -> starting: the old process is gone
        state = replace(state, phase=Phase.STARTING, gone=now, begun=now)
    if seen.job or seen.active == "deactivating":
        timeout = terms.settings.start_timeout
        if state.begun is not None and now >= state.begun + timeout.seconds:
            # starting -> failed: no answer within start_timeout
            # systemd has the process and waits (sd_notify(3)); with Type=exec that takes no time.
            waits = seen.active == "activating" and seen.sub == "start" and seen.pid
            why = ": Type=notify, and the worker has not sent READY=1" if waits else ""
            return fail(state, f"still not started after {timeout}{why}")
        return state
    if not seen.serving:
        # starting -> failed: the job is done and the process is not there
        return fail(state, failure(seen))
    if not is_new:
        # draining -> failed: the order was cancelled and the old process is still there
        return fail(state, "the restart was cancelled by something else: the old process runs")
    # starting -> settling
    return _settle(state, seen)


def _waiting(state: InstanceState, seen: Observed, now: float) -> InstanceState:
    """Finds out whether one that waits is down for good, or comes back with its own code."""
    if seen.serving:
        served = state.lost is None and not state.gone_for_good
        return state if served else replace(state, down=None, lost=None, gone_for_good=False)
    if state.gone_for_good:
        return state
    if seen.active == "deactivating":  # it may take its time
        return state if state.lost is None else replace(state, down=None, lost=None)
    # systemd shows "dead" in passing in a restart, and starts what crashes in a loop for ever.
    down = (now if state.down is None else state.down) if seen.down else None
    lost = now if state.lost is None else state.lost
    if (down is not None and now >= down + PASSING) or now >= lost + CRASHING:
        return replace(state, down=None, lost=None, gone_for_good=True)
    same = (down, lost) == (state.down, state.lost)
    return state if same else replace(state, down=down, lost=lost)


def _adopt_surge(state: InstanceState, seen: Observed, now: float, terms: Terms) -> InstanceState:
    there = seen.serving and seen.revision is not None and seen.revision == terms.wanted
    if state.planned.change is not Change.SURGE or not there:
        return state
    # waiting -> settling: a rollout that was cut off has started it
    return _settle(replace(state, begun=now), seen)


def _settle(state: InstanceState, seen: Observed) -> InstanceState:
    return replace(state, phase=Phase.SETTLING, invocation=seen.invocation, ready=None, passed=0)


# --- what somebody else does ----------------------------------------------------------------------


def _notice_external_stop(state: InstanceState, seen: Observed) -> InstanceState:
    """Records that somebody else told systemd to stop it, perhaps to start it again."""
    if state.phase not in (Phase.WAITING, Phase.KEPT, Phase.SETTLING, Phase.HEALTHY) and not (
        state.phase is Phase.STARTING and state.notified
    ):
        return state
    if seen.job or not seen.stop_requested or state.notified == seen.invocation:
        return state
    # settling -> starting: what comes back gets the rest of the time
    phase = Phase.STARTING if state.phase is Phase.SETTLING else state.phase
    return replace(state, phase=phase, notified=seen.invocation, bouncing=True)


def _after_external_stop(state: InstanceState, seen: Observed, now: float) -> InstanceState:
    """Returns the state after somebody else's stop: back, lost, or not known yet."""
    again = seen.invocation not in ("", state.notified)
    died = again and (seen.active == "failed" or seen.sub == "auto-restart")
    if not seen.serving and not died:
        same = state.bouncing is not seen.down
        return state if same else replace(state, bouncing=not seen.down)
    changes = (*state.external_changes, _RESTARTED) if again else state.external_changes
    state = replace(state, notified="", bouncing=False, external_changes=changes)
    if state.phase is Phase.HEALTHY and again:
        # healthy -> settling: it is another process
        state = replace(state, phase=Phase.STARTING, begun=now)
    if state.phase is not Phase.STARTING:
        return state
    if died:
        # starting -> failed: it came back and died
        return fail(state, f"{_RESTARTED}, and then: {failure(seen)}")
    # starting -> settling
    return _settle(state, seen)


# --- what is observed -----------------------------------------------------------------------------


def _watch_kept(state: InstanceState, seen: Observed, now: float, terms: Terms) -> InstanceState:
    """Watches a kept instance: one that served when the rollout began must serve at its end."""
    if state.phase is Phase.KEPT and state.invocation != seen.invocation:
        state = replace(state, invocation=seen.invocation)
    if state.current or seen.revision is None or seen.revision != terms.wanted:
        return state
    # If it is a canary of an earlier rollout, it counts since when it is healthy.
    healthy = seen.since + terms.settings.min_healthy.seconds if seen.since else now
    ready = healthy if state.phase is Phase.KEPT else state.ready
    return replace(state, current=True, ready=ready)


def _watch(state: InstanceState, seen: Observed, now: float, terms: Terms) -> InstanceState:
    if state.phase is Phase.SETTLING and state.begun is None:
        state = replace(state, begun=now)  # one that is kept
    if state.phase is Phase.SETTLING and not state.invocation:  # also one that is kept
        if _about_to_start(seen):
            return state  # by a rollout that was cut off, or again by systemd
        state = replace(state, invocation=seen.invocation if seen.serving else "")
    if state.phase is Phase.HEALTHY and _recycles(state, seen):
        return replace(state, invocation="") if state.invocation else state
    if state.phase is Phase.HEALTHY and not state.invocation and seen.serving:
        state = replace(state, invocation=seen.invocation)
    if seen.elsewhere and seen.serving:
        # settling, healthy -> failed: what systemd watches is not the worker
        return fail(state, f"the worker left its unit: {seen.elsewhere}")
    if seen.invocation != state.invocation or not seen.serving:
        # settling, healthy -> failed: it died, whether or not systemd has started another
        again = " and was started again" if seen.serving else ""
        healthy = state.phase is Phase.HEALTHY
        when = "after it had been healthy" if healthy else "soon after its start"
        return fail(state, f"it ended {when}{again}: {failure(seen)}")
    known = seen.revision is not None and terms.wanted is not None
    if known and seen.revision != terms.wanted and state.planned.change is not Change.KEEP:
        # settling, healthy -> failed: somebody moved the pin, or started it before it was moved
        return fail(state, f"it runs revision {seen.revision}, not {terms.wanted}")
    if state.phase is not Phase.SETTLING:
        return state
    if now < seen.since + terms.settings.min_healthy.seconds:
        return state
    if terms.wanted and seen.revision is None:
        # settling -> failed: what cannot be proved is not the wanted code
        return fail(state, UNTOLD)
    if state.passed >= terms.probes:
        # settling -> healthy: the same process for min_healthy, and its probes agree
        return replace(state, phase=Phase.HEALTHY, ready=now)
    return state


def _about_to_start(seen: Observed) -> bool:
    """Whether it is being started, or "dead" in passing without a process that has ended."""
    if seen.active == "activating":
        return seen.sub != "auto-restart"
    return seen.active == "inactive" and seen.result == "success" and seen.code == 0


def _recycles(state: InstanceState, seen: Observed) -> bool:
    """Whether a healthy worker exited 0, as many do after N jobs, and systemd starts it again."""
    return (
        seen.active in ("inactive", "activating", "deactivating")
        and state.invocation in ("", seen.invocation)
        and seen.code in (0, EXITED)
        and seen.status == 0
    )


def _check_deadline(state: InstanceState, now: float, terms: Terms) -> InstanceState:
    if state.begun is None or now < state.begun + terms.chance.seconds:
        return state
    if state.notified:
        # starting -> failed: it never came back
        return _fail_external_stop(state, "and it did not come back in time")
    answer = f": {state.detail}" if state.detail else ""
    # starting, settling -> failed: healthy_deadline
    return fail(state, f"still not healthy after {terms.chance}{answer}")


def _watch_surge(state: InstanceState, seen: Observed, now: float) -> InstanceState:
    """Fails a surge instance that stays down: others wait for what serves in their place."""
    if not seen.down:
        return replace(state, down=None) if state.down is not None else state
    if state.down is None:
        return replace(state, down=now)
    # healthy -> failed: it exited 0 and is not started again, or somebody stopped it
    return lose(state, seen) if now >= state.down + PASSING else state


def lose(state: InstanceState, seen: Observed) -> InstanceState:
    """Returns the failed state of an instance that served and stays down."""
    if state.notified:
        return _fail_external_stop(state, "and it was not started again")
    return fail(state, f"it ended and was not started again: {failure(seen)}")


def _record_ending(state: InstanceState, seen: Observed) -> InstanceState:
    """Returns how the old process ends shows only while its invocation is still the unit's."""
    if not state.before or seen.invocation not in ("", state.before):
        return state
    ending = ending_of(seen)
    if ending is None or ending == state.ending:
        return state
    if state.ending and state.ending.end is End.KILLED:
        return state
    if state.ending and state.ending.detail == LEFT_BEHIND and ending.end is End.DRAINED:
        return state  # seen for a moment only
    return replace(state, ending=ending)


def _fail_external_stop(state: InstanceState, rest: str) -> InstanceState:
    state = replace(state, external_changes=(*state.external_changes, _STOPPED))
    return fail(state, f"somebody else stopped it {rest}")


def external_changes(state: InstanceState, seen: Observed) -> tuple[str, ...]:
    """Returns what somebody else did to an instance, once an order of ours ends their part."""
    stopped = state.notified and seen.down
    return (*state.external_changes, _STOPPED) if stopped else state.external_changes


def fail(state: InstanceState, reason: str) -> InstanceState:
    """Returns the state, failed for this reason."""
    return replace(state, phase=Phase.FAILED, reason=reason)
