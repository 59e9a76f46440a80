"""Which app, in whose units: the way from a command line to what is there."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitq.errors import ConfigError, NoMatchError, NotPermittedError, PreflightError
from unitq.linux import programs
from unitq.model import layout, names
from unitq.revisions import state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.model.app import App
    from unitq.model.layout import Layout
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.presets.store import Presets
    from unitq.revisions.model import Revision
    from unitq.systemd.manager import Systemd


_NAMED = 10  # instances that a hint names


class Scope:
    """What the common options say: which app, in whose units."""

    def __init__(
        self, config: str | None = None, app: str | None = None, *, user: bool = False
    ) -> None:
        self.config = config
        self.app = app
        self.user = user
        self._presets: Presets | None = None

    def replace(self, **changes: Any) -> Scope:
        """The same with other values of `config`, `app` or `user`."""
        return Scope(**({"config": self.config, "app": self.app, "user": self.user} | changes))

    @property
    def layout(self) -> Layout:
        """Where things are in this scope."""
        if not self.user:
            return layout.system()
        places = programs.own_places()
        return layout.user(home=places["HOME"], uid=os.getuid(), environment=places)

    def systemd(self) -> Systemd:
        """A connection to the manager of this scope."""
        from unitq.systemd.manager import Systemd

        return Systemd(user=self.user)

    def config_path(self) -> Path:
        """The configuration file: -c, $UNITQ_CONFIG, ./unitq.toml, /etc/unitq/*.toml.

        Of several in /etc/unitq: by -a, or by the directory one stands in.
        """
        from unitq.config import source

        if named := self.config or os.environ.get("UNITQ_CONFIG"):
            return Path(named)
        here = Path("unitq.toml")
        meant = os.path.lexists(here) and self.app in (None, app_of(here))
        if meant and not source.foreign(here):
            return here
        every = source.candidates(self.layout)
        configured = sorted({each.app for each in every if each.app})
        if self.app is not None:
            every = [each for each in every if each.app == self.app]
        found = source.around(every, _cwd()) or every
        if meant:
            # Root does not obey ./unitq.toml. What has nothing to do with it is not meant either.
            found = source.around(every, _cwd()) if self.app is None else every
            if not found:
                return here
        if len(found) == 1:
            return found[0].path
        folder = self.layout.config_dir
        if not found:
            about = f" for app {self.app}" if self.app else ""
            others = f"; there is one for {', '.join(configured)}" if configured else ""
            raise ConfigError(
                f"no configuration file{about}: looked for ./unitq.toml and {folder}/*.toml",
                hint=f"`unitq init` writes one to start from; -c FILE names another{others}",
            )
        known = ", ".join(str(each.path) for each in found)
        apps = sorted({each.app for each in found if each.app})
        if len(apps) == 1:
            raise ConfigError(
                f"several configuration files for app {apps[0]}: {known}",
                hint="delete one, or give it another `app`; -c FILE names one for this command",
            )
        raise ConfigError(
            f"several configuration files: {known}",
            hint=f"name one with -c FILE or -a APP: {', '.join(apps)}",
        )

    def load(self, *, reading: bool = False) -> tuple[App, Path]:
        """The app that the configuration file describes. Raises ConfigError with all mistakes.

        With `reading` root also takes a file that another account decides about, if the app was
        installed from it: for who only looks, and reads no more of what it names than that account
        may.
        """
        app, path, _ = self.load_paced({}, reading=reading)
        return app, path

    def load_paced(
        self, rollout: Mapping[str, Any], *, reading: bool = False
    ) -> tuple[App, Path, RolloutSettings | None]:
        """The same, and how a rollout goes where `rollout` takes the place of the file's.

        `rollout` is as it would stand in [rollout]. None: it is empty. The file is read once.
        """
        from unitq.config import delegation, source
        from unitq.config.parse import parse

        path = self.config_path()
        try:
            text, real, trusted = (source.read_to_look if reading else source.read)(path)
        except PermissionError as error:
            if path.parent != Path(layout.system().config_dir):
                raise _unreadable(path, error) from error
            raise NotPermittedError(
                f"{path}: {error.strerror}",
                hint=f"run it as root (sudo), or let your group read it: `chgrp GROUP {path} && "
                f"chmod 0640 {path}`",
            ) from error
        except OSError as error:
            raise _unreadable(path, error) from error
        source_name, presets = str(path), self.presets()
        app = replace(parse(text, source=source_name, presets=presets), file=real)
        if self.app not in (None, app.name):
            raise NoMatchError(f"{path} is about app {app.name}, not {self.app}")
        if trusted is not None:
            app = delegation.apply(app, trusted)
            if wrong := delegation.findings(app, trusted, source.member_of):
                raise PreflightError(
                    f"{path}: {trusted.owner} may change this file, and so may not decide all of "
                    "this",
                    problems=tuple(each.text for each in wrong),
                )
        if not rollout:
            return app, path, None
        paced = parse(text, source=source_name, presets=presets, rollout=rollout)
        return app, path, paced.rollout

    def presets(self) -> Presets:
        """Ours and the operator's own. Who asks for one whose file is wrong gets a ConfigError."""
        if self._presets is None:
            from unitq.presets import store

            self._presets = store.load(self.layout.config_dir)
        return self._presets

    def apps(self) -> list[str]:
        """The apps that are meant: -a, the configuration file's, or all that are installed."""
        if self.app is not None:
            return [self.app]
        if (path := self._named()) is not None:
            # The name only: to check the rest takes longer than all that `status` does.
            if (name := app_of(path)) is not None:
                return [name]
            if path != _HERE:
                return [self.load()[0].name]
        found = state.apps(self.layout)
        if not found:
            return found
        from unitq.config import source

        near = [each.app for each in source.around(source.candidates(self.layout), _cwd())]
        # One that is not installed is meant as well: `stop` must not take another app instead.
        return [app for app in near if app in found] or [app for app in near[:1] if app] or found

    def _named(self) -> Path | None:
        """The file that is meant without a look at what is installed.

        In a folder with a unitq.toml that app is meant, also where it is not installed: `stop`
        must not take the only other one instead.
        """
        named = self.config or os.environ.get("UNITQ_CONFIG")
        if named or os.path.exists(_HERE):
            return Path(named) if named else _HERE
        return None

    def installed(self) -> Revision:
        """The one installed app that is meant. Raises NoMatchError where it is none or several."""
        found = self.apps()
        if len(found) == 1:
            revision = state.require_current(self.layout, found[0])
            self._vouch(revision)
            return revision
        if not found:
            raise NoMatchError(
                "no app is installed here",
                hint="`unitq deploy` installs one; --user looks at your own units",
            )
        raise NoMatchError(
            f"several apps are installed: {', '.join(found)}", hint="name one with -a APP"
        )

    def _vouch(self, revision: Revision) -> None:
        """Refuses a file of another account that names an app which is not made from it."""
        if os.geteuid() != 0 or self.app is not None or (path := self._named()) is None:
            return
        from unitq.config import source

        source.vouch(path, revision.config, revision.app)


_HERE = Path("unitq.toml")


def _cwd() -> str:
    """Where we stand; empty where that directory was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _unreadable(path: Path, error: OSError) -> ConfigError:
    hint = "-c FILE names the configuration file"
    if isinstance(error, FileNotFoundError):
        hint += f"; `unitq -c {shlex.quote(str(path))} init` writes one to start from"
    return ConfigError(f"{path}: {error.strerror}", hint=hint)


def app_of(path: Path) -> str | None:
    """The app that a file says it is about; None where it cannot be read."""
    if not os.path.isfile(path):
        return None
    from unitq.config import source

    return source.glance(path).app


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
    from unitq.model.suggest import nearest

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
