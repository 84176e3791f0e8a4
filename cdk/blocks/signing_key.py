"""The key that signs releases: asymmetric, so that a vehicle verifies with the public half alone."""

from __future__ import annotations

import json

from cdktn_provider_aws.kms_alias import KmsAlias
from cdktn_provider_aws.kms_key import KmsKey

from cdk.stacks.base import PlatformStack

_DELETION_DAYS = 30


class SigningKey:
    """An ECDSA key on P-256, which never leaves KMS.

    Args:
        stack: Where it lies.
        name: What it signs.
        signer: Name of the one role that may sign.

    Attributes:
        arn: Its ARN.
    """

    def __init__(self, stack: PlatformStack, name: str, *, signer: str) -> None:
        key = KmsKey(
            stack,
            f"signing-{name}",
            description=stack.name(name),
            key_usage="SIGN_VERIFY",
            customer_master_key_spec="ECC_NIST_P256",
            deletion_window_in_days=_DELETION_DAYS,
            policy=json.dumps(_policy(stack.account_id, signer)),
        )
        KmsAlias(stack, f"signing-{name}-alias", name=f"alias/{stack.name(name)}", target_key_id=key.key_id)
        self.arn = key.arn


def _policy(account_id: str, signer: str) -> dict[str, object]:
    root = {"AWS": f"arn:aws:iam::{account_id}:root"}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AccountKeepsIt",
                "Effect": "Allow",
                "Principal": root,
                "Action": "kms:*",
                "Resource": "*",
            },
            {
                "Sid": "OneRoleSigns",
                "Effect": "Deny",
                "Principal": {"AWS": "*"},
                "Action": "kms:Sign",
                "Resource": "*",
                "Condition": {"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{account_id}:role/{signer}"}},
            },
        ],
    }
