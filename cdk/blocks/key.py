"""An own KMS key, which rotates, under an alias."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cdktn_provider_aws.kms_alias import KmsAlias
from cdktn_provider_aws.kms_key import KmsKey
from cdktn_provider_aws.provider import AwsProvider

from cdk.stacks.base import PlatformStack

_DELETION_DAYS = 30
_USE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")


class Key:
    """A symmetric key.

    Args:
        stack: Where it lies.
        name: What it encrypts.
        services: AWS services that may use it, as `logs.us-east-1.amazonaws.com`.
        accounts: Other accounts whose roles may use it, as far as their own policies say so.
        through: Services through which everyone of the account who may use them uses the key too, as
            `ec2.us-east-1.amazonaws.com`: the roles that AWS itself made can be given nothing by IAM.
        provider: Another region's provider.

    Attributes:
        arn: Its ARN.
    """

    def __init__(
        self,
        stack: PlatformStack,
        name: str,
        *,
        services: Sequence[str] = (),
        accounts: Sequence[str] = (),
        through: Sequence[str] = (),
        provider: AwsProvider | None = None,
    ) -> None:
        key = KmsKey(
            stack,
            f"key-{name}",
            description=f"{stack.name(name)}",
            deletion_window_in_days=_DELETION_DAYS,
            enable_key_rotation=True,
            policy=json.dumps(_policy(stack.account_id, services, accounts, through)),
            provider=provider,
        )
        KmsAlias(
            stack, f"key-{name}-alias", name=f"alias/{stack.name(name)}", target_key_id=key.key_id, provider=provider
        )
        self.arn = key.arn


def _policy(
    account_id: str, services: Sequence[str], accounts: Sequence[str], through: Sequence[str]
) -> dict[str, object]:
    statements: list[dict[str, object]] = [
        {
            "Sid": "AccountDecidesByIam",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account_id}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
    if services:
        statements.append(
            {
                "Sid": "ServicesEncrypt",
                "Effect": "Allow",
                "Principal": {"Service": sorted(services)},
                "Action": list(_USE),
                "Resource": "*",
            }
        )
    others = sorted(set(accounts) - {account_id})
    if others:
        statements.append(
            {
                "Sid": "OtherAccountsUse",
                "Effect": "Allow",
                "Principal": {"AWS": [f"arn:aws:iam::{item}:root" for item in others]},
                "Action": list(_USE),
                "Resource": "*",
            }
        )
    if through:
        # Source: AWS, the policy of the key aws/ebs itself.
        condition = {"StringEquals": {"kms:CallerAccount": account_id, "kms:ViaService": sorted(through)}}
        statements.append(
            {
                "Sid": "AccountUsesThroughServices",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [*_USE, "kms:CreateGrant"],
                "Resource": "*",
                "Condition": condition,
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}
