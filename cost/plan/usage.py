"""The usage file: what no plan says and every bill counts, such as gigabytes stored or moved. Strict; reads nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cost.plan.model import Resource
from platform_lib.errors import ConfigError

Quantity = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Usage(_Strict):
    """One entry; a key that is left out stays unknown.

    Attributes:
        match: Which resources: their address, `stack/address`, or a pool's name; `*` and `?` stand for any text.
    """

    match: str = Field(min_length=1)


class NodeUsage(Usage):
    """Pools. `average_nodes`: how many nodes run, the month's mean; in place of what the plan asks for."""

    average_nodes: Quantity | None = None


class BucketUsage(Usage):
    """Buckets, per month: GB stored by class, thousands of requests and objects, GB taken out of colder classes."""

    standard_gb: Quantity | None = None
    standard_ia_gb: Quantity = Decimal(0)
    onezone_ia_gb: Quantity = Decimal(0)
    intelligent_frequent_gb: Quantity = Decimal(0)
    intelligent_infrequent_gb: Quantity = Decimal(0)
    intelligent_archive_instant_gb: Quantity = Decimal(0)
    intelligent_kilo_objects: Quantity = Decimal(0)
    glacier_instant_gb: Quantity = Decimal(0)
    glacier_flexible_gb: Quantity = Decimal(0)
    deep_archive_gb: Quantity = Decimal(0)
    put_kilo_requests: Quantity | None = None
    get_kilo_requests: Quantity | None = None
    standard_ia_retrieved_gb: Quantity = Decimal(0)
    glacier_instant_retrieved_gb: Quantity = Decimal(0)


class TransferUsage(Usage):
    """NAT gateways and interface endpoints: GB that pass through in a month."""

    processed_gb: Quantity | None = None


class PeeringUsage(Usage):
    """Peering: GB that cross a zone in a month; each is paid for on both sides."""

    cross_zone_gb: Quantity | None = None


class LogUsage(Usage):
    """Log groups: GB taken in in a month, and GB kept."""

    ingested_gb: Quantity | None = None
    stored_gb: Quantity | None = None


class RequestUsage(Usage):
    """Queues, topics, keys, secrets: requests in a month."""

    requests: Quantity | None = None


class TrailUsage(Usage):
    """Trails: events in a month; the first trail's management events are free."""

    data_events: Quantity | None = None
    additional_management_events: Quantity = Decimal(0)


class ConfigUsage(Usage):
    """AWS Config: configuration items, or evaluations of a rule, in a month."""

    items: Quantity | None = None
    evaluations: Quantity | None = None


class StoredUsage(Usage):
    """Image repositories, copies of a database's backups: GB kept."""

    stored_gb: Quantity | None = None


class DatabaseUsage(Usage):
    """Databases: GB of backups beyond the database's own size, which is free."""

    additional_backup_gb: Quantity | None = None


class BackupUsage(Usage):
    """Backup vaults: GB kept, by what was backed up."""

    efs_gb: Quantity = Decimal(0)
    fsx_lustre_gb: Quantity = Decimal(0)
    other_gb: Quantity | None = None


class BalancerUsage(Usage):
    """Application load balancers: capacity units, the month's mean."""

    capacity_units: Quantity | None = None


class UsageFile(_Strict):
    """The file: entries by what they speak of; of several that match one resource, the first counts."""

    format: Literal["drivetrain-usage/1"]
    nodes: tuple[NodeUsage, ...] = ()
    buckets: tuple[BucketUsage, ...] = ()
    nat_gateways: tuple[TransferUsage, ...] = ()
    endpoints: tuple[TransferUsage, ...] = ()
    peerings: tuple[PeeringUsage, ...] = ()
    logs: tuple[LogUsage, ...] = ()
    queues: tuple[RequestUsage, ...] = ()
    topics: tuple[RequestUsage, ...] = ()
    keys: tuple[RequestUsage, ...] = ()
    secrets: tuple[RequestUsage, ...] = ()
    trails: tuple[TrailUsage, ...] = ()
    config: tuple[ConfigUsage, ...] = ()
    repositories: tuple[StoredUsage, ...] = ()
    databases: tuple[DatabaseUsage, ...] = ()
    database_copies: tuple[StoredUsage, ...] = ()
    backups: tuple[BackupUsage, ...] = ()
    balancers: tuple[BalancerUsage, ...] = ()


NO_USAGE = UsageFile(format="drivetrain-usage/1")
KINDS: dict[str, frozenset[str]] = {
    "nodes": frozenset({"aws_eks_node_group", "aws_autoscaling_group", "karpenter_node_pool"}),
    "buckets": frozenset({"aws_s3_bucket"}),
    "nat_gateways": frozenset({"aws_nat_gateway"}),
    "endpoints": frozenset({"aws_vpc_endpoint"}),
    "peerings": frozenset({"aws_vpc_peering_connection"}),
    "logs": frozenset({"aws_cloudwatch_log_group"}),
    "queues": frozenset({"aws_sqs_queue"}),
    "topics": frozenset({"aws_sns_topic"}),
    "keys": frozenset({"aws_kms_key", "aws_kms_replica_key"}),
    "secrets": frozenset({"aws_secretsmanager_secret", "aws_db_instance"}),
    "trails": frozenset({"aws_cloudtrail"}),
    "config": frozenset({"aws_config_configuration_recorder", "aws_config_config_rule"}),
    "repositories": frozenset({"aws_ecr_repository"}),
    "databases": frozenset({"aws_db_instance"}),
    "database_copies": frozenset({"aws_db_instance_automated_backups_replication"}),
    "backups": frozenset({"aws_backup_vault"}),
    "balancers": frozenset({"aws_lb", "aws_alb"}),
}
"""Which kinds of resources a section of the file speaks of."""


def entry_for(usage: UsageFile, section: str, resource: Resource) -> Usage | None:
    """Return the first entry of a section that speaks of a resource."""
    entries: tuple[Usage, ...] = getattr(usage, section)
    return next((item for item in entries if _matches(item.match, resource)), None)


def quantity(usage: UsageFile, section: str, resource: Resource, name: str) -> Decimal | None:
    """Return what a usage file says of a resource; None where it says nothing."""
    entry = entry_for(usage, section, resource)
    found = None if entry is None else getattr(entry, name)
    return found if isinstance(found, Decimal) else None


def refuse_unmatched(usage: UsageFile, resources: Iterable[Resource], *, where: object) -> None:
    """Refuse an entry that speaks of nothing in the plan: misspelt, it would be left out without a word.

    Raises:
        ConfigError: There is one.
    """
    known = list(resources)
    for section, match in _entries(usage):
        kinds = KINDS[section]
        if not any(item.kind in kinds and _matches(match, item) for item in known):
            raise ConfigError(
                f"{section}: '{match}' matches nothing in the plan",
                where=where,
                remedy="`drivetrain cost plan PLAN --json` lists every address; `*` stands for any text",
            )


def _entries(usage: UsageFile) -> Iterator[tuple[str, str]]:
    for section in KINDS:
        for entry in getattr(usage, section):
            yield section, entry.match


def _matches(pattern: str, resource: Resource) -> bool:
    names = (resource.address, f"{resource.stack}/{resource.address}", resource.tag("pool") or resource.address)
    return any(fnmatchcase(name, pattern) for name in names)
