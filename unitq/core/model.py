"""What unitq manages: an app, its workers, their instances. Frozen values; no I/O, no pydantic."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from unitq.core.settings import Duration, RolloutSettings

# systemd allows ASCII letters, digits and ":-_.\" in unit names (systemd.unit(5)). Ours also
# become directory names and journal identifiers: letters, digits, "-" and "_" serve all three.
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
NAME_RE = re.compile(NAME)

# UNIT_NAME_MAX in systemd's source is 256 with the final NUL.
UNIT_NAME_MAX = 255

INSTANCES_MAX = 4096


class KillMode(StrEnum):
    """systemd.kill(5). `process` and `none` leave processes behind and are not offered."""

    CONTROL_GROUP = "control-group"
    MIXED = "mixed"


class CodeVersion(StrEnum):
    """What makes a new revision, besides a changed unit or environment."""

    AUTO = "auto"
    GIT = "git"
    RELEASE = "release"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class StartLimit:
    """No more than `burst` starts within `interval`; burst 0 means no limit (systemd.unit(5))."""

    burst: int
    interval: Duration


# Any other systemd directive: one name, one or several values (a list gives several lines).
Directives = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Worker:
    """A named group of identical instances, with the app's defaults already filled in."""

    name: str
    command: str  # systemd's command-line syntax (systemd.service(5)), as the user wrote it
    instances: int
    directory: str
    queues: tuple[str, ...] = ()
    user: str | None = None
    group: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    environment_files: tuple[str, ...] = ()
    stop_timeout: Duration = field(default_factory=lambda: Duration("5min", 300.0))
    stop_signal: str = "SIGQUIT"
    kill_mode: KillMode = KillMode.CONTROL_GROUP
    restart_delay: Duration = field(default_factory=lambda: Duration("1s", 1.0))
    start_limit: StartLimit = field(
        default_factory=lambda: StartLimit(0, Duration("0", 0.0)),
    )
    nice: int | None = None
    umask: str | None = None
    limits: tuple[tuple[str, str], ...] = ()
    unit: Directives = ()
    service: Directives = ()


@dataclass(frozen=True, slots=True)
class App:
    """One unitq.toml."""

    name: str
    workers: tuple[Worker, ...]
    rollout: RolloutSettings
    code_version: CodeVersion = CodeVersion.AUTO
    redis_url: str | None = None

    def worker(self, name: str) -> Worker | None:
        """The worker of that name."""
        return next((worker for worker in self.workers if worker.name == name), None)
