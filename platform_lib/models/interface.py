"""What every planner takes and gives, whatever runs it: torch, ONNX Runtime, the compiled graph, or plain arithmetic.

All arrays carry a leading batch axis N. The ego frame is x forward, y left, origin on the ground under the rear axle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ContractError

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]

IMAGE_HEIGHT, IMAGE_WIDTH = 64, 192
EGO_STEPS, EGO_CHANNELS = 10, 3
COMMANDS = ("lane_follow", "change_lane_left", "change_lane_right")
PLAN_STEPS = 6
PLAN_STEP_S = 0.5
PLAN_TIMES_S: Float = (np.arange(1, PLAN_STEPS + 1, dtype=np.float32) * np.float32(PLAN_STEP_S)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class PlannerInput:
    """A batch of what a planner sees.

    Attributes:
        image: (N, 3, 64, 192) uint8 RGB; a planner divides by 255 before the network.
        ego_history: (N, 10, 3) float32 at 10 Hz, oldest first: speed m/s, yaw rate rad/s, acceleration m/s^2.
        command: (N,) int64 indices into `COMMANDS`.

    Raises:
        ContractError: A shape or type differs, or a command is unknown.
    """

    image: Bytes
    ego_history: Float
    command: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.command)
        expected: tuple[tuple[str, NDArray[np.generic], tuple[int, ...], type[np.generic]], ...] = (
            ("image", self.image, (n, 3, IMAGE_HEIGHT, IMAGE_WIDTH), np.uint8),
            ("ego_history", self.ego_history, (n, EGO_STEPS, EGO_CHANNELS), np.float32),
            ("command", self.command, (n,), np.int64),
        )
        for name, array, shape, dtype in expected:
            if array.shape != shape or array.dtype != dtype:
                raise ContractError(
                    f"planner input is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}", where=name
                )
        if n and not (0 <= self.command.min() and self.command.max() < len(COMMANDS)):
            raise ContractError(f"route command outside 0..{len(COMMANDS) - 1}", where="command")

    def __len__(self) -> int:
        return len(self.command)

    def take(self, rows: NDArray[np.int64]) -> PlannerInput:
        """Return the chosen rows."""
        return PlannerInput(self.image[rows], self.ego_history[rows], self.command[rows])


class Planner(Protocol):
    """Anything that turns what the car sees into where it will be."""

    @property
    def name(self) -> str:
        """Return the name that stands in reports."""

    def plan(self, inputs: PlannerInput) -> Float:
        """Return (N, 6, 2) float32: x, y in metres in the ego frame at 0.5, 1.0 ... 3.0 s."""


def network_inputs(inputs: PlannerInput) -> dict[str, Float]:
    """Return what the exported graph takes: image in 0..1, ego history in SI units, command as one-hot (N, 3)."""
    return {
        "image": inputs.image.astype(np.float32) / np.float32(255.0),
        "ego_history": inputs.ego_history,
        "command": np.eye(len(COMMANDS), dtype=np.float32)[inputs.command],
    }


class ConstantVelocity:
    """The plan of a car that keeps its last speed and heading: the floor every learned planner must beat."""

    name = "constant_velocity"

    def plan(self, inputs: PlannerInput) -> Float:
        """Return x = v t, y = 0 for the last measured speed v."""
        plan = np.zeros((len(inputs), PLAN_STEPS, 2), dtype=np.float32)
        plan[:, :, 0] = inputs.ego_history[:, -1, :1] * PLAN_TIMES_S
        return plan
