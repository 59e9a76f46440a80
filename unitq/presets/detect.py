"""Which framework a command line is of: by its words, and by the head of the script that it runs.

Pure: `heads` has the beginning of each script that could be read, by its path as written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.invocation import (
    PACKAGE,
    interpreter,
    invocation,
    invocations,
    is_shell,
    shebang_program,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.cmdline.invocation import Invocation
    from unitq.presets.model import Preset


class Recognised(NamedTuple):
    """A framework that a command looks like, and the clue."""

    preset: Preset
    clue: str


def framework_of(
    presets: Mapping[str, Preset], command: str, heads: Mapping[str, str]
) -> Recognised | None:
    """Returns the preset of the framework that this looks like; None: of none."""
    programs = invocations(command, heads)
    for look in (_by_words, _by_script):
        for program in programs:
            if known := look(presets, program, heads):
                return known
    return None


def is_known(presets: Mapping[str, Preset], words: Sequence[str], heads: Mapping[str, str]) -> bool:
    """Whether a framework's preset recognises this program."""
    program = invocation(words)
    return program is not None and bool(
        _by_words(presets, program, heads) or _by_script(presets, program, heads)
    )


def _by_words(
    presets: Mapping[str, Preset], program: Invocation, heads: Mapping[str, str]
) -> Recognised | None:
    head = heads.get(program.script, "") if program.script else ""
    texts = program.texts(interpreter(shebang_program(head)))
    for preset in presets.values():
        for pattern in preset.recognise.command:
            for text in texts:
                if match := pattern.match(text):
                    return Recognised(preset, f'"{match[0].strip()}" in its command')
    return None


def _by_script(
    presets: Mapping[str, Preset], program: Invocation, heads: Mapping[str, str]
) -> Recognised | None:
    head = heads.get(program.script, "") if program.script else ""
    if not head or program.script == PACKAGE or is_shell(program, head):
        return None
    arguments = " ".join(program.arguments)
    for preset in presets.values():
        needs = preset.recognise.arguments
        if needs and not needs.search(arguments):
            continue
        if any(pattern.search(head) for pattern in preset.recognise.script):
            return Recognised(preset, f"{program.script} says so")
    return None
