"""What runs inside the Ray Train worker: read the dataset, fit, write the run's files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray.train
from numpy.typing import NDArray

from platform_lib.datasets.model import FUTURE_STEPS, HISTORY_STEPS
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.shuffle import ShuffleRules
from platform_lib.datasets.splits import Split
from platform_lib.datasets.table import fixed_array
from platform_lib.datasets.torch_loader import SAMPLE_BYTES, TorchBatch, TorchLoader
from platform_lib.models import checkpoint
from platform_lib.models.fitting import EpochRecord, Fit, Samples, normalisation_of
from platform_lib.models.interface import Float, PlannerInput, network_inputs
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.planner import PlannerNet, TorchPlanner
from platform_lib.storage import publish_bytes, publish_file
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.samples import LoadedSplit, calibration_frames, load_split, spread_rows

OUTPUTS = ("weights.pt", "model.onnx", "calibration.npz", "frozen.npz", "curve.jsonl")
# The exported graph must repeat torch to this, in metres, on every frozen frame.
EXPORT_TOLERANCE_M = 1e-3
KEEP_BYTES = 2 << 30
"""A decoded training split of at most so much stays in memory: some 57,000 samples."""


@dataclass(frozen=True, slots=True)
class FitJob:
    """What the worker is told; paths are absolute.

    Attributes:
        identity: Digest of the step; checkpoints of another are not resumed.
    """

    config: TrainConfig
    dataset: str
    run: str
    identity: str


@dataclass(frozen=True, slots=True)
class _Motion:
    """What a split says without its pictures, N samples in the dataset's order."""

    ego_history: Float
    future_m: Float
    slices: tuple[frozenset[str], ...]


def fit(job: dict[str, FitJob]) -> None:
    """Fit from the newest whole checkpoint and write every output of the run but its manifest."""
    todo = job["job"]
    run = Path(todo.run)
    with DrivingDataset.open(Path(todo.dataset)) as dataset:
        val, motion = load_split(dataset, "val"), _motion(dataset, "train")
        train = training_loader(dataset, todo.config)
        fitting = Fit(
            todo.config.planner,
            todo.config.fit,
            train=train,
            normalisation=normalisation_of(motion.ego_history, motion.future_m),
            val=Samples(val.inputs, val.future_m),
            folder=run / "checkpoints",
            identity=todo.identity,
        )

        def report(record: EpochRecord) -> None:
            _write_curve(run / "curve.jsonl", fitting.records)
            ray.train.report({"epoch": record.epoch, "train_loss": record.train_loss, "val_ade_m": record.val_ade_m})

        _write_curve(run / "curve.jsonl", fitting.records)
        fitting.run(report)
        publish_bytes(run / "weights.pt", checkpoint.torch_bytes(fitting.weights()))
        calibration = _calibration(train, motion, fitting.network, todo.config.calibration_frames)
        _write_frames(run, todo.config, calibration, load_split(dataset, "test"), fitting.network)


def training_loader(dataset: DrivingDataset, config: TrainConfig) -> TorchLoader:
    """Return what hands out the training split. One that fits into memory is mixed wholly, since that costs nothing there."""
    count = dataset.sample_count("train")
    rules = ShuffleRules(1, max(1, count)) if count * SAMPLE_BYTES <= KEEP_BYTES else ShuffleRules()
    return TorchLoader(
        dataset.folder,
        "train",
        batch=config.fit.batch,
        seed=config.fit.seed,
        rules=rules,
        keep_bytes=KEEP_BYTES,
    )


def _motion(dataset: DrivingDataset, split: Split) -> _Motion:
    columns = ("ego_history", "future", "slices")
    table = pa.Table.from_batches(list(dataset.batches(split, columns=columns)))
    return _Motion(
        ego_history=fixed_array(table, "ego_history").reshape(-1, HISTORY_STEPS, 3),
        future_m=fixed_array(table, "future").reshape(-1, FUTURE_STEPS, 2),
        slices=tuple(frozenset(names) for names in table.column("slices").to_pylist()),
    )


def _calibration(loader: TorchLoader, motion: _Motion, network: PlannerNet, count: int) -> PlannerInput:
    planner = TorchPlanner("train", network)
    plan = np.concatenate([planner.plan(_inputs(batch)) for batch in loader.in_order()])
    return calibration_frames(motion.ego_history, plan, motion.slices, count, lambda rows: _inputs(loader.take(rows)))


def _inputs(batch: TorchBatch) -> PlannerInput:
    return PlannerInput(batch["image"].numpy(), batch["ego_history"].numpy(), batch["command"].numpy())


def _write_curve(path: Path, records: list[EpochRecord]) -> None:
    publish_bytes(path, "".join(json.dumps(asdict(record)) + "\n" for record in records).encode())


def _write_frames(
    run: Path, config: TrainConfig, calibration: PlannerInput, test: LoadedSplit, network: PlannerNet
) -> None:
    """Export the graph, and the frames that the edge compiler calibrates and compares on."""
    with publish_file(run / "model.onnx") as temporary:
        export_onnx(network, temporary)
    _publish_arrays(run / "calibration.npz", network_inputs(calibration))
    rows = spread_rows(test.slices, config.frozen_frames)
    frozen = test.inputs.take(rows)
    plan = TorchPlanner("torch", network, batch=1).plan(frozen)
    difference = np.abs(OnnxPlanner("onnx", run / "model.onnx").plan(frozen) - plan).max()
    if not difference <= EXPORT_TOLERANCE_M:
        raise ArithmeticError(f"model.onnx differs from torch by {difference} m on the frozen frames")
    ids = np.array([test.sample_id[row] for row in rows])
    _publish_arrays(run / "frozen.npz", {**network_inputs(frozen), "plan": plan}, sample_id=ids)


def _publish_arrays(path: Path, arrays: dict[str, Float], **more: NDArray[np.str_]) -> None:
    with publish_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays, **more)
