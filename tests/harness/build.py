"""Short ways to the values that tests of the core need."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from unitq.config.parse import parse
from unitq.model import layout
from unitq.model.names import InstanceName
from unitq.presets import store
from unitq.revisions.model import Origin, Revision, successor
from unitq.rollout.reports.report import Report, ReportedInstance
from unitq.units.render import TEMPLATES, Code, Rendered, render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.model.app import App
    from unitq.model.layout import Layout

UNITS = Path(__file__).resolve().parents[2] / "units"
TEXTS = {name: (UNITS / name).read_text(encoding="utf-8") for name in TEMPLATES}

# Ours alone: no operator has any there.
PRESETS = store.load(PurePosixPath("/nonexistent"))

SYSTEM = layout.system()
USER = layout.user(home="/home/ann", uid=1000, environment={})

ORIGIN = Origin(created=1_700_000_000.5, by="ann", config="/srv/shop/unitq.toml")

HEAD = """\
app = "shop"
directory = "/srv/shop/current"
"""


def app(
    workers: str = '[workers.sms]\ncommand = "/bin/worker"\ninstances = 3', head: str = HEAD
) -> App:
    """The app of a file of which only the interesting part is given."""
    return parse(f"{head}\n{workers}\n", source="unitq.toml", presets=PRESETS)


def rendered(
    found: App,
    *,
    release: str = "/srv/shop/releases/1",
    version: str = "release 1",
    scope: Layout = SYSTEM,
    code: Mapping[str, Code] | None = None,
) -> Rendered:
    """Its units and environments; every worker runs the same release unless `code` says more."""
    every = {worker.name: Code(release, version) for worker in found.workers}
    return render(found, scope, every | dict(code or {}), TEXTS)


def revision(found: App, before: Revision | None = None, *, release: str = "1") -> Revision:
    """The revision that a deploy of this app leads to."""
    units = rendered(found, release=f"/srv/shop/releases/{release}", version=f"release {release}")
    return successor(before, units, found.rollout, ORIGIN)


def instance(text: str) -> InstanceName:
    """`sms@3`."""
    worker, _, number = text.partition("@")
    return InstanceName(worker, int(number))


def report(**fields: Any) -> Report:
    """Returns the report of a deploy of one app, with these fields."""
    values: dict[str, Any] = {
        "command": "deploy", "command_line": "unitq deploy", "by": "ann", "began": 1.0,
        "ended": 2.0,
        "host": "web3", "scope": "system", "app": "shop", "rollout": 1, "result": "ok",
        "exit_code": 0, "summary": ("ok",), "revision": "1-a", "previous_revision": None,
        "restores": None, "code_versions": {}, "seconds": 1.0, "least_serving": {},
        "slowest_drain": None, "instances": (), "killed": (), "failed": (), "rollback": None,
        "earlier": (),
    }  # fmt: skip
    return Report(**(values | fields))


def reported(name: str, **fields: Any) -> ReportedInstance:
    """Returns what a report says of an instance, with these fields."""
    values: dict[str, Any] = {
        "instance": name, "unit": f"unitq-shop-{name}.service", "action": "restart", "why": "",
        "phase": "healthy", "revision": "1-a", "pid_before": 7, "ending": None, "ending_detail": "",
        "drain_seconds": None, "reason": "", "external_changes": (), "log": (),
    }  # fmt: skip
    return ReportedInstance(**(values | fields))
