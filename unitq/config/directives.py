"""Other systemd directives: which pass through, which unitq writes itself; and limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from unitq.model import duration
from unitq.model.app import Directives
from unitq.model.suggest import either
from unitq.toml.types import DIRECTIVE, TYPES, Items, Kind, forms
from unitq.toml.values import LINE, InvalidValueError, line

if TYPE_CHECKING:
    from collections.abc import Callable

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

_OTHER_TYPES = {
    "forking": "takes the starter's exit for the worker's start; run the worker in the foreground",
    "oneshot": "is for commands that end, and a worker does not",
    "dbus": "waits for a D-Bus name, which a worker has not",
}


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


def _section(table: dict[str, tuple[str, ...]]) -> Directives:
    lines = table.get("Type", TYPES[:1])
    if why := next((why for word, why in _OTHER_TYPES.items() if word in lines), ""):
        raise InvalidValueError(why=f'Type "{lines[0]}" {why}', at=("Type",))
    if len(lines) > 1 or lines[0] not in TYPES:
        expected = either([f'"{word}"' for word in TYPES])
        raise InvalidValueError(expected, at=("Type",), words=TYPES)
    return tuple(table.items())


def _of(owned: dict[str, str]) -> Kind:
    """A table of directives that are not unitq's own to write."""

    def check(name: str) -> str:
        if advice := instead(name, owned):
            raise InvalidValueError(why=f"unitq writes this directive itself: {advice}")
        return name

    name = Kind('the name of a directive such as "MemoryMax"', DIRECTIVE, check)
    return Kind(
        'a table such as { MemoryMax = "512M" }',
        dict[Annotated[str, name], _Lines],
        _section,
        "table, see [Other directives](#other-directives)",
    )


_Line = Annotated[str, Kind(LINE, forms(str, int, flag=bool), line)]
_Some = Annotated[Items[_Line], Field(min_length=1)]
_List = Annotated[tuple[str, ...], Kind("at least one value in the list", _Some)]
_Lines = Annotated[
    tuple[str, ...],
    Kind(
        LINE,
        forms(_Line, _Line, _List, flag=_Line),
        lambda given: (given,) if isinstance(given, str) else given,
    ),
]
UnitSection = Annotated[Directives, _of(IN_UNIT)]
ServiceSection = Annotated[Directives, _of(IN_SERVICE)]


def _limits(table: dict[str, str | int]) -> tuple[tuple[str, str], ...]:
    """`limits`: setrlimit(2) by systemd's names."""
    limits, wrong = [], []
    for name, value in table.items():
        try:
            limits.append((name, _limit(name, str(value))))
        except InvalidValueError as mistake:
            mistake.at = (name,)
            wrong.append(mistake)
    if wrong:
        raise InvalidValueError.of(wrong)
    return tuple(limits)


def _limit(key: str, text: str) -> str:
    read, example = LIMITS[key]
    infinity = "" if key == "LimitNICE" else ', "infinity"'
    expected = f'{example}{infinity}, or two of them as "soft:hard"'
    try:
        bounds = [
            _INFINITE if part == "infinity" and infinity else read(part) for part in text.split(":")
        ]
    except ValueError:
        raise InvalidValueError(expected) from None
    if len(bounds) > 2:
        raise InvalidValueError(expected)
    if bounds[0] > bounds[-1]:
        # systemd would drop the line with a warning, and the limit with it.
        raise InvalidValueError(why=f'the soft limit is above the hard one in "{text}"')
    return text


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
    count = int(parts[1]) * factor + int(float(parts[2] or "0") * factor)
    if count >= _INFINITE:
        raise ValueError(text)
    return count


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

_LIMIT = Kind('the name of a limit such as "LimitNOFILE"', "|".join(LIMITS), near=tuple(LIMITS))
_VALUE = Kind("a string or a whole number", forms(str, int))
Limits = Annotated[
    tuple[tuple[str, str], ...],
    Kind(
        "a table such as { LimitNOFILE = 65536 }",
        dict[Annotated[str, _LIMIT], Annotated[str | int, _VALUE]],
        _limits,
        "table, see [Limits](#limits)",
    ),
]
