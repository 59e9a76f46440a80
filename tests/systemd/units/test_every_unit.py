"""What docs/your-worker.md says that every unit gets."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

_TELLS = """
import json, os, resource, signal, sys, time
def written(path):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        os.unlink(path)
    except OSError as error:
        return error.strerror
with open(sys.argv[1] + ".new", "w") as file:
    json.dump({
        "cwd": os.getcwd(), "umask": os.umask(0), "path": os.environ.get("PATH"),
        "names": sorted(os.environ), "stdin": sys.stdin.read(), "term": os.environ.get("TERM"),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "etc": written("/etc/unitq-test"), "usr": written("/usr/unitq-test"),
        "tty": os.path.exists("/dev/tty") and os.isatty(0),
    }, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(1000)
"""


def test_a_root_worker_gets_what_the_page_says(system_site: Site) -> None:
    site = system_site
    script, out = site.home / "tells.py", site.out / "told"
    script.write_text(_TELLS)
    site.config(
        user="root",
        workers={"w": {"command": f"{sys.executable} -IS {script} {out}", "instances": 1,
                       "stop_signal": "SIGTERM"}},
    )  # fmt: skip
    site.deploy()
    wait_until(out.exists, 20, "what it tells")
    told: dict[str, Any] = json.loads(out.read_text())
    assert told["etc"] == told["usr"] == "Read-only file system"
    assert told["umask"] == 0o022
    assert told["core"] == 0
    assert told["stdin"] == ""
    assert told["files"][0] == 1024
    assert told["term"] is None
    assert told["tty"] is False
    assert told["cwd"] == str((site.home / "current").resolve())
    assert told["path"].startswith("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    wanted = {"INVOCATION_ID", "JOURNAL_STREAM", "LANG", "PATH", "SYSTEMD_EXEC_PID", "HOME",
              "LOGNAME", "SHELL", "USER", "UNITQ_APP", "UNITQ_INSTANCE", "UNITQ_REVISION",
              "UNITQ_WORKER"}  # fmt: skip
    assert {name for name in told["names"] if not name.startswith("TEST_")} <= wanted
