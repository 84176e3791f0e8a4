"""Fitting a planner to recorded drives: seeded, resumable after any step, bit-identical however often it was killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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


@dataclass(slots=True)
class _Running:
    """What an epoch that is not over has behind it: samples, their summed loss and its time; `step` counts from the first epoch."""

    step: int = 0
    samples: int = 0
    loss: float = 0.0
    seconds: float = 0.0


class Batches(Protocol):
    """What hands out the training split: `platform_lib.datasets.torch_loader.TorchLoader`."""

    def __len__(self) -> int:
        """Return the steps of an epoch."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rest of the epoch: image uint8 (N, 3, 64, 192), ego_history, command (N,), future (N, 6, 2)."""

    def state_dict(self) -> dict[str, Any]:
        """Return where it is."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of ``curve.jsonl``; `seconds` is the wall time of the epoch."""

    epoch: int
    step: int
    train_loss: float
    val_ade_m: float
    seconds: float


SAVE_EVERY_S = 30.0
"""Of an epoch that takes longer a kill costs at most this; how often a state is saved has no say in the result."""


def normalisation_of(ego_history: Float, future_m: Float) -> Normalisation:
    """Measure the constants that are baked into the graph, on the training split alone.

    Args:
        ego_history: (N, 10, 3).
        future_m: (N, 6, 2).
    """
    speed_mps = ego_history[:, -1, 0].astype(np.float64)
    residual = future_m.astype(np.float64)
    residual[:, :, 0] -= speed_mps[:, None] * PLAN_TIMES_S
    spread = np.maximum(residual.std(axis=0), 0.05)
    history = ego_history.astype(np.float64)
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
        train: Training split, in batches of at most `config.batch`.
        normalisation: Measured on the training split.
        val: Validation split; only reported, never selected on.
        folder: Where checkpoints go.
        identity: Digest of the step; see `checkpoint.save`.
        save_every_s: How long an epoch goes on without a checkpoint of its middle.
    """

    def __init__(
        self,
        planner: PlannerConfig,
        config: FitConfig,
        *,
        train: Batches,
        normalisation: Normalisation,
        val: Samples,
        folder: Path,
        identity: str,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:
        torch.set_num_threads(config.threads)
        torch.set_deterministic_debug_mode(
            "error"
        )  # what `use_deterministic_algorithms` does, without its import of the compiler
        # A sixth of the time would go into filling memory that nobody reads before it is written.
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - untyped by torch
        torch.manual_seed(config.seed)
        self._config, self._train, self._val = config, train, val
        self._folder, self._identity, self._save_every_s = folder, identity, save_every_s
        self._generator = np.random.default_rng(config.seed)
        self.planner_config, self.normalisation = planner, normalisation
        # Channels last: convolutions on a CPU are a sixth faster.
        self.network = PlannerNet(planner, self.normalisation).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._scale = torch.as_tensor(self.normalisation.residual_std_m, dtype=torch.float32)
        self.records: list[EpochRecord] = []
        self._running = _Running()
        self._resume()

    def run(self, report: Callable[[EpochRecord], None]) -> None:
        """Fit the epochs that are left; after each, its checkpoint is on disk before `report` hears of it."""
        for epoch in range(len(self.records), self._config.epochs):
            started = time.monotonic() - self._running.seconds
            self._epoch(started)
            done, self._running = self._running, _Running(step=self._running.step)
            record = EpochRecord(
                epoch=epoch + 1,
                step=done.step,
                train_loss=done.loss / done.samples,
                val_ade_m=self.val_ade_m(),
                seconds=round(time.monotonic() - started, 3),
            )
            self.records.append(record)
            self._save()
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

    def _epoch(self, started: float) -> None:
        """Take the steps that are left of an epoch, which began (without pauses by kills) at `started`."""
        self.network.train()
        saved = time.monotonic()
        for samples in self._train:
            for group in self._optimiser.param_groups:
                group["lr"] = self._learning_rate(self._running.step)
            batch = self._batch(samples)
            image = batch.image.contiguous(memory_format=torch.channels_last)
            plan = self.network(image, batch.ego_history, batch.command)
            # In units of each waypoint's spread, so that sideways centimetres count beside metres ahead.
            loss = nn.functional.smooth_l1_loss(plan / self._scale, batch.future_m / self._scale, beta=0.1)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self._optimiser.step()
            self._running.step += 1
            self._running.samples += len(batch.command)
            self._running.loss += float(loss.detach()) * len(batch.command)
            if time.monotonic() - saved >= self._save_every_s and self._running.step % len(self._train):
                self._running.seconds = time.monotonic() - started
                self._save()
                saved = time.monotonic()

    def _batch(self, samples: Mapping[str, Any]) -> Batch:
        looks = self.planner_config.kind == "camera"
        image = samples["image"] if looks else samples["image"][:0]
        command = nn.functional.one_hot(samples["command"], 3).float()
        batch = Batch(image, samples["ego_history"], command, samples["future"])
        return augmented(batch, self._config.augmentation, self._generator)

    def _learning_rate(self, step: int) -> float:
        total = len(self._train) * self._config.epochs
        warmup = max(1, round(total * self._config.warmup_share))
        if step < warmup:
            return self._config.learning_rate * (step + 1) / warmup
        return float(self._config.learning_rate * 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, total - warmup))))

    def _save(self) -> None:
        middle = self._running.step - len(self.records) * len(self._train)
        checkpoint.save(
            self._folder, epochs=len(self.records), steps=middle, identity=self._identity, state=self._state()
        )

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
            # As text: the state is 128-bit integers, which torch's safe loader does not take.
            "numpy_rng": json.dumps(self._generator.bit_generator.state),
            "records": [asdict(record) for record in self.records],
            "loader": self._train.state_dict(),
            "running": asdict(self._running),
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
        self._train.load_state_dict(found.state["loader"])
        self._running = _Running(**found.state["running"])
