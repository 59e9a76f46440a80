"""The ledger of a rollout: each intention, written down before it is acted on.

JSON lines, each with a checksum. The last line says whether the rollout has ended. What became of
the instances is never read from here: systemd and /proc are asked.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import Exit
from unitq.revisions.model import load_settings

if TYPE_CHECKING:
    from unitq.model.settings import RolloutSettings

# Of these an unfinished one blocks the next deploy until an operator decides.
_CHANGES_CODE = frozenset({"deploy", "rollback", "scale"})

_LINE = re.compile(rb'(?P<body>\{.*),"crc":"(?P<crc>[0-9a-f]{8})"\}')


class Record(NamedTuple):
    """One line: an intention, or the end."""

    seq: int  # from 1
    at: float  # seconds since 1970
    what: str  # begin, install, order, rollback, stay, promote, resume, end
    data: dict[str, Any]


class Story(NamedTuple):
    """What the ledger of one rollout says."""

    number: int
    kind: str  # the command: deploy, rollback, restart …
    revision: str  # where it goes to
    previous: str | None
    by: str
    began: float  # seconds since 1970
    command: str
    max_unavailable: str | None  # from the command line; None: as the revision says
    promoted: bool
    back_to: str | None  # the revision of a rollback that followed
    ended: float | None  # None: it was killed, or is running
    code: int | None  # its exit code
    awaiting: bool = False  # for promotion: the canaries are healthy
    pid: int = 0  # of the unitq that began it, or resumed it last
    settings: RolloutSettings | None = None  # where the command line has changed [rollout]
    cut_short: bool = False  # a rollback that followed was interrupted before it was complete

    @property
    def unfinished(self) -> bool:
        """Whether it was cut off: killed, or by a power failure."""
        return self.ended is None

    @property
    def paused(self) -> bool:
        """Whether it waits for an operator."""
        return self.code == Exit.PAUSED

    @property
    def state(self) -> str:
        """Its state, as JSON has it."""
        if self.awaiting:
            return "awaiting promotion"
        return "paused" if self.paused else "cut off" if self.unfinished else "ended"

    @property
    def how(self) -> str:
        """Its state as the end of a sentence: `is paused`."""
        return {
            "awaiting promotion": "waits for promotion",
            "paused": "is paused",
            "cut off": "was cut off",
        }.get(self.state, "has ended")

    @property
    def blocks(self) -> bool:
        """Whether it must be resumed, rolled back or aborted before another deploy."""
        return self.kind in _CHANGES_CODE and (self.unfinished or self.paused)

    @property
    def resumable(self) -> bool:
        """Whether it left something to be done."""
        return self.kind in _CHANGES_CODE and self.code not in (Exit.OK, Exit.ROLLED_BACK)


def line(record: Record) -> bytes:
    """Returns the record as a line of JSON that ends with its checksum: CRC-32 of all before it."""
    fields = {"seq": record.seq, "at": round(record.at, 6), "what": record.what} | record.data
    body = json.dumps(fields, separators=(",", ":")).encode()[:-1]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def records(content: bytes) -> tuple[Record, ...]:
    """Returns the records up to the first that is torn or damaged; what follows was not synced."""
    whole: list[Record] = []
    for text in content.partition(b"\0")[0].split(b"\n"):
        match = _LINE.fullmatch(text)
        if not match or zlib.crc32(match["body"]) != int(match["crc"], 16):
            break
        data = json.loads(match["body"] + b"}")
        if data.get("seq") != len(whole) + 1:
            break
        whole.append(Record(data.pop("seq"), data.pop("at"), data.pop("what"), data))
    return tuple(whole)


def story(number: int, records: tuple[Record, ...]) -> Story | None:
    """Returns what the records say; None: it was cut off before it began, nothing was changed."""
    if not records or records[0].what != "begin":
        return None
    begin, last = records[0], records[-1]
    pids = [record.data["pid"] for record in records if "pid" in record.data]
    # A rollback that could not begin is followed by "stay".
    rollbacks = [record for record in records if record.what in ("rollback", "stay")]
    back = rollbacks if rollbacks and rollbacks[-1].what == "rollback" else []
    return Story(
        number=number,
        kind=begin.data["kind"],
        revision=begin.data["revision"],
        previous=begin.data["previous"],
        by=begin.data["by"],
        began=begin.at,
        command=begin.data["command"],
        max_unavailable=begin.data["max_unavailable"],
        promoted=any(record.what == "promote" for record in records),
        back_to=back[-1].data["revision"] if back else None,
        ended=last.at if last.what == "end" else None,
        code=last.data["code"] if last.what == "end" else None,
        awaiting=last.what == "end" and last.data.get("awaiting", False),
        pid=pids[-1] if pids else 0,
        settings=load_settings(settings) if (settings := begin.data.get("settings")) else None,
        cut_short=last.what == "end" and last.data.get("cut_short", False),
    )
