"""`drivetrain cost rightsize gpus`: what GPU pools do, and what would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cost.commands.rightsizing.asking import (
    DaysOption,
    PricesOption,
    PrometheusOption,
    ProposalsOption,
    RegionOption,
    StepOption,
    TokenOption,
    UntilOption,
    UsageOption,
)
from platform_lib.options import JsonOption

if TYPE_CHECKING:
    from cost.rightsize.gpu_pools import Advice, Pool


def gpus(
    usage: UsageOption = None,
    prometheus: PrometheusOption = None,
    nodes: Annotated[
        Path | None,
        typer.Option("--nodes", help="Of `kubectl get nodes -o json`: pools and types.", show_default=False),
    ] = None,
    pool_type: Annotated[
        list[str] | None,
        typer.Option("--pool-type", help="POOL=TYPE where no node list tells; repeat it.", show_default=False),
    ] = None,
    step: StepOption = 60.0,
    days: DaysOption = 14.0,
    until: UntilOption = None,
    token_file: TokenOption = None,
    region: RegionOption = "us-east-1",
    prices: PricesOption = None,
    proposals: ProposalsOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say which GPU nodes idle, which pools a smaller type would hold, and where pods could share a GPU."""
    from cost.commands.rightsizing.asking import book_of, neither, server_of, span_of, tell_broken, write_proposals
    from cost.prices.model import provenance
    from cost.rightsize.accelerators import TYPES, model_of
    from cost.rightsize.cluster_json import read_types
    from cost.rightsize.gpu_pools import advise, pools_by_name
    from cost.rightsize.gpu_reading import read_gpu_csv, read_gpu_prometheus
    from cost.rightsize.proposing import of_pools
    from platform_lib.console import OUT, print_json

    if (usage is None) == (prometheus is None):
        raise neither("duty")
    known = {} if nodes is None else read_types(nodes)
    measured = (
        read_gpu_csv(usage, step_s=step)
        if usage is not None
        else read_gpu_prometheus(server_of(prometheus or "", token_file), span_of(until, days, step, ".+"), known)
    )
    book = book_of(prices)
    pools = pools_by_name(measured.duties, _types(known, pool_type or ()))
    kinds = {*TYPES, *(pool.instance_type for pool in pools if pool.instance_type)}
    prices_known = {name: price for name in kinds if (price := book.on_demand(name, region)) is not None}
    priced = {name: price.usd for name, price in prices_known.items()}
    found = [(pool, advise(pool, priced, _model(pool, model_of))) for pool in pools]
    used = {pool.instance_type for pool in pools} | {item.to_type for _, advice in found for item in advice}
    origins = [price for name, price in sorted(prices_known.items()) if name in used]
    write_proposals(proposals, "gpus", of_pools((pool.name, advice[0]) for pool, advice in found), provenance(origins))
    if as_json:
        document: dict[str, Any] = {"format": "drivetrain-rightsize-gpus/1", "source": measured.source}
        document["prices"] = [
            {"meter": str(price.meter), "usd_per_hour": str(price.usd), "source": price.origin} for price in origins
        ]
        document["broken"] = measured.broken.document()
        document["pools"] = [_document(pool, advice) for pool, advice in found]
        print_json(document)
        return
    _show(found)
    if origins:
        OUT.print(f"prices of {'; '.join(provenance(origins))}", markup=False, highlight=False)
    tell_broken(measured.broken)


def _types(known: dict[str, tuple[str, str | None]], given: Sequence[str]) -> dict[str, str]:
    from platform_lib.errors import UsageError

    kinds: dict[str, set[str]] = {}
    for pool, kind in known.values():
        kinds.setdefault(pool, set()).add(kind or "")
    # A pool of several types has no one price, and stays unknown.
    found = {pool: names.copy().pop() for pool, names in kinds.items() if len(names) == 1 and "" not in names}
    for text in given:
        pool, equals, kind = text.partition("=")
        if not equals or not pool or not kind:
            raise UsageError(f"'{text}' names no type", where="--pool-type", remedy="such as train=p4d.24xlarge")
        found[pool] = kind
    return found


def _model(pool: Pool, model_of: Any) -> Any:
    models = {model_of(gpu.model) for gpu in pool.gpus.values()}
    return models.pop() if len(models) == 1 else None


def _document(pool: Pool, advice: Sequence[Advice]) -> dict[str, Any]:
    from cost.rightsize.gpu_pools import HIGH

    return {
        "pool": pool.name,
        "instance_type": pool.instance_type,
        "nodes": len(pool.nodes),
        "gpus": len(pool.gpus),
        "mean_duty": round(sum(gpu.mean for gpu in pool.gpus.values()) / len(pool.gpus), 4),
        "high_duty": max(gpu.quantile(HIGH) for gpu in pool.gpus.values()),
        "memory_peak_mib": max(gpu.memory_peak_mib for gpu in pool.gpus.values()),
        "advice": [
            {
                "kind": item.kind,
                "what": item.what,
                "saves_usd_a_month": None if item.saves_usd_a_month is None else float(item.saves_usd_a_month),
                "certainty": item.certainty,
                "refused": item.refused,
                "nodes": list(item.nodes),
                "to_type": item.to_type,
            }
            for item in advice
        ],
    }


def _show(found: Sequence[tuple[Pool, Sequence[Advice]]]) -> None:
    from cost.amount import money
    from platform_lib.table import Column, print_table

    rows = []
    for pool, advice in found:
        document = _document(pool, advice)
        for item in advice:
            saves = (
                "" if item.refused else "unknown" if item.saves_usd_a_month is None else money(item.saves_usd_a_month)
            )
            rows.append(
                [
                    pool.name,
                    pool.instance_type or "unknown",
                    str(document["gpus"]),
                    f"{document['mean_duty']:.0%}",
                    f"{document['memory_peak_mib'] / 1024:.1f}",
                    saves,
                    item.what if item.refused is None else f"{item.what}: {item.refused}",
                ]
            )
    titles = (
        ("pool", False),
        ("type", False),
        ("GPUs", True),
        ("duty", True),
        ("GiB", True),
        ("saves a month", True),
        ("what", False),
    )
    print_table(tuple(Column(title, right=right) for title, right in titles), rows)
