"""A systemd unit that somebody wrote for a worker, as a unitq.toml."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline import exec_line
from unitq.cmdline.without_shell import Plain
from unitq.config.directives import ServiceSection, UnitSection
from unitq.errors import ConfigError
from unitq.model import duration, signals
from unitq.supervisor.conf.ini import mistakes
from unitq.supervisor.importer import check_notes, not_workers, paths_and_user
from unitq.supervisor.importer import names as import_names
from unitq.supervisor.importer.celery_multi import multi, node_name
from unitq.supervisor.importer.draft import Draft, File, toml, valid_line, variables
from unitq.supervisor.importer.peel import peel
from unitq.supervisor.importer.report import Report
from unitq.supervisor.importer.stop_options import Stop, above, set_stop
from unitq.supervisor.importer.translate import Imported
from unitq.toml.messages import refusal
from unitq.toml.values import InvalidValueError
from unitq.toml.values import user as checked_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.presets.model import Preset
    from unitq.supervisor.importer.celery_multi import Multi
    from unitq.supervisor.importer.draft import Value
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.recognise import Looks, Recognise, Wishes
    from unitq.supervisor.importer.report import Part
    from unitq.supervisor.importer.unit_text import UnitText

_SYSTEMD_WAIT = "90s"  # DefaultTimeoutStopSec=, systemd-system.conf(5)
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_SPECIFIER = re.compile(r"%(.)")
_OF_THE_UNIT = frozenset("nNpPjJ")  # its name, which is another one here
_TRUE = ("yes", "true", "on", "1")

# What a worker of unitq has anyway, or what stands in its own place here. The rest is looked up in
# config/directives.py: it is taken over where a worker's own tables may have it.
_SAME = frozenset({
    "Type", "ExecStart", "User", "Group", "WorkingDirectory", "Environment", "EnvironmentFile",
    "KillSignal", "KillMode", "TimeoutStopSec", "TimeoutSec", "Restart", "RestartSec", "UMask",
    "Nice", "StandardOutput", "StandardError",
})  # fmt: skip
_GONE = {
    "PIDFile": "systemd starts the worker itself and knows its process",
    "ExecStop": "stop_signal lets the job finish; a command beside it would be a second way",
    "ExecStopPost": "unitq's own account ends with the process",
    "ExecReload": "a deploy restarts the worker, a few instances at a time",
    "RemainAfterExit": "a worker that has exited must not count as running",
    "GuessMainPID": "systemd starts the worker itself and knows its process",
    "SyslogIdentifier": "the journal has each instance's own name",
}
_GONE_UNIT = {
    "Description": "unitq writes one",
    "Documentation": "nothing reads it here",
    "PartOf": "every worker is part of its app's target",
}
_STRONG = ("Requires", "BindsTo", "Requisite")
_ALWAYS = frozenset({
    "network.target", "syslog.target", "multi-user.target", "basic.target", "sysinit.target",
    "local-fs.target", "remote-fs.target",
})  # fmt: skip


class Source(NamedTuple):
    """A unit, and what is around it on the machine."""

    name: str  # without ".service", and without "@"
    text: UnitText
    template: bool = False
    instances: tuple[str, ...] = ()  # of a template, those that are enabled
    variables: Mapping[str, str] = {}  # of its EnvironmentFile=, and those given with --env
    missing: tuple[str, ...] = ()  # environment files that are not there


def translate(source: Source, wishes: Wishes, recognise: Recognise) -> Imported:
    """Returns the unitq.toml. Raises ConfigError for a unit that starts no worker."""
    _refuse(source, wishes)
    report = Report("", wishes.source)
    drafts: list[Draft] = []
    looks: dict[str, Looks] = {}
    named = [name for name in source.instances if not name.isdecimal()]
    for instance in named or [""]:
        name = import_names.identifier(f"{source.name}-{instance}" if instance else source.name)
        part = report.part(f"{source.name}{'@' * source.template}.service", wishes.source)
        draft = Draft(import_names.unique(name or "worker", [other.name for other in drafts]))
        looks[draft.name] = _Unit(source, instance, wishes, part, draft).fill(recognise)
        part.workers = [draft.name]
        drafts.append(draft)
        if not named and source.template and not draft.keys.get("singleton"):
            _numbers(source, part, draft)
    report.written = len(drafts)
    report.app = wishes.app or import_names.app(
        f"{source.name}.service", [draft.directory for draft in drafts], []
    )
    unit = f"{source.name}{'@*' * source.template}.service"
    report.decisions.append(
        f"to switch over: `systemctl disable --now '{unit}'`, which stops it as it always did, "
        "then `unitq deploy`. Both at once are two sets of workers"
    )
    head = (
        f"Written by `unitq import` from {wishes.source}; the same command with --explain says",
        "what became of each directive. Look at this with `unitq check` and `unitq plan`.",
    )
    file = File(report.app, head, drafts)
    check_notes.add(file, looks, report)
    return Imported(file.text(), report)


def _refuse(source: Source, wishes: Wishes) -> None:
    commands = source.text.values("Service", "ExecStart")
    if source.text.last("Service", "Type") == "oneshot" or len(commands) > 1:
        raise ConfigError(
            f"{wishes.source}: it runs once (Type=oneshot), so it is no worker",
            problems=("A deploy would wait for it to stay.",),
            hint="keep the unit; with each deploy, before_deploy or after_deploy in [hooks] runs "
            "such a command",
        )
    if not commands:
        raise ConfigError(f"{wishes.source}: there is no ExecStart= in a [Service] section")


def _numbers(source: Source, part: Part, draft: Draft) -> None:
    """How many instances of a template whose instances are numbers."""
    if source.instances:
        draft.keys["instances"] = len(source.instances)
        part.same("instances", f"{len(source.instances)} are enabled: counted from 1")
    else:
        part.decide(
            "it is a template, and none of its instances was found enabled: `systemctl list-units "
            f"'{source.name}@*'` shows those that run; write their number as `instances`"
        )


class _Unit:
    """One worker of a unit, and what became of each directive."""

    def __init__(
        self, source: Source, instance: str, wishes: Wishes, part: Part, draft: Draft
    ) -> None:
        self.source, self.instance, self.wishes = source, instance, wishes
        self.part, self.draft = part, draft
        self.text = source.text
        self.given = self._variables()

    def fill(self, recognise: Recognise) -> Looks:
        """Fills the draft in; returns what its command looks like."""
        self.part.same("ExecStart")
        command = self.value("ExecStart")
        peeled = self._peel(command, recognise)
        self._account(peeled)
        line = self._where_and_what(command, peeled)
        looks = recognise(line, self.draft.directory)
        filled = self._with_values(line)
        if looks.preset is None and filled != line:
            looks = recognise(filled, self.draft.directory)
        if looks.preset is None:
            not_workers.note_companion(self.part, self.draft, filled, looks.heads)
        self._environment(peeled)
        self._type()
        self._stop(line, looks, peeled)
        self._restart(looks.preset)
        self._service_directives()
        self._unit_directives()
        for name in self.text.names("Install"):
            self.part.leave(name, "workers start with their app's target, at each boot")
        return looks

    def value(self, name: str, section: str = "Service") -> str:
        """Returns the directive's value, with the name of a template's instance in it."""
        return self._with_instance(self.text.last(section, name))

    def _with_instance(self, value: str) -> str:
        def name(match: re.Match[str]) -> str:
            return self.instance if match[1] in "iI" else match[0]

        return _SPECIFIER.sub(name, value) if self.instance else value

    # --- the command ------------------------------------------------------------------------------

    def _peel(self, command: str, recognise: Recognise) -> Peeled | None:
        """The command's words without their wrappers; None where it has to stay as it is written.

        Variables and specifiers are systemd's to put in, so what has any stays, but for Celery's
        `multi`, whose nodes are instances here.
        """
        try:
            arguments = tuple(exec_line.words(command))
        except ValueError:
            return None
        if not arguments:
            return None
        if "multi" in command.split():
            arguments = self._expand(arguments)
        elif set(command.replace("%%", "")) & set("$%\\"):
            return None
        arguments = tuple(word.replace("%%", "%").replace("$$", "$") for word in arguments)
        directory = self.value("WorkingDirectory").removeprefix("-") or None
        return peel(arguments, directory, (), home=self.wishes.home, recognise=recognise)

    def _with_values(self, line: str) -> str:
        """The command with the values of variables, as far as they are known, to be recognised."""
        known = dict(self.given) | dict(self.source.variables)
        used = {match[1] or match[2] for match in _VARIABLE.finditer(line.replace("$$", ""))}
        if unknown := sorted(used - known.keys()):
            self.part.decide(
                f"its command uses {', '.join(unknown)}, which nothing that could be read here sets"
            )
        return _VARIABLE.sub(lambda match: known.get(match[1] or match[2], match[0]), line)

    def _expand(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """With the values of variables. Raises ConfigError with all that are not known."""
        known = dict(self.given) | dict(self.source.variables)
        used = {match[1] or match[2] for word in arguments for match in _VARIABLE.finditer(word)}
        if missing := sorted(used - known.keys()):
            files = self.text.values("Service", "EnvironmentFile")
            of = f", and not in {', '.join(files)}" if files else ""
            raise mistakes(
                self.wishes.source,
                [f"ExecStart: the value of {name} is not known{of}" for name in missing],
                f"say it: {' '.join(f'--env {name}=…' for name in missing)}",
            )
        words = []
        for word in arguments:
            filled = _VARIABLE.sub(lambda match: known[match[1] or match[2]], word)
            # A variable that is a word of its own is split at its blanks (systemd.service(5)).
            words += filled.split() if re.fullmatch(r"\$\w+", word) else [filled]
        return tuple(words)

    def _where_and_what(self, command: str, peeled: Peeled | None) -> str:
        """Sets directory and command; returns the command."""
        prefixes = exec_line.prefixes(command)
        if set(prefixes) & set("+!"):
            self.part.decide(f'"{prefixes}" before the command gave it rights beyond `user`: gone')
        arguments = peeled.plain.arguments if peeled else ()
        directory = (peeled and peeled.plain.directory) or self.value("WorkingDirectory")
        directory = directory.removeprefix("-")
        if directory == "~":
            directory = self.wishes.home(str(self.draft.keys.get("user", "root"))) or ""
        if not directory and arguments:
            directory = import_names.code_of(arguments) or ""
        if not directory.startswith("/"):
            directory = self.wishes.directory or "/"
            self.part.decide(
                f'directory = "{directory}": the unit names none. Say where the code is, there or '
                "with --directory; until then every deploy restarts it"
            )
        self.draft.keys["directory"] = directory.rstrip("/") or "/"
        several = multi(arguments)
        if not arguments:
            line = command.lstrip("-@+!")
        else:
            words = several.words if several else arguments
            line = exec_line.line(paths_and_user.relative(words, self.draft.directory))
        if several:
            self._note_multi(several)
            line += f" -n {node_name(several.nodes)}"
        try:
            line = valid_line(line)
        except InvalidValueError as mistake:
            raise ConfigError(f"{self.wishes.source}: ExecStart: {mistake}") from None
        if names := sorted(set(_SPECIFIER.findall(line)) & _OF_THE_UNIT):
            self.part.decide(
                f"%{names[0]} in its command is the unit's name, which is another here"
            )
        self.draft.keys["command"] = line
        return line

    def _note_multi(self, several: Multi) -> None:
        count = len(several.nodes)
        if count > 1:
            self.draft.keys["instances"] = count
            name = node_name(several.nodes).replace("%%h", "HOST").replace("%i", "1")
            self.part.decide(
                f"`celery multi` is gone: its {count} nodes are instances of one worker, which "
                f"systemd watches one by one. Their nodes are called {name} and on"
            )
        else:
            self.part.decide(
                "`celery multi` is gone: systemd runs the worker itself, in the foreground"
            )
        if several.single:
            self.part.decide(
                f"options for one node are left out ({', '.join(several.single)}): a node that is "
                "to be otherwise is a worker of its own"
            )

    # --- whose rights, which variables ------------------------------------------------------------

    def _account(self, peeled: Peeled | None) -> None:
        if self.wishes.user_scope:
            return
        user = (peeled.user if peeled else "") or self.value("User")
        group = (peeled.group if peeled else "") or self.value("Group")
        # DynamicUser=: systemd makes one up; user = "root" would make it root (systemd.exec(5)).
        if not user and self.value("DynamicUser").lower() not in _TRUE:
            self.part.decide('user = "root": the unit names none. Does it need to be root?')
            user = "root"
        for key, name in (("user", user), ("group", group)):
            try:
                if name:
                    self.draft.keys[key] = checked_user(name)
            except InvalidValueError as mistake:
                self.part.leave(key.capitalize(), str(mistake))

    def _variables(self) -> tuple[tuple[str, str], ...]:
        """What Environment= sets."""
        pairs = []
        for value in self.text.values("Service", "Environment"):
            try:
                assignments = shlex.split(self._with_instance(value))
            except ValueError:
                assignments = value.split()
            for assignment in assignments:
                name, _, text = assignment.partition("=")
                if letters := set(_SPECIFIER.findall(text)) - {"%"}:
                    self.part.decide(
                        f"environment: {name} has %{min(letters)} in it, which stays as it is: "
                        "systemd expands nothing there. Write the value out, or in `command` "
                        "/usr/bin/env NAME=VALUE, where it does"
                    )
                pairs.append((name, text.replace("%%", "%")))
        return tuple(pairs)

    def _environment(self, peeled: Peeled | None) -> None:
        pairs = dict(self.given) | dict(peeled.plain.environment if peeled else ())
        self.draft.environment = variables(self.part, tuple(pairs.items()))
        files = []
        for value in self.text.values("Service", "EnvironmentFile"):
            path = self._with_instance(value).removeprefix("-")
            if path in self.source.missing and value.startswith("-"):
                self.part.decide(f"{path} is not there (EnvironmentFile=-{path}): left out")
            else:
                files.append(path)
        if files:
            self.draft.keys["environment_file"] = files[0] if len(files) == 1 else files

    # --- how it starts and stops ------------------------------------------------------------------

    def _type(self) -> None:
        kind = self.value("Type")
        if kind in ("notify", "notify-reload"):
            self.draft.service["Type"] = kind
        elif kind == "forking" and "multi" not in self.text.last("Service", "ExecStart").split():
            self.part.decide(
                "Type=forking: its command goes into the background, and systemd would take its "
                "end for the worker's. Take the option that does so away (--daemon, -d, -D)"
            )

    def _stop(self, line: str, looks: Looks, peeled: Peeled | None) -> None:
        words = tuple(shlex.split(line)) if peeled else tuple(line.split())
        command = peeled.plain if peeled else Plain(())
        between = above(line, replace(command, arguments=words or ("",)), looks)
        signal = self.value("KillSignal") or "SIGTERM"
        with suppress(ValueError):
            signal = signals.name(signals.number(signal))
        limit = self._span(self.value("TimeoutStopSec") or self.value("TimeoutSec"))
        everyone = self.value("KillMode") in ("", "control-group")
        before = Stop(signal, everyone, limit or _SYSTEMD_WAIT, bool(limit and looks.preset))
        set_stop(self.part, self.draft, before, looks.preset, between, "the unit")
        if looks.preset and self.text.values("Service", "ExecStop"):
            self.part.decide("ExecStop= is gone: the preset's signal lets the job finish")

    def _span(self, text: str) -> str:
        """A time span as unitq takes it; 0 is no limit to systemd (systemd.service(5))."""
        try:
            span = duration.parse(text) if text else None
        except ValueError:
            return ""
        if span is None:
            return ""
        return span.text + ("s" * text.isdecimal()) if span.seconds else "infinity"

    def _restart(self, preset: Preset | None) -> None:
        keys = self.draft.keys
        word = self.value("Restart") or "no"
        if word != "always":
            self.part.decide(
                f"Restart={word}: here it is always started again, as a worker that exits with 0 "
                "would leave its queue alone"
                + ("" if preset else "; another way is Restart in its service table")
            )
        delay = self._span(self.value("RestartSec"))
        if delay and delay != "infinity":
            keys["restart_delay"] = delay
        if umask := self.value("UMask"):
            keys["umask"] = umask.zfill(4)
        if (nice := self.value("Nice")) and nice.lstrip("-").isdecimal():
            keys["nice"] = int(nice)
        burst = self.value("StartLimitBurst", "Unit") or self.value("StartLimitBurst")
        interval = self.value("StartLimitIntervalSec", "Unit") or self.value("StartLimitInterval")
        if self._span(interval) == "infinity":
            keys["start_limit"] = "none"
        elif burst.isdecimal() and int(burst):
            keys["start_limit"] = f"{burst}/{self._span(interval) or '10s'}"

    # --- the rest ---------------------------------------------------------------------------------

    def _service_directives(self) -> None:
        limits: dict[str, str | int] = {}
        for name in self.text.names("Service"):
            values = [self._with_instance(value) for value in self.text.values("Service", name)]
            if name in _GONE or not values:
                self.part.leave(name, _GONE.get(name, "it takes back what stood before it"))
            elif name.startswith("Limit"):
                limits[name] = int(values[-1]) if values[-1].isdecimal() else values[-1]
                self.part.same(name)
            elif name in _SAME or name.startswith("StartLimit"):
                self.part.same(name)
            else:
                self._keep(name, values, self.draft.service, ServiceSection)
        if limits:
            self.draft.keys["limits"] = limits

    def _unit_directives(self) -> None:
        table = self.draft.unit
        for name in self.text.names("Unit"):
            values = [self._with_instance(value) for value in self.text.values("Unit", name)]
            units = [unit for unit in " ".join(values).split() if unit not in _ALWAYS]
            if name in _GONE_UNIT or name.startswith("StartLimit") or not values:
                self.part.leave(name, _GONE_UNIT.get(name, "start_limit"))
                continue
            if name not in (*_STRONG, "After", "Wants"):
                self._keep(name, values, table, UnitSection)
                continue
            key = "Wants" if name in _STRONG else name
            if units:
                table[key] = " ".join([str(table.get(key, "")), *units]).strip()
            if key == name:
                self.part.same(name)
            elif not units:
                self.part.leave(name, "every worker starts after it")
            else:
                self.part.decide(
                    f"{name}={' '.join(units)} is Wants= here: it would stop the worker with it, "
                    "and not start it again. If it is on this machine: after = "
                    f"{toml(units)} for the app"
                )

    def _keep(self, name: str, values: list[str], table: dict[str, Value], kind: object) -> None:
        """Takes a directive over into the worker's table, where that may have it."""
        value: Value = values[-1] if len(values) == 1 else values
        if why := refusal(kind, {name: value}):
            self.part.leave(name, why)
            self.part.decide(f"{name}= is not carried over: {why}")
            return
        table[name] = value
        self.part.same(name)
