"""Where `init` takes names from: the shell's directory, if nobody else decides where that is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.harness.build import PRESETS
from unitq.config import init
from unitq.errors import ConfigError
from unitq.model import layout

DIFFERENT = 33  # an account that owns neither the code nor is root


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A symlink to the code; the shell has gone there by the link."""
    (tmp_path / "disk").mkdir()
    link = tmp_path / "shop"
    link.symlink_to("disk")
    monkeypatch.chdir(link)
    monkeypatch.setenv("PWD", str(link))
    return link


def test_a_symlink_names_the_directory(linked: Path) -> None:
    assert init._here() == linked


@pytest.mark.parametrize("pwd", ["", "shop", "/nonexistent", "/", "/proc/self/cwd"])
def test_another_pwd_is_not_believed(
    linked: Path, monkeypatch: pytest.MonkeyPatch, pwd: str
) -> None:
    monkeypatch.setenv("PWD", pwd)
    assert init._here() == linked.resolve()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a link away")
def test_a_link_of_another_account_is_not_followed(linked: Path) -> None:
    os.lchown(linked, DIFFERENT, DIFFERENT)
    assert init._here() == linked.resolve()


def test_a_directory_that_toml_cannot_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/q\xff"))
    odd.mkdir()
    monkeypatch.chdir(odd)
    monkeypatch.setenv("PWD", str(odd))
    with pytest.raises(ConfigError) as refused:
        init.write(
            layout.system(), PRESETS["php-resque"],
            app="shop", config=str(odd / "unitq.toml"), user=True, force=False, ask=lambda: None,
        )  # fmt: skip
    assert refused.value.message.startswith("not a directory that unitq.toml can name")
    assert os.listdir(odd) == []
