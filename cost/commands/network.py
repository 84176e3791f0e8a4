"""`drivetrain cost network`: who sends to whom across zones, what that costs, and what would cost less."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platform_lib.options import JsonOption

if TYPE_CHECKING:
    from cost.network.reading_documents import Sources, Surroundings
    from cost.network.telling import Told


def network(
    flows: Annotated[
        list[Path], typer.Argument(metavar="FLOWS", help="VPC flow logs: files, folders; text, gz, Parquet.")
    ],
    pods: Annotated[
        list[str],
        typer.Option("--pods", help="`kubectl get pods -A -o json`, FILE or FILE@TIME; repeat it for snapshots."),
    ],
    nodes: Annotated[list[Path], typer.Option("--nodes", help="`kubectl get nodes -o json`.")],
    enis: Annotated[
        list[Path] | None,
        typer.Option(
            "--enis",
            help="`aws ec2 describe-network-interfaces`, also `describe-vpc-endpoints`; repeat it.",
            show_default=False,
        ),
    ] = None,
    services: Annotated[
        list[Path] | None, typer.Option("--services", help="`kubectl get services -A -o json`.", show_default=False)
    ] = None,
    volumes: Annotated[
        list[Path] | None,
        typer.Option(
            "--volumes", help="`kubectl get pv -o json`; without it pods with volumes stay.", show_default=False
        ),
    ] = None,
    zones: Annotated[
        Path | None,
        typer.Option("--zones", help="`aws ec2 describe-availability-zones`: names to ids.", show_default=False),
    ] = None,
    ip_ranges: Annotated[
        Path | None, typer.Option("--ip-ranges", help="AWS's ip-ranges.json: which is S3.", show_default=False)
    ] = None,
    fields: Annotated[
        str | None, typer.Option("--format", help="Fields of logs without a header.", show_default=False)
    ] = None,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="A snapshot of your own; this release's newest.", show_default=False)
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Whose prices; the nodes' own.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A folder for patches, proposals and the whole as JSON.", show_default=False),
    ] = None,
    keep_zones: Annotated[
        int, typer.Option("--keep-zones", min=1, help="Workloads stay in as many zones as today, up to so many.")
    ] = 3,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="For the placement, of the processor.")] = 60.0,
    top: Annotated[int, typer.Option("--top", min=1, help="How many pairs are shown.")] = 15,
    *,
    as_json: JsonOption = False,
) -> None:
    """Add up who sends to whom across zones, price it, and place pods so that less crosses."""
    from cost.network.reading_documents import Sources
    from cost.network.telling import document_of, show
    from cost.network.writing import write_files
    from platform_lib.console import print_json

    sources = Sources(pods, nodes, enis or (), services or (), volumes or (), zones, ip_ranges)
    told = _tell(
        flows, sources, fields=fields, prices=prices, region=region, out=out, keep_zones=keep_zones, seconds=seconds
    )
    if out is not None:
        patches = () if told.found is None else told.found.patches
        write_files(out, patches, told.proposals, document_of(told, top=len(told.costed.pairs)))
    if as_json:
        print_json(document_of(told, top=top))
    else:
        show(told, top=top)


def _tell(
    flows: list[Path], sources: Sources, *, fields: str | None, prices: Path | None, region: str | None, out: Path | None,
    keep_zones: int, seconds: float,
) -> Told:  # fmt: skip
    from time import process_time

    from cost.network.addresses import AddressBook
    from cost.network.advice import proposals_of
    from cost.network.analysis import find_placement
    from cost.network.costing import Prices, cost_of
    from cost.network.ledger import Ledger
    from cost.network.placing import Cluster, make_placing
    from cost.network.reading_documents import read_surroundings
    from cost.network.reading_flows import read_logs
    from cost.network.telling import Told
    from cost.prices.snapshot import load, read_snapshot
    from platform_lib.console import progress

    around = read_surroundings(sources)
    where = region or _region(around)
    book = AddressBook(
        around.nodes,
        around.snapshots,
        interfaces=around.interfaces,
        ranges=around.ranges,
        ids=around.ids,
        region=where,
    )
    with progress("reading flow logs", None):
        ledger = Ledger(book)
        logs = read_logs(flows, ledger, fields=fields)
    traffic = ledger.settle()
    known = Prices(load() if prices is None else read_snapshot(prices), where)
    costed = cost_of(traffic, known, complete=logs.complete)
    newest = max(around.snapshots, key=lambda item: item.taken_s)
    cluster = Cluster(newest.pods, around.nodes, around.services, around.volumes)
    with progress("placing pods", None):
        placing = make_placing(cluster, traffic, factor=costed.factor, keep_zones=keep_zones)
        found = find_placement(
            cluster, placing, seconds=seconds, clock=process_time, folder=None if out is None else str(out)
        )
    taken = tuple(sorted(item.taken_s for item in around.snapshots))
    return Told(logs, traffic, costed, found, proposals_of(traffic, costed, found.placed), out, taken)


def _region(around: Surroundings) -> str | None:
    """Return the region that all nodes are in, by the names of their zones; None where they do not tell."""
    labels = {node.labels.get("topology.kubernetes.io/region") for node in around.nodes}
    labels |= {
        node.zone.name[:-1] for node in around.nodes if None in labels and node.zone is not None and node.zone.name
    }
    labels.discard(None)
    return next(iter(labels)) if len(labels) == 1 else None
