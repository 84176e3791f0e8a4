"""What runs inside the Ray Train worker: read the dataset, fit, write the run's files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import ray.train
from numpy.typing import NDArray

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.splits import SPLITS
from platform_lib.models import checkpoint
from platform_lib.models.fitting import EpochRecord, Fit, Samples
from platform_lib.models.interface import Float, network_inputs
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.planner import PlannerNet, TorchPlanner
from platform_lib.storage import publish_bytes, publish_file
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.samples import LoadedSplit, calibration_frames, load_split, spread_rows

OUTPUTS = ("weights.pt", "model.onnx", "calibration.npz", "frozen.npz", "curve.jsonl")
# The exported graph must repeat torch to this, in metres, on every frozen frame.
EXPORT_TOLERANCE_M = 1e-3


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


def fit(job: dict[str, FitJob]) -> None:
    """Fit from the newest whole checkpoint and write every output of the run but its manifest."""
    todo = job["job"]
    run = Path(todo.run)
    with DrivingDataset.open(Path(todo.dataset)) as dataset:
        train, val, test = (load_split(dataset, name) for name in SPLITS)
    fitting = Fit(
        todo.config.planner,
        todo.config.fit,
        train=Samples(train.inputs, train.future_m),
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
    _write_frames(run, todo.config, train=train, test=test, network=fitting.network)


def _write_curve(path: Path, records: list[EpochRecord]) -> None:
    publish_bytes(path, "".join(json.dumps(asdict(record)) + "\n" for record in records).encode())


def _write_frames(
    run: Path, config: TrainConfig, *, train: LoadedSplit, test: LoadedSplit, network: PlannerNet
) -> None:
    """Export the graph, and the frames that the edge compiler calibrates and compares on."""
    with publish_file(run / "model.onnx") as temporary:
        export_onnx(network, temporary)
    planned = TorchPlanner("train", network).plan(train.inputs)
    calibration = calibration_frames(train.inputs, planned, train.slices, config.calibration_frames)
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
