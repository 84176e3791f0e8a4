"""Which versions go together with which Kubernetes version, each with where and when it was read. Pure.

What is not known here stays unknown: it is said so, and never guessed from a neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from cdk.cluster.versions import AMI_ALIAS, KARPENTER, KUBERAY, KUEUE, NVIDIA_PLUGIN_IMAGE
from cdk.model import Addon
from cdk.support import ADDON_VERSIONS


class Part(StrEnum):
    """What has to go with the control plane."""

    KARPENTER = "karpenter"
    NVIDIA_DRIVER = "nvidia driver of EKS's images"
    CONTAINERD = "containerd of EKS's images"
    NODE_IMAGE = "node image release"
    DEVICE_PLUGIN = "nvidia device plugin"
    KUEUE = "kueue"
    KUBERAY = "kuberay"


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one part with one Kubernetes version.

    Attributes:
        kubernetes: `major.minor`.
        part: Which part.
        version: What goes with it; None where nothing was seen.
        least: Whether any later version does too.
        source: Where it was read.
        read: When.
    """

    kubernetes: str
    part: Part
    version: str | None
    least: bool
    source: str
    read: date


_READ = date(2026, 11, 30)
_KARPENTER = "Karpenter's documentation, v1.15, Upgrading: Compatibility matrix"
_TIMELINE = "awslabs/amazon-eks-ami, announcement 2470 (containerd 2.1 and NVIDIA 580, by Kubernetes version)"
_GUIDE = "Amazon EKS user guide, accelerated images: 'currently include NVIDIA driver version 580', as quoted in 2026"
_NOTES = "Amazon EKS, release notes of 1.35: the last version with containerd 1; 2.0 or later before the next"
_NOT_SEEN = "not seen"

TABLE: tuple[Row, ...] = (
    Row("1.33", Part.KARPENTER, "1.5", least=True, source=_KARPENTER, read=_READ),
    Row("1.34", Part.KARPENTER, "1.6", least=True, source=_KARPENTER, read=_READ),
    Row("1.35", Part.KARPENTER, "1.9", least=True, source=_KARPENTER, read=_READ),
    Row("1.36", Part.KARPENTER, "1.13", least=True, source=_KARPENTER, read=_READ),
    Row("1.33", Part.NVIDIA_DRIVER, "580", least=False, source=_TIMELINE, read=_READ),
    Row("1.34", Part.NVIDIA_DRIVER, "580", least=False, source=_TIMELINE, read=_READ),
    Row("1.35", Part.NVIDIA_DRIVER, "580", least=False, source=_GUIDE, read=_READ),
    Row("1.36", Part.NVIDIA_DRIVER, "580", least=False, source=_GUIDE, read=_READ),
    Row("1.33", Part.CONTAINERD, "2.1", least=False, source=_TIMELINE, read=_READ),
    Row("1.34", Part.CONTAINERD, "2.1", least=False, source=_TIMELINE, read=_READ),
    Row("1.35", Part.CONTAINERD, None, least=False, source=_NOT_SEEN, read=_READ),
    Row("1.36", Part.CONTAINERD, "2.0", least=True, source=_NOTES, read=_READ),
    # One release has images of every version that EKS had then; whether of this one, its own list says.
    *(Row(version, Part.NODE_IMAGE, None, least=False, source=_NOT_SEEN, read=_READ) for version in ADDON_VERSIONS),
    *(Row(version, Part.DEVICE_PLUGIN, None, least=False, source=_NOT_SEEN, read=_READ) for version in ADDON_VERSIONS),
    # Kueue's main branch ran its tests on 1.34 to 1.36 in 2026; on what the release that we run was tested, its tag says.
    *(Row(version, Part.KUEUE, None, least=False, source=_NOT_SEEN, read=_READ) for version in ADDON_VERSIONS),
    # KubeRay writes down which Ray it goes with and, other than its first releases, no version of Kubernetes.
    *(Row(version, Part.KUBERAY, None, least=False, source=_NOT_SEEN, read=_READ) for version in ADDON_VERSIONS),
)
# What we run, where we run it by a version of our own.
OURS: dict[Part, str] = {
    Part.KARPENTER: KARPENTER.version,
    Part.NODE_IMAGE: AMI_ALIAS.partition("@v")[2],
    Part.DEVICE_PLUGIN: NVIDIA_PLUGIN_IMAGE.rpartition(":v")[2],
    Part.KUEUE: KUEUE.version,
    Part.KUBERAY: KUBERAY,
}
_ASK = {
    Part.NODE_IMAGE: "aws ssm get-parameter --name "
    "/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/x86_64/nvidia/recommended/release_version",
    Part.NVIDIA_DRIVER: "the release notes of that image: github.com/awslabs/amazon-eks-ami/releases",
    Part.CONTAINERD: "the release notes of that image: github.com/awslabs/amazon-eks-ami/releases",
    Part.DEVICE_PLUGIN: "the plugin's own release notes; it has no list by Kubernetes version",
    Part.KUEUE: f"E2E_K8S_VERSIONS in Makefile-test.mk of kubernetes-sigs/kueue, tag v{KUEUE.version}",
    Part.KUBERAY: f"the tests of ray-project/kuberay, tag v{KUBERAY}: it has no list by Kubernetes version",
    Part.KARPENTER: "karpenter.sh, Upgrading: Compatibility",
}


class Fit(StrEnum):
    """Whether what we run goes with a version."""

    FITS = "fits"
    TOO_OLD = "too old"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Companion:
    """One part, held against a Kubernetes version.

    Attributes:
        part: Which.
        wanted: What goes with that version, `>= 1.13`; `unknown` where nothing was seen.
        ours: What we run; empty where EKS chooses.
        fit: Whether it goes with it.
        source: Where that was read, with the date; where nothing was, whom to ask.
    """

    part: str
    wanted: str
    ours: str
    fit: Fit
    source: str


def companions(version: str) -> list[Companion]:
    """Return every part with what is known of it for a Kubernetes version; add-ons too."""
    found = [_companion(row) for row in TABLE if row.kubernetes == version]
    known = ADDON_VERSIONS.get(version, {})
    for addon in Addon:
        pinned = known.get(addon)
        ask = f"aws eks describe-addon-versions --kubernetes-version {version} --addon-name {addon.value}"
        found.append(
            Companion(
                part=f"add-on {addon.value}",
                wanted="unknown" if pinned is None else pinned.version,
                ours="EKS's default, resolved by the plan" if pinned is None else pinned.version,
                fit=Fit.UNKNOWN if pinned is None else Fit.FITS,
                source=f"ask: {ask}" if pinned is None else f"{pinned.seen}, read {_READ}",
            )
        )
    return found


def _companion(row: Row) -> Companion:
    ours = OURS.get(row.part, "")
    if row.version is None:
        ask = _ASK[row.part].format(version=row.kubernetes)
        return Companion(row.part.value, "unknown", ours, Fit.UNKNOWN, f"ask: {ask}")
    fit = Fit.FITS
    if ours and row.least and _numbers(ours) < _numbers(row.version):
        fit = Fit.TOO_OLD
    wanted = f">= {row.version}" if row.least else row.version
    return Companion(row.part.value, wanted, ours, fit, f"{row.source}, read {row.read}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
