"""What happens in a frame, told from geometry."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.datasets.slices import event_slices, path_coordinates

STRAIGHT = np.column_stack([np.arange(1, 7) * 5.0, np.zeros(6)])


def named(*agents: tuple[int, int, str, float, float]) -> tuple[str, ...]:
    rows = list(agents)
    return event_slices(
        STRAIGHT,
        0.0,
        step=np.array([row[0] for row in rows], dtype=np.int64),
        track=np.array([row[1] for row in rows], dtype=np.int64),
        kind=np.array([row[2] for row in rows], dtype=np.object_),
        xy=np.array([row[3:] for row in rows], dtype=np.float64).reshape(-1, 2),
    )


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        ([], ("cruise",)),
        ([(0, 1, "vehicle", 20.0, 0.5)], ("lead",)),
        ([(0, 1, "vehicle", 60.0, 0.5)], ("cruise",)),
        ([(0, 1, "vehicle", -10.0, 0.0)], ("cruise",)),
        ([(0, 1, "vehicle", 20.0, 3.5)], ("cruise",)),
        ([(0, 1, "vehicle", 15.0, 3.5), (3, 1, "vehicle", 25.0, 0.9)], ("cut_in",)),
        ([(3, 1, "vehicle", 25.0, 0.9), (0, 1, "vehicle", 15.0, 3.5)], ("cut_in",)),
        ([(0, 1, "vehicle", 15.0, 0.2), (3, 1, "vehicle", 25.0, 3.5)], ("lead",)),
        ([(0, 1, "vehicle", 15.0, 3.5), (3, 2, "vehicle", 25.0, 0.9)], ("cruise",)),
        ([(2, 1, "pedestrian", 20.0, -3.0)], ("pedestrian",)),
        ([(2, 1, "pedestrian", 20.0, -8.0)], ("cruise",)),
        ([(0, 1, "traffic_light_red", 50.0, -5.0)], ("traffic_light",)),
        ([(0, 1, "traffic_light_green", 50.0, -5.0)], ("cruise",)),
        ([(0, 1, "vehicle", 20.0, 0.0), (1, 2, "pedestrian", 20.0, 2.0)], ("pedestrian", "lead")),
    ],
)
def test_events(agents: list[tuple[int, int, str, float, float]], expected: tuple[str, ...]) -> None:
    assert named(*agents) == expected


def test_distance_is_measured_along_the_bend_that_was_driven() -> None:
    angle = np.arange(1, 7) * 0.2
    bend = np.column_stack([25.0 * np.sin(angle), 25.0 * (1.0 - np.cos(angle))])
    along, across = path_coordinates(bend, 1.2, np.vstack([bend[3], bend[3] + [-1.0, 1.0], [-3.0, 1.0]]))
    assert along[0] == pytest.approx(20.0, abs=0.1)
    assert across[0] == pytest.approx(0.0, abs=0.01)
    assert across[1] > 1.0
    assert along[2] == pytest.approx(-3.0, abs=0.3)


def test_a_standing_vehicle_looks_straight_ahead() -> None:
    along, across = path_coordinates(np.zeros((6, 2)) + 0.001, 0.0, np.array([[10.0, 1.0]]))
    assert along[0] == pytest.approx(10.0)
    assert across[0] == pytest.approx(1.0)
