"""A job of a named cluster: the form that lies there for its pool, filled in.

Forms, queues and quotas are those that `drivetrain infra manifests` makes; they are read as the files it writes.
"""

from __future__ import annotations

import copy
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from platform_lib.abilities import GPU, QAIC
from platform_lib.errors import ConfigError
from ray_jobs.launch_check import Checked, check_quota
from ray_jobs.recipes.config import Processes

_FORMS = "ray-job-templates"
_UNFILLED = "/bin/false"
NAMESPACE = "ray"
"""Where jobs run, as their forms say."""
_QUEUE = "kueue.x-k8s.io/queue-name"
_NAME_BYTES = 47  # Source: KubeRay's own limit of a RayJob's name, which its pods' names begin with


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What a cluster offers to jobs.

    Attributes:
        forms: Pool -> form of a RayJob.
        queues: All cluster queues.
        region: Where it is.
    """

    forms: Mapping[str, Mapping[str, Any]]
    queues: Sequence[Mapping[str, Any]]
    region: str


def read_cluster(folder: Path) -> ClusterView:
    """Read what `drivetrain infra manifests --out` wrote for one region.

    Raises:
        ConfigError: There are no forms of jobs among it.
    """
    regions = sorted(path for path in folder.iterdir() if path.is_dir())
    documents = [yaml.safe_load(path.read_text()) for region in regions[:1] for path in sorted(region.rglob("*.yaml"))]
    forms = [item for item in documents if item["kind"] == "ConfigMap" and item["metadata"]["name"] == _FORMS]
    if not forms:
        raise ConfigError("no forms of jobs among the manifests", where=folder, remedy="drivetrain infra manifests")
    return ClusterView(
        forms={name.removesuffix(".json"): json.loads(text) for name, text in forms[0]["data"].items()},
        queues=[item for item in documents if item["kind"] == "ClusterQueue"],
        region=regions[0].name,
    )


def able_pools(cluster: ClusterView, processes: Processes, wanted: str | None) -> list[str]:
    """Return the pools that a job can run on: the one named, else all that have what it needs.

    Raises:
        ConfigError: There is none.
    """
    able = [name for name, form in cluster.forms.items() if _able(form, processes)]
    if wanted is not None and wanted in cluster.forms and wanted not in able:
        raise ConfigError(f"pool '{wanted}' has not what the recipe asks for", where="--pool", remedy=_choice(able))
    if wanted is not None and wanted not in cluster.forms:
        raise ConfigError(f"no pool '{wanted}'", where="--pool", remedy=_choice(list(cluster.forms)))
    if not able:
        raise ConfigError(
            "no pool has what the recipe asks for",
            where="--cluster",
            remedy=f"ask for less in the recipe; pools are {', '.join(cluster.forms)}",
        )
    return able if wanted is None else [wanted]


def nodes_for(form: Mapping[str, Any], processes: Processes) -> int:
    """Return how many of the form's workers, each a node, hold the processes."""
    has = _worker(form)["resources"]
    each = int(has.get(GPU, 0)) if processes.gpu else int(has.get("CPU", 0)) // processes.cpus
    return math.ceil(processes.count / each)


def check_cluster(cluster: ClusterView, pool: str, nodes: int) -> Checked:
    """Hold the request against the quotas of the form's queue."""
    form = cluster.forms[pool]
    container = _worker(form)["template"]["spec"]["containers"][0]
    covered = {
        name
        for queue in cluster.queues
        for group in queue["spec"]["resourceGroups"]
        for name in group["coveredResources"]
    }
    requests = {name: value for name, value in container["resources"]["requests"].items() if name in covered}
    return check_quota(requests, nodes, form["metadata"]["labels"][_QUEUE], pool, cluster.queues)


def fill(
    form: Mapping[str, Any],
    *,
    name: str,
    arguments: Sequence[str],
    nodes: int,
    code_uri: str,
    variables: Mapping[str, str],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """Return the form as the job to run.

    Args:
        form: The pool's.
        name: The job's; shortened to what Kubernetes takes.
        arguments: What follows ``drivetrain`` there.
        nodes: Workers.
        code_uri: Where its code lies.
        variables: What its processes are told.
        labels: More of them.

    Raises:
        ConfigError: The form is not one that waits to be filled in.
    """
    job = copy.deepcopy(dict(form))
    if job["spec"]["entrypoint"] != _UNFILLED:
        raise ConfigError("not an unfilled form", where=job["metadata"]["name"], remedy="render the manifests anew")
    job["metadata"]["name"] = object_name(name)
    job["metadata"]["labels"] = {**job["metadata"]["labels"], **labels}
    job["spec"]["entrypoint"] = shlex.join(("python", "-m", "platform_lib.cli", *arguments))
    job["spec"]["runtimeEnvYAML"] = yaml.safe_dump({"working_dir": code_uri, "env_vars": dict(variables)})
    worker = _worker(job)
    worker["replicas"] = worker["minReplicas"] = worker["maxReplicas"] = nodes
    return job


def object_name(name: str) -> str:
    """Return a name that Kubernetes takes for a RayJob."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[-_NAME_BYTES:].strip("-")


def image_of(form: Mapping[str, Any]) -> str:
    """Return the image that workers run."""
    image: str = _worker(form)["template"]["spec"]["containers"][0]["image"]
    return image


def code_bucket(form: Mapping[str, Any]) -> str | None:
    """Return the bucket for what is derived, as the form's processes are told it."""
    for variable in _worker(form)["template"]["spec"]["containers"][0].get("env", ()):
        if variable["name"] == "DRIVETRAIN_BUCKET_DERIVED":
            found: str = variable["value"]
            return found
    return None


def _able(form: Mapping[str, Any], processes: Processes) -> bool:
    has = _worker(form)["resources"]
    if processes.placed_on is not None and processes.placed_on not in has:
        return False
    gpus = float(has.get(GPU, 0))
    if processes.gpu:
        return gpus >= 1
    # A node with accelerators is not taken for what needs none, unless somebody named it.
    spared = processes.placed_on is None and (gpus > 0 or QAIC in has)
    return not spared and float(has.get("CPU", 0)) >= processes.cpus


def _worker(form: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = form["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    return found


def _choice(names: Sequence[str]) -> str:
    return f"take one of: {', '.join(names)}" if names else "ask for less"
