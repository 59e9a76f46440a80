"""The operator's own programs around a deploy: when they run, what they are told, what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.errors import Exit, PreflightError
from unitq.rollout import hook_process
from unitq.rollout.hook_process import HookError

if TYPE_CHECKING:
    from pathlib import Path

    from unitq.model.app import App
    from unitq.rollout.hook_process import HookResult
    from unitq.rollout.plan import Plan
    from unitq.rollout.presenter import Presenter
    from unitq.rollout.reports.report import Report

_LINES = 20  # of its output that are shown


def before_deploy(app: App, config: Path, plan: Plan) -> None:
    """Runs the hook. Raises PreflightError where it fails: nothing has been changed then."""
    hook = app.hooks.before_deploy
    if hook is None:
        return
    document = {
        "format": 1,
        "hook": "before_deploy",
        "app": app.name,
        "revision": plan.target.id,
        "previous_revision": plan.current.id if plan.current else None,
        "instances": [
            {"instance": str(step.instance), "action": str(step.change)} for step in plan.changes
        ],
    }
    try:
        result = hook_process.run(hook, document, directory=config.parent)
    except HookError as error:
        raise PreflightError(f"hooks.before_deploy: {error.message}", hint=error.hint) from error
    if not result.ok:
        raise PreflightError(
            f"hooks.before_deploy ({hook.command[0]}) failed: {result}; nothing was changed",
            problems=_tail(result),
        )


def after(app: App, config: Path, presenter: Presenter, report: Report) -> None:
    """Runs the hook that fits how the deploy ended. What it does changes nothing any more."""
    code = report.exit_code
    if code == Exit.OK:
        name, hook = "after_deploy", app.hooks.after_deploy
    elif code in (Exit.DEGRADED, Exit.ROLLED_BACK):
        name, hook = "on_failure", app.hooks.on_failure
    else:
        return
    if hook is None:
        return
    try:
        result = hook_process.run(hook, {"hook": name, **report.to_json()}, directory=config.parent)
    except HookError as error:
        presenter.warn(f"hooks.{name}: {error.message}")
        return
    if not result.ok:
        lines = (f"  {line}" for line in _tail(result))
        presenter.warn(f"hooks.{name} ({hook.command[0]}) failed: {result}", *lines)


def _tail(result: HookResult) -> tuple[str, ...]:
    return tuple(f"| {line}" for line in result.output.splitlines()[-_LINES:])
