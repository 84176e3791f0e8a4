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


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def soon_written(_typing: Any, data: Any, at: Any) -> Any:
    """Tell the processor, in compiled code, that ``data[at]`` is written soon, so that the write need not wait."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(start, [arguments[1]]), cgutils.voidptr_t)
        number = cgutils.int32_t
        # Source: LLVM language reference, llvm.prefetch: to write it, keep it in every cache, data.
        form = cgutils.ir.FunctionType(cgutils.ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0")
        builder.call(prefetch, [place, number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(data, at), generate
