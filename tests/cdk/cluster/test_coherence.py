"""What objects must agree on; each fault planted is found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from clusters import all_places, forms, place_of

from cdk.access import IDENTITIES, Workload
from cdk.cluster.applications import applications
from cdk.cluster.catalogue import objects_of
from cdk.cluster.coherence import incoherences
from cdk.cluster.definitions import WAVE
from cdk.cluster.kinds.addons import Application
from cdk.cluster.kinds.admission import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from cdk.cluster.kinds.base import LabelSelector, Manifest, Toleration
from cdk.cluster.kinds.core import Deployment, Namespace, NetworkPolicy, PodDisruptionBudget, Service, ServiceAccount
from cdk.cluster.kinds.karpenter import EC2NodeClass, NodePool
from cdk.cluster.kinds.kueue import ClusterQueue, LocalQueue, ResourceFlavor
from cdk.cluster.kinds.pods import PodTemplate, Resources
from cdk.cluster.kinds.ray import RayCluster, RayJob
from cdk.cluster.place import Place
from cdk.cluster.ray import WORKER_GROUPS, job_form, ray_objects
from cdk.labels import taints_of
from cdk.model import Manager, Nat, PoolKind
from platform_lib.errors import ConfigError
from ray_jobs.interruption import NOTICE_VARIABLE, give_notice

PLACE = place_of("prod")
OBJECTS = (*objects_of(PLACE), *forms(PLACE))


@pytest.mark.parametrize("place", all_places(), ids=lambda place: place.name)
def test_every_cluster_is_coherent(place: Place) -> None:
    assert incoherences([*objects_of(place), *forms(place)], place.pools) == []


def _spoilt(kind: type[Manifest], name: str, spoil: Callable[[Any], Any]) -> list[Manifest]:
    found = [spoil(item) if isinstance(item, kind) and item.metadata.name == name else item for item in OBJECTS]
    assert found != list(OBJECTS)
    return [item for item in found if item is not None]


def _spec(item: Any, **changes: Any) -> Any:
    return item.model_copy(update={"spec": item.spec.model_copy(update=changes)})


def _pod(item: Any, **changes: Any) -> Any:
    template: PodTemplate = item.spec.template
    return _spec(item, template=template.model_copy(update={"spec": template.spec.model_copy(update=changes)}))


def _container(item: Any, **changes: Any) -> Any:
    first, *others = item.spec.template.spec.containers
    return _pod(item, containers=(first.model_copy(update=changes), *others))


def _unlabelled(key: str) -> list[Manifest]:
    """Every namespace without one of its labels."""
    found: list[Manifest] = []
    for item in OBJECTS:
        labels = {name: value for name, value in (item.metadata.labels or {}).items() if name != key}
        meta = item.metadata.model_copy(update={"labels": labels})
        found.append(item.model_copy(update={"metadata": meta}) if isinstance(item, Namespace) else item)
    return found


FAULTS: list[tuple[str, list[Manifest], str]] = [
    (
        "a policy of tenants where there are none",
        _unlabelled("drivetrain.io/team"),
        "ValidatingAdmissionPolicyBinding drivetrain-cost-labels: selects no namespace",
    ),
    (
        "kinds that no application brings",
        _spoilt(Application, "external-secrets", lambda item: None),
        "ExternalSecret mlflow/metadata-database: no application brings the kinds of external-secrets.io",
    ),
    (
        "kinds whose application leaves them out",
        _spoilt(
            Application,
            "kueue",
            lambda item: _spec(
                item,
                source=item.spec.source.model_copy(
                    update={"helm": item.spec.source.helm.model_copy(update={"skip_crds": True})}
                ),
            ),
        ),
        "no application brings the kinds of kueue.x-k8s.io",
    ),
    (
        "kinds that come after what is of them",
        _spoilt(
            Application,
            "kuberay-operator",
            lambda item: item.model_copy(
                update={"metadata": item.metadata.model_copy(update={"annotations": {WAVE: "2"}})}
            ),
        ),
        "RayCluster ray/shared: goes in wave 1, and the kinds of ray.io come in wave 2",
    ),
    (
        "a policy without a binding",
        _spoilt(ValidatingAdmissionPolicyBinding, "drivetrain-images", lambda item: None),
        "ValidatingAdmissionPolicy drivetrain-images: has no binding",
    ),
    (
        "a binding without a policy",
        _spoilt(ValidatingAdmissionPolicy, "drivetrain-images", lambda item: None),
        "names policy drivetrain-images, which nobody makes",
    ),
    ("twice", [*OBJECTS, OBJECTS[0]], "is there 2 times"),
    (
        "service",
        _spoilt(Service, "mlflow", lambda item: _spec(item, selector={"app": "none"})),
        "Service mlflow/mlflow: selects no pod",
    ),
    (
        "port",
        _spoilt(
            Service,
            "mlflow",
            lambda item: _spec(item, ports=(item.spec.ports[0].model_copy(update={"target_port": "web"}),)),
        ),
        "leads to port 'web'",
    ),
    (
        "budget",
        _spoilt(
            PodDisruptionBudget,
            "mlflow",
            lambda item: _spec(item, selector=LabelSelector(match_labels={"app": "none"})),
        ),
        "PodDisruptionBudget mlflow/mlflow: selects no pod",
    ),
    ("account", _spoilt(ServiceAccount, "mlflow", lambda item: None), "runs as service account mlflow"),
    ("priority", _spoilt(Deployment, "mlflow", lambda item: _pod(item, priority_class_name="top")), "has priority top"),
    ("namespace", [item for item in OBJECTS if item.identity[1:] != ("Namespace", "", "mlflow")], "which nobody makes"),
    (
        "image",
        _spoilt(Deployment, "mlflow", lambda item: _container(item, image="quay.io/x/mlflow:latest")),
        "has tag 'latest'",
    ),
    (
        "no tag",
        _spoilt(Deployment, "mlflow", lambda item: _container(item, image="host:5000/mlflow")),
        "has no version",
    ),
    (
        "requests",
        _spoilt(Deployment, "mlflow", lambda item: _container(item, resources=Resources(requests={"memory": "1Gi"}))),
        "asks for no cpu",
    ),
    (
        "limit",
        _spoilt(
            Deployment,
            "mlflow",
            lambda item: _container(item, resources=Resources(requests={"cpu": "1", "memory": "1Gi"})),
        ),
        "has no limit on memory",
    ),
    (
        "nodes",
        _spoilt(Deployment, "mlflow", lambda item: _pod(item, node_selector={"drivetrain.io/pool": "gone"})),
        "which no pool has",
    ),
    ("anywhere", _spoilt(Deployment, "mlflow", lambda item: _pod(item, node_selector=None)), "on which nodes it runs"),
    (
        "untolerated",
        _spoilt(Deployment, "mlflow", lambda item: _pod(item, node_selector={"drivetrain.io/pool": "ai100"})),
        "does not tolerate qualcomm.com/qaic",
    ),
    (
        "tolerates",
        _spoilt(
            Deployment,
            "mlflow",
            lambda item: _pod(
                item, tolerations=(Toleration(key="nvidia.com/gpus", value="present", effect="NoSchedule"),)
            ),
        ),
        "tolerates nvidia.com/gpus, which no pool is tainted with",
    ),
    ("queue", _spoilt(ClusterQueue, "team-planning", lambda item: None), "names ClusterQueue team-planning"),
    ("local queue", _spoilt(LocalQueue, "team-planning", lambda item: None), "names LocalQueue team-planning"),
    ("flavour", _spoilt(ResourceFlavor, "train-h200", lambda item: None), "names ResourceFlavor train-h200"),
    (
        "flavour's taint",
        _spoilt(ResourceFlavor, "train-h200", lambda item: _spec(item, node_taints=None)),
        "ResourceFlavor train-h200: taints nodes []",
    ),
    (
        "flavour's pool",
        _spoilt(ResourceFlavor, "train-h200", lambda item: _spec(item, node_labels={"drivetrain.io/pool": "gone"})),
        "which this region has not",
    ),
    ("node class", _spoilt(EC2NodeClass, "cpu", lambda item: None), "names EC2NodeClass cpu"),
    (
        "secret",
        [item for item in OBJECTS if item.identity[1:3] != ("ExternalSecret", "mlflow")],
        "reads metadata-database/mlflow-url, which nobody makes",
    ),
]


@pytest.mark.parametrize(("objects", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_found(objects: list[Manifest], message: str) -> None:
    found = "\n".join(map(str, incoherences(objects, PLACE.pools)))
    assert message in found


def test_identities_with_a_role_are_service_accounts() -> None:
    made = {(item.metadata.namespace, item.metadata.name) for item in OBJECTS if isinstance(item, ServiceAccount)}
    # The others' are made by an add-on and by charts, under the names that Pod Identity knows.
    charts = {Workload.EBS_CSI, Workload.EXTERNAL_SECRETS, Workload.KARPENTER}
    own = {(item.namespace, item.service_account) for key, item in IDENTITIES.items() if key not in charts}
    assert made == own


def test_every_pool_has_its_flavour_and_karpenter_its_own_pools_alone() -> None:
    flavours = {item.metadata.name for item in OBJECTS if isinstance(item, ResourceFlavor)}
    assert flavours == {item.name for item in PLACE.pools}
    pools = {item.metadata.name for item in OBJECTS if isinstance(item, NodePool)}
    assert pools == {item.name for item in PLACE.pools if item.manager is Manager.KARPENTER}
    assert not any(item.kind is PoolKind.QUALCOMM for item in PLACE.pools if item.name in pools)


def test_a_team_owns_what_it_pays_for_and_can_borrow_the_rest() -> None:
    shares = {item.metadata.name: item for item in OBJECTS if isinstance(item, ClusterQueue)}
    owned: dict[str, int] = {}
    for share in shares.values():
        flavours = share.spec.resource_groups[0].flavors
        assert {item.name for item in flavours} == {item.name for item in PLACE.pools}
        for flavour in flavours:
            gpus = next(item for item in flavour.resources if item.name == "nvidia.com/gpu")
            assert gpus.borrowing_limit is None
            owned[flavour.name] = owned.get(flavour.name, 0) + int(gpus.nominal_quota)
    for pool in PLACE.pools:
        # 8 GPUs a node of p5, p5en and p6; the smallest of evaluate-l40s has 4, of notebooks 1.
        each = {"evaluate-l40s": 4, "notebooks-l40s": 1}.get(pool.name, 8)
        assert owned[pool.name] == (pool.maximum * each if pool.kind is PoolKind.NVIDIA else 0)


def test_a_gang_over_efa_is_kept_in_one_zone_and_a_worker_ends_before_its_spot_node() -> None:
    for form in forms(PLACE):
        assert isinstance(form, RayJob)
        group = form.spec.ray_cluster_spec.worker_group_specs[0]
        pool = next(item for item in PLACE.pools if item.name == group.group_name)
        notes = (group.template.metadata.annotations if group.template.metadata else None) or {}
        assert ("kueue.x-k8s.io/podset-required-topology" in notes) is pool.efa
        grace_s = group.template.spec.termination_grace_period_seconds
        assert grace_s is not None
        assert (grace_s < 120) is (pool.capacity.value == "spot")
        (container,) = group.template.spec.containers
        assert container.lifecycle is not None
        (notice,) = [item.value for item in container.env if item.name == NOTICE_VARIABLE]
        assert notice, "the hook would tell nobody"
        assert container.lifecycle.pre_stop is not None
        script = container.lifecycle.pre_stop.execute.command[-1]
        waits = [int(text) for text in re.findall(r"-(?:wait-s|-grace-period) (\d+)", script)]
        assert script.startswith(f"python -m {give_notice.__module__} ")
        assert len(waits) == 2
        assert sum(waits) < grace_s
        assert {item.key for item in group.template.spec.tolerations or ()} == {item.key for item in taints_of(pool)}


def test_jobs_are_queued_ended_and_closed() -> None:
    for form in forms(PLACE):
        assert isinstance(form, RayJob)
        spec = form.spec
        assert spec.suspend
        assert spec.shutdown_after_job_finishes
        assert spec.ttl_seconds_after_finished > 0
        assert spec.entrypoint == "/bin/false"
        assert not spec.ray_cluster_spec.enable_in_tree_autoscaling
        assert (form.metadata.labels or {})["kueue.x-k8s.io/queue-name"].startswith("team-")
    for cluster in [item for item in OBJECTS if isinstance(item, RayCluster)]:
        assert cluster.spec.auth_options.mode == "token"
        assert cluster.spec.tls_options.enabled
        assert cluster.spec.network_policy.mode == "DenyAll"
        assert cluster.spec.gcs_fault_tolerance_options.storage.storage_class_name == "gp3-encrypted"


def test_more_pools_than_worker_groups_are_refused() -> None:
    cpu = next(item for item in PLACE.pools if item.name == "cpu")
    many = tuple(cpu.model_copy(update={"name": f"cpu-{number}"}) for number in range(WORKER_GROUPS + 1))
    system = [item for item in PLACE.pools if item.kind is PoolKind.SYSTEM]

    def with_pools(count: int) -> Place:
        environment = PLACE.environment.model_copy(update={"pools": (*system, *many[:count])})
        return Place(environment, PLACE.region, "v1")

    assert ray_objects(with_pools(WORKER_GROUPS))
    with pytest.raises(ConfigError, match=r"18 worker groups, and a Ray job can have 17"):
        ray_objects(with_pools(WORKER_GROUPS + 1))


def test_a_pool_of_unknown_size_is_refused() -> None:
    pool = next(item for item in PLACE.pools if item.name == "cpu").model_copy(
        update={"instance_types": ("x9z.large",)}
    )
    with pytest.raises(ConfigError, match=r"x9z.large has is not known here"):
        job_form(PLACE, pool)


def test_namespaces_of_ours_deny_by_default() -> None:
    for namespace in ("ray", "mlflow", "edge", "device-plugins"):
        policies = [
            item for item in OBJECTS if isinstance(item, NetworkPolicy) and item.metadata.namespace == namespace
        ]
        closed = [
            item
            for item in policies
            if item.spec.pod_selector == LabelSelector()
            and set(item.spec.policy_types) == {"Ingress", "Egress"}
            and item.spec.ingress is None
            and item.spec.egress is None
        ]
        assert len(closed) == 1
        ways = [rule for item in policies for rule in item.spec.egress or ()]
        # The node's own credentials are never among what is allowed.
        blocks = [peer.ip_block for rule in ways for peer in rule.to or () if peer.ip_block is not None]
        assert all(item.cidr != "0.0.0.0/0" or item.without == ("169.254.169.254/32",) for item in blocks)


def test_forms_of_jobs_fit_into_their_object() -> None:
    data = next(item for item in OBJECTS if item.metadata.name == "ray-job-templates").document()["data"]
    assert set(data) == {f"{item.name}.json" for item in PLACE.work_pools}
    assert sum(map(len, data.values())) < 900_000  # etcd refuses an object over 1 MiB


@pytest.mark.parametrize(("nat", "isolated"), [(Nat.NONE, True), (Nat.ONE, False), (Nat.PER_ZONE, False)])
def test_karpenter_asks_for_prices_only_where_they_can_be_had(nat: Nat, isolated: bool) -> None:
    place = replace(PLACE, region=PLACE.region.model_copy(update={"nat": nat}))
    chart = next(item for item in applications(place) if item.metadata.name == "karpenter").document()
    assert chart["spec"]["source"]["helm"]["valuesObject"]["settings"]["isolatedVPC"] is isolated
