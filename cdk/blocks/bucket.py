"""A private bucket: own key, versions, no public access, TLS alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdktn_provider_aws.provider import AwsProvider
from cdktn_provider_aws.s3_bucket import S3Bucket
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
)
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload as Abort,
)
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleExpiration as Expiration,
)
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRuleFilter as Filter
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration as OldVersions,
)
from cdktn_provider_aws.s3_bucket_ownership_controls import (
    S3BucketOwnershipControls,
    S3BucketOwnershipControlsRule,
)
from cdktn_provider_aws.s3_bucket_policy import S3BucketPolicy
from cdktn_provider_aws.s3_bucket_public_access_block import S3BucketPublicAccessBlock
from cdktn_provider_aws.s3_bucket_server_side_encryption_configuration import (
    S3BucketServerSideEncryptionConfigurationA,
    S3BucketServerSideEncryptionConfigurationRuleA,
    S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA,
)
from cdktn_provider_aws.s3_bucket_versioning import S3BucketVersioningA, S3BucketVersioningVersioningConfiguration

from cdk.blocks.key import Key
from cdk.stacks.base import PlatformStack

Statement = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlan:
    """What a bucket is to be.

    Attributes:
        name: What it holds; part of the bucket's name.
        statements: Further statements of its policy; `BUCKET` in a resource stands for its ARN.
        rules: Lifecycle rules.
        smallest: Which objects may move to another class: S3's own word for it; None: from 128 KiB on.
        object_lock: Whether objects can be locked; cannot be switched off later.
        tags: Further tags.
        provider: Another region's provider.
    """

    name: str
    statements: Sequence[Statement] = ()
    rules: Sequence[S3BucketLifecycleConfigurationRule] = ()
    smallest: str | None = None
    object_lock: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    provider: AwsProvider | None = None


class PrivateBucket:
    """A bucket nobody reaches by mistake.

    Attributes:
        bucket: Its name, a token.
        arn: Its ARN.
        versioning: The versioning resource, for what needs versions first.
        policy: The policy resource, for services that may not write before it stands.
    """

    def __init__(self, stack: PlatformStack, plan: BucketPlan, key: Key) -> None:
        name = f"{stack.name(plan.name)}-{stack.account_id}"
        self._id = f"bucket-{plan.name}"
        bucket = S3Bucket(
            stack,
            self._id,
            bucket=name,
            object_lock_enabled=plan.object_lock or None,
            # An emulated environment is made and destroyed within minutes; a real bucket with objects stays.
            force_destroy=stack.environment.emulated or None,
            tags={"Name": name, "drivetrain:data": plan.name, **plan.tags},
            provider=plan.provider,
        )
        self._name = name
        self.bucket = bucket.bucket
        self.arn = bucket.arn
        self.versioning = S3BucketVersioningA(
            stack,
            f"{self._id}-versions",
            bucket=self.bucket,
            versioning_configuration=S3BucketVersioningVersioningConfiguration(status="Enabled"),
            provider=plan.provider,
        )
        self.policy = self._closed(stack, plan, key)
        if plan.rules:
            S3BucketLifecycleConfiguration(
                stack,
                f"{self._id}-lifecycle",
                bucket=self.bucket,
                rule=list(plan.rules),
                transition_default_minimum_object_size=plan.smallest,
                depends_on=[self.versioning],
                provider=plan.provider,
            )

    def _closed(self, stack: PlatformStack, plan: BucketPlan, key: Key) -> S3BucketPolicy:
        S3BucketServerSideEncryptionConfigurationA(
            stack,
            f"{self._id}-encryption",
            bucket=self.bucket,
            rule=[
                S3BucketServerSideEncryptionConfigurationRuleA(
                    apply_server_side_encryption_by_default=(
                        S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(
                            sse_algorithm="aws:kms", kms_master_key_id=key.arn
                        )
                    ),
                    bucket_key_enabled=True,  # one call to KMS for many objects
                )
            ],
            provider=plan.provider,
        )
        block = S3BucketPublicAccessBlock(
            stack,
            f"{self._id}-private",
            bucket=self.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            provider=plan.provider,
        )
        S3BucketOwnershipControls(
            stack,
            f"{self._id}-owner",
            bucket=self.bucket,
            rule=S3BucketOwnershipControlsRule(object_ownership="BucketOwnerEnforced"),
            provider=plan.provider,
        )
        document = {"Version": "2012-10-17", "Statement": [_tls_only(), *plan.statements]}
        return S3BucketPolicy(
            stack,
            f"{self._id}-policy",
            bucket=self.bucket,
            # By name, not by the bucket's own ARN: that one is known after the apply, and no plan would show the policy.
            policy=json.dumps(document).replace("BUCKET", f"arn:aws:s3:::{self._name}"),
            depends_on=[block],
            provider=plan.provider,
        )


def _tls_only() -> Statement:
    return {
        "Sid": "TlsAlone",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["BUCKET", "BUCKET/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def expire_rule(days: int, *, old_version_days: int, prefix: str = "") -> S3BucketLifecycleConfigurationRule:
    """Return a lifecycle rule that deletes objects, their old versions, and uploads that never ended."""
    return S3BucketLifecycleConfigurationRule(
        id=f"expire-{days}-days",
        status="Enabled",
        filter=[Filter(prefix=prefix)],
        expiration=[Expiration(days=days)],
        noncurrent_version_expiration=[OldVersions(noncurrent_days=old_version_days)],
        abort_incomplete_multipart_upload=[Abort(days_after_initiation=7)],
    )
