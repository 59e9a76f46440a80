"""unitq takeover of other frameworks than php-resque, from a real supervisord: no job is harmed.

The jobs themselves write down that they begin and that they are done; see runs.py. Under Supervisor
they have no invocation of systemd's, so who has run a job is told by that.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.frameworks import runs
from tests.frameworks.conftest import READY
from tests.frameworks.table import APPS, FRAMEWORKS, Framework, Way, Worker
from tests.harness import leftovers
from tests.systemd.conftest import wait_until
from tests.systemd.supervisor.test_takeover import MAIN, Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.frameworks

# As most have it, and as it loses jobs at each restart: SIGTERM, and SIGKILL after ten seconds.
PROGRAM = """\
[program:{name}]
command={command}
process_name=%(program_name)s_%(process_num)02d
numprocs=2
numprocs_start=1
directory={current}
user=www-data
environment={environment}
startsecs=1
autorestart=true
"""
NOBODY = "-"  # in the place of systemd's invocation
SHORT = 0.3  # seconds


@pytest.fixture
def host(system_site: Site, redis: RedisServer) -> Iterator[Host]:
    """A supervisord's files but for the program; it is ended afterwards."""
    made = Host(system_site, redis)
    made.folder.mkdir()
    for number in (1, 2):
        shutil.copytree(APPS, system_site.release(number), dirs_exist_ok=True)
    made.conf.write_text(
        MAIN.format(
            home=system_site.home, mark=leftovers.MARK, app=system_site.app, redis=redis.address
        )
    )
    try:
        yield made
    finally:
        made.stop()
        made.clear()


def under_supervisor(worker: Worker) -> str:
    """The framework's command line in Supervisor's syntax."""
    return worker.whole_command.replace("%i", "%(process_num)d")


@pytest.mark.parametrize(
    "framework",
    [
        pytest.param(each, id=each.name, marks=[pytest.mark.quick] if each.name == "rq" else [])
        for each in FRAMEWORKS
        if each.name in ("rq", "celery")
    ],
)
def test_no_job_is_lost_and_none_run_twice(framework: Framework, host: Host) -> None:
    site = host.site
    worker = Worker(framework, Way.DIRECT, site, host.redis, grace=25)
    (host.folder / "app.conf").write_text(
        PROGRAM.format(
            name=worker.name,
            command=under_supervisor(worker),
            current=site.current,
            environment=",".join(f'{key}="{value}"' for key, value in worker.environment.items()),
        )
    )
    host.start()
    host.running(2)
    done = site.unitq("-a", site.app, "import", str(host.conf), "-o", "unitq.toml")
    assert done.code == 0, str(done)
    assert f'preset = "{framework.preset}"' in site.toml.read_text()

    # One for each process, and what they go on with; more than they can do meanwhile.
    worker.enqueue(2, 6.0)
    wait_until(lambda: len(worker.runs()) == 2, READY, "both work")
    worker.enqueue(30, SHORT)
    done = site.unitq("takeover", str(host.conf), "--yes", "--max-unavailable", "2", timeout=300)
    assert done.code == 0, str(done)
    worker.enqueue(10, SHORT)
    wait_until(lambda: not worker.missing(), READY, "all are done", interval=0.2)

    parked = worker.parked()
    found = worker.runs()
    assert not parked & {run.job for run in found}
    count = runs.count(set(worker.jobs) - parked, found)
    assert count.once, f"{count}\n{done}"
    # Those in hand were finished under Supervisor, in their time, and units have done the last.
    long = [run for run in found if run.job < 2]
    assert {run.start for run in long} == {NOBODY}
    assert min(run.seconds for run in long) >= 5.9
    assert all(run.start != NOBODY for run in found if run.job >= 32)
    assert set(host.states().values()) <= {"STOPPED", "EXITED"}
    assert site.active(worker.name) == 2
