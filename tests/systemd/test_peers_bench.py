"""The comparison of docs/measured.md, in small: three workers under each manager that is here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.peer_managers import MANAGERS
from bench.peers import Result, Sample, figures, table

pytestmark = [pytest.mark.systemd, pytest.mark.long]

REPO = Path(__file__).resolve().parents[2]
WORKERS = 3


def test_each_manager_restarts_and_is_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers", str(WORKERS), "--runs=1", "--restarts=1", "--json"],
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    there = [name for name, version in document["versions"].items() if version]
    assert list(document["versions"]) == [kind.name for kind in MANAGERS]
    # What cannot be installed on a machine is left out, and these are always there.
    assert {"unitq", "systemctl"} <= set(there), done.stderr
    results = [
        Result(**row | {key: tuple(Sample(**s) for s in row[key]) for key in ("status", "restart")})
        for row in document["results"]
    ]
    assert [result.name for result in results] == there
    for result in results:
        assert result.instances == WORKERS
        for sample in (*result.status, *result.restart):
            assert sample.wall > 0, result
            assert sample.cpu > 0, result
            assert sample.daemon >= 0, result
        assert all(0 < seconds < 60 for seconds in result.crash), result
        assert result.memory > 1 << 20, result
    printed = "\n".join(table(results, document["versions"]))
    for kind in MANAGERS:
        row = next(line for line in printed.splitlines() if line.startswith(f"| {kind.name} "))
        assert ("not installed" in row) == (kind.name not in there)
    assert len(figures(results)) == len(there)  # each other's status, and systemctl's restart
    for name in there:
        assert not Path("/srv", f"bench-{name.lower()}").exists(), "it is left behind"
