"""Encode ROS 2 messages: CDR (XCDR1, little-endian) with the few primitives the drives need. Pure."""

from __future__ import annotations

import struct

# Encapsulation header: plain CDR, little-endian, no options. Source: OMG DDSI-RTPS 2.5, section 10.2.1.2.
_ENCAPSULATION = b"\x00\x01\x00\x00"
_SIZES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8, "d": 8}


class CdrWriter:
    """Builds one message; alignment counts from the byte after the encapsulation header."""

    def __init__(self) -> None:
        self._data = bytearray(_ENCAPSULATION)

    def put(self, code: str, *values: float) -> CdrWriter:
        """Append values of one `struct` code, aligned to their size."""
        size = _SIZES[code]
        self._data += bytes(-(len(self._data) - 4) % size)
        self._data += struct.pack(f"<{len(values)}{code}", *values)
        return self

    def text(self, value: str) -> CdrWriter:
        """Append a string: length with the closing zero byte, characters, zero byte."""
        data = value.encode() + b"\0"
        self.put("I", len(data))
        self._data += data
        return self

    def blob(self, value: bytes) -> CdrWriter:
        """Append a sequence of uint8."""
        self.put("I", len(value))
        self._data += value
        return self

    def header(self, stamp_ns: int, frame_id: str) -> CdrWriter:
        """Append a std_msgs/Header."""
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        return self.put("i", seconds).put("I", nanoseconds).text(frame_id)

    def done(self) -> bytes:
        """Return the message."""
        return bytes(self._data)
