"""Write the vehicle's recorder file: ASAM MDF 4.10 with CAN bus logging and measured groups."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from asammdf import MDF, Signal, Source
from asammdf.blocks.v4_blocks import FileHistory
from asammdf.blocks.v4_constants import BUS_TYPE_CAN, FLAG_HD_TIME_OFFSET_VALID, SOURCE_BUS, SOURCE_ECU

from platform_lib.scenario.clocks import Clock
from platform_lib.scenario.model import DriveSpec
from platform_lib.scenario.vehicle_bus import Frames, MeasuredGroup

BUS_NAME = "CAN1"
_LEAD_IN_NS = 5_000_000
"""The recorder's file begins this long before the drive's first sample."""

_TRANSPOSED_DZ = 2
_FRAME_DTYPE = np.dtype(
    [
        ("CAN_DataFrame.BusChannel", "u1"),
        ("CAN_DataFrame.ID", "<u4"),
        ("CAN_DataFrame.IDE", "u1"),
        ("CAN_DataFrame.DLC", "u1"),
        ("CAN_DataFrame.DataLength", "u1"),
        ("CAN_DataFrame.DataBytes", "u1", (8,)),
        ("CAN_DataFrame.Dir", "u1"),
        ("CAN_DataFrame.EDL", "u1"),
        ("CAN_DataFrame.BRS", "u1"),
    ]
)


def write_mdf(path: Path, spec: DriveSpec, clock: Clock, frames: Frames, groups: tuple[MeasuredGroup, ...]) -> None:
    """Write one MF4; the same arguments give the same bytes.

    The header's start time is on the recorder's own clock; every master counts seconds from it.
    """
    header_ns = int(clock.exact_ns(np.array([spec.start_ns]), spec.start_ns)[0]) - _LEAD_IN_NS
    mdf = MDF(version="4.10")
    try:
        mdf.header.comment = _header_comment(spec)
        # Set as integers: the library's own setter goes through float seconds and loses 0.2 microseconds.
        mdf.header.abs_time = header_ns
        mdf.header.tz_offset = 0
        mdf.header.daylight_save_time = 0
        mdf.header.time_flags = FLAG_HD_TIME_OFFSET_VALID
        _append_frames(mdf, frames, header_ns)
        for group in groups:
            _append_group(mdf, group, header_ns)
        mdf.file_history.append(_history(header_ns))
        mdf.save(path, overwrite=True, compression=_TRANSPOSED_DZ, add_history_block=False)
    finally:
        mdf.close()


def _header_comment(spec: DriveSpec) -> str:
    properties = {
        "vehicle": spec.vehicle,
        "session": spec.session,
        "weather": spec.weather,
        "event": spec.event,
        "pii_state": "none_present",
        "dataset": "synthetic",
    }
    items = "".join(f'<e name="{name}">{escape(value)}</e>' for name, value in properties.items())
    return f"<HDcomment><TX>Synthetic drive</TX><common_properties>{items}</common_properties></HDcomment>"


def _history(header_ns: int) -> FileHistory:
    """Return the obligatory history entry, dated by the drive instead of by the wall clock."""
    entry = FileHistory(abs_time=header_ns, tz_offset=0, daylight_save_time=0, time_flags=FLAG_HD_TIME_OFFSET_VALID)
    entry.abs_time, entry.tz_offset, entry.daylight_save_time = header_ns, 0, 0
    entry.time_flags = FLAG_HD_TIME_OFFSET_VALID
    entry.comment = (
        "<FHcomment><TX>created</TX><tool_id>drivetrain simulate</tool_id>"
        "<tool_vendor>drivetrain</tool_vendor><tool_version>1</tool_version></FHcomment>"
    )
    return entry


def _append_frames(mdf: MDF, frames: Frames, header_ns: int) -> None:
    records = np.zeros(len(frames.stamp_ns), dtype=_FRAME_DTYPE)
    records["CAN_DataFrame.BusChannel"] = 1
    records["CAN_DataFrame.ID"] = frames.frame_id
    records["CAN_DataFrame.DLC"] = frames.length_bytes
    records["CAN_DataFrame.DataLength"] = frames.length_bytes
    records["CAN_DataFrame.DataBytes"] = frames.data
    source = Source(name=BUS_NAME, path=BUS_NAME, comment="", source_type=SOURCE_BUS, bus_type=BUS_TYPE_CAN)
    signal = Signal(
        samples=records, timestamps=(frames.stamp_ns - header_ns) / 1e9, name="CAN_DataFrame", source=source
    )
    mdf.append([signal], acq_name=BUS_NAME, acq_source=source, comment="CAN frames", common_timebase=True)


def _append_group(mdf: MDF, group: MeasuredGroup, header_ns: int) -> None:
    timestamps = (group.stamp_ns - header_ns) / 1e9
    source = Source(name=group.name, path=group.name, comment="", source_type=SOURCE_ECU, bus_type=0)
    signals = [
        Signal(samples=values.astype(np.float64), timestamps=timestamps, name=name, unit=unit, source=source)
        for name, (unit, values) in group.channels.items()
    ]
    mdf.append(signals, acq_name=group.name, acq_source=source, comment=group.name, common_timebase=True)
