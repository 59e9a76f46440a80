"""A unitq command in a fork of this process, which has imported it already.

For clean-up after each test: to start Python and to import unitq takes longer than the removal. It
is the same command line, with the rights and the environment of its user. What a test says about
unitq it says of a process of its own: see `Site.unitq`.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import sys
import tempfile
import traceback
from typing import TYPE_CHECKING, NoReturn

# Imported before the fork, so that it is not imported in each.
from unitq.cli import instances  # noqa: F401
from unitq.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_forked(
    arguments: Sequence[str], *, user: str, environment: Mapping[str, str], timeout: float
) -> tuple[int, str, str]:
    """Returns the exit code (negative: a signal) and both streams. Kills it after the timeout."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _run(arguments, user, environment, out.fileno(), err.fileno())
        descriptor = os.pidfd_open(pid)
        try:
            if not select.select([descriptor], [], [], timeout)[0]:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        finally:
            os.close(descriptor)
        texts = [os.pread(f.fileno(), 1 << 20, 0).decode(errors="replace") for f in (out, err)]
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


def _run(
    arguments: Sequence[str], user: str, environment: Mapping[str, str], out: int, err: int
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.chdir("/")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.environ.clear()
        os.environ.update(environment)
        # pytest has put its own in their places.
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            for number, mode in enumerate(("r", "w", "w"))
        )
        main(list(arguments))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  (the fork ends here, whatever it was)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
