"""How much of the machine a unit leaves to its processes, by `systemd-analyze security`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.linux import programs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.units.render import UnitText

_SECONDS = 30.0
_SCORE = re.compile(r"(?m)^\W* ?Overall exposure level for (\S+): (\d+\.\d) ")


def scores(units: Mapping[str, UnitText]) -> dict[str, float]:
    """Each unit's score, 0 (nothing left) to 10, by the same keys.

    Without those that systemd-analyze does not rate: before systemd 250 it takes no files.
    """
    with programs.temporary("unitq-security-") as folder:
        for unit in units.values():
            Path(folder, unit.name).write_text(unit.text, encoding="utf-8")
        files = (f"{folder}/{unit.name}" for unit in units.values())
        try:
            analyze = programs.path_of("systemd-analyze")
            done = subprocess.run(
                [analyze, "security", "--offline=true", "--no-pager", *files],
                env=programs.environment(),
                check=False,
                capture_output=True,
                timeout=_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired):
            return {}
    printed = dict(_SCORE.findall(done.stdout.decode(errors="replace")))
    # Of a template it rates an instance: "unitq-shop-sms@i.service".
    by_unit = {
        re.sub(r"@[^@]*\.service$", "@.service", name): float(s) for name, s in printed.items()
    }
    return {key: by_unit[unit.name] for key, unit in units.items() if unit.name in by_unit}
