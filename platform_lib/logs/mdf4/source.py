"""Bytes of an MDF file at any place, with a small cache for blocks that lie near each other."""

from __future__ import annotations

from collections import OrderedDict

from platform_lib.logs.bytes_source import ByteSource

_PAGE_BYTES = 1 << 16
_PAGES = 64


class FileBytes:
    """A file or object, read by place.

    Attributes:
        path: Its name, for messages.
        size: How many bytes it has.
        remote: Whether a read costs a request over the network.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.path = source.name
        self.size = source.size_bytes
        self.remote = source.remote
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._page, self._page_offset = b"", 0

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes at `offset`; may be called from several threads.

        Raises:
            CorruptLog: The file became shorter while it was read.
        """
        return self._source.read_at(offset, count)

    def peek(self, offset: int, count: int) -> bytes:
        """Return a few bytes at `offset`, through the cache; for one thread."""
        begin = offset - self._page_offset
        if 0 <= begin and begin + count <= len(self._page):  # the page of the last time
            return self._page[begin : begin + count]
        number, start = divmod(offset, _PAGE_BYTES)
        if start + count > _PAGE_BYTES:
            return self.read(offset, count)
        page = self._pages.get(number)
        if page is None:
            first = number * _PAGE_BYTES
            page = self.read(first, min(_PAGE_BYTES, self.size - first))
            self._pages[number] = page
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        self._page, self._page_offset = page, number * _PAGE_BYTES
        return page[start : start + count]

    def close(self) -> None:
        """Release the file."""
        self._pages.clear()
        self._source.close()
