"""How wrappers are read off a command line, whatever form their options have."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import pytest

from tests.harness.build import PRESETS
from unitq.cmdline.exec_line import split
from unitq.cmdline.wrappers import WRAPPERS, Kind, unwrap, wrapper_of
from unitq.presets.detect import framework_of

R, P, K, E = Kind.REPLACES, Kind.PASSES_ON, Kind.KEEPS, Kind.ELSEWHERE

# What stands before `rq worker a`, and the kinds of wrappers it is; "S" stands for it as one word.
FORMS = [
    ("env -u X -C /x A=1", [R]), ("/usr/bin/env -S 'A=1'", [R]), ("env --unset=X --", [R]),
    ("nice", [R]), ("nice -n 10", [R]), ("nice -n10", [R]), ("nice -10", [R]),
    ("nice --adjustment=5", [R]), ("ionice -c2 -n 7", [R]), ("ionice -c 2 -n7", [R]),
    ("nohup", [R]), ("stdbuf -oL -e 0", [R]), ("stdbuf --output=L", [R]),
    ("setpriv --reuid=app --init-groups", [R]), ("setpriv --reuid app --regid app --", [R]),
    ("chrt -r 10", [R]), ("chrt -b 0", [R]), ("taskset -c 0,1", [R]), ("taskset 0x3", [R]),
    ("prlimit --nofile=100", [R]), ("numactl -N 0", [R]), ("choom -n 100 --", [R]),
    ("systemd-cat -t w", [R]), ("chpst -u app -n 5", [R]), ("gosu app", [R]),
    ("su-exec app:app", [R]), ("setuidgid app", [R]), ("envdir /env", [R]),
    ("ddtrace-run", [R]), ("newrelic-admin run-program", [R]),
    ("bundle exec", [R]), ("poetry run", [R]), ("pipenv run", [R]), ("poetry -C /x run", [R]),
    ("unshare -m", [R]), ("unshare --fork", [K]), ("unshare -fp", [K]), ("setsid", [K]),
    ("setsid -w", [K]),
    ("timeout 1h", [P]), ("timeout -s INT -k 5 1h", [P]), ("timeout --signal=INT 1h", [P]),
    ("timeout -k5 -sINT 1h", [P]), ("timeout --foreground --preserve-status 1h", [P]),
    ("tini --", [P]), ("tini -s -g --", [P]), ("tini -p SIGKILL", [P]), ("dumb-init", [P]),
    ("dumb-init -r 15:3 --", [P]), ("dumb-init --rewrite=15:3 -c", [P]), ("catatonit --", [P]),
    ("uv run", [P]), ("uv run --env-file .env", [P]), ("uv run --env-file=.env --", [P]),
    ("uv run --no-sync --with x -p 3.12", [P]), ("uv --directory /x run --frozen", [P]),
    ("pdm run", [P]), ("dotenv -e .env --", [P]), ("cross-env A=1", [P]),
    ("dotenv run --", [R]), ("dotenv -f .env run", [R]), ("dotenv -f .env run --", [R]),
    ("dotenvx run --", [P]), ("dotenvx run -f .env --overload --", [P]),
    ("dotenvx run --env-file=.env --", [P]), ("doppler run --", [P]),
    ("doppler run -p shop -c prd --", [P]), ("doppler run", [P]), ("doppler run --command S", [P]),
    ("doppler --token x run --command=S --silent", [P]), ("infisical run --env=prod --", [P]),
    ("infisical run -e prod --path /a --", [P]), ("infisical run --command S", [P]),
    ("rbenv exec", [R]), ("pyenv exec", [R]), ("nodenv exec", [R]), ("asdf exec", [R]),
    ("/home/a/.rbenv/bin/rbenv exec bundle exec", [R, R]), ("rvm-exec 3.3@shop", [R]),
    ("rvm 3.3 do", [R]), ("/home/a/.rvm/bin/rvm in /srv do bundle exec", [R, R]),
    ("direnv exec /srv/shop", [R]), ("direnv exec .", [R]), ("mise exec --", [R]),
    ("mise x ruby@3.3 node@20 --", [R]), ("mise exec -c S", [R]),
    ("mise x ruby@3 --command S", [R]),
    ("mise -C /srv exec -j 2 ruby@3.3 --", [R]), ("aws-vault exec prod --", [R]),
    ("aws-vault exec -d 1h prod", [R]), ("aws-vault exec --duration=1h -n prod --", [R]),
    ("aws-vault exec --ecs-server prod --", [P]), ("chamber exec shop shop/mail --", [R]),
    ("chamber -b ssm exec shop --", [R]), ("nix develop -c", [R]),
    ("nix develop .#a --command", [R]),
    ("nix shell nixpkgs#redis nixpkgs#ruby -c", [R]), ("nix develop --impure -k A .#a -c", [R]),
    ("nix-shell --run S", [R]), ("nix-shell --pure -p redis ruby --run S", [R]),
    ("nix-shell shell.nix --command=S -A x", [R]), ("proxychains4 -q -f /p", [R]),
    ("proxychains", [R]), ("eatmydata", [R]), ("with-contenv", [R]), ("s6-setuidgid app", [R]),
    ("s6-envdir -c x /e", [R]), ("s6-applyuidgid -u 5 -g 5", [R]), ("s6-softlimit -o 99", [R]),
    ("softlimit -m 9999 -o 9", [R]), ("catchsegv", [K]), ("unbuffer -p", [K]),
    ("faketime -f 2020-01-01", [K]), ("conda run -n shop", [K]), ("conda run", [K]),
    ("conda run --no-capture-output --cwd /x -p /envs/a", [K]), ("micromamba run -n shop", [K]),
    ("mamba run -a x --name=shop", [K]), ("op run --env-file=.env --", [K]), ("op run --", [K]),
    ("op --account a run --env-file .env --", [K]), ("scl enable rh-ruby27 --", [K]),
    ("scl enable rh-ruby27 rh-redis5 S", [K]), ("scl enable -x rh-ruby27 --", [R]),
    ("scl enable rh-ruby27 -x --", [R]), ("scl run a S", [K]), ("chruby-exec 3.3 --", [K]),
    ("env-cmd -f .env", [K]),
    ("flock -n /l", [K]), ("flock -w 5 -E 9 /l", [K]), ("flock --timeout=5 /l", [K]),
    ("flock /l -c S", [K]), ("flock -F /l", [R]), ("flock --no-fork -n /l", [R]),
    ("xvfb-run -a -s '-screen 0'", [K]), ("xvfb-run --server-args='-screen 0'", [K]),
    ("script -qefc S /dev/null", [K]), ("script -q -c S /dev/null", [K]),
    ("script --command S /dev/null", [K]), ("script --command=S /dev/null", [K]),
    ("watchmedo auto-restart -d . -p '*.py' --recursive --", [K]), ("honcho run", [K]),
    ("nodemon -w src --exec S", [K]), ("watchexec -w src --", [K]), ("strace -f -o /t", [K]),
    ("runuser -u app --", [K]), ("runuser --user=app", [K]), ("runuser app -c S", [K]),
    ("runuser -l app -c S", [E]), ("runuser - app -c S", [E]), ("su - app -c S", [E]),
    ("su -c S app", [E]), ("su -lc S app", [E]), ("su app -s /bin/sh -c S", [E]),
    ("sudo -u app", [E]), ("sudo -Hu app", [E]), ("sudo -E -uapp A=1", [E]),
    ("sudo --user=app --", [E]), ("sudo -iu app env B=1", [E, R]), ("doas -u app", [E]),
    ("docker run --rm -v /a:/b -e A image", [E]), ("docker exec -i app", [E]),
    ("docker compose exec -T app", [E]), ("podman run --rm image", [E]),
    ("kubectl exec -n x pod --", [E]), ("ssh -p 22 host", [E]), ("systemd-run --wait -p A=b", [E]),
    ("machinectl shell app@", [E]),
    ("nice -n 5 timeout 1h flock -n /l uv run", [R, P, K, P]),
    ("env A=1 sudo -u app nice", [R, E, R]),
]  # fmt: skip


def line(before: str) -> str:
    command = "rq worker a"
    return (
        before.replace("S", f"'{command}'", 1)
        if "S" in before.split()
        else (before.replace("=S ", f"='{command}' ") if "=S " in before else f"{before} {command}")
    )


@pytest.mark.parametrize(("before", "kinds"), FORMS)
def test_every_form_is_read_and_the_framework_behind_it_recognised(
    before: str, kinds: list[Kind]
) -> None:
    found = unwrap(split(line(before)))
    assert [use.kind for use in found.uses] == kinds
    assert found.script or " ".join(found.words) == "rq worker a"
    for command in (
        line(before),
        f'bash -c "cd x && {line(before)}"',
        f'sh -c "exec {line(before)}"',
        f'bash -c "while true; do {line(before)}; done"',
    ):
        looks = framework_of(PRESETS, command, {})
        assert looks is not None, command
        assert looks[0].name == "rq"


@pytest.mark.parametrize(
    ("command", "account"),
    [
        ("su - app -c w", "app"), ("su -c w app", "app"), ("su -lc w app", "app"),
        ("su app -s /bin/sh -c w", "app"), ("runuser -u app -- w", "app"), ("su -c w", ""),
        ("runuser -l app -c w", "app"), ("sudo -u app w", "app"), ("sudo -Huapp w", "app"),
        ("sudo --user=app w", "app"), ("sudo w", ""), ("gosu app w", "app"),
        ("doas -u app w", "app"),
    ],
)  # fmt: skip
def test_the_account_is_in_the_words(command: str, account: str) -> None:
    assert unwrap(split(command)).uses[0].account == account


@pytest.mark.parametrize(
    "command",
    ["bundle install", "poetry install", "docker ps", "env", "timeout", "php x", "uv sync",
     "kubectl get pods", "rbenv versions", "rvm use 3", "conda install rq", "nix-shell",
     "nix-shell -p rq", "nix build -c", "mise use x", "direnv allow", "scl list-collections",
     "", "envoy run x", "bin/batch run", "/srv/shop/bin/script w", "./time w",
     "/srv/shop/batch --queue a", "./at w"],
)  # fmt: skip
def test_what_runs_no_command_is_no_wrapper(command: str) -> None:
    found = unwrap(split(command))
    assert (found.uses, found.words) == ((), tuple(split(command)))


@pytest.mark.parametrize("command", ["npm run w", "honcho start", "supervisord -n", "yarn w"])
def test_what_it_runs_stands_elsewhere(command: str) -> None:
    found = unwrap(split(command))
    assert [use.kind for use in found.uses] == [Kind.KEEPS]
    assert found.words == tuple(split(command))


@pytest.mark.parametrize("before", ["env ", "timeout 1 ", "bundle exec ", "docker run x "])
def test_no_row_of_wrappers_takes_long(before: str) -> None:
    begun = time.process_time()
    unwrap((before * 20_000).split())
    assert time.process_time() - begun < 1


def test_rows_are_whole() -> None:
    names = [name for row in WRAPPERS for name in row.names]
    assert len(names) == len(set(names))
    for row in WRAPPERS:
        kinds = {row.kind, *(variant.kind for variant in row.variants)}
        assert bool(row.does) == bool(kinds & {Kind.KEEPS, Kind.ELSEWHERE} - {None}) or row.kills
        assert row.kind is Kind.REPLACES or row.instead, row.name
        assert bool(row.kills) == bool(row.kills_on), row.name


@pytest.mark.parametrize("program", ["at", "batch", "script", "time"])
@pytest.mark.parametrize("folder", ["bin", ".", "/srv/shop/bin", "/srv/shop/current/vendor/bin"])
def test_a_program_of_the_app_s_own_is_no_tool_of_the_system(program: str, folder: str) -> None:
    assert wrapper_of(f"{folder}/{program}") is None
    assert wrapper_of(program) is wrapper_of(f"/usr/bin/{program}") is not None


@pytest.mark.parametrize("program", ["venv/bin/honcho", "bin/bundle", "./tini", "/opt/uv/bin/uv"])
def test_what_apps_bring_along_is_known_wherever_it_is(program: str) -> None:
    assert wrapper_of(program) is not None


DOCS = Path(__file__).parents[3] / "docs" / "your-worker.md"
# How the second column of the table begins, and what the table of wrappers then has to say.
IN_WORDS = {
    "becomes the worker": Kind.REPLACES,
    "becomes a shell": Kind.REPLACES,
    "stays, passes the signal on": Kind.PASSES_ON,
    "pass on some signals": Kind.PASSES_ON,
    "signal the whole group": Kind.PASSES_ON,
    "kills the worker so long after": Kind.PASSES_ON,
    "die of the signal": Kind.KEEPS,
    "the same, or ignore it": Kind.KEEPS,
    "end the worker in their own way": Kind.KEEPS,
    "forks and ends": Kind.KEEPS,
    "a session outside the unit": Kind.ELSEWHERE,
    "start the worker below another daemon": Kind.ELSEWHERE,
}
ROWS = [
    line.strip("| ").split(" | ")
    for line in DOCS.read_text().partition("## Wrappers")[2].partition("## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith(("| wrapper", "| ---"))
]
# What may stand between the words in the docs and the worker, besides `run` and its like.
BETWEEN: tuple[list[str], ...] = ([], ["--"], ["x"], ["1", "x"], ["-s"])


def written() -> list[tuple[str, str]]:
    """Returns each command of the first column, with what the second says of it."""
    return [
        (name.strip(), what)
        for names, what, _ in ROWS
        for name in re.findall(r"`([^`]+)`", names) or names.split(",")
        if name not in ("exec", "…")
    ]


@pytest.mark.parametrize(("command", "what"), written())
def test_the_page_says_what_the_table_does(command: str, what: str) -> None:
    kind = next(kind for words, kind in IN_WORDS.items() if what.startswith(words))
    words = [word for word in shlex.split(command) if word != "…"]
    row = wrapper_of(words[0])
    runners = [[], *([runner] for runner in row.runner)] if row else []
    uses = [
        unwrap([*words, *runner, *between, "worker"]).uses
        for runner in runners
        for between in BETWEEN
    ]
    assert kind in {use.kind for each in uses for use in each[:1]}, command


def test_every_row_of_the_page_is_looked_at() -> None:
    assert len(ROWS) == len(IN_WORDS)
