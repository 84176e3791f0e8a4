from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pytest

from platform_lib.logs.bus.database import Databases
from platform_lib.logs.bus.streams import BusStreams
from platform_lib.logs.bus.transport import Transfers, Whole
from platform_lib.logs.model import Report, Window

Frame = tuple[int, bytes]
LONG = """\
VERSION ""
BO_ {dm1} Faults: 39 E
 SG_ Lamp : 0|8@1+ (1,0) [0|0] "" E
 SG_ Odd : 60|13@1- (0.5,-3) [0|0] "V" E
 SG_ Big : 127|32@0+ (1,0) [0|0] "" E
 SG_ Wide : 192|64@1+ (1,0) [0|0] "" E
 SG_ Last : 304|8@1+ (1,0) [0|0] "" E
BO_ {named} Ident: 20 E
 SG_ First : 0|16@1+ (1,0) [0|0] "" E
 SG_ End : 152|8@1+ (1,0) [0|0] "" E
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
"""


def announced(control: int, data: bytes, group: int) -> bytes:
    count = -(-len(data) // 7)
    return struct.pack("<BHBB", control, len(data), count, 0xFF) + group.to_bytes(3, "little")


def packets(data: bytes, first: int = 1) -> list[bytes]:
    pieces = [data[at : at + 7].ljust(7, b"\xff") for at in range(0, len(data), 7)]
    return [bytes([number]) + piece for number, piece in enumerate(pieces, 1)][first - 1 :]


def broadcast(sender: int, data: bytes, group: int) -> list[Frame]:
    """A message to all, as SAE J1939-21 5.10.2 has it."""
    head = [(0x1CECFF00 | sender, announced(32, data, group))]
    return head + [(0x1CEBFF00 | sender, item) for item in packets(data)]


def fed(frames: Sequence[Frame], step_ns: int = 50_000_000) -> tuple[list[Whole], int]:
    transfers = Transfers()
    found = [transfers.feed(1, number, data, at * step_ns, claimed=False) for at, (number, data) in enumerate(frames)]
    transfers.end()
    return [item for item in found if item is not None], transfers.broken


DATA = bytes(range(1, 40))


def test_a_broadcast_is_put_together_at_its_last_packet() -> None:
    frames = broadcast(0x21, DATA, 0xFECA)
    (whole,), broken = fed(frames)
    assert (whole.data, whole.frame_id, whole.bus, broken) == (DATA, 0x18FECA21, 1, 0)
    assert whole.time_ns == 50_000_000 * (len(frames) - 1)
    assert whole.unclaimed == len(frames) == 7
    longest = bytes(1785)
    assert fed(broadcast(1, longest, 0xFECA))[0][0].data == longest


def test_transfers_of_several_senders_may_interleave() -> None:
    one, other = broadcast(0x21, DATA, 0xFECA), broadcast(0x22, DATA[::-1], 0xFECA)
    mixed = [frame for pair in zip(one, other, strict=True) for frame in pair]
    wholes, broken = fed(mixed)
    assert [(item.frame_id & 0xFF, item.data) for item in wholes] == [(0x21, DATA), (0x22, DATA[::-1])]
    assert broken == 0


def test_a_transfer_to_one_receiver_with_packets_sent_again() -> None:
    cts = (0x1CEC21F9, b"\x11\x06\x01\xff\xff\xca\xfe\0")
    wait = (0x1CEC21F9, b"\x11\x00\xff\xff\xff\xca\xfe\0")
    again = (0x1CEC21F9, b"\x11\x04\x03\xff\xff\xca\xfe\0")
    done = (0x1CEC21F9, b"\x13\x27\0\x06\xff\xca\xfe\0")
    to_one = [(0x1CEBF921, item) for item in packets(DATA)]
    frames = [(0x1CECF921, announced(16, DATA, 0xEF00)), wait, cts, *to_one[:4], again, *to_one[2:], done]
    (whole,), broken = fed(frames)
    assert (whole.data, whole.frame_id, broken) == (DATA, 0x18EFF921, 0)  # the group's own receiver: PDU format 1


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda f: f[:3] + f[4:], 1),  # a packet is missing
        (lambda f: [*f[:3], f[4], f[3], *f[5:]], 1),  # two have changed places
        (lambda f: f[:-1], 1),  # the last one is missing
        (lambda f: f[1:], 0),  # nobody announced it
        (lambda f: f[:4] + f, 1),  # begun anew: the second one is whole
        (lambda f: [*f[:3], (0x1CECFF21, b"\xff\1\xff\xff\xff\xca\xfe\0"), *f[3:]], 1),  # given up
        (lambda f: [(f[0][0], f[0][1][:3] + b"\x09" + f[0][1][4:]), *f[1:]], 1),  # a count that lies
        (lambda f: [*f[:3], (0x1CEC21FF, b"\x11\1\5\xff\xff\xca\xfe\0"), *f[3:]], 1),  # asks for what never came
    ],
)
def test_what_is_not_whole_is_dropped_and_counted(change: Any, broken: int) -> None:
    wholes, counted = fed(change(broadcast(0x21, DATA, 0xFECA)))
    assert counted == broken
    assert [item.data for item in wholes] in ([], [DATA])
    assert all(item.data == DATA for item in wholes)


def test_packets_of_another_time_are_not_mixed_in() -> None:
    frames = broadcast(0x21, DATA, 0xFECA)
    assert fed(frames, step_ns=1_250_000_001) == ([], 1)
    assert fed(frames, step_ns=-1) == ([], 1)
    assert len(fed(frames, step_ns=1_250_000_000)[0]) == 1


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "long.dbc"
    path.write_text(LONG.format(dm1=0x98FECAFE, named=0x98EF00FE))
    return path


@pytest.mark.parametrize("step", [1 << 20, 3])
def test_long_messages_are_decoded_as_cantools_does(database: Path, array_frames: Any, step: int) -> None:
    rng = np.random.default_rng(4)
    payloads = [rng.bytes(39) for _ in range(5)]
    frames = [frame for at, data in enumerate(payloads) for frame in broadcast(0x20 + at % 2, data, 0xFECA)]
    frames += broadcast(0x20, b"\5\0" + bytes(17) + b"\x2a", 0xEF00)
    frames += broadcast(0x20, bytes(9), 0xFEF1)  # in no database
    frames += broadcast(0x20, payloads[0], 0xFECA)[:-1]
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(database)], []), report)
    found = streams.add(array_frames([number for number, _ in frames], [data for _, data in frames], step=step))
    assert sorted((stream.name, stream.rows) for stream in found) == [("CAN0/Faults", 5), ("CAN0/Ident", 1)]
    message = cantools.database.load_file(database).get_message_by_name("Faults")
    rows = [row for batch in streams.read("CAN0/Faults", Window()) for row in batch.to_pylist()]
    for row, data in zip(rows, payloads, strict=True):
        assert {key: value for key, value in row.items() if key not in ("timestamp_ns", "source_address")} == (
            message.decode(data)
        )
    assert [row["source_address"] for row in rows] == [0x20, 0x21, 0x20, 0x21, 0x20]
    (ident,) = [row for batch in streams.read("CAN0/Ident", Window()) for row in batch.to_pylist()]
    assert (ident["First"], ident["End"]) == (5, 42)
    assert any("6 J1939 messages were put together" in line for line in report.notes)
    assert any("that are not whole, and not decoded: 1" in line for line in report.problems)
    assert any(": 9 CAN frames are in no database" in line for line in report.problems)  # 3 of FEF1, 6 of the torn one


def test_a_short_long_message_is_null_where_it_ends(database: Path, array_frames: Any) -> None:
    frames = broadcast(0x20, DATA[:12], 0xFECA)
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(database)], []), report)
    streams.add(array_frames([number for number, _ in frames], [data for _, data in frames]))
    (row,) = [row for batch in streams.read("CAN0/Faults", Window()) for row in batch.to_pylist()]
    assert row["Lamp"] == 1
    assert row["Odd"] is not None
    assert (row["Big"], row["Wide"], row["Last"]) == (None, None, None)
    assert any("shorter than their message" in line for line in report.problems)


def test_invalid_frames_take_no_part(database: Path, array_frames: Any) -> None:
    frames = broadcast(0x20, DATA, 0xFECA)
    valid = {"DataBytes": np.arange(len(frames)) != 3}
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(database)], []), report)
    assert streams.add(array_frames([n for n, _ in frames], [data for _, data in frames], valid=valid)) == []


@pytest.mark.parametrize("step", [1 << 20, 13])
def test_messages_of_one_frame_and_of_several_stay_in_the_order_in_which_they_came(
    tmp_path: Path, array_frames: Any, step: int
) -> None:
    frames: list[Frame] = []
    for count in range(0, 20, 2):
        frames += [(0x18FECA05, bytes([count] * 8)), *broadcast(5, bytes([count + 1]) + DATA[1:], 0xFECA)]
    path = tmp_path / "faults.dbc"
    path.write_text(LONG.format(dm1=0x98FECAFE, named=0x98FEECFE))
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(path)], []), report)
    found = streams.add(array_frames([item[0] for item in frames], [item[1] for item in frames], step=step))
    rows = [row for batch in streams.read(found[0].name, Window()) for row in batch.to_pylist()]
    assert [row["Lamp"] for row in rows] == list(range(20))
    assert [row["timestamp_ns"] for row in rows] == sorted(row["timestamp_ns"] for row in rows)
    assert [row["Last"] for row in rows] == [None, DATA[38]] * 10
    assert report.undecoded["0:bus"] == 0
