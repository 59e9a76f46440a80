"""The programs that stand before a worker on a command line, and what they do with a signal.

Measured with a worker that drains for 3 and 7 s, told as by kill_mode "mixed", on Debian 12
(coreutils 9.1, util-linux 2.38, tini 0.19, dumb-init 1.2.5, catatonit 0.1.7, uv 0.13, honcho 2.0,
watchdog 7.1, nodemon 3, npm 10, direnv 2.32, rbenv 1.1, proxychains 4.16, s6 2.11, expect 5.45,
faketime 0.9.10), unless a row names another source.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.exec_line import split
from unitq.model import signals

if TYPE_CHECKING:
    from collections.abc import Sequence


SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh"})


class Kind(StrEnum):
    """What becomes of a worker behind a wrapper."""

    REPLACES = "replaces"  # the wrapper becomes the worker by exec
    PASSES_ON = "passes on"  # it stays, hands the stop signal on, and ends with the worker
    KEEPS = "keeps"  # it stays, and dies of the signal, ignores it, or kills the worker
    ELSEWHERE = "elsewhere"  # the worker runs outside of the unit


# Signals that a handler may be set for and that are used to stop a worker.
_COMMON = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"})


class Variant(NamedTuple):
    """Options that make another kind of a wrapper, or change whom it tells."""

    options: tuple[str, ...]
    kind: Kind | None = None
    group: bool | None = None
    kills: str = ""
    spares: bool = False  # it kills nobody with this


class Wrapper(NamedTuple):
    """One row: how its words are read, what it does, and what to write in its place."""

    names: tuple[str, ...]
    kind: Kind
    valued: tuple[str, ...] = ()  # options whose value is the next word, or behind "="
    operands: int = 0  # its own words between its options and the command
    runner: tuple[str, ...] = ()  # the words behind which the command stands: `exec`, `run`
    # Words such as "--" behind which the command stands, whatever comes before them.
    separators: tuple[str, ...] = ()
    script: tuple[str, ...] = ()  # options whose value a shell runs
    joined: bool = False  # its command is one text, which a shell runs
    last: bool = False  # without a separator its last word is its command, which a shell runs
    python: bool = False  # `-m NAME` and `NAME.py` are Python's (uv run)
    account: tuple[str, ...] = ()  # options whose value is the account
    as_operand: bool = False  # its first operand is the account
    client: bool = False  # something else starts the command: a daemon, or another machine
    opaque: bool = False  # what it runs stands in a file of its own: package.json, Procfile
    word: bool = False  # a common word: only what the system has by this name is the program
    # Options with which the command starts in another folder or root; "" where it always does.
    moves: frozenset[str] = frozenset()
    variants: tuple[Variant, ...] = ()
    passes: frozenset[str] = _COMMON  # what one that passes on does pass on; it dies of the rest
    group: bool = False  # it tells each process of the worker's group
    limit: tuple[str, ...] = ()  # it has a time limit: options that name its signal, else SIGTERM
    leader: bool = False  # only where it leads its process group; else it replaces itself
    # Signals at which it ends the worker its own way, whatever its job; empty: it leaves it alone.
    kills_on: frozenset[str] = frozenset()
    kills: str = ""  # how, in words
    does: str = ""  # one that keeps, or runs elsewhere: why the job is lost
    instead: str = ""  # what to write

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def keeps(self) -> bool:
        """Whether it stays above the worker and ends on its own: that says nothing of the job."""
        kinds = {self.kind, *(variant.kind for variant in self.variants)}
        return Kind.KEEPS in kinds or bool(self.kills_on)


REPLACES, PASSES_ON, KEEPS, ELSEWHERE = Kind


def _with(
    options: str, kind: Kind | None = None, *, group: bool | None = None, kills: str = "",
    spares: bool = False,
) -> Variant:  # fmt: skip
    return Variant(tuple(options.split()), kind, group, kills, spares)


def _row(
    names: str, kind: Kind, valued: str = "", *, operands: int = 0,
    runner: str | tuple[str, ...] = "", separators: str = "", script: str = "", account: str = "",
    moves: str = "", passes: str = "", kills_on: str = "", limit: str = "", below: str = "",
    does: str = "", kills: str = "", instead: str = "", variants: tuple[Variant, ...] = (),
    **flags: bool,
) -> Wrapper:  # fmt: skip
    """Returns a row whose lists are texts of words; `below` is the daemon of a client."""
    return Wrapper(
        tuple(names.split()),
        kind,
        tuple(valued.split()),
        operands,
        tuple(runner.split()) if isinstance(runner, str) else runner,
        tuple(separators.split()),
        tuple(script.split()),
        account=tuple(account.split()),
        moves=frozenset(("",) if moves == "always" else moves.split()),
        passes=_signals(passes) if passes else _COMMON,
        kills_on=_signals(kills_on),
        limit=tuple(limit.split()),
        client=bool(below),
        does=_CLIENT.replace("{daemon}", below) if below else does,
        kills=kills,
        instead=instead,
        variants=variants,
        **flags,
    )


def _signals(words: str) -> frozenset[str]:
    return frozenset(f"SIG{word}" for word in words.split())


_MANY = 99  # operands: all up to an option or "--"
_AS_USER = 'user = "{account}", and the command without {name}'
_RESTARTS = "leave it out: `unitq deploy` starts new code, and systemd what has crashed"
_NO_INIT = "leave it out: systemd collects orphans, and a worker needs no init of its own"
_GONE = "{name} dies of the signal, and systemd kills the worker below it at once"
_CLIENT = (
    "{name} only starts it: the worker runs below {daemon}, and lives on when {name} has ended"
)
_IN_CONTAINER = (
    "start the worker's program itself here, or stop it where it runs: a container has its own "
    "restart policy and stop signal"
)
_SU_VALUED = "-g --group -G --supp-group -s --shell -w -T --type --whitelist-environment"

WRAPPERS: tuple[Wrapper, ...] = (
    # These become the worker. GNU, BSD and util-linux tools call execvp(3) on what follows.
    _row("env", REPLACES, "-u --unset -C --chdir", moves="--chdir -C"),
    _row("command", REPLACES),
    _row("nice", REPLACES, "-n --adjustment"),
    _row("ionice", REPLACES, "-c -n --class --classdata"),
    _row("nohup", REPLACES),
    _row("stdbuf", REPLACES, "-i -o -e --input --output --error"),
    _row("setpriv", REPLACES,
         "--reuid --regid --ruid --euid --rgid --egid --groups --securebits --pdeathsig "
         "--ambient-caps --inh-caps --bounding-set --selinux-label --apparmor-profile"),
    _row("chrt", REPLACES, "-T -P -D --sched-runtime --sched-period --sched-deadline", operands=1),
    _row("taskset", REPLACES, operands=1),
    _row("prlimit", REPLACES, "-o --output"),
    _row("setarch", REPLACES, operands=1),
    _row("linux32 linux64", REPLACES),  # setarch by the name of what it sets
    # An applet is a program of its own: busybox runs it in its place.
    _row("busybox toybox", REPLACES),
    # iproute2, ipnetns.c (execvp); libselinux; valgrind, coregrind/launcher-linux.c (execve).
    _row("ip", REPLACES, "-n -netns", operands=2, runner="netns"),
    _row("runcon", REPLACES, "-t -u -r -l --type --user --role --range"),
    _row("valgrind", REPLACES),
    _row("choom", REPLACES, "-n --adjust"),
    _row("chroot", REPLACES, operands=1, moves="always"),
    _row("numactl", REPLACES,
         "-C -N -m -i -p -l --physcpubind --cpunodebind --membind --interleave --preferred"),
    _row("systemd-cat", REPLACES, "-t -p --identifier --priority --stderr-priority --level-prefix"),
    # runit, daemontools and s6: each execs its program (man chpst, setuidgid, envdir, setlock).
    _row("chpst", REPLACES, "-u -U -b -e -n -l -L -m -d -o -p -f -t -c -r -/", moves="-/"),
    _row("setuidgid s6-setuidgid", REPLACES, as_operand=True),
    _row("envuidgid s6-envuidgid", REPLACES, operands=1),
    _row("envdir s6-envdir", REPLACES, "-c", operands=1),
    _row("softlimit s6-softlimit", REPLACES, "-a -d -s -m -l -o -f -c -p -r -t"),
    _row("setlock", REPLACES, operands=1),
    _row("s6-applyuidgid", REPLACES, "-u -g -G"),
    # s6-overlay, rootfs/command/with-contenv: a chain of execline, which only execs.
    _row("with-contenv", REPLACES),
    # libexec/NAME-exec ends in `exec -a "$NAME_COMMAND" …`, in all that were made after rbenv.
    _row("rbenv pyenv nodenv goenv phpenv plenv", REPLACES, runner="exec"),
    # rvm: bin/rvm-exec ends in exec "$@", its first word being the Ruby; scripts/cli and
    # scripts/set (__rvm_attempt_single_exec) do so too where rvm is no shell function.
    _row("rvm-exec", REPLACES, operands=1),
    _row("rvm", REPLACES, runner="do"),
    # asdf, lib/commands/command-exec.bash (exec) and internal/exec (syscall.Exec, since 0.16).
    _row("asdf", REPLACES, runner="exec"),
    # mise, src/cli/exec.rs (exec_program): exec::Command::exec; -c is for a shell.
    _row("mise rtx", REPLACES,
         "-C --cd -j --jobs -E --env -P --profile --allow-env --allow-net --allow-read "
         "--allow-write", operands=_MANY, runner="exec x", script="-c --command", moves="--cd -C"),
    # direnv, internal/cmd/cmd_exec.go: syscall.Exec, in the folder that it was started in.
    _row("direnv", REPLACES, operands=1, runner="exec"),
    # chamber, cmd/exec_unix.go: unix.Exec.
    _row("chamber", REPLACES,
         "-b --backend -r --retries --backend-s3-bucket --kms-key-alias --min-throttle-delay",
         operands=_MANY, runner="exec"),
    # aws-vault, cli/exec.go: syscall.Exec; beside its own servers it stays and passes all on.
    _row("aws-vault", REPLACES,
         "-d --duration --region -t --mfa-token --backend --prompt --keychain --pass-dir "
         "--pass-cmd --pass-prefix --file-dir", operands=1, runner="exec",
         variants=(_with("-s --server --ec2-server --ecs-server", PASSES_ON),),
         instead="leave the server out: aws-vault then becomes the worker by exec"),
    # nix, develop.cc: the shell's file ends in `exec COMMAND`; run.cc: execvp.
    _row("nix", REPLACES,
         "-f --file --profile -I --include -k --keep -u --unset --expr --override-input --option "
         "--argstr --arg", runner="develop shell", separators="-c --command"),
    # nix-build.cc: it becomes bash, and that runs the text of --run.
    _row("nix-shell", REPLACES, "-A --attr -I -E --expr --keep --option --argstr --arg -i",
         operands=_MANY, script="--run --command"),
    # proxychains-ng, src/main.c: execvp; eatmydata is a script that ends in exec.
    _row("proxychains proxychains4", REPLACES, "-f"),
    _row("eatmydata", REPLACES),
    # gosu(1) and su-exec: "exec's the process directly".
    _row("gosu su-exec", REPLACES, as_operand=True),
    # Python's agents: os.execl at the end (ddtrace/commands/ddtrace_run.py,
    # newrelic/admin/run_program.py, opentelemetry/instrumentation/auto_instrumentation).
    _row("ddtrace-run", REPLACES),
    _row("newrelic-admin", REPLACES, runner="run-program run-python"),
    _row("opentelemetry-instrument", REPLACES,
         "--traces_exporter --metrics_exporter --logs_exporter --service_name "
         "--exporter_otlp_endpoint --id_generator"),
    # bundler: Kernel.load of a Ruby script in its own process, else Kernel.exec (cli/exec.rb).
    _row("bundle", REPLACES, "--gemfile", runner="exec"),
    # os.execvpe on POSIX: poetry utils/env/base_env.py, pipenv routines/shell.py,
    # hatch utils/platform.py.
    _row("poetry", REPLACES, "-C -P --directory --project", runner="run", moves="--directory -C"),
    _row("pipenv", REPLACES, "--python", runner="run"),
    _row("hatch", REPLACES, "-e --env -p --project", runner="run"),
    # setsid forks where it leads its process group, as each main process of systemd's does.
    _row("setsid", KEEPS, leader=True, variants=(_with("-w --wait", spares=True),),
         kills_on="TERM INT QUIT HUP USR1 USR2",
         kills="setsid forks and ends at once here, and systemd kills the worker as what is left",
         does=_GONE, instead="leave it out: systemd starts each worker in a session of its own"),
    # Without --fork it execs; with it, it ignores SIGTERM and SIGINT (sys-utils/unshare.c).
    _row("unshare", REPLACES,
         "-S -G -R -w --setuid --setgid --root --wd --map-user --map-group --map-users "
         "--map-groups --propagation --setgroups --monotonic --boottime", moves="--root --wd -R -w",
         variants=(_with("-f --fork --kill-child", KEEPS),),
         does="unshare --fork ignores SIGTERM and dies of SIGQUIT; the worker gets no signal",
         instead="`service = { PrivateMounts = true }` and its likes (systemd.exec(5)) need no "
         "fork"),
    # These stay, and pass the signal on.
    # coreutils, src/timeout.c: cleanup() tells the child and, unless in the foreground, the whole
    # group; with -k it kills them so long after any signal.
    _row("timeout", PASSES_ON, "-s -k --signal --kill-after", operands=1, limit="-s --signal",
         group=True,
         variants=(_with("--foreground", group=False),
                   _with("-k --kill-after", kills="with -k it kills the worker so soon after the "
                         "stop signal, whatever its job")),
         passes="TERM INT QUIT HUP",
         instead='recycle = { age = "1h" } lets a job finish; without timeout in the command'),
    _row("tini tini-static", PASSES_ON, "-p -e", variants=(_with("-g", group=True),),
         instead=_NO_INIT),
    _row("dumb-init", PASSES_ON, "-r --rewrite", group=True,
         variants=(_with("-c --single-child", group=False),),
         instead=_NO_INIT),
    _row("catatonit", PASSES_ON, variants=(_with("-g", group=True),),
         instead=_NO_INIT),
    # crates/uv/src/child.rs: since 0.5.1 it passes SIGTERM on; all others since 0.6.15.
    _row("uv", PASSES_ON,
         "--env-file --with -w --with-editable --with-requirements --extra --no-extra --group "
         "--no-group --only-group --package --python -p --python-platform --index --default-index "
         "-i --index-url --extra-index-url -f --find-links --directory --project --config-file "
         "--cache-dir -P --upgrade-package --upgrade-group --refresh-package --reinstall-package "
         "-C --config-setting --config-settings-package --link-mode --index-strategy "
         "--keyring-provider --resolution --prerelease --prerelease-package --fork-strategy "
         "--exclude-newer --exclude-newer-package --no-build-isolation-package --no-build-package "
         "--no-binary-package --no-sources-package --no-editable-package --color "
         "--allow-insecure-host", runner="run", python=True,
         instead="the program in the environment, such as .venv/bin/celery, starts without uv"),
    # pdm, cli/commands/run.py: SIGTERM is passed on, SIGINT ignored, and it dies of the others.
    _row("pdm", PASSES_ON, "-p --project -c --config", runner="run", passes="TERM",
         instead="the program in the environment, such as .venv/bin/celery, starts without pdm"),
    # dotenv-cli of npm (cli.js) passes these on; `dotenv run` is Python's (dotenv/cli.py): execvpe.
    _row("dotenv", PASSES_ON, "-e -c -p -v -f --file -q --quote", runner=("", "run"),
         variants=(_with("run", REPLACES),), passes="TERM INT HUP USR1 USR2",
         instead='environment_file = ".env"'),
    # dotenvx, src/lib/helpers/executeCommand.js: SIGTERM and SIGINT after 1 s, others at once.
    _row("dotenvx", PASSES_ON,
         "-e --env -f --env-file -fk --env-keys-file --profile --convention --ignore --token",
         runner="run", separators="--",
         instead="environment_file, where the values are not encrypted"),
    # doppler, pkg/cmd/run_signals.go: all that it gets, unless it has a terminal.
    _row("doppler", PASSES_ON,
         "-p --project -c --config -t --token --fallback --passphrase --name-transformer --mount "
         "--mount-format --mount-template --mount-max-reads --api-host --scope --configuration",
         runner="run", separators="--", script="--command",
         instead="a file that a step of the deploy writes (`doppler secrets download`), as "
         "environment_file"),
    # infisical, packages/cmd/run.go (execCmd): all that it gets.
    _row("infisical", PASSES_ON,
         "-e --env --path --token --projectId -t --tags --domain --project-config-dir "
         "--watch-interval", runner="run", separators="--", script="-c --command",
         instead="a file that a step of the deploy writes (`infisical export`), as "
         "environment_file"),
    _row("cross-env", PASSES_ON, passes="TERM INT HUP", instead="environment = { … }"),
    # supervisor/pidproxy.py: it tells the PID in a file, and waits for its child.
    _row("pidproxy", PASSES_ON, operands=1,
         instead="leave it out: systemd tells the worker itself"),
    # These stay, and the worker does not get the signal from them.
    _row("npm pnpm yarn", KEEPS, opaque=True, does=_GONE,
         instead="start the program that {name} starts"),
    _row("npx", KEEPS, script="-c --call", opaque=True, does=_GONE,
         instead="start the program that {name} starts"),
    # `time` waits for its child, and dies of the signal.
    _row("time", KEEPS, "-f -o --format --output", word=True, does=_GONE,
         instead="leave it out: `unitq status` and the journal say how long it ran"),
    # util-linux, sys-utils/flock.c: with -F it execs and the worker holds the lock.
    _row("flock", KEEPS, "-w -E --wait --timeout --conflict-exit-code", operands=1,
         script="-c --command", variants=(_with("-F --no-fork", REPLACES),), does=_GONE,
         instead="singleton = true, and the command without flock; if the lock is for others, "
         "too: flock --no-fork"),
    _row("xvfb-run", KEEPS,
         "-e -f -n -p -s -w --error-file --auth-file --server-num --xauth-protocol --server-args "
         "--wait", does=_GONE,
         instead="a service of its own for Xvfb, `after` it, and DISPLAY in `environment`"),
    # term-utils/script.c: at its own SIGTERM it ends the child's terminal, and the child 2 s later.
    _row("script", KEEPS,
         "-I -O -B -T -m -E -o --log-in --log-out --log-io --log-timing --logging-format --echo "
         "--output-limit", script="-c --command", word=True, kills_on="TERM INT QUIT HUP",
         kills="it closes the worker's terminal, and kills it 2 s after the stop signal",
         instead="leave it out: `unitq logs` has what a worker prints, line by line"),
    _row("watchmedo", KEEPS,
         "-d --directory -p --pattern --patterns -i --ignore-pattern --ignore-patterns --interval "
         "--timeout --signal --kill-after --debounce-interval", runner="auto-restart",
         kills_on="TERM INT",
         kills="it sends SIGINT to the worker and kills it 10 s later (--signal, --kill-after)",
         does=_GONE, instead=_RESTARTS),
    _row("nodemon", KEEPS, "-w --watch -e --ext -i --ignore -d --delay -s --signal --config --cwd",
         script="-x --exec", kills_on="TERM INT",
         kills="it ends at once and leaves the worker to systemd, which kills it", does=_GONE,
         instead=_RESTARTS),
    _row("watchexec", KEEPS,
         "-w --watch -e --exts -f --filter -i --ignore -s --signal -d --debounce --stop-signal "
         "--stop-timeout --shell --workdir", kills_on="TERM INT",
         kills="it kills the worker 10 s after the stop signal (--stop-timeout)", does=_GONE,
         instead=_RESTARTS),
    # conda/gateways/subprocess.py: Popen.communicate, without a handler; a bash script runs it.
    _row("conda", KEEPS, "-n --name -p --prefix --cwd", runner="run", does=_GONE,
         instead="the program in the environment, such as ENVIRONMENT/bin/celery, starts without "
         "conda, which also holds back what the worker prints"),
    # libmamba/src/core/run.cpp: SIGTERM, after 3 s SIGKILL; it has no handler for others.
    _row("micromamba mamba", KEEPS,
         "-n --name -p --prefix -r --root-prefix -a --attach --cwd -e --env --label --rc-file",
         runner="run", kills_on="TERM", kills="it kills the worker 3 s after SIGTERM", does=_GONE,
         instead="the program in the environment, such as ENVIRONMENT/bin/celery, starts without "
         "{name}"),
    # op is closed source, and its manual does not say what it does with a signal.
    _row("op", KEEPS, "--env-file --account --environment --session --config", runner="run",
         separators="--", does="its manual does not say that it passes the signal on",
         instead="a file that a step of the deploy writes (`op inject`), as environment_file"),
    # scl-utils, src/scllib.c (run_command): system(3), or execvp with -x.
    _row("scl", KEEPS, runner="enable run", separators="--", last=True,
         variants=(_with("-x --exec", REPLACES),),
         does="{name} dies of SIGTERM and ignores SIGQUIT and SIGINT; the worker gets no signal",
         instead="scl enable -x, or a script with `source scl_source enable …` and exec"),
    # chruby, bin/chruby-exec: exec "$SHELL" -c "source …; chruby RUBY && COMMAND".
    _row("chruby-exec", KEEPS, separators="--", does=_GONE,
         instead="the Ruby's own program, such as /opt/rubies/RUBY/bin/bundle"),
    # env-cmd, dist/signal-termination.js: it passes the signal on and ends by it at once.
    _row("env-cmd", KEEPS, "-f --file -e --environments -r --rc-file", does=_GONE,
         instead='environment_file = ".env"'),
    # glibc up to 2.34, debug/catchsegv.sh: a shell that waits.
    _row("catchsegv", KEEPS, does=_GONE,
         instead="leave it out: systemd-coredump keeps what a crash leaves"),
    # A script of expect, which has no handlers: its end closes the worker's terminal (SIGHUP).
    _row("unbuffer", KEEPS, kills_on="TERM INT QUIT HUP",
         kills="it ends with the signal, and the worker with its terminal", does=_GONE,
         instead="leave it out: stdbuf -oL, or the interpreter's own (PYTHONUNBUFFERED=1)"),
    _row("faketime", KEEPS, "-p", operands=1, does=_GONE,
         instead="LD_PRELOAD and FAKETIME in `environment`"),
    _row("entr", KEEPS, opaque=True, does=_GONE, instead=_RESTARTS),
    # honcho, manager.py: KILL_WAIT = 5; foreman, engine.rb: --timeout, 5 s.
    _row("honcho foreman overmind hivemind", KEEPS,
         "-f --procfile -e --env -d --app-root -p --port -m --formation -c --concurrency -t "
         "--timeout", runner="run", opaque=True, kills_on="TERM INT",
         kills="it kills its processes 5 s after the stop signal", does=_GONE,
         instead="one worker for each line of the Procfile: `unitq import Procfile` writes them"),
    _row("supervisord", KEEPS, opaque=True, kills_on="TERM INT QUIT",
         kills="it stops its workers its own way and by its own time limit", does=_GONE,
         instead="one worker for each of its programs: `unitq import` writes them"),
    _row("circusd pm2-runtime pm2 concurrently", KEEPS, opaque=True, kills_on="TERM INT QUIT",
         kills="it stops its workers its own way and by its own time limit", does=_GONE,
         instead="one worker for each of its programs"),
    _row("strace ltrace", KEEPS, "-e -o -p -s -u", kills_on="TERM INT",
         kills="it ends with the signal, and the worker with it", does=_GONE,
         instead="attach it to a running worker: strace -p PID"),
    # sys-utils/runuser and login-utils/su-common.c: the child gets SIGTERM, and SIGKILL 2 s later;
    # without a login shell the PAM service has no pam_systemd (Debian, Fedora).
    _row("runuser", KEEPS, _SU_VALUED, script="-c --command --session-command", account="-u --user",
         as_operand=True, variants=(_with("- -l --login", ELSEWHERE),), kills_on="TERM",
         kills="it kills the worker 2 s after SIGTERM",
         does="a login session of the account's runs the worker in a scope of its own",
         instead=_AS_USER),
    # What these start runs outside of the unit.
    # PAM: su opens a session, and pam_systemd moves it out of the unit; and it kills after 2 s.
    _row("su", ELSEWHERE, _SU_VALUED, script="-c --command --session-command", as_operand=True,
         kills_on="TERM", kills="it kills the worker 2 s after SIGTERM",
         does="PAM moves what su starts into a session outside of the unit, and su kills it 2 s "
         "after SIGTERM", instead=_AS_USER),
    # sudo(8), "Signal handling": it relays signals. Where its PAM service has pam_systemd (Fedora,
    # RHEL) the worker leaves the unit; SIGKILL at stop_timeout reaches sudo alone there.
    _row("sudo", ELSEWHERE,
         "-u -g -p -C -r -t -T -D -h -R -U -c --user --group --prompt --close-from --role --type "
         "--command-timeout --chdir --host --chroot --other-user", account="-u --user",
         does="sudo stays above the worker as root, and where its PAM service opens a session the "
         "worker leaves the unit", instead=_AS_USER),
    _row("doas", ELSEWHERE, "-u -C -a", account="-u",
         does="doas stays above the worker as root (PAM), or opens a session outside of the unit",
         instead=_AS_USER),
    _row("pkexec", ELSEWHERE, "--user", account="--user",
         does="pkexec opens a session outside of the unit", instead=_AS_USER),
    _row("docker podman nerdctl docker-compose podman-compose", ELSEWHERE,
         "-u --user -w --workdir -e --env --env-file -v --volume --name --network --net -p "
         "--publish --entrypoint -m --memory --cpus --mount -h --hostname -l --label --restart "
         "--stop-signal --stop-timeout --log-driver --log-opt --add-host --link --ulimit --tmpfs "
         "--pull --platform --detach-keys -f --file --profile --project-name --project-directory "
         "-H --host --context", operands=1, runner="run exec start up",
         below="the container's own init", instead=_IN_CONTAINER),
    _row("kubectl oc", ELSEWHERE, "-n --namespace -c --container --context --kubeconfig",
         runner="exec", separators="--", below="a node of the cluster",
         instead="run the worker as a Deployment there"),
    _row("lxc incus lxc-attach", ELSEWHERE, separators="--", below="the container's own init",
         instead=_IN_CONTAINER),
    _row("machinectl", ELSEWHERE, operands=1, runner="shell login", below="another systemd",
         instead='user = "ACCOUNT" for an account of this host; for another machine, unitq there'),
    _row("systemd-run run0", ELSEWHERE,
         "-p --property --unit -u --uid --gid --slice -E --setenv -d --working-directory "
         "--description --nice -M --machine -H --host --service-type --on-active --on-calendar",
         below="a unit of its own",
         instead="leave it out: unitq makes the unit; what it sets by -p is written in `service`"),
    _row("ssh mosh autossh", ELSEWHERE,
         "-B -b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w", operands=1, joined=True,
         below="sshd of that host", instead="install unitq on that host"),
    _row("at batch", ELSEWHERE, word=True, below="atd",
         instead="start the worker itself"),
)  # fmt: skip

# Where the system's own programs are; without a folder they are looked for there.
_OF_THE_SYSTEM = frozenset(
    {"", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}
)
_WRAPPERS_MAX = 20  # before one command
_VERSION = re.compile(r"-?[0-9][0-9.]*\Z")  # behind a program's name
_BY_NAME = {name: row for row in WRAPPERS for name in row.names}

# npm and its likes: what they run stands in package.json.
LAUNCHERS = frozenset({"npm", "npx", "pnpm", "yarn"})


# They have a daemon, or another machine, start what they are told to, and only wait for its end.
CLIENTS = frozenset(name for row in WRAPPERS if row.client for name in row.names)
# They are left with nothing to do but to wait for what they have started.
WAITING = frozenset(
    name
    for row in WRAPPERS
    if row.kind is Kind.PASSES_ON or (row.kind is Kind.ELSEWHERE and not row.client)
    for name in row.names
)


def wrapper_of(name: str) -> Wrapper | None:
    """Returns the row of a program, given with or without its path."""
    folder, _, program = name.rpartition("/")
    row = _BY_NAME.get(program) or _BY_NAME.get(without_version(program))
    return None if row and row.word and folder not in _OF_THE_SYSTEM else row


def without_version(program: str) -> str:
    """Returns `bundle` for "bundle-2.1", `python` for "python3.11"."""
    return _VERSION.sub("", program) or program


def names(*kinds: Kind) -> frozenset[str]:
    """Returns the programs of these kinds, also where only an option makes them so."""
    return frozenset(
        name
        for row in WRAPPERS
        if row.kind in kinds or any(variant.kind in kinds for variant in row.variants)
        for name in row.names
    )


class Use(NamedTuple):
    """A wrapper as a command line has it."""

    wrapper: Wrapper
    kind: Kind
    name: str
    group: bool = False
    kills: str = ""  # why the worker is killed, whatever its job; empty: it is not
    account: str = ""  # whom the worker runs as; empty: not said
    words: tuple[str, ...] = ()  # its own
    spares: bool = False
    moves: bool = False  # the command starts in another folder or root
    ends_by: str = ""  # the signal that ends the worker at the wrapper's time limit; empty: none
    options: tuple[tuple[str, str], ...] = ()  # its own, with their values; "" for its operands

    def loses(self, stop_signal: str) -> str:
        """Returns how it ends the worker at this signal whatever its job; empty: it does not."""
        if self.kind is Kind.PASSES_ON:
            return self.kills
        if self.spares or stop_signal not in self.wrapper.kills_on:
            return ""
        return self.wrapper.kills

    def text(self, template: str) -> str:
        """Returns a row's words with the names put in."""
        account = self.account.removeprefix("#") or "ACCOUNT"  # `sudo -u "#1000"`
        return template.replace("{name}", self.name).replace("{account}", account)


class Unwrapped(NamedTuple):
    """A command line without what stands before the worker."""

    uses: tuple[Use, ...] = ()  # the wrappers, outermost first
    words: tuple[str, ...] = ()  # what they run; empty where a shell runs `script`
    script: str = ""

    @property
    def replaced(self) -> bool:
        """Whether every wrapper becomes what it runs."""
        return all(use.kind is Kind.REPLACES for use in self.uses)


def unwrap(words: Sequence[str]) -> Unwrapped:
    """Returns the wrappers before a command, and the command."""
    uses: list[Use] = []
    rest = list(words)
    while rest and len(uses) < _WRAPPERS_MAX:
        if _is_assignment(rest[0]):
            rest.pop(0)
            continue
        row = wrapper_of(rest[0])
        if row is None or (len(rest) == 1 and not row.opaque):
            break
        taken = take(row, rest)
        if taken is None:
            break
        use, inner, script = taken
        uses.append(use)
        if script:
            return Unwrapped(tuple(uses), (), script)
        if use.kind is Kind.KEEPS and inner == rest:
            break
        rest = inner
    return Unwrapped(tuple(uses), tuple(rest), "")


def _is_assignment(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def take(row: Wrapper, words: list[str]) -> tuple[Use, list[str], str] | None:
    """Takes one wrapper's own words off: the command, or the script, is left.

    None where it runs no command.
    """
    name = words[0].rpartition("/")[2]
    rest, options, inserted = words[1:], list[tuple[str, str]](), list[str]()
    given_runner = not row.runner or "" in row.runner
    operands, script = row.operands, ""
    account = ""
    while rest:
        word = rest[0]
        if word == "--" or (given_runner and word in row.separators):
            rest.pop(0)
            break
        if word.startswith("-") and word != "-":
            rest.pop(0)
            if row.name == "env" and (split := _split_string(word, rest)) is not None:
                rest = split
                continue
            if row.python and given_runner and word in ("-m", "--module"):
                inserted = ["python", "-m"]
                break
            options += _options(word, rest, (*row.valued, *row.script, *row.account))
            continue
        if word == "-":
            rest.pop(0)
            options.append(("-", ""))
            continue
        # Not where -u has named it (runuser).
        if row.as_operand and not account and not {name for name, _ in options} & {*row.account}:
            account = rest.pop(0)
            continue
        if not given_runner:
            if word not in row.runner:
                # `docker compose exec`: the runner comes later.
                if not any(text in rest for text in row.runner):
                    break
                rest.pop(0)
                continue
            given_runner = True
            options.append((rest.pop(0), ""))
            continue
        if "" in row.runner and word in row.runner:
            options.append((rest.pop(0), ""))
            continue
        if operands:
            operands -= 1
            options.append(("", rest.pop(0)))
            # flock LOCK -c SCRIPT: its options go on behind its operand.
            if not operands and not row.script:
                if rest[:1] == ["--"]:
                    rest.pop(0)
                break
            continue
        if at := next((at for at, text in enumerate(rest, 1) if text in row.separators), 0):
            own, rest = rest[: at - 1], rest[at:]
            options += [(text, "") for text in own if text.startswith("-")]
        elif row.last:
            script, rest = rest[-1], []
        break
    given = (value for option, value in options if option in row.script and value)
    script = next(given, script)
    if row.joined and rest:
        script, rest = " ".join(rest), []
    if row.python and rest and rest[0].endswith(".py") and not inserted:
        inserted = ["python"]
    if not script and row.opaque and not (row.runner and given_runner):
        return _use(row, name, options, account, words), words, ""
    if not given_runner or (row.operands == _MANY and not rest and not script):
        return None
    account = next((value for option, value in options if option in row.account), account)
    own = words[: len(words) - len(rest)]
    return _use(row, name, options, account, own), [*inserted, *rest], script


def _use(
    row: Wrapper, name: str, options: Sequence[tuple[str, str]], account: str, own: Sequence[str]
) -> Use:
    given = {option for option, _ in options}
    kind, group, kills, spares = row.kind, row.group, "", False
    moves = "" in row.moves or not given.isdisjoint(row.moves)
    for variant in row.variants:
        if given.isdisjoint(variant.options):
            continue
        kind = variant.kind or kind
        group = group if variant.group is None else variant.group
        kills = variant.kills or kills
        spares = spares or variant.spares
    ends_by = next((value for option, value in options if option in row.limit), "TERM")
    return Use(
        row, kind, name, group, kills, account, tuple(own), spares, moves,
        _signal(ends_by) if row.limit else "", tuple(options),
    )  # fmt: skip


def _signal(word: str) -> str:
    """Returns "SIGKILL" for "kill", "SIGKILL" and "9"; "" for what is no signal."""
    try:
        return signals.name(signals.number(word))
    except ValueError:
        return ""


def _options(word: str, rest: list[str], valued: Sequence[str]) -> list[tuple[str, str]]:
    """The options of one word with their values, which may be taken off the rest (getopt(3))."""
    if word.startswith("--"):
        option, equals, value = word.partition("=")
        if not equals and option in valued and rest:
            value = rest.pop(0)
        return [(option, value)]
    if word in valued:  # also such as `-vS`, and long ones with one dash
        return [(word, rest.pop(0) if rest else "")]
    options: list[tuple[str, str]] = []
    for at, letter in enumerate(word[1:], start=1):
        option = f"-{letter}"
        if option in valued:
            value = word[at + 1 :].removeprefix("=") or (rest.pop(0) if rest else "")
            return [*options, (option, value)]
        options.append((option, ""))
    return options


def _split_string(option: str, rest: list[str]) -> list[str] | None:
    """The words behind `env -S "php -d x=1"`, split as env does it; None: another option."""
    for begin in ("--split-string=", "--split-string", "-S", "-vS"):
        if option.startswith(begin):
            if text := option[len(begin) :]:
                return [*split(text), *rest]
            return [*split(rest[0]), *rest[1:]] if rest else []
    return None
