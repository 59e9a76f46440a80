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
    from unitq.presets.model import Stop as PresetStop
    from unitq.supervisor.conf.programs import Program, Settings
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.detect import Looks
    from unitq.supervisor.importer.toml_draft import Draft

DEFAULT_WAIT = 10  # seconds: what nobody who knew the job's length has chosen
_LONGEST = 10**9  # seconds; beyond that it means "for ever"


def above(line: str, found: Plain, looks: Looks) -> str:
    """What is the main process in the worker's place, such as "a shell"; empty: nothing is.

    `line` is the command as it is written. What nobody could look at, and is of no known
    framework, may be a shell's script.
    """
    heads = looks.heads
    if not found.hands_over:
        return "a shell"
    between = invocation.stands_between(line) or shell_script(line, heads)
    if between or any(heads.get(path) for path in scripts(line, heads)):
        return between
    if looks.preset is None and looks.unread:
        return looks.unread[0]
    # Nobody has seen what the script does.
    return stands_between(found.arguments)


class Stop(NamedTuple):
    """How a recognised framework is stopped, in words."""

    signal: str
    to: str
    limit: str
    why: str

    def __str__(self) -> str:
        return f"{self.signal} to {self.to}, and {self.limit} for the job"


def by_preset(draft: Draft, preset: Preset, between: str, wanted: str = "") -> Stop:
    """Has the draft stop as its framework needs it; `wanted` is the time that was chosen, if any.

    A job's own time limit, which stands in its command, counts more than either.
    """
    command = str(draft.keys["command"])
    draft.keys["preset"] = preset.name
    stop = preset.for_command(command).stop
    longest = time_limit(preset, command)
    chosen = duration.parse(wanted) if wanted else stop.timeout
    limit = f"{longest:.15g}s" if longest > chosen.seconds else str(chosen)
    if wanted or longest > chosen.seconds:
        draft.keys["stop_timeout"] = limit
    mode, why = _whom(draft, stop, between)
    return Stop(stop.signal, to(mode is KillMode.MIXED), limit, why)


def _whom(draft: Draft, stop: PresetStop, between: str) -> tuple[KillMode, str]:
    """Who gets the preset's signal, and why; the draft says so where the preset would not."""
    if stop.kill_mode is not KillMode.MIXED or not between:
        return stop.kill_mode, stop.why
    # What the command line shows makes the mode by itself: see fitting.py.
    if not invocation.stands_between(str(draft.keys["command"])):
        if stop.signal not in stop.drains_all:
            return stop.kill_mode, (
                f"{between} is the main process: write `exec` before the worker's command in it"
            )
        draft.keys["kill_mode"] = str(KillMode.CONTROL_GROUP)
    return KillMode.CONTROL_GROUP, (
        f"{_capital(between)} stays the main process, and the worker below it would not be told "
        "otherwise"
    )


def _capital(text: str) -> str:
    return text if "/" in text or text in LAUNCHERS else f"{text[:1].upper()}{text[1:]}"


def stopping(
    part: Part, program: Program, draft: Draft, preset: Preset | None, between: str
) -> None:
    """As the framework needs it, where that is known; else as Supervisor did it."""
    if preset is not None:
        _as_framework(part, program, draft, preset, between)
        return
    settings = program.settings
    signal = settings.stopsignal
    if signal in ("SIGKILL", "SIGSTOP"):
        part.changed("stopsignal", f"{signal} ends the job in hand: SIGTERM, and SIGKILL")
        signal = "SIGTERM"
    draft.keys["stop_signal"] = signal
    draft.keys["stop_timeout"] = wait(settings)
    if settings.stopwaitsecs <= DEFAULT_WAIT:
        part.decide(
            f"stop_timeout = {draft.keys['stop_timeout']}: a job that takes longer is killed by a "
            "restart, as under Supervisor. No framework was recognised: say how long a job may take"
        )
    everyone = settings.stopasgroup or bool(between)
    draft.keys["kill_mode"] = str(KillMode.CONTROL_GROUP if everyone else KillMode.MIXED)
    if between and not settings.stopasgroup:
        part.decide(_why_everyone(between))


def wait(settings: Settings) -> str:
    """`stop_timeout`. Supervisor's 0 means at once, and systemd's 0 means never."""
    if settings.stopwaitsecs > _LONGEST:
        return "infinity"
    return f"{max(settings.stopwaitsecs, 1)}s"


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


def _as_framework(part: Part, program: Program, draft: Draft, preset: Preset, between: str) -> None:
    settings, given = program.settings, program.given
    chosen = "stopwaitsecs" in given and settings.stopwaitsecs > DEFAULT_WAIT
    now = by_preset(draft, preset, between, wait(settings) if chosen else "")
    stop = preset.for_command(str(draft.keys["command"])).stop
    before = (
        f"{settings.stopsignal} to {to(not settings.stopasgroup)} and SIGKILL after "
        f"{settings.stopwaitsecs} s"
    )
    good = stop.drains_all if settings.stopasgroup else (*stop.drains, *stop.drains_all)
    verdict = _verdict(settings, good, before)
    if between and not settings.stopasgroup:
        verdict = (
            f"under Supervisor {settings.stopsignal} went to {between} alone, and the worker below "
            "it was left at work, or killed with its job"
        )
    part.note(f"recognised: {preset.title} (preset = {preset.name}): {verdict}")
    part.note(f"now: {now}. {now.why}".strip())
    of_preset = {"stopsignal": now.signal, "stopasgroup": now.to}
    of_preset |= {} if chosen else {"stopwaitsecs": now.limit}
    for option in of_preset.keys() & given.keys():
        part.changed(option, f"{of_preset[option]}, by the preset")


def to(main: bool) -> str:
    """Who gets a signal, in words."""
    return "the main process" if main else "every process"


def _verdict(settings: Settings, good: tuple[str, ...], before: str) -> str:
    if settings.stopsignal not in good:
        return f"under Supervisor {before} ended the job in hand"
    if settings.stopwaitsecs <= DEFAULT_WAIT:
        return f"under Supervisor {before} killed every longer job"
    return f"under Supervisor it was {before}"
