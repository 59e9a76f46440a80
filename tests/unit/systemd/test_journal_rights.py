"""Who may not read the journal is told so, by what the files say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from unitq.systemd.journal_rights import hidden

if TYPE_CHECKING:
    from pathlib import Path


def test_no_journal_is_not_a_hidden_one(tmp_path: Path) -> None:
    assert not hidden((tmp_path / "none",))
    (tmp_path / "machine").mkdir()
    assert not hidden((tmp_path,))


def test_one_that_may_be_read_is_enough(tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/system.journal").touch()
    assert not hidden((tmp_path,))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything; see test_commands.py")
def test_one_that_may_not_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/system.journal").touch(mode=0)
    assert hidden((tmp_path,))
    (tmp_path / "machine").chmod(0)
    assert hidden((tmp_path,))
