"""Writes rows of signal files anew: several files into one, or one without some ingests; one row group in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from platform_lib.lake.place import LakePath, arrow_path, delete, fsync_files
from platform_lib.lake.writer import ROW_GROUP_BYTES, open_parquet


def merge(sources: Sequence[LakePath], target: LakePath, *, without: Collection[int] = ()) -> int:
    """Write the rows of several files, in their order, to a new one, flushed to the disk.

    Args:
        sources: Files of the signal table.
        target: In the same folder.
        without: Ingests whose rows are left out.

    Returns:
        How many rows were written. Without any there is no file.
    """
    rows = 0
    writer: pq.ParquetWriter | None = None
    try:
        for table in _row_groups(sources, without):
            writer = writer or open_parquet(target)
            writer.write_table(table, row_group_size=len(table))
            rows += len(table)
    except BaseException:
        with suppress(OSError):  # an object is there, cut short, once it is closed; a full disk takes no more
            if writer is not None:
                writer.close()
        delete([target])
        raise
    if writer is not None:
        writer.close()
    if rows:
        fsync_files([target])
    return rows


def _row_groups(sources: Sequence[LakePath], without: Collection[int]) -> Iterator[pa.Table]:
    """Yield rows in pieces of a row group's size: those of small logs are put together."""
    held: list[pa.Table] = []
    held_bytes = 0
    for source in sources:
        name, system = arrow_path(source)
        with pq.ParquetFile(name, filesystem=system) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number)
                if without:
                    table = table.filter(pc.invert(pc.is_in(table["ingest_id"], pa.array(sorted(without), pa.int64()))))
                if len(table):
                    held.append(table)
                    held_bytes += table.nbytes
                if held_bytes >= ROW_GROUP_BYTES:
                    yield pa.concat_tables(held)
                    held, held_bytes = [], 0
    if held:
        yield pa.concat_tables(held)
