"""Programs that a distribution has units for: they are no workers, and need no unit of unitq's."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

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


def service(program: str) -> Service | None:
    """Returns the unit that distributions have for this program; None: it is none of theirs."""
    name = posixpath.basename(program)
    unit = next((unit for pattern, unit in _BY_NAME if pattern.fullmatch(name)), None)
    # Postfix's own first process is called master, and much else is.
    if unit is None or (name == "master" and "postfix" not in program):
        return None
    return Service(name, unit)
