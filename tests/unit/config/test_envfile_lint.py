"""What systemd drops or changes in an environment file: names and lines, never a value."""

from __future__ import annotations

import time

import pytest

from unitq.config.envfile_lint import findings
from unitq.model.finding import Level
from unitq.systemd.envfile import assignments, environment_file

# What is in the file, and for each finding: its name, its line, and a part of what it says.
TABLE: dict[str, tuple[bytes, list[tuple[str, int | str, str]]]] = {
    "a plain file": (b"# c\n; c\nA=1\n B = two words \nC=\"x y\"\nD='$x'\nE=\n\n", []),
    "no end of line": (b"A=1", []),
    "a value with signs": (b"A=#fff\nB=a#b\nC={\"a\": [1]}\nD=p$wd\nE=x=y\nF=a\\ b\n", []),
    "meant literally": (b"A='${B} $(x) # C:\\new'\nB=\\${A}\nC=\"\\$(x)\"\n", []),
    "a key over several lines": (b'A="-----BEGIN\nabcd+/12\nzzz=\n-----END"\nB=1\n', []),
    "Windows line ends": (b"A=1\r\nB=2\r\n# c\r\n\r\nC='x'\r\n", []),
    "export": (b'A=1\nexport B="x"\n', [("env-dropped", 2, "B=…")]),
    "export with a tab": (b"export\tB=x\n", [("env-dropped", 1, "B=…")]),
    "a dotted name": (b"lower.dot=1\n", [("env-dropped", 1, "lower_dot")]),
    "a name with a dash": (b"\nmy-name=1\n", [("env-dropped", 2, "my_name")]),
    "a digit first": (b"2fa.x=1\n", [("env-dropped", 1, "_2fa_x")]),
    "two words before =": (b"set A=1\n", [("env-dropped", 1, "letters, digits")]),
    "YAML": (b"A: 1\nB: 2\nC=3\nD: 4\n", [("env-dropped", "lines 1, 2, 4", 'no "="')]),
    "a key without quotes": (b"K=-----BEGIN\nab\ncd\nef\n", [("env-dropped", "lines 2 to 4", "")]),
    "a mark at the beginning": (b"\xef\xbb\xbfA=1\nB=2\n", [("env-dropped", 1, "byte order")]),
    "a mark before a comment": (b"\xef\xbb\xbf# x = y\nB=2\n", []),
    "a comment behind": (b"A=v # note\n", [("env-comment", 1, "A")]),
    "a comment behind quotes": (b'A="v" # note\n', [("env-comment", 1, "A")]),
    "a comment for a value": (b"A= # none\n", [("env-comment", 1, "A")]),
    "another variable": (b'U="https://${H}/x"\n', [("env-literal", 1, "${H}")]),
    "with a default": (b"U=${H:-secret}\n", [("env-literal", 1, "${H}")]),
    "without braces": (b"H=a\nU=$H/x\nP=$PATH:/x\n", [
        ("env-literal", 2, "$H"), ("env-literal", 3, "$PATH"),
    ]),
    "a command": (b"A=$(hostname)\n", [("env-literal", 1, "$(…)")]),
    "backslashes": (b"B=C:\\new\\table\n", [("env-backslash", 1, "B")]),
    "backslashes in quotes": (b'B="C:\\new"\nC="a\\nb"\n', []),
    "a backslash at the end": (b"D=C:\\\\x\\\nN=1\n", [("env-backslash", 1, "D")]),
    "a value that goes on": (b"D=a=1 \\\n  b\n", []),
    "an open quote": (b'A=0\nX="abc\nY=1\nZ=2\n', [("env-quote", 2, "Y, Z too")]),
    "an open quote at the end": (b"X='abc\n", [("env-quote", 1, "never closed")]),
    "closed by the next one": (b'X="abc\nY="def"\n', [("env-quote", 1, "Y too")]),
    "carriage returns inside": (b'A="x\r\ny"\r\n', [("env-crlf", 1, "A")]),
    "twice": (b"A=1\nB=1\nA=2\n", [("env-twice", "lines 1, 3", "A")]),
    "a comment with a backslash": (b"# C:\\\nA=1\n", [("env-dropped", 2, "254")]),
    "Latin-1": (b"A=1\nB=\xe9\n", [("", 2, "not UTF-8")]),
    "Latin-1 in what is left out": (b"B.C=\xe9\n", [("", 1, "UTF-8"), ("env-dropped", 1, "B_C")]),
    "Latin-1 in a comment": (b"# \xe9\nA=1\n", []),
    "no character": ("A=\ufdd0\n".encode(), [("", 1, "not UTF-8")]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    content, wanted = TABLE[name]
    found = findings(content, "/etc/a.env", "environment_file")
    assert [each.name for each in found] == [kind for kind, _, _ in wanted], found
    for finding, (_, line, part) in zip(found, wanted, strict=True):
        where = f"line {line}" if isinstance(line, int) else line
        assert where in finding.text
        assert part in finding.text
        assert (finding.level is Level.ERROR) is (not finding.name)


def test_no_value_is_shown() -> None:
    """Whatever is wrong with a line, what may be a secret is not in what is said of it."""
    secret = "Zk3x9Q"
    for content, _ in TABLE.values():
        for line in content.decode(errors="replace").splitlines():
            name, _, value = line.partition("=")
            text = content.decode(errors="replace").replace(value, secret) if value else ""
            for finding in findings(text.encode(), "/etc/a.env", "environment_file"):
                assert secret not in finding.text, (name, finding.text)
    key = f"K=-----BEGIN\n{secret}+{secret}=\n{secret}=x.{secret}\n{secret * 10}.a=b\n"
    for finding in findings(key.encode(), "/etc/a.env", "environment_file"):
        assert secret not in finding.text


def test_what_unitq_writes_has_no_findings() -> None:
    given = (("A", 'x # "y" ${Z} \\n'), ("B", "C:\\new"), ("C", "it's"))
    text = environment_file(given)
    assert assignments(text) == dict(given)
    assert not findings(text.encode(), "env", "environment_file")


@pytest.mark.parametrize("part", ["x", "${A", "\\x", "$A", "A=\\\n", 'A="B=c\n', "# \\\nA=1\n"])
def test_a_large_file_takes_no_longer_than_its_size(part: str) -> None:
    """Another account may have written it, and a deploy of root's reads it."""
    content = f"A={part * (200_000 // len(part))}".encode()
    begun = time.process_time()
    findings(content, "/etc/a.env", "environment_file")
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("line", "name"),
    [("export A{}=1", "env-dropped"), ("A{} = x # y", "env-comment"), ("a.b{}=1", "env-dropped")],
)
def test_of_many_lines_of_a_kind_the_first_ones_are_shown(line: str, name: str) -> None:
    text = "\n".join(line.format(number) for number in range(2000))
    found = findings(text.encode(), "/e", "p")
    assert {each.name for each in found} == {name}
    assert len(found) == 6
    assert found[-1].message == "/e: 1995 more lines of this kind"


def test_many_lines_are_not_all_listed() -> None:
    (found,) = findings(b"A=1\nno sign\n" * 2000, "/e", "p")[:1]
    assert "lines 2, 4, 6, 8, 10 and 1995 more" in found.message
