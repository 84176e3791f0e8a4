"""Files that their recorder never finished: what it had still to write is found out from the bytes that are there.

Source: ASAM MDF 4.2, ID block, id_unfin_flags.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntFlag

from platform_lib.errors import CorruptLog
from platform_lib.logs.mdf4.blocks import HEAD, Blocks
from platform_lib.logs.mdf4.chains import PIECE_KINDS, read_pieces
from platform_lib.logs.mdf4.model import Chain, Codec, DataGroup, Fragment

_ALIGNMENT = 8


class Missing(IntFlag):
    """id_unfin_flags: what the recorder left undone."""

    CYCLES = 0x01
    REDUCTION_CYCLES = 0x02
    LAST_DATA_LENGTH = 0x04
    LAST_REDUCTION_LENGTH = 0x08
    LAST_LIST = 0x10
    VARIABLE_BYTES = 0x20
    VARIABLE_OFFSETS = 0x40


KNOWN = 0x7F
"""All of `Missing`. Reductions are not read, and how long variable-length data is, is counted: these need nothing."""


def completed(blocks: Blocks, data_group: DataGroup, flags: int) -> DataGroup:
    """Return a data group with all the data that lies in the file for it.

    Args:
        blocks: The file, after all its metadata was read.
        data_group: As its blocks say.
        flags: id_unfin_flags.
    """
    chain = data_group.data
    if flags & Missing.LAST_LIST:
        chain = _with_unlisted(blocks, chain)
    if flags & Missing.LAST_DATA_LENGTH:
        chain = _with_open_end(blocks, chain)
    return replace(data_group, data=chain)


def _with_open_end(blocks: Blocks, chain: Chain) -> Chain:
    """Let the last uncompressed block reach to the next block, or to the end of the file."""
    if not chain.fragments or chain.fragments[-1].codec is not Codec.NONE:
        return chain
    last = chain.fragments[-1]
    end = min((offset for offset in blocks.met if offset >= last.offset), default=blocks.source.size)
    fragments = (*chain.fragments[:-1], Fragment(last.offset, end - last.offset, end - last.offset, Codec.NONE))
    return Chain(fragments, sum(item.size_bytes for item in fragments))


def _with_unlisted(blocks: Blocks, chain: Chain) -> Chain:
    """Add the data blocks that follow the last listed one, as far as they are whole."""
    fragments = list(chain.fragments)
    while fragments:
        end = fragments[-1].offset + fragments[-1].stored_bytes
        offset = end + -end % _ALIGNMENT
        if offset in blocks.met or offset + HEAD.size > blocks.source.size:
            break
        try:
            blocks.block(offset, PIECE_KINDS, "a data block")
            fragments += read_pieces(blocks, offset, recover=False).fragments
        except CorruptLog:
            break
    return Chain(tuple(fragments), sum(item.size_bytes for item in fragments), chain.broken)
