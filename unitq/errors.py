"""Exit codes, and the errors that carry them. The table is docs/runbook.md."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """One code per outcome; scripts and CI jobs may rely on them."""

    OK = 0
    BROKEN = 1  # unitq or D-Bus failed
    USAGE = 2  # usage or configuration error; nothing changed
    NOT_AS_WANTED = 3  # status, check: not in the desired state (LSB's "not running")
    NO_MATCH = 4  # unknown app, worker or instance
    NOT_PERMITTED = 5
    GAVE_UP_WAITING = 6  # the work goes on in systemd
    DEGRADED = 7  # failed and left mixed: needs a person
    LOCKED = 8  # or an unfinished rollout is in the way
    ROLLED_BACK = 9  # failed, and all are healthy on the old revision again
    INTERRUPTED = 10  # at a safe point; can be resumed
    PAUSED = 11  # or waiting for promotion
    PENDING = 12  # plan: changes are pending
    PREFLIGHT = 13  # a check before the first change failed; nothing changed
    KILLED = 14  # done, but jobs were killed (only where that was asked to be an error)
    STALE = 15  # status: an instance runs old code
    DETACHED = 130


class UnitqError(Exception):
    """An operator's error: what is wrong and where, and in `hint` what to do about it.

    `otherwise` is a second way out, which is printed on a line of its own.
    """

    exit = Exit.BROKEN

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        otherwise: str = "",
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.otherwise = otherwise
        self.problems = problems

    @property
    def in_short(self) -> str:
        """In one line, also where there are several mistakes."""
        first, *more = self.problems or ("",)
        rest = f", and {len(more)} more" if more else ""
        return f"{self.message}: {first}{rest}" if first else self.message


class ConfigError(UnitqError):
    """The configuration or the command line is wrong. Nothing was changed."""

    exit = Exit.USAGE


class NoMatchError(UnitqError):
    """No app, worker or instance of that name."""

    exit = Exit.NO_MATCH


class NotPermittedError(UnitqError):
    """Root, or a polkit rule, is needed."""

    exit = Exit.NOT_PERMITTED


class LockedError(UnitqError):
    """Another unitq is at work on this app."""

    exit = Exit.LOCKED


class PreflightError(UnitqError):
    """A check before the first change failed. Nothing was changed."""

    exit = Exit.PREFLIGHT


class GoingDownError(UnitqError):
    """The machine goes down in the middle of the work: it is cut off, as by a power failure."""

    exit = Exit.DEGRADED


class SystemdError(UnitqError):
    """systemd, or the way to it, failed."""


class NoSystemdError(SystemdError):
    """systemd is not there to talk to."""
