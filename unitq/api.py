"""The Python API: what the command line does, as functions that return values.

Values are frozen, and have a `to_json()` that returns what the command prints with `--json`. Errors
are `UnitqError` and its kinds. Each function imports what it needs when it is called.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypedDict

from unitq.context import Scope
from unitq.errors import ConfigError, NoMatchError, NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    from unitq.archive.history import History, RevisionDiff, RevisionView
    from unitq.archive.prune import Pruned
    from unitq.archive.releases import ReleaseList
    from unitq.config.delegation import Delegation
    from unitq.config.init import Written
    from unitq.config.source import TrustedFile
    from unitq.grants.grant import Granted, GrantList, Revoked
    from unitq.grants.member import Run as MemberRun
    from unitq.grants.watch import Followed
    from unitq.instances.pause import PauseResult
    from unitq.instances.send_signal import SignalResult
    from unitq.model.settings import Share
    from unitq.orphans.drain import Drain, DrainResult
    from unitq.orphans.orphan_list import OrphanList
    from unitq.presets.facts import PresetList
    from unitq.queues.doctor import Doctor
    from unitq.queues.queue_list import Look as QueueLook
    from unitq.queues.queue_list import QueueList
    from unitq.revisions.model import Revision
    from unitq.revisions.state import Holder
    from unitq.rollout.checks.check import CheckResult
    from unitq.rollout.control import Status as RolloutStatus
    from unitq.rollout.operation import Operation
    from unitq.rollout.plan_summary import PlanSummary
    from unitq.rollout.prepare import Request
    from unitq.rollout.presenter import Presenter
    from unitq.rollout.recycle import RecycleList
    from unitq.rollout.reports.report import Report
    from unitq.rollout.workers import Removal
    from unitq.status.app_status import Status, StatusList
    from unitq.status.logs import Logs
    from unitq.supervisor.importer.import_file import Comparison, ImportResult
    from unitq.supervisor.takeover.summary import Takeover
    from unitq.units.render import UnitText

    Limit = Share | str | int | None  # 2, or "25%"


class Run(TypedDict, total=False):
    """How a command that starts or stops workers shows itself and waits."""

    presenter: Presenter  # shows nothing by default
    timeout: (
        float | str | None
    )  # seconds, or "10min"; systemd finishes what was begun (exit code 6)
    fail_on_kill: bool  # exit code 14 where a worker had to be killed


class Deploy(Run, total=False):
    """What goes with a deploy."""

    revision: str | int | None  # what the code is called; None: it is found out
    message: str  # why, in a line of at most 200 characters
    max_unavailable: Limit
    adopt: bool  # takes over an app of this name that was installed from another file
    options: Mapping[str, Any]  # in place of keys of [rollout], such as {"canary": 1}


class Manager:
    """The apps of this machine; with `user` those of your own systemd."""

    def __init__(self, *, user: bool = False) -> None:
        self.user = user

    def app(self, name: str | None = None, *, config: str | None = None) -> App:
        """Returns a handle on an app, by its name or its unitq.toml; nothing is read yet.

        With neither it is the app that the command line would take: of ./unitq.toml, or the only
        one there is.
        """
        return App(Scope(config, name, user=self.user))

    def apps(self) -> list[App]:
        """Returns the apps that are installed."""
        from unitq.revisions import state

        return [self.app(name) for name in state.apps(Scope(user=self.user).layout)]


class App:
    """One app. Each function looks anew; each may raise UnitqError."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def replace(self, **changes: str | bool) -> App:
        """Returns a handle with another `app`, `config` or `user`."""
        return App(self.scope.replace(**changes)) if changes else self

    @property
    def user(self) -> bool:
        """Whether it is one of your own systemd."""
        return self.scope.user

    def installed(self) -> Revision:
        """Returns what is installed. Raises NoMatchError where that is no app, or several."""
        return self.scope.installed()

    @property
    def name(self) -> str:
        """Its name. Raises NoMatchError where it is not installed."""
        return self.scope.app or self.installed().app

    # --- what is ----------------------------------------------------------------------------------

    def status(self, *targets: str, queues: bool = False, jobs: bool = False) -> Status:
        """Returns what runs, and whether it runs the wanted code.

        Targets are workers, instances or globs of either; none: all. `queues`, `jobs`: also asks
        Redis how much waits, and which job each instance has; what it does not tell is a note.
        """
        from unitq.status.app_status import status

        scope, revision = self.scope, self.installed()
        return status(scope, scope.systemd(), revision, targets, queues=queues, jobs=jobs)

    def status_list(
        self, targets: Sequence[str] = (), *, queues: bool = False, jobs: bool = False
    ) -> StatusList:
        """Returns the same for all apps that are meant, where none is named."""
        from unitq.revisions import state
        from unitq.status.app_status import StatusList, status

        scope = self.scope
        revisions = [state.require_current(scope.layout, app) for app in self._meant()]
        systemd = scope.systemd()
        return StatusList(
            tuple(
                status(scope, systemd, revision, targets, queues=queues, jobs=jobs)
                for revision in revisions
            ),
            scope.user,
        )

    def watch(
        self, targets: Sequence[str] = (), *, queues: bool = False, jobs: bool = False
    ) -> Iterator[StatusList]:
        """Yields the same again and again: when something happens, and every two seconds."""
        from unitq.status.watch import watch

        return watch(self.scope, self._meant(), targets, queues=queues, jobs=jobs)

    def _meant(self) -> list[str]:
        apps = self.scope.apps()
        if not apps:
            raise NoMatchError(
                "no app is installed here",
                hint="`unitq deploy` installs one; --user looks at your own units",
            )
        return apps

    def queues(self, interval: float = 0.0) -> QueueList:
        """Returns the queues: what waits, who takes it, which jobs are in flight.

        With an interval it looks twice, so many seconds apart, and there are rates.
        """
        return self.queue_look().once(interval)

    def queue_look(self) -> QueueLook:
        """Returns the way to the queues, to look again and again."""
        from unitq.queues.queue_list import Look

        return Look(self.scope)

    def queue_doctor(self, *, prune: bool = False) -> Doctor:
        """Returns what holds registrations in Redis against processes, and removes dead ones."""
        from unitq.queues.doctor import Doctor

        return Doctor(self.scope, prune=prune)

    def orphans(self, *pids: int) -> OrphanList:
        """Returns the processes that work for the app outside its units; or those of these PIDs."""
        from unitq.orphans.orphan_list import orphans

        return orphans(self.scope, pids)

    def drain_orphans(
        self,
        *pids: int,
        say: Callable[[str], None] = lambda _: None,
        may_kill: Callable[[Drain, Sequence[DrainResult]], bool | None] = lambda _, __: False,
    ) -> OrphanList:
        """Tells them to finish their jobs and end; returns what has become of them.

        `may_kill` is asked whether to kill those that are left after their stop_timeout.
        """
        from unitq.orphans.orphan_list import drain

        return drain(self.scope, pids, say, may_kill)

    def logs(
        self,
        *targets: str,
        follow: bool = False,
        lines: int | None = None,
        since: str | None = None,
    ) -> Logs:
        """Returns what workers printed: `for entries in app.logs("sms", lines=20).entries()`."""
        from unitq.status.logs import logs

        return logs(self.scope, targets, follow=follow, lines=lines, since=since)

    def history(self) -> History:
        """Returns what was deployed, and what became of it."""
        from unitq.archive.history import history

        return history(self.scope)

    def revision(self, wanted: str | None = None) -> RevisionView:
        """Returns one revision, by number, id or beginning of a hash; else the current one."""
        from unitq.archive.history import revision_view

        return revision_view(self.scope, wanted)

    def revisions(self) -> list[str]:
        """Returns the ids of the revisions that are kept, the newest first."""
        from unitq.revisions import store

        return store.ids(self.scope.layout.app(self.installed().app))

    def diff(self, before: str, after: str | None = None) -> RevisionDiff:
        """Returns how two revisions differ; `after` is the current one by default."""
        from unitq.archive.history import revision_diff

        return revision_diff(self.scope, before, after)

    def releases(self, *, in_use: bool = False) -> ReleaseList:
        """Returns the release directories of all revisions; or those that are in use now."""
        from unitq.archive.releases import releases

        return releases(self.scope, in_use=in_use)

    def prune_releases(self, directory: str, keep: int, *, dry_run: bool = False) -> Pruned:
        """Deletes all but the newest releases in a directory, and none that is needed."""
        from unitq.archive.prune import prune

        return prune(self.scope, directory, keep, dry_run=dry_run)

    def preset_names(self) -> list[str]:
        """Returns the names of all presets, without reading one."""
        from unitq.presets import store

        return sorted(store.names(self.scope.layout.config_dir))

    def presets(self) -> PresetList:
        """Returns what is known of each queue framework."""
        from unitq.presets import store
        from unitq.presets.facts import PresetList

        return PresetList(self.scope.presets(), store.own(self.scope.layout.config_dir))

    # --- from unitq.toml to workers ---------------------------------------------------------------

    def init(self, preset: str, *, force: bool, ask: Callable[[], str | None]) -> Written:
        """Writes a commented unitq.toml to start from; `ask` for the account of the workers."""
        from unitq.config.init import write

        scope, facts = self.scope, self.presets().named(preset)
        return write(
            scope.layout, facts.preset, app=scope.app, config=scope.config, user=scope.user,
            force=force, ask=ask,
        )  # fmt: skip

    def schema(self) -> dict[str, Any]:
        """Returns the JSON Schema of unitq.toml."""
        from unitq.config.schema import json_schema

        return json_schema()

    def check(self, *, redis: bool = False) -> CheckResult:
        """Looks for mistakes in unitq.toml and on this machine; changes nothing."""
        from unitq.rollout.checks.check import check

        return check(self.scope, ask_redis=redis)

    def render(self, output: str | None = None) -> Sequence[UnitText]:
        """Returns the units that a deploy would install now; writes them where `output` says."""
        from unitq.rollout import wanted_units

        units = wanted_units.units_to_deploy(self.scope, self.scope.load()[0]).units
        if output is not None:
            wanted_units.write(units, output)
        return units

    def plan(self, **asked: Unpack[Deploy]) -> PlanSummary:
        """Returns what a deploy would change, and what follows if it fails; changes nothing."""
        from unitq.rollout.plan_summary import summary
        from unitq.rollout.prepare import prepare

        return summary(prepare(self._operation("plan", asked, Deploy), self._request(asked)))

    def deploy(self, **asked: Unpack[Deploy]) -> Report:
        """Installs what unitq.toml says and rolls it out, a few instances at a time.

        Raises PreflightError before anything has changed, LockedError where another command is at
        work.
        """
        from unitq.rollout.deploy import deploy

        return deploy(self._operation("deploy", asked, Deploy), self._request(asked))

    def deploy_in_background(
        self, typed: Sequence[str], **asked: Unpack[Deploy]
    ) -> tuple[str, str]:
        """Checks, then lets systemd run `unitq TYPED`; returns the app and the unit."""
        from unitq.rollout.deploy import deploy_detached

        request = self._request(asked)
        return request.app.name, deploy_detached(
            self._operation("deploy", asked, Deploy), request, typed
        )

    def _request(self, asked: Deploy) -> Request:
        from unitq.rollout.prepare import Request

        message, share = _line(asked.get("message", "")), _share(asked.get("max_unavailable"))
        app, path, settings = self.scope.load_paced(asked.get("options", {}))
        return Request(
            app, path, _name(asked.get("revision")), message, share, settings,
            asked.get("adopt", False),
        )  # fmt: skip

    def _operation(self, verb: str, run: Run, known: type = Run) -> Operation:
        """Raises TypeError where a keyword is none of these, ConfigError for a wrong timeout."""
        from unitq.rollout.operation import Operation, Waiting
        from unitq.rollout.presenter import Presenter

        if unknown := sorted(run.keys() - known.__annotations__.keys()):
            raise TypeError(f"{verb}: unexpected keyword argument {unknown[0]!r}")
        waiting = Waiting(_seconds(run.get("timeout")), run.get("fail_on_kill", False))
        return Operation(verb, self.scope, run.get("presenter") or Presenter(), waiting)

    # --- leaving Supervisor -----------------------------------------------------------------------

    def import_file(
        self,
        file: str | None = None,
        *,
        directory: str | None = None,
        variables: Mapping[str, str],
        formation: Mapping[str, int],
        source: str,
    ) -> ImportResult:
        """Returns what a configuration of Supervisor, a unit or a Procfile says, as unitq.toml."""
        from unitq.supervisor.importer.import_file import import_file

        return import_file(
            self.scope, file, directory=directory, variables=variables, formation=formation,
            source=source,
        )  # fmt: skip

    def compare(self, result: ImportResult) -> Comparison:
        """Compares it with the unitq.toml of this app."""
        from unitq.supervisor.importer.import_file import compare

        return compare(self.scope, result)

    def takeover(
        self,
        file: str | None,
        variables: Mapping[str, str],
        programs: Sequence[str] = (),
        max_unavailable: Limit = None,
    ) -> Takeover:
        """Returns what moves running workers from Supervisor to this app."""
        from unitq.supervisor.takeover.summary import Takeover

        return Takeover(self.scope, file, variables, programs, _share(max_unavailable))

    # --- who may do what --------------------------------------------------------------------------

    def trusted(self) -> list[TrustedFile]:
        """Returns the configurations that root obeys though another account may change them."""
        from unitq.config.source import trusted_list

        return trusted_list()

    def trust(self, file: Path, owner: str, run_as: Sequence[str]) -> Delegation:
        """Lets root obey a file although `owner` may change it. Raises NotPermittedError."""
        from unitq.config import source

        _need_root("add")
        return source.trust(file, owner, run_as)

    def distrust(self, file: Path) -> Delegation:
        """Lets root obey it no longer. Raises NotPermittedError."""
        from unitq.config import source

        _need_root("remove")
        return source.distrust(file)

    def grants(self) -> GrantList:
        """Returns which groups may deploy without root: this app, or any where none is named."""
        from unitq.grants.grant import grant_list

        return grant_list(self.scope)

    def grant_preview(self, group: str) -> dict[Path, str]:
        """Returns the files that `grant` would write, with their texts."""
        from unitq.grants.grant import preview

        return preview(self.scope, group)

    def grant(self, group: str | None) -> Granted:
        """Lets members of a group deploy the app; without a group, writes all grants again."""
        from unitq.grants.grant import install

        return install(self.scope, group)

    def revoke(self, group: str | None) -> Revoked:
        """Takes that back: of the app, the group, or both; or all."""
        from unitq.grants.grant import revoke

        return revoke(self.scope, group)

    def granted_run(self, verb: str) -> MemberRun | None:
        """Returns what a member of a granted group starts; None: no grant is in play."""
        from unitq.grants.grant import run_of_member

        return run_of_member(self.scope, verb)

    # --- workers ----------------------------------------------------------------------------------

    def start(self, *targets: str, **run: Unpack[Run]) -> Report:
        """Starts what does not run, and waits until it is healthy."""
        from unitq.rollout import workers

        return workers.start(self._operation("start", run), targets)

    def stop(self, *targets: str, **run: Unpack[Run]) -> Report:
        """Lets workers finish their jobs and stops them."""
        from unitq.rollout import workers

        return workers.stop(self._operation("stop", run), targets)

    def restart(
        self,
        *targets: str,
        max_unavailable: Limit = None,
        **run: Unpack[Run],
    ) -> Report:
        """Restarts workers, a few at a time, each healthy before the next drains."""
        from unitq.rollout import workers

        return workers.restart(self._operation("restart", run), targets, _share(max_unavailable))

    def scale(self, *counts: str, **run: Unpack[Run]) -> Report:
        """Changes how many instances there are, by words such as `sms=8`."""
        from unitq.rollout import workers

        return workers.scale(self._operation("scale", run), counts)

    def recycle_due(self) -> RecycleList:
        """Returns who is beyond the limits of `recycle`, and which workers are left alone."""
        from unitq.rollout.recycle import look

        return look(self._operation("recycle", {}))

    def recycle(self, due: RecycleList, **run: Unpack[Run]) -> Report:
        """Replaces those that are due, one of a worker at a time."""
        from unitq.rollout.recycle import replace_due

        return replace_due(self._operation("recycle", run), due)

    def pause(self, *targets: str) -> PauseResult:
        """Lets workers finish their job and take no other, until they are resumed or replaced."""
        from unitq.instances.pause import pause

        return pause(self.scope, targets)

    def resume(self, *targets: str) -> PauseResult:
        """Lets paused workers take jobs again."""
        from unitq.instances.pause import resume

        return resume(self.scope, targets)

    def signal(
        self, signal: str, *targets: str, all_processes: bool = False, force: bool = False
    ) -> SignalResult:
        """Sends a signal to workers; refuses one that costs jobs, unless `force`."""
        from unitq.instances.send_signal import send_signal

        return send_signal(self.scope, signal, targets, all_processes=all_processes, force=force)

    def removal(self) -> Removal:
        """Returns what `remove` would stop and delete."""
        from unitq.rollout.workers import removal

        return removal(self.scope)

    def remove(self, removed: Callable[[str], None] = lambda _: None, **run: Unpack[Run]) -> Report:
        """Stops the app and deletes all that deploy installed; then calls `removed`."""
        from unitq.rollout import workers

        return workers.remove(self._operation("remove", run), self.removal(), removed)

    # --- rollouts ---------------------------------------------------------------------------------

    def rollback(
        self,
        revision: str | int | None = None,
        *,
        message: str = "",
        max_unavailable: Limit = None,
        **run: Unpack[Run],
    ) -> Report:
        """Rolls an earlier revision out again: the last stable one, or the one that is named."""
        from unitq.rollout.rollback import rollback

        operation, share = self._operation("rollback", run), _share(max_unavailable)
        return rollback(operation, _name(revision), share, _line(message))

    def resume_rollout(
        self,
        *,
        max_unavailable: Limit = None,
        promote: bool = False,
        **run: Unpack[Run],
    ) -> Report:
        """Goes on with a rollout that was cut off or paused; `promote`: its canaries are good."""
        from unitq.rollout.resume import resume

        verb = "rollout promote" if promote else "rollout resume"
        return resume(self._operation(verb, run), _share(max_unavailable), promote=promote)

    def promote(self, *, max_unavailable: Limit = None, **run: Unpack[Run]) -> Report:
        """Goes on with a rollout that waits for promotion."""
        return self.resume_rollout(max_unavailable=max_unavailable, promote=True, **run)

    def rollout(self) -> RolloutStatus:
        """Returns how the rollout at work stands, or how the last one ended."""
        from unitq.rollout.control import status

        return status(self.scope)

    def pause_rollout(self) -> Holder:
        """Stops the rollout at work at a safe point, to go on later; returns who was told."""
        from unitq.rollout.control import pause

        return pause(self.scope)

    def abort_rollout(self) -> Holder | int:
        """Gives a rollout up: stops the one at work at a safe point, or closes one cut off.

        Returns who was told, or the number of the rollout that is closed.
        """
        from unitq.rollout import control, resume

        return control.interrupt(self.scope) or resume.give_up(self.scope).number

    def watch_rollout(self, show: Callable[[str], None]) -> Followed:
        """Shows the lines of the rollout at work until it ends; returns how that was."""
        from unitq.grants.watch import follow
        from unitq.rollout.ledger_store import Progress

        lines = Progress(self.scope.layout.app(self.installed().app))

        def show_news() -> None:
            for line in lines.news():
                show(line)

        return follow(self.scope, show_news)


def _line(text: str) -> str:
    """Returns a message as it is. Raises ConfigError where it is not one line of text."""
    known: object = text  # callers that nobody has type-checked
    if isinstance(known, str) and len(known) <= 200 and known.isprintable():
        return known
    raise ConfigError(f"message: expected one line of at most 200 characters, got {text!r:.60}")


def _name(revision: str | int | None) -> str | None:
    """Returns what a revision is called; a build number is a name too."""
    return None if revision is None else str(revision)


def _seconds(timeout: float | str | None) -> float | None:
    """Returns seconds; "10min" is read as unitq.toml reads it. Raises ConfigError."""
    from unitq.model.duration import parse

    if timeout is None:
        return None
    try:
        seconds = parse(timeout).seconds if isinstance(timeout, str) else float(timeout)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"timeout: {error}", hint='seconds, or "10min"') from None
    if not seconds >= 0:
        raise ConfigError(f"timeout: expected 0 seconds or more, got {timeout!r}")
    return seconds


def _share(limit: Limit) -> Share | None:
    """Returns `2` or "25%" as a share. Raises ConfigError."""
    from unitq.model.settings import share

    try:
        return share(limit)
    except ValueError as error:
        raise ConfigError(f"max_unavailable: {error}") from None


def _need_root(verb: str) -> None:
    if os.geteuid() != 0:
        raise NotPermittedError(
            "only root can say whom root trusts", hint=f"sudo unitq trust {verb} …"
        )
