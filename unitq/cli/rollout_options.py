"""The options of commands that roll: how one rollout goes, and how long to wait for it."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import click

from unitq.cli import completions
from unitq.cli.presenter import presenter
from unitq.cli.scope import json_option
from unitq.model import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unitq.model.settings import Share

# The key of [rollout], what it takes, and what it says; docs/deploying.md has the rest.
_FLAGS = (
    ("max_surge", "N|N%", "How many more processes of a worker there may be than its instances."),
    ("canary", "N|N%", "How many instances go first, and are watched for --canary-soak."),
    ("canary_soak", "TIME", "For how long (30s, 10min)."),
    ("promote", "auto|manual", "What follows: go on, or wait for `unitq rollout promote`."),
    ("min_healthy", "TIME", "How long a new instance runs before it counts as healthy."),
    ("start_timeout", "TIME", "How long it may take until a process is there."),
    ("healthy_deadline", "TIME", "How long it may take until it counts as healthy."),
    ("max_failures", "N", "How many may fail before the rollout does."),
    ("on_failure", "rollback|pause", "What follows then: go back, or leave all as it is."),
    ("on_drain_timeout", "kill|wait", "What becomes of a worker beyond its stop_timeout."),
)


def waiting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json, --timeout and --fail-on-kill: what unitq.api calls `Run`."""

    def wrapper(*args: Any, as_json: bool, **values: Any) -> Any:
        return function(*args, presenter=presenter(as_json=as_json), **values)

    decorated: Any = update_wrapper(wrapper, function)
    for option in (
        click.option(
            "--fail-on-kill",
            is_flag=True,
            help="Exit with 14 if a worker had to be killed at its stop_timeout.",
        ),
        click.option(
            "--timeout", metavar="TIME", callback=_seconds,
            help="Wait at most so long (90s, 10min); then exit with 6, and systemd continues.",
        ),
    ):  # fmt: skip
        decorated = option(decorated)
    return json_option(decorated)  # type: ignore[no-any-return]


def _seconds(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> float | None:
    if value is None:
        return None
    from unitq.model.duration import parse

    try:
        return parse(value).seconds
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def share(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> Share | None:
    """The value of --max-unavailable."""
    try:
        return settings.share(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


pace = click.option(
    "--max-unavailable",
    metavar="N|N%",
    callback=share,
    help="How many instances of a worker may be unavailable at a time.",
)

message_option = click.option(
    "-m",
    "--message",
    metavar="TEXT",
    default="",
    callback=lambda _context, _parameter, value: _one_line(value),
    help="Why, in a line; `unitq history` and `unitq show` have it.",
)


def _one_line(text: str) -> str:
    if len(text) > 200 or not text.isprintable():
        raise click.BadParameter("expected one line of at most 200 characters")
    return text


def unavailable(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """The value of --max-unavailable; it may be 0, where max_surge is not."""
    return settings.Share(0) if value == "0" else share(context, parameter, value)


def rollout_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each key of [rollout] but max_unavailable."""
    for key, takes, words in reversed(_FLAGS):
        name = f"--{key.replace('_', '-')}"
        choices = takes.split("|") if takes.islower() else ()
        complete = completions.words(*choices) if choices else None
        function = click.option(name, key, metavar=takes, help=words, shell_complete=complete)(
            function
        )
    return function


def rollout_settings(
    flags: Mapping[str, str | None], max_unavailable: Share | None
) -> dict[str, Any]:
    """Returns these flags as keys of [rollout]: numbers and texts, as in unitq.toml."""
    values: dict[str, Any] = {
        key: int(value) if value.isdecimal() and len(value) < 5 else value
        for key, value in flags.items()
        if value is not None
    }
    if max_unavailable is not None and not max_unavailable.number:
        values["max_unavailable"] = 0
    return values
