"""Text of others becomes printable, and stays as readable as it was."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.terminal import ATTACKS, EVIL, WORD
from unitq.printable import one_line, printable

ANY = st.text(st.characters(), max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("release 20261123-0914", "release 20261123-0914"),
        ("sms: 4 serving · revision 5 (= 3) → é ß 漢字 💥 ⚠️", None),
        ("12\u202f345\u00a0km\u3000", None),  # spaces of French and of Japanese
        ("App\\Jobs\\SendSms", None),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\n", r"a\nb\r\n"),
        ("a\tb", "a    b"),
        ("\x9b2J\x85\x7f\x00", r"\x9b2J\x85\x7f\x00"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\u200b\ufeff\u00ad", r"\u200b\ufeff\xad"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\U000e0041\U000e0101", r"\U000e0041\U000e0101"),
        ("\udcff\ud800", r"\xff\ud800"),
    ],
)
def test_what_is_shown(text: str, expected: str | None) -> None:
    assert one_line(text) == (text if expected is None else expected)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_no_attack_stays_what_it_is(attack: str) -> None:
    text = f"a{attack}b"
    if text.isascii() and text.isprintable():  # rich's marks: an attack on rich only
        assert one_line(text) == text
    else:
        assert one_line(text) != text
        assert attack in ("\n",) or printable(text) != text


@given(ANY)
def test_whatever_it_is_it_is_one_harmless_line(text: str) -> None:
    shown = one_line(text)
    assert one_line(shown) == shown
    for c in shown:
        assert unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    shown.encode()  # has no surrogate


@given(ANY)
def test_lines_of_a_text_are_those_that_it_had(text: str) -> None:
    assert printable(text).split("\n") == [
        "\t".join(map(one_line, line.split("\t"))) for line in text.split("\n")
    ]


def test_the_attacks_of_the_harness_are_seen_by_it() -> None:
    from tests.harness.terminal import Shown, _harmless

    for name, attack in ATTACKS.items():
        raw = f"[red] x a{attack}QQ".encode()
        if attack.isascii() and attack.isprintable():
            continue
        assert Shown(0, raw).attacks(), name
        assert Shown(0, one_line(f"[red] {attack}{WORD}").encode()).attacks() == []
    assert Shown(0, b"[red] \x1b[1;31mours\x1b[0m\r\n").attacks() == []
    assert all(map(_harmless, one_line(EVIL)))
