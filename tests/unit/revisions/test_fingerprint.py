"""The fingerprint: what it tells to whom, and of which form it may be."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import ORIGIN, SYSTEM, TEXTS, app
from unitq.revisions.model import dump, load, successor
from unitq.rollout.checks.credentials import earlier_seals, sealing
from unitq.units.render import Code, render

if TYPE_CHECKING:
    from unitq.revisions.model import Revision
    from unitq.units.render import Rendered, Seal

KEY = sealing(b"k" * 32)


def made(secret: str = "hunter2", file: bytes = b"A=1\n", seal: Seal = KEY) -> Rendered:
    text = f"""
[workers.sms]
command = "/bin/sms"
environment = {{ PASSWORD = "{secret}" }}
[workers.mail]
command = "/bin/mail"
"""
    code = Code("/srv/shop/releases/1", "1", (file,))
    return render(app(text), SYSTEM, {"sms": code, "mail": code}, TEXTS, seal=seal)


def deployed(units: Rendered, before: Revision | None = None) -> Revision:
    return successor(before, units, app().rollout, ORIGIN)


def as_once(units: Rendered) -> Revision:
    """What the version before, which had no key, made of it."""
    found = deployed(units)
    former = {worker.name: worker.former for worker in units.workers}
    workers = tuple(
        worker._replace(fingerprint=former[worker.name], sealed="") for worker in found.workers
    )
    document = json.loads(dump(found._replace(workers=workers)))
    for worker in document["workers"]:
        del worker["sealed"]
    return load(json.dumps(document), "revision.json")


def changed(before: Revision, after: Revision) -> list[str]:
    """The workers that a deploy would restart."""
    kept = {worker.name: worker.revision for worker in before.workers}
    return [worker.name for worker in after.workers if worker.revision != kept[worker.name]]


def test_no_word_list_leads_to_what_everybody_can_read() -> None:
    mine, theirs = made(), made(seal=sealing(b"x" * 32))
    for one, other in zip(mine.workers, theirs.workers, strict=True):
        assert one.former == other.former  # without the key the same is guessed at
        assert one.fingerprint != other.fingerprint
        assert one.sealed != other.sealed
        content = json.dumps(
            [one.environment, [hashlib.sha256(file).hexdigest() for file in one.code.files]]
        )
        assert hashlib.sha256(content.encode()).hexdigest() not in (one.sealed, one.fingerprint)
    said = dump(deployed(mine))
    assert not any(worker.former in said for worker in mine.workers)


def test_the_same_environment_of_two_workers_does_not_show() -> None:
    assert KEY("sms", b"x") != KEY("mail", b"x")
    assert KEY("a", b"bx") != KEY("ab", b"x")


@pytest.mark.parametrize(
    ("now", "restarts"),
    [
        (made(), []),
        (made(secret="other"), ["sms"]),
        (made(file=b"A=2\n"), ["sms", "mail"]),
        (made(seal=sealing(b"x" * 32)), ["sms", "mail"]),  # the key is lost: in doubt, restart
    ],
)
def test_what_a_deploy_restarts(now: Rendered, restarts: list[str]) -> None:
    before = deployed(made())
    after = deployed(now, before)
    assert changed(before, after) == restarts
    assert (after is before) == (not restarts)


@pytest.mark.parametrize(
    ("now", "restarts"),
    [(made(), []), (made(secret="other"), ["sms"]), (made(file=b""), ["sms", "mail"])],
)
def test_what_the_version_before_has_deployed(now: Rendered, restarts: list[str]) -> None:
    before = as_once(made())
    after = deployed(now, before)
    assert changed(before, after) == restarts
    # And now it is of the new form: the guessable one does not stay.
    assert {w.fingerprint for w in after.workers} == {w.fingerprint for w in now.workers}
    assert deployed(now, after) is after


def test_without_the_key_the_environment_is_taken_for_what_it_was() -> None:
    before = deployed(made())
    blind = made(secret="other", seal=earlier_seals(before))
    assert deployed(blind, before) is before
    old = as_once(made())
    assert changed(old, deployed(made(seal=earlier_seals(old)), old)) == []
    # What is no secret is seen.
    other = made(seal=earlier_seals(before)).workers[0].code
    moved = render(
        app('[workers.sms]\ncommand = "/bin/other"'), SYSTEM, {"sms": other}, TEXTS,
        seal=earlier_seals(before),
    )  # fmt: skip
    assert changed(before, deployed(moved, before)) == ["sms"]
