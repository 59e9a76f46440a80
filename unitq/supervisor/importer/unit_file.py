"""A systemd unit that somebody wrote for a worker, as a unitq.toml."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.cmdline import exec_line
from unitq.cmdline.without_shell import Plain
from unitq.config.directives import ServiceSection, UnitSection
from unitq.errors import ConfigError
from unitq.model import duration, signals
from unitq.model.app import KillMode
from unitq.supervisor.conf.ini import mistakes
from unitq.supervisor.importer import (
    check_notes,
    not_workers,
    paths_and_user,
    stop_options,
)
from unitq.supervisor.importer import names as import_names
from unitq.supervisor.importer.account import Report
from unitq.supervisor.importer.celery_multi import multi, node_name
from unitq.supervisor.importer.peel import peel
from unitq.supervisor.importer.toml_draft import Draft, File, checked_line, toml, variables
from unitq.supervisor.importer.translate import Imported
from unitq.toml.messages import refusal
from unitq.toml.values import InvalidValueError
from unitq.toml.values import user as checked_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.presets.model import Preset
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.celery_multi import Multi
    from unitq.supervisor.importer.detect import Looks, Recognise
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.translate import Wishes
    from unitq.supervisor.importer.unit_text import UnitText

_SYSTEMD_WAIT = "90s"  # DefaultTimeoutStopSec=, systemd-system.conf(5)
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_SPECIFIER = re.compile(r"%(.)")
_OF_THE_UNIT = frozenset("nNpPjJ")  # its name, which is another one here

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
        draft = Draft(import_names.unique(name or "worker", [one.name for one in drafts]))
        unit = _Unit(source, instance, wishes, part, draft)
        looks[draft.name] = unit.fill(recognise)
        part.workers = [draft.name]
        drafts.append(draft)
        if not named and source.template:
            _numbers(source, part, draft)
    report.written = len(drafts)
    report.app = wishes.app or import_names.app(
        f"{source.name}.service", [str(draft.keys["directory"]) for draft in drafts], []
    )
    _switching(report, source)
    head = (
        f"Written by `unitq import` from {wishes.source}; the same command with --explain says",
        "what became of each directive. Look at this with `unitq check` and `unitq plan`.",
    )
    file = File(report.app, head, drafts)
    check_notes.beside(file, looks, report)
    return Imported(file.text(), report)


def _refuse(source: Source, wishes: Wishes) -> None:
    commands = source.text.every("Service", "ExecStart")
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
    if draft.keys.get("singleton"):
        return
    if source.instances:
        draft.keys["instances"] = len(source.instances)
        part.same("instances", f"{len(source.instances)} are enabled: counted from 1")
    else:
        part.decide(
            "it is a template, and none of its instances was found enabled: `systemctl list-units "
            f"'{source.name}@*'` shows those that run; write their number as `instances`"
        )


def _switching(report: Report, source: Source) -> None:
    name = f"{source.name}@*.service" if source.template else f"{source.name}.service"
    report.decide(
        f"to switch over: `systemctl disable --now '{name}'`, which stops it as it always did, "
        "then `unitq deploy`. Both at once are two sets of workers"
    )


class _Unit:
    """One worker of a unit, and what became of each directive."""

    def __init__(
        self, source: Source, instance: str, wishes: Wishes, part: Part, draft: Draft
    ) -> None:
        self.source, self.instance, self.wishes = source, instance, wishes
        self.part, self.draft = part, draft
        self.text = source.text

    def fill(self, recognise: Recognise) -> Looks:
        """Fills the draft in; returns what its command looks like."""
        self.part.same("ExecStart")
        command = self.value("ExecStart")
        peeled = self._peeled(command, recognise)
        self._account(peeled)
        line = self._where_and_what(command, peeled)
        looks = recognise(line, str(self.draft.keys["directory"]))
        filled = self._filled(line)
        if looks.preset is None and filled != line:
            looks = recognise(filled, str(self.draft.keys["directory"]))
        if looks.preset is None:
            not_workers.beside_workers(self.part, self.draft, filled, looks.heads)
        self._environment(peeled)
        self._type()
        self._stop(line, looks, peeled)
        self._restart(looks.preset)
        self._others()
        return looks

    def value(self, name: str, section: str = "Service") -> str:
        """The directive's value, with the name of a template's instance in it."""
        return self._named(self.text.last(section, name))

    def _named(self, value: str) -> str:
        if not self.instance:
            return value
        return _SPECIFIER.sub(lambda found: self.instance if found[1] in "iI" else found[0], value)

    # --- the command ------------------------------------------------------------------------------

    def _peeled(self, command: str, recognise: Recognise) -> Peeled | None:
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
        several = any(word == "multi" for word in command.split())
        if several:
            arguments = self._expanded(arguments)
        plain = command.replace("%%", "")
        if not several and ("$" in plain or "%" in plain or "\\" in plain):
            return None
        arguments = tuple(word.replace("%%", "%").replace("$$", "$") for word in arguments)

        directory = self.value("WorkingDirectory").removeprefix("-") or None
        return peel(arguments, directory, (), home=self.wishes.home, recognise=recognise)

    def _filled(self, line: str) -> str:
        """The command with the values of variables, as far as they are known, to be recognised."""
        known = dict(self._given()) | dict(self.source.variables)
        text = line.replace("$$", "")
        used = {found[1] or found[2] for found in _VARIABLE.finditer(text)}
        if unknown := sorted(used - known.keys()):
            self.part.decide(
                f"its command uses {', '.join(unknown)}, which nothing that could be read here sets"
            )
        return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), line)

    def _expanded(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """With the values of variables. Raises ConfigError with all that are not known."""
        known = dict(self._given()) | dict(self.source.variables)
        missing = {
            name for word in arguments for found in _VARIABLE.finditer(word)
            if (name := found[1] or found[2]) not in known
        }  # fmt: skip
        if missing:
            options = " ".join(f"--env {name}=…" for name in sorted(missing))
            files = self.text.every("Service", "EnvironmentFile")
            of = f", and not in {', '.join(files)}" if files else ""
            raise mistakes(
                self.wishes.source,
                [f"ExecStart: the value of {name} is not known{of}" for name in sorted(missing)],
                f"say it: {options}",
            )
        found = []
        for word in arguments:
            filled = _VARIABLE.sub(lambda one: known[one[1] or one[2]], word)
            # A variable that is a word of its own is split at its blanks (systemd.service(5)).
            found += filled.split() if re.fullmatch(r"\$\w+", word) else [filled]
        return tuple(found)

    def _where_and_what(self, command: str, peeled: Peeled | None) -> str:
        """Sets directory and command; returns the command."""
        prefixes = command[: len(command) - len(command.lstrip("-:@+!"))]
        if set(prefixes) & set("+!"):
            self.part.decide(f'"{prefixes}" before the command gave it rights beyond `user`: gone')
        found = peeled.plain if peeled else None
        directory = (found.directory if found else None) or self.value("WorkingDirectory")
        directory = directory.removeprefix("-")
        if directory == "~":
            directory = self.wishes.home(str(self.draft.keys.get("user", "root"))) or ""
        if not directory and found:
            directory = import_names.code_of(found.arguments) or ""
        if not directory.startswith("/"):
            directory = self.wishes.directory or "/"
            self.part.decide(
                f'directory = "{directory}": the unit names none. Say where the code is, there or '
                "with --directory; until then every deploy restarts it"
            )
        self.draft.keys["directory"] = directory.rstrip("/") or "/"
        several = multi(found.arguments) if found else None
        if several and found:
            line = self._of_multi(several)
        elif found:
            line = exec_line.line(
                paths_and_user.relative(found.arguments, str(self.draft.keys["directory"]))
            )
        else:
            line = command.lstrip("-@+!")
        try:
            line = checked_line(line)
        except InvalidValueError as mistake:
            raise ConfigError(f"{self.wishes.source}: ExecStart: {mistake}") from None
        if named := sorted({one[1] for one in _SPECIFIER.finditer(line)} & _OF_THE_UNIT):
            self.part.decide(
                f"%{named[0]} in its command is the unit's name, which is another here"
            )
        self.draft.keys["command"] = line
        return line

    def _of_multi(self, several: Multi) -> str:
        count = len(several.nodes)
        if count > 1:
            self.draft.keys["instances"] = count
        self.part.decide(
            f"`celery multi` is gone: its {count} nodes are instances of one worker, which systemd "
            "watches one by one. Their nodes are called "
            f"{node_name(several.nodes).replace('%%h', 'HOST').replace('%i', '1')} and on"
            if count > 1
            else "`celery multi` is gone: systemd runs the worker itself, in the foreground"
        )
        if several.single:
            self.part.decide(
                f"options for one node are left out ({', '.join(several.single)}): a node that is "
                "to be otherwise is a worker of its own"
            )
        line = exec_line.line(
            paths_and_user.relative(several.words, str(self.draft.keys["directory"]))
        )
        return f"{line} -n {node_name(several.nodes)}"

    # --- whose rights, which variables ------------------------------------------------------------

    def _account(self, peeled: Peeled | None) -> None:
        user = (peeled.user if peeled else "") or self.value("User")
        group = (peeled.group if peeled else "") or self.value("Group")
        if self.wishes.user_scope:
            return
        if not user and self.value("DynamicUser").lower() in ("yes", "true", "on", "1"):
            pass  # systemd makes one up; with user = "root" it would be root (systemd.exec(5))
        elif not user:
            self.part.decide('user = "root": the unit names none. Does it need to be root?')
            user = "root"
        for key, name in (("user", user), ("group", group)):
            try:
                if name:
                    self.draft.keys[key] = checked_user(name)
            except InvalidValueError as mistake:
                self.part.left(key.capitalize(), str(mistake))

    def _given(self) -> list[tuple[str, str]]:
        found = []
        for value in self.text.every("Service", "Environment"):
            try:
                pairs = shlex.split(self._named(value))
            except ValueError:
                pairs = value.split()
            for pair in pairs:
                name, _, text = pair.partition("=")
                letters = {one[1] for one in _SPECIFIER.finditer(text)} - {"%"}
                if letters:
                    self.part.decide(
                        f"environment: {name} has %{min(letters)} in it, which stays as it is: "
                        "systemd expands nothing there. Write the value out, or in `command` "
                        "/usr/bin/env NAME=VALUE, where it does"
                    )
                found.append((name, text.replace("%%", "%")))
        return found

    def _environment(self, peeled: Peeled | None) -> None:
        every = dict(self._given()) | dict(peeled.plain.environment if peeled else ())
        self.draft.environment = variables(self.part, tuple(every.items()))
        files = []
        for value in self.text.every("Service", "EnvironmentFile"):
            path = self._named(value).removeprefix("-")
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
        draft, preset = self.draft, looks.preset
        found = replace(peeled.plain, arguments=tuple(shlex.split(line)) or ("",)) if peeled else (
            Plain(tuple(line.split()))
        )  # fmt: skip
        between = stop_options.above(line, found, looks)
        given = self.value("TimeoutStopSec") or self.value("TimeoutSec")
        limit = self._span(given)
        signal, mode = self.value("KillSignal") or "SIGTERM", self.value("KillMode")
        with suppress(ValueError):
            signal = signals.name(signals.number(signal))
        if preset is None:
            draft.keys["stop_signal"] = signal if signal != "SIGKILL" else "SIGTERM"
            draft.keys["stop_timeout"] = limit or _SYSTEMD_WAIT
            everyone = mode in ("", "control-group") or bool(between)
            draft.keys["kill_mode"] = str(KillMode.CONTROL_GROUP if everyone else KillMode.MIXED)
            self.part.decide(
                f"stop_timeout = {draft.keys['stop_timeout']}: a job that takes longer is killed "
                "by a restart. No framework was recognised: say how long a job may take"
            )
            return
        now = stop_options.by_preset(draft, preset, between, limit)
        stop = preset.for_command(line).stop
        alone = mode in ("mixed", "process")
        drains = (*stop.drains, *stop.drains_all) if alone else stop.drains_all
        if self.text.every("Service", "ExecStop"):
            self.part.decide(f"ExecStop= is gone: {now}")
        elif signal not in drains:
            self.part.decide(
                f"{preset.title}: the unit sent {signal} to {stop_options.to(alone)}, which is not "
                f"known to let a job finish; now {now}"
            )
        else:
            self.part.note(f"recognised: {preset.title}: now {now}. {now.why}".strip())

    def _span(self, text: str) -> str:
        """A time span as unitq takes it; 0 is no limit to systemd (systemd.service(5))."""
        if not text:
            return ""
        try:
            found = duration.parse(text)
        except ValueError:
            return ""
        return "infinity" if not found.seconds else found.text + ("s" * text.isdecimal())

    def _restart(self, preset: Preset | None) -> None:
        word = self.value("Restart") or "no"
        if word != "always":
            self.part.decide(
                f"Restart={word}: here it is always started again, as a worker that exits with 0 "
                "would leave its queue alone"
                + ("" if preset else "; another way is Restart in its service table")
            )
        delay = self._span(self.value("RestartSec"))
        if delay and delay != "infinity":
            self.draft.keys["restart_delay"] = delay
        if umask := self.value("UMask"):
            self.draft.keys["umask"] = umask.zfill(4)
        if (nice := self.value("Nice")) and nice.lstrip("-").isdecimal():
            self.draft.keys["nice"] = int(nice)
        burst = self.value("StartLimitBurst", "Unit") or self.value("StartLimitBurst")
        interval = self.value("StartLimitIntervalSec", "Unit") or self.value("StartLimitInterval")
        if self._span(interval) == "infinity":
            self.draft.keys["start_limit"] = "none"
        elif burst.isdecimal() and int(burst):
            self.draft.keys["start_limit"] = f"{burst}/{self._span(interval) or '10s'}"

    # --- the rest ---------------------------------------------------------------------------------

    def _others(self) -> None:
        limits = {}
        for name in self.text.names("Service"):
            values = [self._named(value) for value in self.text.every("Service", name)]
            if name in _GONE or name == "ExecStopPost" or not values:
                self.part.left(name, _GONE.get(name, "unitq's own account ends with the process"))
            elif name in _SAME:
                self.part.same(name)
            elif name.startswith("Limit"):
                limits[name] = int(values[-1]) if values[-1].isdecimal() else values[-1]
                self.part.same(name)
            elif name.startswith("StartLimit"):
                self.part.same(name)
            else:
                self._keep(name, values, self.draft.service, ServiceSection)
        if limits:
            self.draft.keys["limits"] = limits
        for name in self.text.names("Unit"):
            values = [self._named(value) for value in self.text.every("Unit", name)]
            if name in _GONE_UNIT or name.startswith("StartLimit") or not values:
                self.part.left(name, _GONE_UNIT.get(name, "start_limit"))
            elif name in _STRONG:
                self._weaker(name, values)
            elif name in ("After", "Wants"):
                units = [one for one in " ".join(values).split() if one not in _ALWAYS]
                if units:
                    self.draft.unit[name] = " ".join(
                        [self.draft.unit.get(name, ""), *units]
                    ).strip()
                self.part.same(name)
            else:
                self._keep(name, values, self.draft.unit, UnitSection)
        for name in self.text.names("Install"):
            self.part.left(name, "workers start with their app's target, at each boot")

    def _weaker(self, name: str, values: list[str]) -> None:
        units = [one for one in " ".join(values).split() if one not in _ALWAYS]
        if not units:
            self.part.left(name, "every worker starts after it")
            return
        self.draft.unit["Wants"] = " ".join([self.draft.unit.get("Wants", ""), *units]).strip()
        self.part.decide(
            f"{name}={' '.join(units)} is Wants= here: it would stop the worker with it, and not "
            f"start it again. If it is on this machine: after = {toml(units)} for the app"
        )

    def _keep(
        self,
        name: str,
        values: list[str],
        table: dict[str, Any],
        kind: object,
    ) -> None:
        value: Any = values[-1] if len(values) == 1 else values
        if why := refusal(kind, {name: value}):
            self.part.left(name, why)
            self.part.decide(f"{name}= is not carried over: {why}")
            return
        table[name] = value
        self.part.same(name)


_ALWAYS = frozenset({
    "network.target", "syslog.target", "multi-user.target", "basic.target", "sysinit.target",
    "local-fs.target", "remote-fs.target",
})  # fmt: skip
