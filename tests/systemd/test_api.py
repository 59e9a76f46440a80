"""The Python API: what docs/api.md prints runs, against an app that is deployed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.api.blocks import python_blocks

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# What each block of the page has found out, as Python that prints it.
ENDS = {
    "health": "print(json.dumps(health()))",
    "deploy": "print(json.dumps([report.exit_code, report.result]))",
    "queues": "print(json.dumps(late))",
    "orphans": "print(json.dumps('done'))",
    "plan": "print(json.dumps(lines))",
}


def run(site: Site, code: str, *command: str) -> Any:
    """Runs it in the site's scope; returns the JSON in its last line."""
    code = code.replace('app("shop")', f'app("{site.app}")')
    code = code.replace("Manager().apps()", f'[Manager().app("{site.app}")]')
    if site.scope.user:
        code = code.replace("Manager()", "Manager(user=True)")
    done = site.python(f"import json\n{code}\n", *command)
    assert done.code == 0, done
    return json.loads(done.stdout.splitlines()[-1])


def test_what_the_page_prints_runs(site: Site) -> None:
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 2}})
    site.deploy()
    blocks = {
        name: f"{code}\n{end}"
        for (name, end), code in zip(ENDS.items(), python_blocks(), strict=True)
    }
    assert run(site, blocks["health"]) == [200, {"sms": 2}]
    plan = run(site, blocks["plan"])
    assert [line.partition(" (")[0] for line in plan] == ["sms@1: keep", "sms@2: keep"]
    assert run(site, blocks["deploy"], "deploy") == [0, "unchanged"]
    assert "where the queues are" in run(site, blocks["queues"])[0]
    assert run(site, blocks["orphans"]) == "done"
    before = set(site.pids("sms").values())
    restart = blocks["deploy"].replace('deploy(message="from a script", ', "restart(")
    assert run(site, restart, "restart") == [0, "ok"]
    assert len(site.pids("sms")) == 2
    assert not before & set(site.pids("sms").values())
    assert site.unitq("stop", "sms@1").code == 0
    assert run(site, blocks["health"]) == [200, {"sms": 1}]
    assert run(site, blocks["plan"])[0].startswith("sms@1: start")
    assert site.unitq("stop").code == 0
    assert run(site, blocks["health"]) == [503, {"sms": 0}]


def test_a_thread_may_restart(site: Site) -> None:
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 2}})
    site.deploy()
    before = set(site.pids("sms").values())
    code = """
from threading import Thread
from unitq import Manager
app, results = Manager().app("shop"), []
thread = Thread(target=lambda: results.append(app.restart().result))
thread.start()
thread.join()
print(json.dumps(results))
"""
    assert run(site, code, "restart") == ["ok"]
    assert not before & set(site.pids("sms").values())


def test_values_are_what_the_commands_print(site: Site) -> None:
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 2}})
    site.deploy()
    app = 'from unitq import Manager, NoMatchError\napp = Manager().app("shop")\n'
    for call, words in (
        ("status_list()", ("status",)),
        ("history()", ("history",)),
        ("plan()", ("plan",)),
        ("orphans()", ("orphans",)),
        ("releases(in_use=True)", ("releases", "--in-use")),
    ):
        told = run(site, f"{app}print(json.dumps(app.{call}.to_json()))")
        printed = site.unitq(*words, "--json").json
        assert told.keys() == printed.keys(), words
        moving = {"apps", "orphans", "claimed", "processes"}  # ages, memory, what else runs here
        assert {key: told[key] for key in told.keys() - moving} == {
            key: printed[key] for key in printed.keys() - moving
        }
    failing = f"{app}try:\n    app.restart('nope')\nexcept NoMatchError as error:\n"
    assert run(site, f"{failing}    print(json.dumps(int(error.exit)))") == 4
