"""Unit texts and environments from an app. Rendering yields values; unit_files.py writes them.

Everything that reaches a unit file is escaped here, not in the templates and not in their author's
memory. What is systemd syntax by contract (`command`, `[workers.NAME.unit]`, `.service`) passes
verbatim; the configuration has refused control characters, so no value can add a directive.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unitq.cmdline.exec_line import command_line, with_arguments
from unitq.errors import ConfigError
from unitq.model import hardening, names
from unitq.model.settings import OnDrainTimeout, OnKilled
from unitq.presets import NONE
from unitq.systemd.envfile import assignments, file_names
from unitq.units import ordering

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jinja2.sandbox import ImmutableSandboxedEnvironment as Environment

    from unitq.model.app import App, Credential, Directives, Worker
    from unitq.model.layout import Layout
    from unitq.model.recycle import Recycle

    # Returns the keyed hash of a worker's environment: its name, the content.
    Seal = Callable[[str, bytes], str]

TEMPLATES = (
    "worker@.service.j2",
    "probe@.service.j2",
    "worker.slice.j2",
    "app.slice.j2",
    "app.target.j2",
    "recycle.service.j2",
    "recycle.timer.j2",
)

# Signals whose death systemd already counts as clean (systemd.service(5), SuccessExitStatus=).
CLEAN_SIGNALS = frozenset({"SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE"})


# What an expression of a template can end in, besides Jinja's own errors.
_EXPRESSION_FAILS = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip


def _plain_hash(_: str, content: bytes) -> str:
    """For what is only shown, and never written."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Code:
    """What a worker runs: the release, what that code is called, its environment files' bytes."""

    release: str
    version: str
    files: tuple[bytes, ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()  # each credential's name and seal
    # No part of the fingerprint: the version says what differs.
    commit: str = ""  # that is checked out
    in_place: bool = False  # an update replaces these files


@dataclass(frozen=True, slots=True)
class UnitText:
    """A unit file to be: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RenderedWorker:
    """All that makes up one worker. Two with the same fingerprint run the same thing.

    The probe is no part of the fingerprint: it asks a process, and is none of what it runs. Nor are
    the preset's name and the signals that only unitq sends; nor what its unit is ordered after,
    which a daemon-reload changes for a process that runs.
    """

    name: str
    instances: int
    stop_timeout: float
    unit: UnitText
    slice: UnitText
    environment: tuple[tuple[str, str], ...]
    code: Code
    fingerprint: str
    sealed: str  # the part of it that says which environment it is
    former: str = ""  # the fingerprint in the form that unitq 0.1 wrote
    singleton: bool = False
    probe: UnitText | None = None
    probes: int = 0  # how often in a row it must succeed; 0: there is none
    registered: bool = False  # the probe asks Redis, and is no unit
    requeue: bool = False  # a job of a killed worker is put back
    recycle: Recycle | None = None
    preset: str | None = None
    queues: tuple[str, ...] = ()
    quiet: str = ""  # the signal after which it takes no new jobs
    resume: str = ""
    supervisor_name: str = ""
    order: tuple[str, ...] = ()  # lines of its [Unit]: what it stops before, see units/ordering.py


@dataclass(frozen=True, slots=True)
class Rendered:
    """All that makes up one app."""

    app: str
    target: UnitText
    slice: UnitText
    workers: tuple[RenderedWorker, ...]
    recycling: tuple[UnitText, ...] = ()  # what looks for instances to be recycled
    key: bytes = field(default=b"", repr=False)  # that the seals were made with; b"": there is none

    @property
    def units(self) -> tuple[UnitText, ...]:
        """Every unit text of the app, ordered by name."""
        texts = [self.target, self.slice, *self.recycling]
        for worker in self.workers:
            texts += [worker.unit, worker.slice]
            if worker.probe:
                texts.append(worker.probe)
        return tuple(sorted(texts, key=lambda text: text.name))

    def worker(self, name: str) -> RenderedWorker | None:
        """The worker of that name."""
        return next((worker for worker in self.workers if worker.name == name), None)


def render(
    app: App,
    layout: Layout,
    code: Mapping[str, Code],
    templates: Mapping[str, str],
    program: Sequence[str] = ("unitq",),
    after: Mapping[str, Sequence[str]] | None = None,
    seal: Seal = _plain_hash,
) -> Rendered:
    """The app's units and environments.

    `code` has an entry per worker, `templates` one per name in TEMPLATES; `program` is what a unit
    is to run as `unitq`; `after` are the units that a worker is ordered after, by its name; `seal`
    is the keyed hash of what may hold secrets: everybody can read fingerprints.
    Raises ConfigError where a template (an operator's own, say) is broken.
    """
    # A template says how a unit looks, and runs nothing.
    # Here: 15 ms, and a restart only needs to know what Code is.
    from jinja2 import DictLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment as Environment

    jinja = Environment(
        loader=DictLoader(dict(templates)),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    common: dict[str, object] = {
        "app": app.name,
        "target": names.target(app.name),
        "app_slice": names.app_slice(app.name),
        "user_scope": layout.user,
    }
    return Rendered(
        app=app.name,
        target=_text(jinja, "app.target.j2", names.target(app.name), common),
        slice=_text(jinja, "app.slice.j2", names.app_slice(app.name), common),
        workers=tuple(
            _worker(
                jinja,
                app,
                worker,
                layout,
                code[worker.name],
                common,
                ordering.lines((after or {}).get(worker.name, ())),
                seal,
            )
            for worker in app.workers
        ),
        recycling=_recycling(
            jinja, app, common | {"program": with_arguments("", tuple(program)).strip()}
        ),
    )


def _recycling(jinja: Environment, app: App, values: dict[str, object]) -> tuple[UnitText, ...]:
    if not any(worker.recycle for worker in app.workers):
        return ()
    return (
        _text(jinja, "recycle.service.j2", names.recycle(app.name), values),
        _text(jinja, "recycle.timer.j2", names.recycle_timer(app.name), values),
    )


def _worker(
    jinja: Environment,
    app: App,
    worker: Worker,
    layout: Layout,
    code: Code,
    common: dict[str, object],
    order: tuple[str, ...],
    seal: Seal,
) -> RenderedWorker:
    pin = path(str(layout.app(app.name).pin(worker.name, "%i")).replace("%i", "\0"))
    pin = pin.replace("\0", "%i")
    wait = app.rollout.on_drain_timeout is OnDrainTimeout.WAIT
    values = common | {
        "worker": worker.name,
        "slice": names.worker_slice(app.name, worker.name),
        "pin": pin,
        "run_as": worker.user,
        "group": worker.group,
        "environment_files": (*file_names(len(code.files)), "env"),
        "command": with_arguments(
            command_line(worker.command, f"{pin}/release"), worker.from_preset.arguments
        ),
        "type": dict(worker.from_preset.service).get("Type", "exec"),
        "readiness": [pair for pair in worker.from_preset.service if pair[0] != "Type"],
        "why": textwrap.wrap(worker.from_preset.why, 98, break_on_hyphens=False),
        "success": worker.from_preset.success,
        "kill_mode": str(worker.kill_mode),
        "stop_signal": worker.stop_signal,
        "clean_signal": worker.stop_signal in CLEAN_SIGNALS,
        "stop_timeout": "infinity" if wait else worker.stop_timeout,
        "drain_wait": wait,
        "restart_delay": worker.restart_delay,
        "start_limit": worker.start_limit,
        "nice": worker.nice,
        "umask": worker.umask,
        "limits": worker.limits,
        "order": order,
        "whole_output": not layout.user,  # journald limits a user's manager as one unit
        "unit": _lines(worker.unit),
        "service": _lines(worker.service),
        "credentials": [_credential(credential) for credential in worker.credentials],
    }
    values |= _sandbox(worker, pin, user_scope=layout.user)
    unit = _text(jinja, "worker@.service.j2", names.template(app.name, worker.name), values)
    _complete(unit, "worker@.service.j2", values)
    environment = environment_of(app, worker, code)
    # These lines change nothing of what a process does: to add them restarts nobody.
    without = values | {"order": (), "whole_output": False}
    counted = _text(jinja, "worker@.service.j2", unit.name, without)
    files = [hashlib.sha256(content).hexdigest() for content in code.files]
    sealed = seal(worker.name, json.dumps([environment, files]).encode())
    return RenderedWorker(
        name=worker.name,
        instances=worker.instances,
        stop_timeout=worker.stop_timeout.seconds,
        unit=unit,
        slice=_text(jinja, "worker.slice.j2", str(values["slice"]), values),
        environment=environment,
        code=code,
        fingerprint=_hash(counted.text, code.release, code.version, sealed, *_secrets(code)),
        sealed=sealed,
        former=_hash(counted.text, environment, code.release, code.version, files, *_secrets(code)),
        singleton=worker.singleton,
        probe=_probe(jinja, app, worker, values),
        probes=worker.probe.successes if worker.probe else int(worker.registered),
        registered=worker.registered,
        requeue=worker.on_killed is OnKilled.REQUEUE,
        recycle=worker.recycle,
        preset=worker.preset,
        queues=worker.queues,
        quiet=worker.quiet,
        resume=worker.resume,
        supervisor_name=worker.supervisor_name,
        order=order,
    )


def _probe(
    jinja: Environment, app: App, worker: Worker, values: dict[str, object]
) -> UnitText | None:
    if worker.probe is None:
        return None
    more = {
        "probe_command": command_line(worker.probe.command, f"{values['pin']}/release"),
        "probe_timeout": worker.probe.timeout,
        "instance_unit": names.template(app.name, worker.name).replace("@.", "@%i."),
        "probe_unit": names.probe(app.name, names.InstanceName(worker.name, 1)),
    }
    name = names.probe_template(app.name, worker.name)
    text = _text(jinja, "probe@.service.j2", name, values | more)
    _complete(text, "probe@.service.j2", values)
    return text


def _sandbox(worker: Worker, pin: str, *, user_scope: bool) -> dict[str, object]:
    """What `hardening` writes into the worker's unit, and into its probe's."""
    if worker.hardening is None:
        return {"hardening": "", "sandbox": [], "probe_sandbox": [], "private_tmp": False}
    own = dict(worker.service)
    sandbox = hardening.sandbox(
        worker.hardening,
        user_scope=user_scope,
        root=worker.root,
        own=own,
        leave_out=worker.from_preset.leave_out,
    )
    lines = [str(line) for line in sandbox.lines]
    if not user_scope:
        lines += [f"ReadWritePaths={_one_of(where, pin)}" for where in worker.writable]
    # What the operator changed of the sandbox counts for the probe as well.
    changed = tuple(
        directive for directive in worker.service if directive[0] in hardening.DIRECTIVES
    )
    return {
        "hardening": str(worker.hardening),
        "sandbox": lines,
        "probe_sandbox": lines + _lines(changed),
        "private_tmp": any(line.directive == "PrivateTmp" for line in sandbox.lines),
    }


def _one_of(where: str, pin: str) -> str:
    """A path for a directive that takes a list of them. Below the pin it follows the release."""
    text = path(where) if where.startswith("/") else f"{pin}/release/{path(where)}"
    text = text.removesuffix("/.")
    if not any(c in text for c in " \t\"'\\"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _credential(credential: Credential) -> str:
    directive = "LoadCredentialEncrypted" if credential.encrypted else "LoadCredential"
    return f"{directive}={credential.name}:{path(credential.path)}"


def _complete(unit: UnitText, template: str, values: Mapping[str, object]) -> None:
    """Raises ConfigError where an operator's own template leaves out what protects a worker."""
    there = set(unit.text.splitlines())
    lines = [*values["credentials"], *values["sandbox"]]  # type: ignore[misc]
    if missing := [line for line in lines if line not in there]:
        raise ConfigError(
            f"unit template {template}: has no {missing[0]}, which unitq.toml asks for",
            hint="it is older than `hardening` and `credentials`: take over what ours does with "
            "{{ sandbox }} and {{ credentials }}",
        )


def environment_of(app: App, worker: Worker, code: Code) -> tuple[tuple[str, str], ...]:
    """Returns what a worker is started with, besides its environment files."""
    environment = dict(worker.environment)
    if worker.from_preset.environment:
        # This file is read last, and the user's own files must win.
        own = {name for file in code.files for name in assignments(file.decode(errors="replace"))}
        for name, value in worker.from_preset.environment:
            if name not in own:
                environment.setdefault(name, value)
    if worker.queues and worker.preset in (None, NONE):
        # The Resque family's own variable (bin/resque, lib/resque/tasks.rb).
        environment.setdefault("QUEUE", ",".join(worker.queues))
    environment |= dict(worker.from_preset.variables)
    environment |= {"UNITQ_APP": app.name, "UNITQ_WORKER": worker.name}
    return tuple(sorted(environment.items()))


def _secrets(code: Code) -> tuple[object, ...]:
    return (code.secrets,) if code.secrets else ()


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _text(jinja: Environment, template: str, name: str, values: dict[str, object]) -> UnitText:
    from jinja2 import TemplateError

    try:
        return UnitText(name, jinja.get_template(template).render(values))
    except (TemplateError, *_EXPRESSION_FAILS) as error:
        line = getattr(error, "lineno", None)
        where = f"{template}, line {line}" if line else template
        raise ConfigError(
            f"unit template {where}: {error}",
            hint="an operator's own templates are in the `units` folder of the configuration",
        ) from error


def _lines(directives: Directives) -> list[str]:
    return [f"{name}={value}" for name, values in directives for value in values]


def path(text: str) -> str:
    """A path for a unit file: `%` starts a specifier there."""
    return text.replace("%", "%%")
