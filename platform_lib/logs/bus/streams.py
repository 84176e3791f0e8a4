"""Decoded bus messages as streams of a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from platform_lib.logs.bus.database import Databases
from platform_lib.logs.bus.frames import MEMORY_BYTES, FrameStore
from platform_lib.logs.bus.layout import BusKind, Message
from platform_lib.logs.bus.scan import Found, GroupScan
from platform_lib.logs.bus.signals import decode
from platform_lib.logs.mdf4.frames import FrameGroup
from platform_lib.logs.model import Report, Stream, Window, unique

_KINDS: dict[str, BusKind] = {"CAN_DataFrame": "CAN", "LIN_Frame": "LIN"}


# How many identifiers a sentence names.
_SHOWN = 8
_BYTES = "DataBytes"


@dataclass(frozen=True, slots=True)
class _Member:
    slot: int
    message: Message
    schema: pa.Schema


class BusStreams:
    """The messages that a log's bus-logging groups hold, one stream a message: ``CAN1/<message>``, ``LIN1/<message>``.

    Frames are read and sorted once, by `add`; reading a stream touches its own frames only.
    """

    def __init__(self, databases: Databases, report: Report, memory_bytes: int = MEMORY_BYTES) -> None:
        self._databases = databases
        self._report = report
        report.problems.extend(databases.problems)
        report.notes.extend(databases.notes)
        self._store = FrameStore(memory_bytes)
        self._members: dict[str, _Member] = {}
        self._slots = 0

    def add(self, group: FrameGroup) -> list[Stream]:
        """Scan a group's frames and return the streams that it adds.

        Raises:
            CorruptLog: The bytes contradict the format.
        """
        kind = _KINDS.get(group.kind)
        if kind is None or not self._databases.covers(kind):
            return []
        if _BYTES not in group.fields:  # of a kind that is not read, which the report names, or never recorded
            self._report.undecoded[group.name] = group.rows
            self._report.problems.append(
                f"group '{group.name}': {group.rows} {kind} frames are not decoded: their bytes ({_BYTES}) are not read"
            )
            return []
        scan = GroupScan(kind, self._databases, self._store, self._slots)
        scan.run(group)
        self._slots += len(scan.found)
        found = sorted(scan.found, key=lambda item: (item.bus, item.message.extended, item.message.frame_id))
        names = unique([f"{kind}{item.bus}/{item.message.name}" for item in found], taken=tuple(self._members))
        self._tell(group.name, kind, scan)
        return [self._stream(item, name) for item, name in zip(found, names, strict=True)]

    def _stream(self, found: Found, name: str) -> Stream:
        schema = found.message.schema(with_source=bool(found.by_group))
        self._members[name] = _Member(found.slot, found.message, schema)
        self._report.readers[name] = "fast"
        self._report.problems.extend(f"stream '{name}': {sentence}" for sentence in found.message.omitted)
        if found.by_group:
            some = ", ".join(f"0x{number:X}" for number in sorted(found.by_group)[:_SHOWN])
            self._report.notes.append(
                f"stream '{name}': {len(found.by_group)} identifiers beside the database's own were matched by J1939 "
                f"parameter group (priority, source and destination address ignored): {some}"
            )
        return Stream(
            name=name,
            kind="signal",
            schema=schema,
            rows=found.rows,
            message_type=found.message.name,
            start_ns=found.start_ns,
            stop_ns=found.last_ns + 1,
        )

    def _tell(self, group: str, kind: BusKind, scan: GroupScan) -> None:
        problems = self._report.problems
        self._report.undecoded[group] = scan.unknown
        if scan.unknown > scan.invalid:
            some = ", ".join(f"0x{number:X}" for number in sorted(scan.unknown_ids))
            problems.append(
                f"group '{group}': {scan.unknown - scan.invalid} {kind} frames are in no database; "
                f"they are in the raw stream (identifiers {some}{', ...' if len(scan.unknown_ids) == _SHOWN else ''})"
            )
        if scan.invalid:
            problems.append(f"group '{group}': {scan.invalid} {kind} frames are marked invalid and not decoded")
        if scan.joined:
            self._report.notes.append(
                f"group '{group}': {scan.joined} J1939 messages were put together from several frames; "
                "their time is that of the last one"
            )
        if scan.broken:
            problems.append(
                f"group '{group}': J1939 messages of several frames that are not whole, and not decoded: {scan.broken}"
            )
        short = sum(item.short for item in scan.found)
        if short:
            problems.append(f"group '{group}': {short} {kind} frames are shorter than their message; rest is null")

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str, window: Window, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield a message's rows in recorded order, at most `BATCH_ROWS` at a time.

        Args:
            name: The stream.
            window: Which times.
            columns: Which columns; all by default.
        """
        member = self._members[name]
        for frames in self._store.read(member.slot):
            if not window.everything:
                keep = np.ones(frames.time_ns.size, bool)
                if window.start_ns is not None:
                    keep &= frames.time_ns >= window.start_ns
                if window.stop_ns is not None:
                    keep &= frames.time_ns < window.stop_ns
                frames = frames.where(keep)
            if frames.time_ns.size:
                yield decode(member.message, frames, member.schema, columns)

    def close(self) -> None:
        """Release frames, in memory and on disk."""
        self._store.close()
