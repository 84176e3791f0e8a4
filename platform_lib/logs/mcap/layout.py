"""What an MCAP file holds, and where: the result of opening it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from platform_lib.errors import CorruptLog
from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.chunks import Records
from platform_lib.logs.mcap.extent_table import ExtentTable
from platform_lib.logs.mcap.records import Op


@dataclass(frozen=True, slots=True)
class AttachmentPlace:
    """An attachment, and where its record's content is."""

    head: rec.AttachmentHead
    offset: int
    record_bytes: int


@dataclass(slots=True)
class Channel:
    """How many messages a channel has, and their earliest and latest log time (inclusive)."""

    rows: int = 0
    start_ns: int | None = None
    stop_ns: int | None = None

    def add(self, rows: int, start_ns: int, stop_ns: int) -> None:
        """Count more messages."""
        self.rows += rows
        self.start_ns = start_ns if self.start_ns is None else min(self.start_ns, start_ns)
        self.stop_ns = stop_ns if self.stop_ns is None else max(self.stop_ns, stop_ns)


@dataclass(slots=True)
class Definitions:
    """Schemas and channels by number; a number never changes its meaning.

    Attributes:
        name: The file's.
        schemas: By number.
        channels: By number.
        spare_schemas: What the summary says, for numbers whose definition is lost from the data.
        spare_channels: The same.
    """

    name: str
    schemas: dict[int, rec.Schema] = field(default_factory=dict)
    channels: dict[int, rec.Channel] = field(default_factory=dict)
    spare_schemas: dict[int, rec.Schema] = field(default_factory=dict)
    spare_channels: dict[int, rec.Channel] = field(default_factory=dict)

    def add_schema(self, schema: rec.Schema) -> None:
        """Take a definition in."""
        if schema.id == 0 or self.schemas.setdefault(schema.id, schema) != schema:
            raise CorruptLog(f"schema {schema.id} is defined twice, differently", where=self.name)

    def add_channel(self, channel: rec.Channel) -> None:
        """Take a channel in, whose schema must be there."""
        if self.channels.setdefault(channel.id, channel) != channel:
            raise CorruptLog(f"channel {channel.id} is defined twice, differently", where=self.name)
        if channel.schema_id in self.spare_schemas:
            self.schemas.setdefault(channel.schema_id, self.spare_schemas[channel.schema_id])
        if channel.schema_id and channel.schema_id not in self.schemas:
            what = f"topic '{channel.topic}' names schema {channel.schema_id}, which is not defined before it"
            raise CorruptLog(what, where=self.name)

    def require(self, numbers: Iterable[int]) -> None:
        """Check that channels are defined.

        Raises:
            CorruptLog: One is not.
        """
        for number in numbers:
            if number not in self.channels and number in self.spare_channels:
                self.add_channel(self.spare_channels[number])
            if number not in self.channels:
                raise CorruptLog(f"a message of channel {number}, which is not defined before it", where=self.name)

    def add_record(self, op: int, content: bytes) -> None:
        """Take in what a record defines, if it does."""
        if op == Op.SCHEMA:
            self.add_schema(rec.parse_schema(content))
        elif op == Op.CHANNEL:
            self.add_channel(rec.parse_channel(content))

    def add_all(self, records: Records) -> None:
        """Take in every definition among a chunk's records."""
        view = memoryview(records.data)
        for op, start, stop in records.others:
            if op in (Op.SCHEMA, Op.CHANNEL):
                self.add_record(op, bytes(view[start:stop]))


@dataclass(slots=True)
class Layout:
    """What the file holds.

    Attributes:
        definitions: Schemas and channels.
        channels: Channel number -> its messages.
        extents: In file order.
        metadata: Record name -> its map.
        metadata_records: How many metadata records there are.
        attachments: In file order.
        unknown_ops: Records of a kind that the specification reserves.
    """

    definitions: Definitions
    channels: dict[int, Channel] = field(default_factory=dict)
    extents: ExtentTable = field(default_factory=ExtentTable)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    metadata_records: int = 0
    attachments: list[AttachmentPlace] = field(default_factory=list)
    unknown_ops: int = 0
