"""What unitq manages: an app, its workers, their instances. Frozen values; no I/O, no pydantic."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.model.settings import Duration, OnKilled, RolloutSettings, Share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.model.hardening import Hardening
    from unitq.model.recycle import Recycle

# systemd allows ASCII letters, digits and ":-_.\" in unit names (systemd.unit(5)). Ours also
# become directory names and journal identifiers: letters, digits, "-" and "_" serve all three.
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
NAME_RE = re.compile(NAME)

# UNIT_NAME_MAX in systemd's source is 256 with the final NUL.
UNIT_NAME_MAX = 255

INSTANCES_MAX = 4096

# What an app without [rollout] has; the other settings have their defaults with them.
ROLLOUT = RolloutSettings(
    max_unavailable=Share(1),
    min_healthy=Duration("10s", 10.0),
    start_timeout=Duration("90s", 90.0),
)


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


@dataclass(frozen=True, slots=True)
class Probe:
    """A command that tells whether an instance does its work: exit status 0 means that it does."""

    command: str  # systemd's command-line syntax, as the user wrote it
    timeout: Duration = field(default_factory=lambda: Duration("5s", 5.0))
    successes: int = 1  # in a row


@dataclass(frozen=True, slots=True)
class Hook:
    """A program of the operator's that unitq itself runs; without a shell."""

    command: tuple[str, ...]  # the program, absolute or below unitq.toml's directory; arguments
    timeout: Duration = field(default_factory=lambda: Duration("1min", 60.0))
    user: str | None = None  # whose rights it has; None: those of unitq itself


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is run around a deploy."""

    before_deploy: Hook | None = None
    after_deploy: Hook | None = None
    on_failure: Hook | None = None

    def __iter__(self) -> Iterator[tuple[str, Hook]]:
        """Those that there are, with their names."""
        for name in ("before_deploy", "after_deploy", "on_failure"):
            hook: Hook | None = getattr(self, name)
            if hook is not None:
                yield name, hook


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that systemd hands to the worker as a file, which is read at each start."""

    name: str  # of the file in the worker's $CREDENTIALS_DIRECTORY
    path: str
    encrypted: bool


# Any other systemd directive: one name, one or several values (a list gives several lines).
Directives = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class PresetDefaults:
    """What a preset adds to a worker, besides the settings that a user could give, too."""

    why: str = ""  # the kill mode is what it is
    service: tuple[tuple[str, str], ...] = ()  # directives such as Type
    success: tuple[str, ...] = ()  # further exit statuses and signals that are no failure
    environment: tuple[tuple[str, str], ...] = ()  # the user's own, files included, wins
    variables: tuple[tuple[str, str], ...] = ()  # by which `queues` reaches the worker
    arguments: tuple[str, ...] = ()  # the same behind its command
    leave_out: tuple[str, ...] = ()  # directives of `hardening` that the framework cannot have


@dataclass(frozen=True, slots=True)
class Worker:
    """A named group of identical instances, with the app's defaults already filled in."""

    name: str
    command: str  # systemd's command-line syntax (systemd.service(5)), as the user wrote it
    instances: int
    directory: str
    queues: tuple[str, ...] = ()  # as far as the file, or the command, names them
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
    hardening: Hardening | None = None  # None: what every worker has, docs/hardening.md
    writable: tuple[str, ...] = ()  # under "strict"; relative ones are below the release
    credentials: tuple[Credential, ...] = ()
    singleton: bool = False  # never two processes of it, not even for a moment
    probe: Probe | None = None
    registered: bool = False  # healthy only once it is registered in Redis
    on_killed: OnKilled = OnKilled.REPORT
    recycle: Recycle | None = None
    preset: str | None = None
    quiet: str = ""  # the signal after which it takes no new jobs; "" where there is none
    resume: str = ""  # the one after which it does again
    supervisor_name: str = ""  # what Supervisor called the first instance; "": as by default
    allow: tuple[str, ...] = ()  # findings of `check` that are meant so
    from_preset: PresetDefaults = field(default_factory=PresetDefaults)

    @property
    def root(self) -> bool:
        """Whether it runs as root, in the system scope."""
        return self.user in (None, "root", "0")


@dataclass(frozen=True, slots=True)
class Redis:
    """Where the queues are, and whose. No password: only where one is to be found."""

    url: str | None = None  # may hold a password
    preset: str | None = None  # whose keys
    prefix: str | None = None  # of its keys, where it is not the preset's
    registry_prefix: str | None = None
    username: str | None = None
    password_variable: str | None = None  # its name in the workers' environment
    password_file: str | None = None
    password_credential: str | None = None  # its name in systemd's credential store
    sentinels: tuple[str, ...] = ()  # host:port
    master: str | None = None  # what the Sentinels call it
    sentinel_username: str | None = None
    sentinel_password_variable: str | None = None
    sentinel_password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __repr__(self) -> str:
        # Tracebacks and test reports show it.
        return f"Redis(preset={self.preset!r}, prefix={self.prefix!r}, …)"


@dataclass(frozen=True, slots=True)
class App:
    """One unitq.toml."""

    name: str
    workers: tuple[Worker, ...]
    rollout: RolloutSettings
    code_version: CodeVersion = CodeVersion.AUTO
    redis: Redis = field(default_factory=Redis)
    history: int = 10  # so many revisions are kept
    hooks: Hooks = field(default_factory=Hooks)
    after: tuple[str, ...] = ()  # units of this machine that workers need until they have stopped
    allow: tuple[str, ...] = ()  # findings of `check` that are meant so, for all workers
    file: str = ""  # what it was read from, as a path without links; "": no file
    owner: str | None = None  # the account that decides what the file says, where that is not root

    def worker(self, name: str) -> Worker | None:
        """The worker of that name."""
        return next((worker for worker in self.workers if worker.name == name), None)


def environment_places(app: App) -> dict[str, list[str]]:
    """Returns where each environment file is named: `workers.sms.environment_file[1]`."""
    places: dict[str, list[str]] = {}
    for worker in app.workers:
        key = f"workers.{worker.name}.environment_file"
        many = len(worker.environment_files) > 1
        for number, path in enumerate(worker.environment_files):
            places.setdefault(path, []).append(f"{key}[{number}]" if many else key)
    return places
