"""Environment files: what a real systemd gives to a process is what unitq says it reads.

One unit prints its environment; each file is an instance of it, and all are started at once.
"""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.config.test_envfile_lint import TABLE
from unitq.systemd.envfile import assignments, environment_file, statements, undecodable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

_UNIT = """[Service]
Type=oneshot
EnvironmentFile=/run/envtest/%i.env
StandardOutput=truncate:/run/envtest/%i.out
ExecStart=/usr/bin/env -0
"""
_PARTS = [
    "A", "B", "_c", "é", "\ufeff", "=", "=", "=", "\n", "\n", "\n", "\r\n", "\r", " ", "  ", "\t",
    "#", ";",
    "'", '"', "'", '"', "\\", "\\\n", "\\\r\n", "\\n", "$", "`", "${A}", "export ", "x", "y.z",
    "-", "1",
    "A=", "\nB='", '\nC="', "\nD=", "\n# c\\", "\ufdd0", "\x01", "\x7f",
]  # fmt: skip
_RANDOM = 400


def _random_files() -> Iterator[bytes]:
    chance = random.Random(13)
    for _ in range(_RANDOM):
        text = "".join(chance.choices(_PARTS, k=chance.randint(1, 40)))
        content = text.encode()
        yield content + b"\nZ=\xff" if chance.random() < 0.03 else content


def _by_systemd(contents: list[bytes]) -> list[dict[str, str] | None]:
    """What a process gets of each file; None: systemd does not start it."""
    folder = Path("/run/envtest")
    folder.mkdir()
    unit = Path("/run/systemd/system/envtest@.service")
    unit.parent.mkdir(exist_ok=True)
    unit.write_text(_UNIT)
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=60)
    try:
        for number, content in enumerate([b"", *contents]):
            (folder / f"{number}.env").write_bytes(content)
        units = [f"envtest@{number}.service" for number in range(len(contents) + 1)]
        subprocess.run(["systemctl", "start", *units], timeout=300, capture_output=True)
        usual = _printed(folder / "0.out")
        assert usual is not None
        found: list[dict[str, str] | None] = []
        for number in range(1, len(contents) + 1):
            printed = _printed(folder / f"{number}.out")
            found.append(printed and {k: v for k, v in printed.items() if k not in usual})
        return found
    finally:
        subprocess.run(["systemctl", "reset-failed", "envtest@*"], timeout=60)
        unit.unlink()
        subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=60)
        subprocess.run(["rm", "-r", str(folder)], check=True)


def _printed(path: Path) -> dict[str, str] | None:
    if not path.is_file() or not (content := path.read_bytes()):
        return None
    pairs = (each.partition("=") for each in content.decode().split("\0") if each)
    return {name: value for name, _, value in pairs}


def test_the_parser_is_systemds() -> None:
    """Byte for byte: the table of what people write, and files of random parts."""
    told = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True)
    old = int(re.findall(r"\d+", told.stdout)[0]) < 254
    escaped = environment_file((("A", 'x # "y" ${Z} \\n\\'), ("B", "it's\n\tb"))).encode()
    contents = [content for content, _ in TABLE.values()] + [escaped, *_random_files()]
    for content, real in zip(contents, _by_systemd(contents), strict=True):
        found = statements(content.decode(errors="surrogateescape"), joins_comments=old)
        if any(undecodable(each) for each in found):
            assert real is None, content
        else:
            assert {each.name: each.value for each in found if each.taken} == real, content
    assert any(real is None for real in _by_systemd([b"A=\xe9"]))
    assert assignments("A=1\nexport B=2") == {"A": "1"}


def test_check_names_the_line_and_never_the_value(system_site: Site) -> None:
    site = system_site
    path = site.home / "shop.env"
    path.write_bytes(b'A=1\nexport TOKEN="s3cr3t-1"\nP=s3cr3t-2 # note\nQ="s3cr3t-3\nR=1\n')
    site.config(workers={"sms": {"command": site.odd("steady")}}, environment_file=str(path))
    result = site.unitq("check")
    assert result.code == 0, result
    assert f"{path}, line 2: begins with `export`" in result.stdout
    assert f"{path}, line 3: a comment behind the value of" in result.stdout
    assert f"{path}, line 4: the quote before the value of Q is never closed" in result.stdout
    assert "s3cr3t" not in result.output
    path.write_bytes(b"A=1\nB=\xe9\n")
    result = site.unitq("deploy")
    assert result.code == 13, result
    assert f"{path}, line 2: not UTF-8" in result.stderr
