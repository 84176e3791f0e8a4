"""What keeps data: buckets, the database, repositories, backups. Pure."""

from __future__ import annotations

from decimal import Decimal

from cost.plan.kinds.rule import Context, Rule, always, line, number
from cost.plan.model import Line, Resource
from cost.plan.usage import BucketUsage, entry_for

_CLASSES = (
    ("standard_ia_gb", "standard-ia storage"),
    ("onezone_ia_gb", "onezone-ia storage"),
    ("intelligent_frequent_gb", "intelligent-tiering frequent storage"),
    ("intelligent_infrequent_gb", "intelligent-tiering infrequent storage"),
    ("intelligent_archive_instant_gb", "intelligent-tiering archive instant storage"),
    ("glacier_instant_gb", "glacier instant storage"),
    ("glacier_flexible_gb", "glacier flexible storage"),
    ("deep_archive_gb", "deep archive storage"),
)
_RETRIEVED = (
    ("standard_ia_retrieved_gb", "standard-ia retrieval"),
    ("glacier_instant_retrieved_gb", "glacier instant retrieval"),
)
_REQUESTS = (("put_kilo_requests", "put requests"), ("get_kilo_requests", "get requests"))


def _bucket(resource: Resource, context: Context) -> list[Line]:
    entry = entry_for(context.usage, "buckets", resource)
    usage = entry if isinstance(entry, BucketUsage) else None
    standard = None if usage is None else usage.standard_gb
    found = [
        line(context, resource, ("s3", "standard storage"), standard, unit="GB-month", asked="buckets.standard_gb")
    ]
    for name, item in _REQUESTS:
        count = None if usage is None else getattr(usage, name)
        found.append(line(context, resource, ("s3", item), count, unit="1k requests", asked=f"buckets.{name}"))
    if usage is None:
        return found
    for name, item in (*_CLASSES, *_RETRIEVED):
        if amount := getattr(usage, name):
            unit = "GB" if item.endswith("retrieval") else "GB-month"
            found.append(line(context, resource, ("s3", item), amount, unit=unit))
    if usage.intelligent_kilo_objects:
        meter = ("s3", "intelligent-tiering monitoring")
        found.append(line(context, resource, meter, usage.intelligent_kilo_objects, unit="1k objects-month"))
    return found


def _inventory(resource: Resource, context: Context) -> list[Line]:
    return [line(context, resource, ("s3", "inventory"), None, unit="1M objects", asked="none can tell")]


def _replication(resource: Resource, context: Context) -> list[Line]:
    meter = ("s3", "data transfer to another region")
    return [line(context, resource, meter, None, unit="GB", asked="none can tell")]


def _database(resource: Resource, context: Context) -> list[Line]:
    engine = {"postgres": "postgresql"}.get(str(resource.get("engine")), str(resource.get("engine")))
    spread = "multi-az" if resource.get("multi_az") is True else "single-az"
    kind = str(resource.get("storage_type") or "gp2")
    size = number(resource.get("allocated_storage"))
    most = number(resource.get("max_allocated_storage")) or size
    storage = "storage io1" if kind == "io1" and spread == "single-az" else f"storage {kind} {spread}"
    found = [
        always(context, resource, ("rds", f"{engine} {resource.get('instance_class')} {spread}")),
        line(context, resource, ("rds", storage), size, unit="GB-month", maximum=most),
    ]
    kept = context.used("databases", resource, "additional_backup_gb")
    if resource.get("backup_retention_period") != 0:
        meter = ("rds", "additional backup storage")
        asked = "databases.additional_backup_gb"
        found.append(line(context, resource, meter, kept, unit="GB-month", asked=asked))
    if resource.get("manage_master_user_password") is True:
        found.append(line(context, resource, ("secretsmanager", "secret"), Decimal(1), unit="month"))
    return found


def _backup_copy(resource: Resource, context: Context) -> list[Line]:
    kept = context.used("database_copies", resource, "stored_gb")
    meter = ("rds", "additional backup storage")
    return [line(context, resource, meter, kept, unit="GB-month", asked="database_copies.stored_gb")]


def _repository(resource: Resource, context: Context) -> list[Line]:
    kept = context.used("repositories", resource, "stored_gb")
    return [line(context, resource, ("ecr", "storage"), kept, unit="GB-month", asked="repositories.stored_gb")]


def _vault(resource: Resource, context: Context) -> list[Line]:
    found = []
    for name, item in (("efs_gb", "efs warm"), ("fsx_lustre_gb", "fsx lustre")):
        if amount := context.used("backups", resource, name):
            found.append(line(context, resource, ("backup", item), amount, unit="GB-month"))
    other = context.used("backups", resource, "other_gb")
    meter = ("backup", "databases, buckets and clusters")
    return [*found, line(context, resource, meter, other, unit="GB-month", asked="backups.other_gb")]


DATA: dict[str, Rule] = {
    "aws_backup_vault": _vault,
    "aws_db_instance": _database,
    "aws_db_instance_automated_backups_replication": _backup_copy,
    "aws_ecr_repository": _repository,
    "aws_s3_bucket": _bucket,
    "aws_s3_bucket_inventory": _inventory,
    "aws_s3_bucket_replication_configuration": _replication,
}
