"""MDF 4 -> files of a table: ours as the lake takes a log in, asammdf's columns written by pyarrow.

Both leave the raw CAN frames where they are. Ours are the packed rows of the signal table, checked, partitioned by day and
synced to disk, ready to be committed; the peer's are one wide file a group.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from asammdf import MDF

from platform_lib.catalog.model import FileKey, Refusal
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, take_in
from platform_lib.lake.packing import unpack
from platform_lib.lake.tables import PACKED_SCHEMA
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
        source = ds.dataset(sorted(map(str, self._task.scratch.rglob("*.parquet"))), PACKED_SCHEMA, "parquet")
        for stream in sorted(set(source.to_table(columns=["stream"])["stream"].to_pylist())):
            for name, part in _signals(source.to_table(filter=ds.field("stream") == stream)):
                times, values, texts = part["timestamp_ns"], part["value"], part["text"]
                found[f"{name} time"].times(times.to_numpy())
                found[name].arrow((texts if values.null_count else values).combine_chunks())
        return found.texts()


def _signals(packed: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Unpack the signals of one stream, one after the other."""
    group = packed["stream"][0].as_py().partition(":")[0]
    for signal in sorted(set(packed["signal"].drop_null().to_pylist())):
        own = pc.fill_null(pc.equal(packed["signal"], signal), fill_value=True)  # null: the times they share
        yield f"{group}/{signal}", unpack(packed.filter(own))


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
