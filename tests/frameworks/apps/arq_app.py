import asyncio
import os

from arq import create_pool
from arq.connections import RedisSettings
from job import QUEUE, REDIS, work_async

SETTINGS = RedisSettings.from_dsn(REDIS)


async def job(context: dict, number: str, seconds: float) -> None:
    await work_async(number, seconds)


class WorkerSettings:
    functions = (job,)
    queue_name = QUEUE
    redis_settings = SETTINGS
    max_jobs = 1
    poll_delay = 0.1


# Without it, as arq comes, a stop cancels the job in hand, which is run again later.
if "PROOF_GRACE" in os.environ:
    WorkerSettings.job_completion_wait = int(os.environ["PROOF_GRACE"])


def enqueue(numbers: list[str], seconds: float) -> None:
    asyncio.run(_enqueue(numbers, seconds))


async def _enqueue(numbers: list[str], seconds: float) -> None:
    pool = await create_pool(SETTINGS)
    for number in numbers:
        await pool.enqueue_job("job", number, seconds, _queue_name=QUEUE)
    await pool.aclose()
