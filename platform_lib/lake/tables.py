"""The columns of the signal table and of the sample store."""

from __future__ import annotations

import pyarrow as pa

RAW_NAME, BLURRED_NAME = "raw.lance", "blurred.lance"
"""Stores beside that of the samples: raw frames, and frames that were blurred."""

SCHEMA_VERSION = 4
"""Changes whenever the same log rows would become other lake rows; part of what the lake knows a file by."""

_NAMES: list[tuple[str, pa.DataType]] = [
    ("ingest_id", pa.int64()),
    ("drive_id", pa.string()),
    ("file_sha256", pa.string()),
    ("stream", pa.string()),
    ("signal", pa.string()),
    ("unit", pa.string()),
]
SIGNAL_SCHEMA: pa.Schema = pa.schema(
    [
        *_NAMES,
        ("timestamp_ns", pa.int64()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("day", pa.date32()),
        ("vehicle", pa.string()),
        ("sensor_class", pa.string()),
    ]
)
"""What readers of signals see: one row a value."""


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind))


TIMES = "times"
VALUE_LISTS: dict[pa.DataType, str] = {
    pa.float64(): "doubles",
    pa.float32(): "floats",
    pa.int64(): "longs",
    pa.int32(): "ints",
    pa.string(): "texts",
}
"""Physical type of a signal's values -> the column that keeps them."""

PACKED_SCHEMA: pa.Schema = pa.schema(
    [
        *_NAMES,
        ("type", pa.string()),
        ("chunk", pa.int32()),
        ("rows", pa.int32()),
        ("start_ns", pa.int64()),
        ("last_ns", pa.int64()),
        ("inexact", pa.bool_()),
        (TIMES, _list_of(pa.int64())),
        *((name, _list_of(kind)) for kind, name in VALUE_LISTS.items()),
        ("day", pa.date32()),
        ("vehicle", pa.string()),
        ("sensor_class", pa.string()),
    ]
)
"""What the signal table holds: one row a signal and chunk of its stream, and one row of times, without a signal, that
the signals of that chunk share (same ingest_id and chunk). A row that has neither list holds nothing but nulls."""

SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("ingest_id", pa.int64()),
        pa.field("drive_id", pa.string()),
        pa.field("file_sha256", pa.string()),
        pa.field("stream", pa.string()),
        pa.field("timestamp_ns", pa.int64()),
        pa.field("publish_ns", pa.int64()),
        pa.field("encoding", pa.string()),
        pa.field("pii_state", pa.string()),
        pa.field("vehicle", pa.string()),
        pa.field("sensor_class", pa.string()),
        pa.field("data", pa.large_binary()),
    ]
)

SIGNALS_RESULT = pa.schema(
    [SIGNAL_SCHEMA.field(n) for n in ("stream", "signal", "unit", "timestamp_ns", "value", "text")]
)
SAMPLES_RESULT = pa.schema(
    [
        ("timestamp_ns", pa.int64()),
        ("publish_ns", pa.int64()),
        ("encoding", pa.string()),
        ("message_type", pa.string()),
        ("schema_text", pa.string()),
        ("pii_state", pa.string()),
        ("data", pa.large_binary()),
    ]
)
