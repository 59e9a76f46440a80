"""What git says of a checkout, and that a repository makes nobody run anything. Needs root."""

from __future__ import annotations

import os
import pty
import pwd
import select
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from unitq.linux import confined
from unitq.revisions import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other accounts")

DEPLOY = pwd.getpwnam("daemon")
OTHER = pwd.getpwnam("www-data")


@pytest.fixture
def srv() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="unitq-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_user(account: pwd.struct_passwd | None, *command: str, cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        user=account.pw_uid if account else 0,
        group=account.pw_gid if account else 0,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(folder: Path, account: pwd.struct_passwd | None) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    as_user(account, "git", "add", ".", cwd=folder)
    as_user(account, "git", *who, "commit", "-qm", "x", cwd=folder)
    return as_user(account, "git", "rev-parse", "HEAD", cwd=folder).strip()


def checkout(folder: Path, account: pwd.struct_passwd | None = DEPLOY) -> Path:
    folder.mkdir()
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    as_user(account, "git", "init", "-q", ".", cwd=folder)
    written(folder / "app.php", "1", account)
    commit(folder, account)
    return folder


def written(path: Path, text: str, account: pwd.struct_passwd | None = DEPLOY) -> None:
    path.write_text(text)
    if account:
        os.chown(path, account.pw_uid, account.pw_gid)


def told(folder: Path) -> tuple[str | None, bool]:
    found = git.find(folder)
    assert found
    return git.head(found), git.clean(found)


# What it says


@pytest.mark.parametrize("account", [None, DEPLOY])
def test_head_and_changes(srv: Path, account: pwd.struct_passwd | None) -> None:
    folder = checkout(srv / "app", account)
    head = as_user(account, "git", "rev-parse", "HEAD", cwd=folder).strip()
    assert told(folder) == (head, True)
    (folder / "sub").mkdir()
    written(folder / "sub" / "new", "x", account)
    assert told(folder / "sub") == (head, False)
    assert commit(folder, account) != head
    assert told(folder)[1]
    # As long as before, and with the time of before: the content decides.
    was = (folder / "app.php").stat()
    written(folder / "app.php", "2", account)
    os.utime(folder / "app.php", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert not told(folder)[1]


def test_no_checkout_and_no_commit(srv: Path) -> None:
    assert git.find(srv) is None
    as_user(None, "git", "init", "-q", ".", cwd=srv)
    assert told(srv)[0] is None


def test_what_changes_in_a_submodule_counts(srv: Path) -> None:
    inner, outer = checkout(srv / "inner"), checkout(srv / "outer")
    allow = ("-c", "protocol.file.allow=always")
    as_user(DEPLOY, "git", *allow, "submodule", "add", "-q", str(inner), "lib", cwd=outer)
    commit(outer, DEPLOY)
    assert told(outer)[1]
    written(outer / "lib" / "app.php", "2")
    assert not told(outer)[1]
    written(outer / "lib" / "app.php", "1")
    assert told(outer)[1]
    written(outer / "lib" / "more", "x")
    assert not told(outer)[1]
    commit(outer / "lib", DEPLOY)
    assert not told(outer)[1]


def test_a_worktree(srv: Path) -> None:
    for account, name in ((DEPLOY, "a"), (None, "b")):
        folder = checkout(srv / name, account)
        if account:
            (srv / "trees").mkdir()
            os.chown(srv / "trees", account.pw_uid, account.pw_gid)
        place = srv / "trees" / name if account else srv / "tree"
        as_user(account, "git", "worktree", "add", "-q", str(place), cwd=folder)
        assert told(place) == told(folder)
        assert told(place)[1]


# What it gives nobody

RAN = "#!/bin/sh\nid -u >> {ran}\ncat 2>/dev/null\n"


@pytest.fixture
def ran(srv: Path) -> Path:
    """A file that says by whom the attacker's program was run."""
    place = srv / "ran"
    place.touch()
    place.chmod(0o666)
    return place


@pytest.fixture
def program(srv: Path, ran: Path) -> Path:
    path = srv / "program"
    path.write_text(RAN.format(ran=ran))
    path.chmod(0o755)
    return path


def config(folder: Path, account: pwd.struct_passwd | None, name: str, value: object) -> None:
    as_user(account, "git", "config", name, str(value), cwd=folder)


def racy(folder: Path, account: pwd.struct_passwd | None = DEPLOY) -> None:
    """Git must look into the file: it is as long, but its time differs."""
    written(folder / "app.php", "2", account)
    os.utime(folder / "app.php", (1, 1))


def _clean_filter(folder: Path, program: Path) -> None:
    written(folder / ".gitattributes", "* filter=x\n")
    config(folder, DEPLOY, "filter.x.clean", program)
    config(folder, DEPLOY, "filter.x.required", "true")


def _process_filter(folder: Path, program: Path) -> None:
    written(folder / ".gitattributes", "* filter=a.b\n")
    config(folder, DEPLOY, "filter.a.b.process", program)


def _filter_with_an_odd_name(folder: Path, program: Path) -> None:
    written(folder / ".gitattributes", "* filter=a=b\n")
    config(folder, DEPLOY, "filter.a=b.clean", program)


def _included_filter(folder: Path, program: Path) -> None:
    written(folder / ".gitattributes", "* filter=x\n")
    written(folder / "more", f'[filter "x"]\n\tclean = {program}\n')
    config(folder, DEPLOY, "include.path", folder / "more")


def _monitor(folder: Path, program: Path) -> None:
    config(folder, DEPLOY, "core.fsmonitor", program)


def _hooks(folder: Path, program: Path) -> None:
    config(folder, DEPLOY, "core.hooksPath", folder / "hooks")
    (folder / "hooks").mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (folder / "hooks" / name).symlink_to(program)


def _alias(folder: Path, program: Path) -> None:
    for name in ("status", "rev-parse", "ls-files", "config"):
        config(folder, DEPLOY, f"alias.{name}", f"!{program}")


def _submodule(folder: Path, program: Path) -> None:
    inner = checkout(folder / "inner")
    _clean_filter(inner, program)
    as_user(DEPLOY, "git", "add", "inner", cwd=folder)
    racy(inner)


def _promisor(folder: Path, program: Path) -> None:
    config(folder, DEPLOY, "core.repositoryformatversion", "1")
    config(folder, DEPLOY, "extensions.partialClone", "origin")
    config(folder, DEPLOY, "remote.origin.promisor", "true")
    config(folder, DEPLOY, "remote.origin.url", f"ext::{program}")
    config(folder, DEPLOY, "protocol.ext.allow", "always")
    for each in (folder / ".git" / "objects").glob("??/*"):
        each.unlink()


ATTACKS = [
    _clean_filter, _process_filter, _filter_with_an_odd_name, _included_filter, _monitor, _hooks,
    _alias, _submodule, _promisor,
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_repository_runs_nothing(
    srv: Path, program: Path, ran: Path, attack: Callable[[Path, Path], None]
) -> None:
    folder = checkout(srv / "app")
    attack(folder, program)
    racy(folder)
    assert not told(folder)[1]
    assert ran.read_text() == ""


def test_many_slow_submodules_take_no_longer_than_one(
    srv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may block until just before its time is over, and there may be hundreds."""
    outer = checkout(srv / "outer")
    allow = ("-c", "protocol.file.allow=always")
    for name in ("a", "b", "c"):
        inner = checkout(srv / name)
        as_user(DEPLOY, "git", *allow, "submodule", "add", "-q", str(inner), name, cwd=outer)
    commit(outer, DEPLOY)
    assert told(outer)[1]
    now, run = [1000.0], confined.run

    def slow(*arguments: Any, seconds: float, **more: Any) -> confined.ChildResult:
        now[0] += 0.9 * seconds
        return run(*arguments, seconds=10, **more)

    monkeypatch.setattr(git, "monotonic", lambda: now[0], raising=False)
    monkeypatch.setattr(confined, "run", slow)
    found = git.find(outer)
    assert found
    git.clean(found)
    assert now[0] - 1000 <= 60


@pytest.mark.parametrize("attack", [_clean_filter, _process_filter, _monitor, _submodule])
def test_these_attacks_would_run_something(
    srv: Path, program: Path, ran: Path, attack: Callable[[Path, Path], None]
) -> None:
    folder = checkout(srv / "app")
    attack(folder, program)
    racy(folder)
    subprocess.run(
        ["git", "status"], cwd=folder, user=DEPLOY.pw_uid, group=DEPLOY.pw_gid, timeout=30,
        capture_output=True, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    assert ran.read_text()


def test_what_a_filter_of_roots_would_say_is_not_asked(srv: Path, program: Path, ran: Path) -> None:
    folder = checkout(srv / "app", None)
    config(folder, None, "filter.x.clean", program)
    written(folder / ".gitattributes", "* filter=x\n", None)
    racy(folder, None)
    assert not told(folder)[1]
    assert ran.read_text() == ""


def rights(folder: Path) -> int:
    found = git.find(folder)
    assert found
    assert found.rights
    assert found.rights.groups == ()
    return found.rights.uid


def _directory_of_roots(folder: Path) -> None:
    os.chown(folder, 0, 0)


def _a_file_leads_to_it(folder: Path) -> None:
    (folder / ".git").rename(folder / "elsewhere")
    written(folder / ".git", f"gitdir: {folder}/elsewhere\n")


def _a_link_leads_to_it(folder: Path) -> None:
    (folder / ".git").rename(folder / "elsewhere")
    (folder / ".git").symlink_to(folder / "elsewhere")


@pytest.mark.parametrize("change", [_directory_of_roots, _a_file_leads_to_it, _a_link_leads_to_it])
def test_the_owner_of_the_repository_decides(srv: Path, change: Callable[[Path], None]) -> None:
    folder = checkout(srv / "app")
    change(folder)
    assert rights(folder) == DEPLOY.pw_uid


def _config_of_another(folder: Path) -> None:
    os.chown(folder / ".git" / "config", DEPLOY.pw_uid, 0)


def _config_open_to_all(folder: Path) -> None:
    (folder / ".git" / "config").chmod(0o666)


def _attributes_of_another(folder: Path) -> None:
    written(folder / ".git" / "info" / "attributes", "* filter=x")


def _directory_of_another(folder: Path) -> None:
    os.chown(folder, DEPLOY.pw_uid, 0)


def _directory_open_to_a_group(folder: Path) -> None:
    os.chown(folder, 0, OTHER.pw_gid)
    folder.chmod(0o775)


def _roots_file_leads_to_another(folder: Path) -> None:
    (folder / ".git").rename(folder / "elsewhere")
    (folder / ".git").write_text("gitdir: elsewhere\n")
    os.chown(folder / "elsewhere", DEPLOY.pw_uid, 0)


def _common_of_another(folder: Path) -> None:
    (folder / ".git" / "common").mkdir()
    (folder / ".git" / "commondir").write_text("common\n")
    written(folder / ".git" / "common" / "config", "")


def _a_pipe(folder: Path) -> None:
    (folder / ".git").rename(folder / "elsewhere")
    os.mkfifo(folder / ".git")


@pytest.mark.parametrize(
    "change",
    [
        _config_of_another, _config_open_to_all, _attributes_of_another, _directory_of_another,
        _directory_open_to_a_group, _roots_file_leads_to_another, _common_of_another, _a_pipe,
    ],
)  # fmt: skip
def test_root_asks_git_only_where_all_is_roots(srv: Path, change: Callable[[Path], None]) -> None:
    folder = checkout(srv / "app", None)
    change(folder)
    with pytest.raises((git.RefusedError, OSError)) as refused:
        git.find(folder)
    assert isinstance(refused.value, git.RefusedError)


def test_a_repository_nearer_to_the_release_is_not_obeyed(
    srv: Path, program: Path, ran: Path
) -> None:
    folder = checkout(srv / "app", None)
    found = git.find(folder)
    assert found
    # Between the look and the call another makes one of his own, in the way of the first.
    (folder / "his").mkdir()
    os.chown(folder / "his", DEPLOY.pw_uid, DEPLOY.pw_gid)
    late = found._replace(release=str(folder / "his"))
    as_user(DEPLOY, "git", "init", "-q", ".", cwd=folder / "his")
    config(folder / "his", DEPLOY, "core.fsmonitor", program)
    assert git.head(late) == git.head(found)
    assert git.head(late)
    git.clean(late)
    assert ran.read_text() == ""


@pytest.mark.parametrize("where", ["global", "system"])
def test_safe_directory_makes_root_trust_nobody(
    srv: Path, program: Path, ran: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (srv / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    monkeypatch.setenv(f"GIT_CONFIG_{where.upper()}", str(srv / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(program))
    folder = checkout(srv / "app")
    assert told(folder)[1]
    assert ran.read_text() == ""


# What the child is


def probe(
    account: confined.Rights | None, script: str, seconds: float = 20.0
) -> confined.ChildResult:
    def work() -> bytes:
        os.execve("/bin/sh", ["sh", "-c", script], {"PATH": "/usr/bin:/bin"})

    root = os.open("/", os.O_PATH)
    try:
        return confined.run(work, account, seconds=seconds, most=100, folder=root)
    finally:
        os.close(root)


FIELD = "while read k v; do [ $k = {}: ] && echo $v; done < /proc/self/status"
ACCOUNT = confined.Rights(DEPLOY.pw_uid, DEPLOY.pw_gid)


def test_the_child_has_no_terminal_no_rights_and_no_programs() -> None:
    def asked(script: str) -> str:
        return probe(ACCOUNT, script).output.decode().strip()

    own = asked("read a b c d pgrp sid tty rest < /proc/self/stat; echo $a $pgrp $sid $tty").split()
    assert own[0] == own[2]
    assert own[3] == "0"
    assert asked(FIELD.format("NoNewPrivs")) == "1"
    assert asked(FIELD.format("Groups")) == ""
    assert asked("umask") == "0077"
    assert asked("ulimit -v; ulimit -f; ulimit -c").split() == ["1048576", "0", "0"]
    assert probe(ACCOUNT, "/bin/true; echo $?").output == b""  # it cannot fork


@pytest.mark.parametrize("name", ["HEAD", "config", "index"])
def test_a_pipe_in_a_repository_holds_nobody_up_for_long(
    srv: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkout(srv / "app")
    (folder / ".git" / name).unlink()
    os.mkfifo(folder / ".git" / name)
    os.chown(folder / ".git" / name, DEPLOY.pw_uid, DEPLOY.pw_gid)
    ended: list[confined.ChildResult] = []
    run = confined.run

    def hurried(*arguments: Any, seconds: float, **more: Any) -> confined.ChildResult:
        assert seconds <= 60.0
        ended.append(run(*arguments, seconds=0.3, **more))
        return ended[-1]

    monkeypatch.setattr(confined, "run", hurried)
    assert not told(folder)[1]
    assert None in [each.status for each in ended] or ended[-1].status


def test_what_does_not_end_is_ended() -> None:
    begun = monotonic()
    assert probe(ACCOUNT, "while :; do :; done", 0.5) == (None, b"")
    assert monotonic() - begun < 5
    assert probe(ACCOUNT, "while :; do echo x; done", 20).status is None
    assert monotonic() - begun < 10


def test_what_it_starts_is_ended_with_it() -> None:
    # Only root's can start anything.
    ended = probe(None, "sleep 100 & echo $!; sleep 100", 0.5)
    assert ended.status is None
    try:
        descriptor = os.pidfd_open(int(ended.output))
    except ProcessLookupError:
        return  # it has ended already
    try:
        assert select.select([descriptor], [], [], 5.0)[0]
    finally:
        os.close(descriptor)


def test_the_terminal_of_root_is_out_of_reach() -> None:
    script = (
        "from tests.unit.revisions.test_git import ACCOUNT, probe\n"
        "open('/dev/tty').close()\n"  # it has one
        "print(repr(probe(ACCOUNT, 'true < /dev/tty && echo open').output))"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])
    output = b""
    with suppress(OSError):  # EIO: nobody has it open any more
        while part := os.read(terminal, 4096):
            output += part
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, output
    assert output.strip() == b"b''"
