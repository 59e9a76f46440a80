"""A rollout by who has closed its standard streams: a daemon, or a script's `>&- 2>&-`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


@pytest.mark.variants
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_deploy_goes_its_way(system_site: Site, closed: str) -> None:
    site = system_site
    site.switch(1)
    site.config(workers={"w": {"command": site.odd("steady")}}, rollout={"on_failure": "rollback"})
    site.deploy()
    site.switch(2)
    typed = f"{sys.executable} -m unitq deploy {closed}"
    assert site.scope.run("sh", "-c", typed, cwd=site.home).code == 0
    (story,) = [site.unitq("rollout", "status", "--json").json]
    assert (story["rollout"], story["state"]) == (2, "ok"), story
    assert site.unitq("status").code == 0
