"""What a worker is started with besides its command, through the link that each release moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.build import app
from unitq.config import moving_paths
from unitq.model import layout
from unitq.units.render import Code

if TYPE_CHECKING:
    from pathlib import Path

PIN = "/var/lib/unitq/shop/pins/sms/%i/release"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A release behind a link, with a folder that all releases share."""
    (tmp_path / "releases/7/venv/bin").mkdir(parents=True)
    (tmp_path / "releases/7/Gemfile").touch()
    (tmp_path / "shared/log").mkdir(parents=True)
    (tmp_path / "releases/7/log").symlink_to("../../shared/log")
    (tmp_path / "current").symlink_to("releases/7")
    return tmp_path


def said(site: Path, more: str, *files: str, directory: str = "current") -> list[tuple[str, ...]]:
    """Place, message up to the reason, and hint of each finding."""
    head = f'app = "shop"\ndirectory = "{site}/{directory}"\n'
    text = f"""[workers.sms]
command = "/bin/true"
{more}"""
    code = Code(str((site / directory).resolve()), "1", tuple(file.encode() for file in files))
    found = moving_paths.of_app(app(text, head), {"sms": code}, layout.system())
    return [
        (
            each.place.removeprefix("workers.sms."),
            each.message.partition(", which each")[0].replace(str(site), "SITE"),
            each.hint.replace(str(site), "SITE"),
        )
        for each in found
    ]


@pytest.mark.parametrize(
    ("key", "value", "through", "instead"),
    [
        ("environment.PATH", "SITE/current/venv/bin:/usr/bin", "venv/bin", "venv/bin"),
        ("environment.PATH", "/usr/bin:SITE/current/venv/bin", "venv/bin", "venv/bin"),
        ("environment.GEM_HOME", "SITE/current", "", "."),
        ("environment.BUNDLE_GEMFILE", "SITE/current/Gemfile", "Gemfile", "Gemfile"),
        ("environment.RUBYOPT", "-W0 -ISITE/current/venv", "venv", "venv"),
        ("service.ExecSearchPath", "SITE/current/venv/bin", "venv/bin", f"{PIN}/venv/bin"),
        ("service.ExecStartPre", "-/bin/test -e SITE/current/Gemfile", "Gemfile", f"{PIN}/Gemfile"),
        ("service.ReadWritePaths", "-SITE/current/venv", "venv", f"{PIN}/venv"),
        ("service.BindPaths", "SITE/current:/x", "", PIN),
    ],
)
def test_what_to_write_in_place_of_it(
    site: Path, key: str, value: str, through: str, instead: str
) -> None:
    table, _, name = key.partition(".")
    text = f"[workers.sms.{table}]\n{name} = '{value}'".replace("SITE", str(site))
    tail = "" if table == "service" else ", which is relative to `directory`"
    written = f"SITE/current/{through}".rstrip("/")
    assert said(site, text) == [
        (key, f"{written} goes through SITE/current", f"write {instead}{tail}")
    ]


def test_a_variable_of_a_file_is_named_and_no_other_value(site: Path) -> None:
    text = f'environment_file = ["{site}/a", "{site}/b"]'
    second = f"SECRET=hunter2\nPYTHONPATH={site}/current/venv\n"
    assert said(site, text, "A=/usr/bin\n", second) == [
        (
            "environment_file[1]",
            "PYTHONPATH: SITE/current/venv goes through SITE/current",
            "write venv, which is relative to `directory`",
        )
    ]


def test_a_program_beside_the_code_keeps_a_slash(site: Path) -> None:
    """Without one systemd looks for it in its own PATH."""
    (site / "releases/7/worker").touch()
    code = {"sms": Code(str(site / "releases/7"), "1", ())}
    head = f'app = "shop"\ndirectory = "{site}/current"\n'
    text = f'[workers.sms]\ncommand = "{site}/current/worker"\n'
    (finding,) = moving_paths.of_app(app(text, head), code, layout.system())
    assert finding.hint == "write ./worker, which is relative to `directory`"


def test_where_the_directory_is_not_behind_the_link(site: Path) -> None:
    text = "[workers.sms.environment]\nBUNDLE_GEMFILE = 'current/Gemfile'"
    (finding,) = said(site, text, directory="")
    assert finding[1:] == (
        "current/Gemfile goes through SITE/current",
        '`directory = "SITE/current"`, and write Gemfile in its place',
    )


def test_relative_to_a_directory_inside_the_release(site: Path) -> None:
    text = f"[workers.sms.environment]\nPATH = '{site}/current/venv/bin'"
    (finding,) = said(site, text, directory="current/venv")
    assert finding[2] == "write bin, which is relative to `directory`"


@pytest.mark.parametrize(
    "value",
    [
        "SITE/current/log/worker.log", "SITE/current/log", "SITE/current/missing", "SITE/shared",
        "SITE/releases/7/venv", "venv/bin:/usr/bin", "Gemfile", "redis://SITE", "text/html",
        "/usr/bin:/bin", "$HOME/x", "", "/", "..",
    ],
)  # fmt: skip
def test_what_no_release_decides_is_no_matter(site: Path, value: str) -> None:
    text = f'[workers.sms.environment]\nX = """{value}"""'.replace("SITE", str(site))
    assert said(site, text) == []
