"""Image repositories: scanned, immutable, encrypted by an own key, pulled by the accounts that run them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cdktn_provider_aws.ecr_lifecycle_policy import EcrLifecyclePolicy
from cdktn_provider_aws.ecr_replication_configuration import (
    EcrReplicationConfiguration,
    EcrReplicationConfigurationReplicationConfiguration,
    EcrReplicationConfigurationReplicationConfigurationRule,
    EcrReplicationConfigurationReplicationConfigurationRuleDestination,
    EcrReplicationConfigurationReplicationConfigurationRuleRepositoryFilter,
)
from cdktn_provider_aws.ecr_repository import (
    EcrRepository,
    EcrRepositoryEncryptionConfiguration,
    EcrRepositoryImageScanningConfiguration,
)
from cdktn_provider_aws.ecr_repository_policy import EcrRepositoryPolicy

from cdk.blocks.key import Key
from cdk.stacks.base import PlatformStack

# One for each Dockerfile.
IMAGE_ROLES = ("ray-cpu", "ray-cuda", "edge-compile", "mlflow")
_KEPT_IMAGES = 100
_UNTAGGED_DAYS = 14
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


class Registry:
    """The repositories of one region.

    Attributes:
        arns: By image role.
        urls: By image role.
    """

    def __init__(self, stack: PlatformStack, key: Key, *, pullers: Sequence[str]) -> None:
        self.arns: dict[str, str] = {}
        self.urls: dict[str, str] = {}
        for role in IMAGE_ROLES:
            repository = EcrRepository(
                stack,
                f"image-{role}",
                name=f"drivetrain/{stack.environment.environment}/{role}",
                # What a tag named yesterday it names tomorrow: a signature and a bill of materials stay true.
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration=EcrRepositoryImageScanningConfiguration(scan_on_push=True),
                encryption_configuration=[EcrRepositoryEncryptionConfiguration(encryption_type="KMS", kms_key=key.arn)],
                force_delete=stack.environment.emulated or None,
                tags={"drivetrain:image": role},
            )
            EcrLifecyclePolicy(
                stack, f"image-{role}-lifecycle", repository=repository.name, policy=json.dumps(_lifecycle())
            )
            EcrRepositoryPolicy(
                stack, f"image-{role}-policy", repository=repository.name, policy=json.dumps(_pull(pullers))
            )
            self.arns[role] = repository.arn
            self.urls[role] = repository.repository_url


def replicate_images(stack: PlatformStack, regions: Sequence[str]) -> None:
    """Copy every image that is pushed here to other regions, so that nodes there pull it without a bill for the way."""
    EcrReplicationConfiguration(
        stack,
        "image-replication",
        replication_configuration=EcrReplicationConfigurationReplicationConfiguration(
            rule=[
                EcrReplicationConfigurationReplicationConfigurationRule(
                    destination=[
                        EcrReplicationConfigurationReplicationConfigurationRuleDestination(
                            region=region, registry_id=stack.account_id
                        )
                        for region in regions
                    ],
                    repository_filter=[
                        EcrReplicationConfigurationReplicationConfigurationRuleRepositoryFilter(
                            filter=f"drivetrain/{stack.environment.environment}/", filter_type="PREFIX_MATCH"
                        )
                    ],
                )
            ]
        ),
    )


def _lifecycle() -> dict[str, object]:
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": "images that no tag names",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": _UNTAGGED_DAYS,
                },
                "action": {"type": "expire"},
            },
            {
                "rulePriority": 2,
                "description": "of images of branches the newest; releases are tagged v* and stay",
                "selection": {
                    "tagStatus": "tagged",
                    "tagPrefixList": ["branch-"],
                    "countType": "imageCountMoreThan",
                    "countNumber": _KEPT_IMAGES,
                },
                "action": {"type": "expire"},
            },
        ]
    }


def _pull(accounts: Sequence[str]) -> dict[str, object]:
    principals = [f"arn:aws:iam::{item}:root" for item in sorted(set(accounts))]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "NodesPull", "Effect": "Allow", "Principal": {"AWS": principals}, "Action": list(_PULL)},
        ],
    }
