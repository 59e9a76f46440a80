"""What another account may write into a file that is only glanced at."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from unitq.config import delegation, source
from unitq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 10

HOSTILE = {
    "a huge number": f"a = {'9' * 5000}\n",
    "a key of many parts": f"{'a.' * 200_000}b = 1\n",
    "a table of many parts": f"[{'a.' * 200_000}b]\n",
    "nested": f"a = {'[' * 100_000}",
    "no date": "a = 2020-99-99\n",
    "long": f"a = 'x'\n#{'x' * (2 << 20)}",
    "no UTF-8": "a = '\udcff'",
}


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Ends what hangs."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"no end after {SECONDS} s"))
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_glanced_at_neither_hangs_nor_breaks(tmp_path: Path, text: str) -> None:
    path = tmp_path / "unitq.toml"
    path.write_bytes(f"app = 'shop'\n{text}".encode(errors="surrogateescape"))
    assert source.glance(path) == source.Candidate(path, None, ())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nor_does_the_list_of_trusted_files(text: str) -> None:
    with pytest.raises(ConfigError):
        delegation.parse(text, "/etc/unitq/trust")


def test_a_directory_that_is_none_is_not_the_one_one_stands_in(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    directories = ("/srv\0", f"{tmp_path}/circle", f"/{'x' * 5000}", f"{tmp_path}/code")
    one = source.Candidate(tmp_path / "unitq.toml", "shop", directories)
    assert source.around([one], str(tmp_path / "code")) == [one]
    assert source.around([one._replace(directories=directories[:3])], str(tmp_path)) == []


def test_the_root_directory_is_not_where_one_stands(tmp_path: Path) -> None:
    every = [source.Candidate(tmp_path / "a.toml", "a", (place,)) for place in ("/", "/var/..")]
    assert source.around(every, str(tmp_path)) == []
    assert source.around(every, "/") == []
