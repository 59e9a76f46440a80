"""Makes text of others printable: no character of it gives an order to a terminal or hides there.

Names of releases, log lines, command lines, keys in Redis and file names come from accounts that
unitq does not trust. What they may do to a terminal is CWE-150.
"""

from __future__ import annotations

# Those of category Zs: blank, and nothing more.
_SPACES = frozenset("\u00a0\u1680\u202f\u205f\u3000") | {
    chr(code) for code in range(0x2000, 0x200B)
}

# Not among the categories below, and drawn as nothing: fillers, and selectors that can hold a
# hidden text (Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt). U+FE0E and
# U+FE0F are left out: they only say how the emoji before them is drawn.
_INVISIBLE = frozenset(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0)
) | {*range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0)}

_SHORT = {"\n": r"\n", "\r": r"\r"}


class _Visible(dict[int, str]):
    """For str.translate(): what is shown for a character, found out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = shown = _visible(chr(code))
        return shown


def _visible(character: str) -> str:
    code = ord(character)
    # Not printable for Python: controls, formats (bidi, zero width, tags), surrogates, private use,
    # unassigned, line and paragraph separators, and spaces other than " ".
    if character in _SPACES or (character.isprintable() and code not in _INVISIBLE):
        return character
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        code -= 0xDC00
    if code < 0x100:
        return rf"\x{code:02x}"
    return rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"


# A tab only moves to the right: in a line it becomes spaces, in a text of several lines it stays.
_IN_LINE = _Visible({0x09: "    "})
_IN_TEXT = _Visible({0x09: "\t", 0x0A: "\n"})


def one_line(text: str) -> str:
    r"""Returns the text on one line, each character visible: a line feed as `\n`, ESC as `\x1b`.

    What it returns it returns again as it is. Backslashes stay single, as in the names of classes.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_IN_LINE)


def printable(text: str) -> str:
    """The same for a text of several lines: line feeds and tabs stay.

    Not for a value within a line of ours: it could add lines that look like ours.
    """
    return text.translate(_IN_TEXT)
