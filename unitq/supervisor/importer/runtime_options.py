"""What happens to a worker while it runs: restarts, what it prints, its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.supervisor.importer.draft import toml
from unitq.toml.document import unsafe

if TYPE_CHECKING:
    from unitq.presets.model import Preset
    from unitq.supervisor.conf.programs import Process, Program
    from unitq.supervisor.importer.draft import Draft
    from unitq.supervisor.importer.report import Part

_DELAY = 1  # seconds: unitq's restart_delay, unless a worker has its own
_BURST_MAX = 999_999
_USUAL_FILES = 1024  # Supervisor's minfds, and systemd's own soft limit
_HARD_FILES = 524_288  # systemd's own hard limit
_FILES_MAX = 2**31

_OWN_OUTPUT = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/", "/proc/1/fd/")


def set_restart(part: Part, program: Program, draft: Draft, preset: Preset | None) -> None:
    """autorestart, exitcodes, startretries."""
    settings, given = program.settings, program.given
    if "startretries" in given:
        draft.keys["start_limit"] = start_limit(settings.startsecs, settings.startretries)
    if settings.autorestart == "never":
        draft.service["Restart"] = "no"
        part.change(
            "autorestart", "Restart=no; Supervisor still tried again what ended within startsecs"
        )
    elif settings.autorestart == "unexpected" and preset is not None:
        says = "always: after an exit with status 0 the queue would have no worker"
        part.change("autorestart", says, given="autorestart" in given)
    elif settings.autorestart == "unexpected" and settings.exitcodes:
        codes = " ".join(map(str, settings.exitcodes))
        draft.service["RestartPreventExitStatus"] = codes
        if others := " ".join(str(code) for code in settings.exitcodes if code):
            draft.service["SuccessExitStatus"] = others
        says = f"RestartPreventExitStatus={codes}. For the worker of a queue take the line out"
        part.change("autorestart", says, given="autorestart" in given)


def start_limit(startsecs: int, retries: int) -> str:
    """Returns as many starts, and the time in which they fail if none lives for `startsecs`."""
    burst = max(retries, 0) + 1
    if startsecs <= 0 or burst > _BURST_MAX or startsecs > 10**6:
        return "none"
    return f"{burst}/{burst * (startsecs + _DELAY)}s"


def logs(program: Program, draft: Draft, first: Process) -> None:
    """Where its output goes. The journal has all of it, with time, instance and rotation."""
    redirected = program.settings.redirect_stderr
    nowhere = _is_nowhere(program, draft, "stdout", first.stdout)
    if nowhere:
        draft.service["StandardOutput"] = "null"
    if not redirected and _is_nowhere(program, draft, "stderr", first.stderr):
        draft.service["StandardError"] = "null"
    elif nowhere and not redirected:
        draft.service["StandardError"] = "journal"


def _is_nowhere(program: Program, draft: Draft, stream: str, value: str | None) -> bool:
    """Whether its output is thrown away; a file of its own is offered."""
    if f"{stream}_logfile" not in program.given or value is None:
        return False
    if value.lower() in ("none", "off") or value == "/dev/null":
        return True
    shared = len({getattr(process, stream) for process in program.processes}) == 1
    # What a directive cannot say is not offered.
    fits = value.startswith("/") and not unsafe(value, 1000) and not value.endswith("\\")
    if shared and fits and not value.startswith(_OWN_OUTPUT):
        draft.hints.append(
            log_file("StandardOutput" if stream == "stdout" else "StandardError", value)
        )
    return False


def log_file(directive: str, path: str) -> str:
    """Returns the directive that appends to a file."""
    text = f"append:{path}".replace("%", "%%")
    return f"{directive} = {toml(text)}  # nothing rotates it: add it to logrotate"


def minimum_files(draft: Draft, value: int | None) -> None:
    """The limit that programs had from their parent."""
    if value is not None and _USUAL_FILES < value <= _FILES_MAX:
        draft.keys["limits"] = {"LimitNOFILE": f"{value}:{max(value, _HARD_FILES)}"}
