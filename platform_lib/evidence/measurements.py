"""What one board answered to a kit, as whoever measured it signed it: ``measurement.json``. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from math import ceil, floor
from statistics import median
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from platform_lib.evidence.compiles import DeviceRun, Performance
from platform_lib.evidence.evaluation import Interval
from platform_lib.evidence.strict import Strict

MEASUREMENT = "measurement.json"
# Where the signed measurements lie, relative to a compile's report; a bundle has the same folder below ``evidence/``.
DEVICE_FOLDER = "device"
# The chips compiled for are all ARM. On x86 the vendor's runtime is its emulator, whatever it is asked.
_BOARD_MACHINES = re.compile(r"(aarch64|arm64|arm)[a-z0-9_]*")
_CONFIDENCE_Z = 1.96
# Fewer times than these have no 95 % interval of their median that needs no assumption.
_FEWEST_TIMES = 6
_TAIL = 0.99
Words = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Measurement(Strict):
    """``measurement.json``.

    Attributes:
        measured_on: A board; there is no other value, and no way from the emulator to here.
        artefact: File -> sha256, as it was compiled and as it was found on the board.
        samples: How many of the frozen inputs ran, from the first on.
        timings_us: Of each inference that was timed; empty where the board's program tells none.
        facts: What the board says of itself.
        tools: Tool -> version on the board, as its program says.
        transport: How the kit got there; ``by hand`` where it was carried.
    """

    schema_version: Literal[1] = 1
    measured_on: Literal["device"] = "device"
    measured_utc: datetime
    measured_by: Words
    board: Words
    target: str
    soc_model: int
    precision: str
    onnx_sha256: str
    artefact: dict[str, str]
    inputs_sha256: str
    samples: int = Field(ge=1)
    timings_us: tuple[Annotated[float, Field(gt=0.0)], ...]
    facts: dict[str, str]
    tools: dict[str, str]
    transport: Literal["ssh", "adb", "by hand"]
    command: str | None


def is_board(machine: str) -> bool:
    """Say whether a machine that calls itself so can be a board (``uname -m``)."""
    return _BOARD_MACHINES.fullmatch(machine) is not None


def run_of(measurement: Measurement, *, key_id: str) -> DeviceRun:
    """Return what a compile report says of a measurement; `key_id` names the key that signed it."""
    p99_us, max_us = tail_of(measurement)
    return DeviceRun(
        precision=measurement.precision,
        folder=f"{DEVICE_FOLDER}/{measurement.precision}",
        measured_by=measurement.measured_by,
        key_id=key_id,
        measured_utc=measurement.measured_utc,
        board=measurement.board,
        machine=measurement.facts.get("machine", ""),
        performance=performance_of(measurement),
        p99_us=p99_us,
        max_us=max_us,
        timed=len(measurement.timings_us),
    )


def performance_of(measurement: Measurement) -> Performance:
    """Return the median time with the 95 % interval of the median by order statistics, which assumes no distribution."""
    times = sorted(measurement.timings_us)
    latency = None
    if times:
        low, high = _median_interval(times)
        latency = Interval(value=median(times), low=low, high=high)
    return Performance(
        measured_on="device",
        latency_us=latency,
        ddr_read_bytes=None,
        ddr_write_bytes=None,
        reason=None if times else "the board's program left no timings",
    )


def tail_of(measurement: Measurement) -> tuple[float | None, float | None]:
    """Return the 99th percentile (between two times by a straight line) and the largest time, microseconds; None without times."""
    times = sorted(measurement.timings_us)
    if not times:
        return None, None
    place = (len(times) - 1) * _TAIL
    below = floor(place)
    above = min(below + 1, len(times) - 1)
    return times[below] + (times[above] - times[below]) * (place - below), times[-1]


def _median_interval(times: list[float]) -> tuple[float | None, float | None]:
    # Source: Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2, by the normal approximation.
    if len(times) < _FEWEST_TIMES:
        return None, None
    half = _CONFIDENCE_Z * len(times) ** 0.5 / 2
    first, last = floor(len(times) / 2 - half), ceil(len(times) / 2 + half)
    return times[max(first, 0)], times[min(last, len(times) - 1)]
