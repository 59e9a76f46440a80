"""What a command uses besides its directory, and which links on the way each release moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from unitq.linux.links import changes_in_place, moving_link, release_link
from unitq.revisions.around import command_paths, value_paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("command", "paths"),
    [
        ("php current/artisan queue:work", ["/srv/app/current/artisan"]),
        ("/srv/app/current/bin/worker -q a", ["/srv/app/current/bin/worker"]),
        ('/bin/sh -c "cd /srv/app/current && exec php artisan"', ["/bin/sh", "/srv/app/current"]),
        ("php -c=/etc/php.ini a.php", ["/etc/php.ini"]),
        ("celery --config=current/c.py", ["/srv/app/current/c.py"]),
        ("rq worker --url redis://localhost/1", []),
        ("bin/worker %i $X/y", ["/srv/app/bin/worker"]),
        ("ruby -I/srv/app/current/lib w.rb", ["/srv/app/current/lib"]),
        ("unclosed 'quote", []),
    ],
)
def test_paths_of_a_command(command: str, paths: list[str]) -> None:
    assert [used.path for used in command_paths(command, "/srv/app", {})] == paths


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("/srv/app/current/bin:/usr/bin", ["/srv/app/current/bin", "/usr/bin"]),
        ("current/Gemfile", ["/srv/app/current/Gemfile"]),
        ("-I/a/lib -r/b/x.rb", ["/a/lib", "/b/x.rb"]),
        ("-javaagent=/a/agent.jar,/b", ["/a/agent.jar", "/b"]),
        ("-/a +/b -/c/../d", ["/a", "/b", "/d"]),
        ("+!/a/prepare --in='/b'", ["/a/prepare", "/b"]),
        ("APP_ROOT", []),
        ("'/a'", ["/a"]),
        ("%h/x", []),
        ("", []),
    ],
)
def test_paths_of_a_value(value: str, paths: list[str]) -> None:
    assert [used.path for used in value_paths(value, "/srv/app")] == paths


def test_paths_of_a_first_line() -> None:
    heads = {"bin/w": "#!/srv/app/current/venv/bin/python -u\nimport x\n", "bin/x": "import x\n"}
    (script, line) = command_paths("bin/w", "/srv/app/releases/1", heads)
    assert script.path == "/srv/app/releases/1/bin/w"
    assert (line.path, line.script) == ("/srv/app/current/venv/bin/python", "bin/w")


def test_which_links_move(tmp_path: Path) -> None:
    (tmp_path / "releases/1/lib").mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    (tmp_path / "current").symlink_to("releases/1")
    (tmp_path / "releases/1/storage").symlink_to("../../shared")
    (tmp_path / "data").mkdir()
    (tmp_path / "srv").symlink_to("data")
    (tmp_path / "data/app").mkdir()
    found = moving_link(f"{tmp_path}/current/lib/x.py")
    assert found is not None
    assert found.path == f"{tmp_path}/current"
    for path in ("releases/1/lib", "releases/1/storage/x", "srv/app", "gone/x"):
        assert moving_link(f"{tmp_path}/{path}") is None
    in_place = {
        "current": False, "current/lib": False, "releases/1": True, "srv/app": True, "data": True,
    }  # fmt: skip
    for path, expected in in_place.items():
        assert changes_in_place(f"{tmp_path}/{path}") is expected


def test_which_paths_a_release_decides(tmp_path: Path) -> None:
    release = tmp_path / "releases/1"
    (release / "venv/bin").mkdir(parents=True)
    (release / "venv/bin/python").symlink_to("/bin/sh")
    (tmp_path / "shared/log").mkdir(parents=True)
    (tmp_path / "shared/.env").touch()
    (release / "log").symlink_to("../../shared/log")
    (release / ".env").symlink_to("../../shared/.env")
    (tmp_path / "current").symlink_to("releases/1")
    decides = {
        "current": True, "current/venv/bin": True, "current/venv/bin/python": True,
        "current/log": False, "current/.env": False, "current/missing": False, "shared": False,
        "releases/1/venv": False,
    }  # fmt: skip
    for path, expected in decides.items():
        assert (release_link(f"{tmp_path}/{path}") is not None) is expected, path
