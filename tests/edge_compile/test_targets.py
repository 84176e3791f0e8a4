from __future__ import annotations

import pytest

from edge_compile.targets.doors import door_target
from edge_compile.targets.table import find_target, targets
from platform_lib.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "soc_model", "architecture"),
    [
        ("sa8255p", 52, "v73"),
        ("sa8295p", 39, "v68"),
        ("sa8540p", 62, "v68"),
        ("sa8797p", 72, "v81"),
        ("qcs9100", 77, "v73"),
        ("sm8650", 57, "v75"),
    ],
)
def test_confirmed_targets(name: str, soc_model: int, architecture: str) -> None:
    target = find_target(name)
    assert (target.soc_model, target.architecture, target.confirmed) == (soc_model, architecture, True)


@pytest.mark.parametrize("name", ["sa8650p", "sa8775p"])
def test_a_guessed_id_has_to_be_accepted(name: str) -> None:
    with pytest.raises(ConfigError, match="unconfirmed") as caught:
        find_target(name)
    assert "--accept-unconfirmed" in str(caught.value.remedy)
    assert not find_target(name, accept_unconfirmed=True).confirmed


def test_every_guess_says_what_it_rests_on() -> None:
    assert all(item.confirmed or item.note for item in targets().values())


@pytest.mark.parametrize("name", ["sa9999p", "", "52", "SA8255P; rm"])
def test_an_unknown_target_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown target") as caught:
        find_target(name)
    assert all(known in str(caught.value.remedy) for known in targets())


# Makers whose compilers are not in the package index


@pytest.mark.parametrize(
    ("name", "tool", "capabilities"),
    [("orin", "trtexec", ("8.7",)), ("Thor-U", "trtexec", ("10.1", "11.0")), ("aic100", "qaic-exec", ())],
)
def test_each_maker_has_its_compiler(name: str, tool: str, capabilities: tuple[str, ...]) -> None:
    found = door_target(name)
    assert found is not None
    assert (found.door.tool, found.capabilities) == (tool, capabilities)
    assert found.door.missing.startswith(f"{tool} is not available here: install ")


@pytest.mark.parametrize("name", ["sa8255p", "", "rtx", "or"])
def test_no_other_name_is_one_of_theirs(name: str) -> None:
    assert door_target(name) is None


def test_one_of_theirs_shares_no_binary() -> None:
    with pytest.raises(ConfigError, match="shares no binary"):
        find_target("orin")


def test_case_does_not_matter() -> None:
    assert find_target("SA8255P").name == "sa8255p"
