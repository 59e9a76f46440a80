"""A takeover as root over files, sockets and answers of an account that is not root.

Each test is an attack by the account `tester`, who must get neither a file of root's, nor a
password, nor a signal of root's to a process that is not his.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import TESTER, WORKERS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Result, Running, Site

pytestmark = pytest.mark.systemd

PASSWORD = "c0rrect-horse"
AS_TESTER = ("setpriv", f"--reuid={TESTER}", f"--regid={TESTER}", "--init-groups", "--")

CONF = """\
[{server}_http_server]
{where}
username=root
password={password}
[supervisord]
user={user}
logfile={home}/log/supervisord.log
pidfile={home}/log/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:sms]
command={command}
directory={current}
user={program}
startsecs=0
autostart={autostart}
{more}
"""

# What answers as supervisord would, writes down all that it is sent, and names any PID. Its command
# line is supervisord's.
FAKE = """
import os, socket, sys, xmlrpc.client
where, pid, seen = sys.argv[3], sys.argv[4], sys.argv[5]
value = eval(pid)
if where.isdigit():
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(where)))
else:
    server = socket.socket(socket.AF_UNIX)
    server.bind(where)
    os.chmod(where, 0o777)
server.listen()
print("up", flush=True)
while True:
    client, _ = server.accept()
    data = b""
    while b"</methodCall>" not in data:
        more = client.recv(65536)
        if not more:
            break
        data += more
    with open(seen, "ab") as file:
        file.write(data)
    if not data:
        continue
    info = {"group": "sms", "name": "sms", "statename": "RUNNING", "pid": value}
    answer = [info] if b"getAll" in data else os.getpid() if b"getPID" in data else info
    answer = True if b"stopProcess" in data else answer
    body = xmlrpc.client.dumps((answer,), methodresponse=True, allow_none=True).encode()
    if isinstance(value, str) and value.startswith("raw:"):
        body = body.replace(b"<string>" + value.encode() + b"</string>", value[4:].encode())
    head = "HTTP/1.1 200 OK\\r\\nContent-Type: text/xml\\r\\nContent-Length: %d\\r\\n\\r\\n"
    client.sendall((head % len(body)).encode() + body)
    client.close()
"""


class Attacked:
    """An app, a Supervisor's file for it, and who else is on this host."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.home = site.home / "supervisor"
        self.started: list[Running] = []
        self.home.mkdir()
        (self.home / "log").mkdir()
        self.theirs = Path(pwd.getpwnam(TESTER).pw_dir) / site.app
        self.theirs.mkdir()
        self.hand_over(self.theirs)
        site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})

    @property
    def seen(self) -> str:
        """All that a fake was sent."""
        return (self.theirs / "seen").read_text() if (self.theirs / "seen").exists() else ""

    def hand_over(self, *paths: Path) -> None:
        account = pwd.getpwnam(TESTER)
        for path in paths:
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

    def conf(
        self,
        folder: Path | None = None,
        *,
        socket: str = "",
        port: int = 0,
        user: str = "root",
        program: str = "www-data",
        autostart: str = "true",
        more: str = "",
    ) -> Path:
        """Supervisor's file."""
        path = (folder or self.home) / "supervisord.conf"
        where = f"port=127.0.0.1:{port}" if port else f"file={socket or self.home / 'sock'}"
        path.write_text(
            CONF.format(
                server="inet" if port else "unix", where=where, home=folder or self.home,
                password=PASSWORD, user=user, command=self.site.odd("steady"),
                current=self.site.current, program=program, autostart=autostart, more=more,
            )
        )  # fmt: skip
        return path

    def start(self, *argv: str, before: tuple[str, ...] = ()) -> Running:
        found = self.site.scope.start(*before, *argv, cwd=Path("/"))
        self.started.append(found)
        return found

    def daemon(self) -> Running:
        """A daemon of root's that ends at the worker's stop signal."""
        found = self.start(sys.executable, "-IS", str(WORKERS / "odd.py"), "steady")
        found.wait_for("odd")
        return found

    def fake(self, where: str, pid: object, *before: str) -> Running:
        """A supervisord that is none."""
        script = self.theirs / "supervisord"
        script.write_text(FAKE)
        argv = (sys.executable, str(script), "-c", "x", where, repr(pid), str(self.theirs / "seen"))
        found = self.start(*argv, before=before or AS_TESTER)
        found.wait_for("up")
        return found

    def supervisord(self, conf: Path, *before: str) -> Running:
        """A real one."""
        argv = (sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf))
        return self.start(*argv, before=before)

    def takeover(self, conf: Path, *more: str) -> Result:
        return self.site.unitq("takeover", str(conf), "--yes", *more)

    def end(self) -> None:
        for one in self.started:
            if one.running:
                one.signal(signal.SIGTERM)
                one.wait(30)
        shutil.rmtree(self.theirs, ignore_errors=True)


@pytest.fixture
def host(system_site: Site) -> Iterator[Attacked]:
    made = Attacked(system_site)
    try:
        yield made
    finally:
        made.end()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# --- who answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_a_fake_supervisord_gets_no_password_and_no_signal_sent(host: Attacked, way: str) -> None:
    daemon = host.daemon()
    port = free_port() if way == "tcp" else 0
    where = str(port) if port else str(host.theirs / "sock")
    host.fake(where, daemon.pid)
    conf = host.conf(socket=where, port=port)
    for arguments in (("--dry-run",), ("--json",), ()):
        done = host.takeover(conf, *arguments)
        assert done.code == 13, done
        assert TESTER in done.stderr, done
        assert "not proven to be supervisord" in done.stderr, done
        assert "nothing was sent" in done.stderr, done
    assert host.seen == ""
    assert daemon.running
    assert "autostart=true" in conf.read_text()


def test_a_fake_in_the_account_of_supervisord_names_nobody_elses_process(host: Attacked) -> None:
    """It may well be asked: supervisord runs as this account. But what it says is not believed."""
    daemon = host.daemon()
    where = str(host.theirs / "sock")
    conf = host.conf(socket=where, user=TESTER, program=TESTER)
    host.fake(where, daemon.pid)
    done = host.takeover(conf)
    assert done.code != 0, done
    assert "no child of supervisord" in done.stderr, done
    assert daemon.running


# PID 1, and what is no PID at all; "own" are those that unitq runs below.
PIDS = [1, -1, -(2**31), 2**31 - 1, True, "4711", 4711.5, None, [1], {"pid": 1}]
RAW = [
    f"<int>{2**70}</int>", f"<int>{'9' * 6000}</int>", "<int>x</int>", "<int></int>", "</array>",
    "<array><data></array>", "<i4>1</i4><i4>2</i4>", "<nil/>", "<struct><member></member></struct>",
]  # fmt: skip


@pytest.mark.variants
@pytest.mark.parametrize("pid", [*PIDS, *(f"raw:{each}" for each in RAW), "own"], ids=repr)
def test_what_is_no_pid_is_not_believed(host: Attacked, pid: object) -> None:
    where = str(host.theirs / "sock")
    host.fake(where, os.getpid() if pid == "own" else pid)
    conf = host.conf(socket=where, user=TESTER, program=TESTER)
    done = host.takeover(conf, "--dry-run")
    assert done.code == (13 if pid == "own" else 1), done
    said = "no child of supervisord" if pid == "own" else "no answer that makes sense"
    assert said in done.stderr or "does not answer" in done.stderr, done
    assert "Traceback" not in done.output, done


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_a_real_supervisord_of_an_account_that_its_file_does_not_name(
    host: Attacked, way: str
) -> None:
    """The file says root, and it was started by tester, who owns it all."""
    port = free_port() if way == "tcp" else 0
    (host.theirs / "log").mkdir()
    host.hand_over(host.theirs / "log")
    conf = host.conf(host.theirs, socket=str(host.theirs / "sock"), port=port, program=TESTER)
    running = host.theirs / "running.conf"
    # supervisord itself refuses `user=root` then; the file is another one by now.
    running.write_text(conf.read_text().replace("user=root\n", ""))
    host.supervisord(running, *AS_TESTER)
    log = host.theirs / "log" / "supervisord.log"
    wait_until(lambda: log.exists() and "spawned" in log.read_text(), 30, "it is up")
    done = host.takeover(conf, "--dry-run")
    assert done.code == 13, done
    assert f"{TESTER} answers there" in done.stderr, done


def test_another_program_of_root_is_no_supervisord(host: Attacked) -> None:
    """Its port was taken by a web server of root's: no password for that either."""
    port = free_port()
    argv = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    other = host.start(*argv)
    wait_until(lambda: listening(port), 30, "it listens")
    done = host.takeover(host.conf(port=port))
    assert done.code == 13, done
    assert "no process of that account that is supervisord" in done.stderr, done
    other.end()
    assert other.result
    assert "POST" not in other.result.stderr


def listening(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_the_pidfile_of_another_supervisord(host: Attacked) -> None:
    conf = host.conf()
    host.supervisord(conf)
    pidfile = host.home / "log" / "supervisord.pid"
    wait_until(pidfile.exists, 30, "it is up")
    pidfile.write_text(f"{os.getpid()}\n")
    done = host.takeover(conf)
    assert done.code == 13, done
    assert f"{pidfile} says {os.getpid()}" in done.stderr, done


def test_a_supervisord_in_the_background_is_taken_for_what_it_is(host: Attacked) -> None:
    """It listens before it forks, so the PID that the socket has is of nobody."""
    conf = host.conf()
    argv = [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)]
    subprocess.run(argv, check=True, timeout=60, cwd="/")
    pidfile = host.home / "log" / "supervisord.pid"
    wait_until(pidfile.exists, 30, "it is up")
    pid = int(pidfile.read_text())
    try:
        done = host.takeover(conf)
        assert done.code == 0, done
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 30, "it has ended")


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_a_real_one_by_either_way_as_root(host: Attacked, way: str) -> None:
    conf = host.conf(port=free_port() if way == "tcp" else 0)
    host.supervisord(conf)
    wait_until((host.home / "log" / "supervisord.pid").exists, 30, "it is up")
    done = host.takeover(conf)
    assert done.code == 0, done
    assert host.site.active() == 1


def test_a_program_that_runs_as_another_account_gets_no_signal(host: Attacked) -> None:
    """The file has been changed since it was read: the process is root's, and not www-data's."""
    conf = host.conf(program="root")
    host.supervisord(conf)
    wait_until((host.home / "log" / "supervisord.pid").exists, 30, "it is up")
    host.conf(program="www-data")
    done = host.takeover(conf)
    assert done.code == 7, done
    assert "runs as root, and the program as www-data" in done.stderr, done


# --- whose files ----------------------------------------------------------------------------------


def test_nothing_is_written_where_another_account_may_write(host: Attacked) -> None:
    """A real supervisord of root's, by a file in tester's home; he is asked to type one line."""
    (host.theirs / "log").mkdir()
    conf = host.conf(host.theirs, socket=str(host.home / "sock"))
    host.hand_over(conf)
    host.supervisord(conf)
    wait_until((host.theirs / "log" / "supervisord.pid").exists, 30, "it is up")
    secret = host.home / "secret"
    secret.write_text("root's own\n")
    secret.chmod(0o600)
    for name in (f".{conf.name}.before-unitq.unitq-tmp", f".{conf.name}.unitq-tmp"):
        (host.theirs / name).symlink_to(secret)
    before = {path.name: path.lstat().st_mtime_ns for path in host.theirs.iterdir()}
    done = host.takeover(conf)
    assert done.code == 13, done
    assert f"{host.theirs.parent} belongs to {TESTER}" in done.stderr, done
    assert "autostart=false" in done.stderr, done
    assert {path.name: path.lstat().st_mtime_ns for path in host.theirs.iterdir()} == before
    # He does so, and the same command succeeds.
    conf.write_text(conf.read_text().replace("autostart=true", "autostart=false"))
    done = host.takeover(conf)
    assert done.code == 0, done
    assert host.site.active() == 1
    assert secret.read_text() == "root's own\n"
    assert not list(host.theirs.glob("*before-unitq"))


@pytest.mark.parametrize("what", ["file link", "folder link", "shared", "sticky", "group"])
def test_ways_to_lead_root_elsewhere(host: Attacked, what: str) -> None:
    folder = host.home / "conf.d"
    folder.mkdir()
    conf = host.conf()
    if what == "file link":
        real = host.theirs / "supervisord.conf"
        real.write_text(conf.read_text())
        host.hand_over(real)
        conf.unlink()
        conf.symlink_to(real)
    elif what == "folder link":
        shutil.move(conf, folder / conf.name)
        link = host.theirs / "conf.d"
        link.symlink_to(folder)
        host.hand_over(link)
        conf = link / conf.name
    else:
        mode = {"shared": 0o777, "sticky": 0o1777, "group": 0o775}[what]
        shutil.move(conf, folder / conf.name)
        folder.chmod(mode)
        conf = folder / conf.name
    text = conf.read_text()
    running = host.home / "running.conf"
    running.write_text(text)
    host.supervisord(running)
    wait_until((host.home / "log" / "supervisord.pid").exists, 30, "it is up")
    done = host.takeover(conf)
    assert done.code == 13, done
    assert "root does not switch autostart off there" in done.stderr, done
    assert conf.read_text() == text
    assert not list(folder.glob("*before-unitq"))


def test_a_file_of_his_in_a_folder_of_roots_keeps_its_owner(host: Attacked) -> None:
    """He may only write what is in it: nothing can be led elsewhere."""
    conf = host.conf()
    conf.chmod(0o640)
    host.hand_over(conf)
    owner = (conf.stat().st_uid, conf.stat().st_gid)
    host.supervisord(conf)
    wait_until((host.home / "log" / "supervisord.pid").exists, 30, "it is up")
    done = host.takeover(conf)
    assert done.code == 0, done
    copy = host.home / "supervisord.conf.before-unitq"
    for path in (conf, copy):
        assert (path.stat().st_uid, path.stat().st_gid) == owner
        assert path.stat().st_mode & 0o777 == 0o640
    assert "autostart=false" in conf.read_text()
    assert "autostart=true" in copy.read_text()


@pytest.mark.parametrize("where", ["its mode", "its folder", "the file itself"])
def test_a_file_of_his_does_not_have_root_read_and_send_what_he_may_not(
    host: Attacked, where: str
) -> None:
    """His file includes root's, whose password would go to his own port."""
    folder = host.home / "private"
    folder.mkdir()
    private = folder / "private.conf"
    private.write_text("[inet_http_server]\nport=127.0.0.1:1\nusername=u\npassword=t0p-secret\n")
    (folder if where == "its folder" else private).chmod(0o700)
    port = free_port()
    last = host.theirs / "z.conf"
    last.write_text(f"[inet_http_server]\nport=127.0.0.1:{port}\n")
    include = f"[include]\nfiles={private} {last}"
    conf = host.conf(host.theirs, port=port, user=TESTER, program=TESTER, more=include)
    host.hand_over(conf, last)
    if where == "the file itself":
        conf.unlink()
        conf.symlink_to(private)
        host.hand_over(conf)
    host.fake(str(port), 0)
    for command in ("takeover", "import"):
        done = host.site.unitq(command, str(conf), *["--dry-run"] * (command == "takeover"))
        assert done.code == 5, done
        assert f"{TESTER} decides" in done.stderr, done
        assert "may not read it" in done.stderr, done
        assert "t0p-secret" not in done.output + host.seen


def test_a_file_of_his_does_not_have_root_send_its_environment(host: Attacked) -> None:
    port = free_port()
    host.fake(str(port), 0)
    conf = host.conf(host.theirs, port=port, user=TESTER, program=TESTER)
    host.hand_over(conf)
    conf.write_text(conf.read_text().replace(PASSWORD, "%(ENV_TOKEN)s"))
    done = host.site.unitq("takeover", str(conf), "--dry-run", environment={"TOKEN": "t0p-secret"})
    assert done.code == 2, done
    assert host.seen == ""


# --- what else root writes ------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["init", "import", "render"])
def test_files_that_root_writes_for_somebody_are_led_nowhere(host: Attacked, command: str) -> None:
    conf = host.conf()
    secret = host.home / "secret"
    secret.write_text("root's own\n")
    secret.chmod(0o600)
    name = "unitq.toml" if command != "render" else f"unitq-{host.site.app}.target"
    arguments = {
        "init": ("-c", f"{host.theirs}/{name}", "--app", "other", "init", "--force"),
        "import": ("import", str(conf), "--force", "--output", f"{host.theirs}/{name}"),
        "render": ("render", "--output", str(host.theirs)),
    }[command]
    # What he owns may be written to; links in it are replaced, and not followed.
    for planted in (name, f".{name}.unitq-tmp"):
        (host.theirs / planted).symlink_to(secret)
        host.hand_over(host.theirs / planted)
    done = host.site.unitq(*arguments)
    assert done.code == 0, done
    assert secret.read_text() == "root's own\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.stat().st_uid == 0
    assert not (host.theirs / name).is_symlink()

    # But a directory of root's that a link of his leads to is none that root was to write into.
    target = host.home / "etc"
    target.mkdir()
    shutil.rmtree(host.theirs)
    host.theirs.symlink_to(target)
    host.hand_over(host.theirs)
    done = host.site.unitq(*arguments)
    host.theirs.unlink()
    assert done.code == 13, done
    assert f"belongs to {TESTER}, and leads to {target}" in done.stderr, done
    assert not list(target.iterdir())


@pytest.mark.parametrize("variable", ["HOME", "XDG_RUNTIME_DIR"])
def test_root_uses_no_home_of_another_account(host: Attacked, variable: str) -> None:
    """As after `sudo -E`: locks and state would be written where he has put links."""
    (host.theirs / "unitq").mkdir()
    victim = host.home / "victim"
    victim.write_text("root's own\n")
    (host.theirs / "unitq" / f"{host.site.app}.lock").symlink_to(victim)
    host.hand_over(host.theirs / "unitq")
    done = host.site.unitq("--user", "deploy", environment={variable: str(host.theirs)})
    assert done.code == 5, done
    assert "not root's alone" in done.stderr, done
    assert victim.read_text() == "root's own\n"
