"""What each word of `hardening` puts into a unit, and that the page says the same."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.harness.build import HEAD, PRESETS, SYSTEM, TEXTS, USER, app, rendered
from unitq.config.exposure_lint import exposure_notes, limits_of_user_scope
from unitq.config.lint import lint_app
from unitq.config.parse import parse
from unitq.config.starter import starter
from unitq.errors import ConfigError
from unitq.model.finding import Level
from unitq.model.hardening import LINES, Hardening, Line, sandbox
from unitq.units.render import Code, render
from unitq.units.same_stop import alike

PAGE = Path(__file__).parents[3] / "docs" / "hardening.md"
GOLDEN = Path(__file__).parent / "golden"
MARK = "<!-- From here on: written from unitq/model/hardening.py -->\n"
OF_TODAY = ["ProtectSystem=full", "ProtectControlGroups=yes"]

WORKER = """\
[workers.sms]
command = "/usr/bin/php bin/resque"
user = "www-data"
probe = { command = "bin/probe" }
"""
STRICT = f"""\
{WORKER}hardening = "strict"
writable = ["storage", "log files/100%", "/srv/shop/shared"]
credentials.DB = "/etc/credstore.encrypted/db"
credentials.KEY = {{ path = "/etc/50%", encrypted = false }}
"""


def texts(worker: str, head: str = HEAD, *, user: bool = False) -> tuple[str, str]:
    """The unit of the worker and that of its probe."""
    found = rendered(app(worker, head), scope=USER if user else SYSTEM).workers[0]
    assert found.probe
    return found.unit.text, found.probe.text


def directives(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"(?m)^([A-Z]\w+)=(.*)$", text):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("word", Hardening)
@pytest.mark.parametrize("scope", ["system", "user"])
def test_golden(word: Hardening, scope: str) -> None:
    lines = STRICT if word is Hardening.STRICT else f'{WORKER}hardening = "{word}"\n'
    if scope == "user":
        lines = lines.replace('user = "www-data"\n', "")
    unit, probe = texts(lines, user=scope == "user")
    for name, text in ((f"{word}-{scope}.service", unit), (f"{word}-{scope}.probe.service", probe)):
        path = GOLDEN / name
        if os.environ.get("UNITQ_UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text


def test_a_file_without_the_word_has_the_text_that_it_always_had() -> None:
    # The golden files of tests/unit/units are older than the word.
    unit, probe = texts(WORKER)
    for text in (unit, probe):
        names = {line.directive for line in LINES} - {"ProtectSystem", "ProtectControlGroups"}
        assert not names & directives(text).keys()
        assert [line for line in text.splitlines() if line in OF_TODAY] == OF_TODAY
    standard, _ = texts(f'{WORKER}hardening = "standard"')
    # So that a change of the word is one RestartUnit, under which systemd brings it back.
    assert alike(unit, standard)
    assert alike(standard, texts(re.sub("(?m)^cred.*", "", STRICT))[0])


@pytest.mark.parametrize("word", Hardening)
def test_the_probe_has_the_sandbox_of_its_worker(word: Hardening) -> None:
    more = '[workers.sms.service]\nProtectHome = "tmpfs"\nPrivateDevices = false\nMemoryMax = "1G"'
    unit, probe = (directives(each) for each in texts(f'{WORKER}hardening = "{word}"\n{more}'))
    names = {line.directive for line in LINES}
    assert {n: v for n, v in unit.items() if n in names} == {
        n: v for n, v in probe.items() if n in names
    }
    assert "MemoryMax" not in probe
    assert ("JoinsNamespaceOf" in probe) is (word is Hardening.STRICT)


@pytest.mark.parametrize("word", [Hardening.STANDARD, Hardening.STRICT])
def test_a_line_of_the_operators_own_takes_the_place_of_the_words(word: Hardening) -> None:
    for line in LINES:
        if word not in line.words:
            continue
        own = f'[workers.sms.service]\n{line.directive} = "mine"'
        unit, _ = texts(f'{WORKER}hardening = "{word}"\n{own}')
        assert directives(unit)[line.directive] == ["mine"], line


@pytest.mark.parametrize("no", ["false", '"no"', '"off"', '"0"', '["yes", "No"]'])
@pytest.mark.parametrize("word", [Hardening.STANDARD, Hardening.STRICT])
def test_what_would_imply_no_new_privileges_goes_with_it(word: Hardening, no: str) -> None:
    own = f"[workers.sms.service]\nNoNewPrivileges = {no}"
    unit = directives(texts(f'{WORKER}hardening = "{word}"\n{own}')[0])
    implied = {line.directive for line in LINES if line.no_new_privileges}
    assert unit.keys() & implied == {"NoNewPrivileges"}
    # A setuid program needs root's rights.
    assert "CapabilityBoundingSet" not in unit
    assert unit["ProtectProc"] == ["invisible"]
    kept = directives(texts(f'{WORKER}hardening = "{word}"\n{own.replace(no, "true")}')[0])
    assert "RestrictSUIDSGID" in kept


def test_root_keeps_its_capabilities_and_ambient_ones_stay() -> None:
    for user in ("", 'user = "root"\n', 'user = "0"\n'):
        lines = WORKER.replace('user = "www-data"\n', user)
        unit, _ = texts(f'{lines}hardening = "strict"')
        assert "CapabilityBoundingSet" not in directives(unit)
    own = '[workers.sms.service]\nAmbientCapabilities = "CAP_NET_BIND_SERVICE"'
    unit, _ = texts(f'{WORKER}hardening = "standard"\n{own}')
    assert "CapabilityBoundingSet" not in directives(unit)
    assert directives(texts(f'{WORKER}hardening = "standard"')[0])["CapabilityBoundingSet"] == [""]


@pytest.mark.parametrize("preset", ["php-resque", "resque", "rq"])
def test_a_framework_that_looks_for_living_workers_sees_them(preset: str) -> None:
    command = {"php-resque": "php bin/resque", "resque": "rake resque:work", "rq": "rq worker x"}
    lines = f'[workers.w]\ncommand = "{command[preset]}"\npreset = "{preset}"\nuser = "a"\n'
    for word in (Hardening.STANDARD, Hardening.STRICT):
        unit = rendered(app(f'{lines}hardening = "{word}"')).workers[0].unit.text
        assert ("ProtectProc=invisible" in unit) is (preset == "rq")


def test_the_workers_word_wins_over_the_apps() -> None:
    head = f'hardening = "strict"\nwritable = ["var"]\n{HEAD}'
    workers = f'{WORKER}\n[workers.mail]\ncommand = "bin/mail"\nhardening = "standard"\n'
    workers += '\n[workers.push]\ncommand = "bin/push"\nwritable = []\n'
    found = app(workers, head)
    assert [str(worker.hardening) for worker in found.workers] == ["strict", "standard", "strict"]
    assert [worker.writable for worker in found.workers] == [("var",), (), ()]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('writable = ["a"]', "means something only with"),
        ('hardening = "standard"\nwritable = ["a"]', "means something only with"),
        ('hardening = "strict"\nwritable = "a"', "expected a list of paths"),
        ('hardening = "strict"\nwritable = ["../shared"]', 'without ".."'),
        ('hardening = "strict"\nwritable = [""]', "expected a path"),
        ('hardening = "strict"\nwritable = ["a", "./a"]', "twice"),
        ('hardening = "hard"', 'expected "off", "standard" or "strict"'),
        ('credentials = "x"', "expected a table"),
        ('credentials = { "a:b" = "/x" }', "expected a name of letters"),
        ('credentials = { "../a" = "/x" }', "expected a name of letters"),
        ('credentials = { ".." = "/x" }', "expected a name of letters"),
        ('credentials = { A = "x" }', "expected a path such as"),
        ('credentials = { A = "/x/../y" }', 'without ".."'),
        ("credentials = { A = 1 }", "expected a path"),
        ('credentials = { A = { path = "/x", secret = 1 } }', "unknown key"),
        ('credentials = { A = { path = "/x", encrypted = 1 } }', "expected true or false"),
        ('credentials = { A = "/x\\n[Service]" }', ""),
        ("credentials = { A = '/x\\' }", "a backslash"),
        ("credentials = { A = '/x ' }", "a blank"),
    ],
)
def test_mistakes_are_named(lines: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        app(f"{WORKER}{lines}")
    (only,) = caught.value.problems
    assert problem in only
    head = lines.replace('hardening = "strict"\n', "")
    if "only with" in problem:
        with pytest.raises(ConfigError):
            app(WORKER, f"{head}\n{HEAD}")


def test_a_credential_is_encrypted_where_its_directory_says_so() -> None:
    found = app(STRICT).workers[0].credentials
    assert [(each.name, each.encrypted) for each in found] == [("DB", True), ("KEY", False)]
    unit, probe = texts(STRICT)
    for text in (unit, probe):
        assert "\nLoadCredentialEncrypted=DB:/etc/credstore.encrypted/db\n" in text
        assert "\nLoadCredential=KEY:/etc/50%%\n" in text
    head = f'credentials = {{ DB = "/etc/other", MORE = "/etc/more" }}\n{HEAD}'
    merged = app(STRICT, head).workers[0].credentials
    assert {each.name: each.path for each in merged} == {
        "DB": "/etc/credstore.encrypted/db", "MORE": "/etc/more", "KEY": "/etc/50%",
    }  # fmt: skip


def test_a_secret_counts_for_the_fingerprint_and_no_secret_changes_none() -> None:
    def fingerprint(*secrets: tuple[str, str]) -> str:
        code = {"sms": Code("/srv/shop/releases/1", "release 1", secrets=secrets)}
        return rendered(app(STRICT), code=code).workers[0].fingerprint

    # What revisions on disk have, from before there were any.
    plain = rendered(app(WORKER)).workers[0].former
    assert plain == "afbf8f8030205349840919d36bcda01443b21d82af427d4b652ca70fd8707bf8"
    assert len({fingerprint(), fingerprint(("DB", "1")), fingerprint(("DB", "2"))}) == 3


@pytest.mark.parametrize("template", ["worker", "probe"])
def test_an_operators_older_template_does_not_leave_the_worker_open(template: str) -> None:
    name = f"{template}@.service.j2"
    older = re.sub(r"(?s){% if (probe_)?sandbox %}.*?{% elif", "{% if", TEXTS[name])
    code = {"sms": Code("/srv/shop/releases/1", "release 1")}
    render(app(WORKER), SYSTEM, code, TEXTS | {name: older})
    with pytest.raises(ConfigError, match="has no NoNewPrivileges=yes, which unitq"):
        render(app(f'{WORKER}hardening = "standard"'), SYSTEM, code, TEXTS | {name: older})


def test_every_line_says_what_it_keeps_from_and_what_it_breaks() -> None:
    for line in LINES:
        assert line.breaks
        assert line.keeps or line.directive == "SystemCallErrorNumber"
    assert "MemoryDenyWriteExecute" not in {line.directive for line in LINES}
    assert "RemoveIPC" not in {line.directive for line in LINES}


def test_the_page_has_the_table() -> None:
    head, mark, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    if os.environ.get("UNITQ_UPDATE_DOCS"):
        PAGE.write_text(f"{head}{mark}\n{table()}", encoding="utf-8")
        rest = f"\n{table()}"
    assert rest == f"\n{table()}"
    counts = [
        sum(word in line.words and (line.by_user or not user) for line in LINES)
        for user in (False, True)
        for word in (Hardening.STANDARD, Hardening.STRICT)
    ]
    assert "of {} and {} lines {} and {} are left".format(*counts) in head
    assert f"systemd {max(line.since for line in LINES)} or earlier" in head


def test_what_check_says_of_each_word() -> None:
    found = app(f'{WORKER}hardening = "standard"')
    (note,) = exposure_notes(found, {"sms": 4.9}, {Hardening.STRICT: {"sms": 1.8}})
    assert (note.level, note.place) == (Level.NOTE, "workers.sms.hardening")
    assert note.message == '"standard": exposure 4.9 of 10 (systemd-analyze security)'
    assert note.hint == 'hardening = "strict" would make it 1.8'
    (note,) = exposure_notes(found, {"sms": 1.8}, {Hardening.STRICT: {"sms": 1.8}})
    assert note.hint == ""
    # What is the same for several workers is said once.
    three = app("".join(WORKER.replace("sms", name) for name in ("sms", "mail", "other")))
    same, other = exposure_notes(three, {"sms": 8.9, "mail": 8.9, "other": 5.0}, {})
    assert (same.place, other.place) == ("hardening", "workers.other.hardening")
    assert same.message == "not set: exposure 8.9 of 10 (systemd-analyze security): sms, mail"
    # Where systemd-analyze rates no files.
    assert exposure_notes(found, {}, {}) == []
    assert limits_of_user_scope(app(WORKER)) == []
    (note,) = limits_of_user_scope(app(STRICT.replace('user = "www-data"\n', "")))
    assert "`writable` among them" in note.why


def test_what_cannot_work_under_a_word_is_refused() -> None:
    def levels(command: str, *lines: str) -> list[str]:
        text = "\n".join([f"[workers.w]\ncommand = {command!r}", *lines])
        found = [each for each in lint_app(app(text)) if each.place == "workers.w.command"]
        return [str(each.level) for each in found]

    hard, user = 'hardening = "standard"', 'user = "www-data"'
    assert levels("/usr/bin/sudo -u b bin/w", hard, user) == ["error"]
    # Without hardening, too: config/test_wrapper_lint.py.
    assert levels("/usr/bin/sudo -u b bin/w", user) == ["error"]
    assert levels("+bin/w", hard, user) == ["warning"]


def test_a_new_file_is_hardened() -> None:
    found = parse(starter(), source="unitq.toml", presets=PRESETS)
    assert [worker.hardening for worker in found.workers] == [Hardening.STANDARD]


def test_the_sandbox_says_what_it_left_out() -> None:
    found = sandbox(Hardening.STANDARD, user_scope=False, root=True, own={}, leave_out=["X"])
    assert found.left_out == ("CapabilityBoundingSet",)


def table() -> str:
    """The lines of both words, for docs/hardening.md."""
    rows = [
        "| line | keeps a worker from | can break | `--user` |",
        "| --- | --- | --- | --- |",
    ]
    for words, title in (
        ((Hardening.STANDARD, Hardening.STRICT), "**both words**"),
        ((Hardening.STANDARD,), "**`standard`**"),
        ((Hardening.STRICT,), "**`strict`**"),
    ):
        rows.append(f"| {title} | | | |")
        rows += [
            f"| `{line}`{_mark(line)} | {line.keeps} | {line.breaks} | "
            f"{'yes' if line.by_user else ''} |"
            for line in LINES
            if line.words == words
        ]
    return "\n".join(rows) + "\n"


def _mark(line: Line) -> str:
    implies = line.no_new_privileges and line.directive != "NoNewPrivileges"
    return " †" if implies else ""
