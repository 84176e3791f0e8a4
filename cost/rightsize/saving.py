"""What new requests save: nodes of one type that all pods need with the old requests, less those with the new ones. Pure.

A request saves nothing by itself: money goes with nodes. So both sides are packed, by the same best fit, onto the type that is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TypedDict

from cost.amount import money
from cost.plan.model import HOURS
from cost.prices.model import Book
from cost.rightsize.accelerators import shape_of
from cost.rightsize.model import MIB
from cost.rightsize.packing import Pod, best_fit
from cost.rightsize.recommend import Bound, Recommendation


class Saved(TypedDict):
    """What is saved, and how that was found; `usd_a_month` is None where it is not known."""

    nodes_now: int | None
    nodes_then: int | None
    usd_a_month: Decimal | None
    words: str
    how: str


def saving_of(found: Iterable[Recommendation], node_type: str | None, region: str, book: Book) -> Saved:
    """Return what the recommendations save on nodes of one type.

    Args:
        found: With what is requested today; containers of which that is not known keep what is recommended on both sides.
        node_type: The type; None: unknown.
        region: Of its price.
        book: Prices.
    """
    if node_type is None:
        return _unknown("name a node type to count nodes: --node-type m7i.4xlarge")
    shape = shape_of(node_type)
    if shape is None:
        return _unknown(f"{node_type} is not known to this release")
    pods: dict[tuple[str, str], list[Recommendation]] = {}
    for item in found:
        pods.setdefault((item.key.namespace, item.key.workload), []).append(item)
    now, then = (list(_pods(pods, then=then)) for then in (False, True))
    if not now:
        return _unknown("what is requested today is not known: --workloads")
    # GPUs are not what requests change: on these nodes only CPU and memory are counted.
    bare = replace(shape, gpus=0, model="")
    packed = [best_fit(side, (bare,)) for side in (now, then)]
    if packed[0].unplaced or packed[1].unplaced:
        return _unknown(f"{max(len(each.unplaced) for each in packed)} pods are larger than a {node_type}")
    counts = [len(each.nodes) for each in packed]
    price = book.on_demand(node_type, region)
    usd = None if price is None else (counts[0] - counts[1]) * price.usd * HOURS
    source = "its price is not known" if price is None else f"${price.usd}/h, {price.source}, {price.dated}"
    words = f"{counts[0]} nodes of {node_type} become {counts[1]}: {'unknown' if usd is None else money(usd)} a month"
    return Saved(
        nodes_now=counts[0],
        nodes_then=counts[1],
        usd_a_month=usd,
        words=words,
        how=f"{words} ({source}; {len(now)} pods by best fit)",
    )


def _unknown(why: str) -> Saved:
    return Saved(
        nodes_now=None, nodes_then=None, usd_a_month=None, words=f"unknown: {why}", how=f"Dollars unknown: {why}"
    )


def _pods(workloads: dict[tuple[str, str], list[Recommendation]], *, then: bool) -> Iterator[Pod]:
    for (namespace, workload), containers in workloads.items():
        asked = [item.requested for item in containers if item.requested is not None]
        if len(asked) < len(containers):
            continue
        sizes = [_size(item, then=then) for item in containers]
        cpu, memory = (sum(each) for each in zip(*sizes, strict=True))
        for number in range(max(each.replicas for each in asked)):
            yield Pod(f"{namespace}/{workload}/{number}", cpu, memory)


def _size(item: Recommendation, *, then: bool) -> tuple[int, int]:
    """Return milli CPU and MiB; what is refused stays as it is."""
    asked = item.requested
    cpu = (asked.cpu_request_cores if asked else None) or 0.0
    memory = (asked.memory_request_bytes if asked else None) or 0.0
    if then and isinstance(item.cpu, Bound):
        cpu = item.cpu.value
    if then and isinstance(item.memory, Bound):
        memory = item.memory.value
    return math.ceil(cpu * 1000 - 1e-6), math.ceil(memory / MIB - 1e-6)
