"""Reads the compiler's "Performance Estimates": vendor simulated figures, never a measurement. Pure."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from platform_lib.evidence import Interval, Performance

_NONE_GIVEN = "the vendor's compiler gives no performance estimate for this chip generation"
_SECTION = "Performance Estimates"
_TIME = "Simulated (Accelerator exec time us)"
_TIME_LOW = "Simulated (Accelerator exec time us (lower estimate))"
_TIME_HIGH = "Simulated (Accelerator exec time us (upper estimate))"
_FILLS = ("Input Fill", "Intermediate Fill")
_SPILLS = ("Intermediate Spill", "Output Spill")
_UNCOSTED = "Missing Ops (Number of Ops with no Costs associated)"


@dataclass(frozen=True, slots=True)
class Estimate:
    """One line of the estimates: what, how much, in which unit."""

    name: str
    value: int
    unit: str


def read_estimates(profile_csv: str) -> tuple[Estimate, ...]:
    """Return the estimates of a profile, leaving out what the compiler and the emulator themselves cost.

    Only lines below the heading "Performance Estimates" count: "Accelerator execute time" and the cycles of single
    nodes are costs of the emulator on this machine, not of the chip.
    """
    rows = list(csv.DictReader(io.StringIO(profile_csv)))
    names = [row.get("Event Identifier") or "" for row in rows]
    if _SECTION not in names:
        return ()
    start = names.index(_SECTION) + 1
    return tuple(
        Estimate(name=row["Event Identifier"], value=int(row["Time"]), unit=row["Unit of Measurement"])
        for row in rows[start:]
        if row.get("Event Level") == "SUB-EVENT"
    )


def performance(estimates: tuple[Estimate, ...]) -> Performance:
    """Turn the estimates into evidence: latency with the vendor's lower and upper estimate, and memory traffic."""
    found = {item.name: item.value for item in estimates}
    if _TIME not in found:
        return not_estimated(_NONE_GIVEN)
    uncosted = found.get(_UNCOSTED, 0)
    return Performance(
        measured_on="simulator",
        latency_us=Interval(value=found[_TIME], low=found.get(_TIME_LOW), high=found.get(_TIME_HIGH)),
        ddr_read_bytes=_total(found, _FILLS),
        ddr_write_bytes=_total(found, _SPILLS),
        reason=f"{uncosted} operators carry no cost: the estimate is too low" if uncosted else None,
    )


def not_estimated(reason: str) -> Performance:
    """Say that there is no figure, and why."""
    return Performance(measured_on="not_run", latency_us=None, ddr_read_bytes=None, ddr_write_bytes=None, reason=reason)


def estimates_csv(estimates: tuple[Estimate, ...]) -> str:
    """Write the estimates alone as CSV, so that the published file does not depend on how busy this machine was."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("vendor_estimate", "value", "unit"))
    writer.writerows((item.name, item.value, item.unit) for item in estimates)
    return stream.getvalue()


def _total(found: dict[str, int], names: tuple[str, ...]) -> int | None:
    values = [found[name] for name in names if name in found]
    return sum(values) if values else None
