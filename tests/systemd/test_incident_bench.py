"""The benchmark that README.md's table comes from, in small: every row, one restart each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.incident import README, RESULT, outcome_of
from bench.managers import SETUPS, WORKERS

pytestmark = pytest.mark.systemd

REPO = Path(__file__).resolve().parents[2]


def test_every_row_is_measured_and_the_incident_is_one() -> None:
    before = [path.read_bytes() for path in (README, RESULT)]
    # It writes nowhere but in the checkout.
    with tempfile.NamedTemporaryFile(dir=REPO, prefix=".incident-", suffix=".json") as out:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "bench.incident",
                "--quick",
                "--at-once",
                "4",
                "--output",
                out.name,
            ],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        document = json.loads(Path(out.name).read_text())
    # A part of it is nothing for the README.
    assert [path.read_bytes() for path in (README, RESULT)] == before
    rows = {each.setup: each for each in map(outcome_of, document["rows"])}
    assert list(rows) == [setup.name for setup in SETUPS]
    for row in rows.values():
        # All were at work, and were looked at.
        assert row.jobs > 0, row
        assert row.judged > 0, row
        assert row.looks > 0, row
        assert len(row.seconds) == len(row.statuses) == 1, row
        assert 0 <= row.least <= WORKERS, row
        assert all(setup.title in done.stdout for setup in SETUPS)
    # The incident: all four workers live on, and nobody has them.
    assert rows["bash"].orphans >= WORKERS
    # `stopasgroup`, `exec` and unitq leave none; each says so of itself.
    for name in ("defaults", "group", "exec", "quit", "loop", "unitq-bash", "unitq"):
        assert rows[name].orphans == 0, rows[name]
        assert rows[name].stale == 0, rows[name]
    for name in ("quit", "loop", "unitq-bash", "unitq"):
        row = rows[name]
        assert (row.lost, row.twice, row.statuses) == (0, 0, (0,)), row
