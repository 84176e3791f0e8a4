"""Read a split's samples batch by batch: shuffled anew each epoch, shared between readers, resumable after any batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lance.file import LanceFileReader
from pydantic import JsonValue

from platform_lib.datasets.position import Position
from platform_lib.datasets.reader import SAMPLES, DrivingDataset
from platform_lib.datasets.shuffle import (
    EpochOrder,
    Part,
    Rows,
    ShuffleRules,
    Window,
    merged,
    places_of,
    rows_at,
    runs_of,
)
from platform_lib.datasets.splits import SPLITS, Split
from platform_lib.errors import ConfigError, IntegrityError
from platform_lib.privacy.frames import ADMITTED

TRAINING_COLUMNS = ("sample_id", "image", "ego_history", "command", "future")
PII_STATE = "pii_state"


class SampleLoader(Position):
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
        IntegrityError: A sample of the split shows, or may show, people.
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
        self._runs = runs_of(self._store.admitted(split))
        if not len(self._runs):
            raise ConfigError(
                f"the {split} split has no samples", where=folder, remedy=f"name one of {', '.join(SPLITS)}"
            )
        identity: dict[str, JsonValue] = {
            "dataset": digest,
            "split": split,
            "seed": seed,
            "batch": batch,
            "part": [self._part.index, self._part.count],
            "rules": [self._rules.block_rows, self._rules.window_blocks],
        }
        super().__init__(steps=self.order(0).steps, identity=identity)

    @property
    def samples(self) -> int:
        """How many samples the split has, over all parts."""
        return int((self._runs[:, 1] - self._runs[:, 0]).sum())

    def order(self, epoch: int) -> EpochOrder:
        """Return the order of this part of an epoch."""
        return EpochOrder(
            self._runs, batch=self._batch, seed=self._seed, epoch=epoch, part=self._part, rules=self._rules
        )

    def in_order(self, rows: int) -> Iterator[pa.Table]:
        """Yield the whole split as the dataset has it, at most so many rows at a time; the loader stays where it is."""
        for start, stop in self._runs.tolist():
            for low in range(start, stop, rows):
                yield from self._store.read(low, min(low + rows, stop))

    def take(self, places: Rows) -> pa.Table:
        """Return samples (N,) by their place in the split."""
        return self._store.take(rows_at(self._runs, places))

    def places(self, rows: Rows) -> Rows:
        """Return the places in the split of rows of the table."""
        return places_of(self._runs, rows)

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the rest of the epoch, pictures as ``binary_view``; when it ends the loader stands at the start of the next."""
        order = self.order(self._epoch)
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

    def _read(self, window: Window) -> pa.Table:
        """Read a window's ranges, each in one piece."""
        pieces = [table for one in merged(window.ranges) for table in self._store.read(*one)]
        return _mixed(pieces, window.order)


class _Store:
    """A Lance table read by ranges of rows, from its files directly: half the cost of asking the table for rows."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._table, self._columns = lance.dataset(str(folder)), list(columns)
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

    def admitted(self, split: Split) -> npt.NDArray[np.bool_]:
        """Say of each row whether it is of a split; a table with a row of it that must not be trained on is refused."""
        if PII_STATE not in self._table.schema.names:
            raise IntegrityError("it does not say what its samples show of people", where=self._table.uri)
        found = self._table.to_table(columns=["split", PII_STATE])
        member = np.asarray(found["split"].to_numpy(zero_copy_only=False) == split, dtype=np.bool_)
        states = set(found[PII_STATE].filter(pa.array(member)).unique().to_pylist())
        if not states <= ADMITTED:
            raise IntegrityError(
                f"the {split} split has samples whose state of personal data is {sorted(map(str, states - ADMITTED))[0]!r}",
                where=self._table.uri,
                remedy="build the dataset again: `drivetrain dataset NAME --force`",
            )
        return member

    def take(self, rows: Rows) -> pa.Table:
        return self._table.take(rows, columns=self._columns)

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
