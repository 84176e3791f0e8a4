"""Read a split's samples batch by batch: shuffled anew each epoch, shared between readers, resumable after any batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lance.file import LanceFileReader

from platform_lib.datasets.reader import SAMPLES, DrivingDataset
from platform_lib.datasets.shuffle import EpochOrder, Part, Rows, ShuffleRules, Window, merged, runs_of
from platform_lib.datasets.splits import Split
from platform_lib.errors import ConfigError

TRAINING_COLUMNS = ("sample_id", "image", "ego_history", "command", "future")


class SampleLoader:
    """Iterates over the rest of the current epoch, then over the next one, and so on: one epoch an iteration.

    Each epoch holds every sample of the split once, over all parts together. All parts make the same number of steps.
    The order depends on the dataset, the seed, the epoch, the batch, the parts and the rules, and on nothing else.

    Args:
        folder: A dataset; its bytes are not verified here, see `DrivingDataset.open`.
        split: Which split.
        batch: Most samples of one step; steps differ by one sample at most.
        seed: Decides the order; None reads in the dataset's own.
        columns: What is read; flat lists as stored, JPEG bytes as views of what was read: a batch that is kept keeps
            the blocks it is from.
        part: Which share of each epoch is this reader's.
        rules: How rows are mixed.

    Raises:
        ConfigError: `batch` or `seed` cannot be used.
        MissingPartError: There is no such dataset.
    """

    def __init__(
        self,
        folder: Path,
        split: Split,
        *,
        batch: int,
        seed: int | None = 0,
        columns: Sequence[str] = TRAINING_COLUMNS,
        part: Part | None = None,
        rules: ShuffleRules | None = None,
    ) -> None:
        if batch < 1 or (seed is not None and seed < 0):
            raise ConfigError(f"batch {batch}, seed {seed}", where="SampleLoader", remedy="take 1 or more, 0 or more")
        self._part, self._rules = part or Part(), rules or ShuffleRules()
        self._batch, self._seed = batch, seed
        digest = DrivingDataset.digest(folder)
        self._store = _Store(folder / SAMPLES, columns)
        self._runs = runs_of(self._store.split == split)
        if not len(self._runs):
            raise ConfigError(f"the {split} split has no samples", where=folder)
        self._identity = {
            "dataset": digest,
            "split": split,
            "seed": seed,
            "batch": batch,
            "part": [self._part.index, self._part.count],
            "rules": [self._rules.block_rows, self._rules.window_blocks],
        }
        self._epoch = self._step = 0
        self._order = self._order_of(0)

    def __len__(self) -> int:
        """Return the steps of a whole epoch."""
        return self._order.steps

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration reads, or goes on with."""
        return self._epoch

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, as JSON values: give it to `load_state_dict` of a new one."""
        return {"epoch": self._epoch, "step": self._step, "of": self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was taken before `state_dict`.

        Raises:
            ConfigError: The state is of another dataset, split, seed, batch, part or rules: the order would differ.
        """
        of = state.get("of")
        if of != self._identity:
            kept = of if isinstance(of, dict) else {}
            differ = [name for name, value in self._identity.items() if kept.get(name) != value]
            raise ConfigError(
                f"the state is of another {', '.join(differ) or 'loader'}",
                where="SampleLoader",
                remedy="resume with what it was begun with, or begin an epoch anew",
            )
        self.seek(epoch=int(state["epoch"]), step=int(state["step"]))

    def seek(self, *, epoch: int, step: int) -> None:
        """Go to a step of an epoch.

        Raises:
            ConfigError: There is no such step.
        """
        if epoch < 0 or not 0 <= step <= self._order.steps:
            raise ConfigError(f"no step {step} of epoch {epoch}", where="SampleLoader")
        self._epoch, self._step, self._order = epoch, step, self._order_of(epoch)

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the rest of the epoch, pictures as ``binary_view``; when it ends the loader stands at the start of the next."""
        order = self._order
        starts = order.starts()
        with ThreadPoolExecutor(max_workers=1) as ahead:
            number, now = -1, None
            following: Future[pa.Table] | None = None
            while self._step < order.steps:
                low, high = order.step(self._step)
                parts: list[pa.Table] = []
                while low < high:
                    wanted = int(np.searchsorted(starts, low, side="right")) - 1
                    if now is None or wanted != number:
                        now = self._read(order.window(wanted)) if following is None else following.result()
                        number = wanted
                        has_next = number + 1 < order.windows
                        following = ahead.submit(self._read, order.window(number + 1)) if has_next else None
                    stop = min(high, int(starts[number + 1]))
                    parts.append(now.slice(low - int(starts[number]), stop - low))
                    low = stop
                self._step += 1
                if parts:
                    yield parts[0] if len(parts) == 1 else pa.concat_tables(parts)
        self.seek(epoch=self._epoch + 1, step=0)

    def _order_of(self, epoch: int) -> EpochOrder:
        return EpochOrder(
            self._runs, batch=self._batch, seed=self._seed, epoch=epoch, part=self._part, rules=self._rules
        )

    def _read(self, window: Window) -> pa.Table:
        """Read a window's ranges, each in one piece."""
        pieces = [table for one in merged(window.ranges) for table in self._store.read(*one)]
        return _mixed(pieces, window.order)


class _Store:
    """A Lance table read by ranges of rows, from its files directly: half the cost of asking the table for rows."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._table, self._columns = lance.dataset(str(folder)), list(columns)
        names = self._table.to_table(columns=["split"])["split"]
        self.split = names.to_numpy(zero_copy_only=False)
        self._readers: list[tuple[int, int, LanceFileReader | None]] = []
        start = 0
        for fragment in self._table.get_fragments():
            rows, files = fragment.count_rows(), fragment.data_files()
            # Rows that were erased are still in the file: then only the table knows which are left.
            whole = len(files) == 1 and fragment.physical_rows == rows
            path = str(folder / "data" / files[0].path)
            reader = LanceFileReader(path, columns=self._columns) if whole else None
            self._readers.append((start, start + rows, reader))
            start += rows

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        for low, high, reader in self._readers:
            first, last = max(start, low), min(stop, high)
            if first < last and reader is None:
                yield self._table.take(np.arange(first, last), columns=self._columns)
            elif first < last and reader is not None:
                found = reader.read_range(first - low, last - first, batch_size=last - first).to_table()
                yield found.select(self._columns)


def _mixed(pieces: list[pa.Table], order: Rows) -> pa.Table:
    """Put the rows of a window into their random order. The pictures stay where they were read: only views move."""
    whole = pa.concat_tables(pieces)
    blobs = [f.name for f in whole.schema if f.type == pa.large_binary() and not whole[f.name].null_count]
    rest = whole.drop_columns(blobs).combine_chunks().take(pa.array(order))
    columns = [_views_of(whole[name], order) if name in blobs else rest[name] for name in whole.schema.names]
    return pa.table(columns, names=whole.schema.names)


# Source: Apache Arrow columnar format, "Variable-size Binary View Layout".
_VIEW = np.dtype([("size", "<i4"), ("prefix", "u1", 4), ("buffer", "<i4"), ("start", "<i4")])
_INLINE_BYTES = 12


def _views_of(column: pa.ChunkedArray, order: Rows) -> pa.Array:
    """Return a column of bytes, in another order, as views of the buffers it was read into."""
    buffers: list[pa.Buffer] = []
    parts = [np.zeros(0, dtype=_VIEW)]
    for number, array in enumerate(column.chunks):
        offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
        buffers.append(array.buffers()[2] or pa.py_buffer(b""))
        parts.append(_views(np.frombuffer(buffers[-1], dtype=np.uint8), offsets, number))
    views = pa.py_buffer(np.concatenate(parts)[order])
    return pa.Array.from_buffers(pa.binary_view(), len(order), [None, views, *buffers])


def _views(data: npt.NDArray[np.uint8], offsets: Rows, buffer: int) -> npt.NDArray[np.void]:
    """Describe each row's bytes (N,): short ones lie in the view itself, others are pointed to."""
    views = np.zeros(len(offsets) - 1, dtype=_VIEW)
    size = np.diff(offsets)
    views["size"] = size
    long = np.flatnonzero(size > _INLINE_BYTES)
    if len(long) and int(offsets[-1]) >= 1 << 31:
        raise ConfigError("a block holds more than 2 GB", where="ShuffleRules.block_rows", remedy="take fewer rows")
    views["prefix"][long] = data[offsets[long][:, None] + np.arange(4)]
    views["buffer"][long] = buffer
    views["start"][long] = offsets[long]
    inline = views.view(np.uint8).reshape(-1, _VIEW.itemsize)
    for row in np.flatnonzero(size <= _INLINE_BYTES).tolist():
        inline[row, 4 : 4 + size[row]] = data[offsets[row] : offsets[row + 1]]
    return views
