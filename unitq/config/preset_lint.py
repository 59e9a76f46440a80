"""A worker against its preset: what is known to lose jobs, and why, with the source. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.cmdline.invocation import shell_script, stands_between
from unitq.model.app import KillMode
from unitq.model.finding import Finding, error, note, warning
from unitq.presets import NONE
from unitq.presets.detect import framework_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.model.app import Worker
    from unitq.model.finding import WorkerFacts
    from unitq.presets.model import Preset


def of_worker(worker: Worker, presets: Mapping[str, Preset], seen: WorkerFacts) -> list[Finding]:
    """What speaks against this worker's settings."""
    place = f"workers.{worker.name}"
    if worker.preset == NONE:
        return []
    looks = framework_of(presets, worker.command, seen.heads)
    if worker.preset is None:
        return [_no_preset(worker, place, *looks)] if looks else []
    preset = presets.get(worker.preset)
    if preset is None:
        return []
    findings = []
    if looks and looks[0].name != preset.name and preset.recognise.command:
        findings.append(_other_preset(preset, place, *looks))
    preset = preset.for_command(worker.command)
    findings += _of_stop(worker, preset, place, seen)
    findings += _of_prints(worker, preset, place)
    return findings


def _no_preset(worker: Worker, place: str, preset: Preset, told: str) -> Finding:
    fitted = preset.for_command(worker.command)
    whom = "the main process" if fitted.stop.kill_mode is KillMode.MIXED else "every process"
    return error(
        f"{place}.preset",
        f"missing: this is {preset.title} ({told})",
        f'add preset = "{preset.name}": {fitted.stop.signal} to {whom} stops it, within '
        f'{fitted.stop.timeout}; what you set wins. preset = "{NONE}" keeps all as it is',
        "what stops one framework well loses another's jobs",
        "no-preset",
    )


def _other_preset(preset: Preset, place: str, looks: Preset, told: str) -> Finding:
    return warning(
        f"{place}.preset",
        f"is {preset.name}, but this looks like {looks.title} ({told})",
        f'preset = "{looks.name}"',
        f"what stops {preset.title} well may lose jobs of {looks.title}",
        "other-preset",
    )


def _of_stop(worker: Worker, preset: Preset, place: str, seen: WorkerFacts) -> Iterator[Finding]:
    stop = preset.stop
    does = dict(preset.signals).get(worker.stop_signal, "")
    why = f"{_sentence(stop.why)}{_source(stop.source)}"
    if worker.stop_signal not in stop.drains:
        yield warning(
            f"{place}.stop_signal",
            f"{worker.stop_signal} is not known to let {preset.title} finish its job",
            f'stop_signal = "{stop.signal}"',
            f"{_sentence(does) or 'it may lose the job'}{_source(stop.source)}",
            "stop-signal",
        )
        return
    if worker.kill_mode is KillMode.MIXED and stop.kill_mode is KillMode.CONTROL_GROUP:
        yield warning(
            f"{place}.kill_mode",
            f'with "mixed" {worker.stop_signal} reaches the main process only',
            'kill_mode = "control-group"',
            why,
            "kill-mode",
        )
    if worker.kill_mode is KillMode.MIXED or stop.kill_mode is not KillMode.MIXED:
        return
    if stands_between(worker.command) or shell_script(worker.command, seen.heads):
        return
    if worker.stop_signal not in stop.drains_all:
        yield warning(
            f"{place}.kill_mode",
            f'with "control-group" and {worker.stop_signal} {preset.title} loses jobs',
            'kill_mode = "mixed"',
            why,
            "kill-mode",
        )
    else:
        yield note(
            f"{place}.kill_mode",
            f'with "control-group" {worker.stop_signal} reaches programs that a job has started',
            'kill_mode = "mixed"',
            "they may end before the job that waits for them",
            "kill-mode",
        )


def _of_prints(worker: Worker, preset: Preset, place: str) -> Iterator[Finding]:
    prints = preset.prints
    # A script may have the option where the command does not.
    if prints.given is None or framework_of({preset.name: preset}, worker.command, {}) is None:
        return
    if not prints.given.search(worker.command):
        yield note(
            f"{place}.command",
            f"without {prints.needs} {preset.title} does not print which jobs it has",
            f"add {prints.needs}",
            f"the job of a worker that had to be killed cannot be named{_source(prints.source)}",
            "log-level",
        )


def _sentence(text: str) -> str:
    """As a part of another sentence: without the dot at its end."""
    return text.removesuffix(".")


def _source(source: str) -> str:
    return f" [{source}]" if source else ""
