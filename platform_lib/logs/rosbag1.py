"""ROS 1 bags (format 2.0): a chunk counts once its records are what the index says.

The format has no checksum; bz2 chunks carry their own. Of a file every chunk is proven at open, of an object in a store
when it is read, so that one topic costs its own chunks. An unindexed bag (the recorder died) is damaged: with recovery
its chunks are walked, see `platform_lib.logs.rosbag1_scan`.
"""

from __future__ import annotations

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import translated
from platform_lib.logs.messages import Loaded, Topic, TopicSource
from platform_lib.logs.model import Report
from platform_lib.logs.rosbag1_index import read_index
from platform_lib.logs.rosbag1_records import MAGIC, Layout
from platform_lib.logs.rosbag1_rows import Chunks, Rows1
from platform_lib.logs.rosbag1_scan import scan


def open_bag1(source: ByteSource, *, recover: bool) -> TopicSource:
    """Open a ROS 1 bag; see `platform_lib.logs.open_log`. It takes the source over, and closes it."""
    report = Report(format="rosbag1")
    report.unverified.append("ROS 1 bags have no checksum: flipped bits in payloads cannot be noticed")
    try:
        _check_version(source)
        with translated(source.name, "opening the ROS 1 bag"):
            layout = _layout(source, report, recover=recover)
            chunks = Chunks(source, layout)
            lost = _prove(chunks, report, recover=recover)
            topics, rows = _topics(layout, chunks, lost)
            return TopicSource(source.name, Loaded(topics, rows, {}), report)
    except BaseException:
        source.close()
        raise


def _check_version(source: ByteSource) -> None:
    line = bytes(source.read_at(0, min(source.size_bytes, len(MAGIC))))
    if line != MAGIC[: len(line)]:
        what = f"a ROS 1 bag of another version than 2.0: it starts with {line[:13]!r}"
        raise UnsupportedLog(
            what, where=source.name, remedy="`rosbag migrate` and `rosbag reindex` make it one of version 2.0"
        )


def _layout(source: ByteSource, report: Report, *, recover: bool) -> Layout:
    """Return what is where: as the index says, or with `recover` as a walk finds where there is no sound one."""
    try:
        with translated(source.name, "opening the ROS 1 bag"):
            return read_index(source)
    except CorruptLog:
        if not recover:
            raise
    except UnsupportedLog as refusal:  # which a flipped bit may look like
        if not recover:
            raise
        try:
            return scan(source, report)
        except CorruptLog:
            raise refusal from None
    return scan(source, report)


def _prove(chunks: Chunks, report: Report, *, recover: bool) -> list[int]:
    """Open every chunk of a file; return, with `recover`, the damaged ones."""
    if chunks.source.remote:
        report.unverified.append("chunks of an object are held against the index when they are read, not before")
        return []
    lost = []
    for number, chunk in enumerate(chunks.layout.chunks):
        try:
            chunks.prove(number)
        except (CorruptLog, UnsupportedLog) as error:
            if not recover:
                raise
            lost.append(number)
            report.lose(chunk.stored_bytes, error.what)
    return lost


def _topics(layout: Layout, chunks: Chunks, lost: list[int]) -> tuple[list[Topic], Rows1]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for item in layout.connections:
        groups.setdefault((item.topic, item.message_type, item.definition), []).append(item.id)
    topics = []
    orders = layout.in_time_order(list(groups.values()), lost)
    for (name, kind, text), order in zip(groups, orders, strict=True):
        topics.append(
            Topic(
                name=name,
                message_type=kind,
                message_encoding="ros1",
                schema_encoding="ros1msg",
                schema_text=text,
                schema_data=text.encode(),
                rows=order.size,
                start_ns=int(layout.time_ns[order[0]]) if order.size else None,
                stop_ns=int(layout.time_ns[order[-1]]) + 1 if order.size else None,
            )
        )
    return topics, Rows1(layout, orders, chunks)
