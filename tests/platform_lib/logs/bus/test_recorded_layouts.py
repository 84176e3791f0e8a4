"""Frames in every layout in which MDF bus loggers record them, each against cantools frame by frame."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import cantools
import pytest
from mdf4_writer import MLSD, VLSD, Channel, Data, Group, time_channel, write_mdf4

from platform_lib.logs import open_log

DBC = """\
VERSION ""
NS_ :
BS_:
BU_: E
BO_ 256 Short: 8 E
 SG_ a : 3|13@1- (0.5,-7) [0|0] "km/h" E
 SG_ b : 23|15@0+ (0.25,3) [0|0] "deg" E
BO_ 2566844926 Extended: 8 E
 SG_ w : 7|64@0- (1,0) [0|0] "" E
BO_ 512 Flexible: 64 E
 SG_ first : 7|8@0+ (1,0) [0|0] "" E
 SG_ far : 96|32@1- (1,0) [0|0] "" E
 SG_ last : 480|32@1- (0.1,0) [0|0] "" E
"""
CODES = {**{size: size for size in range(9)}, 12: 9, 16: 10, 20: 11, 24: 12, 32: 13, 48: 14, 64: 15}
PREFIX = "CAN_DataFrame"
Frame = tuple[int, int, bytes]  # bus, identifier, payload
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    path = tmp_path / "test.dbc"
    path.write_text(DBC)
    return path


def some_frames(count: int = 120) -> list[Frame]:
    rng = random.Random(4)  # noqa: S311 - a seeded test
    found = []
    for _ in range(count):
        number = rng.choice([256, 2566844926 & 0x1FFFFFFF, 512, 999])
        size = rng.choice([8, 12, 20, 64]) if number == 512 else rng.choice([8, 8, 3, 0])
        found.append((rng.choice([1, 2]), number, rng.randbytes(size)))
    return found


def record(row: int, frame: Frame, data: bytes | None = None, *, size: int | None = None) -> bytes:
    bus, number, payload = frame
    length = len(payload) if size is None else size
    flags = int(number > 0x7FF) | row % 2 << 1  # extended; and every second one was sent by the recorder itself
    head = struct.pack("<dBIBBB", row * 0.01, bus, number, flags, CODES[len(payload)], length)
    return head + (payload.ljust(64, b"\0") if data is None else data)


def channels(data: Channel, without: str = "") -> list[Channel]:
    fields = [
        Channel(f"{PREFIX}.BusChannel", 0, 8, 8),
        Channel(f"{PREFIX}.ID", 0, 32, 9),
        Channel(f"{PREFIX}.IDE", 0, 1, 13),
        Channel(f"{PREFIX}.Dir", 0, 1, 13, 1),
        Channel(f"{PREFIX}.DLC", 0, 8, 14),
        Channel(f"{PREFIX}.DataLength", 0, 8, 15),
    ]
    return [time_channel(), *(item for item in fields if item.name.partition(".")[2] not in without.split()), data]


def payloads(bits: int = 512, data_type: int = 10, **options: Any) -> Channel:
    return Channel(f"{PREFIX}.DataBytes", data_type, bits, 16, **options)


def values(frames: list[Frame]) -> tuple[bytes, list[int]]:
    """Variable-length data, and where each value lies."""
    data, offsets = b"", []
    for _, _, payload in frames:
        offsets.append(len(data))
        data += struct.pack("<I", len(payload)) + payload
    return data, offsets


def decoded(path: Path, dbc: Path) -> tuple[Rows, Any]:
    with open_log(path, dbc=[dbc]) as log:
        rows = {
            stream.name: [row for batch in log.read(stream.name) for row in batch.to_pylist()]
            for stream in log.streams
            if stream.name.startswith("CAN")
        }
        for found in rows.values():
            for row in found:
                row.pop("timestamp_ns")
        return rows, log.report


def expected(frames: list[Frame], dbc: Path) -> Rows:
    described = {message.frame_id: message for message in cantools.database.load_file(dbc).messages}
    rows: Rows = {}
    for bus, number, payload in frames:
        if number in described:
            message = described[number]
            row = dict.fromkeys(signal.name for signal in message.signals)
            row |= message.decode(payload, allow_truncated=True) if payload else {}
            rows.setdefault(f"CAN{bus}/{message.name}", []).append(row)
    return rows


def group(layout: list[Channel], rows: int, data_bytes: int = 80, **options: Any) -> Group:
    return Group(layout, rows, data_bytes, flags=6, name="CAN", **options)


@pytest.mark.parametrize("without", ["", "DataLength"])
@pytest.mark.parametrize("array", [False, True])
def test_payloads_of_even_length(tmp_path: Path, dbc: Path, without: str, array: bool) -> None:
    frames = some_frames()
    data = payloads(8, 0, sizes=(64,), step=1) if array else payloads()
    records = b"".join(record(row, frame) for row, frame in enumerate(frames))
    path = write_mdf4(tmp_path / "log.mf4", [Data([group(channels(data, without), len(frames))], records)])
    assert decoded(path, dbc)[0] == expected(frames, dbc)


@pytest.mark.parametrize("without", ["", "DataLength", "DataLength DLC"])
@pytest.mark.parametrize("claim", [None, 64])
def test_variable_payloads_have_the_length_that_they_have(
    tmp_path: Path, dbc: Path, without: str, claim: int | None
) -> None:
    frames = some_frames()
    data, offsets = values(frames)
    records = b"".join(
        record(row, frame, struct.pack("<Q", at), size=claim)
        for row, (frame, at) in enumerate(zip(frames, offsets, strict=True))
    )
    layout = channels(payloads(64, kind=VLSD, signal_data=data), without)
    path = write_mdf4(tmp_path / "log.mf4", [Data([group(layout, len(frames), 24)], records)])
    assert decoded(path, dbc)[0] == expected(frames, dbc)


def test_payloads_with_a_size_of_another_name_end_where_it_says(tmp_path: Path, dbc: Path) -> None:
    frames = some_frames()
    layout = channels(payloads(kind=MLSD, size_channel="bytes"), "DataLength DLC")
    layout.insert(1, Channel("bytes", 0, 8, 15))
    records = b"".join(record(row, frame, frame[2].ljust(64, b"\xee")) for row, frame in enumerate(frames))
    path = write_mdf4(tmp_path / "log.mf4", [Data([group(layout, len(frames))], records)])
    assert decoded(path, dbc)[0] == expected(frames, dbc)


def test_mixed_with_remote_and_error_frames_and_variable_payloads(tmp_path: Path, dbc: Path) -> None:
    frames = some_frames()
    others = [
        [time_channel(), Channel(f"{kind}.BusChannel", 0, 8, 8), Channel(f"{kind}.ID", 0, 32, 9)]
        for kind in ("CAN_RemoteFrame", "CAN_ErrorFrame")
    ]
    offsets = values(frames)[1]
    mixed = b""
    for row, (frame, at) in enumerate(zip(frames, offsets, strict=True)):
        mixed += struct.pack("<BI", 4, len(frame[2])) + frame[2]
        mixed += b"\1" + record(row, frame, struct.pack("<Q", at))
        mixed += b"".join(bytes([number]) + record(row, (1, 256, b""))[:16] for number in (2, 3))
    rows = len(frames)
    layout = channels(payloads(64, kind=VLSD, variable_group=3))
    groups = [
        group(layout, rows, 24, record_id=1),
        *(group(item, rows, 16, record_id=at) for at, item in enumerate(others, 2)),
    ]
    path = write_mdf4(tmp_path / "log.mf4", [Data([*groups, Group([], rows, 0, flags=1, record_id=4)], mixed, 1)])
    assert decoded(path, dbc)[0] == expected(frames, dbc)


def test_a_length_code_past_eight_is_eight_bytes_in_a_classical_frame(tmp_path: Path, dbc: Path) -> None:
    frames = [(1, 512, bytes([row] * 8)) for row in range(4)]
    layout = [*channels(payloads(), "DataLength"), Channel(f"{PREFIX}.EDL", 0, 8, 15)]
    records = b"".join(
        record(row, frame)[:14] + b"\x0f" + bytes([row % 2]) + record(row, frame)[16:]
        for row, frame in enumerate(frames)
    )
    path = write_mdf4(tmp_path / "log.mf4", [Data([group(layout, 4)], records)])
    assert [row["far"] for row in decoded(path, dbc)[0]["CAN1/Flexible"]] == [None, 0, None, 0]


@pytest.mark.parametrize("data", [None, payloads(64, kind=7), payloads(64, 0)])
def test_a_group_whose_payloads_are_not_read_leaves_the_others_readable(
    tmp_path: Path, dbc: Path, data: Channel | None
) -> None:
    frames = some_frames()
    layout = channels(data) if data else channels(payloads())[:-1]
    records = b"".join(record(row, frame) for row, frame in enumerate(frames))
    groups = [Data([group(item, len(frames))], records) for item in (layout, channels(payloads()))]
    rows, report = decoded(write_mdf4(tmp_path / "log.mf4", groups), dbc)
    assert rows == expected(frames, dbc)
    assert report.undecoded["0:CAN"] == len(frames)
    assert any("'0:CAN': 120 CAN frames are not decoded" in line for line in report.problems)
