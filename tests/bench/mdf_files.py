"""The MDF 4 file that is measured: 38 groups, 909 columns, 437 MB of records, two million CAN frames among them.

What a measurement computer writes: groups of one rate each, most channels 16 or 8 bits with a factor, some float, two
states with a text table a group, and one group of CAN frames of 48 messages with 192 signals.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from asammdf import MDF, Signal, Source

GROUPS = 37
FULL_ROWS = 5_950_000
"""Rows of all signal groups together."""
FULL_FRAMES = 2_000_000
MESSAGES = 48
_SHARES = (1, 2, 4, 1, 2)
_STATES = ("off", "standby", "ready", "active", "degraded", "fault")
_SEED = 20261101

Values = npt.NDArray[Any]


def write_plain(path: Path, scale: float) -> None:
    """Write the file with uncompressed records."""
    _write(path, scale, 0)


def write_deflated(path: Path, scale: float) -> None:
    """Write the file with deflated records."""
    _write(path, scale, 1)


def write_transposed(path: Path, scale: float) -> None:
    """Write the file with transposed and deflated records."""
    _write(path, scale, 2)


def _write(path: Path, scale: float, compression: int) -> None:
    rng = np.random.default_rng(_SEED)
    with warnings.catch_warnings(), MDF(version="4.10") as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = datetime(2026, 11, 1, 8, tzinfo=UTC)
        shares = [_SHARES[number % len(_SHARES)] for number in range(GROUPS)]
        for number, share in enumerate(shares):
            rows = max(10, int(FULL_ROWS * scale * share / sum(shares)))
            mdf.append(_signals(rng, number, rows), acq_name=f"measured {number}", common_timebase=True)
        source = Source(source_type=2, bus_type=2, name="CAN1", path="CAN1", comment="")
        frames = _frames(rng, max(1000, int(FULL_FRAMES * scale)), source)
        mdf.append(frames, acq_name="CAN1", acq_source=source, common_timebase=True)
        written = mdf.save(path.with_suffix(".mf4"), overwrite=True, compression=compression)
    Path(written).replace(path)


def _signals(rng: np.random.Generator, number: int, rows: int) -> list[Signal]:
    """Return one group: 24 columns with its time, or 25 in 14 groups of the 37."""
    time_s = np.arange(rows) * (600.0 / rows) + rng.uniform(0, 1e-4, rows)
    signals = [_state(rng, time_s, f"state_{number}_{at}") for at in range(2)]
    for at in range(21 if number >= 14 else 22):
        walk = _walk(rng, rows, (0.1, 0.3, 0.8)[at % 3])
        name, unit = f"signal_{number}_{at}", ("km/h", "Nm", "degC", "V")[at % 4]
        if at % 6 == 5:
            values: Values = (walk * 0.37).astype(np.float32)
            signals.append(Signal(values, time_s, name=name, unit=unit))
        elif at % 12 == 4:
            signals.append(Signal(walk * 0.001, time_s, name=name, unit=unit))
        elif at % 3 == 1:
            conversion = {"a": 0.5, "b": -40.0} if at % 2 else None
            signals.append(Signal((walk // 16).astype(np.uint8), time_s, name=name, unit=unit, conversion=conversion))
        else:
            conversion = {"a": 0.0625 if at % 2 else 0.1, "b": -40.0}
            signals.append(Signal(walk.astype(np.int16), time_s, name=name, unit=unit, conversion=conversion))
    return signals


def _walk(rng: np.random.Generator, rows: int, moving: float) -> Values:
    """Return whole numbers that change by up to 3 in a share of the rows, as a sampled bus signal does."""
    steps = rng.integers(-3, 4, rows, dtype=np.int32)
    return np.cumsum(np.where(rng.random(rows) < moving, steps, 0), dtype=np.int32)


def _state(rng: np.random.Generator, time_s: Values, name: str) -> Signal:
    """Return a state that changes about every 200 rows, with a text for each value."""
    table: dict[str, object] = {f"val_{value}": value for value in range(len(_STATES))}
    table |= {f"text_{value}": text.encode() for value, text in enumerate(_STATES)}
    changes = np.cumsum(rng.random(time_s.size) < 0.005)
    values = rng.integers(0, len(_STATES), int(changes[-1]) + 1).astype(np.uint8)[changes]
    return Signal(values, time_s, name=name, conversion=table)


def _frames(rng: np.random.Generator, rows: int, source: Source) -> Signal:
    parts = [("BusChannel", "u1"), ("ID", "<u4"), ("IDE", "u1"), ("DLC", "u1"), ("DataLength", "u1")]
    table = np.zeros(
        rows, [*((f"CAN_DataFrame.{key}", kind) for key, kind in parts), ("CAN_DataFrame.DataBytes", "(8,)u1")]
    )
    number = rng.integers(0, MESSAGES, rows)
    table["CAN_DataFrame.BusChannel"] = 1
    table["CAN_DataFrame.ID"] = np.array([_identifier(at) for at in range(MESSAGES)], np.uint32)[number]
    table["CAN_DataFrame.IDE"] = np.array([_extended(at) for at in range(MESSAGES)], np.uint8)[number]
    table["CAN_DataFrame.DLC"] = table["CAN_DataFrame.DataLength"] = 8
    data = rng.integers(0, 256, (rows, 8), dtype=np.uint8)
    data[:, 0] &= 0x03  # the multiplexer of those messages that have one; every value selects something
    table["CAN_DataFrame.DataBytes"] = data
    time_s = np.arange(rows) * (600.0 / rows)
    return Signal(table, time_s, name="CAN_DataFrame", source=source)


# -- the bus database ------------------------------------------------------------------------------------------------


def _extended(number: int) -> bool:
    return number % 8 == 7


def _identifier(number: int) -> int:
    return 0x18FF0000 + number if _extended(number) else 0x100 + 8 * number


def write_database(path: Path, scale: float) -> None:
    """Write the DBC: little-endian, big-endian, signed, and every fourth message multiplexed."""
    del scale
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: ECU"]
    for number in range(MESSAGES):
        identifier = _identifier(number) | (0x8000_0000 if _extended(number) else 0)
        lines += [f"BO_ {identifier} Message{number}: 8 ECU", *_signal_lines(number)]
    path.write_text("\n".join(lines) + "\n")


def _signal_lines(number: int) -> list[str]:
    name = f"Signal{number}"
    if number % 4 == 3:
        return [
            f' SG_ {name}_Page M : 0|2@1+ (1,0) [0|3] "" ECU',
            f' SG_ {name}_A m0 : 8|16@1- (0.01,0) [0|0] "V" ECU',
            f' SG_ {name}_B m1 : 15|12@0+ (0.5,-40) [0|0] "degC" ECU',
            f' SG_ {name}_C m2 : 31|24@0- (0.001,0) [0|0] "A" ECU',
        ]
    if number % 4 == 2:
        return [
            f' SG_ {name}_A : 7|16@0+ (0.0625,0) [0|0] "km/h" ECU',
            f' SG_ {name}_B : 19|12@0- (1,0) [0|0] "Nm" ECU',
            f' SG_ {name}_C : 39|7@0+ (1,0) [0|0] "" ECU',
            f' SG_ {name}_D : 55|10@0+ (0.1,-40) [0|0] "degC" ECU',
        ]
    return [
        f' SG_ {name}_A : 0|13@1+ (0.05,0) [0|0] "km/h" ECU',
        f' SG_ {name}_B : 13|11@1- (0.5,-100) [0|0] "deg" ECU',
        f' SG_ {name}_C : 24|24@1+ (0.001,0) [0|0] "l" ECU',
        f' SG_ {name}_D : 48|1@1+ (1,0) [0|0] "" ECU',
    ]
