"""Parses an MDF 4 file's metadata: header, data groups, channel groups, channels, conversions. Reads no sample."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from platform_lib.errors import CorruptLog
from platform_lib.logs.mdf4.blocks import HD_OFFSET, TEXT_KINDS, Block, Blocks, plain
from platform_lib.logs.mdf4.chains import read_pieces
from platform_lib.logs.mdf4.model import (
    IN_RECORD,
    ArrayShape,
    Chain,
    Channel,
    ChannelFlag,
    ChannelGroup,
    Conversion,
    DataGroup,
    GroupFlag,
    Header,
)

_CHANNEL = struct.Struct("<BBBBIIII")
_CHANNEL_BYTES = 72
_GROUP = struct.Struct("<QQHH4xII")
_CONVERSION = struct.Struct("<BBHHH16x")
_ARRAY = struct.Struct("<BBHIiI")
_BIT_FIELD = 11
_ALGEBRAIC = 3
_INVERSE_LAYOUT = 1 << 6  # ca_flags
# Data stream, channel list, channel variant, channel union, guard.
_COMPOSITIONS_43 = frozenset({b"##DS", b"##CL", b"##CV", b"##CU", b"##GD"})
_MOST_DEPTH = 16
_MOST_DIMENSIONS = 16
_ID_BYTES = frozenset({0, 1, 2, 4, 8})


@dataclass(slots=True)
class Structure:
    """What a file says about itself.

    Attributes:
        header: Its start.
        groups: Its data groups, those that could be parsed.
        damage: With recovery, what could not: stored sample bytes lost, and why.
        reductions: Where the sample reductions of groups start: data thinned out for display.
    """

    header: Header
    groups: list[DataGroup] = field(default_factory=list)
    damage: list[tuple[int, CorruptLog]] = field(default_factory=list)
    reductions: list[int] = field(default_factory=list)


def read_header(blocks: Blocks) -> Header:
    """Parse the HD block.

    Raises:
        CorruptLog: It is not there.
    """
    block = blocks.block(HD_OFFSET, (b"##HD",), "the header")
    data = blocks.payload(block, 32, "the header")
    if len(block.links) < 6:
        raise blocks.corrupt(HD_OFFSET, "the header has too few links")
    start_ns, _, _, flags = struct.unpack_from("<QhhB", data)
    first_dg, history, _, attachment, event, comment = block.links[:6]
    text = blocks.text(comment, "the header's comment")
    return Header(start_ns, flags, text, first_dg, history, attachment, event)


def read_structure(blocks: Blocks, *, recover: bool) -> Structure:
    """Parse the whole metadata.

    Args:
        blocks: The file.
        recover: Leave out data groups that are damaged, instead of raising; sample data ends at the first damage.

    Raises:
        CorruptLog: The structure contradicts itself.
    """
    header = read_header(blocks)
    parser = _Parser(blocks, recover=recover)
    structure = Structure(header)
    try:
        for _ in blocks.chain(header.first_history, b"##FH"):
            pass
    except CorruptLog as error:
        if not recover:
            raise
        structure.damage.append((0, error))  # who edited the file when; no row hangs on it
    try:
        for block in blocks.chain(header.first_dg, b"##DG"):
            try:
                structure.groups.append(parser.data_group(block))
            except CorruptLog as error:
                if not recover:
                    raise
                structure.damage.append((_stored_bytes(blocks, block), error))
    except CorruptLog as error:
        if not recover:
            raise
        structure.damage.append((0, error))
    structure.reductions = parser.reductions
    return structure


def _stored_bytes(blocks: Blocks, block: Block) -> int:
    try:
        return sum(item.stored_bytes for item in read_pieces(blocks, block.links[2], recover=True).fragments)
    except (CorruptLog, IndexError):
        return 0


class _Parser:
    def __init__(self, blocks: Blocks, *, recover: bool) -> None:
        self._blocks = blocks
        self._recover = recover
        self._conversions: dict[int, Conversion] = {}
        self._seen_channels: set[int] = set()
        self._seen_groups: set[int] = set()
        self._count = 0
        self.reductions: list[int] = []

    def data_group(self, block: Block) -> DataGroup:
        """Parse a DG block with its channel groups, and find its data."""
        data = self._blocks.payload(block, 1, "a data group block")
        if len(block.links) < 4:
            raise self._blocks.corrupt(block.offset, "a data group block has too few links")
        if data[0] not in _ID_BYTES:
            raise self._blocks.corrupt(block.offset, f"a data group claims record ids of {data[0]} bytes")
        groups = tuple(self._channel_group(item) for item in self._blocks.chain(block.links[1], b"##CG"))
        if not block.links[2]:
            return DataGroup(block.offset, data[0], groups, Chain((), 0))
        pieces = read_pieces(self._blocks, block.links[2], recover=self._recover)
        invalidation = tuple(pieces.invalidation)
        return DataGroup(block.offset, data[0], groups, pieces.chain(), invalidation, pieces.columnar)

    def _channel_group(self, block: Block) -> ChannelGroup:
        blocks = self._blocks
        data = blocks.payload(block, 32, "a channel group block")
        if len(block.links) < 6:
            raise blocks.corrupt(block.offset, "a channel group block has too few links")
        if block.offset in self._seen_groups:
            raise blocks.corrupt(block.offset, "a channel group belongs to two data groups")
        self._seen_groups.add(block.offset)
        record_id, cycles, flags, _, data_bytes, invalid_bytes = _GROUP.unpack_from(data)
        variable = bool(flags & GroupFlag.VLSD)
        if variable and block.links[1]:
            raise blocks.corrupt(block.offset, "a group of variable-length values has channels, which none may have")
        index = self._count
        self._count += 1
        if variable:
            data_bytes, invalid_bytes = data_bytes | invalid_bytes << 32, 0
        channels: list[Channel] = []
        if not variable:
            self._channels(block.links[1], (data_bytes, invalid_bytes * 8), channels, None, 0)
        if block.links[4]:
            self.reductions.append(block.links[4])
        remote = flags & GroupFlag.REMOTE_MASTER and len(block.links) > 6
        return ChannelGroup(
            offset=block.offset,
            index=index,
            record_id=record_id,
            cycles=cycles,
            flags=flags,
            data_bytes=data_bytes,
            invalid_bytes=invalid_bytes,
            name=blocks.text(block.links[2], "a channel group's name"),
            comment=plain(blocks.text(block.links[5], "a channel group's comment")),
            channels=tuple(channels),
            master_link=block.links[6] if remote else 0,
        )

    def _channels(
        self, first: int, room: tuple[int, int], found: list[Channel], outer: ArrayShape | None, depth: int
    ) -> None:
        """Collect channels depth first. `room`: bytes and invalidation bits of a record."""
        if depth > _MOST_DEPTH:
            raise self._blocks.corrupt(first, "structures are nested too deep")
        for block in self._blocks.chain(first, b"##CN"):
            if block.offset in self._seen_channels:
                raise self._blocks.corrupt(block.offset, "a channel is part of two groups or of itself")
            self._seen_channels.add(block.offset)
            array, parts = self._composition(block.links[1] if len(block.links) > 1 else 0, outer)
            channel = self._channel(block, room, array, structure=bool(parts))
            found.append(channel)
            if parts:
                self._channels(parts, room, found, array, depth + 1)

    def _composition(self, offset: int, outer: ArrayShape | None) -> tuple[ArrayShape | None, int]:
        """Return a channel's dimensions, and the first channel of its structure (0 for none)."""
        array, seen = outer, set[int]()
        while offset:
            block = self._blocks.block(offset, (b"##CN", b"##CA", *_COMPOSITIONS_43), "a composition")
            if block.kind == b"##CN":
                return array, offset
            if block.kind in _COMPOSITIONS_43:
                what = f"it is composed by a {block.kind[2:].decode()} block of MDF 4.3 (at byte {offset})"
                return ArrayShape((), (), (), unsupported=what), 0
            if offset in seen or not block.links:
                raise self._blocks.corrupt(offset, "an array is part of itself")
            seen.add(offset)
            array = self._array(block, array)
            offset = block.links[0]
        return array, 0

    def _array(self, block: Block, outer: ArrayShape | None) -> ArrayShape:
        data = self._blocks.payload(block, _ARRAY.size, "an array block")
        _, storage, dimensions, flags, step, invalid_step = _ARRAY.unpack_from(data)
        if not 0 < dimensions <= _MOST_DIMENSIONS or len(data) < _ARRAY.size + 8 * dimensions:
            raise self._blocks.corrupt(block.offset, f"an array claims {dimensions} dimensions")
        sizes = struct.unpack_from(f"<{dimensions}Q", data, _ARRAY.size)
        before = outer or ArrayShape((), (), ())
        inverse = bool(flags & _INVERSE_LAYOUT)
        return ArrayShape(
            sizes=(*before.sizes, *sizes),
            byte_steps=(*before.byte_steps, *_steps(sizes, step, inverse=inverse)),
            invalid_steps=(*before.invalid_steps, *_steps(sizes, invalid_step, inverse=inverse)),
            unsupported=before.unsupported or (_elsewhere(block.offset, storage) if storage else ""),
        )

    def _channel(self, block: Block, room: tuple[int, int], array: ArrayShape | None, *, structure: bool) -> Channel:
        blocks = self._blocks
        data = blocks.payload(block, _CHANNEL_BYTES, "a channel block")
        if len(block.links) < 8:
            raise blocks.corrupt(block.offset, "a channel block has too few links")
        kind, sync, data_type, bit, byte, bits, flags, invalid = _CHANNEL.unpack_from(data)
        if not block.links[2]:
            raise blocks.corrupt(block.offset, "a channel has no name")
        self._check_room(block, (kind, bit, byte, bits), room, array, structure=structure)
        if flags & ChannelFlag.INVALIDATION_BIT and invalid >= room[1]:
            raise blocks.corrupt(block.offset, "a channel's invalidation bit lies past the end of its record")
        conversion = self._conversion(block.links[4], ())
        unit = plain(blocks.text(block.links[6], "a channel's unit"))
        return Channel(
            offset=block.offset,
            name=blocks.text(block.links[2], "a channel's name"),
            kind=kind,
            sync=sync,
            data_type=data_type,
            bit_offset=bit,
            byte_offset=byte,
            bit_count=bits,
            flags=flags,
            invalid_bit=invalid,
            unit=(conversion.unit if conversion else "") or unit,
            comment=plain(blocks.text(block.links[7], "a channel's comment")),
            conversion=conversion,
            data_link=block.links[5],
            array=array,
            structure=structure,
        )

    def _check_room(
        self,
        block: Block,
        place: tuple[int, int, int, int],
        room: tuple[int, int],
        array: ArrayShape | None,
        *,
        structure: bool,
    ) -> None:
        kind, bit, byte, bits = place
        if kind not in IN_RECORD:
            return
        size = (bit + bits + 7) // 8
        last = byte + size
        if array is not None and not structure and not array.unsupported:
            if math.prod(array.sizes) * max(1, bits) > room[0] * 8:
                raise self._blocks.corrupt(block.offset, "an array has more elements than its record has room for")
            spans = [max(0, count - 1) * step for count, step in zip(array.sizes, array.byte_steps, strict=True)]
            if byte + sum(min(0, span) for span in spans) < 0:
                raise self._blocks.corrupt(block.offset, "an array lies before its record")
            last += sum(max(0, span) for span in spans)
        if last > room[0]:
            raise self._blocks.corrupt(block.offset, "a channel lies past the end of its record")

    # -- conversions ---------------------------------------------------------------------------------------------

    def _conversion(self, offset: int, parents: tuple[int, ...]) -> Conversion | None:
        if not offset:
            return None
        if offset in parents or len(parents) > _MOST_DEPTH:
            raise self._blocks.corrupt(offset, "a conversion refers to itself")
        known = self._conversions.get(offset)
        if known is None:
            known = self._conversions[offset] = self._read_conversion(offset, (*parents, offset))
        return known

    def _read_conversion(self, offset: int, parents: tuple[int, ...]) -> Conversion:
        blocks = self._blocks
        block = blocks.block(offset, (b"##CC",), "a conversion")
        data = blocks.payload(block, _CONVERSION.size, "a conversion")
        kind, _, _, _, count = _CONVERSION.unpack_from(data)
        if len(block.links) < 4 or len(data) < _CONVERSION.size + 8 * count:
            raise blocks.corrupt(offset, "a conversion claims more parameters than it has")
        form = "Q" if kind == _BIT_FIELD else "d"
        values = struct.unpack_from(f"<{count}{form}", data, _CONVERSION.size)
        references = tuple(self._reference(link, parents) for link in block.links[4:])
        unit = plain(blocks.text(block.links[1], "a conversion's unit"))
        units = [unit, *(item.unit for item in references if isinstance(item, Conversion))]
        name = blocks.text(block.links[0], "a conversion's name")
        return Conversion(kind, name, next(filter(None, units), ""), values, references)

    def _reference(self, link: int, parents: tuple[int, ...]) -> str | Conversion | None:
        if not link:
            return None
        kind, _, _ = self._blocks.head(link, TEXT_KINDS | {b"##CC"}, "a conversion's text")
        if kind == b"##CC":
            return self._conversion(link, parents)
        return plain(self._blocks.text(link, "a conversion's text"))


def _elsewhere(offset: int, storage: int) -> str:
    groups = {1: "channel groups", 2: "data groups"}.get(storage, f"a storage of type {storage}")
    return f"an array whose elements lie in {groups} of their own (array block at byte {offset})"


def _steps(sizes: tuple[int, ...], base: int, *, inverse: bool) -> tuple[int, ...]:
    """Return the step along each dimension; the last varies fastest, with inverse layout the first.

    Source: ASAM MDF 4.2, CA block, ca_byte_offset_base and "row oriented layout".
    """
    steps, step = [], base
    for size in sizes if inverse else reversed(sizes):
        steps.append(step)
        step *= size
    return tuple(steps) if inverse else tuple(reversed(steps))
