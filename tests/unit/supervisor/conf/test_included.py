"""What an [include] gives away. Needs root, as it makes files of others."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unitq.errors import ConfigError, NotPermittedError, UnitqError
from unitq.supervisor.conf import files as conf_files

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other accounts")

DEPLOY = pwd.getpwnam("daemon")
SECRET = "hunter2-of-the-database"


@pytest.fixture
def etc() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="unitq-test-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "conf.d").mkdir()
        yield Path(folder)


def loaded(path: Path) -> list[str]:
    ini, _ = conf_files.load(path, conf_files.read(path), conf_files.surroundings(path, {}))
    return list(ini.sections)


def main(etc: Path, files: str) -> Path:
    path = etc / "supervisord.conf"
    path.write_text(f"[supervisord]\n[include]\nfiles = {files}\n")
    return path


def secret(path: Path, text: str = f"{SECRET}\n") -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_roots_includes_are_read(etc: Path) -> None:
    secret(etc / "conf.d" / "a.conf", "[program:a]\ncommand=/bin/a\n")
    (etc / "his").mkdir()
    os.chown(etc / "his", DEPLOY.pw_uid, DEPLOY.pw_gid)
    secret(etc / "his" / "b.conf", "[program:b]\ncommand=/bin/b\n")
    os.chown(etc / "his" / "b.conf", DEPLOY.pw_uid, DEPLOY.pw_gid)
    (etc / "conf.d" / "b.conf").symlink_to("../his/b.conf")
    assert "program:a" in loaded(main(etc, "conf.d/*.conf"))
    assert "program:b" in loaded(etc / "supervisord.conf")


def test_a_line_of_a_file_that_not_everybody_may_read_is_not_quoted(etc: Path) -> None:
    secret(etc / "conf.d" / "a.conf")
    with pytest.raises(ConfigError) as refused:
        loaded(main(etc, "conf.d/*.conf"))
    assert refused.value.problems == ("line 1: stands before any [section]",)
    (etc / "conf.d" / "a.conf").chmod(0o644)
    with pytest.raises(ConfigError) as refused:
        loaded(etc / "supervisord.conf")
    assert refused.value.problems == (f"line 1: stands before any [section]: {SECRET}",)


@pytest.mark.parametrize("text", [f"{SECRET}\n", f"[client]\npassword={SECRET}\n"])
@pytest.mark.parametrize("how", ["named", "linked", "his-link"])
def test_whose_file_it_is_reads_no_more_than_they_may(etc: Path, text: str, how: str) -> None:
    target = secret(etc / "secret.cnf", text)
    path = main(etc, str(target) if how == "named" else "conf.d/*.conf")
    os.chown(path, DEPLOY.pw_uid, DEPLOY.pw_gid)
    if how != "named":
        (etc / "conf.d" / "a.conf").symlink_to(target)
    if how == "his-link":
        os.chown(path, 0, 0)
        os.chown(etc / "conf.d" / "a.conf", DEPLOY.pw_uid, 0, follow_symlinks=False)
    with pytest.raises(NotPermittedError) as refused:
        loaded(path)
    assert SECRET not in str(refused.value)
    assert "may not read it" in refused.value.message


@pytest.mark.parametrize(
    "content", [b"\0", b"\xff\xfe", b"[" * 100_000, b"=\n" * 9999, b"[x]\n \0"]
)
def test_odd_files_end_in_words(etc: Path, content: bytes) -> None:
    (etc / "conf.d" / "a.conf").write_bytes(content)
    try:
        loaded(main(etc, "conf.d/*.conf"))
    except UnitqError:
        return


def test_a_pipe_among_them_does_not_block(etc: Path) -> None:
    os.mkfifo(etc / "conf.d" / "a.conf")
    with pytest.raises(ConfigError, match="not a file"):
        loaded(main(etc, "conf.d/*.conf"))
