"""The file behind an interpreter: found where a command line tells it, and only there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import HEAD, app
from unitq.cmdline.script_file import script_file
from unitq.model.finding import Level
from unitq.rollout.checks import preflight
from unitq.units.render import Code

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("/usr/bin/php bin/work", "bin/work"),
        ("-/usr/bin/php8.2 -q -d memory_limit=1G -dx=y artisan queue:work", "artisan"),
        ("php -n -c etc -f artisan", "artisan"),
        ("venv/bin/python -uB -W ignore -Xdev manage.py rqworker", "manage.py"),
        ("python3.11 /srv/work.py", "/srv/work.py"),
        ("python -X utf8 -W error manage.py", "manage.py"),
        ("ruby -W0 -I lib -rset --yjit bin/work", "bin/work"),
        ("nodejs --max-old-space-size=512 --require dotenv/config dist/work.js", "dist/work.js"),
        ("perl -w -Ilib -MPOSIX work.pl", "work.pl"),
        ("bash -eu -o pipefail bin/run", "bin/run"),
        ("/usr/bin/env -u A B=1 php artisan", "artisan"),
        ("nice -n 5 nohup php artisan", "artisan"),
        ("bundle exec ruby bin/work", "bin/work"),
        ("env -S 'A=1 php artisan'", "artisan"),
        ("chrt -r 10 taskset -c 0 python work.py", "work.py"),
        ("rbenv exec ruby bin/work", "bin/work"),
        ("direnv exec . python work.py", "work.py"),
        ("bash -c 'exec php artisan'", "artisan"),
        ("sh -c 'cd /srv/shop && exec php artisan'", "/srv/shop/artisan"),
        ("sh -c 'cd app && A=1 php artisan'", "./app/artisan"),
        ('php "two words.php"', "two words.php"),
    ],
)
def test_it_is_told(command: str, path: str) -> None:
    found = script_file(command)
    assert found is not None
    assert found.paths[0] == path


@pytest.mark.parametrize(
    "command",
    [
        "/bin/worker",
        "bin/worker x.php",
        "php",
        "php -",
        "php -r 'echo 1;'",
        "php -S 127.0.0.1:80 router.php",
        "php --unknown value x.php",
        "php -d",
        "php $OPTIONS artisan",
        "php ${SCRIPT}",
        "php %h/artisan",
        "php bin\\x2fwork",
        "@/usr/bin/php php artisan",
        "python -m celery worker",
        "python -um celery",
        "python -c pass",
        "pypy --jit off work.py",
        "ruby -S rake work",
        "ruby -C app work.rb",
        "ruby -e 1",
        "node worker",
        "node --run work",
        "node --unknown value work.js",
        "node inspect",
        "bun run work",
        "bun work.ts",
        "perl -S work.pl",
        "sh run.sh",
        "bash -c 'php artisan; true'",
        "bash -lc 'exec php artisan'",
        "bash -c 'cd ../app && php artisan'",
        "env -C /srv php artisan",
        "chroot /srv php artisan",
        "mise -C /srv exec -- php artisan",
        "nix-shell --run 'php artisan'",
        "env --chdir=/srv php artisan",
        "sudo -u www-data php artisan",
        "timeout 5 php artisan",
        "bundle exec rake resque:work",
        "uv run python work.py",
        "npm run work",
        "php /run/shop/work.php",
        "php 'unclosed",
        "''",
    ],
)
def test_it_cannot_be_told(command: str) -> None:
    assert script_file(command) is None


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """One that the worker's account may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def said(command: str, release: Path, *more: str) -> list[str]:
    """What check says of a command in that release; programs are there."""
    text = "\n".join(["[workers.sms]", 'user = "daemon"', f"command = '''{command}'''", *more])
    found = app(text, HEAD)
    code = {"sms": Code(str(release), "1")}
    findings = preflight.of_app(found, code, user_scope=False, folder=release)
    assert all(finding.level is Level.ERROR for finding in findings)
    return [f"{finding.place}: {finding.message}" for finding in findings]


def test_a_missing_script_is_an_error_as_a_missing_program_is(tmp_path: Path) -> None:
    (tmp_path / "there.sh").touch()
    shell = shutil.which("bash")
    assert not said(f"{shell} ./there.sh", tmp_path)
    assert not said(f"{shell} {tmp_path}/there.sh", tmp_path / "elsewhere")
    assert said(f"{shell} bin/gone", tmp_path) == [
        f"workers.sms.command: there is no file {tmp_path}/bin/gone, which {shell} is to run"
    ]
    # A file that is taken for a folder, and a link that leads nowhere.
    assert said(f"{shell} there.sh/x", tmp_path)
    (tmp_path / "link").symlink_to("gone")
    assert said(f"{shell} ./link", tmp_path)
    # One error, not two.
    assert len(said("bin/nosuch/bash ./gone", tmp_path)) == 1
    assert said(
        f"{shell} ./there.sh", tmp_path, "[workers.sms.probe]", f"command = '{shell} ./no'"
    ) == [f"workers.sms.probe.command: there is no file {tmp_path}/no, which {shell} is to run"]


@pytest.mark.parametrize("directive", ['RootDirectory = "/srv/x"', 'ExecStartPre = "/bin/make"'])
def test_where_the_worker_may_see_other_files_nothing_is_said(
    tmp_path: Path, directive: str
) -> None:
    assert not said("/bin/sh ./gone", tmp_path, "[workers.sms.service]", directive)


def test_what_may_not_be_looked_at_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said("/bin/sh closed/work", tmp_path)
    real = os.stat

    def closed(path: str, **more: bool) -> os.stat_result:
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return real(path, **more)

    monkeypatch.setattr(os, "stat", closed)
    assert not said("/bin/sh closed/work", tmp_path)
    assert not said("closed/work", tmp_path)


def test_a_module_of_node_is_found_as_node_finds_it(tmp_path: Path) -> None:
    program = tmp_path / "node"
    program.touch(mode=0o755)
    (tmp_path / "work.ts").touch()
    assert not said("./node --import tsx work.js", tmp_path)
    assert said("./node --import tsx walk.js", tmp_path)


def test_programs_are_looked_for_where_the_unit_says(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(mode=0o755)
    assert said("mine", tmp_path)
    assert not said("mine", tmp_path, "[workers.sms.service]", f"ExecSearchPath = '{tmp_path}:/x'")


def test_a_program_beside_the_code_is_to_be_written_with_a_slash(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(mode=0o755)
    (finding,) = preflight.of_app(
        app("[workers.sms]\nuser = 'daemon'\ncommand = 'mine'"),
        {"sms": Code(str(tmp_path), "1")},
        user_scope=False,
        folder=tmp_path,
    )
    assert finding.hint == "write ./mine: it is in `directory`"
    assert not said("./mine", tmp_path)


@pytest.mark.parametrize(
    ("command", "hint"),
    [("cd /srv && php x", "`directory`"), ("A=1 php x", "`environment`"), ("exec x", "bash -c")],
)
def test_what_only_a_shell_has_gets_the_way(tmp_path: Path, command: str, hint: str) -> None:
    (finding,) = preflight.of_app(
        app(f"[workers.sms]\nuser = 'daemon'\ncommand = '{command}'"),
        {"sms": Code(str(tmp_path), "1")},
        user_scope=False,
        folder=tmp_path,
    )
    assert hint in finding.hint
