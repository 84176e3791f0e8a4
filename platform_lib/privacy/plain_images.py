"""Image files with nothing in them but the picture that was looked at (pure).

A detector sees the decoded picture. A file may hold others beside it: a thumbnail in its metadata, further frames, a
whole second file behind its end. A frame in which nothing was found keeps its bytes only without those.
"""

from __future__ import annotations

import re

JPEG_MAGIC, PNG_MAGIC = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# Source: ITU-T T.81, table B.1.
_END, _SCAN, _COMMENT, _FILL = 0xD9, 0xDA, 0xFE, 0xFF
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC)})
_APPLICATION = range(0xE0, 0xF0)
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # stuffed zeros and restarts are of the scan
# Source: ITU-T T.871, 10.1: two bytes of size, five of name, seven of header, then width and height of a thumbnail.
_JFIF_WITHOUT_THUMBNAIL = re.compile(rb"\x00\x10JFIF\x00.{7}\x00\x00", re.DOTALL)
_ADOBE = re.compile(rb"\x00\x0eAdobe", re.DOTALL)  # says how colours are coded
# Source: ISO/IEC 15948, 5.6: critical chunks, and those without which the picture would look otherwise.
_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"iCCP"})
_CHUNK_FRAME = 12  # length, name, checksum


def plain_jpeg(data: bytes) -> bytes | None:
    """Return a JPEG file with its one picture and nothing else, the same bytes where it has nothing else.

    Returns:
        None if it is cut short or is no JPEG file.
    """
    if data[:2] != JPEG_MAGIC:
        return None
    kept, at = [JPEG_MAGIC], 2
    while at + 1 < len(data) and data[at] == _FILL:
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker == _END:
            return b"".join([*kept, data[at : at + 2]])
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            found = _AFTER_SCAN.search(data, stop)
            stop = len(data) if found is None else found.start()
        if marker == _SCAN or marker in _TABLES or _says_how(marker, data[at + 2 : stop]):
            kept.append(data[at:stop])
        elif marker != _COMMENT and marker not in _APPLICATION:
            return None
        at = stop
    return None


def plain_png(data: bytes) -> bytes | None:
    """Return a PNG file with its one picture and nothing else.

    Returns:
        None if it is cut short, is animated, or is no PNG file.
    """
    if data[: len(PNG_MAGIC)] != PNG_MAGIC:
        return None
    kept, at = [PNG_MAGIC], len(PNG_MAGIC)
    while at + _CHUNK_FRAME <= len(data):
        name = data[at + 4 : at + 8]
        stop = at + _CHUNK_FRAME + int.from_bytes(data[at : at + 4], "big")
        if name == b"acTL" or stop > len(data):
            return None
        if name in _CHUNKS:
            kept.append(data[at:stop])
        if name == b"IEND":
            return b"".join(kept)
        at = stop
    return None


def _says_how(marker: int, segment: bytes) -> bool:
    """Whether an application's segment only says how the picture is to be read."""
    if marker == _APPLICATION[0]:
        return _JFIF_WITHOUT_THUMBNAIL.fullmatch(segment) is not None
    return marker == _APPLICATION[14] and len(segment) == 14 and _ADOBE.match(segment) is not None
