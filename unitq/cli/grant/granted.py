"""Runs a verb of `unitq grant` as root, for an app and the account that asked.

`python -I -m unitq.cli.grant.granted deploy shop:alice`; units/granted@.service.j2 starts it.
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from unitq.cli.main import main, show
from unitq.errors import NotPermittedError, UnitqError
from unitq.grants import checks, member, model, output, store
from unitq.revisions import state

if TYPE_CHECKING:
    from collections.abc import Sequence

# In a root login these name the account and the files. Here only the unit's name may.
_LOGIN = ("UNITQ_CONFIG", "SUDO_USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


def run(arguments: Sequence[str]) -> None:
    """Runs the verb of the unit; exits with its code."""
    try:
        verb, instance = arguments
        app, account = model.instance(instance)
        group = _group(app, account)
        words = model.VERBS[verb]
    except (ValueError, KeyError):
        sys.exit("unitq: only a unit of `unitq grant` runs this")
    except UnitqError as error:
        show(error)
        sys.exit(error.exit)
    for name in _LOGIN:
        os.environ.pop(name, None)
    state.act_for(account)
    # Only deploy reads a file; the others act on what is installed.
    config = ["-c", str(checks.config(app))] if verb == "deploy" else []
    sys.argv = ["unitq", "-a", app, *words]
    invocation = os.environ.get("INVOCATION_ID", "by-hand")
    unit = model.unit(verb, app, account)
    with (
        output.keep(unit, invocation, group) as (out, errors),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        main([*config, *sys.argv[1:]])


def _group(app: str, account: str) -> int:
    """Returns the gid of the group that has the grant. Raises NotPermittedError."""
    if os.geteuid() != 0:
        raise NotPermittedError("only root may run what is granted")
    for grant in member.covering(store.grants(), account):
        group = member.gid(grant)
        if grant.app == app and group is not None:
            return group
    raise NotPermittedError(
        f"{app} is not granted to {account}", hint="`unitq grant` lists what is"
    )


if __name__ == "__main__":
    run(sys.argv[1:])
