"""Copies of buckets in a second region: what is put in one is in the other within minutes."""

from __future__ import annotations

from collections.abc import Mapping

from cdktn_provider_aws.s3_bucket_replication_configuration import S3BucketReplicationConfigurationA
from cdktn_provider_aws.s3_bucket_replication_configuration import S3BucketReplicationConfigurationRule as Rule
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleDeleteMarkerReplication as DeleteMarkers,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleDestination as Destination,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleDestinationEncryptionConfiguration as Encryption,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleDestinationMetrics as Metrics,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleDestinationMetricsEventThreshold as MetricsThreshold,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleDestinationReplicationTime as ReplicationTime,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleDestinationReplicationTimeTime as Minutes,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import S3BucketReplicationConfigurationRuleFilter as Filter
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleSourceSelectionCriteria as Selection,
)
from cdktn_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRuleSourceSelectionCriteriaSseKmsEncryptedObjects as Encrypted,
)

from cdk.blocks.bucket import PrivateBucket
from cdk.blocks.key import Key
from cdk.blocks.role import Role, RolePlan, allow, service_trust
from cdk.model import DataClass
from cdk.stacks.base import PlatformStack

# S3's own promise with replication time control; it takes no other number.
_MINUTES = 15


def replicate(
    stack: PlatformStack,
    pairs: Mapping[DataClass, tuple[PrivateBucket, PrivateBucket]],
    *,
    key: Key,
    replica_key: Key,
    replica_region: str,
) -> None:
    """Copy every object of each first bucket into its second one, by one role."""
    role = Role(
        stack,
        RolePlan(
            name="replication",
            description="S3 copies objects of the lake to the second region",
            trust=[service_trust("s3.amazonaws.com", stack.account_id)],
            statements=_statements(stack.region, replica_region, pairs, key, replica_key),
        ),
    )
    for data, (source, copy) in pairs.items():
        S3BucketReplicationConfigurationA(
            stack,
            f"bucket-{data.value}-replication",
            bucket=source.bucket,
            role=role.arn,
            rule=[
                Rule(
                    id="all",
                    status="Enabled",
                    priority=0,
                    filter=Filter(prefix=""),
                    # What is erased for a person's sake is erased in both.
                    delete_marker_replication=DeleteMarkers(status="Enabled"),
                    source_selection_criteria=Selection(sse_kms_encrypted_objects=Encrypted(status="Enabled")),
                    destination=Destination(
                        bucket=copy.arn,
                        # A copy is read after a region's loss alone.
                        storage_class="GLACIER_IR" if data is DataClass.RAW else "STANDARD_IA",
                        encryption_configuration=Encryption(replica_kms_key_id=replica_key.arn),
                        metrics=Metrics(status="Enabled", event_threshold=MetricsThreshold(minutes=_MINUTES)),
                        replication_time=ReplicationTime(status="Enabled", time=Minutes(minutes=_MINUTES)),
                    ),
                )
            ],
            depends_on=[source.versioning, copy.versioning, *role.ready],
        )


def _statements(
    region: str,
    replica_region: str,
    pairs: Mapping[DataClass, tuple[PrivateBucket, PrivateBucket]],
    key: Key,
    replica_key: Key,
) -> list[dict[str, object]]:
    sources = [source.arn for source, _ in pairs.values()]
    copies = [copy.arn for _, copy in pairs.values()]
    return [
        allow(["s3:GetReplicationConfiguration", "s3:ListBucket"], sources),
        allow(
            [
                "s3:GetObjectVersionForReplication",
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionTagging",
                "s3:GetObjectRetention",
                "s3:GetObjectLegalHold",
            ],
            [f"{arn}/*" for arn in sources],
        ),
        allow(["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"], [f"{arn}/*" for arn in copies]),
        allow(["kms:Decrypt"], [key.arn], StringLike={"kms:ViaService": f"s3.{region}.amazonaws.com"}),
        allow(
            ["kms:Encrypt", "kms:GenerateDataKey"],
            [replica_key.arn],
            StringLike={"kms:ViaService": f"s3.{replica_region}.amazonaws.com"},
        ),
    ]
