"""history, show, diff and releases, in both scopes; compared with what processes and disk say."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import Scope, Site, sites, wait_until
from unitq.model import names
from unitq.systemd.envfile import assignments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Result

pytestmark = pytest.mark.systemd

SECRET, OTHER = "hunter2-very-secret", "hunter3-very-secret"


def configured(site: Site, secret: str = SECRET, **sms: Any) -> None:
    site.config(
        workers={
            "sms": {"command": site.odd("steady"), "environment": {"TOKEN": secret}, **sms},
            "mail": {"command": site.odd("steady"), "instances": 1},
        },
        rollout={"min_healthy": "100ms"},
    )


def told(site: Site, revision: str, result: str, code: int) -> int:
    """Writes the report of a rollout, as a deploy does; returns its number."""
    folder = site.scope.state_dir / site.app / "rollouts"
    number = max([0, *(int(each.name) for each in folder.glob("[0-9]*"))]) + 1
    report = documented("deploy") | {
        "app": site.app, "result": result, "exit_code": code, "revision": revision,
        "previous_revision": None, "failed": ["sms@1"] if code else [], "rollout": number,
        "began": 1.75e9, "ended": 1.75e9 + 1.5, "by": "ann", "summary": [f"{result}: 4 of 4"],
    }  # fmt: skip
    if code:
        report["instances"][0] |= {"phase": "failed", "reason": "nobody knows", "log": ["help"]}
    path = folder / str(number) / "report.json"
    write(site, path, json.dumps(report))
    return number


def write(site: Site, path: Path, text: str) -> None:
    """Writes a file in the app's state, as the user whose unitq it is."""
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for each in (path, path.parent, path.parent.parent):
        os.chown(each, site.scope.uid, -1)


@pytest.fixture(scope="module", params=["system", "user"])
def shop(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Three revisions: the first, one of other code, one of another unit and variable of sms."""
    with sites() as make:
        site = make(Scope(request.param))
        configured(site)
        site.deploy()
        site.switch(2)
        site.deploy()
        configured(site, OTHER, nice=5)
        site.deploy()
        ids = revisions(site)
        for name, result, code in zip(ids, ("ok", "ok", "failed"), (0, 0, 7), strict=True):
            told(site, name, result, code)
        yield site


def revisions(site: Site) -> list[str]:
    """The ids of what is on disk, oldest first."""
    folder = site.scope.state_dir / site.app / "revisions"
    return sorted((path.name for path in folder.iterdir()), key=lambda name: int(name[0]))


def as_tester(site: Site, *arguments: str) -> Result:
    """A command about an app in system scope, by somebody who is not root."""
    return Scope("user").run(sys.executable, "-m", "unitq", "-a", site.app, *arguments)


def test_history_is_newest_first_and_says_what_runs(shop: Site) -> None:
    first, second, third = revisions(shop)
    # sms runs the third, mail was left alone by it.
    running = shop.revisions()
    assert running == {"mail@1": second, "sms@1": third, "sms@2": third}
    done = shop.unitq("history")
    assert done.code == 0, done
    assert not done.stderr
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["REVISION", "HASH", "WHEN", "BY", "CODE", "STATE", "RUNS", "NOTE"]
    cells = [re.split(r"  +", line) for line in lines]
    assert [f"{each[0]}-{each[1]}" for each in cells] == [third, second, first]
    assert [each[4] for each in cells] == ["release 2", "release 2", "release 1"]
    assert [each[5] for each in cells] == ["failed", "stable", "stable"]
    assert [each[6] for each in cells] == ["2", "1", "0"]
    assert [each[7:] for each in cells] == [["current"], ["a rollback goes here"], []]
    deployed = json.loads((shop.scope.state_dir / shop.app / "current/revision.json").read_text())
    assert cells[0][2] == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(deployed["created"]))
    assert cells[0][3] == deployed["by"]


def test_history_as_json(shop: Site) -> None:
    done = shop.unitq("history", "--json")
    assert done.code == 0
    assert shape(done.json) == shape(documented("history"))
    first, second, third = revisions(shop)
    assert done.json["current"] == third
    assert done.json["last_stable"] == second
    found = {each["revision"]: each for each in done.json["revisions"]}
    assert list(found) == [third, second, first]
    assert {name: each["in_use"] for name, each in found.items()} == {third: 2, second: 1, first: 0}
    assert [each["worker"] for each in found[third]["workers"]] == ["sms", "mail"]
    assert [each["revision"] for each in found[third]["workers"]] == [third, second]
    assert found[third]["workers"][0]["release"] == str(shop.home / "releases/2")
    assert done.json["notes"] == []


def test_history_says_what_it_left_out(site: Site) -> None:
    configured(site)
    site.deploy()
    folder = site.scope.state_dir / site.app / "rollouts"
    write(site, folder / "98/report.json", "{")
    (folder / "99").mkdir()
    done = site.unitq("history")
    assert done.code == 0
    assert "rollouts/98/report.json: damaged" in done.stderr
    assert "rollout 99 has no report" in done.stderr
    assert len(site.unitq("history", "--json").json["notes"]) == 2


def test_show_tells_all_but_values(shop: Site) -> None:
    first, second, third = revisions(shop)
    done = shop.unitq("show")
    assert done.code == 0, done
    assert not done.stderr
    assert f"{shop.app}: revision {third}, failed, current" in done.stdout
    assert f"by {'tester' if shop.scope.user else 'root'} from {shop.toml}" in done.stdout
    assert f"release: {shop.home}/releases/2\n" in done.stdout
    assert f"unit: unitq-{shop.app}-sms@.service" in done.stdout
    assert "min_healthy 100ms" in done.stdout
    assert "worker mail: 1 instance, unchanged since 2" in done.stdout
    head, by, *rest = done.stdout.rpartition("\n\n")[2].splitlines()
    hashed = re.escape(third.partition("-")[2])
    assert re.fullmatch(
        rf"rollout \d+ of {shop.app} on web3: deploy of revision 3 \({hashed}, release \S+\)", head
    )
    assert re.fullmatch(r"  by ann, 2025-06-15 .* to .*: unitq deploy --json", by)
    assert rest == ["sms@1 failed: nobody knows", "  | help", "failed: 4 of 4"]
    # Its own two: of the deploy and the one made up here.
    assert done.stdout.count(": deploy of revision 3 (") == 2
    assert re.search(r"environment: .*\bTOKEN\b", done.stdout)
    assert "hunter" not in done.output
    for wanted in ("1", first, first.partition("-")[2]):
        assert f"revision {first}, stable\n" in shop.unitq("show", wanted).stdout
    assert f"revision {second}," in shop.unitq("show", "2").stdout


def test_show_as_json(shop: Site) -> None:
    done = shop.unitq("show", "--json")
    assert done.code == 0
    example = documented("show")
    found = done.json
    assert shape(found).keys() == shape(example).keys()
    for key in ("workers", "rollout", "units"):
        assert shape(found[key]) == shape(example[key]), key
    for report in found["reports"]:
        assert shape(report).keys() == shape(documented("deploy")).keys()
    assert [report["result"] for report in found["reports"]] == ["ok", "failed"]
    (sms,) = [each for each in found["workers"] if each["worker"] == "sms"]
    environment = Path(f"/proc/{shop.pids()['sms@1']}/environ").read_bytes().decode()
    real = {each.partition("=")[0] for each in environment.split("\0") if each}
    assert {"TOKEN", "UNITQ_WORKER"} <= set(sms["environment"]) <= real
    assert sms["release_exists"] is True
    assert "hunter" not in done.output


def test_show_of_a_release_that_is_gone(site: Site) -> None:
    configured(site)
    site.deploy()
    site.switch(2)
    site.deploy()
    path = site.home / "releases/1"
    path.rename(path.with_name("deleted"))
    assert f"release: {path}  (GONE)" in site.unitq("show", "1").stdout
    found = site.unitq("show", "1", "--json").json
    assert [each["release_exists"] for each in found["workers"]] == [False, False]


@pytest.mark.variants
@pytest.mark.parametrize("command", ["show", "diff"])
def test_an_unknown_revision_is_a_no_match_that_names_the_known(shop: Site, command: str) -> None:
    for wanted in ("77", "77-abcdef", "zz"):
        done = shop.unitq(command, wanted)
        assert done.code == 4, done
        assert f"there is no revision {wanted}" in done.stderr
        assert ", ".join(reversed(revisions(shop))) in done.stderr
        assert not done.stdout


def test_diff_of_code_units_and_variables(shop: Site) -> None:
    first, _, third = revisions(shop)
    done = shop.unitq("diff", "1", "2")
    assert done.code == 12, done
    assert "code_version: release 1 -> release 2" in done.stdout
    assert f"release: {shop.home}/releases/1 -> {shop.home}/releases/2" in done.stdout
    assert "@@" not in done.stdout
    assert "environment" not in done.stdout

    done = shop.unitq("diff", "2")
    assert done.code == 12
    unit = f"unitq-{shop.app}-sms@.service"
    assert f"--- a/{unit}\n+++ b/{unit}\n" in done.stdout
    assert "\n+Nice=5\n" in done.stdout
    assert "worker sms: changed (its processes are replaced)" in done.stdout
    assert "environment: ~TOKEN" in done.stdout
    assert "worker mail" not in done.stdout
    assert "hunter" not in done.output
    assert "\n-Nice=5\n" in shop.unitq("diff", "3", "2").stdout

    done = shop.unitq("diff", "3")
    assert done.code == 0
    assert done.stdout == f"{shop.app}: {third} and {third} do not differ\n"
    assert shop.unitq("diff").code == 2
    assert f"from {first} to {third}" in shop.unitq("diff", "1").stdout


def test_diff_as_json(shop: Site) -> None:
    done = shop.unitq("diff", "1", "3", "--json")
    assert done.code == 12
    example = documented("diff")
    example["workers"] = [done.json["workers"][0], *example["workers"]]
    found = done.json
    assert found.keys() == example.keys()
    assert found["differs"] is True
    by_name = {each["worker"]: each for each in found["workers"]}
    assert shape(by_name["sms"]) == shape(example["workers"][1])
    assert by_name["sms"]["environment"] == {"added": [], "removed": [], "changed": ["TOKEN"]}
    assert by_name["mail"]["environment"] == {"added": [], "removed": [], "changed": []}
    assert "+Nice=5" in found["units"][0]["diff"]
    assert found["rollout"] == []
    same = shop.unitq("diff", "3", "3", "--json")
    assert (same.code, same.json["differs"]) == (0, False)


def test_diff_of_counts_and_settings(site: Site) -> None:
    configured(site)
    site.deploy()
    site.unitq("scale", "sms=3")
    done = site.unitq("diff", "1")
    assert done.code == 12
    assert done.stdout.splitlines()[1:] == ["worker sms: changed", "  instances: 2 -> 3"]


def test_releases_of_all_revisions_and_those_in_use(shop: Site) -> None:
    one, two = (str(shop.home / f"releases/{number}") for number in (1, 2))
    done = shop.unitq("releases")
    assert (done.code, done.stdout, done.stderr) == (0, f"{one}\n{two}\n", "")
    done = shop.unitq("releases", "--in-use")
    assert (done.code, done.stdout, done.stderr) == (0, f"{two}\n", "")
    told = shop.unitq("releases", "--in-use", "--json").json
    assert shape(told) == shape(documented("releases"))
    (release,) = told["releases"]
    assert release["pids"] == sorted(shop.pids().values())
    assert release["pinned"] == ["mail@1", "sms@1", "sms@2"]
    told = shop.unitq("releases", "--json").json
    assert [(each["release"], each["pids"]) for each in told["releases"]] == [
        (one, None),
        (two, None),
    ]


def test_a_release_is_in_use_while_an_old_worker_drains(site: Site) -> None:
    site.config(workers={"sms": {"command": site.holding(), "instances": 2}})
    site.deploy()
    site.hold(1)
    site.switch(2)
    deploying = site.start("deploy")
    wait_until(
        lambda: any(each["ActiveState"] == "deactivating" for each in site.show().values()),
        what="one drains",
    )
    one, two = (str(site.home / f"releases/{number}") for number in (1, 2))
    assert site.unitq("releases", "--in-use").stdout == f"{one}\n{two}\n"
    site.let_go()
    assert deploying.wait().code == 0
    assert site.unitq("releases", "--in-use").stdout == f"{two}\n"
    # What is stopped starts from its pin.
    site.unitq("stop")
    assert site.active() == 0
    assert site.unitq("releases", "--in-use").stdout == f"{two}\n"


def test_a_release_is_in_use_by_whatever_is_in_it(shop: Site) -> None:
    one, two = (str(shop.home / f"releases/{number}") for number in (1, 2))
    unit = f"unitq-{shop.app}-stray.service"
    options = ("--user",) if shop.scope.user else ()
    started = shop.scope.run(
        *("systemd-run", *options, "--quiet", f"--unit={unit}"),
        *(f"--slice={names.app_slice(shop.app)}", f"--working-directory={one}"),
        *("/bin/sleep", "300"),
    )
    assert started.code == 0, started
    try:
        assert shop.unitq("releases", "--in-use").stdout == f"{one}\n{two}\n"
    finally:
        shop.systemctl("stop", unit)
    assert shop.unitq("releases", "--in-use").stdout == f"{two}\n"


def test_releases_that_cannot_be_told_are_not_printed(site: Site) -> None:
    configured(site)
    site.deploy()
    # A process of a revision that somebody has deleted, and which has left its directory.
    unit = f"unitq-{site.app}-stray.service"
    options = ("--user",) if site.scope.user else ()
    site.scope.run(
        *("systemd-run", *options, "--quiet", f"--unit={unit}", "--working-directory=/"),
        *(f"--slice={names.app_slice(site.app)}", "--setenv=UNITQ_REVISION=77-abcdef"),
        *("/bin/sleep", "300"),
    )
    try:
        done = site.unitq("releases", "--in-use")
        assert done.code == 1, done
        assert not done.stdout
        assert "runs revision 77-abcdef, of which nothing is left" in done.stderr
    finally:
        site.systemctl("stop", unit)


def test_somebody_without_rights_gets_what_is_sure(system_site: Site) -> None:
    site = system_site
    configured(site)
    site.deploy()
    done = as_tester(site, "history")
    assert done.code == 0, done
    assert re.split(r"  +", done.stdout.splitlines()[1])[6] == "?"
    told = as_tester(site, "history", "--json").json
    assert [each["in_use"] for each in told["revisions"]] == [None]

    done = as_tester(site, "show")
    assert done.code == 0, done
    assert "environment: not to be read" in done.stdout
    assert "may be read by root only" in done.stderr
    found = as_tester(site, "show", "--json").json
    assert [each["environment"] for each in found["workers"]] == [None, None]
    assert len(found["notes"]) == 2

    site.switch(2)
    site.deploy()
    done = as_tester(site, "diff", "1")
    assert done.code == 12, done
    assert "environment: not to be read" in done.stdout

    assert as_tester(site, "releases").code == 0
    for options in ((), ("--json",)):
        done = as_tester(site, "releases", "--in-use", *options)
        assert done.code == 5, done
        # No list that somebody could take for the whole one.
        assert (list(done.json) == ["format", "error"]) if options else not done.stdout
        assert "cannot read process" in done.stderr


def test_an_app_that_is_not_installed_is_a_no_match(scope: Scope) -> None:
    user = ("--user",) if scope.user else ()
    for command in (("history",), ("show",), ("diff", "1"), ("releases", "--in-use")):
        done = scope.run(sys.executable, "-m", "unitq", *user, "-a", "nothing", *command)
        assert done.code == 4, done
        assert "no app nothing is installed here" in done.stderr


FILE = """\
# a comment
PLAIN=x # y
 SPACED = a b \t
SINGLE='it is $HOME "so"'
DOUBLE="a \\"b\\" \\$c \\`d\\` \\\\ \\n
second line"
MIXED='a' "b"c
BROKEN=a\\
b
EMPTY=
export NOT=1
1NOR=2
LAST=1
LAST=2
QUOTE=it's"""


def test_environment_files_are_read_as_systemd_reads_them(site: Site) -> None:
    (site.home / "shop.env").write_text(FILE)
    dump = site.out / "environ"
    site.config(
        workers={
            "sms": {
                "command": site.odd("environ", str(dump)),
                "instances": 1,
                "environment_file": str(site.home / "shop.env"),
            }
        }
    )
    site.deploy()
    wait_until(dump.exists)
    real = dict(each.partition("=")[::2] for each in dump.read_text().split("\0") if each)
    read = assignments(FILE)
    assert len(read) == 9
    assert {name: real.get(name) for name in read} == read
    assert not {"NOT", "1NOR", "export NOT"} & real.keys()
    assert set(read) <= set(site.unitq("show", "--json").json["workers"][0]["environment"])


def test_old_revisions_go_but_none_that_is_needed(system_site: Site) -> None:
    site = system_site
    configured(site)
    site.deploy()
    told(site, revisions(site)[0], "ok", 0)
    folder = site.scope.state_dir / site.app / "revisions"
    for number in range(2, 15):
        configured(site, nice=number)
        site.deploy()
        # All but the first failed; if deploys write reports of their own, this one is the last.
        told(site, (site.scope.state_dir / site.app / "current").readlink().name, "failed", 7)
    left = sorted(int(path.name.partition("-")[0]) for path in folder.iterdir())
    # mail never changed: its processes run the first.
    assert left == [1, *range(5, 15)]
    done = site.unitq("history")
    assert done.code == 0
    assert re.search(r"(?m)^1 .* stable +1 +a rollback goes here$", done.stdout)


def test_why_is_kept_with_the_revision(system_site: Site) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})
    site.deploy("-m", "the first one")
    site.switch(2)
    site.deploy("--message", "the new SMS template")
    site.deploy("-m", "nothing to be done")
    assert site.unitq("rollback", "-m", "customers got the wrong text").code == 0
    told = [row["why"] for row in site.unitq("history", "--json").json["revisions"]]
    assert told == ["customers got the wrong text", "the new SMS template", "the first one"]
    assert "  why: the new SMS template\n" in site.unitq("show", "2").stdout
    assert site.deploy("-m", "two\nlines", code=2).stdout == ""
