"""Who may not read the journal is told so, by what the files say."""

from __future__ import annotations

import os
from pathlib import Path

from unitq.systemd.journal import hidden


def test_no_journal_is_not_a_hidden_one(tmp_path: Path) -> None:
    assert not hidden((tmp_path / "none",))
    (tmp_path / "machine").mkdir()
    assert not hidden((tmp_path,))


def test_one_that_may_be_read_is_enough(tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/system.journal").touch()
    assert not hidden((tmp_path,))


def test_one_that_may_not_is_hidden(tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    folder.mkdir()
    (folder / "system.journal").touch(mode=0)
    assert as_somebody(tmp_path)
    folder.chmod(0)
    assert as_somebody(tmp_path)


def as_somebody(place: Path) -> bool:
    """What is said to an account that is not root, which reads everything."""
    os.chmod(place, 0o755)
    above = os.open(place, os.O_PATH)
    child = os.fork()
    if child == 0:
        os.fchdir(above)  # pytest's own folders are root's alone
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        os._exit(int(hidden((Path(),))))
    os.close(above)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
