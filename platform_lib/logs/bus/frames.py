"""Frames grouped by message: sorted once while a log is scanned, kept in memory up to a budget, then on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled
from platform_lib.errors import ConfigError
from platform_lib.logs.model import BATCH_ROWS

Index = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Small = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.uint16]

MEMORY_BYTES = 128 << 20
_COLUMNS = tuple(map(attrgetter, ("time_ns", "words", "length", "sender")))


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames in recorded order.

    Attributes:
        time_ns: (M,) int64, UTC.
        words: (M, K) uint64, the payload's bytes in order, zeros after its end.
        length: (M,) uint16, how many bytes each frame has.
        sender: (M,) uint8, the identifier's lowest byte: J1939's source address.
    """

    time_ns: Index
    words: Words
    length: Lengths
    sender: Small

    def where(self, keep: npt.NDArray[np.bool_] | Index | slice) -> Frames:
        """Return the chosen frames."""
        return Frames(self.time_ns[keep], self.words[keep], self.length[keep], self.sender[keep])

    def followed_by(self, other: Frames) -> Frames:
        """Return these frames and then others, which may have fewer words or more."""
        width = max(self.words.shape[1], other.words.shape[1])
        parts = [self, other]
        words = [np.pad(part.words, ((0, 0), (0, width - part.words.shape[1]))) for part in parts]
        return Frames(
            np.concatenate([part.time_ns for part in parts]),
            np.concatenate(words),
            np.concatenate([part.length for part in parts]),
            np.concatenate([part.sender for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Sorted:
    """Frames of several messages, sorted by message, those of one in recorded order.

    Attributes:
        first_slot: Number of the first message.
        stride: (S,) how many words of a frame each message keeps.
        rows: (S + 1,) where each message's frames start.
        starts: (S + 1,) where each message's words start.
        time_ns: (M,) int64.
        words: (W,) uint64.
        length: (M,) uint16.
        sender: (M,) uint8.
    """

    first_slot: int
    stride: Index
    rows: Index
    starts: Index
    time_ns: Index
    words: Words
    length: Lengths
    sender: Small

    def frames(self, slot: int) -> Frames:
        """Return one message's frames, as views; none if it is not among these messages."""
        at = slot - self.first_slot
        if not 0 <= at < self.stride.size:
            return Frames(self.time_ns[:0], self.words[:0].reshape(0, 1), self.length[:0], self.sender[:0])
        mine = slice(int(self.rows[at]), int(self.rows[at + 1]))
        words = self.words[self.starts[at] : self.starts[at + 1]].reshape(-1, int(self.stride[at]))
        return Frames(self.time_ns[mine], words, self.length[mine], self.sender[mine])

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""
        return self.time_ns.nbytes + self.words.nbytes + self.length.nbytes + self.sender.nbytes


@compiled
def _count(slot: Slots, out: Index) -> None:
    for frame in range(slot.size):
        if slot[frame] >= 0:
            out[slot[frame]] += 1


@compiled
def _scatter(
    slot: Slots,
    time_ns: Index,
    words: Words,
    length: Lengths,
    sender: Small,
    stride: Index,
    next_row: Index,
    next_word: Index,
    out_time: Index,
    out_words: Words,
    out_length: Lengths,
    out_sender: Small,
) -> None:
    width = words.shape[1]
    for frame in range(slot.size):
        mine = slot[frame]
        if mine < 0:
            continue
        row = next_row[mine]
        next_row[mine] = row + 1
        out_time[row] = time_ns[frame]
        out_length[row] = length[frame]
        out_sender[row] = sender[frame]
        first = next_word[mine]
        next_word[mine] = first + stride[mine]
        for word in range(stride[mine]):
            out_words[first + word] = words[frame, word] if word < width else np.uint64(0)


def sort_frames(slot: Slots, frames: Frames, stride: Index, first_slot: int) -> Sorted:
    """Sort frames by message, in time linear in their number.

    Args:
        slot: (N,) each frame's message, counted from `first_slot`; negative ones are dropped.
        frames: The frames.
        stride: (S,) how many words of a frame each message needs.
        first_slot: Number of the first message.
    """
    count = np.zeros(stride.size, np.int64)
    _count(slot, count)
    rows = np.concatenate([[0], np.cumsum(count)])
    starts = np.concatenate([[0], np.cumsum(count * stride)])
    kept = int(rows[-1])
    time_ns, words = np.empty(kept, np.int64), np.empty(int(starts[-1]), np.uint64)
    length, sender = np.empty(kept, np.uint16), np.empty(kept, np.uint8)
    given = (frames.time_ns, frames.words, frames.length, frames.sender)
    _scatter(slot, *given, stride, rows[:-1].copy(), starts[:-1].copy(), time_ns, words, length, sender)
    return Sorted(first_slot, stride, rows, starts, time_ns, words, length, sender)


class FrameStore:
    """Holds sorted frames; beyond `memory_bytes` they move to a temporary file without a name, which dies with us."""

    def __init__(self, memory_bytes: int) -> None:
        self._budget_bytes = memory_bytes
        self._memory: list[Sorted] = []
        self._memory_bytes = 0
        self._file: BinaryIO | None = None
        self._spilled: dict[int, list[tuple[int, int, int]]] = {}

    def add(self, part: Sorted) -> None:
        """Keep frames that follow those already kept."""
        if part.time_ns.size:
            self._memory.append(part)
            self._memory_bytes += part.size_bytes
        if self._memory_bytes > self._budget_bytes:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()
        try:
            last = max(part.first_slot + part.stride.size for part in self._memory)
            for slot in range(min(part.first_slot for part in self._memory), last):
                found = [part.frames(slot) for part in self._memory]
                self._write(slot, [frames for frames in found if frames.time_ns.size])
            self._file.flush()
        except OSError as error:
            raise ConfigError(
                f"bus frames need more room than there is ({error.strerror})",
                where=Path(tempfile.gettempdir()),
                remedy="set TMPDIR to a folder with room for the log's frames",
            ) from error
        self._memory, self._memory_bytes = [], 0

    def _write(self, slot: int, parts: list[Frames]) -> None:
        if self._file is None or not parts:
            return
        rows = sum(part.time_ns.size for part in parts)
        self._spilled.setdefault(slot, []).append((self._file.tell(), rows, parts[0].words.shape[1]))
        for column in _COLUMNS:
            for part in parts:
                self._file.write(np.ascontiguousarray(column(part)).data)

    def read(self, slot: int) -> Iterator[Frames]:
        """Yield a message's frames in recorded order, at most `BATCH_ROWS` at a time."""
        waiting: list[Frames] = []
        rows = 0
        for piece in self._pieces(slot):
            if waiting and rows + piece.time_ns.size > BATCH_ROWS:
                yield _joined(waiting)
                waiting, rows = [], 0
            waiting.append(piece)
            rows += piece.time_ns.size
        if waiting:
            yield _joined(waiting)

    def _pieces(self, slot: int) -> Iterator[Frames]:
        for place in self._spilled.get(slot, []):
            for first in range(0, place[1], BATCH_ROWS):
                yield self._load(place, first, min(first + BATCH_ROWS, place[1]))
        for part in self._memory:
            whole = part.frames(slot)
            for first in range(0, whole.time_ns.size, BATCH_ROWS):
                yield whole.where(slice(first, first + BATCH_ROWS))

    def _load(self, place: tuple[int, int, int], first: int, stop: int) -> Frames:
        at, rows, words = place
        count = stop - first
        time_ns = self._array(np.dtype(np.int64), at + 8 * first, count)
        at += 8 * rows
        payload = self._array(np.dtype(np.uint64), at + 8 * words * first, count * words).reshape(count, words)
        at += 8 * words * rows
        length = self._array(np.dtype(np.uint16), at + 2 * first, count)
        return Frames(time_ns, payload, length, self._array(np.dtype(np.uint8), at + 2 * rows + first, count))

    def _array(self, kind: np.dtype[Any], at: int, count: int) -> npt.NDArray[Any]:
        if self._file is None:
            raise ConfigError("the log is closed", remedy="read inside `with open_log(...)`")
        return np.frombuffer(os.pread(self._file.fileno(), count * kind.itemsize, at), kind)

    def close(self) -> None:
        """Give memory and disk back."""
        self._memory, self._memory_bytes = [], 0
        self._spilled = {}
        if self._file is not None:
            self._file.close()
            self._file = None


def _joined(parts: list[Frames]) -> Frames:
    if len(parts) == 1:
        return parts[0]
    return Frames(
        np.concatenate([part.time_ns for part in parts]),
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.length for part in parts]),
        np.concatenate([part.sender for part in parts]),
    )
