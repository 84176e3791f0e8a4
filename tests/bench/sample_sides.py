"""Training samples: ours shuffled from Lance, one row group a sample from Parquet, Lance in order.

Every side hands out every sample of the split once, in batches, as Arrow: id, image, history, future, command. The Parquet
peer reads in a random order as map-style datasets do; its row groups of 32 samples are small, in its favour.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from platform_lib.datasets.loader import TRAINING_COLUMNS, SampleLoader
from platform_lib.manifest import Step
from tests.bench.side import Digests, Parts, Side, Task

_ROWS = 12_288
_IMAGE_BYTES = 24_000
_GROUP_ROWS = 32
_BATCH = 32
_COLUMNS = list(TRAINING_COLUMNS)


def write_samples(folder: Path, scale: float) -> None:
    """Write 300 MB of samples, at full scale, as a dataset and as Parquet; the images are noise of a JPEG's size."""
    folder.mkdir()
    rows = max(2 * _GROUP_ROWS, int(_ROWS * scale))
    schema = next(_batches(1)).schema
    reader = pa.RecordBatchReader.from_batches(schema, _batches(rows))
    lance.write_dataset(reader, str(folder / "samples.lance"), max_rows_per_file=1 << 20)
    options = {"compression": "none", "use_dictionary": False}
    with pq.ParquetWriter(folder / "samples.parquet", schema, **options) as writer:
        for batch in _batches(rows):
            writer.write_batch(batch, row_group_size=_GROUP_ROWS)
    Step("dataset", inputs={}, config={"rows": rows}, modules=()).finish(folder / "manifest.json", {})


def _batches(rows: int) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(11)
    for start in range(0, rows, 256):
        count = min(256, rows - start)
        sizes = rng.integers(_IMAGE_BYTES // 2, _IMAGE_BYTES * 3 // 2, count)
        yield pa.record_batch(
            {
                "sample_id": [f"drive-{(start + row) // 100:05d}/{start + row}" for row in range(count)],
                "split": ["train"] * count,
                "pii_state": ["none_present"] * count,
                "image": pa.array([rng.bytes(int(size)) for size in sizes], pa.large_binary()),
                "ego_history": _fixed(rng, count, 30),
                "command": pa.array(rng.integers(0, 3, count), pa.int8()),
                "future": _fixed(rng, count, 12),
            }
        )


def _fixed(rng: np.random.Generator, count: int, width: int) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(rng.random(count * width, np.float32), width)


class _Side:
    """Counts what it hands out; subclasses say how."""

    def __init__(self, task: Task) -> None:
        self._folder = task.log

    def batches(self) -> Iterator[pa.RecordBatch | pa.Table]:
        raise NotImplementedError

    def run(self) -> None:
        assert sum(len(batch) for batch in self.batches()) > 0

    def check(self) -> Digests:
        """Return for each column the samples and a sum over them, whatever their order."""
        sums, count = dict.fromkeys(_COLUMNS, 0), 0
        for batch in self.batches():
            count += len(batch)
            for row in batch.to_pylist():
                for name in _COLUMNS:
                    sums[name] += zlib.crc32(repr((row["sample_id"], row[name])).encode())
        return {name: f"{count} values, {total}" for name, total in sums.items()}


class _Ours(_Side):
    def batches(self) -> Iterator[pa.Table]:
        yield from SampleLoader(self._folder, "train", batch=_BATCH, seed=1)


class _Parquet(_Side):
    def batches(self) -> Iterator[pa.Table]:
        source = pq.ParquetFile(self._folder / "samples.parquet", memory_map=True)
        order = np.random.default_rng(1).permutation(source.metadata.num_rows)
        for start in range(0, len(order), _BATCH):
            group, row = np.divmod(order[start : start + _BATCH], _GROUP_ROWS)
            rows = [
                source.read_row_group(one, columns=_COLUMNS).slice(place, 1).combine_chunks()
                for one, place in zip(group.tolist(), row.tolist(), strict=True)
            ]
            yield pa.concat_tables(rows).combine_chunks()


class _Scan(_Side):
    def batches(self) -> Iterator[pa.RecordBatch]:
        source = lance.dataset(str(self._folder / "samples.lance"))
        yield from source.scanner(columns=_COLUMNS, batch_size=_BATCH, scan_in_order=True).to_batches()


class _Floor:
    def __init__(self, task: Task) -> None:
        self._files = sorted((task.log / "samples.lance" / "data").iterdir())

    def run(self) -> Parts:
        buffer = memoryview(bytearray(1 << 20))
        begin = time.process_time()
        for file in self._files:
            with file.open("rb", buffering=0) as stream:
                while stream.readinto(buffer):
                    pass
        return {"read": time.process_time() - begin, "inflate": 0.0, "crc": 0.0, "copy": 0.0}

    def check(self) -> Digests:
        return {}


def ours(task: Task) -> Side:
    """Shuffle with the loader."""
    return _Ours(task)


def parquet(task: Task) -> Side:
    """Read one row group for each sample, in a random order."""
    return _Parquet(task)


def scan(task: Task) -> Side:
    """Scan Lance in order."""
    return _Scan(task)


def floor(task: Task) -> Side:
    """Read the table's files, into a buffer that is used again."""
    return _Floor(task)
