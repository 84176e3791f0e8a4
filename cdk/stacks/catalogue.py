"""Every stack of an environment, in the order in which each takes from those before it."""

from __future__ import annotations

from cdktn import App

from cdk.model import Account, Environment, Region, Workload
from cdk.stacks.backup import Backup, tiers_of
from cdk.stacks.base import PlatformStack
from cdk.stacks.cluster import ClusterStack
from cdk.stacks.data_lake import DataLake
from cdk.stacks.edge import Edge
from cdk.stacks.governance import Governance
from cdk.stacks.karpenter import Karpenter
from cdk.stacks.metadata import Metadata
from cdk.stacks.network import NetworkCore, WorkloadNetwork
from cdk.stacks.peering import NetworkPeering
from cdk.stacks.pools import Pools
from cdk.stacks.shared import Shared

Networks = dict[tuple[str, Workload], WorkloadNetwork]


def build_stacks(app: App, environment: Environment) -> list[PlatformStack]:
    """Build all stacks of an environment."""
    governance = _governance(app, environment)
    stacks: list[PlatformStack] = list({id(item): item for item in governance.values()}.values())
    networks = _networks(app, environment, stacks)
    main = environment.main_region
    stacks.append(DataLake(app, environment))
    stacks.append(Metadata(app, environment, networks[main.name, Workload.DATA], governance[Account.DATA]))
    stacks.append(Edge(app, environment))
    for region in environment.regions:
        stacks.append(Shared(app, environment, region))
        stacks += _cluster(app, environment, region, networks[region.name, Workload.ML], governance[Account.ML])
    return stacks + _backups(app, environment, governance)


def _governance(app: App, environment: Environment) -> dict[Account, Governance]:
    """Build one stack for each account id, and return it for every account that has this id."""
    by_id: dict[str, Governance] = {}
    for account in Account:
        number = environment.accounts.of(account)
        if number not in by_id:
            # The management account comes first, and no other has its id: the rules see to that.
            management = by_id.get(environment.accounts.management)
            by_id[number] = Governance(app, environment, account, management)
    return {account: by_id[environment.accounts.of(account)] for account in Account}


def _networks(app: App, environment: Environment, stacks: list[PlatformStack]) -> Networks:
    networks: Networks = {}
    for region in environment.regions:
        core = NetworkCore(app, environment, region.name)
        stacks.append(core)
        for workload in Workload:
            networks[region.name, workload] = WorkloadNetwork(app, environment, region, workload, core)
            stacks.append(networks[region.name, workload])
    for region in environment.regions:
        reached = [networks[region.name, Workload.DATA]]
        if region is not environment.main_region:
            reached.append(networks[environment.main_region.name, Workload.DATA])
        stacks.append(NetworkPeering(app, environment, region, networks[region.name, Workload.ML], reached))
    return networks


def _cluster(
    app: App, environment: Environment, region: Region, network: WorkloadNetwork, governance: Governance
) -> list[PlatformStack]:
    cluster = ClusterStack(app, environment, region, network)
    pools = Pools(app, environment, region, network=network, cluster=cluster)
    return [cluster, pools, Karpenter(app, environment, region, cluster, governance)]


def _backups(app: App, environment: Environment, governance: dict[Account, Governance]) -> list[PlatformStack]:
    found: list[PlatformStack] = []
    places = [(Account.DATA, environment.main_region), *((Account.ML, item) for item in environment.regions)]
    for account, region in places:
        tiers = tiers_of(environment, account)
        if tiers:
            found.append(
                Backup(
                    app,
                    environment,
                    account=account,
                    region=region.name,
                    tiers=tiers,
                    governance=governance[account],
                )
            )
    return found
