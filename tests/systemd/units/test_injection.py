"""No value can be more than a value: property tests against systemd's own parsers.

What the configuration accepts must arrive in the process byte for byte, and must not add or change
any directive of the unit. Many values a go, as each go costs a start or a daemon-reload.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.systemd.conftest import toml_text
from unitq.config.parse import parse
from unitq.errors import ConfigError
from unitq.model import layout, names
from unitq.units import templates
from unitq.units.render import Code, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

# A few long goes; a failing one is not made smaller, which would take a start for every attempt.
FEW = settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)

# What means something to systemd, to a shell or to TOML, and some that is only long in UTF-8.
NASTY = [
    *("%", "%%", "%i", "%n", "%H", "$", "$HOME", "${HOME}", "$$", '"', "'", "`", "\\", "\\\\"),
    *("\\n", "\\x41", "\\u0041", "\\", "\\\\n", " ", "  ", "#", ";", "=", "[Service]", "]", "!"),
    *("ExecStart=/bin/false", "KillMode=none", "User=root", "💥", "é", "ß", "漢字", "\u00a0", "~"),
]
character = st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp"))
value = st.lists(
    st.one_of(st.sampled_from(NASTY), st.text(character, max_size=8)), max_size=12
).map("".join)


@FEW
@given(values=st.lists(value, min_size=60, max_size=60))
def test_environment_values_arrive_byte_for_byte(system_site: Site, values: list[str]) -> None:
    wanted = {f"V{number}": text for number, text in enumerate(values)}
    dump = system_site.out / "environ"
    dump.unlink(missing_ok=True)
    command = system_site.odd("environ", str(dump))
    system_site.config(
        workers={"sms": {"command": command, "instances": 1}},
        environment=wanted,
        rollout={"min_healthy": "100ms"},
    )
    system_site.deploy()
    found = dict(entry.split(b"=", 1) for entry in dump.read_bytes().split(b"\0") if entry)
    assert {name: found[name.encode()] for name in wanted} == {
        name: text.encode() for name, text in wanted.items()
    }


def test_an_environment_file_arrives_as_systemd_reads_it(system_site: Site) -> None:
    dump = system_site.out / "environ"
    written = system_site.home / "secrets.env"
    written.write_bytes(
        b'# a comment\nPLAIN=a b  \nSINGLE=\'x $HOME \\ "\'\nDOUBLE="q \\" d \\$ b \\\\"\n'
        b"EMPTY=\nUTF='\xf0\x9f\x92\xa5'\n; another\nBOTH=file\n"
    )
    system_site.config(
        workers={"sms": {"command": system_site.odd("environ", str(dump)), "instances": 1}},
        environment={"BOTH": "unitq.toml"},
        environment_file=str(written),
    )
    system_site.deploy()
    found = dict(entry.split(b"=", 1) for entry in dump.read_bytes().split(b"\0") if entry)
    assert found[b"PLAIN"] == b"a b"
    assert found[b"SINGLE"] == b'x $HOME \\ "'
    assert found[b"DOUBLE"] == b'q " d $ b \\'
    assert found[b"EMPTY"] == b""
    assert found[b"UTF"] == "💥".encode()
    assert found[b"BOTH"] == b"unitq.toml"  # what stands in unitq.toml wins
    home = system_site.scope.state_dir / system_site.app / "current" / "sms"
    assert (home / "env.1").read_bytes() == written.read_bytes()
    for name in ("env", "env.1"):
        assert (home / name).stat().st_mode & 0o777 == 0o600


PROPERTIES = (
    *("KillMode", "KillSignal", "SendSIGKILL", "TimeoutStopUSec", "User", "Group", "Nice", "UMask"),
    *("Slice", "Restart", "RestartUSec", "WorkingDirectory", "EnvironmentFiles", "Environment"),
    *("StandardInput", "LimitCORE", "ProtectSystem", "SuccessExitStatus", "PartOf", "WantedBy"),
    *("ExecStartPre", "ExecStartPost", "ExecStop", "ExecReload", "Type", "DropInPaths"),
    "TimeoutStartUSec",
)  # fmt: skip


@pytest.fixture
def unit_dir() -> Iterator[Path]:
    """systemd's run-time folder; what is put there with our prefix goes again."""
    folder = Path("/run/systemd/system")
    folder.mkdir(exist_ok=True)
    yield folder
    for path in folder.glob("unitq-injection-*"):
        path.unlink()
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=60)


def accepted(worker: dict[str, Any]) -> bool:
    """Whether the configuration takes it."""
    try:
        parse(document({"w": worker}), source="unitq.toml")
    except ConfigError:
        return False
    return True


def document(workers: dict[str, Any]) -> str:
    """A unitq.toml."""
    return toml_text({"app": "injection", "directory": "/srv", "workers": workers})


def loaded(workers: dict[str, Any], unit_dir: Path) -> list[str]:
    """Has systemd read the units of these workers; returns the first instance of each."""
    app = parse(document(workers), source="unitq.toml")
    code = {worker.name: Code("/srv", "1") for worker in app.workers}
    where = layout.system()
    for unit in render(app, where, code, templates.texts(where.config_dir)).units:
        (unit_dir / unit.name).write_text(unit.text)
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=60)
    return [names.unit(app.name, names.InstanceName(name, 1)) for name in workers]


def probe_of(unit: str) -> str:
    """The unit of the probe of an instance."""
    return unit.replace("@", ".probe@")


def show(units: list[str], properties: tuple[str, ...] = PROPERTIES) -> list[dict[str, str]]:
    """What systemd makes of these units."""
    wanted = ",".join((*properties, "LoadState", "Description"))
    done = subprocess.run(
        ["systemctl", "show", f"--property={wanted}", "--", *units],
        check=True,
        capture_output=True,
        timeout=60,
    )
    blocks = done.stdout.decode().strip("\n").split("\n\n")
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]


@FEW
@given(
    hostile=st.lists(st.tuples(value, value, value, value), min_size=40, max_size=40),
)
def test_no_value_adds_or_changes_a_directive(
    unit_dir: Path, hostile: list[tuple[str, str, str, str]]
) -> None:
    workers: dict[str, Any] = {"plain": {"command": "/bin/true", "probe": {"command": "/bin/true"}}}
    for number, (argument, description, ignored, queue) in enumerate(hostile):
        worker = {
            "command": f"/bin/true {argument}",
            "queues": [queue or "q"],
            "environment": {"A": ignored},
            "unit": {"Description": description, "X-Note": ignored},
            "service": {"X-Note": [ignored, argument]},
            "probe": {"command": f"/bin/true {argument}"},
        }
        if accepted(worker):
            workers[f"w{number}"] = worker
    instances = loaded(workers, unit_dir)
    plain, *others = show(instances)
    assert plain["LoadState"] == "loaded"
    assert plain["KillSignal"] == "3"
    plain_probe, *probes = show([probe_of(unit) for unit in instances])
    assert plain_probe["LoadState"] == "loaded"
    assert (plain_probe["Type"], plain_probe["Slice"]) == ("oneshot", "unitq-injection.slice")
    judged = asked = 0
    for name, found in zip(list(workers)[1:], probes, strict=True):
        if found["LoadState"] != "loaded":
            assert found["LoadState"] == "bad-setting"
            continue
        asked += 1
        for key in PROPERTIES:
            expected = plain_probe.get(key, "").replace("plain", name)
            assert found.get(key, "") == expected, (key, workers[name])
    for name, found in zip(list(workers)[1:], others, strict=True):
        # A command that systemd cannot parse (an open quote, say) makes a unit that it refuses
        # as a whole, and `systemd-analyze verify` says so before a deploy.
        if found["LoadState"] != "loaded":
            assert found["LoadState"] == "bad-setting"
            continue
        judged += 1
        for key in PROPERTIES:
            expected = plain.get(key, "").replace("plain", name)
            assert found.get(key, "") == expected, (key, workers[name])
        description = workers[name]["unit"]["Description"].strip(" ")
        if description and "%" not in description:
            assert found["Description"] == description
    assert min(judged, asked) > len(hostile) // 4  # else the test would show nothing
    for path in unit_dir.glob("unitq-injection-*"):
        path.unlink()


# What a key means, as systemd shows it: (value in unitq.toml, property, what systemctl shows).
SHOWN: list[st.SearchStrategy[tuple[str, Any, dict[str, str]]]] = [
    st.sampled_from(["www-data", "root", "0", "33", "tester"]).map(
        lambda name: ("user", name, {"User": name})
    ),
    st.sampled_from(["www-data", "adm", "4"]).map(lambda name: ("group", name, {"Group": name})),
    st.integers(-20, 19).map(lambda level: ("nice", level, {"Nice": str(level)})),
    st.sampled_from(["0022", "077", "0000", "0777"]).map(
        lambda mask: ("umask", mask, {"UMask": mask.zfill(4)})
    ),
    st.sampled_from(["control-group", "mixed"]).map(
        lambda mode: ("kill_mode", mode, {"KillMode": mode})
    ),
    st.sampled_from([("TERM", 15), ("SIGINT", 2), ("USR1", 10), ("SIGQUIT", 3), ("WINCH", 28)]).map(
        lambda pair: ("stop_signal", pair[0], {"KillSignal": str(pair[1])})
    ),
    st.sampled_from(
        [("90s", "1min 30s"), ("infinity", "infinity"), (7, "7s"), ("1h 2ms", "1h 2ms")]
    ).map(lambda pair: ("stop_timeout", pair[0], {"TimeoutStopUSec": pair[1]})),
    st.sampled_from([("90s", "1min 30s"), ("100ms", "100ms"), (0, "0")]).map(
        lambda pair: ("restart_delay", pair[0], {"RestartUSec": pair[1]})
    ),
    st.sampled_from(
        [("5/1min", ("5", "1min")), ("1 / 2h", ("1", "2h")), ("none", (None, "0"))]
    ).map(
        lambda pair: (
            "start_limit",
            pair[0],
            {"StartLimitIntervalUSec": pair[1][1]}
            | ({"StartLimitBurst": pair[1][0]} if pair[1][0] else {}),
        )
    ),
    st.sampled_from([("1024:65536", ("65536", "1024")), (512, ("512", "512"))]).map(
        lambda pair: (
            "limits",
            {"LimitNOFILE": pair[0]},
            {"LimitNOFILE": pair[1][0], "LimitNOFILESoft": pair[1][1]},
        )
    ),
    st.sampled_from([{"MemoryMax": "512M"}, {"MemoryMax": 536870912}]).map(
        lambda table: ("service", table, {"MemoryMax": "536870912"})
    ),
    st.sampled_from(["a.service", "b.service"]).map(
        lambda names: ("unit", {"Wants": names}, {"Wants": names})
    ),
]
# Which property belongs to which key: all others must be as in a worker without any.
BELONGS = {
    "user": ("User",),
    "group": ("Group",),
    "nice": ("Nice",),
    "umask": ("UMask",),
    "kill_mode": ("KillMode",),
    "stop_signal": ("KillSignal", "SuccessExitStatus"),
    "stop_timeout": ("TimeoutStopUSec",),
    "restart_delay": ("RestartUSec",),
    "start_limit": ("StartLimitIntervalUSec", "StartLimitBurst"),
    "limits": ("LimitNOFILE", "LimitNOFILESoft"),
    "service": ("MemoryMax",),
    "unit": ("Wants",),
}
configured = st.sets(st.integers(0, len(SHOWN) - 1)).flatmap(
    lambda chosen: st.tuples(*(SHOWN[index] for index in sorted(chosen)))
)


@FEW
@given(every=st.lists(configured, min_size=40, max_size=40))
def test_every_key_sets_its_own_property_and_no_other(
    unit_dir: Path, every: list[tuple[tuple[str, Any, dict[str, str]], ...]]
) -> None:
    workers: dict[str, Any] = {"plain": {"command": "/bin/true"}}
    for number, keys in enumerate(every):
        given_keys = {key: value for key, value, _ in keys}
        workers[f"w{number}"] = {"command": "/bin/true", **given_keys}
    instances = loaded(workers, unit_dir)
    wanted = (*PROPERTIES, *(name for names in BELONGS.values() for name in names))
    plain, *others = show(instances, tuple(dict.fromkeys(wanted)))
    for number, (keys, found) in enumerate(zip(every, others, strict=True)):
        assert found["LoadState"] == "loaded"
        touched = {name for key, _, _ in keys for name in BELONGS[key]}
        for _, _, shown in keys:
            for name, text in shown.items():
                assert found[name] == text, keys
        for name in wanted:
            if name not in touched:
                expected = plain.get(name, "").replace("plain", f"w{number}")
                assert found.get(name, "") == expected, (name, keys)


# Names of programs, and a command line that means them: systemd's quotes, which unitq has to keep
# while it puts the release before the path. (Quotes and backslashes in a name systemd refuses.)
PROGRAMS = {
    "my worker": '"bin/my worker"',
    "100%": "bin/100%%",
    "x%i": "bin/x%%i",
    "a;b": "bin/a;b",
    "#hash": "bin/#hash",
    "ünï💥": "bin/ünï💥",
    "tab~": "./bin/tab~",
    "[b]": "bin/[b]",
}


def test_a_program_of_any_name_is_taken_from_the_release(system_site: Site) -> None:
    site = system_site
    folder = site.release(1) / "bin"
    folder.mkdir()
    workers = {}
    for number, (name, command) in enumerate(PROGRAMS.items()):
        program = folder / name
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\nexec sleep 1000\n')
        program.chmod(0o755)
        # Arguments are systemd's to read: %i is the instance's number, %% a percent sign.
        line = f'{command} \'a b\' "c\\"d" %i %% $$ e\\x20f'
        workers[f"w{number}"] = {"command": line, "instances": 1}
    site.config(workers=workers, rollout={"min_healthy": "100ms"})
    site.deploy()
    release = site.scope.state_dir / site.app / "pins"
    for number, name in enumerate(PROGRAMS):
        pid = site.pids(f"w{number}")[f"w{number}@1"]
        # /bin/sh, the script, its arguments; then the shell has become the sleep.
        unit = site.unit(f"w{number}", 1)
        said = site.scope.journal(f"-u{unit}").splitlines()
        expected = [f"{release}/w{number}/1/release/bin/{name}", "a b", 'c"d', "1", "%", "$", "e f"]
        assert [line for line in said if line in expected] == expected, said
        assert pid
