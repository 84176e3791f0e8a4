"""Test frames for people to look at: chosen for what happens in them, never for how well a planner did."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from platform_lib.evaluation.frames import TIMES_S, Frames
from platform_lib.evaluation.geometry import Doubles
from platform_lib.evaluation.open_loop import in_slice

WANTED = ("pedestrian", "cut_in", "lead", "traffic_light", "night", "rain", "curve")
_VISIBLE_M = 10.0
"""A path that ends nearer than this is mostly hidden under the vehicle's own front."""
_TITLES = {
    "pedestrian": "A pedestrian crosses",
    "cut_in": "A car cuts in",
    "lead": "The car ahead brakes",
    "traffic_light": "A red light",
    "night": "Night",
    "rain": "Rain",
    "curve": "A curve",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Points = tuple[tuple[float, float], ...]


class Scene(_Strict):
    """One picture with paths; each path is in metres (ego frame) and in pixels of the picture.

    Attributes:
        paths_m: ``driven``, ``planned``, ``ego_only`` -> the 6 points at 0.5 ... 3.0 s, in metres.
        paths_px: The same in pixels, the car's own position first, points outside the picture left out.
        ade_m: The same names -> mean distance to the driven path.
    """

    title: str
    caption: str
    image: str
    width: int
    height: int
    sample_id: str
    drive_id: str
    slices: tuple[str, ...]
    paths_m: dict[str, Points]
    paths_px: dict[str, Points]
    ade_m: dict[str, float]


class Scenes(_Strict):
    """``scenes.json``."""

    schema_version: Literal[1] = 1
    scenes: tuple[Scene, ...]


def telling_rows(frames: Frames, speed_mps: Doubles) -> dict[str, int]:
    """Choose one frame for each of `WANTED` that the split has.

    Within a slice it is the frame where the driven path differs most from keeping speed and heading: there something
    had to be seen. ``curve`` is the frame with the largest sideways displacement. Where there is a choice, the driven path
    reaches far enough to be in the picture, and no two frames are of one drive. No planner's result has a say.

    Args:
        frames: N frames.
        speed_mps: (N,) present speed.
    """
    kept = np.zeros_like(frames.future_m)
    kept[:, :, 0] = speed_mps[:, None] * TIMES_S
    surprise = np.linalg.norm(frames.future_m - kept, axis=2).mean(axis=1)
    sideways = np.abs(frames.future_m[:, -1, 1])
    visible = frames.future_m[:, -1, 0] >= _VISIBLE_M
    drives = np.array(frames.drive)
    chosen: dict[str, int] = {}
    for name in WANTED:
        score = sideways if name == "curve" else surprise
        eligible = np.ones(len(frames), dtype=np.bool_) if name == "curve" else in_slice(frames, name)
        eligible[list(chosen.values())] = False
        fresh = ~np.isin(drives, drives[list(chosen.values())])
        for preferred in (eligible & visible & fresh, eligible & visible, eligible):
            if preferred.any():
                chosen[name] = int(np.where(preferred, score, -np.inf).argmax())
                break
    return chosen


def title_of(name: str) -> str:
    """Return a picture's title for one of `WANTED`."""
    return _TITLES[name]
