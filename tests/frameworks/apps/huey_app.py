from huey import RedisHuey
from job import QUEUE, REDIS, work

huey = RedisHuey(QUEUE, url=REDIS)
job = huey.task(name="job")(work)


def enqueue(numbers: list[str], seconds: float) -> None:
    for number in numbers:
        job(number, seconds)
