"""Payload words -> physical values, one signal of many frames at a time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.compiled import compiled
from platform_lib.logs.bus.frames import Frames, Words
from platform_lib.logs.bus.layout import SOURCE_ADDRESS, TRANSPORT_BYTES, Message, Signal
from platform_lib.logs.model import TIMESTAMP

Mask = npt.NDArray[np.bool_]
_FLOATS: dict[int, tuple[Any, Any]] = {
    16: (np.uint16, np.float16),
    32: (np.uint32, np.float32),
    64: (np.uint64, np.float64),
}


@compiled
def _top_little(words: Words, word: int, shift: int, length: int, out: Words) -> None:
    """Put a little-endian signal's bits at the top of `out`."""
    up = np.uint64(64 - length)
    right, left = np.uint64(shift), np.uint64(64 - shift)
    if shift + length <= 64:
        for row in range(out.size):
            out[row] = words[row, word] >> right << up
    else:
        for row in range(out.size):
            out[row] = (words[row, word] >> right | words[row, word + 1] << left) << up


@compiled
def _top_big(words: Words, word: int, shift: int, length: int, out: Words) -> None:
    """Put a big-endian signal's bits, and what follows them, at the top of `out`."""
    left, right = np.uint64(shift), np.uint64(64 - shift)
    if shift + length <= 64:
        for row in range(out.size):
            out[row] = _swapped(words[row, word]) << left
    else:
        for row in range(out.size):
            out[row] = _swapped(words[row, word]) << left | _swapped(words[row, word + 1]) >> right


@compiled
def _swapped(word: np.uint64) -> np.uint64:
    """Reverse the eight bytes of a word."""
    one, two, four = np.uint64(8), np.uint64(16), np.uint64(32)
    word = (word >> one & np.uint64(0x00FF00FF00FF00FF)) | (word & np.uint64(0x00FF00FF00FF00FF)) << one
    word = (word >> two & np.uint64(0x0000FFFF0000FFFF)) | (word & np.uint64(0x0000FFFF0000FFFF)) << two
    return word >> four | word << four


@compiled
def _scaled(raw: npt.NDArray[Any], scale: float, offset: float, out: npt.NDArray[np.float64]) -> None:
    for row in range(out.size):
        out[row] = np.float64(raw[row]) * scale + offset


def raw_values(words: Words, signal: Signal) -> npt.NDArray[Any]:
    """Return a signal's raw values: int64 if signed, else uint64; floats as they are.

    Args:
        words: (M, K) uint64, payloads as `Frames.words` has them.
        signal: What to read.
    """
    top = np.zeros(words.shape[0], np.uint64)
    if signal.last_byte // 8 >= words.shape[1]:
        return top  # no frame carries it
    word, shift = divmod(signal.start, 64)
    (_top_big if signal.big_endian else _top_little)(words, word, shift, signal.length, top)
    rest = 64 - signal.length
    if signal.signed:
        return np.right_shift(top.view(np.int64), rest, out=top.view(np.int64))
    raw = np.right_shift(top, np.uint64(rest), out=top)
    if signal.floating:
        whole, kind = _FLOATS[signal.length]
        return raw.astype(whole).view(kind)
    return raw


def physical_values(raw: npt.NDArray[Any], signal: Signal) -> npt.NDArray[Any]:
    """Return float64 of a signal with a scale or of floats, else whole numbers of the width that its field has."""
    if not signal.scaled:
        return raw.view(np.int64) if signal.length < 64 else raw
    if raw.dtype == np.uint64 and signal.length < 64:
        raw = raw.view(np.int64)  # whose conversion to float is the faster one
    if (signal.scale == 1.0 and signal.offset == 0.0) or raw.dtype == np.float16:
        with np.errstate(invalid="ignore"):  # signalling NaNs: any bytes may come
            raw = raw.astype(np.float64, copy=False)
    if signal.scale == 1.0 and signal.offset == 0.0:
        return raw
    values = np.empty(raw.size, np.float64)
    _scaled(raw, signal.scale, signal.offset, values)
    return values


class _Batch:
    """Frames of one message; raw values are read once however many signals they select."""

    def __init__(self, message: Message, frames: Frames) -> None:
        self._message = message
        self._frames = frames
        self._shortest = int(frames.length.min(initial=TRANSPORT_BYTES))
        self._raw: dict[int, npt.NDArray[Any]] = {}

    def raw(self, number: int) -> npt.NDArray[Any]:
        """Return a signal's raw values, also of frames that do not carry it."""
        if number not in self._raw:
            self._raw[number] = raw_values(self._frames.words, self._message.signals[number])
        return self._raw[number]

    def carried(self, number: int) -> Mask | None:
        """Return which frames carry a signal; ``None`` if all do.

        A frame carries it if it is long enough and every multiplexer above, itself carried, has a value that selects.
        """
        mask = self._long_enough(number)
        signal = self._message.signals[number]
        for _ in self._message.signals:
            if signal.parent is None:
                return mask
            for part in (self._selected(signal), self._long_enough(signal.parent)):
                if part is not None:
                    mask = part if mask is None else mask & part
            signal = self._message.signals[signal.parent]
        return np.zeros(self._frames.length.size, bool)  # multiplexers in a circle: nothing can be said to be carried

    def _long_enough(self, number: int) -> Mask | None:
        last = self._message.signals[number].last_byte
        return None if self._shortest > last else self._frames.length > last

    def _selected(self, signal: Signal) -> Mask:
        raw = self.raw(signal.parent or 0)
        mask = np.zeros(raw.size, bool)
        for low, high in signal.selected_by:
            mask |= raw == low if low == high else (raw >= low) & (raw <= high)
        return mask

    def column(self, number: int, field: pa.Field) -> pa.Array:
        """Return a signal's physical values; null where a frame does not carry it."""
        values = physical_values(self.raw(number), self._message.signals[number])
        mask = self.carried(number)
        bitmap = None if mask is None else pa.py_buffer(np.packbits(mask, bitorder="little"))
        return pa.Array.from_buffers(field.type, values.size, [bitmap, pa.py_buffer(values)])


def decode(message: Message, frames: Frames, schema: pa.Schema, wanted: Sequence[str] | None = None) -> pa.RecordBatch:
    """Decode frames of one message into physical values.

    Args:
        message: The message.
        frames: Its frames.
        schema: As `Message.schema` gives it.
        wanted: Which of its columns; all by default.

    Returns:
        A row a frame, columns in the order of `schema`; what a frame does not carry is null.
    """
    batch = _Batch(message, frames)
    places = {signal.name: number for number, signal in enumerate(message.signals)}
    kept = [field for field in schema if wanted is None or field.name in wanted]
    columns = []
    for field in kept:
        if field.name == TIMESTAMP:
            columns.append(pa.array(frames.time_ns))
        elif field.name == SOURCE_ADDRESS and field.name not in places:
            columns.append(pa.array(frames.sender))
        else:
            columns.append(batch.column(places[field.name], field))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(kept))
