"""What a database says about a bus: messages and where their signals lie. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from platform_lib.logs.model import TIMESTAMP

BusKind = Literal["CAN", "LIN"]
SOURCE_ADDRESS = "source_address"

# The longest CAN FD frame. Source: ISO 11898-1:2015, table 5. What lies past it no frame can carry.
FRAME_BYTES = 64
# The most that SAE J1939's transport protocol carries: 255 packets of 7 bytes. Source: SAE J1939-21, 5.10.
TRANSPORT_BYTES = 1785
_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a message.

    Attributes:
        name: Unique in its message.
        start: In a frame's bits: of a little-endian signal its least significant bit, counted byte * 8 + bit from
            the byte's least significant bit; of a big-endian signal its most significant bit, counted from the
            frame's first bit on the wire (byte * 8 + 7 - bit).
        length: Bits, 1 to 64.
        big_endian: Whether it is big-endian (Motorola).
        signed: Whether its raw value is two's complement.
        floating: Whether its raw value is an IEEE 754 number (16, 32 or 64 bit).
        scale: Physical = raw * scale + offset.
        offset: See `scale`.
        unit: Physical unit, empty where the database has none.
        choices: Raw value -> text, for enumerations.
        parent: The message's signal (its place in `Message.signals`) that selects this one, if multiplexed.
        selected_by: Raw values of the parent that select it, as inclusive ranges.
    """

    name: str
    start: int
    length: int
    big_endian: bool = False
    signed: bool = False
    floating: bool = False
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    choices: tuple[tuple[int, str], ...] = ()
    parent: int | None = None
    selected_by: tuple[tuple[int, int], ...] = ()

    @property
    def last_byte(self) -> int:
        """The last frame byte that it needs."""
        return (self.start + self.length - 1) // 8

    @property
    def scaled(self) -> bool:
        """Whether its values are not simply its raw whole numbers."""
        return self.floating or self.scale != 1.0 or self.offset != 0.0

    def field(self) -> pa.Field:
        """Return its Arrow field: whole numbers without scaling stay whole, everything else is float64."""
        metadata = {"unit": self.unit} if self.unit else {}
        if self.choices:
            metadata["choices"] = json.dumps({str(value): text for value, text in self.choices})
        return pa.field(self.name, self._arrow(), metadata=metadata or None)

    def _arrow(self) -> pa.DataType:
        if self.scaled:
            return pa.float64()
        return pa.uint64() if self.length == _WORD_BITS and not self.signed else pa.int64()


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a bus.

    Attributes:
        name: As the database has it.
        frame_id: 11 or 29 bit identifier; LIN: 6 bit.
        extended: Whether the identifier has 29 bits.
        length_bytes: How long its frames should be.
        signals: Its signals.
        j1939: Whether its identifier is a SAE J1939 parameter group.
        omitted: Sentences about what of it is not decoded.
        cluster: The ARXML cluster that it belongs to.
    """

    name: str
    frame_id: int
    extended: bool
    length_bytes: int
    signals: tuple[Signal, ...]
    j1939: bool = False
    omitted: tuple[str, ...] = ()
    cluster: str = ""

    @property
    def words(self) -> int:
        """How many 64-bit words of a frame its signals can lie in."""
        last = max((signal.last_byte for signal in self.signals), default=0)
        return min(last, (TRANSPORT_BYTES if self.j1939 else FRAME_BYTES) - 1) // 8 + 1

    def schema(self, *, with_source: bool) -> pa.Schema:
        """Return the schema of its stream.

        Args:
            with_source: Put a column `SOURCE_ADDRESS` (uint8) after the timestamp: who sent the frame.
        """
        fields = [pa.field(TIMESTAMP, pa.int64(), nullable=False)]
        if with_source:
            fields.append(pa.field(SOURCE_ADDRESS, pa.uint8(), nullable=False))
        return pa.schema([*fields, *(signal.field() for signal in self.signals)])


def parameter_group(frame_id: int) -> int:
    """Return the parameter group number of a 29-bit identifier.

    Priority and source address are no part of it; in PDU format 1 (PF < 240) the destination address is none either.
    Source: SAE J1939-21, 5.2 (message format) and 5.3 (PDU formats).
    """
    number = frame_id >> 8 & 0x3FFFF  # extended data page, data page, PF, PS
    return number if number >> 8 & 0xFF >= 240 else number & 0x3FF00
