"""One data class's bucket: rules by age, tiers, inventory, lock, a copy in a second region, and who may use it."""

from __future__ import annotations

from dataclasses import dataclass

from cdktn_provider_aws.provider import AwsProvider
from cdktn_provider_aws.s3_bucket_intelligent_tiering_configuration import (
    S3BucketIntelligentTieringConfiguration,
    S3BucketIntelligentTieringConfigurationTiering,
)
from cdktn_provider_aws.s3_bucket_inventory import (
    S3BucketInventory,
    S3BucketInventoryDestination,
    S3BucketInventoryDestinationBucket,
    S3BucketInventoryDestinationBucketEncryption,
    S3BucketInventoryDestinationBucketEncryptionSseKms,
    S3BucketInventorySchedule,
)
from cdktn_provider_aws.s3_bucket_object_lock_configuration import (
    S3BucketObjectLockConfigurationA,
    S3BucketObjectLockConfigurationRuleA,
    S3BucketObjectLockConfigurationRuleDefaultRetentionA,
)

from cdk.access import BUCKET_ACTIONS, Access, object_actions, role_arn_patterns
from cdk.blocks.bucket import BucketPlan, PrivateBucket, Statement
from cdk.blocks.key import Key
from cdk.blocks.lifecycle_rules import lifecycle_rules
from cdk.model import Bucket, DataClass, Environment
from cdk.stacks.base import PlatformStack

# Archive tiers are opt-in and at least 90 and 180 days.
# Source: AWS, "Managing S3 Intelligent-Tiering", read 2026-11-20.
_ARCHIVE_DAYS = 90
_DEEP_ARCHIVE_DAYS = 180
# What the cost room reads of an inventory: sizes, ages, classes and tiers by prefix.
_INVENTORY_FIELDS = (
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "IntelligentTieringAccessTier",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ReplicationStatus",
)


@dataclass(frozen=True, slots=True)
class Inventories:
    """Where inventories go.

    Attributes:
        bucket_arn: A bucket of the same account and region.
        key: Its key.
    """

    bucket_arn: str
    key: Key


def lake_bucket(
    stack: PlatformStack, data: DataClass, bucket: Bucket, *, key: Key, inventories: Inventories
) -> PrivateBucket:
    """Make the bucket of one data class."""
    tags = {"drivetrain:data-class": data.value}
    if bucket.backup_tier is not None:
        tags["drivetrain:backup-tier"] = bucket.backup_tier
    made = PrivateBucket(
        stack,
        BucketPlan(
            name=data.value,
            statements=use_statements(stack.environment, data),
            rules=lifecycle_rules(bucket),
            smallest=None if bucket.lifecycle is None else bucket.lifecycle.transition_default_minimum_object_size,
            object_lock=bucket.lock_days is not None,
            tags=tags,
        ),
        key,
    )
    if bucket.lock_days is not None:
        lock_bucket(stack, data.value, made, bucket.lock_days)
    if bucket.intelligent_tiering and bucket.lifecycle is None:
        _tiers(stack, data, made, bucket)
    _inventory(stack, data, made, inventories)
    return made


def use_statements(environment: Environment, data: DataClass) -> list[Statement]:
    """Return a bucket policy's statements that let workloads of other accounts use it, each as far as it needs.

    Their own account must allow it too. Pods use the bucket directly, with the role that Pod Identity gave them: not every
    reader of the lake can take a second role first.
    """
    statements: list[Statement] = []
    for access in Access:
        patterns = role_arn_patterns(environment, data, access)
        if not patterns:
            continue
        accounts = sorted({item.split(":")[4] for item in patterns})
        common: Statement = {
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam::{item}:root" for item in accounts]},
            "Condition": {"ArnLike": {"aws:PrincipalArn": patterns}},
        }
        word = access.value.capitalize()
        statements.append(
            {"Sid": f"{word}Objects", **common, "Action": list(object_actions(access)), "Resource": "BUCKET/*"}
        )
        statements.append({"Sid": f"{word}List", **common, "Action": list(BUCKET_ACTIONS), "Resource": "BUCKET"})
    return statements


def lock_bucket(
    stack: PlatformStack, name: str, made: PrivateBucket, days: int, *, provider: AwsProvider | None = None
) -> None:
    """Lock what is put into a bucket for so many days."""
    S3BucketObjectLockConfigurationA(
        stack,
        f"bucket-{name}-lock",
        bucket=made.bucket,
        rule=S3BucketObjectLockConfigurationRuleA(
            # Compliance: nobody can shorten it, root included.
            default_retention=S3BucketObjectLockConfigurationRuleDefaultRetentionA(mode="COMPLIANCE", days=days)
        ),
        depends_on=[made.versioning],
        provider=provider,
    )


def _tiers(stack: PlatformStack, data: DataClass, made: PrivateBucket, bucket: Bucket) -> None:
    """Let Intelligent-Tiering archive what nobody read, where the environment says it may wait hours for it."""
    if bucket.archive_days is None:
        return
    S3BucketIntelligentTieringConfiguration(
        stack,
        f"bucket-{data.value}-tiers",
        bucket=made.bucket,
        name="archive",
        tiering=[
            S3BucketIntelligentTieringConfigurationTiering(
                access_tier="ARCHIVE_ACCESS", days=max(bucket.archive_days, _ARCHIVE_DAYS)
            ),
            S3BucketIntelligentTieringConfigurationTiering(
                access_tier="DEEP_ARCHIVE_ACCESS", days=max(bucket.archive_days * 2, _DEEP_ARCHIVE_DAYS)
            ),
        ],
    )


def _inventory(stack: PlatformStack, data: DataClass, made: PrivateBucket, inventories: Inventories) -> None:
    S3BucketInventory(
        stack,
        f"bucket-{data.value}-inventory",
        bucket=made.bucket,
        name="daily",
        included_object_versions="All",
        optional_fields=list(_INVENTORY_FIELDS),
        schedule=S3BucketInventorySchedule(frequency="Daily"),
        destination=S3BucketInventoryDestination(
            bucket=S3BucketInventoryDestinationBucket(
                bucket_arn=inventories.bucket_arn,
                account_id=stack.account_id,
                format="Parquet",
                prefix=data.value,
                encryption=S3BucketInventoryDestinationBucketEncryption(
                    sse_kms=S3BucketInventoryDestinationBucketEncryptionSseKms(key_id=inventories.key.arn)
                ),
            )
        ),
    )
