"""One pass over a bus-logging group: every frame finds its message, and is put away with that message's frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled
from platform_lib.errors import CorruptLog
from platform_lib.logs.bus.database import Databases
from platform_lib.logs.bus.frames import Frames, FrameStore, Index, Lengths, Slots, Small, Words, sort_frames
from platform_lib.logs.bus.layout import FRAME_BYTES, BusKind, Message
from platform_lib.logs.bus.transport import CONNECTION_FORMAT, DATA_FORMAT, Transfers
from platform_lib.logs.mdf4.frames import TIME, FrameChunk, FrameGroup, iter_frames

_FIELDS = ("ID", "IDE", "BusChannel", "DataBytes")
# What says a frame's length, the surest first.
_LENGTHS = ("DataLength", "ReceivedDataByteCount", "DLC")
# Data length code -> bytes. Source: ISO 11898-1:2015, table 5.
_DLC_BYTES = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.uint8)
_EXTENDED_BIT = 29
_BUS_SHIFT = 30
_ID_MASK = 0x1FFF_FFFF
_UNKNOWN, _MISSED, _EMPTY = -1, -2, -1
# Unknown identifiers are remembered up to this many; a log of random ones must not fill the memory.
_MOST_UNKNOWN = 1 << 16
_MOST_NAMED = 8


@compiled
def _look_up(
    frame_id: npt.NDArray[np.uint32],
    wide: Small,
    bus: npt.NDArray[np.uint32],
    keys: Index,
    slots: Slots,
    out_key: Index,
    out_slot: Slots,
) -> int:
    """Find every frame's slot in an open-addressed table; return how many frames it does not hold."""
    last = keys.size - 1
    missed = 0
    for frame in range(frame_id.size):
        number = np.int64(frame_id[frame])
        extended = np.int64((number >> 31 & 1) | (wide[frame] != 0) | (number & 0x1FFFFFFF > 0x7FF))
        key = np.int64(bus[frame]) << 30 | extended << 29 | (number & 0x1FFFFFFF)
        at = _home(key) & last
        while keys[at] != key and keys[at] != -1:
            at = (at + 1) & last
        out_key[frame] = key
        out_slot[frame] = slots[at] if keys[at] == key else -2
        missed += keys[at] != key
    return missed


@compiled
def _home(key: Any) -> Any:
    """Scatter keys. Source: Knuth, The Art of Computer Programming 3, 6.4 (multiplicative hashing)."""
    return np.int64(np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32))


class _Table:
    """Identifiers seen -> slots; compiled code reads it."""

    def __init__(self) -> None:
        self._found: dict[int, int] = {}
        self._resize(1024)

    def _resize(self, size: int) -> None:
        self.keys = np.full(size, _EMPTY, np.int64)
        self.slots = np.full(size, _UNKNOWN, np.int32)
        for key, slot in self._found.items():
            self._insert(key, slot)

    def _insert(self, key: int, slot: int) -> None:
        last = self.keys.size - 1
        at = int(_home(key)) & last
        while self.keys[at] != _EMPTY:
            at = (at + 1) & last
        self.keys[at], self.slots[at] = key, slot

    def put(self, key: int, slot: int) -> None:
        """Remember an identifier, unless too many unknown ones are remembered already."""
        if slot == _UNKNOWN and len(self._found) >= _MOST_UNKNOWN:
            return
        self._found[key] = slot
        if 2 * len(self._found) > self.keys.size:
            self._resize(2 * self.keys.size)
        else:
            self._insert(key, slot)


@dataclass(slots=True)
class Found:
    """One message of a group.

    Attributes:
        slot: Where the store has its frames.
        bus: The bus channel.
        message: The message.
        rows: How many frames.
        start_ns: Earliest time.
        last_ns: Latest time.
        short: How many frames are shorter than the message.
        by_group: Identifiers other than its own that were taken for it: SAE J1939 parameter group.
    """

    slot: int
    bus: int
    message: Message
    rows: int = 0
    start_ns: int = np.iinfo(np.int64).max
    last_ns: int = np.iinfo(np.int64).min
    short: int = 0
    by_group: set[int] = field(default_factory=set)

    def extend(self, rows: int, low_ns: int, high_ns: int, short: int) -> None:
        """Count more frames."""
        self.rows += rows
        self.start_ns = min(self.start_ns, low_ns)
        self.last_ns = max(self.last_ns, high_ns)
        self.short += short


class GroupScan:
    """Sorts a group's frames into a store.

    Attributes:
        found: The messages met, in the order in which they were met.
        unknown: Frames in no database.
        unknown_ids: Some of their identifiers.
        invalid: Frames whose identifier or payload the recorder marked invalid.
        joined: Messages that were put together from several frames.
        broken: Messages of which frames are missing.
    """

    def __init__(self, kind: BusKind, databases: Databases, store: FrameStore, first_slot: int) -> None:
        self.found: list[Found] = []
        self.unknown = 0
        self.unknown_ids: dict[int, None] = {}
        self.invalid = 0
        self.joined = 0
        self._transfers = Transfers() if kind == "CAN" and databases.transported else None
        self._kind: BusKind = kind
        self._databases = databases
        self._store = store
        self._first_slot = first_slot
        self._table = _Table()
        self._by_message: dict[tuple[int, int], int] = {}

    def run(self, group: FrameGroup) -> None:
        """Scan all frames.

        Raises:
            CorruptLog: The frames contradict the format.
        """
        length = [name for name in _LENGTHS if name in group.fields][:1]
        flexible = ["EDL"] if length == ["DLC"] else []
        for chunk in iter_frames(group, (*_FIELDS, *length, *flexible)):
            self._add(chunk)
        if self._transfers is not None:
            self._transfers.end()

    @property
    def broken(self) -> int:
        """How many messages of several frames are not whole."""
        return 0 if self._transfers is None else self._transfers.broken

    def _add(self, chunk: FrameChunk) -> None:
        if not chunk.rows:
            return
        number = _integers(chunk, "ID", np.uint32)
        wide = _integers(chunk, "IDE", np.uint8)
        bus = _integers(chunk, "BusChannel", np.uint32)
        key, slot = np.empty(chunk.rows, np.int64), np.empty(chunk.rows, np.int32)
        if _look_up(number, wide, bus, self._table.keys, self._table.slots, key, slot):
            self._resolve(key, slot)
        sound = np.ones(chunk.rows, bool)
        for name in ("ID", "DataBytes"):
            if name in chunk.valid:
                sound &= chunk.valid[name]
                self.invalid += int(np.count_nonzero(~chunk.valid[name] & (slot != _UNKNOWN)))
                slot[~chunk.valid[name]] = _UNKNOWN
        frames = Frames(chunk.columns[TIME], _words(chunk), _lengths(chunk), number.astype(np.uint8))
        if self._transfers is not None:
            form = key >> 16 & 0xFF
            sound &= (key >> _EXTENDED_BIT & 1 == 1) & ((form == CONNECTION_FORMAT) | (form == DATA_FORMAT))
            self._join(self._transfers, np.flatnonzero(sound & (frames.length == 8)), key, slot, frames)
        self._put_away(slot, frames)

    def _join(self, transfers: Transfers, rows: Index, key: Index, slot: Slots, frames: Frames) -> None:
        """Put messages whose frames are in `rows` together, and away; with them those of their kind that came in one.

        The latter leave `slot`: a stream's rows are kept in the order in which they came, and a sender takes one frame
        or several as the message's length asks for it.
        """
        found = [
            transfers.feed(
                number >> _BUS_SHIFT, number & _ID_MASK, word.to_bytes(8, "little"), time_ns, claimed=known >= 0
            )
            for number, known, word, time_ns in zip(
                key[rows].tolist(), slot[rows].tolist(), frames.words[rows, 0].tolist(), frames.time_ns[rows].tolist(),
                strict=True,
            )
        ]  # fmt: skip
        wanted = [
            (row, item)
            for row, item in zip(rows.tolist(), found, strict=True)
            if item is not None and self._databases.match("CAN", item.bus, item.frame_id, extended=True) is not None
        ]
        if not wanted:
            return
        whole = [item for _, item in wanted]
        width = -(-max(len(item.data) for item in whole) // 8) * 8
        data = np.frombuffer(b"".join(item.data.ljust(width, b"\0") for item in whole), "<u8").astype(np.uint64)
        keys = [item.bus << _BUS_SHIFT | 1 << _EXTENDED_BIT | item.frame_id for item in whole]
        slots = np.array([self._slot(item) for item in keys], np.int32)
        joined = Frames(
            np.array([item.time_ns for item in whole], np.int64),
            data.reshape(len(whole), -1),
            np.array([len(item.data) for item in whole], np.uint16),
            np.array([item.frame_id & 0xFF for item in whole], np.uint8),
        )
        self.joined += len(whole)
        self.unknown -= sum(item.unclaimed for item in whole)
        single = np.flatnonzero(np.isin(slot, slots))
        places = np.concatenate([np.array([row for row, _ in wanted], np.int64), single])
        order = np.argsort(places, kind="stable")
        self._put_away(
            np.concatenate([slots, slot[single]])[order], joined.followed_by(frames.where(single)).where(order)
        )
        slot[single] = _UNKNOWN
        self.unknown -= single.size

    def _resolve(self, key: Index, slot: Slots) -> None:
        """Look up identifiers that the table does not hold, and remember them."""
        rows = np.flatnonzero(slot == _MISSED)
        keys, place = np.unique(key[rows], return_inverse=True)
        slots = np.array([self._slot(int(item)) for item in keys], np.int32)
        slot[rows] = slots[place]
        for item, mine in zip(keys.tolist(), slots.tolist(), strict=True):
            self._table.put(item, mine)

    def _slot(self, key: int) -> int:
        bus, frame_id, extended = key >> _BUS_SHIFT, key & _ID_MASK, bool(key >> _EXTENDED_BIT & 1)
        match = self._databases.match(self._kind, bus, frame_id, extended=extended)
        if match is None:
            if len(self.unknown_ids) < _MOST_NAMED:
                self.unknown_ids[frame_id] = None
            return _UNKNOWN
        name = (bus, id(match.message))
        if name not in self._by_message:
            self._by_message[name] = len(self.found)
            self.found.append(Found(self._first_slot + len(self.found), bus, match.message))
        slot = self._by_message[name]
        if not match.exact:
            self.found[slot].by_group.add(frame_id)
        return slot

    def _put_away(self, slot: Slots, frames: Frames) -> None:
        stride = np.array([item.message.words for item in self.found], np.int64)
        part = sort_frames(slot, frames, stride, self._first_slot)
        self.unknown += slot.size - part.time_ns.size
        self._store.add(part)
        count = np.diff(part.rows)
        met = np.flatnonzero(count)
        if not met.size:
            return
        first = part.rows[met]
        low, high = np.minimum.reduceat(part.time_ns, first), np.maximum.reduceat(part.time_ns, first)
        needed = np.array([item.message.length_bytes for item in self.found], np.int64)
        short = np.add.reduceat(part.length < np.repeat(needed, count), first, dtype=np.int64)
        for number, *told in zip(
            met.tolist(), count[met].tolist(), low.tolist(), high.tolist(), short.tolist(), strict=True
        ):
            self.found[number].extend(*told)


def _integers(chunk: FrameChunk, name: str, kind: Any) -> npt.NDArray[Any]:
    values = chunk.columns.get(name)
    if values is None:
        return np.zeros(chunk.rows, kind)
    return np.ascontiguousarray(values, kind)


def _words(chunk: FrameChunk) -> Words:
    """Return the payloads as (N, K) 64-bit words in byte order of the wire."""
    data = chunk.columns.get("DataBytes")
    if data is None:
        raise CorruptLog("a bus-logging group without DataBytes")
    width = min(data.shape[1], FRAME_BYTES)
    if width % 8 or width != data.shape[1] or width == 0:
        padded = np.zeros((chunk.rows, max(8, -(-width // 8) * 8)), np.uint8)
        padded[:, :width] = data[:, :width]
        data = padded
    return np.ascontiguousarray(data).view("<u8").astype(np.uint64, copy=False)


def _lengths(chunk: FrameChunk) -> Lengths:
    """Return how many payload bytes each frame has, by what the recorder says and what there is."""
    width: Any = min(chunk.columns["DataBytes"].shape[1], FRAME_BYTES)
    if "DataBytes" in chunk.sizes:
        width = np.clip(chunk.sizes["DataBytes"], 0, width)
    said = next((name for name in _LENGTHS if name in chunk.columns), None)
    if said is None:
        return np.full(chunk.rows, width, np.uint16)
    values = chunk.columns[said]
    if said == "DLC":
        values = _DLC_BYTES[values.astype(np.int64) & 0xF]
        if "EDL" in chunk.columns:  # codes past 8 mean more bytes in frames of CAN FD only
            values = np.where(chunk.columns["EDL"] == 0, np.minimum(values, 8), values)
    length: Lengths = (np.minimum(values, width) if values.dtype.kind == "u" else np.clip(values, 0, width)).astype(
        np.uint16, copy=False
    )
    return length
