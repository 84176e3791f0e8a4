"""Plans in Terraform's JSON, small: for each policy rule one that keeps to it and some that do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

TAGS = {
    "drivetrain:owner": "platform",
    "drivetrain:cost-center": "research",
    "drivetrain:environment": "dev",
}
KEY = "arn:aws:kms:us-east-1:111111111111:key/1b2c"
ABSENT = object()
Document = dict[str, Any]


def resource(
    kind: str,
    name: str = "it",
    *,
    unknown: Mapping[str, Any] | None = None,
    references: Mapping[str, Any] | None = None,
    actions: tuple[str, ...] = ("create",),
    **after: Any,
) -> Document:
    """Return one entry of `resource_changes`, with what its configuration refers to under `references`."""
    return {
        "address": f"{kind}.{name}",
        "mode": "managed",
        "type": kind,
        "name": name,
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {
            "actions": list(actions),
            "before": None,
            "after": {name: value for name, value in after.items() if value is not ABSENT},
            "after_unknown": dict(unknown or {}),
        },
        "references": dict(references or {}),
    }


def plan(*resources: Document) -> Document:
    """Return a plan of some resources, as `terraform show -json` writes it."""
    changes = deepcopy(list(resources))
    written = []
    planned = []
    for item in changes:
        expressions = _expressions(item.pop("references"))
        written.append({**_place(item), "provider_config_key": "aws", "expressions": expressions, "schema_version": 0})
        if item["change"]["after"] is not None:
            planned.append({**_place(item), "schema_version": 0, "values": item["change"]["after"]})
    return {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes,
        "configuration": {
            "provider_config": {"aws": {"name": "aws", "expressions": {}}},
            "root_module": {"resources": written},
        },
    }


def _place(item: Document) -> Document:
    return {key: item[key] for key in ("address", "mode", "type", "name", "provider_name")}


def _expressions(references: Mapping[str, Any]) -> Document:
    """Turn `{"launch_template": {"id": ["aws_launch_template.it.id"]}}` into Terraform's form."""
    found: Document = {}
    for name, value in references.items():
        found[name] = [_expressions(value)] if isinstance(value, Mapping) else {"references": list(value)}
    return found


def tagged(kind: str, name: str = "it", *, tags: Mapping[str, str] | None = None, **more: Any) -> Document:
    """Return a resource that carries the cost tags."""
    whole = {**TAGS, **(tags or {})}
    return resource(kind, name, tags=dict(whole), tags_all=dict(whole), **more)


def part_of_bucket(kind: str, bucket: str = "drives", name: str = "it", **after: Any) -> Document:
    """Return a resource that belongs to a bucket."""
    return resource(
        kind, name, bucket=bucket, references={"bucket": ["aws_s3_bucket.it.bucket", "aws_s3_bucket.it"]}, **after
    )


def bucket(data: str = "derived", **changed: Any) -> list[Document]:
    """Return a bucket that keeps to every rule; `changed` replaces a part by another, or by None."""
    tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::drives", "arn:aws:s3:::drives/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    parts: dict[str, Document | None] = {
        "bucket": tagged(
            "aws_s3_bucket", tags={"drivetrain:data-class": data}, bucket="drives", object_lock_enabled=True
        ),
        "encryption": part_of_bucket(
            "aws_s3_bucket_server_side_encryption_configuration",
            rule=[
                {"apply_server_side_encryption_by_default": [{"sse_algorithm": "aws:kms", "kms_master_key_id": KEY}]}
            ],
        ),
        "private": part_of_bucket(
            "aws_s3_bucket_public_access_block",
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        ),
        "policy": part_of_bucket("aws_s3_bucket_policy", policy=json.dumps({"Statement": [tls]})),
        "versions": part_of_bucket("aws_s3_bucket_versioning", versioning_configuration=[{"status": "Enabled"}]),
        "lock": part_of_bucket(
            "aws_s3_bucket_object_lock_configuration",
            rule=[{"default_retention": [{"mode": "COMPLIANCE", "days": 365}]}],
        ),
        "lifecycle": lifecycle(),
    }
    parts.update(changed)
    return [item for item in parts.values() if item is not None]


def lifecycle(
    days: int | None = 90, old_days: int | None = 7, *, prefix: str = "", status: str = "Enabled", **more: Any
) -> Document:
    """Return a bucket's lifecycle of one rule."""
    rule: Document = {
        "id": "expire",
        "status": status,
        "filter": [{"prefix": prefix, "tag": [], "and": []}],
        "abort_incomplete_multipart_upload": [{"days_after_initiation": 7}],
        "expiration": [{"days": days}] if days else [],
        "noncurrent_version_expiration": [{"noncurrent_days": old_days}] if old_days else [],
    }
    return part_of_bucket("aws_s3_bucket_lifecycle_configuration", rule=[{**rule, **more}])


def vpc() -> list[Document]:
    """Return a VPC that keeps to every rule."""
    return [tagged("aws_vpc", unknown={"id": True}, cidr_block="10.0.0.0/16"), *(item for item in vpc_parts().values())]


def vpc_parts() -> dict[str, Document]:
    """Return what a VPC needs, by what it is."""
    inside = {"references": {"vpc_id": ["aws_vpc.it.id", "aws_vpc.it"]}, "unknown": {"vpc_id": True}}
    return {
        "s3": tagged(
            "aws_vpc_endpoint",
            "s3",
            service_name="com.amazonaws.us-east-1.s3",
            vpc_endpoint_type="Gateway",
            **inside,
        ),
        "dynamodb": tagged(
            "aws_vpc_endpoint",
            "dynamodb",
            service_name="com.amazonaws.us-east-1.dynamodb",
            vpc_endpoint_type="Gateway",
            **inside,
        ),
        "flows": tagged("aws_flow_log", traffic_type="ALL", **inside),
        "default": tagged("aws_default_security_group", ingress=[], egress=[], **inside),
    }


def template(**changed: Any) -> Document:
    """Return a launch template that keeps to every rule."""
    made: Document = {
        "tag_specifications": [{"resource_type": kind, "tags": dict(TAGS)} for kind in ("instance", "volume")],
        "block_device_mappings": [{"ebs": [{"encrypted": "true", "kms_key_id": KEY}]}],
        "metadata_options": [{"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1}],
        "network_interfaces": [],
    }
    return tagged("aws_launch_template", unknown={"id": True}, **{**made, **changed})


def pool(capacity: str = "SPOT", *types: str, tags: Mapping[str, str] | None = None, **changed: Any) -> Document:
    """Return a node group of accelerators that keeps to every rule."""
    made: Document = {
        "capacity_type": capacity,
        "instance_types": list(types or ("p5.48xlarge",)),
        "subnet_ids": ["subnet-1"],
        "taint": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
    }
    names = ["aws_launch_template.it.id", "aws_launch_template.it"]
    return tagged(
        "aws_eks_node_group",
        tags=tags,
        unknown={"launch_template": [{"id": True}]},
        references={"launch_template": {"id": names}},
        **{**made, **changed},
    )


def cluster(**changed: Any) -> Document:
    """Return a cluster that keeps to every rule."""
    made: Document = {
        "enabled_cluster_log_types": ["api", "audit", "authenticator", "controllerManager", "scheduler"],
        "vpc_config": [{"endpoint_private_access": True, "endpoint_public_access": False, "public_access_cidrs": None}],
        "access_config": [{"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False}],
        "encryption_config": [{"provider": [{"key_arn": KEY}], "resources": ["secrets"]}],
    }
    return tagged("aws_eks_cluster", **{**made, **changed})


def reached_from(*ranges: str) -> Document:
    """Return a cluster whose API server is reached from inside, and from these addresses of the internet."""
    access = {"endpoint_private_access": True, "endpoint_public_access": True, "public_access_cidrs": [*ranges]}
    return cluster(vpc_config=[access])


def database(**changed: Any) -> Document:
    """Return a database that keeps to every rule."""
    made: Document = {
        "storage_encrypted": True,
        "kms_key_id": KEY,
        "publicly_accessible": False,
        "deletion_protection": True,
        "skip_final_snapshot": False,
        "backup_retention_period": 14,
        "replicate_source_db": None,
    }
    return tagged("aws_db_instance", **{**made, **changed})
