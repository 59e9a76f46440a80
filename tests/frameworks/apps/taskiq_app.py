import asyncio

from job import QUEUE, REDIS, work_async
from taskiq_redis import RedisStreamBroker

# By itself it fetches a hundred at once, and what it has not come to at its end is left in its name
# for ten minutes.
broker = RedisStreamBroker(url=REDIS, queue_name=QUEUE, xread_count=1)


@broker.task(task_name="job")
async def job(number: str, seconds: float) -> None:
    await work_async(number, seconds)


def enqueue(numbers: list[str], seconds: float) -> None:
    asyncio.run(_enqueue(numbers, seconds))


async def _enqueue(numbers: list[str], seconds: float) -> None:
    await broker.startup()
    for number in numbers:
        await job.kiq(number, seconds)
    await broker.shutdown()
