from job import QUEUE, REDIS
from redis import Redis
from rq import Queue


def enqueue(numbers: list[str], seconds: float) -> None:
    queue = Queue(QUEUE, connection=Redis.from_url(REDIS))
    for number in numbers:
        queue.enqueue("job.work", number, seconds, job_id=f"{QUEUE}-{number}")
