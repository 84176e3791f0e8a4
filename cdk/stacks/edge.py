"""The edge account: the key that signs releases, and the one role that signs and publishes them."""

from __future__ import annotations

from cdktn import App

from cdk.access import (
    BUCKET_ACTIONS,
    EDGE_RELEASE,
    KEY_ACTIONS,
    Access,
    Workload,
    bucket_name,
    object_actions,
    pipeline_role,
    role_name,
)
from cdk.blocks.role import Role, RolePlan, allow, roles_trust
from cdk.blocks.signing_key import SigningKey
from cdk.model import Account, DataClass, Environment
from cdk.stacks.base import PlatformStack


class Edge(PlatformStack):
    """What turns a compiled model into a release."""

    def __init__(self, app: App, environment: Environment) -> None:
        region = environment.main_region.name
        super().__init__(app, "edge", environment=environment, account=Account.EDGE, region=region)
        key = SigningKey(self, "release-signing", signer=role_name(environment, EDGE_RELEASE))
        releases = f"arn:aws:s3:::{bucket_name(environment, DataClass.RELEASES)}"
        accounts = environment.accounts
        role = Role(
            self,
            RolePlan(
                name=EDGE_RELEASE,
                description="Signs releases and puts them into the bucket of releases",
                trust=[
                    roles_trust(accounts.ml, [role_name(environment, Workload.EDGE_COMPILE, "*")]),
                    roles_trust(accounts.management, [pipeline_role(environment, "release")]),
                ],
                statements=[
                    allow(["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign", "kms:Verify"], [key.arn]),
                    # No deletion: what was released stays.
                    allow([item for item in object_actions(Access.WRITE) if "Delete" not in item], [f"{releases}/*"]),
                    allow(BUCKET_ACTIONS, [releases]),
                    allow(
                        KEY_ACTIONS[Access.WRITE],
                        [f"arn:aws:kms:{region}:{accounts.data}:key/*"],
                        StringEquals={"kms:ViaService": f"s3.{region}.amazonaws.com"},
                    ),
                ],
            ),
        )
        self.give("release_role_arn", role.arn)
        self.give("release_signing_key_arn", key.arn)
