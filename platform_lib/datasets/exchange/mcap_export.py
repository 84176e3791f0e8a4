"""Write a dataset as MCAP, one file a drive: the pictures as ROS 2 messages, the rest of each sample as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from mcap.writer import CompressionType, Writer

from platform_lib.datasets.model import FUTURE_STEPS, HISTORY_STEPS
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.sources import CAMERA_TOPIC
from platform_lib.datasets.splits import SPLITS
from platform_lib.scenario.cdr import CdrWriter
from platform_lib.scenario.message_types import schema_name, schema_text

SAMPLE_TOPIC = "/drivetrain/sample"
_PICTURE = "sensor_msgs/CompressedImage"
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_SCHEMA = {
    "title": "drivetrain.Sample",
    "type": "object",
    "properties": {
        "sample_id": {"type": "string"},
        "split": {"enum": list(SPLITS)},
        "ego_history": {"type": "array", "items": _NUMBERS, "minItems": HISTORY_STEPS, "maxItems": HISTORY_STEPS},
        "future": {"type": "array", "items": _NUMBERS, "minItems": FUTURE_STEPS, "maxItems": FUTURE_STEPS},
        "ego_yaw_future": _NUMBERS,
        "command": {"type": "integer"},
        "speed_mps": {"type": "number"},
        "slices": {"type": "array", "items": {"type": "string"}},
        "objects": {"type": ["array", "null"]},
        "pii_state": {"type": "string"},
        "geohash": {"type": ["string", "null"]},
    },
}


def export(dataset: DrivingDataset, folder: Path) -> dict[str, int]:
    """Write ``<drive id>.mcap`` for every drive into `folder`; return files and frames."""
    counts = {"files": 0, "frames": 0}
    for split in SPLITS:
        for drive_id in dataset.proof.drives[split]:
            rows = pa.Table.from_batches(list(dataset.batches(split, drive_id=drive_id)))
            # A foreign drive's name may hold anything; the file's metadata has it as it is.
            stem = re.sub(r"[^A-Za-z0-9._-]", "_", drive_id).lstrip(".") or "drive"
            path = folder / f"{stem}.mcap"
            _write(rows, path if not path.exists() else folder / f"{stem}-{counts['files']}.mcap", dataset)
            counts["files"] += 1
            counts["frames"] += len(rows)
    return counts


def _write(rows: pa.Table, path: Path, dataset: DrivingDataset) -> None:
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD, enable_data_crcs=True)
        writer.start(profile="ros2", library="drivetrain")
        picture = writer.register_schema(schema_name(_PICTURE), "ros2msg", schema_text(_PICTURE).encode())
        sample = writer.register_schema("drivetrain.Sample", "jsonschema", json.dumps(_SCHEMA).encode())
        channels = {
            CAMERA_TOPIC: writer.register_channel(CAMERA_TOPIC, "cdr", picture),
            SAMPLE_TOPIC: writer.register_channel(SAMPLE_TOPIC, "json", sample),
        }
        for number, row in enumerate(_rows(rows)):
            at_ns, jpeg = row.pop("timestamp_ns"), row.pop("image")
            message = CdrWriter().header(at_ns, "camera_front").text("jpeg").blob(jpeg).done()
            writer.add_message(channels[CAMERA_TOPIC], at_ns, message, at_ns, number)
            writer.add_message(channels[SAMPLE_TOPIC], at_ns, json.dumps(row).encode(), at_ns, number)
        states = sorted(set(rows["pii_state"].to_pylist()))
        about = {
            "session": rows["drive_id"][0].as_py(),
            "split": rows["split"][0].as_py(),
            # The least safe of the states that were admitted.
            "pii_state": states[0],
            "dataset_sha256": dataset.sha256,
        }
        writer.add_metadata("drive", about)
        writer.finish()


def _rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for row in rows.drop_columns(["drive_id", "phash"]).to_pylist():
        history, future = row["ego_history"], row["future"]
        yield row | {
            "ego_history": [history[at : at + 3] for at in range(0, len(history), 3)],
            "future": [future[at : at + 2] for at in range(0, len(future), 2)],
        }
