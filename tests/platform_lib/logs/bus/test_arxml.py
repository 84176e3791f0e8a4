from __future__ import annotations

from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pytest

from platform_lib.errors import ConfigError
from platform_lib.logs.bus.database import Databases
from platform_lib.logs.bus.streams import BusStreams
from platform_lib.logs.model import Report, Window

SCHEMA = "http://autosar.org/schema/r4.0"


def signal(name: str, bits: int, *, signed: bool = False, scale: float = 1.0) -> str:
    encoding = (
        "<BASE-TYPE-ENCODING>2C</BASE-TYPE-ENCODING>" if signed else "<BASE-TYPE-ENCODING>NONE</BASE-TYPE-ENCODING>"
    )
    coefficients = f"<V>0</V><V>{scale}</V>"
    return f"""
    <I-SIGNAL><SHORT-NAME>{name}</SHORT-NAME><LENGTH>{bits}</LENGTH>
      <NETWORK-REPRESENTATION-PROPS><SW-DATA-DEF-PROPS-VARIANTS><SW-DATA-DEF-PROPS-CONDITIONAL>
        <BASE-TYPE-REF DEST="SW-BASE-TYPE">/d/{name}Base</BASE-TYPE-REF>
      </SW-DATA-DEF-PROPS-CONDITIONAL></SW-DATA-DEF-PROPS-VARIANTS></NETWORK-REPRESENTATION-PROPS>
      <SYSTEM-SIGNAL-REF DEST="SYSTEM-SIGNAL">/d/{name}System</SYSTEM-SIGNAL-REF></I-SIGNAL>
    <SW-BASE-TYPE><SHORT-NAME>{name}Base</SHORT-NAME>{encoding}</SW-BASE-TYPE>
    <SYSTEM-SIGNAL><SHORT-NAME>{name}System</SHORT-NAME>
      <PHYSICAL-PROPS><SW-DATA-DEF-PROPS-VARIANTS><SW-DATA-DEF-PROPS-CONDITIONAL>
        <COMPU-METHOD-REF DEST="COMPU-METHOD">/d/{name}Method</COMPU-METHOD-REF>
      </SW-DATA-DEF-PROPS-CONDITIONAL></SW-DATA-DEF-PROPS-VARIANTS></PHYSICAL-PROPS></SYSTEM-SIGNAL>
    <COMPU-METHOD><SHORT-NAME>{name}Method</SHORT-NAME><CATEGORY>LINEAR</CATEGORY><COMPU-INTERNAL-TO-PHYS>
      <COMPU-SCALES><COMPU-SCALE><COMPU-RATIONAL-COEFFS><COMPU-NUMERATOR>{coefficients}</COMPU-NUMERATOR>
        <COMPU-DENOMINATOR><V>1</V></COMPU-DENOMINATOR></COMPU-RATIONAL-COEFFS></COMPU-SCALE></COMPU-SCALES>
      </COMPU-INTERNAL-TO-PHYS></COMPU-METHOD>"""


def mapping(name: str, start: int, *, big: bool = False) -> str:
    order = "MOST-SIGNIFICANT-BYTE-FIRST" if big else "MOST-SIGNIFICANT-BYTE-LAST"
    return f"""<I-SIGNAL-TO-I-PDU-MAPPING><SHORT-NAME>{name}Map</SHORT-NAME>
      <I-SIGNAL-REF DEST="I-SIGNAL">/d/{name}</I-SIGNAL-REF><PACKING-BYTE-ORDER>{order}</PACKING-BYTE-ORDER>
      <START-POSITION>{start}</START-POSITION></I-SIGNAL-TO-I-PDU-MAPPING>"""


def pdu(name: str, *mappings: str, size: int = 8, header: int | None = None) -> str:
    contained = "" if header is None else f"<HEADER-ID-SHORT-HEADER>{header}</HEADER-ID-SHORT-HEADER>"
    return f"""<I-SIGNAL-I-PDU><SHORT-NAME>{name}</SHORT-NAME><LENGTH>{size}</LENGTH>
      <CONTAINED-I-PDU-PROPS>{contained}</CONTAINED-I-PDU-PROPS>
      <I-SIGNAL-TO-PDU-MAPPINGS>{"".join(mappings)}</I-SIGNAL-TO-PDU-MAPPINGS></I-SIGNAL-I-PDU>"""


def multiplexed(name: str, static: str, alternatives: dict[int, str]) -> str:
    parts = "".join(
        f"""<DYNAMIC-PART-ALTERNATIVE><I-PDU-REF DEST="I-SIGNAL-I-PDU">/d/{part}</I-PDU-REF>
        <INITIAL-DYNAMIC-PART>false</INITIAL-DYNAMIC-PART><SELECTOR-FIELD-CODE>{code}</SELECTOR-FIELD-CODE>
        </DYNAMIC-PART-ALTERNATIVE>"""
        for code, part in alternatives.items()
    )
    return f"""<MULTIPLEXED-I-PDU><SHORT-NAME>{name}</SHORT-NAME><LENGTH>8</LENGTH>
      <DYNAMIC-PARTS><DYNAMIC-PART><DYNAMIC-PART-ALTERNATIVES>{parts}</DYNAMIC-PART-ALTERNATIVES></DYNAMIC-PART>
      </DYNAMIC-PARTS><SELECTOR-FIELD-BYTE-ORDER>MOST-SIGNIFICANT-BYTE-LAST</SELECTOR-FIELD-BYTE-ORDER>
      <SELECTOR-FIELD-LENGTH>4</SELECTOR-FIELD-LENGTH><SELECTOR-FIELD-START-POSITION>0</SELECTOR-FIELD-START-POSITION>
      <STATIC-PARTS><STATIC-PART><I-PDU-REF DEST="I-SIGNAL-I-PDU">/d/{static}</I-PDU-REF></STATIC-PART></STATIC-PARTS>
      </MULTIPLEXED-I-PDU>"""


def triggering(name: str) -> str:
    return f"""<PDU-TRIGGERING><SHORT-NAME>{name}Trigger</SHORT-NAME>
      <I-PDU-REF DEST="I-SIGNAL-I-PDU">/d/{name}</I-PDU-REF></PDU-TRIGGERING>"""


def secured(name: str, payload: str) -> str:
    """A PDU of 8 bytes that ends in 8 bits of freshness and 16 of authenticator."""
    return f"""<SECURED-I-PDU><SHORT-NAME>{name}</SHORT-NAME><LENGTH>8</LENGTH>
      <AUTHENTICATION-PROPS-REF DEST="SECURE-COMMUNICATION-AUTHENTICATION-PROPS">/d/Auth</AUTHENTICATION-PROPS-REF>
      <FRESHNESS-PROPS-REF DEST="SECURE-COMMUNICATION-FRESHNESS-PROPS">/d/Fresh</FRESHNESS-PROPS-REF>
      <PAYLOAD-REF DEST="PDU-TRIGGERING">/d/{payload}Trigger</PAYLOAD-REF>
      <SECURE-COMMUNICATION-PROPS><DATA-ID>7</DATA-ID></SECURE-COMMUNICATION-PROPS></SECURED-I-PDU>
    <SECURE-COMMUNICATION-AUTHENTICATION-PROPS><SHORT-NAME>Auth</SHORT-NAME>
      <AUTH-INFO-TX-LENGTH>16</AUTH-INFO-TX-LENGTH></SECURE-COMMUNICATION-AUTHENTICATION-PROPS>
    <SECURE-COMMUNICATION-FRESHNESS-PROPS><SHORT-NAME>Fresh</SHORT-NAME>
      <FRESHNESS-VALUE-LENGTH>32</FRESHNESS-VALUE-LENGTH><FRESHNESS-VALUE-TX-LENGTH>8</FRESHNESS-VALUE-TX-LENGTH>
      </SECURE-COMMUNICATION-FRESHNESS-PROPS>"""


def container(name: str, *parts: str, header: str = "SHORT-HEADER") -> str:
    refs = "".join(
        f'<CONTAINED-PDU-TRIGGERING-REF DEST="PDU-TRIGGERING">/d/{part}Trigger</CONTAINED-PDU-TRIGGERING-REF>'
        for part in parts
    )
    return f"""<CONTAINER-I-PDU><SHORT-NAME>{name}</SHORT-NAME><LENGTH>8</LENGTH>
      <CONTAINED-PDU-TRIGGERING-REFS>{refs}</CONTAINED-PDU-TRIGGERING-REFS>
      <HEADER-TYPE>{header}</HEADER-TYPE></CONTAINER-I-PDU>"""


def frame(name: str, pdu_name: str, kind: str = "I-SIGNAL-I-PDU") -> str:
    return f"""<CAN-FRAME><SHORT-NAME>{name}</SHORT-NAME><FRAME-LENGTH>8</FRAME-LENGTH><PDU-TO-FRAME-MAPPINGS>
      <PDU-TO-FRAME-MAPPING><SHORT-NAME>m</SHORT-NAME><PDU-REF DEST="{kind}">/d/{pdu_name}</PDU-REF>
      <START-POSITION>0</START-POSITION></PDU-TO-FRAME-MAPPING></PDU-TO-FRAME-MAPPINGS></CAN-FRAME>"""


def cluster(name: str, frames: dict[str, tuple[int, bool]]) -> str:
    triggers = "".join(
        f"""<CAN-FRAME-TRIGGERING><SHORT-NAME>{item}T</SHORT-NAME><FRAME-REF DEST="CAN-FRAME">/d/{item}</FRAME-REF>
        <CAN-ADDRESSING-MODE>{"EXTENDED" if extended else "STANDARD"}</CAN-ADDRESSING-MODE>
        <IDENTIFIER>{number}</IDENTIFIER></CAN-FRAME-TRIGGERING>"""
        for item, (number, extended) in frames.items()
    )
    return f"""<CAN-CLUSTER><SHORT-NAME>{name}</SHORT-NAME><CAN-CLUSTER-VARIANTS><CAN-CLUSTER-CONDITIONAL>
      <BAUDRATE>500000</BAUDRATE><PHYSICAL-CHANNELS><CAN-PHYSICAL-CHANNEL><SHORT-NAME>c</SHORT-NAME>
      <FRAME-TRIGGERINGS>{triggers}</FRAME-TRIGGERINGS></CAN-PHYSICAL-CHANNEL></PHYSICAL-CHANNELS>
      </CAN-CLUSTER-CONDITIONAL></CAN-CLUSTER-VARIANTS></CAN-CLUSTER>"""


@pytest.fixture
def arxml(tmp_path: Path) -> Path:
    elements = [
        cluster("Front", {"Motion": (0x101, False), "Status": (0x18DA0001, True)}),
        cluster("Rear", {"Status": (0x101, False)}),
        frame("Motion", "MotionPdu"),
        frame("Status", "StatusPdu", "MULTIPLEXED-I-PDU"),
        pdu("MotionPdu", mapping("Speed", 4), mapping("Yaw", 39, big=True)),
        pdu("Always", mapping("Alive", 56)),
        pdu("Zero", mapping("Code", 0), mapping("Volts", 8)),
        pdu("Five", mapping("Code", 0), mapping("Amps", 23, big=True)),
        multiplexed("StatusPdu", "Always", {0: "Zero", 5: "Five"}),
        signal("Speed", 13, scale=0.125),
        signal("Yaw", 20, signed=True, scale=-0.5),
        signal("Alive", 8),
        signal("Code", 4),
        signal("Volts", 16, scale=0.25),
        signal("Amps", 12, signed=True),
    ]
    return written(tmp_path / "system.arxml", elements)


def written(path: Path, elements: list[str]) -> Path:
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><AUTOSAR xmlns="{SCHEMA}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{SCHEMA} AUTOSAR_4-2-2.xsd"><AR-PACKAGES><AR-PACKAGE><SHORT-NAME>d</SHORT-NAME>'
        f"<ELEMENTS>{''.join(elements)}</ELEMENTS></AR-PACKAGE></AR-PACKAGES></AUTOSAR>"
    )
    return path


def test_every_signal_of_a_cluster_equals_cantools(arxml: Path, array_frames: Any) -> None:
    described = {
        message.name: message
        for message in cantools.database.load_file(arxml, sort_signals=None).messages
        if message.bus_name == "Front"
    }
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, (120, 8), dtype=np.uint8)
    ids = np.where(np.arange(120) % 2, 0x101, 0x18DA0001)
    data[::2, 0] = rng.choice([0, 5], 60)
    streams = BusStreams(Databases.load([], [f"{arxml}#Front"]), Report("mdf4"))
    found = streams.add(array_frames(ids, data, columns={"IDE": (ids > 0x7FF).astype(np.uint8)}))
    assert [(stream.name, stream.rows) for stream in found] == [("CAN0/Motion", 60), ("CAN0/Status", 60)]
    compared = 0
    for stream in found:
        mine = data[1::2] if stream.message_type == "Motion" else data[::2]
        rows = [row for batch in streams.read(stream.name, Window()) for row in batch.to_pylist()]
        for row, payload in zip(rows, mine, strict=True):
            row.pop("timestamp_ns")
            expected = described[str(stream.message_type)].decode(payload.tobytes())
            assert {name: value for name, value in row.items() if value is not None} == expected
            compared += len(expected)
    assert compared == 60 * 2 + 60 * 3


def test_an_identifier_with_two_meanings_is_not_guessed(arxml: Path, array_frames: Any) -> None:
    report = Report("mdf4")
    streams = BusStreams(Databases.load([], [str(arxml)]), report)
    assert streams.add(array_frames([0x101], [bytes(8)])) == []
    assert any("1 identifiers mean different messages" in line and "Front, Rear" in line for line in report.problems)
    rear = BusStreams(Databases.load([], [f"CAN3={arxml}#Rear"]), Report("mdf4"))
    found = rear.add(array_frames([0x101], [bytes(8)], columns={"BusChannel": np.array([3])}))
    assert [stream.name for stream in found] == ["CAN3/Status"]
    with pytest.raises(ConfigError, match="no cluster 'Middle'"):
        Databases.load([], [f"{arxml}#Middle"])


@pytest.fixture
def protected(tmp_path: Path) -> Path:
    """A frame that is secured, one that is a container of two PDUs, and one with headers that no reference reads."""
    elements = [
        cluster("Front", {"Safe": (0x10, False), "Box": (0x20, False), "Far": (0x30, False), "Bare": (0x40, False)}),
        frame("Safe", "SafePdu", "SECURED-I-PDU"),
        frame("Box", "BoxPdu", "CONTAINER-I-PDU"),
        frame("Far", "FarPdu", "CONTAINER-I-PDU"),
        frame("Bare", "Plain"),
        secured("SafePdu", "Plain"),
        container("BoxPdu", "One", "Two"),
        container("FarPdu", "One", "Two", header="LONG-HEADER"),
        pdu("Plain", mapping("Code", 0), mapping("Speed", 4), mapping("Yaw", 31, big=True), size=5),
        pdu("One", mapping("Alive", 0), size=1, header=0x11),
        pdu("Two", mapping("Volts", 0), size=2, header=0x22),
        *map(triggering, ("Plain", "One", "Two")),
        signal("Speed", 13, scale=0.125),
        signal("Code", 4),
        signal("Yaw", 16, signed=True, scale=0.5),
        signal("Alive", 8),
        signal("Volts", 16, scale=0.25),
    ]
    return written(tmp_path / "protected.arxml", elements)


def test_secured_frames_equal_cantools_and_containers_are_named(protected: Path, array_frames: Any) -> None:
    """Of a container cantools gives the parts' names by their headers; what it does not read it gives no signals of."""
    described = {item.name: item for item in cantools.database.load_file(protected, sort_signals=None).messages}
    assert {name: item.is_container for name, item in described.items()} == {
        "Safe": False, "Box": True, "Far": False, "Bare": False,
    }  # fmt: skip
    box = bytes.fromhex("000011012a000022")
    assert [(str(part), value) for part, value in described["Box"].decode(box, decode_containers=True)][:1] == [
        (str(described["Box"].contained_messages[0]), {"Alive": 42})
    ]
    rng = np.random.default_rng(5)
    data = rng.integers(0, 256, (80, 8), dtype=np.uint8)
    ids = np.array([0x10, 0x20, 0x30, 0x40] * 20)
    report = Report("mdf4")
    streams = BusStreams(Databases.load([], [str(protected)]), report)
    found = {stream.name: stream for stream in streams.add(array_frames(ids, data))}
    for name in ("Safe", "Bare"):
        rows = [row for batch in streams.read(f"CAN0/{name}", Window()) for row in batch.to_pylist()]
        mine = data[ids == described[name].frame_id]
        assert len(rows) == 20
        for row, payload in zip(rows, mine, strict=True):
            row.pop("timestamp_ns")
            assert row == described[name].decode(payload.tobytes())
    assert {"SafePdu_Freshness", "SafePdu_Authenticator"} <= set(found["CAN0/Safe"].schema.names) or {
        "Safe_Freshness", "Safe_Authenticator",
    } <= set(found["CAN0/Safe"].schema.names)  # fmt: skip
    said = "; ".join([*report.problems, *report.notes])
    for name in ("Box", "Far"):
        assert set(found[f"CAN0/{name}"].schema.names if f"CAN0/{name}" in found else ()) <= {"timestamp_ns"}
        assert f"stream 'CAN0/{name}'" in said
        assert "container" in said


def test_the_comparison_notices_a_secured_signal_that_lies_elsewhere(protected: Path, array_frames: Any) -> None:
    wrong = protected.with_name("wrong.arxml")
    wrong.write_text(
        protected.read_text().replace("<START-POSITION>4</START-POSITION>", "<START-POSITION>5</START-POSITION>")
    )
    described = {item.name: item for item in cantools.database.load_file(protected, sort_signals=None).messages}
    payload = bytes(range(101, 109))
    streams = BusStreams(Databases.load([], [str(wrong)]), Report("mdf4"))
    streams.add(array_frames([0x10], [payload]))
    ((row,),) = (batch.to_pylist() for batch in streams.read("CAN0/Safe", Window()))
    row.pop("timestamp_ns")
    expected = described["Safe"].decode(payload)
    assert row.keys() == expected.keys()
    assert [name for name in row if row[name] != expected[name]] == ["Speed"]
