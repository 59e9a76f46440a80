"""requirements/: every dependency of the development set-up, with its version and its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from packaging.markers import Marker

REPO = Path(__file__).resolve().parents[2]
LOCKS = REPO / "requirements"
PYTHONS = ("3.11.2", "3.12.3", "3.13.5", "3.14.0")


class Locked(NamedTuple):
    """A line of a lock file."""

    version: str
    marker: Marker | None
    hashes: list[str]


def locked(name: str) -> dict[str, list[Locked]]:
    """By name; one may stand there more than once, with other markers."""
    found: dict[str, list[Locked]] = {}
    text = (LOCKS / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})(?:\s|$)", line)
            requirement = Requirement(line.partition("--hash")[0].strip())
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            one = Locked(specifier.version, requirement.marker, hashes)
            found.setdefault(canonicalize_name(requirement.name), []).append(one)
    return found


def wanted() -> list[Requirement]:
    """What pyproject.toml names."""
    with open(REPO / "pyproject.toml", "rb") as file:
        document = tomllib.load(file)
    project = document["project"]
    named = [*project["dependencies"], *document["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        named += extra
    return [Requirement(each) for each in named]


@pytest.mark.parametrize("python", PYTHONS)
def test_what_pyproject_names_is_locked_for_every_python(python: str) -> None:
    found = locked("dev.txt")
    environment = {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
    }
    for requirement in wanted():
        fitting = [
            one
            for one in found[canonicalize_name(requirement.name)]
            if one.marker is None or one.marker.evaluate(environment)
        ]
        assert len(fitting) == 1, f"{requirement} with {python}: {fitting}"
        assert requirement.specifier.contains(fitting[0].version), f"{requirement}: {fitting[0]}"


def test_what_builds_is_locked() -> None:
    found = locked("build.txt")
    for line in (LOCKS / "build.in").read_text().splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            (one,) = found[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(one.version), line


@pytest.mark.parametrize("name", ["dev.txt", "build.txt"])
def test_every_version_has_hashes_and_comes_from_nowhere_in_particular(name: str) -> None:
    text = (LOCKS / name).read_text(encoding="utf-8")
    for package, versions in locked(name).items():
        for one in versions:
            assert one.hashes, package
    # The command that wrote it is its head; what it asked is everybody's own business.
    head = text.partition("\n")[2].partition("\n")[0]
    assert re.fullmatch(rf"# +uv pip compile .*--generate-hashes .*requirements/{name}", head)
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|@ ", text)


def test_nothing_is_installed_past_it() -> None:
    """Each `pip install` of script/setup into .venv checks hashes, or installs unitq alone."""
    script = (REPO / "script" / "setup").read_text(encoding="utf-8")
    calls = re.findall(r"(?m)^ +pip_install (.*)$", script)
    assert calls
    for call in calls:
        assert "--require-hashes" in call or "--no-deps --no-build-isolation" in call, call
        assert "--only-binary :all:" in call or "--no-build-isolation" in call, call
    assert re.findall(r"\.venv/bin/python -m pip", script) == [".venv/bin/python -m pip"]
