"""The demo ends well with unitq as it is, and says so when something breaks its promises."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.systemd

REPO = Path(__file__).resolve().parents[2]
OPERATORS_TEMPLATES = Path("/etc/unitq/units")


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    app = f"demo-{secrets.token_hex(3)}"
    return subprocess.run(
        [sys.executable, "-m", "demo.incident", "--app", app, "--deploys", "1", *arguments],
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def rows(output: str) -> dict[str, list[str]]:
    """The table: what it is about, and its four cells."""
    lines = output.partition("\n---")[2].splitlines()
    cells = [re.split(r"  +", line.strip()) for line in lines[1:]]
    return {row[0]: row[1:] for row in cells if len(row) == 5}


def test_every_promise_is_kept() -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(done.stdout)
    assert len(found) == 10
    assert {row[-1] for row in found.values()} == {"ok"}
    assert "Every promise was kept." in done.stdout
    # Not to a terminal: no colours.
    assert "\x1b" not in done.stdout
    # The contrast is a real one: it shows what unitq is against.
    text = found["jobs run with old text after the restart ended"]
    left = found["processes left behind: of an old release"]
    assert int(text[0].split()[0]) > 0
    assert int(left[0].split()[0]) >= 4
    assert text[1].startswith("0 of ")
    assert left[1].startswith("0 of ")


@pytest.fixture
def units_as_in_the_incident() -> Iterator[None]:
    """Units that tell bash only, and with SIGTERM: what the demo must not let pass."""
    name = "worker@.service.j2"
    text = (REPO / "units" / name).read_text()
    text = re.sub(r"(?m)^KillMode=.*", "KillMode=process", text)
    text = re.sub(r"(?m)^KillSignal=.*", "KillSignal=SIGTERM", text)
    created = [
        path for path in (OPERATORS_TEMPLATES, *OPERATORS_TEMPLATES.parents) if not path.exists()
    ]
    OPERATORS_TEMPLATES.mkdir(parents=True, exist_ok=True)
    (OPERATORS_TEMPLATES / name).write_text(text)
    yield
    (OPERATORS_TEMPLATES / name).unlink()
    for path in created:
        path.rmdir()


@pytest.mark.usefixtures("units_as_in_the_incident")
def test_a_broken_promise_is_told() -> None:
    done = demo()
    assert done.returncode == 1, done.stdout + done.stderr
    found = rows(done.stdout)
    assert found["jobs run with old text after the restart ended"][-1] == "BROKEN"
    assert found["processes left behind: of an old release"][-1] == "BROKEN"
    assert "\nBROKEN: " in done.stdout


def test_outside_a_sandbox_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNITQ_SANDBOX")
    done = demo()
    assert done.returncode == 2
    assert "script/demo" in done.stderr
