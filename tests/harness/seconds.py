"""How long the tests of each file take: a pytest plugin that prints it, and what reads it back.

On only where `UNITQ_UPDATE_SECONDS` is set: then script/test writes tests/seconds.json.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ASKED = "UNITQ_UPDATE_SECONDS" in os.environ

_LINE = re.compile(r"^seconds of (\S+): ([0-9.]+)$", re.MULTILINE)


class Seconds:
    """Adds up what setup, call and teardown of each test take."""

    def __init__(self) -> None:
        self._by_file: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest."""
        self._by_file[report.nodeid.partition("::")[0]] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Called by pytest."""
        for file, seconds in sorted(self._by_file.items()):
            terminalreporter.write_line(f"seconds of {file}: {seconds:.2f}")


def seconds_of_files(output: str) -> dict[str, float]:
    """Returns what the plugin has printed."""
    return {file: float(seconds) for file, seconds in _LINE.findall(output)}
