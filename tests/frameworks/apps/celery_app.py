from celery import Celery
from job import QUEUE, REDIS, work

app = Celery("celery_app", broker=REDIS)
app.conf.task_default_queue = QUEUE
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True

job = app.task(name="job")(work)


def enqueue(numbers: list[str], seconds: float) -> None:
    for number in numbers:
        job.apply_async((number, seconds), task_id=f"{QUEUE}-{number}")
