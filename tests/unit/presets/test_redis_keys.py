"""The [redis] section of a preset: what it may say, and every mistake at once."""

from __future__ import annotations

from typing import Any

import pytest

from unitq.presets import redis_keys
from unitq.presets.file import clashes
from unitq.presets.model import File
from unitq.presets.redis_keys import READING, Count, Keys, Oldest
from unitq.toml.messages import validate


def mistakes(table: object) -> dict[tuple[str | int, ...], str]:
    """What is wrong, by its place."""
    data = {"title": "X", "stop": {"signal": "SIGTERM"}, "redis": table}
    made, problems = validate(File, data, clashes)
    assert made is None
    assert all(place[0] == "redis" for place in problems)
    return {place[1:]: problem for place, problem in problems.items()}


def test_all_that_a_section_may_say() -> None:
    lag = ["XINFO", "GROUPS", "{q}"]
    found = Keys.model_validate(
        {
            "prefix": "mine:",
            "registry": "resque",
            "registry_prefix": "other:",
            "names": [["smembers", "{p}queues"]],
            "strip": "{p}queue:",
            "waiting": [
                ["LLEN", "{p}queue:{q}"],
                {"command": lag, "row": "g", "field": "lag"},
            ],
            "dead": [["ZCOUNT", "{r}dead", "-inf", "{now_ms}"]],
            "oldest": {"command": ["LINDEX", "{q}", "0"], "then": ["HGET", "{p}{j}", "at"]},
            "notes": ["Says something."],
        }
    )
    assert found == Keys(
        prefix="mine:",
        registry="resque",
        registry_prefix="other:",
        names=(("SMEMBERS", "{p}queues"),),
        strip="{p}queue:",
        waiting=(
            Count(command=("LLEN", "{p}queue:{q}")),
            Count(command=("XINFO", "GROUPS", "{q}"), row="g", field="lag"),
        ),
        dead=(Count(command=("ZCOUNT", "{r}dead", "-inf", "{now_ms}")),),
        oldest=Oldest(command=("LINDEX", "{q}", "0"), then=("HGET", "{p}{j}", "at")),
        notes=("Says something.",),
    )
    assert [count.of_each for count in (*found.waiting, *found.dead)] == [True, True, False]


@pytest.mark.parametrize(
    "words",
    [
        ["KEYS", "*"],
        ["SCAN", "0"],
        ["DEL", "{p}queue:{q}"],
        ["LPOP", "{p}queue:{q}"],
        ["SORT", "{q}", "STORE"],
        ["EVAL", "return 1", "0"],
        ["EVAL_RO", "return 1", "0"],
        ["CONFIG", "GET", "*"],
        ["CLIENT", "LIST"],
        ["DEBUG", "SLEEP", "1"],
        ["BLPOP", "{q}", "0"],
        ["XREAD", "BLOCK", "0", "STREAMS", "{q}", "0"],
        ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "{q}", ">"],
        ["GETDEL", "{q}"],
        ["GETEX", "{q}"],
        ["{q}", "x"],
    ],
)
def test_what_does_more_than_read_is_refused(words: list[str]) -> None:
    for key in ("waiting", "names"):
        if key == "names" and "{q}" in str(words):
            continue
        ((place, said),) = mistakes({key: [words]}).items()
        assert place == (key, 0, 0)
        assert "not among the commands that only read" in said


def test_no_command_of_the_list_writes_waits_or_walks() -> None:
    """By Redis's own word for it, see test_connection for a user who has +@read and no more."""
    for name in READING:
        assert not name.startswith(("SET", "DEL", "B", "KEYS", "SCAN"))
    assert not {"KEYS", "SCAN", "HSCAN", "SORT", "XREAD", "GETDEL", "GETEX"} & READING


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(
        {
            "depth": [],
            "prefix": 7,
            "registry": "rescue",
            "waiting": [["LLEN"], ["LLEN", "{x}"], {"command": ["GET", "a"], "row": "b"}, "LLEN q"],
            "names": [["SMEMBERS", "{q}"]],
            "delayed": {"command": ["GET", "a"]},
            "oldest": {"command": ["LINDEX", "a", "0"], "felt": 1},
            "failed": [{"field": "x"}],
            "in_hand": [["XINFO", "HELP"]],
        }
    )
    assert {place[0] for place in found} == {
        "depth", "prefix", "registry", "waiting", "names", "delayed", "oldest", "failed", "in_hand",
    }  # fmt: skip
    said = "{x} stands for nothing; there are {p}, {r}, {q}, {now}, {now_ms}"
    assert found[("waiting", 1, 1)] == said
    assert found[("names", 0, 1)] == "{q} stands for nothing; there are {p}, {r}, {now}, {now_ms}"
    assert found[("waiting", 2, "field")].startswith("missing")
    assert found[("failed", 0, "command")].startswith("missing")
    assert found[("oldest", "felt")] == 'unknown key, did you mean "field"?'
    assert "XINFO takes" in found[("in_hand", 0, 1)]


@pytest.mark.parametrize("rubbish", [True, 5, "x", [], [["GET", "a"]]])
def test_no_table_at_all(rubbish: Any) -> None:
    ((place, said),) = mistakes(rubbish).items()
    assert place == ()
    assert said.startswith("expected a table, got ")


def test_an_age_needs_one_way_to_be_read() -> None:
    for oldest in (
        {"command": ["LINDEX", "{q}", "0"]},
        {"command": ["LINDEX", "{q}", "0"], "field": "a", "then": ["GET", "{j}"]},
    ):
        assert "either" in mistakes({"oldest": oldest})[("oldest",)]


def test_places_are_filled_once() -> None:
    """What stands for a place is data: a queue may be called {p}."""
    values = {"p": "x{q}:", "q": "{p}"}
    assert redis_keys.fill_in(("LLEN", "{p}queue:{q}", "{now}"), values) == (
        "LLEN", "x{q}:queue:{p}", "{now}",
    )  # fmt: skip
