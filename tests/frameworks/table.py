"""The frameworks that are proved: how each is started, given jobs, and what it promises.

`worker_table` is the one place that says how a worker is to be stopped.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.frameworks import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import redis

    from tests.frameworks.runs import Count, Run
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

REPO = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"
PYTHON = REPO / ".frameworks" / "python"
ARQ = REPO / ".frameworks" / "arq"
NODE = REPO / ".frameworks" / "node" / "node_modules"
PHP_WORKER = REPO / "tests" / "workers" / "resque.php"


class Promise(StrEnum):
    """What a framework promises for a job that is in hand when its worker is told to stop."""

    ONCE = "begun once, done once"
    AGAIN = "cancelled, then run again from its beginning: done once"


class Way(StrEnum):
    """How a worker is started."""

    DIRECT = "direct"
    SH = "sh"
    BASH = "bash"

    def around(self, command: str) -> str:
        """The command line with this shell, which stays between systemd and the worker."""
        if self is Way.DIRECT:
            return command
        # With nothing behind it bash, other than Debian's sh, would become the worker.
        more = "; exit $$?" if self is Way.BASH else ""
        return f'/bin/{self} -c "{command}{more}"'

    def handing_over(self, command: str) -> str:
        """The command line with this shell, which becomes the worker by `exec`."""
        return command if self is Way.DIRECT else f'/bin/{self} -c "exec {command}"'


@dataclass(frozen=True, kw_only=True)
class Framework:
    """One row of the table."""

    name: str
    title: str
    preset: str
    version: Callable[[], str]
    command: str
    """In systemd's syntax; {queue} and {redis} are filled in."""
    arguments: str = ""
    """What names the queue, where that is on the command line."""
    variable: bool = False
    """Whether a variable names it, which `queues` sets as well."""
    producer: tuple[str, ...]
    """A program that is given SECONDS FIRST COUNT; empty: this file puts jobs in."""
    promise: Promise = Promise.ONCE
    grace: bool = False
    """Whether its own settings give the job time to end, which $PROOF_GRACE says in seconds."""
    shell_refused: bool = False
    """Whether unitq refuses a shell that stays above it: a signal to all harms its jobs."""
    idle_hangs: bool = False
    """Whether it waits for one more job before it ends, and does that, too."""
    by_program: bool = False
    """Whether its own program says which queue it takes: `queues` tells it to unitq only."""
    parks: Callable[[redis.Redis, str], set[int]] | None = None
    """Finds the jobs of a queue that it was just fetching when it was told to stop.

    They are neither lost nor done: it puts them among the failed ones later.
    """
    stop_timeout: str | None = None
    """Instead of the preset's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False


def _python(name: str, folder: Path = PYTHON) -> Callable[[], str]:
    def version() -> str:
        asked = f"from importlib.metadata import version; print(version({name!r}))"
        return _printed(str(folder / "bin" / "python"), "-c", asked)

    return version


def _node(name: str) -> Callable[[], str]:
    return lambda: str(json.loads((NODE / name / "package.json").read_text())["version"])


def _printed(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def _enqueue(app: str, folder: Path = PYTHON) -> tuple[str, ...]:
    return (str(folder / "bin" / "python"), "enqueue.py", app)


def _stuck_in_rq(client: redis.Redis, queue: str) -> set[int]:
    """RQ's signal handler ends it between BLMOVE and the job's start (rq/worker/base.py)."""
    names = client.lrange(f"rq:queue:{queue}:intermediate", 0, -1)
    return {int(str(name).rpartition("-")[2]) for name in names}


_JS = {"NODE_PATH": str(NODE), "NODE_ENV": "production"}

FRAMEWORKS = (
    Framework(
        name="php-resque",
        title="php-resque's protocol (tests/workers/resque.php)",
        preset="php-resque",
        version=lambda: "PHP " + _printed("php", "-r", "echo PHP_VERSION;"),
        command=f"/usr/bin/php {PHP_WORKER}",
        producer=(),
        variable=True,
        environment={"INTERVAL": "0.05"},
        quick=True,
    ),
    Framework(
        name="rq",
        title="RQ",
        preset="rq",
        version=_python("rq"),
        command=f"{PYTHON}/bin/rq worker -u {{redis}}",
        arguments="{queue}",
        shell_refused=True,
        parks=_stuck_in_rq,
        producer=_enqueue("rq_app"),
        quick=True,
    ),
    Framework(
        name="celery",
        title="Celery, prefork",
        preset="celery",
        version=_python("celery"),
        command=f"{PYTHON}/bin/celery -A celery_app worker -c 1 -l INFO -n {{queue}}-%i@%%h",
        arguments="-Q {queue}",
        shell_refused=True,
        producer=_enqueue("celery_app"),
        quick=True,
    ),
    Framework(
        name="dramatiq",
        title="Dramatiq",
        preset="dramatiq",
        version=_python("dramatiq"),
        command=f"{PYTHON}/bin/dramatiq dramatiq_app -p 1 -t 1",
        arguments="-Q {queue}",
        shell_refused=True,
        producer=_enqueue("dramatiq_app"),
    ),
    Framework(
        name="huey",
        title="Huey, -k process",
        preset="huey",
        version=_python("huey"),
        command=f"{PYTHON}/bin/huey_consumer huey_app.huey -k process -w 1",
        producer=_enqueue("huey_app"),
    ),
    Framework(
        name="arq",
        title="arq, as it comes",
        preset="arq",
        version=_python("arq", ARQ),
        command=f"{ARQ}/bin/arq arq_app.WorkerSettings",
        by_program=True,
        producer=_enqueue("arq_app", ARQ),
        promise=Promise.AGAIN,
    ),
    Framework(
        name="arq-wait",
        title="arq, `job_completion_wait`",
        preset="arq",
        version=_python("arq", ARQ),
        command=f"{ARQ}/bin/arq arq_app.WorkerSettings",
        by_program=True,
        producer=_enqueue("arq_app", ARQ),
        grace=True,
    ),
    Framework(
        name="saq",
        title="saq, as it comes",
        preset="saq",
        version=_python("saq"),
        command=f"{PYTHON}/bin/saq saq_app.settings",
        by_program=True,
        producer=_enqueue("saq_app"),
        promise=Promise.AGAIN,
    ),
    Framework(
        name="saq-grace",
        title="saq, `shutdown_grace_period_s`",
        preset="saq",
        version=_python("saq"),
        command=f"{PYTHON}/bin/saq saq_app.settings",
        by_program=True,
        producer=_enqueue("saq_app"),
        grace=True,
    ),
    Framework(
        name="taskiq",
        title="taskiq, streams, `xread_count=1`",
        preset="taskiq",
        version=_python("taskiq"),
        command=f"{PYTHON}/bin/taskiq worker taskiq_app:broker --workers 1 --max-async-tasks 1",
        by_program=True,
        producer=_enqueue("taskiq_app"),
        idle_hangs=True,
        stop_timeout="30s",
    ),
    Framework(
        name="sidekiq",
        title="Sidekiq",
        preset="sidekiq",
        version=lambda: _printed("sidekiq", "--version").removeprefix("Sidekiq "),
        command="/usr/bin/sidekiq -r ./sidekiq_app.rb -c 1 -t 25",
        arguments="-q {queue}",
        producer=("ruby", "sidekiq_app.rb"),
        quick=True,
    ),
    Framework(
        name="bullmq",
        title="BullMQ, with a handler that closes the worker",
        preset="bullmq",
        version=_node("bullmq"),
        command="/usr/bin/node bullmq.js",
        by_program=True,
        producer=("node", "bullmq.js", "enqueue"),
        environment=_JS,
        quick=True,
    ),
    Framework(
        name="node-resque",
        title="node-resque, with a handler that ends the worker",
        preset="node-resque",
        version=_node("node-resque"),
        command="/usr/bin/node node_resque.js",
        producer=("node", "node_resque.js", "enqueue"),
        environment=_JS,
    ),
)


def worker_table(framework: Framework) -> dict[str, Any]:
    """The settings of a worker of this framework: what its preset makes of them is proved."""
    return {"preset": framework.preset, "stop_timeout": framework.stop_timeout}


@dataclass
class Worker:
    """One worker in unitq.toml, with a queue of its own, and the jobs it was given."""

    framework: Framework
    way: Way
    site: Site
    redis: RedisServer
    grace: int
    jobs: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the worker and of its queue."""
        return str(self.way)

    @property
    def table(self) -> dict[str, Any]:
        """Its table in unitq.toml. Where a shell has to hand over, it does."""
        framework = self.framework
        alone = self.way is Way.DIRECT
        # Arguments cannot be put behind a shell's: there the command names the queue itself.
        by_key = framework.variable or framework.by_program or (framework.arguments and alone)
        command = self.command if alone or framework.variable else self.whole_command
        around = self.way.handing_over if framework.shell_refused else self.way.around
        return {
            **worker_table(framework),
            "command": around(command),
            "queues": [self.name] if by_key else None,
            "environment": self.environment,
        }

    @property
    def command(self) -> str:
        """The framework's own command line, without its queue."""
        return self.framework.command.format(queue=self.name, redis=self.redis.url)

    @property
    def whole_command(self) -> str:
        """The same with the arguments that name the queue."""
        arguments = self.framework.arguments.format(queue=self.name)
        return f"{self.command} {arguments}".strip()

    @property
    def endings(self) -> set[str]:
        """How unitq may say that an instance ended that was not killed.

        A shell that stays gets the signal as well, and may die of it.
        """
        stays = self.way is not Way.DIRECT and not self.framework.shell_refused
        return {"drained", "died"} if stays else {"drained"}

    @property
    def environment(self) -> dict[str, str]:
        """What the worker's and the producer's programs read; see apps/job.py."""
        if not self.framework.producer:
            own = {"REDIS_BACKEND": self.redis.address}
        else:
            own = {
                "PROOF_QUEUE": self.name,
                "PROOF_REDIS": self.redis.url,
                "PROOF_LINES": str(self._lines),
            }
            if self.framework.grace:
                own["PROOF_GRACE"] = str(self.grace)
        return {**self.framework.environment, **own}

    @property
    def _lines(self) -> Path:
        return self.site.out / f"lines-{self.name}"

    def enqueue(self, number: int, seconds: float) -> list[int]:
        """Put so many jobs into its queue; returns their numbers."""
        first = len(self.jobs)
        added = list(range(first, first + number))
        self.jobs += added
        if self.framework.producer:
            argv = (*self.framework.producer, str(seconds), str(first), str(number))
            done = self.site.scope.run(
                *argv, cwd=self.site.current, environment=self.environment, timeout=90
            )
            assert done.code == 0, f"{argv}: {done}"
        else:
            self._enqueue_for_resque(added, seconds)
        return added

    def _enqueue_for_resque(self, numbers: Sequence[int], seconds: float) -> None:
        with self.redis.client.pipeline() as pipe:
            pipe.sadd("resque:queues", self.name)
            for number in numbers:
                identity = f"{self.name}-{number}"
                argument = {"id": identity, "seconds": seconds}
                job = {"class": "SendSms", "args": [argument], "id": identity}
                pipe.rpush(f"resque:queue:{self.name}", json.dumps(job))
            pipe.execute()

    def runs(self) -> tuple[Run, ...]:
        """What its jobs wrote down so far."""
        if self.framework.producer:
            return runs.runs(runs.of_file(self._lines))
        return runs.runs(runs.of_resque(self.redis.client, self.name))

    def count(self) -> Count:
        """How often each of its jobs was begun and done."""
        return runs.count(self.jobs, self.runs())

    def parked(self) -> set[int]:
        """Which of its jobs its framework has put aside; see Framework.parks."""
        parks = self.framework.parks
        return parks(self.redis.client, self.name) if parks else set()

    def missing(self) -> set[int]:
        """Which of its jobs are neither done nor put aside."""
        return set(self.count().never_done) - self.parked()
