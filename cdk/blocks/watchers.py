"""What watches one account in one region: AWS Config, GuardDuty, and disks encrypted by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdktn import ITerraformDependable
from cdktn_provider_aws.config_configuration_recorder import (
    ConfigConfigurationRecorder,
    ConfigConfigurationRecorderRecordingGroup,
)
from cdktn_provider_aws.config_configuration_recorder_status import ConfigConfigurationRecorderStatus
from cdktn_provider_aws.config_delivery_channel import ConfigDeliveryChannel
from cdktn_provider_aws.ebs_default_kms_key import EbsDefaultKmsKey
from cdktn_provider_aws.ebs_encryption_by_default import EbsEncryptionByDefault
from cdktn_provider_aws.guardduty_detector import GuarddutyDetector
from cdktn_provider_aws.s3_bucket_policy import S3BucketPolicy

from cdk.blocks.bucket import BucketPlan, PrivateBucket, Statement, expire_rule
from cdk.blocks.key import Key
from cdk.blocks.role import Role, RolePlan, allow, service_trust
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


@dataclass(frozen=True, slots=True)
class ConfigStore:
    """Where AWS Config of every account writes.

    Attributes:
        bucket: The bucket's name.
        key_arn: Its key.
    """

    bucket: str
    key_arn: str


def config_store(
    stack: PlatformStack, accounts: Sequence[str], *, keep_days: int
) -> tuple[ConfigStore, S3BucketPolicy]:
    """Make the one bucket that AWS Config of these accounts writes to, and return it with what must stand first."""
    key = Key(stack, "config", services=[_SERVICE], accounts=accounts)
    bucket = PrivateBucket(
        stack,
        BucketPlan(name="config", statements=_delivery(accounts), rules=[expire_rule(keep_days, old_version_days=30)]),
        key,
    )
    return ConfigStore(bucket=bucket.bucket, key_arn=key.arn), bucket.policy


def recorded(
    stack: PlatformStack, regions: Sequence[str], store: ConfigStore, ready: Sequence[ITerraformDependable]
) -> None:
    """Let AWS Config record how resources of these regions change; the first also records what lies in none."""
    bucket_arn = f"arn:aws:s3:::{store.bucket}"
    role = Role(
        stack,
        RolePlan(
            name=f"config-{stack.account.value}",
            description="AWS Config reads every resource",
            trust=[service_trust(_SERVICE, stack.account_id)],
            managed=["service-role/AWS_ConfigRole"],
            statements=[
                allow(["s3:PutObject"], [f"{bucket_arn}/AWSLogs/{stack.account_id}/*"]),
                allow(["s3:GetBucketAcl"], [bucket_arn]),
                allow(["kms:Decrypt", "kms:GenerateDataKey"], [store.key_arn]),
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
            s3_bucket_name=store.bucket,
            s3_kms_key_arn=store.key_arn,
            depends_on=[recorder, *ready],
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


def _delivery(accounts: Sequence[str]) -> list[Statement]:
    # Source: AWS, "Permissions for the Amazon S3 bucket for the AWS Config delivery channel", read 2026-11-20. Its roles
    # write, of every account its own; the service itself checks and writes where there is no role.
    chosen = sorted(set(accounts))
    owned = {"s3:x-amz-acl": "bucket-owner-full-control"}
    statements: list[Statement] = [
        {
            "Sid": "ConfigChecks",
            "Effect": "Allow",
            "Principal": {"Service": _SERVICE, "AWS": [f"arn:aws:iam::{item}:root" for item in chosen]},
            "Action": ["s3:GetBucketAcl", "s3:ListBucket"],
            "Resource": "BUCKET",
        },
        {
            "Sid": "ConfigWrites",
            "Effect": "Allow",
            "Principal": {"Service": _SERVICE},
            "Action": "s3:PutObject",
            "Resource": [f"BUCKET/AWSLogs/{item}/Config/*" for item in chosen],
            "Condition": {"StringEquals": {"AWS:SourceAccount": chosen, **owned}},
        },
    ]
    statements += [
        {
            "Sid": f"RolesOf{item}",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{item}:root"},
            "Action": "s3:PutObject",
            "Resource": f"BUCKET/AWSLogs/{item}/Config/*",
            "Condition": {"StringEquals": owned},
        }
        for item in chosen
    ]
    return statements
