"""What `check` says of how much of the machine a worker can reach. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.model.finding import Certainty, Finding, note
from unitq.model.hardening import LINES, Hardening, Sandbox, sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.model.app import App, Worker


def exposure_notes(
    app: App,
    scores: Mapping[str, float],
    words: Mapping[Hardening, Mapping[str, float]],
) -> list[Finding]:
    """A note: a worker's score, by its name, and what another word would make of it.

    One note for all workers of which the same is to be said.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for worker in app.workers:
        score = scores.get(worker.name)
        if score is None:
            continue
        lower = [
            f'"{word}" would make it {rates[worker.name]:.1f}'
            for word, rates in words.items()
            if rates.get(worker.name, score) < score
        ]
        rating = f"{_word(worker)}: exposure {score:.1f} of 10 (systemd-analyze security)"
        alike.setdefault((rating, ", ".join(lower)), []).append(worker.name)
    return [
        _note(names, rating, hint and f"hardening = {hint}")
        for (rating, hint), names in alike.items()
    ]


def _note(names: list[str], rating: str, hint: str) -> Finding:
    place = f"workers.{names[0]}.hardening"
    if len(names) > 1:
        place, rating = "hardening", f"{rating}: {', '.join(names)}"
    return note(place, rating, hint, "", "exposure", Certainty.CERTAIN)


def _word(worker: Worker) -> str:
    return f'"{worker.hardening}"' if worker.hardening else "not set"


def applies(worker: Worker, directive: str) -> bool:
    """Whether `hardening` writes this directive into the worker's unit, in the system scope."""
    if worker.hardening is None:
        return False
    kept = _sandbox(worker, user_scope=False).lines
    return any(line.directive == directive for line in kept)


def _sandbox(worker: Worker, *, user_scope: bool) -> Sandbox:
    assert worker.hardening is not None
    return sandbox(
        worker.hardening,
        user_scope=user_scope,
        root=worker.root,
        own=dict(worker.service),
        leave_out=worker.from_preset.leave_out,
    )


def limits_of_user_scope(app: App) -> list[Finding]:
    """What of `hardening` a user's own manager leaves out."""
    notes = []
    for worker in app.workers:
        if worker.hardening in (None, Hardening.OFF):
            continue
        kept = _sandbox(worker, user_scope=True).lines
        total = sum(worker.hardening in line.words for line in LINES)
        writable = ", `writable` among them" if worker.writable else ""
        notes.append(
            note(
                f"workers.{worker.name}.hardening",
                f'"{worker.hardening}" with --user is {len(kept)} of {total} lines',
                "in the system scope, with `user`, it is all of them",
                f"the others need root{writable}",
                "exposure",
                Certainty.CERTAIN,
            )
        )
    return notes
