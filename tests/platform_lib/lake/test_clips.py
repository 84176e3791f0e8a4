from __future__ import annotations

import numpy as np
import pyarrow as pa

from platform_lib.catalog.clips import CLIP_NS, TakenClip
from platform_lib.lake.clips import least_safe, odd_cell, taken_clips


def test_one_unsafe_frame_decides_for_its_window() -> None:
    windows = np.array([1, 1, 2, 2, 3], np.int64)
    assert least_safe(windows, ["blurred", "present", "none_present", "blurred", "unknown"]) == {
        1: "present",
        2: "blurred",
        3: "unknown",
    }


def test_an_odd_cell_names_each_axis_also_where_no_log_does() -> None:
    assert odd_cell({"weather": "rain", "event": "cut_in", "driver": "x"}) == "weather=rain, event=cut_in"
    assert odd_cell({"weather": "w" * 100}) == f"weather={'w' * 60}, event=unknown"


def test_samples_are_counted_by_clip_with_what_they_show_but_the_weather() -> None:
    table = pa.table(
        {
            "drive_id": ["b", "a", "a", "a"],
            "timestamp_ns": pa.array([0, CLIP_NS, CLIP_NS + 1, 2 * CLIP_NS], pa.int64()),
            "split": ["train", "val", "val", "val"],
            "slices": [["rain", "lead"], ["fog", "lead"], ["fog", "cut_in", "lead"], ["fog"]],
        }
    )
    assert taken_clips(table) == [
        TakenClip("a", CLIP_NS, "val", 2, ("cut_in", "lead")),
        TakenClip("a", 2 * CLIP_NS, "val", 1, ()),
        TakenClip("b", 0, "train", 1, ("lead",)),
    ]
