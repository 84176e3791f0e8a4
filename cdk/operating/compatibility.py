"""Which versions go together with which Kubernetes version, each with where and when it was read. Pure.

What is not known here stays unknown: it is said so, and never guessed from a neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from cdk.cluster.versions import AMI_ALIAS, ARGO_CD, CERT_MANAGER, KARPENTER, KUBERAY, KUEUE, NVIDIA_PLUGIN_IMAGE
from cdk.model import Addon
from cdk.support import ADDON_VERSIONS


class Part(StrEnum):
    """What has to go with the control plane."""

    KARPENTER = "karpenter"
    NVIDIA_DRIVER = "nvidia driver of EKS's images"
    CONTAINERD = "containerd of EKS's images"
    NODE_IMAGE = "node image release"
    DEVICE_PLUGIN = "nvidia device plugin"
    CERT_MANAGER = "cert-manager"
    ARGO_CD = "argo cd"
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
        source: Where it was read; where nothing was seen, why.
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
_IMAGE = "awslabs/amazon-eks-ami, release v20260728, packages of the images of 1.36, as quoted on 2026-08-01"
_NODE = "a node of v1.33.11-eks on Amazon Linux 2023.11.20260505, as listed in a public repository"
_PARAMETER = "EKS's parameter of the image of 1.35, v20260930, as a public repository found it on 2026-10-02"
_CERT_MANAGER = "cert-manager/website, content/docs/releases/README.md as of 2026-09-30: supported Kubernetes versions"
_ARGO_CD = "argo-cd v3.5.3, docs/operator-manual/tested-kubernetes-versions.md: 3.5 on 1.33 to 1.36"
_KUEUE = "kubernetes-sigs/kueue, Makefile-test.mk before 0.19 (2026-07-22): end to end on 1.34.8, 1.35.5, 1.36.1"
# Why a row is unknown.
_LATER_IMAGE = (
    "the latest release seen with this version is v20260903; one release has images of every version that EKS had"
)
_NO_IMAGE = "no image of this version was seen by its release"
_NO_RUNTIME = "no image of this version was seen with its packages"
_NO_LIST = "its README asks for Kubernetes 1.10 or later, and names none that it was tested on"
_NO_TEST = "what it was tested on begins at 1.34"
_OTHER_TESTS = (
    "it says which Ray it goes with; its tests ran on 1.29, those of IPv6 on 1.35 (ci/kind-config-buildkite*.yml)"
)


def _rows(part: Part, source: str, versions: Mapping[str, str], *, least: bool = True) -> tuple[Row, ...]:
    return tuple(Row(kubernetes, part, version, least, source, _READ) for kubernetes, version in versions.items())


def _unknown(part: Part, why: str, *kubernetes: str) -> tuple[Row, ...]:
    return tuple(Row(item, part, None, least=False, source=why, read=_READ) for item in kubernetes)


TABLE: tuple[Row, ...] = (
    *_rows(Part.KARPENTER, _KARPENTER, {"1.33": "1.5", "1.34": "1.6", "1.35": "1.9", "1.36": "1.13"}),
    *_rows(Part.NVIDIA_DRIVER, _TIMELINE, {"1.33": "580", "1.34": "580"}, least=False),
    *_rows(Part.NVIDIA_DRIVER, _GUIDE, {"1.35": "580"}, least=False),
    *_rows(Part.NVIDIA_DRIVER, _IMAGE, {"1.36": "580.159.03"}, least=False),
    *_rows(Part.CONTAINERD, _NODE, {"1.33": "2.2.3"}, least=False),
    *_rows(Part.CONTAINERD, _TIMELINE, {"1.34": "2.1"}),
    *_unknown(Part.CONTAINERD, _NO_RUNTIME, "1.35"),
    *_rows(Part.CONTAINERD, _IMAGE, {"1.36": "2.2.5"}, least=False),
    *_unknown(Part.NODE_IMAGE, _NO_IMAGE, "1.33", "1.34"),
    *_rows(Part.NODE_IMAGE, _PARAMETER, {"1.35": "20260930"}, least=False),
    *_unknown(Part.NODE_IMAGE, _LATER_IMAGE, "1.36"),
    *_unknown(Part.DEVICE_PLUGIN, _NO_LIST, *ADDON_VERSIONS),
    *_rows(Part.CERT_MANAGER, _CERT_MANAGER, {"1.33": "1.18", "1.34": "1.19", "1.35": "1.19", "1.36": "1.21"}),
    *_rows(Part.ARGO_CD, _ARGO_CD, dict.fromkeys(("1.33", "1.34", "1.35", "1.36"), "3.5")),
    *_unknown(Part.KUEUE, _NO_TEST, "1.33"),
    *_rows(Part.KUEUE, _KUEUE, dict.fromkeys(("1.34", "1.35", "1.36"), "0.19")),
    *_unknown(Part.KUBERAY, _OTHER_TESTS, *ADDON_VERSIONS),
)
# What we run, where we run it by a version of our own.
OURS: dict[Part, str] = {
    Part.KARPENTER: KARPENTER.version,
    Part.NODE_IMAGE: AMI_ALIAS.partition("@v")[2],
    Part.DEVICE_PLUGIN: NVIDIA_PLUGIN_IMAGE.rpartition(":v")[2],
    Part.CERT_MANAGER: CERT_MANAGER.version.removeprefix("v"),
    Part.ARGO_CD: ARGO_CD,
    Part.KUEUE: KUEUE.version,
    Part.KUBERAY: KUBERAY,
}
_RELEASES = "the release notes of that image: github.com/awslabs/amazon-eks-ami/releases"
_ASK = {
    Part.NODE_IMAGE: "aws ssm get-parameter --name "
    "/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/x86_64/nvidia/recommended/release_version",
    Part.NVIDIA_DRIVER: _RELEASES,
    Part.CONTAINERD: _RELEASES,
    Part.DEVICE_PLUGIN: "its release notes, and a pod that asks for a GPU on a node of that version",
    Part.KUEUE: f"E2E_K8S_VERSIONS in Makefile-test.mk of kubernetes-sigs/kueue, tag v{KUEUE.version}",
    Part.KUBERAY: f"a RayJob on a cluster of that version, with v{KUBERAY}",
    Part.CERT_MANAGER: "cert-manager.io, Supported Releases",
    Part.ARGO_CD: "argo-cd.readthedocs.io, Tested Kubernetes versions",
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
        source: Where that was read, with the date; where nothing was, why, and whom to ask.
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
                source=f"no cluster of this version was seen with it; ask: {ask}"
                if pinned is None
                else f"{pinned.seen}, read {_READ}",
            )
        )
    return found


def _companion(row: Row) -> Companion:
    ours = OURS.get(row.part, "")
    if row.version is None:
        ask = _ASK[row.part].format(version=row.kubernetes)
        return Companion(row.part.value, "unknown", ours, Fit.UNKNOWN, f"{row.source}; ask: {ask}")
    fit = Fit.FITS
    if ours and row.least and _numbers(ours) < _numbers(row.version):
        fit = Fit.TOO_OLD
    wanted = f">= {row.version}" if row.least else row.version
    return Companion(row.part.value, wanted, ours, fit, f"{row.source}, read {row.read}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
