"""Which drives a fleet holds."""

from __future__ import annotations

from collections import Counter

import pytest

from platform_lib.errors import ConfigError
from platform_lib.scenario.fleet import demo_fleet
from platform_lib.scenario.model import DriveSpec


def test_weather_and_event_are_balanced() -> None:
    pairs = Counter((spec.weather, spec.event) for spec in demo_fleet(30, 7))
    assert len(pairs) == 15
    assert set(pairs.values()) == {2}


def test_names_are_unique_and_a_larger_fleet_begins_with_the_smaller() -> None:
    fleet = demo_fleet(40, 7)
    assert len({spec.name for spec in fleet}) == len({spec.seed for spec in fleet}) == 40
    assert fleet[:11] == demo_fleet(11, 7)
    other = demo_fleet(40, 8)
    assert not {spec.seed for spec in fleet} & {spec.seed for spec in other}
    assert not {spec.name for spec in fleet} & {spec.name for spec in other}


@pytest.mark.parametrize(("drives", "seed"), [(0, 7), (-3, 7), (100_001, 7), (4, -1)])
def test_impossible_fleets_are_refused(drives: int, seed: int) -> None:
    with pytest.raises(ConfigError):
        demo_fleet(drives, seed)


@pytest.mark.parametrize(
    "wrong",
    [{"weather": "snow"}, {"event": "party"}, {"duration_s": 0.0}, {"session": "../up"}, {"vehicle": ""}, {"seed": -1}],
)
def test_impossible_drives_are_refused(wrong: dict[str, object]) -> None:
    sound: dict[str, object] = {"seed": 1, "vehicle": "dt-001", "session": "a", "start_ns": 0}
    DriveSpec(**sound)  # type: ignore[arg-type]  # the point is to pass what types forbid
    with pytest.raises(ConfigError):
        DriveSpec(**(sound | wrong))  # type: ignore[arg-type]  # the same
