"""A loader whose epochs are chosen by `platform_lib.models.sampling`: balanced, from easy to hard, hard ones again.

What it has seen of the samples' errors is part of its state, so a run that was killed goes on with the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from platform_lib.datasets.position import Position
from platform_lib.datasets.shuffle import Rows
from platform_lib.datasets.torch_loader import TorchBatch, TorchLoader
from platform_lib.models.sampling import SampleTable, SamplingConfig, epoch_rows

PLACE = "place"
"""The batch's name for the samples' places in the split (N,)."""


class SampledLoader(Position):
    """Hands out batches of a `TorchLoader` in the order that sampling gives; each epoch has as many samples as the split.

    Errors that are observed in an epoch decide the next one: what an epoch holds is known when it begins.

    Args:
        loader: Where samples come from; one that keeps its split in memory, or each batch is read at random.
        table: What is known of them.
        config: How they are chosen.
        batch: Most samples of one step.
        seed: Decides the order.
    """

    def __init__(
        self, loader: TorchLoader, table: SampleTable, config: SamplingConfig, *, batch: int, seed: int
    ) -> None:
        self._loader, self._table, self._config = loader, table, config
        self._batch, self._seed = batch, seed
        steps = -(-len(table) // batch)
        identity = {**loader.state_dict()["of"], "sampling": asdict(config), "seed": seed, "batch": batch}
        super().__init__(steps=steps, identity=identity)
        self._error = table.error.copy()
        self._next = self._error.copy()

    @property
    def samples(self) -> int:
        """How many samples the split has."""
        return self._loader.samples

    def in_order(self, rows: int = 256) -> Iterator[TorchBatch]:
        """Yield the whole split as the dataset has it."""
        return self._loader.in_order(rows)

    def take(self, places: Rows) -> TorchBatch:
        """Return samples (N,) by their place in the split."""
        return self._loader.take(places)

    def rows(self, epoch: int) -> Rows:
        """Return an epoch's samples in their order, by their place in the split."""
        return epoch_rows(self._table.with_error(self._error), self._config, epoch=epoch, seed=self._seed)

    def observe(self, places: npt.NDArray[np.int64], error: npt.NDArray[np.float64]) -> None:
        """Take note of the model's errors (N,) on samples of the epoch that runs."""
        self._next[places] = error

    def __iter__(self) -> Iterator[TorchBatch]:
        """Yield the rest of the epoch, with the samples' places; when it ends the loader stands at the start of the next."""
        rows = self.rows(self._epoch)
        for step in range(self._step, len(self)):
            places = rows[step * self._batch : (step + 1) * self._batch]
            batch = self._loader.take(places)
            self._step += 1
            yield {**batch, PLACE: torch.from_numpy(places.copy())}
        self._error = self._next.copy()
        self.seek(epoch=self._epoch + 1, step=0)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, and the errors that it knows of."""
        errors = {"error": torch.from_numpy(self._error.copy()), "next": torch.from_numpy(self._next.copy())}
        return {**super().state_dict(), **errors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was taken before `state_dict`.

        Raises:
            ConfigError: The state is of other samples, or they were chosen in another way.
        """
        super().load_state_dict({name: state[name] for name in ("epoch", "step", "of")})
        self._error, self._next = state["error"].numpy().copy(), state["next"].numpy().copy()
