"""Draws how each way has used its slots: one row for each instance, time to the right.

python -m bench.chart RESULT.json CHART.svg, where RESULT.json is what --output wrote.

Of several runs of a way the one in the middle is drawn. The file follows the reader's choice of
light or dark.
"""

from __future__ import annotations

import argparse
import json
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.draining import Drain

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 760
LEFT, RIGHT = 16, 84
TOP = 66
TITLE = 24  # above each panel
GAP = 18  # below it
AXIS = 34
ROWS = 216  # height of the rows of one panel

# A drain this many times longer than the shortest stands out.
LONG = 5

STYLE = """\
  .page { fill: #ffffff; } text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; } .way { font-weight: 600; }
  .small { font-size: 12px; fill: #59636e; } .panel { fill: #f2f4f6; }
  .grid { stroke: #d8dee4; } .end { stroke: #1f2328; stroke-width: 1.5; }
  .short { fill: #0969da; } .long { fill: #bc4c00; } .settle { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } text { fill: #e6edf3; } .small { fill: #9198a1; }
    .panel { fill: #161b22; } .grid { stroke: #30363d; } .end { stroke: #e6edf3; }
    .short { fill: #4493f8; } .long { fill: #f0883e; } .settle { fill: #6e7681; }
  }
"""


class Way(NamedTuple):
    """One panel."""

    name: str
    seconds: float
    drains: tuple[Drain, ...]


class Chart:
    """The drawing of one result."""

    def __init__(self, result: dict[str, Any]) -> None:
        self._setup = result["setup"]
        self._date = result["date"][:10]
        self._machine = result["machine"]
        self._ways = _ways(result["runs"])
        self._until = max(way.seconds for way in self._ways)
        self._long = LONG * min(one.asked for one in self._ways[0].drains)

    def drawn(self) -> str:
        """The SVG."""
        body: list[str] = []
        y = TOP
        for way in self._ways:
            body += self._panel(way, y)
            y += TITLE + ROWS + GAP
        height = y + AXIS
        size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        label = f'role="img" aria-label="{escape(self._label())}"'
        head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>',
            f"<style>\n{STYLE}</style>",
            _rect("page", 0, 0, WIDTH, height),
            *self._heading(),
        ]
        return "\n".join([*head, *body, *self._axis(y), "</svg>"]) + "\n"

    def _label(self) -> str:
        took = "; ".join(f"{way.name}: {way.seconds:.1f} s" for way in self._ways)
        return f"{self._title()}. {took}"

    def _title(self) -> str:
        count = len(self._ways[0].drains)
        return f"{count} instances restarted, at most {self._setup['width']} at a time"

    def _heading(self) -> list[str]:
        found = [_text(LEFT, 27, self._title(), "title")]
        x = float(LEFT)
        for style, words in (
            ("short", "drains"),
            ("long", "drains for long"),
            ("settle", "starts, then min_healthy"),
        ):
            if style == "long" and not self._any_long():
                continue
            found.append(_rect(style, x, 40, 11, 11))
            found.append(_text(x + 16, 50, words, "small"))
            x += 16 + 7 * len(words) + 14
        return found

    def _any_long(self) -> bool:
        return any(one.asked >= self._long for one in self._ways[0].drains)

    def _panel(self, way: Way, y: float) -> list[str]:
        rows = y + TITLE
        found = [
            _text(LEFT, y + 16, way.name, "way"),
            _rect("panel", LEFT, rows, WIDTH - LEFT - RIGHT, ROWS),
        ]
        for time in self._ticks():
            x = self._x(time)
            found.append(_line(x, rows, x, rows + ROWS, "grid"))
        step = ROWS / len(way.drains)
        for row, one in enumerate(sorted(way.drains)):
            top, height = rows + row * step, max(step * 0.75, step - 1.2)
            style = "long" if one.asked >= self._long else "short"
            healthy = min(one.up + self._setup["min_healthy"], self._until)
            found.append(self._bar(style, one.told, one.gone, top, height))
            found.append(self._bar("settle", one.gone, healthy, top, height))
        end = self._x(way.seconds)
        found.append(_line(end, rows - 4, end, rows + ROWS, "end"))
        found.append(_text(end + 6, rows + ROWS / 2, f"{way.seconds:.1f} s", "way"))
        return found

    def _bar(self, style: str, begin: float, end: float, top: float, height: float) -> str:
        x, width = self._x(begin), self._x(end) - self._x(begin)
        return _rect(style, x, top, max(width, 0.5), height)

    def _axis(self, y: float) -> list[str]:
        found = [
            _text(self._x(time), y, f"{time:g} s", "small", "middle") for time in self._ticks()
        ]
        on = self._machine
        system = f"systemd {on['systemd'].split()[0]}, {on['cores']} cores"
        found.append(_text(LEFT, y + 22, f"Measured on {self._date}, {system}", "small"))
        return found

    def _ticks(self) -> list[float]:
        rough = self._until / 8
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough)
        return [step * tick for tick in range(int(self._until / step) + 1)]

    def _x(self, time: float) -> float:
        return LEFT + max(0.0, time) / self._until * (WIDTH - LEFT - RIGHT)


def _ways(runs: Sequence[dict[str, Any]]) -> list[Way]:
    by_way: dict[str, list[Way]] = {}
    for run in runs:
        way = Way(run["way"], run["seconds"], tuple(Drain(*one) for one in run["drains"]))
        by_way.setdefault(way.name, []).append(way)
    return [
        sorted(found, key=lambda way: way.seconds)[(len(found) - 1) // 2]
        for found in by_way.values()
    ]


def _text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _rect(style: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{style}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'
    )


def _line(x: float, y: float, to_x: float, to_y: float, style: str) -> str:
    return f'<line class="{style}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(
        prog="bench/run chart",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("result", type=Path, metavar="RESULT.json")
    parser.add_argument("chart", type=Path, metavar="CHART.svg")
    chosen = parser.parse_args()
    result = json.loads(chosen.result.read_text())
    if not all(run["drains"] for run in result["runs"]):
        parser.error(f"{chosen.result}: its workers wrote no times down: measure with drains")
    chosen.chart.write_text(Chart(result).drawn())


if __name__ == "__main__":
    main()
