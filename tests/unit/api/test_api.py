"""The public names, and what a handle does before it looks at anything."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

import unitq
from tests.unit.api.blocks import python_blocks
from unitq.model import layout

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("name", unitq.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(unitq, name)
    assert value.__doc__
    assert getattr(unitq, name) is value


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        unitq.nonsense  # noqa: B018


@pytest.mark.parametrize("name", ["Status", "Report", "Plan", "OrphanList", "QueueList"])
def test_values_are_frozen_and_become_json(name: str) -> None:
    value: Any = getattr(unitq, name)
    assert dataclasses.is_dataclass(value)
    params: Any = getattr(value, "__dataclass_params__")  # noqa: B009
    assert params.frozen
    assert callable(getattr(value, "to_json"))  # noqa: B009


def test_importing_it_loads_nothing() -> None:
    code = (
        "import sys, unitq; before = set(sys.modules); unitq.Manager().app('shop');"
        "print(sorted(m for m in sys.modules if m.startswith('unitq.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert "unitq.api" in loaded
    assert not {name for name in loaded if name.startswith(("unitq.rollout", "unitq.queues"))}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No app, no configuration, no systemd."""
    monkeypatch.chdir(tmp_path)
    elsewhere = layout.system()._replace(
        config_dir=PurePosixPath(tmp_path / "etc"), state_dir=PurePosixPath(tmp_path / "var")
    )
    monkeypatch.setattr(layout, "system", lambda: elsewhere)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    "call",
    [
        lambda app: app.status(),
        lambda app: app.status_list(),
        lambda app: app.restart("sms"),
        lambda app: app.rollback(),
        lambda app: app.pause(),
        lambda app: app.signal("HUP"),
        lambda app: app.orphans(),
        lambda app: app.history(),
        lambda app: app.releases(),
        lambda app: app.logs(),
        lambda app: app.rollout(),
        lambda app: app.removal(),
    ],
)
def test_where_nothing_is_installed_it_says_so(call: Callable[[unitq.App], Any]) -> None:
    assert unitq.Manager().apps() == []
    with pytest.raises(unitq.NoMatchError):
        call(unitq.Manager().app())


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("call", [lambda app: app.plan(), lambda app: app.check()])
def test_without_a_file_it_says_where_it_has_looked(call: Callable[[unitq.App], Any]) -> None:
    with pytest.raises(unitq.ConfigError, match="no configuration file"):
        call(unitq.Manager().app())


def test_a_share_is_a_number_or_a_percentage() -> None:
    from unitq.model.settings import Share, share

    assert share(None) is None
    assert share(2) == Share(2)
    assert share("25%") == Share(25, percent=True)
    for wrong in (0, -1, "0%", "101%", "x", "1.5", 5000):
        with pytest.raises(ValueError, match="expected a number"):
            share(wrong)


def test_the_presenter_that_shows_nothing_passes_all_on() -> None:
    notes: list[str] = []

    class Log(unitq.Presenter):
        def note(self, *lines: str) -> None:
            notes.extend(lines)

    shown = Log()
    shown.say("a")
    shown.step("b", failed=True)
    shown.stop("c")
    shown.warn("d", "e")
    assert notes == ["warning: d", "e"]


def test_the_page_prints_what_parses_and_public_names_only() -> None:
    blocks = python_blocks()
    assert len(blocks) == 5
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and "unitq" in node.module:
                assert node.module == "unitq"
                assert {name.name for name in node.names} <= set(unitq.__all__)


@pytest.mark.usefixtures("nothing_installed")
def test_the_blocks_run_where_no_app_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What catches errors returns; the deploy raises what the page says."""
    health, deploy, queues, orphans, plan = python_blocks()
    names: dict[str, Any] = {}
    exec(health, names)
    assert names["health"]() == (503, {})
    with pytest.raises(unitq.ConfigError):
        exec(deploy, {})
    exec(queues, names)
    assert "no configuration file" in names["late"][0]
    exec(orphans, {})
    assert capsys.readouterr().out == ""
    exec(plan, names)
    assert "no configuration file" in names["lines"][0]


def test_a_keyword_that_is_none_is_refused() -> None:
    app = unitq.Manager().app("shop")
    mistyped: dict[str, Any] = {"mesage": "a word that is mistyped"}
    for call in ("deploy", "plan", "restart", "scale", "rollback"):
        with pytest.raises(TypeError, match="unexpected keyword argument 'mesage'"):
            getattr(app, call)(**mistyped)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("deploy", {"timeout": "soon"}, "timeout: "),
    ("restart", {"timeout": -1}, "timeout: expected 0 seconds or more, got -1"),
    ("stop", {"timeout": float("nan")}, "timeout: expected"),
    ("start", {"timeout": [3]}, "timeout: "),
    ("deploy", {"message": 3}, "message: expected one line of at most 200 characters, got 3"),
    ("deploy", {"message": "a\nb"}, "message: expected one line"),
    ("rollback", {"message": "x" * 201}, "message: expected one line"),
    *(
        (call, {"max_unavailable": limit}, "max_unavailable: expected a number from 1")
        for call in ("deploy", "restart", "rollback", "promote")
        for limit in ("200%", 0, -1, 1.5, "x")
    ),
]


@pytest.mark.parametrize(("call", "arguments", "message"), WRONG)
@pytest.mark.usefixtures("nothing_installed")
def test_a_wrong_value_is_refused_before_anything_is_looked_at(
    call: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(unitq.ConfigError) as refused:
        getattr(unitq.Manager().app("shop"), call)(**arguments)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("timeout", [600, 600.0, "600", "10min"])
def test_a_timeout_is_seconds_or_a_time_span(timeout: float | str) -> None:
    assert unitq.api._seconds(timeout) == 600.0
