"""What script/sandbox boots is a machine like any other, whoever calls it and how."""

from __future__ import annotations

import subprocess

import pytest

from tests.reboot.conftest import SANDBOX, TIMEOUT

pytestmark = pytest.mark.reboot

# Of the kernel's scheduler and of its disks'; sched(7), ionice(1).
HOW = "import os; print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_OTHER)"


def test_services_do_not_inherit_how_the_caller_runs() -> None:
    """Else `nice script/test` fails tests of a worker's `nice`."""
    caller = ("nice", "-n", "7", "chrt", "--batch", "0", "ionice", "--class", "idle")
    service = ("systemd-run", "--quiet", "--wait", "--pipe")
    script = f"{' '.join(service)} python3 -c '{HOW}'; {' '.join(service)} ionice; nice"
    done = subprocess.run(
        [*caller, SANDBOX, "run", "--", "sh", "-ec", script],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    # The command itself is as nice as its caller wants it to be.
    assert done.stdout.splitlines() == ["0 True", "none: prio 0", "7"], done.stderr
