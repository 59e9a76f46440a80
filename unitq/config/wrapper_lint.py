"""Finds what stands between systemd and a worker and loses jobs: shells, pipes, loops, wrappers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.exec_line import words_of
from unitq.cmdline.invocation import command_with_exec, inline_script, parse_head, script_run
from unitq.cmdline.shell import Command, Script, parse, script_of, with_exec
from unitq.cmdline.wrappers import LAUNCHERS, Kind, Use, unwrap
from unitq.model.app import KillMode
from unitq.model.finding import Certainty, Finding, Level, error, note, warning
from unitq.presets.detect import is_known
from unitq.toml.document import quote, toml_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unitq.model.app import Worker
    from unitq.model.finding import WorkerFacts
    from unitq.presets.model import Preset

_LEVELS = 5  # of shells below shells
# What a loop does besides its worker, and systemd does in its place.
_PAUSES = frozenset({(name,) for name in ("sleep", "true", ":", "[", "[[", "test", "echo", "date")})


class Below(NamedTuple):
    """A shell, and where in its script the command stands."""

    path: str  # of the script; empty: it stands on the command line
    script: Script
    command: Command


class Stand(NamedTuple):
    """A program that a command line runs, and what stands above it, outermost first."""

    words: tuple[str, ...]
    above: tuple[Use | Below, ...] = ()

    @property
    def last(self) -> bool:
        """Whether each shell above it may come to it last: what a script runs before is none."""
        return all(
            layer.command in (*layer.script.becomes, *layer.script.stays)
            for layer in self.above
            if isinstance(layer, Below)
        )


def of_worker(
    worker: Worker, presets: Mapping[str, Preset], preset: Preset | None, seen: WorkerFacts
) -> Iterator[Finding]:
    """Yields what is wrong above the worker, the outermost first. `preset`: the worker's own."""
    ways = [
        list(
            dict.fromkeys(
                _of_stand(_Ground(worker, preset, f"workers.{worker.name}", stand, known))
            )
        )
        for stand, known in _workers(worker.command, presets, seen)
    ]
    if len(ways) < 2 or all(
        any(_may_not_be(finding_) for finding_ in findings) for findings in ways
    ):
        yield from ways[0] if ways else ()
        return
    # `case $1 in web) … ;; work) … ;; esac`: only the script knows which way it goes.
    for finding_ in dict.fromkeys(finding for findings in ways for finding in findings):
        yield (
            replace(finding_, level=Level.WARNING, sure=Certainty.POSSIBLE)
            if _may_not_be(finding_)
            else finding_
        )


def _may_not_be(finding: Finding) -> bool:
    """Whether it is an error of the way that a script goes; `exec` can be written on each way."""
    return finding.level is Level.ERROR and finding.name != "shell"


def _of_stand(ground: _Ground) -> Iterator[Finding]:
    stand = ground.stand
    uses = (layer for layer in stand.above if isinstance(layer, Use))
    # Whatever else stands there: this worker is not below its unit at all.
    if client := next((use for use in uses if use.kind is Kind.ELSEWHERE), None):
        yield _elsewhere(ground, client)
        return
    leads = True  # its process group, as each main process of systemd's does
    for layer in stand.above:
        if isinstance(layer, Use):
            if layer.wrapper.leader and not leads:
                continue
            if layer.kind is Kind.KEEPS:
                yield from _keeps(ground, layer)
                return
            if layer.kind is Kind.PASSES_ON:
                yield from _passes_on(ground, layer)
        else:
            findings = list(_shell(ground, layer))
            yield from findings
            if any(finding.level is Level.ERROR for finding in findings):
                return
            leads = leads and _becomes_last(layer)


def _becomes_last(below: Below) -> bool:
    """Whether the shell becomes this command: by `exec`, or as the last one of its `-c`."""
    command, script = below.command, below.script
    last = not below.path and command is script.commands[-1] and not script.traps
    return command.replaces or (last and not command.subshell and not command.loop)


def _workers(
    command: str, presets: Mapping[str, Preset], seen: WorkerFacts
) -> list[tuple[Stand, bool]]:
    """Returns the program that takes the jobs: a framework's, or what a script comes to last.

    Several where the script may come to one or another of a framework's. And whether it is one.
    """
    stands = list(_stands(words_of(command), seen.heads, (), frozenset()))
    known = [stand for stand in stands if is_known(presets, stand.words, seen.heads)]
    if not known:
        return [(stand, False) for stand in [*(e for e in reversed(stands) if e.last), *stands][:1]]
    ways = [stand for stand in known if stand.last] if known[0].last else known[:1]
    return [(stand, True) for stand in ways]


def _stands(
    words: Sequence[str],
    heads: Mapping[str, str],
    above: tuple[Use | Below, ...],
    scripts: frozenset[str],
) -> Iterator[Stand]:
    unwrapped = unwrap(words)
    above = (*above, *unwrapped.uses)
    text, path = unwrapped.script or script_of(unwrapped.words), ""
    script = parse(text) if text else None
    if script is None and (run := script_run(unwrapped.words, heads)) and run not in scripts:
        path, script = run, parse_head(heads[run])
    if script is None or sum(isinstance(layer, Below) for layer in above) >= _LEVELS:
        if unwrapped.words:
            yield Stand(unwrapped.words, above)
        elif any(use.kind is Kind.ELSEWHERE for use in unwrapped.uses):
            yield Stand(tuple(words), above)  # what it starts stands in the image
        return
    for command in script.commands:
        if command.words:
            below = Below(path, script, command)
            yield from _stands(command.words, heads, (*above, below), scripts | {path})


class _Ground(NamedTuple):
    """What the findings of one worker rest on."""

    worker: Worker
    preset: Preset | None
    place: str
    stand: Stand
    known: bool  # it is a framework's, and no guess

    @property
    def mixed(self) -> bool:
        return self.worker.kill_mode is KillMode.MIXED

    @property
    def drains_all(self) -> bool:
        """Whether no job is lost where each process gets the signal; without a preset: unknown."""
        return self.preset is None or self.worker.stop_signal in self.preset.stop.drains_all

    def loses(self, signal: str) -> bool:
        """Whether this signal surely costs the job; one that the worker is stopped by does not."""
        if self.preset and signal in (self.worker.stop_signal, *self.preset.stop.drains):
            return False
        return signal == "SIGKILL" or (self.preset is not None and signal in self.preset.stop.loses)

    def told_twice(self, signal: str) -> bool:
        """Whether what passes this signal on makes it a second one, which costs the job."""
        return not self.mixed and self.preset is not None and signal in self.preset.stop.again

    def every_process(self, what: str, hint: str, name: str) -> Finding:
        """The error that each process has to get a signal that not each may get."""
        assert self.preset
        return error(
            f"{self.place}.command",
            f"{what} stands before the worker",
            hint,
            f"every process has to get the stop signal then, and with {self.worker.stop_signal} "
            f"that loses jobs of {self.preset.title}: {self.preset.stop.why.removesuffix('.')}",
            name,
        )


def _elsewhere(ground: _Ground, use: Use) -> Finding:
    return error(
        f"{ground.place}.command",
        f"{use.name} stands before the worker, which is to run in its unit, as its main process",
        use.text(use.wrapper.instead),
        use.text(use.wrapper.does),
        "elsewhere",
        # Whether these two leave the unit depends on PAM; the others surely do.
        Certainty.LIKELY if use.name in ("sudo", "doas") else None,
    )


def _keeps(ground: _Ground, use: Use) -> Iterator[Finding]:
    signal, hint = ground.worker.stop_signal, use.text(use.wrapper.instead)
    name = "launcher" if use.name in LAUNCHERS else "wrapper"
    if why := use.loses(signal):
        message = f"{use.name} stands before the worker and ends it in the middle of its job"
        yield error(f"{ground.place}.command", message, hint, use.text(why), name)
    elif ground.mixed:
        yield error(
            f"{ground.place}.kill_mode",
            f'with "mixed" {use.name} gets {signal}, and the worker below it does not',
            hint,
            use.text(use.wrapper.does),
            name,
        )
    elif not ground.drains_all:
        yield ground.every_process(use.name, hint, name)
    elif use.name not in LAUNCHERS:
        yield warning(
            f"{ground.place}.command",
            f"{use.name} stands between systemd and the worker",
            hint,
            f"it gets {signal} with the worker and may end first; the worker then gets a second "
            "signal",
            name,
        )


def _passes_on(ground: _Ground, use: Use) -> Iterator[Finding]:
    signal, hint = ground.worker.stop_signal, use.text(use.wrapper.instead)
    place = f"{ground.place}.command"
    if ground.loses(use.ends_by):
        yield error(
            place,
            f"{use.name} ends the worker by {use.ends_by} when its time is over",
            hint,
            f"{use.ends_by} ends it in the middle of its job",
            "wrapper",
        )
    if why := use.loses(signal):
        message = f"{use.name} stands before the worker and ends it in the middle of its job"
        yield error(place, message, hint, use.text(why), "wrapper")
    elif ground.mixed and signal not in use.wrapper.passes:
        message = f"{use.name} does not pass {signal} on to the worker"
        why = f"it dies of {signal}, and systemd kills the worker below it at once"
        yield error(place, message, hint, why, "wrapper")
    elif ground.told_twice(signal) and signal in use.wrapper.passes:
        assert ground.preset
        yield warning(
            place,
            f"{use.name} passes {signal} on to the worker, which gets it from systemd as well",
            hint,
            f"of a second one {ground.preset.title} says: {dict(ground.preset.signals)[signal]}",
            "wrapper",
        )
    elif ground.mixed and use.group and not ground.drains_all:
        assert ground.preset
        alone = next((v.options[-1] for v in use.wrapper.variants if v.group is False), "")
        message = f"{use.name} passes {signal} on to every process of the worker's group"
        yield warning(
            place,
            message,
            f"{use.name} {alone}, or {hint}" if alone else hint,
            f"with {ground.preset.title} that may lose jobs: "
            + ground.preset.stop.why.removesuffix("."),
            "wrapper",
        )


def _shell(ground: _Ground, below: Below) -> Iterator[Finding]:
    command, place = below.command, f"{ground.place}.command"
    where = f"{below.path}, a shell script" if below.path else "the shell"
    if command.piped == "left" and not command.quick:
        yield error(
            place,
            f"the worker stands at the left of a pipe in {where}",
            _without_pipe(below.script),
            "the stop signal goes to the shell, or to all at once: what reads the pipe ends first, "
            "and the worker dies at its next line of output. `exec` there replaces a subshell only",
            "pipe",
        )
    elif command.loop and not command.background and not command.quick:
        yield error(
            place,
            f"the worker runs in a `{command.loop}` loop of {where}",
            _without_loop(below),
            "the shell gets the stop signal and not the worker, or the loop starts another worker "
            "in the middle of the stop, which takes jobs until it is killed",
            "loop",
        )
    elif below.script.leaves(command):
        yield error(
            place,
            f"{where} starts the worker with & and ends",
            "leave the & out, `nohup` too, and start the worker by `exec`",
            "the instance counts as ended then, and systemd stops the worker that is left",
            "background",
        )
    elif command in below.script.becomes and (ground.known or below.script.hands_over):
        return
    elif not below.script.known or below.script.traps:
        if ground.mixed:
            yield _unknown(ground, below)
    elif below.path:
        yield from _script(ground, below)
    else:
        yield from _one_line(ground, below)


def _unknown(ground: _Ground, below: Below) -> Finding:
    what = below.path or "the shell's script"
    says = "has a `trap`" if below.script.traps else "is not understood"
    return warning(
        f"{ground.place}.kill_mode",
        f"{what} {says}",
        "end the script in `exec` and the worker's command",
        'whether the worker gets the stop signal is unknown: with "mixed" the shell alone gets the '
        "signal",
        "shell",
        Certainty.POSSIBLE,
    )


def _script(ground: _Ground, below: Below) -> Iterator[Finding]:
    """A script in a file that stays above the worker."""
    worker, path = ground.worker, below.path
    if ground.mixed:
        by_mode = ground.preset is not None and ground.drains_all
        yield error(
            f"{ground.place}.command",
            f"{path} is a shell script, and stays above the worker",
            "write `exec` before the worker's command in it"
            + (', or set kill_mode = "control-group"' if by_mode else ""),
            f'with "mixed" the shell gets {worker.stop_signal}, and the worker below it is not '
            "signalled, or killed at once",
            "shell",
        )
    elif not ground.drains_all:
        yield ground.every_process("a shell", "start the worker by `exec` in it", "shell")


def _one_line(ground: _Ground, below: Below) -> Iterator[Finding]:
    """A shell with `-c` that stays above the worker."""
    worker, place = ground.worker, ground.place
    text = inline_script(worker.command)
    better = (with_exec(text) if text else "") or "the last of its script"
    if ground.mixed:
        yield error(
            f"{place}.kill_mode",
            'with "mixed" the shell gets the stop signal and the worker below it does not',
            f"write `exec` before the worker's command in the shell: {better}",
            "bash ignores SIGQUIT, and other signals end the shell and kill the worker at once",
            "shell",
        )
    elif not ground.drains_all:
        line = command_with_exec(worker.command)
        hint = "start the worker's command itself, or by `exec`"
        yield ground.every_process(
            "a shell", f"command = {toml_text(line)}" if line else hint, "shell"
        )
    elif worker.stop_signal in ("SIGQUIT", "SIGINT") and below.command.background:
        yield warning(
            f"{place}.command",
            f"what a shell starts with & ignores {worker.stop_signal}",
            "start the worker without &, by `exec`",
            "without a handler of its own it does not stop, and is killed at stop_timeout",
            "background",
        )
    else:
        exec_hint = f"drop the shell, or write `exec` before the worker's command: {better}"
        yield note(
            f"{place}.command",
            "a shell stands between systemd and the worker",
            # `exec` in a pipe replaces a subshell only.
            'if the pipe is meant: allow = ["shell"]' if below.command.piped else exec_hint,
            "the stop signal reaches both",
            "shell",
        )


def _without_pipe(script: Script) -> str:
    """Returns what to write where a worker's output goes through a pipe."""
    for command in script.commands:
        if command.piped == "right" and command.words[:1] == ("tee",):
            files = [word for word in command.words[1:] if not word.startswith("-")]
            if files and files[0].startswith("/"):
                to = quote(f"append:{files[0]}")
                return (
                    "leave the pipe out, and write: "
                    f"service = {{ StandardOutput = {to}, StandardError = {to} }}"
                )
    return (
        "leave the pipe out: `unitq logs` has each line with its time; for a file: service = "
        '{ StandardOutput = "append:/path", StandardError = "append:/path" }'
    )


def _without_loop(below: Below) -> str:
    """Returns the lines that do the same as a loop: systemd starts again what has ended."""
    pause = next(
        (
            command.words[1]
            for command in below.script.commands
            if command.words[:1] == ("sleep",) and len(command.words) == 2 and command.loop
        ),
        "",
    )
    delay = f"{pause}s" if pause.replace(".", "", 1).isdecimal() else pause
    more = f'restart_delay = "{delay}"' if delay and "$" not in delay else ""
    again = "systemd starts again what has ended"
    # What a file says is not quoted, as root may read what others may not; and what else is done
    # before the worker is to stay.
    prepared = any(
        command is not below.command
        and (command.words or command.assigned)
        and command.words[:1] not in _PAUSES
        for command in below.script.commands
    )
    line = "" if below.path or prepared else below.command.line
    begin = f"command = {toml_text(line)}" if line else "start it by `exec`, without the loop"
    return f"{begin}{', and ' * bool(more)}{more}: {again}"
