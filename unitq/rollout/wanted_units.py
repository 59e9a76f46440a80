"""The units that unitq.toml and the code lead to: to be shown, or to be installed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unitq.config import scripts
from unitq.errors import NotPermittedError, SystemdError
from unitq.linux import files, folder, programs
from unitq.model import names
from unitq.model.finding import Finding, Level
from unitq.revisions import code
from unitq.rollout.checks import credentials
from unitq.rollout.checks.shutdown_order import shutdown_order
from unitq.units import ordering, templates, unit_files
from unitq.units.local_services import Surroundings
from unitq.units.render import Code, Rendered, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.revisions.model import Revision
    from unitq.rollout.checks.credentials import Secrets
    from unitq.rollout.checks.shutdown_order import ShutdownOrder
    from unitq.units.render import UnitText


@dataclass(frozen=True, slots=True)
class Inputs:
    """What units are made of, read once."""

    scope: Scope
    app: App
    path: Path  # of unitq.toml
    code: Mapping[str, Code]  # by worker
    secrets: Secrets
    order: ShutdownOrder  # what the workers stop before


def read_inputs(scope: Scope, app: App, path: Path, code_versions: Mapping[str, Code]) -> Inputs:
    """Reads what else units are made of, besides the code."""
    secrets = credentials.read(app, user_scope=scope.user)
    return Inputs(scope, app, path, code_versions, secrets, _stop_order(scope, app, code_versions))


def units_to_deploy(scope: Scope, app: App) -> Rendered:
    """Returns the units that a deploy would install now, to be shown; also without the code."""
    code_versions, _ = code.find_code(app)
    return render_units(
        scope, app, code_versions, after=_stop_order(scope, app, code_versions).after
    )


def write(units: Iterable[UnitText], output: str) -> None:
    """Writes a file each into a directory, which is made. Raises PreflightError."""
    with files.preflight_errors("cannot write"), folder.output(output, make=True) as place:
        for unit in units:
            place.replace(unit.name, unit.text.encode(), 0o644)


def render_units(
    scope: Scope,
    app: App,
    code_versions: Mapping[str, Code],
    *,
    after: Mapping[str, Sequence[str]] | None = None,
) -> Rendered:
    """Returns the units, to be shown: their fingerprints do not say which environment it is."""
    texts, app = templates.texts(scope.layout.config_dir), scripts.adapt(app, code_versions)
    return render(app, scope.layout, code_versions, texts, programs.own_command(), after)


def render_sealed(inputs: Inputs, before: Revision | None) -> tuple[Rendered, list[Finding]]:
    """Returns the units to be installed, and what could not be found out about environments.

    Who may not read the app's key takes environments for those of `before`, and says so. Raises
    NotPermittedError where there are secrets to be sealed.
    """
    layout, secrets = inputs.scope.layout, inputs.secrets
    app = scripts.adapt(inputs.app, inputs.code)
    key, unknown = b"", []
    try:
        key = credentials.key(layout.app(app.name).key)
        seal = credentials.sealing(key)
    except NotPermittedError as error:
        if secrets.content:
            raise
        seal = credentials.earlier_seals(before)
        message = "whether it has changed since the last deploy is unknown"
        unknown.append(Finding(Level.WARNING, "environment", message, error.hint, error.message))
    with_secrets = {
        worker.name: replace(
            inputs.code[worker.name], secrets=credentials.seals(worker, secrets.content, key)
        )
        for worker in app.workers
    }
    texts = templates.texts(layout.config_dir)
    units = render(
        app, layout, with_secrets, texts, programs.own_command(), inputs.order.after, seal
    )
    return replace(units, key=key), unknown


def _stop_order(scope: Scope, app: App, code_versions: Mapping[str, Code]) -> ShutdownOrder:
    """Returns what the workers stop before; without a systemd, as far as it is known."""
    layout, manager, own = scope.layout, None, ""
    with suppress(SystemdError, NotPermittedError):
        manager = scope.systemd()
        own = manager.control_group() if scope.user else ""
    texts = [
        unit_files.text(layout.unit_dir, names.template(app.name, w.name)) for w in app.workers
    ]
    kept = dict.fromkeys(unit for text in texts for unit in ordering.units_in(text))
    around = Surroundings(
        manager, names.target(app.name), own, [unit for unit in kept if unit not in app.after]
    )
    return shutdown_order(scripts.adapt(app, code_versions), code_versions, scope.presets(), around)
