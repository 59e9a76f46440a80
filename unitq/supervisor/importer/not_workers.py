"""Programs that Supervisor ran and that are no workers: written as comments, with what to do."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline import exec_line
from unitq.cmdline.invocation import invocations
from unitq.cmdline.invocation import program as invoked
from unitq.supervisor.importer.loops import loop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.supervisor.conf.programs import Program
    from unitq.supervisor.importer.draft import Draft
    from unitq.supervisor.importer.loops import Loop
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.recognise import Looks
    from unitq.supervisor.importer.report import Part

_IN_A_FILE = 10  # seconds: a script that sleeps less between two runs may be a worker's own loop


class Command(NamedTuple):
    """A program's command."""

    arguments: tuple[str, ...]  # with absolute paths
    line: str  # in systemd's syntax
    peeled: Peeled
    looks: Looks


def set_aside(part: Part, draft: Draft, command: Command, *, once: str = "") -> None:
    """Writes the draft as a comment where it is no worker, and says what takes its place.

    `once`: why it is known to end; see runs_once.
    """
    if command.looks.preset is not None:
        return
    note_companion(part, draft, command.line, command.looks.heads)
    first = invoked(command.arguments)
    service = find_service(first.program) if first and not first.interpreter else None
    if service:
        draft.switch_off(
            f"{service.program}: distributions have a unit for it, {service.unit}.",
            "Use that; its options belong into its own configuration. As it was:",
        )
        part.decide_only(
            f"{service.program} has a unit of the distribution's, {service.unit}: use that. Here "
            "it is a comment"
        )
    elif timer := command.peeled.timer or _in_file(command):
        in_file = command.peeled.timer is None
        draft.switch_off(
            "A job that runs every so often, and not the worker of a queue: a timer starts it.",
            *(["What its script does before the loop has to be done in there, too."] * in_file),
            *_unit(_EVERY, draft, timer.words or ("/bin/sh", "-c", timer.body), timer.interval),
            "", "As it was:",
        )  # fmt: skip
        part.decide_only(
            f"a loop that sleeps {timer.interval:.15g} s is a timer: its units stand in a comment, "
            "to be copied"
        )
    elif once:
        draft.switch_off(
            f"It runs once ({once}): as a worker it would fail each deploy, which waits for it to",
            "stay. Before or after each deploy: before_deploy, after_deploy in [hooks].",
            *_unit(_ONCE, draft, command.arguments),
            "", "If it is to stay, and never ends of itself:",
        )  # fmt: skip
        part.decide_only(
            f"it runs once ({once}): a oneshot unit stands in a comment, to be copied; [hooks] can "
            "run it with each deploy"
        )


def runs_once(program: Program) -> str:
    """Returns why a program is one that ends; empty: it is to stay.

    Most programs have neither: "unexpected" is the default of autorestart, and 1 of startsecs.
    """
    settings = program.settings
    at_once = "startsecs" in program.given and settings.startsecs <= 0
    if settings.autorestart == "never":
        return "autorestart=false"
    if settings.autorestart == "unexpected" and at_once and 0 in settings.exitcodes:
        return "startsecs=0, and 0 is an expected exit status"
    return ""


def _in_file(command: Command) -> Loop | None:
    """The endless loop in a shell's script, where it sleeps for long."""
    for head in command.looks.heads.values():
        lines = [line for line in head.splitlines() if not line.lstrip().startswith("#")]
        endless = loop("\n".join(lines), whole=False)
        if endless and endless.interval >= _IN_A_FILE:
            return endless._replace(words=())
    return None


# --- schedulers and web pages, which run beside workers -------------------------------------------


class Companion(NamedTuple):
    """What such a program is."""

    name: str
    # It sends jobs at their times; some have a lock against a second one, most have none.
    scheduler: bool = False


# celery/bin/celery.py: the options that stand before its commands.
_CELERY = (
    r"celery(?: (?:-A|-b|--app|--broker|--result-backend|--loader|--config|--workdir) \S+"
    r"| --[a-z-]+=\S+| -[Ab]\S+| -[Cq](?!\S)| --(?:no-color|quiet|skip-checks))* "
)
# Matched with what a program is called and its arguments (detect.Invocation.texts).
_COMPANIONS = tuple(
    (re.compile(rf"(?:{pattern})(?!\S)"), Companion(name, scheduler))
    for pattern, name, scheduler in (
        (_CELERY + "beat", "Celery's beat", True),
        (_CELERY + "(?:flower|events)|flower|celery-exporter", "a monitor of Celery", False),
        (r"rq cron|rqscheduler|(?:\S+/)?manage\.py rqscheduler", "RQ's scheduler", True),
        (r"rq-dashboard|rqinfo|rq info|rq-exporter", "a monitor of RQ", False),
        (r"rake(?: \S+)*? resque:scheduler|resque-scheduler", "resque-scheduler", True),
        (r"resque-web", "a web page of Resque", False),
        (r"(?:php )?(?:\S*/)?artisan schedule:work", "Laravel's scheduler", True),
        (r"taskiq scheduler", "taskiq's scheduler", True),
        (r"periodiq", "periodiq", True),
        (r"clockwork", "clockwork", True),
        (r"bull-board|bull-monitor|arena", "a web page of BullMQ", False),
    )
)


def companion(command: str, heads: Mapping[str, str]) -> Companion | None:
    """Returns what the command, a line in systemd's syntax, runs beside workers; None: nothing."""
    texts = [text for run in invocations(command, heads) for text in run.texts()]
    fits = (who for text in texts for pattern, who in _COMPANIONS if pattern.match(text))
    return next(fits, None)


def note_companion(part: Part, draft: Draft, command: str, heads: Mapping[str, str]) -> None:
    """Writes into the draft, and says, that its program is no worker, where that is known."""
    program = companion(command, heads)
    if program is None:
        return
    if not program.scheduler:
        draft.comments.append(f"{program.name}: it takes no jobs, so no preset applies.")
        part.note(f"{program.name} takes no jobs: no framework's preset applies to it")
        return
    draft.keys["singleton"] = True
    draft.comments.append(f"{program.name}: one is enough, and two may send each job twice.")
    several = draft.keys.pop("instances", 1)
    if isinstance(several, int) and several > 1:
        part.decide(
            f"{program.name} ran {several} times, which may send each job as often: once now"
        )
    else:
        part.note(f"{program.name} runs once (singleton): two may send each job twice")


# --- programs that a distribution has units for ---------------------------------------------------

# The program, and the unit: Debian's and Ubuntu's name first, then Fedora's where it is another.
# From the packages' own unit files; see `apt-file search /lib/systemd/system/`.
_SERVICES = (
    (r"nginx|openresty", "nginx.service"),
    (r"apache2|apache2ctl|apachectl|apache2-foreground|httpd|httpd-foreground",
     "apache2.service, or httpd.service"),
    (r"lighttpd", "lighttpd.service"),
    (r"caddy", "caddy.service"),
    (r"haproxy", "haproxy.service"),
    (r"varnishd", "varnish.service"),
    (r"squid", "squid.service"),
    (r"php-?fpm[0-9.]*", "php8.2-fpm.service (by its version), or php-fpm.service"),
    (r"cron|crond|cronie", "cron.service, or crond.service"),
    (r"anacron", "anacron.timer"),
    (r"atd", "atd.service"),
    (r"redis-server|valkey-server", "redis-server.service, or redis.service"),
    (r"redis-sentinel", "redis-sentinel.service"),
    (r"memcached", "memcached.service"),
    (r"rabbitmq-server", "rabbitmq-server.service"),
    (r"beanstalkd", "beanstalkd.service"),
    (r"gearmand", "gearman-job-server.service, or gearmand.service"),
    (r"mosquitto", "mosquitto.service"),
    (r"mysqld|mysqld_safe|mariadbd|mariadbd-safe", "mariadb.service, or mysql.service"),
    (r"postgres|postmaster", "postgresql.service"),
    (r"pgbouncer", "pgbouncer.service"),
    (r"mongod", "mongod.service"),
    (r"elasticsearch", "elasticsearch.service"),
    (r"rsyslogd", "rsyslog.service"),
    (r"syslog-ng", "syslog-ng.service"),
    (r"sshd", "ssh.service, or sshd.service"),
    (r"dbus-daemon", "dbus.service"),
    (r"dnsmasq", "dnsmasq.service"),
    (r"named", "named.service"),
    (r"ntpd|chronyd", "chrony.service, or chronyd.service"),
    (r"postfix|master", "postfix.service"),
    (r"exim4?", "exim4.service, or exim.service"),
    (r"dovecot", "dovecot.service"),
    (r"vsftpd", "vsftpd.service"),
    (r"proftpd", "proftpd.service"),
    (r"fail2ban-server", "fail2ban.service"),
    (r"stunnel4?", "stunnel4.service, or stunnel.service"),
    (r"incrond", "incron.service, or incrond.service"),
)  # fmt: skip
_BY_NAME = tuple((re.compile(pattern), unit) for pattern, unit in _SERVICES)


class Service(NamedTuple):
    """A program of the distribution's, and its unit."""

    program: str
    unit: str


def find_service(program: str) -> Service | None:
    """Returns the unit that distributions have for this program; None: it is none of theirs."""
    name = posixpath.basename(program)
    unit = next((unit for pattern, unit in _BY_NAME if pattern.fullmatch(name)), None)
    # Postfix's own first process is called master, and much else is.
    if unit is None or (name == "master" and "postfix" not in program):
        return None
    return Service(name, unit)


# --- what runs once, or every so often, as units to copy from a comment ---------------------------

_ONCE = """\
At each boot, as /etc/systemd/system/{name}.service
(then `systemctl enable --now {name}.service`):

[Service]
Type=oneshot
RemainAfterExit=yes
{settings}

[Install]
WantedBy=multi-user.target
"""
# `seconds` between two runs, as the loop had it.
_EVERY = """\
As /etc/systemd/system/{name}.service and {name}.timer
(then `systemctl enable --now {name}.timer`; stopping it does not stop a run):

[Service]
Type=oneshot
{settings}

[Timer]
OnBootSec={seconds:.15g}s
OnUnitInactiveSec={seconds:.15g}s
AccuracySec=1s
[Install]
WantedBy=timers.target
"""


def _unit(template: str, draft: Draft, words: Sequence[str], seconds: float = 0.0) -> list[str]:
    """Returns the lines of a unit that runs these words as the draft's user, in its directory."""
    settings = [f"User={draft.keys['user']}"] if "user" in draft.keys else []
    settings.append(f"WorkingDirectory={draft.directory}")
    for name, value in draft.environment.items():
        settings.append(f"Environment={exec_line.word(f'{name}={value}', dollar=False)}")
    settings.append(f"ExecStart={exec_line.line(words)}")
    text = template.format(name=draft.name, seconds=seconds, settings="\n".join(settings))
    return text.splitlines()
