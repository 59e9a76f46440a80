"""docs/json.md is the interface: the examples in it have exactly the keys of the real thing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import REPO

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def documented(command: str) -> Any:
    """The example under the heading that names the command."""
    page = (REPO / "docs" / "json.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        if f"`unitq {command} --json`" in heading:
            block = re.search(r"```json\n(.*?)```", body, re.DOTALL)
            assert block
            return json.loads(block[1])
    raise AssertionError(f"no section about {command}")


def shape(value: Any) -> Any:
    """Keys and types, without the values; of a list the first element stands for all."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if value is None or isinstance(value, bool | str):
        return type(value).__name__
    return "number"


@pytest.fixture
def deployed(system_site: Site) -> Site:
    """Two instances that have been rolled once."""
    system_site.config(workers={"sms": {"command": system_site.odd("steady"), "instances": 2}})
    system_site.deploy()
    system_site.switch(2)
    return system_site


def test_plan_deploy_and_status_print_what_is_documented(deployed: Site) -> None:
    # A changed unit as well, so that the plan has a diff to show.
    deployed.config(workers={"sms": {"command": deployed.odd("steady"), "instances": 2, "nice": 5}})
    plan = deployed.unitq("plan", "--json")
    assert plan.code == 12
    assert plan.json["pending"] is True
    expected = shape(documented("plan"))
    assert shape(plan.json) == expected
    assert shape(deployed.unitq("deploy", "--dry-run", "--json").json) == expected

    deploy = deployed.unitq("deploy", "--json")
    assert deploy.code == 0
    assert deploy.json["result"] == "ok"
    example = documented("deploy")
    example["least_serving"] = {"sms": 1}
    assert shape(deploy.json) == shape(example)

    status = deployed.unitq("status", "--json")
    assert status.code == 0
    assert shape(status.json) == shape(documented("status"))
    instance = status.json["apps"][0]["workers"][0]["instances"][0]
    assert instance["main_pid"] == deployed.pids("sms")["sms@1"]


def test_every_command_that_acts_prints_what_is_documented(deployed: Site) -> None:
    expected = shape(documented("deploy"))
    for command in (
        ("restart", "sms@1"),
        ("stop", "sms@1"),
        ("start", "sms@1"),
        ("scale", "sms=1"),
        ("remove", "--yes"),
    ):
        found = deployed.unitq(*command, "--json")
        assert found.code == 0, found
        document = found.json
        assert document["command"] == command[0]
        assert shape(document).keys() == expected.keys()
        assert shape(document["instances"])[0].keys() == expected["instances"][0].keys()


def test_check_prints_what_is_documented(system_site: Site) -> None:
    table = {"command": "celery -A shop worker", "preset": "celery", "stop_signal": "SIGQUIT"}
    system_site.config(workers={"sms": table})
    found = system_site.unitq("check", "--json")
    assert shape(found.json) == shape(documented("check"))
    levels = {finding["level"] for finding in found.json["findings"]}
    assert {"error", "warning"} <= levels
