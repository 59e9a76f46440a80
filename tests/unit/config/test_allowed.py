"""Findings that the operator allows by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.harness.build import app
from unitq.config.lint import remove_allowed
from unitq.model.finding import Certainty, Finding, Level

TWO = '[workers.sms]\ncommand = "bin/a"\n[workers.mail]\ncommand = "bin/b"\n'


def finding(place: str, name: str = "pipe", level: Level = Level.ERROR) -> Finding:
    return Finding(level, place, "is so", "write something else", "it matters", name)


def kept(*findings: Finding, sms: tuple[str, ...] = (), every: tuple[str, ...] = ()) -> list[str]:
    """The places and names of what is left."""
    it = app(TWO)
    workers = tuple(replace(w, allow=sms) if w.name == "sms" else w for w in it.workers)
    found = remove_allowed(findings, replace(it, workers=workers, allow=every))
    return [f"{each.place} {each.name or each.message}" for each in found]


SMS, MAIL = finding("workers.sms.command"), finding("workers.mail.command")


def test_a_worker_allows_its_own_findings_only() -> None:
    assert kept(SMS, MAIL, sms=("pipe",)) == ["workers.mail.command pipe"]


def test_the_app_allows_them_for_all() -> None:
    assert kept(SMS, MAIL, finding("hooks.before_deploy"), every=("pipe",)) == []


def test_what_has_no_name_cannot_be_allowed() -> None:
    nameless = finding("workers.sms.user", name="")
    assert kept(nameless, every=("pipe",)) == [
        "workers.sms.user is so",
        'allow "pipe" silences nothing',
    ]


@pytest.mark.parametrize(
    ("sms", "every", "note"),
    [
        (("pip",), (), 'workers.sms.allow "pip" silences nothing'),
        ((), ("pip",), 'allow "pip" silences nothing'),
    ],
)
def test_a_name_that_silences_nothing_is_said(
    sms: tuple[str, ...], every: tuple[str, ...], note: str
) -> None:
    assert kept(SMS, sms=sms, every=every) == ["workers.sms.command pipe", note]


def test_a_mistyped_name_is_guessed_from_what_is_said() -> None:
    note = remove_allowed([SMS], replace(app(TWO), allow=("pip", "exposure")))[-2:]
    assert [each.hint for each in note] == ["leave it out", 'did you mean "pipe"?']


def test_a_finding_in_lines() -> None:
    assert SMS.text == (
        "error: workers.sms.command: is so [pipe, certain]\n  it matters\n  write something else"
    )
    assert Finding(Level.NOTE, "x", "y").text == "note: x: y"


@pytest.mark.parametrize(
    ("level", "sure", "certainty"),
    [
        (Level.ERROR, None, "certain"),
        (Level.WARNING, None, "likely"),
        (Level.NOTE, None, "possible"),
        (Level.WARNING, Certainty.CERTAIN, "certain"),
    ],
)
def test_how_sure_a_finding_is(level: Level, sure: Certainty | None, certainty: str) -> None:
    assert Finding(level, "x", "y", sure=sure).certainty == certainty
