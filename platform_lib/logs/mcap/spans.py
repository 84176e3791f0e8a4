"""The earliest and latest log time of each channel, from as few message indexes as prove it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.lookahead import Lookahead
from platform_lib.logs.mcap.summary import Summary

Span = tuple[int, int]
_MOST_KEPT = 1 << 16  # of answers that may be asked for again


def spans_from_message_index(view: Lookahead, summary: Summary) -> dict[int, Span]:
    """Return channel -> earliest and latest log time (inclusive), ns.

    Chunks are asked in the order of their times until none that is left could change the answer: one or two per
    channel, unless chunks overlap.

    Raises:
        CorruptLog: A message index is not where the summary says.
    """
    asked: dict[tuple[int, int], Span | None] = {}

    def span(rank: int, channel: int) -> Span | None:
        key = (rank, channel)
        if key not in asked:
            if len(asked) == _MOST_KEPT:
                asked.clear()
            asked[key] = _span(view, summary, rank, channel)
        return asked[key]

    first = _extremes(summary, lambda rank, channel: _at(span(rank, channel), 0), latest=False)
    last = _extremes(summary, lambda rank, channel: _at(span(rank, channel), 1), latest=True)
    return {
        channel: (first.get(channel, 0), last.get(channel, 0))
        for channel in np.flatnonzero(summary.chunks.used()).tolist()
    }


def _at(span: Span | None, which: int) -> int | None:
    return None if span is None else span[which]


def _extremes(summary: Summary, ask: Callable[[int, int], int | None], *, latest: bool) -> dict[int, int]:
    """Return each channel's earliest time, or its latest one."""
    chunks = summary.chunks
    bounds = chunks.column("stop_ns" if latest else "start_ns")
    missing = int(chunks.used().sum())
    found: dict[int, int] = {}
    # The channel whose time is the farthest so far: once no chunk that is left reaches beyond it, all times stand.
    farthest: int | None = None
    order = np.argsort(~bounds if latest else bounds, kind="stable")
    for rank, bound in zip(order.tolist(), bounds[order].tolist(), strict=True):
        if farthest is not None and len(found) == missing and _no_farther(farthest, bound, latest=latest):
            break
        for channel in chunks.index_places(rank):
            known = found.get(channel)
            if known is not None and _no_farther(known, bound, latest=latest):
                continue
            time = ask(rank, channel)
            if time is not None and (known is None or not _no_farther(known, time, latest=latest)):
                found[channel] = time
                farthest = None
        if farthest is None and len(found) == missing:
            farthest = min(found.values()) if latest else max(found.values())
    return found


def _no_farther(known: int, bound: int, *, latest: bool) -> bool:
    """Whether nothing of a chunk that reaches to `bound` can change what is known."""
    return bound <= known if latest else bound >= known


def _span(view: Lookahead, summary: Summary, rank: int, channel: int) -> Span | None:
    chunks = summary.chunks
    chunk, places = chunks[rank], chunks.index_places(rank)
    if len(places) == 1:
        return chunk.start_ns, chunk.stop_ns
    begin = chunk.offset + chunk.record_bytes
    region = view.read(begin, int(chunks.column("index_bytes")[rank]), alone=True)
    times = rec.parse_message_index(region[places[channel] :], channel)
    return (min(times), max(times)) if times else None
