"""unitq: systemd units for queue workers, and deploys that lose no job.

    from unitq import Manager

    for worker in Manager().app("shop").status().workers:
        print(worker.name, worker.serving, "of", worker.wanted)

docs/api.md says what is promised of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unitq.api import App, Manager
    from unitq.errors import (
        ConfigError,
        Exit,
        LockedError,
        NoMatchError,
        NotPermittedError,
        PreflightError,
        SystemdError,
        UnitqError,
    )
    from unitq.instances.status import InstanceStatus as Instance
    from unitq.orphans.evidence import Orphan
    from unitq.orphans.orphan_list import OrphanList
    from unitq.queues.queue_list import QueueList
    from unitq.rollout.plan_summary import PlanSummary as Plan
    from unitq.rollout.presenter import Presenter
    from unitq.rollout.reports.report import Report
    from unitq.status.app_status import Status

__version__ = "0.1.0.dev0"

# Where each is, and what it is called there. Imported when it is asked for: `unitq status` needs
# a tenth of them.
_PUBLIC = {
    "App": "unitq.api", "ConfigError": "unitq.errors", "Exit": "unitq.errors",
    "Instance": "unitq.instances.status:InstanceStatus", "LockedError": "unitq.errors",
    "Manager": "unitq.api", "NoMatchError": "unitq.errors", "NotPermittedError": "unitq.errors",
    "Orphan": "unitq.orphans.evidence", "OrphanList": "unitq.orphans.orphan_list",
    "Plan": "unitq.rollout.plan_summary:PlanSummary", "PreflightError": "unitq.errors",
    "Presenter": "unitq.rollout.presenter", "QueueList": "unitq.queues.queue_list",
    "Report": "unitq.rollout.reports.report", "Status": "unitq.status.app_status",
    "SystemdError": "unitq.errors", "UnitqError": "unitq.errors",
}  # fmt: skip

__all__ = [  # noqa: RUF022
    "Manager", "App", "Status", "Instance", "Plan", "Report", "Presenter", "Orphan", "OrphanList",
    "QueueList", "Exit", "UnitqError", "ConfigError", "NoMatchError", "NotPermittedError",
    "LockedError", "PreflightError", "SystemdError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _PUBLIC[name].partition(":")
    value = globals()[name] = getattr(import_module(module), there or name)
    return value
