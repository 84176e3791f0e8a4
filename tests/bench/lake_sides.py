"""MDF 4 -> files of a table: ours as the lake takes a log in, asammdf's columns written by pyarrow.

Both leave the raw CAN frames where they are. Ours are the long rows of the signal table, checked, partitioned by day and
synced to disk, ready to be committed; the peer's are one wide file a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from asammdf import MDF

from platform_lib.catalog.model import FileKey, Refusal
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, take_in
from tests.bench.digests import Digest, NamedDigests
from tests.bench.mdf_sides import CAN_GROUP, group_columns
from tests.bench.side import Digests, Side, Task


class _Ours:
    def __init__(self, task: Task) -> None:
        self._task = task

    def run(self) -> None:
        key = FileKey("0" * 64, "0", 0, "0" * 64)
        job = LogJob(1, self._task.log, key, FileStamp.of(self._task.log))
        taken = take_in(job, ReadOptions(), Place(self._task.scratch / "signals", self._task.scratch / "samples.lance"))
        assert not isinstance(taken, Refusal), taken

    def check(self) -> Digests:
        found = NamedDigests()
        for path in sorted(self._task.scratch.rglob("*.parquet")):
            file = pq.ParquetFile(path)
            for number in range(file.num_row_groups):
                for name, part in _runs(file.read_row_group(number)):
                    times, values, texts = part["timestamp_ns"], part["value"], part["text"]
                    found[f"{name} time"].times(times.to_numpy())
                    found[name].arrow((texts if values.null_count else values).combine_chunks())
        return found.texts()


def _runs(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Split rows where stream or signal change."""
    keys = [table[name].combine_chunks().dictionary_encode() for name in ("stream", "signal")]
    codes = [key.indices.to_numpy() for key in keys]
    edges = np.flatnonzero((np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)) + 1
    bounds = [0, *edges.tolist(), table.num_rows]
    for first, last in pairwise(bounds):
        stream, signal = (key[first].as_py() for key in keys)
        yield f"{stream.partition(':')[0]}/{signal}", table.slice(first, last - first)


class _Asammdf:
    def __init__(self, task: Task) -> None:
        self._task = task

    def run(self) -> None:
        with MDF(self._task.log) as mdf:
            for index, group in enumerate(mdf.groups):
                if CAN_GROUP in [channel.name for channel in group.channels]:
                    continue
                table = pa.table(dict(group_columns(mdf, index)))
                path = self._task.scratch / f"{index}.parquet"
                pq.write_table(table, path, compression="zstd", compression_level=1)

    def check(self) -> Digests:
        with MDF(self._task.log) as mdf:
            start_ns = int(mdf.header.start_time.timestamp()) * 1_000_000_000
        found: Digests = {}
        for path in sorted(self._task.scratch.glob("*.parquet")):
            table = pq.read_table(path)
            time = Digest()
            time.times(start_ns + np.rint(table["time"].to_numpy() * 1e9).astype(np.int64))
            for name in table.column_names[1:]:
                digest = Digest()
                digest.arrow(table[name].combine_chunks())
                found |= {f"{path.stem}/{name}": str(digest), f"{path.stem}/{name} time": str(time)}
        return found


def ours(task: Task) -> Side:
    """Take the log in as the lake does."""
    return _Ours(task)


def asammdf(task: Task) -> Side:
    """Write each group's columns with pyarrow."""
    return _Asammdf(task)
