"""Switches `autostart` off in a configuration's text; nothing else in it changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.errors import ConfigError
from unitq.supervisor.conf.ini import Ini

if TYPE_CHECKING:
    from collections.abc import Iterable

OPTION = "autostart"
OFF = "false"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_COMMENT = re.compile(r"(?:^|(?<=\s))[;#].*", re.DOTALL)
_HEADER = re.compile(r"\[(.+)\]")
_SET = re.compile(rf"(\s*{OPTION}\s*[=:]\s*)(.*?)(\s*)", re.IGNORECASE | re.DOTALL)


def switch_off(texts: dict[str, str], ini: Ini, sections: Iterable[str]) -> dict[str, str]:
    """Returns the texts that change, by file, so that supervisord starts none of these at a boot.

    `texts` has all files of the configuration, `ini` what was read from them. A section that says
    so already is left alone. Raises ConfigError where a text would not say so afterwards.
    """
    changed: dict[str, str] = {}
    for section in dict.fromkeys(sections):
        own = ini.sections[section].get(OPTION)
        file = own.file if own else ini.files[section]
        lines = _LINE.findall(changed.get(file, texts[file]))
        changed[file] = _edit(lines, section, exists=own is not None)
        _prove(file, section, changed[file])
    return {file: text for file, text in changed.items() if text != texts[file]}


def _edit(lines: list[str], section: str, *, exists: bool) -> str:
    """The text with the section's last autostart set, or with one behind its header."""
    header = option = -1
    current = replaced = ""
    for index, line in enumerate(lines):
        body = _COMMENT.sub("", line)
        if match := _HEADER.match(body.strip("\ufeff \t\r\n")):
            current = match[1]
            header = index if current == section and header < 0 else header
        elif exists and current == section and (match := _SET.fullmatch(body)):
            option, replaced = index, f"{match[1]}{OFF}{match[3]}{line[len(body) :]}"
    if option >= 0:
        lines[option] = replaced
    elif header >= 0:
        end = lines[header][len(lines[header].rstrip("\r\n")) :]
        # As the option behind it: one that is indented more would count as this one's second line.
        further = (line for line in lines[header + 1 :] if _COMMENT.sub("", line).strip())
        following = next(further, "")
        indent = following[: len(following) - len(following.lstrip())]
        lines.insert(header + 1, f"{indent}{OPTION}={OFF}{end}")
    return "".join(lines)


def _prove(file: str, section: str, text: str) -> None:
    """Raises ConfigError where the changed text does not say what it should: it is not written."""
    ini = Ini()
    ini.read(text, file)
    own = ini.sections.get(section, {}).get(OPTION)
    if own is None or own.value != OFF:
        raise ConfigError(f"{file}: {OPTION} of [{section}] cannot be switched off here")
