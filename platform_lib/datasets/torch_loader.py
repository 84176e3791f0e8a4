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
from platform_lib.datasets.position import Position
from platform_lib.datasets.sample_labels import LABEL_BYTES, LABEL_COLUMNS, label_tensors
from platform_lib.datasets.shuffle import Part, Rows, ShuffleRules
from platform_lib.datasets.splits import Split
from platform_lib.datasets.table import fixed_array
from platform_lib.errors import ConfigError
from platform_lib.models.interface import IMAGE_HEIGHT, IMAGE_WIDTH

TorchBatch = dict[str, Any]

SAMPLE_BYTES = 3 * IMAGE_HEIGHT * IMAGE_WIDTH + 4 * (HISTORY_STEPS * 3 + FUTURE_STEPS * 2) + 256
"""Memory of a decoded sample, its name included."""
_KEPT_ROWS = 512


def torch_batch(table: pa.Table) -> TorchBatch:
    """Turn a batch of N rows into what a planner is trained on.

    Returns:
        ``image`` uint8 (N, 3, 64, 192), ``ego_history`` float32 (N, 10, 3), ``command`` int64 (N,), ``future`` float32
        (N, 6, 2), ``sample_id`` N strings; with the columns ``objects`` and ``slices`` also what `label_tensors` returns.

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
        **label_tensors(table),
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


class TorchLoader(Position):
    """Like `SampleLoader`, with tensors, and decoding in processes of its own.

    A split that is small enough is read and decoded once and then kept in memory. The order is the same either way.

    Args:
        folder: A dataset.
        split: Which split.
        batch: Most samples of one step.
        seed: Decides the order.
        part: This rank's share; under Ray Train ``Part(context.get_world_rank(), context.get_world_size())``.
        workers: Processes that read and decode; 0 does it here. The order depends on their number.
        rules: How rows are mixed, in each process.
        columns: What is read.
        keep_bytes: A decoded split of at most so many bytes is kept; only without `workers`, which it would not need.
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
        keep_bytes: int = 0,
    ) -> None:
        if workers and keep_bytes:
            raise ConfigError(
                f"{workers} workers, and {keep_bytes} bytes to keep", where="TorchLoader", remedy="take one of both"
            )
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
        self._first = SampleLoader(**self._source, part=one)
        super().__init__(
            steps=len(self._first) * max(1, workers),
            identity={**self._first.state_dict()["of"], "workers": workers},
        )
        each = SAMPLE_BYTES + (LABEL_BYTES if set(columns) & set(LABEL_COLUMNS) else 0)
        self._keeps = self.samples * each <= keep_bytes
        self._kept: TorchBatch | None = None

    @property
    def samples(self) -> int:
        """How many samples the split has, over all parts."""
        return self._first.samples

    def in_order(self, rows: int = 256) -> Iterator[TorchBatch]:
        """Yield the whole split as the dataset has it, at most so many rows at a time; the loader stays where it is."""
        if not self._keeps:
            yield from map(torch_batch, self._first.in_order(rows))
            return
        for start in range(0, self.samples, rows):
            yield _taken(self._in_memory(), torch.arange(start, min(start + rows, self.samples)))

    def take(self, places: Rows) -> TorchBatch:
        """Return samples (N,) by their place in the split."""
        if self._keeps:
            return _taken(self._in_memory(), torch.from_numpy(places))
        return torch_batch(self._first.take(places))

    def __iter__(self) -> Iterator[TorchBatch]:
        """Yield the rest of the epoch; when it ends the loader stands at the start of the next."""
        for batch in self._from_memory() if self._keeps else self._from_disk():
            self._step += 1
            yield batch
        self.seek(epoch=self._epoch + 1, step=0)

    def _from_disk(self) -> Iterator[TorchBatch]:
        rest = _Rest(self._source, self._part, epoch=self._epoch, taken=self._step, workers=self._workers)
        # Lance keeps threads of its own, which a forked process would lack.
        context = "spawn" if self._workers else None
        # A generator of its own: it would draw from torch's, which dropout draws from, once an iteration.
        own = torch.Generator()
        yield from DataLoader(
            rest, batch_size=None, num_workers=self._workers, multiprocessing_context=context, generator=own
        )

    def _from_memory(self) -> Iterator[TorchBatch]:
        kept, order = self._in_memory(), self._first.order(self._epoch)
        places = torch.from_numpy(self._first.places(order.rows()))
        for step in range(self._step, len(self)):
            low, high = order.step(step)
            if low < high:
                yield _taken(kept, places[low:high])

    def _in_memory(self) -> TorchBatch:
        if self._kept is None:
            # Filled in place: put together at the end they would be there twice.
            kept: TorchBatch = {"sample_id": []}
            done = 0
            for table in self._first.in_order(_KEPT_ROWS):
                batch = torch_batch(table)
                names = batch.pop("sample_id")
                for name, values in batch.items():
                    if name not in kept:
                        kept[name] = torch.empty((self.samples, *values.shape[1:]), dtype=values.dtype)
                    kept[name][done : done + len(names)] = values
                kept["sample_id"] += names
                done += len(names)
            self._kept = kept
        return self._kept


def _taken(batch: TorchBatch, places: torch.Tensor) -> TorchBatch:
    # Indexing by `values[places]` is twenty times slower for pictures.
    taken = {name: values.index_select(0, places) for name, values in batch.items() if name != "sample_id"}
    return {"sample_id": [batch["sample_id"][place] for place in places.tolist()], **taken}
