"""Where the `unitq` command begins; `python -m unitq` is the same."""

from __future__ import annotations

import gc
import os
import sys

_INTERRUPTED = 10  # errors.py's Exit.INTERRUPTED, which may be what was being imported


def run() -> None:
    """Runs the command line and exits."""
    _have_standard_streams()
    # Most commands are over in a tenth of a second, and a tenth of that went into looking for
    # garbage among the modules being imported. What runs longer switches it on again.
    gc.disable()
    try:
        from unitq.cli.main import main
    except KeyboardInterrupt:
        # In the first tenth of a second: in the words of main(), which is not there yet.
        os.write(2, b"\nunitq: interrupted; nothing was changed\n")  # noqa: TID251
        os._exit(_INTERRUPTED)

    main()


def _have_standard_streams() -> None:
    """Opens /dev/null in place of each that the caller has closed (`unitq status >&-`).

    Else Python has no stream there, and the next file that is opened gets its number: a ledger
    with what should have been printed in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free (open(2))
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


if __name__ == "__main__":
    run()
