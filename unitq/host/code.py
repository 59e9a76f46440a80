"""Which code a deploy would run: the release directory, and what that code is called."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.core.errors import NotPermittedError, PreflightError
from unitq.core.model import CodeVersion
from unitq.core.render import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.core.model import App, Worker
    from unitq.core.revision import Revision

_GIT_SECONDS = 60.0
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
    for worker in app.workers:
        if worker.directory not in versions:
            release = _release(worker)
            version = label or _version(worker.directory, release, app.code_version)
            versions[worker.directory] = (release, version)
        release, version = versions[worker.directory]
        files = tuple(_content(worker, path) for path in worker.environment_files)
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
    if not release.is_dir():
        raise PreflightError(f"workers.{worker.name}.directory: {release} is not a directory")
    return str(release)


def _version(directory: str, release: str, mode: CodeVersion) -> str:
    """What makes this code different from the last: equal only where the code surely is."""
    if mode is CodeVersion.RELEASE or (mode is CodeVersion.AUTO and Path(directory).is_symlink()):
        # A release directory is made once and not changed; if it is a checkout, a `git pull`
        # into it is noticed all the same.
        head = _git_head(release) if mode is CodeVersion.AUTO else None
        name = f"release {Path(release).name}"
        return f"{name} at {head[:12]}" if head else name
    if mode in (CodeVersion.AUTO, CodeVersion.GIT):
        head = _git_head(release)
        if head and not _git_dirty(release):
            return f"commit {head[:12]}"
        if head:
            # Two dirty trees with one HEAD may differ: in doubt, a new version.
            return f"commit {head[:12]} with changes, {_now()}"
        if mode is CodeVersion.GIT:
            raise PreflightError(
                f'code_version = "git", but {release} is no git checkout with a commit',
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


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _git_head(release: str) -> str | None:
    if not _in_checkout(release):
        return None
    return _git(release, "rev-parse", "--verify", "--quiet", "HEAD")


def _in_checkout(release: str) -> bool:
    return any((folder / ".git").exists() for folder in (Path(release), *Path(release).parents))


def _git_dirty(release: str) -> bool:
    # None: git failed, so nobody knows.
    return _git(release, "status", "--porcelain", "--untracked-files=normal") != ""


def _git(release: str, *arguments: str) -> str | None:
    """What git prints; None where it fails.

    Run as the owner of the checkout: its configuration can name programs (core.fsmonitor,
    filters), and those must not run as root. It also spares us git's "dubious ownership".
    """
    owner = os.stat(release)
    rights: dict[str, object] = {}
    if os.getuid() == 0 and owner.st_uid != 0:
        rights = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *arguments],
            check=False,
            capture_output=True,
            timeout=_GIT_SECONDS,
            cwd=release,
            env=environment,
            **rights,  # type: ignore[call-overload]
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _content(worker: Worker, path: str) -> bytes:
    place = f"workers.{worker.name}.environment_file"
    try:
        # Not blocking, and regular files only: a device or a pipe may have no end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = file.read(_FILE_MAX + 1) if regular else b""
    except OSError as error:
        if isinstance(error, PermissionError) and os.geteuid() != 0:
            raise NotPermittedError(
                f"{place}: {path}: {error.strerror}",
                hint="what a deploy by root makes of it is unknown to you; root can read it (sudo)",
            ) from error
        raise PreflightError(f"{place}: {path}: {error.strerror}") from error
    if not regular:
        raise PreflightError(f"{place}: {path}: not a file")
    if len(content) > _FILE_MAX:
        raise PreflightError(f"{place}: {path}: larger than {_FILE_MAX} bytes")
    if b"\0" in content:
        raise PreflightError(f"{place}: {path}: holds a NUL byte")
    return content
