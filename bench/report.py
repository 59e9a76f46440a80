"""The results as JSON, with what is needed to know how much they mean elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.app import Figure
    from bench.ways import Run

CHECKOUT = Path(__file__).resolve().parent.parent


def add_output(parser: argparse.ArgumentParser) -> None:
    """The option that says where the JSON goes."""
    parser.add_argument(
        "--output",
        type=_in_checkout,
        metavar="FILE",
        help="write all runs as JSON; a path in the checkout, as nothing else survives the sandbox",
    )


def _in_checkout(path: str) -> Path:
    found = (CHECKOUT / path).resolve()
    if not found.is_relative_to(CHECKOUT):
        raise argparse.ArgumentTypeError(f"{path} is not in the checkout, {CHECKOUT}")
    if not found.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{found.parent} is not a directory")
    return found


def write(
    path: Path | None,
    what: str,
    setup: Mapping[str, object],
    runs: Sequence[Run],
    figures: Sequence[Figure],
) -> None:
    """Write the file if one is wanted."""
    if path is None:
        return
    found = {
        "benchmark": what,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "setup": setup,
        "figures": [
            {
                "what": figure.what,
                "goal": figure.goal,
                "measured": round(figure.measured, 4),
                "unit": figure.unit,
                "verdict": figure.verdict or None,
            }
            for figure in figures
        ],
        "runs": [
            {
                "way": run.way,
                "seconds": round(run.took.wall, 4),
                "cpu": round(run.took.cpu, 4),
                "drains": [
                    [one.instance, *(round(time, 4) for time in one[1:])] for one in run.drains
                ],
            }
            for run in runs
        ],
        "drain_columns": ["instance", "asked", "told", "gone", "up"],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"# {path.relative_to(CHECKOUT)}", flush=True)


def machine() -> dict[str, object]:
    """What it was measured on, and how busy that was."""
    first = subprocess.run(["systemctl", "--version"], check=True, capture_output=True, text=True)
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "systemd": first.stdout.splitlines()[0].removeprefix("systemd "),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
