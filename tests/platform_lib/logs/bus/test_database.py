from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from platform_lib.errors import ConfigError
from platform_lib.logs.bus.database import Databases
from platform_lib.logs.bus.streams import BusStreams
from platform_lib.logs.model import Report, Window

J1939 = """\
VERSION ""
NS_ :
BS_:
BU_: E
BO_ {eec1} EEC1: 8 E
 SG_ Speed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" E
BO_ {request} Request: 3 E
 SG_ Wanted : 0|24@1+ (1,0) [0|0] "" E
BO_ {plain} NotJ1939: 8 E
 SG_ x : 0|8@1+ (1,0) [0|0] "" E
{more}BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "ExtendedCAN";
BA_ "VFrameFormat" BO_ {eec1} 3;
BA_ "VFrameFormat" BO_ {request} 3;
{tail}"""


def j1939(folder: Path, more: str = "", tail: str = "") -> Path:
    path = folder / "j1939.dbc"
    ids = {"eec1": 0x8CF004FE, "request": 0x98EAFFFE, "plain": 0x98F00500}
    path.write_text(J1939.format(**ids, more=more, tail=tail))
    return path


def read(streams: BusStreams, name: str, column: str) -> list[Any]:
    return [value for batch in streams.read(name, Window()) for value in batch[column].to_pylist()]


def test_j1939_is_matched_by_group_whatever_priority_sender_and_receiver(tmp_path: Path, array_frames: Any) -> None:
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(j1939(tmp_path))], []), report)
    ids = [0x0CF004FE, 0x18F00421, 0x1CF00400, 0x18EA21F9, 0x0CEAFF00, 0x18F00421]
    found = streams.add(array_frames(ids, [bytes([0, 0, 0, n, 1, 0, 0, 0]) for n in range(6)]))
    assert [(stream.name, stream.rows) for stream in found] == [("CAN0/EEC1", 4), ("CAN0/Request", 2)]
    assert read(streams, "CAN0/EEC1", "Speed") == [(256 + n) * 0.125 for n in (0, 1, 2, 5)]
    assert read(streams, "CAN0/EEC1", "source_address") == [0xFE, 0x21, 0x00, 0x21]
    assert read(streams, "CAN0/Request", "source_address") == [0xF9, 0x00]
    assert [line for line in report.notes if "CAN0/EEC1" in line and "parameter group" in line and "0x18F00421" in line]
    assert report.problems == []


def test_what_is_no_j1939_is_matched_exactly_or_counted(tmp_path: Path, array_frames: Any) -> None:
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(j1939(tmp_path))], []), report)
    # Another sender of a message that is not J1939, another group, another data page, an 11-bit identifier.
    found = streams.add(array_frames([0x18F00500, 0x18F00501, 0x18F00600, 0x19F004FE, 0x7FF], [bytes(8)] * 5))
    assert [(stream.name, stream.rows) for stream in found] == [("CAN0/NotJ1939", 1)]
    assert "source_address" not in found[0].schema.names
    assert any("4 CAN frames are in no database" in line and "0x18F00501" in line for line in report.problems)


def test_several_layouts_of_one_group_are_told_apart_by_sender_or_not_at_all(tmp_path: Path) -> None:
    other = 0x8CF00411
    path = j1939(
        tmp_path,
        more=f'BO_ {other} EEC1_Pump: 8 E\n SG_ Pump : 0|8@1+ (1,0) [0|0] "" E\n',
        tail=f'BA_ "VFrameFormat" BO_ {other} 3;\n',
    )
    databases = Databases.load([str(path)], [])

    def name(frame_id: int) -> str | None:
        match = databases.match("CAN", 1, frame_id, extended=True)
        return match.message.name if match else None

    assert name(0x18F00411) == "EEC1_Pump"
    assert name(0x18F00422) == "EEC1"  # the null address stands for every sender
    path.write_text(path.read_text().replace(str(0x8CF004FE), str(0x8CF00401)))
    databases = Databases.load([str(path)], [])
    assert name(0x18F00401) == "EEC1"
    assert name(0x18F00422) is None  # two layouts, neither of them this sender's


def test_a_database_whose_protocol_is_j1939_is_j1939_throughout(tmp_path: Path) -> None:
    path = tmp_path / "all.dbc"
    path.write_text(
        'VERSION ""\nNS_ :\nBS_:\nBU_: E\nBO_ 2566844926 CCVS1: 8 E\n SG_ v : 0|8@1+ (1,0) [0|0] "" E\n'
        'BA_DEF_ "ProtocolType" STRING ;\nBA_DEF_DEF_ "ProtocolType" "";\nBA_ "ProtocolType" "J1939";\n'
    )
    match = Databases.load([str(path)], []).match("CAN", 1, 0x0CFEF100, extended=True)
    assert match is not None
    assert not match.exact


def test_a_database_of_a_bus_goes_before_one_for_all(tmp_path: Path) -> None:
    for name in ("One", "Two"):
        (tmp_path / f"{name}.dbc").write_text(
            f'VERSION ""\nNS_ :\nBS_:\nBU_: E\nBO_ 7 {name}: 8 E\n SG_ v : 0|8@1+ (1,0) [0|0] "" E\n'
        )
    databases = Databases.load([str(tmp_path / "One.dbc"), f"CAN2={tmp_path / 'Two.dbc'}"], [])
    names = [databases.match("CAN", bus, 7, extended=False) for bus in (1, 2)]
    assert [match and match.message.name for match in names] == ["One", "Two"]
    assert databases.match("LIN", 1, 7, extended=False) is None


def test_lin_frames_are_decoded_by_databases_tied_to_lin(tmp_path: Path, array_frames: Any) -> None:
    path = tmp_path / "lin.dbc"
    path.write_text('VERSION ""\nNS_ :\nBS_:\nBU_: E\nBO_ 7 Window: 4 E\n SG_ v : 7|8@0+ (2,0) [0|0] "%" E\n')
    frames = array_frames([7, 9], [b"\x03\0\0\0"] * 2, kind="LIN_Frame", columns={"BusChannel": np.array([1, 1])})
    report = Report("mdf4")
    streams = BusStreams(Databases.load([f"LIN1={path}"], []), report)
    assert [stream.name for stream in streams.add(frames)] == ["LIN1/Window"]
    assert read(streams, "LIN1/Window", "v") == [6.0]
    assert any("1 LIN frames are in no database" in line for line in report.problems)
    assert BusStreams(Databases.load([str(path)], []), Report("mdf4")).add(frames) == []


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("BO_ nonsense", "not a CAN database"),
        ('BO_ 1 M: 8 E\n SG_ s : 0|8@1+ (1e999,0) [0|0] "" E\n', "finite scale"),
        ('BO_ 1 M: 8 E\n SG_ m M : 0|8@1+ (1,0) [0|0] "" E\nSG_MUL_VAL_ 1 s m 0-4294967295;\n', "4294967296 values"),
    ],
)
def test_databases_that_cannot_be_meant_are_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "wrong.dbc"
    path.write_text('VERSION ""\nNS_ :\nBS_:\nBU_: E\n' + text)
    with pytest.raises(ConfigError, match=match):
        Databases.load([str(path)], [])


def test_what_is_too_wide_is_left_out_and_named(tmp_path: Path, array_frames: Any) -> None:
    path = tmp_path / "wide.dbc"
    path.write_text(
        'VERSION ""\nNS_ :\nBS_:\nBU_: E\nBO_ 1 M: 64 E\n SG_ blob : 0|128@1+ (1,0) [0|0] "" E\n'
        ' SG_ v : 128|8@1+ (1,0) [0|0] "" E\n'
    )
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(path)], []), report)
    found = streams.add(array_frames([1], [bytes([*range(64)])]))
    assert found[0].schema.names == ["timestamp_ns", "v"]
    assert read(streams, "CAN0/M", "v") == [16]
    assert any("'blob', a value of 128 bits" in line for line in report.problems)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_a_database_is_read_in_the_encoding_that_it_is_written_in(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "heat.dbc"
    text = 'VERSION ""\nNS_ :\nBS_:\nBU_: E\nBO_ 1 M: 8 E\n SG_ T : 0|8@1+ (1,0) [0|0] "°C" E\nVAL_ 1 T 0 "zu kühl" ;\n'
    path.write_bytes(text.encode(encoding))
    match = Databases.load([str(path)], []).match("CAN", 1, 1, extended=False)
    assert match is not None
    assert match.message.signals[0].unit == "°C"
    assert match.message.signals[0].choices == ((0, "zu kühl"),)


def test_an_identifier_that_one_file_gives_two_messages_is_told(tmp_path: Path) -> None:
    path = tmp_path / "twice.dbc"
    one = 'BO_ 1 One: 8 E\n SG_ a : 0|8@1+ (1,0) [0|0] "" E\n'
    path.write_text(f'VERSION ""\nNS_ :\nBS_:\nBU_: E\n{one}{one.replace("One", "Two")}')
    databases = Databases.load([str(path)], [])
    match = databases.match("CAN", 1, 1, extended=False)
    assert match is not None
    assert match.message.name == "One"
    assert databases.notes == ["identifiers that mean different messages within twice.dbc: 1; the first message counts"]
    path.write_text(f'VERSION ""\nNS_ :\nBS_:\nBU_: E\n{one}')
    assert Databases.load([str(path)], []).notes == []
