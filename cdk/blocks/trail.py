"""The record of API calls: one trail over all regions, its files signed, its bucket locked against changes."""

from __future__ import annotations

from cdktn_provider_aws.cloudtrail import Cloudtrail, CloudtrailEventSelector

from cdk.blocks.bucket import BucketPlan, PrivateBucket, Statement, expire_rule
from cdk.blocks.key import Key
from cdk.stacks.base import PlatformStack

_SERVICE = "cloudtrail.amazonaws.com"


def trail(stack: PlatformStack, *, organization: bool, keep_days: int) -> None:
    """Record every management call, of the organisation or of one account."""
    name = stack.name("trail")
    arn = f"arn:aws:cloudtrail:{stack.region}:{stack.account_id}:trail/{name}"
    key = Key(stack, "trail", services=[_SERVICE])
    bucket = PrivateBucket(
        stack,
        BucketPlan(name="trail", statements=_delivery(arn), rules=[expire_rule(keep_days, old_version_days=30)]),
        key,
    )
    Cloudtrail(
        stack,
        "trail",
        name=name,
        s3_bucket_name=bucket.bucket,
        kms_key_id=key.arn,
        is_multi_region_trail=True,
        is_organization_trail=organization,
        include_global_service_events=True,
        enable_log_file_validation=True,
        enable_logging=True,
        event_selector=[CloudtrailEventSelector(read_write_type="All", include_management_events=True)],
        depends_on=[bucket.policy],
    )


def _delivery(trail_arn: str) -> list[Statement]:
    # Source: AWS, "Amazon S3 bucket policy for CloudTrail", read 2026-11-20.
    source = {"aws:SourceArn": trail_arn}
    return [
        {
            "Sid": "TrailChecks",
            "Effect": "Allow",
            "Principal": {"Service": _SERVICE},
            "Action": "s3:GetBucketAcl",
            "Resource": "BUCKET",
            "Condition": {"StringEquals": source},
        },
        {
            "Sid": "TrailWrites",
            "Effect": "Allow",
            "Principal": {"Service": _SERVICE},
            "Action": "s3:PutObject",
            "Resource": "BUCKET/AWSLogs/*",
            "Condition": {"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}},
        },
    ]
