"""How a worker is stopped: the signal, who gets it, and how long its job may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline import invocation
from unitq.cmdline.invocation import scripts, shell_script
from unitq.cmdline.without_shell import stands_between
from unitq.cmdline.wrappers import LAUNCHERS
from unitq.config.option_lint import time_limit
from unitq.model import duration
from unitq.model.app import KillMode

if TYPE_CHECKING:
    from unitq.cmdline.without_shell import Plain
    from unitq.presets.model import Preset
    from unitq.supervisor.conf.programs import Settings
    from unitq.supervisor.importer.draft import Draft
    from unitq.supervisor.importer.recognise import Looks
    from unitq.supervisor.importer.report import Part

DEFAULT_WAIT = 10  # seconds: Supervisor's default, which fits no job in particular
_LONGEST = 10**9  # seconds; beyond that it means "for ever"


class Stop(NamedTuple):
    """How a worker is stopped."""

    signal: str
    everyone: bool  # each process gets it, and not the main process only
    limit: str  # until SIGKILL, as stop_timeout has it
    chosen: bool = False  # the limit fits the job: it is not a default

    def __str__(self) -> str:
        return f"{self.signal} to {self.to}, and {self.limit} for the job"

    @property
    def to(self) -> str:
        """Who gets the signal, in words."""
        return "every process" if self.everyone else "the main process"


def stop_of(settings: Settings, *, chosen: bool) -> Stop:
    """Returns how Supervisor stops a program. Its 0 means at once, and systemd's 0 means never."""
    seconds = settings.stopwaitsecs
    limit = "infinity" if seconds > _LONGEST else f"{max(seconds, 1)}s"
    chosen = chosen and seconds > DEFAULT_WAIT
    return Stop(settings.stopsignal, settings.stopasgroup, limit, chosen)


def above(line: str, command: Plain, looks: Looks) -> str:
    """Returns the main process in the worker's place, such as "a shell"; empty: none.

    `line` is the command as it is written. What could not be read, and is of no known framework,
    may be a shell's script.
    """
    heads = looks.heads
    if not command.hands_over:
        return "a shell"
    between = invocation.stands_between(line) or shell_script(line, heads)
    if between or any(heads.get(path) for path in scripts(line, heads)):
        return between
    if looks.preset is None and looks.unread:
        return looks.unread[0]
    return stands_between(command.arguments)


def set_stop(
    part: Part, draft: Draft, before: Stop, preset: Preset | None, between: str, by: str
) -> None:
    """Has the draft stop as its framework needs it; without one as it was stopped `before`.

    `by` stopped it until now: Supervisor, foreman, the unit.
    """
    if preset is not None:
        _by_preset(part, draft, before, preset, between, by)
        return
    signal = before.signal
    if signal in ("SIGKILL", "SIGSTOP"):
        part.change("stopsignal", f"{signal} ends the job: SIGTERM, and SIGKILL")
        signal = "SIGTERM"
    everyone = before.everyone or bool(between)
    draft.keys |= {
        "stop_signal": signal,
        "stop_timeout": before.limit,
        "kill_mode": str(KillMode.CONTROL_GROUP if everyone else KillMode.MIXED),
    }
    if not before.chosen:
        part.decide(
            f"stop_timeout = {before.limit}: a restart kills a job that takes longer, as {by} did. "
            "No framework was recognised: say how long a job may take"
        )
    if between and not before.everyone:
        part.decide(_why_everyone(between))


def _why_everyone(between: str) -> str:
    if "/" in between and between not in LAUNCHERS:
        return (
            f"{between} could not be read here, or is a shell's script that stays above the "
            'worker: so every process gets the stop signal (kill_mode = "control-group"). If it '
            'is the worker itself, or ends in `exec`, write kill_mode = "mixed"'
        )
    return (
        f"{between} stays above the worker, so every process gets the stop signal: with `exec` "
        "before the worker only the worker would"
    )


def _by_preset(
    part: Part, draft: Draft, before: Stop, preset: Preset, between: str, by: str
) -> None:
    """A job's own time limit, which stands in its command, counts more than any other."""
    command = str(draft.keys["command"])
    draft.keys["preset"] = preset.name
    stop = preset.for_command(command).stop
    longest = time_limit(preset, command)
    chosen = duration.parse(before.limit) if before.chosen else stop.timeout
    limit = f"{longest:.15g}s" if longest > chosen.seconds else str(chosen)
    if before.chosen or longest > chosen.seconds:
        draft.keys["stop_timeout"] = limit
    mode, why = stop.kill_mode, stop.why
    if mode is KillMode.MIXED and between:
        # What the command line shows makes the mode by itself: see config/apply_preset.py.
        shown = invocation.stands_between(command)
        if shown or stop.signal in stop.drains_all:
            mode = KillMode.CONTROL_GROUP
            why = f"{between} stays the main process, above the worker"
        else:
            why = f"{between} is the main process: write `exec` before the worker's command"
        if not shown and mode is not stop.kill_mode:
            draft.keys["kill_mode"] = str(mode)
    now = Stop(stop.signal, mode is not KillMode.MIXED, limit)
    drains = stop.drains_all if before.everyone else (*stop.drains, *stop.drains_all)
    if between and not before.everyone:
        verdict = f"went to {between} alone, and not to the worker below it"
    elif before.signal not in drains:
        verdict = "ended the job"
    elif not before.chosen:
        verdict = "killed every longer job"
    else:
        verdict = "let the job finish"
    part.note(
        f"recognised: {preset.title} (preset = {preset.name}). "
        f"{by[:1].upper()}{by[1:]}: {before}; it {verdict}"
    )
    part.note(f"now: {now}. {why}".strip())
    values = {"stopsignal": now.signal, "stopasgroup": now.to}
    values |= {} if before.chosen else {"stopwaitsecs": now.limit}
    for option in values.keys() & set(part.given):
        part.change(option, f"{values[option]}, by the preset")
