"""The reports of an app's rollouts, and what is kept of them."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import Exit
from unitq.revisions import history
from unitq.revisions.history import Verdict
from unitq.revisions.store import REPORT, by_number, complete, read_all, revisions_in_pins
from unitq.rollout import ledger
from unitq.rollout import ledger_store as rollouts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from unitq.model.layout import AppLayout
    from unitq.revisions.model import Revision

    # Is told in words what was skipped, and why.
    Note = Callable[[str], None]

# Reports of rollouts that are kept.
_ROLLOUTS = 50


class StoredReport(NamedTuple):
    """A report on disk, and what it says of one revision."""

    verdict: Verdict
    document: Mapping[str, Any]  # as `--json` printed it; Report.from_json reads it


def prune(
    place: AppLayout, revision: Revision, keep: int = 10, running: Collection[str] = ()
) -> None:
    """Deletes all but the newest `keep` revisions, and all but the newest reports of rollouts.

    Never the current one (`revision`), one that is pinned or that a process runs (`running`: ids),
    the one that a rollback would go to, nor what one of these needs; nor a report that says of a
    revision that stays whether it is stable. A damaged revision goes in its turn.
    """
    kept = reports(place, _ignore)
    known = read_all(place, _ignore)
    history_entries = history.entries(known, [report.verdict for report in kept], None, revision.id)
    stay = history.to_keep(
        history_entries,
        revision,
        in_use={*running, *revisions_in_pins(place)},
        complete=complete(place, known),
        keep=keep,
    )
    folders = sorted(by_number(Path(place.revisions)))
    for _, path in folders[: max(0, len(folders) - keep)]:
        if path.name not in stay:
            shutil.rmtree(path, ignore_errors=True)
    left = {path.name for _, path in by_number(Path(place.revisions))}
    _prune_rollouts(place, kept, left)


def _prune_rollouts(
    place: AppLayout, kept: Sequence[StoredReport], revisions: Collection[str]
) -> None:
    about: dict[str, list[Verdict]] = {name: [] for name in revisions}
    for verdict, _ in kept:
        about.get(verdict.revision, []).append(verdict)
    verdicts = {last.rollout for group in about.values() if (last := history.last_verdict(group))}
    folders = sorted(by_number(Path(place.state) / "rollouts"))
    for number, path in folders[: max(0, len(folders) - _ROLLOUTS)]:
        if number not in verdicts:
            shutil.rmtree(path, ignore_errors=True)


def reports(place: AppLayout, note: Note) -> list[StoredReport]:
    """Returns the reports of all rollouts, oldest first; `rollout` of each document is its number.

    One that tells of several revisions, as that of a failure with a rollback does, is there for
    each of them.
    """
    stored: list[StoredReport] = []
    hidden = False
    folders = sorted(by_number(Path(place.state) / "rollouts"))
    for number, path in folders:
        try:
            report = json.loads((path / "report.json").read_bytes())
            wrong = [
                key
                for part in (report, *_earlier(report))
                for key, kind in REPORT.items()
                if not isinstance(part[key], kind)
            ]
            if wrong:
                raise ValueError(f"{', '.join(wrong)}: not what belongs there")
            verdict = Verdict.from_json(report | {"rollout": number})
        except FileNotFoundError:
            # Of one that was cut off, the next one tells what became of it.
            if number == folders[-1][0] and not _was_aborted(path):
                note(f"rollout {number} has no report: it is running, or it was killed")
        except OSError as error:
            note(f"{path / 'report.json'}: {error.strerror}: left out")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            note(f"{path / 'report.json'}: damaged ({type(error).__name__}: {error}): left out")
        else:
            try:
                report = rollouts.whole(path, report)
            except PermissionError:
                hidden = True
            except OSError as error:
                note(f"{error.filename}: {error.strerror}: what workers printed is left out")
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                note(f"{path / 'logs.json'}: damaged: {error}: what workers printed is left out")
            report = {"began": None, "ended": None, "by": None, **report, "rollout": number}
            stored += [StoredReport(verdict_before, report) for verdict_before in _before(report)]
            stored.append(StoredReport(verdict, report))
            if isinstance(back := report.get("rollback"), dict):
                # The revision that it was rolled back to has no other report.
                whole = report["exit_code"] == Exit.ROLLED_BACK
                result, code = ("ok", Exit.OK) if whole else ("failed", Exit.DEGRADED)
                of_back = {"command": "rollback", "result": result, "exit_code": int(code)}
                verdict = Verdict.from_json({**report, **back, **of_back})
                stored.append(StoredReport(verdict, report))
    if hidden:
        note(
            "what workers printed, and the jobs they had, may be read by root and the group "
            "systemd-journal only: not shown"
        )
    return stored


def _earlier(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what commands before the last one of this rollout did. Raises TypeError."""
    if not isinstance(report, dict):
        raise TypeError("not a JSON object")
    earlier = report.get("earlier", [])
    if not isinstance(earlier, list):
        raise TypeError("earlier: not what belongs there")
    return earlier


def _before(report: dict[str, Any]) -> list[Verdict]:
    """Returns what it says of other revisions: a resumed rollback replaces a failure's report.

    Oldest first.
    """
    return [
        Verdict.from_json({**command, "rollout": report["rollout"]})
        for command in _earlier(report)
        if command["revision"] != report["revision"]
    ]


def _was_aborted(folder: Path) -> bool:
    """Whether an operator ended this rollout by `abort`, which leaves no report."""
    with suppress(OSError):
        written = ledger.records((folder / "ledger.jsonl").read_bytes())
        return bool(written) and bool(written[-1].data.get("aborted"))
    return False


def _ignore(words: str) -> None:
    """For who deletes: what cannot be read is said by those commands that show it."""
