"""Which EKS versions are supported until when, and what goes with each: AMIs, drivers, add-ons, controllers.

Pure: the day is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from cdk.model import Addon

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


@dataclass(frozen=True, slots=True)
class AddonVersion:
    """An add-on's version for one EKS version.

    Attributes:
        version: As EKS spells it.
        seen: Where it was seen with that EKS version.
    """

    version: str
    seen: str


# Source: versions that clusters of these EKS versions resolved to, as public repositories record them, read 2026-11-30.
# Ask `aws eks describe-addon-versions --kubernetes-version 1.35` for today's. What is not here is unknown: then EKS's
# own default is resolved by a data source, and the plan shows it.
_RESOLVED = "what a cluster of this version resolved to, 2026-09"
_PINNED = "a configuration of this version, 2026"
_DEFAULT = "EKS's default for this version on 2026-09-21, as mitodl/ol-infrastructure 5959 says"
ADDON_VERSIONS: dict[str, dict[Addon, AddonVersion]] = {
    "1.33": {
        Addon.VPC_CNI: AddonVersion("v1.22.4-eksbuild.3", _RESOLVED),
        Addon.COREDNS: AddonVersion("v1.12.4-eksbuild.29", _RESOLVED),
        Addon.KUBE_PROXY: AddonVersion("v1.33.10-eksbuild.21", _RESOLVED),
    },
    "1.34": {
        Addon.VPC_CNI: AddonVersion("v1.22.4-eksbuild.3", _RESOLVED),
        Addon.COREDNS: AddonVersion("v1.12.4-eksbuild.29", _RESOLVED),
        Addon.KUBE_PROXY: AddonVersion("v1.34.6-eksbuild.21", _RESOLVED),
    },
    "1.35": {
        Addon.VPC_CNI: AddonVersion("v1.22.4-eksbuild.3", _RESOLVED),
        Addon.COREDNS: AddonVersion("v1.13.2-eksbuild.21", _RESOLVED),
        Addon.KUBE_PROXY: AddonVersion("v1.35.3-eksbuild.21", _RESOLVED),
        Addon.EBS_CSI: AddonVersion("v1.63.1-eksbuild.1", _PINNED),
        Addon.POD_IDENTITY: AddonVersion("v1.3.10-eksbuild.3", _PINNED),
    },
    "1.36": {
        Addon.VPC_CNI: AddonVersion("v1.22.4-eksbuild.3", _RESOLVED),
        Addon.COREDNS: AddonVersion("v1.14.3-eksbuild.14", _RESOLVED),
        Addon.KUBE_PROXY: AddonVersion("v1.36.0-eksbuild.17", _RESOLVED),
        Addon.EBS_CSI: AddonVersion("v1.66.0-eksbuild.1", _DEFAULT),
        Addon.POD_IDENTITY: AddonVersion("v1.3.10-eksbuild.3", _RESOLVED),
    },
}


def addon_version(eks_version: str, addon: Addon) -> str | None:
    """Return the add-on version that goes with an EKS version; None where none is known here."""
    known = ADDON_VERSIONS.get(eks_version, {}).get(addon)
    return None if known is None else known.version
