"""Which code a deploy would run: the release directory, and what that code is called."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux.account import name_of
from unitq.linux.links import changes_in_place
from unitq.linux.read_as import UnreadableError, deciding, read
from unitq.model.app import CodeVersion, environment_places
from unitq.model.finding import Finding, Level, shared
from unitq.model.release_names import within
from unitq.revisions import git, git_files
from unitq.revisions.in_place import CHANGED
from unitq.units.render import Code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.linux.trust import Control
    from unitq.model.app import App
    from unitq.revisions.model import Revision

_UNTOLD = "code as of "
_FILE_MAX = 1 << 20  # bytes; an environment file larger than this is a mistake


class _Version(NamedTuple):
    """What code is called."""

    name: str
    commit: str = ""  # that is checked out


class CodeProblem(NamedTuple):
    """What keeps a deploy from the code, or from an environment file."""

    finding: Finding
    denied: bool = False  # it is there, but not for us


class AppCode(NamedTuple):
    """What each worker would run now; what is not there is empty, and refused."""

    code: dict[str, Code]
    refused: tuple[CodeProblem, ...] = ()


def find_code(app: App, label: str | None = None, *, certain: bool = False) -> AppCode:
    """Returns what each worker would run now, and all that cannot be found or read.

    `label` is what the caller calls the code (a commit, a build number); it takes the place of
    what `code_version` would find out. `certain`: a version that root would be told another of is
    refused.
    """
    refused: list[CodeProblem] = []

    def refuse(key: str, places: Sequence[str], error: _RefusedError) -> None:
        refused.extend(
            CodeProblem(
                Finding(Level.ERROR, place, error.what, error.hint, error.why), error.denied
            )
            for place in shared(key, places, len(app.workers))
        )

    folders: dict[str, list[str]] = {}
    for worker in app.workers:
        folders.setdefault(worker.directory, []).append(f"workers.{worker.name}.directory")
    versions = {}
    for directory, places in folders.items():
        try:
            release = _release(directory)
        except _RefusedError as error:
            versions[directory] = Code(directory, label or "")
            refuse("directory", places, error)
            continue
        version = _Version(label or "")
        try:
            version = _version(directory, release, app.code_version, label)
            asks_git = app.code_version in (CodeVersion.AUTO, CodeVersion.GIT)
            if certain and asks_git and not version.commit and not label:
                _refuse_guess(release)
        except _RefusedError as error:
            refuse("directory", places, error)
        versions[directory] = Code(
            release, version.name, commit=version.commit, in_place=changes_in_place(directory)
        )
    content: dict[str, bytes] = {}
    told_by = deciding(app.owner)
    for path, places in environment_places(app).items():
        try:
            content[path] = _content(path, told_by)
        except _RefusedError as error:
            content[path] = b""
            refuse("environment_file", places, error)
    by_worker = {
        worker.name: replace(
            versions[worker.directory],
            files=tuple(content[path] for path in worker.environment_files),
        )
        for worker in app.workers
    }
    return AppCode(by_worker, tuple(refused))


class _RefusedError(Exception):
    def __init__(self, what: str, hint: str = "", why: str = "", *, denied: bool = False) -> None:
        super().__init__(what)
        self.what, self.hint, self.why, self.denied = what, hint, why, denied


def is_checked_out(release: str, commit: str) -> bool:
    """Whether the files are those of the commit, or of one that begins so, and no other."""
    try:
        checkout = git.find(release)
    except git.RefusedError:
        return False
    head = git.head(checkout) if checkout else None
    return bool(checkout and head and head.startswith(commit) and git.clean(checkout))


def _release(directory: str) -> str:
    try:
        release = Path(directory).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a symlink that points to itself"
        hint = "`directory` is where the code is, or a symlink to it"
        raise _RefusedError(f"{directory}: {reason}", hint) from error
    if not os.path.isdir(release):
        raise _RefusedError(f"{release} is not a directory", "`directory` is where the code is")
    return str(release)


def _version(directory: str, release: str, mode: CodeVersion, label: str | None) -> _Version:
    """What makes this code different from the last: equal only where the code surely is."""
    if mode is CodeVersion.RELEASE or (mode is CodeVersion.AUTO and os.path.islink(directory)):
        # A release directory is made once and not changed; if it is a checkout, a `git pull`
        # into it is noticed all the same.
        head = _head(directory, release) if mode is CodeVersion.AUTO else None
        name = f"release {Path(release).name}"
        if head is None:
            return _Version(label or name)
        # A repository that the link itself lies in is not the release's own.
        return _Version(label or f"{name} at {head.commit[:12]}", head.commit * head.own)
    refused = ""
    if mode in (CodeVersion.AUTO, CodeVersion.GIT):
        try:
            checkout = git.find(release)
        except git.RefusedError as error:
            checkout, refused = None, f"{error}"
        head = _head(directory, release) if checkout else None
        if checkout and head:
            commit = head.commit * head.own
            if label:
                return _Version(label, commit)
            if git.clean(checkout):
                return _Version(f"commit {head.commit[:12]}", commit)
            # Two dirty trees with one HEAD may differ: in doubt, a new version.
            return _Version(f"commit {head.commit[:12]}{CHANGED}{_now()}", commit)
        if mode is CodeVersion.GIT and not label:
            raise _RefusedError(
                f'code_version = "git", but {refused}'
                if refused
                else f'code_version = "git", but git names no commit of {release}',
                'code_version = "always" makes every deploy a new revision',
            )
    # Nothing tells two versions apart, so each deploy is one: in doubt, restart.
    return _Version(label or f"{_UNTOLD}{_now()}")


def _refuse_guess(release: str) -> None:
    """Raises _RefusedError where git tells the commit to another account, and not to us."""
    git_folder = git_files.git_folder(release)
    if os.geteuid() == 0 or git_folder is None:
        return
    owner = os.lstat(git_folder).st_uid
    if owner != os.geteuid():
        raise _RefusedError(
            f"{release}: git tells its commit only to {name_of(owner)}, who owns the checkout, and "
            "to root",
            "run it as root (sudo)",
            denied=True,
        )


def is_changed(code: Code) -> bool:
    """Whether git says that files in the checkout are not those of its commit."""
    return bool(code.commit) and CHANGED in code.version


def ambiguous_part(version: str) -> str:
    """What a version that tells no two trees apart has in common with others; empty: it tells.

    A dirty checkout at one commit is as little told from another as a directory without git.
    """
    if version.startswith(_UNTOLD):
        return _UNTOLD
    return version.partition(CHANGED)[0] if CHANGED in version else ""


def keep_installed(found: Mapping[str, Code], installed: Revision) -> dict[str, Code]:
    """The same, but what nothing tells from what is installed is taken for that.

    For who installs something beside it, and has no reason to restart it.
    """
    same = {}
    for name, now in found.items():
        was = installed.worker(name)
        same_place = was is not None and was.release == now.release
        common = ambiguous_part(now.version)
        if was and same_place and common and common == ambiguous_part(was.code_version):
            now = replace(now, version=was.code_version)  # noqa: PLW2901
        same[name] = now
    return same


class _Head(NamedTuple):
    commit: str
    own: bool  # the checkout is of this code, and not what the link to it lies in


def _head(directory: str, release: str) -> _Head | None:
    try:
        checkout = git.find(release)
    except git.RefusedError:
        return None
    commit = git.head(checkout) if checkout else None
    if checkout is None or commit is None:
        return None
    top = os.path.dirname(checkout.git)
    linked = os.path.realpath(directory) != os.path.normpath(directory)
    return _Head(commit, not (linked and within(os.path.normpath(directory), top)))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _content(path: str, told_by: Sequence[Control]) -> bytes:
    try:
        content = read(path, _FILE_MAX, told_by=told_by)
    except UnreadableError as error:
        if error.denied and os.geteuid() != 0:
            raise _RefusedError(
                f"{path}: {error.reason}",
                "root can read it (sudo)",
                "what a deploy by root makes of it is unknown to you",
                denied=True,
            ) from None
        hint = error.hint or "make the file, or leave it out"
        why = "" if error.denied else _ENDS
        raise _RefusedError(f"{path}: {error.reason}", hint, why) from None
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise _RefusedError(
            f"{path}, line {line}: a NUL byte",
            "if an editor wrote UTF-16: `iconv -f UTF-16 -t UTF-8` converts it",
            "systemd refuses the whole file, and the worker does not start",
        )
    return content


_ENDS = "a deploy copies it for the worker, and would be refused"
