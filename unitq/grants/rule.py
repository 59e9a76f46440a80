"""The rule by which polkit lets members of a group start these units, and nothing else. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unitq.grants.model import VERBS, prefix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.grants.model import Grant

MARK = "// Written by `unitq grant`"

# systemd tells polkit the unit's primary name and the verb (polkit(8); systemd's dbus-unit.c). Not
# the job's mode: see docs/operating.md. Groups are those of the account database at this moment,
# not those that a login still has.
_RULE = """\
%(mark)s, which writes it again: change it with that command.
// Lets members of a group start these units, each under the name of the account that asks.
polkit.addRule(function (action, subject) {
    if (action.id !== "org.freedesktop.systemd1.manage-units" ||
        action.lookup("verb") !== "start") {
        return polkit.Result.NOT_HANDLED;
    }
    var granted = %(granted)s;
    var member = encodeURIComponent(subject.user)
        .replace(/[!~*'()]/g, function (one) {
            return "%%" + one.charCodeAt(0).toString(16).toUpperCase();
        })
        .replace(/%%/g, "\\\\x");
    var unit = action.lookup("unit");
    for (var group in granted) {
        var mine = granted[group].some(function (prefix) {
            return unit === prefix + member + ".service";
        });
        if (mine && subject.isInGroup(group)) {
            return polkit.Result.YES;
        }
    }
    return polkit.Result.NOT_HANDLED;
});
"""


def rule(grants: Iterable[Grant]) -> str:
    """The text of the rule for all grants. Their names are checked: see model.checked."""
    granted: dict[str, list[str]] = {}
    for grant in sorted(set(grants)):
        prefixes = granted.setdefault(grant.group, [])
        prefixes += [prefix(verb, grant.app) for verb in VERBS]
    table = json.dumps(granted, indent=4).replace("\n", "\n    ")
    return _RULE % {"mark": MARK, "granted": table}
