"""Opening MCAP files as logs."""

from __future__ import annotations

from collections.abc import Mapping

from platform_lib.errors import CorruptLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.layout import AttachmentPlace, Channel, Layout
from platform_lib.logs.mcap.rows import McapRows
from platform_lib.logs.mcap.scan import SMALL_BYTES, check_attachment, scan
from platform_lib.logs.messages import Loaded, Topic, TopicSource
from platform_lib.logs.model import Attachment, Report

_TEXT_ENCODINGS = ("ros2msg", "ros1msg", "ros2idl", "jsonschema", "omgidl")
_RAW_FRAMES = ("kind", "can")  # what our own export says of a channel of raw bus frames
_LAST_NS = (1 << 63) - 2


def open_mcap(source: ByteSource, *, recover: bool, small_bytes: int = SMALL_BYTES) -> TopicSource:
    """Open an MCAP file; see `platform_lib.logs.open_log`. It takes the source over, and closes it."""
    report = Report(format="mcap")
    loaded = load_mcap(source, report, recover=recover, small_bytes=small_bytes)
    return TopicSource(source.name, loaded, report)


def load_mcap(source: ByteSource, report: Report, *, recover: bool, small_bytes: int = SMALL_BYTES) -> Loaded:
    """Open an MCAP file; damage and what is unverified goes into `report`. `small_bytes`: see `scan`."""
    try:
        with translated(source.name, "opening the MCAP file"):
            layout = scan(source, report, recover=recover, small_bytes=small_bytes)
            topics, channels = _topics(source.name, layout, report)
    except BaseException:
        source.close()
        raise
    attachments = tuple(_attachment(source, place) for place in layout.attachments)
    store = McapRows(source, layout, channels, report)
    return Loaded(topics, store, _metadata(layout), attachments)


def _metadata(layout: Layout) -> Mapping[str, str]:
    """Flatten metadata records: those of "drive" by their own keys, others as ``<record>.<key>``."""
    result: dict[str, str] = {}
    for name, values in layout.metadata.items():
        if name != "drive":
            result.update({f"{name}.{key}": value for key, value in values.items()})
    return result | layout.metadata.get("drive", {})


def _attachment(source: ByteSource, place: AttachmentPlace) -> Attachment:
    head = place.head

    def load() -> bytes:
        check_attachment(source, place)
        return source.read_at(place.offset + head.data_at, head.size_bytes)

    return Attachment(head.name, head.media_type, head.size_bytes, load, head.time_ns or None)


def _topics(name: str, layout: Layout, report: Report) -> tuple[list[Topic], list[tuple[int, ...]]]:
    """Group channels into topics: channels of one topic, encoding and schema are one stream."""
    groups: dict[tuple[str, str, rec.Schema | None], list[int]] = {}
    for number, channel in layout.definitions.channels.items():
        schema = layout.definitions.schemas.get(channel.schema_id)
        same = schema and rec.Schema(0, schema.name, schema.encoding, schema.data)
        groups.setdefault((channel.topic, channel.message_encoding, same), []).append(number)
    topics, channels = [], []
    for (topic, encoding, schema), numbers in groups.items():
        found = [layout.channels.get(number, Channel()) for number in numbers]
        starts = [item.start_ns for item in found if item.start_ns is not None]
        stops = [item.stop_ns for item in found if item.stop_ns is not None]
        if max(stops, default=0) > _LAST_NS:
            raise CorruptLog(f"topic '{topic}' has a time past the year 2262", where=name, remedy=REMEDY)
        topics.append(
            Topic(
                name=topic,
                message_type=schema.name if schema else None,
                message_encoding=encoding,
                schema_encoding=schema.encoding if schema else "",
                schema_text=None if schema is None else _text(schema, report),
                schema_data=schema.data if schema else None,
                rows=sum(item.rows for item in found),
                start_ns=min(starts, default=None),
                stop_ns=max(stops) + 1 if stops else None,
                raw_frames=any(_RAW_FRAMES in layout.definitions.channels[number].metadata for number in numbers),
            )
        )
        channels.append(tuple(numbers))
    return topics, channels


def _text(schema: rec.Schema, report: Report) -> str | None:
    if schema.encoding not in _TEXT_ENCODINGS:
        return None
    try:
        return schema.data.decode()
    except UnicodeDecodeError:
        report.problems.append(f"the definition of '{schema.name}' is not UTF-8 and was not used")
        return None
