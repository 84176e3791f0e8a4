"""Finds the pieces of a data stream: DT, SD, DV, DI and DZ blocks, alone or in DL, HL and LD lists.

Only block heads are read: how long a stream is, is known without inflating it. Source: ASAM MDF 4.2, data blocks;
MDF 4.3, zip types 2 to 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.mdf4.blocks import HEAD, Block, Blocks
from platform_lib.logs.mdf4.model import EMPTY_CHAIN, Chain, Codec, Fragment

PLAIN_KINDS = frozenset({b"##DT", b"##DV", b"##DI", b"##SD"})
PIECE_KINDS = PLAIN_KINDS | {b"##DZ"}
STREAM_KINDS = PIECE_KINDS | {b"##DL", b"##HL", b"##LD"}
_CODECS = (Codec.DEFLATE, Codec.ZSTD, Codec.LZ4)  # zip type // 2; odd types are transposed
_ZIPPED = struct.Struct("<2sBBIQQ")
_ZIPPED_TYPES = frozenset(kind[2:] for kind in PLAIN_KINDS)
# Deflate's best is 258 bytes for 2 bits (RFC 1951); lz4's is 255 for one byte. Zstandard has no bound: one is set.
_MOST_RATIO = {Codec.DEFLATE: 1032, Codec.LZ4: 255, Codec.ZSTD: 1 << 17}
_RATIO_SLACK_BYTES = 64
MOST_BLOCK_BYTES = 128 << 20
_INVALIDATION_PRESENT = 1 << 31  # ld_flags
_MOST_PIECES = 1 << 24


@dataclass(slots=True)
class Pieces:
    """What a list led to: fragments, and for LD the invalidation bytes beside each."""

    fragments: list[Fragment] = field(default_factory=list)
    invalidation: list[Fragment | None] = field(default_factory=list)
    columnar: bool = False
    broken: CorruptLog | None = None

    def chain(self) -> Chain:
        """Return the stream."""
        return Chain(tuple(self.fragments), sum(item.size_bytes for item in self.fragments), self.broken)


def read_chain(blocks: Blocks, link: int, *, recover: bool) -> Chain:
    """Return the stream that starts at `link`; see `read_pieces`."""
    return read_pieces(blocks, link, recover=recover).chain() if link else EMPTY_CHAIN


def read_pieces(blocks: Blocks, link: int, *, recover: bool) -> Pieces:
    """Return the pieces of the stream that starts at `link`.

    Args:
        blocks: The file.
        link: A data block or a list of them.
        recover: End the stream at the first damage and say so in `Pieces.broken`, instead of raising.

    Raises:
        CorruptLog: A block is not there, is cut, lies about its length, or is listed twice.
        UnsupportedLog: A compression that MDF 4.3 does not define.
    """
    pieces = Pieces()
    try:
        _collect(blocks, link, pieces, recover=recover)
    except CorruptLog as error:
        if not recover:
            raise
        pieces.broken = error
    return pieces


def _collect(blocks: Blocks, link: int, pieces: Pieces, *, recover: bool) -> None:
    kind, _, _ = blocks.head(link, STREAM_KINDS, "a data block")
    if kind == b"##HL":
        head = blocks.block(link, (kind,), "a data list head")
        link = head.links[0] if head.links else 0
        if not link:
            return
        kind, _, _ = blocks.head(link, (b"##DL", b"##LD"), "a data list")
    if kind in PIECE_KINDS:
        pieces.columnar = kind == b"##DV"
        pieces.fragments.append(_fragment(blocks, link, cut=recover))
        _check_cut(blocks, link, pieces)
        return
    pieces.columnar = kind == b"##LD"
    seen: set[int] = set()
    for item in blocks.chain(link, kind):
        _list_item(blocks, item, pieces, seen, recover=recover)


def _list_item(blocks: Blocks, item: Block, pieces: Pieces, seen: set[int], *, recover: bool) -> None:
    data = blocks.payload(item, 8, "a data list")
    flags, count = struct.unpack_from("<II", data)
    with_invalid = pieces.columnar and bool(flags & _INVALIDATION_PRESENT)
    if (2 if with_invalid else 1) * count + 1 > len(item.links):
        raise blocks.corrupt(item.offset, f"a data list claims {count} blocks and has {len(item.links) - 1} links")
    for number in range(count):
        link = item.links[1 + number]
        if not link:
            continue
        if link in seen or len(seen) > _MOST_PIECES:
            raise blocks.corrupt(link, "a data block is listed twice")
        seen.add(link)
        pieces.fragments.append(_fragment(blocks, link, cut=recover))
        if pieces.columnar:
            other = item.links[1 + count + number] if with_invalid else 0
            pieces.invalidation.append(_fragment(blocks, other, cut=False) if other else None)
        _check_cut(blocks, link, pieces)


def _check_cut(blocks: Blocks, link: int, pieces: Pieces) -> None:
    """Stop a recovered stream at a block that the end of the file cuts."""
    _, length, _ = blocks.head(link, PIECE_KINDS, "a data block")
    if length > blocks.source.size - link:
        raise blocks.corrupt(link, f"a data block claims {length} bytes, more than are left: the file was cut")


def _fragment(blocks: Blocks, link: int, *, cut: bool) -> Fragment:
    block = blocks.block(link, PIECE_KINDS, "a data block", cut=cut and blocks.source.peek(link, 4) != b"##DZ")
    if block.kind != b"##DZ":
        return Fragment(block.data_offset, block.data_bytes, block.data_bytes, Codec.NONE)
    if block.data_bytes < _ZIPPED.size:
        raise blocks.corrupt(link, "a compressed block is too short")
    of, zip_type, _, parameter, size, stored = _ZIPPED.unpack(blocks.source.peek(block.data_offset, _ZIPPED.size))
    if of not in _ZIPPED_TYPES:
        raise blocks.corrupt(link, f"a compressed block holds {of!r}, which is no data block")
    if stored > block.data_bytes - _ZIPPED.size:
        raise blocks.corrupt(link, f"a compressed block claims {stored} stored bytes, more than it has")
    if zip_type // 2 >= len(_CODECS):
        what = f"a data block is compressed with method {zip_type}, which MDF 4.3 does not define"
        raise UnsupportedLog(what, where=blocks.source.path, remedy="rewrite the file with its recorder's own tool")
    codec = _CODECS[zip_type // 2]
    if size > stored * _MOST_RATIO[codec] + _RATIO_SLACK_BYTES:
        raise blocks.corrupt(link, f"a compressed block claims {size} bytes in {stored}, more than it can hold")
    columns = parameter if zip_type % 2 else 0
    if zip_type % 2 and not parameter:
        raise blocks.corrupt(link, "a transposed block claims rows of 0 bytes")
    return Fragment(block.data_offset + _ZIPPED.size, stored, size, codec, columns if columns > 1 else 0)


def check_overlaps(blocks: Blocks, chains: list[Chain]) -> None:
    """Refuse data blocks that share bytes: two streams may name the same block, but not parts of one.

    Raises:
        CorruptLog: They do.
    """
    extents = sorted({(item.offset, item.offset + item.stored_bytes) for chain in chains for item in chain.fragments})
    end = 0
    for start, stop in extents:
        if start < end and stop > start:
            raise blocks.corrupt(start - HEAD.size, "two data blocks overlap")
        end = max(end, stop)
