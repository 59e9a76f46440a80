"""Where the `unitq` command begins; `python -m unitq` is the same."""

from __future__ import annotations

import gc


def run() -> None:
    """Runs the command line and exits."""
    # Most commands are over in a tenth of a second, and a tenth of that went into looking for
    # garbage among the modules being imported. What runs longer switches it on again.
    gc.disable()
    from unitq.cli.main import main

    main()


if __name__ == "__main__":
    run()
