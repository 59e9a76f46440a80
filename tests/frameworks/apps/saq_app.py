import asyncio
import os

from job import QUEUE, REDIS, work_async
from saq import Queue

queue = Queue.from_url(REDIS, name=QUEUE)


async def job(context: dict, *, number: str, seconds: float) -> None:
    await work_async(number, seconds)


settings = {"queue": queue, "functions": [job], "concurrency": 1}
# Without it, as saq comes, a stop cancels the job in hand, which is run again later.
if "PROOF_GRACE" in os.environ:
    settings["shutdown_grace_period_s"] = int(os.environ["PROOF_GRACE"])


def enqueue(numbers: list[str], seconds: float) -> None:
    asyncio.run(_enqueue(numbers, seconds))


async def _enqueue(numbers: list[str], seconds: float) -> None:
    await queue.connect()
    for number in numbers:
        # Its own limit is ten seconds.
        await queue.enqueue("job", number=number, seconds=seconds, timeout=120)
    await queue.disconnect()
