"""The columns that tables and logs really have, for the lint to look properties up in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from platform_lib.contracts.tables import DATASET
from platform_lib.datasets.table import SCHEMA
from platform_lib.lake.flatten import is_signal_schema, leaves
from platform_lib.lake.tables import PACKED_SCHEMA, SAMPLE_SCHEMA, SIGNAL_SCHEMA
from platform_lib.logs import open_log


def columns_of_tables() -> dict[str, frozenset[str]]:
    """Return the columns of the tables whose schema is written down: name -> columns."""
    return {
        "signals": frozenset(SIGNAL_SCHEMA.names),
        "packed_signals": frozenset(PACKED_SCHEMA.names),
        "samples": frozenset(SAMPLE_SCHEMA.names) - {"data"},
        DATASET: frozenset(SCHEMA.names),
    }


def columns_of_log(path: Path, dbc: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the columns that each stream of a log will have in the lake: stream -> columns."""
    found: dict[str, frozenset[str]] = {}
    with open_log(path, dbc=dbc) as log:
        for stream in log.streams:
            if stream.kind != "signal" and not is_signal_schema(stream.schema):
                found[stream.name] = frozenset(SAMPLE_SCHEMA.names)
                continue
            empty = pa.RecordBatch.from_pylist([], schema=stream.schema)
            skip = ("timestamp_ns", "publish_ns")
            found[stream.name] = frozenset({"timestamp_ns", *(leaf.name for leaf in leaves(empty, skip=skip))})
    return found
