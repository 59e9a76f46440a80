"""Who answers at a socket, by the kernel."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from unitq.linux import peer
from unitq.linux.proc import alive, ancestry, numbers, same


def sign(uid: int, mark: int) -> peer.Sign:
    return peer.Sign(frozenset({uid}), frozenset({mark}))


def test_a_unix_socket_is_of_who_listens_under_its_name_or_one_with_a_number() -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = f"{folder}/a b.sock"
        # As supervisord makes it.
        server.bind(f"{path}.{os.getpid()}")
        assert peer.unix_inodes(path) == frozenset(), "nobody listens yet"
        server.listen()
        os.link(f"{path}.{os.getpid()}", path)
        (inode,) = peer.unix_inodes(path)
        assert inode == os.fstat(server.fileno()).st_ino
        assert peer.unix_inodes(f"{folder}/a") == peer.unix_inodes(f"{path}.x") == frozenset()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert peer.of_unix(client) == sign(os.geteuid(), os.getpid())
        (holder,) = peer.holders([inode])[inode]
        assert same(holder, alive(os.getpid()))
    assert peer.unix_inodes(path) == frozenset()


def test_a_port_is_of_all_that_listen_at_it() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert peer.of_port(port) == peer.Sign(frozenset(), frozenset())
        server.listen()
        with socket.create_connection(("127.0.0.1", port)):
            found = peer.of_port(port)
        assert found == sign(os.geteuid(), os.fstat(server.fileno()).st_ino)
    with socket.socket(socket.AF_INET6) as server:
        server.bind(("::1", 0))
        server.listen()
        inode = os.fstat(server.fileno()).st_ino
        assert peer.of_port(server.getsockname()[1]).marks == {inode}


def test_whoever_runs_this_is_in_its_line() -> None:
    assert {1, os.getpid(), os.getppid()} <= ancestry()


def test_the_ids_of_a_process_are_all_four() -> None:
    assert numbers(b"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\n", b"Uid") == (1, 2, 3, 4)
    assert numbers(b"Name:\tUid: 0\n", b"Uid") == ()
    one = alive(os.getpid())
    assert one
    assert one.uids == {os.getuid()}
    assert one.parent == os.getppid()
    assert alive(2**22 + 1) is None
    assert alive(-1) is None
    assert Path(f"/proc/{one.pid}").exists()
