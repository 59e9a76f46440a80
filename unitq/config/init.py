"""Writes a commented unitq.toml to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.config.starter import starter
from unitq.errors import ConfigError
from unitq.linux import files, folder
from unitq.linux.text_file import foreign
from unitq.model.app import NAME_RE
from unitq.presets import NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.model.layout import Layout
    from unitq.presets.model import Preset


class Written(NamedTuple):
    """The file, and the options by which other commands find it."""

    path: Path
    options: str


def write(
    layout: Layout,
    preset: Preset,
    *,
    app: str | None,
    config: str | None,
    user: bool,
    force: bool,
    ask: Callable[[], str | None],
) -> Written:
    """Writes it for the code in this directory; into `config` where that is given.

    `ask` is called for the account of the workers where nothing tells it; None: it stays a comment.
    Raises ConfigError where the file exists, except with `force`.
    """
    try:
        here = _here()
    except FileNotFoundError:
        raise ConfigError("this directory is gone", hint="`cd` to where the code is") from None
    code, home = _code(here)
    name = app or re.sub(r"[^A-Za-z0-9_-]+", "-", home.name).strip("-_") or "app"
    if not str(code).isprintable():
        raise ConfigError(f"not a directory that unitq.toml can name: {str(code)!r}")
    if not NAME_RE.fullmatch(name):
        raise ConfigError(f"not a name for an app: {name}", hint="letters, digits, - and _")
    path = Path(config or ("unitq.toml" if user else layout.config_dir / f"{name}.toml"))
    if os.path.exists(path) and not force:
        raise ConfigError(f"{path} is there already", hint="--force replaces it")
    with files.preflight_errors("cannot write"):
        text = starter(
            app=name,
            directory=str(code),
            user=None if user else _owner(code) or ask(),
            command=preset.command or "bin/worker",
            preset=preset.name,
            queues=bool(preset.queues.variable or preset.queues.by_arguments),
            defaults=_defaults(preset),
        )
        if not user and not config:
            files.folder(path.parent)
        with folder.output(path.absolute().parent) as place:
            place.replace(path.name, text.encode(), 0o644)
    return Written(path, f"-c {path}" if config else "--user" if user else f"-a {name}")


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
    """Returns the working directory as the shell names it (`pwd -L`), by way of symlinks.

    Only where nobody but root and the owner of the code decides where that way leads.
    """
    named = os.environ.get("PWD", "")
    if not named.startswith("/") or named.startswith("/proc/") or not os.path.exists(named):
        return Path.cwd()
    if not os.path.samefile(named, ".") or foreign(named, os.stat(".").st_uid, os.geteuid()):
        return Path.cwd()
    return Path(named)


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
