"""What a takeover would do, and what it did: for people and as plain values."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from unitq.printable import one_line
from unitq.supervisor.importer.report import WIDTH
from unitq.supervisor.takeover.strategy import UP, Way
from unitq.supervisor.takeover.summary import way_of
from unitq.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.supervisor.takeover.plan import TakeoverPlan
    from unitq.supervisor.takeover.strategy import Move, Pair


def nothing_to_do(planned: TakeoverPlan) -> str:
    """The text for a takeover that is done already."""
    count = sum(len(move.pairs) for move in planned.moves)
    return (
        f"{planned.app.name}: nothing to do: unitq runs "
        f"{'it' if count == 1 else f'all {count}'}, and Supervisor starts none of them"
    )


def text(planned: TakeoverPlan) -> list[str]:
    """Lines: what would happen, for people."""
    daemon = planned.supervisord
    count = sum(not pair.moved for move in planned.moves for pair in move.pairs)
    where = f"(PID {daemon.pid}, {daemon.address})"
    widest = max(planned.width(move) for move in planned.moves)
    pace = "one at a time" if widest == 1 else "program after program"
    head = f"{plural(count, 'process')} of supervisord {where}, {pace}:"
    lines = [f"{planned.app.name}: {head}"]
    for move in planned.moves:
        lines.append(f"{move.program}, [{move.section}] in {move.file}")
        if move.autostart:
            copy = _copy(planned, move)
            lines.append(f"  autostart = false there; as it was, it stays in {copy}")
        lines += [f"  {pair.process} -> {pair.instance}: {_outcome(planned, move, pair)}"
                  for pair in move.pairs]  # fmt: skip
        total, width = len(move.pairs), planned.width(move)
        at_once = "" if width == 1 else f"at most {width} at a time: "
        lines.append(
            f"  {at_once}never fewer than {max(0, _up(move.pairs) - width)} of {total} serving, "
            f"never more than {plural(max(total, _both(move.pairs)), 'process')}"
        )
    lines += [f"{name} stays with Supervisor: {why}" for name, why in planned.staying]
    return [part for line in lines for part in _wrap(one_line(line))]


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )


def _up(pairs: Iterable[Pair]) -> int:
    return sum(pair.serving or pair.state in UP for pair in pairs)


def _both(pairs: Iterable[Pair]) -> int:
    return sum(pair.serving + (pair.state in UP) for pair in pairs)


def _outcome(planned: TakeoverPlan, move: Move, pair: Pair) -> str:
    if pair.moved:
        return f"moved already; it is {pair.state} there"
    starts = "runs already" if pair.serving else "starts"
    if pair.state not in UP or not pair.pid:
        return f"it is {pair.state}; {pair.instance} {starts}"
    strategy, receivers = way_of(planned, move, pair)
    worker, settings = move.worker(pair), move.settings
    pids = ", ".join(f"PID {pid}" for pid in receivers) or "nobody, as nothing runs below it"
    words = {
        Way.STOP: f"Supervisor stops PID {pair.pid}: {settings.stopsignal}, and SIGKILL after "
        f"{settings.stopwaitsecs} s",
        Way.HOLD: f"{worker.stop_signal} to {pids}; PID {pair.pid} above it is held until the job "
        "is done",
        Way.DRAIN: f"{worker.stop_signal} to {pids}; should Supervisor start another, that is "
        "ended before it can take a job",
    }[strategy]
    return f"{words}; then {pair.instance} {starts}"


def _copy(planned: TakeoverPlan, move: Move) -> str:
    from unitq.supervisor.takeover import autostart

    return str(autostart.copy_for(planned.conf, move.file))
