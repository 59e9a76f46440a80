"""The actions of `unitq ctl`, and what to type in place of those of supervisorctl that it lacks."""

from __future__ import annotations

USAGE = {
    "avail": "avail",
    "pid": "pid NAME... | pid all",
    "reread": "reread",
    "restart": "restart NAME... | restart GROUP:* | restart all",
    "signal": "signal SIGNAL NAME... | signal SIGNAL GROUP:* | signal SIGNAL all",
    "start": "start NAME... | start GROUP:* | start all",
    "status": "status | status NAME... | status GROUP:*",
    "stop": "stop NAME... | stop GROUP:* | stop all",
    "tail": "tail [-f | -BYTES] NAME [stdout | stderr]",
    "update": "update | update GROUP...",
    "version": "version",
}

# Actions of supervisorctl that unitq has not, and what to type in their place.
INSTEAD = {
    "": "a shell. `supervisorctl ACTION` for each command",
    "add": "add. `unitq ctl update` adds what is new in unitq.toml",
    "clear": "clear. `unitq logs --since TIME` leaves out what is older; the journal keeps to "
    "SystemMaxUse= in journald.conf",
    "exit": "a shell to exit",
    "fg": "fg. `unitq logs -f NAME` follows what a worker prints",
    "help": "help. `unitq ctl --help`",
    "maintail": "maintail. `unitq logs` shows what systemd says of the workers, `unitq history` "
    "what was deployed",
    "open": "open. `ssh HOST unitq ctl ACTION`",
    "pid": "a daemon with a PID. `unitq ctl pid all`, or `pid NAME`, for the workers'",
    "quit": "a shell to quit",
    "reload": "a daemon to reload. `unitq ctl update` takes up what unitq.toml says, "
    "`unitq ctl restart all` restarts every worker",
    "remove": "remove. Take the worker out of unitq.toml, then `unitq ctl update`",
    "shutdown": "a daemon to shut down. `unitq ctl stop all` stops the workers until the next "
    "start, deploy or boot",
}
