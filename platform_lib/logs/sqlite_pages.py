"""The rows of a damaged SQLite file that are whole: read page by page, so that no torn page gives a row.

A leaf page counts if all of it is accounted for: cells that neither overlap nor leave gaps, row ids that ascend within
what the pages above promise, records as long as their heads say, overflow pages that are there and named once. Pages
that zeros reach into from the next one do not count: that part of a payload was lost would show nowhere else. Source: SQLite file format, https://www.sqlite.org/fileformat2.html (2026-11-20).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from platform_lib.errors import CorruptLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import REMEDY

Value = int | float | str | bytes | None
_INDEX_INTERIOR, _TABLE_INTERIOR, _INDEX_LEAF, _TABLE_LEAF = 2, 5, 10, 13
_HEAD = struct.Struct(">BHHHB")
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_FIXED = {0: None, 8: 0, 9: 1}
_LEAST_CELL_BYTES = 4
_EDGE_BYTES = 8  # of zeros, on both sides of a page's end
_MOST_DEPTH = 64
_MOST_VALUE_BYTES = 1 << 30
_LEAST_ROWID, _MOST_ROWID = -(1 << 63), (1 << 63) - 1


class TornError(ValueError):
    """A page, cell or record that is not whole."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's row: its id, where its cell is, and the stretches (offset, length) of its record."""

    rowid: int
    place: int
    stretches: tuple[tuple[int, int], ...]


class SqlitePages:
    """A file's pages.

    Attributes:
        page_bytes: How long each is.
        torn: How many pages were met that are not whole.
    """

    def __init__(self, source: ByteSource) -> None:
        """Read the head of the file.

        Raises:
            CorruptLog: It is none.
        """
        self._source = source
        head = bytes(source.read_at(0, min(100, source.size_bytes)))
        size = int.from_bytes(head[16:18], "big")
        self.page_bytes = 1 << 16 if size == 1 else size
        if len(head) < 100 or self.page_bytes < 512 or self.page_bytes & (self.page_bytes - 1):
            raise CorruptLog("the head of the sqlite3 file is damaged", where=source.name, remedy=REMEDY)
        self._usable = self.page_bytes - head[20]
        self._pages = source.size_bytes // self.page_bytes
        self.torn = 0
        self._suspect = self._first_blank()

    def _first_blank(self) -> int:
        """Return the page in which the zeros begin that the file ends with, if they are a page or more; else none."""
        number = self._pages
        while number > 1 and not any(self._page(number)):
            number -= 1
        return number if number < self._pages else 0

    def _page(self, number: int) -> bytes:
        if not 0 < number <= self._pages:
            raise TornError(f"page {number} is not there")
        return bytes(self._source.read_at((number - 1) * self.page_bytes, self.page_bytes))

    def _zeros_pass(self, number: int, page: bytes) -> bool:
        """Whether zeros reach from a page into the one before or behind it, as when part of a disk was lost."""
        start = (number - 1) * self.page_bytes
        edges = []
        if not any(page[:_EDGE_BYTES]) and number > 1:
            edges.append(start - _EDGE_BYTES)
        if not any(page[-_EDGE_BYTES:]) and number < self._pages:
            edges.append(start + self.page_bytes)
        return any(not any(bytes(self._source.read_at(edge, _EDGE_BYTES))) for edge in edges)

    # -- trees ---------------------------------------------------------------------------------------------------

    def table(self, root: int) -> Iterator[Cell]:
        """Yield the rows of a table's whole pages."""
        seen: set[int] = set()
        waiting = [(root, _LEAST_ROWID, _MOST_ROWID, 0)]
        while waiting:
            number, low, high, depth = waiting.pop()
            try:
                if number in seen or depth > _MOST_DEPTH:
                    raise TornError(f"page {number} is met twice")
                seen.add(number)
                kind, page, cells, right = self._checked(number, (_TABLE_INTERIOR, _TABLE_LEAF))
                if kind == _TABLE_LEAF:
                    found = [self._cell(number, page, at) for at, _ in cells]
                    _ascending([low, *(cell.rowid for cell in found)], high, strict=low != _LEAST_ROWID)
                    yield from found
                    continue
                keys = [_varint(page, at + 4)[0] for at, _ in cells]
                _ascending([low, *keys], high, strict=False)
                children = [*(int.from_bytes(page[at : at + 4], "big") for at, _ in cells), right]
                bounds = [low, *keys, high]
                waiting += [(child, *pair, depth + 1) for child, pair in zip(children, pairwise(bounds), strict=True)][
                    ::-1
                ]
            except (TornError, IndexError, struct.error):
                self.torn += 1

    def index(self, root: int) -> Iterator[list[Value]]:
        """Yield the entries of an index's whole pages, in any order; `torn` tells whether there were others."""
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            number = waiting.pop()
            try:
                if number in seen:
                    raise TornError(f"page {number} is met twice")
                seen.add(number)
                kind, page, cells, right = self._checked(number, (_INDEX_INTERIOR, _INDEX_LEAF))
                shift = 4 if kind == _INDEX_INTERIOR else 0
                for at, _ in cells:
                    size, at_record = _varint(page, at + shift)
                    yield record(page[at_record : at_record + size])
                if kind == _INDEX_INTERIOR:
                    waiting += [*(int.from_bytes(page[at : at + 4], "big") for at, _ in cells), right]
            except (TornError, IndexError, struct.error, UnicodeDecodeError):
                self.torn += 1

    def cell(self, place: int) -> Cell:
        """Return the row whose cell is at `place`.

        Raises:
            TornError: It is not whole.
        """
        number, at = divmod(place, self.page_bytes)
        return self._cell(number + 1, self._page(number + 1), at)

    # -- pages ---------------------------------------------------------------------------------------------------

    def _checked(self, number: int, kinds: tuple[int, int]) -> tuple[int, bytes, list[tuple[int, int]], int]:
        """Return a page's kind, bytes, cells (start, stop) in key order, and its last child."""
        page = self._page(number)
        if number == self._suspect or self._zeros_pass(number, page):
            raise TornError(f"zeros begin in page {number}")
        start = 100 if number == 1 else 0
        kind, free, count, content, fragments = _HEAD.unpack_from(page, start)
        interior = kind in (_TABLE_INTERIOR, _INDEX_INTERIOR)
        first = start + (12 if interior else 8)
        content = content or 1 << 16
        if kind not in kinds or first + 2 * count > content or content > self._usable:
            raise TornError(f"page {number} is of kind {kind}")
        pointers = struct.unpack_from(f">{count}H", page, first)
        cells = [(at, at + self._cell_bytes(kind, page, at)) for at in pointers]
        taken = sorted([*cells, *_free_blocks(page, free)])
        edges = [(content, content), *taken, (self._usable, self._usable)]
        gaps = [after[0] - before[1] for before, after in pairwise(edges)]
        if min(gaps) < 0 or sum(gaps) != fragments:
            raise TornError(f"page {number} is not accounted for")
        right = int.from_bytes(page[start + 8 : start + 12], "big") if interior else 0
        return kind, page, cells, right

    def _cell_bytes(self, kind: int, page: bytes, at: int) -> int:
        if kind == _TABLE_INTERIOR:
            return _varint(page, at + 4)[1] - at
        body = at + (4 if kind == _INDEX_INTERIOR else 0)
        size, body = _varint(page, body)
        if kind == _TABLE_LEAF:
            body = _varint(page, body)[1]
        most = self._usable - 35 if kind == _TABLE_LEAF else (self._usable - 12) * 64 // 255 - 23
        local = self._local(size, most)
        return max(_LEAST_CELL_BYTES, body + local + (4 if local < size else 0) - at)

    def _local(self, size: int, most: int) -> int:
        """Return how many bytes of a record lie in its cell."""
        if size <= most:
            return size
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (self._usable - 4)
        return local if local <= most else least

    def _cell(self, number: int, page: bytes, at: int) -> Cell:
        size, body = _varint(page, at)
        rowid, body = _varint(page, body)
        if size > _MOST_VALUE_BYTES:
            raise TornError(f"a record of {size} bytes")
        start = (number - 1) * self.page_bytes
        local = self._local(size, self._usable - 35)
        stretches = [(start + body, local)]
        if local < size:
            link = int.from_bytes(page[body + local : body + local + 4], "big")
            stretches += self._overflow(link, size - local)
        _check_record(page[body : body + local], size)
        return Cell(rowid, start + at, tuple(stretches))

    def _overflow(self, link: int, left: int) -> Iterator[tuple[int, int]]:
        seen: set[int] = set()
        while left:
            page = self._page(link)
            if link in seen or link == self._suspect or not any(page) or self._zeros_pass(link, page):
                raise TornError(f"overflow page {link} is met twice, or partly blank")
            seen.add(link)
            held = min(left, self._usable - 4)
            yield (link - 1) * self.page_bytes + 4, held
            left -= held
            link = int.from_bytes(page[:4], "big")
        if link:
            raise TornError("a record goes on after its end")

    def data(self, cell: Cell) -> bytes:
        """Return a row's record."""
        return b"".join(bytes(self._source.read_at(*stretch)) for stretch in cell.stretches)

    def close(self) -> None:
        """Release the file."""
        self._source.close()


def _free_blocks(page: bytes, at: int) -> Iterator[tuple[int, int]]:
    before = 0
    while at:
        if at <= before:
            raise TornError("free blocks run in a circle")
        link, size = struct.unpack_from(">HH", page, at)
        yield at, at + size
        before, at = at, link


def _ascending(keys: list[int], high: int, *, strict: bool) -> None:
    """Refuse keys that do not ascend, of which the first is a bound, or that pass `high`."""
    if any(later <= earlier for earlier, later in pairwise(keys[1:])) or keys[-1] > high:
        raise TornError("row ids do not ascend")
    if strict and len(keys) > 1 and keys[1] <= keys[0]:
        raise TornError("a row id lies below its page's")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = 0
    for number in range(8):
        byte = data[at + number]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _layout(head: bytes) -> tuple[list[int], int]:
    """Return the kinds of a record's values, and where the first one begins."""
    stop, at = _varint(head, 0)
    if not 0 < stop <= len(head):
        raise TornError("a record's head is torn")
    kinds = []
    while at < stop:
        kind, at = _varint(head, at)
        kinds.append(kind)
    if at != stop or any(kind < 0 or kind in (10, 11) for kind in kinds):
        raise TornError("a record's head is torn")
    return kinds, stop


def _bytes_of(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return 8 if kind == 7 else _INTEGER_BYTES.get(kind, 0)


def _check_record(local: bytes, size: int) -> None:
    kinds, start = _layout(local)
    if start + sum(map(_bytes_of, kinds)) != size:
        raise TornError("a record is not as long as its head says")


def record(data: bytes) -> list[Value]:
    """Return a record's values.

    Raises:
        TornError: It is not whole.
        UnicodeDecodeError: A text is none.
    """
    kinds, at = _layout(data)
    values: list[Value] = []
    for kind in kinds:
        part = data[at : at + _bytes_of(kind)]
        at += len(part)
        if kind in _FIXED:
            values.append(_FIXED[kind])
        elif kind == 7:
            values.append(struct.unpack(">d", part)[0])
        elif kind < 12:
            values.append(int.from_bytes(part, "big", signed=True))
        else:
            values.append(part.decode() if kind % 2 else part)
    if at != len(data):
        raise TornError("a record is not as long as its head says")
    return values


def column_names(sql: str) -> list[str]:
    """Return the columns of a ``CREATE TABLE``, in the order in which they are stored."""
    body = sql.partition("(")[2].rpartition(")")[0]
    parts = re.split(r",(?![^(]*\))", body)
    return [words[0].strip('"`[]') for words in (part.split() for part in parts) if words]
