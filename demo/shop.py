"""The shop of the demo: releases with a text each, the symlink `current`, and unitq.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

WORKER_SOURCE = Path(__file__).resolve().parents[1] / "tests" / "workers" / "resque.php"

# As in the incident: bash is asked for more than one command, so it stays as php's parent.
COMMAND = "php resque.php; exit $?"

USER = "www-data"

INSTANCES = 4
MAX_UNAVAILABLE = 1
MIN_HEALTHY = 0.5  # seconds; the default of 10 would make the demo a long one

_CONFIG = """\
app = "{app}"
user = "{user}"
directory = "{root}/current"        # a symlink to the release

[rollout]
max_unavailable = {max_unavailable}
min_healthy = "{min_healthy:.0f}ms"            # short, for the demo

[workers.sms]
preset = "php-resque"
command = "bash -c '{command}'"
queues = ["sms"]
instances = {instances}
stop_timeout = "1min"
environment = {{ REDIS_BACKEND = "{redis}" }}
"""


class Shop:
    """A directory as a deployment tool leaves it: releases/N, and `current`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.number = 0
        root.mkdir(parents=True)

    @property
    def current(self) -> Path:
        """The symlink that the workers' directory is."""
        return self.root / "current"

    @property
    def text(self) -> str:
        """What the current release sends."""
        return f"Text {self.number}: your parcel is on its way"

    def release(self) -> Path:
        """Lay out the next release, and move `current` to it."""
        self.number += 1
        release = self.root / "releases" / str(self.number)
        release.mkdir(parents=True)
        shutil.copy(WORKER_SOURCE, release / "resque.php")
        (release / "template.php").write_text(f"<?php\nreturn '{self.text}';\n")
        # Atomically, as `ln -sfn` and `mv -T` do.
        link = self.root / "current.new"
        link.symlink_to(release)
        link.rename(self.current)
        return release

    def configure(self, app: str, redis: str) -> str:
        """Write unitq.toml, and return it."""
        text = _CONFIG.format(
            app=app,
            user=USER,
            root=self.root,
            max_unavailable=MAX_UNAVAILABLE,
            min_healthy=MIN_HEALTHY * 1000,
            command=COMMAND,
            instances=INSTANCES,
            redis=redis,
        )
        (self.root / "unitq.toml").write_text(text)
        return text
