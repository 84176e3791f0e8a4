"""The sample loader for PyTorch, in one process or several; with Ray Train, each worker gives its own rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from platform_lib.datasets.images import decode_images
from platform_lib.datasets.loader import TRAINING_COLUMNS, SampleLoader
from platform_lib.datasets.model import FUTURE_STEPS, HISTORY_STEPS
from platform_lib.datasets.shuffle import Part, ShuffleRules
from platform_lib.datasets.splits import Split
from platform_lib.datasets.table import fixed_array
from platform_lib.errors import ConfigError

TorchBatch = dict[str, Any]


def torch_batch(table: pa.Table) -> TorchBatch:
    """Turn a batch of N rows into what a planner is trained on.

    Returns:
        ``image`` uint8 (N, 3, 64, 192), ``ego_history`` float32 (N, 10, 3), ``command`` int64 (N,), ``future`` float32
        (N, 6, 2), ``sample_id`` N strings.

    Raises:
        IntegrityError: An image cannot be decoded.
    """
    names = table["sample_id"].to_pylist()
    images = decode_images([item.as_buffer() for item in table["image"]], names)
    return {
        "sample_id": names,
        "image": torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
        "ego_history": torch.from_numpy(fixed_array(table, "ego_history").reshape(-1, HISTORY_STEPS, 3).copy()),
        "command": torch.from_numpy(table["command"].to_numpy().astype(np.int64)),
        "future": torch.from_numpy(fixed_array(table, "future").reshape(-1, FUTURE_STEPS, 2).copy()),
    }


class _Rest(IterableDataset[TorchBatch]):
    """The rest of one epoch, in whichever process of the data loader asks."""

    def __init__(self, source: dict[str, Any], part: Part, *, epoch: int, taken: int, workers: int) -> None:
        self._source, self._part = source, part
        self._epoch, self._taken, self._workers = epoch, taken, max(1, workers)

    def __iter__(self) -> Iterator[TorchBatch]:
        info = get_worker_info()
        # Batches are asked of the workers in turn, from worker 0 on: it becomes the one whose turn it was.
        own = (self._taken + (0 if info is None else info.id)) % self._workers
        part = Part(self._part.index * self._workers + own, self._part.count * self._workers)
        loader = SampleLoader(**self._source, part=part)
        loader.seek(epoch=self._epoch, step=self._taken // self._workers + (own < self._taken % self._workers))
        for batch in loader:
            yield torch_batch(batch)


class TorchLoader:
    """Like `SampleLoader`, with tensors, and decoding in processes of its own.

    Args:
        folder: A dataset.
        split: Which split.
        batch: Most samples of one step.
        seed: Decides the order.
        part: This rank's share; under Ray Train ``Part(context.get_world_rank(), context.get_world_size())``.
        workers: Processes that read and decode; 0 does it here. The order depends on their number.
        rules: How rows are mixed, in each process.
        columns: What is read.
    """

    def __init__(
        self,
        folder: Path,
        split: Split,
        *,
        batch: int,
        seed: int | None = 0,
        part: Part | None = None,
        workers: int = 0,
        rules: ShuffleRules | None = None,
        columns: Sequence[str] = TRAINING_COLUMNS,
    ) -> None:
        self._source: dict[str, Any] = {
            "folder": folder,
            "split": split,
            "batch": batch,
            "seed": seed,
            "rules": rules or ShuffleRules(),
            "columns": tuple(columns),
        }
        self._part, self._workers = part or Part(), workers
        one = Part(self._part.index * max(1, workers), self._part.count * max(1, workers))
        first = SampleLoader(**self._source, part=one)
        self._steps = len(first) * max(1, workers)
        self._identity = {**first.state_dict()["of"], "workers": workers}
        self._epoch = self._taken = 0

    def __len__(self) -> int:
        """Return the steps of a whole epoch; the same on every rank."""
        return self._steps

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration reads, or goes on with."""
        return self._epoch

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is: after the last batch that was handed out, however many were read ahead."""
        return {"epoch": self._epoch, "step": self._taken, "of": self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ConfigError: It is of another loader.
        """
        if state.get("of") != self._identity:
            raise ConfigError(
                "the state is of another dataset, split, seed, batch, rank, rules or number of workers",
                where="TorchLoader",
                remedy="resume with what it was begun with, or begin an epoch anew",
            )
        self._epoch, self._taken = int(state["epoch"]), int(state["step"])

    def __iter__(self) -> Iterator[TorchBatch]:
        """Yield the rest of the epoch; when it ends the loader stands at the start of the next."""
        rest = _Rest(self._source, self._part, epoch=self._epoch, taken=self._taken, workers=self._workers)
        # Lance keeps threads of its own, which a forked process would lack.
        context = "spawn" if self._workers else None
        for batch in DataLoader(rest, batch_size=None, num_workers=self._workers, multiprocessing_context=context):
            self._taken += 1
            yield batch
        self._epoch, self._taken = self._epoch + 1, 0
