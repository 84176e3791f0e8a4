"""Numbers in records: whole and odd widths, both byte orders, bits inside bytes, floats, complex pairs, dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.logs.mdf4.model import ArrayShape, Channel, DataType
from platform_lib.logs.mdf4.records import Records

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
_BIG = frozenset({DataType.UNSIGNED_BE, DataType.SIGNED_BE, DataType.FLOAT_BE, DataType.COMPLEX_BE})
_KINDS = {
    DataType.UNSIGNED_LE: "u",
    DataType.UNSIGNED_BE: "u",
    DataType.SIGNED_LE: "i",
    DataType.SIGNED_BE: "i",
    DataType.FLOAT_LE: "f",
    DataType.FLOAT_BE: "f",
    DataType.COMPLEX_LE: "c",
    DataType.COMPLEX_BE: "c",
}
_FLOAT_BITS = frozenset({16, 32, 64})
_COMPLEX_BITS = frozenset({64, 128})


class Unreadable(ValueError):  # noqa: N818 - a reason, shown as it is
    """Why a channel cannot be a column."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a channel's bytes are in a record.

    Attributes:
        offset: First byte.
        count: Bytes of a value.
        array: Its dimensions, ``None`` for a single value.
    """

    offset: int
    count: int
    array: ArrayShape | None

    @classmethod
    def of(cls, channel: Channel, before: int) -> Place:
        """Return a channel's place in records that begin with `before` other bytes."""
        count = (channel.bit_offset + channel.bit_count + 7) // 8
        return cls(channel.byte_offset + before, count, channel.array)

    def bytes(self, records: Records) -> Bytes:
        """Return (M, count) bytes; an array's elements follow each other, the last dimension fastest."""
        if self.array is None:
            return records.matrix(self.offset, self.count)
        spans = [(size - 1) * step for size, step in zip(self.array.sizes, self.array.byte_steps, strict=True)]
        if 0 in self.array.sizes:
            return np.empty((0, self.count), np.uint8)
        first = self.offset + sum(min(0, span) for span in spans)
        width = sum(abs(span) for span in spans) + self.count
        whole = np.ascontiguousarray(records.matrix(first, width))
        shape = (records.rows, *self.array.sizes, self.count)
        strides = (width, *self.array.byte_steps, 1)
        elements: Bytes = np.ndarray(shape, np.uint8, whole, self.offset - first, strides)
        return elements.reshape(-1, self.count)


class Number:
    """A channel of numbers.

    Attributes:
        dtype: Of its values, in the machine's byte order: unsigned and signed of the smallest size that holds the
            bits from the first byte on.
    """

    def __init__(self, channel: Channel, before: int) -> None:
        """Plan the reading of `channel` in records that begin with `before` other bytes.

        Raises:
            Unreadable: It is no number, or of a width that has no faithful type.
        """
        self._place = Place.of(channel, before)
        self._shift, self._bits = channel.bit_offset, channel.bit_count
        self._big = channel.data_type in _BIG
        kind = _KINDS.get(DataType(channel.data_type)) if channel.data_type in _KINDS else None
        if kind is None:
            raise Unreadable(f"data type {channel.data_type} is no number")
        if kind == "f" and self._bits not in _FLOAT_BITS:
            raise Unreadable(f"a float of {self._bits} bits")
        if kind == "c" and (self._bits not in _COMPLEX_BITS or self._shift):
            raise Unreadable(f"a complex number of {self._bits} bits")
        if kind in "ui" and not 0 < self._bits <= 64:
            raise Unreadable(f"a whole number of {self._bits} bits")
        size = self._bits // 8 if kind in "fc" else _container(self._shift + self._bits)
        self.dtype = np.dtype(f"{kind}{size}")
        self._stored = self.dtype.newbyteorder(">" if self._big else "<")
        self._plain = not self._shift and self._bits == size * 8

    def __call__(self, records: Records) -> Values:
        """Return (M,) values; of an array all elements."""
        if not self._plain:
            return self._unpacked(self._place.bytes(records))
        if self._place.array is None:
            return records.vector(self._place.offset, self._stored)
        data = np.ascontiguousarray(self._place.bytes(records))
        return data.view(self._stored).reshape(-1).astype(self.dtype, copy=False)

    def _unpacked(self, data: Bytes) -> Values:
        value = _joined(data, self._shift, big=self._big)
        unused = np.uint64(64 - self._bits)
        if self.dtype.kind == "i":
            return ((value << unused).view(np.int64) >> unused.astype(np.int64)).astype(self.dtype)
        value = (value << unused) >> unused
        return value.astype(f"u{self.dtype.itemsize}").view(self.dtype)


def _container(bits: int) -> int:
    return next((size for size in (1, 2, 4) if bits <= 8 * size), 8)


def _joined(data: Bytes, shift: int, *, big: bool) -> npt.NDArray[np.uint64]:
    """Return (M,) numbers of (M, up to 9) bytes, without their lowest `shift` bits."""
    count = data.shape[1]
    eight = np.zeros((data.shape[0], 8), np.uint8)
    if big:
        eight[:, 8 - min(8, count) :] = data[:, -8:]
        value = eight.view(">u8").reshape(-1).astype(np.uint64)
    else:
        eight[:, : min(8, count)] = data[:, :8]
        value = eight.view("<u8").reshape(-1).astype(np.uint64)
    value >>= np.uint64(shift)
    if count > 8:
        rest = data[:, 0] if big else data[:, 8]
        value |= rest.astype(np.uint64) << np.uint64(64 - shift)
    return value


_CANOPEN_EPOCH = np.datetime64("1984-01-01T00:00:00.000", "ms")


def canopen_time(data: Bytes) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Return (N,) datetime64[ms] of (N, 6) bytes: milliseconds of the day (28 bits), days since 1984.

    Source: CiA 301, TIME_OF_DAY. The second value says which are dates: all.
    """
    packed = np.ascontiguousarray(data)
    ms = packed[:, :4].copy().view("<u4").reshape(-1) & 0x0FFF_FFFF
    days = packed[:, 4:6].copy().view("<u2").reshape(-1)
    whole_ms = days.astype(np.int64) * 86_400_000 + ms
    return _CANOPEN_EPOCH + whole_ms.astype("m8[ms]"), np.ones(whole_ms.size, bool)


def canopen_date(data: Bytes) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Return (N,) datetime64[ms] of (N, 7) bytes, and which of them are dates.

    Milliseconds of the minute (16 bits), minute (6), hour (5, then summer time), day (5, then day of the week),
    month (6), year (7 bits: 0 to 83 after 2000, 84 to 99 after 1900). Source: CiA 301, DATE; ASAM MDF 4.2.
    """
    packed = np.ascontiguousarray(data)
    ms = packed[:, :2].copy().view("<u2").reshape(-1).astype(np.int64)
    minute, hour, day = packed[:, 2] & 0x3F, packed[:, 3] & 0x1F, packed[:, 4] & 0x1F
    month, year = packed[:, 5] & 0x3F, (packed[:, 6] & 0x7F).astype(np.int64)
    year += np.where(year < 84, 2000, 1900)
    months = ((year - 1970) * 12 + np.maximum(month, 1).astype(np.int64) - 1).astype("m8[M]")
    start = np.datetime64("1970-01", "M") + months
    date = start.astype("M8[D]") + np.maximum(day, 1).astype(np.int64).astype("m8[D]") - np.timedelta64(1, "D")
    sound = (ms < 60_000) & (minute < 60) & (hour < 24) & (day > 0) & (month > 0) & (month <= 12) & (year < 2084)
    sound &= date.astype("M8[M]") == start
    since_ms = (hour.astype(np.int64) * 60 + minute) * 60_000 + ms
    return date.astype("M8[ms]") + since_ms.astype("m8[ms]"), sound
