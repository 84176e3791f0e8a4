"""Merging sorted sequences of rows into one, holding no more than a batch of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from platform_lib.logs.model import BATCH_ROWS
from platform_lib.logs.payloads import Rows


def merged(sources: Sequence[Iterator[Rows]]) -> Iterator[Rows]:
    """Yield the rows of all sources in time order; rows of equal time in the order of the sources.

    Args:
        sources: Each in time order. One is read ahead only as far as the others' times ask for.
    """
    heads: list[Rows | None] = [next(source, None) for source in sources]
    while True:
        alive = [number for number, head in enumerate(heads) if head is not None]
        if len(alive) < 2:
            break
        # Nothing that is still to come can be earlier than the earliest of the last rows at hand.
        horizon, slowest = min((int(_head(heads, number).log_time_ns[-1]), number) for number in alive)
        ready = [(number, _before(_head(heads, number), horizon, inclusive=number <= slowest)) for number in alive]
        pieces = [_head(heads, number).take(slice(0, count)) for number, count in ready if count]
        for number, count in ready:
            left = _head(heads, number).take(slice(count, None))
            heads[number] = left if left.log_time_ns.size else next(sources[number], None)
        yield from _sorted(pieces)
    for number in alive:
        yield _head(heads, number)
        yield from sources[number]


def _head(heads: list[Rows | None], number: int) -> Rows:
    head = heads[number]
    if head is None:
        raise LookupError("a source that has ended")
    return head


def _before(rows: Rows, horizon: int, *, inclusive: bool) -> int:
    return int(np.searchsorted(rows.log_time_ns, horizon, "right" if inclusive else "left"))


def _sorted(pieces: list[Rows]) -> Iterator[Rows]:
    whole = Rows.chain(pieces)
    if len(pieces) > 1:
        whole = whole.take(np.argsort(whole.log_time_ns, kind="stable"))
    for first in range(0, whole.log_time_ns.size, BATCH_ROWS):
        yield whole.take(slice(first, first + BATCH_ROWS))
