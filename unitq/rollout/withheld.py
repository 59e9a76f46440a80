"""The part of a report that comes from the journal and from queues, apart from the rest.

Every account may read that a worker failed. What it printed, and which jobs it had, is for those
who may read the journal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# The key of a report whose instances are without these.
MARK = "withheld"
_PRIVATE = ("log", "jobs", "possible_jobs", "dropped_jobs")


def split(report: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the report for everybody, and what is left out of it; nothing where all is public."""
    public: dict[str, Any] = json.loads(json.dumps(report))
    private = []
    for row in _rows(public):
        left_out = {key: row[key] for key in _PRIVATE if row.get(key)}
        private.append({"instance": row.get("instance"), **left_out})
        row |= {key: [] if key == "log" else None for key in left_out}
    if not any(len(each) > 1 for each in private):
        return public, []
    public[MARK] = True
    return public, private


def joined(public: dict[str, Any], private: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the whole report. Raises ValueError where the two are not of one report."""
    rows = list(_rows(public))
    if [row.get("instance") for row in rows] != [each.get("instance") for each in private]:
        raise ValueError("not of this report")
    for row, each in zip(rows, private, strict=True):
        row |= {key: each[key] for key in _PRIVATE if key in each}
    public.pop(MARK, None)
    return public


def _rows(report: Mapping[str, Any]) -> Iterator[Any]:
    """Yields what has private keys: the instances, and the way there and back themselves."""
    for part in (report, *report.get("earlier", ())):
        for way in (part, part.get("rollback") or {}):
            if "dropped_jobs" in way:  # not in a report of an older unitq
                yield way
            yield from way.get("instances", ())
