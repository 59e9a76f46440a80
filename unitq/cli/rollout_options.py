"""`[rollout]` on the command line: how one rollout goes, whatever the file says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from unitq.cli import completions
from unitq.model.settings import Share
from unitq.rollout.execute import share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unitq.cli.scope import Scope
    from unitq.model.settings import RolloutSettings

# The key of [rollout], what it takes, and what it says; docs/rollouts.md has the rest.
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


def unavailable(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """The value of --max-unavailable; it may be 0, where max_surge is not."""
    return Share(0) if value == "0" else share(context, parameter, value)


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


def paced(
    scope: Scope, flags: Mapping[str, str | None], max_unavailable: Share | None
) -> RolloutSettings | None:
    """What unitq.toml and these say together; None: no flag was given. Raises ConfigError."""
    # As it would stand in the file: a number, or a text.
    given: dict[str, Any] = {
        key: int(value) if value.isdecimal() and len(value) < 5 else value
        for key, value in flags.items()
        if value is not None
    }
    if max_unavailable is not None and not max_unavailable.number:
        given["max_unavailable"] = 0
    return scope.load(given)[0].rollout if given else None
