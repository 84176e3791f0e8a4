"""Roles that pods get by EKS Pod Identity: no OIDC provider for each cluster, no annotation on service accounts."""

from __future__ import annotations

from collections.abc import Sequence

from cdktn_provider_aws.eks_pod_identity_association import EksPodIdentityAssociation

from cdk.access import (
    BUCKET_ACTIONS,
    IDENTITIES,
    KEY_ACTIONS,
    Access,
    Identity,
    Workload,
    bucket_name,
    object_actions,
)
from cdk.blocks.role import Role, RolePlan, Statement, allow, pod_trust
from cdk.stacks.base import PlatformStack


def pod_role(
    stack: PlatformStack,
    workload: Workload,
    *,
    cluster_name: str,
    cluster_arn: str,
    statements: Sequence[Statement] = (),
    managed: Sequence[str] = (),
) -> Role:
    """Give a workload's service account a role: what its identity reads and writes of the lake, and further statements."""
    identity = IDENTITIES[workload]
    role = Role(
        stack,
        RolePlan(
            name=f"{workload.value}-{stack.region}",
            description=f"Pods of {identity.namespace}/{identity.service_account}",
            trust=[pod_trust(stack.account_id, cluster_arn)],
            statements=[*lake_statements(stack, identity), *statements],
            managed=managed,
        ),
    )
    EksPodIdentityAssociation(
        stack,
        f"pods-{workload.value}",
        cluster_name=cluster_name,
        namespace=identity.namespace,
        service_account=identity.service_account,
        role_arn=role.arn,
    )
    return role


def lake_statements(stack: PlatformStack, identity: Identity) -> list[Statement]:
    """Return what lets an identity use the lake's buckets, which lie in the account of data and must allow it too."""
    environment = stack.environment
    found: list[Statement] = []
    for access in Access:
        arns = [
            f"arn:aws:s3:::{bucket_name(environment, data)}"
            for data, wanted in identity.data.items()
            if wanted is access
        ]
        if not arns:
            continue
        found.append(allow(object_actions(access), [f"{arn}/*" for arn in arns]))
        found.append(allow(BUCKET_ACTIONS, arns))
        found.append(
            allow(
                KEY_ACTIONS[access],
                # An existing bucket's key is its owner's, so no single one is named: S3 alone may ask for it.
                [f"arn:aws:kms:{environment.main_region.name}:{environment.accounts.data}:key/*"],
                StringEquals={"kms:ViaService": f"s3.{environment.main_region.name}.amazonaws.com"},
            )
        )
    return found
