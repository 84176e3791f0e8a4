from __future__ import annotations

import math
import random
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pyarrow as pa
import pytest
from asammdf import MDF
from mdf4_writer import VLSD, Channel, Data, Group, time_channel, write_mdf4

from platform_lib.errors import ConfigError
from platform_lib.logs import open_log
from platform_lib.logs.bus.database import Databases
from platform_lib.logs.bus.streams import BusStreams
from platform_lib.logs.model import Report, Window

DBC = """\
VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 Mixed: 8 ECU
 SG_ Little : 3|13@1- (0.5,-7) [0|0] "km/h" ECU
 SG_ Big : 23|15@0+ (0.25,3) [0|0] "deg" ECU
 SG_ BigSigned : 39|12@0- (1,0) [0|0] "" ECU
 SG_ Flag : 63|1@1+ (1,0) [0|1] "" ECU
BO_ 2566844926 Extended: 8 ECU
 SG_ Whole : 7|64@0- (1,0) [0|0] "" ECU
BO_ 300 Muxed: 8 ECU
 SG_ Page M : 0|2@1+ (1,0) [0|0] "" ECU
 SG_ First m0 : 8|16@1+ (0.1,0) [0|0] "V" ECU
 SG_ Second m1 : 8|32@1- (2,1) [0|0] "A" ECU
VAL_ 256 Flag 1 "on" 0 "off" ;
"""


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    path = tmp_path / "test.dbc"
    path.write_text(DBC)
    return path


def random_frames(kind: Any, database: Any, count: int, seed: int = 1) -> tuple[Any, list[Any]]:
    rng = np.random.default_rng(seed)
    messages = [message for message in database.messages if message.length <= 8]
    chosen = [messages[at] for at in rng.integers(0, len(messages), count)]
    frames = kind(
        time_s=np.arange(count) * 0.001,
        frame_id=np.array([message.frame_id for message in chosen], np.uint32),
        extended=np.array([message.is_extended_frame for message in chosen], np.uint8),
        data=rng.integers(0, 256, (count, 8), dtype=np.uint8),
        length=np.array([message.length for message in chosen], np.uint8),
    )
    return frames, chosen


def compare(path: Path, dbc: Path, frames: Any, chosen: list[Any]) -> int:
    """Compare every signal of every frame with cantools; return how many were compared."""
    with open_log(path, dbc=[dbc]) as log:
        rows = {s.name: [r for b in log.read(s.name) for r in b.to_pylist()] for s in log.streams if "/" in s.name}
        start = log.streams[0].start_ns
    seen = dict.fromkeys(rows, 0)
    compared = 0
    for number, message in enumerate(chosen):
        name = f"CAN1/{message.name}"
        row = dict(rows[name][seen[name]])
        seen[name] += 1
        assert start is not None
        assert row.pop("timestamp_ns") == start + number * 1_000_000
        try:
            expected = message.decode(frames.data[number, : message.length].tobytes(), decode_choices=False)
        except cantools.database.DecodeError:
            continue  # a multiplexer value that selects nothing: cantools refuses the frame, here it is null
        got = {key: value for key, value in row.items() if value is not None}
        assert got.keys() == expected.keys()
        for key, value in expected.items():
            assert got[key] == value or (math.isnan(value) and math.isnan(got[key])), (name, key)
            compared += 1
    assert seen == {name: len(found) for name, found in rows.items()}
    return compared


def test_every_signal_equals_cantools(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, chosen = random_frames(frames_type, cantools.database.load_file(dbc), 400)
    assert compare(write_can(frames), dbc, frames, chosen) > 600


@pytest.mark.parametrize("name", ["bmw_e9x_e8x", "tesla_model3_party", "toyota_adas", "almost-J1939"])
def test_every_signal_of_real_databases_equals_cantools(
    real_logs: Path, write_can: Any, frames_type: Any, name: str
) -> None:
    path = real_logs / f"dbc/{name}.dbc"
    frames, chosen = random_frames(frames_type, cantools.database.load_file(path, strict=False), 300)
    assert compare(write_can(frames), path, frames, chosen) > 100


def test_the_comparison_notices_a_flipped_bit(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, chosen = random_frames(frames_type, cantools.database.load_file(dbc), 60)
    path = write_can(frames)
    frames.data[[m.name for m in chosen].index("Mixed"), 0] ^= 0x08
    with pytest.raises(AssertionError):
        compare(path, dbc, frames, chosen)


def test_units_choices_and_types(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, _ = random_frames(frames_type, cantools.database.load_file(dbc), 60)
    with open_log(write_can(frames), dbc=[dbc]) as log:
        assert [stream.kind for stream in log.streams] == ["can", "signal", "signal", "signal"]
        schema = log.stream("CAN1/Mixed").schema
        assert schema.field("Little").metadata == {b"unit": b"km/h"}
        assert schema.field("Flag").metadata == {b"choices": b'{"0": "off", "1": "on"}'}
        assert [str(field.type) for field in schema] == ["int64", "double", "double", "int64", "int64"]
        assert log.report.readers["CAN1/Mixed"] == "fast"


def test_unknown_and_short_frames_are_counted_and_missing_bytes_are_null(
    write_can: Any, frames_type: Any, dbc: Path
) -> None:
    frames = frames_type(
        time_s=np.arange(3) * 0.1,
        frame_id=np.array([256, 256, 999], np.uint32),
        extended=np.zeros(3, np.uint8),
        data=np.full((3, 8), 0xFF, np.uint8),
        length=np.array([8, 2, 8], np.uint8),
    )
    with open_log(write_can(frames), dbc=[dbc]) as log:
        assert any("1 CAN frames are in no database" in line for line in log.report.problems)
        assert any("1 CAN frames are shorter" in line for line in log.report.problems)
        rows = [row for batch in log.read("CAN1/Mixed") for row in batch.to_pylist()]
    assert rows[0]["Big"] is not None
    assert rows[1]["Little"] is not None
    assert (rows[1]["Big"], rows[1]["Flag"]) == (None, None)


def test_a_database_can_be_tied_to_a_bus(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, _ = random_frames(frames_type, cantools.database.load_file(dbc), 30)
    path = write_can(frames)
    with open_log(path, dbc=[f"CAN1={dbc}"]) as log:
        assert len(log.streams) == 4
    with open_log(path, dbc=[f"CAN2={dbc}"]) as log:
        assert len(log.streams) == 1


def test_what_is_no_database_is_refused(write_can: Any, frames_type: Any, dbc: Path, tmp_path: Path) -> None:
    frames, _ = random_frames(frames_type, cantools.database.load_file(dbc), 5)
    path = write_can(frames)
    wrong = tmp_path / "wrong.dbc"
    wrong.write_text("BO_ nonsense")
    for item in (wrong, tmp_path / "absent.dbc"):
        with pytest.raises(ConfigError):
            open_log(path, dbc=[item])


def signals_of(path: Path, dbc: Path) -> dict[tuple[str, str], dict[int, float]]:
    """What asammdf extracts: (message, signal) -> time in microseconds -> physical value."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    described = cantools.database.load_file(dbc, strict=False)
    scales = {(message.name, signal.name): signal for message in described.messages for signal in message.signals}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with MDF(path, process_bus_logging=False) as log:
            extracted = log.extract_bus_logging({"CAN": [(dbc, 0)]})
            for index, group in enumerate(extracted.groups):
                message = group.channel_group.comment.partition(" 0x")[0].rpartition(" ")[2]
                for channel in group.channels[1:]:
                    signal = extracted.get(channel.name, group=index, raw=True)
                    known = scales[message, channel.name]
                    times = np.rint(signal.timestamps * 1e6).astype(np.int64).tolist()
                    physical = signal.samples * float(known.scale) + float(known.offset)
                    values = dict(zip(times, physical.tolist(), strict=True))
                    found.setdefault((message, channel.name), {}).update(values)
            extracted.close()
    return found


def differences(path: Path, dbc: Path, theirs: dict[tuple[str, str], dict[int, float]]) -> tuple[int, int]:
    """Return how many values both decode, and how many of them differ."""
    compared = different = 0
    with open_log(path, dbc=[dbc]) as log:
        start = min(stream.start_ns for stream in log.streams if stream.start_ns is not None)
        for stream in log.streams:
            for batch in log.read(stream.name) if "/" in stream.name else ():
                for row in batch.to_pylist():
                    time_us = (row.pop("timestamp_ns") - start) // 1000
                    for name, value in row.items():
                        expected = theirs.get((str(stream.message_type), name), {}).get(time_us)
                        if value is None or expected is None:
                            assert value is None
                            assert expected is None
                            continue
                        compared += 1
                        different += not math.isclose(value, expected, rel_tol=1e-12, abs_tol=1e-12)
    return compared, different


@pytest.mark.parametrize("name", ["tesla_model3_party", "toyota_adas"])
def test_every_value_equals_what_asammdf_extracts(real_logs: Path, write_can: Any, frames_type: Any, name: str) -> None:
    dbc = real_logs / f"dbc/{name}.dbc"
    frames, _ = random_frames(frames_type, cantools.database.load_file(dbc, strict=False), 400)
    path = write_can(frames)
    theirs = signals_of(path, dbc)
    compared, different = differences(path, dbc, theirs)
    assert compared > 1000
    assert different == 0
    # A planted fault: the same frames under a database that reads one signal elsewhere.
    wrong = path.with_name("wrong.dbc")
    text = dbc.read_bytes().decode("cp1252")
    wrong.write_bytes(re.sub(r"(\d+)\|(\d+)@0", lambda m: f"{m[1]}|{max(1, int(m[2]) - 1)}@0", text).encode("cp1252"))
    assert differences(path, wrong, theirs)[1] > 0


def batches(streams: BusStreams, names: list[str]) -> list[Any]:
    return [pa.Table.from_batches(streams.read(name, Window())) for name in names]


def test_frames_on_disk_and_in_small_chunks_are_the_same_rows(dbc: Path, array_frames: Any) -> None:
    rng = np.random.default_rng(4)
    ids = rng.choice([256, 300, 2566844926 & 0x1FFFFFFF, 999], 3000)
    data = rng.integers(0, 256, (3000, 8), dtype=np.uint8)
    tables = []
    for memory_bytes, step in ((1 << 30, 1 << 20), (1 << 30, 7), (0, 501), (20_000, 100)):
        streams = BusStreams(Databases.load([str(dbc)], []), Report("mdf4"), memory_bytes)
        found = streams.add(array_frames(ids, data, step=step))
        tables.append(batches(streams, [stream.name for stream in found]))
        assert [table.num_rows for table in tables[-1]] == [stream.rows for stream in found]
        streams.close()
    assert all(item == tables[0] for item in tables[1:])
    assert sum(table.num_rows for table in tables[0]) == np.count_nonzero(ids != 999)


def test_memory_stays_bounded_however_many_frames_there_are(dbc: Path, array_frames: Any) -> None:
    data = np.zeros((200_000, 8), np.uint8)
    streams = BusStreams(Databases.load([str(dbc)], []), Report("mdf4"), 1 << 20)
    streams.add(array_frames(np.full(200_000, 256), data, step=10_000))
    assert streams._store._memory_bytes <= 1 << 20
    assert sum(batch.num_rows for batch in streams.read("CAN0/Mixed", Window())) == 200_000
    streams.close()


def test_a_log_of_random_identifiers_is_counted_in_bounded_memory(dbc: Path, array_frames: Any) -> None:
    ids = np.random.default_rng(2).integers(0x800, 1 << 29, 150_000)
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(dbc)], []), report)
    streams.add(array_frames(ids, np.zeros((150_000, 8), np.uint8), step=50_000))
    assert any("150000 CAN frames are in no database" in line for line in report.problems)


def test_windows_and_columns(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, chosen = random_frames(frames_type, cantools.database.load_file(dbc), 200)
    with open_log(write_can(frames), dbc=[dbc]) as log:
        start = log.streams[0].start_ns
        assert start is not None
        window = (start + 50_000_000, start + 120_000_000)
        read = list(log.read("CAN1/Muxed", ["Second"], *window))
        assert [batch.schema.names for batch in read] == [["timestamp_ns", "Second"]] * len(read)
        whole = [row for batch in log.read("CAN1/Muxed") for row in batch.to_pylist()]
        inside = [(row["timestamp_ns"], row["Second"]) for row in whole if window[0] <= row["timestamp_ns"] < window[1]]
        assert [tuple(row.values()) for batch in read for row in batch.to_pylist()] == inside
        assert len(inside) == sum(message.name == "Muxed" for message in chosen[50:120])


HAND_MADE = """\
VERSION ""
NS_ :
BS_:
BU_: E
BO_ 256 Short: 8 E
 SG_ a : 3|13@1- (0.5,-7) [0|0] "" E
 SG_ b : 23|15@0+ (0.25,3) [0|0] "" E
BO_ 512 Flexible: 64 E
 SG_ first : 7|8@0+ (1,0) [0|0] "" E
 SG_ last : 480|32@1- (0.1,0) [0|0] "" E
"""


def hand_made(path: Path, *, variable: bool) -> Path:
    """Frames written block by block. asammdf reads a group only if a channel of the frame's own name holds the others."""
    rng = random.Random(4)  # noqa: S311 - a seeded test
    records, data = b"", b""
    for row in range(200):
        number = rng.choice([256, 512])
        payload = rng.randbytes(8 if number == 256 else 64)
        stored = struct.pack("<Q", len(data)) if variable else payload.ljust(64, b"\0")
        data += struct.pack("<I", len(payload)) + payload
        records += struct.pack("<dBIBBB", row * 0.01, 1, number, 0, 8 if number == 256 else 15, len(payload)) + stored
    fields = [("BusChannel", 8, 8), ("ID", 32, 9), ("IDE", 1, 13), ("DLC", 8, 14), ("DataLength", 8, 15)]
    parts = [Channel(f"CAN_DataFrame.{name}", 0, bits, byte) for name, bits, byte in fields]
    if variable:
        parts.append(Channel("CAN_DataFrame.DataBytes", 10, 64, 16, kind=VLSD, signal_data=data))
    else:
        parts.append(Channel("CAN_DataFrame.DataBytes", 10, 512, 16))
    size = 24 if variable else 80
    frame = Channel("CAN_DataFrame", 10, 8 * (size - 8), 8, parts=parts)
    return write_mdf4(path, [Data([Group([time_channel(), frame], 200, size, flags=6, name="CAN")], records)])


@pytest.mark.parametrize("variable", [False, True])
def test_frames_written_block_by_block_equal_what_asammdf_extracts(tmp_path: Path, *, variable: bool) -> None:
    path, dbc = hand_made(tmp_path / "log.mf4", variable=variable), tmp_path / "test.dbc"
    dbc.write_text(HAND_MADE)
    theirs = signals_of(path, dbc)
    assert differences(path, dbc, theirs) == (400, 0)
    first = next(iter(theirs.values()))
    first[next(iter(first))] += 1.0
    assert differences(path, dbc, theirs) == (400, 1)
