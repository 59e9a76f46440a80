"""What revision.json tells everybody of an environment; and what an older one does to workers."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unitq.systemd.envfile import assignments

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def _revision(site: Site) -> Path:
    return Path(site.scope.state_dir, site.app, "current/revision.json")


def _config(site: Site, pin: str, **more: Any) -> None:
    worker = {"command": site.odd("steady"), "instances": 2, "environment": {"PIN": pin}}
    site.config(workers={"sms": worker | more})


def _former(path: Path, *pins: str) -> list[str]:
    """The fingerprints as they once were: plain hashes of what somebody guesses."""
    (worker,) = json.loads(path.read_text())["workers"]
    (unit,) = (path.parent / "_units").glob("*-sms@.service")
    # Without the lines that came later.
    text = re.sub("# No line is left out.*\n.*\n", "", unit.read_text())
    known = assignments((path.parent / "sms/env").read_text())
    del known["UNITQ_REVISION"]
    return [
        hashlib.sha256(
            json.dumps(
                [
                    text,
                    sorted((known | {"PIN": pin}).items()),
                    worker["release"],
                    worker["code_version"],
                    [],
                ]
            ).encode()
        ).hexdigest()
        for pin in pins
    ]


def test_a_deploy_by_the_version_before_restarts_nobody(site: Site) -> None:
    _config(site, "1234")
    site.deploy()
    path = _revision(site)
    key = path.parents[1] / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    said = path.read_text()
    assert "1234" not in said
    guesses = set(_former(path, *(f"{number:04}" for number in range(10_000))))
    assert not any(guess in said for guess in guesses)

    # As it was on disk: no key, and a fingerprint that one of the guesses leads to.
    document = json.loads(said)
    (worker,) = document["workers"]
    (worker["fingerprint"],) = _former(path, "1234")
    assert worker["fingerprint"] in guesses
    del worker["sealed"]
    path.write_text(json.dumps(document))
    key.unlink()
    assert site.unitq("status").code == 0
    pids = site.pids("sms")
    site.deploy()
    assert site.pids("sms") == pids
    assert not any(guess in _revision(site).read_text() for guess in guesses)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert site.unitq("status").code == 0
    assert site.unitq("plan").code == 0
    _config(site, "4321")
    site.deploy()
    assert not set(site.pids("sms").values()) & set(pids.values())


def test_who_may_not_read_the_key_is_told_that_it_is_unknown(system_site: Site) -> None:
    site = system_site
    _config(site, "1234")
    site.deploy()

    def plan() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["setpriv", "--reuid=www-data", "--regid=www-data", "--init-groups", "--",
             sys.executable, "-m", "unitq", "-c", str(site.toml), "plan"],
            env=site.scope.environment, cwd="/", capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    for pin in ("1234", "4321"):
        _config(site, pin)
        told = plan()
        assert told.returncode == 5, told
        assert "whether it has changed since the last deploy is unknown" in told.stderr
        assert "restart" not in told.stdout
    _config(site, "4321", restart_delay="2s")
    told = plan()
    assert told.returncode == 12, told
    assert "is unknown" in told.stderr
    assert site.unitq("plan").code == 12
