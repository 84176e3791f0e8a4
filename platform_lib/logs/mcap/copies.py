"""Chunks of a damaged file that lie in it twice: a write that went astray leaves one that every checksum vouches for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.mcap.extent_table import ExtentTable, Numbers
from platform_lib.logs.mcap.summary import Summary
from platform_lib.logs.model import Report

_KEY = ("record_bytes", "start_ns", "stop_ns", "size_bytes")
_PIECE_BYTES = 1 << 20
_MOST_TOLD = 8


def settle_copies(source: ByteSource, extents: ExtentTable, summary: Summary | None, report: Report) -> bool:
    """Leave out copies that a sound index does not list, while it lists the first; name all others, which stay.

    Args:
        source: A damaged file.
        extents: Its chunks, ordered by place; what is left out is taken out of it.
        summary: What its index says.
        report: Told of every copy.

    Returns:
        Whether any was left out.
    """
    found = copies(source, extents)
    if not found:
        return False
    offset: list[int] = extents.column("offset").tolist()
    listed: set[int] = set()
    if summary is not None and summary.checked:
        listed = set(offset) - set(extents.unlike(summary.chunks).tolist())
    extra = {rank for rank, first in found if offset[first] in listed and offset[rank] not in listed}
    for rank, first in found[:_MOST_TOLD]:
        what = "it is left out, since the index does not list it" if rank in extra else "its messages are given twice"
        report.problems.append(
            f"the chunk at byte {offset[rank]} is byte for byte the one at byte {offset[first]}; {what}"
        )
    if len(found) > _MOST_TOLD:
        report.problems.append(f"{len(found) - _MOST_TOLD} more chunks are copies of others")
    if extra:
        extents.keep(np.setdiff1d(np.arange(len(extents)), list(extra)))
    return bool(extra)


def copies(source: ByteSource, extents: ExtentTable) -> list[tuple[int, int]]:
    """Return each chunk that is byte for byte an earlier one.

    Args:
        source: The file.
        extents: Its chunks, ordered by place.

    Returns:
        The ranks of a copy and of the first of its kind, by the copy's place in the file.
    """
    found = []
    for ranks in _alike(extents):
        kept: list[int] = []
        for rank in ranks:
            first = next((item for item in kept if _same(source, extents, item, rank)), None)
            if first is None:
                kept.append(rank)
            else:
                found.append((rank, first))
    return sorted(found)


def _alike(extents: ExtentTable) -> Iterator[list[int]]:
    """Yield the ranks of chunks that say the same of themselves, ascending; those alone of their kind are left out."""
    ranks = np.flatnonzero(extents.chunks())
    columns: list[Numbers] = [extents.column(name)[ranks] for name in _KEY]
    order = np.lexsort((ranks, *columns))
    if order.size < 2:
        return
    new = np.zeros(order.size, np.bool_)
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    for group in np.split(ranks[order], np.flatnonzero(new)):
        if group.size > 1:
            yield group.tolist()


def _same(source: ByteSource, extents: ExtentTable, one: int, other: int) -> bool:
    first, second = extents[one], extents[other]
    for at in range(0, first.record_bytes, _PIECE_BYTES):
        count = min(_PIECE_BYTES, first.record_bytes - at)
        if source.read_at(first.offset + at, count) != source.read_at(second.offset + at, count):
            return False
    return True
