"""Who in the clusters may do what: service accounts, and which data class each reads or writes. Pure.

The one place of it: roles, bucket policies and the Kubernetes manifests read it here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from cdk.model import DataClass, Environment


class Access(StrEnum):
    """What a workload does with a data class."""

    READ = "read"
    WRITE = "write"  # reads too


class Workload(StrEnum):
    """What runs in a cluster with a role of its own."""

    INGEST = "ray-ingest"
    JOBS = "ray-jobs"
    RAY_HISTORY = "ray-history"
    MLFLOW = "mlflow"
    EDGE_COMPILE = "edge-compile"
    EBS_CSI = "ebs-csi"
    EXTERNAL_SECRETS = "external-secrets"
    KARPENTER = "karpenter"


@dataclass(frozen=True, slots=True)
class Identity:
    """A Kubernetes service account with an IAM role.

    Attributes:
        namespace: Its namespace.
        service_account: Its name there.
        data: Which data classes it reads or writes.
    """

    namespace: str
    service_account: str
    data: dict[DataClass, Access] = field(default_factory=dict)


IDENTITIES: dict[Workload, Identity] = {
    Workload.INGEST: Identity("ray", "ray-ingest", {DataClass.RAW: Access.WRITE, DataClass.DERIVED: Access.WRITE}),
    Workload.JOBS: Identity(
        "ray",
        "ray-jobs",
        {
            DataClass.RAW: Access.READ,
            DataClass.DERIVED: Access.WRITE,
            DataClass.SAMPLES: Access.WRITE,
            DataClass.CHECKPOINTS: Access.WRITE,
        },
    ),
    # Logs and events of clusters that are gone lie among what jobs derived.
    Workload.RAY_HISTORY: Identity("ray", "ray-history", {DataClass.DERIVED: Access.READ}),
    Workload.MLFLOW: Identity("mlflow", "mlflow", {DataClass.CHECKPOINTS: Access.WRITE}),
    # Releases are written through a role of the edge account, which signs them too.
    Workload.EDGE_COMPILE: Identity(
        "edge", "edge-compile", {DataClass.SAMPLES: Access.READ, DataClass.CHECKPOINTS: Access.READ}
    ),
    Workload.EBS_CSI: Identity("kube-system", "ebs-csi-controller-sa"),
    Workload.EXTERNAL_SECRETS: Identity("external-secrets", "external-secrets"),
    Workload.KARPENTER: Identity("kube-system", "karpenter"),
}
# The permissions boundary of every account, by name; terraform/account makes it.
BOUNDARY = "drivetrain-boundary"
# The role of the edge account that writes releases and signs them.
EDGE_RELEASE = "edge-release"
# The role of the data account by which the cluster reads the database's password.
SECRET_READER = "metadata-secret-reader"  # noqa: S105 - a role's name
# The role of the data account by which people and CI of other accounts read the lake.
LAKE_READER = "lake-reader"

_OBJECT_ACTIONS = {
    Access.READ: ("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging"),
    Access.WRITE: (
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectTagging",
        "s3:PutObject",
        "s3:PutObjectTagging",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ),
}
BUCKET_ACTIONS = ("s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads")
KEY_ACTIONS = {
    Access.READ: ("kms:Decrypt", "kms:DescribeKey"),
    Access.WRITE: ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"),
}


def object_actions(access: Access) -> tuple[str, ...]:
    """Return the S3 actions on objects that an access means."""
    return _OBJECT_ACTIONS[access]


def pipeline_role(environment: Environment, pipeline: str) -> str:
    """Return the name of the role by which one pipeline comes in; `terraform/bootstrap` makes them."""
    return environment.ci_role.replace("*", pipeline)


def role_name(environment: Environment, role: str, region: str | None = None) -> str:
    """Return a role's name; IAM is one for all regions, so that a cluster's roles carry their region."""
    parts = ("drivetrain", environment.environment, role, *([] if region is None else [region]))
    return "-".join(parts)


def bucket_name(environment: Environment, data: DataClass) -> str:
    """Return the name of a data class's bucket, known before it exists."""
    existing = environment.data.buckets[data].existing_bucket
    return existing or f"drivetrain-{environment.environment}-{data.value}-{environment.accounts.data}"


def role_arn_patterns(environment: Environment, data: DataClass, access: Access) -> list[str]:
    """Return ARN patterns of all roles that have an access to a data class, in any region."""
    found = [
        f"arn:aws:iam::{environment.accounts.ml}:role/{role_name(environment, workload, '*')}"
        for workload, identity in IDENTITIES.items()
        if identity.data.get(data) is access
    ]
    if data is DataClass.RELEASES and access is Access.WRITE:
        found.append(f"arn:aws:iam::{environment.accounts.edge}:role/{role_name(environment, EDGE_RELEASE)}")
    return sorted(found)
