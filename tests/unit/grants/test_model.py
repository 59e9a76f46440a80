"""Names of units, and what they say back; the record of grants."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitq.errors import ConfigError
from unitq.grants import model
from unitq.grants.model import Grant

# systemd.unit(5): what a unit's name may hold.
_UNIT = re.compile(r"[A-Za-z0-9:\-_.\\@]+")

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,20}\Z")
ACCOUNTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(app=NAMES, account=ACCOUNTS, verb=st.sampled_from(sorted(model.VERBS)))
def test_a_unit_names_one_app_and_one_account(app: str, account: str, verb: str) -> None:
    unit = model.unit(verb, app, account)
    assert _UNIT.fullmatch(unit)
    assert unit.count("@") == 1
    _, _, instance = unit.removesuffix(".service").partition("@")
    assert model.instance(instance) == (app, account)


@given(one=st.tuples(NAMES, ACCOUNTS), other=st.tuples(NAMES, ACCOUNTS))
def test_two_never_share_a_unit(one: tuple[str, str], other: tuple[str, str]) -> None:
    units = model.unit("deploy", *one), model.unit("deploy", *other)
    assert (units[0] == units[1]) == (one == other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "shop:",
        ":alice",
        "../x:alice",
        "shop:a/b",
        "shop:a:b",
        r"shop:\x61lice",
        "a b:c",
    ],
)
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        model.instance(text)


@pytest.mark.parametrize("app", ["", "a/b", "a b", "a:b", "a@b", ".", 'x"', "é", "-a", "a" * 64])
def test_apps_that_cannot_be(app: str) -> None:
    with pytest.raises(ConfigError):
        model.validate(app, "deployers")


@pytest.mark.parametrize("group", ["", "a b", 'x");', "a\nb", "é", "-a", "a/b", "${x}", "a" * 65])
def test_groups_that_cannot_be(group: str) -> None:
    with pytest.raises(ConfigError):
        model.validate("shop", group)


def test_no_unit_of_a_worker_is_meant() -> None:
    # Workers are unitq-APP-WORKER@N, so what is before the "@" has two dashes, or a dot here.
    for verb in model.VERBS:
        assert re.fullmatch(r"unitq-[a-z]+(\.[a-z]+)?@\.service", model.template(verb))


def test_the_record_is_read_as_it_was_written() -> None:
    grants = (Grant("blog", "ops"), Grant("shop", "deployers"), Grant("shop", "ops"))
    assert model.parse(model.record(reversed(grants)), "x") == grants


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "3", "{}", '{"grants": 3}', '{"grants": [{"app": "x"}]}', "[" * 100_000),
        *('{"grants": [{"app": "a/b", "group": "x"}]}', '{"grants": [{"app": 3, "group": "x"}]}'),
    ],
)
def test_a_record_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError):
        model.parse(text, "grants.json")
