"""The journal, read with journalctl(1)."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import UnitqError
from unitq.linux import programs
from unitq.model import signals
from unitq.systemd.exit_status import AT_STOP_TIMEOUT, End, Ending, exit_status
from unitq.systemd.exit_status import result as result_words
from unitq.systemd.journal_event import Event, Kind, Print

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# systemd's catalog: "A process of the unit has terminated" (sd-messages.h).
_PROCESS_EXIT = "98e322203f7a4ed290d09fe03c09fe15"
# "A stop job for the unit has finished".
_STOPPED = "9d1aaa27d60140bd96365438aad20286"
# "systemd[1]: x.service: Killing process 4711 (sleep) with signal SIGKILL." (unit_kill_context)
_KILLING = re.compile(r": Killing process (\d+) \((.*)\) with signal SIGKILL\.$")
_SECONDS = 20.0
_PART = 1 << 16  # bytes that are read at a time
_INFO = 6  # syslog(3); the journal's own default
# Seconds for what workers printed: while a rollout waits for it, and at its end.
_PATIENCE_AT_WORK, _PATIENCE = 2.0, 10.0


# What an Entry is made of, for journalctl's --output-fields.
FIELDS = (
    "_SOURCE_REALTIME_TIMESTAMP", "_BOOT_ID", "_HOSTNAME", "SYSLOG_IDENTIFIER", "_COMM", "_PID",
    "SYSLOG_PID", "PRIORITY", "MESSAGE",
)  # fmt: skip


class Entry(NamedTuple):
    """One message in the journal. Only time, boot and host are journald's own word."""

    time: float  # seconds since 1970
    boot: str
    host: str
    identifier: str
    pid: str
    priority: int  # syslog(3)
    message: str


def tail(invocation: str, lines: int, *, user: bool) -> tuple[str, ...]:
    """The last lines of that very start: the worker's own and systemd's about it."""
    shown = _journalctl(
        [*_everywhere(user=user), f"--lines={lines}", "--output=cat",
         *_of_invocation(invocation, user=user)],
        user=user,
    )  # fmt: skip
    return tuple(shown.splitlines())


def last_output(invocation: str, lines: int, *, user: bool) -> tuple[str, ...]:
    """The last lines that the processes of that start wrote; nothing of systemd's about them."""
    arguments = [*_everywhere(user=user), f"--lines={lines}", "--output=cat"]
    arguments.append(f"_SYSTEMD_INVOCATION_ID={invocation}")
    return tuple(_journalctl(arguments, user=user).splitlines())


def output_by_invocation(
    invocations: Sequence[str], since: float | None, lines: int, *, ended: bool, user: bool
) -> dict[str, list[Print]]:
    """What the processes of these starts wrote, by invocation, oldest first.

    From a time on (seconds since 1970), or so many of their last lines, all together. `ended`: also
    what they wrote a moment ago. Raises UnitqError where the journal does not answer within some
    seconds: a rollout waits for this.
    """
    patience = _PATIENCE if ended else _PATIENCE_AT_WORK
    if ended:
        _sync(patience, user=user)
    part = [f"--since=@{since:.6f}"] if since else [f"--lines={lines}"]
    fields = f"--output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID,_TRANSPORT,{_ABOUT}"
    matches = [f"_SYSTEMD_INVOCATION_ID={invocation}" for invocation in invocations]
    matches += ["+", "_TRANSPORT=driver", f"MESSAGE_ID={_SUPPRESSED}"]
    matches += [f"{_ABOUT}={invocation}" for invocation in invocations]
    prints: dict[str, list[Print]] = {invocation: [] for invocation in invocations}
    command = [*(["--user"] if user else []), "--quiet", "--no-pager", *_everywhere(user=user)]
    command += ["--output=json", fields, *part, *matches]
    try:
        done = _run(command, patience)
    except OSError as error:
        raise UnitqError(f"cannot run journalctl: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise UnitqError(f"the journal did not answer within {patience:g} s") from error
    if done.returncode != 0 and done.stderr:
        complaint = done.stderr.decode(errors="replace").splitlines()[0]
        raise UnitqError(f"the journal cannot be read: {complaint}")
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        # What is too long for JSON has no text, and counts as a line.
        at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        if entry.get("_TRANSPORT") == "driver":
            prints[entry[_ABOUT]].append(Print(at, "", gap=True))
        else:
            prints[entry["_SYSTEMD_INVOCATION_ID"]].append(Print(at, _text(entry.get("MESSAGE"))))
    return prints


# "Messages from a service have been suppressed" (sd-messages.h), which journald says of a process;
# the fields are its own, as is the transport (systemd.journal-fields(7)).
_SUPPRESSED = "a596d6fe7bfa4994828e72309e95d61e"
_ABOUT = "OBJECT_SYSTEMD_INVOCATION_ID"


def entry(line: bytes) -> Entry:
    """What a line of `journalctl --output=json --all` says."""
    fields = json.loads(line)
    # As journalctl's own short format: when it was said where that is known, and by whom.
    when = _text(fields.get("_SOURCE_REALTIME_TIMESTAMP")) or fields["__REALTIME_TIMESTAMP"]
    priority = _text(fields.get("PRIORITY"))
    return Entry(
        int(when) / 1e6,
        _text(fields.get("_BOOT_ID")),
        _text(fields.get("_HOSTNAME")),
        _text(fields.get("SYSLOG_IDENTIFIER")) or _text(fields.get("_COMM")) or "unknown",
        _text(fields.get("_PID")) or _text(fields.get("SYSLOG_PID")),
        int(priority) if priority in set("01234567") else _INFO,
        _text(fields.get("MESSAGE")),
    )


def _text(value: object) -> str:
    """A field in JSON: text, bytes that are no text, several of that name, or nothing."""
    if isinstance(value, list):
        if all(isinstance(byte, int) for byte in value):
            return bytes(value).decode(errors="replace")
        return _text(value[0])
    return value if isinstance(value, str) else ""


def identifier_lines(identifier: str, lines: int, *, uid: int, user: bool) -> tuple[str, ...]:
    """The last lines under this SyslogIdentifier, of processes of that account.

    Of a process that lives for milliseconds journald may not find out the invocation any more. The
    identifier alone proves nothing: any process may take it.
    """
    matches = [f"SYSLOG_IDENTIFIER={identifier}", f"_UID={uid}"]
    where = _everywhere(user=user)
    shown = _journalctl([*where, f"--lines={lines}", "--output=cat", *matches], user=user)
    return tuple(shown.splitlines())


def ending(invocation: str, since: float = 0.0, *, user: bool) -> Ending:
    """How the main process of that start ended, where nobody was listening when it did.

    Only by what systemd said after `since` (seconds on CLOCK_MONOTONIC): with RestartMode=direct a
    start has several ends (systemd.service(5)).
    """
    ending = Ending(End.UNKNOWN, "nobody saw how it ended")
    for entry in _of_systemd(invocation, since, user=user):
        message = _text(entry.get("MESSAGE"))
        if entry.get("UNIT_RESULT") == "timeout" or "'stop-sigterm' timed out" in message:
            return Ending(End.KILLED, AT_STOP_TIMEOUT)
        if entry.get("MESSAGE_ID") == _PROCESS_EXIT and entry.get("COMMAND") == "ExecStart":
            status = _text(entry.get("EXIT_STATUS"))
            if entry.get("EXIT_CODE") == "exited":
                ending = Ending(End.DIED, f"exited with status {status}")
            else:
                name = signals.name(int(status)) if status.isdigit() else f"SIG{status}"
                end = End.KILLED if name == "SIGKILL" else End.DIED
                ending = Ending(end, f"died of {name}")
        elif ending.end is End.UNKNOWN and (
            "Deactivated successfully" in message or entry.get("MESSAGE_ID") == _STOPPED
        ):
            # systemd says nothing of a main process that exits 0, only that the unit is down; a
            # user's manager keeps the first of these to itself (unit_log_success in its source).
            ending = Ending(End.DRAINED)
    return ending


# "A process of this unit has been killed by the OOM killer", and by systemd-oomd.
_OUT_OF_MEMORY = ("fe6faa94e7774663a0da52717891d8ef", "d989611b15e44c9dbf31e3c81256e4ed")


def out_of_memory(invocations: Sequence[str], *, user: bool) -> frozenset[str]:
    """Those of these starts of which systemd says that a process was killed for want of memory."""
    if not invocations:
        return frozenset()
    about = "USER_INVOCATION_ID" if user else "INVOCATION_ID"
    matches = [
        *_manager(user=user),
        *(f"MESSAGE_ID={value}" for value in _OUT_OF_MEMORY),
        *(f"{about}={value}" for value in invocations),
    ]
    shown = _journalctl(["--output=json", f"--output-fields={about}", *matches], user=user)
    return frozenset(json.loads(line).get(about, "") for line in shown.splitlines())


def kernel_messages(seconds: float) -> tuple[str, ...]:
    """What the kernel has said in the last seconds; nothing where its log may not be read."""
    since = f"--since=-{seconds:.0f}s"
    return tuple(
        _journalctl(["--output=cat", "--boot", since, "_TRANSPORT=kernel"], user=False).splitlines()
    )


def sigkills(invocation: str, since: float, *, user: bool) -> list[tuple[str, str]]:
    """PID and name of each process that systemd sent SIGKILL since then (CLOCK_MONOTONIC)."""
    messages = (_text(e.get("MESSAGE")) for e in _of_systemd(invocation, since, user=user))
    matches = (_KILLING.search(message) for message in messages)
    return list(dict.fromkeys((match[1], match[2]) for match in matches if match))


def _of_systemd(invocation: str, since: float, *, user: bool) -> Iterator[dict[str, object]]:
    """What the manager itself said of that start after `since`, and nobody in its name."""
    about = "USER_INVOCATION_ID" if user else "INVOCATION_ID"
    matches = [f"{about}={invocation}", *_manager(user=user)]
    for line in _journalctl(["--output=json", *matches], user=user).splitlines():
        entry = json.loads(line)
        if int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6 >= since:
            yield entry


def _manager(*, user: bool) -> list[str]:
    """Matches that only the manager's own messages meet: journald writes these fields itself."""
    return ["_SYSTEMD_USER_UNIT=init.scope", f"_UID={os.getuid()}"] if user else ["_PID=1"]


# What systemd says of a unit, and what that is for a life of it (sd-messages.h).
_LIVES = {
    "39f53479d3a045ac8e11786248231fbf": Kind.STARTED,
    "be02cf6855d2428ba40df7e9d022f03d": Kind.STARTED,  # its start failed
    _PROCESS_EXIT: Kind.ENDED,
    "d9b373ed55a64feb8242e02dbe79a49c": Kind.ENDED,  # failed with result …
    "7ad2d189f7e94e70a38c781354912448": Kind.ENDED,  # deactivated successfully
    "5eb03494b6584870a536b337290809b3": Kind.RESTARTED,
}
_ALONE = 8  # so many units are asked for one by one, side by side
_EVENTS = 400  # of a unit that is asked for alone; 20 is the least of one among many
_EVENTS_OF_ALL = 8000


def lives(units: Sequence[str], *, user: bool) -> dict[str, list[Event]]:
    """What systemd said of the last lives of each unit since the boot, in the order of time.

    Nothing of those whose journal cannot be read. Does not wait for what was said a moment ago.
    """
    groups = [[unit] for unit in units] if len(units) <= _ALONE else [list(units)]
    lines = _EVENTS if len(groups) == len(units) else max(20 * len(units), _EVENTS_OF_ALL)
    about = "USER_UNIT" if user else "UNIT"
    fields = f"--output-fields=MESSAGE_ID,EXIT_CODE,EXIT_STATUS,COMMAND,UNIT_RESULT,{about}"
    options = ["--quiet", "--no-pager", "--boot", "--output=json", fields, f"--lines={lines}"]
    options += [*(["--user"] if user else []), *_manager(user=user)]
    options += [f"MESSAGE_ID={identity}" for identity in _LIVES]
    events: dict[str, list[Event]] = {unit: [] for unit in units}
    running = []
    try:
        for group in groups:
            arguments = [*options, *(f"{about}={unit}" for unit in group)]
            running.append(_popen(arguments))
        for process in running:
            shown, _ = process.communicate(timeout=_PATIENCE)
            for line in shown.splitlines():
                entry = json.loads(line)
                events[entry[about]].append(_event(entry))
    except (OSError, subprocess.TimeoutExpired):
        return {unit: [] for unit in units}
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return events


def _event(entry: dict[str, object]) -> Event:
    identity = _text(entry.get("MESSAGE_ID"))
    kind, how = _LIVES[identity], ""
    status = _text(entry.get("EXIT_STATUS"))
    if identity == _PROCESS_EXIT and entry.get("COMMAND") == "ExecStart":
        if entry.get("EXIT_CODE") == "exited" and status.isdigit():
            how = exit_status(int(status))
        else:
            how = f"died of {signals.name(int(status)) if status.isdigit() else f'SIG{status}'}"
    elif (result := _text(entry.get("UNIT_RESULT"))) in ("oom-kill", "timeout", "watchdog"):
        how = result_words(result)
    return Event(int(_text(entry["__MONOTONIC_TIMESTAMP"])) / 1e6, kind, how)


def stop_orders(invocations: Sequence[str], *, user: bool) -> frozenset[str]:
    """Those of these starts that ended because somebody told systemd to stop the unit."""
    if not invocations:
        return frozenset()
    about = _about(user=user)
    # systemd restarts what crashed by a unit job too, whose first half is a stop.
    matches = [f"MESSAGE_ID={_STOPPED}", "JOB_TYPE=stop", _account(user=user)]
    matches += [f"{about}={invocation}" for invocation in invocations]
    shown = _journalctl(["--output=json", f"--output-fields={about}", *matches], user=user)
    return frozenset(json.loads(line).get(about, "") for line in shown.splitlines())


def unit_output(unit: str, size: int, *, user: bool) -> bytes:
    """The last bytes, `size` at most, that the unit's processes have printed, all starts together.

    Raises UnitqError where the journal cannot be read.
    """
    # No line is shorter than its line break.
    arguments = [*_of_prints(unit, user=user), "--quiet", f"--lines={size}"]
    try:
        done = _run(arguments, _SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnitqError(f"no journal: {error}") from error
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()
        raise UnitqError(f"journalctl ended with {done.returncode}: {complaint}")
    return done.stdout[len(done.stdout) - size :] if size < len(done.stdout) else done.stdout


def follow(unit: str, *, user: bool) -> list[str]:
    """The arguments of journalctl that show what the unit's processes print from now on."""
    return [*_of_prints(unit, user=user), "--quiet", "--follow", "--lines=10"]


def stream(arguments: Sequence[str], out: int | None = None) -> Iterator[list[bytes]]:
    """Lines that this journalctl prints, as many at a time as have come.

    Ends with journalctl, or when the reader of the descriptor `out` has gone. Raises UnitqError
    where journalctl cannot be run or fails; what it says of that is on standard error.
    """
    try:
        process = subprocess.Popen(
            [programs.path_of("journalctl"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=programs.environment(),
        )
    except OSError as error:
        raise UnitqError(f"cannot run journalctl: {error.strerror}") from error
    assert process.stdout
    pipe, rest = process.stdout.fileno(), b""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if out is not None:
        poll.register(out, 0)  # tells of an error or a hang-up only
    try:
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if out in ready:
                return
            part = os.read(pipe, _PART)
            *lines, rest = (rest + part).split(b"\n")
            if not part and rest:
                lines.append(rest)
            if lines:
                yield lines
            if not part:
                break
        if code := process.wait():
            raise UnitqError(f"journalctl ended with {code}")
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def _of_prints(unit: str, *, user: bool) -> list[str]:
    """The arguments for what the processes wrote; not what systemd says of them."""
    of = f"_SYSTEMD_USER_UNIT={unit}" if user else f"_SYSTEMD_UNIT={unit}"
    scope = ["--user"] if user else []
    where = _everywhere(user=user)
    return [*scope, *where, "--no-pager", "--output=cat", of, "_TRANSPORT=stdout"]


def command(units: Sequence[str], options: Sequence[str], *, user: bool) -> list[str]:
    """The arguments of journalctl that show these units (globs allowed)."""
    kind = "--user-unit" if user else "--unit"
    scope = ["--user"] if user else []
    where = _everywhere(user=user)
    return [*scope, *where, *(f"{kind}={unit}" for unit in units), *options]


def _of_invocation(invocation: str, *, user: bool) -> list[str]:
    own = f"_SYSTEMD_INVOCATION_ID={invocation}"
    return [own, "+", *_by_the_manager(invocation, user=user)]


def _by_the_manager(invocation: str, *, user: bool) -> list[str]:
    """The matches for what systemd, and its children before they are the worker, say of it."""
    return [f"{_about(user=user)}={invocation}", _account(user=user)]


def _about(*, user: bool) -> str:
    return "USER_INVOCATION_ID" if user else "INVOCATION_ID"


def _account(*, user: bool) -> str:
    """The match for what a manager's account wrote: PID 1's, or the user's own.

    Fields without a "_" are the sender's word: any account may write MESSAGE_ID= and INVOCATION_ID=
    of another's unit into the journal. Fields with one are journald's (systemd.journal-fields(7)).
    """
    return f"_UID={os.getuid() if user else 0}"


# One folder for each namespace beside the machine's own, and one socket while journald serves it
# (systemd-journald.service(8), JOURNAL NAMESPACES).
_JOURNALS = ("/var/log/journal", "/run/log/journal")
_SOCKETS = "/run/systemd"


def _everywhere(*, user: bool) -> list[str]:
    """The option that reads all namespaces, where the machine has any: see `LogNamespace=`.

    The manager itself writes into the default one, workers into their own. Which start a line is
    of, journald says in each alike. A user's manager knows no namespaces (systemd.exec(5)).
    """
    if user:
        return []
    for place in _JOURNALS:
        with suppress(OSError):
            if any("." in name for name in os.listdir(place)):
                return ["--namespace=*"]
    return []


def hidden(folders: Sequence[str | Path] = _JOURNALS) -> bool:
    """Whether there is a journal of the system, and none of its files may be read."""
    exists = False
    for folder in folders:
        try:
            machines = os.listdir(folder)
        except FileNotFoundError:
            continue
        except PermissionError:
            exists = True
            continue
        for machine in machines:
            journal = f"{folder}/{machine}/system.journal"
            if os.access(journal, os.R_OK):
                return False
            exists = (
                exists or not os.access(f"{folder}/{machine}", os.X_OK) or os.path.exists(journal)
            )
    return exists


def _sync(seconds: float, *, user: bool) -> None:
    """What was logged a moment ago may still be on its way to the journal."""
    if user or os.getuid() != 0:
        return
    spaces: list[list[str]] = [[]]
    with suppress(OSError):
        names = (name.partition(".") for name in os.listdir(_SOCKETS))
        spaces += [
            [f"--namespace={space}"] for head, _, space in names if head == "journal" and space
        ]
    # Where it is not to be had, what is there is read.
    for space in spaces:
        with suppress(OSError, subprocess.TimeoutExpired):
            _run([*space, "--sync"], seconds)


def _journalctl(arguments: list[str], *, user: bool) -> str:
    """What journalctl prints; nothing where there is no journal to read."""
    _sync(_SECONDS, user=user)
    scope = ["--user"] if user else []
    try:
        done = _run([*scope, "--quiet", "--no-pager", *arguments], _SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"(no journal: {error})" if "--output=cat" in arguments else ""
    return done.stdout.decode(errors="replace")


def _popen(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [programs.path_of("journalctl"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=programs.environment(),
    )


def _run(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Runs journalctl. Raises OSError where there is none, and TimeoutExpired."""
    return subprocess.run(
        [programs.path_of("journalctl"), *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        env=programs.environment(),
    )
