"""The second door: server-side apply through the Kubernetes client, again and again with the same result."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError
from urllib3.exceptions import HTTPError

from cdk.cluster.coherence import name_of
from cdk.cluster.kinds.base import Manifest
from cdk.cluster.kinds.core import Namespace
from cdk.cluster.place import PART_OF, PRODUCT
from cdk.delivery.failures import InfrastructureError
from platform_lib.errors import ConfigError, PlatformError

MANAGER = "drivetrain"
_POLL_S = 2.0
_CONFLICT, _NOT_FOUND, _FORBIDDEN, _UNAUTHORIZED, _INVALID = 409, 404, 403, 401, 422
# An admission webhook whose pods are not there yet answers so; it comes.
_NOT_YET = {500, 502, 503, 504}
_REQUEST_S = 30


class Outcome(StrEnum):
    """What applying an object did."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class Applied:
    """One object and what was done to it.

    Attributes:
        name: For people.
        outcome: What was done.
    """

    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyPlan:
    """How to apply.

    Attributes:
        wait_s: How long kinds and webhooks that others install are waited for, seconds.
        force_conflicts: Whether fields that others own are taken over.
        prune: Whether objects of ours that are none any more are deleted.
        told: Hears of each object.
        sleep: Waits; seconds.
        clock: Monotonic, seconds.
    """

    wait_s: float = 600.0
    force_conflicts: bool = False
    prune: bool = False
    told: Callable[[Applied], None] = field(default=lambda applied: None)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@contextmanager
def connected(context: str | None, *, kubeconfig: Path | None = None) -> Iterator[DynamicClient]:
    """Give a client of a cluster.

    Args:
        context: Its name in the kubeconfig.
        kubeconfig: The file; `$KUBECONFIG`, else `~/.kube/config` by default.

    Raises:
        ConfigError: No kubeconfig, or no such context.
        InfrastructureError: It does not answer, or does not know who asks.
    """
    file = None if kubeconfig is None else str(kubeconfig)
    try:
        api = config.new_client_from_config(config_file=file, context=context)
    except ConfigException as error:
        raise ConfigError(
            f"no context '{context}': {error}",
            where=file or "kubeconfig",
            remedy="see `kubectl config get-contexts`; `make kubeconfig ENV=...` writes those of our clusters",
        ) from error
    # The client keeps what it discovered in a file of the temporary folder's root, for whoever comes next: in one of our
    # own it can be nobody else's.
    with api, tempfile.TemporaryDirectory(prefix="drivetrain-discovery-") as folder, _told_of_loss(api, context):
        yield DynamicClient(api, cache_file=str(Path(folder) / "discovery.json"))


@contextmanager
def _told_of_loss(api: client.ApiClient, context: str | None) -> Iterator[None]:
    host = api.configuration.host
    try:
        yield
    except HTTPError as error:
        raise InfrastructureError(
            f"the API server does not answer: {type(error).__name__}",
            where=host,
            remedy="its endpoint is private: come from the VPC; see `kubectl cluster-info`",
        ) from error
    except ApiException as error:
        if error.status == _UNAUTHORIZED:
            raise InfrastructureError(
                f"the API server does not know who asks (context {context})",
                where=host,
                remedy="sign in again: aws sso login, then the same command",
            ) from error
        raise _refused("request", error) from error


def apply(cluster: DynamicClient, objects: Sequence[Manifest], plan: ApplyPlan) -> list[Applied]:
    """Bring a cluster to what the objects say.

    Objects whose kind is not served yet wait until whoever brings it, an application among them, has brought it; all others
    do not wait for them.

    Args:
        cluster: The cluster.
        objects: In the order in which they can be made.
        plan: How.

    Raises:
        InfrastructureError: An object was refused, a field is somebody else's, or a kind did not come in time. What was
            applied before stays; the same command goes on.
    """
    until = plan.clock() + plan.wait_s
    done: list[Applied] = []
    waiting = list(objects)
    while waiting:
        waiting = _apply_served(cluster, waiting, plan, until, done)
        if not waiting:
            break
        if plan.clock() >= until:
            kinds = sorted({f"{item.api_version} {item.kind}" for item in waiting})
            raise InfrastructureError(
                f"{len(waiting)} of {len(objects)} objects are of kinds still not served after {plan.wait_s:.0f} s: "
                f"{', '.join(kinds)}",
                where=cluster.configuration.host,
                remedy="see the applications in Argo CD: `kubectl -n argocd get applications`; then the same command",
            )
        plan.sleep(_POLL_S)
        cluster.resources.invalidate_cache()
    if plan.prune:
        done += _prune(cluster, objects, plan)
    return done


def _apply_served(
    cluster: DynamicClient, objects: Sequence[Manifest], plan: ApplyPlan, until: float, done: list[Applied]
) -> list[Manifest]:
    """Apply the objects whose kinds are served; return the others."""
    left: list[Manifest] = []
    # Asked for once a pass: the client looks through all groups for a kind that is not there.
    resources: dict[tuple[str, str], Any] = {}
    for item in objects:
        key = (item.api_version, item.kind)
        if key not in resources:
            resources[key] = _resource(cluster, item)
        if resources[key] is None:
            left.append(item)
            continue
        applied = Applied(name_of(item), _apply_one(cluster, resources[key], item, plan, until))
        plan.told(applied)
        done.append(applied)
    return left


def _resource(cluster: DynamicClient, item: Manifest) -> Any:
    try:
        return cluster.resources.get(api_version=item.api_version, kind=item.kind)
    except (ResourceNotFoundError, ResourceNotUniqueError):
        return None


def _apply_one(cluster: DynamicClient, resource: Any, item: Manifest, plan: ApplyPlan, until: float) -> Outcome:
    before = _version(cluster, resource, item)
    while True:
        try:
            after = cluster.server_side_apply(
                resource,
                body=item.document(),
                name=item.metadata.name,
                namespace=item.metadata.namespace,
                force_conflicts=plan.force_conflicts,
                field_manager=MANAGER,
                _request_timeout=_REQUEST_S,
            )
            break
        except ApiException as error:
            if error.status not in _NOT_YET or plan.clock() >= until:
                raise _refused(name_of(item), error) from error
        plan.sleep(_POLL_S)
    if before is None:
        return Outcome.CREATED
    return Outcome.UNCHANGED if after.metadata.resourceVersion == before else Outcome.CHANGED


def _version(cluster: DynamicClient, resource: Any, item: Manifest) -> str | None:
    try:
        found = cluster.get(
            resource, name=item.metadata.name, namespace=item.metadata.namespace, _request_timeout=_REQUEST_S
        )
    except ApiException as error:
        if error.status == _NOT_FOUND:
            return None
        raise _refused(name_of(item), error) from error
    return str(found.metadata.resourceVersion)


def _prune(cluster: DynamicClient, objects: Sequence[Manifest], plan: ApplyPlan) -> list[Applied]:
    """Delete what this door made and no longer makes.

    Of our kinds, with our label, applied by us, and nobody's child: what an operator made of an object of ours copies its
    labels. Namespaces stay, because all that lies in them would go too.
    """
    wanted = {(item.api_version, item.kind, item.metadata.namespace, item.metadata.name) for item in objects}
    kinds = sorted({(item.api_version, item.kind) for item in objects if not isinstance(item, Namespace)})
    done = []
    # What others stand on was made first, and goes last.
    for api_version, kind in reversed(kinds):
        resource = cluster.resources.get(api_version=api_version, kind=kind)
        found = cluster.get(resource, label_selector=f"{PART_OF}={PRODUCT}", _request_timeout=_REQUEST_S)
        for item in found.to_dict().get("items", []):
            meta = item["metadata"]
            identity = (api_version, kind, meta.get("namespace"), meta["name"])
            if identity in wanted or not _ours(meta):
                continue
            cluster.delete(resource, name=meta["name"], namespace=meta.get("namespace"), _request_timeout=_REQUEST_S)
            place = f"{meta['namespace']}/" if meta.get("namespace") else ""
            applied = Applied(f"{kind} {place}{meta['name']}", Outcome.PRUNED)
            plan.told(applied)
            done.append(applied)
    return done


def _ours(meta: dict[str, Any]) -> bool:
    managers = {item.get("manager") for item in meta.get("managedFields", ()) if item.get("operation") == "Apply"}
    return MANAGER in managers and not meta.get("ownerReferences")


def _refused(where: str, error: ApiException) -> PlatformError:
    message = _message(error)
    if error.status == _CONFLICT:
        return InfrastructureError(
            f"others own what this would set: {message}",
            where=where,
            remedy="find out who and why; --force-conflicts takes the fields over",
        )
    if error.status == _FORBIDDEN:
        return InfrastructureError(
            f"is not allowed: {message}", where=where, remedy="come by the deploying role, or ask an administrator"
        )
    if error.status == _INVALID:
        return InfrastructureError(
            f"was refused: {message}", where=where, remedy="mend the value; what was applied before stays"
        )
    return InfrastructureError(
        f"the API server answered {error.status}: {message}", where=where, remedy="see its log, then the same command"
    )


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
