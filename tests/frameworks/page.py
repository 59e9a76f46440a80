"""docs/frameworks-proof.md: what a full run of the tests saw, and nothing typed by hand."""

from __future__ import annotations

import fcntl
import platform
import subprocess
import tomllib
from typing import TYPE_CHECKING

from tests.frameworks.table import FRAMEWORKS, REPO, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.frameworks.table import Framework

    Seen = Mapping[tuple[str, str, str], str]

PAGE = REPO / "docs" / "frameworks-proof.md"

_HEAD = """\
# Proof per framework

<!-- Written by `UNITQ_UPDATE_DOCS=1 script/test frameworks`; not to be edited. -->

The real frameworks, as PyPI, npm and Debian have them, as workers of unitq under a real systemd
({systemd}, {system}).
Each job writes down that it begins and that it is done; what is said here
of jobs is counted in these lines and nowhere else. The programs are in tests/frameworks. *Once*
is: begun once, done once, and its work not cut short.

## What was run

| framework | version | command | stop, by its preset | what becomes of a job in hand at a stop |
| --- | --- | --- | --- | --- |"""

_CASES = {
    "long": """
## A job of 20 seconds in hand at a restart

An instance has this job in hand when `unitq restart` stops it; another job comes in while it
drains, and is for its successor. The seconds are those from the stop signal to the old process's
end.
""",
    "short": """
## 200 short jobs through five rolling restarts

Two instances, restarted one after the other, by `restart` and by `deploy` of another release in
turn, while jobs of 0.3 s wait and are in hand. There are a few more than 200, with which an
instance showed before each restart that it was at work.
""",
    "killed": """
## A job that is longer than `stop_timeout`

A job of 30 seconds and `stop_timeout = "2s"`: whether unitq names the worker as killed, and what
became of the job in the three seconds after the restart (a lease that ends later is not seen).
""",
}

_REFUSED = """
## A shell that stays in between

`sh -c "COMMAND"` and `bash -c "COMMAND; exit $?"`: the shell gets the stop signal in the worker's
place, so every process has to get it. Where the framework's jobs survive that, unitq takes it, and
the columns above are about this very command line. Where they do not, it is refused, with the line
to write instead, and the columns above are about that: `sh -c "exec COMMAND"`.

| framework | `sh -c` | `bash -c` |
| --- | --- | --- |"""

_HARDENED = """
## Hardened

Two instances with `hardening = "standard"`, and with `"strict"` and a `writable` folder for the
lines that jobs write down: a rolling restart while jobs of 8 s are in hand, and 40 of 0.3 s wait.
`UNITQ_UPDATE_DOCS=1 script/test frameworks tests/frameworks/test_hardening.py` writes this table.

| framework | `standard` | `strict` |
| --- | --- | --- |"""

_HEADINGS = """\
| framework | direct | `sh -c` | `bash -c` |
| --- | --- | --- | --- |"""
_SHELLS = (Way.SH, Way.BASH)
WORDS = ("standard", "strict")


def add(seen: Seen) -> None:
    """Puts it on the page, once there is something for every cell; the rest stays as it was.

    One run at a time: they may go side by side.
    """
    with PAGE.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if complete(whole := read() | dict(seen)):
            write(whole)


def complete(seen: Seen) -> bool:
    """Whether every cell of the page was seen."""
    wanted: set[tuple[str, str, str]] = {
        (each.name, case, way) for each in FRAMEWORKS for case in _CASES for way in Way
    }
    wanted |= {(each.name, "refused", shell) for each in FRAMEWORKS for shell in _SHELLS}
    wanted |= {(each.name, "hardened", word) for each in FRAMEWORKS for word in WORDS}
    return wanted <= seen.keys()


def read() -> dict[tuple[str, str, str], str]:
    """What the page says now, for a run of a part of the tests; empty where there is none."""
    if not PAGE.exists():
        return {}
    names = {framework.title: framework.name for framework in FRAMEWORKS}
    texts = {**_CASES, "refused": _REFUSED, "hardened": _HARDENED}
    columns = {"refused": _SHELLS, "hardened": WORDS}
    headings = {_heading(text): case for case, text in texts.items()}
    found: dict[tuple[str, str, str], str] = {}
    case = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            case = headings.get(line, "")
        title, *cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if case and title in names:
            ways = columns.get(case, tuple(Way))
            found |= {
                (names[title], case, way): cell for way, cell in zip(ways, cells, strict=True)
            }
    return found


def _heading(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("## "))


def write(seen: Seen) -> None:
    """Write the page."""
    PAGE.write_text("\n".join(_lines(seen)) + "\n", encoding="utf-8")


def _lines(seen: Seen) -> Iterator[str]:
    yield _HEAD.format(systemd=_systemd(), system=_system())
    for framework in FRAMEWORKS:
        yield _row(
            framework.title,
            framework.version(),
            _command(framework),
            _stop(framework),
            _promise(framework),
        )
    for case, text in _CASES.items():
        yield text
        yield _HEADINGS
        for framework in FRAMEWORKS:
            yield _row(framework.title, *(seen[framework.name, case, way] for way in Way))
    yield _REFUSED
    for framework in FRAMEWORKS:
        yield _row(framework.title, *(seen[framework.name, "refused", shell] for shell in _SHELLS))
    yield _HARDENED
    for framework in FRAMEWORKS:
        yield _row(framework.title, *(seen[framework.name, "hardened", word] for word in WORDS))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _command(framework: Framework) -> str:
    """As a user would write it: this checkout's own directories are left out."""
    whole = f"{framework.command} {framework.arguments}".format(queue="QUEUE", redis="REDIS")
    words = whole.replace("%%", "%").split()
    return f"`{' '.join(word.rpartition('/')[2] or word for word in words)}`"


def _stop(framework: Framework) -> str:
    text = (REPO / "presets" / f"{framework.preset}.toml").read_text(encoding="utf-8")
    stop = tomllib.loads(text)["stop"]
    own = f" (here {framework.stop_timeout})" if framework.stop_timeout else ""
    return f"{stop['signal']}, {stop['kill_mode']}, {stop['timeout']}{own}"


def _promise(framework: Framework) -> str:
    hangs = "; an idle one ends only after one more job" if framework.idle_hangs else ""
    parks = (
        "; one that it is just fetching is left aside, and fails later" if framework.parks else ""
    )
    return f"{framework.promise}{hangs}{parks}"


def _systemd() -> str:
    told = subprocess.run(["systemctl", "--version"], check=True, capture_output=True, text=True)
    return " ".join(told.stdout.split()[:2])


def _system() -> str:
    return str(platform.freedesktop_os_release()["PRETTY_NAME"])
