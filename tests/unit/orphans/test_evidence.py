"""Who works for an app outside its units, and who only looks like it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.build import PRESETS
from unitq.cmdline.invocation import engine
from unitq.linux.links import Link, beside
from unitq.model.process import Process
from unitq.model.release_names import in_another
from unitq.orphans.evidence import (
    AppProfile,
    Claim,
    Mark,
    Orphan,
    WantedCode,
    WorkerProfile,
    find_orphans,
)
from unitq.orphans.program_match import Program, Releases, workers_of
from unitq.queues.model import Registration

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = "/srv/shop/releases"
RELEASES = Releases((f"{ROOT}/1", f"{ROOT}/2"), ((ROOT, ""),))
UNIT = "/unitq.slice/unitq-shop.slice/unitq-shop-sms.slice/unitq-shop-sms@1.service"
CODE = WantedCode("2-bbbbbb", f"{ROOT}/2")


def program(command: str, preset: str = "php-resque") -> Program:
    """What a worker's command in a release comes to; a path is inside it unless it is absolute."""
    (one,) = workers_of(command, {}, PRESETS[preset].recognise.command)
    path = one.script
    return Program(
        engine(one),
        one.arguments,
        one.texts(),
        frozenset({path} if path and not path.startswith("/") else ()),
        frozenset({path} if path.startswith("/") else ()),
        "" if path else one.program,
    )


def work(
    command: str = "php vendor/bin/resque", preset: str = "php-resque", **more: Any
) -> WorkerProfile:
    found = PRESETS[preset]
    values: dict[str, Any] = {
        "queues": frozenset({"sms"}),
        "variable": found.queues.variable,
        "code": CODE,
    } | more
    return WorkerProfile(
        "sms",
        (program(command, preset),),
        found.recognise.command,
        found.recognise.arguments,
        found.recognise.title,
        **values,
    )


def app(*works: WorkerProfile) -> AppProfile:
    return AppProfile(
        "shop", works or (work(),), RELEASES,
        {("1-aaaaaa", "sms"): f"{ROOT}/1", ("2-bbbbbb", "sms"): f"{ROOT}/2"},
        frozenset({33}),
    )  # fmt: skip


def process(
    line: str, directory: str = "", executable: str = "/usr/bin/php8.2", **more: Any
) -> Process:
    """PID 50, adopted by PID 1; what it runs is a line of a shell."""
    words = tuple(shlex.split(line))
    scripts = [word for word in words[1:] if "/" in word and not word.startswith("-")][:1]
    paths = tuple(s if s.startswith("/") else f"{directory}/{s}" for s in scripts)
    values: dict[str, Any] = {"parent": 1, "began": 1000.0, "ticks": 7, "paths": paths} | more
    values.setdefault("uids", frozenset({33}))
    return Process(
        values.pop("pid", 50), executable=executable, words=words, directory=directory, **values
    )


def titled(directory: str = f"{ROOT}/1", **more: Any) -> Process:
    """A php-resque worker, all that it had on its command line overwritten."""
    one = process("x", directory, **more)
    return replace(one, words=("resque-1.2: Waiting for sms",), paths=())


def registration(pid: int = 50, queues: tuple[str, ...] | None = ("sms",)) -> Registration:
    return Registration(f"web1:{pid}:sms", "web1", pid, queues, 1000.0, None)


def found(
    *processes: Process, of: AppProfile | None = None, registered: Iterable[Registration] = ()
) -> tuple[Orphan, ...]:
    known = {one.pid: one for one in registered if one.pid is not None}
    return find_orphans(of or app(), processes, known)


WORKERS = [
    # The program out of a release says it by itself, from wherever it is run.
    process("php vendor/bin/resque", f"{ROOT}/1"),
    process(f"/usr/bin/php {ROOT}/1/vendor/bin/resque", "/"),
    process("php -d memory_limit=1G vendor/bin/resque", f"{ROOT}/1"),
    process("php8.2 vendor/bin/resque", f"{ROOT}/0"),  # a release that nobody has a record of
    process("php vendor/bin/resque", f"{ROOT}/1", deleted=True),
    titled(),
    titled("/", app="shop"),
    # The same interpreter under a title that nobody knows.
    replace(titled(), words=("shop worker",), app="shop"),
    replace(titled(), words=("shop worker",), environment={"QUEUE": "mail, sms"}),
]


@pytest.mark.parametrize("one", WORKERS, ids=lambda one: f"{one.words} {one.directory}")
def test_a_worker_is_found(one: Process) -> None:
    assert [orphan.pids for orphan in found(one)] == [(50,)]


LOOK_ALIKES = [
    process(f"vim {ROOT}/1/vendor/bin/resque", f"{ROOT}/1", "/usr/bin/vim.basic"),
    process("tail -f vendor/bin/resque", f"{ROOT}/1", "/usr/bin/tail"),
    process("grep resque -r .", f"{ROOT}/1", "/usr/bin/grep"),
    process("bash", f"{ROOT}/1", "/bin/bash", app="shop", environment={"QUEUE": "sms"}),
    process("bash -c 'php vendor/bin/resque'", f"{ROOT}/1", "/bin/bash"),
    process("sudo -u www-data php vendor/bin/resque", f"{ROOT}/1", "/usr/bin/sudo"),
    process("time php vendor/bin/resque", f"{ROOT}/1", "/usr/bin/time"),
    # Whatever stands on a command line, the kernel knows what runs.
    process("php vendor/bin/resque", f"{ROOT}/1", "/usr/bin/sleep"),
    titled(executable="/usr/bin/grep"),
    # The interpreter, but not to run it.
    process("php -l vendor/bin/resque", f"{ROOT}/1"),
    process("php -d x=1 -l vendor/bin/resque", f"{ROOT}/1"),
    process("php -r 'sleep(9);' vendor/bin/resque", f"{ROOT}/1"),
    process("php -a", f"{ROOT}/1", environment={"QUEUE": "sms"}),
    # Other programs of the release.
    process("php bin/console cache:clear", f"{ROOT}/1", app="shop"),
    process("php vendor/bin/resque-scheduler", f"{ROOT}/1"),
    process("php deploy.php vendor/bin/resque", f"{ROOT}/1"),
    process("php-fpm: pool www", f"{ROOT}/1", "/usr/sbin/php-fpm8.2"),
    # Other copies of the program, other apps' workers.
    process("php vendor/bin/resque", "/home/ann/shop"),
    process("php vendor/bin/resque", "/srv/shop/releases-old/1"),
    process("php vendor/bin/resque", "/srv/shop/shared"),
    titled("/srv/other"),
    titled(app="other"),
    process("php vendor/bin/resque", f"{ROOT}/1", app="other"),
    replace(titled(), words=("shop worker",)),
    # In a unit.
    process("php vendor/bin/resque", f"{ROOT}/1", cgroup=UNIT),
    process("php vendor/bin/resque", f"{ROOT}/1", cgroup=UNIT.replace("shop", "other")),
    process("php vendor/bin/resque", f"{ROOT}/1", cgroup="/x.slice/unitq-shop-sms@1.service"),
]


@pytest.mark.parametrize("one", LOOK_ALIKES, ids=lambda one: f"{one.words} {one.directory}")
def test_a_look_alike_is_none(one: Process) -> None:
    assert found(one) == ()


ARTISAN = "php artisan queue:work redis --tries=3"
CONSOLE = "php bin/console messenger:consume"
SUBCOMMANDS = [
    (ARTISAN, "laravel", "php artisan queue:work --once", True),
    (ARTISAN, "laravel", "php artisan schedule:run", False),
    (ARTISAN, "laravel", "php artisan", False),
    (f"{CONSOLE} async", "symfony-messenger", "php bin/console cache:clear", False),
    (f"{CONSOLE} async", "symfony-messenger", f"{CONSOLE} failed -vv", True),
    ("php cli.php work", "none", "php cli.php work --fast", True),
    ("php cli.php work", "none", "php cli.php report", False),
    ("php cli.php work", "none", "php cli.php", False),
    ("php cli.php", "none", "php cli.php --verbose=1", True),
    ("php cli.php --quiet work", "none", "php cli.php --quiet work", True),
    # `report` may be the value of an option, or another subcommand: in doubt no alarm.
    ("php cli.php --quiet work", "none", "php cli.php --quiet report", False),
    ("php cli.php $MODE", "none", "php cli.php work", False),
]  # fmt: skip


@pytest.mark.parametrize(("command", "preset", "line", "works"), SUBCOMMANDS)
def test_another_subcommand_is_none(command: str, preset: str, line: str, works: bool) -> None:
    path = shlex.split(line)[1]
    made = work(command, preset)
    here = tuple(replace(each, inside=frozenset({path}), name="") for each in made.programs)
    running = replace(process(line, f"{ROOT}/1"), paths=(f"{ROOT}/1/{path}",))
    assert bool(found(running, of=app(replace(made, programs=here)))) is works


def test_in_doubt_about_the_subcommand_more_evidence_decides() -> None:
    one = app(work("php bin/cli --quiet work", "none"))
    running = process("php bin/cli --quiet report", f"{ROOT}/1")
    assert found(running, of=one) == ()
    assert found(replace(running, app="shop"), of=one)
    assert found(replace(running, environment={"QUEUE": "sms"}), of=one)
    assert not found(replace(running, environment={"QUEUE": "mail"}), of=one)
    assert found(running, of=one, registered=[registration()])


def test_a_program_that_others_share_takes_more_than_its_name() -> None:
    celery = app(work("celery -A shop worker", "celery", variable=""))
    line = "/usr/bin/python3.11 /usr/local/bin/celery -A shop worker -c 4"
    python = "/usr/bin/python3.11"
    running = process(line, f"{ROOT}/1", python)
    assert found(running, of=celery)
    assert found(replace(running, directory="/", app="shop"), of=celery)
    assert not found(replace(running, directory="/srv/other"), of=celery)
    for other in ("beat", "inspect active", "-A x flower"):
        line = f"python3 /usr/local/bin/celery -A shop {other}"
        assert not found(process(line, f"{ROOT}/1", python), of=celery)
    module = replace(running, words=("python3", "-m", "celery", "-A", "shop", "worker"), paths=())
    assert found(module, of=celery)


def test_a_runner_that_stays_is_seen_through() -> None:
    sidekiq = app(work("bundle exec sidekiq -e production", "sidekiq", variable=""))
    ruby = "/usr/bin/ruby3.1"
    line = "ruby /usr/bin/bundle exec sidekiq -e production"
    assert found(process(line, f"{ROOT}/1", ruby), of=sidekiq)
    assert not found(process("ruby /usr/bin/bundle exec puma", f"{ROOT}/1", ruby), of=sidekiq)
    puma = replace(process("x", f"{ROOT}/1", ruby), words=("puma 6.0 (tcp://[::]:80) [shop]",))
    assert not found(replace(puma, paths=()), of=sidekiq)
    title = replace(puma, words=("sidekiq 7.3.10 shop [0 of 5 busy]",), paths=())
    assert found(title, of=sidekiq)


# Redis


def test_registered_for_our_queues_is_at_work_for_us_wherever_it_is() -> None:
    elsewhere = process("php tools/run.php", "/opt/old-shop")
    assert found(elsewhere) == ()
    (one,) = found(elsewhere, registered=[registration()])
    assert one.marks == (Mark.REGISTERED,)
    assert one.current is None
    for other in (("mail",), None, ()):
        assert not found(elsewhere, registered=[registration(queues=other)])
    assert found(elsewhere, registered=[registration(queues=("*",))])


def test_a_registration_says_nothing_of_another_kind_of_process() -> None:
    shell = process("bash", f"{ROOT}/1", "/bin/bash")
    assert not found(shell, registered=[registration()])
    unknown = app(work(queues=frozenset()))
    assert not found(process("php x.php", "/"), of=unknown, registered=[registration()])


def test_it_is_told_which_worker_it_is() -> None:
    mail = replace(work(), worker="mail", queues=frozenset({"mail"}))
    both = app(work(), mail)
    for queue, worker in (("mail", "mail"), ("sms", "sms")):
        running = process("php vendor/bin/resque", f"{ROOT}/1", environment={"QUEUE": queue})
        assert [one.worker for one in found(running, of=both)] == [worker]
        named = replace(titled(), environment={"UNITQ_WORKER": worker})
        assert [one.worker for one in found(named, of=both)] == [worker]
        held = registration(queues=(queue,))
        assert [one.worker for one in found(titled(), of=both, registered=[held])] == [worker]


# Which code


def code(one: Process, **more: Any) -> tuple[str, bool | None]:
    (orphan,) = found(one, of=app(work(code=replace(CODE, **more))))
    return orphan.release, orphan.current


def test_the_release_tells_the_code() -> None:
    assert code(titled(f"{ROOT}/1")) == (f"{ROOT}/1", False)
    assert code(titled(f"{ROOT}/2")) == (f"{ROOT}/2", True)
    assert code(titled(f"{ROOT}/2", deleted=True)) == (f"{ROOT}/2", False)
    # A path through the link `current`: what it led to when the process began.
    path = f"{ROOT}/2/vendor/bin/resque"
    linked = replace(
        process(f"php {path}", "/"), paths=("/srv/shop/current/vendor/bin/resque", path)
    )
    assert code(linked) == (f"{ROOT}/2", True)
    assert code(replace(linked, moved=True)) == ("", False)


def test_what_unitq_has_started_says_its_revision() -> None:
    assert code(titled("/", app="shop", revision="2-bbbbbb")) == (f"{ROOT}/2", True)
    assert code(titled(f"{ROOT}/2", app="shop", revision="1-aaaaaa")) == (f"{ROOT}/1", False)
    assert code(titled("/", app="shop", revision="0-000000")) == ("", False)


def test_in_one_directory_the_time_tells_the_code() -> None:
    here = titled(f"{ROOT}/2", ticks=7)
    assert code(here, since=2000.0, in_place=True) == (f"{ROOT}/2", False)
    assert code(here, since=500.0, in_place=True) == (f"{ROOT}/2", True)
    # Another release became this one: whoever is in here was started from it.
    assert code(here, since=2000.0) == (f"{ROOT}/2", True)


def test_where_nothing_tells_the_release_it_may_be_too_old() -> None:
    elsewhere = titled("/", app="shop")
    assert code(elsewhere) == ("", None)
    assert code(elsewhere, since=500.0) == ("", None)
    assert code(elsewhere, since=2000.0) == ("", False)


def test_a_worker_that_nobody_wants_any_more_runs_old_code() -> None:
    (one,) = found(titled(f"{ROOT}/2"), of=app(work(code=None)))
    assert one.current is False


# What only Redis says


SESSION = "/user.slice/user-33.slice/session-4.scope"


@pytest.mark.parametrize(
    ("uids", "accounts", "cgroup", "claim"),
    [
        ({33}, {33}, "", None),
        ({33}, {33, 0}, "", None),
        ({34}, {33}, "", Claim.ACCOUNT),
        ({0}, {33}, "", Claim.ACCOUNT),
        ({0, 33}, {33}, "", Claim.ACCOUNT),  # a program with the set-user-ID bit
        (set(), {33}, "", Claim.ACCOUNT),
        ({33}, set(), "", Claim.ACCOUNT),
        ({0}, {0}, "", Claim.ROOT),
        ({0, 33}, {0, 33}, "", Claim.ROOT),
        ({33}, {33}, SESSION, Claim.SESSION),
    ],
)
def test_a_registration_is_proof_for_the_workers_own_account_only(
    uids: set[int], accounts: set[int], cgroup: str, claim: Claim | None
) -> None:
    stranger = process("php /opt/other.php", "/", uids=frozenset(uids), cgroup=cgroup)
    of = replace(app(), accounts=frozenset(accounts))
    (one,) = found(stranger, of=of, registered=[registration()])
    assert (one.claim, one.marks) == (claim, (Mark.REGISTERED,))
    # What the process itself says needs no record.
    worker = titled(uids=frozenset(uids), cgroup=cgroup)
    (one,) = found(worker, of=of, registered=[registration()])
    assert one.claim is None
    assert Mark.REGISTERED in one.marks


def test_what_serves_in_a_session_of_the_app_s_own_is_only_shown() -> None:
    """`su - USER` in a command: PAM moves the worker out of its unit."""
    inside = titled(cgroup=f"{SESSION}/x")
    other = titled(pid=60, cgroup=SESSION.replace("session-4", "session-44"))
    one, two = find_orphans(app(), [inside, other], serving={SESSION})
    assert (one.process.pid, one.claim) == (50, Claim.SERVING)
    assert (two.process.pid, two.claim) == (60, None)
    (found_again,) = find_orphans(app(), [inside])
    assert found_again.claim is None


def test_an_orphan_below_one_that_is_only_claimed_is_shown_by_itself() -> None:
    above = process("php /opt/other.php", "/", uids=frozenset({0}), pid=40)
    one, two = found(above, titled(pid=50, parent=40), registered=[registration(40)])
    assert (one.process.pid, one.claim, two.process.pid, two.claim) == (40, Claim.ACCOUNT, 50, None)


# Families


def test_what_it_has_started_is_shown_with_it() -> None:
    shell = process("bash -c x", f"{ROOT}/1", "/bin/bash", pid=40)
    worker = titled(pid=50, parent=40)
    child = titled(pid=60, parent=50)
    helper = process("convert a b", f"{ROOT}/1", "/usr/bin/convert", pid=70, parent=60)
    inside = titled(pid=80, parent=50, cgroup=UNIT)
    other = titled(pid=45, parent=40)
    first, second = found(helper, child, worker, shell, other, inside)
    assert (first.pids, second.pids) == ((45,), (50, 60, 70))


def test_pids_in_a_circle_are_no_matter() -> None:
    assert len(found(titled(pid=50, parent=51), titled(pid=51, parent=50))) <= 2


SOME = st.sampled_from([*WORKERS, *LOOK_ALIKES, titled()])


@given(
    st.lists(st.tuples(SOME, st.integers(2, 30), st.integers(0, 30), st.booleans()), max_size=12),
    st.sets(st.integers(2, 30)),
)
def test_of_any_host(rows: list[tuple[Process, int, int, bool]], registered: set[int]) -> None:
    table = {
        pid: replace(one, pid=pid, parent=parent, cgroup=UNIT if inside else one.cgroup)
        for one, pid, parent, inside in rows
    }
    known = {pid: registration(pid) for pid in registered}
    orphans = find_orphans(app(), table.values(), known)
    heads = {one.process.pid for one in orphans}
    for one in orphans:
        # Nobody in a unit, nobody without a worker's interpreter, nobody of another app.
        assert "unitq.slice" not in one.process.cgroup
        assert one.process.executable == "/usr/bin/php8.2"
        assert one.process.app in ("", "shop")
        assert one.marks
        assert not {child.pid for child in one.children} & heads
        assert all("unitq.slice" not in child.cgroup for child in one.children)
    # Each beside the app's instances, whose titles are evidence, is as it is among all others; but
    # for those that another one has started.
    instances = [each for each in table.values() if each.cgroup == UNIT]
    alone = {pid for pid, each in table.items() if find_orphans(app(), [*instances, each], known)}
    assert heads <= alone
    circles = any(each.parent >= each.pid for each in table.values())
    if not circles:
        assert alone <= {pid for one in orphans for pid in one.pids}


@given(SOME)
def test_more_evidence_never_clears_anybody(one: Process) -> None:
    before = bool(found(one))
    assert bool(found(one, registered=[registration(one.pid)])) >= before
    if one.app in ("", "shop"):
        assert bool(found(replace(one, app="shop"))) >= before
        queues = {**one.environment, "QUEUE": "sms"}
        assert bool(found(replace(one, environment=queues))) >= before


# Releases


def test_what_is_beside_a_release() -> None:
    current = Link("/srv/shop/current", f"{ROOT}/7", "")
    assert beside([current]) == (ROOT, "")
    assert beside([current._replace(rest="/api")]) == (ROOT, "/api")
    assert beside([Link("/srv", "/data/srv", "/shop/current"), current]) == (ROOT, "")
    assert beside([Link("/srv/shop/live", "/srv/shop/versions/7", "")])
    # What is beside these may be anybody's.
    for link in (
        Link("/srv/shop", "/data/shop", ""),
        Link("/srv/shop", "/srv/apps/shop", ""),
        Link("/srv/current", "/srv/shop-7", ""),
        Link("/srv/current", "/data/releases/shop", ""),
        Link("/current", "/shop", ""),
    ):
        assert beside([link]) is None, link
    assert beside([]) is None


def test_which_release_a_path_is_in() -> None:
    of = Releases(("/srv/a", "/srv/a/b"), ((ROOT, ""), ("/opt/r", "/api"))).of
    assert of("/srv/a/b/c") == "/srv/a/b"
    assert of("/srv/ab") == ""
    assert (of(ROOT), of(f"{ROOT}/9"), of(f"{ROOT}/9/x")) == ("", f"{ROOT}/9", f"{ROOT}/9")
    assert (of("/opt/r/1/api/x"), of("/opt/r/1/web")) == ("/opt/r/1/api", "")
    assert Releases(("/",)).of("/anything") == ""


def test_code_of_a_container_is_nobody_s_to_judge_by_the_time() -> None:
    later = work(code=replace(CODE, since=2000.0))
    for contained, current in ((False, False), (True, None)):
        one = titled("", contained=contained)
        (orphan,) = found(one, of=app(later), registered=[registration()])
        assert (orphan.release, orphan.current) == ("", current)


@pytest.mark.parametrize(
    ("one", "elsewhere"),
    [
        (process("php vendor/bin/resque", "/opt/old"), True),
        (titled("/opt/old"), True),
        (titled("", contained=True), True),
        (titled(""), False),
        (titled("/"), False),
        # The link has led to a release, and nobody knows to which.
        (process("php /srv/shop/current/vendor/bin/resque", "/tmp", moved=True), False),
        (process("php vendor/bin/resque", f"{ROOT}/1"), False),
    ],
)
def test_whether_its_code_is_known_to_lie_outside_all_releases(
    one: Process, elsewhere: bool
) -> None:
    (orphan,) = found(one, registered=[registration()])
    assert orphan.elsewhere is elsewhere


UNKNOWN_TITLES = [
    # An instance's title, an outsider's, where that one is; whether it is found.
    ("acme: idle", "acme: idle", f"{ROOT}/1", True),
    ("acme 4711: 3 jobs done", "acme 52: 12 jobs done", f"{ROOT}/1", True),
    ("acme: idle", "acme: idle", "/srv/blog", False),
    ("acme: worker", "acme: web", f"{ROOT}/1", False),
    ("acme: idle", "gunicorn: worker [shop]", f"{ROOT}/1", False),
    # What runs with a file on its command line has no title.
    ("php console queue", "php console queue", f"{ROOT}/1", False),
]


@pytest.mark.parametrize(("own", "title", "directory", "is_one"), UNKNOWN_TITLES)
def test_a_title_that_no_preset_knows_is_known_by_the_app_s_own_instances(
    own: str, title: str, directory: str, *, is_one: bool
) -> None:
    def named(words: str, **more: Any) -> Process:
        line = tuple(words.split()) if words.startswith("php ") else (words,)
        return replace(titled(directory, **more), words=line)

    serving = named(own, pid=40, cgroup=UNIT)
    other = named(title)
    assert [one.process.pid for one in found(serving, other)] == [50] * is_one
    # By itself, or beside another kind of program, it says nothing.
    assert found(other) == ()
    assert found(replace(serving, executable="/usr/bin/python3.11"), other) == ()
    # Another worker's, or another app's, is no proof either.
    blog = UNIT.replace("shop", "blog")
    assert found(replace(serving, cgroup=blog), other) == ()


@pytest.mark.parametrize(
    ("path", "release", "other"),
    [
        (f"{ROOT}/1.old", f"{ROOT}/1", True),
        (f"{ROOT}/2", f"{ROOT}/1", True),
        (f"{ROOT}/2/sub", f"{ROOT}/1", True),
        (f"{ROOT}/1.old (deleted)", f"{ROOT}/1", True),
        (f"{ROOT}/1.old/backend", f"{ROOT}/1/backend", True),
        (f"{ROOT}/1", f"{ROOT}/1", False),
        (f"{ROOT}/1 (deleted)", f"{ROOT}/1", False),  # see proc.directory_link
        (f"{ROOT}/1/sub", f"{ROOT}/1", False),
        (f"{ROOT}/1", f"{ROOT}/1/backend", False),
        (ROOT, f"{ROOT}/1", False),
        ("/", f"{ROOT}/1", False),
        ("", f"{ROOT}/1", False),
        ("/srv/blog", "/srv/shop", False),  # in a folder of all kinds of things
        ("/srv/shop/shared", f"{ROOT}/1", False),
    ],
)
def test_what_is_in_another_release_beside_it(path: str, release: str, *, other: bool) -> None:
    assert in_another(path, release) == other
