"""Which framework a command line is of, and what only looks like one."""

from __future__ import annotations

import ctypes
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import PRESETS
from unitq.cmdline.invocation import HEAD_MAX, scripts, shell_script
from unitq.config.scripts import heads
from unitq.presets.detect import framework_of

if TYPE_CHECKING:
    from pathlib import Path


def name(command: str, **files: str) -> str:
    found = framework_of(PRESETS, command, files)
    return found[0].name if found else ""


COMMANDS = [
    # php-resque
    ("/usr/bin/php vendor/bin/resque", "php-resque"),
    ("php8.2 bin/resque", "php-resque"),
    ("php -d memory_limit=256M bin/resque", "php-resque"),
    ("vendor/bin/resque", "php-resque"),
    ("/srv/shop/vendor/bin/resque", "php-resque"),
    ("/bin/bash -c 'php bin/resque; exit $$?'", "php-resque"),
    ("/bin/sh -c 'cd /srv && QUEUE=a php ./vendor/bin/resque >> log 2>&1'", "php-resque"),
    # Resque
    ("/usr/bin/env bundle exec rake resque:work", "resque"),
    ("bundle exec rake environment resque:work", "resque"),
    ("/usr/bin/env QUEUE=a TERM_CHILD=1 bundle exec rake resque:work", "resque"),
    ("rake -f lib/Rakefile resque:workers", "resque"),
    ("bin/resque work", "resque"),
    ("nice -n 10 rake resque:work", "resque"),
    # Sidekiq
    ("bundle exec sidekiq -C x.yml", "sidekiq"),
    ("/srv/shop/bin/sidekiq", "sidekiq"),
    ("-/usr/local/bin/sidekiq -e production", "sidekiq"),
    ("ruby -W0 bin/sidekiq", "sidekiq"),
    ("/usr/bin/env RAILS_ENV=production bundle exec sidekiq", "sidekiq"),
    ("bash -lc 'bundle exec sidekiq'", "sidekiq"),
    # RQ
    ("/usr/bin/rq worker default", "rq"),
    ("rq  worker", "rq"),
    ("/venv/bin/rq worker-pool -n 4", "rq"),
    ("/venv/bin/python -m rq worker", "rq"),
    ("python -u -m rq.cli worker a", "rq"),
    ("python -m django rqworker", "rq"),
    ("venv/bin/django-admin rqworker-pool a", "rq"),
    ("django-admin run_huey", "huey"),
    ("python -m django rundramatiq", "dramatiq"),
    ("/venv/bin/python3.11 /venv/bin/rq worker", "rq"),
    ("python manage.py rqworker high", "rq"),
    ("uv run rq worker", "rq"),
    ("sh -c 'exec rq worker'", "rq"),
    # Celery
    ("celery -A shop worker -l info", "celery"),
    ("/venv/bin/celery --app=shop worker", "celery"),
    ("celery --app shop --broker redis://h worker", "celery"),
    ("celery worker -A shop", "celery"),
    ("python -m celery -A shop worker", "celery"),
    ("poetry run celery -A shop worker", "celery"),
    ('"/venv/bin/celery" -A shop worker', "celery"),
    ("stdbuf -oL celery -A shop worker", "celery"),
    # Dramatiq
    ("dramatiq shop.tasks", "dramatiq"),
    ("/venv/bin/dramatiq-gevent shop.tasks", "dramatiq"),
    ("python -X dev -m dramatiq shop.tasks", "dramatiq"),
    ("python -W error -m dramatiq shop.tasks", "dramatiq"),
    ("python -Xdev -Werror -u -m dramatiq shop.tasks", "dramatiq"),
    ("python -X dev manage.py rundramatiq", "dramatiq"),
    ("python -W error manage.py rundramatiq", "dramatiq"),
    ("python -m dramatiq shop.tasks", "dramatiq"),
    ("python manage.py rundramatiq", "dramatiq"),
    # Huey
    ("huey_consumer shop.huey", "huey"),
    ("/venv/bin/huey_consumer.py shop.huey", "huey"),
    ("python -m huey.bin.huey_consumer shop.huey", "huey"),
    ("./manage.py run_huey", "huey"),
    # arq, saq, taskiq
    ("arq shop.WorkerSettings", "arq"),
    ("/venv/bin/arq --watch src shop.worker.WorkerSettings", "arq"),
    ("/venv/bin/arq -v shop.worker.WorkerSettings", "arq"),
    ("saq shop.settings", "saq"),
    ("saq --workers 2 shop.settings", "saq"),
    ("taskiq worker shop:broker", "taskiq"),
    ("python -m taskiq worker shop:broker", "taskiq"),
    # Laravel
    ("php artisan horizon", "horizon"),
    ("/usr/bin/php /srv/shop/artisan horizon", "horizon"),
    ("php artisan --env=prod horizon", "horizon"),
    ("/usr/bin/php artisan queue:work --tries=3", "laravel"),
    ("php '/app/artisan' queue:listen", "laravel"),
    ("./artisan queue:work", "laravel"),
    # Symfony
    ("php bin/console messenger:consume async", "symfony-messenger"),
    ("bin/console -e prod messenger:consume async", "symfony-messenger"),
    ("bin/console --env=prod messenger:consume async", "symfony-messenger"),
    # What only looks like one.
    ("/bin/worker", ""),
    ("php worker.php", ""),
    ("python worker.py --queue arq shop.WorkerSettings", ""),
    ("bin/darq serve", ""),
    ("arq", ""),
    ("arq --help", ""),
    ("/opt/arq/arq backup", ""),
    ("/usr/bin/saq 5", ""),
    ("saq /etc/saq.conf", ""),
    ("mysaq x.y", ""),
    ("huey --lights on", ""),
    ("/usr/bin/huey-bridge a.b", ""),
    ("node celery-dashboard.js", ""),
    ("celery -A shop beat", ""),
    ("celery -A worker beat", ""),
    ("celery -A shop flower", ""),
    ("celery multi start w1 -A shop", ""),
    ("celery -A shop inspect active --destination worker", ""),
    ("/opt/sidekiqish/run", ""),
    ("sidekiqmon stats", ""),
    ("echo sidekiq", ""),
    ("tail -f log/sidekiq", ""),
    ("php artisan schedule:work", ""),
    ("php artisan horizon:snapshot", ""),
    ("php artisan queue:restart", ""),
    ("php bin/console messenger:stop-workers", ""),
    ("rq info", ""),
    ("rq suspend", ""),
    ("/usr/bin/rqlite worker", ""),
    ("rake resque:scheduler", ""),
    ("ruby bin/resque-web", ""),
    ("resque list", ""),
    ("taskiq scheduler shop:scheduler", ""),
    ("dramatiq --version", ""),
    ("bash -c 'echo rq worker'", ""),
    ("bash -c \"unclosed", ""),
    ("python -m http.server", ""),
    ("env", ""),
    ("%h/bin/worker", ""),
]  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(COMMANDS) >= 90
    assert {found for _, found in COMMANDS if found} >= set(PRESETS) - {
        "bullmq",
        "node-resque",
        "none",
    }


@pytest.mark.parametrize(("command", "expected"), COMMANDS)
def test_a_command_line(command: str, expected: str) -> None:
    assert name(command) == expected


@pytest.mark.parametrize("preset", [preset for preset in PRESETS.values() if preset.command])
@pytest.mark.parametrize("shell", ["{}", '/bin/bash -c "exec {}"', "sh -c 'cd x && {}; true'"])
def test_every_example_is_recognised_also_below_a_shell(preset: object, shell: str) -> None:
    from unitq.presets.model import Preset

    assert isinstance(preset, Preset)
    if preset.recognise.command:
        assert name(shell.format(preset.command.replace("%%", "%"))) == preset.name


HEADS = [
    ("bin/w", "#!/venv/bin/python3\nimport sys\nfrom rq.cli import main\n", "worker x", "rq"),
    ("bin/w", "#!/venv/bin/python3\nfrom rq.cli import main\n", "info", ""),
    ("python w.py", "from redis import Redis\nfrom rq import Queue, Worker\n", "", "rq"),
    ("python w.py", "from rq import Queue\n", "", ""),
    ("python w.py", "# from rq import Worker\n", "", ""),
    ("python w.py", "from rq.worker import SimpleWorker\n", "", "rq"),
    ("python w.py", "app.worker_main(['worker'])\n", "", "celery"),
    ("bin/c", "from celery.__main__ import main\n", "-A shop worker", "celery"),
    ("bin/c", "from celery.__main__ import main\n", "-A shop beat", ""),
    ("python w.py", "from celery import Celery\napp = Celery()\n", "", ""),
    ("bin/d", "from dramatiq.__main__ import main\n", "shop.tasks", "dramatiq"),
    ("python w.py", "from huey.consumer import Consumer\n", "", "huey"),
    ("python w.py", "from huey import RedisHuey\n", "", ""),
    ("python w.py", "from arq import run_worker\n", "", "arq"),
    ("python w.py", "from arq import create_pool\n", "", ""),
    ("python w.py", "from saq import Queue, Worker\n", "", "saq"),
    ("bin/t", "from taskiq.__main__ import main\n", "worker a:b", "taskiq"),
    ("bin/t", "from taskiq.__main__ import main\n", "scheduler a:b", ""),
    ("php w.php", "<?php\n$worker = new Resque_Worker($queues);\n", "", "php-resque"),
    ("php w.php", "<?php\n$worker = new \\ResqueWorker($queues);\n", "", "php-resque"),
    ("php w.php", "<?php\nResque::enqueue('q', 'Job');\n", "", ""),
    ("bin/run", "#!/usr/bin/env php\n<?php\nnew Resque_Worker([]);", "", "php-resque"),
    ("bin/resque", "#!/usr/bin/env php\n<?php\n", "", "php-resque"),
    ("bin/resque", "#!/usr/bin/env ruby\n", "", ""),
    ("ruby w.rb", "worker = Resque::Worker.new('*')\n", "", "resque"),
    ("ruby w.rb", "Resque.enqueue(Job)\n", "", ""),
    ("bin/sk", "#!/usr/bin/env ruby\nload Gem.bin_path('sidekiq', 'sidekiq')\n", "", "sidekiq"),
    ("ruby w.rb", "Sidekiq::CLI.instance.run\n", "", "sidekiq"),
    ("ruby w.rb", "class Job\n  include Sidekiq::Job\nend\n", "", ""),
    ("node w.js", "const { Worker } = require('bullmq');\nnew Worker('q', f);\n", "", "bullmq"),
    ("node w.mjs", 'import { Worker } from "bullmq";\nconst w = new Worker<T>("q");', "", "bullmq"),
    ("node w.js", 'const b = require("bullmq");\nnew b.Worker("q");\n', "", "bullmq"),
    ("node w.js", "const { Queue } = require('bullmq');\nnew Queue('q');\n", "", ""),
    ("node w.js", "const w = new Worker('./thread.js');\n", "", ""),
    ("node -r dotenv/config w.js", "require('bullmq'); new Worker('q');", "", "bullmq"),
    ("node w.js", "const nr = require('node-resque');\nnew nr.Worker({});\n", "", "node-resque"),
    ("nodejs w.js", "import { MultiWorker } from 'node-resque'; new MultiWorker({})", "",
     "node-resque"),
    ("node w.js", "import { Queue } from 'node-resque';\n", "", ""),
    # A shell's script, and what it starts.
    ("bash w.sh", "#!/bin/bash\ncd /srv\nbundle exec sidekiq\n", "", "sidekiq"),
    ("bin/w", "#!/bin/sh -e\nQUEUE=a php vendor/bin/resque\n", "", "php-resque"),
    ("bin/w", "#!/usr/bin/env bash\n# rq worker\nexec sleep 5\n", "", ""),
    ("bash w.sh", "while true; do php artisan queue:work \\\n  --once; done", "", "laravel"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "head", "arguments", "expected"), HEADS)
def test_the_head_of_a_script(command: str, head: str, arguments: str, expected: str) -> None:
    path = command.rsplit(maxsplit=1)[-1]
    assert name(f"{command} {arguments}", **{path: head}) == expected
    if expected:
        # Below a shell as well.
        assert name(f'bash -c "cd x; {command} {arguments}"', **{f"x/{path}": head}) == expected


WORKER_JS = "const { Worker } = require('bullmq'); new Worker('q', f);"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("npm run worker", "bullmq"),
        ("/usr/bin/npm run --silent worker", "bullmq"),
        ("yarn worker", "bullmq"),
        ("bash -c 'cd x && pnpm run worker'", "bullmq"),
        ("npm start", ""),
        ("npm run nosuch", ""),
        ("npm run", ""),
        ("npx worker", ""),
    ],
)
def test_a_script_of_npm(command: str, expected: str) -> None:
    package = '{"scripts": {"worker": "NODE_ENV=x node w.js", "start": "node web.js", "odd": 5}}'
    heads = {"package.json": package, "w.js": WORKER_JS, "web.js": "require('bullmq')"}
    assert name(command, **heads) == expected


@pytest.mark.parametrize("package", ["", "{", "[]", '{"scripts": []}', '{"scripts": {"x": 5}}'])
def test_a_package_file_that_says_nothing(package: str) -> None:
    assert name("npm run x", **{"package.json": package}) == ""


def test_it_says_what_gave_it_away() -> None:
    found = framework_of(PRESETS, "/venv/bin/celery -A shop worker -l info", {})
    assert found is not None
    assert found[1] == '"celery -A shop worker" in its command'
    found = framework_of(PRESETS, "php w.php", {"w.php": "new Resque_Worker()"})
    assert found is not None
    assert found[1] == "w.php says so"


def test_an_operators_own_comes_first() -> None:
    from unitq.presets.file import parse

    text = 'title = "X"\n[stop]\nsignal = "SIGTERM"\n[recognise]\ncommand = ["sidekiq"]'
    presets = {"acme": parse(text, name="acme", source="x"), **PRESETS}
    found = framework_of(presets, "bundle exec sidekiq", {})
    assert found is not None
    assert found[0].name == "acme"


def test_a_pattern_ends_with_a_word_whichever_of_its_ways_that_takes() -> None:
    from unitq.presets.file import parse

    text = "title = 'X'\n[stop]\nsignal = 'SIGTERM'\n[recognise]\ncommand = ['acme|acme-worker']"
    presets = {"acme": parse(text, name="acme", source="x")}
    assert framework_of(presets, "acme-worker --x", {})
    assert framework_of(presets, "acme", {})
    assert not framework_of(presets, "acme-work", {})


def test_no_command_line_takes_long() -> None:
    import time

    for words in ("-e", "--watch", "-A", "--app", "-x", "environment", "--burst", "-u x", "a.b"):
        for program in ("arq", "saq", "celery", "php bin/console", "artisan", "rake", "rq worker"):
            begun = time.monotonic()
            name(f"{program} {' '.join([words] * 2000)} ;")
            for preset in PRESETS.values():
                if preset.queues.given:
                    preset.queues.given.search(f"{program} {' '.join([words] * 300)} ;")
            assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("command", "head", "expected"),
    [
        ("bash w.sh", "php w.php\n", "w.sh"),
        ("bin/w", "#!/bin/sh\nphp w.php\n", "bin/w"),
        ("bin/w", "#!/bin/sh\ncd x\n  exec php w.php\n", ""),
        ("bin/w", "#!/bin/sh\ncd x && exec php w.php\n", ""),
        ("bin/w", "#!/bin/sh\nif [ -d x ]; then exec php w.php; fi\n", ""),
        ("bin/w", "#!/bin/sh\nbundle exec sidekiq\n", "bin/w"),
        ("bin/w", '#!/bin/sh\nexec "$@"\n', ""),
        ("bin/w", "#!/bin/sh\nexec bin/w\n", ""),
        ("env A=1 bin/w", "#!/bin/sh\nphp w.php\n", "bin/w"),
        ("bin/w", "#!/bin/sh\nexec 2>&1\nphp w.php\n", "bin/w"),
        ("bin/w", "#!/bin/sh\n# exec php\nphp w.php\n", "bin/w"),
        ("bin/w", "#!/usr/bin/php\n", ""),
        ("php w.php", "", ""),
        ("bash -c 'php w.php'", "", ""),
    ],
)
def test_a_shell_script_that_stays_above_the_worker(command: str, head: str, expected: str) -> None:
    assert shell_script(command, {command.rsplit(maxsplit=1)[-1]: head}) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("bin/outer", "bin/w"),
        ("bash -c 'exec bin/w'", "bin/w"),
        ("sh -c 'umask 2; exec bin/outer'", "bin/w"),
        ("bin/good", ""),
    ],
)
def test_a_script_behind_an_exec_stays_there_as_well(command: str, expected: str) -> None:
    heads = {
        "bin/outer": "#!/bin/sh\n. ./env\nexec bin/w\n",
        "bin/w": "#!/bin/bash\nbundle exec sidekiq\n",
        "bin/good": "#!/bin/sh\nexec bin/last\n",
        "bin/last": "#!/bin/sh\nexec bundle exec sidekiq\n",
    }
    assert shell_script(command, heads) == expected


def test_only_files_of_the_command_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.sh").write_text("#!/bin/bash\nphp inner.php\n")
    (tmp_path / "inner.php").write_text("<?php new Resque_Worker();")
    (tmp_path / "program").write_bytes(b"\x7fELF\0\0")
    found = heads("./w.sh", str(tmp_path))
    assert list(found) == ["./w.sh", "inner.php"]
    assert name("./w.sh", **found) == "php-resque"
    assert not heads("./program", str(tmp_path))
    assert not heads("./nosuch", str(tmp_path))
    assert not heads("program", str(tmp_path)), "systemd looks in its own path for a bare name"
    (tmp_path / "folder").mkdir()
    assert not heads("./folder", str(tmp_path))


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    assert not heads("php pipe", str(tmp_path))


def test_scripts() -> None:
    assert scripts("php -d a=b bin/x y z", {}) == ["bin/x"]
    assert scripts("python -m rq worker", {}) == []
    assert scripts("bash -c 'cd a; php b; ./c'", {}) == ["a/b", "a/c"]


@pytest.mark.parametrize(
    "text",
    ["\n", " ", "a ", "#!/bin/sh\n\n", "exec b\n", "'bullmq'new ", "(", "require "],
    ids=repr,
)
def test_a_script_that_was_written_to_be_slow_takes_no_time(text: str) -> None:
    head = (text * HEAD_MAX)[:HEAD_MAX]
    before = time.process_time()
    for command in ("/bin/sh bin/x", "php bin/x", "python3 bin/x", "node bin/x", "bin/x"):
        name(command, **{"bin/x": head})
        shell_script(command, {"bin/x": head})
    assert time.process_time() - before < 5


def test_what_is_no_regular_file_is_not_even_opened(tmp_path: Path) -> None:
    """To open a device can be an order: a watchdog that nobody feeds resets the machine."""
    os.mkfifo(tmp_path / "device")
    (tmp_path / "worker").symlink_to("device")
    opened = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK)
    try:
        path = os.fsencode(tmp_path / "device")
        assert ctypes.CDLL(None).inotify_add_watch(opened, path, 0x20) >= 0  # IN_OPEN
        assert heads("/usr/bin/php worker", str(tmp_path)) == {}
        with pytest.raises(BlockingIOError):
            os.read(opened, 4096)
    finally:
        os.close(opened)


def test_what_the_kernel_makes_up_is_no_script() -> None:
    """To read /proc/kmsg would take the lines that others wait for, and may have none."""
    assert heads("/proc/kmsg", "/") == {}
    assert heads("/bin/sh version", "/proc") == {}
