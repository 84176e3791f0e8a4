"""The shared account: images, in every region that runs them, and the roles of CI that push and scan them."""

from __future__ import annotations

from cdktn import App

from cdk.access import pipeline_role
from cdk.blocks.key import Key
from cdk.blocks.registry import IMAGE_ROLES, Registry, replicate_images
from cdk.blocks.role import Role, RolePlan, allow, roles_trust
from cdk.model import Account, Environment, Region
from cdk.stacks.base import PlatformStack

_PUSH = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImages",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)
_SCAN = (
    "ecr:BatchGetImage",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeImages",
    "ecr:GetDownloadUrlForLayer",
    "ecr:ListImages",
    "ecr:StartImageScan",
)


class Shared(PlatformStack):
    """Image repositories of one region."""

    def __init__(self, app: App, environment: Environment, region: Region) -> None:
        super().__init__(
            app, f"shared-{region.name}", environment=environment, account=Account.SHARED, region=region.name
        )
        accounts = environment.accounts
        key = Key(self, f"images-{region.name}", accounts=[accounts.ml, accounts.edge])
        registry = Registry(self, key, pullers=[accounts.ml, accounts.edge, accounts.shared])
        for role in IMAGE_ROLES:
            self.give(f"image_{role.replace('-', '_')}_url", registry.urls[role])
        if region is not environment.main_region:
            return
        others = [item.name for item in environment.regions if item is not region]
        if others:
            replicate_images(self, others)
        self._ci("images", "CI pushes images", _PUSH, registry)
        self._ci("scan", "CI reads what scans of images found", _SCAN, registry)

    def _ci(self, pipeline: str, description: str, actions: tuple[str, ...], registry: Registry) -> None:
        environment = self.environment
        role = Role(
            self,
            RolePlan(
                name=f"ci-{pipeline}",
                description=description,
                trust=[roles_trust(environment.accounts.management, [pipeline_role(environment, pipeline)])],
                statements=[
                    allow(actions, list(registry.arns.values())),
                    allow(["ecr:GetAuthorizationToken"], ["*"]),  # takes no resource
                ],
            ),
        )
        self.give(f"ci_{pipeline}_role_arn", role.arn)
