"""`make bench ONLY=rightsize`: our requests against VPA's and KRR's on held-out weeks, and packing against best fit on a real cluster.

Requests: fleets of six generated laws, as many containers of each; the last week is held out. "At equal risk": all of a method's
requests are multiplied by the one factor, found in hindsight, with which it misses exactly as many weeks as is allowed; what it asks for
then can be compared. Hindsight favours whoever needs the greatest factor.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cost.rightsize import krr, vpa
from cost.rightsize.cluster_csv import read_pods, read_shapes
from cost.rightsize.model import WEEK_S, Floats, Usage
from cost.rightsize.node_report import checked
from cost.rightsize.recommend import Bound, Risk, recommend
from cost.rightsize.weeks import level

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "builders"))
from usage_laws import LAWS, law_fleet

RISK = Risk()
WEEKS = 8
METHODS = ("ours", "VPA target", "VPA upper bound", "KRR")
GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class Sized:
    """One method on one resource.

    Attributes:
        method: Whose.
        resource: Of what.
        allowed: The stated chance of a miss.
        missed: The share of held-out weeks above what was asked for.
        asked: Cores or GiB, all containers together.
        factor: By which it has to be multiplied to miss as often as is allowed.
        asked_at_equal_risk: What it asks for then.
        worst_law: The law with most misses, and their share.
        containers: How many.
        seconds: What it took.
    """

    method: str
    resource: str
    allowed: float
    missed: float
    asked: float
    factor: float
    asked_at_equal_risk: float
    worst_law: str
    containers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Nodes:
    """The real cluster: how many nodes, how many pods left out."""

    name: str
    pods: int
    ours: tuple[int, int]
    best_fit: tuple[int, int]
    in_order: tuple[int, int]
    linear_bound: float
    least_unplaced: int
    seconds: float


def measure_requests(each: int, seeds: int, tell: Callable[[str], None]) -> list[Sized]:
    """Measure all methods over several fleets."""
    asked: dict[str, list[Floats]] = {method: [] for method in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    needed, laws = [], []
    for seed in range(seeds):
        fleet = law_fleet(each, weeks=WEEKS + 1, seed=100 + seed)
        week = round(WEEK_S / fleet[0].step_s)
        past = [replace(u, cpu_cores=u.cpu_cores[:-week], memory_bytes=u.memory_bytes[:-week]) for u in fleet]
        needed += [
            (level(u.cpu_cores[-week:], RISK.throttled_windows), float(u.memory_bytes[-week:].max())) for u in fleet
        ]
        laws += [u.key.workload.partition("/")[2].rpartition("-")[0] for u in fleet]
        for method in METHODS:
            begin = time.process_time()
            asked[method].append(_sizes(method, past))
            seconds[method] += time.process_time() - begin
        tell(f"rightsize: fleet {seed + 1} of {seeds}")
    came, law_of = np.asarray(needed), np.asarray(laws)
    return [
        _sized(
            method, resource, np.concatenate(asked[method])[:, at] / unit, came[:, at] / unit, law_of, seconds[method]
        )
        for at, (resource, unit) in enumerate((("cpu", 1.0), ("memory", GIB)))
        for method in METHODS
    ]


def _sizes(method: str, past: list[Usage]) -> Floats:
    if method == "ours":
        found = recommend(past, RISK)
        return np.asarray(
            [
                [item.value if isinstance(item, Bound) else math.nan for item in (each.cpu, each.memory)]
                for each in found
            ]
        )
    if method == "KRR":
        sizes = [krr.recommend(usage) for usage in past]
    else:
        both = [vpa.recommend(usage) for usage in past]
        sizes = [each.target if method == "VPA target" else each.upper for each in both]
    return np.asarray([[each.cpu_cores or math.nan, each.memory_bytes or math.nan] for each in sizes])


def _sized(method: str, resource: str, asked: Floats, came: Floats, laws: np.ndarray, seconds: float) -> Sized:
    allowed = RISK.throttled_chance if resource == "cpu" else RISK.oom_chance
    missed = came > asked
    ratio = np.sort(came / asked)
    factor = float(ratio[len(ratio) - 1 - math.floor(allowed * len(ratio))])
    by_law = {law: float(missed[laws == law].mean()) for law in LAWS}
    worst = max(by_law, key=by_law.__getitem__)
    total = float(asked.sum())
    return Sized(
        method, resource, allowed, float(missed.mean()), total, factor, factor * total, f"{worst} {by_law[worst]:.1%}",
        len(came), seconds,
    )  # fmt: skip


def measure_nodes(folder: Path, tell: Callable[[str], None], *, every: int) -> list[Nodes]:
    """Pack the real cluster's running pods, and all pods at once; of both every so-manieth."""
    shapes, _ = read_shapes(folder / "openb_node_list_gpu_node.csv")
    rows = []
    for name, phases in (("pods of phase Running", frozenset({"Running"})), ("all pods at once", frozenset[str]())):
        pods, _ = read_pods(folder / "openb_pod_list_default.csv", phases)
        pods = pods[::every]
        begin = time.process_time()
        found = checked(pods, shapes)
        sides = [(len(side.nodes), len(side.unplaced)) for side in (found.ours, found.best_fit, found.in_order)]
        spent = time.process_time() - begin
        rows.append(Nodes(name, len(pods), *sides, found.bound.least_cost, found.bound.least_unplaced, spent))
        tell(f"rightsize: {name} packed")
    return rows


def rightsize_table(sized: list[Sized], nodes: list[Nodes] | None) -> str:
    """Return both as text."""
    head = f"{'requests':<10}{'method':<17}{'missed':>8}{'allowed':>9}{'asked':>10}{'factor':>8}{'at equal risk':>15}  worst law"
    lines = [head]
    lines += [
        f"{row.resource:<10}{row.method:<17}{row.missed:>8.2%}{row.allowed:>9.0%}{row.asked:>10,.0f}{row.factor:>8.2f}"
        f"{row.asked_at_equal_risk:>15,.0f}  {row.worst_law}"
        for row in sized
    ]
    lines.append(
        f"{sized[0].containers} containers of {len(LAWS)} laws, {WEEKS} weeks of history, the week after held out; cores and GiB"
    )
    if nodes is None:
        return "\n".join([*lines, "", "nodes: not measured, the real cluster's lists are not here"])
    lines += [
        "",
        f"{'nodes (pods left out)':<24}{'pods':>6}{'ours':>12}{'best fit':>12}{'in order':>12}{'LP bound':>14}{'CPU s':>7}",
    ]
    for row in nodes:
        sides = "".join(f"{f'{count} ({out})':>12}" for count, out in (row.ours, row.best_fit, row.in_order))
        lines.append(
            f"{row.name:<24}{row.pods:>6}{sides}{f'{row.linear_bound:.1f} ({row.least_unplaced})':>14}{row.seconds:>7.0f}"
        )
    return "\n".join(lines)
