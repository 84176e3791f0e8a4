"""The as-of join: for each asked time the last sample at or before it, if it is not too old. One pass over both sides."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled
from platform_lib.errors import ContractError
from platform_lib.timeline.coverage import Coverage, CoverageArray, Int64Array, Selection

Keys = npt.NDArray[np.generic]
Number = TypeVar("Number", bound=np.generic)

_WHERE = "timeline.as_of"
# Keys within such a range count themselves; one slot a key and side costs nothing beside the join.
_ROOM = 1 << 16
_KNOWN, _NO_SAMPLES, _BEFORE, _AFTER, _GAP = (int(item) for item in Coverage)
_FOREVER = np.iinfo(np.int64).max


def as_of(
    timestamp_ns: Int64Array,
    at_ns: Int64Array,
    *,
    max_age_ns: int | None,
    key: Keys | None = None,
    at_key: Keys | None = None,
) -> Selection:
    """Select the last sample at or before each time: for states, which hold until they change.

    Args:
        timestamp_ns: int64 (N,), not decreasing; of equal times the last stands.
        at_ns: int64 (M,); not decreasing is fast, any other order is sorted first.
        max_age_ns: A state older than this is not known any more; None: it never gets old.
        key: (N,) whose state each sample is; None: there is only one.
        at_key: (M,) whose state is asked for.

    Raises:
        ContractError: Times decrease, or lengths differ.
    """
    places = np.arange(len(timestamp_ns), dtype=np.intp)
    index, coverage = as_of_values(timestamp_ns, places, at_ns, max_age_ns=max_age_ns, key=key, at_key=at_key)
    return Selection(index, coverage)


def as_of_values(
    timestamp_ns: Int64Array,
    values: npt.NDArray[Number],
    at_ns: Int64Array,
    *,
    max_age_ns: int | None,
    key: Keys | None = None,
    at_key: Keys | None = None,
) -> tuple[npt.NDArray[Number], CoverageArray]:
    """Join each time with the value of the last sample at or before it, as `as_of` selects it.

    Where the value alone is wanted this moves half the bytes of selecting first and taking then.

    Args:
        timestamp_ns: As for `as_of`.
        values: (N,) numbers or booleans, one a sample.
        at_ns: As for `as_of`.
        max_age_ns: As for `as_of`.
        key: As for `as_of`.
        at_key: As for `as_of`.

    Returns:
        Values (M,), 0 where none is known, and int8 (M,), a `Coverage` each.

    Raises:
        ContractError: Times decrease, lengths differ, or values are no numbers.
    """
    _check(timestamp_ns, at_ns, key, at_key, max_age_ns)
    if values.shape != timestamp_ns.shape or values.dtype.kind not in "biuf":
        raise ContractError(f"{len(timestamp_ns)} times, and {values.shape} values of {values.dtype}", where=_WHERE)
    age_ns = _FOREVER if max_age_ns is None else max_age_ns
    keys = None if key is None or at_key is None else _codes(key, at_key)
    found = _join(timestamp_ns, values, at_ns, age_ns, keys)
    if found is not None:
        return found
    order = np.argsort(at_ns, kind="stable")
    again = None if keys is None else (keys[0], keys[1][order], keys[2])
    ordered = _join(timestamp_ns, values, np.ascontiguousarray(at_ns[order]), age_ns, again)
    if ordered is None:
        raise ValueError("sorted times are not sorted")
    joined, coverage = np.empty_like(ordered[0]), np.empty_like(ordered[1])
    joined[order], coverage[order] = ordered
    return joined, coverage


def _check(
    timestamp_ns: Int64Array, at_ns: Int64Array, key: Keys | None, at_key: Keys | None, max_age_ns: int | None
) -> None:
    for name, times in (("timestamp_ns", timestamp_ns), ("at_ns", at_ns)):
        if times.ndim != 1 or times.dtype != np.int64:
            raise ContractError(f"{name} is not a one-dimensional int64 array", where=_WHERE)
    if (key is None) != (at_key is None):
        raise ContractError("only one side has keys", where=_WHERE)
    for times, keys in ((timestamp_ns, key), (at_ns, at_key)):
        if keys is not None and keys.shape != times.shape:
            raise ContractError(f"{len(times)} times and keys of shape {keys.shape}", where=_WHERE)
    if max_age_ns is not None and max_age_ns < 0:
        raise ContractError(f"a state of at most {max_age_ns} ns of age is none", where=_WHERE)
    if _decreases(timestamp_ns):
        raise ContractError(
            "sampled times decrease", where=_WHERE, remedy="sort the samples by time, all keys together"
        )


def _codes(key: Keys, at_key: Keys) -> tuple[Int64Array, Int64Array, int]:
    """Number the keys from 0; a key that no sample has becomes a number that none has."""
    if len(key) and np.issubdtype(key.dtype, np.integer) and np.issubdtype(at_key.dtype, np.integer):
        low, high = int(key.min()), int(key.max())
        fits = low >= np.iinfo(np.int64).min // 2 and high <= np.iinfo(np.int64).max // 2
        if fits and high - low <= _ROOM + 2 * len(key) and at_key.dtype.itemsize <= 8 and at_key.dtype.kind == "i":
            return _number(key, low), _number(at_key, low), high - low + 1
    names, codes = np.unique(key, return_inverse=True)
    place = np.clip(np.searchsorted(names, at_key), 0, max(len(names) - 1, 0))
    there = names[place] == at_key if len(names) else np.zeros(len(at_key), dtype=np.bool_)
    return codes.astype(np.int64), np.where(there, place, -1).astype(np.int64), len(names)


def _number(key: Keys, low: int) -> Int64Array:
    """Count from `low`; where it is 0 the keys are taken as they are."""
    return np.ascontiguousarray(key) if low == 0 else key.astype(np.int64) - low


def _join(
    timestamp_ns: Int64Array,
    values: npt.NDArray[Number],
    at_ns: Int64Array,
    max_age_ns: int,
    keys: tuple[Int64Array, Int64Array, int] | None,
) -> tuple[npt.NDArray[Number], CoverageArray] | None:
    """Join; None where the asked times decrease."""
    joined = np.empty(len(at_ns), dtype=values.dtype)
    coverage = np.empty(len(at_ns), dtype=np.int8)
    if keys is None:
        done = _merge(timestamp_ns, values, at_ns, max_age_ns, joined, coverage)
    else:
        codes, at_codes, count = keys
        final = np.full(count, -1, dtype=np.int64)
        final[codes] = np.arange(len(codes))
        latest = np.full(count, -1, dtype=np.int64)
        done = _merge_by_key(timestamp_ns, values, codes, at_ns, at_codes, max_age_ns, latest, final, joined, coverage)
    return (joined, coverage) if done else None


@compiled
def _decreases(times: Int64Array) -> bool:
    found = False
    for row in range(1, len(times)):
        found |= times[row] < times[row - 1]
    return found


@compiled
def _merge(
    times: Int64Array,
    values: npt.NDArray[Number],
    at: Int64Array,
    max_age: int,
    joined: npt.NDArray[Number],
    coverage: CoverageArray,
) -> bool:
    """Fill `joined` and `coverage`; stop and say False where `at` decreases."""
    following = 0
    before = at[0] if len(at) else 0
    for row in range(len(at)):
        now = at[row]
        if now < before:
            return False
        before = now
        while following < len(times) and times[following] <= now:
            following += 1
        if following == 0:
            joined[row] = 0
            coverage[row] = _BEFORE if len(times) else _NO_SAMPLES
        elif now - times[following - 1] > max_age:
            joined[row] = 0
            coverage[row] = _GAP if following < len(times) else _AFTER
        else:
            joined[row] = values[following - 1]
            coverage[row] = _KNOWN
    return True


@compiled
def _merge_by_key(
    times: Int64Array,
    values: npt.NDArray[Number],
    codes: Int64Array,
    at: Int64Array,
    at_codes: Int64Array,
    max_age: int,
    latest: Int64Array,
    final: Int64Array,
    joined: npt.NDArray[Number],
    coverage: CoverageArray,
) -> bool:
    """Do the same with a latest sample for each key; `codes` lie in ``[0, len(latest))``, `at_codes` may not."""
    following = 0
    before = at[0] if len(at) else 0
    for row in range(len(at)):
        now = at[row]
        if now < before:
            return False
        before = now
        while following < len(times) and times[following] <= now:
            latest[codes[following]] = following
            following += 1
        code = at_codes[row]
        joined[row] = 0
        if code < 0 or code >= len(final) or final[code] < 0:
            coverage[row] = _NO_SAMPLES
        elif latest[code] < 0:
            coverage[row] = _BEFORE
        elif now - times[latest[code]] > max_age:
            coverage[row] = _GAP if latest[code] < final[code] else _AFTER
        else:
            joined[row] = values[latest[code]]
            coverage[row] = _KNOWN
    return True
