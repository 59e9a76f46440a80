"""Redis, or what stands in its place, answers with anything: that is said, and no number."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.queues.conftest import PRESETS, source
from unitq.errors import UnitqError
from unitq.model.app import Redis
from unitq.queues.check import check_redis
from unitq.queues.client import Connection
from unitq.queues.commands import HOLE, ErrorReply, QueuesError, command, commands_for, misfit
from unitq.queues.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unitq.queues.commands import Command

EVERY = sorted({path.stem for path in PRESETS.glob("*.toml")} - {"none"})
EVERY = [preset for preset in EVERY if b"[redis]" in (PRESETS / f"{preset}.toml").read_bytes()]

# What is sent, and whether it is an error of Redis's own.
KINDS = {
    "a number": b":7\r\n",
    "a negative number": b":-3\r\n",
    "a string": b"$3\r\nabc\r\n",
    "an empty string": b"$0\r\n\r\n",
    "a simple string": b"+OK\r\n",
    "nil": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "an empty list": b"*0\r\n",
    "numbers": b"*2\r\n:1\r\n:2\r\n",
    "strings": b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
    "nils": b"*2\r\n$-1\r\n$-1\r\n",
    "lists": b"*2\r\n*1\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n",
    "deep lists": b"*1\r\n" * 50 + b"$1\r\na\r\n",
    "an error in a list": b"*2\r\n$1\r\na\r\n-ERR x\r\n",
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "NOPERM": b"-NOPERM this user has no permissions\r\n",
    "WRONGTYPE": b"-WRONGTYPE Operation against a key\r\n",
    "ERR": b"-ERR unknown command\r\n",
}
# What a server like Redis answers, so that the next question is asked.
NUMBERS = ("EXISTS", "HLEN", "LLEN", "PTTL", "SCARD", "STRLEN", "XLEN", "ZCARD", "ZCOUNT")
FIRST = ("SELECT", "AUTH", "CLIENT")  # of the greeting


def written(value: Any) -> bytes:
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(written, value))
    return b"$%d\r\n%b\r\n" % (len(value), value.encode())


def usual(words: list[str]) -> Any:
    name = words[0]
    if name in NUMBERS:
        return 1
    if name in ("GET", "HGET", "LINDEX"):
        return "1"
    if name == "HMGET":
        return [None] * (len(words) - 2)
    if "WITHSCORES" in words:
        return ["web1:1:sms", "1"]
    if name == "XINFO":
        group = {"GROUPS": "symfony" if "symfony" in words[2] else "taskiq"}.get(words[1], "c")
        return [["name", group, "consumers", 1, "pending", 1, "idle", 9]]
    return {
        "HGETALL": ["pid", "1"],
        "XPENDING": [["1-1", "c", 5, 1]],
        "XRANGE": [["1-1", ["message", "x"]]],
    }.get(name, ["web1:1:sms"])


@contextmanager
def server(kind: bytes, only: str = "") -> Iterator[tuple[str, list[str]]]:
    """Answers this to every command, or to those of one name; where, and what was asked."""
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(size + 2)[:-2].decode())
                if words[0] in FIRST:
                    self.wfile.write(b"+OK\r\n")
                    continue
                asked.append(words[0])
                wrong = only in ("", words[0])
                self.wfile.write(kind if wrong else written(usual(words)))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as found:
        found.daemon_threads = True
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"redis://127.0.0.1:{found.server_address[1]}/0", asked
        finally:
            found.shutdown()


def outcome(preset: str, kind: bytes, only: str = "") -> tuple[str, list[str], bool]:
    """What went wrong, or is noted; what was asked; whether some of it was refused."""
    with server(kind, only) as (url, asked):
        connection = Connection(Redis(url=url), patience=10.0)  # of a busy machine
        try:
            (sample,) = take_snapshot(connection, [source(preset, "sms")], named=True)
        except QueuesError as error:
            return error.message, asked, False
        finally:
            connection.close()
        return "; ".join(sample.notes), asked, sample.refused


@pytest.mark.parametrize("preset", EVERY)
def test_no_answer_ends_in_an_error_of_pythons(preset: str) -> None:
    _, asked, refused = outcome(preset, b"", only="no command")
    assert not refused
    assert asked, "it asks something"
    for name in dict.fromkeys(["", *asked]):
        for words, kind in KINDS.items():
            said, _, refused = outcome(preset, kind, name)
            assert "argument" not in said, (name, words, said)  # Python's own ValueError
            # Where SORT_RO is refused, two other commands tell the same.
            if words == "LOADING" or (words == "NOPERM" and name != "SORT_RO"):
                assert words in said, (name, words)
                assert refused or words == "LOADING", (name, words)
            if words in ("lists", "deep lists", "an error in a list") and name not in ("XINFO",):
                assert said.startswith("cannot read the queues: Redis at "), (name, words, said)
            if words in ("a string", "a simple string") and name in NUMBERS:
                assert name in said, words
            if words == "a number" and name not in ("", *NUMBERS):
                assert name in said, words


@pytest.mark.parametrize("words", ["lists", "a number", "a string"])
def test_check_says_that_it_cannot_be_read(words: str) -> None:
    with server(KINDS[words]) as (url, _):
        found = check_redis(Connection(Redis(url=url)), [source("php-resque", "sms")])
    assert not found.reachable
    assert found.findings[0].message.startswith("cannot read the queues")


@pytest.mark.parametrize("words", KINDS)
def test_a_sentinel_that_is_none(words: str) -> None:
    with server(KINDS[words]) as (url, _):
        place = url.removeprefix("redis://").removesuffix("/0")
        connection = Connection(Redis(sentinels=(place,), master="m"))
        with pytest.raises(UnitqError):
            take_snapshot(connection, [source("php-resque", "sms")])


FITS: list[tuple[Command, Any, bool]] = [
    (command("LLEN", "a"), 3, True),
    (command("LLEN", "a"), ErrorReply("NOPERM"), True),
    (command("llen", "a"), b"3", False),
    (command("LLEN", "a"), None, False),
    (command("GET", "a"), None, True),
    (command("GET", "a"), [], False),
    (command("SMEMBERS", "a"), [b"a"], True),
    (command("SMEMBERS", "a"), [], True),
    (command("SMEMBERS", "a"), b"abc", False),
    (command("SMEMBERS", "a"), [b"a", ErrorReply("ERR")], False),
    (command("HMGET", "a", "b", "c"), [None, b"1"], True),
    (command("HMGET", "a", "b", "c"), [b"1"], False),
    (command("HGETALL", "a"), [b"1", b"2"], True),
    (command("HGETALL", "a"), [b"1"], False),
    (command("XINFO", "GROUPS", "a"), [[b"name", b"g", b"pending", 1]], True),
    (command("XINFO", "GROUPS", "a"), b"name", False),
    (command("XINFO", "STREAM", "a"), [b"length", 3, b"groups", 1], True),
    (command("XPENDING", "a", "g"), [1, b"1-1", b"1-1", [[b"c", b"1"]]], True),
    (command("XPENDING", "a", "g", "-", "+", "9"), [[b"1-1", b"c", 5, 1]], True),
    (command("XPENDING", "a", "g", "-", "+", "9"), [[b"1-1", b"c", b"5", 1]], False),
    (command("XRANGE", "a", "1-1", "1-1"), [[b"1-1", [b"message", b"x"]]], True),
    (command("XRANGE", "a", "1-1", "1-1"), [[b"1-1", [b"message"]]], False),
    (command("EVAL", "return 1", "0"), [1, [2]], True),
]


@pytest.mark.parametrize(("words", "answer", "fits"), FITS)
def test_which_answers_fit(words: Command, answer: Any, *, fits: bool) -> None:
    assert (misfit([words], [answer]) == "") == fits


def test_the_command_is_named_whose_answer_does_not_fit() -> None:
    many = commands_for([b"a", b"b"], "LLEN", f"queue:{HOLE}")
    numbers: Sequence[Any] = [1, 2, [b"a"]]
    assert misfit([*many, command("SMEMBERS", "a")], numbers) == ""
    assert misfit([*many, command("SMEMBERS", "a")], [1, 2, 3]) == "SMEMBERS"
    assert misfit([*many, command("SMEMBERS", "a")], [1, b"2", [b"a"]]) == "LLEN"
