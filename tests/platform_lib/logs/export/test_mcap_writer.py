from __future__ import annotations

import io
import itertools
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Chunk, ChunkIndex, MessageIndex
from mcap.stream_reader import StreamReader

from platform_lib.logs.export.mcap_writer import McapWriter

Message = tuple[int, bytes]
CHUNK_BYTES = 500


def written(topics: list[list[list[Message]]]) -> bytes:
    stream = io.BytesIO()
    writer = McapWriter(stream, CHUNK_BYTES, "test")
    for number, batches in enumerate(topics):
        writer.begin_topic(f"/{number}", f"t.M{number}", b"definition", {"kind": "signal"})
        for batch in batches:
            times = np.array([time for time, _ in batch], np.int64)
            writer.add(times, pa.array([data for _, data in batch], pa.binary()))
    writer.end_topic()
    writer.attach(7, "a.txt", "text/plain", b"attached")
    writer.tell("words", {"who": "me"})
    writer.finish()
    return stream.getvalue()


def read(data: bytes) -> tuple[dict[str, list[Message]], Any]:
    reader = make_reader(io.BytesIO(data), validate_crcs=True)
    found: dict[str, list[Message]] = {}
    for schema, channel, message in reader.iter_messages(log_time_order=False):
        assert schema is not None
        assert (schema.name, schema.data) == (f"t.M{channel.topic[1:]}", b"definition")
        assert message.sequence == len(found.setdefault(channel.topic, []))
        assert message.publish_time == message.log_time
        found[channel.topic].append((message.log_time, message.data))
    assert [(item.name, item.data) for item in reader.iter_attachments()] == [("a.txt", b"attached")]
    assert [(item.name, item.metadata) for item in reader.iter_metadata()] == [("words", {"who": "me"})]
    return found, reader.get_summary()


batches = st.lists(st.tuples(st.integers(0, 2**63 - 1), st.binary(max_size=300)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(topics=st.lists(st.lists(batches, max_size=4), max_size=4))
def test_the_library_reads_every_message_back(topics: list[list[list[Message]]]) -> None:
    data = written(topics)
    found, summary = read(data)
    expected = {f"/{at}": [*itertools.chain(*item)] for at, item in enumerate(topics)}
    assert found == {name: messages for name, messages in expected.items() if messages}
    assert [item.topic for item in summary.channels.values()] == list(expected)
    times = [time for messages in expected.values() for time, _ in messages]
    statistics = summary.statistics
    assert statistics.message_count == len(times)
    assert (statistics.message_start_time, statistics.message_end_time) == (
        min(times, default=0),
        max(times, default=0),
    )
    check_indexes(data, summary)


def check_indexes(data: bytes, summary: Any) -> None:
    """Every message index names messages of its channel at their times; chunks hold no more than they should."""
    starts: dict[int, ChunkIndex] = {item.chunk_start_offset: item for item in summary.chunk_indexes}
    assert summary.statistics.chunk_count == len(starts)
    inside, named = b"", 0
    for item in StreamReader(io.BytesIO(data), emit_chunks=True, validate_crcs=True).records:
        if isinstance(item, Chunk):
            inside = zstandard.decompress(item.data)
            assert len(inside) < CHUNK_BYTES + 31 + 300
        elif isinstance(item, MessageIndex):
            for time, offset in item.records:
                assert struct.unpack_from("<BQHIQ", inside, offset)[::2] == (5, item.channel_id, time)
                named += 1
    assert named == summary.statistics.message_count
    for start, index in starts.items():
        assert data[start] == 6
        assert list(index.message_index_offsets.values()) == [start + index.chunk_length]


def test_the_comparison_would_notice_a_flipped_bit() -> None:
    data = bytearray(written([[[(1, b"abc"), (2, b"def")]]]))
    at = bytes(data).index(zstandard.FRAME_HEADER) + 20
    data[at] ^= 1
    with pytest.raises((McapError, zstandard.ZstdError)):
        read(bytes(data))
