"""The witness of the tests on a real systemd: each of its rules can be broken, and it tells so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.harness.observed import Record
from tests.harness.witness import Meddled, Story, Told

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {"rollout": {"max_unavailable": 1}, "workers": {"sms": {"instances": 3}}}
NAMES = ("sms@1", "sms@2", "sms@3")


class Tape:
    """What an observer would have written of the app `shop`, at times from 0 s."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = [{"kind": "start", "at": 0.0, "app": "", "user": False}]
        self._states: dict[str, str] = {}

    def signal(self, at: float, name: str, active: str, sub: str, **more: Any) -> None:
        """A unit came into a state; the sample after it shows the same."""
        unit = f"unitq-shop-{name}.service"
        told: dict[str, Any] = {"ActiveState": active, "SubState": sub, **more}
        if active == "active":
            told["ActiveEnterTimestamp"] = int(at * 1e6)
        elif self._states.get(unit) == "active":
            told["ActiveExitTimestamp"] = int(at * 1e6)
        self._states[unit] = active
        self._lines.append({"kind": "signal", "at": at, "unit": unit, "properties": told})
        units = {unit: [state, "running", ""] for unit, state in self._states.items()}
        cgroups = {unit: [1] for unit, state in self._states.items() if state != "inactive"}
        self._lines.append(
            {"kind": "sample", "at": at + 0.01, "clock": at, "units": units, "cgroups": cgroups}
        )

    def up(self, at: float, *names: str) -> None:
        """They are active."""
        for name in names:
            self.signal(at, name, "active", "running", Result="success")

    def draining(self, at: float, name: str) -> None:
        """It was told to stop."""
        self.signal(at, name, "deactivating", "stop-sigterm", Result="success")

    def broken(self, path: Path, *told: Told, meddled: tuple[Meddled, ...] = ()) -> list[str]:
        """What the witness says of it."""
        file = path / "observed.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in self._lines))
        return Story(Record(file, "shop").summary(0.0, 100.0), told, meddled).broken()


def deploy(*more: str, output: str = "", code: int = 0, **fields: Any) -> Told:
    """A deploy from 10 s to 20 s."""
    return Told(("deploy", *more), 10.0, 20.0, code, output, CONFIG, **fields)


def rolled() -> Tape:
    """One after the other, as it should be."""
    tape = Tape()
    tape.up(1.0, *NAMES)
    for number, name in enumerate(NAMES):
        tape.draining(11.0 + number, name)
        tape.up(11.5 + number, name)
    return tape


def test_a_rollout_as_it_should_be_breaks_nothing(tmp_path: Path) -> None:
    assert rolled().broken(tmp_path, deploy()) == []


def test_one_more_down_than_allowed_is_seen(tmp_path: Path) -> None:
    tape = Tape()
    tape.up(1.0, *NAMES)
    tape.draining(11.0, "sms@1")
    tape.draining(11.2, "sms@2")
    (told,) = tape.broken(tmp_path, deploy())
    assert told.startswith("capacity: `unitq deploy` left 1 of 3 sms active: 3 were, 1 may be down")
    assert tape.broken(tmp_path, deploy("--max-unavailable", "2")) == []
    assert tape.broken(tmp_path, deploy("--max-unavailable", "67%")) == []
    # Before and after it is somebody else's.
    assert tape.broken(tmp_path, Told(("status",), 10.0, 20.0, 0, "", CONFIG)) == []


def test_between_two_samples_it_is_seen_as_well(tmp_path: Path) -> None:
    tape = rolled()
    tape.draining(16.0, "sms@1")
    tape.draining(16.001, "sms@2")
    tape.up(16.002, "sms@1", "sms@2")
    assert len(tape.broken(tmp_path, deploy())) == 1


def test_what_fails_by_itself_is_held_against_nobody(tmp_path: Path) -> None:
    tape = Tape()
    tape.up(1.0, *NAMES)
    tape.signal(11.0, "sms@2", "failed", "failed", Result="exit-code")
    tape.draining(11.2, "sms@1")
    assert tape.broken(tmp_path, deploy(code=7)) == []
    tape.draining(11.3, "sms@3")
    assert "1 failed by themselves" in tape.broken(tmp_path, deploy(code=7))[0]


def test_what_the_test_does_by_hand_is_held_against_nobody(tmp_path: Path) -> None:
    tape = Tape()
    tape.up(1.0, *NAMES)
    for name in NAMES:
        tape.draining(11.0, name)
    by_hand = Meddled(10.9, 11.1, ("stop", "unitq-shop-sms@2.service"))
    assert tape.broken(tmp_path, deploy(), meddled=(by_hand,)) == []
    assert tape.broken(tmp_path, deploy(), meddled=(Meddled(1.0, 2.0, ("stop",)),)) != []


def test_one_process_too_many_is_seen(tmp_path: Path) -> None:
    tape = Tape()
    tape.up(1.0, *NAMES, "sms@4")
    assert tape.broken(tmp_path, deploy()) == [
        "processes: 4 instances of sms at once, 3 were asked for"
    ]
    surge = CONFIG | {"rollout": {"max_surge": "10%"}}
    assert tape.broken(tmp_path, Told(("deploy",), 10.0, 20.0, 0, "", surge)) == []
    scale = Told(("scale", "sms=4"), 9.0, 9.5, 0, "", CONFIG)
    assert tape.broken(tmp_path, scale, deploy()) == []


def test_a_kill_that_nobody_names_is_seen(tmp_path: Path) -> None:
    tape = rolled()
    tape.signal(15.0, "sms@2", "failed", "failed", Result="timeout")
    tape.up(15.1, "sms@2")
    assert tape.broken(tmp_path, deploy(code=11, output="0 killed")) == [
        "killed: sms@2 was killed at its stop_timeout, and no command said so"
    ]
    assert tape.broken(tmp_path, deploy(code=11, output="sms@2 was killed after 20 s")) == []


def test_unchanged_means_that_nobody_was_touched(tmp_path: Path) -> None:
    (told,) = rolled().broken(tmp_path, deploy(output="unchanged: revision 1"))[:1]
    assert (
        told == "unchanged: `unitq deploy` says unchanged, and unitq-shop-sms@1.service was stopped"
    )
    assert rolled().broken(tmp_path, deploy("--json", output='{"result": "ok"}')) == []
    assert len(rolled().broken(tmp_path, deploy("--json", output='{"result": "unchanged"}'))) == 3


def test_old_code_after_a_good_end_is_told(tmp_path: Path) -> None:
    assert rolled().broken(tmp_path, deploy(strays=("sms@1 in 1, pinned to 2",))) == [
        "old code: `unitq deploy` ended well with sms@1 in 1, pinned to 2"
    ]
