"""A data class's lifecycle rules: those of its days, or those that the cost room computed."""

from __future__ import annotations

from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRule as Rule
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload as Abort,
)
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleExpiration as Expiration,
)
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRuleFilter as Filter
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRuleFilterAnd as And
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRuleFilterTag as Tag
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration as OldVersions,
)
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleNoncurrentVersionTransition as OldTransition,
)
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfigurationRuleTransition as Transition,
)

from cdk.lifecycle import LifecycleRule
from cdk.model import Bucket

_ABORT_DAYS = 7


def lifecycle_rules(bucket: Bucket) -> list[Rule]:
    """Return a bucket's rules: those of its file, or one rule of its days."""
    if bucket.lifecycle is not None:
        return [_given(item) for item in bucket.lifecycle.rules]
    transitions = []
    if bucket.intelligent_tiering:
        # On day 0: of the first month Intelligent-Tiering bills as Standard does, and later moves are paid for.
        transitions.append(Transition(days=0, storage_class="INTELLIGENT_TIERING"))
    elif bucket.archive_days is not None:
        transitions.append(Transition(days=bucket.archive_days, storage_class="GLACIER_IR"))
    return [
        Rule(
            id="by-age",
            status="Enabled",
            filter=[Filter(prefix="")],
            transition=transitions or None,
            expiration=None if bucket.expire_days is None else [Expiration(days=bucket.expire_days)],
            noncurrent_version_expiration=[OldVersions(noncurrent_days=bucket.old_version_days)],
            abort_incomplete_multipart_upload=[Abort(days_after_initiation=_ABORT_DAYS)],
        )
    ]


def _given(rule: LifecycleRule) -> Rule:
    moves = [Transition(days=item.days, storage_class=item.storage_class) for item in rule.transitions]
    old_moves = [
        OldTransition(noncurrent_days=item.noncurrent_days, storage_class=item.storage_class)
        for item in rule.noncurrent_version_transitions
    ]
    expiration, old, abort = rule.expiration, rule.noncurrent_version_expiration, rule.abort_incomplete_multipart_upload
    return Rule(
        id=rule.id,
        status=rule.status,
        filter=[_filter(rule)],
        transition=moves or None,
        noncurrent_version_transition=old_moves or None,
        expiration=None
        if expiration is None
        else [Expiration(days=expiration.days, expired_object_delete_marker=expiration.expired_object_delete_marker)],
        noncurrent_version_expiration=None
        if old is None
        else [
            OldVersions(noncurrent_days=old.noncurrent_days, newer_noncurrent_versions=old.newer_noncurrent_versions)
        ],
        abort_incomplete_multipart_upload=None
        if abort is None
        else [Abort(days_after_initiation=abort.days_after_initiation)],
    )


def _filter(rule: LifecycleRule) -> Filter:
    given = rule.filter
    if given.both is not None:
        return Filter(
            and_=[
                And(
                    prefix=given.both.prefix,
                    tags={item.key: item.value for item in given.both.tags} or None,
                    object_size_greater_than=given.both.object_size_greater_than,
                    object_size_less_than=given.both.object_size_less_than,
                )
            ]
        )
    if given.tag is not None:
        return Filter(tag=[Tag(key=given.tag.key, value=given.tag.value)])
    if given.object_size_greater_than is not None or given.object_size_less_than is not None:
        return Filter(
            object_size_greater_than=given.object_size_greater_than, object_size_less_than=given.object_size_less_than
        )
    return Filter(prefix=given.prefix or "")
