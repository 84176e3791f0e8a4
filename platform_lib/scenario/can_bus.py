"""What the vehicle's CAN bus carries: physical values packed into frames as `vehicle.dbc` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cantools
import numpy as np
from numpy.typing import NDArray

DBC_PATH = Path(__file__).with_name("vehicle.dbc")
DBC_TEXT = DBC_PATH.read_text(encoding="ascii")

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SignalLayout:
    """One signal's place in its frame: `shift` and `length` in the frame read as one 64-bit word of its byte order."""

    name: str
    shift: int
    length: int
    big_endian: bool
    signed: bool
    factor: float
    offset: float


@dataclass(frozen=True, slots=True)
class MessageLayout:
    """One message of the DBC."""

    name: str
    frame_id: int
    length_bytes: int
    signals: Mapping[str, SignalLayout]


@cache
def layouts() -> Mapping[str, MessageLayout]:
    """Read the layouts of every message from the DBC, once a process."""
    database = cantools.database.load_string(DBC_TEXT, "dbc")
    found = {}
    for message in database.messages:
        signals = {signal.name: _layout(signal) for signal in message.signals}
        found[message.name] = MessageLayout(message.name, message.frame_id, message.length, signals)
    return found


def _layout(signal: cantools.database.Signal) -> SignalLayout:
    big = signal.byte_order == "big_endian"
    if big:
        # A DBC names a Motorola signal's most significant bit as byte * 8 + bit, bit 7 first in the byte.
        from_top = signal.start // 8 * 8 + (7 - signal.start % 8)
        shift = 64 - from_top - signal.length
    else:
        shift = signal.start
    return SignalLayout(
        signal.name, shift, signal.length, big, signal.is_signed, float(signal.scale), float(signal.offset)
    )


def pack(message: MessageLayout, values: Mapping[str, Values]) -> NDArray[np.uint8]:
    """Pack physical values into frames.

    Args:
        message: The layout.
        values: Signal -> (N,) physical values; a signal that is absent stays 0 bits, one out of range saturates.

    Returns:
        uint8 (N, 8); bytes past the message's length are 0.

    Raises:
        KeyError: The message has no signal of that name.
    """
    count = len(next(iter(values.values())))
    words = {False: np.zeros(count, dtype=np.uint64), True: np.zeros(count, dtype=np.uint64)}
    for name, physical in values.items():
        signal = message.signals[name]
        raw = np.rint((physical - signal.offset) / signal.factor)
        low = -(2 ** (signal.length - 1)) if signal.signed else 0
        bits = np.clip(raw, low, low + 2**signal.length - 1).astype(np.int64).astype(np.uint64)
        bits &= np.uint64(2**signal.length - 1)
        words[signal.big_endian] |= bits << np.uint64(signal.shift)
    little = words[False].astype("<u8").view(np.uint8).reshape(count, 8)
    return np.asarray(little | words[True].astype(">u8").view(np.uint8).reshape(count, 8))
