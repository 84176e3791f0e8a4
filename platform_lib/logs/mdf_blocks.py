"""Proves an MDF 4 file's block structure and compressed data before a parser trusts them.

MDF has no checksum but zlib's in compressed blocks. What can be checked is checked here: every block that the header
reaches lies inside the file and is of the kind its link promises, chains end, no channel reads past its record,
every compressed block inflates to the size it says, and every sorted group's data is as long as its record count.
A flipped bit in *uncompressed* sample data cannot be noticed; `Structure.uncompressed_bytes` says how much that is.
Source: ASAM MDF 4.2 base standard, block layouts.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY

_HEAD = struct.Struct("<4sIQQ")
_HD_OFFSET = 64
_DEFLATE, _TRANSPOSED_DEFLATE = 0, 1
_MOST_LINKS = 1 << 20
_VLSD_FLAG = 1
_REMOTE_MASTER_FLAG = 1 << 3
# Channel types whose bytes are in the record: fixed length, master, sync, maximum length. Source: MDF 4.2, cn_type.
_IN_RECORD = frozenset({0, 2, 4, 5})
_SIGNAL_DATA = frozenset({b"##SD", b"##DZ", b"##DL", b"##HL", b"##CG", b"##AT"})
_DATA = frozenset({b"##DT", b"##DV", b"##DI", b"##RD", b"##RV", b"##RI", b"##SD", b"##DZ", b"##DL", b"##HL", b"##LD"})


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its kind, links, and where its data section lies in the file."""

    kind: bytes
    offset: int
    links: tuple[int, ...]
    data_offset: int
    data_bytes: int


@dataclass(frozen=True, slots=True)
class GroupData:
    """What was found of one channel group.

    Attributes:
        cycles: Declared records.
        whole_rows: Records whose bytes are all there and sound; fewer than `cycles` only with `recover`. ``None``
            where the layout (unsorted, column-oriented) does not tell.
    """

    cycles: int
    whole_rows: int | None


@dataclass(slots=True)
class Structure:
    """The outcome of `check_structure`, groups in file order without variable-length helper groups."""

    groups: list[GroupData] = field(default_factory=list)
    damage: list[tuple[int, str]] = field(default_factory=list)
    uncompressed_bytes: int = 0


def check_structure(path: Path, *, recover: bool) -> Structure:
    """Walk the whole file.

    Args:
        path: An MDF 4 file.
        recover: Note damage in sample data instead of raising, and count the whole records before it.

    Raises:
        CorruptLog: The structure contradicts itself (with `recover`: outside sample data).
    """
    return _Checker(path, path.read_bytes() if path.stat().st_size < (64 << 20) else _mapped(path), recover).run()


def _mapped(path: Path) -> memoryview:
    import mmap

    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


class _Checker:
    def __init__(self, path: Path, data: bytes | memoryview, recover: bool) -> None:  # noqa: FBT001 - private
        self._path = path
        self._data = data
        self._recover = recover
        self._size = len(data)
        self._result = Structure()
        self._sound: dict[int, tuple[int, bool]] = {}

    def run(self) -> Structure:
        header = self._block(_HD_OFFSET, {b"##HD"}, "the header")
        if len(header.links) < 6:
            raise self._corrupt(_HD_OFFSET, "the header has too few links")
        for link, kind in ((1, b"##FH"), (2, b"##CH"), (3, b"##AT"), (4, b"##EV")):
            self._chain(header.links[link], kind)
        self._texts((header.links[5],), "the header's comment")
        for group in self._chain(header.links[0], b"##DG"):
            self._data_group(group)
        return self._result

    def _corrupt(self, offset: int, what: str) -> CorruptLog:
        return CorruptLog(f"damaged at byte {offset}: {what}", where=self._path, remedy=REMEDY)

    def _block(self, offset: int, kinds: set[bytes] | frozenset[bytes], what: str) -> Block:
        if offset < _HD_OFFSET or offset + _HEAD.size > self._size:
            raise self._corrupt(offset, f"{what} lies outside the file ({self._size} bytes)")
        kind, _, length, links = _HEAD.unpack_from(self._data, offset)
        if kind not in kinds:
            raise self._corrupt(offset, f"{what} is not there, but {kind!r}")
        if links > _MOST_LINKS or length < _HEAD.size + 8 * links:
            raise self._corrupt(offset, f"{what} claims {links} links in {length} bytes")
        data_offset = offset + _HEAD.size + 8 * links
        if offset + length > self._size and not (self._recover and kind in _DATA):
            raise self._corrupt(offset, f"{what} claims {length} bytes, more than are left: the file was cut")
        targets = struct.unpack_from(f"<{links}Q", self._data, offset + _HEAD.size)
        return Block(kind, offset, targets, data_offset, min(length, self._size - offset) - (data_offset - offset))

    def _chain(self, first: int, kind: bytes) -> list[Block]:
        """Follow ``links[0]`` from `first` to the end."""
        blocks: list[Block] = []
        seen: set[int] = set()
        while first:
            if first in seen:
                raise self._corrupt(first, f"the chain of {kind.decode()} blocks runs in a circle")
            seen.add(first)
            block = self._block(first, {kind}, f"a {kind.decode()} block")
            if not block.links:
                raise self._corrupt(first, f"a {kind.decode()} block has no links")
            blocks.append(block)
            first = block.links[0]
        return blocks

    # -- groups --------------------------------------------------------------------------------------------------

    def _data_group(self, block: Block) -> None:
        if len(block.links) < 4 or block.data_bytes < 1:
            raise self._corrupt(block.offset, "a data group block is too short")
        self._texts((block.links[3],), "a data group's comment")
        record_id_bytes = self._data[block.data_offset]
        groups = self._chain(block.links[1], b"##CG")
        heads = [self._channel_group(group) for group in groups]
        total, whole, exact = self._data_list(block.links[2]) if block.links[2] else (0, 0, True)
        single = len(groups) == 1
        for group, (cycles, flags, record_bytes) in zip(groups, heads, strict=True):
            if flags & _VLSD_FLAG:
                continue
            size = record_bytes + record_id_bytes
            known = single and exact and not flags & _REMOTE_MASTER_FLAG and size > 0
            if known:
                self._compare(group, cycles, size, total)
            rows = min(cycles, whole // size) if known else None
            if rows is not None and rows < cycles:
                lost = (cycles - rows) * size
                self._result.damage.append((lost, f"group of {cycles} records: only the first {rows} are whole"))
            self._result.groups.append(GroupData(cycles, rows))

    def _compare(self, group: Block, cycles: int, size: int, total: int) -> None:
        if total == cycles * size or self._recover:
            return
        if total < cycles * size or total - cycles * size >= size:
            what = f"a group declares {cycles} records of {size} bytes, but has {total} bytes of data"
            raise self._corrupt(group.offset, what)

    def _channel_group(self, block: Block) -> tuple[int, int, int]:
        """Return declared records, flags and bytes a record (without its id)."""
        if len(block.links) < 6 or block.data_bytes < 32:
            raise self._corrupt(block.offset, "a channel group block is too short")
        self._texts((block.links[2], block.links[5]), "a channel group's name or comment")
        self._source(block.links[3])
        _, cycles, flags = struct.unpack_from("<QQH", self._data, block.data_offset)
        data_bytes, invalid_bytes = struct.unpack_from("<II", self._data, block.data_offset + 24)
        if not flags & _VLSD_FLAG:
            self._channels(block.links[1], data_bytes, invalid_bytes, set())
        return cycles, flags, data_bytes + invalid_bytes

    def _channels(self, first: int, data_bytes: int, invalid_bytes: int, seen: set[int]) -> None:
        for channel in self._chain(first, b"##CN"):
            if channel.offset in seen:
                raise self._corrupt(channel.offset, "a channel is part of itself")
            seen.add(channel.offset)
            if len(channel.links) < 8 or channel.data_bytes < 72:
                raise self._corrupt(channel.offset, "a channel block is too short")
            kind, _, _, bit, start, bits, flags, invalid = struct.unpack_from(
                "<BBBBIIII", self._data, channel.data_offset
            )
            if kind in _IN_RECORD and start + (bit + bits + 7) // 8 > data_bytes:
                raise self._corrupt(channel.offset, "a channel lies past the end of its record")
            if flags & 2 and invalid >= invalid_bytes * 8:
                raise self._corrupt(channel.offset, "a channel's invalidation bit lies past the end of its record")
            if not channel.links[2]:
                raise self._corrupt(channel.offset, "a channel has no name")
            self._texts((channel.links[2], *channel.links[6:8]), "a channel's name, unit or comment")
            self._source(channel.links[3])
            self._conversion(channel.links[4], ())
            self._signal_data(kind, channel)
            if channel.links[1]:
                self._composition(channel.links[1], data_bytes, invalid_bytes, seen)

    def _signal_data(self, kind: int, channel: Block) -> None:
        if kind == 1 and channel.links[5]:
            block = self._block(channel.links[5], _SIGNAL_DATA, "variable-length data")
            if block.kind in _DATA:
                self._data_list(channel.links[5])

    def _composition(self, offset: int, data_bytes: int, invalid_bytes: int, seen: set[int]) -> None:
        while offset:
            block = self._block(offset, {b"##CN", b"##CA"}, "a composition")
            if block.kind == b"##CN":
                self._channels(offset, data_bytes, invalid_bytes, seen)
                return
            if offset in seen or not block.links:
                raise self._corrupt(offset, "an array is part of itself")
            seen.add(offset)
            offset = block.links[0]

    def _texts(self, offsets: tuple[int, ...], what: str) -> None:
        for offset in offsets:
            if offset:
                self._block(offset, {b"##TX", b"##MD"}, what)

    def _source(self, offset: int) -> None:
        if offset:
            self._texts(self._block(offset, {b"##SI"}, "a source").links[:3], "a source's name")

    def _conversion(self, offset: int, parents: tuple[int, ...]) -> None:
        if not offset:
            return
        if offset in parents or len(parents) > 16:
            raise self._corrupt(offset, "a conversion refers to itself")
        block = self._block(offset, {b"##CC"}, "a conversion")
        self._texts(block.links[:3], "a conversion's name, unit or comment")
        for link in block.links[4:]:
            if link and self._block(link, {b"##CC", b"##TX", b"##MD"}, "a conversion's text").kind == b"##CC":
                self._conversion(link, (*parents, offset))

    # -- data ----------------------------------------------------------------------------------------------------

    def _data_list(self, offset: int) -> tuple[int, int, bool]:
        """Return declared bytes, whole bytes before the first damage, and whether these are rows in sequence."""
        total, whole, unbroken, exact = 0, 0, True, True
        for at, ordered in self._fragments(offset):
            size, sound = self._fragment(at)
            exact = exact and ordered
            total += size
            unbroken = unbroken and (sound == size)
            whole += size if unbroken else 0
            if not unbroken and sound != size:
                whole += sound if whole + size == total else 0
        return total, min(whole, total), exact

    def _fragments(self, offset: int) -> list[tuple[int, bool]]:
        block = self._block(offset, _DATA, "a data block")
        if block.kind == b"##HL":
            block = self._block(block.links[0] if block.links else 0, {b"##DL"}, "a data list")
        if block.kind not in (b"##DL", b"##LD"):
            return [(block.offset, True)]
        found: list[tuple[int, bool]] = []
        for item in self._chain(block.offset, block.kind):
            found.extend((link, block.kind == b"##DL") for link in item.links[1:] if link)
        return found

    def _fragment(self, offset: int) -> tuple[int, int]:
        """Return a data block's uncompressed length: declared, and how much of it is sound."""
        if offset in self._sound:
            size, sound = self._sound[offset]
            return size, size if sound else 0
        try:
            block = self._block(offset, _DATA - {b"##DL", b"##HL", b"##LD"}, "a data block")
            if block.kind != b"##DZ":
                _, _, length, links = _HEAD.unpack_from(self._data, offset)
                declared = length - _HEAD.size - 8 * links
                self._result.uncompressed_bytes += block.data_bytes
                return declared, block.data_bytes
            size = self._inflate(block)
        except CorruptLog as error:
            if not self._recover:
                raise
            self._result.damage.append((0, error.what))
            self._sound[offset] = (1, False)
            return 1, 0
        self._sound[offset] = (size, True)
        return size, size

    def _inflate(self, block: Block) -> int:
        if block.data_bytes < 24:
            raise self._corrupt(block.offset, "a compressed block is too short")
        _, method, _, _, size, stored = struct.unpack_from("<2sBBIQQ", self._data, block.data_offset)
        if stored > block.data_bytes - 24:
            raise self._corrupt(block.offset, "a compressed block claims more bytes than are left: the file was cut")
        if method not in (_DEFLATE, _TRANSPOSED_DEFLATE):
            return int(size)
        start = block.data_offset + 24
        stream = zlib.decompressobj()
        try:
            found = len(stream.decompress(self._data[start : start + stored], size + 1))
        except (zlib.error, OverflowError) as error:
            raise self._corrupt(block.offset, f"a compressed block does not inflate ({error})") from error
        if found != size or not stream.eof:
            raise self._corrupt(block.offset, f"a compressed block inflates to {found} bytes, not the {size} it says")
        return found
