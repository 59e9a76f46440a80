"""The command line itself: help, usage errors, and what needs no systemd."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click
import jsonschema
import pytest

from tests.harness import build
from tests.harness.build import PRESETS
from unitq import __version__
from unitq.cli.main import cli, main
from unitq.config.parse import parse
from unitq.context import chosen
from unitq.errors import Exit, NoMatchError
from unitq.model import layout
from unitq.model.names import InstanceName

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = tuple(cli.list_commands(click.Context(cli)))

TOML = """\
app = "shop"
directory = "/srv/shop/current"
[workers.sms]
command = "/usr/bin/php bin/resque"
"""


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def unitq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs a command in an empty directory, as the entry point does."""
    monkeypatch.chdir(tmp_path)
    for name in ("UNITQ_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "SHELL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TERM", "dumb")
    # Not this machine's own.
    elsewhere = layout.system()._replace(config_dir=PurePosixPath(tmp_path / "etc"))
    monkeypatch.setattr(layout, "system", lambda: elsewhere)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in shown.err
        assert "internal error" not in shown.err
        return Done(ended.value.code, shown.out, shown.err)

    return run


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_shows_every_command_and_the_first_steps(
    unitq: Callable[..., Done], option: str
) -> None:
    done = unitq(option)
    assert done.code == 0
    for name in COMMANDS:
        assert re.search(rf"(?m)^  {name} +[A-Z].*\.$", done.stdout), name
    assert "unitq deploy" in done.stdout


def test_without_a_command_help_is_shown_and_it_is_a_usage_error(
    unitq: Callable[..., Done],
) -> None:
    done = unitq()
    assert done.code == Exit.USAGE
    assert "Every day:" in done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example_that_is_one(
    unitq: Callable[..., Done], name: str
) -> None:
    done = unitq(name, "--help")
    assert done.code == 0
    assert done.stdout.startswith(f"Usage: unitq {name}")
    assert "Example" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    lines = re.findall(r"(?m)^ +unitq (.*)$", done.stdout)
    assert lines, "no example"
    assert any(name in line.split() for line in lines)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} is not explained"
            for option in parameter.opts:
                assert option in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_a_command_line_that_parses(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for line in re.findall(r"(?m)^ *(unitq .*)$", command.epilog or ""):
        words = _words(line)[1:]
        with cli.make_context("unitq", words, resilient_parsing=False) as context:
            found, sub, rest = cli.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            assert found == name
            assert sub is not None
            sub.make_context(found, list(rest), parent=context)


def _words(line: str) -> list[str]:
    import shlex

    # Behind two blanks stands what it does; behind "|" or ">" what becomes of the output.
    line = re.split(r"  +|\s[|>]\s", line, maxsplit=1)[0]
    return shlex.split(line)


@pytest.mark.parametrize("name", ["deploy", "restart", "stop", "start", "scale", "remove"])
def test_what_waits_can_be_told_for_how_long(unitq: Callable[..., Done], name: str) -> None:
    assert "--timeout" in unitq(name, "--help").stdout


def test_version(unitq: Callable[..., Done]) -> None:
    done = unitq("--version")
    assert (done.code, done.stdout) == (0, f"unitq {__version__}\n")


# --- usage errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("deplyo", "deploy"), ("staus", "status"), ("re-start", "restart"), ("log", "logs")],
)
def test_an_unknown_command_gets_a_suggestion(
    unitq: Callable[..., Done], typed: str, meant: str
) -> None:
    done = unitq(typed)
    assert done.code == Exit.USAGE
    assert f"'{typed}'" in done.stderr
    assert f"Did you mean '{meant}'?" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reload"], "No such command 'reload'"),
        (["xyzzy"], "No such command 'xyzzy'"),
        (["deploy", "--dryrun"], "--dry-run"),
        (["deploy", "sms"], "(sms). `deploy` takes the whole app: `unitq restart sms` restarts"),
        (["plan", "sms@3"], "`plan` takes the whole app: `unitq restart sms@3` restarts"),
        (["deploy", "sms=4"], "`unitq scale sms=4` changes"),
        (["check", "shop.toml"], "`-c shop.toml` names its file"),
        (["schema", "sms"], "unexpected extra argument"),
        (["deploy", "--max-unavailable"], "requires an argument"),
        (["restart", "--max-unavailable", "0"], 'got "0"'),
        (["deploy", "--max-unavailable", "-1"], 'got "-1"'),
        (["deploy", "--max-unavailable", "101%"], 'got "101%"'),
        (["deploy", "--max-unavailable", "0%"], 'got "0%"'),
        (["deploy", "--max-unavailable", "1.5"], 'got "1.5"'),
        (["deploy", "--max-unavailable", "٣"], 'got "٣"'),
        (["deploy", "--max-unavailable", "9" * 5000], "got"),
        (["deploy", "--timeout", "soon"], "time span"),
        (["deploy", "--timeout", "-5s"], "time span"),
        (["deploy", "--timeout", ""], "time span"),
        (["scale"], "WORKER=COUNT"),
        (["signal"], "SIGNAL"),
        (["signal", "NOPE"], "no signal NOPE"),
        (["signal", "99"], "no signal 99"),
        (["signal", "9" * 5000], "no signal 999"),
        (["logs", "-n", "many"], "not a valid integer"),
        (["logs", "-n", "-1"], "x>=0"),
        (["completion", "tcsh"], "'tcsh'"),
        (["-c"], "requires an argument"),
        (["status", "--jsn"], "--json"),
    ],
)
def test_usage_errors(unitq: Callable[..., Done], arguments: list[str], said: str) -> None:
    done = unitq(*arguments)
    assert done.code == Exit.USAGE
    assert said in done.stderr
    assert not done.stdout
    assert done.stderr.startswith(("Usage: unitq", "Error: ", "unitq: "))
    assert len(done.stderr.splitlines()) < 12


@pytest.mark.parametrize(
    ("target", "counts", "hint"),
    [
        ("sms@9", {"sms": (1, 2, 3, 4)}, "sms has 4 instances: sms@1 to sms@4"),
        ("sms@0", {"sms": (1,)}, "sms has one instance: sms@1"),
        ("sms@2", {"sms": (1, 3)}, "sms has 2 instances: sms@1, sms@3"),
        ("sms@x", {"sms": tuple(range(2, 20))}, "sms@11 and 8 more"),
        ("smss", {"sms": (1,)}, "did you mean sms? workers: sms; a target is sms, sms@3, or"),
        ("smss@1", {"sms": (1,)}, "did you mean sms? workers: sms;"),
        ("queue", {"sms": (1,)}, "workers: sms; a target is"),
    ],
)
def test_a_target_that_names_nothing_is_told_what_there_is(
    target: str, counts: dict[str, tuple[int, ...]], hint: str
) -> None:
    known = [InstanceName(worker, n) for worker, numbers in counts.items() for n in numbers]
    with pytest.raises(NoMatchError) as raised:
        chosen(build.revision(build.app()), [target], known)
    assert raised.value.message == f"no worker or instance of shop matches {target}"
    assert hint in raised.value.hint


# --- the configuration file that is meant ---------------------------------------------------------


def test_no_file_at_all_says_where_it_looked(unitq: Callable[..., Done]) -> None:
    done = unitq("--user", "render")
    assert done.code == Exit.USAGE
    assert "./unitq.toml" in done.stderr
    assert "/home/.config/unitq/*.toml" in done.stderr
    assert "unitq init" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "other.toml", "render"],
        ["render", "-c", "other.toml"],
        ["render", "--config=other.toml"],
        ["-c", "nosuch.toml", "render", "-c", "other.toml"],
    ],
)
def test_options_stand_before_or_after_the_verb(
    unitq: Callable[..., Done], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "other.toml").write_text(TOML)
    done = unitq(*arguments)
    assert done.code == 0
    assert "# /etc/systemd/system/unitq-shop-sms@.service\n" in done.stdout


@pytest.mark.parametrize("arguments", [["--user", "render"], ["render", "--user"]])
def test_user_scope_before_or_after_the_verb(
    unitq: Callable[..., Done], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "unitq.toml").write_text(TOML)
    done = unitq(*arguments)
    assert done.code == 0
    assert f"# {tmp_path}/home/.config/systemd/user/unitq-shop.target\n" in done.stdout


def test_the_environment_names_a_file_and_the_option_wins(
    unitq: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / f"{name}.toml").write_text(TOML.replace("shop", name))
    (tmp_path / "unitq.toml").write_text(TOML)
    assert "unitq-shop.target" in unitq("render").stdout
    monkeypatch.setenv("UNITQ_CONFIG", "here.toml")
    assert "unitq-here.target" in unitq("render").stdout
    assert "unitq-there.target" in unitq("-c", "there.toml", "render").stdout


def test_several_files_are_told_apart_by_the_app(
    unitq: Callable[..., Done], tmp_path: Path
) -> None:
    folder = tmp_path / "home/.config/unitq"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.toml").write_text(TOML.replace("shop", name))
    (folder / "broken.toml").write_text("app = ")
    done = unitq("--user", "render")
    assert done.code == Exit.USAGE
    assert "several configuration files" in done.stderr
    assert "-a APP" in done.stderr
    assert "unitq-two.target" in unitq("--user", "-a", "two", "render").stdout
    assert "unitq-one.target" in unitq("render", "--user", "-a", "one").stdout
    done = unitq("--user", "-a", "three", "render")
    assert done.code == Exit.USAGE
    assert "three" in done.stderr
    assert "there is one for broken, one, two" in done.stderr


def test_a_file_that_is_no_toml_is_not_said_to_be_missing(
    unitq: Callable[..., Done], tmp_path: Path
) -> None:
    folder = tmp_path / "home/.config/unitq"
    folder.mkdir(parents=True)
    (folder / "shop.toml").write_text("app = shop")
    (folder / "other.toml").write_text(TOML.replace("shop", "other"))
    done = unitq("--user", "-a", "shop", "render")
    assert done.code == Exit.USAGE
    assert "no configuration file" not in done.stderr
    assert f"{folder}/shop.toml" in done.stderr


def test_two_files_for_one_app_are_not_told_apart_by_it(
    unitq: Callable[..., Done], tmp_path: Path
) -> None:
    folder = tmp_path / "home/.config/unitq"
    folder.mkdir(parents=True)
    for name in ("shop", "copy"):
        (folder / f"{name}.toml").write_text(TOML)
    done = unitq("--user", "-a", "shop", "render")
    assert done.code == Exit.USAGE
    assert f"several configuration files for app shop: {folder}/copy.toml" in done.stderr
    assert "-a APP" not in done.stderr


def test_a_missing_file_says_how_to_write_it(unitq: Callable[..., Done]) -> None:
    done = unitq("-c", "no such.toml", "check")
    assert done.code == Exit.USAGE
    assert "`unitq -c 'no such.toml' init`" in done.stderr


def test_a_file_about_another_app_than_asked_for(
    unitq: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "other.toml").write_text(TOML)
    done = unitq("-c", "other.toml", "-a", "mail", "render")
    assert done.code == Exit.NO_MATCH
    assert "is about app shop, not mail" in done.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b'app = "\xff"'), "not UTF-8"),
        (lambda path: path.write_bytes(b"# " + b"x" * (5 << 20)), "larger than 4 MiB"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.write_text("app = \n"), "line 1"),
        (lambda path: path.write_text(""), "missing"),
        (lambda path: path.write_text("[" * 100_000), "mistake"),
    ],
)
def test_what_is_no_configuration_file_is_told_in_words(
    unitq: Callable[..., Done], tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path / "x.toml")
    done = unitq("-c", "x.toml", "render")
    assert done.code == Exit.USAGE
    assert said in done.stderr
    assert "x.toml" in done.stderr
    assert not done.stdout


def test_all_mistakes_at_once_each_with_its_place(
    unitq: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "unitq.toml").write_text(
        TOML + 'stop_timeout = "10 minuts"\ninstnaces = 3\n[workers."../x"]\ncommand = ""\n'
    )
    done = unitq("render")
    assert done.code == Exit.USAGE
    assert "unitq: unitq.toml: 4 mistakes" in done.stderr
    for said in (
        "  workers.sms.stop_timeout: ",
        '  workers.sms.instnaces: unknown key, did you mean "instances"?',
        '  workers."../x": ',
        '  workers."../x".command: ',
    ):
        assert said in done.stderr


# --- init, render, schema, completion -------------------------------------------------------------


def test_init_writes_a_file_that_is_valid_as_it_stands(
    unitq: Callable[..., Done], tmp_path: Path
) -> None:
    done = unitq("init", "--app", "shop")
    assert done.code == 0
    written = tmp_path / "etc/shop.toml"
    assert f"wrote {written}: edit it, then `unitq -a shop check`" in done.stdout
    text = written.read_text()
    assert parse(text, source="x", presets=PRESETS).name == "shop"
    assert tomllib.loads(text)["directory"] == str(tmp_path)
    jsonschema.validate(tomllib.loads(text), json.loads(unitq("schema").stdout))
    assert unitq("-a", "shop", "render").code == 0
    # What is there is not replaced by accident.
    written.write_text(TOML)
    again = unitq("init", "-a", "shop")
    assert again.code == Exit.USAGE
    assert "--force" in again.stderr
    assert written.read_text() == TOML
    assert unitq("init", "-a", "shop", "--force").code == 0
    assert written.read_text() != TOML
    # For one's own systemd it stays where the code is.
    assert unitq("--user", "init").code == 0
    assert (tmp_path / "unitq.toml").exists()


def test_init_finds_the_link_to_the_release(
    unitq: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "releases" / "1")
    written = tmp_path / "etc/shop.toml"
    assert unitq("init", "-a", "shop").code == 0  # it leads nowhere
    assert tomllib.loads(written.read_text())["directory"] == str(tmp_path)
    (tmp_path / "releases" / "1").mkdir(parents=True)
    assert unitq("init", "-a", "shop", "--force").code == 0
    assert tomllib.loads(written.read_text())["directory"] == str(link)
    # Who has followed the link stands in the release: that is not what is meant.
    monkeypatch.chdir(link)
    assert unitq("init", "-a", "shop", "--force").code == 0
    assert tomllib.loads(written.read_text())["directory"] == str(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another account")
def test_init_takes_nobody_elses_link(
    unitq: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (tmp_path / "current").symlink_to(code)
    os.chown(tmp_path / "current", 4711, 4711, follow_symlinks=False)
    monkeypatch.chdir(code)
    assert unitq("init", "-a", "shop").code == 0
    written = tmp_path / "etc/shop.toml"
    assert tomllib.loads(written.read_text())["directory"] == str(code)


def test_init_makes_a_name_of_the_directorys(
    unitq: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, app in (("my shop", "my-shop"), ("é", "app"), ("-x-", "x"), ("a" * 100, None)):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        done = unitq("init")
        if app is None:
            assert done.code == Exit.USAGE
            assert "not a name for an app" in done.stderr
        else:
            assert done.code == 0
            text = (tmp_path / f"etc/{app}.toml").read_text()
            assert parse(text, source="x", presets=PRESETS).name == app


@pytest.mark.parametrize("name", list(PRESETS))
def test_init_for_a_framework_writes_a_file_that_check_has_nothing_against(
    unitq: Callable[..., Done], tmp_path: Path, name: str
) -> None:
    assert unitq("init", "--app", "shop", "--preset", name).code == 0
    (worker,) = parse((tmp_path / "etc/shop.toml").read_text(), source="x", presets=PRESETS).workers
    preset = PRESETS[name]
    assert worker.preset == name
    assert worker.stop_signal == preset.stop.signal
    assert worker.stop_timeout == preset.stop.timeout
    assert bool(worker.queues) == bool(preset.queues.variable or preset.queues.by_arguments)
    assert unitq("-a", "shop", "render").code == 0


@pytest.mark.parametrize("name", list(PRESETS))
def test_what_init_shows_behind_a_sign_is_what_holds(
    unitq: Callable[..., Done], tmp_path: Path, name: str
) -> None:
    assert unitq("init", "--app", "shop", "--preset", name).code == 0
    text = (tmp_path / "etc/shop.toml").read_text()
    (worker,) = parse(text, source="x", presets=PRESETS).workers
    keys = "stop_signal|stop_timeout|kill_mode|restart_delay|on_killed"
    said, count = re.subn(rf"(?m)^#(?=({keys}) = )", "", text)
    assert count == 5
    (same,) = parse(said, source="x", presets=PRESETS).workers
    # Only the reason that the unit gives is another: it is the user's choice then.
    assert replace(same, from_preset=worker.from_preset) == worker


def test_init_writes_plain_words(unitq: Callable[..., Done], tmp_path: Path) -> None:
    assert unitq("init", "--app", "shop", "--preset", "celery").code == 0
    lines = (tmp_path / "etc/shop.toml").read_text().splitlines()
    for line in lines:
        assert "`" not in line
        assert "](" not in line
    words = " ".join(line.removeprefix("# ") for line in lines)
    assert "See docs/frameworks.md." in words
    assert '"unitq ctl": docs/leaving-supervisor.md' in words
    assert '"release" is the directory that "directory" leads to' in words
    assert '"5/1min" is five times' in words
    assert "php-resque, resque and node-resque" in words


def test_init_for_an_unknown_framework(unitq: Callable[..., Done], tmp_path: Path) -> None:
    done = unitq("init", "--preset", "celry")
    assert done.code == Exit.NO_MATCH
    assert "did you mean celery?" in done.stderr
    assert not (tmp_path / "unitq.toml").exists()


def test_presets_are_listed(unitq: Callable[..., Done]) -> None:
    done = unitq("presets")
    assert done.code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", *PRESETS]
    assert next(line for line in lines if line.startswith("sidekiq")).split() == [
        "sidekiq", "Sidekiq", "SIGTERM", "mixed", "35s", "SIGTSTP", "yes",
    ]  # fmt: skip
    rows = json.loads(unitq("presets", "--json").stdout)["presets"]
    assert [row["name"] for row in rows] == list(PRESETS)
    assert not any(row["own"] for row in rows)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_is_shown_with_every_fact_and_its_source(
    unitq: Callable[..., Done], name: str
) -> None:
    done = unitq("presets", name)
    assert done.code == 0
    told = " ".join(done.stdout.split())
    preset = PRESETS[name]
    for fact in preset.facts:
        assert " ".join(fact.says.split()) in told
        assert f"[{fact.basis}" in told
        assert fact.source in told
    for _, does in preset.signals:
        assert does in told
    document = json.loads(unitq("presets", name, "--json").stdout)["preset"]
    assert [fact["says"] for fact in document["facts"]] == [fact.says for fact in preset.facts]


def test_an_operators_own_presets_are_listed_first(
    unitq: Callable[..., Done], tmp_path: Path
) -> None:
    folder = tmp_path / "home/.config/unitq/presets"
    folder.mkdir(parents=True)
    (folder / "acme.toml").write_text('title = "Acme"\n[stop]\nsignal = "SIGUSR1"\n')
    assert unitq("--user", "presets").stdout.splitlines()[1].split()[:3] == [
        "acme", "Acme", "SIGUSR1",
    ]  # fmt: skip
    assert "(an operator's own)" in unitq("--user", "presets", "acme").stdout
    assert unitq("presets", "acme").code == Exit.NO_MATCH
    (folder / "acme.toml").write_text("title = 5")
    bad = unitq("--user", "presets")
    assert bad.code == Exit.USAGE
    assert "acme.toml: 2 mistakes" in bad.stderr


def test_init_into_a_folder_that_is_not_there(unitq: Callable[..., Done], tmp_path: Path) -> None:
    done = unitq("init", "-c", "no/such/unitq.toml")
    assert done.code == Exit.PREFLIGHT
    assert "No such file or directory" in done.stderr
    assert not (tmp_path / "no").exists()


def test_render_writes_one_file_each(unitq: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "unitq.toml").write_text(TOML)
    done = unitq("render", "--output", "units")
    assert done.code == 0
    names = sorted(path.name for path in (tmp_path / "units").iterdir())
    assert names == [
        "unitq-shop-sms.slice",
        "unitq-shop-sms@.service",
        "unitq-shop.slice",
        "unitq-shop.target",
    ]
    assert sorted(done.stdout.split()) == [f"units/{name}" for name in names]


def test_render_uses_an_operators_own_template(unitq: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "unitq.toml").write_text(TOML)
    folder = tmp_path / "home/.config/unitq/units"
    folder.mkdir(parents=True)
    (folder / "app.target.j2").write_text("# mine: {{ app }}\n")
    assert "# mine: shop\n" in unitq("render", "--user").stdout
    (folder / "app.target.j2").write_text("{{ appp }}\n")
    done = unitq("render", "--user")
    assert done.code == Exit.USAGE
    assert "app.target.j2" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(unitq: Callable[..., Done], shell: str) -> None:
    done = unitq("completion", shell)
    assert done.code == 0
    assert f"_UNITQ_COMPLETE={shell}_complete" in done.stdout


def test_completion_is_for_the_shell_in_use(
    unitq: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert "zsh_complete" in unitq("completion").stdout
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    done = unitq("completion")
    assert done.code == Exit.USAGE
    assert "bash, zsh, fish" in done.stderr


# --- what needs systemd, where there is none ------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["status"], ["start"], ["stop"], ["restart"], ["scale", "sms=2"], ["logs"],
                  ["signal", "HUP"], ["remove", "--yes"]],
)  # fmt: skip
def test_nothing_installed_is_a_no_match(unitq: Callable[..., Done], arguments: list[str]) -> None:
    done = unitq("--user", *arguments)
    assert done.code == Exit.NO_MATCH
    assert "no app is installed here" in done.stderr
    done = unitq("--user", "-a", "shop", *arguments)
    assert done.code == Exit.NO_MATCH
    assert "no app shop is installed here" in done.stderr


@pytest.mark.parametrize("name", ["../x", "/etc", "a b", "", "x" * 300, "a\nb"])
def test_an_app_name_on_the_command_line_leads_nowhere(
    unitq: Callable[..., Done], name: str
) -> None:
    done = unitq("--user", "-a", name, "status")
    assert done.code in (Exit.NO_MATCH, Exit.USAGE)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_take_the_completion_script(
    unitq: Callable[..., Done], shell: str, tmp_path: Path
) -> None:
    script = tmp_path / "unitq"
    script.write_text(unitq("completion", shell).stdout)
    done = subprocess.run([shell, "-n", script], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_fish_really_completes(unitq: Callable[..., Done], tmp_path: Path) -> None:
    script = tmp_path / "unitq.fish"
    script.write_text(unitq("completion", "fish").stdout)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["fish", "-c", f"source {script}; complete -C 'unitq dep'"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PATH": path, "HOME": str(tmp_path)},
    )
    assert done.stdout.startswith("deploy"), done
