"""Options of every command, before or after the verb: which app, and root's or your systemd."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar

import click

from unitq.api import App, Manager
from unitq.cli import completions

if TYPE_CHECKING:
    from collections.abc import Callable


F = TypeVar("F", bound="Callable[..., Any]")


def scope_options(function: F) -> F:
    """Adds -c, -a, --user and --debug; passes the app that they name as the first argument."""

    def wrapper(
        *args: Any,
        config: str | None,
        app: str | None,
        user: bool,
        debug: bool,  # noqa: ARG001  (main() reads it from argv: it must work if parsing fails)
        **values: Any,
    ) -> Any:
        context = click.get_current_context()
        before = context.obj if isinstance(context.obj, App) else Manager().app()
        # An option before the verb holds unless it is given again behind it.
        options = {"config": config, "app": app, "user": user or None}
        context.obj = before.replace(
            **{name: value for name, value in options.items() if value is not None}
        )
        return function(context.obj, *args, **values)

    decorated: Any = update_wrapper(wrapper, function)
    for option in (
        click.option("--debug", is_flag=True, help="Show a traceback where something fails."),
        click.option("--user", is_flag=True, help="Your own systemd units; no root needed."),
        click.option(
            "-a", "--app", metavar="APP", shell_complete=completions.apps,
            help="The app, where there are several.",
        ),
        click.option(
            "-c", "--config", metavar="FILE", shell_complete=completions.files,
            help="The configuration file.",
        ),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def json_option(function: F) -> F:
    """Adds --json."""
    option = click.option(
        "--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md."
    )
    return option(function)
