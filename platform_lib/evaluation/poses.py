"""Where the ego is at any time while it follows a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.evaluation.frames import STEP_S, STEPS
from platform_lib.evaluation.geometry import Boxes, Doubles, Flags, ego_boxes, path_headings
from platform_lib.evaluation.roads import Roads, within

TICK_S = 0.1
TICKS = round(STEPS * STEP_S / TICK_S)
"""The last tick, at 3.0 s; tick 0 is now."""


@dataclass(frozen=True, slots=True)
class Poses:
    """Rear-axle poses of N plans at K + 1 knots, the first one now; each array is (N, K + 1)."""

    x_m: Doubles
    y_m: Doubles
    yaw_rad: Doubles
    step_s: float

    @classmethod
    def of_plan(cls, plan_m: Doubles) -> Poses:
        """Take (N, 6, 2) plans as they are: straight between the points, the heading turning evenly."""
        path = np.concatenate([np.zeros((len(plan_m), 1, 2)), plan_m], axis=1)
        headings = np.concatenate([np.zeros((len(plan_m), 1)), path_headings(plan_m)], axis=1)
        return cls(path[..., 0], path[..., 1], headings, STEP_S)

    def boxes(self, frame: NDArray[np.int64], time_s: Doubles) -> Boxes:
        """Return the ego's boxes of the frames at the times, interpolated between knots."""
        return ego_boxes(*self._between(frame, time_s, self.x_m, self.y_m, self.yaw_rad))

    def places(self, frame: NDArray[np.int64], time_s: Doubles) -> tuple[Doubles, Doubles]:
        """Return where the rear axle is, likewise."""
        x, y = self._between(frame, time_s, self.x_m, self.y_m)
        return x, y

    def _between(self, frame: NDArray[np.int64], time_s: Doubles, *columns: Doubles) -> list[Doubles]:
        position = time_s / self.step_s
        knot = np.clip(position.astype(np.int64), 0, self.x_m.shape[1] - 2)
        part = np.clip(position - knot, 0.0, 1.0)
        at = frame * self.x_m.shape[1] + knot
        return [c.ravel()[at] * (1.0 - part) + c.ravel()[at + 1] * part for c in columns]

    def boxes_at_ticks(self) -> Boxes:
        """Return the ego's boxes at the ticks 0 ... `TICKS`, frame after frame."""
        count = len(self.x_m)
        frame = np.repeat(np.arange(count), TICKS + 1)
        return self.boxes(frame, np.tile(np.arange(TICKS + 1) * TICK_S, count))


def stays_on(roads: Roads, poses: Poses) -> Flags:
    """Say for N plans whether the whole ego box stays on the drivable area at every tick."""
    return np.asarray(within(roads, poses.boxes_at_ticks(), roads.drivable_m).all(axis=1))
