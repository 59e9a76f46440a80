"""What is granted to whom, and the names of the units that carry it out. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from unitq.errors import ConfigError
from unitq.model.app import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What a member may have root do, and what unitq is then called with: what a deployer needs at
# 3 a.m., and nothing that takes an app away (stop, remove) or changes it for good (scale). The verb
# is part of a unit's name. No app's name holds a ".", so it is never a worker's unit.
VERBS: Mapping[str, tuple[str, ...]] = {
    "deploy": ("deploy",),
    "rollback": ("rollback",),
    "start": ("start",),
    "restart": ("restart",),
    "pause": ("pause",),
    "resume": ("resume",),
    "rollout.resume": ("rollout", "resume"),
    "rollout.promote": ("rollout", "promote"),
    "rollout.pause": ("rollout", "pause"),
    "rollout.abort": ("rollout", "abort"),
}

_APP = re.compile(NAME)
# Stricter than any group database: it becomes part of a rule that polkit runs as a program.
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")


class Grant(NamedTuple):
    """Members of a group may deploy an app."""

    app: str
    group: str


def validate(app: str, group: str) -> Grant:
    """A grant of these names. Raises ConfigError where one could mean something else in a rule."""
    if not _APP.fullmatch(app):
        raise ConfigError(f"{app!r} is no name of an app", hint="letters, digits, - and _")
    if not _GROUP.fullmatch(group):
        raise ConfigError(
            f"{group!r}: no group of such a name can be granted anything",
            hint="letters, digits and _ . @ -",
        )
    return Grant(app, group)


def template(verb: str) -> str:
    """The template unit of a verb: `unitq-deploy@.service`."""
    return f"unitq-{verb}@.service"


def prefix(verb: str, app: str) -> str:
    """What the unit's name begins with, for every member: `unitq-deploy@shop:`."""
    return f"unitq-{verb}@{app}:"


def unit(verb: str, app: str, member: str) -> str:
    """The unit that does it for a member: `unitq-deploy@shop:alice.service`.

    The account is part of the name, so that polkit, which knows who asks, vouches for it.
    """
    return f"{prefix(verb, app)}{_escape(member)}.service"


def instance(text: str) -> tuple[str, str]:
    """The app and the member that a unit's instance names. Raises ConfigError."""
    app, colon, escaped = text.partition(":")
    member = unquote(escaped.replace("\\x", "%"))
    if not colon or not _APP.fullmatch(app) or not member or _escape(member) != escaped:
        raise ConfigError(f"{text!r} names no app and account", hint="expected APP:ACCOUNT")
    return app, member


def _escape(member: str) -> str:
    # As encodeURIComponent() of the rule's JavaScript does it, with the "\x" of systemd-escape(1)
    # for the "%" that a unit's name may not hold.
    return quote(member, safe="").replace("~", "%7E").replace("%", "\\x")


def record(grants: Iterable[Grant]) -> str:
    """All grants as the text of the file that keeps them."""
    rows = [grant._asdict() for grant in sorted(set(grants))]
    return json.dumps({"format": 1, "grants": rows}, indent=2) + "\n"


def parse(text: str, source: str) -> tuple[Grant, ...]:
    """The grants that such a file holds. Raises ConfigError where it is none."""
    try:
        rows = json.loads(text)["grants"]
        return tuple(sorted({validate(row["app"], row["group"]) for row in rows}))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{source}: no record of grants: {error!r}",
            hint="delete it and grant again: `unitq grant --group GROUP -a APP --install`",
        ) from error
