"""The cluster that objects are made for: its environment, its region, and what only Terraform knows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cdk.access import SECRET_READER, bucket_name, role_name
from cdk.labels import KIND
from cdk.model import DataClass, Environment, Manager, Pool, PoolKind, Region
from platform_lib.errors import ConfigError

PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"
PRODUCT = "drivetrain"
# Every namespace carries its name as a label, whoever made it.
NAMESPACE_NAME = "kubernetes.io/metadata.name"
SYSTEM_NODES = {KIND: PoolKind.SYSTEM.value}
# Kubernetes 1.35 has the name that says what is meant; before, it was there under another, now deprecated.
# Source: Kubernetes, KEP-3015: PreferSameZone stable in 1.35, alpha (and refused) in 1.33.
_SAME_ZONE_SINCE = (1, 35)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What Terraform gives and no name tells; the defaults stand in for what is not applied yet.

    Attributes:
        database_host: The metadata database's host.
        database_secret: The name or ARN of the secret with its password.
    """

    database_host: str = "metadata.not-applied-yet.invalid"
    database_secret: str = "not-applied-yet"  # noqa: S105 - a secret's name

    @property
    def provisional(self) -> list[str]:
        """Names of Terraform outputs for which a default stands in."""
        default = Outputs()
        known = {
            "database_endpoint": self.database_host == default.database_host,
            "database_secret_arn": self.database_secret == default.database_secret,
        }
        return [name for name, standing_in in known.items() if standing_in]


@dataclass(frozen=True, slots=True)
class Place:
    """One cluster.

    Attributes:
        environment: Whose.
        region: Where.
        image_tag: The version of the own images, a tag that never moves.
        outputs: What Terraform gave.
    """

    environment: Environment
    region: Region
    image_tag: str
    outputs: Outputs = Outputs()

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.region.existing_cluster_name or self.named(self.region.name)

    def named(self, *parts: str) -> str:
        """Return an AWS resource's name: environment first, as `PlatformStack.name` makes it."""
        return "-".join((PRODUCT, self.environment.environment, *parts))

    @property
    def pools(self) -> list[Pool]:
        """The pools of this region, in the file's order."""
        return [item for item in self.environment.pools if self.environment.region_of(item) is self.region]

    @property
    def work_pools(self) -> list[Pool]:
        """The pools that jobs run on."""
        return [item for item in self.pools if item.kind is not PoolKind.SYSTEM]

    @property
    def system_pools(self) -> list[Pool]:
        """The pools that services and heads of jobs run on; the rules see to it that there is one."""
        return [item for item in self.pools if item.kind is PoolKind.SYSTEM]

    @property
    def karpenter_pools(self) -> list[Pool]:
        """The pools whose nodes Karpenter makes."""
        return self.environment.pools_of(self.region, Manager.KARPENTER)

    @property
    def teams(self) -> list[str]:
        """Who has pools here, sorted."""
        return sorted({item.team for item in self.work_pools})

    def image(self, role: str) -> str:
        """Return an own image, in this region's registry."""
        environment = self.environment
        registry = f"{environment.accounts.shared}.dkr.ecr.{self.region.name}.amazonaws.com"
        return f"{registry}/{PRODUCT}/{environment.environment}/{role}:{self.image_tag}"

    def bucket(self, data: DataClass) -> str:
        """Return the bucket of a data class."""
        return bucket_name(self.environment, data)

    @property
    def bucket_region(self) -> str:
        """The region of the buckets, which lie in one."""
        return self.environment.main_region.name

    @property
    def secret_reader_role_arn(self) -> str:
        """The role by which passwords are read."""
        return f"arn:aws:iam::{self.environment.accounts.data}:role/{role_name(self.environment, SECRET_READER)}"

    @property
    def node_profile(self) -> str:
        """The instance profile of nodes that Karpenter makes, which the stack `karpenter` has made."""
        return self.named("karpenter-nodes", self.region.name)

    @property
    def disk_key_alias(self) -> str:
        """The ARN of the alias of the key of nodes' disks."""
        alias = f"alias/{self.named('node-disks', self.region.name)}"
        return f"arn:aws:kms:{self.region.name}:{self.environment.accounts.ml}:{alias}"

    @property
    def traffic_distribution(self) -> str:
        """What keeps traffic in its zone, as this Kubernetes version spells it."""
        return traffic_distribution(self.environment.kubernetes.version)


def traffic_distribution(version: str) -> str:
    """Return what keeps a service's traffic in its zone, as a Kubernetes version spells it."""
    major, _, minor = version.partition(".")
    return "PreferSameZone" if (int(major), int(minor)) >= _SAME_ZONE_SINCE else "PreferClose"


def labels_for(name: str, **more: str) -> dict[str, str]:
    """Return the labels of one component's objects."""
    return {NAME: name, PART_OF: PRODUCT, **more}


def region_named(environment: Environment, name: str | None) -> Region:
    """Return a region by name; the main one where none is named.

    Raises:
        ConfigError: No such region.
    """
    if name is None:
        return environment.main_region
    found = next((item for item in environment.regions if item.name == name), None)
    if found is None:
        known = ", ".join(item.name for item in environment.regions)
        raise ConfigError(
            f"region {name} is none of environment '{environment.environment}'",
            where="--region",
            remedy=f"take {known}",
        )
    return found
