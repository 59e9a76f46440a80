"""Takes `autostart` out of hand in a configuration's text; nothing else in it changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.errors import ConfigError
from unitq.supervisor.conf.ini import Ini, comment

if TYPE_CHECKING:
    from collections.abc import Iterable

OPTION = "autostart"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_OFF = "false"


def switched_off(texts: dict[str, str], ini: Ini, sections: Iterable[str]) -> dict[str, str]:
    """The texts that change, by file, so that supervisord starts none of these when it begins.

    `texts` has all files of the configuration, `ini` what was read from them. A section that says
    so already is left alone. Raises ConfigError where a text is not what was read.
    """
    found: dict[str, str] = {}
    # From the end of each file: what is put in must not move what comes before.
    for file, number, section, there in sorted(_places(ini, sections), reverse=True):
        lines = _LINE.findall(found.get(file, texts[file]))
        if number > len(lines):
            raise ConfigError(f"{file} has just been changed: line {number} is not there")
        index = number - 1
        if there:
            lines[index] = _set_off(file, number, lines[index])
        else:
            lines.insert(number, _new(lines, index))
        found[file] = "".join(lines)
        _proved(file, section, found[file])
    return {file: text for file, text in found.items() if text != texts[file]}


def _places(ini: Ini, sections: Iterable[str]) -> list[tuple[str, int, str, bool]]:
    """File, line, section, and whether the option stands in that line or is to follow it."""
    places = []
    for section in dict.fromkeys(sections):
        own = ini.sections[section].get(OPTION)
        if own is not None:
            places.append((own.file, own.line, section, True))
        else:
            places.append((ini.files[section], ini.lines[section], section, False))
    return places


def _set_off(file: str, number: int, line: str) -> str:
    end = line[len(line.rstrip("\r\n")) :]
    body = line.removesuffix(end) if end else line
    cut = comment(body)
    said, rest = (body, "") if cut is None else (body[:cut], body[cut:])
    matched = re.fullmatch(rf"(\s*{OPTION}\s*[=:]\s*)(.*?)(\s*)", said, re.IGNORECASE | re.DOTALL)
    if matched is None:
        raise ConfigError(f"{file} has just been changed: line {number} has no {OPTION}")
    return f"{matched[1]}{_OFF}{matched[3]}{rest}{end}"


def _new(lines: list[str], index: int) -> str:
    """The line to follow a section's header.

    Indented as the option behind it: one that is indented more would count as this one's second
    line. A header without a line end gets one from the caller's last line.
    """
    header = lines[index]
    end = header[len(header.rstrip("\r\n")) :]
    indent = ""
    for line in lines[index + 1 :]:
        if line[: comment(line)].strip():
            indent = line[: len(line) - len(line.lstrip())]
            break
    return f"{indent}{OPTION}={_OFF}{end}"


def _proved(file: str, section: str, text: str) -> None:
    """Raises ConfigError where the changed text does not say what it should: it is not written."""
    ini = Ini()
    ini.read(text, file)
    found = ini.sections.get(section, {}).get(OPTION)
    if found is None or found.value != _OFF:
        raise ConfigError(f"{file}: {OPTION} of [{section}] cannot be switched off here")
