"""What each finding is to be: checked wherever a test has unitq make one.

A stranger reads it at night: what is wrong in one plain line, why it matters and what to type on
lines of their own, and a name to silence it by, where the operator may know better.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from unitq.model.finding import Finding, Level

# A second sentence, or a reason, behind what is wrong.
TAIL = re.compile(r"\w[;:,]? (?:because|so that|and so|which means)\b|\w; \w|[a-z]\. [A-Z]")

# What has nothing to type: the reason why.
NOTHING_TO_TYPE = {
    "redis": "a fact about the queues, and nothing is wrong",
    "hardening": "the lowest score that a word can give",
    "after": "a fact about the machine, and nothing is wrong",
}

# Warnings without a name: they guard root, whose rights an account would get.
GUARDS_ROOT = ("command", "user", "hardening")


def problems(finding: Finding) -> list[str]:
    """Returns what is wrong with a finding, in words; empty: nothing."""
    key = finding.place.rsplit(".", 1)[-1]
    found = []
    for part in (finding.message, finding.why, finding.hint):
        if "\n" in part or part != part.strip():
            found.append(f"not one line: {part!r}")
        if part.endswith(".") and not part.endswith(".."):
            found.append(f"a full stop at its end: {part!r}")
    if not finding.message:
        found.append("it does not say what is wrong")
    if TAIL.search(_without_quotes(finding.message)):
        found.append(f"what is wrong has a reason behind it: {finding.message!r}")
    if not finding.hint and not (finding.level is Level.NOTE and key in NOTHING_TO_TYPE):
        found.append("nothing to type")
    if finding.level is Level.WARNING and not finding.name and key not in GUARDS_ROOT:
        found.append("a warning without a name")
    if finding.name and finding.name not in documented():
        found.append(f"no page of docs has the name {finding.name}")
    return found


def _without_quotes(text: str) -> str:
    """Without what is quoted of files, command lines and presets."""
    return re.sub(r"`[^`]*`|\"[^\"]*\"|\([^()]*\)|\[[^\]]*\]", "", text)


@cache
def documented() -> frozenset[str]:
    """Returns what stands in backquotes in the docs."""
    docs = Path(__file__).parents[2] / "docs"
    texts = (path.read_text() for path in docs.glob("*.md"))
    return frozenset(word for text in texts for word in re.findall(r"`([a-z-]+)`", text))


def install() -> None:
    """From now on a finding that unitq makes, and that is not as it is to be, is an error."""
    make = Finding.__init__

    def checked(self: Finding, *parts: Any, **named: Any) -> None:
        make(self, *parts, **named)
        maker = sys._getframe(1).f_globals.get("__name__", "")
        if maker.startswith("unitq."):
            wrong = problems(self)
            assert not wrong, f"{self}: {wrong}"

    Finding.__init__ = checked  # type: ignore[method-assign]
