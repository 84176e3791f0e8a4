"""Passing over values whose size only their bytes tell: compiled, so that no sequence is too long to walk.

A type becomes a short program of steps; running it moves a position from one value of the type to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled
from platform_lib.logs.schemas.kinds import Array, Primitive, Struct, Text, Type, Union

if TYPE_CHECKING:
    from platform_lib.logs.schemas.cursor import Wire

Index = npt.NDArray[np.int64]
Program = npt.NDArray[np.int64]

# Steps (code, a, b): numbers of `a` bytes each, `b` of them; a string; a sequence of numbers of `a` bytes each; a loop
# over a sequence or (`a` rounds) a fixed array, whose body ends before step `b`; the end of a loop's body.
_NUMBERS, _TEXT, _NUMBER_SEQUENCE, _SEQUENCE, _REPEAT, _END = range(6)
_DEEPEST = 64


def program(kind: Type, wire: Wire) -> Program | None:
    """Return the steps over one value of `kind`; ``None`` if its size is no matter of its type: a wstring, a union."""
    steps: list[tuple[int, int, int]] = []
    if not _add(kind, steps, 0, wire):
        return None
    return np.array(steps, np.int64).reshape(-1, 3)


def _add(kind: Type, steps: list[tuple[int, int, int]], depth: int, wire: Wire) -> bool:
    plain = wire.plain
    if wire.delimited(kind):
        steps.append((_NUMBERS, 4, 1))
    match kind:
        case Union():
            return False
        case Struct() if wire.version == 2 and wire.grows(kind) == "mutable":
            return False
        case Primitive():
            steps.append((_NUMBERS, kind.size_bytes, 1))
        case Array() if least_bytes(kind.item, plain=plain) == 0:  # its elements take no bytes, its length does
            steps.extend([(_NUMBERS, 4, 1)] if kind.count is None else [])
        case Text():
            steps.append((_TEXT, 1, 0))
            return not kind.wide
        case Struct() if not kind.fields:
            steps.extend([] if plain else [(_NUMBERS, 1, 1)])
        case Struct():
            return all(_add(item, steps, depth, wire) for _, item in kind.fields)
        case Array(item=Primitive() as item):
            code = _NUMBER_SEQUENCE if kind.count is None else _NUMBERS
            if kind.count != 0:
                steps.append((code, item.size_bytes, kind.count or 0))
        case Array():
            at = len(steps)
            steps.append((_SEQUENCE, 0, 0))
            whole = depth < _DEEPEST and _add(kind.item, steps, depth + 1, wire)
            steps.append((_END, 0, at))
            steps[at] = (_SEQUENCE if kind.count is None else _REPEAT, kind.count or 0, len(steps))
            return whole
    return True


def least_bytes(kind: Type, *, plain: bool) -> int:
    """Return the fewest bytes that a value can take."""
    match kind:
        case Primitive():
            return kind.size_bytes
        case Text():
            return 4
        case Union():
            return kind.tag.size_bytes
        case Struct():
            return sum(least_bytes(item, plain=plain) for _, item in kind.fields) if kind.fields else int(not plain)
        case Array():
            return 4 if kind.count is None else kind.count * least_bytes(kind.item, plain=plain)


@compiled
def walk(
    raw: npt.NDArray[np.uint8],
    pos: Index,
    origin: Index,
    end: Index,
    steps: Program,
    count: Index,
    first: Index,
    starts: Index,
    wire: npt.NDArray[np.bool_],
) -> int:
    """Pass ``count[r]`` values in every message.

    Args:
        raw: The bytes.
        pos: (M,) where the first value begins, moved past the last one.
        origin: (M,) what alignment counts from.
        end: (M,) where the message stops.
        steps: The program of one value.
        count: (M,) how many values.
        first: (M,) where in `starts` each message's values go.
        starts: Filled with where every value begins; nothing is written if it is empty.
        wire: Big-endian, no alignment, XCDR version 2.

    Returns:
        The first message that ends inside a value, or -1.
    """
    rounds = np.zeros(_DEEPEST + 1, np.int64)
    for row in range(pos.size):
        at = pos[row]
        for number in range(count[row]):
            if starts.size:
                starts[first[row] + number] = at
            at = _over(raw, at, origin[row], end[row], steps, rounds, wire)
            if at < 0:
                return row
        pos[row] = at
    return -1


@compiled
def _over(
    raw: npt.NDArray[np.uint8],
    at: int,
    origin: int,
    end: int,
    steps: Program,
    rounds: Index,
    wire: npt.NDArray[np.bool_],
) -> int:
    """Pass one value; return where it ends, or -1 if the message ends before."""
    depth = step = 0
    while step < steps.shape[0]:
        code, size, count = steps[step, 0], steps[step, 1], steps[step, 2]
        step += 1
        if code == _END:
            rounds[depth] -= 1
            if rounds[depth] > 0:
                step = count + 1
            else:
                depth -= 1
            continue
        if code == _REPEAT:
            length = size
        elif code == _NUMBERS:
            length = count
        else:
            at = _aligned(at, origin, 4, wire)
            if at + 4 > end:
                return -1
            length = _length(raw, at, wire)
            at += 4
        if code == _SEQUENCE or code == _REPEAT:
            if length == 0:
                step = count
            else:
                depth += 1
                rounds[depth] = length
        elif length > 0:
            at = _aligned(at, origin, size, wire) + size * length
            if at > end:
                return -1
    return at


@compiled
def _aligned(at: int, origin: int, size: int, wire: npt.NDArray[np.bool_]) -> int:
    if wire[2] and size > 4:
        size = 4
    return at if wire[1] else at + (origin - at) % size


@compiled
def _length(raw: npt.NDArray[np.uint8], at: int, wire: npt.NDArray[np.bool_]) -> int:
    length = np.int64(0)
    for place in range(4):
        length |= np.int64(raw[at + place]) << (8 * (3 - place if wire[0] else place))
    return int(length)
