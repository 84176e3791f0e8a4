"""What share of a training step is waiting for samples, on this machine's CPU; and model FLOPs utilisation on a GPU.

The loader's share is measured as a training meets it: the wall time between asking for a batch and having it, over that of
the whole steps, in one process. Pictures are JPEGs of a recorded frame's size, drawn at random in blocks.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import lance
import numpy as np
import pyarrow as pa
import torch

from platform_lib.datasets.loader import TRAINING_COLUMNS
from platform_lib.datasets.table import OBJECT
from platform_lib.datasets.torch_loader import TorchLoader
from platform_lib.manifest import Step
from platform_lib.models.augmentation import Augmentation, Batch
from platform_lib.models.bev import BevConfig
from platform_lib.models.flops import utilisation
from platform_lib.models.learning import training_batch
from platform_lib.models.model import Model, Normalisation
from platform_lib.models.registry import build_model, columns_of
from ray_jobs.recipes import recipe_named
from ray_jobs.recipes.bev import bev_base, surround_rig

RECIPES = ("planner_tiny", "bev_tiny", "vla_tiny")
_NORMAL = Normalisation((8.0, 0.0, 0.1), (4.0, 0.1, 1.2), ((1.0, 0.5),) * 6)

PEAK_BF16_FLOPS = {"H200": 989.4e12, "H100": 989.4e12, "A100": 312e12}
"""Dense bfloat16 of one device, by a word of its name. Source: NVIDIA's data sheets of H200, H100 SXM and A100 (2024-11);
those of the first two print twice this, with sparsity."""


@dataclass(frozen=True, slots=True)
class Share:
    """One recipe's training steps.

    Attributes:
        kept: Whether decoded samples stay in memory; else every batch is read and decoded.
        waiting: Share of the wall time that the loader took.
    """

    recipe: str
    kept: bool
    samples_per_s: float
    waiting: float


@dataclass(frozen=True, slots=True)
class Utilisation:
    """A training on one GPU; `mfu` is None where the device's peak is not in the table."""

    device: str
    model: str
    cameras: int
    batch: int
    compiled: bool
    gflops_per_sample: float
    samples_per_s: float
    mfu: float | None


def write_dataset(folder: Path, rows: int) -> None:
    """Write a dataset of `rows` samples of noise, with JPEGs and labels as real ones have them."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True)
    blocks = [rng.integers(0, 255, (12, 24, 3), dtype=np.uint8) for _ in range(64)]
    pictures = [
        bytes(cv2.imencode(".jpg", cv2.resize(block, (384, 192), interpolation=cv2.INTER_LINEAR))[1])
        for block in blocks
    ]
    car = {"kind": "vehicle", "x": 12.0, "y": 1.0, "yaw": 0.0, "length": 4.5, "width": 1.9}
    columns = {
        "sample_id": [f"drive/{row}" for row in range(rows)],
        "split": ["train"] * rows,
        "pii_state": ["none_present"] * rows,
        "image": pa.array([pictures[row % len(pictures)] for row in range(rows)], pa.large_binary()),
        "ego_history": pa.FixedSizeListArray.from_arrays(rng.random(rows * 30, np.float32), 30),
        "command": pa.array(rng.integers(0, 3, rows), pa.int8()),
        "future": pa.FixedSizeListArray.from_arrays(rng.random(rows * 12, np.float32), 12),
        "objects": pa.array([[{"step": step, **car} for step in range(6)] * 5] * rows, pa.list_(OBJECT)),
        "slices": pa.array([["clear", "lead"]] * rows, pa.list_(pa.string())),
    }
    lance.write_dataset(pa.table(columns), str(folder / "samples.lance"))
    Step("dataset", inputs={}, config={}, modules=()).finish(folder / "manifest.json", {})


def measure_shares(folder: Path, tell: Callable[[str], None], *, rows: int, epochs: int) -> list[Share]:
    """Train each recipe for some epochs, with the split in memory and without."""
    write_dataset(folder, rows)
    found = []
    for recipe in RECIPES:
        config = recipe_named(recipe)
        torch.set_num_threads(config.fit.threads)
        torch.manual_seed(0)
        for kept in (True, False):
            model = build_model(config.planner, _NORMAL)
            loader = TorchLoader(
                folder,
                "train",
                batch=config.fit.batch,
                columns=(*TRAINING_COLUMNS, *columns_of(config.planner)),
                keep_bytes=1 << 30 if kept else 0,
            )
            steps = _steps(model, loader, config.fit.augmentation)
            _timed(steps, len(loader))  # the first epoch reads, and allocates
            total_s, waiting_s = _timed(steps, epochs * len(loader))
            found.append(Share(recipe, kept, epochs * rows / total_s, waiting_s / total_s))
            tell(f"loader-share: {recipe}, {'kept' if kept else 'read'}: {found[-1].waiting:.4f}")
    return found


def _steps(model: Model, loader: TorchLoader, augmentation: Augmentation) -> Iterator[float]:
    """Take training steps for ever; of each yield the seconds that its samples were waited for."""
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=1e-3, fused=True)
    generator = np.random.default_rng(0)
    model.network.train()
    while True:
        batches: Iterator[dict[str, Any]] = iter(loader)
        asked = time.perf_counter()
        for samples in batches:
            waited = time.perf_counter() - asked
            batch = training_batch(samples, model, augmentation, generator)
            loss = model.loss(model.forward(batch), batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            yield waited
            asked = time.perf_counter()


def _timed(steps: Iterator[float], count: int) -> tuple[float, float]:
    begin, waited = time.perf_counter(), 0.0
    for _ in range(count):
        waited += next(steps)
    return time.perf_counter() - begin, waited


def share_table(shares: list[Share]) -> str:
    """Return the shares as people read them."""
    lines = ["loader's share of training steps   samples      samples/s   waiting"]
    lines += [
        f"{one.recipe:34} {'in memory' if one.kept else 'read, decoded':13}{one.samples_per_s:9.1f}   {one.waiting:7.2%}"
        for one in shares
    ]
    return "\n".join(lines)


def gpu_model(*, cameras: int) -> BevConfig:
    """Return the grid transformer of base size on pictures of a GPU's size: one camera, or six around the car."""
    base: BevConfig = bev_base().planner
    rig = surround_rig(256, 704, focal_px=400.0)
    rig = rig if cameras == 6 else dataclasses.replace(rig, cameras=rig.cameras[:cameras])
    grid = dataclasses.replace(base.grid, x_m=(-32.0, 64.0), y_m=(-24.0, 24.0))
    return dataclasses.replace(base, rig=rig, grid=grid, channels=(64, 128, 256, 512))


def measure_utilisation(
    config: BevConfig, *, device: str, batch: int, steps: int, compiled: bool, warm: int = 5
) -> Utilisation:
    """Train on samples that lie on the device; what the loader costs is measured apart.

    Args:
        config: The model.
        device: Torch's name of it; bfloat16 is computed in.
        batch: Samples of a step.
        steps: How many are timed.
        compiled: Whether torch.compile makes the kernels.
        warm: Steps before, in which kernels are made and chosen.
    """
    torch.manual_seed(0)
    model = build_model(config, _NORMAL)
    network = model.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    called: torch.nn.Module = torch.compile(network) if compiled else network  # type: ignore[assignment]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    rig = config.rig
    given = Batch(
        torch.rand(batch, 3 * len(rig), rig.height_px, rig.width_px, device=device),
        torch.rand(batch, 10, 3, device=device),
        torch.eye(3, device=device)[torch.zeros(batch, dtype=torch.long, device=device)],
        torch.rand(batch, 6, 2, device=device),
    )
    network.train()

    def step() -> None:
        with torch.autocast(device.partition(":")[0], dtype=torch.bfloat16):
            loss = model.loss(model.forward(given, called), given)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    for _ in range(warm):
        step()
    _wait(device)
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    _wait(device)
    rate = batch * steps / (time.perf_counter() - begin)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    peak = next((flops for word, flops in PEAK_BF16_FLOPS.items() if word in name), None)
    mfu = None if peak is None else utilisation(model.flops_per_sample, rate, peak)
    return Utilisation(name, "bev_base", len(rig), batch, compiled, model.flops_per_sample / 1e9, rate, mfu)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def utilisation_table(rows: list[Utilisation]) -> str:
    """Return the utilisations as people read them."""
    lines = ["model FLOPs utilisation, bf16      cameras  batch  compiled  GFLOP/sample  samples/s      MFU"]
    lines += [
        f"{one.model + ' on ' + one.device:34} {one.cameras:7} {one.batch:6}  {one.compiled!s:8}"
        f"{one.gflops_per_sample:14.1f}{one.samples_per_s:11.2f}  "
        + ("peak unknown" if one.mfu is None else f"{one.mfu:7.1%}")
        for one in rows
    ]
    return "\n".join(lines)
