"""Fitting a planner to recorded drives: seeded, resumable after any epoch, bit-identical however often it was killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from platform_lib.models import checkpoint
from platform_lib.models.augmentation import Augmentation, Batch, augmented
from platform_lib.models.interface import PLAN_TIMES_S, Float, PlannerInput
from platform_lib.models.planner import Normalisation, PlannerConfig, PlannerNet, TorchPlanner


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How long and how fast to fit.

    Attributes:
        epochs: Passes over the training split.
        batch: Samples of one step.
        learning_rate: Peak of a one-cycle schedule (linear warm-up, cosine to zero).
        weight_decay: AdamW's.
        warmup_share: Share of all steps that warm up.
        seed: Seeds weights, order, dropout and augmentation.
        threads: Threads of torch; part of the result's identity, since sums are split over them.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    seed: int
    threads: int
    augmentation: Augmentation


@dataclass(frozen=True, slots=True)
class Samples:
    """A split in memory: what the planner sees, and (N, 6, 2) metres it drove."""

    inputs: PlannerInput
    future_m: Float

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of ``curve.jsonl``; `seconds` is the wall time of the epoch."""

    epoch: int
    step: int
    train_loss: float
    val_ade_m: float
    seconds: float


def normalisation_of(train: Samples) -> Normalisation:
    """Measure the constants that are baked into the graph, on the training split alone."""
    speed_mps = train.inputs.ego_history[:, -1, 0].astype(np.float64)
    residual = train.future_m.astype(np.float64)
    residual[:, :, 0] -= speed_mps[:, None] * PLAN_TIMES_S
    spread = np.maximum(residual.std(axis=0), 0.05)
    history = train.inputs.ego_history.astype(np.float64)
    return Normalisation(
        ego_mean=tuple(_rounded(history.mean(axis=(0, 1)))),
        ego_std=tuple(_rounded(np.maximum(history.std(axis=(0, 1)), 1e-3))),
        residual_std_m=tuple((float(x), float(y)) for x, y in (_rounded(row) for row in spread)),
    )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.round(values, 6)]


class Fit:
    """One fitting, from the first step or from the newest whole checkpoint.

    Args:
        planner: The network's shape.
        config: How to fit.
        train: Training split.
        val: Validation split; only reported, never selected on.
        folder: Where checkpoints go.
        identity: Digest of the step; see `checkpoint.save`.
    """

    def __init__(
        self, planner: PlannerConfig, config: FitConfig, *, train: Samples, val: Samples, folder: Path, identity: str
    ) -> None:
        torch.set_num_threads(config.threads)
        torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's interface
        # A sixth of the time would go into filling memory that nobody reads before it is written.
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - untyped by torch
        torch.manual_seed(config.seed)
        self._config, self._train, self._val = config, train, val
        self._folder, self._identity = folder, identity
        self._generator = np.random.default_rng(config.seed)
        self.planner_config = planner
        self.normalisation = normalisation_of(train)
        # Channels last: convolutions on a CPU are a sixth faster.
        self.network = PlannerNet(planner, self.normalisation).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._steps_per_epoch = -(-len(train) // config.batch)
        self._image = torch.from_numpy(train.inputs.image)
        self._history = torch.from_numpy(train.inputs.ego_history)
        self._command = nn.functional.one_hot(torch.from_numpy(train.inputs.command), 3).float()
        self._future = torch.from_numpy(train.future_m)
        self._scale = torch.as_tensor(self.normalisation.residual_std_m, dtype=torch.float32)
        self.records: list[EpochRecord] = []
        self._resume()

    def run(self, report: Callable[[EpochRecord], None]) -> None:
        """Fit the epochs that are left; after each, its checkpoint is on disk before `report` hears of it."""
        for epoch in range(len(self.records), self._config.epochs):
            started = time.monotonic()
            loss = self._epoch(epoch)
            record = EpochRecord(
                epoch=epoch + 1,
                step=(epoch + 1) * self._steps_per_epoch,
                train_loss=loss,
                val_ade_m=self.val_ade_m(),
                seconds=round(time.monotonic() - started, 3),
            )
            self.records.append(record)
            checkpoint.save(self._folder, epochs=epoch + 1, identity=self._identity, state=self._state())
            report(record)

    def val_ade_m(self) -> float:
        """Return the mean distance to the driven path over the validation split, in metres."""
        plan = TorchPlanner("val", self.network).plan(self._val.inputs)
        return float(np.linalg.norm(plan - self._val.future_m, axis=2).mean())

    def weights(self) -> dict[str, Any]:
        """Return what ``weights.pt`` holds: enough to build the network again."""
        return {
            "planner": asdict(self.planner_config),
            "normalisation": asdict(self.normalisation),
            "state": self.network.state_dict(),
        }

    def _epoch(self, epoch: int) -> float:
        self.network.train()
        total = 0.0
        for number, rows in enumerate(self._batches()):
            for group in self._optimiser.param_groups:
                group["lr"] = self._learning_rate(epoch * self._steps_per_epoch + number)
            batch = self._batch(rows)
            image = batch.image.contiguous(memory_format=torch.channels_last)
            plan = self.network(image, batch.ego_history, batch.command)
            # In units of each waypoint's spread, so that sideways centimetres count beside metres ahead.
            loss = nn.functional.smooth_l1_loss(plan / self._scale, batch.future_m / self._scale, beta=0.1)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self._optimiser.step()
            total += float(loss.detach()) * len(rows)
        return total / len(self._train)

    def _batches(self) -> Iterator[Tensor]:
        order = torch.from_numpy(self._generator.permutation(len(self._train)))
        return iter(torch.split(order, self._config.batch))

    def _batch(self, rows: Tensor) -> Batch:
        looks = self.planner_config.kind == "camera"
        image = self._image[rows if looks else rows[:0]].float().div_(255.0)
        batch = Batch(image, self._history[rows], self._command[rows], self._future[rows])
        return augmented(batch, self._config.augmentation, self._generator)

    def _learning_rate(self, step: int) -> float:
        total = self._steps_per_epoch * self._config.epochs
        warmup = max(1, round(total * self._config.warmup_share))
        if step < warmup:
            return self._config.learning_rate * (step + 1) / warmup
        return float(self._config.learning_rate * 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, total - warmup))))

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
            # As text: the state is 128-bit integers, which torch's safe loader does not take.
            "numpy_rng": json.dumps(self._generator.bit_generator.state),
            "records": [asdict(record) for record in self.records],
        }

    def _resume(self) -> None:
        found = checkpoint.load_newest(self._folder, identity=self._identity)
        if found is None:
            return
        self.network.load_state_dict(found.state["network"])
        self._optimiser.load_state_dict(found.state["optimiser"])
        torch.set_rng_state(found.state["torch_rng"])
        self._generator.bit_generator.state = json.loads(found.state["numpy_rng"])
        self.records = [EpochRecord(**record) for record in found.state["records"]]
