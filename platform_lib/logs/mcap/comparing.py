"""Comparing what an MCAP file says of itself with what was found in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from platform_lib.logs.mcap.layout import Layout
from platform_lib.logs.mcap.records import Statistics
from platform_lib.logs.mcap.summary import Summary


def contradictions(summary: Summary, layout: Layout) -> Iterator[str]:
    """Yield every way in which the summary contradicts the data section that was read in full.

    Channels and schemas that only the summary has are taken over.
    """
    definitions = layout.definitions
    for number, schema in summary.schemas.items():
        if definitions.schemas.setdefault(number, schema) != schema:
            yield f"schema {number} differs between data and summary"
    for number, channel in summary.channels.items():
        if definitions.channels.setdefault(number, channel) != channel:
            yield f"channel {number} differs between data and summary"
    for offset in summary.chunks.unlike(layout.extents).tolist():
        yield f"the chunk at byte {offset} that the summary lists is not there, or differs"
    if summary.statistics is not None:
        yield from _counts(summary.statistics, layout)


def _counts(said: Statistics, layout: Layout) -> Iterator[str]:
    counts = {number: channel.rows for number, channel in layout.channels.items() if channel.rows}
    chunks = int(layout.extents.chunks().sum())
    wrong = {
        "messages": (said.messages, sum(counts.values())),
        "chunks": (said.chunks, chunks),
        "attachments": (said.attachments, len(layout.attachments)),
        "metadata records": (said.metadata, layout.metadata_records),
    }
    for what, (expected, found) in wrong.items():
        if expected != found:
            yield f"the recorder counted {expected} {what}, the file holds {found}"
    by_channel = {number: count for number, count in said.by_channel.items() if count}
    if by_channel and by_channel != counts:
        yield "the recorder's count of messages per topic is not what the file holds"
