"""Which app, which scope: the options that every command takes, before or after the verb."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar

import click

from unitq.cli import completions
from unitq.context import Scope

if TYPE_CHECKING:
    from collections.abc import Callable


F = TypeVar("F", bound="Callable[..., Any]")


def scope_options(function: F) -> F:
    """Adds -c, -a, --user and --debug; the command gets what they say by `pass_scope`."""

    def wrapper(*args: Any, **values: Any) -> Any:
        context = click.get_current_context()
        before = context.obj if isinstance(context.obj, Scope) else Scope()
        changes: dict[str, Any] = {}
        for name in ("config", "app"):
            if (value := values.pop(name)) is not None:
                changes[name] = value
        if values.pop("user"):
            changes["user"] = True
        values.pop("debug")
        context.obj = before.replace(**changes)
        return function(*args, **values)

    decorated: Any = update_wrapper(wrapper, function)
    for option in (
        click.option("--debug", is_flag=True, help="Show a traceback where something fails."),
        click.option("--user", is_flag=True, help="Your own systemd units; no root needed."),
        click.option(
            "-a",
            "--app",
            metavar="APP",
            shell_complete=completions.apps,
            help="The app, where there are several.",
        ),
        click.option(
            "-c",
            "--config",
            metavar="FILE",
            shell_complete=completions.files,
            help="The configuration file.",
        ),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def current() -> Scope:
    """What the common options of the running command say."""
    scope = click.get_current_context().obj
    assert isinstance(scope, Scope)
    return scope
