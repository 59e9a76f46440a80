"""What every job in here does: write a line, take its time, write another.

A line: "begun" or "done", the job's number, the start of the worker (systemd's invocation), its
instance, PID, revision, unix time. The file is opened for appending and written to in one go, so
lines of several processes never mix. "Exactly once" is counted from them and from nothing else.
"""

import asyncio
import os
import time

QUEUE = os.environ["PROOF_QUEUE"]
REDIS = os.environ["PROOF_REDIS"]


def note(word: str, number: str) -> None:
    start = os.environ.get("INVOCATION_ID", "-")
    instance = os.environ.get("UNITQ_INSTANCE", "-")
    revision = os.environ.get("UNITQ_REVISION", "-")
    line = f"{word} {number} {start} {instance} {os.getpid()} {revision} {time.time()}\n"
    with open(os.environ["PROOF_LINES"], "ab", buffering=0) as lines:
        lines.write(line.encode())


def work(number: str, seconds: float) -> None:
    note("begun", number)
    time.sleep(seconds)
    note("done", number)


async def work_async(number: str, seconds: float) -> None:
    note("begun", number)
    await asyncio.sleep(seconds)
    note("done", number)
