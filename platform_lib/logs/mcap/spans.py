"""The earliest and latest log time of each channel, from as few message indexes as prove it."""

from __future__ import annotations

from collections import defaultdict

from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.lookahead import Lookahead
from platform_lib.logs.mcap.summary import Summary

Span = tuple[int, int]


def spans_from_message_index(view: Lookahead, summary: Summary) -> dict[int, Span]:
    """Return channel -> earliest and latest log time (inclusive), ns.

    Chunks are asked in the order of their times until none that is left could change the answer: one or two per
    channel, unless chunks overlap.

    Raises:
        CorruptLog: A message index is not where the summary says.
    """
    users: dict[int, list[rec.ChunkIndex]] = defaultdict(list)
    for index in summary.chunks.values():
        for channel in index.message_index:
            users[channel].append(index)
    asked: dict[tuple[int, int], Span | None] = {}

    def span(index: rec.ChunkIndex, channel: int) -> Span | None:
        key = (index.chunk.offset, channel)
        if key not in asked:
            asked[key] = _span(view, index, channel)
        return asked[key]

    result: dict[int, Span] = {}
    for channel, indexes in users.items():
        first: int | None = None
        for index in sorted(indexes, key=lambda item: item.chunk.start_ns):
            if first is not None and index.chunk.start_ns >= first:
                break
            found = span(index, channel)
            first = found[0] if found and (first is None or found[0] < first) else first
        last: int | None = None
        for index in sorted(indexes, key=lambda item: item.chunk.stop_ns, reverse=True):
            if last is not None and index.chunk.stop_ns <= last:
                break
            found = span(index, channel)
            last = found[1] if found and (last is None or found[1] > last) else last
        result[channel] = (first or 0, last or 0)
    return result


def _span(view: Lookahead, index: rec.ChunkIndex, channel: int) -> Span | None:
    if len(index.message_index) == 1:
        return index.chunk.start_ns, index.chunk.stop_ns
    begin = index.chunk.offset + index.chunk.record_bytes
    region = view.read(begin, index.message_index_bytes, alone=True)
    times = rec.parse_message_index(region[index.message_index[channel] - begin :], channel)
    return (min(times), max(times)) if times else None
