"""init, schema, completion: what one needs once."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import ask, echo, echo_json, echo_text
from unitq.cli.scope import scope_options
from unitq.errors import ConfigError, Exit

if TYPE_CHECKING:
    from unitq.api import App

_ACCOUNT = "Which account should the workers run as?"


@click.command(
    epilog="""\b
Examples:
  sudo unitq init -a shop            write /etc/unitq/shop.toml
  unitq --user init                  write ./unitq.toml, for your own systemd
  unitq init --preset sidekiq        for workers of Sidekiq; `unitq presets` lists them all
"""
)
@scope_options
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option(
    "--preset",
    "name",
    shell_complete=completions.presets,
    metavar="NAME",
    default="php-resque",
    show_default=True,
    help="The framework of its first worker, of those that `unitq presets` lists.",
)
def init(app: App, force: bool, name: str) -> int:
    """Write a commented configuration to start from.

    In the directory of the code: /etc/unitq/APP.toml, where only root can change it, or with
    --user ./unitq.toml. -c FILE writes another file.
    """
    written = app.init(name, force=force, ask=partial(ask, _ACCOUNT, "www-data"))
    typed = f"unitq {written.options}"
    echo(f"wrote {written.path}: edit it, then `{typed} check` and `{typed} deploy`")
    return Exit.OK


@click.command(
    epilog="""\b
Example:
  unitq schema > unitq.schema.json
  and, as the first line of unitq.toml:   #:schema ./unitq.schema.json
"""
)
@scope_options
def schema(app: App) -> int:
    """Print the JSON Schema of unitq.toml, so that editors complete and check it."""
    echo_json(app.schema())
    return Exit.OK


@click.command(
    epilog="""\b
Examples:
  unitq completion bash > /etc/bash_completion.d/unitq
  unitq completion zsh > "${fpath[1]}/_unitq"
  unitq completion fish > ~/.config/fish/completions/unitq.fish
"""
)
@scope_options
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), required=False)
def completion(app: App, shell: str | None) -> int:  # noqa: ARG001
    """Print the completion script for a shell (by default the one in $SHELL)."""
    from click.shell_completion import get_completion_class

    from unitq.cli.main import cli

    name = shell or Path(os.environ.get("SHELL", "bash")).name
    kind = get_completion_class(name)
    if kind is None:
        raise ConfigError(f"no completion for {name}", hint="one of bash, zsh, fish")
    echo_text(kind(cli, {}, "unitq", "_UNITQ_COMPLETE").source())
    return Exit.OK
