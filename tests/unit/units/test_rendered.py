"""What `unitq render` prints for whole files, held against what an earlier version printed.

By the command line and not by any function of unitq's, so that it holds whatever becomes of those:
a unit text that changes is restarted by the next deploy of every user. A deliberate change is
written by UNITQ_UPDATE_GOLDEN=1; the texts of the presets are those of tests/unit/presets.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parent / "rendered"
PRESETS = Path(__file__).parents[1] / "presets" / "golden"
PYTHON = "@PYTHON@"


def rendered(path: Path, tmp_path: Path, *options: str) -> str:
    """All units as `unitq render` prints them, with a placeholder for the path of Python."""
    # A file in a checkout may belong to somebody whom root does not obey.
    copy = tmp_path / "unitq.toml"
    shutil.copyfile(path, copy)
    # Where an account's own units would be: no such directory is needed to print them.
    environment = {"HOME": "/home/ann", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", "unitq", *options, "-c", str(copy), "render"],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(sys.executable, PYTHON)


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.glob("*.toml")))
def test_the_units_of_a_file_are_what_they_were(case: str, tmp_path: Path) -> None:
    options = ("--user",) if case == "user-scope" else ()
    found = rendered(CASES / f"{case}.toml", tmp_path, *options)
    golden = CASES / f"{case}.units"
    if os.environ.get("UNITQ_UPDATE_GOLDEN"):
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_every_preset_by_the_command_line(tmp_path: Path) -> None:
    names = sorted(path.name for path in PRESETS.iterdir())
    lines = ['app = "shop"', 'directory = "/srv/shop/current"', 'user = "www-data"']
    for number, name in enumerate(names):
        facts = tomllib.loads((Path("presets") / f"{name}.toml").read_text(encoding="utf-8"))
        lines += [f"[workers.w{number}]", f'preset = "{name}"', 'queues = ["a", "b"]']
        lines.append(f"command = {json.dumps(facts['command'])}")
    path = tmp_path / "presets.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    texts = {
        found[1]: found[2]
        for found in re.finditer(
            r"(?ms)^# /etc/systemd/system/unitq-shop-(w\d+)@\.service\n(.*?)(?=^# /etc/|\Z)",
            rendered(path, tmp_path),
        )
    }
    assert len(names) == 15
    for number, name in enumerate(names):
        expected = (PRESETS / name / "unitq-shop-w@.service").read_text(encoding="utf-8")
        found = re.sub(rf"\bw{number}\b", "w", texts[f"w{number}"]).replace("User=www-data\n", "")
        assert found.strip() == expected.strip(), name


def test_the_files_use_every_key_that_there_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unitq", "schema"], capture_output=True, check=True, timeout=60
    )
    schema: dict[str, Any] = json.loads(done.stdout)
    known = {key for table in (schema, *schema["$defs"].values()) for key in table["properties"]}
    used: set[str] = set()

    def gather(table: dict[str, Any]) -> None:
        for key, value in table.items():
            used.add(key)
            if isinstance(value, dict):
                gather(value)

    for path in CASES.glob("*.toml"):
        gather(tomllib.loads(path.read_text(encoding="utf-8")))
    assert known <= used
