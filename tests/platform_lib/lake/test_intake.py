from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asammdf import MDF, Signal, Source

from platform_lib.catalog.model import FileKey, Refusal
from platform_lib.lake.intake import (
    CHANGED,
    FileStamp,
    LogJob,
    Place,
    ReadOptions,
    Taken,
    identify,
    storable,
    take_in,
)
from platform_lib.lake.packing import unpack
from platform_lib.lake.tables import SAMPLE_SCHEMA

WriteMcap = Any
_REAL = Path(__file__).resolve().parents[3] / "../shared/data/logs"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    uri = tmp_path / "samples.lance"
    lance.write_dataset(pa.Table.from_batches([], SAMPLE_SCHEMA), str(uri))
    return Place(tmp_path / "data", uri)


def _job(path: Path) -> LogJob:
    return LogJob(1, path, FileKey("f" * 64, "1", 1, "0"), FileStamp.of(path))


def _samples(place: Place, taken: Taken) -> pa.Table:
    dataset = lance.dataset(str(place.samples_uri))
    fragments = [lance.fragment.FragmentMetadata.from_json(item) for item in taken.written.fragments]
    return lance.LanceDataset.commit(
        dataset, lance.LanceOperation.Append(fragments), read_version=dataset.version
    ).to_table()


def _sound(write_mcap: WriteMcap, cdr: Any, folder: Path, **more: Any) -> Path:
    topics = {
        "/temperature": ("std_msgs/msg/Float64", [(10 + i, cdr.float64(i)) for i in range(4)]),
        "/force": ("geometry_msgs/msg/Vector3", [(20, cdr.vector3(1, 2, 3))]),
        "/readings": ("demo_msgs/msg/Readings", [(30, cdr.readings(1, 2)), (31, cdr.readings())]),
        "/camera": (
            "sensor_msgs/msg/CompressedImage",
            [(40, cdr.image(b"\xff\xd8\xff\xe0jpeg")), (41, cdr.image(b"?"))],
        ),
        "/opaque": (None, [(50, b"whatever")]),
    }
    return write_mcap(folder / "log.mcap", topics, **more)


def test_every_stream_becomes_signals_or_samples_by_rule(
    write_mcap: WriteMcap, cdr: Any, place: Place, tmp_path: Path
) -> None:
    drive = {"vehicle": "v1", "session": "s1", "pii_state": "blurred", "weather": "rain"}
    taken = take_in(_job(_sound(write_mcap, cdr, tmp_path, metadata=drive)), ReadOptions(), place)
    assert isinstance(taken, Taken)
    record = taken.record
    kept = {item.stream: (item.kept_as, item.messages, item.rows) for item in record.streams}
    assert kept == {
        "/temperature": ("signals", 4, 4),
        "/force": ("signals", 1, 3),
        "/readings": ("samples", 2, 2),
        "/camera": ("samples", 2, 2),
        "/opaque": ("samples", 1, 1),
    }
    assert (record.signal_rows, record.sample_rows, record.start_ns, record.stop_ns) == (7, 5, 10, 51)
    assert (record.drive.drive_id, record.pii_state) == ("v1_s1", "blurred")
    (file,) = taken.written.signals
    table = unpack(pq.ParquetFile(file).read())
    assert sorted(set(table["signal"].to_pylist())) == ["data", "x", "y", "z"]
    samples = _samples(place, taken)
    found = {(row["stream"], row["encoding"]): row["data"] for row in samples.to_pylist()}
    assert found[("/camera", "jpeg")] == b"\xff\xd8\xff\xe0jpeg"
    assert found[("/camera", "unknown")] == b"?"
    assert found[("/opaque", "raw")] == b"whatever"
    assert ("/readings", "cdr") in found
    assert set(samples["pii_state"].to_pylist()) == {"blurred"}


def test_a_damaged_log_is_refused_with_its_reason_and_recovered_on_request(
    write_mcap: WriteMcap, cdr: Any, place: Place, tmp_path: Path
) -> None:
    path = _sound(write_mcap, cdr, tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    refusal = take_in(_job(path), ReadOptions(), place)
    assert isinstance(refusal, Refusal)
    assert refusal.kind == "CorruptLog"
    assert refusal.reason
    taken = take_in(_job(path), ReadOptions(recover=True), place)
    assert isinstance(taken, Taken)
    assert taken.record.recovered
    assert taken.record.problems


def test_a_log_that_changes_under_the_reader_is_refused(
    write_mcap: WriteMcap, cdr: Any, place: Place, tmp_path: Path
) -> None:
    path = _sound(write_mcap, cdr, tmp_path)
    job = _job(path)
    os.utime(path, ns=(1, 1))
    refusal = take_in(job, ReadOptions(), place)
    assert isinstance(refusal, Refusal)
    assert refusal.kind == CHANGED


def test_an_unknown_pii_state_is_unknown_and_told(
    write_mcap: WriteMcap, cdr: Any, place: Place, tmp_path: Path
) -> None:
    taken = take_in(_job(_sound(write_mcap, cdr, tmp_path, metadata={"pii_state": "fine"})), ReadOptions(), place)
    assert isinstance(taken, Taken)
    assert taken.record.pii_state == "unknown"
    assert any("fine" in item for item in taken.record.problems)


def test_texts_that_no_database_holds_are_made_storable(
    write_mcap: WriteMcap, cdr: Any, place: Place, tmp_path: Path
) -> None:
    topics = {"/a\x00b": ("std_msgs/msg/Float64", [(1, cdr.float64(1))])}
    path = write_mcap(tmp_path / "odd" / "log.mcap", topics, {"note": "a\x00b"})
    taken = take_in(_job(path), ReadOptions(), place)
    assert isinstance(taken, Taken)
    assert [item.stream for item in taken.record.streams] == ["/a\\0b"]
    assert taken.record.metadata == {"note": "a\\0b"}
    assert storable(os.fsdecode(b"caf\xe9")).encode()


@pytest.mark.parametrize(
    ("metadata", "drive_id"),
    [
        ({"vehicle": "v1", "session": "s1"}, "v1_s1"),
        ({"vehicle": "v_1", "session": "s_1"}, "v%5F1_s_1"),
        ({"vehicle": "v", "session": "1_s_1"}, "v_1_s_1"),
        ({"vehicle": "a/b", "session": "../x"}, "a%2Fb_..%2Fx"),
        ({"vehicle": "v1"}, "night drive"),
        ({"vehicle": " ", "session": "s"}, "night drive"),
        ({}, "night drive"),
    ],
)
def test_a_drive_is_vehicle_and_session_else_the_folder(
    tmp_path: Path, metadata: dict[str, str], drive_id: str
) -> None:
    assert identify(metadata, tmp_path / "night drive" / "log.mcap").drive_id == drive_id


def test_vehicle_and_session_in_the_log_and_in_the_folders_name_are_one_drive(tmp_path: Path) -> None:
    told = identify({"vehicle": "dt-001", "session": "2026-06-01T08-00-00Z-0000"}, tmp_path / "x" / "a.mcap")
    named = identify({}, tmp_path / "dt-001_2026-06-01T08-00-00Z-0000" / "b.mf4")
    assert told.drive_id == named.drive_id
    assert named.vehicle is None


def test_a_bag_folder_names_its_own_drive(tmp_path: Path) -> None:
    (tmp_path / "bag_7").mkdir()
    assert identify({}, tmp_path / "bag_7").drive_id == "bag_7"


@pytest.mark.skipif(not _REAL.is_dir(), reason="the real logs of shared/data are not here")
@pytest.mark.parametrize(
    "path", sorted([*_REAL.glob("mcap/*"), *_REAL.glob("mdf4/*"), *_REAL.glob("rosbag2_sqlite/*")])
)
def test_real_logs_are_taken_in_whole_or_refused_with_a_reason(place: Place, path: Path) -> None:
    outcome = take_in(_job(path), ReadOptions(timezone="UTC"), place)
    if isinstance(outcome, Refusal):
        assert outcome.reason
        assert outcome.remedy
        return
    rows = sum(unpack(pq.ParquetFile(file).read()).num_rows for file in outcome.written.signals)
    assert rows == outcome.record.signal_rows
    assert all(item.rows >= item.messages for item in outcome.record.streams if item.kept_as == "samples")
    assert all(item.rows or not item.messages or item.problem for item in outcome.record.streams)


def _bus_log(path: Path, frame_ids: list[int]) -> Path:
    """An MF4 of CAN frames whose header holds local time without a zone."""
    frames = np.zeros(
        len(frame_ids),
        [
            *((f"CAN_DataFrame.{name}", kind) for name, kind in (("BusChannel", "u1"), ("ID", "<u4"), ("IDE", "u1"))),
            *((f"CAN_DataFrame.{name}", "u1") for name in ("DLC", "DataLength")),
            ("CAN_DataFrame.DataBytes", "u1", (8,)),
        ],
    )
    for name, value in (("BusChannel", 1), ("ID", frame_ids), ("DLC", 8), ("DataLength", 8)):
        frames[f"CAN_DataFrame.{name}"] = value
    source = Source(source_type=2, bus_type=2, name="CAN1", path="CAN1", comment="")
    with warnings.catch_warnings(), MDF(version="4.10") as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = datetime(2026, 6, 1, 8, tzinfo=UTC)
        mdf.header.time_flags = 1
        signal = Signal(frames, np.arange(len(frame_ids)) / 100, name="CAN_DataFrame", source=source)
        mdf.append(signal, acq_name="CAN1", acq_source=source, common_timebase=True)
        mdf.save(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("known", "unexplained", "named"),
    [([], 6, []), ([1], 3, ["0x2", "0x7FF"]), ([1, 2], 1, ["0x7FF"]), ([1, 2, 0x7FF], 0, [])],
)
def test_frames_that_no_database_explains_are_counted_and_named(
    place: Place, tmp_path: Path, known: list[int], unexplained: int, named: list[str]
) -> None:
    log = _bus_log(tmp_path / "bus.mf4", [1, 2, 1, 2, 1, 0x7FF])
    texts = [f' BO_ {number} M{number}: 8 ECU\n SG_ v : 0|16@1+ (1,0) [0|0] "" ECU\n'.lstrip() for number in known]
    (tmp_path / "a.dbc").write_text('VERSION ""\nBS_:\nBU_: ECU\n' + "".join(texts))
    taken = take_in(_job(log), ReadOptions(dbc=(str(tmp_path / "a.dbc"),) if known else ()), place)
    assert isinstance(taken, Taken)
    assert taken.record.unexplained_frames == unexplained
    told = [item for item in taken.record.problems if "in no database" in item]
    assert len(told) == bool(named)
    assert all(name in told[0] for name in named)


def test_a_header_in_local_time_is_told_until_its_zone_is_named(place: Place, tmp_path: Path) -> None:
    log = _bus_log(tmp_path / "bus.mf4", [1])
    taken = take_in(_job(log), ReadOptions(), place)
    assert isinstance(taken, Taken)
    assert any("local time" in item and "--timezone" in item for item in taken.record.problems)
    taken = take_in(_job(log), ReadOptions(timezone="+02:00"), place)
    assert isinstance(taken, Taken)
    assert not any("local time" in item for item in taken.record.problems)
