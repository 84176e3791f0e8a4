"""What watches one account in one region: AWS Config, GuardDuty, and disks encrypted by default."""

from __future__ import annotations

from collections.abc import Sequence

from cdktn_provider_aws.config_configuration_recorder import (
    ConfigConfigurationRecorder,
    ConfigConfigurationRecorderRecordingGroup,
)
from cdktn_provider_aws.config_configuration_recorder_status import ConfigConfigurationRecorderStatus
from cdktn_provider_aws.config_delivery_channel import ConfigDeliveryChannel
from cdktn_provider_aws.ebs_default_kms_key import EbsDefaultKmsKey
from cdktn_provider_aws.ebs_encryption_by_default import EbsEncryptionByDefault
from cdktn_provider_aws.guardduty_detector import GuarddutyDetector

from cdk.blocks.bucket import BucketPlan, PrivateBucket, Statement, expire_rule
from cdk.blocks.key import Key
from cdk.blocks.role import Role, RolePlan, service_trust
from cdk.stacks.base import PlatformStack

_SERVICE = "config.amazonaws.com"


def disks_encrypted(stack: PlatformStack, region: str) -> None:
    """Encrypt every new disk of a region by the account's own key."""
    provider = stack.provider_in(region)
    key = Key(
        stack, f"disks-{stack.account.value}-{region}", through=[f"ec2.{region}.amazonaws.com"], provider=provider
    )
    EbsDefaultKmsKey(stack, f"disks-key-{region}", key_arn=key.arn, provider=provider)
    EbsEncryptionByDefault(stack, f"disks-encrypted-{region}", enabled=True, provider=provider)


def guarded(stack: PlatformStack, region: str) -> None:
    """Let GuardDuty look for intruders."""
    GuarddutyDetector(
        stack,
        f"guardduty-{region}",
        enable=True,
        finding_publishing_frequency="FIFTEEN_MINUTES",
        provider=stack.provider_in(region),
    )


def recorded(stack: PlatformStack, regions: Sequence[str], *, keep_days: int) -> None:
    """Let AWS Config record how resources of these regions change; the first also records what lies in none."""
    key = Key(stack, f"config-{stack.account.value}", services=[_SERVICE])
    bucket = PrivateBucket(
        stack,
        BucketPlan(
            name=f"config-{stack.account.value}",
            statements=_delivery(stack.account_id),
            rules=[expire_rule(keep_days, old_version_days=30)],
        ),
        key,
    )
    role = Role(
        stack,
        RolePlan(
            name=f"config-{stack.account.value}",
            description="AWS Config reads every resource",
            trust=[service_trust(_SERVICE, stack.account_id)],
            managed=["service-role/AWS_ConfigRole"],
            statements=[
                {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{bucket.arn}/*"},
                {"Effect": "Allow", "Action": "s3:GetBucketAcl", "Resource": bucket.arn},
                {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": key.arn},
            ],
        ),
    )
    for place, region in enumerate(regions):
        provider = stack.provider_in(region)
        recorder = ConfigConfigurationRecorder(
            stack,
            f"config-{region}",
            name=stack.name("config"),
            role_arn=role.arn,
            recording_group=ConfigConfigurationRecorderRecordingGroup(
                all_supported=True, include_global_resource_types=place == 0
            ),
            provider=provider,
        )
        channel = ConfigDeliveryChannel(
            stack,
            f"config-{region}-channel",
            name=stack.name("config"),
            s3_bucket_name=bucket.bucket,
            s3_kms_key_arn=key.arn,
            depends_on=[recorder, bucket.policy],
            provider=provider,
        )
        ConfigConfigurationRecorderStatus(
            stack,
            f"config-{region}-on",
            name=recorder.name,
            is_enabled=True,
            depends_on=[channel],
            provider=provider,
        )


def _delivery(account_id: str) -> list[Statement]:
    # Source: AWS, "Permissions for the Amazon S3 bucket for the AWS Config delivery channel", read 2026-11-20.
    account = {"AWS:SourceAccount": account_id}
    return [
        {
            "Sid": "ConfigChecks",
            "Effect": "Allow",
            "Principal": {"Service": _SERVICE},
            "Action": ["s3:GetBucketAcl", "s3:ListBucket"],
            "Resource": "BUCKET",
            "Condition": {"StringEquals": account},
        },
        {
            "Sid": "ConfigWrites",
            "Effect": "Allow",
            "Principal": {"Service": _SERVICE},
            "Action": "s3:PutObject",
            "Resource": f"BUCKET/AWSLogs/{account_id}/Config/*",
            "Condition": {"StringEquals": {**account, "s3:x-amz-acl": "bucket-owner-full-control"}},
        },
    ]
