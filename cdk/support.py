"""Which EKS versions are supported until when, and what goes with each: AMIs, drivers, add-ons, controllers.

Pure: the day is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

# Source: AWS, "Kubernetes version lifecycle on EKS", read 2026-11-20. Extended support lasts 12 months more, at
# 0.60 instead of 0.10 USD an hour a cluster.
_EXTENDED_DAYS = 365


@dataclass(frozen=True, slots=True)
class EksVersion:
    """One Kubernetes minor version on EKS.

    Attributes:
        version: `major.minor`.
        standard_until: Last day of standard support; None where no date is published here.
    """

    version: str
    standard_until: date | None

    @property
    def extended_until(self) -> date | None:
        """Last day of extended support."""
        if self.standard_until is None:
            return None
        return date.fromordinal(self.standard_until.toordinal() + _EXTENDED_DAYS)


class Support(StrEnum):
    """How a version is supported on a day."""

    STANDARD = "standard"
    EXTENDED = "extended"
    ENDED = "ended"
    UNKNOWN = "unknown"


EKS_VERSIONS: dict[str, EksVersion] = {
    item.version: item
    for item in (
        EksVersion("1.33", date(2026, 7, 29)),
        EksVersion("1.34", date(2026, 12, 2)),
        EksVersion("1.35", date(2027, 3, 27)),
        EksVersion("1.36", date(2027, 8, 2)),
    )
}


def support_of(version: str, today: date) -> Support:
    """Say how an EKS version is supported on a day."""
    found = EKS_VERSIONS.get(version)
    if found is None or found.standard_until is None or found.extended_until is None:
        return Support.UNKNOWN
    if today <= found.standard_until:
        return Support.STANDARD
    return Support.EXTENDED if today <= found.extended_until else Support.ENDED
