"""A built-in planner in a run: what it learns from a dataset, and the frames and the graph that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import nn

from platform_lib.datasets.model import FUTURE_STEPS, HISTORY_STEPS
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.sampled_loader import SampledLoader
from platform_lib.datasets.splits import Split
from platform_lib.datasets.table import fixed_array
from platform_lib.datasets.torch_loader import TorchBatch, TorchLoader
from platform_lib.models.interface import Float, PlannerInput, network_inputs
from platform_lib.models.model import Model
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.planner import TorchPlanner
from platform_lib.models.planner_learner import PlannerLearner, Samples, normalisation_of
from platform_lib.models.registry import ModelConfig
from platform_lib.storage import publish_file
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.samples import LoadedSplit, calibration_frames, load_split, spread_rows


@dataclass(frozen=True, slots=True)
class Motion:
    """What a split says without its pictures, N samples in the dataset's order."""

    ego_history: Float
    command: NDArray[np.int64]
    future_m: Float
    slices: tuple[frozenset[str], ...]


class PlannerRun(PlannerLearner):
    """A planner that learns from a dataset.

    Args:
        config: The whole run's.
        planner: The model's configuration.
        dataset: What it learns from.
        train: The training split; calibration frames are taken from it.
    """

    def __init__(
        self,
        config: TrainConfig,
        planner: ModelConfig,
        dataset: DrivingDataset,
        train: TorchLoader | SampledLoader,
    ) -> None:
        val = load_split(dataset, "val")
        self._config, self._dataset, self._train = config, dataset, train
        self._motion = motion_of(dataset, "train")
        super().__init__(
            planner,
            config.fit.augmentation,
            normalisation=normalisation_of(self._motion.ego_history, self._motion.future_m),
            val=Samples(val.inputs, val.future_m),
            observe=train.observe if isinstance(train, SampledLoader) else None,
        )

    def export(self, run: Path) -> tuple[str, ...]:
        """Write the graph, and the frames that the edge compiler calibrates and compares on."""
        calibration = _calibration(self._train, self._motion, self.network, self._config.calibration_frames)
        _write_frames(run, self._config, calibration, load_split(self._dataset, "test"), self.model)
        return ("model.onnx", "calibration.npz", "frozen.npz")


def motion_of(dataset: DrivingDataset, split: Split) -> Motion:
    """Read a split's motion."""
    columns = ("ego_history", "command", "future", "slices")
    table = pa.Table.from_batches(list(dataset.batches(split, columns=columns)))
    return Motion(
        ego_history=fixed_array(table, "ego_history").reshape(-1, HISTORY_STEPS, 3),
        command=table.column("command").to_numpy().astype(np.int64),
        future_m=fixed_array(table, "future").reshape(-1, FUTURE_STEPS, 2),
        slices=tuple(frozenset(names) for names in table.column("slices").to_pylist()),
    )


def _calibration(loader: TorchLoader | SampledLoader, motion: Motion, network: nn.Module, count: int) -> PlannerInput:
    planner = TorchPlanner("train", network)
    plan = np.concatenate([planner.plan(_inputs(batch)) for batch in loader.in_order()])
    return calibration_frames(motion.ego_history, plan, motion.slices, count, lambda rows: _inputs(loader.take(rows)))


def _inputs(batch: TorchBatch) -> PlannerInput:
    return PlannerInput(batch["image"].numpy(), batch["ego_history"].numpy(), batch["command"].numpy())


def _write_frames(run: Path, config: TrainConfig, calibration: PlannerInput, test: LoadedSplit, model: Model) -> None:
    with publish_file(run / "model.onnx") as temporary:
        export_onnx(model.network, temporary)
    _publish_arrays(run / "calibration.npz", network_inputs(calibration))
    rows = spread_rows(test.slices, config.frozen_frames)
    frozen = test.inputs.take(rows)
    plan = TorchPlanner("torch", model.network, batch=1).plan(frozen)
    difference = np.abs(OnnxPlanner("onnx", run / "model.onnx").plan(frozen) - plan).max()
    if not difference <= model.export_tolerance_m:  # on every frozen frame
        raise ArithmeticError(f"model.onnx differs from torch by {difference} m on the frozen frames")
    ids = np.array([test.sample_id[row] for row in rows])
    _publish_arrays(
        run / "frozen.npz", {**network_inputs(frozen), "plan": plan}, sample_id=ids, slice=_slices(test, rows)
    )


def _slices(split: LoadedSplit, rows: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return each frame's slices as text (N, K), empty where it has fewer than others."""
    names = [sorted(split.slices[row]) for row in rows]
    most = max((len(found) for found in names), default=0)
    return np.array([[*found, *[""] * (most - len(found))] for found in names], np.str_)


def _publish_arrays(path: Path, arrays: dict[str, Float], **more: NDArray[np.str_]) -> None:
    with publish_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays, **more)
