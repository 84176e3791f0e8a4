"""`drivetrain cost rightsize nodes`: on how few, or how cheap, nodes the pods would fit, and which nodes to empty."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cost.commands.rightsizing.asking import PricesOption, ProposalsOption, RegionOption
from platform_lib.options import JsonOption

if TYPE_CHECKING:
    from cost.prices.model import Book
    from cost.rightsize.consolidation import Move
    from cost.rightsize.model import BrokenRows
    from cost.rightsize.packing import Pod, Shape


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read: pods, shapes, how many nodes there are, moves if the pods' places are known, what was broken."""

    pods: tuple[Pod, ...]
    shapes: tuple[Shape, ...]
    present: int
    moves: tuple[Move, ...] | None
    broken: tuple[BrokenRows, ...]


def nodes(
    nodes_file: Annotated[
        Path, typer.Option("--nodes", help="Of `kubectl get nodes -o json`, or Alibaba's node list as CSV.")
    ],
    pods_file: Annotated[
        Path, typer.Option("--pods", help="Of `kubectl get pods -A -o json`, or Alibaba's pod list as CSV.")
    ],
    phase: Annotated[
        list[str] | None,
        typer.Option("--phase", help="Of the CSV's pods: Running; repeat it. All.", show_default=False),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--types", help="Buy these instead of using the nodes: 'g6.*'; repeat it.", show_default=False),
    ] = None,
    region: RegionOption = "us-east-1",
    prices: PricesOption = None,
    proposals: ProposalsOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Pack pods tighter than best fit, print the bound that nothing can beat, and say which nodes are worth emptying."""
    from cost.commands.rightsizing.asking import book_of, tell_broken, write_proposals
    from cost.rightsize.node_report import checked, document_of, shapes_to_buy
    from cost.rightsize.proposing import of_moves
    from platform_lib.console import print_json
    from platform_lib.errors import ConfigError

    book = book_of(prices)
    read = (
        _read_json(nodes_file, pods_file, book)
        if pods_file.suffix == ".json"
        else _read_csv(nodes_file, pods_file, phase)
    )
    shapes, unknown = (read.shapes, ()) if not types else shapes_to_buy(types, region, book)
    if not shapes:
        raise ConfigError(
            f"no type of {', '.join(types or ())} has a known price and size",
            where=region,
            remedy="see `drivetrain cost prices list`",
        )
    found = checked(read.pods, shapes)
    document = document_of(found, read.pods, None if types else read.present)
    document["unknown_types"] = list(unknown)
    document["moves"] = None if read.moves is None else [_move(move) for move in read.moves]
    document["broken"] = [each.document() for each in read.broken]
    origins = sorted({shape.price_source for shape in shapes if shape.price_source})
    write_proposals(proposals, "nodes", of_moves(read.moves or ()), origins)
    if as_json:
        print_json(document)
        return
    _show(document)
    tell_broken(*read.broken)


def _read_csv(nodes_file: Path, pods_file: Path, phases: list[str] | None) -> _Read:
    from cost.rightsize.cluster_csv import read_pods, read_shapes

    shapes, broken_nodes = read_shapes(nodes_file)
    pods, broken_pods = read_pods(pods_file, frozenset(phases or ()))
    return _Read(pods, shapes, sum(shape.most or 0 for shape in shapes), None, (broken_nodes, broken_pods))


def _read_json(nodes_file: Path, pods_file: Path, book: Book) -> _Read:
    from cost.rightsize.cluster_json import read_cluster
    from cost.rightsize.consolidation import Overfull, consolidate
    from platform_lib.errors import ConfigError

    cluster = read_cluster(nodes_file, pods_file, book)
    moves = consolidate(cluster.nodes, cluster.pods, cluster.shapes, cluster.disturbs)
    if isinstance(moves, Overfull):
        raise ConfigError(
            f"node {moves.node} holds more than it has: the two lists are not of one moment",
            where=pods_file,
            remedy="write both again, one right after the other",
        )
    return _Read(cluster.pods, cluster.shapes, len(cluster.nodes), moves, (cluster.broken,))


def _move(move: Move) -> dict[str, Any]:
    return {
        "node": move.node,
        "pool": move.pool,
        "pods": move.pods,
        "saves_usd_per_hour": None if move.saves_usd_per_hour is None else float(move.saves_usd_per_hour),
        "score": None if move.score is None else round(move.score, 4),
        "worth_it": move.worth_it,
    }


def _show(document: dict[str, Any]) -> None:
    from cost.rightsize.node_report import rows_of
    from platform_lib.console import ERR, OUT
    from platform_lib.table import Column, print_table

    titles = (("", False), ("nodes", True), ("USD/h", True), ("left out", True), ("of which", False))
    print_table(tuple(Column(title, right=right) for title, right in titles), rows_of(document))
    gap, saves = document["gap_to_bound"], document["saves"]
    if gap is not None:
        OUT.print(
            f"{gap:.1%} above the bound; checked: no node is overfull, every pod is in one place", highlight=False
        )
    if saves["nodes_of_best_fit"] is not None:
        usd = saves["usd_a_month_of_best_fit"]
        dollars = "dollars unknown: not every type has a price" if usd is None else f"${usd:,.2f} a month"
        OUT.print(f"against best fit, decreasing: {saves['nodes_of_best_fit']} nodes; {dollars}", highlight=False)
    for source in sorted({price["source"] for price in document["prices"]}):
        kinds = ", ".join(f"{p['type']} ${p['usd_per_hour']}" for p in document["prices"] if p["source"] == source)
        OUT.print(f"prices of {source}: {kinds} an hour", markup=False, highlight=False)
    for move in document["moves"] or ():
        verdict = (
            "unknown: prices are missing"
            if move["worth_it"] is None
            else "worth it"
            if move["worth_it"]
            else "not worth it"
        )
        score = "" if move["score"] is None else f", score {move['score']:.2f}"
        OUT.print(f"empty {move['node']} ({move['pods']} pods move{score}): {verdict}", highlight=False)
    if document["unknown_types"]:
        ERR.print(f"left out, price or size not known: {', '.join(document['unknown_types'])}", highlight=False)
