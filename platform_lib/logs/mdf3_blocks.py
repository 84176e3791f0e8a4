"""Proves an MDF 3 file's chains and data lengths before a parser trusts them. Source: MDF 3.3 specification."""

from __future__ import annotations

import struct

from platform_lib.errors import CorruptLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.model import Report

_HD_OFFSET = 64


def check_structure(source: ByteSource, report: Report, *, recover: bool) -> list[int | None]:
    """Walk data groups, channel groups and channels.

    Returns:
        How many records of each channel group are whole; ``None`` where groups are mixed and it is not told.

    Raises:
        CorruptLog: A block outside the file, a chain in a circle, less data than declared (unless `recover`).
    """
    return _Checker(source, report, recover=recover).run()


class _Checker:
    def __init__(self, source: ByteSource, report: Report, *, recover: bool) -> None:
        self._file = FileBytes(source)
        self._report = report
        self._recover = recover
        self._order = "<" if self._file.peek(24, 2) == b"\0\0" else ">"

    def run(self) -> list[int | None]:
        limits: list[int | None] = []
        first, *_ = self._fields(_HD_OFFSET, b"HD", "I")
        for group in self._chain(first, b"DG"):
            _, first_cg, _, data, count, id_bytes = self._fields(group, b"DG", "IIIIHH")
            needed = 0
            sizes: list[tuple[int, int]] = []
            groups = self._chain(first_cg, b"CG")
            if len(groups) != count:
                raise self._corrupt(group, f"a data group declares {count} channel groups and has {len(groups)}")
            for item in groups:
                _, first_cn, _, _, _, record, cycles = self._fields(item, b"CG", "IIIHHHI")
                needed += (record + min(id_bytes, 2)) * cycles
                sizes.append((record + min(id_bytes, 2), cycles))
                self._channels(first_cn, record)
            left = max(0, self._file.size - data)
            if needed > left:
                self._cut(data, needed, left)
            single = len(sizes) == 1 and sizes[0][0] > 0
            limits.extend([min(sizes[0][1], left // sizes[0][0])] if single else [None] * len(sizes))
        return limits

    def _cut(self, data: int, needed: int, left: int) -> None:
        error = self._corrupt(data, f"a group declares {needed} bytes of data, {left} are left: the file was cut")
        if not self._recover:
            raise error
        self._report.lose(left, error.what)

    def _channels(self, first: int, record_bytes: int) -> None:
        for channel in self._chain(first, b"CN"):
            size = struct.unpack(self._order + "H", self._file.peek(channel + 2, 2))[0]
            if size < 218 or channel + size > self._file.size:
                raise self._corrupt(channel, "a channel block is too short")
            start, bits = struct.unpack(self._order + "HH", self._file.peek(channel + 186, 4))
            extra = struct.unpack(self._order + "H", self._file.peek(channel + 226, 2))[0] if size >= 228 else 0
            if extra + (start + bits + 7) // 8 > record_bytes:
                raise self._corrupt(channel, "a channel lies past the end of its record")

    def _chain(self, first: int, kind: bytes) -> list[int]:
        found: list[int] = []
        seen: set[int] = set()
        while first:
            if first in seen:
                raise self._corrupt(first, f"the chain of {kind.decode()} blocks runs in a circle")
            seen.add(first)
            found.append(first)
            first, *_ = self._fields(first, kind, "I")
        return found

    def _fields(self, offset: int, kind: bytes, layout: str) -> tuple[int, ...]:
        form = struct.Struct(self._order + layout)
        if offset + 4 + form.size > self._file.size or self._file.peek(offset, 2) != kind:
            raise self._corrupt(offset, f"a {kind.decode()} block is not there")
        return form.unpack(self._file.peek(offset + 4, form.size))

    def _corrupt(self, offset: int, what: str) -> CorruptLog:
        return CorruptLog(f"damaged at byte {offset}: {what}", where=self._file.path, remedy=REMEDY)
