"""Fitting a model: seeded, resumable after any step, bit-identical on a CPU however often it was killed."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from platform_lib.models import checkpoint
from platform_lib.models.compiling import compiled
from platform_lib.models.divergence import diverged
from platform_lib.models.fit_config import FitConfig as FitConfig
from platform_lib.models.fit_config import SaveRules as SaveRules
from platform_lib.models.gang import Alone, Gang
from platform_lib.models.learner import Batches, Learner
from platform_lib.models.slow_ranks import SlowRank, slow_ranks


@dataclass(slots=True)
class _Running:
    """What an epoch that is not over has behind it; `step` and `order_sha256` count from the first epoch."""

    step: int = 0
    samples: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    order_sha256: str = ""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of ``curve.jsonl``.

    Attributes:
        metrics: What `Learner.validate` measured.
        order_sha256: Digest of all samples so far, in the order in which they were trained on; rank 0's.
        seconds: Wall time of the epoch, without what kills cost.
    """

    epoch: int
    step: int
    train_loss: float
    metrics: Mapping[str, float]
    order_sha256: str
    seconds: float

    @property
    def val_ade_m(self) -> float:
        """The planners' validation error, in metres."""
        return self.metrics["val_ade_m"]

    def line(self) -> dict[str, float | str]:
        """Return the record flat, as it is written."""
        told: dict[str, float | str] = {"epoch": self.epoch, "step": self.step, "train_loss": self.train_loss}
        return {**told, **self.metrics, "order_sha256": self.order_sha256, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One line of ``steps.jsonl``: the loss over all samples of the step, and the order's digest up to it."""

    step: int
    loss: float
    order_sha256: str


class Listener(Protocol):
    """Who is told what happens while a model is fitted."""

    def resumed(self, step: int, passed_over: Sequence[str]) -> None:
        """Fitting begins after `step`; damaged checkpoints were passed over."""

    def stepped(self, record: StepRecord) -> None:
        """A step was taken."""

    def saved(self, step: int) -> None:
        """A state is on the disk."""

    def epoch_ended(self, record: EpochRecord, records: Sequence[EpochRecord]) -> None:
        """An epoch is over; with `SaveRules.each_epoch` its state is on the disk."""

    def held_up(self, found: Sequence[SlowRank]) -> None:
        """These processes hold the others up."""

    def state_wanted(self) -> bool:
        """Whether a state is to be saved at once: this process's machine is about to go."""


class Silent:
    """Tells nobody."""

    def resumed(self, step: int, passed_over: Sequence[str]) -> None:
        """Say nothing."""

    def stepped(self, record: StepRecord) -> None:
        """Say nothing."""

    def saved(self, step: int) -> None:
        """Say nothing."""

    def epoch_ended(self, record: EpochRecord, records: Sequence[EpochRecord]) -> None:
        """Say nothing."""

    def held_up(self, found: Sequence[SlowRank]) -> None:
        """Say nothing."""

    def state_wanted(self) -> bool:
        """Want none."""
        return False


@dataclass(slots=True)
class _Clock:
    """When the last state was saved, and what each step of this epoch cost this process alone."""

    saved_s: float = field(default_factory=time.monotonic)
    saved_step: int = 0
    own_s: list[float] = field(default_factory=list)


class Fit:
    """One fitting, from the first step or from the newest whole checkpoint.

    Args:
        learner: What is fitted; built under `seeded`, so that its first weights are the seed's.
        config: How to fit.
        train: Training split, this process's share of it, in batches of at most `config.batch` / processes.
        folder: Where checkpoints go.
        identity: Digest of the step; see `checkpoint.save`.
        rules: When a state is saved.
        together: The processes that fit it.
        device: Where the network lies.
    """

    def __init__(
        self,
        learner: Learner,
        config: FitConfig,
        *,
        train: Batches,
        folder: Path,
        identity: str,
        rules: SaveRules | None = None,
        together: Gang | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.learner = learner
        self._config, self._train = config, train
        self._folder, self._identity = folder, identity
        self._rules, self._gang, self._device = rules or SaveRules(), together or Alone(), device or torch.device("cpu")
        if self._gang.rank:  # each process drops other units and changes its frames in other ways
            torch.manual_seed(config.seed + 7919 * self._gang.rank)
        self._generator = np.random.default_rng(config.seed if self._gang.rank == 0 else [config.seed, self._gang.rank])
        learner.network = learner.network.to(self._device)
        self._whole = copy.deepcopy(learner.network) if self._in_pieces else None
        self._wrapped = self._gang.wrap(learner.network)
        self._called: Any = compiled(self._wrapped, self._device.type) if config.compiled else self._wrapped
        self._optimiser = torch.optim.AdamW(
            self._wrapped.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=not self._in_pieces,
        )
        self.records: list[EpochRecord] = []
        self._running, self._clock = _Running(), _Clock()
        self._passed_over: tuple[str, ...] = ()
        self._resume()

    @property
    def network(self) -> nn.Module:
        """The network; whole once `run` is through."""
        network: nn.Module = self.learner.network
        return network

    @property
    def step(self) -> int:
        """How many steps are behind it."""
        return self._running.step

    def run(self, listener: Listener | None = None) -> None:
        """Fit the epochs that are left.

        Raises:
            DivergedError: A loss or gradient is no number.
        """
        told = listener or Silent()
        told.resumed(self._running.step, self._passed_over)
        for epoch in range(len(self.records), self._config.epochs):
            started = time.monotonic() - self._running.seconds
            self._epoch(started, told)
            done, self._running = self._running, _Running(self._running.step, order_sha256=self._running.order_sha256)
            record = EpochRecord(
                epoch=epoch + 1,
                step=done.step,
                train_loss=done.loss / done.samples,
                metrics=self._validated(),
                order_sha256=done.order_sha256,
                seconds=round(time.monotonic() - started, 3),
            )
            self.records.append(record)
            if self._rules.each_epoch or epoch + 1 == self._config.epochs or self._due(told):
                self._save(told)
            told.epoch_ended(record, self.records)
            self._look_for_slow_ranks(told)
        if self._whole is not None:
            network, _ = self._gang.states(self._wrapped, self._optimiser)
            if self._gang.rank == 0:
                self._whole.load_state_dict(network)
            self.learner.network = self._whole

    def _epoch(self, started: float, told: Listener) -> None:
        """Take the steps that are left of an epoch, which began (without pauses by kills) at `started`."""
        self._wrapped.train()
        begun = time.perf_counter()
        for samples in self._train:
            for group in self._optimiser.param_groups:
                group["lr"] = self._learning_rate(self._running.step)
            count, loss = self._step(samples, begun)
            running = self._running
            running.step += 1
            running.samples += count
            running.loss += loss * count
            running.order_sha256 = _order(running.order_sha256, samples)
            told.stepped(StepRecord(running.step, loss, running.order_sha256))
            if running.step % len(self._train) and self._due(told):  # at an epoch's end `run` saves
                running.seconds = time.monotonic() - started
                self._save(told)
            begun = time.perf_counter()

    def _step(self, samples: Mapping[str, Any], begun: float) -> tuple[int, float]:
        """Take one step; return its samples over all processes, and their mean loss."""
        batch = {
            name: values.to(self._device, non_blocking=True)
            for name, values in self.learner.prepare(samples, self._generator).items()
        }
        ahead_s = time.perf_counter() - begun  # before anything is exchanged: who waits for a slow rank is not slow
        own = len(next(iter(batch.values())))
        total = own if self._gang.size == 1 else int(self._gang.summed([float(own)])[0])
        parts = _parts(own, self._config.accumulate)
        self._optimiser.zero_grad()
        summed = 0.0
        for number, (low, high) in enumerate(parts):
            went = time.perf_counter()
            part = batch if len(parts) == 1 else {name: values[low:high] for name, values in batch.items()}
            with self._gang.holding_back(self._wrapped, last=number == len(parts) - 1):
                with self._autocast():
                    loss = self.learner.loss(self._called, part)
                ahead_s += time.perf_counter() - went
                # Processes' gradients are averaged, so each brings its share of the mean over all samples.
                share = (high - low) * self._gang.size / total
                (loss if share == 1.0 else loss * share).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            summed += float(loss.detach()) * (high - low)
        self._clock.own_s.append(ahead_s)
        mean = summed / own if self._gang.size == 1 else self._gang.summed([summed])[0] / total
        norm = self._gang.clip(self._wrapped, 5.0)
        if not (np.isfinite(mean) and np.isfinite(norm)):
            names = samples.get("sample_id", ())
            raise diverged(self._running.step + 1, loss=summed / own, gradient=norm, names=names, batch=batch)
        self._optimiser.step()
        return total, mean

    def _autocast(self) -> Any:
        if self._config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=torch.bfloat16)

    @property
    def _in_pieces(self) -> bool:
        from platform_lib.models.gang import FullyShardedDataParallel

        return isinstance(self._gang, FullyShardedDataParallel)

    def _validated(self) -> dict[str, float]:
        # One that lies in pieces needs all of them; of whole ones rank 0's is enough.
        return self.learner.validate() if self._in_pieces or self._gang.rank == 0 else {}

    def _learning_rate(self, step: int) -> float:
        total = len(self._train) * self._config.epochs
        warmup = max(1, round(total * self._config.warmup_share))
        if step < warmup:
            return self._config.learning_rate * (step + 1) / warmup
        return float(self._config.learning_rate * 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, total - warmup))))

    def _look_for_slow_ranks(self, told: Listener) -> None:
        own, self._clock.own_s = self._clock.own_s, []
        if self._gang.size == 1 or not own:
            return
        found = slow_ranks(self._gang.gathered(median(own)))
        if found:
            told.held_up(found)

    def _due(self, told: Listener) -> bool:
        since = self._running.step - self._clock.saved_step
        due = (self._rules.every_steps is not None and since >= self._rules.every_steps) or (
            time.monotonic() - self._clock.saved_s >= self._rules.every_s
        )
        wanted = told.state_wanted()
        if self._gang.size == 1:
            return due or wanted
        # All save together or none does: what rank 0's clock says holds for all, and so does any one's notice.
        return bool(self._gang.summed([float(wanted or (due and self._gang.rank == 0))])[0])

    def _save(self, told: Listener) -> None:
        state = self._state()
        if self._gang.rank == 0:
            middle = self._running.step - len(self.records) * len(self._train)
            checkpoint.save(
                self._folder,
                epochs=len(self.records),
                steps=middle,
                at_step=self._running.step,
                identity=self._identity,
                state=state,
            )
        if self._gang.size > 1:
            self._gang.summed([0.0])  # nobody goes on, or ends as it was told to, before the state lies there
        self._clock.saved_s, self._clock.saved_step = time.monotonic(), self._running.step
        told.saved(self._running.step)

    def _state(self) -> dict[str, Any]:
        network, optimiser = self._gang.states(self._wrapped, self._optimiser)
        own = {
            "torch_rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
            # As text: the state is 128-bit integers, which torch's safe loader does not take.
            "numpy_rng": json.dumps(self._generator.bit_generator.state),
            "loader": self._train.state_dict(),
            "running": asdict(self._running),
        }
        description = getattr(self.learner, "description", None)
        return {
            "network": network,
            "optimiser": optimiser,
            "ranks": self._gang.gathered(own),
            "records": [asdict(record) for record in self.records],
            "model": None if description is None else description(),
        }

    def _resume(self) -> None:
        found = checkpoint.load_newest(self._folder, identity=self._identity)
        if found is None:
            return
        own = found.state["ranks"][self._gang.rank]
        self._gang.restore(self._wrapped, self._optimiser, found.state["network"], found.state["optimiser"])
        torch.set_rng_state(own["torch_rng"])
        if own["device_rng"] is not None:
            torch.cuda.set_rng_state(own["device_rng"], self._device)
        self._generator.bit_generator.state = json.loads(own["numpy_rng"])
        self.records = [EpochRecord(**record) for record in found.state["records"]]
        self._train.load_state_dict(own["loader"])
        self._running = _Running(**own["running"])
        self._clock.saved_step = self._running.step
        self._passed_over = found.passed_over


def seeded(config: FitConfig, device: torch.device | None = None) -> None:
    """Seed torch and make what it does repeatable; the learner is built after this, `Fit` after that."""
    torch.set_num_threads(config.threads)
    if device is None or device.type == "cpu":
        # What `use_deterministic_algorithms` does, without its import of the compiler.
        torch.set_deterministic_debug_mode("error")
    # A sixth of the time would go into filling memory that nobody reads before it is written.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - untyped by torch
    torch.manual_seed(config.seed)


def _order(before: str, samples: Mapping[str, Any]) -> str:
    names = samples.get("sample_id")
    if names is None:
        return before
    return hashlib.sha256("\n".join((before, *map(str, names))).encode()).hexdigest()


def _parts(count: int, parts: int) -> list[tuple[int, int]]:
    """Cut `count` samples into at most `parts` stretches of nearly equal length, none empty."""
    parts = max(1, min(parts, count))
    return [(number * count // parts, (number + 1) * count // parts) for number in range(parts)]


def batch_of_one_process(config: FitConfig, processes: int) -> int:
    """Return how many samples of a step each process takes."""
    return max(1, config.batch // processes)
