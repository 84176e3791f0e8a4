"""What a recipe returns: everything a training run depends on, besides its data and its code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, cast, get_args

from pydantic import JsonValue

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.shuffle import Part
from platform_lib.models import registry
from platform_lib.models.fitting import FitConfig
from platform_lib.models.gang import Strategy
from platform_lib.models.learner import Batches, Learner
from platform_lib.models.sampling import SamplingConfig
from platform_lib.models.wrong_values import one_of, refuse_wrong, whole


class ModelConfig(Protocol):
    """A team's own model: a frozen dataclass of plain values, so that a run's manifest can hold it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def learner(self, dataset: DrivingDataset | None) -> Learner:
        """Build the model, torch being seeded.

        Args:
            dataset: The dataset that the command named; None where the recipe brings its own.
        """


class SourceConfig(Protocol):
    """A team's own training data: a frozen dataclass of plain values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def sha256(self) -> str:
        """Return a digest of the data: what a run is made from, and skipped by."""

    def batches(self, *, batch: int, seed: int, part: Part) -> Batches:
        """Return what hands out this process's share of the training data."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Who trains.

    Attributes:
        count: Training processes; each takes its share of every step's samples.
        strategy: ``ddp``: each holds the whole network; ``fsdp``: each holds a part of it.
        gpu: Each takes a GPU; on CPUs otherwise.
        cpus: CPUs that each asks of Ray.
        placed_on: A custom resource of Ray that the node has to have: `platform_lib.abilities` names them, ``pool-train-l40s`` is one.
    """

    count: int = 1
    strategy: Strategy = "ddp"
    gpu: bool = False
    cpus: int = 1
    placed_on: str | None = None

    def __post_init__(self) -> None:
        refuse_wrong(
            "Processes",
            {
                "count": whole(self.count, least=1),
                "cpus": whole(self.cpus, least=1),
                "strategy": one_of(self.strategy, get_args(Strategy)),
            },
        )


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The resolved configuration of one training run.

    Attributes:
        recipe: The recipe's name.
        planner: A registered model, by its configuration (`platform_lib.models.registry`), or a `ModelConfig`.
        fit: How it is fitted.
        calibration_frames: Recorded training frames written for quantization; the extreme ones come once more, stretched.
        frozen_frames: Test frames, spread over the slices, on which every later engine is compared with torch.
        processes: Who trains it.
        source: A team's own training data, instead of a dataset of the home.
        sampling: How each epoch's samples are chosen; None takes each once, in the loader's own order.
    """

    recipe: str
    planner: registry.ModelConfig
    fit: FitConfig
    calibration_frames: int = 80
    frozen_frames: int = 32
    processes: Processes = Processes()
    source: SourceConfig | None = None
    sampling: SamplingConfig | None = None

    def __post_init__(self) -> None:
        batch, count = self.fit.batch, self.processes.count
        uneven = None if batch % count == 0 else f"of {batch} samples cannot be shared evenly by {count} processes"
        refuse_wrong(
            f"recipe '{self.recipe}'",
            {
                "calibration_frames": whole(self.calibration_frames, least=1),
                "frozen_frames": whole(self.frozen_frames, least=1),
                "a batch": uneven,
            },
        )

    def resolved(self) -> dict[str, JsonValue]:
        """Return the configuration as JSON values, for the manifest and its digest."""
        return cast("dict[str, JsonValue]", _listed(asdict(self)))

    @property
    def sha256(self) -> str:
        """Digest of the resolved configuration, as in the manifest."""
        text = json.dumps(self.resolved(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _listed(value: object) -> object:
    """Turn tuples into lists, as JSON would: a manifest that is read back has to give the same digest."""
    if isinstance(value, dict):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
