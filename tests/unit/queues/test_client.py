"""Ways to Redis, what is asked there, and how long it may take."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bench.queues as bench
from tests.unit.queues.conftest import PRESETS, layout, source
from unitq.linux.trust import Control, Why
from unitq.model.app import Redis
from unitq.presets.redis_keys import READING
from unitq.queues.bounded import Budget
from unitq.queues.client import PATIENCE, Connection, Secrets, place
from unitq.queues.commands import HOLE, SECOND_HOLE, QueuesError, command, commands_for
from unitq.queues.model import Lengths
from unitq.queues.reader import Source
from unitq.queues.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.harness.redis_server import RedisServer
    from unitq.queues.model import Sample

EVERY = sorted({path.stem for path in PRESETS.glob("*.toml")} - {"none"})
SECRET = "s3cret-0815"


def looked(settings: Redis, secrets: Secrets | None = None, preset: str = "php-resque") -> Sample:
    connection = Connection(settings, secrets)
    try:
        (found,) = take_snapshot(connection, [source(preset, "sms")])
    finally:
        connection.close()
    return found


# --- ways there


def test_a_unix_socket(server: RedisServer) -> None:
    server.client.rpush("resque:queue:sms", "{}")
    assert looked(Redis(url=f"unix://{server.socket}?db=0")).queues["sms"].waiting == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another account")
def test_a_unix_socket_that_another_account_names_is_asked_as_that_account(
    server: RedisServer,
) -> None:
    """Root may connect to any, such as a container engine's, and would be root there."""
    his = pwd.getpwnam("daemon")
    told_by = (Control(his.pw_uid, "/srv/unitq.toml", Why.OWNS),)
    before = len(os.listdir("/proc/self/fd"))
    with (
        tempfile.TemporaryDirectory(dir="/var/lib", prefix="unitq-test-") as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        Path(folder).chmod(0o755)
        path = Path(folder, "root only")
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        path.chmod(0o600)
        settings = Redis(url=f"unix://{folder}/root%20only")
        connection = Connection(settings, told_by=told_by)
        with pytest.raises(QueuesError, match="Permission denied for daemon"):
            take_snapshot(connection, [source("php-resque", "sms")])
        with pytest.raises(BlockingIOError):
            listener.accept()
        path.chmod(0o666)
        with pytest.raises(QueuesError, match="no answer"):
            take_snapshot(connection, [source("php-resque", "sms")])
        with listener.accept()[0] as made:
            peer = made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            assert int.from_bytes(peer[4:8], sys.byteorder) == his.pw_uid
        connection.close()
    # Where it may, it works.
    server.client.rpush("resque:queue:sms", "{}")
    server.socket.parent.chmod(0o755)
    connection = Connection(Redis(url=f"unix://{server.socket}"), told_by=told_by)
    for _ in range(2):
        (found,) = take_snapshot(connection, [source("php-resque", "sms")])
        assert found.queues["sms"].waiting == 1
    connection.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_another_database(server: RedisServer) -> None:
    url = server.url.removesuffix("/0") + "/3"
    server.client.rpush("resque:queue:sms", "{}")
    assert looked(Redis(url=url)).queues["sms"].waiting == 0


@pytest.fixture
def reader(server: RedisServer) -> Iterator[str]:
    """A user who may only read."""
    client: Any = server.client
    client.execute_command("ACL", "SETUSER", "unitq", "on", f">{SECRET}", "~*", "+@read")
    yield "unitq"
    client.execute_command("ACL", "DELUSER", "unitq")


@pytest.mark.parametrize("preset", EVERY)
def test_a_user_with_nothing_but_read_is_enough(
    server: RedisServer, reader: str, preset: str
) -> None:
    settings = Redis(url=server.url, username=reader)
    assert looked(settings, Secrets(SECRET), preset).notes == ()


def test_a_wrong_password_is_told_and_shown_nowhere(server: RedisServer, reader: str) -> None:
    for settings, secrets in (
        (Redis(url=server.url, username=reader), Secrets(f"{SECRET}-not")),
        (Redis(url=server.url.replace("//", f"//{reader}:{SECRET}-not@")), Secrets()),
    ):
        with pytest.raises(QueuesError) as caught:
            looked(settings, secrets)
        told = f"{caught.value.message} {caught.value.hint}"
        assert "password" in told
        assert SECRET not in f"{told} {caught.value!r} {settings!r} {secrets!r}"
        assert SECRET not in place(settings)


def test_what_a_user_may_not_read_is_noted(server: RedisServer) -> None:
    client: Any = server.client
    client.execute_command("ACL", "SETUSER", "few", "on", "nopass", "~resque:queue*", "+@read")
    try:
        found = looked(Redis(url=server.url, username="few"), Secrets("any"))
    finally:
        client.execute_command("ACL", "DELUSER", "few")
    assert found.queues["sms"].waiting == 0
    assert any("Redis refuses: NOPERM" in note for note in found.notes)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def tls(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis that speaks TLS only."""
    port = _free_port()
    process = subprocess.Popen(
        [
            *("redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"),
            *("--tls-cert-file", str(certificates / "cert.pem")),
            *("--tls-key-file", str(certificates / "key.pem")),
            *("--tls-ca-cert-file", str(certificates / "cert.pem"), "--save", ""),
            *("--dir", str(tmp_path_factory.mktemp("redis")), "--tls-auth-clients", "optional"),
        ],
        stdout=subprocess.DEVNULL,
    )
    _wait_for(port, process)
    yield port
    process.terminate()
    process.wait(timeout=10)


def test_tls_checks_who_answers(tls: int, certificates: Path) -> None:
    url = f"rediss://127.0.0.1:{tls}/0"
    assert looked(Redis(url=url, ca_file=str(certificates / "cert.pem"))).queues["sms"].waiting == 0
    with pytest.raises(QueuesError, match=r"(?i)certificate"):
        looked(Redis(url=url))


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other accounts")
def test_a_key_is_read_with_the_rights_of_who_decides_which(tls: int, certificates: Path) -> None:
    url = f"rediss://127.0.0.1:{tls}/0"
    his = pwd.getpwnam("daemon")
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="unitq-test-") as folder:
        place, secret = Path(folder), Path(folder, "secret.pem")
        place.chmod(0o755)
        shutil.copy(certificates / "key.pem", secret)
        secret.chmod(0o600)
        shared = place / "shared"
        shared.mkdir()
        for name in ("cert.pem", "key.pem"):
            shutil.copy(certificates / name, shared / name)
            os.chown(shared / name, his.pw_uid, his.pw_gid)
            (shared / name).chmod(0o600)
        os.chown(shared, his.pw_uid, his.pw_gid)
        ca, cert, key = (str(shared / name) for name in ("cert.pem", "cert.pem", "key.pem"))
        settings = Redis(url=url, ca_file=ca, cert_file=cert, key_file=key)
        before = len(os.listdir("/proc/self/fd"))
        assert looked(settings).queues["sms"].waiting == 0
        assert len(os.listdir("/proc/self/fd")) == before
        (shared / "key.pem").unlink()
        (shared / "key.pem").symlink_to(secret)
        with pytest.raises(QueuesError, match="daemon decides what this path leads to"):
            looked(settings)
        (shared / "key.pem").unlink()
        with pytest.raises(QueuesError, match="No such file"):
            looked(settings)


def test_sentinels_say_where_the_master_is(server: RedisServer, tmp_path: Path) -> None:
    server.client.rpush("resque:queue:sms", "{}")
    port = _free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor mymaster 127.0.0.1 {server.port} 1\n"
    )
    process = subprocess.Popen(
        ["redis-server", str(config), "--sentinel"], stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        # The first one is down, as one may be.
        sentinels = (f"127.0.0.1:{_free_port()}", f"127.0.0.1:{port}")
        assert looked(Redis(sentinels=sentinels, master="mymaster")).queues["sms"].waiting == 1
        with pytest.raises(QueuesError, match="names a master other"):
            looked(Redis(sentinels=sentinels, master="other"))
    finally:
        process.terminate()
        process.wait(timeout=10)


# --- what is asked


@pytest.mark.parametrize("preset", EVERY)
def test_only_commands_that_read_are_sent(server: RedisServer, preset: str) -> None:
    client: Any = server.client
    asked = set()
    with client.monitor() as monitor:
        looked(Redis(url=server.url), preset=preset)
        server.client.get("END")
        for seen in monitor.listen():
            if seen["command"] == "GET END":
                break
            asked.add(seen["command"].split()[0].upper())
    # How redis-py greets a server: also the client of this test, which speaks RESP3.
    # What presets may name, and one more that Redis has among its @read.
    assert asked - {"CLIENT", "HELLO"} <= READING | {"SORT_RO"}
    assert asked & READING


def test_what_is_pipelined_is_two_trips(server: RedisServer) -> None:
    server.client.sadd("resque:queues", *(f"q{number}" for number in range(50)))
    server.client.sadd("resque:workers", "web1:1:q1", "web1:2:q2")
    connection = Connection(Redis(url=server.url))
    take_snapshot(connection, [source("php-resque"), source("sidekiq")])
    assert connection.trips == 2
    connection.close()


QUEUES = 10_000


def _fill(server: RedisServer, keys: Sequence[str], registry: str, job: str) -> tuple[str, ...]:
    names = tuple(f"queue-{number}" for number in range(QUEUES))
    with server.client.pipeline(transaction=False) as pipe:
        for name in names:
            for key in keys:
                pipe.rpush(key + name, job)
            if registry:
                pipe.sadd(registry, name)
        pipe.execute()
    return names


@pytest.mark.variants
@pytest.mark.parametrize(
    ("preset", "keys", "registry"),
    [
        ("php-resque", ["resque:queue:"], "resque:queues"),
        ("resque", ["resque:queue:"], "resque:queues"),
        ("node-resque", ["resque:queue:"], "resque:queues"),
        ("sidekiq", ["queue:"], "queues"),
        ("laravel", ["laravel_database_queues:"], ""),
        ("horizon", ["laravel_database_queues:"], ""),
        ("dramatiq", ["dramatiq:"], ""),
        ("celery", [""], ""),
        ("huey", ["huey.redis."], ""),
    ],
)
def test_ten_thousand_queues(
    server: RedisServer, preset: str, keys: list[str], registry: str
) -> None:
    """Two trips; and less of our own work than redis-py's own pipeline has with as many commands.

    Measured in this process's time: on a machine with other things to do the clock on the wall
    says more about those. How long it takes in all is bench/run queues' business.
    """
    names = _fill(server, keys, registry, '{"class":"A","queue_time":1795440000.25}')
    found = layout(preset)
    one = Source(preset, found, () if registry else names, found.prefix, "")
    connection = Connection(Redis(url=server.url), patience=30)
    spent = []
    for _ in range(7):
        connection.trips, before = 0, _commands(server)
        begun = time.process_time()
        (sample,) = take_snapshot(connection, [one], ages=False, workers=bool(registry))
        spent.append(time.process_time() - begun)
        asked = _commands(server) - before
        assert connection.trips <= 2
    connection.close()
    assert len(sample.queues) == QUEUES
    assert sample.queues["queue-77"].waiting == 1
    assert asked > QUEUES
    assert min(spent) < min(_with_redis_py(server, asked) for _ in range(3)), spent


def _commands(server: RedisServer) -> int:
    """How many it has carried out."""
    told: Any = server.client.info("stats")
    return int(told["total_commands_processed"])


def _with_redis_py(server: RedisServer, amount: int) -> float:
    begun = time.process_time()
    with server.client.pipeline(transaction=False) as pipe:
        for number in range(amount):
            pipe.llen(f"queue-{number}")
        pipe.execute()
    return time.process_time() - begun


@pytest.mark.parametrize("amount", [400, 1000])
@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("preset", EVERY)
def test_everything_of_a_framework_is_two_trips(
    server: RedisServer, preset: str, every: int, amount: int
) -> None:
    """Also ages, workers and jobs in hand."""
    names = [f"queue-{number}" for number in range(amount)]
    bench.fill(server, preset, names, every)
    connection = Connection(Redis(url=server.url), patience=30)
    (found,) = take_snapshot(connection, [bench.source(preset, names)])
    connection.close()
    assert connection.trips <= 2
    assert found.notes == ()
    assert found.queues.keys() == set(names)
    # What is in hand stays among those that wait in arq.
    in_hand = 1 if preset == "arq" else 0
    busy, idle = found.queues["queue-390"], found.queues["queue-391"]
    assert (busy.waiting, idle.waiting) == (1 + in_hand, 1 // every)
    if layout(preset).oldest and preset != "resque":
        assert busy.oldest is not None
        assert int(busy.oldest) == 1_795_440_000
    if preset in bench.HELD:
        assert len(found.jobs) == bench.HELD[preset]


def test_numbers_that_few_of_many_queues_have(server: RedisServer) -> None:
    names = [f"queue-{number}" for number in range(1005)]
    client: Any = server.client
    client.flushall()
    client.zadd("bull:queue-3:delayed", {"a": 1, "b": 2})
    client.zadd("bull:queue-3:prioritized", {"c": 1})
    client.rpush(f"bull:{names[-1]}:active", "7")
    client.hset(f"bull:{names[-1]}:7", mapping={"name": "send"})
    client.rpush("bull:queue-8:wait", "9", "8")
    client.hset("bull:queue-8:8", mapping={"timestamp": "1795440000000"})
    client.set("bull:queue-9:failed", "of another kind")
    client.execute_command("ACL", "SETUSER", "few", "on", "nopass", "~*", "+@read")
    connection = Connection(Redis(url=server.url, username="few"), Secrets("any"))
    try:
        (found,) = take_snapshot(connection, [source("bullmq", *names)])
    finally:
        connection.close()
        client.execute_command("ACL", "DELUSER", "few")
    assert connection.trips == 2
    assert len(found.notes) == 1
    assert "is the prefix right?" in found.notes[0]
    none = Lengths(waiting=0, delayed=0, in_hand=0, failed=0)
    shown = {name: each for name, each in found.queues.items() if each != none}
    assert shown == {
        "queue-3": none._replace(delayed=2, waiting=1),
        "queue-8": none._replace(waiting=2, oldest=1_795_440_000.0),
        "queue-9": none._replace(failed=None),
        names[-1]: none._replace(in_hand=1),
    }
    assert [(job.queue, job.name) for job in found.jobs] == [(names[-1], "send")]


@pytest.mark.parametrize("permissions", ["~* +@read -@dangerous", "~rq:* +@read"])
def test_a_user_who_may_not_sort_sees_the_same_in_three_trips(
    server: RedisServer, permissions: str
) -> None:
    """And so does every user of a Redis before 7."""
    names = [f"queue-{number}" for number in range(50)]
    bench.fill(server, "rq", names, 5)
    client: Any = server.client
    client.execute_command("ACL", "SETUSER", "few", "on", "nopass", *permissions.split())
    found = []
    try:
        for user, trips in (("few", 3), (None, 2)):
            secrets = Secrets("any") if user else None
            connection = Connection(Redis(url=server.url, username=user), secrets)
            found += take_snapshot(connection, [bench.source("rq", names)])
            connection.close()
            assert connection.trips == trips
    finally:
        client.execute_command("ACL", "DELUSER", "few")
    assert found[0].notes == ()
    assert found[0].queues == found[1].queues
    assert found[0].queues["queue-0"].oldest == 1_795_440_000.25
    assert found[0].registry == found[1].registry


def test_jobs_of_rq_in_a_queue_that_is_not_named_take_a_third_trip(server: RedisServer) -> None:
    bench.fill(server, "rq", ["a", "b"], 1)
    for queue, trips in (("a", 2), ("b", 3)):
        connection = Connection(Redis(url=server.url))
        (found,) = take_snapshot(connection, [source("rq", queue)])
        connection.close()
        assert connection.trips == trips
        assert {(job.name, job.queue) for job in found.jobs} == {("app.send", "a")}
        assert len(found.jobs) == bench.HELD["rq"]


@pytest.mark.parametrize("preset", ["symfony-messenger", "taskiq"])
def test_a_stream_is_asked_for_its_groups_once(server: RedisServer, preset: str) -> None:
    """For its numbers and for its workers; and for its consumers only if it has any."""
    names = [f"queue-{number}" for number in range(6)]
    bench.fill(server, preset, names, 1)
    for name in names[1:]:
        server.client.delete(name)
    asked = []
    client: Any = server.client
    with client.monitor() as monitor:
        connection = Connection(Redis(url=server.url))
        take_snapshot(connection, [bench.source(preset, names)])
        connection.close()
        server.client.get("END")
        for seen in monitor.listen():
            if seen["command"] == "GET END":
                break
            asked.append(seen["command"])
    assert sum(command.startswith("XINFO GROUPS ") for command in asked) == len(names)
    assert [command for command in asked if command.startswith("XINFO CONSUMERS ")] == [
        f"XINFO CONSUMERS queue-0 {layout(preset).registry}"
    ]


# --- how long it takes


def test_a_port_that_nobody_listens_on_is_refused_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(QueuesError, match=r"Redis at 127\.0\.0\.1:1/0: Connection refused"):
        looked(Redis(url="redis://127.0.0.1:1/0"))
    assert time.monotonic() - begun < PATIENCE


def test_a_server_that_is_stopped_costs_a_second(server: RedisServer) -> None:
    connection = Connection(Redis(url=server.url))
    take_snapshot(connection, [source("php-resque", "sms")])
    os.kill(server.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(QueuesError, match="no answer"):
            take_snapshot(connection, [source("php-resque", "sms")])
        with pytest.raises(QueuesError, match="no answer"):
            looked(Redis(url=server.url))
        assert time.monotonic() - begun < 2 * PATIENCE + 1
    finally:
        os.kill(server.pid, signal.SIGCONT)
    # The connection is made anew: late answers to the first look are not taken for the next one's.
    (again,) = take_snapshot(connection, [source("php-resque", "sms")])
    assert again.queues["sms"].waiting == 0
    connection.close()


@pytest.fixture
def dripping() -> Iterator[int]:
    """A server that answers a byte every 100 ms, so that no time-out of a socket ever comes."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    while not over.wait(0.1):
                        try:
                            client.send(b"+")
                        except OSError:
                            break

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


def test_a_server_that_drips_costs_a_second(dripping: int) -> None:
    begun = time.monotonic()
    with pytest.raises(QueuesError, match="no answer"):
        looked(Redis(url=f"redis://127.0.0.1:{dripping}"))
    assert time.monotonic() - begun < PATIENCE + 1


def test_something_else_that_listens_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(QueuesError, match=r"Redis at .* none of its protocol"):
            looked(Redis(url=f"redis://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join(timeout=10)


# --- what is sent


def test_each_value_stands_where_its_hole_is() -> None:
    assert command("GET", "a b", b"\xff") == (b"GET", b"a b", b"\xff")
    queues: list[str | bytes] = ["ä-1", "b{q}", "%d", "", b"\xff"]
    raw = ["ä-1".encode(), b"b{q}", b"%d", b"", b"\xff"]
    assert commands_for(queues, "LLEN", f"100%:{HOLE}") == [(b"LLEN", b"100%%:%b" % q) for q in raw]
    assert commands_for(queues, "ZCOUNT", f"{HOLE}x{HOLE}", "1", HOLE) == [
        (b"ZCOUNT", q + b"x" + q, b"1", q) for q in raw
    ]
    assert commands_for(
        ["a", "b"], f"X{SECOND_HOLE}", f"{SECOND_HOLE}{HOLE}", second=[HOLE, "%"]
    ) == [
        (b"X\0", b"\0a"),
        (b"X%", b"%b"),
    ]
    assert commands_for([], "LLEN", HOLE) == []
    assert commands_for(["a", "b"], "PING", "x") == [(b"PING", b"x")] * 2


# --- a server that means harm


@contextmanager
def answering(content: bytes, times: int = 1) -> Iterator[str]:
    """A server that sends this as often to whoever asks, and keeps the connection; its URL."""
    over = threading.Event()

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            try:
                for _ in range(times):
                    client.sendall(content)
            except OSError:
                return
            over.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join(timeout=10)


MEBIBYTE = b"x" * (1 << 20)
HARMFUL = {
    # One header reserves 16 GiB, many within one another as much as one likes.
    "a long list": (b"*2147483647\r\n", 1, "larger than 64 MiB"),
    "long lists in lists": (b"*1000000\r\n", 500, "larger than 64 MiB"),
    "a deep list": (b"*1\r\n" * 100_000, 100, "larger than 64 MiB|none of its protocol"),
    "a long push": (b">2147483647\r\n", 1, "larger than 64 MiB"),
    "a long map": (b"%2147483647\r\n", 1, "larger than 64 MiB"),
    "many small things": (b"*4000000\r\n" + b"*0\r\n" * 250_000, 5, "no answer within|larger"),
    "an endless text": (b"$1000000000\r\n" + MEBIBYTE, 1000, "larger than 64 MiB|no answer within"),
    "an endless line": (b"+" + MEBIBYTE, 1000, "larger than 64 MiB|no answer within"),
    "a size that is none": (b"$99999999999999999999999\r\n", 1, "none of its protocol"),
    "a number of many digits": (b":" + b"9" * 5000 + b"\r\n", 1, "protocol|cannot read"),
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", 1, "none of its protocol"),
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_an_answer_takes_neither_time_nor_memory(kind: str) -> None:
    """By this process's own time: what else the machine does counts only against the patience."""
    content, times, said = HARMFUL[kind]
    before, begun, spent = _largest(), time.monotonic(), time.process_time()
    with answering(content, times) as url, pytest.raises(QueuesError, match=said):
        looked(Redis(url=url))
    assert time.process_time() - spent < PATIENCE + 1
    assert time.monotonic() - begun < PATIENCE + 10
    assert _largest() - before < 400 << 20


def _largest() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize("at", range(1, 10))
def test_a_header_is_counted_also_in_two_parts(at: int) -> None:
    budget = Budget(0)
    header = b"*5000000\r\n"
    budget.spend(b"x" * 100)
    budget.spend(b"\r\n" + header[:at])
    with pytest.raises(QueuesError, match="larger"):
        budget.spend(header[at:])


def test_what_is_large_and_no_harm_is_read(server: RedisServer) -> None:
    client: Any = server.client
    client.rpush("resque:queue:sms", "x" * (8 << 20))
    client.sadd("resque:queues", *(f"*{number}\r\n" for number in range(2000)))
    found = looked(Redis(url=server.url))
    assert found.queues["sms"].waiting == 1
    assert len(found.queues) == 2001


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert process.poll() is None, "it has ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return
