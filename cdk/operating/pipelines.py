"""The roles by which pipelines come in, one for each workflow. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cdk.access import EDGE_RELEASE, pipeline_role, role_name
from cdk.model import Environment
from platform_lib.errors import ConfigError


class Pipeline(StrEnum):
    """What a workflow does; `terraform/bootstrap/pipelines.tf` makes a role for each."""

    PLAN = "plan"
    APPLY = "apply"
    IMAGES = "images"
    SCAN = "scan"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Entry:
    """How a pipeline comes in.

    Attributes:
        role_arn: The role in the management account that GitHub's identity is exchanged for.
        then_role_arn: The role in the account it works in, which it takes next; None where Terraform takes it itself.
        region: The main region.
        registry: Where images lie: host and path, without a role's name.
    """

    role_arn: str
    then_role_arn: str | None
    region: str
    registry: str


def entry_of(environment: Environment, pipeline: Pipeline) -> Entry:
    """Return how a pipeline comes into an environment.

    Raises:
        ConfigError: The environment lets no pipeline in.
    """
    if environment.ci_repository is None:
        raise ConfigError(
            "no pipeline may come in: the environment names no repository",
            where=f"environment {environment.environment}",
            remedy="write `ci_repository: owner/name` into its file and run `drivetrain infra bootstrap`",
        )
    accounts, region = environment.accounts, environment.main_region.name
    then = {
        Pipeline.IMAGES: (accounts.shared, role_name(environment, "ci-images")),
        Pipeline.SCAN: (accounts.shared, role_name(environment, "ci-scan")),
        Pipeline.RELEASE: (accounts.edge, role_name(environment, EDGE_RELEASE)),
    }.get(pipeline)
    return Entry(
        role_arn=_arn(accounts.management, pipeline_role(environment, pipeline.value)),
        then_role_arn=None if then is None else _arn(*then),
        region=region,
        registry=f"{accounts.shared}.dkr.ecr.{region}.amazonaws.com/drivetrain/{environment.environment}",
    )


def _arn(account: str, role: str) -> str:
    return f"arn:aws:iam::{account}:role/{role}"
