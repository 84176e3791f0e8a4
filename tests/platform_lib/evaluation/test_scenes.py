"""Which frames are shown: chosen for what happens, visible, and not twice from one drive."""

from __future__ import annotations

import numpy as np

from platform_lib.evaluation.frames import NO_AGENTS, TIMES_S, Frames
from platform_lib.evaluation.scenes import telling_rows


def frames(*rows: tuple[str, str, float]) -> Frames:
    """Frames of (drive, slice, driven speed in m/s)."""
    future_m = np.zeros((len(rows), len(TIMES_S), 2))
    for number, (_, _, speed_mps) in enumerate(rows):
        future_m[number, :, 0] = speed_mps * TIMES_S
    slices = tuple(frozenset({name}) for _, name, _ in rows)
    return Frames(tuple(drive for drive, _, _ in rows), slices, future_m, (NO_AGENTS,) * len(rows))


def test_a_path_that_can_be_seen_is_preferred_to_a_greater_surprise() -> None:
    found = telling_rows(frames(("a", "night", 0.1), ("b", "night", 6.0)), np.full(2, 12.0))
    assert found["night"] == 1
    assert telling_rows(frames(("a", "night", 0.1)), np.full(1, 12.0))["night"] == 0, "better hidden than none"


def test_no_drive_is_shown_twice_where_another_has_the_slice() -> None:
    rows = frames(("a", "pedestrian", 5.0), ("a", "lead", 4.0), ("b", "lead", 9.0))
    assert telling_rows(rows, np.full(3, 12.0)) | {"curve": 0} == {"pedestrian": 0, "lead": 2, "curve": 0}
    alone = telling_rows(frames(("a", "pedestrian", 5.0), ("a", "lead", 4.0)), np.full(2, 12.0))
    assert alone["lead"] == 1
