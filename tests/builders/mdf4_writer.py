"""A small writer of MDF 4 files, block by block, for what asammdf cannot write: every layout, and every lie."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lz4.frame
import zstandard

START_NS = 1_780_000_000_000_000_000
VALUE, VLSD, MASTER, VIRTUAL_MASTER, SYNC, MLSD, VIRTUAL = range(7)


@dataclass
class Conversion:
    kind: int
    values: Sequence[float] = ()
    references: Sequence[str | Conversion | None] = ()
    unit: str = ""
    name: str = ""


@dataclass
class Channel:
    name: str
    data_type: int = 0
    bits: int = 8
    byte: int = 0
    bit: int = 0
    kind: int = VALUE
    sync: int = 0
    flags: int = 0
    invalid_bit: int = 0
    conversion: Conversion | None = None
    unit: str = ""
    comment: str = ""
    parts: Sequence[Channel] = ()
    sizes: Sequence[int] = ()
    step: int = 0
    inverse: bool = False
    array_storage: int = 0
    signal_data: bytes | None = None
    variable_group: int | None = None
    size_channel: str | None = None
    composition: str = ""  # the kind of a block of MDF 4.3 that composes it


def time_channel(byte: int = 0, **options: object) -> Channel:
    return Channel("time", data_type=4, bits=64, byte=byte, kind=MASTER, sync=1, unit="s", **options)  # type: ignore[arg-type] # any field


@dataclass
class Group:
    channels: Sequence[Channel]
    cycles: int
    data_bytes: int
    invalid_bytes: int = 0
    record_id: int = 0
    flags: int = 0
    name: str = ""
    master: int | None = None


@dataclass
class Data:
    """A data group: how its bytes are stored, and in blocks of how many bytes."""

    groups: Sequence[Group]
    data: bytes = b""
    id_bytes: int = 0
    storage: str = "DT"
    block_bytes: int = 1 << 22
    columns: int = 0
    invalidation: bytes | None = None


def transposed(data: bytes, columns: int) -> bytes:
    rows = len(data) // columns
    whole = rows * columns
    return b"".join(data[at:whole:columns] for at in range(columns)) + data[whole:]


_CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "DZ": (0, lambda data: zlib.compress(data, 1)),
    "ZSTD": (2, lambda data: zstandard.ZstdCompressor().compress(data)),
    "LZ4": (4, lambda data: bytes(lz4.frame.compress(data))),
}


@dataclass
class Writer:
    """Collects blocks; offsets are known as they are added, later links are patched in."""

    version: int = 420
    buffer: bytearray = field(default_factory=bytearray)
    unfinished: int | None = None
    starts: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = b"UnFinMF " if self.unfinished is not None else b"MDF     "
        head = struct.pack("<8s8s8s4xH30xHH", name, b"4.20    ", b"test", self.version, self.unfinished or 0, 0)
        self.buffer += head.ljust(64, b"\0")
        self.block("HD", [0] * 6, struct.pack("<QhhBBBBdd", START_NS, 0, 0, 0, 0, 0, 0, 0.0, 0.0))

    def block(self, kind: str, links: Sequence[int], data: bytes) -> int:
        self.buffer += bytes(-len(self.buffer) % 8)
        offset = len(self.buffer)
        self.starts.setdefault(kind, []).append(offset)
        size = 24 + 8 * len(links) + len(data)
        self.buffer += struct.pack(f"<4sIQQ{len(links)}Q", b"##" + kind.encode(), 0, size, len(links), *links) + data
        return offset

    def link(self, offset: int, number: int, target: int) -> None:
        struct.pack_into("<Q", self.buffer, offset + 24 + 8 * number, target)

    def text(self, text: str | bytes, kind: str = "TX") -> int:
        if not text:
            return 0
        return self.block(kind, [], (text if isinstance(text, bytes) else text.encode()) + b"\0")

    def conversion(self, item: Conversion | None) -> int:
        if item is None:
            return 0
        links = [self.text(item.name), self.text(item.unit), 0, 0]
        for reference in item.references:
            plain = isinstance(reference, str | bytes)
            links.append(self.text(reference) if plain else self.conversion(reference))  # type: ignore[arg-type] # a text, a conversion or None
        form = "Q" if item.kind == 11 else "d"
        data = struct.pack("<BBHHHdd", item.kind, 0, 0, len(item.references), len(item.values), 0.0, 0.0)
        return self.block("CC", links, data + struct.pack(f"<{len(item.values)}{form}", *item.values))

    def channel(self, item: Channel, names: dict[str, int]) -> int:
        composition = 0
        if item.parts:
            composition = self.channels(item.parts, names)
        if item.sizes:
            flags = 64 if item.inverse else 0
            head = struct.pack("<BBHIiI", 0, item.array_storage, len(item.sizes), flags, item.step, 0)
            composition = self.block("CA", [composition], head + struct.pack(f"<{len(item.sizes)}Q", *item.sizes))
        if item.composition:
            composition = self.block(item.composition, [0], bytes(8))
        data = self.data_block("SD", item.signal_data) if item.signal_data is not None else 0
        if item.size_channel is not None:
            data = names[item.size_channel]
        links = [0, composition, self.text(item.name), 0, self.conversion(item.conversion), data]
        links += [self.text(item.unit), self.text(item.comment)]
        place = (item.kind, item.sync, item.data_type, item.bit, item.byte, item.bits, item.flags, item.invalid_bit)
        offset = self.block("CN", links, struct.pack("<BBBBIIIIBBH6d", *place, 0, 0, 0, *[0.0] * 6))
        names[item.name] = offset
        return offset

    def channels(self, items: Sequence[Channel], names: dict[str, int]) -> int:
        offsets = [self.channel(item, names) for item in items]
        for before, after in itertools.pairwise(offsets):
            self.link(before, 0, after)
        return offsets[0] if offsets else 0

    def data_block(self, kind: str, data: bytes, codec: str = "", columns: int = 0) -> int:
        if not codec:
            return self.block(kind, [], data)
        number, compress = _CODECS[codec]
        stored = compress(transposed(data, columns) if columns else data)
        head = struct.pack("<2sBBIQQ", kind.encode(), number + bool(columns), 0, columns, len(data), len(stored))
        return self.block("DZ", [], head + stored)

    def stream(self, item: Data) -> int:
        """Write a data group's bytes: ``DT``, or ``DL`` and ``HL`` lists of ``+DZ``, ``+LZ4``, ..., or ``LD``."""
        layout, _, codec = item.storage.partition("+")
        if layout == "DT":
            return self.data_block("DV" if item.invalidation is not None else "DT", item.data, codec, item.columns)
        kind = "DV" if layout == "LD" else "DT"
        pieces = [item.data[at : at + item.block_bytes] for at in range(0, len(item.data), item.block_bytes)]
        blocks = [self.data_block(kind, piece, codec, item.columns) for piece in pieces]
        if layout == "LD":
            return self._columnar(item, pieces, blocks)
        half = max(1, len(blocks) // 2)
        lists = []
        for part in (blocks[:half], blocks[half:]):
            starts = [sum(len(piece) for piece in pieces[: blocks.index(block)]) for block in part]
            head = struct.pack("<II", 0, len(part)) + struct.pack(f"<{len(part)}Q", *starts)
            lists.append(self.block("DL", [0, *part], head))
        self.link(lists[0], 0, lists[1])
        return self.block("HL", lists[:1], struct.pack("<HBBI", 0, 0, 0, 0)) if layout == "HL" else lists[0]

    def _columnar(self, item: Data, pieces: list[bytes], blocks: list[int]) -> int:
        group = item.groups[0]
        flags, links = 1, [0, *blocks]
        if item.invalidation is not None:
            flags |= 1 << 31
            at = 0
            for piece in pieces:
                count = len(piece) // group.data_bytes * group.invalid_bytes
                part = item.invalidation[at : at + count]
                links.append(self.data_block("DI", part) if any(part) else 0)
                at += count
        return self.block("LD", links, struct.pack("<IIQ", flags, len(blocks), item.block_bytes // group.data_bytes))

    def data_group(self, item: Data, all_groups: list[int]) -> int:
        offsets, names = [], dict[str, int]()
        for group in item.groups:
            variable = group.flags & 1
            first = 0 if variable else self.channels(group.channels, names)
            master = [0] if group.master is not None else []
            head = struct.pack(
                "<QQHHIII", group.record_id, group.cycles, group.flags, 0, 0, group.data_bytes, group.invalid_bytes
            )
            links = [0, first, self.text(group.name), 0, 0, 0, *master]
            offsets.append(self.block("CG", links, head))
        for before, after in itertools.pairwise(offsets):
            self.link(before, 0, after)
        for group in item.groups:
            for channel in group.channels:
                if channel.variable_group is not None:
                    self.link(names[channel.name], 5, offsets[channel.variable_group])
        all_groups += offsets
        data = self.stream(item) if item.data else 0
        return self.block("DG", [0, offsets[0], data, 0], struct.pack("<B7x", item.id_bytes))

    def write(self, path: Path, items: Sequence[Data]) -> Path:
        """Write the file; ``Group.master`` counts channel groups through the whole file."""
        groups: list[int] = []
        offsets = [self.data_group(item, groups) for item in items]
        self.link(64, 0, offsets[0])
        for before, after in itertools.pairwise(offsets):
            self.link(before, 0, after)
        flat = [group for item in items for group in item.groups]
        for offset, group in zip(groups, flat, strict=True):
            if group.master is not None:
                self.link(offset, 6, groups[group.master])
        path.write_bytes(self.buffer)
        return path


def write_mdf4(path: Path, items: Sequence[Data], **options: int) -> Path:
    return Writer(**options).write(path, items)


def seconds(rows: int, step_s: float = 0.01) -> list[bytes]:
    """The bytes of a time channel, row by row."""
    return [struct.pack("<d", row * step_s) for row in range(rows)]
