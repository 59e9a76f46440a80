"""signal: sent to workers, unless it is known to cost jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import echo, echo_json
from unitq.cli.scope import current, scope_options
from unitq.cli.targets import targets
from unitq.context import chosen
from unitq.errors import ConfigError, Exit, PreflightError
from unitq.instances import observe
from unitq.instances.signal_harm import Framework, Recipient, problems
from unitq.linux import proc
from unitq.model import names, signals
from unitq.rollout.current_state import running
from unitq.units import unit_files
from unitq.units.text import read_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.context import Scope
    from unitq.revisions.model import Revision


@click.command(
    "signal",
    epilog="""\b
Examples:
  unitq signal USR2 sms        pause php-resque workers
  unitq signal CONT sms        and let them take jobs again
  unitq signal HUP sms@3 --all-processes
  unitq signal KILL sms@3 --force

\b
Exit codes: 0 sent; 3 none of the instances runs; 13 refused, and nothing was sent.
"""
)  # fmt: skip
@scope_options
@click.option("--all-processes", is_flag=True, help="Not only the main process of each.")
@click.option("--force", is_flag=True, help="Send it although it may end workers and lose jobs.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
@click.argument("signal_name", metavar="SIGNAL", shell_complete=completions.signals)
@targets
def send_signal(
    signal_name: str, targets: tuple[str, ...], all_processes: bool, force: bool, as_json: bool
) -> int:
    """Send a signal to the main process of workers that run.

    Refused, and sent to none of them, is a signal that the worker's preset says kills or loses
    jobs, or does so as the second one to a worker that drains, and one that a process has no
    handler for and would die of. `unitq presets NAME` says what each signal does. `unitq stop` and
    `unitq restart` let jobs finish.
    """
    number = _signal(signal_name)
    scope = current()
    revision = scope.installed()
    systemd = scope.systemd()
    where = observe.machine(systemd, scope.layout)
    found = running(systemd, scope, where, revision)
    asked = [found[name] for name in sorted(chosen(revision, targets, found))]
    there = [one for one in asked if one.pids]
    if not force:
        _require_harmless(scope, revision, number, there, all_processes=all_processes)
    rows = []
    for one in asked:
        pids = () if not one.pids else one.pids if all_processes else (one.main_pid,)
        if pids:
            systemd.kill(one.unit, "all" if all_processes else "main", number)
        rows.append((one, pids))
    code = Exit.OK if there else Exit.NOT_AS_WANTED
    if as_json:
        echo_json({
            "format": 1,
            "command": "signal",
            "app": revision.app,
            "exit_code": int(code),
            "signal": signals.name(number),
            "instances": [{"instance": str(one.name), "pids": list(pids)} for one, pids in rows],
        })  # fmt: skip
        return code
    for one, pids in rows:
        if not pids:
            echo(f"{one.name}: not running", err=True)
    for one, pids in rows:
        if pids:
            echo(f"{one.name}: {signal_name.upper()} to PID {', '.join(map(str, pids))}")
    return code


def _require_harmless(
    scope: Scope,
    revision: Revision,
    number: int,
    instances: Iterable[observe.Instance],
    *,
    all_processes: bool,
) -> None:
    """Raises PreflightError where the signal would end workers or lose jobs."""
    instances = list(instances)
    draining = {one.name for one in instances if one.draining}
    recipients = {
        one.name: [
            Recipient(proc.name_of(pid), proc.handles(pid, number))
            for pid in (one.pids if all_processes else (one.main_pid,))
        ]
        for one in instances
    }
    workers = {name.worker for name in recipients}
    frameworks = {
        worker: framework
        for worker in sorted(workers)
        if (framework := _framework(scope, revision, worker))
    }
    if wrong := problems(number, recipients, frameworks, draining):
        raise PreflightError(
            f"{revision.app}: {signals.name(number)} can cost jobs; nothing was sent",
            problems=wrong,
            hint="`unitq stop` and `unitq restart` let jobs finish; --force sends it all the same",
        )


def _framework(scope: Scope, revision: Revision, worker: str) -> Framework | None:
    """What is known of the program that an installed worker runs; None: it has no preset."""
    wanted = revision.worker(worker)
    preset = scope.presets().get(wanted.preset or "") if wanted else None
    if preset is None:
        return None
    text = unit_files.text(scope.layout.unit_dir, names.template(revision.app, worker))
    unit = read_unit(text, str(scope.layout.app(revision.app).pins(worker)))
    if unit is None:
        return Framework(preset, preset.stop.signal)
    return Framework(preset.for_command(unit.command), unit.stop_signal)


def _signal(text: str) -> int:
    try:
        return signals.number(text)
    except ValueError as error:
        raise ConfigError(
            str(error), hint="such as QUIT, USR2, CONT; `kill -l` lists them"
        ) from None
