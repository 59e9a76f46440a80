"""Code that is updated in place, in a git checkout or a plain directory: what is said is so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

WORKER = """\
import signal, sys
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
{more}
while True:
    signal.pause()
"""
BROKEN = 'raise SystemExit("broken")'


class Checkout:
    """A directory with a worker's script, perhaps in git."""

    def __init__(self, site: Site, *, git: bool = True) -> None:
        self.site, self.place = site, site.home / "code"
        self.place.mkdir()
        os.chown(self.place, site.scope.uid, -1)  # git obeys its owner
        if git:
            self.git("init", "-q", "-b", "main")
        self.write("")
        self.commits = [self.commit()] if git else []

    def write(self, more: str) -> None:
        (self.place / "worker.py").write_text(WORKER.format(more=more))

    def git(self, *arguments: str) -> str:
        done = self.site.scope.run(
            "git", "-c", "user.name=ann", "-c", "user.email=ann@example.org", *arguments,
            cwd=self.place,
        )  # fmt: skip
        assert done.code == 0, done
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "more")
        return self.git("rev-parse", "HEAD")

    def config(self, instances: int = 3, **top: Any) -> None:
        command = f"{sys.executable} -IS worker.py"
        self.site.config(
            workers={"w": {"command": command, "instances": instances}},
            directory=str(self.place),
            # A Python that is broken takes a while to say so.
            rollout={"on_failure": "rollback", "min_healthy": "500ms"},
            **top,
        )


def a_second() -> None:
    """The reflog has whole seconds."""
    time.sleep(1.1)


def crash(site: Site, name: str) -> None:
    before = site.pids()[name]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: site.pids().get(name, before) != before, what=f"{name} again")


def instances(site: Site) -> dict[str, dict[str, Any]]:
    found = site.unitq("status", "--json").json
    (worker,) = found["apps"][0]["workers"]
    return {each["instance"]: each for each in worker["instances"]}


def test_a_failed_deploy_leaves_what_runs_the_old_code_alone(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config()
    site.deploy()
    first = code.commits[0][:12]
    before = site.pids()

    code.write(BROKEN)
    code.commit()
    restore = f"git -C {code.place} checkout {first} && unitq -c {site.toml} deploy"
    plan = site.unitq("plan")
    assert "back to revision" not in plan.stdout
    assert f"code in place ({code.place}): if it fails, there is no rollback" in plan.stdout
    assert restore in plan.stdout
    told = site.unitq("plan", "--json").json
    assert (told["rollback_to"], told["in_place"]) == (None, [str(code.place)])

    failed = site.deploy(code=7)
    assert restore in failed.stderr, failed
    assert "updated in place" in failed.output
    assert "rolling back" not in failed.output
    left = {name: pid for name, pid in site.pids().items() if before[name] == pid}
    assert len(left) == 2, failed  # their memory has all that is left of the old code

    refused = site.unitq("rollback")
    assert refused.code == 13, refused
    assert restore in refused.stderr
    assert left.items() <= site.pids().items()
    history = site.unitq("history").stdout
    assert "its files are replaced" in history
    assert "a rollback goes here" not in history

    code.git("checkout", "-q", first)
    site.deploy()
    assert site.unitq("status").code == 0


def test_a_rollback_goes_where_the_files_are_back(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config()
    site.deploy()
    code.write("pass")
    second = code.commit()
    site.deploy()
    refused = site.unitq("rollback", "1")
    assert refused.code == 13, refused
    assert f"checkout {code.commits[0][:12]} && unitq -c" in refused.stderr
    code.git("checkout", "-q", code.commits[0])
    (code.place / "stray.py").write_text("")  # the files are not those of the commit
    assert site.unitq("rollback").code == 13
    (code.place / "stray.py").unlink()
    assert site.unitq("rollback").code == 0
    assert site.unitq("status").code == 0
    assert all(second[:12] not in each["revision"] for each in instances(site).values())


def test_settings_come_back_where_the_code_is_the_same(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config(environment={"MODE": "a"})
    site.deploy()
    code.config(environment={"MODE": "b"})
    site.deploy()
    assert site.unitq("rollback").code == 0


def test_status_compares_head_with_what_was_deployed(site: Site) -> None:
    code = Checkout(site)
    code.config()
    site.deploy()
    assert site.unitq("status").code == 0
    assert {each["code"] for each in instances(site).values()} == {"current"}
    a_second()
    code.write("pass")
    moved = code.commit()
    told = site.unitq("status")
    assert told.code == 0, told  # all still run what was deployed
    assert f"HEAD of {code.place} is now {moved[:12]}" in told.stdout

    a_second()
    crash(site, "w@2")
    told = site.unitq("status")
    assert told.code == 15, told
    assert told.stdout.count("MOVED") == 1
    found = instances(site)
    assert [(each["code"], each["commit"], each["fresh"]) for each in found.values()] == [
        ("current", None, True), ("moved", moved, False), ("current", None, True),
    ]  # fmt: skip
    # HEAD is where it was: what was started meanwhile is another commit's all the same.
    a_second()
    code.git("checkout", "-q", code.commits[0])
    assert site.unitq("status").code == 15
    before = site.pids()
    plan = site.unitq("plan")
    assert f"w@2: restart (its checkout was moved before it was started: it runs {moved[:12]})" in (
        plan.stdout
    )
    site.deploy()
    assert site.unitq("status").code == 0
    after = site.pids()
    assert {name for name in after if after[name] != before[name]} == {"w@2"}


def test_a_plain_directory_is_in_place_and_never_current(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site, git=False)
    code.config(instances=1)
    site.deploy()
    told = site.unitq("status")
    assert told.code == 0, told
    assert "in place" in told.stdout
    assert {each["code"] for each in instances(site).values()} == {"in place"}
    code.write(BROKEN)
    failed = site.deploy(code=7)
    put_back = f"put the files of revision 1 back into {code.place}, then `unitq -c"
    assert put_back in failed.stderr, failed
    refused = site.unitq("rollback")
    assert (refused.code, put_back in refused.stderr) == (13, True), refused


def test_a_release_behind_a_link_owns_its_code(system_site: Site) -> None:
    site = system_site
    site.config(workers={"w": {"command": site.odd("steady")}}, rollout={"on_failure": "rollback"})
    site.deploy()
    site.switch(2)
    assert "if it fails: back to revision 1" in site.unitq("plan").stdout
    site.deploy()
    assert {each["code"] for each in instances(site).values()} == {"current"}
    assert site.unitq("rollback").code == 0


def test_a_label_hides_no_commit(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config(instances=1)
    site.deploy("--revision", "v1")
    a_second()
    code.write("pass")
    moved = code.commit()
    # The caller says that it is the same: nothing is restarted, and what was deployed stays so.
    assert "unchanged" in site.deploy("--revision", "v1").stdout
    assert f"is now {moved[:12]}" in site.unitq("status").stdout


def test_a_plan_without_root_does_not_guess_at_a_commit(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config()
    site.deploy()
    done = subprocess.run(
        ["setpriv", "--reuid=www-data", "--regid=www-data", "--init-groups", "--",
         sys.executable, "-m", "unitq", "-c", str(site.toml), "plan"],
        env=site.scope.environment, cwd="/", capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 5, done
    assert "restart" not in done.stdout
    assert "sudo" in done.stderr


def test_status_runs_no_git_and_follows_no_link(system_site: Site, tmp_path: Path) -> None:
    site, code = system_site, Checkout(system_site)
    code.config(instances=1)
    site.deploy()
    secret = tmp_path / "secret"
    secret.write_text("ab" * 20)
    head = code.place / ".git/HEAD"
    head.rename(head.with_name("kept"))
    head.symlink_to(secret)
    told = site.unitq("status")
    assert told.code == 3, told  # it tells nothing, which is not the same as "current"
    assert "abab" not in told.output
    head.unlink()
    os.mkfifo(head)
    assert site.unitq("status", timeout=10).code == 3
    head.unlink()
    head.with_name("kept").rename(head)
    assert site.unitq("status").code == 0


def test_a_checkout_in_the_reftable_format_is_unknown(system_site: Site) -> None:
    """As git lays it out since 2.45 (refs/reftable-backend.c); this machine's may be older."""
    site, code = system_site, Checkout(system_site)
    code.config(instances=1)
    site.deploy()
    stub = code.place / ".git"
    (stub / "reftable").mkdir()
    (stub / "reftable/tables.list").touch()
    shutil.rmtree(stub / "logs")
    shutil.rmtree(stub / "refs/heads")
    (stub / "refs/heads").write_text("this repository uses the reftable format\n")
    (stub / "HEAD").write_text("ref: refs/heads/.invalid\n")
    told = site.unitq("status")
    assert told.code == 3, told
    assert [each["fresh"] for each in instances(site).values()] == [None]


def test_a_deploy_warns_of_changes_without_a_commit(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config(instances=1)
    assert "not committed" not in site.deploy().stderr
    (code.place / "new.py").touch()
    for command in ("check", "plan"):
        told = site.unitq(command)
        assert f"{code.place} has changes that are not committed" in told.output, told
    done = site.deploy()
    assert f"warning: workers.w.directory: {code.place} has changes" in done.stderr
    assert site.unitq("status").code == 0
    # Git is not asked where the caller says what it is.
    assert "not committed" not in site.deploy("--revision", "v2").stderr


def test_a_commit_in_mid_rollout_is_said(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config()
    site.deploy()
    code.write("pass")
    code.commit()
    site.deploy("--canary", "1", "--canary-soak", "100ms", "--promote", "manual", code=11)
    assert site.unitq("status").code == 15
    a_second()
    code.write("pass  # and more")
    moved = code.commit()
    a_second()
    done = site.unitq("rollout", "promote")
    assert f"HEAD of {code.place} is now {moved[:12]}" in done.stderr, done
    assert "2 processes on old code" in done.output, done
    assert [each["code"] for each in instances(site).values()] == ["current", "moved", "moved"]
    restarted = site.unitq("restart", "w@1")
    assert f"HEAD of {code.place} is now {moved[:12]}" in restarted.stderr
    assert site.unitq("status").stdout.count("MOVED") == 3


def test_the_way_back_from_canaries_in_place(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config()
    site.deploy()
    a_second()
    before = site.pids()
    code.write("pass")
    code.commit()
    paused = site.deploy("--canary", "1", "--canary-soak", "100ms", "--promote", "manual", code=11)
    typed = f"unitq -a {site.app} rollback`"
    assert f"checkout {code.commits[0][:12]} && {typed}" in paused.stderr, paused
    assert site.unitq("rollback").code == 13
    code.git("checkout", "-q", code.commits[0])
    assert site.unitq("rollback").code == 0
    # What was not touched runs the old code already.
    assert {name for name in before if site.pids()[name] != before[name]} == {"w@1"}
    assert site.unitq("status").code == 0
