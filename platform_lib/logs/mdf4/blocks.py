"""MDF 4 blocks: each read with its bounds checked, chains followed to their end, texts decoded.

Nothing is believed: a block lies inside the file and is of the kind its link promises, its links fit in its length, a
chain that runs in a circle is refused. Source: ASAM MDF 4.2 base standard, block layouts.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.mdf4.source import FileBytes

HEAD = struct.Struct("<4sIQQ")
HD_OFFSET = 64
TEXT_KINDS = frozenset({b"##TX", b"##MD"})
_MOST_LINKS = 1 << 20
_MOST_METADATA_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    Attributes:
        kind: ``b"##CN"`` and the like.
        offset: Where it starts.
        links: Offsets of other blocks, 0 for none.
        data_offset: Where its data section starts.
        data_bytes: How long its data section is.
    """

    kind: bytes
    offset: int
    links: tuple[int, ...]
    data_offset: int
    data_bytes: int


class Blocks:
    """The blocks of one file.

    Attributes:
        source: Its bytes.
        not_utf8: How many texts were not UTF-8.
        met: Where blocks were found.
    """

    def __init__(self, source: FileBytes) -> None:
        self.source = source
        self.not_utf8 = 0
        self.met: set[int] = set()
        self._texts: dict[int, str] = {}

    def corrupt(self, offset: int, what: str) -> CorruptLog:
        """Return the error that names this place."""
        return CorruptLog(f"damaged at byte {offset}: {what}", where=self.source.path, remedy=REMEDY)

    def head(self, offset: int, kinds: Collection[bytes], what: str) -> tuple[bytes, int, int]:
        """Return a block's kind, length and number of links, after checking that its head and links are there.

        Raises:
            CorruptLog: It lies outside the file, is of another kind, or its links do not fit in it.
        """
        size = self.source.size
        if offset < HD_OFFSET or offset + HEAD.size > size:
            raise self.corrupt(offset, f"{what} lies outside the file ({size} bytes)")
        kind, _, length, links = HEAD.unpack(self.source.peek(offset, HEAD.size))
        if kind not in kinds:
            raise self.corrupt(offset, f"{what} is not there, but {kind!r}")
        if links > _MOST_LINKS or length < HEAD.size + 8 * links or offset + HEAD.size + 8 * links > size:
            raise self.corrupt(offset, f"{what} claims {links} links in {length} bytes")
        self.met.add(offset)
        return kind, length, links

    def block(self, offset: int, kinds: Collection[bytes], what: str, *, cut: bool = False) -> Block:
        """Return a block that lies whole in the file.

        Args:
            offset: Where.
            kinds: What it may be.
            what: What it is to the reader of an error.
            cut: Allow its data section to end with the file, before its declared end.

        Raises:
            CorruptLog: It is not there.
        """
        kind, length, count = self.head(offset, kinds, what)
        left = self.source.size - offset
        if length > left and not cut:
            raise self.corrupt(offset, f"{what} claims {length} bytes, more than are left: the file was cut")
        links = struct.unpack(f"<{count}Q", self.source.peek(offset + HEAD.size, 8 * count)) if count else ()
        start = HEAD.size + 8 * count
        return Block(kind, offset, links, offset + start, min(length, left) - start)

    def payload(self, block: Block, least: int, what: str) -> bytes:
        """Return a metadata block's data section, of at least `least` bytes."""
        if block.data_bytes < least:
            raise self.corrupt(block.offset, f"{what} is too short")
        if block.data_bytes > _MOST_METADATA_BYTES:
            raise self.corrupt(block.offset, f"{what} claims {block.data_bytes} bytes of metadata")
        return self.source.peek(block.data_offset, block.data_bytes)

    def chain(self, first: int, kind: bytes) -> Iterator[Block]:
        """Follow ``links[0]`` from `first` to the end.

        Raises:
            CorruptLog: A block is not there, or the chain runs in a circle.
        """
        seen: set[int] = set()
        while first:
            if first in seen:
                raise self.corrupt(first, f"the chain of {kind.decode()} blocks runs in a circle")
            seen.add(first)
            block = self.block(first, (kind,), f"a {kind.decode()} block")
            if not block.links:
                raise self.corrupt(first, f"a {kind.decode()} block has no links")
            yield block
            first = block.links[0]

    def text(self, offset: int, what: str) -> str:
        """Return the text of a TX or MD block, ``""`` for no block; what is not UTF-8 is taken as Latin-1.

        Raises:
            CorruptLog: There is no such block.
        """
        if not offset:
            return ""
        known = self._texts.get(offset)
        if known is None:
            known = self._texts[offset] = self._text(offset, what)
        return known

    def _text(self, offset: int, what: str) -> str:
        block = self.block(offset, TEXT_KINDS, what)
        data = self.payload(block, 0, what).split(b"\0", 1)[0].strip(b" \r\t\n")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            self.not_utf8 += 1
            return data.decode("latin-1")


def plain(text: str) -> str:
    """Return the text of an XML comment (its ``TX`` element), other text as it is."""
    if not text.startswith("<"):
        return text
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat expands no external entity and limits amplification itself
    except ET.ParseError:
        return text
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "TX":
            return (element.text or "").strip()
    return ""
