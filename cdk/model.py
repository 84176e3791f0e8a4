"""One environment, typed: accounts, regions, networks, pools, data, database, budgets.

What one value alone can tell is refused here; what takes two of them, in `cdk.rules`.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cdk.lifecycle import LifecycleDocument

AccountId = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
RegionName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
ZoneName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]
# Who pays and who works there: a tag's value, and a Kubernetes label's too, which allows less.
LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws:iam::[0-9]{12}:role/.+$")]
SubnetId = Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")]
Usd = Annotated[float, Field(strict=True, gt=0, le=1e9, allow_inf_nan=False)]
# What every service takes as a tag's value. Source: IAM, API reference, data type Tag: [\p{L}\p{Z}\p{N}_.:/=+\-@]*, 256 at most.
TagValue = Annotated[str, StringConstraints(pattern=r"^[\p{L}\p{N} _.:/=+@-]+$", max_length=256)]

# What stands for a value of another stack that is not known before that stack is applied.
StandIn = str | tuple[str, ...]


class Strict(BaseModel):
    """Refuses a misspelt key, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Account(StrEnum):
    """The accounts of one environment, by what they hold."""

    MANAGEMENT = "management"
    NETWORK = "network"
    SHARED = "shared"
    DATA = "data"
    ML = "ml"
    EDGE = "edge"


class Accounts(Strict):
    """Account ids. Two roles may share one account, so that a small team can begin with fewer."""

    management: AccountId
    network: AccountId
    shared: AccountId
    data: AccountId
    ml: AccountId
    edge: AccountId

    def of(self, account: Account) -> str:
        """Return an account's id, 12 digits."""
        return str(getattr(self, account.value))


class State(Strict):
    """Where Terraform's state lies; the bucket is made by `terraform/bootstrap`."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: RegionName
    kms_alias: Annotated[str, StringConstraints(pattern=r"^alias/.+$")]


class Nat(StrEnum):
    """How private subnets reach the internet."""

    PER_ZONE = "per_zone"
    ONE = "one"
    NONE = "none"  # a closed network: endpoints alone


class Workload(StrEnum):
    """A VPC's purpose; each lies in the account of the same name."""

    ML = "ml"
    DATA = "data"


class Vpc(Strict):
    """One VPC.

    Attributes:
        cidr: Its primary range.
        pod_cidr: A second range, for pods alone; None where no cluster runs in it.
        existing_vpc_id: Use this VPC, which others made, in place of a new one.
        existing_private_subnet_ids: One of its subnets for each zone, in the order of the region's zones.
        existing_pod_subnet_ids: One of its subnets for pods for each zone, where it has such.
        existing_private_route_table_ids: Their route tables, each once, for the routes between the VPCs.
    """

    cidr: IPv4Network
    pod_cidr: IPv4Network | None = None
    existing_vpc_id: Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$")] | None = None
    existing_private_subnet_ids: tuple[SubnetId, ...] = ()
    existing_pod_subnet_ids: tuple[SubnetId, ...] = ()
    existing_private_route_table_ids: tuple[
        Annotated[str, StringConstraints(pattern=r"^rtb-[0-9a-f]{8,17}$")], ...
    ] = ()


class Region(Strict):
    """A region that runs a cluster.

    Attributes:
        name: AWS's name.
        zones: The zones that subnets lie in, at least two.
        ml: The VPC of cluster and jobs.
        data: The VPC of the metadata database.
        nat: How private subnets reach the internet.
        interface_endpoints: Services reached without NAT, billed by zone and hour; `auto` takes what a closed network needs,
            or what the cluster uses most.
        existing_cluster_name: Use this cluster, which others made, in the VPC of `ml`.
    """

    name: RegionName
    zones: Annotated[tuple[ZoneName, ...], Field(min_length=2, max_length=6)]
    ml: Vpc
    data: Vpc
    nat: Nat = Nat.PER_ZONE
    interface_endpoints: Literal["auto"] | tuple[str, ...] = "auto"
    existing_cluster_name: Name | None = None


class PoolKind(StrEnum):
    """What a pool's nodes compute with."""

    SYSTEM = "system"
    CPU = "cpu"
    NVIDIA = "nvidia"
    QUALCOMM = "qualcomm"


class Capacity(StrEnum):
    """How nodes are bought."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"  # an On-Demand Capacity Reservation
    CAPACITY_BLOCK = "capacity_block"


class Manager(StrEnum):
    """Who makes a pool's nodes."""

    NODE_GROUP = "node_group"
    KARPENTER = "karpenter"


class Pool(Strict):
    """Nodes of one kind.

    Attributes:
        name: Unique within the environment; short, because AWS adds to it.
        kind: What they compute with.
        region: Where; the first region by default.
        instance_types: Alternatives, best first.
        capacity: How they are bought.
        manager: Who makes them.
        zones: Zones they may lie in; one alone for training across nodes.
        minimum: Nodes that always run.
        desired: Nodes now.
        maximum: Nodes at most.
        efa: Whether nodes talk over EFA; then they lie in one zone, in one placement group.
        reservation_id: The capacity reservation or block, where capacity is one.
        placement_group: The placement group that the reservation was made in, where it was made in one.
        ami_id: An own machine image, which starts by nodeadm as Amazon Linux 2023 does; Cloud AI 100 nodes need one, with
            the vendor's driver.
        disk_gib: The root volume, GiB.
        cost_center: Who pays.
        team: Who works there.
        exception: Why accelerators are bought on demand, until when: see the policy on spot.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,33}[a-z0-9]$")]
    kind: PoolKind
    region: RegionName | None = None
    instance_types: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")], ...], Field(min_length=1)
    ]
    capacity: Capacity = Capacity.ON_DEMAND
    manager: Manager = Manager.NODE_GROUP
    zones: tuple[ZoneName, ...] = ()
    minimum: Annotated[int, Field(strict=True, ge=0)] = 0
    desired: Annotated[int, Field(strict=True, ge=0)] = 0
    maximum: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    efa: bool = False
    reservation_id: Annotated[str, StringConstraints(pattern=r"^cr-[0-9a-f]{8,17}$")] | None = None
    placement_group: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    ami_id: Annotated[str, StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$")] | None = None
    disk_gib: Annotated[int, Field(strict=True, ge=20, le=16_384)] = 200
    cost_center: LabelValue
    team: LabelValue
    exception: PolicyException | None = None


class PolicyException(Strict):
    """Why a rule does not hold here, and until when.

    Attributes:
        reason: One sentence.
        expires: Last day, `2027-01-31`.
    """

    reason: Annotated[str, StringConstraints(min_length=10)]
    expires: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class Addon(StrEnum):
    """What EKS installs and keeps in every cluster."""

    VPC_CNI = "vpc-cni"
    COREDNS = "coredns"
    KUBE_PROXY = "kube-proxy"
    EBS_CSI = "aws-ebs-csi-driver"
    POD_IDENTITY = "eks-pod-identity-agent"


class Kubernetes(Strict):
    """The clusters of the environment.

    Attributes:
        version: EKS minor version.
        allow_extended_support: Pay 0.60 USD an hour for a version whose standard support has ended.
        public_endpoint_cidrs: Who may reach the API server from outside; none by default: private endpoint alone.
        admin_role_arns: IAM roles of the people who administer clusters.
        viewer_role_arns: IAM roles of the people who may look.
        log_retention_days: Control plane logs.
        addon_versions: Add-on versions in place of those `cdk.support` pins, as `v1.22.4-eksbuild.3`.
        backup_tier: The tier by which the cluster's state is backed up; None: it is made anew from code.
    """

    version: Annotated[str, StringConstraints(pattern=r"^1\.[0-9]{2}$")] = "1.35"
    allow_extended_support: bool = False
    public_endpoint_cidrs: tuple[IPv4Network, ...] = ()
    admin_role_arns: tuple[RoleArn, ...] = ()
    viewer_role_arns: tuple[RoleArn, ...] = ()
    # CloudWatch takes these numbers of days alone.
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827] = 90
    addon_versions: dict[
        Addon, Annotated[str, StringConstraints(pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+-eksbuild\.[0-9]+$")]
    ] = {}
    backup_tier: Name | None = None


class DataClass(StrEnum):
    """What a bucket holds, which decides how long and how safely."""

    RAW = "raw"
    DERIVED = "derived"
    SAMPLES = "samples"
    CHECKPOINTS = "checkpoints"
    RELEASES = "releases"


class Bucket(Strict):
    """One data class's bucket.

    Attributes:
        expire_days: Objects are deleted after this; None keeps them.
        archive_days: Objects go to Glacier Instant Retrieval after this; with Intelligent-Tiering those that nobody read
            for so long go to its archive tiers, after 90 and 180 days at least. None: neither.
        old_version_days: Versions that were replaced are deleted after this.
        intelligent_tiering: Whether new objects go to Intelligent-Tiering.
        replicate: Whether a second region keeps a copy.
        lock_days: Object lock, compliance mode, days; None: no lock.
        existing_bucket: Use this bucket, which others made.
        lifecycle_file: Rules that `drivetrain cost tiering` wrote, in place of the four above; relative to the file.
        lifecycle: What that file holds.
        backup_tier: The tier by which it is backed up, beside its versions and its copy; None: by those alone.
    """

    expire_days: Days | None = None
    archive_days: Days | None = None
    old_version_days: Days = 30
    intelligent_tiering: bool = True
    replicate: bool = False
    lock_days: Days | None = None
    existing_bucket: str | None = None
    lifecycle_file: str | None = None
    lifecycle: LifecycleDocument | None = None
    backup_tier: Name | None = None


class Data(Strict):
    """The buckets of every class, and where copies go."""

    buckets: dict[DataClass, Bucket]
    replica_region: RegionName


class Database(Strict):
    """The metadata database, RDS PostgreSQL.

    Attributes:
        instance_class: `db.r7g.large` and the like.
        storage_gib: Allocated, GiB.
        max_storage_gib: To which storage grows by itself, GiB.
        multi_az: Whether a standby runs in a second zone.
        backup_days: How far back point-in-time recovery reaches, days.
        backup_region: Where automated backups are copied to.
        engine_version: PostgreSQL's.
        backup_tier: The tier by which it is backed up.
    """

    instance_class: Annotated[str, StringConstraints(pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")]
    storage_gib: Annotated[int, Field(strict=True, ge=20, le=65_536)]
    max_storage_gib: Annotated[int, Field(strict=True, ge=20, le=65_536)]
    multi_az: bool = True
    backup_days: Annotated[int, Field(strict=True, ge=1, le=35)] = 14
    backup_region: RegionName
    engine_version: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}(\.[0-9]+)?$")] = "17.6"
    backup_tier: Name = "metadata"


class BackupTier(Strict):
    """How much may be lost, and how fast it is back, of one kind of data.

    Attributes:
        rpo_hours: Work lost at most: the time between two backups.
        rto_hours: Time until it is back at most; restore drills are held against it.
        keep_days: How long a backup is kept.
        copy_region: Whether a copy goes to the replica region.
    """

    rpo_hours: Annotated[int, Field(strict=True, ge=1, le=168)]
    rto_hours: Annotated[int, Field(strict=True, ge=1, le=168)]
    keep_days: Days
    copy_region: bool = True


class Budget(Strict):
    """A month's budget of one account.

    Attributes:
        account: Which.
        monthly_usd: The limit.
        warn_at_percent: Of the limit, actual or forecast.
    """

    account: Account
    monthly_usd: Usd
    warn_at_percent: tuple[Annotated[int, Field(strict=True, ge=1, le=1000)], ...] = (80, 100)


class Governance(Strict):
    """What watches the accounts.

    Attributes:
        budgets: One for each account.
        alarm_emails: Who hears of alarms, budgets and anomalies.
        anomaly_usd: How large an anomaly of cost is told.
        trail_retention_days: How long the record of API calls is kept.
        organization_trail: Whether the trail records every account of the organisation, or its own alone.
        config_recorder: Whether AWS Config records how resources change.
        guardduty: Whether GuardDuty watches.
        cost_tags_active: Whether cost reports are split by our tags. AWS knows a tag one day after the first resource
            carries it, and refuses to activate it before.
        backup_lock_days: Days until nobody, root included, can shorten or delete a backup any more; None: administrators
            may.
    """

    budgets: tuple[Budget, ...]
    alarm_emails: Annotated[tuple[Email, ...], Field(min_length=1)]
    anomaly_usd: Usd = 200.0
    trail_retention_days: Days = 400
    organization_trail: bool = True
    config_recorder: bool = True
    guardduty: bool = True
    cost_tags_active: bool = False
    backup_lock_days: Annotated[int, Field(strict=True, ge=3, le=365)] | None = None


class Tags(Strict):
    """Tags that cost allocation needs on everything; pools add their own cost centre and team."""

    owner: TagValue
    cost_center: TagValue
    data_classification: Literal["public", "internal", "confidential", "personal"] = "confidential"


class Environment(Strict):
    """One environment.

    Attributes:
        environment: Its name, that of the file.
        accounts: Account ids.
        deploy_role: The role that Terraform assumes in each account.
        aws_provider: Version constraint of the AWS provider.
        ci_role: Name pattern of the roles by which CI comes in, in the management account; `*` stands for the pipeline.
        ci_repository: The repository whose pipelines may plan and deploy, `owner/name`; None: no pipeline may.
        state: Where Terraform's state lies.
        regions: Where clusters run; the first is the main one.
        kubernetes: The clusters.
        pools: Their nodes.
        data: Buckets.
        database: Metadata.
        backups: Backup tiers by name.
        governance: Budgets, trails, alarms.
        tags: Tags on everything.
        emulated: Whether this runs against an emulator on loopback, which lacks some services.
    """

    environment: Name
    accounts: Accounts
    deploy_role: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+=,.@_-]{1,64}$")] = "drivetrain-deploy"
    ci_role: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+=,.@_*-]{1,64}$")] = "drivetrain-ci-*"
    ci_repository: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$")] | None = None
    aws_provider: Annotated[str, StringConstraints(pattern=r"^[0-9.,~><=! -]{1,60}$")] = "~> 6.0"
    state: State
    regions: Annotated[tuple[Region, ...], Field(min_length=1)]
    kubernetes: Kubernetes = Kubernetes()
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)]
    data: Data
    database: Database
    backups: dict[Name, BackupTier]
    governance: Governance
    tags: Tags
    emulated: bool = False

    @property
    def read_role(self) -> str:
        """The role in each account that plans and changes nothing; `terraform/account` makes both."""
        return f"{self.deploy_role}-read"

    @property
    def main_region(self) -> Region:
        """The first region: what exists once lies there."""
        return self.regions[0]

    def region_of(self, pool: Pool) -> Region:
        """Return the region of a pool; the main one where it names none, or one that `rules` will refuse."""
        return next((item for item in self.regions if item.name == pool.region), self.main_region)

    def pools_of(self, region: Region, manager: Manager) -> list[Pool]:
        """Return the pools of a region that one manager makes, in the file's order."""
        return [item for item in self.pools if self.region_of(item) is region and item.manager is manager]


Pool.model_rebuild()
