"""`unitq queues` and `unitq queues doctor`, as a user runs them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unitq.cli.main import main

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer

SECRET = "s3cret-0815"
FILE = """\
app = "shop"
directory = "/srv/shop/current"
{top}

[workers.sms]
command = "/usr/bin/php vendor/bin/resque"
preset = "php-resque"
queues = ["sms", "*"]
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNITQ_CONFIG", raising=False)


def write(path: Path, top: str) -> None:
    (path / "unitq.toml").write_text(FILE.format(top=top))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_queues(server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = server.client
    write(tmp_path, f'[redis]\nurl = "{server.url}"')
    client.sadd("resque:queues", "mail", "evil\x1b[2J")
    client.rpush("resque:queue:sms", "{}", "{}")
    assert run("queues", "--interval", "50ms", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["queue"] for row in document["queues"]] == ["evil\x1b[2J", "mail", "sms"]
    sms = document["queues"][2]
    assert (sms["waiting"], sms["rates_from"], sms["drain_seconds"]) == (2, "lengths", None)
    assert document["all"][0]["rates_from"] in ("totals", "lengths")
    assert document["interval_seconds"] >= 0.05
    assert run("queues", "--interval", "0") == 0
    shown = capsys.readouterr().out
    assert "sms" in shown
    assert "IN/S" not in shown
    assert "\x1b" not in shown


def test_without_redis_the_lines_to_add_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "")
    for command in (["queues"], ["queues", "doctor"]):
        assert run(*command) == 2
        told = capsys.readouterr().err
        assert '\n  [redis]\n  url = "redis://127.0.0.1:6379/0"\n  hint: add these lines\n' in told


def test_without_a_preset_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = FILE.format(top='[redis]\nurl = "redis://127.0.0.1:1"').replace(
        'preset = "php-resque"', 'preset = "none"'
    )
    (tmp_path / "unitq.toml").write_text(text)
    assert run("queues") == 2
    assert "it does not say whose queues they are" in capsys.readouterr().err


def test_a_preset_of_ones_own_needs_no_python(
    server: RedisServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A framework that unitq does not know: one file in the presets folder."""
    folder = tmp_path / "config" / "unitq" / "presets"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        'title = "Mine"\n[stop]\nsignal = "SIGTERM"\ntimeout = "1min"\nkill_mode = "mixed"\n'
        'why = "It says so."\n'
        "[redis]\n"
        'prefix = "mine:"\nnames = [["SMEMBERS", "{p}all"]]\n'
        'waiting = [["LLEN", "{p}q:{q}"]]\nfailed = [["ZCARD", "{p}f:{q}"]]\n'
        'oldest = { command = ["LINDEX", "{p}q:{q}", "-1"], field = "at" }\n'
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    client: Any = server.client
    client.sadd("mine:all", "a")
    client.rpush("mine:q:a", '{"at": 1795440000}')
    client.zadd("mine:f:a", {"x": 1})
    text = FILE.format(top=f'[redis]\nurl = "{server.url}"')
    (tmp_path / "unitq.toml").write_text(text.replace('"php-resque"', '"mine"'))
    assert run("--user", "queues", "--interval", "0", "--json") == 0
    row = json.loads(capsys.readouterr().out)["queues"][0]
    assert (row["queue"], row["waiting"], row["failed"]) == ("a", 1, 1)
    assert row["oldest_seconds"] is not None


@pytest.mark.parametrize("source", ["url", "variable", "file"])
def test_a_password_is_nowhere_to_be_seen(
    server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    client: Any = server.client
    client.execute_command("ACL", "SETUSER", "unitq", "on", f">{SECRET}", "~*", "+@read")
    (tmp_path / "env").write_text(f"REDIS_PASSWORD={SECRET}\n")
    (tmp_path / "password").write_text(f"{SECRET}\n")
    url = server.url
    top = {
        "url": f'[redis]\nurl = "{url.replace("//", f"//unitq:{SECRET}@")}"',
        "variable": f'environment_file = "{tmp_path}/env"\n[redis]\nurl = "{url}"\n'
        'username = "unitq"\npassword_variable = "REDIS_PASSWORD"',
        "file": f'[redis]\nurl = "{url}"\nusername = "unitq"\n'
        f'password_file = "{tmp_path}/password"',
    }[source]
    write(tmp_path, top)
    try:
        assert run("queues", "--interval", "0", "--json") == 0
        assert run("queues", "doctor", "--json") == 0
        shown = capsys.readouterr()
    finally:
        client.execute_command("ACL", "DELUSER", "unitq")
    # And once more with a user that is no longer there.
    assert run("queues") == 1
    again = capsys.readouterr()
    told = shown.out + shown.err + again.out + again.err
    assert "user or the password" in again.err
    assert SECRET not in told


def test_doctor(server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = server.client
    write(tmp_path, f'[redis]\nurl = "{server.url}"')
    assert run("queues", "doctor") == 0
    assert "no worker is registered" in capsys.readouterr().out
    dead = f"{socket.gethostname()}:4194305:sms"  # above PID_MAX_LIMIT
    client.sadd("resque:workers", dead, "web9:1:sms")
    assert run("queues", "doctor") == 3
    shown = capsys.readouterr()
    assert "its process 4194305 is gone" in shown.out
    assert "2 workers registered: 1 dead, 1 elsewhere" in shown.out
    assert "--prune" in shown.err
    assert run("queues", "doctor", "--prune", "--json") == 2
    assert "--yes" in capsys.readouterr().err
    assert client.scard("resque:workers") == 2
    assert run("queues", "doctor", "--prune", "--yes") == 0
    assert client.smembers("resque:workers") == {"web9:1:sms"}


def _documented(title: str) -> Any:
    page = (Path(__file__).resolve().parents[3] / "docs" / "json.md").read_text()
    return json.loads(
        page.partition(f"## `{title}`")[2].partition("```json\n")[2].partition("```")[0]
    )


def test_the_json_is_what_is_documented(
    server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = server.client
    write(tmp_path, f'[redis]\nurl = "{server.url}"')
    dead = f"{socket.gethostname()}:4194305:sms"
    client.sadd("resque:workers", dead)
    record = {"queue": "sms", "run_at": "2026-11-23T13:20:00Z", "payload": {"class": "A"}}
    client.set(f"resque:worker:{dead}", json.dumps(record))
    assert run("queues", "--interval", "0", "--json") == 0
    told, written = json.loads(capsys.readouterr().out), _documented("unitq queues --json")
    assert told.keys() == written.keys()
    for key in ("queues", "jobs"):
        assert told[key][0].keys() == written[key][0].keys()
    assert told["all"][0].keys() == written["queues"][0].keys()
    assert run("queues", "doctor", "--json") == 3
    told, written = json.loads(capsys.readouterr().out), _documented("unitq queues doctor --json")
    assert told.keys() == written.keys()
    assert told["workers"][0].keys() == written["workers"][0].keys()


def test_plain_status_loads_nothing_of_this() -> None:
    """It has 100 ms, of which redis-py or pydantic would be more than half."""
    code = (
        "import sys; import unitq.cli.main, unitq.cli.status.main, unitq.status.app_status; "
        "print([m for m in sys.modules if m.startswith(('redis', 'unitq.queues', 'pydantic', "
        "'unitq.queues.model', 'unitq.presets.redis_keys', 'unitq.cli.queue', 'jinja2'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("interval", ["x", "-1", "infinity", "2h", ""])
def test_a_bad_interval_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: str
) -> None:
    write(tmp_path, '[redis]\nurl = "redis://127.0.0.1:1"')
    assert run("queues", "--interval", interval) == 2
    assert "--interval" in capsys.readouterr().err
