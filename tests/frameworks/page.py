"""docs/proof.json: what a full run of the tests saw, and nothing typed by hand.

docs/measured.md has the table of it.
"""

from __future__ import annotations

import fcntl
import json
import platform
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

from tests.frameworks.table import FRAMEWORKS, REPO, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.frameworks.table import Framework

    Seen = Mapping[tuple[str, str, str], str]

PAGE = REPO / "docs" / "measured.md"
RESULT = REPO / "docs" / "proof.json"
BEGIN = "<!-- script/test frameworks writes what is between this line and the next one like it -->"
END = "<!-- end of what script/test frameworks writes -->"

_CASES = ("long", "short", "killed")
_SHELLS = (Way.SH, Way.BASH)
WORDS = ("standard", "strict")
_TABLE = """\
| framework | a job of 20 s | 200 short jobs | beyond `stop_timeout` | `sh -c` |
| --- | --- | --- | --- | --- |"""


def add(seen: Seen) -> None:
    """Writes both files, once there is something for every cell; the rest stays as it was.

    One run at a time: they may go side by side.
    """
    with RESULT.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if complete(whole := read() | dict(seen)):
            document = _document(whole)
            RESULT.write_text(_json(document), encoding="utf-8")
            text = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(replaced(text, document), encoding="utf-8")


def complete(seen: Seen) -> bool:
    """Whether every cell was seen."""
    wanted: set[tuple[str, str, str]] = {
        (each.name, case, way) for each in FRAMEWORKS for case in _CASES for way in Way
    }
    wanted |= {(each.name, "refused", shell) for each in FRAMEWORKS for shell in _SHELLS}
    wanted |= {(each.name, "hardened", word) for each in FRAMEWORKS for word in WORDS}
    return wanted <= seen.keys()


def document() -> dict[str, Any]:
    """What was seen when the page was written last."""
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return found


def read() -> dict[tuple[str, str, str], str]:
    """The cells of today's frameworks in it, for a run of a part of the tests."""
    if not RESULT.exists() or not RESULT.stat().st_size:
        return {}
    names = {framework.name for framework in FRAMEWORKS}
    return {
        (name, case, way): what
        for name, found in document()["frameworks"].items()
        if name in names
        for case, ways in found["seen"].items()
        for way, what in ways.items()
    }


def replaced(text: str, found: Mapping[str, Any]) -> str:
    """The page with the table of this between its two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has not both marks, {BEGIN} and {END}")
    rows = "\n".join(_row(*_cells(each)) for each in found["frameworks"].values())
    return f"{before}{begin}\n\n{_TABLE}\n{rows}\n\n{end}{after}"


def _cells(found: Mapping[str, Any]) -> Iterator[str]:
    seen = found["seen"]
    yield f"{found['title']} {found['version']}"
    yield _all_ways(seen["long"])
    yield _all_ways(seen["short"])
    # What becomes of the job later is in proof.json.
    yield _all_ways(seen["killed"]).partition("; job")[0]
    yield seen["refused"][Way.SH].partition(",")[0].partition(";")[0]


def _all_ways(ways: Mapping[str, str]) -> str:
    """What was seen of the worker without a shell, and what was different in another way."""
    shown = ways[Way.DIRECT].split("; ")
    kinds = {_kind(clause) for clause in shown}
    for way, what in ways.items():
        for clause in what.split("; "):
            if _kind(clause) not in kinds:
                kinds.add(_kind(clause))
                shown.append(f"`{way}`: {clause}")
    return "; ".join(shown)


def _kind(clause: str) -> str:
    return re.sub(r"[\d.]+", "N", clause)


def _document(seen: Seen) -> dict[str, Any]:
    return {
        "systemd": _systemd(),
        "system": _system(),
        "frameworks": {each.name: _framework(each, seen) for each in FRAMEWORKS},
    }


def _framework(framework: Framework, seen: Seen) -> dict[str, Any]:
    cells: dict[str, dict[str, str]] = {}
    for (name, case, way), what in seen.items():
        if name == framework.name:
            cells.setdefault(case, {})[str(way)] = what
    return {
        "title": framework.title,
        "version": framework.version(),
        "command": _command(framework),
        "stop": _stop(framework),
        "promise": _promise(framework),
        "seen": cells,
    }


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _command(framework: Framework) -> str:
    """As a user would write it: this checkout's own directories are left out."""
    whole = f"{framework.command} {framework.arguments}".format(queue="QUEUE", redis="REDIS")
    words = whole.replace("%%", "%").split()
    return " ".join(word.rpartition("/")[2] or word for word in words)


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
