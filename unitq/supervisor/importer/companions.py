"""Programs that run beside the workers of a framework, and are none: schedulers and web pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from unitq.presets.detect import invocations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.toml_draft import Draft


class Companion(NamedTuple):
    """What such a program is."""

    name: str
    scheduler: bool = (
        False  # it sends jobs at their times; some have a lock against a second one, most have none
    )


# celery/bin/celery.py: the options that stand before its commands.
_CELERY = (
    r"celery(?: (?:-A|-b|--app|--broker|--result-backend|--loader|--config|--workdir) \S+"
    r"| --[a-z-]+=\S+| -[Ab]\S+| -[Cq](?!\S)| --(?:no-color|quiet|skip-checks))* "
)
# Matched with what a program is called and its arguments (recognise.Invocation.texts).
_COMPANIONS = tuple(
    (re.compile(rf"(?:{pattern})(?!\S)"), Companion(name, scheduler))
    for pattern, name, scheduler in (
        (_CELERY + "beat", "Celery's beat", True),
        (_CELERY + "(?:flower|events)|flower|celery-exporter", "a monitor of Celery", False),
        (r"rq cron|rqscheduler|(?:\S+/)?manage\.py rqscheduler", "RQ's scheduler", True),
        (r"rq-dashboard|rqinfo|rq info|rq-exporter", "a monitor of RQ", False),
        (r"rake(?: \S+)*? resque:scheduler|resque-scheduler", "resque-scheduler", True),
        (r"resque-web", "a web page of Resque", False),
        (r"(?:php )?(?:\S*/)?artisan schedule:work", "Laravel's scheduler", True),
        (r"taskiq scheduler", "taskiq's scheduler", True),
        (r"periodiq", "periodiq", True),
        (r"clockwork", "clockwork", True),
        (r"bull-board|bull-monitor|arena", "a web page of BullMQ", False),
    )
)


def companion(command: str, heads: Mapping[str, str]) -> Companion | None:
    """Returns what the command, a line in systemd's syntax, runs beside workers; None: nothing."""
    for one in invocations(command, heads):
        for text in one.texts():
            for pattern, found in _COMPANIONS:
                if pattern.match(text):
                    return found
    return None


def beside(part: Part, draft: Draft, command: str, heads: Mapping[str, str]) -> None:
    """Writes into the draft, and says, that its program is no worker, where that is known."""
    found = companion(command, heads)
    if found is None:
        return
    if not found.scheduler:
        draft.comments.append(f"{found.name}: it takes no jobs, so no preset applies.")
        part.note(f"{found.name} takes no jobs: no framework's preset applies to it")
        return
    draft.keys["singleton"] = True
    draft.comments.append(f"{found.name}: one is enough, and two may send each job twice.")
    several = draft.keys.pop("instances", 1)
    if several > 1:
        part.decide(f"{found.name} ran {several} times, which may send each job as often: once now")
    else:
        part.note(f"{found.name} runs once (singleton): two may send each job twice")
