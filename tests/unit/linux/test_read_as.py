"""What root reads for whom. Needs root, as it makes files of others."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unitq.linux.read_as import UnreadableError, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other accounts")

DEPLOY = pwd.getpwnam("daemon")
OTHER = pwd.getpwnam("www-data")
MOST = 1 << 16
CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")
SECRET = "PASSWORD=of-another-app"


@pytest.fixture
def srv() -> Iterator[Path]:
    """A directory whose whole way is root's, as /srv."""
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="unitq-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def give(path: Path, account: pwd.struct_passwd, mode: int | None = None) -> Path:
    os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    if mode is not None:
        path.chmod(mode)
    return path


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def shared(srv: Path) -> Path:
    """The directory of the account that deploys."""
    (srv / "shared").mkdir()
    return give(srv / "shared", DEPLOY, 0o755)


@pytest.fixture
def secret(srv: Path) -> Path:
    return written(srv / "secret.env", SECRET)


# What works, as people have it


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_deploy_users_own_file_in_the_deploy_users_directory(shared: Path, mode: int) -> None:
    give(written(shared / ".env", "A=1"), DEPLOY, mode)
    assert read(shared / ".env", MOST) == b"A=1"


def test_through_the_deploy_users_links(shared: Path) -> None:
    give(written(shared / ".env", "A=1"), DEPLOY, 0o600)
    (shared / "releases" / "1").mkdir(parents=True)
    (shared / "releases" / "1" / ".env").symlink_to("../../.env")
    (shared / "current").symlink_to("releases/1")
    for path in (shared / "releases" / "1" / ".env", shared / "current"):
        give(path, DEPLOY)
    for path in (shared / "releases", shared / "releases" / "1"):
        give(path, DEPLOY)
    assert read(shared / "current" / ".env", MOST) == b"A=1"


def test_roots_file_in_roots_directory(secret: Path) -> None:
    assert read(secret, MOST) == SECRET.encode()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_anothers_file_in_roots_directory(srv: Path, mode: int) -> None:
    # Root put the path there; what the file says is its owner's business.
    (srv / "closed").mkdir(mode=0o700)
    give(written(srv / "closed" / "f", "A=1"), DEPLOY, mode)
    assert read(srv / "closed" / "f", MOST) == b"A=1"


def test_the_workers_file_that_the_deploy_users_group_may_read(shared: Path) -> None:
    path = written(shared / ".env", "A=1", 0o640)
    os.chown(path, OTHER.pw_uid, DEPLOY.pw_gid)
    assert read(path, MOST) == b"A=1"


def test_with_an_account_of_its_own_group(shared: Path) -> None:
    # A umask of 002: the group may write, and is the account's own.
    give(written(shared / ".env", "A=1"), DEPLOY, 0o660)
    shared.chmod(0o775)
    assert read(shared / ".env", MOST) == b"A=1"


def test_a_working_directory_that_is_gone(srv: Path, shared: Path, secret: Path) -> None:
    (srv / "gone").mkdir()
    script = (
        "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
        "from unitq.linux.read_as import read; print(read(sys.argv[2], 99).decode())"
    )
    command = [sys.executable, "-c", script, str(srv / "gone"), str(secret)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout == f"{SECRET}\n", done.stderr


# What gives nothing away


def _link(shared: Path, secret: Path) -> None:
    give_link(shared / ".env", secret)


def _chain(shared: Path, secret: Path) -> None:
    give_link(shared / "a", secret.parent)
    give_link(shared / ".env", Path("a") / secret.name)


def _hard_link(shared: Path, secret: Path) -> None:
    os.link(secret, shared / ".env")


def _directory_link(shared: Path, secret: Path) -> None:
    (shared / "real").mkdir()
    give_link(shared / ".env", Path(f"real/../../{secret.name}"))


def _moved(shared: Path, secret: Path) -> None:
    secret.rename(shared / ".env")


def _root_made_the_link(shared: Path, secret: Path) -> None:
    give_link(shared / "a", secret)
    (shared / ".env").symlink_to(shared / "a")


def _environ(shared: Path, secret: Path) -> None:
    give_link(shared / ".env", Path("/proc/self/environ"))


def _shadow(shared: Path, secret: Path) -> None:
    give_link(shared / ".env", Path("/etc/shadow"))


def give_link(path: Path, target: Path) -> None:
    path.symlink_to(target)
    give(path, DEPLOY)


@pytest.mark.parametrize(
    "attack",
    [
        _link,
        _chain,
        _hard_link,
        _directory_link,
        _moved,
        _root_made_the_link,
        _environ,
        _shadow,
    ],
)
def test_what_the_deploy_user_may_not_read_is_not_read(
    shared: Path, secret: Path, attack: Callable[[Path, Path], None]
) -> None:
    attack(shared, secret)
    with pytest.raises(UnreadableError) as refused:
        read(shared / ".env", MOST)
    assert refused.value.denied
    assert f"{DEPLOY.pw_name} decides what this path leads to" in refused.value.reason
    assert SECRET not in f"{refused.value.reason} {refused.value.hint}"


def test_a_file_that_only_a_closed_directory_hides(shared: Path, srv: Path) -> None:
    (srv / "closed").mkdir(mode=0o700)
    written(srv / "closed" / "f", SECRET, 0o644)
    give_link(shared / ".env", srv / "closed" / "f")
    with pytest.raises(UnreadableError, match="may not read it") as refused:
        read(shared / ".env", MOST)
    # chown(1) would follow the account's link, and give it what it leads to.
    assert "chown" not in refused.value.hint


def test_several_accounts_are_refused(shared: Path, srv: Path) -> None:
    (srv / "his").mkdir()
    give(srv / "his", OTHER)
    give(written(srv / "his" / "f", "A=1"), OTHER, 0o644)
    give_link(shared / ".env", srv / "his" / "f")
    with pytest.raises(UnreadableError, match="daemon and www-data both decide") as refused:
        read(shared / ".env", MOST)
    assert "one account" in refused.value.hint


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_directory_that_others_may_write_is_refused(shared: Path, mode: int) -> None:
    give(written(shared / ".env", "A=1"), DEPLOY, 0o600)
    os.chown(shared, DEPLOY.pw_uid, OTHER.pw_gid)
    shared.chmod(mode)
    with pytest.raises(UnreadableError, match="others than its owner may write") as refused:
        read(shared / ".env", MOST)
    assert refused.value.hint == f"chmod go-w {shared}"


def test_an_access_list_is_no_group_of_its_own(shared: Path) -> None:
    give(written(shared / ".env", "A=1"), DEPLOY, 0o600)
    shared.chmod(0o775)
    # acl(5): user::rwx, user:www-data:rwx, group::rwx, mask::rwx, other::r-x
    entries = [(1, 7, -1), (2, 7, OTHER.pw_uid), (4, 7, -1), (16, 7, -1), (32, 5, -1)]
    value = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + may.to_bytes(2, "little") + (who % 2**32).to_bytes(4, "little")
        for tag, may, who in entries
    )
    try:
        os.setxattr(shared, "system.posix_acl_access", value)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    with pytest.raises(UnreadableError, match="others than its owner may write"):
        read(shared / ".env", MOST)


def test_a_second_name_in_a_directory_of_all_is_refused(srv: Path, secret: Path) -> None:
    (srv / "tmp").mkdir()
    (srv / "tmp").chmod(0o1777)
    os.link(secret, srv / "tmp" / "f")
    with pytest.raises(UnreadableError, match="second name"):
        read(srv / "tmp" / "f", MOST)


# What has no end


@pytest.mark.parametrize("whose", ["root", "deploy"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "zero", "directory", "tty"])
def test_what_is_no_file_is_no_trap(srv: Path, shared: Path, whose: str, kind: str) -> None:
    path = (srv if whose == "root" else shared) / "f"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(f"/dev/{kind}")
    if whose == "deploy":
        give(path, DEPLOY)
    with pytest.raises(UnreadableError, match=r"not a file|No such device"):
        read(path, MOST)


@pytest.mark.parametrize("whose", ["root", "deploy"])
def test_too_much_is_said(srv: Path, shared: Path, whose: str) -> None:
    path = (srv if whose == "root" else shared) / "f"
    path.write_bytes(b"x" * (MOST + 1))
    give(path, DEPLOY)
    with pytest.raises(UnreadableError, match=f"larger than {MOST} bytes"):
        read(path, MOST)
    path.write_bytes(b"x" * MOST)
    assert len(read(path, MOST)) == MOST


@pytest.mark.parametrize("path", ["/nowhere/f", "/etc/passwd/f", "/etc/pass\0wd", "/" + "x" * 9999])
def test_paths_that_lead_nowhere(path: str) -> None:
    with pytest.raises(UnreadableError):
        read(path, MOST)


def test_nothing_stays_open_and_nobody_is_left(shared: Path) -> None:
    give(written(shared / ".env", "A=1"), DEPLOY)
    before, children = sorted(os.listdir("/proc/self/fd")), CHILDREN.read_text()
    read(shared / ".env", MOST)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert CHILDREN.read_text() == children


def test_an_ordinary_user_reads_with_their_own_rights(srv: Path, secret: Path) -> None:
    given = give(written(srv / "f", "A=1"), DEPLOY, 0o600)
    script = (
        "import os, sys; os.setgroups([]); os.setgid(1); os.setuid(1)\n"
        "from unitq.linux.read_as import read, UnreadableError\n"
        "print(read(sys.argv[1], 99).decode())\n"
        "try: read(sys.argv[2], 99)\n"
        "except UnreadableError as error: print(error.reason, error.hint, error.denied)"
    )
    command = [sys.executable, "-c", script, str(given), str(secret)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout == "A=1\nPermission denied as root it can be read True\n", done.stderr
