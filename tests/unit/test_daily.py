"""Which cases of tests run daily, and which are `long`: tests/harness/daily.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.harness.daily import mark_long

if TYPE_CHECKING:
    import pytest


@dataclass
class Item:
    """What the hook looks at of a test that pytest has found."""

    test: str
    parameters: dict[str, Any]
    marks: set[str] = field(default_factory=lambda: {"systemd"})

    @property
    def nodeid(self) -> str:
        values = "-".join(map(str, self.parameters.values()))
        return f"{self.path}::{self.test}[{values}]"

    @property
    def path(self) -> Path:
        return Path("tests/systemd/test_it.py")

    @property
    def callspec(self) -> SimpleNamespace:
        return SimpleNamespace(params=self.parameters)

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.marks.add(mark.name)


def daily(*items: Item) -> list[str]:
    mark_long(items)  # type: ignore[arg-type]
    return [item.nodeid.partition("::")[2] for item in items if "long" not in item.marks]


def test_a_test_of_both_scopes_runs_daily_in_one_of_them_in_turns() -> None:
    items = [
        Item(test, {"scope": scope, "n": n})
        for test in ("one", "two")
        for scope in ("system", "user")
        for n in (1, 2)
    ]
    assert daily(*items) == ["one[system-1]", "one[user-2]", "two[system-1]", "two[user-2]"]


def test_of_variants_only_the_first_runs_daily() -> None:
    marks = {"systemd", "variants"}
    items = [Item("one", {"how": how}, set(marks)) for how in "abc"]
    both = [Item("two", {"scope": s, "n": n}, set(marks)) for s in ("system", "user") for n in "12"]
    assert daily(*items, *both) == ["one[a]", "two[system-1]"]


def test_every_other_test_runs_daily() -> None:
    unit = [Item("unit", {"scope": scope}, set()) for scope in ("system", "user")]
    table = [Item("table", {"n": n}) for n in (1, 2)]
    assert len(daily(*unit, *table, Item("plain", {}))) == 5
