"""status --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.cli.status.model import Status
    from unitq.errors import Exit
    from unitq.instances.status import InstanceStatus
    from unitq.rollout.ledger import Story


def document(sights: Sequence[Status], code: Exit, *, user: bool) -> dict[str, Any]:
    """The apps; docs/json.md describes it."""
    return {
        "format": 1,
        "scope": "user" if user else "system",
        "exit_code": int(code),
        "apps": [_app(sight) for sight in sights],
    }


def _app(sight: Status) -> dict[str, Any]:
    revision = sight.revision
    names_of_workers = {worker.name for worker in revision.workers}
    names_of_workers |= {row.instance.name.worker for row in sight.rows}
    notes = {} if sight.queued is None else {"queue_notes": list(sight.queued.notes)}
    return {
        "app": revision.app,
        "exit_code": int(sight.code),
        "revision": revision.id,
        "deployed_at": round(revision.created, 3),
        "deployed_by": revision.by,
        "config": revision.config,
        "rollout": _rollout(sight.rollout),
        "failed_rollout": _failed(sight.last),
        "workers": [_worker(sight, name) for name in sorted(names_of_workers)],
        **notes,
    }


def _rollout(story: Story | None) -> dict[str, Any] | None:
    if story is None:
        return None
    return {"rollout": story.number, "state": story.state, "revision": story.revision}


def _failed(story: Story | None) -> dict[str, Any] | None:
    if story is None:
        return None
    return {"rollout": story.number, "revision": story.revision, "exit_code": story.code}


def _worker(sight: Status, name: str) -> dict[str, Any]:
    wanted = sight.revision.worker(name)
    rows = [row for row in sight.rows if row.instance.name.worker == name]
    return {
        "worker": name,
        "revision": wanted.revision if wanted else None,
        "same_as": _same_as(sight, wanted.revision) if wanted else None,
        "release": wanted.release if wanted else None,
        "code_version": wanted.code_version if wanted else None,
        "release_deleted": name in sight.deleted,
        "head": sight.heads.get(name),
        "wanted": wanted.instances if wanted else 0,
        "serving": sum(row.serving for row in rows),
        "stale": sum(row.fresh is False for row in rows),
        "oom_kills": sight.oom_kills.get(name),
        "drop_ins": [
            {"file": change.path, "sets": list(change.sets), "unitq_wrote": list(change.wrote)}
            for change in sight.dropins.get(name, ())
        ],
        "instances": [_instance(row, sight) for row in rows],
        **_queues_json(sight, name),
    }


def _same_as(sight: Status, revision: str | None) -> str | None:
    return sight.revision.id if sight.revision.repeats(revision) else None


def _queues_json(sight: Status, worker: str) -> dict[str, Any]:
    if sight.queued is None or not sight.asked.queues:
        return {}
    from unitq.cli.status.queues import worker_json

    return {"queues": worker_json(sight.queued, worker)}


def _jobs_json(sight: Status, row: InstanceStatus) -> dict[str, Any]:
    if sight.queued is None or not sight.asked.jobs:
        return {}
    from unitq.cli.status.queues import instance_json

    return instance_json(sight.queued, row.instance)


def _loop(row: InstanceStatus) -> dict[str, Any] | None:
    if row.loop is None:
        return None
    return row.loop._asdict() | {"seconds": round(row.loop.seconds, 3)}


def _instance(row: InstanceStatus, sight: Status) -> dict[str, Any]:
    instance = row.instance
    return {
        "instance": str(instance.name),
        "unit": instance.unit,
        "load": instance.load,
        "active": instance.active,
        "sub": instance.sub,
        "job": instance.job,
        "serving": row.serving,
        "paused": row.paused,
        "starting": row.state == "starting",
        "crash_loop": _loop(row),
        "elsewhere": instance.elsewhere or None,
        "wanted": row.wanted is not None,
        "since": None if instance.since is None else round(instance.since, 3),
        "main_pid": instance.main_pid or None,
        "pids": list(instance.pids),
        "invocation": instance.invocation or None,
        "revision": instance.revision,
        "wanted_revision": row.wanted,
        "same_as": _same_as(sight, instance.revision) if row.fresh else None,
        "fresh": row.fresh,
        "code": row.code_state(sight.revision.worker(instance.name.worker)) or None,
        "commit": instance.moved or None,
        "restarts": instance.restarts,
        "memory_bytes": instance.memory,
        **_jobs_json(sight, row),
    }
