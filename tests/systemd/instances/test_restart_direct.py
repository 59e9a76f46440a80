"""A crash that begins another invocation and leaves systemd's link as it was.

So it is with RestartMode=direct (systemd 254 and later). An older systemd does not know the
directive: there the link is put back to what it was by hand.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def test_the_drain_after_such_a_crash_is_seen(system_site: Site) -> None:
    site = system_site
    table = {"command": site.odd("steady"), "instances": 1, "restart_delay": "100ms"}
    version = int(site.systemctl("--version").stdout.split()[1])
    direct = {"service": {"RestartMode": "direct"}} if version >= 254 else {}
    site.config(workers={"sms": table | direct})
    site.deploy()
    link = f"/run/systemd/units/invocation:{site.unit('sms', 1)}"
    before, first = os.readlink(link), site.pids()["sms@1"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: site.pids().get("sms@1") not in (None, first))
    wait_until(lambda: site.show()["sms@1"]["SubState"] == "running")
    if os.readlink(link) != before:
        os.unlink(link)
        os.symlink(before, link)
        os.utime(link, (1e9, 1e9), follow_symlinks=False)
    assert site.show()["sms@1"]["InvocationID"] != before
    done = site.unitq("restart", "--json")
    assert done.code == 0, done
    (row,) = done.json["instances"]
    assert row["ending"] == "drained", row
