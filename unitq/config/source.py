"""Where configurations are, and whose: which file is meant, and whether root obeys it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.config import delegation
from unitq.config.delegation import Delegation
from unitq.core import layout
from unitq.core.errors import ConfigError, NoMatchError, PreflightError, UnitqError
from unitq.host import files, state
from unitq.linux import obeyed, text_file
from unitq.linux.account import account, name_of
from unitq.linux.trust import ANYONE, ROOT, resolved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.core.layout import Layout
    from unitq.core.model import App
    from unitq.linux.trust import Control

FILE_MAX = 4 << 20  # bytes; a larger unitq.toml is something else
_LIST_MAX = 1 << 20  # bytes
_WHAT = "unitq.toml"


class Candidate(NamedTuple):
    """A configuration file that is there."""

    path: Path
    app: str | None  # None where it cannot be read, or names none
    directories: tuple[str, ...]  # of the app and its workers, as written


# --- which file -----------------------------------------------------------------------------------


def candidates(places: Layout) -> list[Candidate]:
    """Returns the files in the configuration's folder, and those that apps were installed from."""
    found = {path: glance(path) for path in sorted(Path(places.config_dir).glob("*.toml"))}
    for path, each in found.items():
        if each.app is None and not os.access(path, os.R_OK):
            found[path] = each._replace(app=path.stem)  # as `unitq init` names it
    named = {each.app for each in found.values()}
    for app in state.apps(places):
        if app not in named and (revision := state.current(places.app(app))):
            there = glance(Path(revision.config))
            if there.app == app:
                found.setdefault(there.path, there)
    return list(found.values())


def around(every: Sequence[Candidate], cwd: str) -> list[Candidate]:
    """Returns those whose code the directory is in; also beside a link such as `current`."""

    def holds(directory: str) -> bool:
        here = Path(cwd).resolve()
        real = Path(directory).resolve()
        return here.is_relative_to(real) or (
            os.path.islink(directory) and here.is_relative_to(Path(directory).parent.resolve())
        )

    if not cwd:
        return []
    return [each for each in every if any(holds(directory) for directory in each.directories)]


def glance(path: Path) -> Candidate:
    """Returns what a file says it is about. Checks nothing else, and obeys nothing."""
    import tomllib

    try:
        document = tomllib.loads(text_file.text(path, FILE_MAX, _WHAT))
    except (OSError, UnitqError, tomllib.TOMLDecodeError, RecursionError):
        return Candidate(path, None, ())
    workers = document.get("workers")
    tables = [document, *(workers.values() if isinstance(workers, dict) else ())]
    found = [table.get("directory") for table in tables if isinstance(table, dict)]
    directories = tuple(each for each in found if isinstance(each, str) and each.startswith("/"))
    name = document.get("app")
    return Candidate(path, name if isinstance(name, str) else None, directories)


def same(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file, or did where it is gone."""
    return os.path.realpath(one) == os.path.realpath(other)


def remembered(path: Path, app: App) -> str:
    """Returns the path to remember a file by: through the link that each release moves.

    The next deploy then reads the file of the next release.
    """
    real = Path(os.path.realpath(path))
    for directory in {worker.directory: None for worker in app.workers}:
        release = os.path.realpath(directory)
        if release != os.path.normpath(directory) and real.is_relative_to(release):
            return str(Path(directory) / real.relative_to(release))
    return os.path.abspath(path)


def moved_from(path: Path, before: str, app: App) -> str | None:
    """Returns the other file that this app was installed from; None where there is no conflict.

    A file that is gone, or is about another app by now, is none, unless an account that is not
    root decides what this one says.
    """
    if same(path, before) or same(remembered(path, app), before):
        return None
    if app.owner is None and glance(Path(before)).app != app.name:
        return None
    return before


# --- whose file -----------------------------------------------------------------------------------


def read(path: Path) -> tuple[str, Delegation | None]:
    """Returns the file's text, and who decides what it says where that is not root alone.

    Raises ForeignFileError where root may not obey it, OSError and ConfigError where it cannot be
    read.
    """
    if os.geteuid() != ROOT:
        return text_file.text(path, FILE_MAX, _WHAT), None
    entry = delegated(path)
    if entry is None:
        return _roots(path), None
    try:
        owner = account(entry.owner)
    except LookupError as error:
        raise PreflightError(
            f"{path}: root does not obey this {_WHAT}: the account {entry.owner}, which is trusted "
            "with it, does not exist",
            hint=f"unitq trust remove {entry.path}",
        ) from error
    return obeyed.text(path, FILE_MAX, _WHAT, trusted=(owner.uid,)), entry


def foreign(path: Path) -> bool:
    """Whether this is a file that root does not obey."""
    if os.geteuid() != ROOT:
        return False
    try:
        read(path)
    except obeyed.ForeignFileError:
        return True
    except (OSError, UnitqError):
        pass  # who reads it is told
    return False


def _roots(path: Path) -> str:
    try:
        return obeyed.text(path, FILE_MAX, _WHAT)
    except obeyed.ForeignFileError as error:
        raise obeyed.ForeignFileError(
            error.path, _WHAT, error.control, hint=_ways_out(path, error.control)
        ) from None


def _ways_out(path: Path, control: Control) -> str:
    """What to type so that root obeys it."""
    app = glance(path).app
    name = app if app and delegation.plausible(app) else "APP"
    place = f"{layout.system().config_dir}/{name}.toml"
    if os.path.abspath(path) == place:
        return obeyed.mend(control)
    move = f"install -m 644 {path} {place} && unitq -a {name} deploy"
    if control.uid == ANYONE:
        return move
    owner = name_of(control.uid)
    return (
        f"{move}\n        or, if {owner} may decide what these workers run: "
        f"unitq trust add {os.path.abspath(path)} --owner {owner}"
    )


def list_path() -> Path:
    """Where the list of trusted files is."""
    return Path(layout.system().config_dir) / "trust"


def trusted_files() -> tuple[Delegation, ...]:
    """Returns the list. Raises ForeignFileError where others may write to it."""
    path = list_path()
    try:
        return delegation.parse(obeyed.text(path, _LIST_MAX, "list of trusted files"), str(path))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def obstacle(entry: Delegation) -> str:
    """Returns why a file of the list is not obeyed; empty where it is."""
    try:
        owner = account(entry.owner)
    except LookupError:
        return f"there is no account {entry.owner}"
    try:
        control = obeyed.foreign(entry.path, owner.uid)
    except OSError as error:
        return error.strerror or "it cannot be looked at"
    if control is not None:
        return obeyed.describe(entry.path, control)
    return "" if os.path.exists(entry.path) else "there is no such file"


def trust(path: Path, owner: str, run_as: Sequence[str]) -> Delegation:
    """Puts a file on the list, or replaces what the list says of it.

    Raises ConfigError where the accounts or the file cannot be trusted with that.
    """
    for name in (owner, *run_as):
        try:
            uid = account(name).uid
        except LookupError as error:
            raise ConfigError(f"there is no account {name} on this machine") from error
        if uid == ROOT:
            raise ConfigError(
                f"{name} is root, whose files are obeyed anyway"
                if name == owner
                else f"--run-as {name}: what another account decides about never runs as root",
                hint=f'a file of root\'s in {layout.system().config_dir} may say user = "root"',
            )
    entry = Delegation(os.path.abspath(path), owner, tuple(dict.fromkeys(run_as)))
    try:
        with resolved(path) as found:
            wrong, needed = found.beyond(account(owner).uid), found.controls
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if wrong is not None:
        raise ConfigError(
            f"{path}: not {owner} alone could change it: {obeyed.describe(entry.path, wrong)}",
            hint=obeyed.mend(wrong),
        )
    if not needed:
        raise ConfigError(
            f"{path}: only root can change it, so root obeys it without that",
            hint=f"unitq -c {entry.path} deploy",
        )
    _write([each for each in trusted_files() if not same(each.path, path)] + [entry])
    return entry


def distrust(path: Path) -> Delegation:
    """Takes a file off the list. Raises NoMatchError where it is not on it."""
    known = trusted_files()
    entry = next((each for each in known if os.path.abspath(path) == each.path), None)
    entry = entry or next((each for each in known if same(each.path, path)), None)
    if entry is None:
        raise NoMatchError(
            f"{path} is not on the list of trusted files",
            hint=f"on it: {', '.join(each.path for each in known) or 'none'}",
        )
    _write([each for each in known if each != entry])
    return entry


def _write(entries: list[Delegation]) -> None:
    path = list_path()
    with files.nothing_changed("cannot write"):
        files.folder(path.parent)
        files.replace(path, delegation.dump(entries).encode(), 0o644)


def delegated(path: Path) -> Delegation | None:
    """Returns the entry of the list that is about this file."""
    return next((each for each in trusted_files() if same(each.path, path)), None)


def member_of(name: str, group: str) -> bool:
    """Whether the account is in the group."""
    import grp

    try:
        wanted = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        return wanted in account(name).groups
    except LookupError:
        return False
