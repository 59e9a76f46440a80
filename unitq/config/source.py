"""Where configurations are, and whose: which file is meant, and whether root obeys it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.config import delegation
from unitq.config.delegation import Delegation
from unitq.errors import ConfigError, NoMatchError, PreflightError, UnitqError
from unitq.linux import files, text_file
from unitq.linux.account import account, name_of
from unitq.linux.trust import ANYONE, ROOT, resolve
from unitq.model import layout
from unitq.revisions import state
from unitq.toml import document as toml_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.linux.trust import Control
    from unitq.model.app import App
    from unitq.model.layout import Layout

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
    installed = state.apps(places)
    files_ = {path: glance(path) for path in sorted(Path(places.config_dir).glob("*.toml"))}
    for path, candidate in files_.items():
        if candidate.app is None:
            # As `unitq init` names it: the command that reads it says what is wrong with it.
            known = state.current(places.app(path.stem)) if path.stem in installed else None
            releases = tuple(worker.release for worker in known.workers) if known else ()
            files_[path] = candidate._replace(app=path.stem, directories=releases)
    named = {candidate.app for candidate in files_.values()}
    for app in installed:
        if app not in named and (revision := state.current(places.app(app))):
            there = glance(Path(revision.config))
            if there.app == app:
                files_.setdefault(there.path, there)
    return list(files_.values())


def around(known: Sequence[Candidate], cwd: str) -> list[Candidate]:
    """Returns those whose code the directory is in; also beside a link such as `current`."""
    if not cwd:
        return []  # that directory was deleted
    here = Path(cwd).resolve()

    def holds(directory: str) -> bool:
        try:
            real = Path(directory).resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle; a NUL
            return False
        # "/" holds every directory, which says nothing about this one.
        beside = Path(directory).parent.resolve() if os.path.islink(directory) else real
        return any(
            here.is_relative_to(candidate)
            for candidate in (real, beside)
            if candidate != Path(candidate.anchor)
        )

    return [
        candidate
        for candidate in known
        if any(holds(directory) for directory in candidate.directories)
    ]


def glance(path: Path) -> Candidate:
    """Returns what a file says it is about. Checks nothing else, and obeys nothing."""
    try:
        document = toml_document.load(text_file.text(path, FILE_MAX, _WHAT), str(path))
    except (OSError, UnitqError):
        return Candidate(path, None, ())
    workers = document.get("workers")
    tables = [document, *(workers.values() if isinstance(workers, dict) else ())]
    written = [table.get("directory") for table in tables if isinstance(table, dict)]
    directories = tuple(
        directory
        for directory in written
        if isinstance(directory, str) and directory.startswith("/")
    )
    name = document.get("app")
    return Candidate(path, name if isinstance(name, str) else None, directories)


def same(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file, or did where it is gone."""
    return os.path.realpath(one) == os.path.realpath(other)


def path_to_remember(path: Path, app: App) -> str:
    """Returns the path to remember a file by: through the link that each release moves.

    The next deploy then reads the file of the next release.
    """
    directories = [worker.directory for worker in app.workers]
    return _by_link(path, _real(path, app), directories)


def _by_link(path: Path, found: str, directories: Sequence[str]) -> str:
    """The path of `found`, which is where `path` leads, through one of these that are links."""
    real = Path(found)
    for directory in dict.fromkeys(directories):
        release = os.path.realpath(directory)
        if release != os.path.normpath(directory) and real.is_relative_to(release):
            return str(Path(directory) / real.relative_to(release))
    return os.path.abspath(path)


def conflicting_file(path: Path, before: str, app: App) -> str | None:
    """Returns the other file that this app was installed from; None where there is no conflict.

    A file that is gone, or is about another app by now, is none, unless an account that is not
    root decides what this one says.
    """
    if _real(path, app) == os.path.realpath(before) or path_to_remember(path, app) == before:
        return None
    if app.owner is None and glance(Path(before)).app != app.name:
        return None
    return before


def _real(path: Path, app: App) -> str:
    """Where the file was when it was read: who owns a link may have moved it since."""
    return app.file or os.path.realpath(path)


# --- whose file -----------------------------------------------------------------------------------


class Read(NamedTuple):
    """A configuration that was read."""

    text: str
    path: str  # where it was then, without links
    delegation: Delegation | None  # who decides what it says, where that is not root alone


def read(path: Path) -> Read:
    """Returns the file. Raises ForeignFileError where root may not obey it, OSError and ConfigError
    where it cannot be read."""
    try:
        return Read(*text_file.read_trusted(path, FILE_MAX, _WHAT), None)
    except text_file.ForeignFileError as error:
        refusal, listed = error, False
    # A link may lead one trusted file to another: each account has a say over its own only.
    for entry in (listed_ for listed_ in trust_list() if same(listed_.path, path)):
        trusted, listed = (_owner(path, entry),), True
        try:
            config = Read(*text_file.read_trusted(path, FILE_MAX, _WHAT, trusted=trusted), entry)
        except text_file.ForeignFileError as error:
            # A file of root's would be no longer the owner's to change.
            mend = text_file.mend(error.control, owner=entry.owner)
            refusal = text_file.ForeignFileError(error.path, _WHAT, error.control, hint=mend)
            continue
        if text_file.foreign(config.path) is None:
            raise PreflightError(
                f"{path}: a link of {entry.owner} leads to {config.path}, which is root's own",
                problems=("An account is trusted with its own file only. Nothing was changed.",),
                hint=f"unitq -c {config.path} …, if that is meant",
            )
        return config
    if listed:
        raise refusal
    hint, otherwise = _ways_out(path, refusal.control)
    raise text_file.ForeignFileError(
        refusal.path, _WHAT, refusal.control, hint=hint, otherwise=otherwise
    )


def _owner(path: Path, entry: Delegation) -> int:
    try:
        return account(entry.owner).uid
    except LookupError as error:
        raise PreflightError(
            f"{path}: root does not obey this {_WHAT}: the account {entry.owner}, which is trusted "
            "with it, does not exist",
            hint=f"unitq trust remove {entry.path}",
        ) from error


def read_to_look(path: Path) -> Read:
    """Returns the same for who changes nothing: of a file that root does not obey, too.

    Of one that one other account decides about, and that the app was installed from; what it names
    is read with that account's rights. Raises as `read` does.
    """
    try:
        return read(path)
    except text_file.ForeignFileError as error:
        seen = glance(path)
        place = layout.system().app(seen.app) if seen.app else None
        installed = state.current(place) if place else None
        if installed is None or not same(path, installed.config):
            raise
        uid = error.control.uid
        if uid == ANYONE:
            raise
        owner = name_of(uid)
        config = text_file.read_trusted(path, FILE_MAX, _WHAT, trusted=(uid,))
        return Read(*config, Delegation(os.path.abspath(path), owner, looking=True))


def foreign(path: Path) -> bool:
    """Whether this is a file that root does not obey."""
    if os.geteuid() != ROOT:
        return False
    try:
        read(path)
    except text_file.ForeignFileError:
        return True
    except (OSError, UnitqError):
        pass  # who reads it is told
    return False


def vouch(path: Path, installed_from: str, app: str) -> None:
    """Raises PreflightError where another account says by this file which app is meant.

    It may do so of the app that was installed from just this file, and of no other.
    """
    try:
        config = read(path)
    except text_file.ForeignFileError:
        if os.path.islink(path) or not same(path, installed_from):
            raise
        return
    except (OSError, UnitqError):
        return  # who reads it is told
    if config.delegation is not None and config.path != os.path.realpath(installed_from):
        raise PreflightError(
            f"{app} was installed from another file, {installed_from}; "
            f"{config.delegation.owner} may change {path}, which names it",
            problems=("Nothing was changed.",),
            hint=f"name the app with -a; `-a {app}` if it is the one that you mean",
        )


def _ways_out(path: Path, control: Control) -> tuple[str, str]:
    """Returns what to type so that root obeys it, and another way; "" where there is none."""
    written = glance(path)
    app = written.app if written.app and delegation.plausible(written.app) else None
    name = app or "APP"
    places = layout.system()
    place = f"{places.config_dir}/{name}.toml"
    if os.path.abspath(path) == place:
        return text_file.mend(control), ""
    revision = state.current(places.app(app)) if app else None
    adopt = " --adopt" if revision and not same(revision.config, place) else ""
    # -D: nothing has made /etc/unitq on a new machine.
    words = shlex.join(["install", "-D", "-m", "644", str(path), place])
    move = f"{words} && unitq -a {name} deploy{adopt}"
    if os.path.lexists(place):
        # An account could write the name of another app into a file of its own.
        move = f"{place} exists: `{shlex.join(['diff', place, str(path)])}` first; then {move}"
    if control.uid == ANYONE:
        return move, ""
    owner = name_of(control.uid)
    trust_it = shlex.join(
        [
            "unitq",
            "trust",
            "add",
            _by_link(path, os.path.realpath(path), written.directories),
            "--owner",
            owner,
        ]
    )
    return move, f"if {owner} may decide what these workers run: {trust_it}"


def others(places: Layout, path: Path, app: App) -> list[str]:
    """Returns the installed apps that were deployed from this file under another name."""
    names = (str(path), path_to_remember(path, app))
    apps = []
    for name in state.apps(places):
        try:
            current = state.current(places.app(name)) if name != app.name else None
        except UnitqError:
            continue  # damaged, and another app: its own commands say so
        if current is not None and any(same(known, current.config) for known in names):
            apps.append(name)
    return apps


def list_path() -> Path:
    """Where the list of trusted files is."""
    return Path(layout.system().config_dir) / "trust"


def trust_list() -> tuple[Delegation, ...]:
    """Returns the list. Raises ForeignFileError where others may write to it."""
    path = list_path()
    try:
        return delegation.parse(
            text_file.trusted_text(path, _LIST_MAX, "list of trusted files"), str(path)
        )
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


class TrustedFile(NamedTuple):
    """A file of the list, and whether it is obeyed now."""

    entry: Delegation
    app: str | None  # that it is about; None: it cannot be read
    why_not: str  # why it is not obeyed; empty: it is

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "path": self.entry.path,
            "owner": self.entry.owner,
            "run_as": list(self.entry.run_as),
            "app": self.app,
            "obeyed": not self.why_not,
            "why_not": self.why_not or None,
        }


def trusted_list() -> list[TrustedFile]:
    """Returns the list with what is to be seen of each file. Raises ForeignFileError."""
    return [
        TrustedFile(entry, glance(Path(entry.path)).app, obstacle(entry)) for entry in trust_list()
    ]


def obstacle(entry: Delegation) -> str:
    """Returns why a file of the list is not obeyed; empty where it is."""
    try:
        owner = account(entry.owner)
    except LookupError:
        return f"there is no account {entry.owner}"
    try:
        control = text_file.foreign(entry.path, owner.uid)
    except OSError as error:
        return error.strerror or "it cannot be looked at"
    if control is not None:
        return text_file.describe(entry.path, control)
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
                else f"--run-as {name}: what another account may change never runs as root",
                hint=f'a file of root\'s in {layout.system().config_dir} may say user = "root"',
            )
    entry = Delegation(os.path.abspath(path), owner, tuple(dict.fromkeys(run_as)))
    try:
        with resolve(path) as place:
            wrong, needed = place.beyond(account(owner).uid), place.controls
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if wrong is not None:
        raise ConfigError(
            f"{path}: {owner} is not the only account that can change it: "
            f"{text_file.describe(entry.path, wrong)}",
            hint=text_file.mend(wrong, owner=owner)
            if wrong.uid == ANYONE
            else f"--owner {name_of(wrong.uid)}, if that account may decide what these workers run",
        )
    if not needed:
        raise ConfigError(
            f"{path}: only root can change it, so root obeys it without that",
            hint=f"unitq -c {shlex.quote(entry.path)} deploy",
        )
    _write([known for known in trust_list() if not same(known.path, path)] + [entry])
    return entry


def distrust(path: Path) -> Delegation:
    """Takes a file off the list. Raises NoMatchError where it is not on it."""
    known = trust_list()
    entry = next((listed for listed in known if os.path.abspath(path) == listed.path), None)
    entry = entry or next((listed for listed in known if same(listed.path, path)), None)
    if entry is None:
        raise NoMatchError(
            f"{path} is not on the list of trusted files",
            hint=f"on it: {', '.join(listed.path for listed in known) or 'none'}",
        )
    _write([listed for listed in known if listed != entry])
    return entry


def _write(entries: list[Delegation]) -> None:
    path = list_path()
    with files.preflight_errors("cannot write"):
        files.folder(path.parent)
        files.replace(path, delegation.dump(entries).encode(), 0o644)


def member_of(name: str, group: str) -> bool:
    """Whether the account is in the group."""
    import grp

    try:
        wanted = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        return wanted in account(name).groups
    except LookupError:
        return False
