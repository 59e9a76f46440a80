"""What a worker is ordered after, by its framework's default and by the `.env` of its release."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import PRESETS, app
from unitq.model.finding import Level
from unitq.rollout.checks.shutdown_order import ShutdownOrder, shutdown_order
from unitq.systemd.envfile import dotenv
from unitq.units import local_services, ordering
from unitq.units.local_services import Surroundings
from unitq.units.render import Code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARAVEL = """
[workers.sms]
command = "/usr/bin/php artisan queue:work redis"
preset = "laravel"
"""
PLAIN = '[workers.sms]\ncommand = "/bin/worker"\n'
UNIT = "redis-here.service"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server of this process, which is said to be in a unit."""
    monkeypatch.setattr(local_services, "control_group", lambda _: f"/system.slice/{UNIT}")
    monkeypatch.setattr(local_services, "obstacle", lambda *_: "")
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield int(server.getsockname()[1])


def order(release: Path, text: str = PLAIN) -> ShutdownOrder:
    """Of one worker with this release."""
    code = {"sms": Code(str(release), "1")}
    return shutdown_order(app(text), code, PRESETS, Surroundings(None, "unitq-shop.target"))


def test_where_nothing_is_said_the_frameworks_default_is_asked(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ordering.BROKERS, "redis", ordering.Broker(port, ()))
    assert order(tmp_path, LARAVEL).after == {"sms": (UNIT,)}
    assert order(tmp_path).after == {"sms": ()}  # no framework, so no default
    (tmp_path / ".env").write_text("REDIS_HOST=192.0.2.1\n")  # another machine's, RFC 5737
    assert order(tmp_path, LARAVEL).after == {"sms": ()}


def test_where_nobody_serves_it_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ordering.BROKERS, "redis", ordering.Broker(1, ()))
    # What Laravel's own .env.example has.
    (tmp_path / ".env").write_text("REDIS_HOST=127.0.0.1\nREDIS_PORT=1\n")
    assert order(tmp_path, LARAVEL) == ({"sms": ()}, (), ())


@pytest.mark.parametrize(
    "text",
    [
        "REDIS_HOST=127.0.0.1\nREDIS_PORT={port}\n",
        "REDIS_PORT={port}\nREDIS_HOST=localhost",
        "# local\nexport REDIS_HOST='localhost' # here\nREDIS_PORT = \"{port}\"\n",
        "MESSENGER_TRANSPORT_DSN=redis://localhost:{port}/messages\n",
        'REDIS_URL="redis://:p%23w@localhost:{port}/0"\r\n',
    ],
)
@pytest.mark.parametrize("worker", [PLAIN, LARAVEL])
def test_the_dotenv_of_the_release_tells(tmp_path: Path, port: int, text: str, worker: str) -> None:
    (tmp_path / ".env").write_text(text.format(port=port))
    found = order(tmp_path, worker)
    assert found.after == {"sms": (UNIT,)}
    assert "in .env) is redis-here.service" in found.findings[0].message


def test_the_local_one_wins(tmp_path: Path, port: int) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=redis://192.0.2.1\n")
    (tmp_path / ".env.local").write_text(f"REDIS_URL=redis://127.0.0.1:{port}\n")
    assert order(tmp_path).after == {"sms": (UNIT,)}


def test_a_name_of_a_unit_in_it_is_no_order(tmp_path: Path, port: int) -> None:
    text = f"AFTER=evil.service\nREDIS_UNIT=evil.service\nREDIS_URL=redis://localhost:{port}\n"
    (tmp_path / ".env").write_text(text)
    assert order(tmp_path).after == {"sms": (UNIT,)}


@pytest.mark.parametrize("kind", ["pipe", "device", "large", "folder", "nothing"])
def test_what_is_no_file_of_a_persons_is_left(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".env"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "large":
        path.write_text("A=1\n" * (1 << 19))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    found = order(tmp_path)
    assert found.after == {"sms": ()}
    (finding,) = found.findings
    assert finding.level is Level.NOTE
    assert finding.message.startswith(f"{path} is not asked where queues are: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone has other rights than the owner")
def test_root_reads_no_more_than_who_may_write_it(tmp_path: Path, port: int) -> None:
    secret = tmp_path / "of-root"
    secret.write_text(f"REDIS_URL=redis://localhost:{port}\n")
    secret.chmod(0o600)
    release = tmp_path / "release"
    release.mkdir()
    os.chown(release, 1, 1)
    (release / ".env").symlink_to(secret)
    os.chown(release / ".env", 1, 1, follow_symlinks=False)
    found = order(release)
    assert found.after == {"sms": ()}
    assert "may not read it" in found.findings[0].message or "decide" in found.findings[0].message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("A=1 # one\nB='x # y'\nC=\"p # q\" # r", {"A": "1", "B": "x # y", "C": "p # q"}),
        ("  export  A = 1\r\n", {"A": "1"}),
        ("#A=1\n A b=2\n=3\n9=4\n-A=5", {}),
        ("A='1\nB=2", {"A": "", "B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
        ("", {}),
    ],
)
def test_a_dotenv_is_read_line_by_line(text: str, expected: dict[str, str]) -> None:
    assert dotenv(text) == expected
