"""Accounts that deploy by a grant, and a unitq that is installed as root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import REPO, Result, Running, Scope, _Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.systemd.conftest import Site

GROUP = "deployers"
OTHERS = "operators"
ACCOUNTS = {"alice": (GROUP,), "bob": (GROUP,), "mallory": (), "olga": (OTHERS,)}
INSTALLED = Path("/opt/unitq-test")
SYSTEM = Scope("system")


@pytest.fixture(scope="session")
def installed() -> Path:
    """The interpreter of a unitq that root has installed, as `pipx install --global` would."""
    if not INSTALLED.exists():
        shutil.copytree(REPO / ".venv", INSTALLED, symlinks=True)
        (packages,) = INSTALLED.glob("lib/python3*/site-packages")
        shutil.rmtree(packages / "unitq", ignore_errors=True)
        for path in packages.glob("*unitq*.pth"):
            path.unlink()
        shutil.copytree(REPO / "unitq", packages / "unitq")
        for name in ("units", "presets"):
            shutil.copytree(REPO / name, packages / "unitq" / "data" / name)
        for command in (("chown", "-R", "-h", "0:0"), ("chmod", "-R", "go+rX,go-w")):
            subprocess.run([*command, INSTALLED], check=True, timeout=60)
    return INSTALLED / "bin" / Path(sys.executable).name


@dataclass
class Grants:
    """An app that root has configured in /etc/unitq, and those who may deploy it, or not."""

    site: Site
    python: Path

    @property
    def config(self) -> Path:
        """The only configuration that a granted deploy reads."""
        return Path("/etc/unitq") / f"{self.site.app}.toml"

    def configure(self, command: str, **more: object) -> None:
        """Writes it, with a worker `sms` of two instances."""
        sms = {"command": command, "instances": 2, **more}
        self.site.config(workers={"sms": sms})
        self.place()

    def place(self) -> None:
        """Puts what the site has written there."""
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(self.site.toml.read_text())
        self.config.chmod(0o644)

    def root(self, *arguments: str) -> Result:
        """Runs the installed unitq as root."""
        return SYSTEM.run(str(self.python), "-I", "-m", "unitq", *arguments)

    def install(self, group: str = GROUP) -> None:
        """Grants the app to the group."""
        done = self.root("grant", "--group", group, "-a", self.site.app, "--install")
        assert done.code == 0, done

    def start(
        self,
        account: str,
        *arguments: str,
        cwd: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
        groups: Sequence[str] = ("--init-groups",),
    ) -> Running:
        """Runs the installed unitq as an account, in the background."""
        argv = (str(self.python), "-I", "-m", "unitq", *arguments)
        running = as_account(account, *argv, cwd=cwd, environment=environment, groups=groups)
        self.site._background.append(running)
        self.site._commands.append(_Command(arguments, running, self.site._configured()))
        return running

    def run(self, account: str, *arguments: str, **more: object) -> Result:
        """The same, to its end. The app is named by -a."""
        return self.start(account, "-a", self.site.app, *arguments, **more).wait()  # type: ignore[arg-type]

    def unit(self, verb: str, account: str, app: str = "") -> str:
        """The unit that does it for an account."""
        return f"unitq-{verb}@{app or self.site.app}:{account}.service"

    def state(self, unit: str) -> dict[str, str]:
        """What systemd says of a unit."""
        wanted = "ActiveState,InvocationID,MainPID,LoadState,CPUQuotaPerSecUSec,Environment"
        shown = SYSTEM.systemctl("show", f"--property={wanted}", unit).stdout
        return dict(line.partition("=")[::2] for line in shown.splitlines())


def as_account(
    account: str,
    *argv: str,
    cwd: Path = Path("/"),
    environment: Mapping[str, str] | None = None,
    groups: Sequence[str] = ("--init-groups",),
) -> Running:
    """Runs any command as an account, with nothing of root's environment."""
    become = ("setpriv", f"--reuid={account}", f"--regid={account}", *groups, "--")
    base = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/",
        "USER": account,
    }
    return Running((*become, *argv), cwd, base | dict(environment or {}))


@pytest.fixture(scope="session")
def accounts() -> None:
    """Members and others."""
    for group in (GROUP, OTHERS):
        subprocess.run(["groupadd", "--force", group], check=True, timeout=30)
    for account, groups in ACCOUNTS.items():
        command = ["useradd", "--create-home", "--groups", ",".join(groups), account]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode in (0, 9), done.stderr  # 9: it is there already


@pytest.fixture
def make_grants(
    installed: Path, accounts: None, make_site: Callable[..., Site]
) -> Iterator[Callable[[], Grants]]:
    """Makes apps that can be granted. All grants are revoked after the test."""
    made: list[Grants] = []

    def make() -> Grants:
        made.append(Grants(make_site(SYSTEM), installed))
        made[-1].configure(made[-1].site.odd("steady"))
        return made[-1]

    yield make
    for one in made:
        done = one.root("grant", "--revoke")
        for path in Path("/run/unitq/granted").glob(f"*@{one.site.app}:*"):
            SYSTEM.systemctl("stop", path.name, check=False)
            SYSTEM.systemctl("reset-failed", path.name, check=False)
        one.config.unlink(missing_ok=True)
        assert done.code == 0, done


@pytest.fixture
def grants(make_grants: Callable[[], Grants]) -> Grants:
    """An app that is granted to the group of alice and bob."""
    one = make_grants()
    one.install()
    return one
