"""Where things live on disk, for the system scope and for a user's own. Paths only, no I/O.

    STATE/revisions/42-3fa9c1/revision.json     what was deployed; read by status, start, restart …
    STATE/revisions/42-3fa9c1/_units/           the unit texts
    STATE/revisions/42-3fa9c1/sms/env           the worker's environment (0600)
    STATE/revisions/42-3fa9c1/sms/release       symlink to the code
    STATE/revisions/42-3fa9c1/sms/stdin         empty; see units/worker@.service.j2
    STATE/key                                   seals secrets (rollout/checks/credentials.py; 0600)
    STATE/current -> revisions/42-3fa9c1        what is wanted
    STATE/rollouts/17/ledger.jsonl              what a rollout was about to do (rollout/ledger.py)
    STATE/rollouts/17/progress.log              the lines that it shows, for who looks on
    STATE/rollouts/17/progress-jobs.log         the same with the jobs, for who may read the journal
    STATE/rollouts/17/report.json               what it did
    STATE/rollouts/17/logs.json                 what workers printed, for who may read the journal
    STATE/pins/sms/3 -> ../../revisions/42-3fa9c1/sms   what the next start of sms@3 runs

An instance's code and environment change with one rename(2) of its pin, so neither a crash nor
a reboot in the middle of a rollout can mix old code with a new environment.
"""

from __future__ import annotations

from pathlib import PurePosixPath as Path
from typing import NamedTuple


class Layout(NamedTuple):
    """The directories of one scope."""

    user: bool
    unit_dir: Path
    state_dir: Path
    runtime_dir: Path
    config_dir: Path

    def app(self, app: str) -> AppLayout:
        """The places of one app."""
        return AppLayout(self.state_dir / app, self.runtime_dir / f"{app}.lock")

    def paused_notes(self, app: str) -> Path:
        """Where it is noted which instances are paused."""
        return self.runtime_dir / f"{app}.paused"

    def takeover_notes(self, app: str) -> Path:
        """Where a takeover notes which of Supervisor's workers have got their signal."""
        return self.runtime_dir / f"{app}.told"


class AppLayout(NamedTuple):
    """The places of one app."""

    state: Path
    lock: Path

    @property
    def revisions(self) -> Path:
        return self.state / "revisions"

    @property
    def rollouts(self) -> Path:
        return self.state / "rollouts"

    def rollout(self, number: int) -> Path:
        return self.rollouts / str(number)

    @property
    def current(self) -> Path:
        return self.state / "current"

    @property
    def key(self) -> Path:
        return self.state / "key"

    def pins(self, worker: str) -> Path:
        return self.state / "pins" / worker

    def pin(self, worker: str, number: int | str) -> Path:
        return self.pins(worker) / str(number)


def system() -> Layout:
    """PID 1's scope."""
    return Layout(
        user=False,
        unit_dir=Path("/etc/systemd/system"),
        state_dir=Path("/var/lib/unitq"),
        runtime_dir=Path("/run/unitq"),
        config_dir=Path("/etc/unitq"),
    )


def user(*, home: str, uid: int, environment: dict[str, str]) -> Layout:
    """A user's own scope, by the XDG base directory specification."""
    below_home = Path(home)
    config = Path(environment.get("XDG_CONFIG_HOME") or below_home / ".config")
    state = Path(environment.get("XDG_STATE_HOME") or below_home / ".local" / "state")
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
    return Layout(
        user=True,
        unit_dir=config / "systemd" / "user",
        state_dir=state / "unitq",
        runtime_dir=runtime / "unitq",
        config_dir=config / "unitq",
    )
