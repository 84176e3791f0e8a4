"""What can be trained: a network, what it is shown, and what its error is. A team's own model is one class like this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn


class Batches(Protocol):
    """What hands out the training split: `platform_lib.datasets.torch_loader.TorchLoader`, or a class of one's own.

    Every batch is a mapping of names to tensors that share a leading axis N. ``sample_id``, a list of N names, makes
    the order of samples provable and names the samples of a step that went wrong.
    """

    def __len__(self) -> int:
        """Return the steps of an epoch."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rest of the epoch; at its end stand at the start of the next."""

    def state_dict(self) -> dict[str, Any]:
        """Return where it is, as values that JSON knows."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class Learner(Protocol):
    """One model in training.

    Attributes:
        network: What is fitted. It is set once more, to one that is whole, when it was trained in pieces.
    """

    network: Any

    def prepare(self, samples: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Tensor]:
        """Turn what the loader handed out into tensors that share a leading axis N, changed at random if wanted.

        Whatever is random is drawn from `generator` or from torch: both are kept in checkpoints.
        """

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss of a prepared batch.

        Args:
            network: `self.network`, as it was wrapped for several processes or compiled.
            batch: What `prepare` returned, or a stretch of it.
        """

    def validate(self) -> dict[str, float]:
        """Score the validation split; what is measured is reported, never selected on. Empty where there is none."""

    def weights(self) -> dict[str, Any]:
        """Return what ``weights.pt`` holds: enough to build the network again."""


class Exports(Protocol):
    """A learner that also leaves files in the run's folder."""

    def export(self, run: Path) -> tuple[str, ...]:
        """Write them, and return their names."""


class Described(Protocol):
    """A learner whose checkpoints can be scored while it trains: they hold what the network is built from."""

    def description(self) -> dict[str, Any]:
        """Return what ``weights.pt`` holds besides ``state``; plain values."""
