import asyncio

from job import QUEUE, REDIS, work_async
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(url=REDIS, queue_name=QUEUE)


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
