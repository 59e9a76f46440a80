"""The texts: polkit's rule and the units."""

from __future__ import annotations

import json
import re
from pathlib import Path

import unitq
from unitq.grants.model import VERBS, Grant
from unitq.grants.rule import MARK, rule
from unitq.grants.units import TEMPLATE, units

TEXT = (Path(unitq.__file__).parents[1] / "units" / TEMPLATE).read_text(encoding="utf-8")


def granted(text: str) -> dict[str, list[str]]:
    found = re.search(r"var granted = (\{.*?\});", text, re.DOTALL)
    assert found
    table: dict[str, list[str]] = json.loads(found[1])
    return table


def test_the_rule_lists_units_and_nothing_else() -> None:
    text = rule([Grant("shop", "ops"), Grant("shop", "deployers"), Grant("blog", "ops")])
    assert text.startswith(MARK)
    table = granted(text)
    assert table.keys() == {"deployers", "ops"}
    assert table["deployers"] == [f"unitq-{verb}@shop:" for verb in VERBS]
    assert {unit.partition("@")[2] for unit in table["ops"]} == {"shop:", "blog:"}
    assert text.count("polkit.Result.YES") == 1
    # Not those that polkit cannot narrow.
    assert set(re.findall(r"org\.freedesktop\.[\w.-]+", text)) == {
        "org.freedesktop.systemd1.manage-units"
    }


def test_a_rule_does_not_depend_on_the_order() -> None:
    grants = [Grant("a", "x"), Grant("b", "x"), Grant("a", "y")]
    assert rule(grants) == rule(reversed(grants)) == rule(grants * 2)


def test_a_unit_for_each_verb() -> None:
    found = units(TEXT, ("/opt/a b/%python", "-I", "-m", "unitq.cli.grant.granted"))
    assert found.keys() == {f"unitq-{verb}@.service" for verb in VERBS}
    for name, text in found.items():
        verb = name.removeprefix("unitq-").removesuffix("@.service")
        lines = text.splitlines()
        assert f'ExecStart="/opt/a b/%%python" -I -m unitq.cli.grant.granted {verb} %i' in lines
        assert "StandardInput=null" in lines
        assert "[Install]" not in lines
        assert "{{" not in text
