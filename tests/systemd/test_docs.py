"""A newcomer types what README.md and docs/start.md print, in their order, and it works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.redis_server import RedisServer

pytestmark = [pytest.mark.systemd, pytest.mark.long]

REPO = Path(__file__).resolve().parents[2]
WORKER = REPO / "tests/workers/resque.php"
SHOP = Path("/srv/shop")
CONFIG = Path("/etc/unitq/shop.toml")
SECRETS = Path("/etc/shop/secrets.env")
OLD, NEW = "20261122-1800", "20261123-0914"
FOLLOWS = ("--watch", "logs -f")
FOLLOW_SECONDS = 2
TIMED_OUT = 124  # timeout(1)
CHANGES = 12  # of `plan`: there is something to deploy


def blocks(page: str, language: str = "") -> list[str]:
    """Returns the code blocks of one language, in the page's order."""
    text = (REPO / page).read_text(encoding="utf-8")
    fences = re.findall(r"(?ms)^```(\S*)\n(.*?)^```$", text)
    return [block for word, block in fences if word == language]


def commands(page: str, first: str) -> list[str]:
    """Returns the lines of the block that begins so, without remarks and without a prompt."""
    (block,) = [block for block in blocks(page) if block.startswith(first)]
    lines = (line.partition(" #")[0].strip() for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def shell(tmp_path: Path, redis: RedisServer) -> Iterator[Shell]:
    """A shell on a machine with the PHP app of the page, in a root that a symlink leads to."""
    root = tmp_path / "disk"
    for release in (OLD, NEW):
        script = root / "releases" / release / "bin/resque"
        script.parent.mkdir(parents=True)
        shutil.copy(WORKER, script)
        (script.parents[1] / "template.php").write_text(f"<?php return '{release} %s';\n")
    (root / "current").symlink_to(f"releases/{OLD}")
    for parent in (root, *root.parents):
        parent.chmod(parent.stat().st_mode | 0o755)
    SHOP.symlink_to(root)
    SECRETS.parent.mkdir(exist_ok=True)
    SECRETS.write_text("TOKEN=secret\n")
    machine = Shell(tmp_path, redis.port)
    try:
        yield machine
    finally:
        if Path("/var/lib/unitq/shop").exists():
            machine.run("unitq -a shop remove")
        SHOP.unlink()
        shutil.rmtree(SECRETS.parent)
        CONFIG.unlink(missing_ok=True)


class Shell:
    """Runs lines of the docs as root, each in a bash of its own, in the directory of the last."""

    def __init__(self, scratch: Path, port: int) -> None:
        self._directory = Path("/")  # as the shell names it: /srv/shop is a symlink
        self._port = port
        programs = scratch / "bin"
        programs.mkdir()
        # Root needs none, and no password is asked for in a test.
        (programs / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (programs / "unitq").write_text(f'#!/bin/sh\nexec {sys.executable} -m unitq "$@"\n')
        for program in programs.iterdir():
            program.chmod(0o755)
        self._environment = {
            "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(REPO),
            "HOME": "/root",
        }

    def configure(self, toml: str) -> None:
        """Writes the page's configuration; only Redis is where the test has it."""
        text = toml.replace("127.0.0.1:6379", f"127.0.0.1:{self._port}")
        CONFIG.write_text(text)

    def run(self, line: str) -> str:
        """Returns both streams of a line, which must exit as documented; ends one that follows."""
        if line.startswith("cd "):
            self._directory = Path(line.removeprefix("cd "))
            return ""
        expected = CHANGES if line.endswith(" plan") else 0
        if line.endswith(" remove"):
            line += " --yes"  # at a terminal it asks
        if any(word in line for word in FOLLOWS):
            line, expected = f"timeout {FOLLOW_SECONDS} {line}", TIMED_OUT
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd=self._directory,
            env=self._environment | {"PWD": str(self._directory)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        output = f"{done.stdout}{done.stderr}"
        assert done.returncode == expected, f"{line}: {done.returncode}: {output}"
        return output

    def type(self, page: str, first: str) -> str:
        """Types the block of a page that begins so; returns what all of it printed."""
        return "".join(self.run(line) for line in commands(page, first))


def test_what_start_prints_works_in_its_order(shell: Shell) -> None:
    page = "docs/start.md"
    shell.type(page, "cd /srv/shop\nsudo unitq init")
    assert 'app = "shop"' in CONFIG.read_text()
    (toml,) = blocks(page, "toml")
    shell.configure(toml)
    deployed = shell.type(page, "sudo unitq check")
    assert "ok: 4 of 4 on 1" in deployed
    rolled = shell.type(page, "ln -sfn")
    assert "ok: 4 of 4 on 2" in rolled
    assert "0 killed · 0 processes on old code" in rolled
    # Those of "Every day" end with `remove`: nothing of the app is left.
    told = shell.type(page, "unitq status")
    assert f"4 of 4 serving · revision 2, release {NEW}" in told
    listed = shell.run("systemctl list-units --all --plain --no-legend 'unitq-shop*.service'")
    assert not listed.strip()


def test_the_first_five_minutes_of_the_readme_work(shell: Shell) -> None:
    page = "README.md"
    (block,) = [block for block in blocks(page) if "sudo unitq init" in block]
    lines = [line.partition(" #")[0].strip() for line in block.splitlines()]
    lines = lines[lines.index("cd /srv/shop") :]
    for line in lines:
        if line == "sudo unitq check":
            (toml,) = blocks(page, "toml")
            shell.configure(f'{toml}environment = {{ REDIS_BACKEND = "127.0.0.1:6379" }}\n')
        told = shell.run(line)
    assert lines[-1] == "sudo unitq deploy"
    assert "ok: 4 of 4 on 1" in told
    assert "sms: 4 of 4 serving" in shell.run("sudo unitq status")
