"""Removes the registration of a dead worker, the way its framework does it.

Each is one script, which Redis runs as a whole. It first looks whether everything is as it was
when the worker was found dead: one that has come back, or that another command has pruned
meanwhile, is left alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.queues.commands import QueuesError
from unitq.queues.values import table, text

if TYPE_CHECKING:
    from unitq.queues.client import Connection
    from unitq.queues.model import Registration
    from unitq.queues.reader import Source

FAMILIES = ("resque", "node-resque", "sidekiq", "rq")

# A script, its keys and its values.
_Call = tuple[str, Sequence[str], Sequence[str | bytes]]


class Pruned(NamedTuple):
    """Whether a registration was removed, and the outcome in words."""

    done: bool
    words: str


# KEYS: workers, record, started, heartbeats, processed, failed, failed list, failures, status, pid,
# ping. ARGV: id, record, started, heartbeat, failure, status, 1: count the failure.
_RESQUE = """
local function same(found, wanted) return (found or "") == wanted end
if redis.call("SISMEMBER", KEYS[1], ARGV[1]) == 0 then return "gone" end
local beat = redis.call("HGET", KEYS[4], ARGV[1])
if not (same(redis.call("GET", KEYS[2]), ARGV[2]) and same(redis.call("GET", KEYS[3]), ARGV[3])
    and same(beat, ARGV[4])) then return "changed" end
if ARGV[5] ~= "" then
  redis.call("RPUSH", KEYS[7], ARGV[5])
  if ARGV[7] == "1" then redis.call("INCR", KEYS[8]) end
  if redis.call("EXISTS", KEYS[9]) == 1 then redis.call("SET", KEYS[9], ARGV[6], "EX", 86400) end
end
redis.call("SREM", KEYS[1], ARGV[1])
redis.call("DEL", KEYS[2], KEYS[3], KEYS[5], KEYS[6], KEYS[10], KEYS[11])
if beat then redis.call("HDEL", KEYS[4], ARGV[1]) end
return "pruned"
"""

# KEYS: processes, record, work, work before 6.5. ARGV: id, beat.
_SIDEKIQ = """
if redis.call("SISMEMBER", KEYS[1], ARGV[1]) == 0 then return "gone" end
if (redis.call("HGET", KEYS[2], "beat") or "") ~= ARGV[2] then return "changed" end
redis.call("SREM", KEYS[1], ARGV[1])
redis.call("DEL", KEYS[2], KEYS[3], KEYS[4])
return "pruned"
"""

# KEYS: workers, record, executions, then the workers of each queue. ARGV: heartbeat, now.
_RQ = """
if redis.call("SISMEMBER", KEYS[1], KEYS[2]) == 0 then return "gone" end
if (redis.call("HGET", KEYS[2], "last_heartbeat") or "") ~= ARGV[1] then return "changed" end
redis.call("SREM", KEYS[1], KEYS[2])
for index = 4, #KEYS do redis.call("SREM", KEYS[index], KEYS[2]) end
if redis.call("EXISTS", KEYS[2]) == 1 then
  redis.call("HSET", KEYS[2], "death", ARGV[2])
  redis.call("EXPIRE", KEYS[2], 60)
end
redis.call("DEL", KEYS[3])
return "pruned"
"""


def prune(connection: Connection, source: Source, dead: Registration, why: str) -> Pruned:
    """Removes it, unless something has changed since it was read. Raises QueuesError."""
    answer = connection.script(f"prune {dead.id}", *_call(source, dead, why))
    if answer == b"changed":
        return Pruned(done=False, words="changed in the meantime, left alone")
    if answer == b"gone":
        return Pruned(done=False, words="somebody else has removed it")
    return Pruned(done=True, words=_outcome(source, dead))


def _call(source: Source, dead: Registration, why: str) -> _Call:
    p, evidence = source.prefix, dict(dead.evidence)
    match source.keys.registry:
        case "resque" | "node-resque":
            return _resque(source, dead, why)
        case "sidekiq":
            names = (dead.id, f"{dead.id}:work", f"{dead.id}:workers")
            processes = (f"{p}processes", *(f"{p}{name}" for name in names))
            return _SIDEKIQ, processes, (dead.id, evidence["beat"] or b"")
        case "rq":
            record = f"{p}worker:{dead.id}"
            of_queues = [f"{p}workers:{queue}" for queue in dead.queues or ()]
            now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
            keys = (f"{p}workers", record, f"{record}:executions", *of_queues)
            return _RQ, keys, (evidence["heartbeat"] or b"", now)
    raise QueuesError(f"{source.preset} clears its own workers away; there is nothing to prune")


def _resque(source: Source, dead: Registration, why: str) -> _Call:
    p, evidence = source.prefix, dict(dead.evidence)
    working = evidence["working"] or b""
    record = table(working)
    value = record.get("payload")
    payload = value if isinstance(value, dict) else {}
    identity = str(payload.get("id") or "")
    # resque/php-resque lets the application put something before the id.
    own = str(payload.get("prefix") or "")
    host_and_pid = ":".join(dead.id.split(":")[:2])
    keys = (
        f"{p}workers",
        f"{p}worker:{dead.id}",
        f"{p}worker:{dead.id}:started",
        f"{p}workers:heartbeat",
        f"{p}stat:processed:{dead.id}",
        f"{p}stat:failed:{dead.id}",
        f"{p}failed",
        f"{p}stat:failed",
        f"{p}job:{own}{identity}:status",
        f"{p}job:{identity}:pid",
        f"{p}worker:ping:{host_and_pid}",
    )
    # Ruby does not count what it marks as failed when it unregisters a worker.
    counted = "0" if source.preset == "resque" else "1"
    values = (
        dead.id,
        working,
        evidence["started"] or b"",
        evidence["heartbeat"] or b"",
        json.dumps(_failure(source.preset, dead, record, why)) if working else "",
        json.dumps({"status": 3, "updated": int(time.time())}),
        counted,
    )
    return _RESQUE, keys, values


def _failure(preset: str, dead: Registration, record: dict[str, Any], why: str) -> dict[str, Any]:
    """Returns what the framework writes of a job whose worker has died, with its own names."""
    now = time.localtime()
    exception, at = {
        "resque": ("Resque::DirtyExit", time.strftime("%Y/%m/%d %H:%M:%S %Z", now)),
        "node-resque": ("Worker Timeout (killed manually)", time.strftime("%c", now)),
    }.get(preset, ("Resque_Job_DirtyExitException", time.strftime("%a %b %d %H:%M:%S %Z %Y", now)))
    return {
        "failed_at": at,
        "payload": record.get("payload"),
        "exception": exception,
        "error": f"The worker died while it ran this job: {why}",
        "backtrace": [],
        "worker": dead.id,
        "queue": text(record.get("queue")),
    }


def _outcome(source: Source, dead: Registration) -> str:
    """Returns what the framework does with its jobs."""
    if not dead.jobs:
        return "unregistered"
    jobs = ", ".join(f"{job.name or 'job'} {job.id or job.hash}" for job in dead.jobs)
    match source.keys.registry:
        case "sidekiq":
            return f"unregistered; lost, as Sidekiq keeps nothing to repeat it from: {jobs}"
        case "rq":
            return f"unregistered; RQ itself marks as failed, once its time is over: {jobs}"
    return f"unregistered; marked as failed: {jobs}"
