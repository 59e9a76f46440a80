"""The incident, side by side: the same workers, jobs and changes under Supervisor and under unitq.

Each setup is restarted while jobs flow in, each time after the template has changed and `current`
has moved to a new release. Counted is what is left, lost, done twice or done with old code, from
outside: by what the workers and their jobs write down and by a process that looks at all others 20
times a second. docs/measured.md says what each column means.

Two setups are measured at a time, each with a Redis of its own: they wait most of the time. Without
options the table in README.md and docs/incident.json are written anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import managers, report
from bench.account import Outcome, Restart, count, table
from bench.managers import SETUPS, WORKERS
from bench.traffic import Mix, Traffic
from bench.watching import Home, Watch
from tests.harness.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.managers import Setup

README = report.CHECKOUT / "README.md"
RESULT = report.CHECKOUT / "docs" / "incident.json"
BEGIN = "<!-- bench/run incident writes what is between this line and the next one like it -->"
END = "<!-- end of what bench/run incident writes -->"

RESTARTS = 10

_WORKER = report.CHECKOUT / "tests" / "workers" / "resque.php"
_PATIENCE = 120.0


class Plan(NamedTuple):
    """What each setup goes through. Seconds."""

    restarts: int
    mix: Mix
    before: float
    """Jobs flow for so long before each restart …"""
    after: float
    """… and after it."""


# Most jobs are short, some take a while, and a few longer than Supervisor waits by default.
FULL = Plan(RESTARTS, Mix(5, ((0.05, 0.905), (2.0, 0.08), (12.0, 0.015))), 3.0, 2.0)
QUICK = Plan(1, Mix(8, ((0.05, 0.8), (0.5, 0.15), (2.0, 0.05))), 2.0, 1.5)


class Shop:
    """A directory as a deployment tool leaves it: releases/N, and the symlink `current`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.number = 0
        self.trace = root / "trace"
        (root / "releases").mkdir(parents=True)
        self.trace.touch()
        self.trace.chmod(0o666)

    def release(self) -> int:
        """Change the template to `text N`, in a new release, and move `current` to it."""
        self.number += 1
        release = self.root / "releases" / str(self.number)
        release.mkdir()
        shutil.copy(_WORKER, release / "resque.php")
        (release / "template.php").write_text(f"<?php return 'text {self.number}';\n")
        link = self.root / "current.new"
        link.symlink_to(release)
        link.rename(self.root / "current")
        return self.number

    def traced(self) -> list[dict[str, Any]]:
        """What the workers have written down so far."""
        lines = self.trace.read_text().splitlines(keepends=True)
        # The last one may be half written.
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def up(self) -> int:
        """How many workers have come up so far."""
        return sum(each["event"] == "up" for each in self.traced())


def measure(setup: Setup, plan: Plan) -> Outcome:
    """Take one setup through the plan."""
    root = Path("/srv", f"incident-{setup.name}")
    home = Home()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        shop = Shop(root)
        shop.release()
        redis = stack.enter_context(RedisServer())
        environment = {
            "QUEUE": "sms",
            "REDIS_BACKEND": redis.address,
            "INTERVAL": "0.05",
            "TRACE": str(shop.trace),
        }
        manager = managers.make(setup, root, environment)
        stack.callback(lambda: managers.end_all(root, home))
        stack.callback(manager.stop)
        home = manager.start()
        _wait_up(shop)
        # Not below `root`: who looks at a directory must not be found in it.
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="unitq-bench-"))
        watch = Watch(root, home, Path(scratch, "looks"))
        with watch:
            traffic = Traffic(redis.client, plan.mix)
            with traffic:
                restarts = [_cycle(n, shop, manager, traffic, plan) for n in range(plan.restarts)]
            traffic.wait_drained(_PATIENCE)
            time.sleep(0.5)
        failed = [
            json.loads(text)["payload"]["id"]
            for text in redis.client.lrange("resque:failed", 0, -1)
        ]
        outcome = count(
            setup.name, WORKERS, traffic.jobs, failed, shop.traced(), restarts, watch.samples()
        )
    said = [f"{name} {value}" for name, value in _short(outcome).items()]
    print(f"# {setup.name}: {', '.join(said)}", flush=True)
    return outcome


def _cycle(
    number: int, shop: Shop, manager: managers.Manager, traffic: Traffic, plan: Plan
) -> Restart:
    traffic.anew(number)
    time.sleep(plan.before)
    text = shop.release()
    began = time.time()
    status = manager.restart()
    ended = time.time()
    time.sleep(plan.after)
    return Restart(text, began, ended, status)


def _wait_up(shop: Shop) -> None:
    until = time.monotonic() + _PATIENCE
    while shop.up() < WORKERS:
        if time.monotonic() > until:
            raise TimeoutError(f"{shop.root}: {shop.up()} of {WORKERS} workers came up")
        time.sleep(0.05)


def _short(outcome: Outcome) -> Mapping[str, object]:
    return {
        "orphans": outcome.orphans,
        "old code": f"{outcome.stale} of {outcome.judged}",
        "lost": f"{outcome.lost} of {outcome.jobs}",
        "twice": outcome.twice,
        "least": outcome.least,
        "seconds": f"{outcome.median:.1f}",
    }


def run(setups: Sequence[Setup], plan: Plan, at_once: int) -> dict[str, object]:
    """Measure all, and return the document that is written."""
    # The file is for everybody: what was measured on, and nothing that tells which machine it was.
    here = report.machine()
    machine = {name: here[name] for name in ("cores", "systemd", "python", "load")}
    machine["versions"] = managers.versions()
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        # The last ones take longest: they go first, so that nothing waits for one of them alone.
        found = list(pool.map(lambda setup: measure(setup, plan), reversed(setups)))
    return {
        "benchmark": "incident",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "setup": {**plan._asdict(), "mix": plan.mix._asdict(), "workers": WORKERS},
        "at_once": at_once,
        "seconds": round(time.monotonic() - began),
        "rows": [asdict(outcome) for outcome in reversed(found)],
    }


def rendered(document: Mapping[str, Any]) -> str:
    """What README.md has of the document: the table, and what it was measured on."""
    titles = {setup.name: setup.title for setup in SETUPS}
    outcomes = [outcome_of(row) for row in document["rows"]]
    machine, plan = document["machine"], document["setup"]
    versions = machine["versions"]
    mix = plan["mix"]
    failed, lost = (sum(each) for each in zip(*((o.failed, o.lost) for o in outcomes), strict=True))
    lengths = ", ".join(f"{100 * share:g} % of {length:g} s" for length, share in mix["shares"])
    about = (
        f"Restarts in each row: {plan['restarts']}, of {plan['workers']} workers, under"
        f" {mix['rate']:g} jobs a second ({lengths}). Seconds are the median and the range."
        f" Of the lost jobs {failed} of {lost} are at least in Resque's failed list."
        f"{''.join(_told(outcome, titles[outcome.setup]) for outcome in outcomes)}"
        f" Measured on {document['date'][:10]} with Supervisor {versions['supervisor']},"
        f" systemd {machine['systemd'].split()[0]} and PHP {versions['php']},"
        f" {machine['cores']} cores, {document['at_once']} rows at a time"
        f" (load before: {machine['load'][0]:g})."
    )
    lines = [
        *table([(titles[outcome.setup], outcome) for outcome in outcomes]),
        "",
        *textwrap.wrap(about, 120),
    ]
    return "\n".join(lines) + "\n"


def _told(outcome: Outcome, title: str) -> str:
    """What is to be said of a row whose command did not always end with 0."""
    others = [status for status in outcome.statuses if status != 0]
    if not others:
        return ""
    said = ", ".join(map(str, sorted(set(others))))
    return f" {title}: {len(others)} of {len(outcome.statuses)} restarts ended with status {said}."


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """A row of the document, read back."""
    values: dict[str, Any] = {field.name: row[field.name] for field in fields(Outcome)}
    # JSON has lists only.
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Outcome(**values)


def replaced(text: str, table_text: str) -> str:
    """README.md's text, with this between the two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} has not both marks, {BEGIN} and {END}")
    return f"{before}{begin}\n\n{table_text}\n{end}{after}"


def main() -> None:
    """Measure, print, and write if all was measured."""
    parser = argparse.ArgumentParser(
        prog="bench/run incident",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [setup.name for setup in SETUPS]
    parser.add_argument("--restarts", type=int, help=f"of each setup ({RESTARTS})")
    parser.add_argument("--quick", action="store_true", help="one restart, and short jobs")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--at-once", type=int, default=2, help="setups side by side (2)")
    parser.add_argument("--print", action="store_true", help="leave README.md and docs alone")
    report.add_output(parser)
    chosen = parser.parse_args()
    if min(chosen.at_once, RESTARTS if chosen.restarts is None else chosen.restarts) < 1:
        parser.error("--restarts and --at-once are 1 or more")
    if "UNITQ_SANDBOX" not in os.environ:
        parser.error("this wants a systemd of its own: bench/run incident boots one")
    plan = QUICK if chosen.quick else FULL
    if chosen.restarts:
        plan = plan._replace(restarts=chosen.restarts)
    setups = [setup for setup in SETUPS if not chosen.only or setup.name in chosen.only]
    # The workers run as another user and have to read what is laid out here.
    os.umask(0o022)
    document = run(setups, plan, chosen.at_once)
    # As a reader of the file will have it: lists for tuples.
    text = json.dumps(document, indent=1) + "\n"
    found = rendered(json.loads(text))
    print(f"\n{found}", flush=True)
    written = [chosen.output] if chosen.output else []
    if plan == FULL and len(setups) == len(SETUPS) and not chosen.print:
        README.write_text(replaced(README.read_text(), found))
        written = [README, *(written or [RESULT])]
    for path in written:
        if path != README:
            path.write_text(text)
        print(f"# {path.relative_to(report.CHECKOUT)}", flush=True)


if __name__ == "__main__":
    main()
