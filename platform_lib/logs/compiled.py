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
