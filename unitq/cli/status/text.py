"""`unitq status` for people: a table of instances, and a summary of each worker below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unitq.text import duration, number, plural, size, table, unitq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.instances.status import InstanceStatus
    from unitq.revisions.model import Revision
    from unitq.status.app_status import Status, StatusList, WorkerStatus

    Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]

HEADER = (
    "INSTANCE", "STATE", "SINCE", "PID", "REVISION", "FRESH", "PROCESSES", "MEMORY", "RESTARTS",
)  # fmt: skip
# What goes where there is no room, in this order. The summary below the table says which code runs.
_GO_FIRST = ("MEMORY", "PROCESSES", "RESTARTS", "REVISION", "FRESH")
# What is as long as it likes, and goes over several lines.
WRAPPED = ("STATE", "JOB")
_WRAPPED_WIDTH = 20  # "crashed, restarting" in one line
_GAP = 2
_NAMED = 5  # instances of a worker of which it is said why they do not serve
_FRESH = {
    "": "-",
    "current": "yes",
    "in place": "in place",
    "moved": "MOVED",
    "old": "NO",
    "unknown": "?",
}


def lines(statuses: StatusList) -> list[str]:
    """Returns the lines about the apps."""
    lines: list[str] = []
    for status in statuses.apps:
        header, rows = _instances(status)
        if lines:
            lines.append("")
        if len(statuses.apps) > 1:
            lines.append(f"{status.app} · {plural(len(rows), 'instance')}")
        lines += table(header, rows)
        if queues := _queues(status):
            lines += ["", *table(*queues), ""]
        lines += _summaries(status)
    return lines


def parts(statuses: StatusList) -> list[Any]:
    """Returns the same for a terminal, as parts to draw in order."""
    from unitq.cli import screen

    parts: list[Any] = []
    for status in statuses.apps:
        title = status.app if len(statuses.apps) > 1 else ""
        styles = [_style(row) for row in status.instances]
        shown = fit(*_instances(status), screen.width())
        parts.append(screen.table(*shown, styles, title=title, wrapped=WRAPPED))
        if queues := _queues(status):
            parts += [screen.line(), screen.table(*queues), screen.line()]
        parts += [*(screen.line(words, "dim") for words in _summaries(status)), screen.line()]
    return parts[:-1]


def fit(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Rows:
    """Returns header and rows without the columns that do not fit into `width`."""
    columns = dict(
        zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True)
    )
    needs = {name: max(map(len, (name, *cells))) for name, cells in columns.items()}
    for name in set(WRAPPED) & needs.keys():
        needs[name] = min(needs[name], _WRAPPED_WIDTH)
    for name in _GO_FIRST:
        if sum(needs.values()) + _GAP * (len(needs) - 1) <= width:
            break
        needs.pop(name, None)
    kept = [index for index, name in enumerate(header) if name in needs]
    return (
        tuple(header[index] for index in kept),
        [tuple(row[index] for index in kept) for row in rows],
    )


def _style(row: InstanceStatus) -> str:
    failed = row.instance.active == "failed" or row.loop or row.instance.elsewhere
    if row.fresh is False or failed or row.wanted is None:
        return "red"
    return "" if row.serving else "yellow"


def _number(current: Revision, name: str | None) -> str:
    """Returns `5 (= 3)` for 3 if 5 rolled back to it: reports speak of 5."""
    return f"{current.number} (= {number(name)})" if current.repeats(name) else number(name)


def _cells(row: InstanceStatus, current: Revision) -> tuple[str, ...]:
    instance = row.instance
    state = row.code_state(current.worker(instance.name.worker))
    revision = "-"
    if instance.pids:
        own = instance.revision
        revision = _number(current, own) if row.fresh else number(own)
    return (
        str(instance.name),
        row.state,
        "-" if row.age is None else duration(row.age),
        str(instance.main_pid or "-"),
        revision,
        "not wanted" if row.wanted is None else _FRESH[state],
        str(len(instance.pids)),
        size(instance.memory),
        "-" if instance.restarts is None else str(instance.restarts),
    )


def _instances(status: Status) -> Rows:
    """Returns header and rows of the instances."""
    rows = [_cells(row, status.revision) for row in status.instances]
    queued = status.queued
    if queued is None or not queued.jobs:
        return HEADER, rows
    jobs = [queued.job_text(row.instance) for row in status.instances]
    return (*HEADER, "JOB"), [(*row, job) for row, job in zip(rows, jobs, strict=True)]


def _queues(status: Status) -> tuple[list[str], list[list[str]]] | None:
    """Returns header and rows of the workers' queues; None without queues."""
    queued = status.queued
    if queued is None or not queued.numbers:
        return None
    from unitq.cli.queues.text import cells

    workers = dict.fromkeys(row.instance.name.worker for row in status.instances)
    rows = [(worker, row) for worker in workers for row in queued.rows.get(worker, ())]
    header, lines = cells([row for _, row in rows], queued.at)
    named = [[worker, *line] for (worker, _), line in zip(rows, lines, strict=True)]
    return (["WORKER", *header], named) if named else None


def _summaries(status: Status) -> list[str]:
    order = {worker.name: index for index, worker in enumerate(status.revision.workers)}
    workers = sorted(
        (worker for worker in status.workers if worker.name in order and worker.instances),
        key=lambda worker: order[worker.name],
    )
    lines = [line for worker in workers for line in _summary(worker, status)]
    typed = unitq(status.app, user=status.user)
    if story := status.rollout:
        lines.append(
            f"rollout {story.number} ({story.kind} of {number(story.revision)}) {story.how}: "
            f"`{typed} rollout status` says how to go on"
        )
    if last := status.last:
        lines.append(
            f"rollout {last.number} ({last.kind} of {number(last.revision)}) ended: "
            f"{status.last_result}; `{typed} show {number(last.revision)}` has the report"
        )
    return lines


def _summary(worker: WorkerStatus, status: Status) -> list[str]:
    installed, rows = worker.installed, worker.instances
    assert installed
    counts = {
        "starting": sum(row.state == "starting" for row in rows),
        "in a crash loop": sum(row.loop is not None for row in rows),
        "outside of their units": sum(bool(row.instance.elsewhere) for row in rows),
        "draining": sum(row.instance.active == "deactivating" for row in rows),
        "failed": sum(row.instance.active == "failed" for row in rows),
        "paused": sum(row.paused for row in rows),
        "on OLD CODE": sum(row.fresh is False and not row.instance.moved for row in rows),
        "on ANOTHER COMMIT": sum(bool(row.instance.moved) for row in rows),
        "of which nothing tells the code": sum(row.instance.code_unknown for row in rows),
        "not to be read (not root)": sum(not row.instance.readable for row in rows),
    }
    parts = [f"{worker.serving} of {len(rows)} serving"]
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    if worker.oom_kills:
        parts.append(f"{plural(worker.oom_kills, 'process')} killed: out of memory")
    code = f"revision {_number(status.revision, installed.revision)}, {installed.code_version}"
    lines = [f"{worker.name}: {', '.join(parts)} · {code}"]
    if worker.deleted:
        lines.append(
            f"{worker.name}: its release {installed.release} was deleted; what ends cannot start "
            "again: put it back, or deploy another"
        )
    lines += [f"{worker.name}: {change}" for change in worker.dropins]
    troubles = [words for row in rows if (words := _trouble(row))]
    lines += troubles[:_NAMED]
    if (more := len(troubles) - _NAMED) > 0:
        lines.append(f"{worker.name}: and {more} more like these")
    if worker.head:
        lines.append(
            f"{worker.name}: HEAD of {installed.release} is now {worker.head[:12]}, which is not "
            f"deployed: what is started from now on runs it; "
            f"`{unitq(status.app, user=status.user)} deploy` rolls it out"
        )
    return lines


def _trouble(row: InstanceStatus) -> str:
    """Returns why an active instance does not serve, in a line; else an empty text."""
    name, instance = row.instance.name, row.instance
    if loop := row.loop:
        times = f"{plural(loop.restarts, 'restart')} in {duration(loop.seconds)}"
        return f"{name}: crash loop ({times}, last: {loop.last})"
    if instance.elsewhere:
        return f"{name}: the worker left its unit: {instance.elsewhere}"
    if instance.replaced:
        return (
            f"{name}: runs {instance.replaced} as it was before that was deleted or renamed; "
            "another is there now: restart it"
        )
    if row.unexplained:
        return (
            f"{name}: {plural(instance.restarts or 0, 'restart')}, and whether it crashes in a "
            "loop only the journal tells, which cannot be read: root may, and group systemd-journal"
        )
    return ""
