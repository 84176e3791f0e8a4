"""Which custom kinds a cluster knows, and who brings their definitions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cdk.cluster.kinds.addons import Application
from cdk.cluster.kinds.base import Manifest
from cdk.cluster.versions import CHARTS, THERE_BEFORE

WAVE = "argocd.argoproj.io/sync-wave"
# Groups with a dot that are Kubernetes' own.
_OWN_GROUPS = {
    "admissionregistration.k8s.io",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
}


def group_of(item: Manifest) -> str:
    """Return an object's API group; empty for the core."""
    return item.api_version.rpartition("/")[0]


def is_custom(item: Manifest) -> bool:
    """Whether an object's kind is there only after an operator was installed."""
    group = group_of(item)
    return "." in group and group not in _OWN_GROUPS


def undefined(objects: Sequence[Manifest]) -> Iterator[tuple[Manifest, str]]:
    """Give every object whose kind nobody among these objects brings in time, and why.

    Kinds come with the charts of the applications among the objects; those of Argo CD are there before.
    """
    brought = {group: -(1 << 30) for group in THERE_BEFORE}
    for item in objects:
        if isinstance(item, Application) and not item.spec.source.helm.skip_crds:
            for chart in CHARTS:
                if chart.name == item.spec.source.chart:
                    brought.update(dict.fromkeys(chart.defines, _wave(item)))
    for item in objects:
        if not is_custom(item):
            continue
        group = group_of(item)
        if group not in brought:
            yield item, f"no application brings the kinds of {group}"
        elif brought[group] >= _wave(item):
            yield item, f"goes in wave {_wave(item)}, and the kinds of {group} come in wave {brought[group]}"


def _wave(item: Manifest) -> int:
    return int((item.metadata.annotations or {}).get(WAVE, "0"))
