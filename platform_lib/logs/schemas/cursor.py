"""Where each of many messages is being read: CDR's alignment, and the proof that a read stays inside its message.

Source: OMG DDS-XTypes 1.3, 7.4.1 and 7.4.2 (XCDR versions 1 and 2); ROS 1 serialisation, http://wiki.ros.org/msg (2026-11-20).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from platform_lib.logs.schemas.faulty import FaultyPayload
from platform_lib.logs.schemas.kinds import UINT32, Array, Extensibility, Primitive, Struct, Type, Union
from platform_lib.logs.schemas.memory import Bytes, Index, Memory
from platform_lib.logs.schemas.walk import Program, walk

Result = TypeVar("Result")
_ENDS = "a message ends inside a field"


@dataclass(frozen=True, slots=True)
class Wire:
    """How payloads are written.

    Attributes:
        order: ``"<"`` or ``">"``.
        plain: ROS 1: no alignment, strings without a closing NUL.
        version: Of XCDR. In version 2 nothing is aligned to more than 4 bytes, and what may grow says how long it is.
        root: Of version 2, how the message may grow, whatever its definition says.
        extensibility: Of version 2, how types inside it may grow whose definition does not say.
    """

    order: str
    plain: bool = False
    version: int = 1
    root: Extensibility = "final"
    extensibility: Extensibility = "final"

    @property
    def most_align(self) -> int:
        """The most bytes that a value is aligned to."""
        return 4 if self.version == 2 else 8

    def grows(self, kind: Struct | Union) -> Extensibility:
        """Return how a type may grow."""
        return kind.extensibility or self.extensibility

    def delimited(self, kind: Type) -> bool:
        """Whether a value says how long it is before it begins (DHEADER)."""
        if self.version == 1:
            return False
        match kind:
            case Struct() | Union():
                return self.grows(kind) != "final"
            case Array():
                item = kind.item
                while isinstance(item, Array) and item.dimension:
                    item = item.item
                # An enumeration is no primitive type. Source: DDS-XTypes 1.3, 7.4.3.5.3, rules 9 to 12.
                return not kind.dimension and not (isinstance(item, Primitive) and not item.choices)
        return False


class Cursor:
    """A position in each of M messages, moved on by every read.

    As long as all messages have had the same layout, one number says where they are (`step`), and values are copied
    with a stride where the messages lie evenly. The first string or sequence whose length differs ends that.
    """

    def __init__(
        self,
        memory: Memory,
        wire: Wire,
        origin: Index,
        end: Index,
        *,
        pos: Index | None = None,
        owner: Index | None = None,
        last: Index | None = None,
    ) -> None:
        """Stand at the start of messages, or at values inside them.

        Args:
            memory: Where they are.
            wire: How they are written.
            origin: (M,) where each message's body starts, what alignment counts from.
            end: (M,) where it stops.
            pos: (M,) where to stand; at `origin` by default.
            owner: (M,) which payload each position is in; its own number by default.
            last: (M,) where each message's body stops, if `memory` holds it only up to `end`.
        """
        self.memory = memory
        self.wire = wire
        self.rows = int(origin.size)
        self._origin, self._end, self._owner = origin, end, owner
        self._last = end if last is None else last
        self._pos = origin if pos is None else pos
        self._step = _same(self._pos - origin)
        self._stride = None if self._step is None else memory.stride(origin)
        self._shortest = int((end - origin).min(initial=np.iinfo(np.int64).max))

    def part(self, chosen: Index, pos: Index | None = None) -> Cursor:
        """Return a cursor of some rows (any number of times each), at their own positions or at `pos`."""
        owner = chosen if self._owner is None else self._owner[chosen]
        pos = self.pos[chosen] if pos is None else pos
        last = self._last[chosen]
        return Cursor(self.memory, self.wire, self._origin[chosen], self._end[chosen], pos=pos, owner=owner, last=last)

    def near(self) -> tuple[Cursor, Index]:
        """Return a cursor over copies of the bytes that follow, and (M,) how far its positions are from these."""
        pos = self.pos
        memory, place, width = self.memory.near(pos)
        shift = place - pos
        end, last = place + np.minimum(width, self._end - pos), self._last + shift
        return Cursor(memory, self.wire, self._origin + shift, end, pos=place, owner=self._owner, last=last), shift

    @property
    def pos(self) -> Index:
        """The next byte of every message."""
        return self._pos if self._step is None else self._origin + self._step

    @property
    def left(self) -> Index:
        """How many bytes are left of every message, whether they are in memory or not."""
        return self._last - self.pos

    def move(self, pos: Index, rows: Index | slice = slice(None)) -> None:
        """Continue at `pos`, for all or some rows; refuse to pass a message's end."""
        if self._step is not None:
            self._pos, self._step = self.pos, None
        self._pos = self._pos.copy()
        self._pos[rows] = pos
        self._check(self._pos)

    def fail(self, bad: npt.NDArray[np.bool_], what: str, remedy: str | None = None) -> None:
        """Refuse the first message for which `bad` holds, if there is one."""
        if bool(bad.any()):
            row = int(np.argmax(bad))
            raise FaultyPayload.at(row if self._owner is None else int(self._owner[row]), what, remedy=remedy)

    def jump(self, pos: Index) -> None:
        """Continue at `pos`, which another cursor over the same messages has reached."""
        self._pos, self._step = pos, None

    def peek(self, length: Index) -> Bytes:
        """Return the next `length` bytes of every message, joined, and stay."""
        self._check(self.pos + length)
        return self.memory.pieces(self.pos, length)

    def skip(self, length: Index) -> None:
        """Move on by `length` bytes, which need not be in memory; refuse to pass the message's end."""
        stop = self.pos + length
        self.fail(stop > self._last, _ENDS)
        if self._step is not None and (step := _same(length)) is not None:
            self._step += step
        else:
            self._pos, self._step = stop, None

    def _check(self, stop: Index) -> None:
        self.fail(stop > self._end, _ENDS)

    def walk(self, steps: Program, count: Index, starts: Index) -> Index:
        """Pass ``count[r]`` values of a program in every message; `starts`, unless empty, takes where each begins."""
        stop = self.pos.copy()
        first = np.cumsum(count) - count
        wire = np.array([self.wire.order == ">", self.wire.plain, self.wire.version == 2])
        for raw, rows, base in self.memory.split(stop):
            pos, origin, end = stop[rows] - base, self._origin[rows] - base, self._end[rows] - base
            mine = np.empty(int(count[rows].sum()) if starts.size else 0, np.int64)
            places = np.cumsum(count[rows]) - count[rows]
            bad = walk(raw, pos, origin, end, steps, count[rows], places, mine, wire)
            if bad >= 0:
                self.fail(np.arange(self.rows) == np.arange(self.rows)[rows][bad], _ENDS)
            stop[rows] = pos + base
            if starts.size:
                starts[np.repeat(first[rows] - places, count[rows]) + np.arange(mine.size)] = mine + base
        if self._step is not None and (step := _same(stop - self._origin)) is not None:
            self._step = step
        else:
            self._pos, self._step = stop, None
        return starts

    def align(self, size_bytes: int, rows: npt.NDArray[np.bool_] | None = None) -> None:
        """Move to the next multiple of `size_bytes`, all messages or only `rows`."""
        size_bytes = min(size_bytes, self.wire.most_align)
        if self.wire.plain or size_bytes <= 1:
            return
        if self._step is not None and (rows is None or bool(rows.all())):
            self._step += -self._step % size_bytes
            return
        pos = self.pos
        aligned = pos + (self._origin - pos) % size_bytes
        self._pos, self._step = aligned if rows is None else np.where(rows, aligned, pos), None

    def take(self, length_bytes: int | Index) -> Index:
        """Move on by `length_bytes` and return where each message was; refuse to pass its end."""
        start = self.pos
        if self._step is not None and (step := _same(length_bytes)) is not None:
            if self._step + step > self._shortest:
                self._check(start + step)
            self._step += step
            return start
        stop = start + length_bytes
        self._check(stop)
        self._pos, self._step = stop, None
        return start

    def numbers(self, kind: Primitive, count: int = 1) -> npt.NDArray[Any]:
        """Read `count` numbers a message, in native byte order: (M,) for one, else (M, count)."""
        self.align(kind.size_bytes)
        dtype = np.dtype(self.wire.order + ("u1" if kind.code == "b1" else kind.code))
        before = self._step
        start = self.take(kind.size_bytes * count)
        if before is not None and self._stride is not None and self.rows:
            values = self.memory.every(int(self._origin[0]) + before, self._stride, self.rows, dtype, count)
        else:
            values = self.memory.gather(start, dtype, count)
        values = native(values, kind)
        return values[:, 0] if count == 1 else values

    def length(self) -> Index:
        """Read the 32-bit length of a string or sequence."""
        return self.numbers(UINT32).astype(np.int64)

    def delimiter(self) -> Index:
        """Read how long the value is that follows (DHEADER), and return where it ends."""
        size = self.length()
        self.fail(size > self.left, "a message ends inside a field")
        return self.pos + size

    def bytes(self, length: Index) -> Bytes:
        """Read `length` bytes of every message, joined."""
        before = self._step
        same = _same(length) if before is not None and self._stride is not None else None
        start = self.take(length)
        if before is not None and self._stride is not None and same:
            first = int(self._origin[0]) + before
            return self.memory.every(first, self._stride, self.rows, np.dtype("u1"), same).reshape(-1)
        return self.memory.pieces(start, length)


class Nearby:
    """Reads a cursor's messages through copies of what comes next, where they lie in many buffers.

    A read of several buffers costs as much as a hundred of one. What is longer than the copies is read where it lies.
    What a cursor over copies says of `left` is true of the message; not all of it can be read there.
    """

    def __init__(self, whole: Cursor) -> None:
        self._whole = whole
        self._near: tuple[Cursor, Index] | None = None

    def read(self, value: Callable[[Cursor], Result]) -> Result:
        """Return what `value` reads from a cursor at the next field, and stand behind that field."""
        if not self._whole.memory.scattered:
            return value(self._whole)
        near, shift = self._near or self._whole.near()
        try:
            result = value(near)
        except FaultyPayload:  # it is longer than the copies, or the payload is faulty: there it will be seen
            self._near = None
            return value(self._whole)
        self._near = near, shift
        self._whole.jump(near.pos - shift)
        return result


def native(values: npt.NDArray[Any], kind: Primitive) -> npt.NDArray[Any]:
    """Return wire values as this machine holds them."""
    if kind.code == "b1":
        flags: npt.NDArray[np.bool_] = values != 0
        return flags
    held: npt.NDArray[Any] = values.astype(values.dtype.newbyteorder("="), copy=False)
    return held


def _same(length: int | Index) -> int | None:
    """Return the one value that all have, if they have."""
    if isinstance(length, int):
        return length
    if not length.size:
        return 0
    first = int(length[0])
    return first if bool((length == first).all()) else None
