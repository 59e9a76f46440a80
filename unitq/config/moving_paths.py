"""Paths of a worker that go through the link which each release moves, past the pin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from unitq.config.scripts import heads
from unitq.linux.links import release_link
from unitq.model.finding import Finding, warning
from unitq.model.release_names import within
from unitq.revisions.around import Used, command_paths, value_paths
from unitq.systemd.envfile import assignments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.model.app import App, Worker
    from unitq.model.layout import Layout
    from unitq.units.render import Code


class _Place(NamedTuple):
    key: str  # of unitq.toml, below the worker
    used: Used
    variable: str = ""  # of an environment file


def of_app(app: App, code: Mapping[str, Code], layout: Layout) -> list[Finding]:
    """Returns a warning for each: what is started next follows the link there.

    The pin holds `directory` alone.
    """
    pins = layout.app(app.name)
    findings: dict[tuple[str, str, str], Finding] = {}
    for worker in app.workers:
        release = f"{pins.pin(worker.name, '%i')}/release"
        for place in _places(worker, code[worker.name]):
            link = release_link(place.used.path)
            key = f"workers.{worker.name}.{place.key}"
            once = (key, place.variable, link.path if link else "")
            if link and once not in findings:
                findings[once] = _finding(worker, key, place, link.path, release)
    return list(findings.values())


def _places(worker: Worker, code: Code) -> Iterator[_Place]:
    """Yields every path that the worker is started with."""
    release = code.release
    for used in command_paths(worker.command, release, heads(worker.command, release)):
        yield _Place("command", used)
    for name, value in worker.environment:
        for used in value_paths(value, release):
            yield _Place(f"environment.{name}", used)
    for index, content in enumerate(code.files):
        for name, value in assignments(content.decode(errors="replace")).items():
            for used in value_paths(value, release):
                yield _Place(f"environment_file[{index}]", used, name)
    for directive, values in worker.service:
        for value in values:
            for used in value_paths(value, release):
                yield _Place(f"service.{directive}", used)


def _finding(worker: Worker, key: str, place: _Place, link: str, pinned: str) -> Finding:
    used = place.used
    held = within(os.path.normpath(worker.directory), link)
    below = os.path.relpath(used.path, os.path.normpath(worker.directory) if held else link)
    in_unit = place.key.startswith("service.")
    write = f"{pinned}/{below}".removesuffix("/.") if in_unit else below
    if place.key == "command" and "/" not in below:
        write = f"./{below}"  # a program's name without "/" is looked for in systemd's PATH
    what = f"{used.written} goes"
    if used.script:
        what = f"the first line of {used.script} names {used.written}"
        hint = f'`command = "{below} {used.script} …"` starts it by the release\'s own'
    elif not held:
        where = "the command" if place.key == "command" else "its place"
        hint = f'`directory = "{link}"`, and write {write} in {where}'
    else:
        hint = f"write {write}" + ("" if in_unit else ", which is relative to `directory`")
    if place.variable:
        what = f"{place.variable}: {what}"
    return warning(
        key,
        f"{what} through {link}, which each release moves",
        hint,
        "a worker that crashes starts with the next release, whatever is deployed",
        "moving-path",
    )
