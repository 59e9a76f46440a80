"""Drop-ins: which directories count, and what they change of a unit."""

from __future__ import annotations

import pytest

from unitq.units.dropins import DropIn, changes, folders, last

UNIT = """# Written by unitq.
[Service]
Type=exec
ExecStart=/usr/bin/php w.php
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=300s
Restart=always
Nice=5
"""
PATH = "/etc/systemd/system/unitq-shop-w@.service.d/override.conf"


def test_the_directories_of_an_instance() -> None:
    assert folders("unitq-my-shop-w@3.service") == [
        "unitq-my-shop-w@3.service.d", "unitq-my-shop-w@.service.d",
        "unitq-my-shop-@3.service.d", "unitq-my-shop-@.service.d",
        "unitq-my-@3.service.d", "unitq-my-@.service.d",
        "unitq-@3.service.d", "unitq-@.service.d",
        "service.d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Service]\nKillSignal=SIGHUP\n", "KillSignal=SIGHUP; unitq wrote KillSignal=SIGQUIT"),
        ("[Service]\nTimeoutStopSec = 1\nKillMode=process\n",
         ("TimeoutStopSec=1, KillMode=process; "
          "unitq wrote TimeoutStopSec=300s, KillMode=mixed")),
        ("[Service]\nSendSIGKILL=no\n", "SendSIGKILL=no"),
        ("[Service]\nRestart=no", "Restart=no; unitq wrote Restart=always"),
        (
            "[Service]\nExecStart=\nExecStart=/usr/bin/strace \\\n  # a comment\n  php w.php\n",
            "ExecStart=…; unitq wrote ExecStart=…",
        ),
        ("[Service]\nExecStop=/bin/kill $MAINPID\n", "ExecStop=…"),
        ("[Service]\nRestartSec=30\n[Unit]\nStartLimitBurst=1\n",
         "RestartSec=30, StartLimitBurst=1"),
    ],
)  # fmt: skip
def test_what_changes_a_stop_is_named(text: str, said: str) -> None:
    assert [str(change) for change in changes(UNIT, [DropIn(PATH, text)])] == [
        f"{PATH} sets {said}"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[Service]\nNice=10\nMemoryMax=1G\nEnvironment=A=1\n",  # changes no stop
        "[Service]\nKillSignal=SIGQUIT\n",  # the same
        "# KillSignal=SIGHUP\n; KillMode=none\n[Service]\n",
        "[Service]\nNice=1 \\\nKillSignal=SIGHUP\n",  # the line goes on
    ],
)
def test_what_changes_nothing_is_not(text: str) -> None:
    assert changes(UNIT, [DropIn(PATH, text)]) == []


def test_the_last_one_counts() -> None:
    files = [DropIn("/a/1.conf", "[Service]\nLogNamespace=a"), DropIn("/a/2.conf", "LogNamespace=")]
    assert last(UNIT, files, "LogNamespace") == ""
    assert last(UNIT, files[:1], "LogNamespace") == "a"
    assert last(UNIT, [], "KillMode") == "mixed"
