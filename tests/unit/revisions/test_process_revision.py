"""Which revision a process was started from, by its pin and by where it is."""

from __future__ import annotations

import pytest

from unitq.revisions.process_revision import Made, Pin, process_revision

MADE = {
    "1-a": Made("/srv/shop/releases/1", 100.0),
    "2-b": Made("/srv/shop/releases/2", 200.0),
    "3-c": Made("/srv/shop/releases/2", 300.0),  # another environment
    "4-d": Made("/srv/shop", 400.0),
}
ONE, TWO = "/srv/shop/releases/1", "/srv/shop/releases/2"


@pytest.mark.parametrize(
    ("pin", "begun", "places", "expected"),
    [
        (Pin("2-b", 210.0), 211.0, [TWO], "2-b"),
        (Pin("2-b", 210.0), 210.0, [f"{TWO}/lib"], "2-b"),  # the clock of files ticks slowly
        (Pin("2-b", 210.0), 211.0, ["/"], "2-b"),  # a daemon leaves its directory
        (Pin("2-b", 210.0), 211.0, [], "2-b"),  # another account's: by the time alone
        (Pin("2-b", 210.0), 211.0, ["/", f"{TWO}/worker.php"], "2-b"),
        (Pin("2-b", 210.0), 211.0, [ONE], None),  # it went to another release
        (Pin("2-b", 210.0), 211.0, ["/srv/shop/releases/9"], None),
        (Pin("4-d", 410.0), 411.0, [TWO], None),  # in place, and a release of it besides
        (Pin("4-d", 410.0), 411.0, ["/srv/shop/bin"], "4-d"),
        (Pin("2-b", 210.0), 150.0, [ONE], "1-a"),
        (Pin("3-c", 310.0), 250.0, [TWO], "2-b"),  # the same release, an older environment
        (Pin("2-b", 310.0), 250.0, [TWO], None),  # 3 was not made yet
        (Pin("2-b", 210.0), 150.0, ["/"], None),
        (None, 150.0, [ONE], None),
        (Pin("1-a", 110.0), None, [ONE], None),
    ],
)
def test_table(pin: Pin | None, begun: float | None, places: list[str], expected: str) -> None:
    assert process_revision(pin, begun, MADE, places) == expected
