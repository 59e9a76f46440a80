"""What happens to a worker while it runs: restarts, what it prints, its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.supervisor.conf.options import JOURNAL
from unitq.toml.document import toml, unsafe

if TYPE_CHECKING:
    from unitq.presets.model import Preset
    from unitq.supervisor.conf.programs import Process, Program
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.toml_draft import Draft

_DELAY = 1  # seconds: unitq's restart_delay, unless a worker has its own
_BURST_MAX = 999_999
_USUAL_FILES = 1024  # Supervisor's minfds, and systemd's own soft limit
_HARD_FILES = 524_288  # systemd's own hard limit
_FILES_MAX = 2**31

_OWN_OUTPUT = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/", "/proc/1/fd/")


def restarting(part: Part, program: Program, draft: Draft, preset: Preset | None) -> None:
    """autorestart, exitcodes, startsecs, startretries."""
    _autorestart(part, program, draft, preset)
    settings, given = program.settings, program.given
    if "startsecs" in given:
        part.changed(
            "startsecs",
            "[rollout] min_healthy, which all workers share: the shortest, where each says one"
            if settings.startsecs > 0
            else "0: nothing to wait for; [rollout] min_healthy says when it counts as healthy",
        )
    if "startretries" in given:
        limit = start_limit(settings.startsecs, settings.startretries)
        draft.keys["start_limit"] = limit
        if limit == "none":
            part.changed("startretries", "never gives up")
        else:
            part.same("startretries", f"start_limit = {toml(limit)}: gives up after as many")


def start_limit(startsecs: int, retries: int) -> str:
    """As many starts, and the time in which they fail if none lives for `startsecs`."""
    burst = max(retries, 0) + 1
    if startsecs <= 0 or burst > _BURST_MAX or startsecs > 10**6:
        return "none"
    return f"{burst}/{burst * (startsecs + _DELAY)}s"


def _autorestart(part: Part, program: Program, draft: Draft, preset: Preset | None) -> None:
    settings, given = program.settings, program.given
    there = "autorestart" in given
    if settings.autorestart == "always":
        part.same("autorestart")
        if "exitcodes" in given:
            part.left("exitcodes", "mean nothing with autorestart=true, as under Supervisor")
        return
    if settings.autorestart == "never":
        draft.service["Restart"] = "no"
        part.changed(
            "autorestart", "Restart=no; Supervisor still tried again what ended within startsecs"
        )
        if "exitcodes" in given:
            part.left("exitcodes", "mean nothing with autorestart=false, as under Supervisor")
        return
    codes = " ".join(map(str, settings.exitcodes))
    if preset is not None:
        part.changed(
            "autorestart",
            "always: an exit with status 0 leaves no queue without its worker; Supervisor left it "
            "stopped then",
            given=there,
        )
        if "exitcodes" in given:
            part.changed("exitcodes", "it is started again whatever its exit status is")
        return
    if not codes:
        part.same("autorestart")
        return
    draft.service["RestartPreventExitStatus"] = codes
    others = " ".join(str(code) for code in settings.exitcodes if code)
    if others:
        draft.service["SuccessExitStatus"] = others
    part.changed(
        "autorestart",
        f"RestartPreventExitStatus={codes}: stays down after such an exit, as under Supervisor. "
        "For the worker of a queue take the line out",
        given=there,
    )
    if "exitcodes" in given:
        part.same("exitcodes")


def logs(part: Part, program: Program, draft: Draft, first: Process) -> None:
    """Where its output goes. The journal has all of it, with time, instance and rotation."""
    given, settings = program.given, program.settings
    nowhere = _of_stream(part, program, draft, "stdout", first.stdout)
    if nowhere:
        draft.service["StandardOutput"] = "null"
    if settings.redirect_stderr:
        if "stderr_logfile" in given:
            part.left("stderr_logfile", "means nothing with redirect_stderr=true")
    elif _of_stream(part, program, draft, "stderr", first.stderr):
        draft.service["StandardError"] = "null"
    elif nowhere:
        draft.service["StandardError"] = "journal"
    if "redirect_stderr" in given:
        if settings.redirect_stderr:
            part.same("redirect_stderr")
        else:
            part.changed("redirect_stderr", "both go to the journal, in their order")


def _of_stream(part: Part, program: Program, draft: Draft, stream: str, value: str | None) -> bool:
    """Whether its output is thrown away."""
    option = f"{stream}_logfile"
    if option not in program.given or value is None:
        return False
    files = {getattr(process, stream) for process in program.processes}
    lower = value.lower()
    if lower in ("none", "off") or value == "/dev/null":
        part.same(option)
        return True
    if lower == "auto":
        part.changed(option, JOURNAL)
    elif lower == "syslog":
        part.changed(option, f"{JOURNAL}, which syslog can read")
    elif value.startswith(_OWN_OUTPUT):
        part.changed(option, f"{JOURNAL}; it was supervisord's own output")
    else:
        _file(part, draft, stream, value, several=len(files) > 1)
    return False


def _file(part: Part, draft: Draft, stream: str, value: str, *, several: bool) -> None:
    option = f"{stream}_logfile"
    if several:
        part.changed(option, f"{JOURNAL}, where each instance has its own name")
        return
    path = f"append:{value}".replace("%", "%%")
    # What a directive cannot say is not offered.
    fits = value.startswith("/") and not unsafe(value, 1000) and not value.endswith("\\")
    directive = "StandardOutput" if stream == "stdout" else "StandardError"
    if fits:
        draft.hints.append(f"{directive} = {toml(path)}  # nothing rotates it: add it to logrotate")
        part.changed(option, f"{JOURNAL}; for the file, take the # away before {directive}")
    else:
        part.changed(option, JOURNAL)


def minfds(part: Part, value: int | None) -> None:
    """What becomes of minfds."""
    if value is not None and _USUAL_FILES < value <= _FILES_MAX:
        part.changed("minfds", f"LimitNOFILE of every worker, {_files(value)}")
    else:
        part.left("minfds", "what systemd gives a service anyway; LimitNOFILE in `limits` for more")


def minimum_files(draft: Draft, value: int | None) -> None:
    """The limit that programs had from their parent."""
    if value is not None and _USUAL_FILES < value <= _FILES_MAX:
        draft.keys["limits"] = {"LimitNOFILE": _files(value)}


def _files(value: int) -> str:
    return f"{value}:{max(value, _HARD_FILES)}"
