"""Other systemd directives: which pass through, which unitq writes itself; and limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.model import duration
from unitq.model.suggest import either, nearest
from unitq.toml.values import MistakeError, each

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.model.app import Directives

DIRECTIVE = r"[A-Za-z][A-Za-z0-9]*|X-[A-Za-z0-9-]+"

# What a worker's own tables may not say, and what to say instead. A final "*" stands for the rest.
IN_SERVICE: dict[str, str] = {
    "ExecStart": "use command",
    "KillMode": "use kill_mode",
    "KillSignal": "use stop_signal",
    "RestartKillSignal": "use stop_signal, which is also sent for a restart",
    "TimeoutStopSec": "use stop_timeout",
    "TimeoutSec": "use stop_timeout, and TimeoutStartSec for the start",
    "FinalKillSignal": "what is left after stop_timeout always gets SIGKILL",
    "SendSIGKILL": 'what is left after stop_timeout is killed; use stop_timeout = "infinity"',
    "Slice": "every worker has a slice of its own below the app's",
    "WorkingDirectory": "use directory",
    "User": "use user",
    "Group": "use group",
    "Environment": "use environment: every user of this machine can read what stands here",
    "EnvironmentFile": "use environment_file",
    "RestartSec": "use restart_delay",
    "StartLimit*": "use start_limit",
    "Nice": "use nice",
    "UMask": "use umask",
    "Limit*": "use limits",
    "RemainAfterExit": "a worker that has exited must not count as running",
    "GuessMainPID": "systemd starts the worker itself and knows its process",
    "PIDFile": "systemd starts the worker itself and knows its process",
    "BusName": "a worker is no D-Bus service",
}
IN_UNIT: dict[str, str] = {
    "StartLimit*": "use start_limit",
    "PartOf": "every worker is part of its app's target",
    "RefuseManualStart": "unitq has to start the worker",
    "RefuseManualStop": "unitq has to stop the worker",
}

TYPES = ("simple", "exec", "notify", "notify-reload", "idle")
_OTHER_TYPES = {
    "forking": "takes the starter's exit for the worker's start; run the worker in the foreground",
    "oneshot": "is for commands that end; a worker goes on",
    "dbus": "waits for a D-Bus name, which a worker has not",
}


def service(value: object) -> Directives:
    """`[workers.NAME.service]`."""
    return _section(value, IN_SERVICE)


def unit(value: object) -> Directives:
    """`[workers.NAME.unit]`."""
    return _section(value, IN_UNIT)


def instead(directive: str, owned: dict[str, str]) -> str | None:
    """What to use in place of a directive that unitq writes itself."""
    # systemd would ignore "execstart"; to whoever wrote it, it is ExecStart all the same.
    folded = directive.lower()
    for known, advice in owned.items():
        if known.endswith("*") and folded.startswith(known[:-1].lower()):
            return advice
        if folded == known.lower():
            return advice
    return None


def _section(value: object, owned: dict[str, str]) -> Directives:
    def check(key: str, found: object) -> tuple[str, ...]:
        if not re.fullmatch(DIRECTIVE, key):
            raise MistakeError(why='not the name of a directive, such as "MemoryMax"')
        advice = instead(key, owned)
        if advice:
            raise MistakeError(why=f"unitq writes this directive itself: {advice}")
        if key == "Type":
            return (_type(found),)
        return _lines(found)

    return each(value, check, 'a table such as { MemoryMax = "512M" }')


def _type(value: object) -> str:
    if isinstance(value, str) and value in _OTHER_TYPES:
        raise MistakeError(why=f'Type "{value}" {_OTHER_TYPES[value]}')
    if not isinstance(value, str) or value not in TYPES:
        raise MistakeError(either([f'"{word}"' for word in TYPES]), words=TYPES)
    return value


def _lines(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return (_line(value),)
    if not value:
        raise MistakeError("at least one value in the list")
    lines = []
    for index, item in enumerate(value):
        try:
            lines.append(_line(item))
        except MistakeError as mistake:
            raise mistake.below(index) from None
    return tuple(lines)


def _line(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise MistakeError("a string, a whole number, true or false, or a list of these")
    # systemd strips what follows "=" too, so no meaning is lost.
    text = value.strip(" ")
    if text.endswith("\\"):
        raise MistakeError(
            why="must not end in a backslash, which joins the unit file's next line to it"
        )
    return text


def limits(value: object) -> tuple[tuple[str, str], ...]:
    """`limits`: setrlimit(2) by systemd's names."""
    pairs = each(value, _limit, "a table such as { LimitNOFILE = 65536 }")
    return tuple((key, text) for key, (text,) in pairs)


def _limit(key: str, value: object) -> tuple[str, ...]:
    read, example = LIMITS.get(key, (None, ""))
    if read is None:
        near = nearest(key, LIMITS) or nearest(f"Limit{key}", LIMITS)
        known = (
            f'did you mean "{near}"?' if near else f"there are {either(list(LIMITS), last='and')}"
        )
        raise MistakeError(why=f"unknown limit, {known}")
    infinity = "" if key == "LimitNICE" else ', "infinity"'
    expected = f'{example}{infinity}, or two of them as "soft:hard"'
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise MistakeError(expected)
    text = str(value)
    try:
        bounds = [
            _INFINITE if part == "infinity" and infinity else read(part) for part in text.split(":")
        ]
    except ValueError:
        raise MistakeError(expected) from None
    if len(bounds) > 2:
        raise MistakeError(expected)
    if bounds[0] > bounds[-1]:
        # systemd would drop the line with a warning, and the limit with it.
        raise MistakeError(why=f'the soft limit is above the hard one in "{text}"')
    return (text,)


_INFINITE = 2**64 - 1  # RLIM_INFINITY, which is no number that may be written


def _count(text: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", text) or int(text) >= _INFINITE:
        raise ValueError(text)
    return int(text)


def size(text: str) -> int:
    """Returns bytes, of a size such as "512M" (systemd.syntax(7)). Raises ValueError."""
    parts = re.fullmatch(r"(0|[1-9][0-9]{0,19})(\.[0-9]{1,9})?([BKMGTPE]?)", text)
    if parts is None:
        raise ValueError(text)
    factor: int = 1024 ** "BKMGTPE".index(parts[3] or "B")
    found = int(parts[1]) * factor + int(float(parts[2] or "0") * factor)
    if found >= _INFINITE:
        raise ValueError(text)
    return found


def _seconds(text: str) -> int:
    micros = duration.microseconds(text)
    # setrlimit counts whole seconds, and systemd rounds up.
    return _INFINITE if micros is None else -(-micros // 1_000_000)


def _microseconds(text: str) -> int:
    micros = duration.microseconds(text, unit="us")
    return _INFINITE if micros is None else micros


def _nice(text: str) -> int:
    if re.fullmatch(r"[+-][0-9]{1,2}", text):
        if not -20 <= int(text) <= 19:
            raise ValueError(text)
        return 20 - int(text)
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > 40:
        raise ValueError(text)
    return int(text)


_COUNT = (_count, "a whole number such as 65536")
_SIZE = (size, 'a size such as "2G"')

# systemd.exec(5). Each has its own units there, and a value in other units is ignored there.
LIMITS: dict[str, tuple[Callable[[str], int], str]] = {
    "LimitCPU": (_seconds, 'a time span such as "10min"'),
    "LimitFSIZE": _SIZE,
    "LimitDATA": _SIZE,
    "LimitSTACK": _SIZE,
    "LimitCORE": _SIZE,
    "LimitRSS": _SIZE,
    "LimitNOFILE": _COUNT,
    "LimitAS": _SIZE,
    "LimitNPROC": _COUNT,
    "LimitMEMLOCK": _SIZE,
    "LimitLOCKS": _COUNT,
    "LimitSIGPENDING": _COUNT,
    "LimitMSGQUEUE": _SIZE,
    "LimitNICE": (_nice, 'a nice level such as "-5" or a number from 0 to 40'),
    "LimitRTPRIO": _COUNT,
    "LimitRTTIME": (_microseconds, 'a time span such as "200ms"'),
}
