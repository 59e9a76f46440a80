"""unitq import: the corpus in corpus/, and the command.

After a deliberate change, UNITQ_UPDATE_GOLDEN=1 python -m pytest with this file; then look at the
diff.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import PRESETS, rendered
from tests.harness.import_corpus import CASES, GOLDEN, OF_SUPERVISOR, file, imported, neutral
from tests.unit.cli.test_cli import Done, unitq
from unitq.config.lint import lint_app
from unitq.config.parse import parse
from unitq.errors import Exit
from unitq.model.app import ROLLOUT, App, KillMode
from unitq.model.finding import Level, WorkerFacts
from unitq.presets.detect import framework_of
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.ini import Ini
from unitq.supervisor.conf.programs import read
from unitq.supervisor.conf.section import Surroundings
from unitq.supervisor.importer import options as conf_options
from unitq.supervisor.importer.draft import uncomment
from unitq.supervisor.importer.options import Fate
from unitq.supervisor.importer.recognise import Looks, Wishes
from unitq.supervisor.importer.translate import translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.model.app import Worker

__all__ = ["unitq"]  # a fixture


def app(case: str, *, user_scope: bool = False) -> App:
    """As it is written; where that is comments only, with the # taken away."""
    found = imported(case, user_scope=user_scope)
    text = found.text if found.report.written else uncomment(found.text)
    return parse(text, source="unitq.toml", presets=PRESETS)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    found = imported(case)
    report = json.dumps(found.report.to_json(), indent=1, ensure_ascii=False) + "\n"
    texts = {
        f"{case}.toml": neutral(found.text, case),
        f"{case}.json": neutral(report, case),
    }
    if os.environ.get("UNITQ_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        for name, text in texts.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
    assert {name: (GOLDEN / name).read_text(encoding="utf-8") for name in texts} == texts


def test_golden_files_are_of_cases_that_there_are() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)
    assert len(CASES) >= 40


@pytest.mark.parametrize("case", CASES)
def test_it_is_a_valid_file_that_renders(case: str) -> None:
    found = app(case)
    units = rendered(found).units
    assert len(units) == 2 + 2 * len(found.workers)
    errors = {one.name for one in lint_app(found, PRESETS) if one.level is Level.ERROR}
    # What only its owner can rewrite or choose; the comment above the worker says how.
    assert errors <= {"pipe", "loop", "elsewhere", "listens"}


@pytest.mark.parametrize("case", CASES)
def test_a_user_s_own_has_no_users_in_it(case: str) -> None:
    found = app(case, user_scope=True)
    assert not [worker.name for worker in found.workers if worker.user]


@pytest.mark.parametrize("case", OF_SUPERVISOR)
def test_every_option_of_every_file_has_its_line(case: str) -> None:
    report = imported(case).report
    path = file(case)
    ini = Ini()
    for source in sorted(path.parent.rglob("*")):
        if source.is_file():
            ini.read(conf_files.read(source), str(source))
    # What the main file does not include is not there.
    told = {part.section: part for part in report.parts}
    files = {path.name, *(part.file.rpartition("/")[2] for part in report.parts)}
    for section, options in ini.sections.items():
        own = [o for o in options.values() if o.file.rpartition("/")[2] in files]
        if not own:
            continue
        # In several groups a program is there several times.
        parts = [part for part in report.parts if part.section == section]
        assert parts, section
        for part in parts:
            missing = {option.name for option in own} - part.options.keys()
            assert not missing, (section, missing)
    assert told


@pytest.mark.parametrize("case", OF_SUPERVISOR)
def test_no_known_option_is_called_unknown(case: str) -> None:
    for part in imported(case).report.parts:
        for option in part.options.values():
            if option.says.startswith("unknown"):
                assert option.option not in (conf_options.options(part.section) or ())


def test_the_report_shows_no_value_of_a_variable() -> None:
    found = imported("environment")
    assert "own value" in found.text
    for text in (found.report.text(), json.dumps(found.report.to_json())):
        assert "own value" not in text
        assert "a,b,c" not in text


def test_the_report_fits_a_terminal_and_says_what_several_share_once() -> None:
    text = imported("quoting").report.text()
    assert all(len(line) <= 100 for line in text.splitlines())
    assert text.count("without killasgroup") == 1
    assert "(quotes, systemd, signs," in " ".join(text.split())


def test_a_framework_gets_its_preset_and_the_report_says_what_changes() -> None:
    found = imported("php-resque")
    (worker, mail, scheduler) = app("php-resque").workers
    assert (worker.preset, worker.stop_signal) == ("php-resque", "SIGQUIT")
    assert worker.command == "php bin/resque"
    assert worker.directory == "/srv/shop/current"
    assert dict(worker.environment)["QUEUE"] == "sms,default"
    assert worker.stop_timeout.seconds == 3600
    assert mail.stop_timeout.seconds == 60  # somebody chose it
    assert scheduler.preset is None
    notes = " ".join(found.report.parts[1].notes)
    assert "Supervisor: SIGTERM to the main process, and 10s for the job; it ended the job" in notes
    assert "now: SIGQUIT to the main process, and 1h for the job" in notes


def test_what_must_not_start_is_not_written() -> None:
    assert [worker.name for worker in app("restarting").workers] == [
        *("always", "codes", "no-codes"),
    ]
    assert "# [workers.never]" in imported("restarting").text
    assert "# [workers.off]" in imported("restarting").text
    assert [worker.name for worker in app("superlance").workers] == ["jobs"]
    assert [worker.name for worker in app("fcgi").workers] == ["logger"]


def test_groups_are_the_beginnings_of_names() -> None:
    assert [worker.name for worker in app("groups").workers] == [
        *("web-front", "web-back", "jobs-mail", "jobs-sms", "jobs-web-hooks", "both-mail"),
        "lone-wolf",
    ]
    # The only group is the app.
    assert app("tornado-ports").name == "tornadoes"


def test_each_app_of_a_host_keeps_its_user_and_directory() -> None:
    found = {worker.name: (worker.user, worker.directory) for worker in app("mixed-users").workers}
    assert found == {
        "blog": ("ann", "/home/ann/blog"),
        "watch": ("root", "/"),
        "shop-mail": ("shop", "/srv/shop/current"),
        "shop-sms": ("shop", "/srv/shop/current"),
    }


@pytest.mark.parametrize("case", CASES)
def test_what_check_warns_of_stands_beside_the_worker(case: str) -> None:
    text = imported(case).text
    told = " ".join(re.findall(r"(?m)^# (.*)$", text))
    for one in lint_app(app(case), PRESETS):
        if one.level is not Level.NOTE:
            key = one.place.split(".", 2)[2]
            assert f"check: {key}: {one.message}" in told


def test_only_what_no_setting_could_avoid_is_warned_of() -> None:
    found = {
        f"{case}: {one.place.split('.', 1)[1]}"
        for case in CASES
        for one in lint_app(app(case), PRESETS)
        if one.level is not Level.NOTE
    }
    below = {f"shells: {name}.command" for name in (
        "redirect", "redirect-no-exec", "variable", "sleep-first", "ulimit",
        "background", "arguments", "trap",
    )}  # fmt: skip
    assert found == below | {
        # Restart= as it was wanted there.
        "docker-php-fpm: nginx.service.Restart",
        "docker-php-fpm: php-fpm.service.Restart",
        "host-name: named.command",  # --here=…
        "java: kafka-consumer.command",  # java -jar
        "laravel-queues: exports.command",  # queue:listen
        "python-queues: dramatiq.stop_timeout",  # somebody's choice
        "rq: rq.command",  # two queues
    }


def one_program(
    command: str, *options: str, heads: dict[str, str] | None = None, directory: str = "/srv/a"
) -> tuple[Worker, str]:
    """The worker, and what the report says of it."""
    text = "\n".join(["[program:w]", f"command={command}", f"directory={directory}", *options])
    around = Surroundings("/etc", "host", {})
    ini = Ini()
    ini.read(text, "x.conf")

    def recognise(line: str, _: str) -> Looks:
        found = framework_of(PRESETS, line, heads or {})
        return Looks(found[0] if found else None, heads or {})

    found = translate(ini, read(ini, around, "x.conf"), Wishes("x.conf"), recognise)
    worker = parse(found.text, source="x", presets=PRESETS).workers[0]
    return worker, " ".join(found.report.text().split())


EXEC = "#!/bin/bash\nexec php bin/resque\n"
STAYS = "#!/bin/bash\nphp bin/resque\n"


@pytest.mark.parametrize(
    ("command", "heads", "main"),
    [
        ("php bin/resque", {}, True),
        ("bash -c 'php bin/resque'", {}, True),
        ("bash -c 'php bin/resque > log'", {}, True),  # with an exec of ours
        ("bash -c 'php bin/resque | tee log'", {}, True),  # without the pipe
        ("bash -c 'php bin/resque; sleep 1'", {}, False),
        ("bash -c 'trap true EXIT; php bin/resque'", {}, False),
        ("bin/start", {"bin/start": STAYS}, False),
        ("bin/start", {"bin/start": EXEC}, True),
        ("bash bin/start", {"bin/start": STAYS}, False),
        ("bash bin/start", {"bin/start": EXEC}, True),
        ("bash -c 'cd /srv/a && bin/start'", {"bin/start": STAYS}, False),
    ],
)
def test_the_report_says_who_gets_the_signal(
    command: str, heads: dict[str, str], main: bool
) -> None:
    worker, report = one_program(command, heads=heads)
    assert worker.preset == "php-resque"
    assert (worker.kill_mode is KillMode.MIXED) is main
    assert ("now: SIGQUIT to the main process" in report) is main
    assert ("now: SIGQUIT to every process" in report) is not main
    assert ("stays the main process" in report) is not main
    assert ("the worker is the main process now" in report) <= main
    found = lint_app(App("x", (worker,), ROLLOUT), PRESETS, {"w": WorkerFacts(heads)})
    assert not [one.name for one in found if one.level is not Level.NOTE]


def test_without_a_framework_a_shell_s_script_counts_too() -> None:
    stays = "#!/bin/bash\n./work\n"
    worker, report = one_program("bin/start", heads={"bin/start": stays})
    assert worker.kill_mode is KillMode.CONTROL_GROUP
    assert "bin/start could not be read here, or is a shell's script that stays above" in " ".join(
        report.split()
    )
    worker, _ = one_program("bin/start", heads={"bin/start": "#!/bin/bash\nexec ./work\n"})
    assert worker.kill_mode is KillMode.MIXED


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/srv/a/bin/work /srv/a/etc", "bin/work /srv/a/etc"),
        ("/srv/a/work", "./work"),
        ("php -d a=b /srv/a/work.php x", "php -d a=b work.php x"),
        ("/srv/a/venv/bin/python /srv/a/manage.py", "venv/bin/python manage.py"),
        ("/srv/ab/work", "/srv/ab/work"),
        ("/srv/a/../b/work", "/srv/a/../b/work"),
        ("/usr/bin/thing --file /srv/a/x", "/usr/bin/thing --file /srv/a/x"),
        ("/srv/a//bin/work", "bin/work"),
    ],
)
def test_what_lies_in_the_directory_is_written_relative_to_it(command: str, expected: str) -> None:
    worker, report = one_program(command)
    assert worker.command == expected
    assert ("relative to `directory`: after a crash" in report) is (command != expected)


def test_a_command_that_a_shell_was_meant_to_read_is_told() -> None:
    worker, report = one_program("bin/a && bin/b")
    assert worker.command == 'bin/a "&&" bin/b'
    assert 'its command has "&&" and no shell' in report


# --- the command ----------------------------------------------------------------------------------

CONF = """\
[supervisord]
[program:sms]
command=/srv/shop/bin/sms %(ENV_WHERE)s
directory=/srv/shop
"""


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("WHERE", raising=False)
    path = tmp_path / "supervisord.conf"
    path.write_text(CONF)
    path.chmod(0o644)
    return path


def test_toml_goes_to_stdout_and_the_report_to_stderr(
    unitq: Callable[..., Done], conf: Path
) -> None:
    done = unitq("import", str(conf), "--env", "WHERE=here")
    assert done.code == Exit.OK
    assert parse(done.stdout, source="x").workers[0].command == "bin/sms here"
    assert "app shop, 1 worker. To decide" in " ".join(done.stderr.split())
    assert "[program:sms]: worker sms" not in done.stderr
    explained = unitq("import", str(conf), "--env", "WHERE=here", "--explain")
    assert explained.stdout == done.stdout
    assert "[program:sms]: worker sms" in explained.stderr
    # Without a name it takes what supervisord would.
    again = unitq("import", "--env", "WHERE=here", "-a", "other")
    assert parse(again.stdout, source="x").name == "other"


def test_a_missing_variable_is_said_with_its_place(unitq: Callable[..., Done], conf: Path) -> None:
    done = unitq("import", str(conf))
    assert done.code == Exit.USAGE
    assert "[program:sms] command: %(ENV_WHERE)s: WHERE is not in the environment" in done.stderr
    assert "--env WHERE=" in done.stderr
    assert not done.stdout


def test_output_is_not_overwritten_and_may_hold_secrets(
    unitq: Callable[..., Done], conf: Path, tmp_path: Path
) -> None:
    target = tmp_path / "unitq.toml"
    command = ("import", str(conf), "--env", "WHERE=s3cret", "-o", str(target))
    done = unitq(*command)
    assert done.code == Exit.OK
    assert "app shop, 1 worker" in done.stdout
    assert "s3cret" not in done.stdout
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_text()
    target.write_text("mine")
    refused = unitq(*command)
    assert (refused.code, target.read_text()) == (Exit.USAGE, "mine")
    assert "--force" in refused.stderr
    assert unitq(*command, "--force").code == Exit.OK
    assert target.read_text() == before


@pytest.mark.parametrize(("mode", "expected"), [(0o644, 0o644), (0o600, 0o600)])
def test_output_is_as_secret_as_what_it_comes_from(
    unitq: Callable[..., Done], conf: Path, tmp_path: Path, mode: int, expected: int
) -> None:
    conf.write_text(CONF.replace("%(ENV_WHERE)s", "here"))
    conf.chmod(mode)
    assert unitq("import", str(conf), "-o", "new.toml").code == Exit.OK
    assert stat.S_IMODE((tmp_path / "new.toml").stat().st_mode) == expected


def test_what_is_included_may_be_the_secret(
    unitq: Callable[..., Done], conf: Path, tmp_path: Path
) -> None:
    conf.write_text(f"{CONF.replace('%(ENV_WHERE)s', 'x')}[include]\nfiles=more.ini\n")
    more = tmp_path / "more.ini"
    more.write_text("[program:b]\ncommand=/bin/b\n")
    more.chmod(0o600)
    assert unitq("import", str(conf), "-o", "new.toml").code == Exit.OK
    assert stat.S_IMODE((tmp_path / "new.toml").stat().st_mode) == 0o600


def test_nothing_in_a_file_is_an_order_to_a_terminal(
    unitq: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = "\x1b[31m"
    path = tmp_path / f"a\nb{red}.conf"
    path.write_text(
        f"[program:a{red}]\ncommand=/bin/a\n{red}=1\nenvironment={red}A=1\n[x{red}]\ny{red}=1\n"
    )
    shown = unitq("import", str(path))
    assert "\x1b" not in shown.stdout + shown.stderr
    path.write_text(f"[program:a]\ncommand=/bin/a\nenvironment=A='1',{red}B='2'\nnew{red}=1\n")
    shown = unitq("import", str(path))
    assert "\x1b" not in shown.stdout + shown.stderr
    path.write_text("[program:a]\ncommand=/bin/a %(ENV_ODD)s\n")
    monkeypatch.setenv("ODD", "\udcff")
    assert "ODD is not in the environment" in unitq("import", str(path)).stderr
    path.write_text("[program:a]\ncommand=/bin/a\n")
    assert unitq("import", str(path), "--directory", "/srv/\udcff").code == Exit.OK
    path.write_text("[program:a]\ncommand=/bin/a %(here)s\ndirectory=%(here)s\n")
    odd = tmp_path / "\udcff"
    odd.mkdir()
    path.rename(odd / "x.conf")
    shown = unitq("import", str(odd / "x.conf"))
    assert "no program that could be a worker" in shown.stderr
    (odd / "x.conf").write_text("[program:a]\ncommand=/bin/a\n[include]\nfiles=x.conf\n")
    assert unitq("import", str(odd / "x.conf"), "--json").code == Exit.OK


def test_json(unitq: Callable[..., Done], conf: Path) -> None:
    done = unitq("import", str(conf), "--env", "WHERE=here", "--json")
    document = json.loads(done.stdout)
    assert not done.stderr
    assert parse(document["unitq_toml"], source="x").name == document["app"]
    (daemon, program) = document["sections"]
    assert (program["section"], program["workers"]) == ("program:sms", ["sms"])
    fates = {one["option"]: one["fate"] for one in program["options"]}
    assert (fates["command"], fates["directory"]) == (Fate.SAME, Fate.SAME)
    assert document["same"] == 2
    assert daemon["section"] == "supervisord"


def test_check_compares_with_what_is_there(
    unitq: Callable[..., Done], conf: Path, tmp_path: Path
) -> None:
    base = ("import", str(conf), "--env", "WHERE=here")
    assert unitq(*base, "-o", "unitq.toml").code == Exit.OK
    done = unitq(*base, "--check")
    assert (done.code, done.stdout) == (Exit.OK, "unitq.toml says the same\n")
    text = (tmp_path / "unitq.toml").read_text()
    (tmp_path / "unitq.toml").write_text(
        text.replace("10s", "99s") + '[workers.more]\ncommand = "/bin/true"\n'
        '[workers.sms.environment]\nTOKEN = "s3cret"\n'
    )
    done = unitq(*base, "--check")
    assert done.code == Exit.NOT_AS_WANTED
    assert done.stdout.splitlines() == [
        "workers.sms.stop_timeout: 99s, and the import has 10s",
        "workers.sms.environment.TOKEN: is not in the import",
        "workers.more: Supervisor has no such program",
    ]
    document = json.loads(unitq(*base, "--check", "--json").stdout)
    assert (document["exit_code"], len(document["differences"])) == (3, 3)
    assert unitq(*base, "--check", "-o", "x").code == Exit.USAGE


def test_a_procfile_with_a_formation(unitq: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web: bin/web -p $PORT\nworker: rq worker\n")
    done = unitq("import", "Procfile", "--formation", "worker=4,web=2")
    assert done.code == Exit.OK
    web, worker = parse(done.stdout, source="x", presets=PRESETS).workers
    assert (web.instances, worker.instances, worker.preset) == (2, 4, "rq")
    assert web.command == (
        '/bin/sh -c "export PORT=$$((4999 + UNITQ_INSTANCE)); exec bin/web -p $$PORT"'
    )
    assert unitq("import", "Procfile", "--formation", "none=4").code == Exit.USAGE
    assert unitq("import", "Procfile", "--formation", "web").code == Exit.USAGE
    assert unitq("import", "Procfile", "-a", "a/b").code == Exit.USAGE


def test_bad_files_are_errors_with_a_place(unitq: Callable[..., Done], tmp_path: Path) -> None:
    cases = {
        "no such file": ("gone.conf", None),
        "(it has lines before any [section]) nor a Procfile": ("a.conf", "command=x\n"),
        "line 1: stands before any [section]": ("a2.conf", "command=x\n[program:x]\n"),
        "line 2: neither a [section] nor an option": ("b.conf", "[program:a]\nrubbish\n"),
        "not UTF-8": ("c.conf", b"[program:a]\ncommand=\xff\n"),
        "[program:a] command: missing": ("d.conf", "[program:a]\n"),
        "[program:a] numprocs: expected a whole number": (
            "e.conf",
            "[program:a]\ncommand=x\nnumprocs=many\n",
        ),
        "[include] files: missing": ("f.conf", "[include]\n"),
        "there is no program that could be a worker": ("g.conf", "[supervisord]\n"),
        "[group:g] programs: gone is not there": ("h.conf", "[group:g]\nprograms=gone\n"),
    }
    for message, (name, content) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        done = unitq("import", name)
        assert done.code == Exit.USAGE, name
        assert message.lower() in done.stderr.lower(), name
        assert not done.stdout
    assert unitq("import", "/dev/zero").code == Exit.USAGE
    assert unitq("import", ".").code == Exit.USAGE
    assert unitq("import", "a\0b").code == Exit.USAGE
    # All at once.
    (tmp_path / "many.conf").write_text("[program:a]\ncommand=%(x)s\npriority=p\nuser=%y\n")
    assert unitq("import", "many.conf").stderr.count("[program:a]") == 3


PASSWD = "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534:sync:/bin:/bin/sync\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("passwd", PASSWD),
        ("notes.txt", "Dear all,\nnote: this is prose.\n"),
        ("docker-compose.yml", "version: 3\nname: shop\n"),
        ("Procfile", "nothing of the kind\n"),
        ("Procfile.dev", "web = bin/web\n"),
    ],
)
def test_what_is_no_procfile_is_refused(
    unitq: Callable[..., Done], tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    for more in ((), ("--json",), ("-o", "new.toml")):
        done = unitq("import", name, *more)
        assert done.code == Exit.USAGE
        assert ("error" in json.loads(done.stdout)) if "--json" in more else not done.stdout
        assert f"{name}: " in done.stderr
        assert "NAME: COMMAND" in done.stderr
        assert "`worker: bin/worker`" in done.stderr
    assert not (tmp_path / "new.toml").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Procfile", "web:bin/web\nrubbish that foreman ignores\n"),
        ("Procfile.dev", "web:   bin/web\n"),
        ("shop.procfile", "# the web\nweb:bin/web\n"),
        ("processes", "# the web\nweb: bin/web\n\nmail:\tbin/mail\n"),
    ],
)
def test_what_is_a_procfile_is_read(
    unitq: Callable[..., Done], tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    done = unitq("import", name)
    assert done.code == Exit.OK
    assert parse(done.stdout, source="x").workers[0].command == "bin/web"


def test_a_command_that_is_cut_off_is_told(unitq: Callable[..., Done], tmp_path: Path) -> None:
    report = imported("comments").report
    (part,) = [part for part in report.parts if part.section == "program:b"]
    assert not part.workers
    assert part.options["command"].fate is Fate.LEFT
    assert "no closing quotation" in part.options["command"].says
    assert '" ;" and " #" for the beginning of a comment' in part.options["command"].says


# --- the page -------------------------------------------------------------------------------------


def test_supervisors_own_sample_has_no_option_that_we_do_not_know() -> None:
    from supervisor import options as theirs

    sample = (Path(theirs.__file__).parent / "skel" / "sample.conf").read_text("utf-8")
    section, seen = "", 0
    for line in sample.splitlines():
        if header := re.match(r";?\[([a-z_-]+(?::[a-z]+)?)\]", line):
            section = header[1]
        elif option := re.match(r";?([a-z_.]+) ?=", line):
            assert option[1] in (conf_options.options(section) or ()), (section, option[1])
            seen += 1
    assert seen > 90


def test_both_the_sample_and_the_page_are_of_options_that_supervisor_reads() -> None:
    from supervisor import options as theirs

    source = Path(theirs.__file__).read_text("utf-8")
    computed = {"stdout_logfile", "stderr_logfile"}
    computed |= {f"{s}_{e}" for s in ("stdout", "stderr") for e in ("syslog", "logfile_maxbytes")}
    computed |= {"stdout_logfile_backups", "stderr_logfile_backups"}
    for option in (
        *conf_options.PROGRAM,
        *conf_options.FCGI,
        *conf_options.LISTENER,
        *conf_options.GROUP,
        *conf_options.DAEMON,
    ):
        if option not in computed | {"profile_options"}:
            assert f"'{option}'" in source, option
