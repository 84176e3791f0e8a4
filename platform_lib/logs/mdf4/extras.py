"""What an MDF 4 file holds beside its samples: attachments and events."""

from __future__ import annotations

import hashlib
import struct
from functools import partial

from platform_lib.logs.mdf4.blocks import Block, Blocks, plain
from platform_lib.logs.mdf4.inflate import inflate
from platform_lib.logs.mdf4.model import Codec, Fragment, Header
from platform_lib.logs.model import Attachment, Event, Report

_ATTACHMENT = struct.Struct("<HHBB2x16sQQ")
_EVENT = struct.Struct("<BBBBBxxxIHHqd")
_EMBEDDED, _COMPRESSED, _DIGEST, _GENERAL_COMPRESSION = 1, 2, 4, 8  # at_flags. Source: ASAM MDF 4.2, 4.3
_ZIP_CODECS = {0: Codec.DEFLATE, 2: Codec.ZSTD, 4: Codec.LZ4}
_TYPES = (
    "recording",
    "recording interrupt",
    "acquisition interrupt",
    "start trigger",
    "stop trigger",
    "trigger",
    "marker",
)
_RANGES = ("point", "begin", "end")
_CAUSES = ("other", "error", "tool", "script", "user")
_SYNC_TIME = 1
_MOST_ATTACHMENT_BYTES = 1 << 30


def read_events(blocks: Blocks, header: Header, start_ns: int) -> tuple[Event, ...]:
    """Return the file's events, in file order.

    Raises:
        CorruptLog: An event block is not there.
    """
    return tuple(_event(blocks, block, start_ns) for block in blocks.chain(header.first_event, b"##EV"))


def _event(blocks: Blocks, block: Block, start_ns: int) -> Event:
    data = blocks.payload(block, _EVENT.size, "an event")
    if len(block.links) < 5:
        raise blocks.corrupt(block.offset, "an event has too few links")
    kind, sync, span, cause, _, _, _, _, base, factor = _EVENT.unpack_from(data)
    value = base * factor
    scaled = value * 1e9
    in_time = sync == _SYNC_TIME and abs(scaled) + abs(start_ns) < 9.2e18
    return Event(
        name=blocks.text(block.links[3], "an event's name"),
        kind=_named(_TYPES, kind),
        range=_named(_RANGES, span),
        cause=_named(_CAUSES, cause),
        time_ns=start_ns + round(scaled) if in_time else None,
        value=value,
        comment=plain(blocks.text(block.links[4], "an event's comment")),
    )


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def read_attachments(blocks: Blocks, header: Header, report: Report) -> tuple[Attachment, ...]:
    """Return the embedded attachments, in file order; their content is read, inflated and checked on demand.

    Those that the file only names are told to `report`.

    Raises:
        CorruptLog: An attachment block is not there.
    """
    found = (_attachment(blocks, block, report) for block in blocks.chain(header.first_attachment, b"##AT"))
    return tuple(item for item in found if item is not None)


def _attachment(blocks: Blocks, block: Block, report: Report) -> Attachment | None:
    if block.data_bytes < _ATTACHMENT.size or len(block.links) < 4:
        raise blocks.corrupt(block.offset, "an attachment block is too short")
    head = blocks.source.peek(block.data_offset, _ATTACHMENT.size)
    flags, _, zip_type, _, digest, size, stored = _ATTACHMENT.unpack(head)
    name = blocks.text(block.links[1], "an attachment's name")
    media_type = blocks.text(block.links[2], "an attachment's type")
    if not flags & _EMBEDDED:
        report.notes.append(f"attachment '{name}' ({media_type or 'no type'}) is not in the log, which only names it")
        return None
    if stored > block.data_bytes - _ATTACHMENT.size or size > _MOST_ATTACHMENT_BYTES:
        raise blocks.corrupt(block.offset, f"an attachment claims {stored} stored bytes, {size} in all")
    codec = Codec.NONE
    if flags & (_COMPRESSED | _GENERAL_COMPRESSION):
        codec = _ZIP_CODECS.get(zip_type if flags & _GENERAL_COMPRESSION else 0, Codec.NONE)
    fragment = Fragment(
        block.data_offset + _ATTACHMENT.size, stored, size if codec is not Codec.NONE else stored, codec
    )
    expected = digest if flags & _DIGEST else b""
    return Attachment(name, media_type, fragment.size_bytes, partial(_content, blocks, fragment, expected))


def _content(blocks: Blocks, fragment: Fragment, digest: bytes) -> bytes:
    data = bytes(inflate(blocks.source, fragment))
    if digest and hashlib.md5(data, usedforsecurity=False).digest() != digest:
        raise blocks.corrupt(fragment.offset, "an attachment's content does not match its checksum")
    return data
