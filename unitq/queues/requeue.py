"""Puts the job of a killed worker back into its queue, where its record holds all of the job.

One script, which Redis runs as a whole. php-resque's next worker deletes a dead one's record and
says nothing of its job (lib/Resque/Worker.php, pruneDeadWorkers), so there it is put back from what
was read before. Ruby's and node's mark it as failed; then it stays among the failed jobs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unitq.queues.values import table, text

if TYPE_CHECKING:
    from unitq.queues.client import Connection
    from unitq.queues.model import Registration
    from unitq.queues.reader import Source

# KEYS: record, workers, started, processed, failed, queues, queue.
# ARGV: id, record, payload, name of the queue, 1: no other worker reports it if the record is gone.
_SCRIPT = """
local found = redis.call("GET", KEYS[1])
if found and found ~= ARGV[2] then return "changed" end
if not found and ARGV[5] ~= "1" then return "told" end
redis.call("SADD", KEYS[6], ARGV[4])
redis.call("LPUSH", KEYS[7], ARGV[3])
redis.call("SREM", KEYS[2], ARGV[1])
redis.call("DEL", KEYS[1], KEYS[3], KEYS[4], KEYS[5])
return "back"
"""

_SAYS = {
    b"back": "",
    b"changed": "its record has changed since",
    b"told": "its framework has marked it as failed",
}


def requeue(connection: Connection, source: Source, killed: Registration) -> str:
    """Puts its job back, at the head of the queue. Returns why it did not; empty: it did.

    Raises QueuesError.
    """
    p = source.prefix
    working = dict(killed.evidence)["working"] or b""
    record = table(working)
    queue, payload = text(record.get("queue")), record.get("payload")
    if not queue or not isinstance(payload, dict):
        return "its record does not hold the whole job"
    keys = (
        f"{p}worker:{killed.id}",
        f"{p}workers",
        f"{p}worker:{killed.id}:started",
        f"{p}stat:processed:{killed.id}",
        f"{p}stat:failed:{killed.id}",
        f"{p}queues",
        f"{p}queue:{queue}",
    )
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    silent = "1" if source.preset == "php-resque" else "0"
    values = (killed.id, working, body, queue, silent)
    return _SAYS[connection.script("put a job back", _SCRIPT, keys, values)]
