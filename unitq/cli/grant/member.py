"""Commands for members of a granted group: they start a root unit and follow it."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from unitq.cli.output import echo
from unitq.errors import ConfigError, Exit
from unitq.text import unitq

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.api import App
    from unitq.grants.member import Ended, Run
    from unitq.grants.output import Line

F = TypeVar("F", bound="Callable[..., Any]")

# These concern the member's own waiting, or name the app.
_OWN = frozenset({"timeout", "detach", "app", "user", "debug", "config"})


def by_grant(verb: str) -> Callable[[F], F]:
    """Runs the command through a grant if the account is not root and has one for it."""

    def decorate(function: F) -> F:
        def wrapper(app: App, *arguments: Any, **values: Any) -> Any:
            run = None if values.get("dry_run") else app.granted_run(verb)
            if run is None:
                return function(app, *arguments, **values)
            _refuse_arguments(app, run.app)
            return _follow(app, run, values.get("timeout"), detach=values.get("detach", False))

        decorated: Any = update_wrapper(wrapper, function)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _refuse_arguments(app: App, name: str) -> None:
    """Raises ConfigError for an argument that the root unit does not receive."""
    context = click.get_current_context()
    typed = [
        parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.human_readable_name
        for parameter in context.command.params
        if parameter.name not in _OWN
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if app.scope.config:
        typed.append("-c")
    if "UNITQ_CONFIG" in os.environ:
        typed.append("$UNITQ_CONFIG")
    if typed:
        raise ConfigError(
            f"{context.info_name} by a grant takes no {', '.join(typed)}: what you type does not "
            "reach root",
            hint=f"what is to hold each time belongs in /etc/unitq/{name}.toml; for one time, ask "
            "somebody who may use root",
        )


def _follow(handle: App, run: Run, limit: float | None, *, detach: bool) -> int:
    app, typed = run.app, unitq(run.app, user=False)
    if handle.scope.app is None and run.other_here:
        echo(f"note: by a grant, /etc/unitq/{app}.toml counts, not ./unitq.toml", err=True)
    try:
        run.start()
        if run.joined:
            echo(f"{app}: {run.unit} runs already; this follows it", err=True)
        if detach:
            echo(f"{app}: it runs as {run.unit}; `{typed} rollout watch` waits for its end")
            return Exit.OK
        ended = run.follow(_show, limit)
    except KeyboardInterrupt:
        echo(
            f"\n{app}: {run.unit} keeps running; `{typed} rollout watch` follows it, "
            f"`{typed} rollout abort` stops it at a safe point",
            err=True,
        )
        return Exit.DETACHED
    if run.hidden:
        echo(
            f"{app}: what {run.unit} prints is for its group, which your login has not got yet: "
            "log in again",
            err=True,
        )
    if ended is None:
        echo(
            f"{app}: {run.unit} has not ended in time and keeps running; `{typed} rollout watch` "
            "follows it",
            err=True,
        )
        return Exit.GAVE_UP_WAITING
    return _code(run, app, ended)


def _code(run: Run, app: str, ended: Ended) -> int:
    if ended.code is not None:
        return ended.code
    echo(
        f"unitq: {run.unit} {ended.why}; `{unitq(app, user=False)} rollout status` tells how far "
        f"a rollout has come, `journalctl -u {run.unit}` (as root) what was printed",
        err=True,
    )
    return Exit.BROKEN


def _show(line: Line) -> None:
    with suppress(OSError):  # its reader has gone; the exit code still counts
        echo(line.text, err=line.error)
