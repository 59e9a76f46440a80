"""Commands that a member of a granted group may type: they start a unit of root's and follow it."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from unitq.cli.output import echo
from unitq.cli.scope import current
from unitq.context import app_of
from unitq.errors import ConfigError, Exit, NoMatchError, NotPermittedError
from unitq.text import unitq

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.context import Scope
    from unitq.grants.member import Ended, Run
    from unitq.grants.output import Line

F = TypeVar("F", bound="Callable[..., Any]")

# They are about the waiting, which is the member's own, or say which app.
_OWN = frozenset({"timeout", "detach", "app", "user", "debug", "config"})


def by_grant(verb: str) -> Callable[[F], F]:
    """A command that goes by a grant, where another account than root has one that covers it."""

    def decorate(function: F) -> F:
        def wrapper(*arguments: Any, **values: Any) -> Any:
            scope = current()
            if os.geteuid() == 0 or scope.user or values.get("dry_run"):
                return function(*arguments, **values)
            from unitq.grants import member, store

            account = member.name()
            mine = member.covering(store.grants(), account) if account else ()
            if account is None or not mine:
                return function(*arguments, **values)
            app = _app(scope, tuple(grant.app for grant in mine))
            _refuse_arguments(scope, app)
            run = member.Run(scope.systemd(), verb, app, account)
            return _followed(
                scope, run, app, values.get("timeout"), detach=values.get("detach", False)
            )

        decorated: Any = update_wrapper(wrapper, function)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _app(scope: Scope, granted: tuple[str, ...]) -> str:
    """The granted app that is meant. Raises NotPermittedError or NoMatchError."""
    listed = ", ".join(sorted(set(granted)))
    meant = scope.app or app_of(Path("unitq.toml"))
    if meant is None and len(set(granted)) == 1:
        return granted[0]
    if meant is None:
        raise NoMatchError(
            f"several apps are granted to you: {listed}", hint="name one with -a APP"
        )
    if meant not in granted:
        raise NotPermittedError(
            f"{meant} is not granted to you; granted: {listed}",
            hint="name one of them with -a APP, or run it as root (sudo)",
        )
    return meant


def _refuse_arguments(scope: Scope, app: str) -> None:
    """Raises ConfigError where something was typed that a unit of root's does not get."""
    context = click.get_current_context()
    typed = [
        parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.human_readable_name
        for parameter in context.command.params
        if parameter.name not in _OWN
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if scope.config:
        typed.append("-c")
    if "UNITQ_CONFIG" in os.environ:
        typed.append("$UNITQ_CONFIG")
    if typed:
        raise ConfigError(
            f"{context.info_name} by a grant takes no {', '.join(typed)}: what you type does not "
            "reach root",
            hint=f"what is to hold each time belongs in /etc/unitq/{app}.toml; for one time, ask "
            "somebody who may use root",
        )


def _followed(scope: Scope, run: Run, app: str, limit: float | None, *, detach: bool) -> int:
    typed = unitq(app, user=False)
    if scope.app is None and app_of(Path("unitq.toml")):
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
            f"\n{app}: {run.unit} goes on without you; `{typed} rollout watch` follows it, "
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
            f"{app}: {run.unit} has not ended in time and goes on; `{typed} rollout watch` "
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
    with suppress(OSError):  # nobody reads it any more: how it ends is still to be told
        echo(line.text, err=line.error)
