"""SAE J1939 messages of more than 8 bytes, put together from their packets. Pure.

A sender announces a message (to all: BAM; to one receiver: RTS) and sends its packets of 7 bytes in order; a receiver may
ask for packets again (CTS). Whatever breaks that order or its times is dropped and counted, never guessed.

Source: SAE J1939-21, 5.10 (transport protocol functions).
"""

from __future__ import annotations

from dataclasses import dataclass

CONNECTION_FORMAT, DATA_FORMAT = 0xEC, 0xEB  # PDU formats of TP.CM and TP.DT
_RTS, _CTS, _BAM, _ABORT = 16, 17, 32, 255
_FRAME_BYTES, _PACKET_BYTES = 8, 7
_SILENCE_NS = 1_250_000_000  # T2 and T3: the longest wait inside a transfer
_PRIORITY = 6


@dataclass(frozen=True, slots=True)
class Whole:
    """A message that is whole.

    Attributes:
        time_ns: When its last packet came.
        bus: The bus channel.
        frame_id: The 29-bit identifier that it would have as one frame.
        data: Its bytes.
        unclaimed: How many of its frames no database knows by themselves.
    """

    time_ns: int
    bus: int
    frame_id: int
    data: bytes
    unclaimed: int


@dataclass(slots=True)
class _Transfer:
    group: int
    size_bytes: int
    packets: int
    data: bytearray
    last_ns: int
    following: int = 1
    unclaimed: int = 0


class Transfers:
    """The transfers of one log that are under way.

    Attributes:
        broken: How many were announced and did not become whole.
    """

    def __init__(self) -> None:
        self.broken = 0
        self._open: dict[tuple[int, int, int], _Transfer] = {}

    def feed(self, bus: int, frame_id: int, data: bytes, time_ns: int, *, claimed: bool) -> Whole | None:
        """Take the next frame of a transfer protocol; return the message that it completes.

        Args:
            bus: The bus channel.
            frame_id: Its 29-bit identifier, of PDU format `CONNECTION_FORMAT` or `DATA_FORMAT`.
            data: Its 8 bytes.
            time_ns: When it came.
            claimed: Whether a database knows the frame by itself.
        """
        sender, receiver = frame_id & 0xFF, frame_id >> 8 & 0xFF
        if frame_id >> 16 & 0xFF == DATA_FORMAT:
            return self._packet((bus, sender, receiver), data, time_ns, claimed=claimed)
        if data[0] in (_RTS, _BAM):
            self._announce((bus, sender, receiver), data, time_ns, claimed=claimed)
        elif data[0] == _CTS and (asked := self._open.get((bus, receiver, sender))) is not None:
            asked.last_ns = time_ns
            asked.unclaimed += not claimed
            if data[1]:  # else: wait
                if not 0 < data[2] <= asked.following:
                    self._drop((bus, receiver, sender))
                asked.following = data[2]
        elif data[0] == _ABORT:
            for key in ((bus, sender, receiver), (bus, receiver, sender)):
                self._drop(key)
        return None

    def end(self) -> None:
        """Give up what is not whole: no more frames come."""
        for key in list(self._open):
            self._drop(key)

    def _announce(self, key: tuple[int, int, int], data: bytes, time_ns: int, *, claimed: bool) -> None:
        self._drop(key)
        size_bytes, packets = int.from_bytes(data[1:3], "little"), data[3]
        if size_bytes <= _FRAME_BYTES or packets != -(-size_bytes // _PACKET_BYTES):
            self.broken += 1
            return
        group = int.from_bytes(data[5:8], "little")
        self._open[key] = _Transfer(group, size_bytes, packets, bytearray(), time_ns, unclaimed=int(not claimed))

    def _packet(self, key: tuple[int, int, int], data: bytes, time_ns: int, *, claimed: bool) -> Whole | None:
        transfer = self._open.get(key)
        if transfer is None:
            return None
        number = data[0]
        if number != transfer.following or not 0 <= time_ns - transfer.last_ns <= _SILENCE_NS:
            self._drop(key)
            return None
        transfer.data[_PACKET_BYTES * (number - 1) :] = data[1:]
        transfer.following, transfer.last_ns = number + 1, time_ns
        transfer.unclaimed += not claimed
        if number < transfer.packets:
            return None
        del self._open[key]
        bus, sender, receiver = key
        frame_id = _PRIORITY << 26 | (transfer.group & 0x3FFFF) << 8 | sender
        if transfer.group >> 8 & 0xFF < 240:  # PDU format 1: the group's last byte is the receiver
            frame_id = frame_id & ~0xFF00 | receiver << 8
        return Whole(time_ns, bus, frame_id, bytes(transfer.data[: transfer.size_bytes]), transfer.unclaimed)

    def _drop(self, key: tuple[int, int, int]) -> None:
        self.broken += self._open.pop(key, None) is not None
