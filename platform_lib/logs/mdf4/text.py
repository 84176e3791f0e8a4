"""Recorded text: bytes of every row -> Arrow strings, by the channel's encoding, up to the first zero."""

from __future__ import annotations

import codecs
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.logs.mdf4.model import ENCODINGS, DataType

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WORD_BYTES = (2, 4, 8)
_WIDE = frozenset({DataType.UTF_16_LE, DataType.UTF_16_BE, DataType.BOM_TEXT})


class TextError(ValueError):
    """Bytes that are no text of their encoding."""


def fixed_text(matrix: Bytes, data_type: int, lengths: Values | None = None) -> pa.Array:
    """Return (N,) strings of (N, W) bytes.

    Args:
        matrix: Each row a text, ended by a zero or by its width.
        data_type: cn_data_type.
        lengths: (N,) how many bytes of each row count; all by default.

    Raises:
        TextError: Bytes that are no text of that encoding.
    """
    rows, width = matrix.shape
    limit = np.full(rows, width) if lengths is None else np.minimum(lengths, width).astype(np.int64)
    if data_type in _WIDE:
        texts = [matrix[row, : limit[row]].tobytes() for row in range(rows)]
        return _wide_text(texts, data_type)
    if width:
        zero = matrix == 0
        first = np.where(zero.any(axis=1), zero.argmax(axis=1), width)
        limit = np.minimum(limit, first)
    kept = np.arange(width) < limit[:, None]
    return _strings(np.ascontiguousarray(matrix)[kept], limit, data_type)


def joined_text(data: Bytes, lengths: Values, data_type: int) -> pa.Array:
    """Return (N,) strings of texts that lie one after the other; arguments and errors as in `fixed_text`."""
    stops = np.cumsum(lengths, dtype=np.int64)
    if data_type in _WIDE:
        starts = stops - lengths
        texts = [data[a:b].tobytes() for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        return _wide_text(texts, data_type)
    zeros = np.flatnonzero(data == 0)
    if zeros.size:
        owner = np.searchsorted(stops, zeros, "right")
        first = np.full(lengths.size, np.iinfo(np.int64).max)
        np.minimum.at(first, owner, zeros)
        starts = stops - lengths
        kept = np.minimum(first - starts, lengths)
        inside = np.arange(data.size) < np.repeat(starts + kept, lengths)
        return _strings(data[inside], kept, data_type)
    return _strings(data, lengths, data_type)


def _strings(data: Bytes, lengths: Values, data_type: int) -> pa.Array:
    offsets = np.zeros(lengths.size + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    ascii_only = not data.size or int(data.max()) < 0x80
    if not ascii_only and data_type == DataType.LATIN_1:
        whole = data.tobytes().decode("latin-1")
        bounds = offsets.tolist()
        return pa.array([whole[a:b] for a, b in itertools.pairwise(bounds)], pa.string())
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    array = pa.Array.from_buffers(pa.string(), lengths.size, buffers)
    if not ascii_only:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise TextError("a text value is not utf-8") from error
    return array


def _wide_text(texts: list[bytes], data_type: int) -> pa.Array:
    known: dict[bytes, str] = {}
    for text in texts:
        if text not in known:
            known[text] = _decoded(text, data_type)
    return pa.array([known[text] for text in texts], pa.string())


def _decoded(text: bytes, data_type: int) -> str:
    encoding = ENCODINGS.get(DataType(data_type), "utf-8")
    if data_type == DataType.BOM_TEXT:
        for mark, name in _BOMS:
            if text.startswith(mark):
                text, encoding = text[len(mark) :], name
                break
    if encoding.startswith("utf-16"):
        text = text[: len(text) // 2 * 2]
    try:
        return text.decode(encoding).partition("\0")[0]
    except UnicodeDecodeError:
        pass
    try:  # what follows the closing zero may be anything
        ended = text.partition(b"\0")[0] if encoding == "utf-8" else _until_zero_unit(text)
        return ended.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextError(f"a text value is not {encoding}") from error


def _until_zero_unit(text: bytes) -> bytes:
    units = np.frombuffer(text, np.uint16)
    zeros = np.flatnonzero(units == 0)
    return text[: 2 * int(zeros[0])] if zeros.size else text


def binary(data: Bytes, lengths: Values) -> pa.Array:
    """Return (N,) byte strings that lie one after the other in `data`."""
    offsets = np.zeros(lengths.size + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), lengths.size, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def even_binary(matrix: Bytes) -> pa.Array:
    """Return (N,) byte strings of (N, W) bytes."""
    rows, width = matrix.shape
    if width in _WORD_BYTES and not matrix.flags.c_contiguous:  # numpy copies a number faster than its bytes
        matrix = np.ascontiguousarray(matrix.view(f"u{width}")).view(np.uint8)
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    data = np.ascontiguousarray(matrix).reshape(-1)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
