"""CAN frames -> signals, vectorised: one message's frames at once, every signal by shifts and masks.

Frames are matched by their exact identifier and its width (11 or 29 bit). J1939 parameter groups are not matched by
group number: frames whose identifier is in no database are counted in the report, never guessed.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import ConfigError
from platform_lib.logs.model import TIMESTAMP, Report, Stream

Index = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_EXTENDED_BIT = 0x8000_0000
_ID_MASK = 0x1FFF_FFFF
# Data length code -> bytes. Source: ISO 11898-1:2015, table 5.
_DLC_BYTES = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.int64)
_FLOATS = {16: np.float16, 32: np.float32, 64: np.float64}


@dataclass(frozen=True, slots=True)
class Databases:
    """CAN databases; `bus` 0 stands for every bus."""

    entries: tuple[tuple[int, Any], ...] = ()

    @classmethod
    def load(cls, dbc: tuple[str, ...], arxml: tuple[str, ...]) -> Databases:
        """Parse database files, each optionally tied to a bus as ``CAN2=file``.

        Raises:
            ConfigError: A file is missing or is no database.
        """
        entries = []
        for text, kind in [(item, "dbc") for item in dbc] + [(item, "arxml") for item in arxml]:
            bus, path = _split_bus(text)
            entries.append((bus, _load(path, kind)))
        return cls(tuple(entries))

    def message(self, bus: int, frame_id: int, *, extended: bool) -> Any:
        """Return the message of an identifier on a bus, or ``None``; databases tied to the bus come first."""
        for number, entry in sorted(self.entries, key=lambda item: item[0] == 0):
            if number in (0, bus):
                for message in entry.messages:
                    if message.frame_id == frame_id and message.is_extended_frame == extended:
                        return message
        return None


def _split_bus(text: str) -> tuple[int, Path]:
    head, sign, tail = text.partition("=")
    if sign and head.upper().startswith("CAN") and head[3:].isdecimal():
        return int(head[3:]), Path(tail)
    return 0, Path(text)


def _load(path: Path, kind: str) -> Any:
    try:
        # Overlapping signals occur in real databases and do no harm to decoding: not strict.
        return cantools.database.load_file(path, database_format=kind, strict=False, cache_dir=None)
    except OSError as error:
        raise ConfigError(f"cannot be opened ({error.strerror})", where=path, remedy="check the path") from error
    except (cantools.database.Error, ValueError, LookupError, AttributeError, TypeError, SyntaxError) as error:
        short = " ".join(str(error).split())[:160]
        raise ConfigError(f"not a CAN database ({short})", where=path, remedy="give a DBC or ARXML file") from error


@dataclass(frozen=True, slots=True)
class BusMessage:
    """The frames of one message on one bus.

    Attributes:
        stream: ``CAN<bus>/<message>``.
        message: The database's message.
        rows: (M,) the frames' rows in their group.
        data: (M, W) uint8, padded.
        length: (M,) bytes that each frame has.
    """

    stream: str
    message: Any
    rows: Index
    data: Bytes = field(repr=False)
    length: Index = field(repr=False)

    def describe(self, name: str, times_ns: Index) -> Stream:
        """Return the stream of decoded signals."""
        fields = [pa.field(TIMESTAMP, pa.int64(), nullable=False)]
        fields += [_field(signal) for signal in self.message.signals]
        return Stream(
            name=name,
            kind="signal",
            schema=pa.schema(fields),
            rows=int(times_ns.size),
            message_type=self.message.name,
            start_ns=int(times_ns.min()) if times_ns.size else None,
            stop_ns=int(times_ns.max()) + 1 if times_ns.size else None,
        )


def _field(signal: Any) -> pa.Field:
    metadata = {"unit": signal.unit} if signal.unit else {}
    if signal.choices:
        metadata["choices"] = json.dumps({str(key): str(value) for key, value in sorted(signal.choices.items())})
    return pa.field(signal.name, _arrow_type(signal), metadata=metadata or None)


def _arrow_type(signal: Any) -> pa.DataType:
    """Whole numbers without scaling stay whole, everything else is float64."""
    if signal.is_float or signal.scale != 1 or signal.offset != 0 or signal.conversion.is_float:
        return pa.float64()
    return pa.int64() if signal.is_signed or signal.length < 64 else pa.uint64()


def find_messages(table: dict[str, Any], databases: Databases, report: Report, group: str) -> list[BusMessage]:
    """Match frames with databases.

    Args:
        table: A bus-logging group's samples by channel: ID, DataBytes, and where recorded IDE, BusChannel,
            DataLength, DLC.
        databases: What to match with.
        report: Takes counts of frames that are in no database or shorter than their message.
        group: The group's name, for the report.
    """
    raw_id = np.asarray(table["ID"]).astype(np.uint64)
    extended = (raw_id & _EXTENDED_BIT) != 0
    if "IDE" in table:
        extended |= np.asarray(table["IDE"]) != 0
    frame_id = (raw_id & _ID_MASK).astype(np.int64)
    extended |= frame_id > 0x7FF
    bus = np.asarray(table["BusChannel"]).astype(np.int64) if "BusChannel" in table else np.zeros(raw_id.size, np.int64)
    data = _matrix(table["DataBytes"], raw_id.size)
    length = _lengths(table, data.shape[1])
    key = bus << 30 | extended.astype(np.int64) << 29 | frame_id
    order = np.argsort(key, kind="stable")
    keys, first = np.unique(key[order], return_index=True)
    found, unknown, short = [], 0, 0
    for number, rows in zip(keys.tolist(), np.split(order, first[1:]), strict=True):
        message = databases.message(number >> 30, number & _ID_MASK, extended=bool(number >> 29 & 1))
        if message is None:
            unknown += rows.size
            continue
        short += int(np.count_nonzero(length[rows] < message.length))
        found.append(BusMessage(f"CAN{number >> 30}/{message.name}", message, rows, data[rows], length[rows]))
    if unknown:
        report.problems.append(f"group '{group}': {unknown} CAN frames are in no database; they are in the raw stream")
    if short:
        report.problems.append(f"group '{group}': {short} CAN frames are shorter than their message; rest is null")
    return found


def _matrix(samples: Any, rows: int) -> Bytes:
    values = np.asarray(samples)
    if values.ndim == 1 and values.dtype.kind in "SV":
        values = values.view(np.uint8).reshape(rows, -1)
    return np.ascontiguousarray(values, np.uint8).reshape(rows, -1)


def _lengths(table: dict[str, Any], width: int) -> Index:
    rows = len(table["ID"])
    if "DataLength" in table:
        length = np.asarray(table["DataLength"]).astype(np.int64)
    elif "DLC" in table:
        length = _DLC_BYTES[np.asarray(table["DLC"]).astype(np.int64) & 0xF]
    else:
        length = np.full(rows, width, np.int64)
    return np.minimum(length, width)


def decode_message(found: BusMessage, time_ns: Index, schema: pa.Schema) -> pa.RecordBatch:
    """Decode all frames of one message into physical values; what a frame does not carry is null."""
    tree = {signal.name: signal for signal in found.message.signals}
    raw: dict[str, npt.NDArray[Any]] = {}
    present: dict[str, npt.NDArray[np.bool_]] = {}
    for signal in found.message.signals:
        raw[signal.name], last_byte = extract(found.data, signal)
        present[signal.name] = found.length > last_byte
    columns: list[pa.Array] = [pa.array(time_ns[found.rows])]
    for signal in found.message.signals:
        seen = present[signal.name] & _selected(signal, tree, raw, present)
        columns.append(pa.array(_physical(raw[signal.name], signal), mask=~seen).cast(_arrow_type(signal)))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _selected(
    signal: Any,
    tree: dict[str, Any],
    raw: dict[str, npt.NDArray[Any]],
    present: dict[str, npt.NDArray[np.bool_]],
) -> npt.NDArray[np.bool_]:
    """Whether each frame carries a multiplexed signal: its multiplexer, itself carried, has one of its values."""
    selected = np.ones(present[signal.name].size, bool)
    for _ in range(len(tree)):
        if not signal.multiplexer_signal or signal.multiplexer_ids is None:
            return selected
        parent = tree[signal.multiplexer_signal]
        selected &= np.isin(raw[parent.name], list(signal.multiplexer_ids)) & present[parent.name]
        signal = parent
    return np.zeros_like(selected)  # multiplexers in a circle: nothing can be said to be carried


def extract(data: Bytes, signal: Any) -> tuple[npt.NDArray[Any], int]:
    """Return a signal's raw values from frame bytes, and the last byte it needs.

    Args:
        data: (M, W) uint8. Bytes past W count as zero.
        signal: With cantools' `start`, `length` and `byte_order`: ``start`` is the least significant bit of a
            little-endian signal, the most significant one of a big-endian signal, both counted byte * 8 + bit.
    """
    if signal.byte_order == "little_endian":
        first, shift = divmod(signal.start, 8)
        last = (signal.start + signal.length - 1) // 8
        order = list(range(last, first - 1, -1))
    else:
        start = 8 * (signal.start // 8) + (7 - signal.start % 8)
        end = start + signal.length - 1
        first, last, shift = start // 8, end // 8, 7 - end % 8
        order = list(range(first, last + 1))
    value = np.zeros(data.shape[0], np.uint64)
    for place, byte in zip(range(8 * (len(order) - 1), -1, -8), order, strict=True):  # most significant byte first
        piece = data[:, byte].astype(np.uint64) if byte < data.shape[1] else np.zeros(data.shape[0], np.uint64)
        move = place - shift
        value |= piece << np.uint64(move) if move >= 0 else piece >> np.uint64(-move)
    return _typed(value, signal), last


def _typed(value: npt.NDArray[np.uint64], signal: Any) -> npt.NDArray[Any]:
    bits = signal.length
    if bits < 64:
        value &= np.uint64((1 << bits) - 1)
    if signal.is_float:
        if bits not in _FLOATS:
            raise struct.error(f"a float of {bits} bits")
        return value.astype(f"<u{bits // 8}").view(_FLOATS[bits])
    if not signal.is_signed:
        return value
    unused = np.int64(64 - bits)
    return (value << np.uint64(64 - bits)).view(np.int64) >> unused


def _physical(raw: npt.NDArray[Any], signal: Any) -> npt.NDArray[Any]:
    if not pa.types.is_float64(_arrow_type(signal)):
        return raw
    scale, offset = float(signal.scale), float(signal.offset)
    if not (math.isfinite(scale) and math.isfinite(offset)):
        raise ConfigError(f"signal '{signal.name}' has no finite scale", remedy="mend the CAN database")
    return raw.astype(np.float64) * scale + offset
