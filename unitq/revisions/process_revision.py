"""Which revision a process was started from, where the process itself does not say. Pure.

A worker may have written a title over its environment (PHP's cli_set_process_title()), and its
standard input may lead elsewhere (`</dev/null`). What is left: when it was started and when its
pin was moved, and where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.model.release_names import within

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Made(NamedTuple):
    """A worker's part of a revision on disk."""

    release: str
    at: float  # seconds since 1970 when it was written


class Pin(NamedTuple):
    """What the next start of an instance gets."""

    revision: str
    at: float  # seconds since 1970 when it was moved there


def process_revision(
    pin: Pin | None,
    begun: float | None,
    made: Mapping[str, Made],
    places: Sequence[str],
) -> str | None:
    """Returns the id of the revision; None: nothing tells for certain.

    `begun` is when the unit was started, in seconds since 1970 as its manager noted it, so by the
    same clock as the pin at the same time. `made` are the revisions on disk by id, `places` the
    process's directory and the files that it has open; none where they may not be read.
    """
    if pin is None or begun is None:
        return None
    inside = _inside(made, places)
    if begun >= pin.at:
        # A command or a drop-in that goes to other code runs that. "/" is where daemons go.
        lost = [place for place in places if place != "/"]
        return pin.revision if pin.revision in inside or not (inside or lost) else None
    before = [name for name in inside if name != pin.revision and made[name].at <= begun]
    return max(before, key=lambda name: made[name].at, default=None)


def _inside(made: Mapping[str, Made], places: Iterable[str]) -> set[str]:
    """The revisions whose release one of these places is in, the innermost of several."""
    releases = set()
    for place in places:
        around = {part.release for part in made.values() if within(place, part.release)}
        releases |= {max(around, key=len)} if around else set()
    return {name for name, part in made.items() if part.release in releases}
