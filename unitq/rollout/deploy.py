"""Installs what unitq.toml says and rolls it out: here, or in the background."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from unitq.linux.trust import absolute
from unitq.model import names
from unitq.revisions import state
from unitq.rollout import blocking_rollout, detach, hooks
from unitq.rollout.deployment import Deployment
from unitq.rollout.plan_summary import if_it_fails
from unitq.rollout.prepare import prepare
from unitq.rollout.reports.observed_report import replaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.rollout.operation import Operation
    from unitq.rollout.prepare import Request
    from unitq.rollout.reports.report import Report


def deploy(operation: Operation, request: Request) -> Report:
    """Carries the deploy out.

    Raises PreflightError before anything is changed, LockedError if another command is at work on
    the app, or an unfinished rollout is in the way.
    """
    app, path = request.app, request.path
    with state.lock(operation.scope.layout, app.name, state.command_name()):
        blocking_rollout.require_none(operation.scope, app.name)
        operation.configured = app, path
        prepared = prepare(operation, request)
        plan, presenter = prepared.plan, operation.presenter
        previous = plan.current.id if plan.current else None
        if not plan.pending and not plan.unproved:
            return operation.close_unchanged(plan.target, previous, orphans_too=True)
        deployment = Deployment(
            operation, plan, prepared.rendered, prepared.settings, prepared.rollback_target,
            keep=app.history, then=partial(hooks.after, app, path, presenter),
        )  # fmt: skip
        presenter.say(replaces(plan.target, previous))
        if previous:
            presenter.say(f"  {if_it_fails(prepared)}")
        hooks.before_deploy(app, path, plan)
        return deployment.run(request.max_unavailable, request.settings)


def deploy_detached(operation: Operation, request: Request, typed: Sequence[str]) -> str:
    """Lets systemd run this very command once its checks have passed.

    `typed` are the words after `unitq`. Returns the unit that runs it. Raises as `deploy` does.
    """
    scope, app = operation.scope, request.app.name
    with state.lock(scope.layout, app, state.command_name()):
        blocking_rollout.require_none(scope, app)
        prepare(operation, request)
    unit = names.rollout(app)
    # It has another working directory; the last of several options counts.
    config = f"--config={absolute(request.path)}"
    arguments = [word for word in typed if word not in ("--detach", "--")] + [config]
    detach.start(operation.systemd, unit, f"{app}: unitq deploy", arguments, user=scope.user)
    return unit
