"""What the scorer is given: the driven path and the other agents of each frame, in that frame's ego coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ContractError
from platform_lib.evaluation.geometry import Boxes, Doubles
from platform_lib.evaluation.roads import Roads

STEPS = 6
STEP_S = 0.5
TIMES_S: Doubles = np.arange(1, STEPS + 1, dtype=np.float64) * STEP_S
# Kinds that cannot be driven into; a traffic light hangs over the road.
SOLID_KINDS = frozenset({"vehicle", "pedestrian"})


@dataclass(frozen=True, slots=True)
class Agents:
    """Other road users of one frame at the future times 0.5 ... 3.0 s, all in the frame's ego coordinates.

    Attributes:
        step: (M,) 0 ... 5, the index into the future times.
        kind: M names.
        boxes: M boxes.
    """

    step: NDArray[np.int64]
    kind: tuple[str, ...]
    boxes: Boxes

    def solid(self) -> Agents:
        """Return those that can be driven into."""
        keep = np.array([kind in SOLID_KINDS for kind in self.kind], dtype=np.bool_)
        kinds = tuple(kind for kind, kept in zip(self.kind, keep, strict=True) if kept)
        return Agents(self.step[keep], kinds, self.boxes.take(keep))


NO_AGENTS = Agents(np.zeros(0, dtype=np.int64), (), Boxes(*(np.zeros(0) for _ in range(5))))


@dataclass(frozen=True, slots=True)
class Frames:
    """N recorded frames to be scored.

    Attributes:
        drive: (N,) drive ids: the unit that confidence intervals resample.
        slices: N sets of slice names; every frame is also in ``all``.
        future_m: (N, 6, 2) driven path in metres.
        agents: N sets of agents.
        road: The road around each frame; None where nobody recorded a map: what needs one is then unknown.

    Raises:
        ContractError: Lengths differ, or the driven path is not finite.
    """

    drive: tuple[str, ...]
    slices: tuple[frozenset[str], ...]
    future_m: Doubles
    agents: tuple[Agents, ...]
    road: Roads | None = None

    def __post_init__(self) -> None:
        n = len(self.drive)
        if self.future_m.shape != (n, STEPS, 2) or len(self.slices) != n or len(self.agents) != n:
            raise ContractError(f"{n} drives do not fit a future of {self.future_m.shape}", where="frames")
        if self.road is not None and len(self.road) != n:
            raise ContractError(f"{n} frames with {len(self.road)} roads", where="frames")
        if not np.isfinite(self.future_m).all():
            raise ContractError("the driven path holds numbers that are not finite", where="frames")

    def __len__(self) -> int:
        return len(self.drive)
