"""What a shell's script runs, where each command stands, and whether it ends in exec."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unitq.cmdline.shell import Command, parse, with_exec

if TYPE_CHECKING:
    from pathlib import Path


def command(script: str, name: str = "w") -> Command:
    return next(each for each in parse(script).commands if each.words[:1] == (name,))


ENDS_IN_EXEC = [
    "exec w",
    "exec w a 'b c' 2>&1 </dev/null",
    "cd /x && exec w",
    "[ -x a ] && exec a",
    "[ -x a ] && exec a; exec b",
    "if [ -x a ]; then exec a; else exec b; fi",
    "if x; then\n  exec a\nelif y; then exec b\nelse\n  exec c\nfi",
    "case $1 in a) exec a;; b|c) exec b ;; *) exec c; esac",
    "php migrate && exec w",
    "php migrate || exit 1; exec w",
    "while ! nc -z db 5432; do sleep 1; done\nexec w",
    "exec 2>&1; exec w",
    "exec > >(tee log) 2>&1; exec w",
    "main() { cd x; exec w; }\nmain \"$@\"",
    "exec -a name w",
    "A=1 exec w",
    'exec "$@"',
    "{ exec w; }",
    "a=$(ps | grep x); b=`pgrep y | head`; exec w",
    "cat <<END\nwhile true\nEND\nexec w",
    "arr=(a b c); [[ $a > b ]] && (( a > 1 )); exec w # | tee",
    "helper & exec w",
    "a=$(\n  # it's a\n  x\n)\nexec w # isn't",
    "a=$(echo a#b ${#c} $#)\nexec w",
    "exec w; php never",
]  # fmt: skip
DO_NOT = [
    "w",
    "exec w | tee -a log",
    "cat x | exec w",
    "(exec w)",
    "exec w & wait",
    "! exec w",
    "exec 2>&1\nw",
    "exec >log",
    "if [ -n \"$DEBUG\" ]; then exec debug; fi\nw",
    "[ -x a ] && exec a\nw",
    "case $1 in a) exec a;; esac\nw",
    "while true; do w; done",
    "# exec w\nw",
    "echo 'exec w'; w",
    "cat <<'END'\nexec w\nEND\nw",
    "w; exit $?",
    "w || exec fallback",
    "echo exec w",
    "f() { exec w; }\ng",
    "x=$(exec w); w",
    "w \\\n  exec",
]  # fmt: skip


@pytest.mark.parametrize("script", ENDS_IN_EXEC)
def test_it_ends_in_exec(script: str) -> None:
    found = parse(script)
    assert (found.known, found.hands_over) == (True, True)


@pytest.mark.parametrize("script", DO_NOT)
def test_it_does_not_end_in_exec(script: str) -> None:
    assert not parse(script).hands_over


@pytest.mark.parametrize(
    "script", ["if", "if x; then exec w", "exec w )", "exec w 'a", 'exec w "a', "x ( y", "do w"]
)
def test_what_cannot_be_read_is_unknown_and_never_fine(script: str) -> None:
    found = parse(script)
    assert not found.known
    assert not found.hands_over


def test_what_follows_an_unreadable_line_is_read() -> None:
    assert command("x )\nw a\n").words == ("w", "a")


@pytest.mark.parametrize(
    ("script", "piped", "loop", "background", "subshell"),
    [
        ("w | tee a", "left", "", False, True),
        ("w 2>&1 |& tee a | cat", "left", "", False, True),
        ("cat a | w", "right", "", False, True),
        ("(w) | tee a", "left", "", False, True),
        ("{ cd x; w; } | tee a", "left", "", False, True),
        ("while true; do w; sleep 1; done", "", "while", False, False),
        ("while :\ndo\n  w || true\ndone", "", "while", False, False),
        ("until w; do sleep 1; done", "", "until", False, False),
        ("for q in a b; do w $q & done; wait", "", "for", True, True),
        ("for ((i=0; i<3; i++)); do w; done", "", "for", False, False),
        ("w & wait", "", "", True, True),
        ("w && x", "", "", False, False),
        ("w >&2 2>&1 &>log", "", "", False, False),
        ("if true; then w; fi", "", "", False, False),
        ("if ! w; then x; fi", "", "", False, True),
        ("(w)", "", "", False, True),
    ],
)
def test_where_a_command_stands(
    script: str, piped: str, loop: str, background: bool, subshell: bool
) -> None:
    found = command(script)
    told = (found.piped, found.loop, found.background, found.subshell)
    assert told == (piped, loop, background, subshell)


@pytest.mark.parametrize(
    ("script", "better"),
    [
        ("w a", "exec w a"),
        ("cd x && w", "cd x && exec w"),
        ("w 2>&1", "exec w 2>&1"),
        ("cd x; w", ""),
        ("w | cat", ""),
        ("w & wait", ""),
        ("exec w", ""),
        ("A=1 w", "A=1 exec w"),
        ("cd x && A=1 B='2 3' w a", "cd x && A=1 B='2 3' exec w a"),
        ("A=1", ""),
        ("w && true", ""),
        ("w && rm -f lock", ""),
        ("w 'a", ""),
    ],
)
def test_the_script_with_exec(script: str, better: str) -> None:
    assert with_exec(script) == better
    assert not better or parse(better).hands_over


# What the grammar says is what a shell does: the shell becomes `w` exactly where it says so.
_LEAVES = ["{w}", "exec {w}", "true", "false", "exec {w} | cat", "(exec {w})", "exec 2>&1"]
_leaf = st.sampled_from(_LEAVES)
_test = st.sampled_from(["true", "false", "! true", "[ -e /nosuch ]"])


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda p: f"{p[0]}; {p[1]}"),
        two.map(lambda p: f"{{ {p[0]}; }} && {{ {p[1]}; }}"),
        two.map(lambda p: f"{{ {p[0]}; }} || {{ {p[1]}; }}"),
        # What a condition runs is a test, and no worker.
        st.tuples(_test, inner).map(lambda p: f"if {p[0]}; then {p[1]}; fi"),
        st.tuples(_test, inner, inner).map(lambda p: f"if {p[0]}\nthen {p[1]}\nelse {p[2]}\nfi"),
        inner.map(lambda p: f"case x in x) {p};; esac"),
        inner.map(lambda p: f"f() {{ {p}; }}; f"),
        inner.map(lambda p: f"for i in 1; do {p}; done"),
    )


@given(st.recursive(_leaf, _wider, max_leaves=5))
@settings(max_examples=60, deadline=None)
def test_a_script_that_ends_in_exec_becomes_its_last_command_in_a_real_shell(script: str) -> None:
    found = parse(script.replace("{w}", "w"))
    assert found.known, script
    if not found.hands_over:
        return
    # Each w prints whose process it is. What comes last may run only in the shell's own.
    text = script.replace("{w}", "sh -c 'echo $$'")
    for shell in filter(shutil.which, ("dash", "bash")):
        process = subprocess.Popen([shell, "-c", text], stdout=subprocess.PIPE, text=True)
        out, _ = process.communicate(timeout=10)
        assert not out or process.pid == int(out.split()[-1]), script


@pytest.mark.parametrize(
    "text",
    ["(", "{ ", "if a; then\n", "$(", '"$(', "`", "${", "<<a\n", "case a in\n", "f() {\n", "a|",
     "a && ", "exec b\n", "\n", "x $(a\n", "x ${a\n", "x ` $(\n", "a=(\n", '"$(a\n'],
    ids=repr,
)  # fmt: skip
def test_no_script_takes_long(text: str) -> None:
    begun = time.process_time()
    parse((text * 32768)[:32768])
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "body", ["{0}; {0};", "if x; then {0}; else {0}; fi;", "{0};"], ids=["twice", "or", "deep"]
)
def test_functions_that_call_functions_do_not_take_long(body: str) -> None:
    begun = time.process_time()
    count = 900
    inner = "".join(f"f{n}() {{ {body.format(f'f{n + 1}')} }}\n" for n in range(count))
    found = parse(f"{inner}f{count}() {{ w; }}\nf0\n")
    assert not found.hands_over
    assert time.process_time() - begun < 2


def test_functions_that_call_each_other_have_an_end() -> None:
    found = parse("a() { b; c; }\nb() { a; c; }\nc() { a; b; exec w; }\na\n")
    assert [each.words for each in found.becomes] == [("w",)]


def test_commands_of_a_real_script(tmp_path: Path) -> None:
    script = """#!/bin/bash
set -euo pipefail
HERE="$(cd "$(dirname "$0")" && pwd)"
if [[ -f "$HERE/.env" ]]; then
  set -a; . "$HERE/.env"; set +a   # exec in a comment
fi
until redis-cli ping >/dev/null 2>&1; do sleep 1; done
exec "${HERE}/venv/bin/celery" -A shop worker \\
  --loglevel INFO
"""
    found = parse(script)
    assert found.hands_over
    assert [each.words for each in found.becomes] == [
        ("$_/venv/bin/celery", "-A", "shop", "worker", "--loglevel", "INFO")
    ]


@pytest.mark.parametrize(
    ("script", "folder"),
    [
        ("x", ""),
        ("cd a && x", "a"),
        ("cd ./a/; cd b; x", "a/b"),
        ("cd -P -- a && cd .. && x", ""),
        ("cd a; cd /srv/b; x", "/srv/b"),
        ("cd ..; x", ".."),
        ("cd a || exit 1; x", "a"),
        ("cd a 2>/dev/null || true; x", "a"),
        ("{ cd a; }; x", "a"),
        ("(cd a && x)", "a"),
        ("if cd a; then x; fi", "a"),
        ("f() { cd a; }; x", ""),
        # None of these is the shell's own.
        ("(cd a); x", ""),
        ("cd a | true; x", ""),
        ("cd a & x", ""),
        # Only the shell knows.
        ("cd; x", "$_"),
        ("cd -; x", "$_"),
        ("cd ~/a; x", "$_"),
        ("cd $HOME; x", "$_"),
        ('cd "$(dirname "$0")"; cd ..; x', "$_"),
        ("cd $HOME; cd /srv; x", "/srv"),
        ("cd a || cd b; x", "$_"),
        ("if t; then cd a; fi; x", "$_"),
        ("if t; then cd a; y; else x; fi", ""),
        ("case $1 in a) cd a;; *) x;; esac", ""),
        ("case $1 in a) cd a;; esac; x", "$_"),
        ("while t; do cd a; done; x", "$_"),
        ("f() { x; }; cd a; f", "$_"),
    ],
)
def test_where_a_command_runs(script: str, folder: str) -> None:
    found = [each.folder for each in parse(script).commands if each.words[:1] == ("x",)]
    assert found == [folder]
