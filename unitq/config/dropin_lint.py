"""Drop-ins that change what unitq has written of a worker. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.model.finding import Certainty, Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.units.dropins import Change


def findings(worker: str, template: str, changes: Iterable[Change], *, user: bool) -> list[Finding]:
    """Returns a warning for each drop-in; `template` is the worker's unit."""
    typed = f"systemctl {'--user ' * user}"
    return [
        Finding(
            Level.WARNING,
            f"workers.{worker}",
            str(change),
            f"say it in unitq.toml, and take it out there: `{typed}cat {template}` shows all, "
            f"`{typed}revert {template}` deletes what `systemctl edit` made",
            "systemd goes by the drop-in, so what unitq says of starts, drains and limits may not "
            "hold",
            name="drop-in",
            sure=Certainty.CERTAIN,
        )
        for change in changes
    ]
