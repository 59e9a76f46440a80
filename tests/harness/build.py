"""Short ways to the values that tests of the core need."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from unitq.config.parse import parse
from unitq.model import layout
from unitq.model.names import InstanceName
from unitq.presets import store
from unitq.revisions.model import Origin, Revision, successor
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
