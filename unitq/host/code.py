"""Which code a deploy would run: the release directory, and what that code is called."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.core.errors import NotPermittedError, PreflightError
from unitq.core.model import CodeVersion
from unitq.core.render import Code
from unitq.linux import git
from unitq.linux.read_as import UnreadableError, deciding, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.core.model import App, Worker
    from unitq.core.revision import Revision
    from unitq.linux.trust import Control

_UNTOLD = "code as of "
_FILE_MAX = 1 << 20  # bytes; an environment file larger than this is a mistake


def of_app(app: App, label: str | None = None) -> dict[str, Code]:
    """What each worker would run now.

    `label` is what the caller calls the code (a commit, a build number); it takes the place of
    what `code_version` would find out. Raises PreflightError where a directory or a file is
    missing.
    """
    versions: dict[str, tuple[str, str]] = {}
    found = {}
    told_by = deciding(app.owner)
    for worker in app.workers:
        if worker.directory not in versions:
            release = _release(worker)
            version = label or _version(worker.directory, release, app.code_version)
            versions[worker.directory] = (release, version)
        release, version = versions[worker.directory]
        files = tuple(_content(worker, path, told_by) for path in worker.environment_files)
        found[worker.name] = Code(release, version, files)
    return found


def _release(worker: Worker) -> str:
    try:
        release = Path(worker.directory).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a symlink that points to itself"
        raise PreflightError(
            f"workers.{worker.name}.directory: {worker.directory}: {reason}",
            hint="`directory` is where the code is, or a symlink to it",
        ) from error
    if not os.path.isdir(release):
        raise PreflightError(f"workers.{worker.name}.directory: {release} is not a directory")
    return str(release)


def _version(directory: str, release: str, mode: CodeVersion) -> str:
    """What makes this code different from the last: equal only where the code surely is."""
    if mode is CodeVersion.RELEASE or (mode is CodeVersion.AUTO and os.path.islink(directory)):
        # A release directory is made once and not changed; if it is a checkout, a `git pull`
        # into it is noticed all the same.
        head = _head(release) if mode is CodeVersion.AUTO else None
        name = f"release {Path(release).name}"
        return f"{name} at {head[:12]}" if head else name
    if mode in (CodeVersion.AUTO, CodeVersion.GIT):
        try:
            checkout, refused = git.find(release), ""
        except git.RefusedError as error:
            checkout, refused = None, f"{error}"
        head = git.head(checkout) if checkout else None
        if checkout and head and git.clean(checkout):
            return f"commit {head[:12]}"
        if head:
            # Two dirty trees with one HEAD may differ: in doubt, a new version.
            return f"commit {head[:12]} with changes, {_now()}"
        if mode is CodeVersion.GIT:
            raise PreflightError(
                f'code_version = "git", but {refused}'
                if refused
                else f'code_version = "git", but git names no commit of {release}',
                hint='code_version = "always" makes every deploy a new revision',
            )
    # Nothing tells two versions apart, so each deploy is one: in doubt, restart.
    return f"{_UNTOLD}{_now()}"


def as_installed(found: Mapping[str, Code], installed: Revision) -> dict[str, Code]:
    """The same, but what nothing tells from what is installed is taken for that.

    For who installs something beside it, and has no reason to restart it.
    """
    same = {}
    for name, one in found.items():
        was = installed.worker(name)
        untold = one.version.startswith(_UNTOLD)
        if was and untold and was.code_version.startswith(_UNTOLD) and was.release == one.release:
            one = replace(one, version=was.code_version)  # noqa: PLW2901
        same[name] = one
    return same


def _head(release: str) -> str | None:
    try:
        checkout = git.find(release)
    except git.RefusedError:
        return None
    return git.head(checkout) if checkout else None


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _content(worker: Worker, path: str, told_by: Sequence[Control]) -> bytes:
    place = f"workers.{worker.name}.environment_file"
    try:
        content = read(path, _FILE_MAX, told_by=told_by)
    except UnreadableError as error:
        if error.denied and os.geteuid() != 0:
            raise NotPermittedError(
                f"{place}: {path}: {error.reason}",
                hint="what a deploy by root makes of it is unknown to you; root can read it (sudo)",
            ) from None
        raise PreflightError(f"{place}: {path}: {error.reason}", hint=error.hint) from None
    if b"\0" in content:
        raise PreflightError(f"{place}: {path}: holds a NUL byte")
    return content
