"""Text that attacks a terminal, and what of it has come through.

`EVIL` holds one of each kind. unitq's own colours and cursor moves are allowed in what it prints,
so each attack ends with a word that only an attack puts behind one of them, or at the beginning of
a line.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from fcntl import ioctl
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WORD = "QQ"

# What each does where a terminal gets it.
ATTACKS = {
    "sets the title": "\x1b]0;",
    "writes to the clipboard": "\x1b]52;c;ZWNobw==\x07",
    "clears the screen": "\x1b[2J",
    "colours": "\x1b[35;44m",
    "goes up a line": "\x1b[1A",
    "deletes the line": "\x1b[2K",
    "asks for an answer": "\x1b[6n",
    "resets": "\x1bc",
    "is a CSI of one character": "\x9b2J",
    "is an OSC of one character": "\x9d0;",
    "ends a string": "\x9c",
    "rings": "\x07",
    "goes back": "\x08\x08",
    "overwrites the line": "\r",
    "adds a line": "\n",
    "adds two": "\r\n",
    "is a vertical tab": "\x0b",
    "is a form feed": "\x0c",
    "is NEL": "\x85",
    "is a line separator": "\u2028",
    "is a paragraph separator": "\u2029",
    "reverses": "\u202e",
    "isolates": "\u2066",
    "marks a direction": "\u200f",
    "marks an Arabic direction": "\u061c",
    "has no width": "\u200b",
    "joins": "\u200d",
    "is a byte order mark": "\ufeff",
    "is a soft hyphen": "\u00ad",
    "deletes": "\x7f",
    "shifts out": "\x0e",
    "is a tag": "\U000e0041",
    "is a hidden selector": "\U000e0101",
    "is a filler": "\u3164",
    "is private": "\ue000",
    "looks like rich's marks": "[red][link=x]",
    "looks like an emoji of rich's": ":skull:",
}
# In a file name, in /proc or in a log line: bytes that are no UTF-8.
BYTES = "\udcff\udc9b"

EVIL = "".join(f"a{attack}{WORD}" for attack in ATTACKS.values())
# The name of a file or a directory; it has 255 bytes at most.
EVIL_NAME = EVIL + BYTES

# unitq's own: colours, and what a picture that changes needs (rich.control).
_OURS = re.compile(rb"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[1A|\x1b\[2K|\r(?=\x1b\[|\r*\n)")
_COMES_THROUGH = re.compile(rb"(?:\x1b\[[0-9;?]*[A-Za-z]|[\r\n])" + WORD.encode())


class Shown(NamedTuple):
    """What a command has printed, on both streams."""

    code: int
    raw: bytes

    def attacks(self) -> list[str]:
        """What of an attack has come through."""
        raw = self.raw.replace(b"\r\n", b"\n")  # a terminal makes that of a line feed
        found = [f"through: {found[0]!r}" for found in _COMES_THROUGH.finditer(b"\n" + raw)]
        text = _OURS.sub(b"", raw).decode(errors="surrogateescape")
        found += [f"{c!r} in {text[max(0, at - 40) : at + 40]!r}"
                  for at, c in enumerate(text) if not _harmless(c)]  # fmt: skip
        if "\N{SKULL}" in text or "[red]" not in text:
            found.append("rich has read its marks, or nothing of it is shown")
        return found

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.raw!r}"


def _harmless(c: str) -> bool:
    # Not by unitq's own table, which is what is tested.
    return c == "\n" or (c.isprintable() and c not in "\u3164\U000e0101")


def in_a_pipe(argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Shown:
    """Runs it with both streams in one pipe."""
    done = subprocess.run(
        argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=60,
    )  # fmt: skip
    return Shown(done.returncode, done.stdout)


def on_a_terminal(
    argv: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    *,
    keys: bytes = b"",
    until: bytes = b"",
    seconds: float = 60.0,
) -> Shown:
    """Runs it on a terminal that is wide enough for every line, and types `keys`.

    `until`: SIGINT, as Ctrl-C sends it, once that has been shown.
    """
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 200, 4000, 0, 0))
    # Whoever runs the tests in the background has them ignore SIGINT, and so would what they start.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *argv], cwd=cwd,
        env={**environment, "TERM": "xterm-256color"}, stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.write(master, keys)
    raw, deadline = b"", time.monotonic() + seconds
    try:
        while select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                raw += os.read(master, 65536)
            except OSError:  # the end
                return Shown(process.wait(10), raw)
            if until and until in raw:
                process.send_signal(signal.SIGINT)
                until = b""
        raise AssertionError(f"no end after {seconds:g} s: {raw!r}")
    finally:
        process.kill()
        process.wait()
        os.close(master)
