"""What wrappers and shells do with the stop signal on a real systemd, held against the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# The form, its kill mode, its signal, what check calls it ("" where it is fine), and whether a job
# of 4 s that is in hand when the worker is told to stop is done.
FORMS = [
    ('/bin/sh -c "exec {w}"', "mixed", "SIGTERM", "", True),
    ('/bin/sh -c "exec {w} | cat"', "mixed", "SIGTERM", "pipe", False),
    ('/bin/bash -c "while true; do {w}; sleep 1; done"', "mixed", "SIGTERM", "loop", False),
    ("/usr/bin/timeout 1h {w}", "mixed", "SIGTERM", "", True),
    ("/usr/bin/timeout -k 1 1h {w}", "mixed", "SIGTERM", "wrapper", False),
    ("/usr/bin/nice -n 1 {w}", "mixed", "SIGQUIT", "", True),
    ("/usr/bin/flock {out}/lock {w}", "mixed", "SIGTERM", "wrapper", False),
    ("/usr/bin/flock {out}/lock {w}", "control-group", "SIGTERM", "wrapper", True),
    ("/usr/bin/flock --no-fork {out}/lock {w}", "mixed", "SIGTERM", "", True),
    ("/usr/bin/script -qefc '{w}' /dev/null", "control-group", "SIGTERM", "wrapper", False),
    ("/sbin/runuser -u root -- {w}", "control-group", "SIGTERM", "wrapper", False),
    ("/usr/bin/direnv exec / {w}", "mixed", "SIGTERM", "", True),
    ("/usr/bin/rbenv exec {w}", "mixed", "SIGTERM", "", True),
    ("/usr/bin/proxychains4 -q {w}", "mixed", "SIGTERM", "", True),
    ("/usr/bin/s6-setuidgid root {w}", "mixed", "SIGTERM", "", True),
    ("/usr/bin/unbuffer {w}", "control-group", "SIGTERM", "wrapper", False),
    ("/usr/bin/faketime -f +0 {w}", "mixed", "SIGTERM", "wrapper", False),
    ("/usr/bin/faketime -f +0 {w}", "control-group", "SIGTERM", "wrapper", True),
    ("/bin/su root -c '{w}'", "mixed", "SIGTERM", "elsewhere", False),
]


@pytest.mark.variants
@pytest.mark.parametrize(("form", "mode", "signal", "name", "done"), FORMS)
def test_what_happens_is_what_check_says(
    system_site: Site, form: str, mode: str, signal: str, name: str, done: bool
) -> None:
    site = system_site
    site.excuse("processes", "capacity", "killed", "old code")
    mark = site.out / "done"
    text = (
        "import signal, time\n"
        "told = []\n"
        "for number in (signal.SIGTERM, signal.SIGQUIT):\n"
        "    signal.signal(number, lambda *_: told.append(1))\n"
        f"open({str(site.out / 'up')!r}, 'w').close()\n"
        "while not told:\n    time.sleep(0.05)\n"
        "end = time.monotonic() + 4\n"
        "while time.monotonic() < end:\n    time.sleep(0.05)\n"
        f"open({str(mark)!r}, 'w').close()\n"
    )
    (site.home / "w.py").write_text(text)
    command = form.format(w=f"/usr/bin/python3 -IS {site.home}/w.py", out=site.out)
    worker = {"command": command, "instances": 1, "kill_mode": mode, "stop_signal": signal}
    site.config(user="root", workers={"sms": worker | {"stop_timeout": "15s"}})
    look = site.unitq("check")
    said = f"{look.stdout}\n{look.stderr}"
    assert (f"[{name}, certain]" in said or f"[{name}, likely]" in said) is bool(name), said
    if name:
        # What is sure to lose the job is refused; what only may do so is warned of.
        assert site.unitq("deploy").code == (0 if done else 13)
        site.unitq("remove", "--yes")
        (site.out / "up").unlink(missing_ok=True)
        mark.unlink(missing_ok=True)
        site.config(user="root", workers={"sms": worker | {"stop_timeout": "15s", "allow": [name]}})
    site.unitq("deploy")
    wait_until((site.out / "up").exists, 15, "the worker runs")
    # The worker itself may be outside of the unit, and its signal with it: systemd, not unitq.
    site.systemctl("stop", site.unit("sms", 1))
    wait_until(lambda: not site.pids().get("sms@1"), 20)
    assert mark.exists() is done
    site.unitq("remove", "--yes")
