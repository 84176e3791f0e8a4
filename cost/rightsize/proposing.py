"""Right-sizing as proposals for `drivetrain cost report`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from cost.plan.model import HOURS
from cost.report.proposals import Proposal, ProposalFile, Saving
from cost.rightsize.consolidation import Move
from cost.rightsize.gpu_pools import Advice
from cost.rightsize.recommend import Risk
from cost.rightsize.showing import promise

_CENT = Decimal("0.01")
SOURCE = "drivetrain cost rightsize"


def saving(usd: Decimal | None) -> Saving:
    """Return a saving of which only the expected amount is known, or nothing."""
    return Saving(expected=None if usd is None else usd.quantize(_CENT))


def file_of(what: str, proposals: Iterable[Proposal], prices: Iterable[str]) -> ProposalFile:
    """Return the file of one command, with the sources of its prices."""
    return ProposalFile(
        format="drivetrain-proposals/1", source=f"{SOURCE} {what}", prices=tuple(prices), proposals=tuple(proposals)
    )


def of_requests(
    risk: Risk, command: str | None, workloads: int, usd: Decimal | None, how: str, refused: Mapping[str, Sequence[str]]
) -> Iterator[Proposal]:
    """Yield one proposal for all patches, as nodes go by all of them together, and one a reason for those refused."""
    words = promise(risk)
    if command is not None and workloads:
        yield Proposal(
            title=f"requests of {workloads} workloads to what they use",
            saves_usd=saving(usd),
            certainty=f"calibrated on held-out weeks: {words['cpu']}; {words['memory']}. {how}",
            command=command,
        )
    for reason, names in refused.items():
        yield Proposal(
            title=f"requests of {len(names)} containers, first {names[0]}",
            saves_usd=Saving(),
            certainty="no risk can be stated",
            refused=reason,
        )


def of_pools(found: Iterable[tuple[str, Advice]]) -> Iterator[Proposal]:
    """Yield a proposal for each pool's best advice; savings of one pool do not add up."""
    for pool, advice in found:
        yield Proposal(
            title=advice.what,
            saves_usd=saving(advice.saves_usd_a_month),
            certainty=advice.certainty,
            command=None if advice.refused else pool_command(pool, advice),
            refused=advice.refused,
        )


def pool_command(pool: str, advice: Advice) -> str:
    """Return what applies an advice."""
    if advice.kind == "idle":
        return f"kubectl drain {' '.join(advice.nodes)} --ignore-daemonsets --delete-emptydir-data"
    if advice.kind == "smaller-type":
        return (
            f"in cdk/environments/ENV.yaml give pool {pool} instance_types: [{advice.to_type}], then: make plan ENV=ENV"
        )
    replicas = advice.what.partition(": ")[2].partition(" pods")[0]
    setting = (
        "mig.strategy: mixed"
        if advice.kind == "mig"
        else f"sharing.timeSlicing.resources: [{{name: nvidia.com/gpu, replicas: {replicas}}}]"
    )
    return f"in the NVIDIA device plugin's configuration of pool {pool}: {setting}"


def of_moves(moves: Sequence[Move]) -> Iterator[Proposal]:
    """Yield a proposal for each node that can be emptied, or why that is not worth it."""
    for move in moves:
        usd = None if move.saves_usd_per_hour is None else move.saves_usd_per_hour * HOURS
        refused = None
        if move.score is None:
            refused = "a price of its pool is not known, so that savings cannot be held against disruption"
        elif not move.worth_it:
            refused = (
                f"{move.pods} pods would move; savings fraction / disruption fraction is {move.score:.2f}, below 0.5"
            )
        score = "" if move.score is None else f"Karpenter's Balanced score {move.score:.2f}; "
        yield Proposal(
            title=f"empty node {move.node} ({move.pool or 'no pool'}) into the others",
            saves_usd=saving(usd),
            certainty=f"{score}every pod was found a place by its requests; affinity, spreading and budgets were not looked at",
            command=None if refused else f"kubectl drain {move.node} --ignore-daemonsets --delete-emptydir-data",
            refused=refused,
        )
