"""Recommendations as strategic merge patches, one a workload. Pure.

Memory: request and limit are the bound, as its chance is that of the limit. CPU: the request is the bound; a limit stays absent where
there is none, and becomes the bound where there is one, as throttling is at the limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cost.rightsize import quantity
from cost.rightsize.model import Requested
from cost.rightsize.recommend import Bound, Recommendation

PATCHABLE = {"Deployment": "deployment", "StatefulSet": "statefulset", "DaemonSet": "daemonset"}
"""Kinds whose pod template a patch changes; others are made anew by what owns them."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One workload's patch.

    Attributes:
        namespace: Its namespace.
        kind: As kubectl names it.
        name: Its name.
        body: The patch.
    """

    namespace: str
    kind: str
    name: str
    body: dict[str, Any]

    @property
    def file_name(self) -> str:
        """Return its file's name; dots keep namespaces and names apart, which have none between them."""
        return f"{self.namespace}.{self.kind}.{self.name}.yaml"

    def command(self, folder: str) -> str:
        """Return what applies it."""
        return f"kubectl -n {self.namespace} patch {self.kind} {self.name} --type strategic --patch-file {folder}/{self.file_name}"


def patches_of(found: Iterable[Recommendation]) -> Iterator[Patch]:
    """Return a patch for every workload of a kind that can be patched and has anything recommended."""
    by_workload: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in found:
        kind = item.key.workload.partition("/")[0]
        resources = resources_of(item)
        if kind in PATCHABLE and resources is not None:
            containers = by_workload.setdefault((item.key.namespace, item.key.workload), [])
            containers.append({"name": item.key.container, "resources": resources})
    for (namespace, workload), containers in sorted(by_workload.items()):
        kind, _, name = workload.partition("/")
        body = {"spec": {"template": {"spec": {"containers": containers}}}}
        yield Patch(namespace, PATCHABLE[kind], name, body)


def resources_of(item: Recommendation) -> dict[str, dict[str, str]] | None:
    """Return a container's `resources`; None where nothing is recommended."""
    requests, limits = {}, {}
    asked = item.requested or Requested()
    if isinstance(item.cpu, Bound):
        requests["cpu"] = quantity.cpu(item.cpu.value)
        if asked.cpu_limit_cores is not None:
            limits["cpu"] = requests["cpu"]
    if isinstance(item.memory, Bound):
        requests["memory"] = limits["memory"] = quantity.memory(item.memory.value)
    if not requests:
        return None
    return {"requests": requests, **({"limits": limits} if limits else {})}


def faults(patch: Patch) -> list[str]:
    """Return what is wrong with a patch: sizes that are none, or a request above its limit."""
    found = []
    for container in patch.body["spec"]["template"]["spec"]["containers"]:
        resources = container["resources"]
        for group in resources.values():
            for name, text in group.items():
                try:
                    if quantity.parse(text) <= 0:
                        found.append(f"{container['name']}: {name} is {text}")
                except ValueError as error:
                    found.append(f"{container['name']}: {error}")
        if found:
            continue
        for name, limit in resources.get("limits", {}).items():
            if quantity.parse(resources["requests"].get(name, "0")) > quantity.parse(limit):
                found.append(f"{container['name']}: requests more {name} than its limit")
    return found
