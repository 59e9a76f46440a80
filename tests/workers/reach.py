#!/usr/bin/env python3
"""A worker that tries what it can reach, writes it down, and then is steady: `reach.py FOLDER`.

FOLDER/reach-N.json, for instance N, has "yes" or the name of the error for each attempt. What it
needs of the machine (a setuid program, files of others) is laid out by the test. Runs with any
Python of the machine; standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NEWUSER = 0x10000000  # CLONE_NEWUSER of sched.h


def tried(attempt: Callable[[], object]) -> str:
    """How it went; a value that is False is a no."""
    try:
        return "no" if attempt() is False else "yes"
    except OSError as error:
        return os.strerror(error.errno or 0)


def written(path: Path) -> None:
    """Make a file there, and take it away again."""
    path.write_text("x")
    path.unlink()


def set_id(path: Path) -> bool:
    """Make a setuid program of its own."""
    path.write_text("x")
    try:
        path.chmod(0o4755)
        return bool(path.stat().st_mode & 0o4000)
    finally:
        path.unlink()


def unshared() -> None:
    """A user namespace of its own, in a child."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        os._exit(ctypes.get_errno() if libc.unshare(_NEWUSER) else 0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(status, os.strerror(status))


def traced() -> None:
    """What a debugger does first, in a child."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        os._exit(ctypes.get_errno() if libc.ptrace(0, 0, 0, 0) else 0)  # PTRACE_TRACEME
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(status, os.strerror(status))


def attempts(out: Path) -> dict[str, Callable[[], object]]:
    """What is tried, by name."""
    here = Path.cwd()
    setuid = os.environ["SETUID"]  # a copy of id(1) that is root's, and setuid
    return {
        "rights of a setuid program": lambda: (
            subprocess.run([setuid, "-u"], capture_output=True, text=True).stdout.strip() == "0"
        ),
        "a setuid program of its own": lambda: set_id(out / f"own-{os.getpid()}"),
        "see processes of others": lambda: os.stat("/proc/1"),
        "write into the release": lambda: written(here / f"new-{os.getpid()}"),
        "write into its storage": lambda: written(here / "storage" / f"new-{os.getpid()}"),
        "write into a shared folder": lambda: written(out / f"new-{os.getpid()}"),
        "write elsewhere": lambda: written(Path(os.environ["ELSEWHERE"], f"new-{os.getpid()}")),
        "write to /tmp": lambda: written(Path("/tmp", f"new-{os.getpid()}")),
        "meet others in /tmp": lambda: os.stat(os.environ["IN_TMP"]),
        "write to /dev/shm": lambda: written(Path("/dev/shm", f"new-{os.getpid()}")),
        "a user namespace": unshared,
        "trace a process": traced,
        "resolve a name": lambda: socket.getaddrinfo("localhost", 80),
        "list interfaces": socket.if_nameindex,
        "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
        "a vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close(),
        "a thread": lambda: subprocess.run([sys.executable, "-c", _THREADS], check=True),
    }


_THREADS = """
import multiprocessing, threading, ssl, mmap
t = threading.Thread(target=print); t.start(); t.join()
multiprocessing.Semaphore(1)
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
"""


def main() -> None:
    """Try all of it, then wait to be told to stop."""
    out = Path(sys.argv[1])
    for number in (signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    found = {name: tried(attempt) for name, attempt in attempts(out).items()}
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        found |= {f"secret {each.name}": each.read_text() for each in Path(folder).iterdir()}
    staged = out / f".reach-{os.environ['UNITQ_INSTANCE']}"
    staged.write_text(json.dumps({**found, "pid": os.getpid()}))
    staged.rename(out / f"reach-{os.environ['UNITQ_INSTANCE']}.json")
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
