"""How a worker is stopped: the signal, who gets it, and how long its job may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.cmdline import launchers
from unitq.cmdline.wrappers import LAUNCHERS
from unitq.config.option_lint import time_limit
from unitq.model.app import KillMode
from unitq.presets.detect import scripts, shell_script
from unitq.supervisor.importer.unwrap import stands_between

if TYPE_CHECKING:
    from unitq.presets.model import Preset
    from unitq.supervisor.conf.programs import Program, Settings
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.detect import Looks
    from unitq.supervisor.importer.toml_draft import Draft
    from unitq.supervisor.importer.unwrap import Plain

DEFAULT_WAIT = 10  # seconds: what nobody who knew the job's length has chosen
_LONGEST = 10**9  # seconds; beyond that it means "for ever"
LEFT_ALONE = "what is left when the main process has ended gets SIGKILL; Supervisor left it running"
_OPTIONS = ("stopsignal", "stopwaitsecs", "stopasgroup", "killasgroup")


def above(line: str, found: Plain, looks: Looks) -> str:
    """What is the main process in the worker's place, such as "a shell"; empty: nothing is.

    `line` is the command as it is written. What nobody could look at, and is of no known
    framework, may be a shell's script.
    """
    heads = looks.heads
    if not found.hands_over:
        return "a shell"
    between = launchers.stands_between(line) or shell_script(line, heads)
    if between or any(heads.get(path) for path in scripts(line, heads)):
        return between
    if looks.preset is None and looks.unread:
        return looks.unread[0]
    # Nobody has seen what the script does.
    return stands_between(found.arguments)


def whom(draft: Draft, preset: Preset, between: str) -> tuple[KillMode, str]:
    """Who gets the preset's signal, and why; the draft says so where the preset would not."""
    command = str(draft.keys["command"])
    stop = preset.fitted(command).stop
    if stop.kill_mode is not KillMode.MIXED or not between:
        return stop.kill_mode, stop.why
    # What the command line shows makes the mode by itself: see fitting.py.
    if not launchers.stands_between(command):
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
    settings, given = program.settings, program.given
    signal = settings.stopsignal
    if signal in ("SIGKILL", "SIGSTOP"):
        signal = "SIGTERM"
        part.changed(
            "stopsignal", f"{settings.stopsignal} ends the job in hand: SIGTERM, and SIGKILL"
        )
    elif "stopsignal" in given:
        part.same("stopsignal")
    draft.keys["stop_signal"] = signal
    draft.keys["stop_timeout"] = wait(settings)
    if "stopwaitsecs" in given and settings.stopwaitsecs > 0:
        part.same("stopwaitsecs")
    elif "stopwaitsecs" in given:
        part.changed("stopwaitsecs", f"{draft.keys['stop_timeout']}: systemd takes 0 for no limit")
    if settings.stopwaitsecs <= DEFAULT_WAIT:
        part.decide(
            f"stop_timeout = {draft.keys['stop_timeout']}: a job that takes longer is killed by a "
            "restart, as under Supervisor. No framework was recognised: say how long a job may take"
        )
    _whom(part, program, draft, between)


def wait(settings: Settings) -> str:
    """`stop_timeout`. Supervisor's 0 means at once, and systemd's 0 means never."""
    if settings.stopwaitsecs > _LONGEST:
        return "infinity"
    return f"{max(settings.stopwaitsecs, 1)}s"


def _whom(part: Part, program: Program, draft: Draft, between: str) -> None:
    settings, given = program.settings, program.given
    everyone = settings.stopasgroup or bool(between)
    draft.keys["kill_mode"] = str(KillMode.CONTROL_GROUP if everyone else KillMode.MIXED)
    if settings.stopasgroup:
        part.same("stopasgroup", "every process of the worker, also one with a group of its own")
    elif between:
        part.decide(_why_everyone(between))
        part.changed(
            "stopasgroup",
            f"every process gets the signal: the main process is {between}, which would keep it "
            "from the worker, or leave the worker alone",
            given="stopasgroup" in given,
        )
    elif "stopasgroup" in given:
        part.same("stopasgroup")
    if settings.killasgroup:
        if "killasgroup" in given:
            part.same("killasgroup")
        return
    part.changed(
        "killasgroup",
        LEFT_ALONE,
        given="killasgroup" in given,
    )


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
    fitted = preset.fitted(str(draft.keys["command"]))
    stop = fitted.stop
    draft.keys["preset"] = preset.name
    chosen = "stopwaitsecs" in given and settings.stopwaitsecs > DEFAULT_WAIT
    limit = str(stop.timeout)
    longest = time_limit(preset, str(draft.keys["command"]))
    if longest > (settings.stopwaitsecs if chosen else stop.timeout.seconds):
        limit = draft.keys["stop_timeout"] = f"{longest:.15g}s"
        part.changed(
            "stopwaitsecs",
            f"{limit}: its command gives a job as long, and some room",
            given="stopwaitsecs" in given,
        )
    elif chosen:
        limit = draft.keys["stop_timeout"] = wait(settings)
        part.same("stopwaitsecs")
    mode, why = whom(draft, preset, between)
    main = mode is KillMode.MIXED
    now = f"{stop.signal} to {_to(main)}, and {limit} for the job"
    before = (
        f"{settings.stopsignal} to {_to(not settings.stopasgroup)} and SIGKILL after "
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
    part.note(f"now: {now}. {why}".strip())
    for option in _OPTIONS:
        if option in given and option not in part.options:
            _of_preset(part, option, _value(settings, option), stop.signal, limit, main=main)


def _to(main: bool) -> str:
    return "the main process" if main else "every process"


def _verdict(settings: Settings, good: tuple[str, ...], before: str) -> str:
    if settings.stopsignal not in good:
        return f"under Supervisor {before} ended the job in hand"
    if settings.stopwaitsecs <= DEFAULT_WAIT:
        return f"under Supervisor {before} killed every longer job"
    return f"under Supervisor it was {before}"


def _value(settings: Settings, option: str) -> str | int | bool:
    value: str | int | bool = getattr(settings, option)
    return value


def _of_preset(
    part: Part, option: str, value: str | int | bool, signal: str, limit: str, *, main: bool
) -> None:
    if option == "stopsignal":
        if value == signal:
            part.same(option, "as the preset has it")
        else:
            part.changed(option, f"{signal}, by the preset")
    elif option == "stopwaitsecs":
        part.changed(option, f"{limit}, by the preset: {value} s kill longer jobs")
    elif option == "stopasgroup":
        if value is not main:
            part.same(option, "as the preset has it")
        else:
            part.changed(option, f"{_to(main)}, by the preset")
    elif value:
        part.same(option)
    else:
        part.changed(option, LEFT_ALONE)
