"""init, schema, completion: what one needs once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import ask, echo, echo_json, echo_text
from unitq.cli.scope import current, scope_options
from unitq.errors import ConfigError, Exit
from unitq.linux import files, folder
from unitq.model.app import NAME_RE
from unitq.presets import NONE

if TYPE_CHECKING:
    from unitq.presets.model import Preset

_WHO = "Which account should the workers run as?"


@click.command(
    epilog="""\b
Examples:
  sudo unitq init -a shop            write /etc/unitq/shop.toml
  unitq --user init                  write ./unitq.toml, for your own systemd
  unitq init --preset sidekiq        for workers of Sidekiq; `unitq presets` lists them all
"""
)
@scope_options
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--preset",
    "name",
    shell_complete=completions.presets,
    metavar="NAME",
    default="php-resque",
    show_default=True,
    help="The framework of its first worker, of those that `unitq presets` lists.",
)
def init(force: bool, name: str) -> int:
    """Write a commented configuration to start from.

    In the directory of the code: /etc/unitq/APP.toml, where only root can change it, or with
    --user ./unitq.toml. -c FILE writes another file.
    """
    from unitq.cli.presets import known
    from unitq.config.starter import starter

    scope = current()
    preset = known(scope.presets(), name)
    try:
        here = _here()
    except FileNotFoundError:
        raise ConfigError("this directory is gone", hint="`cd` to where the code is") from None
    code, home = _code(here)
    app = scope.app or re.sub(r"[^A-Za-z0-9_-]+", "-", home.name).strip("-_") or "app"
    if not NAME_RE.fullmatch(app):
        raise ConfigError(f"not a name for an app: {app}", hint="letters, digits, - and _")
    written = scope.layout.config_dir / f"{app}.toml"
    path = Path(scope.config or ("unitq.toml" if scope.user else written))
    if os.path.exists(path) and not force:
        raise ConfigError(f"{path} is there already", hint="--force replaces it")
    with files.preflight_errors("cannot write"):
        text = starter(
            app=app,
            directory=str(code),
            user=None if scope.user else _owner(code) or ask(_WHO, "www-data"),
            command=preset.command or "bin/worker",
            preset=preset.name,
            queues=bool(preset.queues.variable or preset.queues.by_arguments),
            defaults=_defaults(preset),
        )
        if not scope.user and not scope.config:
            files.folder(path.parent)
        with folder.output(path.absolute().parent) as place:
            place.replace(path.name, text.encode(), 0o644)
    which = f"-c {path}" if scope.config else "--user" if scope.user else f"-a {app}"
    typed = f"unitq {which}"
    echo(f"wrote {path}: edit it, then `{typed} check` and `{typed} deploy`")
    return Exit.OK


def _defaults(preset: Preset) -> dict[str, str]:
    """What a worker of this framework has where the file says nothing."""
    if preset.name == NONE:
        return {}
    stop = preset.for_command(preset.command).stop
    return {
        "stop_timeout": str(stop.timeout),
        "stop_signal": stop.signal,
        "kill_mode": str(stop.kill_mode),
    }


def _here() -> Path:
    """Returns the working directory as the shell names it (`pwd -L`), by way of symlinks."""
    named = Path(os.environ.get("PWD", ""))
    same = named.is_absolute() and os.path.exists(named) and named.samefile(".")
    return named if same else Path.cwd()


def _code(here: Path) -> tuple[Path, Path]:
    """Returns what `directory` is to name, and the folder that the app is named after."""
    # Where Capistrano, Deployer and the like keep the code: a link that each release moves.
    for above in (here, *here.parents):
        link = above / "current"
        if os.path.islink(link) and os.path.isdir(link):
            release = link.resolve()
            if os.lstat(link).st_uid not in (0, release.stat().st_uid):
                continue  # anybody may make a link in /tmp
            if here == above or here.resolve().is_relative_to(release):
                return link, above
    return here, here


def _owner(place: Path) -> str | None:
    """Whose code it is: a good first guess for who should run it. None for root."""
    try:
        name = place.owner()
    except KeyError:
        return None
    return None if name == "root" else name


@click.command(
    epilog="""\b
Example:
  unitq schema > unitq.schema.json
  and, as the first line of unitq.toml:   #:schema ./unitq.schema.json
"""
)
@scope_options
def schema() -> int:
    """Print the JSON Schema of unitq.toml, so that editors complete and check it."""
    from unitq.config.schema import json_schema

    echo_json(json_schema())
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
def completion(shell: str | None) -> int:
    """Print the completion script for a shell (by default the one in $SHELL)."""
    from click.shell_completion import get_completion_class

    from unitq.cli.main import cli

    name = shell or Path(os.environ.get("SHELL", "bash")).name
    kind = get_completion_class(name)
    if kind is None:
        raise ConfigError(f"no completion for {name}", hint="one of bash, zsh, fish")
    echo_text(kind(cli, {}, "unitq", "_UNITQ_COMPLETE").source())
    return Exit.OK
