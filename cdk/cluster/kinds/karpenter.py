"""Kinds of Karpenter. Source: its custom resource definitions, release 1.14."""

from __future__ import annotations

from typing import ClassVar

from cdk.cluster.kinds.base import Labels, Manifest, NodeTaint, Part, spelled


class AmiTerm(Part):
    """Which machine image."""

    alias: str | None = None
    id: str | None = None


class TagTerm(Part):
    """Subnets or security groups, by tags or by id."""

    tags: Labels | None = None
    id: str | None = None


class ReservationTerm(Part):
    """A capacity reservation."""

    id: str


class Disk(Part):
    """An EBS volume."""

    volume_size: str
    volume_type: str
    encrypted: bool
    delete_on_termination: bool
    kms_key_id: str | None = spelled("kmsKeyID")


class DeviceMapping(Part):
    """A volume of a node."""

    device_name: str
    ebs: Disk
    root_volume: bool


class MetadataOptions(Part):
    """How a node's metadata can be read."""

    http_endpoint: str
    http_protocol_ipv6: str | None = spelled("httpProtocolIPv6")
    http_put_response_hop_limit: int
    http_tokens: str


class NodeClassSpec(Part):
    """How a node is launched."""

    ami_family: str | None = None
    ami_selector_terms: tuple[AmiTerm, ...]
    instance_profile: str
    subnet_selector_terms: tuple[TagTerm, ...]
    security_group_selector_terms: tuple[TagTerm, ...]
    capacity_reservation_selector_terms: tuple[ReservationTerm, ...] | None = None
    associate_public_ip_address: bool | None = spelled("associatePublicIPAddress")
    block_device_mappings: tuple[DeviceMapping, ...]
    instance_store_policy: str | None = None
    metadata_options: MetadataOptions
    detailed_monitoring: bool
    tags: Labels


class EC2NodeClass(Manifest):
    """How a node is launched."""

    api_version: ClassVar[str] = "karpenter.k8s.aws/v1"
    kind: ClassVar[str] = "EC2NodeClass"
    namespaced: ClassVar[bool] = False
    spec: NodeClassSpec


class NodeClassReference(Part):
    """The class of a pool's nodes."""

    group: str = "karpenter.k8s.aws"
    kind: str = "EC2NodeClass"
    name: str


class Requirement(Part):
    """One condition on a node's labels."""

    key: str
    operator: str
    values: tuple[str, ...] | None = None


class ClaimMetadata(Part):
    """Labels of nodes."""

    labels: Labels


class NodeClaimSpec(Part):
    """Which nodes, and how long they live."""

    node_class_ref: NodeClassReference
    requirements: tuple[Requirement, ...]
    taints: tuple[NodeTaint, ...] | None = None
    expire_after: str
    termination_grace_period: str


class NodeClaimTemplate(Part):
    """Nodes of a pool."""

    metadata: ClaimMetadata
    spec: NodeClaimSpec


class DisruptionWindow(Part):
    """How many nodes may go at once."""

    nodes: str
    reasons: tuple[str, ...] | None = None


class Disruption(Part):
    """When nodes go."""

    consolidation_policy: str
    consolidate_after: str
    budgets: tuple[DisruptionWindow, ...]


class NodePoolSpec(Part):
    """A pool of nodes."""

    template: NodeClaimTemplate
    disruption: Disruption
    limits: Labels
    weight: int


class NodePool(Manifest):
    """A pool of nodes."""

    api_version: ClassVar[str] = "karpenter.sh/v1"
    kind: ClassVar[str] = "NodePool"
    namespaced: ClassVar[bool] = False
    spec: NodePoolSpec
