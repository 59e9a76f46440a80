"""One value of unitq.toml each: plain TOML in, a checked value out, or a MistakeError.

Nothing here knows where in the file a value stands; `mistakes` adds that, and what was found.
"""

from __future__ import annotations

import math
import posixpath
import re
from typing import TYPE_CHECKING

from unitq.model import duration
from unitq.model.app import INSTANCES_MAX, NAME_RE, Credential, KillMode, StartLimit
from unitq.model.names import UNIT_NAME
from unitq.model.settings import Duration, Share
from unitq.model.suggest import either

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from enum import StrEnum

Path = tuple[str | int, ...]

COMMAND_MAX = 32 * 1024
PATH_MAX = 4096  # Linux's own, with the final NUL
USER_MAX = 255
QUEUE_MAX = 255
UNIT_MAX = 255
FINDING_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"

USER = r"[A-Za-z_][A-Za-z0-9_.@-]*\$?"
_UID = r"0|[1-9][0-9]{0,9}"
USER_PATTERN = rf"^({USER}|{_UID})$"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
UMASK = r"[0-7]{3}|0[0-7]{3}"
START_LIMIT = re.compile(r"([1-9][0-9]{0,5}) */ *(.+)")
SIZE = re.compile("([1-9][0-9]{0,5})([KMGT])")
PERCENTAGE = r"(0|[1-9][0-9]?|100)%"

SIGNALS = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)  # fmt: skip
_REAL_TIME = r"RT(MIN(\+([1-9]|[12][0-9]|30))?|MAX(-([1-9]|[12][0-9]|30))?)"
# A look-ahead would say "but not KILL and STOP"; not every editor's regular expressions have it.
SIGNAL_PATTERN = (
    rf"^(SIG)?({'|'.join(s for s in SIGNALS if s not in ('KILL', 'STOP'))}|{_REAL_TIME})$"
)

# What systemd itself tells a process. Ours in their place would make unitq, or the worker,
# believe something that is not so. PATH, HOME, LANG and their like may be set.
RESERVED_VARIABLES = (
    "INVOCATION_ID", "SYSTEMD_EXEC_PID", "MAINPID", "MANAGERPID", "MANAGERPIDFDID",
    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
    "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID",
    "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS",
)  # fmt: skip


class MistakeError(ValueError):
    """What was expected, or `why` the value is refused; `at` leads on from the checked key."""

    def __init__(
        self, expected: str = "", *, why: str = "", at: Path = (), words: Sequence[str] = ()
    ) -> None:
        super().__init__(why or f"expected {expected}")
        self.expected = expected
        self.why = why
        self.at = at
        self.words = words  # all that may stand there, if that is a closed set

    def below(self, key: str | int) -> MistakeError:
        """The same, seen from one table further out."""
        return MistakeError(self.expected, why=self.why, at=(key, *self.at), words=self.words)


class MistakesError(ValueError):
    """Several of them in one table."""

    def __init__(self, every: list[MistakeError]) -> None:
        super().__init__("; ".join(str(mistake) for mistake in every))
        self.every = every


def each(
    table: object, check: Callable[[str, object], tuple[str, ...]], expected: str
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Every pair of a free table; all mistakes in it at once."""
    if not isinstance(table, dict):
        raise MistakeError(expected)
    pairs, wrong = [], []
    for key, value in table.items():
        try:
            pairs.append((key, check(key, value)))
        except MistakeError as mistake:
            wrong.append(mistake.below(key))
    if wrong:
        raise MistakesError(wrong)
    return tuple(pairs)


def name(value: object) -> str:
    """The name of an app or a worker, which becomes part of unit names, paths and identifiers."""
    if not isinstance(value, str) or not NAME_RE.fullmatch(value):
        raise MistakeError(
            'a name of letters, digits, "-" and "_", 1 to 63 characters, first a letter or digit'
        )
    return value


def preset(value: object) -> str:
    """The name of a preset; whether there is one of that name is another question."""
    if not isinstance(value, str) or not NAME_RE.fullmatch(value):
        raise MistakeError('the name of a preset such as "php-resque"')
    return value


def command(value: object) -> str:
    """A command line. Outer blanks go, as systemd strips them too."""
    text = value.strip(" ") if isinstance(value, str) else ""
    if not text:
        raise MistakeError('a command line such as "/usr/bin/php bin/resque"')
    if len(text.encode()) > COMMAND_MAX:
        raise MistakeError(why=f"longer than {COMMAND_MAX} bytes; put it into a script")
    if text.endswith("\\"):
        raise MistakeError(
            why="must not end in a backslash, which joins the unit file's next line to it"
        )
    return text


def user(value: object) -> str:
    """A user or group by name or number: systemd's rules, without the names it only warns about."""
    if isinstance(value, str) and re.fullmatch(USER, value) and len(value) <= USER_MAX:
        return value
    # 65535 and 4294967295 are (uid_t) -1, 16 and 32 bits wide: nobody's number.
    number = int(value) if isinstance(value, str) and re.fullmatch(_UID, value) else -1
    if 0 <= number < 2**32 - 1 and number != 2**16 - 1:
        return str(number)
    raise MistakeError('a name such as "www-data" or a number in quotes such as "1000"')


def path(value: object) -> str:
    """An absolute path, without "//", "/./" and a final "/"."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise MistakeError('an absolute path such as "/srv/shop/current"')
    if len(value.encode()) >= PATH_MAX:
        raise MistakeError(why=f"a path has at most {PATH_MAX - 1} bytes")
    if ".." in value.split("/"):
        # Without looking at the disk nobody knows where it leads: the part before may be a symlink.
        raise MistakeError('a path without ".."')
    return posixpath.normpath("/" + value.lstrip("/"))


def paths(value: object) -> tuple[str, ...]:
    """One path, or a list of them."""
    if isinstance(value, str):
        return (_file(value),)
    if not isinstance(value, list):
        raise MistakeError('an absolute path such as "/etc/shop/env", or a list of them')
    return items(value, _file)


def _file(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise MistakeError('an absolute path such as "/etc/shop/env"')
    return path(value)


def writable(value: object) -> tuple[str, ...]:
    """Paths that a worker may write to: absolute, or below the code."""
    if not isinstance(value, list):
        raise MistakeError('a list of paths such as ["storage", "/srv/shop/shared/log"]')
    return items(value, _writable)


def _writable(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise MistakeError('a path such as "storage" or "/srv/shop/shared/log"')
    if value.startswith("/"):
        return path(value)
    # What leads out of the code is named by its own path.
    return path(f"/{value}").lstrip("/") or "."


# systemd takes whatever names a file (credential_name_valid() in creds-util.c); a shell has to
# name it, too.
CREDENTIAL = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,126}"
CREDENTIALS_MAX = 32
_CREDENTIAL_EXAMPLE = 'a table such as { DB_PASSWORD = "/etc/credstore.encrypted/shop.db" }'


def credentials(value: object) -> tuple[Credential, ...]:
    """Secrets by name: a path, or `{ path = …, encrypted = … }`."""
    if not isinstance(value, dict):
        raise MistakeError(_CREDENTIAL_EXAMPLE)
    if len(value) > CREDENTIALS_MAX:
        raise MistakeError(why=f"more than {CREDENTIALS_MAX} of them")
    found, wrong = [], []
    for key, item in value.items():
        try:
            found.append(_credential(key, item))
        except MistakeError as mistake:
            wrong.append(mistake.below(key))
    if wrong:
        raise MistakesError(wrong)
    return tuple(found)


def _credential(name: str, value: object) -> Credential:
    if not re.fullmatch(CREDENTIAL, name):
        raise MistakeError(
            why='not a name for a credential: letters, digits, "_", "-" and ".", at most 127'
        )
    table = value if isinstance(value, dict) else {"path": value}
    for key in table:
        if key not in ("path", "encrypted"):
            raise MistakeError(why="unknown key, the keys are path and encrypted", at=(key,))
    if not isinstance(table.get("path"), str):
        raise MistakeError('a path such as "/etc/credstore.encrypted/shop.db"')
    where = path(table["path"])
    if where.endswith((" ", "\\")):
        raise MistakeError(why="must end neither in a blank nor in a backslash")
    # As systemd itself has it: /etc/credstore.encrypted and its like (systemd.exec(5)).
    encrypted = table.get("encrypted", posixpath.dirname(where).endswith(".encrypted"))
    if not isinstance(encrypted, bool):
        raise MistakeError("true or false").below("encrypted")
    return Credential(name, where, encrypted)


def queues(value: object) -> tuple[str, ...]:
    """Names of queues, in the order in which the worker is to look at them."""
    if not isinstance(value, list):
        raise MistakeError('a list of names such as ["sms", "default"]')

    def queue(item: object) -> str:
        if not isinstance(item, str) or not item.strip() or item != item.strip():
            raise MistakeError('the name of a queue such as "default"')
        if "," in item:
            raise MistakeError(why="a comma stands between queues; write them as a list")
        if len(item.encode()) > QUEUE_MAX:
            raise MistakeError(why=f"a queue's name has at most {QUEUE_MAX} bytes")
        return item

    return items(value, queue)


def finding_names(value: object) -> tuple[str, ...]:
    """Names of findings that `check` is to leave out."""
    if not isinstance(value, list):
        raise MistakeError('a list of names such as ["pipe"]')

    def name(item: object) -> str:
        if not isinstance(item, str) or not re.fullmatch(FINDING_NAME, item):
            raise MistakeError('the name that `check` prints in brackets, such as "pipe"')
        return item

    return items(value, name)


def unit_names(value: object) -> tuple[str, ...]:
    """Names of units that the workers need."""
    if not isinstance(value, list):
        raise MistakeError('a list of units such as ["postgresql.service"]')

    def unit(item: object) -> str:
        if not isinstance(item, str) or not re.fullmatch(UNIT_NAME, item) or len(item) > UNIT_MAX:
            raise MistakeError('the name of a unit such as "postgresql.service"')
        return item

    return items(value, unit)


# What Supervisor takes for a name, and a script can say: no blanks, no ":", "/" or "*".
SUPERVISOR_NAME = r"[!-)+-.0-9;-~]{1,100}(:[!-)+-.0-9;-~]{1,100})?"


def supervisor_name(value: object) -> str:
    """The name that Supervisor had for a process."""
    if not isinstance(value, str) or not re.fullmatch(SUPERVISOR_NAME, value):
        raise MistakeError('a name or GROUP:NAME such as "sms:sms_00"')
    return value


def items(value: list[object], check: Callable[[object], str]) -> tuple[str, ...]:
    """Every item of a list, none of them twice; all mistakes at once."""
    checked_ones: dict[str, None] = {}
    wrong = []
    for index, item in enumerate(value):
        try:
            checked = check(item)
        except MistakeError as mistake:
            wrong.append(mistake.below(index))
            continue
        if checked in checked_ones:
            wrong.append(MistakeError(why="stands in the list twice", at=(index,)))
        checked_ones[checked] = None
    if wrong:
        raise MistakesError(wrong)
    return tuple(checked_ones)


def environment(value: object) -> tuple[tuple[str, str], ...]:
    """Variables; a whole number becomes its text."""
    pairs = each(value, _variable, 'a table such as { APP_ENV = "production" }')
    return tuple((key, text) for key, (text,) in pairs)


def _variable(key: str, value: object) -> tuple[str, ...]:
    if not re.fullmatch(VARIABLE, key):
        raise MistakeError(
            why='not a name for a variable: letters, digits and "_", first a letter or "_"'
        )
    if key.startswith("UNITQ_"):
        raise MistakeError(why="names that begin with UNITQ_ are unitq's own")
    if key in RESERVED_VARIABLES:
        raise MistakeError(why="systemd sets this variable itself")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MistakeError("a string or a whole number; quotes make a string of anything")
    return (str(value),)


def span(*, zero: bool = True, infinite: bool = True) -> Callable[[object], Duration]:
    """A time span, or a whole number of seconds."""
    expected = duration.EXAMPLE if infinite else 'a time span such as "90s" or "1min 30s"'

    def check(value: object) -> Duration:
        if isinstance(value, int) and not isinstance(value, bool):
            value = f"{value}s"
        if not isinstance(value, str):
            raise MistakeError(expected)
        try:
            found = duration.parse(value)
        except ValueError:
            raise MistakeError(expected) from None
        if found.seconds == 0 and not zero:
            raise MistakeError(f"{expected}, longer than zero")
        if math.isinf(found.seconds) and not infinite:
            raise MistakeError(f"{expected}, not endless")
        return found

    return check


def stop_signal(value: object) -> str:
    """A signal by name, "SIG" or not; returned with it."""
    full = _signal(value, "SIGTERM")
    if full == "SIGKILL":
        raise MistakeError(
            why="SIGKILL cannot be caught, so the job in hand would be lost; it is sent anyway to "
            "what is left after stop_timeout"
        )
    if full == "SIGSTOP":
        raise MistakeError(why="SIGSTOP freezes a worker and does not stop it")
    return full


def any_signal(value: object) -> str:
    """The name of any signal that may be sent, with "SIG"."""
    return _signal(value, "SIGUSR2")


def _signal(value: object, example: str) -> str:
    known = [f"SIG{short}" for short in SIGNALS]
    expected = f'a signal such as "{example}"'
    if not isinstance(value, str):
        raise MistakeError(expected, words=known)
    full = value if value.startswith("SIG") else f"SIG{value}"
    if full in known or re.fullmatch(f"SIG{_REAL_TIME}", full):
        return full
    raise MistakeError(expected, words=known)


def choice(words: type[StrEnum]) -> Callable[[object], StrEnum]:
    """One word out of a closed set."""

    def check(value: object) -> StrEnum:
        if isinstance(value, str) and value in list(words):
            return words(value)
        raise MistakeError(either([f'"{word}"' for word in words]), words=list(words))

    return check


def kill_mode(value: object) -> KillMode:
    """systemd's, without the two that leave processes behind."""
    if value in ("process", "none"):
        raise MistakeError(
            why=f'"{value}" leaves processes behind that go on with the old code; '
            'use "control-group" or "mixed"'
        )
    return KillMode(choice(KillMode)(value))


def start_limit(value: object) -> StartLimit:
    """`5/1min`: at most 5 starts per minute; `none`: no limit."""
    expected = '"none", or starts per time span such as "5/1min"'
    if value == "none":
        return StartLimit(0, Duration("0", 0.0))
    parts = START_LIMIT.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        raise MistakeError(expected)
    try:
        return StartLimit(int(parts[1]), span(zero=False, infinite=False)(parts[2]))
    except MistakeError:
        raise MistakeError(expected) from None


REGISTERED = "registered"


def registered(value: object) -> str:
    """The probe that is no program of the operator's."""
    if value != REGISTERED:
        raise MistakeError('"registered", or a table such as { command = "bin/probe %i" }')
    return REGISTERED


def size(value: object) -> int:
    """Bytes, as systemd's MemoryMax= has them: K, M, G and T are powers of 1024."""
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise MistakeError('a size such as "256M" or "1G"')
    return int(match[1]) << (10 * (1 + "KMGT".index(match[2])))


def percent(value: object) -> Share:
    """A percentage, and no number of instances."""
    if not isinstance(value, str) or not re.fullmatch(PERCENTAGE, value):
        raise MistakeError('a percentage such as "10%"')
    return Share(int(value.removesuffix("%")), percent=True)


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number within bounds; `true` and 4.0 are none."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise MistakeError(f"a whole number from {low} to {high}")
        return value

    return check


def share(value: object) -> Share:
    """A number of instances, or a percentage in quotes."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INSTANCES_MAX:
        return Share(value)
    if isinstance(value, str) and re.fullmatch(PERCENTAGE, value):
        return Share(int(value.removesuffix("%")), percent=True)
    raise MistakeError(f'a whole number from 0 to {INSTANCES_MAX}, or a percentage such as "25%"')


def flag(value: object) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise MistakeError("true or false")
    return value


def umask(value: object) -> str:
    """Four octal digits."""
    if not isinstance(value, str) or not re.fullmatch(UMASK, value):
        raise MistakeError('an octal number in quotes such as "0022"')
    return value.zfill(4)
