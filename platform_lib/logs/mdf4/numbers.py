"""Numbers in records: whole and odd widths, both byte orders, bits inside bytes, floats, complex pairs, dates."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.logs.mdf4.model import ArrayShape, Channel, DataType
from platform_lib.logs.mdf4.records import Records, Rows

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
_ALIGNED_BYTES = 64  # Source: Arrow columnar format, buffer alignment


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


FIELD = np.dtype(
    [(name, np.int64) for name in ("byte", "count", "big", "shift", "unused", "signed", "size", "scaled")]
    + [(name, np.float64) for name in ("factor", "offset")]
)
"""A number of a record, as `platform_lib.logs.mdf4.unpack` takes it.

byte, count: Its first byte, and how many it touches, up to 9.
big: Whether the most significant byte comes first.
shift: How many bits of these bytes lie below it.
unused: How many of 64 bits lie above it; 0 where nothing has to be cut off there.
signed: Whether it has a sign.
size: How many bytes its value takes.
scaled: `NOT`; `WHOLE`: a whole number that becomes a 64-bit float; `FLOAT`: a float that stays one.
factor, offset: What a scaled one is multiplied by, and what is added then.
"""
NOT, WHOLE, FLOAT = 0, 1, 2


class Number:
    """A channel of numbers.

    Attributes:
        dtype: Of its values, in the machine's byte order: unsigned and signed of the smallest size that holds the
            bits from the first byte on, unless `scaled`.
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
        self._raw = self.dtype = np.dtype(f"{kind}{size}")
        self._scale: tuple[float, float] | None = None

    @property
    def single(self) -> bool:
        """Whether it is one number a record, for `Numbers`."""
        return self._place.array is None and self._raw.kind != "c"

    def scaled(self, factor: float, offset: float) -> Number | None:
        """Return the same multiplied by `factor`, then grown by `offset`; ``None`` where it cannot be done on the way.

        Whole numbers become float64, floats stay what they are: what numpy makes of an array and a Python float.
        """
        if self._raw.kind not in "ui" and self._raw not in (np.float32, np.float64):
            return None
        other = copy(self)
        other._scale = factor, offset  # noqa: SLF001 - of its own copy
        other.dtype = self._raw if self._raw.kind == "f" else np.dtype(np.float64)
        return other

    def field(self, byte: int | None = None) -> tuple[float, ...]:
        """Return its `FIELD`, in its record or at another byte."""
        form = NOT if self._scale is None else FLOAT if self._raw.kind == "f" else WHOLE
        whole = form != WHOLE and self._bits == 8 * self._raw.itemsize
        factor, offset = self._scale or (1.0, 0.0)
        return (
            *(self._place.offset if byte is None else byte, self._place.count, self._big, self._shift),
            *(0 if whole else 64 - self._bits, self._raw.kind == "i", self.dtype.itemsize, form),
            *(factor, offset or -0.0),  # adding -0 changes no number, adding 0 makes -0 a 0
        )

    def __call__(self, records: Records) -> Values:
        """Return (M,) values; of an array all elements."""
        if self.single:
            return self._read(records)[0]
        data = np.ascontiguousarray(self._place.bytes(records))
        if self._raw.kind == "c":
            stored = self._raw.newbyteorder(">" if self._big else "<")
            return data.view(stored).reshape(-1).astype(self._raw, copy=False)
        return self._read(Rows(data))[0]

    @cached_property
    def _read(self) -> Numbers:
        return Numbers([self], None if self.single else 0)


class Numbers:
    """Numbers of a record that are read together: in one walk over the records, into one piece of memory."""

    def __init__(self, numbers: Sequence[Number], byte: int | None = None) -> None:
        """Plan the reading of numbers, in their records or at another byte. All are `Number.single`, unless at another."""
        self._fields = np.array([number.field(byte) for number in numbers], FIELD)
        self._types = [number.dtype for number in numbers]
        self._sizes = self._fields["size"].copy()

    def __call__(self, records: Records) -> list[Values]:
        """Return the (N,) values of each."""
        out, bounds = self.bytes(records)
        return [out[start:stop].view(dtype) for (start, stop), dtype in zip(bounds, self._types, strict=True)]

    def bytes(self, records: Records) -> tuple[Bytes, list[tuple[int, int]]]:
        """Return the values of all in one piece of memory, and where in it each begins and ends."""
        if not self._types:
            return np.empty(0, np.uint8), []
        lengths = self._sizes * records.rows
        spaces = -(-lengths // _ALIGNED_BYTES) * _ALIGNED_BYTES
        starts = np.cumsum(spaces) - spaces
        out = _aligned(int(spaces.sum()))
        records.unpack(self._fields, starts // self._sizes, out)
        return out, list(zip(starts.tolist(), (starts + lengths).tolist(), strict=True))


def _aligned(count: int) -> Bytes:
    out = np.empty(count + _ALIGNED_BYTES, np.uint8)
    start = -out.__array_interface__["data"][0] % _ALIGNED_BYTES
    return out[start : start + count]


def _container(bits: int) -> int:
    return next((size for size in (1, 2, 4) if bits <= 8 * size), 8)


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
