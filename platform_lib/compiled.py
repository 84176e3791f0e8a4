"""Loops that numpy cannot express, compiled by numba on first use and kept in its cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import cgutils, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile `function` to machine code when it is first called, without the interpreter's lock.

    Array indices are not checked in it, so it may only touch what its caller has proven to be inside.
    """
    return _compiled(function)


def inner(function: Function) -> Function:
    """Do the same for a short loop that compiled code calls often, and that makes no array.

    It does not count the references to the arrays it is given, which for each costs as much as some ten numbers.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Function, **options: bool) -> Function:
    try:
        return cast("Function", numba.njit(cache=True, nogil=True, **options)(function))
    except RuntimeError:  # no folder to keep it in (a read-only installation without a home): once a process, then
        return cast("Function", numba.njit(nogil=True, **options)(function))


TURNED_ROWS, TURNED_BYTES = 16, 32
"""How many bytes of how many rows `turn` turns."""


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def turn(_typing: Any, data: Any, at: Any, step: Any, out: Any, to: Any, width: Any) -> Any:
    """Turn rows into columns: ``out[to + width * i + j] = data[at + step * j + i]`` for every byte i of every row j.

    A compiled loop does that byte by byte. Here it is 64 shuffles of whole rows, which every processor has: each of
    four rounds interleaves the bytes of the rows j and j + 8, those of both halves of a row on their own.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ir, half = cgutils.ir, TURNED_ROWS // 2

        def places(array: int, first: Any, gap: Any, count: int, size: int) -> list[Any]:
            start = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            kind, found, place = ir.VectorType(ir.IntType(8), size).as_pointer(), [], first
            for _ in range(count):
                found.append(builder.bitcast(builder.gep(start, [place]), kind))
                place = builder.add(place, gap)
            return found

        def lanes(numbers: list[int]) -> Any:
            return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)

        orders = [
            lanes([side + lane for top in (0, 16) for lane in range(top + part, top + part + 8) for side in (0, 32)])
            for part in (0, 8)
        ]
        rows = [
            builder.load(place, align=1) for place in places(0, arguments[1], arguments[2], TURNED_ROWS, TURNED_BYTES)
        ]
        for _ in range(4):
            pairs = [(rows[row], rows[row + half]) for row in range(half)]
            rows = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in orders]
        halves = [lanes(list(range(top, top + 16))) for top in (0, 16)]
        planes = [builder.shuffle_vector(row, row, side) for side in halves for row in rows]
        for plane, place in zip(planes, places(3, arguments[4], arguments[5], TURNED_BYTES, TURNED_ROWS), strict=True):
            builder.store(plane, place, align=1)
        return context.get_dummy_value()

    return types.void(data, at, step, out, to, width), generate
