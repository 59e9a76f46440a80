"""Names of units, and what a target on the command line names."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.build import instance
from unitq.model import names
from unitq.model.app import NAME, NAME_RE, UNIT_NAME_MAX
from unitq.model.names import InstanceName

NAMES = st.from_regex(NAME, fullmatch=True)

EVERY = tuple(
    instance(text) for text in ("sms@1", "sms@2", "sms@10", "mail@1", "mail-low@1", "mail-low@2")
)


def matched(*patterns: str) -> list[str]:
    found, unknown = names.matching("shop", EVERY, patterns)
    assert not unknown, unknown
    return [str(name) for name in found]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["sms"], ["sms@1", "sms@2", "sms@10"]),
        (["sms@2"], ["sms@2"]),
        (["sms@[12]"], ["sms@1", "sms@2"]),
        (["sms@1*"], ["sms@1", "sms@10"]),
        (["mail"], ["mail@1"]),
        (["mail*"], ["mail@1", "mail-low@1", "mail-low@2"]),
        (["*@1"], ["mail@1", "mail-low@1", "sms@1"]),
        (["?ms@?"], ["sms@1", "sms@2"]),
        (["sms@2", "mail"], ["mail@1", "sms@2"]),
        (["sms", "sms@2"], ["sms@1", "sms@2", "sms@10"]),
        (["unitq-shop-sms@2.service"], ["sms@2"]),
        (["unitq-shop-mail-low@*.service"], ["mail-low@1", "mail-low@2"]),
    ],
)
def test_a_target_names_a_worker_an_instance_or_a_glob_of_either(
    patterns: list[str], expected: list[str]
) -> None:
    assert sorted(matched(*patterns)) == sorted(expected)


def test_no_target_is_the_whole_app() -> None:
    assert matched() == [str(name) for name in sorted(EVERY)]


@pytest.mark.parametrize("pattern", ["SMS", "sm", "sms@", "sms@3", "shop", "", "@1", "sms@01"])
def test_what_names_nothing_is_told_and_does_not_widen_the_rest(pattern: str) -> None:
    found, unknown = names.matching("shop", EVERY, ["sms@1", pattern])
    assert found == (instance("sms@1"),)
    assert unknown == (pattern,)


def test_numbers_sort_as_numbers() -> None:
    assert [str(name) for name in sorted(map(instance, ("sms@10", "sms@9", "mail@11")))] == [
        "mail@11",
        "sms@9",
        "sms@10",
    ]


def test_units_of_one_worker_are_not_those_of_another_that_begins_alike() -> None:
    units = [
        "unitq-shop-mail@1.service",
        "unitq-shop-mail-low@1.service",
        "unitq-shop-mail@2.service",
        "unitq-shop-mail@old.service",
        "unitq-shop-mail@.service",
        "unitq-shop-mail@0.service",
        "unitq-shop-mail@01.service",
        "unitq-shop-mail@10000.service",
        "unitq-other-mail@1.service",
        "mail@1.service",
    ]
    assert names.of_worker("shop", "mail", units) == {
        instance("mail@1"): "unitq-shop-mail@1.service",
        instance("mail@2"): "unitq-shop-mail@2.service",
    }


def test_two_apps_can_mean_the_same_unit_which_a_deploy_has_to_refuse() -> None:
    # Hence unitfiles.refuse_foreign(): the name alone does not tell whose unit it is.
    assert names.template("shop", "a-b") == names.template("shop-a", "b")
    # Their slices differ: "-" is escaped there.
    assert names.worker_slice("shop", "a-b") != names.worker_slice("shop-a", "b")


@given(NAMES, NAMES, st.integers(1, 4096))
def test_an_instance_is_found_again_by_its_unit(app: str, worker: str, number: int) -> None:
    name = InstanceName(worker, number)
    unit = names.unit(app, name)
    assert names.of_worker(app, worker, [unit]) == {name: unit}
    assert unit.startswith(names.template(app, worker).removesuffix(".service"))


PAIRS = st.tuples(NAMES, NAMES)
# Where the one's name could be taken for a part of the other's.
ALIKE = st.tuples(NAMES, NAMES, NAMES, st.sampled_from(["-probe", "_probe", "-", "probe"])).flatmap(
    lambda parts: st.tuples(
        st.just((parts[0], f"{parts[1]}-{parts[2]}"[:63])),
        st.sampled_from(
            [
                (f"{parts[0]}-{parts[1]}"[:63], parts[2]),
                (parts[0], f"{parts[1]}-{parts[2]}"[:56] + parts[3]),
                (parts[0], parts[1]),
            ]
        ),
    )
)


@given(st.one_of(st.tuples(PAIRS, PAIRS), ALIKE), st.integers(1, 4096), st.integers(1, 4096))
def test_a_probe_is_never_taken_for_an_instance(
    pairs: tuple[tuple[str, str], tuple[str, str]], number: int, other_number: int
) -> None:
    (app, worker), (other_app, other_worker) = pairs
    probe = names.probe(app, InstanceName(worker, number))
    unit = names.unit(other_app, InstanceName(other_worker, other_number))
    template = names.probe_template(app, worker)
    assert probe != unit
    assert template not in (
        names.template(other_app, other_worker),
        names.template(app, worker),
        *(names.target(name) for name in (app, other_app)),
    )
    # Two probes share a name only where their workers do, which a deploy refuses.
    same = names.template(app, worker) == names.template(other_app, other_worker)
    assert (template == names.probe_template(other_app, other_worker)) == same
    # What a worker's glob finds, as systemd and the shell match it, is none; nor what we take.
    for one, of in ((app, worker), (other_app, other_worker)):
        assert not fnmatchcase(probe, f"unitq-{one}-{of}@*.service")
        assert not names.of_worker(one, of, [probe, template])
    assert template.replace("@", f"@{number}") == probe
    assert len(probe) <= UNIT_NAME_MAX


def test_systemd_takes_a_probes_name_for_a_units() -> None:
    done = subprocess.run(
        ["systemd-escape", "--mangle", names.probe("shop", instance("sms-probe@12"))],
        check=True, capture_output=True, text=True, timeout=10,
    )  # fmt: skip
    assert done.stdout == "unitq-shop-sms-probe.probe@12.service\n"


@given(NAMES, NAMES)
def test_slices_nest_as_their_names_say(app: str, worker: str) -> None:
    # systemd.slice(5): a-b.slice is inside a.slice. Any "-" but ours would be another level.
    inner, outer = names.worker_slice(app, worker), names.app_slice(app)
    assert inner.removesuffix(".slice").rpartition("-")[0] == outer.removesuffix(".slice")
    assert outer.removesuffix(".slice").rpartition("-")[0] == names.ROOT_SLICE.removesuffix(
        ".slice"
    )


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_two_workers_never_share_a_slice(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (names.worker_slice(*one) == names.worker_slice(*other)) == (one == other)


@given(st.text())
def test_a_name_holds_nothing_that_systemd_or_a_path_gives_a_meaning(text: str) -> None:
    if NAME_RE.fullmatch(text):
        assert not re.search(r"[^A-Za-z0-9_-]", text)
        assert not text.startswith(("-", "_", "."))
        assert len(text) < UNIT_NAME_MAX


def test_names_are_escaped_as_systemd_does_it() -> None:
    plain = ["a-b", "a--b", "a_b-", "0", "A-9_"]
    told = subprocess.run(
        ["systemd-escape", *plain], check=True, capture_output=True, text=True, timeout=10
    ).stdout.split()
    assert [names.app_slice(name) for name in plain] == [f"unitq-{name}.slice" for name in told]
