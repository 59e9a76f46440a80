"""enqueue.py APP SECONDS FIRST COUNT: puts jobs, numbered from FIRST, into $PROOF_QUEUE."""

import importlib
import sys


def main() -> None:
    app, seconds, first, count = sys.argv[1:]
    numbers = [str(int(first) + each) for each in range(int(count))]
    importlib.import_module(app).enqueue(numbers, float(seconds))


if __name__ == "__main__":
    main()
