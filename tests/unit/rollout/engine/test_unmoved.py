"""What is passed over in a large fleet is what a look would leave as it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from unitq.instances.state import Seen
from unitq.model.names import InstanceName
from unitq.model.settings import Duration, RolloutSettings, Share
from unitq.rollout.engine.instance import Phase, Slot, Terms, looked
from unitq.rollout.plan import Do, Step

_SETTINGS = RolloutSettings(
    max_unavailable=Share(1),
    min_healthy=Duration("1s", 1.0),
    start_timeout=Duration("10s", 10.0),
)

_invocations = st.sampled_from(["", "old", "new"])
_revisions = st.sampled_from([None, "1", "2"])

_healthy = st.builds(
    Slot,
    step=st.builds(
        Step,
        instance=st.just(InstanceName("mail", 1)),
        do=st.sampled_from(Do),
        why=st.just("asked"),
    ),
    phase=st.just(Phase.HEALTHY),
    before=_invocations,
    invocation=_invocations,
    begun=st.sampled_from([None, 0.0, 5.0]),
    ready=st.sampled_from([None, 1.0]),
    down=st.sampled_from([None, 2.0]),
    told=_invocations,
    away=st.booleans(),
)

_seen = st.builds(
    Seen,
    active=st.sampled_from(["active", "activating", "deactivating", "inactive", "failed"]),
    sub=st.sampled_from(["running", "stop-sigterm", "auto-restart", "dead"]),
    job=st.booleans(),
    invocation=_invocations,
    pid=st.sampled_from([0, 7]),
    since=st.sampled_from([0.0, 4.0]),
    revision=_revisions,
    code=st.sampled_from([0, 1]),
)


@settings(max_examples=1000)
@given(slot=_healthy, seen=_seen, wanted=_revisions, now=st.sampled_from([3.0, 1000.0]))
def test_a_look_at_what_is_unmoved_changes_nothing(
    slot: Slot, seen: Seen, wanted: str | None, now: float
) -> None:
    if not slot.unmoved(seen, wanted):
        return
    assert looked(slot, seen, now, Terms(_SETTINGS, wanted, 0)) == slot


def test_a_healthy_instance_that_runs_what_is_wanted_is_unmoved() -> None:
    slot = Slot(Step(InstanceName("mail", 1), Do.RESTART, "asked"), Phase.HEALTHY, invocation="new")
    seen = Seen("active", "running", invocation="new", revision="2")
    assert slot.unmoved(seen, "2")
    assert not slot.unmoved(seen, "3")
