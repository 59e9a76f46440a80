#!/usr/bin/env python3
"""Workers that misbehave, and a steady one beside them: `odd.py MODE [ARGS]`.

    steady                     sleeps until QUIT, TERM or INT, then exits 0
    ignore-quit                hears QUIT and TERM and goes on: only SIGKILL ends it
    die-after SECONDS [CODE]   exits with CODE (1) after a while, even if nobody asked
    slow-drain SECONDS         takes that long to exit 0 once it is told to stop
    hold FILE                  exits 0 once it is told to stop and FILE is not there (any more)
    job PORT SECONDS           has a job from that Redis; takes so long to end it once told to stop
    double-fork                leaves a daemon (setsid, deaf to QUIT, TERM, HUP), itself steady
    environ FILE               writes its environment to FILE, NUL-separated; then steady
    children N                 forks N children, all of which exit when told; so does the parent

Each prints one line when it starts and one when it is told to stop. Standard library only, so
that it runs with any Python of the machine. What ends at once is in odd.sh.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

STOP = (signal.SIGQUIT, signal.SIGTERM, signal.SIGINT)


class Told(Exception):  # noqa: N818  (not an error: raised by the handler to leave any sleep)
    """The worker was told to stop."""


def say(line: str) -> None:
    """Print at once, in one write: a line in the journal must not wait for the exit."""
    os.write(1, f"odd {' '.join(sys.argv[1:])}: {line}\n".encode())


def told(number: int, _frame: FrameType | None) -> None:
    """Handle the first signal by leaving whatever is going on; systemd may send a second one."""
    for each in STOP:
        signal.signal(each, signal.SIG_IGN)
    say(f"told to stop by {signal.Signals(number).name}")
    raise Told


def deaf(number: int, _frame: FrameType | None) -> None:
    """Hear the signal and go on: a real ignorant worker, not one that never got the signal."""
    say(f"ignores {signal.Signals(number).name}")


def listen() -> None:
    """Obey the signals that a queue worker obeys."""
    for each in STOP:
        signal.signal(each, told)


def sleep_for_ever() -> NoReturn:
    """Sleep until a handler raises."""
    while True:
        time.sleep(3600)


def steady() -> NoReturn:
    """Be the worker that everybody wants."""
    listen()
    say(f"started, pid {os.getpid()}")
    sleep_for_ever()


def ignore_quit() -> None:
    """Be the worker that has to be killed."""
    for each in (signal.SIGQUIT, signal.SIGTERM):
        signal.signal(each, deaf)
    say(f"started, pid {os.getpid()}")
    sleep_for_ever()


def die_after(seconds: str, code: str = "1") -> None:
    """Be the worker that looks healthy for a while."""
    listen()
    say(f"started, pid {os.getpid()}")
    time.sleep(float(seconds))
    say(f"exits {code}")
    sys.exit(int(code))


def slow_drain(seconds: str) -> None:
    """Be the worker with a long job in hand."""
    try:
        steady()
    except Told:
        time.sleep(float(seconds))
        say("drained")


def hold(name: str) -> None:
    """Be the worker whose job lasts as long as the test wants."""
    try:
        steady()
    except Told:
        while Path(name).exists():
            time.sleep(0.02)
        say("drained")


def job(port: str, seconds: str) -> None:
    """Take a job, and finish it once told to stop: its end is written into Redis, or it is lost."""
    listen()
    with socket.create_connection(("127.0.0.1", int(port))) as redis:
        _ask(redis, "RPUSH", "begun", str(os.getpid()))
        say(f"started, pid {os.getpid()}")
        try:
            sleep_for_ever()
        except Told:
            time.sleep(float(seconds))
            _ask(redis, "RPUSH", "done", str(os.getpid()))


def _ask(redis: socket.socket, *words: str) -> None:
    parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    redis.sendall(f"*{len(words)}\r\n{parts}".encode())
    if not redis.recv(4096).startswith(b":"):
        raise ConnectionError("Redis is gone")


def double_fork() -> None:
    """Be the worker whose library starts a daemon: nobody's child, in nobody's session."""
    listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        for each in (signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        sleep_for_ever()
    os.wait()
    steady()


def environ(target: str) -> None:
    """Be the worker that shows what reached it, byte for byte."""
    dump = b"".join(key + b"=" + value + b"\0" for key, value in os.environb.items())
    final = Path(target)
    draft = final.with_name(f"{final.name}.{os.getpid()}")
    draft.write_bytes(dump)
    draft.replace(final)
    steady()


def wait_as_child() -> NoReturn:
    """End with the inherited handler, but never in the parent's code."""
    try:
        sleep_for_ever()
    finally:
        os._exit(0)


def children(count: str) -> None:
    """Be the worker that is a pool: under `mixed` the parent alone is told, and passes it on."""
    listen()
    pids = []
    try:
        for _ in range(int(count)):
            pid = os.fork()
            if pid == 0:
                wait_as_child()
            pids.append(pid)
        steady()
    except Told:
        for pid in pids:
            os.kill(pid, signal.SIGQUIT)
        for pid in pids:
            os.waitpid(pid, 0)


MODES: dict[str, Callable[..., None]] = {
    "steady": steady,
    "ignore-quit": ignore_quit,
    "die-after": die_after,
    "slow-drain": slow_drain,
    "hold": hold,
    "job": job,
    "double-fork": double_fork,
    "environ": environ,
    "children": children,
}


def main() -> int:
    """Run the mode that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in MODES:
        print(__doc__, file=sys.stderr)
        return 2
    with contextlib.suppress(Told):
        MODES[sys.argv[1]](*sys.argv[2:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
