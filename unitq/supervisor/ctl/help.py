"""`unitq ctl help`: supervisorctl's words where they are still true, ours where they are not."""

from __future__ import annotations

from cmd import Cmd
from io import StringIO

ACTIONS = {
    "add": "add <name> [...]\t`update` adds what is new; says so of a group that is there",
    "avail": "avail\t\t\tDisplay all configured processes",
    "clear": "clear <name>\t\tClears nothing: the journal keeps its own limits\nclear all",
    "exit": "exit\tDoes nothing: there is no supervisor shell.",
    "fg": "fg <process>\tNot here: `unitq logs -f` follows what a worker prints",
    "help": "help\t\tPrint a list of available actions\nhelp <action>\tPrint help for <action>",
    "maintail": "maintail\tNot here: there is no daemon with a log; `unitq history`, journalctl",
    "open": "open <url>\tNot here: unitq manages the machine that it runs on; use ssh",
    "pid": (
        "pid <name>\t\tGet the PID of a single process by name.\n"
        "pid all\t\t\tGet the PID of every process, one per line."
    ),
    "quit": "quit\tDoes nothing: there is no supervisor shell.",
    "reload": "reload \t\tNot here: there is no daemon to restart; `update`, `restart all`",
    "remove": "remove <name> [...]\tNot here: take the worker out of unitq.toml, then `update`",
    "reread": "reread \t\t\tShow what `update` would change (unitq plan)",
    "restart": (
        "restart <name>\t\tRestart a process\n"
        "restart <gname>:*\tRestart all processes in a group\n"
        "restart <name> <name>\tRestart multiple processes or groups\n"
        "restart all\t\tRestart all processes\n"
        "Note: a few at a time, each healthy before the next is told to stop (unitq restart).\n"
        "restart does not reread config files. For that, see reread and update."
    ),
    "shutdown": "shutdown \tNot here: there is no daemon; `stop all` stops every worker",
    "signal": (
        "signal <signal name> <name>\t\tSignal a process\n"
        "signal <signal name> <gname>:*\t\tSignal all processes in a group\n"
        "signal <signal name> <name> <name>\tSignal multiple processes or groups\n"
        "signal <signal name> all\t\tSignal all processes"
    ),
    "start": (
        "start <name>\t\tStart a process\n"
        "start <gname>:*\t\tStart all processes in a group\n"
        "start <name> <name>\tStart multiple processes or groups\n"
        "start all\t\tStart all processes"
    ),
    "status": (
        "status <name>\t\tGet status for a single process\n"
        "status <gname>:*\tGet status for all processes in a group\n"
        "status <name> <name>\tGet status for multiple named processes\n"
        "status\t\t\tGet all process status info"
    ),
    "stop": (
        "stop <name>\t\tStop a process, once its job is done\n"
        "stop <gname>:*\t\tStop all processes in a group\n"
        "stop <name> <name>\tStop multiple processes or groups\n"
        "stop all\t\tStop all processes"
    ),
    "tail": (
        "tail [-f] <name> [stdout|stderr] (default stdout)\n"
        "Ex:\n"
        "tail -f <name>\t\tContinuous tail of what the process prints\n"
        "\t\t\tCtrl-C to exit.\n"
        "tail -100 <name>\tlast 100 *bytes* of what it printed\n"
        "tail <name> stderr\tthe same: the journal does not tell the two apart"
    ),
    "update": (
        "update\t\t\tInstall what unitq.toml says and roll it out (unitq deploy)\n"
        "update all\t\tthe same\n"
        "update <gname> [...]\tthe same, where nothing else would change"
    ),
    "version": "version\t\t\tShow the version of Supervisor that the answers are those of",
}

# Instead of what has no counterpart: the reason, and what to type.
INSTEAD = {
    "fg": "a worker has no terminal to attach to; `unitq logs -f NAME` follows what it prints",
    "maintail": "there is no daemon with a log of its own; `unitq logs` shows what systemd says of "
    "the workers, `unitq history` what was deployed",
    "open": "unitq manages the machine that it runs on; `ssh HOST unitq ctl ACTION` asks another",
    "pid": "there is no supervisord, so it has no PID; `pid all`, or `pid NAME`, are the workers'",
    "reload": "there is no daemon to restart; `unitq ctl update` (`unitq deploy`) takes up what "
    "unitq.toml says, `unitq ctl restart all` restarts every worker",
    "remove": "take the worker out of unitq.toml, then `unitq ctl update` (`unitq deploy`) stops "
    "and removes it; `unitq remove` removes a whole app",
    "shutdown": "there is no daemon to end; `unitq ctl stop all` (`unitq stop`) stops the workers "
    "until the next start, deploy or boot, `unitq remove` removes an app",
    "add": "`unitq ctl update` (`unitq deploy`) adds what is new in unitq.toml",
}


def overview() -> str:
    """The list that `help` prints."""
    shown = StringIO()
    topics = [name for name in sorted(ACTIONS) if name != "help"]
    Cmd(stdout=shown).print_topics("default commands (type help <topic>):", topics, 15, 80)
    return "\n" + shown.getvalue()
