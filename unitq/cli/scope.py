"""Which app, which scope: the options that every command takes, before or after the verb."""

from __future__ import annotations

import os
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from unitq.core import layout, names
from unitq.core.errors import ConfigError, NoMatchError, NotPermittedError
from unitq.host import files, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unitq.core.layout import Layout
    from unitq.core.model import App
    from unitq.core.names import InstanceName
    from unitq.core.revision import Revision
    from unitq.host.presets import Presets
    from unitq.host.systemd import Systemd

F = TypeVar("F", bound="Callable[..., Any]")

_PRESETS = "unitq.presets"  # where click keeps them while a command runs

_FILE_MAX = 4 << 20  # bytes; a larger unitq.toml is something else
_NAMED = 10  # instances that a hint names


class Scope(NamedTuple):
    """What the common options say."""

    config: str | None = None
    app: str | None = None
    user: bool = False

    @property
    def layout(self) -> Layout:
        """Where things are in this scope."""
        if not self.user:
            return layout.system()
        home = os.environ.get("HOME") or os.path.expanduser("~")
        found = layout.user(home=home, uid=os.getuid(), environment=dict(os.environ))
        _refuse_anothers(found)
        return found

    def systemd(self) -> Systemd:
        """A connection to the manager of this scope."""
        from unitq.host.systemd import Systemd

        return Systemd(user=self.user)

    def config_path(self) -> Path:
        """The configuration file: -c, $UNITQ_CONFIG, ./unitq.toml, /etc/unitq/*.toml."""
        if named := self.config or os.environ.get("UNITQ_CONFIG"):
            return Path(named)
        here = Path("unitq.toml")
        if here.exists() and self.app in (None, app_of(here)):
            return here
        folder = Path(self.layout.config_dir)
        found = sorted(folder.glob("*.toml"))
        if self.app is not None:
            found = [path for path in found if app_of(path) == self.app]
        if len(found) == 1:
            return found[0]
        if not found:
            about = f" for app {self.app}" if self.app else ""
            raise ConfigError(
                f"no configuration file{about}: looked for ./unitq.toml and {folder}/*.toml",
                hint="`unitq init` writes one to start from; -c FILE names another",
            )
        known = ", ".join(str(path) for path in found)
        raise ConfigError(
            f"several configuration files: {known}", hint="name one with -c FILE or -a APP"
        )

    def load(self, rollout: Mapping[str, Any] | None = None) -> tuple[App, Path]:
        """The app that the configuration file describes. Raises ConfigError with all mistakes.

        `rollout` takes the place of what is in the file's [rollout].
        """
        from unitq.core.config import parse

        path = self.config_path()
        app = parse(read(path), source=str(path), presets=self.presets(), rollout=rollout or {})
        if self.app not in (None, app.name):
            raise NoMatchError(f"{path} is about app {app.name}, not {self.app}")
        return app, path

    def presets(self) -> Presets:
        """Ours and the operator's own. Who asks for one whose file is wrong gets a ConfigError."""
        from unitq.host import presets

        # Once for a command: to read them takes some 50 ms.
        meta = click.get_current_context().meta
        if _PRESETS not in meta:
            meta[_PRESETS] = presets.load(self.layout.config_dir)
        found: Presets = meta[_PRESETS]
        return found

    def apps(self) -> list[str]:
        """The apps that are meant: -a, the configuration file's, or all that are installed."""
        if self.app is not None:
            return [self.app]
        if named := self.config or os.environ.get("UNITQ_CONFIG"):
            # The name only: to check the rest takes longer than all that `status` does.
            return [app_of(Path(named)) or self.load()[0].name]
        # In a folder with a unitq.toml that app is meant, also where it is not installed: `stop`
        # must not take the only other one instead.
        here = app_of(Path("unitq.toml"))
        return [here] if here is not None else state.apps(self.layout)

    def installed(self) -> Revision:
        """The one installed app that is meant. Raises NoMatchError where it is none or several."""
        found = self.apps()
        if len(found) == 1:
            return state.installed(self.layout, found[0])
        if not found:
            raise NoMatchError(
                "no app is installed here",
                hint="`unitq deploy` installs one; --user looks at your own units",
            )
        raise NoMatchError(
            f"several apps are installed: {', '.join(found)}", hint="name one with -a APP"
        )


def _refuse_anothers(found: Layout) -> None:
    """Raises NotPermittedError where root would write into another account's home.

    `sudo -E` and `su` keep the caller's HOME and XDG_RUNTIME_DIR.
    """
    if os.geteuid() != 0:
        return
    for path in (found.unit_dir, found.state_dir, found.runtime_dir, found.config_dir):
        there = Path(path)
        while not there.exists():
            there = there.parent
        if (owner := there.stat().st_uid) != 0:
            raise NotPermittedError(
                f"--user as root: {there} belongs to another account (user ID {owner})",
                hint="run it as that account, in its own session; root's own units are in the "
                "system scope, without --user",
            )


def read(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError where it cannot be read as text."""
    try:
        return files.text(path, _FILE_MAX, "unitq.toml")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="-c FILE names the configuration file"
        ) from error


def app_of(path: Path) -> str | None:
    """The app that a file says it is about; None where it cannot be read."""
    if not path.is_file():
        return None
    import tomllib

    try:
        name = tomllib.loads(read(path)).get("app")
    except (ConfigError, tomllib.TOMLDecodeError, RecursionError):
        return None
    return name if isinstance(name, str) else None


def chosen(revision: Revision, targets: Sequence[str], known: Iterable[InstanceName]) -> set[Any]:
    """The instances that the targets name. Raises NoMatchError where one names none."""
    every = tuple(known)
    found, unknown = names.matching(revision.app, every, targets)
    if unknown:
        raise NoMatchError(
            f"no worker or instance of {revision.app} matches {', '.join(unknown)}",
            hint=_instead(revision, unknown[0], every),
        )
    return set(found)


def _instead(revision: Revision, target: str, known: Sequence[InstanceName]) -> str:
    """What a target that names nothing could have been."""
    from unitq.core.suggest import nearest

    workers = [worker.name for worker in revision.workers]
    worker, at, _ = target.partition("@")
    numbers = sorted(name.number for name in known if name.worker == worker)
    if at and numbers:
        count = f"{len(numbers)} instances" if len(numbers) > 1 else "one instance"
        if numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 1:
            return f"{worker} has {count}: {worker}@1 to {worker}@{len(numbers)}"
        more = f" and {len(numbers) - _NAMED} more" * (len(numbers) > _NAMED)
        return f"{worker} has {count}: {', '.join(f'{worker}@{n}' for n in numbers[:_NAMED])}{more}"
    meant = f"did you mean {near}? " if (near := nearest(worker, workers)) else ""
    named = ", ".join(workers) or "none"
    return f"{meant}workers: {named}; a target is sms, sms@3, or a glob of either"


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
        context.obj = before._replace(**changes)
        return function(*args, **values)

    decorated: Any = update_wrapper(wrapper, function)
    for option in (
        click.option("--debug", is_flag=True, help="Show a traceback where something fails."),
        click.option("--user", is_flag=True, help="Your own systemd units; no root needed."),
        click.option("-a", "--app", metavar="APP", help="The app, where there are several."),
        click.option("-c", "--config", metavar="FILE", help="The configuration file."),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def current() -> Scope:
    """What the common options of the running command say."""
    scope = click.get_current_context().obj
    assert isinstance(scope, Scope)
    return scope
