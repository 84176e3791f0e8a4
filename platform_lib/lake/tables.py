"""The columns of the signal table and of the sample store."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1
"""Changes whenever the same log rows would become other lake rows; part of what the lake knows a file by."""

SIGNAL_SCHEMA = pa.schema(
    [
        ("ingest_id", pa.int64()),
        ("drive_id", pa.string()),
        ("file_sha256", pa.string()),
        ("stream", pa.string()),
        ("signal", pa.string()),
        ("unit", pa.string()),
        ("timestamp_ns", pa.int64()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("day", pa.date32()),
    ]
)

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
