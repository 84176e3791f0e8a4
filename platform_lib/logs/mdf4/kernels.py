"""Loops over bytes that numpy cannot express. Their callers have proven every index."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
_EIGHT = np.dtype([("value", "<u8")])
_MOST_TEXT_BYTES = (1 << 31) - 1


def gather(data: Bytes, starts: Values, lengths: Values) -> Bytes:
    """Return the stretches of `data` that begin at `starts`, one after the other."""
    out = np.empty(int(lengths.sum()), np.uint8)
    _gather(data, starts, lengths, out)
    return out


@compiled
def _gather(data: Bytes, starts: Values, lengths: Values, out: Bytes) -> None:
    at = 0
    for row in range(starts.size):
        begin = starts[row]
        for byte in range(lengths[row]):
            out[at + byte] = data[begin + byte]
        at += lengths[row]


@compiled
def mark(choices: Values, seen: Values) -> None:
    """Set ``seen`` at every place of (N,) `choices`."""
    for row in range(choices.size):
        seen[choices[row]] = True


class MissingWord(Exception):  # noqa: N818 - what is asked for comes after
    """A choice that no word was made for yet."""


def spell(choices: Values, codes: Values, bounds: Values, words: Bytes) -> tuple[Values, Bytes]:
    """Write chosen words one after the other.

    Args:
        choices: (N,) places in `codes`.
        codes: (K,) int32, each the number of a word, -1 for none.
        bounds: (W + 1,) int64, where each word starts in `words`, and where the last one ends.
        words: Their bytes, and eight more.

    Returns:
        (N + 1,) int32, where each starts and where the last one ends, and their bytes.

    Raises:
        MissingWord: One that is chosen has no number.
        OverflowError: More bytes than 32 bits can count.
    """
    offsets = np.empty(choices.size + 1, np.int32)
    size = _measure(choices, codes, bounds, offsets)
    if size < 0:
        raise MissingWord
    if size > _MOST_TEXT_BYTES:
        raise OverflowError(f"more than {_MOST_TEXT_BYTES} bytes of text in one batch")
    out = np.empty(size + _EIGHT.itemsize, np.uint8)
    _spell(choices, codes, bounds, _eights(words), offsets, _eights(out))
    return offsets, out[:size]


def spell_short(choices: Values, lengths: Values, words: Values) -> tuple[Values, Bytes]:
    """Do what `spell` does where no word is longer than eight bytes: in one pass, each word one number.

    Args:
        choices: (N,) places in `lengths` and `words`; fewer than 2^28.
        lengths: (K,) int32, bytes of each word, -1 for none.
        words: (K,) uint64, their bytes, the first the lowest.

    Raises:
        MissingWord: One that is chosen has no number.
    """
    offsets = np.empty(choices.size + 1, np.int32)
    out = np.empty((choices.size + 1) * _EIGHT.itemsize, np.uint8)
    size = _spell_short(choices, lengths, words, offsets, _eights(out))
    if size < 0:
        raise MissingWord
    return offsets, out[:size]


@compiled
def _spell_short(choices: Values, lengths: Values, words: Values, offsets: Values, out: Values) -> int:
    to: int = 0
    offsets[0] = 0
    for row in range(choices.size):
        choice = choices[row]
        length = lengths[choice]
        if length < 0:
            return -1
        out[to].value = words[choice]  # what is written past a word, the next one overwrites
        to += length
        offsets[row + 1] = to
    return to


def _eights(data: Bytes) -> Values:
    """Return the eight bytes at every byte: in a structure, so that they are not taken to be aligned."""
    seen: Values = np.ndarray((data.size - _EIGHT.itemsize + 1,), _EIGHT, data, 0, (1,))
    return seen


@compiled
def _measure(choices: Values, codes: Values, bounds: Values, offsets: Values) -> int:
    size: int = 0
    offsets[0] = 0
    for row in range(choices.size):
        code = codes[choices[row]]
        if code < 0:
            return -1
        size += bounds[code + 1] - bounds[code]
        if size > _MOST_TEXT_BYTES:
            return size
        offsets[row + 1] = size
    return size


@compiled
def _spell(choices: Values, codes: Values, bounds: Values, words: Values, offsets: Values, out: Values) -> None:
    for row in range(choices.size):
        code, to = codes[choices[row]], offsets[row]
        begin, end = bounds[code], bounds[code + 1]
        out[to].value = words[begin].value  # what is written past a word, the next one overwrites
        while begin + 8 < end:
            begin, to = begin + 8, to + 8
            out[to].value = words[begin].value


BROKEN, UNKNOWN = 1, 2
"""Why `walk` stopped before the end: a record that is not all there, an id that no group has."""


@compiled
def walk(data: Bytes, id_bytes: int, ids: Values, sizes: Values, rows: Values, taken: Values) -> tuple[int, int, int]:
    """Count the records of each group in mixed data.

    Args:
        data: Records, each its id, then its bytes, or for variable ones a 32-bit length and that many bytes.
        id_bytes: Bytes of an id.
        ids: (G,) uint64, the groups' ids.
        sizes: (G,) int64, bytes of a record without id; -1 for variable ones.
        rows: (G,) int64, grown by the records of each group.
        taken: (G,) int64, grown by their bytes without id.

    Returns:
        Where the first record that was not counted starts, why, and how many bytes it would take.
    """
    at = 0
    size = data.size
    while at + id_bytes <= size:
        group = _group(data, at, id_bytes, ids)
        if group < 0:
            return at, UNKNOWN, 0
        count = sizes[group]
        if count < 0:
            if at + id_bytes + 4 > size:
                return at, BROKEN, id_bytes + 4
            count = 4 + _length(data, at + id_bytes)
        if at + id_bytes + count > size:
            return at, BROKEN, id_bytes + count
        rows[group] += 1
        taken[group] += count
        at += id_bytes + count
    return at, 0 if at == size else BROKEN, id_bytes


@compiled
def extract(data: Bytes, id_bytes: int, ids: Values, sizes: Values, wanted: int, out: Bytes) -> int:
    """Copy one group's records, without ids, from mixed data that `walk` has gone through; return their bytes."""
    at, to = 0, 0
    while at + id_bytes <= data.size:
        group = _group(data, at, id_bytes, ids)
        if group < 0:
            return to
        at += id_bytes
        count = sizes[group]
        if count < 0:
            count = 4 + _length(data, at)
        if group == wanted:
            if at + count > data.size or to + count > out.size:
                return to
            for byte in range(count):
                out[to + byte] = data[at + byte]
            to += count
        at += count
    return to


@compiled
def _group(data: Bytes, at: int, id_bytes: int, ids: Values) -> int:
    number = np.uint64(0)
    for byte in range(id_bytes):
        number |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    for group in range(ids.size):
        if ids[group] == number:
            return group
    return -1


@compiled
def _length(data: Bytes, at: int) -> int:
    length = 0
    for byte in range(3, -1, -1):
        length = length * 256 + data[at + byte]
    return length
