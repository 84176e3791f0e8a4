"""What two values of an environment must agree on. Pure: the day is an argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv4Network

from cdk.instances import accelerator_of, efa_layout, is_arm
from cdk.model import Account, Capacity, DataClass, Environment, Manager, Nat, Pool, PoolKind, Vpc
from cdk.support import EKS_VERSIONS, Support, support_of
from cdk.yaml_lines import KeyPath

# A VPC takes /16 to /28; ours is cut by 64 for its smallest subnets, and a subnet has 16 addresses at least.
_VPC_PREFIXES = range(16, 23)
_POD_PREFIXES = range(16, 23)
_EMULATOR_VERSION = "5.100.0"
MAX_CONTINUOUS_DAYS = 35


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an environment.

    Attributes:
        at: The key it concerns.
        what: What is wrong.
        remedy: What mends it.
    """

    at: KeyPath
    what: str
    remedy: str


Rule = Callable[[Environment, date], Iterator[Finding]]


def findings(environment: Environment, today: date) -> list[Finding]:
    """Hold an environment against every rule; empty where all is well."""
    return [found for rule in RULES for found in rule(environment, today)]


def _accounts_differ(environment: Environment, today: date) -> Iterator[Finding]:
    """Raw drives and the management account are not to share a blast radius with anything."""
    ids = {account: environment.accounts.of(account) for account in Account}
    shared = {number for number, count in Counter(ids.values()).items() if count > 1}
    for account in (Account.MANAGEMENT, Account.DATA):
        if ids[account] in shared:
            others = ", ".join(item.value for item in Account if ids[item] == ids[account] and item is not account)
            yield Finding(
                ("accounts", account.value),
                f"account {ids[account]} is '{account.value}' and also {others}",
                f"give '{account.value}' an account of its own",
            )


def _regions_once(environment: Environment, today: date) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, region in enumerate(environment.regions):
        if region.name in seen:
            yield Finding(("regions", number, "name"), f"region {region.name} stands twice", "keep one of them")
        seen.add(region.name)


def _zones_in_region(environment: Environment, today: date) -> Iterator[Finding]:
    for number, region in enumerate(environment.regions):
        for place, zone in enumerate(region.zones):
            at: KeyPath = ("regions", number, "zones", place)
            if zone[:-1] != region.name:
                yield Finding(at, f"zone {zone} is not in {region.name}", f"name zones such as {region.name}a")
            elif zone in region.zones[:place]:
                yield Finding(at, f"zone {zone} stands twice", "keep one of them")


def _ranges(environment: Environment) -> Iterator[tuple[KeyPath, str, IPv4Network]]:
    for number, region in enumerate(environment.regions):
        for workload, vpc in (("ml", region.ml), ("data", region.data)):
            at: KeyPath = ("regions", number, workload)
            yield (*at, "cidr"), f"{workload} of {region.name}", vpc.cidr
            if vpc.pod_cidr is not None:
                yield (*at, "pod_cidr"), f"pods of {workload} of {region.name}", vpc.pod_cidr


def _ranges_apart(environment: Environment, today: date) -> Iterator[Finding]:
    """VPCs are peered, and more may be: none may share an address with another."""
    before: list[tuple[str, IPv4Network]] = []
    for at, name, network in _ranges(environment):
        for other_name, other in before:
            if network.overlaps(other):
                yield Finding(at, f"{network} ({name}) overlaps {other} ({other_name})", "take ranges that lie apart")
        before.append((name, network))


def _ranges_fit(environment: Environment, today: date) -> Iterator[Finding]:
    for at, name, network in _ranges(environment):
        allowed = _POD_PREFIXES if at[-1] == "pod_cidr" else _VPC_PREFIXES
        if network.prefixlen not in allowed:
            yield Finding(
                at,
                f"{network} ({name}) has a prefix of /{network.prefixlen}",
                f"take /{allowed.start} to /{allowed.stop - 1}, which is what AWS and its subnets allow",
            )
        elif not network.is_private and not network.subnet_of(IPv4Network("100.64.0.0/10")):
            yield Finding(
                at, f"{network} ({name}) is a public range", "take one of 10/8, 172.16/12, 192.168/16, 100.64/10"
            )


def _existing_subnets(environment: Environment, today: date) -> Iterator[Finding]:
    for number, region in enumerate(environment.regions):
        for workload, vpc in (("ml", region.ml), ("data", region.data)):
            subnets = len(vpc.existing_private_subnet_ids)
            if vpc.existing_vpc_id is not None and subnets != len(region.zones):
                yield Finding(
                    ("regions", number, workload, "existing_vpc_id"),
                    f"names {subnets} existing subnets for {len(region.zones)} zones",
                    "list existing_private_subnet_ids, one for each zone, in their order",
                )
            yield from _existing_vpc(vpc, len(region.zones), ("regions", number, workload))


def _existing_vpc(vpc: Vpc, zones: int, at: KeyPath) -> Iterator[Finding]:
    named = {
        "existing_private_subnet_ids": len(vpc.existing_private_subnet_ids),
        "existing_pod_subnet_ids": len(vpc.existing_pod_subnet_ids),
        "existing_private_route_table_ids": len(vpc.existing_private_route_table_ids),
    }
    if vpc.existing_vpc_id is None:
        for key in [item for item, count in named.items() if count]:
            yield Finding((*at, key), f"names {key} and no existing VPC", "name existing_vpc_id too")
        return
    if not named["existing_private_route_table_ids"]:
        yield Finding(
            (*at, "existing_vpc_id"),
            "names no route tables: the VPCs could not reach each other",
            "list existing_private_route_table_ids, each once",
        )
    if named["existing_pod_subnet_ids"] not in {0, zones}:
        yield Finding(
            (*at, "existing_pod_subnet_ids"),
            f"names {named['existing_pod_subnet_ids']} subnets for pods and {zones} zones",
            "list one for each zone, in their order, or none",
        )


def _kubernetes_supported(environment: Environment, today: date) -> Iterator[Finding]:
    version = environment.kubernetes.version
    support = support_of(version, today)
    at: KeyPath = ("kubernetes", "version")
    current = [item for item in EKS_VERSIONS if support_of(item, today) is Support.STANDARD]
    newer = f"take one of {', '.join(current)}" if current else "ask AWS which are supported now"
    if support is Support.UNKNOWN:
        yield Finding(at, f"EKS {version} is not known here", newer)
    elif support is Support.ENDED:
        yield Finding(at, f"EKS {version} is out of support since {EKS_VERSIONS[version].extended_until}", newer)
    elif support is Support.EXTENDED and not environment.kubernetes.allow_extended_support:
        yield Finding(
            at,
            f"EKS {version} is out of standard support since {EKS_VERSIONS[version].standard_until} and costs 0.60 USD an hour",
            f"{newer}, or set kubernetes.allow_extended_support",
        )


def _endpoint_closed(environment: Environment, today: date) -> Iterator[Finding]:
    for number, network in enumerate(environment.kubernetes.public_endpoint_cidrs):
        if network.prefixlen < 16:
            yield Finding(
                ("kubernetes", "public_endpoint_cidrs", number),
                f"{network} lets {network.num_addresses:,} addresses reach the API server",
                "name your own ranges, /16 or narrower, or none",
            )


def _pools_once(environment: Environment, today: date) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, pool in enumerate(environment.pools):
        if pool.name in seen:
            yield Finding(("pools", number, "name"), f"pool '{pool.name}' stands twice", "give each its own name")
        seen.add(pool.name)
    for region in environment.regions:
        system = [
            item for item in environment.pools if item.kind is PoolKind.SYSTEM and environment.region_of(item) is region
        ]
        if not system:
            yield Finding(
                ("pools",), f"region {region.name} has no system pool", "add a pool of kind 'system', 2 nodes at least"
            )


def _pools_placed(environment: Environment, today: date) -> Iterator[Finding]:
    names = [item.name for item in environment.regions]
    for number, pool in enumerate(environment.pools):
        if pool.region is not None and pool.region not in names:
            yield Finding(
                ("pools", number, "region"),
                f"region {pool.region} is none of this environment's",
                f"take {', '.join(names)}",
            )
            continue
        region = environment.region_of(pool)
        for place, zone in enumerate(pool.zones):
            if zone not in region.zones:
                yield Finding(
                    ("pools", number, "zones", place),
                    f"zone {zone} is none of region {region.name}'s",
                    f"take one of {', '.join(region.zones)}",
                )
        if pool.efa and len(pool.zones) != 1:
            yield Finding(
                ("pools", number, "efa"), "EFA needs all nodes in one zone", "name exactly one zone for this pool"
            )


def _pools_sized(environment: Environment, today: date) -> Iterator[Finding]:
    for number, pool in enumerate(environment.pools):
        at: KeyPath = ("pools", number, "maximum")
        if not pool.minimum <= pool.desired <= pool.maximum:
            yield Finding(
                at,
                f"{pool.minimum} <= {pool.desired} <= {pool.maximum} does not hold",
                "minimum <= desired <= maximum",
            )
        if pool.kind is PoolKind.SYSTEM and pool.manager is Manager.KARPENTER:
            yield Finding(
                ("pools", number, "manager"), "Karpenter itself runs on system nodes", "set manager: node_group"
            )
        if pool.kind is PoolKind.SYSTEM and pool.minimum < 2 and not environment.emulated:
            yield Finding(
                ("pools", number, "minimum"), "a system pool of fewer than 2 nodes stops with one of them", "take 2"
            )


def _capacity_complete(pool: Pool, number: int) -> Iterator[Finding]:
    reserved = pool.capacity in {Capacity.RESERVED, Capacity.CAPACITY_BLOCK}
    if reserved and pool.reservation_id is None:
        yield Finding(
            ("pools", number, "capacity"),
            f"capacity is {pool.capacity.value} and no reservation is named",
            "set reservation_id: cr-...",
        )
    if not reserved and pool.reservation_id is not None:
        yield Finding(
            ("pools", number, "reservation_id"),
            f"a reservation is named and capacity is {pool.capacity.value}",
            "set capacity: reserved, or capacity_block",
        )
    if pool.placement_group is not None and pool.capacity is not Capacity.RESERVED:
        yield Finding(
            ("pools", number, "placement_group"),
            f"a placement group of others is named and capacity is {pool.capacity.value}",
            "remove it: with efa, this pool gets its own",
        )
    if pool.capacity is Capacity.CAPACITY_BLOCK and len(pool.zones) != 1:
        yield Finding(("pools", number, "zones"), "a Capacity Block lies in one zone", "name exactly that one")


def _qualcomm_complete(pool: Pool, number: int) -> Iterator[Finding]:
    if pool.kind is not PoolKind.QUALCOMM:
        return
    if pool.ami_id is None:
        yield Finding(
            ("pools", number),
            f"pool '{pool.name}' has no machine image: no EKS image has the Cloud AI 100 driver",
            "build one with the vendor's driver and set ami_id",
        )
    if pool.manager is Manager.KARPENTER:
        yield Finding(
            ("pools", number, "manager"),
            "Karpenter knows no qualcomm.com/qaic capacity: a pending pod would bring no node",
            "set manager: node_group",
        )
    if any(not item.startswith("dl2q.") for item in pool.instance_types):
        yield Finding(
            ("pools", number, "instance_types"), "only dl2q instances carry Cloud AI 100", "take dl2q.24xlarge"
        )


def _pools_alike(environment: Environment, today: date) -> Iterator[Finding]:
    """One launch template serves all types of a pool: they must boot the same image and have the same cards."""
    for number, pool in enumerate(environment.pools):
        at: KeyPath = ("pools", number, "instance_types")
        if len({is_arm(item) for item in pool.instance_types}) > 1:
            yield Finding(at, "mixes x86 and Graviton: no image runs on both", "make two pools")
        if pool.kind is PoolKind.NVIDIA:
            for place, item in enumerate(pool.instance_types):
                if not (accelerator_of(item) or "").startswith("nvidia-"):
                    yield Finding(
                        (*at, place), f"{item} is no type with NVIDIA accelerators known here", "take p5, p6, g6e or so"
                    )
        if pool.capacity is Capacity.CAPACITY_BLOCK and len(pool.instance_types) > 1:
            yield Finding(at, "a Capacity Block is of one instance type", "name exactly that one")
        if not pool.efa:
            continue
        layouts = {item: efa_layout(item) for item in pool.instance_types}
        for place, (item, layout) in enumerate(layouts.items()):
            if layout is None:
                yield Finding(
                    (*at, place), f"{item} has no EFA cards known here", "set efa: false, or take another type"
                )
        if None not in layouts.values() and len(set(layouts.values())) > 1:
            yield Finding(at, "these types differ in their EFA cards", "make a pool for each")


def _pools_complete(environment: Environment, today: date) -> Iterator[Finding]:
    for number, pool in enumerate(environment.pools):
        yield from _capacity_complete(pool, number)
        yield from _qualcomm_complete(pool, number)
        if pool.exception is not None:
            try:
                ends = date.fromisoformat(pool.exception.expires)
            except ValueError:
                yield Finding(("pools", number, "exception", "expires"), "is no day", "write it as 2027-01-31")
                continue
            if ends < today:
                yield Finding(
                    ("pools", number, "exception", "expires"),
                    f"the exception of pool '{pool.name}' ended on {ends}",
                    "go to spot, or renew the exception with its reason",
                )


def _data_complete(environment: Environment, today: date) -> Iterator[Finding]:
    for missing in [item for item in DataClass if item not in environment.data.buckets]:
        yield Finding(("data", "buckets"), f"data class '{missing.value}' has no bucket", f"add `{missing.value}:`")
    if environment.data.replica_region == environment.main_region.name:
        yield Finding(
            ("data", "replica_region"), "is the main region: a copy there is lost with it", "name another region"
        )
    for name, bucket in environment.data.buckets.items():
        at: KeyPath = ("data", "buckets", name.value)
        if bucket.lock_days is not None and bucket.expire_days is not None and bucket.expire_days < bucket.lock_days:
            yield Finding(
                (*at, "expire_days"),
                f"objects of '{name.value}' expire after {bucket.expire_days} days and are locked for {bucket.lock_days}",
                "expire later than the lock ends",
            )
        if None not in (bucket.archive_days, bucket.expire_days) and bucket.archive_days >= bucket.expire_days:  # type: ignore[operator]  # both are numbers
            yield Finding(
                (*at, "archive_days"), "objects expire before they are archived", "archive earlier, or not at all"
            )
    releases = environment.data.buckets.get(DataClass.RELEASES)
    if releases is not None and releases.existing_bucket is None and releases.lock_days is None:
        yield Finding(
            ("data", "buckets", "releases"),
            "released bundles are not locked",
            "set lock_days: nobody may change a release",
        )


def _lifecycle_once(environment: Environment, today: date) -> Iterator[Finding]:
    for name, bucket in environment.data.buckets.items():
        at: KeyPath = ("data", "buckets", name.value)
        if bucket.lifecycle_file is not None and (bucket.expire_days or bucket.archive_days):
            key = "expire_days" if bucket.expire_days else "archive_days"
            yield Finding(
                (*at, key), "stands beside lifecycle_file, which decides it", f"remove {key}, or lifecycle_file"
            )
        if bucket.existing_bucket is not None and (bucket.replicate or bucket.lock_days or bucket.lifecycle_file):
            yield Finding(
                (*at, "existing_bucket"),
                "others made this bucket: its lock, its rules and its copy are theirs",
                "remove replicate, lock_days and lifecycle_file",
            )


def _backup_uses(environment: Environment) -> Iterator[tuple[KeyPath, str]]:
    yield ("database", "backup_tier"), environment.database.backup_tier
    if environment.kubernetes.backup_tier is not None:
        yield ("kubernetes", "backup_tier"), environment.kubernetes.backup_tier
    for name, bucket in environment.data.buckets.items():
        if bucket.backup_tier is not None:
            yield ("data", "buckets", name.value, "backup_tier"), bucket.backup_tier


def _backups_known(environment: Environment, today: date) -> Iterator[Finding]:
    tiers = environment.backups
    used = list(_backup_uses(environment))
    for at, tier in used:
        if tier not in tiers:
            yield Finding(
                at, f"backup tier '{tier}' is none of this environment's", f"take {', '.join(tiers) or 'one'}"
            )
    for name, tier_of in tiers.items():
        if name not in {tier for _, tier in used}:
            yield Finding(
                ("backups", name), f"nothing is backed up by tier '{name}'", "name it as a backup_tier, or remove it"
            )
        # Source: AWS Backup, "Continuous backups and point-in-time recovery": 35 days at most.
        if tier_of.rpo_hours == 1 and tier_of.keep_days > MAX_CONTINUOUS_DAYS:
            yield Finding(
                ("backups", name, "keep_days"),
                f"an hour's loss at most needs continuous backups, which are kept {MAX_CONTINUOUS_DAYS} days at most",
                f"take keep_days: {MAX_CONTINUOUS_DAYS}, or rpo_hours: 2",
            )


def _database_complete(environment: Environment, today: date) -> Iterator[Finding]:
    if environment.database.max_storage_gib < environment.database.storage_gib:
        yield Finding(("database", "max_storage_gib"), "is less than storage_gib", "take at least as much")
    if environment.database.backup_region == environment.main_region.name:
        yield Finding(("database", "backup_region"), "is the main region: a copy there is lost with it", "name another")


def _budgets_once(environment: Environment, today: date) -> Iterator[Finding]:
    named = [item.account for item in environment.governance.budgets]
    for number, account in enumerate(named):
        if account in named[:number]:
            yield Finding(
                ("governance", "budgets", number, "account"), f"'{account.value}' has two budgets", "keep one of them"
            )
    for account in Account:
        if account not in named:
            yield Finding(("governance", "budgets"), f"account '{account.value}' has no budget", "add one")


def _closed_network(environment: Environment, today: date) -> Iterator[Finding]:
    for number, region in enumerate(environment.regions):
        if region.nat is Nat.NONE and region.name != environment.main_region.name:
            yield Finding(
                ("regions", number, "nat"),
                f"without NAT, {region.name} cannot reach the buckets and the database's password, which lie in"
                f" {environment.main_region.name}: endpoints lead to their own region alone",
                "set nat: one, or per_zone, in every region but the first",
            )
        if region.nat is Nat.NONE and region.interface_endpoints != "auto":
            missing = [item for item in CLOSED_ENDPOINTS if item not in region.interface_endpoints]
            if missing:
                yield Finding(
                    ("regions", number, "interface_endpoints"),
                    f"without NAT, nodes cannot reach {', '.join(missing)}",
                    "add them, or say `auto`",
                )


def _emulated_provider(environment: Environment, today: date) -> Iterator[Finding]:
    if environment.emulated and environment.aws_provider != _EMULATOR_VERSION:
        yield Finding(
            ("aws_provider",),
            "the emulator is tested with one provider version",
            f"set aws_provider: {_EMULATOR_VERSION}",
        )


# What nodes and the cluster's controllers call, so what a closed network cannot do without.
# Source: AWS, "Deploy private clusters with limited internet access", read 2026-11-20; `ssm` is where Karpenter reads which
# image an alias means: aws/karpenter 1157, read 2026-11-30.
CLOSED_ENDPOINTS = (
    "ec2",
    "ecr.api",
    "ecr.dkr",
    "eks",
    "eks-auth",
    "elasticloadbalancing",
    "autoscaling",
    "kms",
    "logs",
    "secretsmanager",
    "sqs",
    "ssm",
    "sts",
)

RULES: tuple[Rule, ...] = (
    _accounts_differ,
    _regions_once,
    _zones_in_region,
    _ranges_apart,
    _ranges_fit,
    _existing_subnets,
    _kubernetes_supported,
    _endpoint_closed,
    _pools_once,
    _pools_placed,
    _pools_sized,
    _pools_alike,
    _pools_complete,
    _data_complete,
    _lifecycle_once,
    _backups_known,
    _database_complete,
    _budgets_once,
    _closed_network,
    _emulated_provider,
)
