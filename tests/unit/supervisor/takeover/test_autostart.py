"""`unitq takeover` with something in the place of Supervisor's file says what belongs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from unitq.errors import ConfigError
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.takeover.plan import load_configuration

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = "`unitq takeover /etc/supervisor/supervisord.conf"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; the machine's own Supervisor, if any, does not count."""
    monkeypatch.setattr(conf_files, "DEFAULTS", ("supervisord.conf",))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "said", "example"),
    [
        ("sms", "sms: there is no such file", f"{EXAMPLE} sms`"),
        ("sms:*", "sms:*: there is no such file", f"{EXAMPLE} 'sms:*'`"),
        ("conf.d/none.conf", "conf.d/none.conf: there is no such file", f"{EXAMPLE}`"),
        ("folder", "folder: no file", EXAMPLE),
        ("unitq.toml", "unitq.toml: that is no configuration of Supervisor's", f"{EXAMPLE}`"),
        ("other.ini", "it has neither [supervisord] nor a program", f"{EXAMPLE}`"),
        ("empty.conf", "it has neither [supervisord] nor a program", f"{EXAMPLE}`"),
        (None, "no configuration of Supervisor: looked for supervisord.conf", f"{EXAMPLE}`"),
    ],
)
def test_what_is_no_file_of_supervisors(
    folder: Path, file: str | None, said: str, example: str
) -> None:
    (folder / "folder").mkdir()
    (folder / "unitq.toml").write_text("[workers.sms]\ncommand = '/bin/true'\n")
    (folder / "other.ini").write_text("[mail]\nhost=localhost\n")
    (folder / "empty.conf").touch()
    with pytest.raises(ConfigError) as caught:
        load_configuration(file, {})
    assert said in caught.value.message
    assert example in caught.value.hint


def test_the_example_is_the_file_that_is_there(folder: Path) -> None:
    (folder / "supervisord.conf").write_text("[supervisord]\n")
    with pytest.raises(ConfigError) as caught:
        load_configuration("sms", {})
    assert caught.value.hint.endswith("`unitq takeover supervisord.conf sms`")
    assert load_configuration(None, {}).path.name == "supervisord.conf"


@pytest.mark.parametrize("text", ["[program:a]\ncommand=x\n", "[include]\nfiles=*.x\n"])
def test_what_is_a_file_of_supervisors(folder: Path, text: str) -> None:
    (folder / "a.conf").write_text(text)
    assert load_configuration("a.conf", {}).path.name == "a.conf"
