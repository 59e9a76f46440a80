"""One value of a file each: what its type alone does not say. Without pydantic, for the importer.

Nothing here knows where in the file a value stands; `messages` adds that, and what was found.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from unitq.model import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.model.settings import Duration

Path = tuple[str | int, ...]


class Clash(NamedTuple):
    """What only several values together can get wrong, each of them being right alone."""

    at: Path
    why: str
    needs: tuple[Path, ...] = ()  # not said where something at one of these is wrong alone


COMMAND_MAX = 32 * 1024
PATH_MAX = 4096  # Linux's own, with the final NUL
USER_MAX = 255

COMMAND = 'a command line such as "/usr/bin/php bin/resque"'
PATH = 'an absolute path such as "/srv/shop/current"'
USER = 'a name such as "www-data" or a number in quotes such as "1000"'
SPAN = 'a finite time span such as "90s" or "1min 30s"'
LINE = "a string, a whole number, true or false, or a list of these"

FINDING_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
_USER = r"[A-Za-z_][A-Za-z0-9_.@-]*\$?"
_UID = r"0|[1-9][0-9]{0,9}"
USER_PATTERN = rf"^({_USER}|{_UID})$"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"

SIGNALS = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)  # fmt: skip
REAL_TIME = r"RT(MIN(\+([1-9]|[12][0-9]|30))?|MAX(-([1-9]|[12][0-9]|30))?)"

# What systemd itself tells a process. Ours in their place would make unitq, or the worker,
# believe something that is not so. PATH, HOME, LANG and their like may be set.
RESERVED_VARIABLES = (
    "INVOCATION_ID", "SYSTEMD_EXEC_PID", "MAINPID", "MANAGERPID", "MANAGERPIDFDID",
    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
    "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID",
    "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS",
)  # fmt: skip


class InvalidValueError(ValueError):
    """What was expected, or `why` the value is refused; `at` leads on from the checked key."""

    def __init__(
        self, expected: str = "", *, why: str = "", at: Path = (), words: Sequence[str] = ()
    ) -> None:
        super().__init__(why or f"expected {expected}")
        self.expected = expected
        self.why = why
        self.at = at
        self.words = words  # all that may stand there, if that is a closed set
        self.all: list[InvalidValueError] = [self]  # those of one list or table

    @classmethod
    def of(cls, errors: list[InvalidValueError]) -> InvalidValueError:
        """Returns the first, which stands for all."""
        errors[0].all = errors
        return errors[0]


def command(text: str) -> str:
    """A command line. Outer blanks go, as systemd strips them too."""
    text = text.strip(" ")
    if not text:
        raise InvalidValueError(COMMAND)
    if len(text.encode()) > COMMAND_MAX:
        raise InvalidValueError(why=f"longer than {COMMAND_MAX} bytes; put it into a script")
    return line(text)


def line(value: str | int) -> str:
    """A value in a unit file, on one line. systemd strips blanks, too, so no meaning is lost."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value).strip(" ")
    if text.endswith("\\"):
        raise InvalidValueError(
            why="must not end in a backslash, which joins the unit file's next line to it"
        )
    return text


def user(text: str) -> str:
    """A user or group by name or number: systemd's rules, without the names it only warns about."""
    if re.fullmatch(_USER, text) and len(text) <= USER_MAX:
        return text
    # 65535 and 4294967295 are (uid_t) -1, 16 and 32 bits wide: nobody's number.
    number = int(text) if re.fullmatch(_UID, text) else -1
    if 0 <= number < 2**32 - 1 and number != 2**16 - 1:
        return text
    raise InvalidValueError(USER)


def path(text: str) -> str:
    """An absolute path, without "//", "/./" and a final "/"."""
    if not text.startswith("/"):
        raise InvalidValueError(PATH)
    if len(text.encode()) >= PATH_MAX:
        raise InvalidValueError(why=f"a path has at most {PATH_MAX - 1} bytes")
    if ".." in text.split("/"):
        # Without looking at the disk nobody knows where it leads: the part before may be a symlink.
        raise InvalidValueError('a path without ".."')
    return posixpath.normpath("/" + text.lstrip("/"))


def variable(name: str) -> str:
    """The name of an environment variable that a worker may have."""
    if not re.fullmatch(VARIABLE, name):
        raise InvalidValueError(
            why='not a name for a variable: letters, digits and "_", first a letter or "_"'
        )
    if name.startswith("UNITQ_"):
        raise InvalidValueError(why="names that begin with UNITQ_ are unitq's own")
    if name in RESERVED_VARIABLES:
        raise InvalidValueError(why="systemd sets this variable itself")
    return name


def span(value: str | int) -> Duration:
    """A time span, or a whole number of seconds. Raises ValueError."""
    return duration.parse(f"{value}s" if isinstance(value, int) else value)


def signal(name: str) -> str:
    """The signal's name with "SIG"."""
    return name if name.startswith("SIG") else f"SIG{name}"


def stop_signal(name: str) -> str:
    """The name, with "SIG", of a signal that can tell a worker to stop."""
    full = signal(name)
    if full == "SIGKILL":
        raise InvalidValueError(
            why="SIGKILL cannot be caught, so the in-flight job would be lost; "
            "it is sent anyway to what is left after stop_timeout"
        )
    if full == "SIGSTOP":
        raise InvalidValueError(why="SIGSTOP freezes a worker and does not stop it")
    return full


def distinct(values: Sequence[str]) -> tuple[str, ...]:
    """The same, of which none stands there twice."""
    seen = dict[str, int]()
    for index, value in enumerate(values):
        seen.setdefault(value, index)
    again = [index for index, value in enumerate(values) if seen[value] != index]
    if again:
        why = "stands in the list twice"
        raise InvalidValueError.of([InvalidValueError(why=why, at=(index,)) for index in again])
    return tuple(values)
