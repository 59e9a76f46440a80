"""The wheel is a test: built from the sdist, installed into a clean environment, it renders."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_wheel_from_the_sdist_renders_in_a_clean_environment(tmp_path: Path) -> None:
    # sdist first, and the wheel from what is in it: that is what `build` does by default.
    run(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, REPOSITORY),
        cwd=REPOSITORY,
    )
    (wheel,) = tmp_path.glob("*.whl")
    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False)
    python = clean / "bin" / "python"
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path)
        .strip()
    )  # fmt: skip
    # The libraries that unitq needs, without building pystemd again; not the checkout: paths
    # that a .pth file adds are not searched for .pth files of their own.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"),
        wheel,
        cwd=tmp_path,
    )
    (tmp_path / "unitq.toml").write_text(
        'app = "shop"\ndirectory = "/srv/shop"\n[workers.sms]\ncommand = "php bin/resque"\n'
        '[workers.mail]\npreset = "celery"\ncommand = "celery -A shop worker"\n'
    )
    where = run(python, "-c", "import unitq; print(unitq.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(site)
    shown = run(clean / "bin" / "unitq", "render", cwd=tmp_path)
    assert "ExecStart=php bin/resque" in shown
    assert "KillSignal=SIGQUIT" in shown
    assert "KillSignal=SIGTERM\nTimeoutStopSec=10min\n" in shown
