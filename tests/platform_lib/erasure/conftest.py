"""Homes with drives of which something is to be erased: real logs, real stores, a real database."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from mcap.writer import CompressionType, Writer

from platform_lib.catalog.addresses import database_uri, ensure_database
from platform_lib.catalog.blurs import BlurRecord
from platform_lib.catalog.model import FileKey, FoundFile
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import Home, open_home
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, Taken, take_in
from platform_lib.lake.lake import Lake
from platform_lib.lake.tables import SCHEMA_VERSION
from platform_lib.lake.writer import describe, files_of, stored_files, write_rows
from platform_lib.logs import READER_VERSION
from platform_lib.privacy.zone import BLURRED_SCHEMA
from platform_lib.storage import sha256_file

T0 = 1_780_000_000_000_000_000
STEP_NS = 1_000_000_000
COUNT = 20
_CDR = b"\x00\x01\x00\x00"
_IMAGE = (
    "std_msgs/Header header\nstring format\nuint8[] data\n"
    + "=" * 80
    + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    + "=" * 80
    + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec"
)


def picture(seed: int, number: int) -> bytes:
    """Bytes that begin as a JPEG and are found nowhere else."""
    return b"\xff\xd8\xff\xe0" + np.random.default_rng([seed, number]).bytes(3000) + b"\xff\xd9"


def _image(data: bytes) -> bytes:
    head = struct.pack("<iI", 1, 2) + struct.pack("<I", 4) + b"cam\0" + struct.pack("<I", 5) + b"jpeg\0\0\0\0"
    return _CDR + head + struct.pack("<I", len(data)) + data


def write_log(
    path: Path, seed: int, *, session: str, pii: str = "unknown", place: bool = True, lidar_of: int | None = None
) -> Path:
    """A log of `COUNT` rows a second apart: a picture, a speed, and where the car is (0.001 degrees north a second)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        writer.add_metadata("drive", {"vehicle": "car-17", "session": session, "pii_state": pii})
        image = writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", _IMAGE.encode())
        number = writer.register_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data")
        fix = writer.register_schema("demo_msgs/msg/Fix", "ros2msg", b"float64 latitude\nfloat64 longitude")
        camera, speed = (
            writer.register_channel("/camera", "cdr", image),
            writer.register_channel("/speed", "cdr", number),
        )
        gnss, blob = writer.register_channel("/gnss", "cdr", fix), writer.register_channel("/lidar", "opaque", 0)
        for i in range(COUNT):
            at = T0 + i * STEP_NS
            writer.add_message(camera, at, _image(picture(seed, i)), at)
            writer.add_message(speed, at, _CDR + struct.pack("<d", seed * 1000 + i), at)
            writer.add_message(
                blob, at, np.random.default_rng([seed if lidar_of is None else lidar_of, i, 1]).bytes(400), at
            )
            if place:
                writer.add_message(gnss, at, _CDR + struct.pack("<dd", 47.0 + i * 0.001 + seed, 8.5), at)
        writer.finish()
    return path


@dataclass(frozen=True)
class Town:
    """A home with logs in it."""

    home: Home
    lake: Lake
    logs: Mapping[str, Path]

    def take(self, path: Path, *, killed: bool = False) -> int:
        """Take one log in, as ingest does; `killed` before the transaction that would show it."""
        lake, stamp = self.lake, FileStamp.of(path)
        key = FileKey(sha256_file(path), READER_VERSION, SCHEMA_VERSION, hashlib.sha256(b"").hexdigest())
        lake.catalog.note_files([FoundFile(key, stamp.bytes, (str(path),))])
        (ingest_id,) = lake.catalog.begin([key])
        place = Place(lake.store.signals_data, lake.store.samples_uri)
        taken = take_in(LogJob(ingest_id, path, key, stamp), ReadOptions(), place)
        assert isinstance(taken, Taken), taken
        record = replace(taken.record, files=stored_files(taken.written, lake.store.samples_uri))
        head = lake.store.append([taken.written])
        if not killed:
            lake.catalog.commit(head, [record])
        return ingest_id

    def take_killed(self, seed: int, session: str) -> list[bytes]:
        """Take another log of a drive in, killed before it is seen; return pieces of its pictures."""
        self.take(write_log(self.logs["b"].with_name("second.mcap"), seed, session=session), killed=True)
        return [picture(seed, number)[at : at + 40] for number in range(COUNT) for at in (100, 1500, 2500)]

    def take_with_lidar_of(self, other: int, seed: int, session: str) -> None:
        """Take in a drive whose lidar blobs are another's, bit for bit; its pictures are its own."""
        self.take(write_log(self.logs["b"].with_name("again.mcap"), seed, session=session, lidar_of=other))

    def blur(self, ingest_id: int) -> None:
        """Stand blurred frames beside an ingest's raw ones: the same pictures turned around."""
        (blur_id,) = self.lake.blurs.begin([ingest_id], "c0ffee", {})
        rows = []
        for batch in self.lake.store.raw.batches([ingest_id], rows=64):
            for row in batch.to_pylist():
                changed = {"blur_id": blur_id, "data": row["data"][::-1], "pii_state": "blurred", "regions": 1}
                rows.append({**row, **changed, "raw_sha256": hashlib.sha256(row["data"]).hexdigest()})
        batch = pa.RecordBatch.from_pylist(rows, schema=BLURRED_SCHEMA)
        self.lake.store.blurred.create()
        uri = self.lake.store.blurred.uri
        fragments = write_rows(uri, iter([batch]), BLURRED_SCHEMA)
        self.lake.store.blurred.append(fragments)
        files = describe([path for text in fragments for path in files_of(text, uri)], uri.parent)
        assert self.lake.blurs.commit(BlurRecord(blur_id, len(rows), len(rows), 0, files))

    def counts(self, drive_id: str) -> tuple[int, int, int, int]:
        """Speeds, pictures to be had, lidar blobs, raw frames left."""
        lake = self.lake
        return (
            lake.signals(drive_id, signals=["data"]).num_rows,
            lake.samples(drive_id, "/camera").num_rows,
            lake.samples(drive_id, "/lidar").num_rows,
            lake.store.raw.rows(
                [i.ingest_id for i in lake.catalog.view().ingests if i.drive_id == drive_id], columns=["ingest_id"]
            ).num_rows,
        )


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A database server for the homes of one module: making one takes longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="drivetrain-test-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        with embedded_postgres(open_home(Path(made) / "server")) as uri:
            yield uri


@pytest.fixture
def town(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """Three drives, in a home whose catalogue lies on a server elsewhere."""
    uri = database_uri(server, f"town_{uuid.uuid4().hex[:12]}")
    ensure_database(uri)
    monkeypatch.setenv("DRIVETRAIN_DATABASE_URL", uri.replace("postgresql+psycopg", "postgresql"))
    yield from _town()


@pytest.fixture
def own_town() -> Iterator[Town]:
    """Three drives, in a home with a server of its own."""
    yield from _town()


def _town() -> Iterator[Town]:
    """Make three drives: one log in the home's own folder, the others outside; two are blurred."""
    with tempfile.TemporaryDirectory(prefix="drivetrain-test-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        home = open_home(Path(made) / "home")
        logs = {
            "a": write_log(home.drives / "car-17_monday-0001" / "a.mcap", 1, session="monday-0001"),
            "b": write_log(Path(made) / "logs" / "b.mcap", 2, session="tuesday-0002"),
            "c": write_log(Path(made) / "logs" / "c.mcap", 3, session="friday-0003", pii="none_present", place=False),
        }
        with Lake.open(home) as lake:
            lake.store.create()
            found = Town(home, lake, logs)
            ids = [found.take(path) for path in logs.values()]
            found.blur(ids[0])
            found.blur(ids[1])
            yield found
