"""Pods: containers, volumes, probes, placement."""

from __future__ import annotations

from cdk.cluster.kinds.base import Labels, LabelSelector, Metadata, Part, Toleration, spelled

PortNumber = int | str


class FieldReference(Part):
    """A field of the pod itself."""

    field_path: str


class KeyReference(Part):
    """One key of a Secret or ConfigMap."""

    name: str
    key: str


class ValueSource(Part):
    """Where a variable's value comes from."""

    field_ref: FieldReference | None = None
    secret_key_ref: KeyReference | None = None
    config_map_key_ref: KeyReference | None = None


class Variable(Part):
    """An environment variable."""

    name: str
    value: str | None = None
    value_from: ValueSource | None = None


class ContainerPort(Part):
    """A port that a container listens on."""

    name: str
    container_port: int
    protocol: str = "TCP"


class Resources(Part):
    """What a container asks for, and what it may use at most."""

    requests: Labels
    limits: Labels | None = None


class Capabilities(Part):
    """Rights of the kernel."""

    add: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None


class SeccompProfile(Part):
    """Which system calls are let through."""

    type: str = "RuntimeDefault"


class SecurityContext(Part):
    """How far a container may go."""

    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    read_only_root_filesystem: bool | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: SeccompProfile | None = None


class PodSecurityContext(Part):
    """How far all containers of a pod may go."""

    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    fs_group_change_policy: str | None = None
    seccomp_profile: SeccompProfile | None = None


class HttpGet(Part):
    """A probe by HTTP."""

    path: str
    port: PortNumber


class TcpSocket(Part):
    """A probe by connecting."""

    port: PortNumber


class Execution(Part):
    """A command in the container."""

    command: tuple[str, ...]


class Probe(Part):
    """How a container's state is asked for."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    # `exec` is a word of Python.
    execute: Execution | None = spelled("exec")
    initial_delay_seconds: int | None = None
    period_seconds: int | None = None
    timeout_seconds: int | None = None
    failure_threshold: int | None = None


class Handler(Part):
    """What runs at a turn of a container's life."""

    execute: Execution | None = spelled("exec")


class Lifecycle(Part):
    """What runs before a container is stopped."""

    pre_stop: Handler | None = None


class Mount(Part):
    """Where a volume is seen."""

    name: str
    mount_path: str
    read_only: bool | None = None
    sub_path: str | None = None


class Container(Part):
    """One container."""

    name: str
    image: str
    image_pull_policy: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[Variable, ...] | None = None
    ports: tuple[ContainerPort, ...] | None = None
    resources: Resources
    security_context: SecurityContext | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    volume_mounts: tuple[Mount, ...] | None = None


class EmptyDir(Part):
    """A folder that lives as long as the pod."""

    medium: str | None = None
    size_limit: str | None = None


class HostPath(Part):
    """A folder of the node."""

    path: str
    type: str | None = None


class SecretVolume(Part):
    """A Secret as files."""

    secret_name: str
    default_mode: int | None = None


class ConfigMapVolume(Part):
    """A ConfigMap as files."""

    name: str


class Volume(Part):
    """Something that containers mount."""

    name: str
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    secret: SecretVolume | None = None
    config_map: ConfigMapVolume | None = None


class TopologySpread(Part):
    """How evenly pods lie over zones or nodes."""

    max_skew: int
    topology_key: str
    when_unsatisfiable: str
    label_selector: LabelSelector


class NodeCondition(Part):
    """One condition on a node's labels."""

    key: str
    operator: str
    values: tuple[str, ...] | None = None


class NodeTerm(Part):
    """Conditions that hold together."""

    match_expressions: tuple[NodeCondition, ...]


class NodeSelection(Part):
    """Nodes for which one of the terms holds."""

    node_selector_terms: tuple[NodeTerm, ...]


class NodeAffinity(Part):
    """Which nodes a pod needs."""

    required_during_scheduling_ignored_during_execution: NodeSelection


class Affinity(Part):
    """Where a pod belongs."""

    node_affinity: NodeAffinity | None = None


class PodSpec(Part):
    """What a pod is."""

    service_account_name: str | None = None
    automount_service_account_token: bool | None = None
    priority_class_name: str | None = None
    node_selector: Labels | None = None
    tolerations: tuple[Toleration, ...] | None = None
    affinity: Affinity | None = None
    topology_spread_constraints: tuple[TopologySpread, ...] | None = None
    termination_grace_period_seconds: int | None = None
    restart_policy: str | None = None
    security_context: PodSecurityContext | None = None
    init_containers: tuple[Container, ...] | None = None
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...] | None = None


class TemplateMetadata(Part):
    """Labels of pods that a controller makes."""

    labels: Labels | None = None
    annotations: Labels | None = None


class PodTemplate(Part):
    """Pods that a controller makes."""

    metadata: TemplateMetadata | None = None
    spec: PodSpec


class ClaimResources(Part):
    """How much a claim asks for."""

    requests: Labels


class ClaimSpec(Part):
    """A claim on storage."""

    access_modes: tuple[str, ...]
    storage_class_name: str | None = None
    resources: ClaimResources


class ClaimTemplate(Part):
    """A claim for each pod of a StatefulSet."""

    metadata: Metadata
    spec: ClaimSpec


# A container that needs no more than to compute: Pod Security's `restricted`.
RESTRICTED = SecurityContext(
    allow_privilege_escalation=False,
    run_as_non_root=True,
    capabilities=Capabilities(drop=("ALL",)),
    seccomp_profile=SeccompProfile(),
)
RESTRICTED_READ_ONLY = RESTRICTED.model_copy(update={"read_only_root_filesystem": True})
