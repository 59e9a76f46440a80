"""What is known of a queue framework: for people, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import NoMatchError
from unitq.model.suggest import either, nearest
from unitq.presets.redis_keys import WITH_PIDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.errors import UnitqError
    from unitq.presets.model import Preset
    from unitq.presets.store import Presets


class PresetFacts(NamedTuple):
    """A preset, and whether it is an operator's own."""

    preset: Preset
    own: bool

    @property
    def quiet(self) -> str:
        """How it is told to take no new jobs."""
        preset = self.preset
        if preset.quiet.signal:
            back = f"; {preset.quiet.resume} ends that" if preset.quiet.resume else "; for good"
            return f"{preset.quiet.signal}{back}"
        return preset.quiet.instead or "no signal for that"

    @property
    def job_in_hand(self) -> str:
        """Where it is to be read which job a worker has."""
        preset = self.preset
        prints = preset.prints
        registry = preset.redis.registry if preset.redis else ""
        if prints.begun:
            needs = f", with {prints.needs}" if prints.needs else ""
            return f"in its lines in the journal{needs} {source_text(prints.source)}".strip()
        if registry in WITH_PIDS:
            return "in Redis, with the worker's host and PID"
        return "in Redis, but not whose it is" if registry else "nobody knows"

    @property
    def queues(self) -> str:
        """How `queues` reaches the worker."""
        preset = self.preset
        how = preset.queues
        if how.variable:
            text = f"{how.variable}=a{how.separator}b in its environment"
        elif how.by_arguments:
            words = [word.replace("{queues}", f"a{how.separator}b") for word in how.arguments]
            for queue in ("a", "b"):
                words += [word.replace("{queue}", queue) for word in how.each]
            text = f"`{' '.join(words)}` behind its command"
        else:
            text = "from its own code; `queues` only says which ones to look at"
        return f"{text}. {how.note}" if how.note else text

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        preset = self.preset
        stop = preset.stop
        return {
            "name": preset.name,
            "own": self.own,
            "title": preset.title,
            "about": preset.about,
            "versions": list(preset.versions),
            "command": preset.command,
            "stop_signal": stop.signal,
            "kill_mode": str(stop.kill_mode),
            "why": stop.why,
            "stop_timeout": str(stop.timeout),
            "stop_timeout_why": stop.timeout_why,
            "drains": list(stop.drains),
            "drains_all": list(stop.drains_all),
            "loses": list(stop.loses),
            "again": list(stop.again),
            "success_exit_status": list(stop.success_exit_status),
            "source": stop.source,
            "service": dict(preset.service),
            "quiet": preset.quiet.signal or None,
            "resume": preset.quiet.resume or None,
            "quiet_instead": preset.quiet.instead,
            "environment": dict(preset.environment),
            "queues": self.queues,
            "hardening_leaves_out": list(preset.hardening.leave_out),
            "redis": bool(preset.redis),
            "job_in_hand": self.job_in_hand,
            "signals": dict(preset.signals),
            "cases": [{"why": case.why, "source": case.source} for case in preset.cases],
            "checks": [
                {
                    "name": check.name or None,
                    "level": str(check.level),
                    "certainty": str(check.certainty),
                    "says": check.says,
                    "why": check.why,
                    "instead": check.instead,
                    "source": check.source,
                }
                for check in preset.checks
            ],
            "facts": [
                {"says": fact.says, "basis": str(fact.basis), "source": fact.source}
                for fact in preset.facts
            ],
        }


@dataclass(frozen=True, slots=True)
class PresetList:
    """Every preset; each is read when it is asked for."""

    presets: Presets
    own: set[str]  # names of an operator's own

    @property
    def broken(self) -> dict[str, UnitqError]:
        """What is wrong with an operator's own, by name."""
        return self.presets.broken

    def __iter__(self) -> Iterator[PresetFacts]:
        return (PresetFacts(preset, name in self.own) for name, preset in self.presets.items())

    def named(self, name: str) -> PresetFacts:
        """The preset of that name. Raises NoMatchError with the nearest name and all there are."""
        if name in self.presets:
            return PresetFacts(self.presets[name], name in self.own)
        near = nearest(name, self.presets)
        meant = f"did you mean {near}? " if near else ""
        raise NoMatchError(
            f"no such preset: {name}",
            hint=f"{meant}there are {either(list(self.presets), last='and')}",
        )

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {"format": 1, "presets": [facts.to_json() for facts in self]}


def source_text(source: str) -> str:
    """The source of a fact in brackets; empty: it has none."""
    return f"[{source}]" if source else ""
