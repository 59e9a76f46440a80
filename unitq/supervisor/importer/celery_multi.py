"""`celery multi start`: several daemons of Celery's own, as one worker with several instances.

As extra/systemd/celery.service of Celery has it, with the variables of extra/systemd/celery.conf.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_STARTS = ("start", "restart")
# What a daemon needs, and a process that systemd starts does not; and what names the node.
_DAEMONS = ("--pidfile", "--logfile", "-p", "-f", "--uid", "--gid", "-n", "--hostname")
_VALUED = ("-A", "--app", "-b", "--broker", "-l", "--loglevel", "-Q", "--queues", "-c",
           "--concurrency", "-P", "--pool", "-E", "--workdir", "-O")  # fmt: skip
_FOR_ONE_NODE = re.compile(r"(--?[A-Za-z-]+):([\w,.-]+)(=.*)?")


class Multi(NamedTuple):
    """What it started."""

    words: tuple[str, ...]  # of `celery worker`, without its node's name
    nodes: tuple[str, ...]
    single: tuple[str, ...] = ()  # options for one of the nodes, which are left out


def multi(words: Sequence[str]) -> Multi | None:
    """Returns what `celery … multi start …` starts; None: it is something else."""
    if not words or "multi" not in words:
        return None
    at = words.index("multi")
    runs_celery = any(posixpath.basename(word) == "celery" for word in words[:at])
    if not runs_celery or len(words) < at + 2 or words[at + 1] not in _STARTS:
        return None
    rest = list(words[at + 2 :])
    nodes: list[str] = []
    options: list[str] = []
    single: list[str] = []
    while rest:
        word = rest.pop(0)
        name = word.partition("=")[0]
        takes_next = "=" not in word and bool(rest) and not rest[0].startswith("-")
        if match := _FOR_ONE_NODE.fullmatch(word):
            single.append(word if match[3] or not takes_next else f"{word} {rest.pop(0)}")
        elif name in _DAEMONS:
            if takes_next:
                rest.pop(0)
        elif word.startswith("-"):
            options.append(word)
            if name in _VALUED and name != "-E" and takes_next:
                options.append(rest.pop(0))
        elif options or single:
            options.append(word)
        else:
            nodes.append(word)
    if len(nodes) == 1 and nodes[0].isdecimal():
        nodes = [f"celery{number}" for number in range(1, int(nodes[0]) + 1)]
    before = words[:at]
    return Multi((*before, "worker", *options), tuple(nodes or ["celery"]), tuple(single))


def node_name(nodes: Sequence[str]) -> str:
    """Returns what to call the instances' nodes, in systemd's syntax: `-n w%i@%%h`."""
    common = posixpath.commonprefix([node.partition("@")[0] for node in nodes])
    return f"{common.rstrip('0123456789') or 'celery'}%i@%%h"
