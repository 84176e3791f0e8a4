"""What is known of a drive's clocks, for people and manifests: which recorder, against which, how, and how surely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import JsonValue

from platform_lib.catalog.model import Drive
from platform_lib.datasets.model import SkippedDrive
from platform_lib.datasets.sources import ODOMETRY_TOPIC, load_shared_signals
from platform_lib.errors import UsageError
from platform_lib.lake.lake import Lake
from platform_lib.timeline import ClockEstimate, estimate_clock, estimate_clock_from_events, pair_events
from platform_lib.timeline.coverage import Int64Array

Method = Literal["shared signals", "events"]
BUS = "vehicle bus"


@dataclass(frozen=True, slots=True)
class DriveClock:
    """One recorder's clock against another's; every number is None where the clock was refused.

    Attributes:
        recorder: Whose clock it is.
        reference: What its times are mapped to.
        method: What it was estimated from.
        signals: Which signals, or how many events, contributed.
        pivot_ns: Where the offset holds, in the recorder's own time.
        offset_s: What is added to the recorder's time there.
        offset_sigma_s: Its standard uncertainty.
        drift_ppm: By how much the offset grows.
        drift_sigma_ppm: Its standard uncertainty.
        evidence_nats: Log-likelihood over "nothing is shared"; None where nothing could be compared.
        reason: Why it was refused.
    """

    recorder: str
    reference: str
    method: Method
    signals: tuple[str, ...] = ()
    pivot_ns: int | None = None
    offset_s: float | None = None
    offset_sigma_s: float | None = None
    drift_ppm: float | None = None
    drift_sigma_ppm: float | None = None
    evidence_nats: float | None = None
    reason: str | None = None

    @property
    def verdict(self) -> str:
        """``aligned``, or ``refused``."""
        return "aligned" if self.reason is None else "refused"

    def document(self) -> dict[str, JsonValue]:
        """Return it as manifests and ``--json`` hold it."""
        return {
            "recorder": self.recorder,
            "reference": self.reference,
            "method": self.method,
            "signals": list(self.signals),
            "pivot_ns": self.pivot_ns,
            "offset_s": self.offset_s,
            "offset_sigma_s": self.offset_sigma_s,
            "drift_ppm": self.drift_ppm,
            "drift_sigma_ppm": self.drift_sigma_ppm,
            "evidence_nats": self.evidence_nats,
            "verdict": self.verdict,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class SyncPair:
    """A number that both recorders stamped, each as (stream, signal)."""

    source: tuple[str, str]
    reference: tuple[str, str]

    @classmethod
    def parse(cls, text: str) -> SyncPair:
        """Read ``STREAM:SIGNAL=STREAM:SIGNAL``; a stream's name may hold colons, a signal's may not.

        Raises:
            UsageError: It is not of that form.
        """
        sides = [tuple(side.rpartition(":")[::2]) for side in text.split("=")]
        if len(sides) != 2 or not all(stream and signal for stream, signal in sides):
            raise UsageError(
                f"{text!r} names no two counters",
                where="--sync",
                remedy="write STREAM:SIGNAL=STREAM:SIGNAL, the recorder to be aligned first: CAN1/Sync:Counter=/sync:data",
            )
        (source, reference) = ((stream, signal) for stream, signal in sides)
        return cls(source, reference)


def summarise_clock(estimate: ClockEstimate, *, method: Method = "shared signals") -> DriveClock:
    """Summarise what was learnt about the bus recorder's clock."""
    model = estimate.model
    known = DriveClock(BUS, ODOMETRY_TOPIC, method, evidence_nats=estimate.evidence_nats, reason=estimate.reason)
    if model is None:
        return known
    return replace(
        known,
        signals=estimate.informative,
        pivot_ns=model.pivot_ns,
        offset_s=model.offset_s,
        offset_sigma_s=model.offset_sigma_s,
        drift_ppm=model.drift_ppm,
        drift_sigma_ppm=model.drift_sigma * 1e6,
    )


def drive_clocks(lake: Lake, drive: Drive, sync: SyncPair | None = None) -> tuple[DriveClock, ...]:
    """Estimate a drive's clocks from what the lake holds: by shared signals and, where `sync` is given, by its events."""
    shared = load_shared_signals(lake, drive)
    if isinstance(shared, SkippedDrive):
        found = DriveClock(BUS, ODOMETRY_TOPIC, "shared signals", reason=shared.reason)
    else:
        found = summarise_clock(estimate_clock(shared))
    return (found,) if sync is None else (found, _from_events(lake, drive, sync))


def _from_events(lake: Lake, drive: Drive, sync: SyncPair) -> DriveClock:
    (source_ns, source_number), (reference_ns, reference_number) = (
        _stamps(lake, drive, *side) for side in (sync.source, sync.reference)
    )
    pairs = pair_events(source_ns, reference_ns, source_number=source_number, reference_number=reference_number)
    found = summarise_clock(estimate_clock_from_events(*pairs), method="events")
    return replace(found, recorder=sync.source[0], reference=sync.reference[0])


def _stamps(lake: Lake, drive: Drive, stream: str, signal: str) -> tuple[Int64Array, Int64Array]:
    """Return when a counter was stamped, and its values; what is no whole number is left out."""
    rows = lake.signals(drive.drive_id, stream=stream, signals=[signal])
    values = rows["value"].to_numpy(zero_copy_only=False)
    whole = np.isfinite(values) & (np.abs(values) < 2.0**53) & (values == np.rint(values))
    return rows["timestamp_ns"].to_numpy()[whole], values[whole].astype(np.int64)


def clock_summary(clocks: Mapping[str, JsonValue]) -> str | None:
    """Say in one line how the drives of a dataset were aligned, from its manifest's ``clocks``; None without any."""
    sigmas = [item["offset_sigma_s"] for item in clocks.values() if isinstance(item, dict)]
    known = [float(sigma) for sigma in sigmas if isinstance(sigma, float)]
    if not known:
        return None
    return (
        f"clocks: {len(known)} drives aligned, sigma {np.median(known) * 1e3:.1f} ms, at most {max(known) * 1e3:.1f} ms"
    )
