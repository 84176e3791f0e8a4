"""`make bench ONLY=network`: how little crosses zones on graphs of several kinds of systems, how surely, how fast.

Each placement is held against the checker, which knows nothing of the solver.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cost.network.placement.checker import broken
from cost.network.placement.solving import place
from cost.network.placement.spreading import even_spread
from tests.bench.network_graphs import FAMILIES

SIZES = (30, 60, 120)
MOST_SECONDS = 60.0
MOST_SHARE = 0.25
_FREE_FAMILIES = frozenset({"shapeless"})
"""Of these nothing is asked: no placement can do it. They are measured all the same."""


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One graph.

    Attributes:
        family: Its kind.
        units: How many units it has.
        seconds: Of the processor, one thread.
        wall_s: By the wall.
        gap: How much less could cross at best, as a share of what crosses.
        share_of_all: What crosses, of all bytes.
        share_of_even: What crosses, of what crosses in an even spread.
        asked: The most of it; None where nothing is asked.
        method: What found it.
        faults: What the checker objects to.
    """

    family: str
    units: int
    seconds: float
    wall_s: float
    gap: float
    share_of_all: float
    share_of_even: float
    asked: float | None
    method: str
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool | None:
        """Whether it is within what is asked; None where nothing is."""
        if self.faults:
            return False
        if self.asked is None:
            return None
        return self.share_of_even <= self.asked and self.seconds <= MOST_SECONDS


def measure_network(
    tell: Callable[[str], None], *, sizes: Sequence[int] = SIZES, seconds: float = 30.0
) -> list[NetworkRow]:
    """Place every graph; `seconds` is what each may take of the processor."""
    warm = FAMILIES["pipelines"](12, np.random.default_rng(0))
    place(warm, seconds=1.0, clock=time.process_time)  # what is compiled once on a machine is not a graph's time
    rows = []
    for family, make in FAMILIES.items():
        for size in sizes:
            problem = make(size, np.random.default_rng([zlib.crc32(family.encode()), size]))
            even, wall = even_spread(problem), time.perf_counter()
            found = place(problem, seconds=seconds, clock=time.process_time)
            faults = found.refused if found.placement is None else broken(problem, found.placement)
            asked = None if family in _FREE_FAMILIES else MOST_SHARE
            rows.append(
                NetworkRow(
                    family, len(problem.units), found.seconds, time.perf_counter() - wall, found.gap or 0.0,
                    found.crossing_bytes / problem.total, found.crossing_bytes / even, asked, found.method, faults,
                )
            )  # fmt: skip
            tell(
                f"network: {family}, {size} units: {rows[-1].share_of_even:.3f} of an even spread, gap {rows[-1].gap:.3f}"
            )
    return rows


def network_table(rows: Sequence[NetworkRow]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| graph | units | of an even spread | asked | holds? | of all bytes | gap | CPU s | found by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        asked = "-" if row.asked is None else f"<= {row.asked:g} in {MOST_SECONDS:g} s"
        holds = {None: "-", True: "holds", False: "NOT MET"}[row.holds]
        lines.append(
            f"| {row.family} | {row.units} | {row.share_of_even:.3f} | {asked} | {holds} | {row.share_of_all:.3f} | {row.gap:.3f} "
            f"| {row.seconds:.1f} | {row.method} |"
        )
        lines += [f"  fault: {text}" for text in row.faults]
    return "\n".join(lines)
