"""A ROS 1 chunk's messages, found where its index says: all at once, since a recorder lays every head out the same.

Nothing is believed: each head is compared with the first, and between the messages there may be connection records alone.
What is laid out in another way is walked, record after record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from platform_lib.logs.payloads import Buffer, anywhere
from platform_lib.logs.rosbag1_records import (
    CONNECTION_OP,
    MESSAGE_OP,
    Index,
    Offsets,
    Records,
    fields_of,
    record,
    records_of,
)

_LENGTH = struct.Struct("<I")
_VALUE_BYTES = {b"conn": 4, b"time": 8}
_WORD = np.dtype("<u4")
_ROWS = 1 << 16  # whose heads are compared at once
_MOST_ODD = 4096  # heads, or gaps between messages, that are looked at one by one


def records_at(data: Buffer, offset: Offsets) -> Records:
    """Return a chunk's messages.

    Args:
        data: The chunk's records.
        offset: (N,) where the index says that messages begin, or the connection records before them; ascending.

    Raises:
        CorruptLog: A record passes the chunk's end, or is none that a chunk has.
        UnsupportedLog: More messages than bounded memory allows.
        LookupError: A field is missing.
    """
    return _alike(data, offset.astype(np.int64)) or records_of(data)


def _alike(data: Buffer, start: Index) -> Records | None:
    """Return the messages at `start`; ``None`` unless their heads are alike and all that the chunk has."""
    first = _message_at(data, int(start[0])) if start.size else None
    if first is None:
        return None
    _, body, _ = record(data, first)
    head = bytes(data[first:body])
    places = dict(_values(head))
    if places.keys() != _VALUE_BYTES.keys():
        return None
    if not _settled(data, start, head, places):
        return None
    numbers = anywhere(data, _WORD)
    seconds, nanoseconds = (numbers[start + places[b"time"] + part].astype(np.int64) for part in (0, 4))
    size = numbers[start + len(head) - _LENGTH.size].astype(np.int64)
    if not _only_connections_between(data, start, start + len(head) + size):
        return None
    connection = numbers[start + places[b"conn"]].astype(np.int64)
    return Records(data, start, connection, seconds * 1_000_000_000 + nanoseconds, start + len(head), size)


def _values(head: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield which of a message's values begin where in its head."""
    at = _LENGTH.size
    while at < len(head) - _LENGTH.size:
        size = _LENGTH.unpack_from(head, at)[0]
        name, _, value = head[at + _LENGTH.size : at + _LENGTH.size + size].partition(b"=")
        if len(value) == _VALUE_BYTES.get(name):
            yield name, at + _LENGTH.size + len(name) + 1
        at += _LENGTH.size + size


def _settled(data: Buffer, start: Index, head: bytes, places: dict[bytes, int]) -> bool:
    """Move each start that is a connection record's to the message behind it; whether all heads are like `head` then."""
    odd = _unlike(data, start, head, places)
    if odd.size > _MOST_ODD:
        return False
    for row in odd.tolist():
        found = _message_at(data, int(start[row]))
        if found is None:
            return False
        start[row] = found
    return not (odd.size and _unlike(data, start, head, places).size)


def _unlike(data: Buffer, start: Index, head: bytes, places: dict[bytes, int]) -> Index:
    """Return which of the starts have no head there that differs from `head` in its values alone."""
    fixed = np.ones(len(head), np.bool_)
    fixed[-_LENGTH.size :] = False  # how long the payload is
    for name, at in places.items():
        fixed[at : at + _VALUE_BYTES[name]] = False
    columns, expected = np.flatnonzero(fixed), np.frombuffer(head, np.uint8)[fixed]
    view = anywhere(data, np.dtype(f"V{len(head)}"))
    found = []
    for first in range(0, start.size, _ROWS):
        some = start[first : first + _ROWS]
        heads = view[np.minimum(some, view.size - 1)].view(np.uint8).reshape(-1, len(head))
        alike = (heads[:, columns] == expected).all(axis=1) & (some < view.size)
        found.append(first + np.flatnonzero(~alike))
    return np.concatenate(found)


def _message_at(data: Buffer, at: int) -> int | None:
    """Return where the message is that begins at `at`, or behind the connection records there."""
    while at + 2 * _LENGTH.size <= len(data):
        head, body, size = record(data, at)
        op = dict(fields_of(head)).get(b"op")
        if op == bytes([MESSAGE_OP]):
            return at
        if op != bytes([CONNECTION_OP]):
            return None
        at = body + size
    return None


def _only_connections_between(data: Buffer, start: Index, end: Index) -> bool:
    """Whether connection records alone lie before, between and behind the messages."""
    begin, stop = np.append(0, end), np.append(start, len(data))
    gaps = np.flatnonzero(begin != stop)
    if gaps.size > _MOST_ODD or (begin > stop).any():
        return False
    for at, limit in zip(begin[gaps].tolist(), stop[gaps].tolist(), strict=True):
        while at < limit:
            if at + 2 * _LENGTH.size > len(data):
                return False
            head, body, size = record(data, at)
            if dict(fields_of(head)).get(b"op") != bytes([CONNECTION_OP]):
                return False
            at = body + size
        if at != limit:
            return False
    return True
