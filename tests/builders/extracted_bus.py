"""What asammdf makes of an MDF's bus frames, and how it differs from what `open_log` makes of them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import cantools
import numpy as np
from asammdf import MDF

from platform_lib.logs import open_log


def signals_of(path: Path, dbc: Path) -> dict[tuple[str, str], dict[int, float]]:
    """What asammdf extracts: (message, signal) -> time in microseconds -> physical value."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    described = cantools.database.load_file(dbc, strict=False)
    scales = {(message.name, signal.name): signal for message in described.messages for signal in message.signals}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with MDF(path, process_bus_logging=False) as log:
            extracted = log.extract_bus_logging({"CAN": [(dbc, 0)]})
            for index, group in enumerate(extracted.groups):
                message = group.channel_group.comment.partition(" 0x")[0].rpartition(" ")[2]
                for channel in group.channels[1:]:
                    signal = extracted.get(channel.name, group=index, raw=True)
                    known = scales[message, channel.name]
                    times = np.rint(signal.timestamps * 1e6).astype(np.int64).tolist()
                    physical = signal.samples * float(known.scale) + float(known.offset)
                    values = dict(zip(times, physical.tolist(), strict=True))
                    found.setdefault((message, channel.name), {}).update(values)
            extracted.close()
    return found


def differences(path: Path, dbc: Path, theirs: dict[tuple[str, str], dict[int, float]]) -> tuple[int, int]:
    """Return how many values both decode, and how many of them differ."""
    compared = different = 0
    with open_log(path, dbc=[dbc]) as log:
        start = min(stream.start_ns for stream in log.streams if stream.start_ns is not None)
        for stream in log.streams:
            for batch in log.read(stream.name) if "/" in stream.name else ():
                for row in batch.to_pylist():
                    time_us = (row.pop("timestamp_ns") - start) // 1000
                    for name, value in row.items():
                        expected = theirs.get((str(stream.message_type), name), {}).get(time_us)
                        if value is None or expected is None:
                            assert value is None
                            assert expected is None
                            continue
                        compared += 1
                        different += not math.isclose(value, expected, rel_tol=1e-12, abs_tol=1e-12)
    return compared, different
