"""A worker with its preset: what the preset sets where the file says nothing, and what clashes.

The user's own settings win. A shell or a launcher before the worker changes who gets a signal, and
with it the preset's kill mode: see docs/design.md, section 2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.invocation import inline_script, shell_script, stands_between, stays_above
from unitq.model.app import KillMode, PresetDefaults
from unitq.model.suggest import either, nearest
from unitq.presets import NONE
from unitq.toml.document import quote
from unitq.toml.values import Clash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from unitq.config.schema import WorkerTable
    from unitq.model.app import App, Directives, Worker
    from unitq.model.finding import WorkerFacts
    from unitq.model.settings import Duration
    from unitq.presets.model import Preset, Queues
    from unitq.toml.values import Path


class Settings(NamedTuple):
    """The settings that a worker gets."""

    stop_signal: str
    kill_mode: KillMode
    stop_timeout: Duration
    queues: tuple[str, ...]  # also those that only the command names
    quiet: str
    resume: str
    from_preset: PresetDefaults


class Given(NamedTuple):
    """What the file says of a worker, or what it is by default; `keys` are those that it says."""

    command: str
    stop_signal: str
    kill_mode: KillMode
    stop_timeout: Duration
    queues: tuple[str, ...]
    service: Directives
    keys: Set[str]


def settings(given: Given, preset: Preset | None) -> Settings:
    """The worker's settings with those of the preset."""
    if preset is None or preset.name == NONE:
        plain = (given.stop_signal, given.kill_mode, given.stop_timeout)
        return Settings(*plain, given.queues, quiet="", resume="", from_preset=PresetDefaults())
    preset = preset.for_command(given.command)
    stop = preset.stop
    between, above = stands_between(given.command), stays_above(given.command)
    mode, why = stop.kill_mode, stop.why
    if "kill_mode" in given.keys:
        mode, why = given.kill_mode, ""
    elif between and mode is KillMode.MIXED:
        mode = KillMode.CONTROL_GROUP
        why = f"{between} stands before the worker, which would not be told otherwise."
    own = {directive for directive, _ in given.service}
    variables, arguments = _queues(preset.queues, given.queues)
    fit = PresetDefaults(
        why=f"preset {preset.name}: {why}" if why else "",
        service=tuple(
            pair
            for pair in preset.service
            # systemd gives a watchdog to its main process alone: a worker below it reads that it
            # has none, never answers, and would be killed at work. See below_scripts, too.
            if pair[0] not in own and not (above and pair[0] == "WatchdogSec")
        ),
        success=stop.success_exit_status,
        environment=preset.environment,
        variables=variables,
        arguments=arguments,
        leave_out=preset.hardening.leave_out,
    )
    return Settings(
        stop_signal=given.stop_signal if "stop_signal" in given.keys else stop.signal,
        kill_mode=mode,
        stop_timeout=given.stop_timeout if "stop_timeout" in given.keys else stop.timeout,
        queues=given.queues or preset.queues.in_command(given.command),
        quiet=preset.quiet.signal,
        resume=preset.quiet.resume,
        from_preset=fit,
    )


def below_scripts(app: App, seen: Mapping[str, WorkerFacts]) -> App:
    """The app without a preset's watchdog where a shell's script stays above the worker.

    The command does not show it, only the script does: `seen` has its beginning, for each worker.
    A WatchdogSec of the user's own is in `service`, and stays.
    """
    return replace(app, workers=tuple(_below_script(worker, seen) for worker in app.workers))


def _below_script(worker: Worker, seen: Mapping[str, WorkerFacts]) -> Worker:
    kept = tuple(pair for pair in worker.from_preset.service if pair[0] != "WatchdogSec")
    if kept == worker.from_preset.service or worker.name not in seen:
        return worker
    if not shell_script(worker.command, seen[worker.name].heads):
        return worker
    return replace(worker, from_preset=replace(worker.from_preset, service=kept))


def _queues(
    how: Queues, queues: tuple[str, ...]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The variables and the arguments by which the queues reach the worker."""
    if not queues:
        return (), ()
    joined = how.separator.join(queues)
    if how.variable:
        return ((how.variable, joined),), ()
    once = tuple(word.replace("{queues}", joined) for word in how.arguments)
    for_each = tuple(word.replace("{queue}", queue) for queue in queues for word in how.each)
    return (), (*once, *for_each)


def clashes(
    place: Path,
    worker: WorkerTable,
    shared: tuple[tuple[str, str], ...],
    presets: Mapping[str, Preset],
) -> Iterator[Clash]:
    """What is wrong with a worker because of its preset. `shared` is the app's environment."""
    name, command, queues = worker.preset, worker.command, worker.queues
    if name is None:
        return
    if name not in presets:
        near = nearest(name, presets)
        known = f" (did you mean {quote(near)}?)" if near else ""
        why = f"no such preset{known}; there are {either(list(presets), last='and')}"
        yield Clash((*place, "preset"), why)
        return
    at, how, why = (*place, "queues"), presets[name].queues, ""
    if not queues:
        return
    if how.given and (match := how.given.search(command)):
        why = f"the command names queues already ({quote(match[0].strip())}); say it in one place"
    elif name != NONE and how.variable in dict((*shared, *worker.environment)):
        why = f"{how.variable} in environment names queues already; say it in one place"
    elif how.by_arguments and (inline_script(command) or stands_between(command)):
        why = (
            "they are arguments of the worker's command, and cannot be put behind a shell's: name "
            "them in the command itself, or leave the shell out"
        )
    if why:
        yield Clash(at, why, ((*place, "command"),))
        return
    for index, queue in enumerate(queues):
        if len(queues) > 1 and how.separator in queue and (how.variable or how.arguments):
            yield Clash((*at, index), f"{quote(how.separator)} stands between queues")
        if queue.startswith("-") and how.each[:1] == ("{queue}",):
            why = 'begins with "-": the worker would take it for an option'
            yield Clash((*at, index), why)
