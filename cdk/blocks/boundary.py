"""The permissions boundary: what no role of an account can do, whatever its own policies say."""

from __future__ import annotations

from collections.abc import Sequence

from cdktn_provider_aws.iam_policy import IamPolicy

from cdk.blocks.role import Statement, document
from cdk.stacks.base import PlatformStack

# What lies in no region, or answers from us-east-1 alone.
_GLOBAL_SERVICES = (
    "budgets:*",
    "ce:*",
    "cloudfront:*",
    "health:*",
    "iam:*",
    "organizations:*",
    "route53:*",
    "s3:GetAccountPublicAccessBlock",
    "s3:ListAllMyBuckets",
    "sts:*",
    "support:*",
)


def boundary(stack: PlatformStack, regions: Sequence[str]) -> str:
    """Make the account's boundary and return its ARN."""
    name = stack.name("boundary")
    arn = f"arn:aws:iam::{stack.account_id}:policy/{name}"
    policy = IamPolicy(
        stack,
        "boundary",
        name=name,
        description="What no role of this account can do",
        policy=document(_statements(stack.account_id, arn, regions)),
    )
    return str(policy.arn)


def _statements(account_id: str, arn: str, regions: Sequence[str]) -> list[Statement]:
    return [
        {"Sid": "OwnPoliciesDecide", "Effect": "Allow", "Action": "*", "Resource": "*"},
        {
            "Sid": "NobodyLeavesTheBoundary",
            "Effect": "Deny",
            "Action": ["iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:AttachRolePolicy"],
            "Resource": "*",
            "Condition": {"StringNotEquals": {"iam:PermissionsBoundary": arn}},
        },
        {
            "Sid": "NobodyChangesTheBoundary",
            "Effect": "Deny",
            "Action": [
                "iam:CreatePolicyVersion",
                "iam:DeletePolicy",
                "iam:DeletePolicyVersion",
                "iam:DeleteRolePermissionsBoundary",
                "iam:SetDefaultPolicyVersion",
            ],
            "Resource": [arn, f"arn:aws:iam::{account_id}:role/*"],
        },
        {
            "Sid": "NoPeopleHere",
            "Effect": "Deny",
            "Action": ["iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:CreateUser"],
            "Resource": "*",
        },
        {
            "Sid": "WatchersStay",
            "Effect": "Deny",
            "Action": [
                "account:*",
                "cloudtrail:DeleteTrail",
                "cloudtrail:StopLogging",
                "cloudtrail:UpdateTrail",
                "config:DeleteConfigurationRecorder",
                "config:StopConfigurationRecorder",
                "guardduty:DeleteDetector",
                "guardduty:UpdateDetector",
                "organizations:*",
            ],
            "Resource": "*",
        },
        {
            "Sid": "OurRegionsAlone",
            "Effect": "Deny",
            "NotAction": list(_GLOBAL_SERVICES),
            "Resource": "*",
            "Condition": {"StringNotEquals": {"aws:RequestedRegion": sorted({*regions, "us-east-1"})}},
        },
    ]
