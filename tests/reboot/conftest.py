"""A machine whose plug can be pulled.

These tests run outside of the sandbox and drive it: `machine` is one that they have booted, `Shop`
is an app on it. What is done on it is in inside.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[2]
SANDBOX = str(REPO / "script/sandbox")
# One that a killed test leaves behind is taken down by the next `script/sandbox run`: by its name.
NAME = f"run-{os.getpid()}"
TIMEOUT = 180


@pytest.fixture(scope="session", autouse=True)
def _outside() -> None:
    """Only outside of a sandbox: there is none to boot in there."""
    if "UNITQ_SANDBOX" in os.environ:
        pytest.fail("boots sandboxes itself: `script/test reboot`")


def sandbox(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run script/sandbox; one that fails fails the test."""
    done = subprocess.run(
        [SANDBOX, verb, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, f"script/sandbox {verb}: {done.stdout}{done.stderr}"
    return done


@dataclass
class Machine:
    """A booted sandbox."""

    told: str
    """What its first boot said."""
    _background: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def forgets(self) -> bool:
        """Whether a power cut costs it what was not synced, as it should."""
        return "no loop devices" not in self.told

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command on it. Whether it is heard of again is the machine's fate."""
        running = subprocess.Popen(
            [SANDBOX, "enter", NAME, "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._background.append(running)
        return running

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command on it, to its end."""
        running = self.start(*argv)
        out, err = running.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(argv, running.returncode, out, err)

    def pull_the_plug(self) -> None:
        """From one moment to the next nothing runs any more; then it boots again."""
        sandbox("reboot", NAME)

    def reboot(self) -> None:
        """The same, but systemd stops everything first."""
        sandbox("reboot", "--clean", NAME)

    def end(self) -> None:
        """Take it down, and wait for those that spoke to it."""
        sandbox("stop", NAME)
        for running in self._background:
            running.communicate(timeout=TIMEOUT)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of its own for each test."""
    made = Machine(sandbox("boot", NAME).stderr)
    try:
        yield made
    finally:
        made.end()


@dataclass
class Shop:
    """An app with four instances of one worker, on release 1."""

    machine: Machine
    scope: str
    """"system" or "user"."""

    def unitq(self, *arguments: str, code: int = 0) -> str:
        """Run `unitq`, which must exit with `code`; returns both of its streams."""
        done = self.machine.run(*self._inside("unitq", *arguments))
        told = done.stdout + done.stderr
        assert done.returncode == code, f"unitq {arguments}: exit {done.returncode}: {told}"
        return told

    def ledger(self) -> str:
        """What the last rollout has written down."""
        return self._do("ledger")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same in the background."""
        return self.machine.start(*self._inside("unitq", *arguments))

    def change(self, **worker: Any) -> None:
        """Release 2, and other keys for the worker."""
        self._do("change", json.dumps(worker))

    def hold(self, *what: str) -> None:
        """Keeps instances from finishing their drain ("3"), or their proof ("proof-2").

        All others are let go.
        """
        self._do("hold", *what)

    def make(self) -> None:
        """The app's directory; nothing is deployed yet."""
        self._do("make")

    def serve_redis(self, port: int) -> None:
        """A Redis as a service of its own, and the workers have jobs from it."""
        self._do("redis", str(port))

    def told(self, port: int) -> dict[str, list[str]]:
        """The jobs that Redis was told were begun, and those that were done; then it forgets."""
        found: dict[str, list[str]] = json.loads(self._do("told", str(port)))
        return found

    def add_to_config(self, text: str) -> None:
        """Append to unitq.toml."""
        self._do("add", text)

    def wait(self, name: str, state: str) -> None:
        """Wait until this instance is "up", "old", "draining" or "new"."""
        self._do("wait", name, state)

    def facts(self) -> dict[str, Any]:
        """How things are, without asking unitq; see inside.py."""
        found: dict[str, Any] = json.loads(self._do("facts"))
        return found

    def _inside(self, *arguments: str) -> tuple[str, ...]:
        python = str(Path(sys.prefix) / "bin/python")
        return (python, "-m", "tests.reboot.inside", self.scope, *arguments)

    def _do(self, *arguments: str) -> str:
        done = self.machine.run(*self._inside(*arguments))
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout
