"""Loops that numpy cannot express, compiled by numba on first use and kept in its cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile `function` to machine code when it is first called, without the interpreter's lock.

    Array indices are not checked in it, so it may only touch what its caller has proven to be inside.
    """
    try:
        return cast("Function", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder to keep it in (a read-only installation without a home): once a process, then
        return cast("Function", numba.njit(nogil=True)(function))
