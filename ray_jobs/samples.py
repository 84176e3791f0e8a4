"""A dataset's split as a planner takes it and as the scorer takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.datasets.model import FutureObjects
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.splits import Split
from platform_lib.errors import ContractError
from platform_lib.evaluation.frames import Agents, Frames
from platform_lib.evaluation.geometry import Boxes
from platform_lib.models.interface import Float, PlannerInput


@dataclass(frozen=True, slots=True)
class LoadedSplit:
    """One split in memory, N samples.

    Attributes:
        sample_id: N ids.
        slices: N sets of slice names.
        inputs: What the planner sees.
        future_m: (N, 6, 2) metres.
        known_frames: The same frames as the scorer takes them; None where nobody recorded other agents.
    """

    sample_id: tuple[str, ...]
    slices: tuple[frozenset[str], ...]
    inputs: PlannerInput
    future_m: Float
    known_frames: Frames | None

    @property
    def frames(self) -> Frames:
        """Return the frames for the scorer.

        Raises:
            ContractError: Nobody recorded other agents, so no collision could be seen.
        """
        if self.known_frames is None:
            raise ContractError(
                "nobody recorded other agents, so a planner that hits them would score as well as one that does not",
                where="dataset",
                remedy="import the dataset with its objects, or score on one that has them",
            )
        return self.known_frames


def load_split(dataset: DrivingDataset, name: Split) -> LoadedSplit:
    """Read, decode and type one split.

    Raises:
        PlatformError: See `DrivingDataset.load_split`.
    """
    arrays = dataset.load_split(name)
    slices = tuple(frozenset(names) for names in arrays.slices)
    known = [objects for objects in arrays.objects if objects is not None]
    frames = (
        Frames(
            drive=arrays.drive_id,
            slices=slices,
            future_m=arrays.future.astype(np.float64),
            agents=tuple(_agents(objects) for objects in known),
        )
        if len(known) == len(arrays)
        else None
    )
    return LoadedSplit(
        sample_id=arrays.sample_id,
        slices=slices,
        inputs=PlannerInput(
            image=np.ascontiguousarray(arrays.images.transpose(0, 3, 1, 2)),
            # Copies: torch refuses the read-only memory of Arrow buffers.
            ego_history=arrays.ego_history.copy(),
            command=arrays.command.copy(),
        ),
        future_m=arrays.future.copy(),
        known_frames=frames,
    )


def _agents(objects: FutureObjects) -> Agents:
    return Agents(
        step=objects.step.astype(np.int64),
        kind=objects.kind,
        boxes=Boxes(*np.ascontiguousarray(objects.box.astype(np.float64).reshape(-1, 5).T)),
    )


STRETCH = 1.1
"""How far beyond the training split a vehicle is expected to go: speeds, turns and brakings a tenth stronger."""


def calibration_frames(
    ego_history: Float,
    plan_m: Float,
    slices: Sequence[frozenset[str]],
    count: int,
    take: Callable[[NDArray[np.int64]], PlannerInput],
) -> PlannerInput:
    """Choose the frames that show a quantizer what it has to represent.

    A range is fixed by what calibration saw: a car that later drives 1.5 m/s faster than the fastest calibration frame
    is planned 4 m short after 3 s, in 8 and in 16 bits alike. So the frames with the extreme value of each ego channel
    and of each waypoint come first, and once more with their motion stretched by `STRETCH`; the rest covers the slices.

    Args:
        ego_history: (N, 10, 3), of N frames.
        plan_m: (N, 6, 2) what the network plans for them.
        slices: N sets of slice names.
        count: How many recorded frames; all N where there are fewer.
        take: Returns the chosen frames.

    Returns:
        The recorded frames in order, then the stretched ones.
    """
    extremes = extreme_rows(ego_history, plan_m)[:count]
    spread = [row for row in spread_rows(slices, count) if row not in extremes]
    rows = np.sort(np.concatenate([extremes, np.array(spread[: count - len(extremes)], dtype=np.int64)]))
    kept, far = take(rows), take(extremes)
    return PlannerInput(
        image=np.concatenate([kept.image, far.image]),
        ego_history=np.concatenate([kept.ego_history, far.ego_history * np.float32(STRETCH)]),
        command=np.concatenate([kept.command, far.command]),
    )


def extreme_rows(ego_history: NDArray[np.float32], plan_m: Float) -> NDArray[np.int64]:
    """Return the rows with the lowest and highest value of each ego channel (N, 10, 3) and waypoint (N, 6, 2)."""
    flat = plan_m.reshape(len(plan_m), -1)
    found = [ego_history.min(axis=1).argmin(axis=0), ego_history.max(axis=1).argmax(axis=0)]
    return np.unique(np.concatenate([*found, flat.argmin(axis=0), flat.argmax(axis=0)])).astype(np.int64)


def spread_rows(slices: Sequence[frozenset[str]], count: int) -> NDArray[np.int64]:
    """Choose rows that cover the slices: in turn each slice gives its next frame, evenly spaced over the split.

    Args:
        slices: N sets of slice names.
        count: How many rows; all N where there are fewer.

    Returns:
        Increasing row numbers, each once.
    """
    names = sorted({name for found in slices for name in found})
    queues = [_even([row for row, found in enumerate(slices) if name in found], count) for name in names]
    chosen: set[int] = set()
    while len(chosen) < min(count, len(slices)):
        before = len(chosen)
        for queue in queues:
            row = next((row for row in queue if row not in chosen), None)
            if row is not None and len(chosen) < count:
                chosen.add(row)
                queue.remove(row)
        if len(chosen) == before:  # the slices are used up: fill with what is left, in order
            chosen.update([row for row in range(len(slices)) if row not in chosen][: count - len(chosen)])
    return np.array(sorted(chosen), dtype=np.int64)


def _even(rows: list[int], count: int) -> list[int]:
    if len(rows) <= count:
        return list(rows)
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, count).round()]
