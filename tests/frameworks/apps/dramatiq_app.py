import dramatiq
from dramatiq.brokers.redis import RedisBroker
from job import QUEUE, REDIS, work

broker = RedisBroker(url=REDIS)
dramatiq.set_broker(broker)
job = dramatiq.actor(work, actor_name="job", queue_name=QUEUE)


def enqueue(numbers: list[str], seconds: float) -> None:
    for number in numbers:
        job.send(number, seconds)
