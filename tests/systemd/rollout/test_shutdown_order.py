"""What workers are ordered after: what `check` says, and what a deploy does with it.

That it holds at a shutdown is in tests/reboot.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


@pytest.fixture
def service(system_site: Site) -> Iterator[tuple[str, int]]:
    """A Redis as a service of the system: its unit and its port."""
    site = system_site
    with RedisServer() as found:
        port = found.port  # free once it is gone
    unit = f"redis-of-{site.app}.service"
    site.systemctl("reset-failed", unit, check=False)
    started = site.scope.run(
        "systemd-run", f"--unit={unit}", "--property=Type=notify", "redis-server", "--port",
        str(port), "--bind", "127.0.0.1", "--save", "", "--supervised", "systemd",
    )  # fmt: skip
    assert started.code == 0, started
    yield unit, port
    site.systemctl("stop", unit, check=False)  # a test may have stopped it, and then it is gone


def _config(site: Site, **top: Any) -> None:
    worker = {"command": site.odd("steady"), "instances": 2}
    site.config(workers={"sms": worker}, **top)


def _text(site: Site) -> str:
    return Path(site.scope.unit_dir, f"unitq-{site.app}-sms@.service").read_text()


def test_what_serves_the_workers_is_found_and_kept_while_it_is_down(
    system_site: Site, service: tuple[str, int]
) -> None:
    site, (unit, port) = system_site, service
    _config(site)
    site.deploy()
    before = site.pids("sms")
    _config(site, environment={"REDIS_BACKEND": f"localhost:{port}"})
    told = site.unitq("check")
    assert told.code == 0, told
    assert f"localhost:{port} (REDIS_BACKEND) is {unit} [ordered, certain]" in told.stdout
    # The environment is new, so this restarts them; what follows does not.
    site.deploy()
    assert f"\nAfter={unit}\n" in _text(site)
    assert site.show("sms")["sms@1"]["ActiveState"] == "active"
    pids = site.pids("sms")
    assert pids != before
    _config(site, environment={"REDIS_BACKEND": f"localhost:{port}"}, after=["cron.service"])
    done = site.deploy()
    assert f"\nAfter=cron.service {unit}\n" in _text(site)
    assert site.pids("sms") == pids, done
    assert unit in site.systemctl("show", "--property=After", site.unit("sms", 1)).stdout
    # Down, it is not known by its socket any more; the order stays.
    site.systemctl("stop", unit)
    assert site.unitq("plan").code == 0
    assert f"After=cron.service {unit}" in site.unitq("render").stdout
    # And an order that is gone leaves them alone, too.
    _config(site, environment={"REDIS_BACKEND": f"localhost:{port}"})
    site.deploy()
    assert site.pids("sms") == pids


def test_the_dotenv_of_the_release_is_asked_with_its_owners_rights(
    system_site: Site, service: tuple[str, int]
) -> None:
    site, (unit, port) = system_site, service
    release = site.switch(1)
    (release / ".env").write_text(f"REDIS_HOST=127.0.0.1\nREDIS_PORT={port}\n")
    for path in (release, release / ".env"):
        os.chown(path, 1, 1)
    (release / ".env").chmod(0o600)
    _config(site)
    told = site.unitq("check")
    assert f"127.0.0.1:{port} (REDIS_HOST in .env) is {unit}" in told.stdout, told
    site.deploy()
    assert f"\nAfter={unit}\n" in _text(site)
    pids = site.pids("sms")
    # Down, the order stays; gone from the file, it goes, and restarts nobody.
    site.systemctl("stop", unit)
    site.deploy()
    assert f"\nAfter={unit}\n" in _text(site)
    (release / ".env").unlink()
    site.deploy()
    assert unit not in _text(site)
    assert site.pids("sms") == pids


def test_what_cannot_be_ordered_is_said(system_site: Site) -> None:
    site = system_site
    # The tests' own Redis is in no unit.
    with RedisServer() as redis:
        _config(site, redis={"url": redis.url}, after=["no-such.service"])
        told = site.unitq("check")
        assert f"{redis.address} ([redis] url) is on this machine, and workers" in told.stdout
        assert "no unit is known" in told.stdout or "which is no service" in told.stdout
        assert "there is no unit no-such.service on this machine" in told.stdout
        assert site.deploy().code == 0
    for late in ("multi-user.target", f"unitq-{site.app}.target"):
        _config(site, after=[late])
        told = site.unitq("check")
        assert told.code == 3, told
        assert f"error: after: {late}" in told.stdout
        done = site.deploy(code=13)
        assert "nothing was changed" in done.stderr


def test_a_users_worker_cannot_be_ordered_after_a_service_of_the_system(
    user_site: Site, system_site: Site, service: tuple[str, int]
) -> None:
    unit, port = service
    site = user_site
    _config(site, redis={"url": f"redis://127.0.0.1:{port}/0"})
    told = site.unitq("check")
    assert told.code == 0, told
    assert "workers cannot be ordered after it" in told.stdout
    site.deploy()
    assert unit not in _text(site)
    assert "After=" not in _text(site)


def test_a_shutdown_has_less_time_than_some_jobs(user_site: Site, system_site: Site) -> None:
    for site, words in ((system_site, ""), (user_site, "user@.service, TimeoutStopSec=")):
        site.config(workers={"sms": {"command": site.odd("steady"), "stop_timeout": "2h"}})
        told = site.unitq("check")
        assert told.code == 0, told
        assert "warning: stop_timeout: does not hold at a reboot for sms (2h)" in told.stdout
        assert "systemd waits 1800 s (reboot.target and poweroff.target" in told.stdout
        assert (words or "reboot.target") in told.stdout
        # It is no reason not to deploy, nor said each time.
        assert site.deploy().stderr == ""
