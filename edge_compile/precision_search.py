"""Which tensors need 16 bits for a model to stay within its tolerance, the fewest that do. Pure but for what it is given.

Quantization errors of single tensors add up nearly independently. So each tensor is first measured alone, in 8 bits with
every other in 16: what hurts most is widened first, and of this order the shortest beginning that reaches the tolerance
is found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

Measure = Callable[[frozenset[str]], float]
"""The worst output's SQNR in dB where these tensors have 16 bits and all others 8; infinite where there is no error."""


@dataclass(frozen=True, slots=True)
class Step:
    """One mix that was measured: how many tensors, in the order of their sensitivity, have 16 bits, and the SQNR."""

    wide: int
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found.

    Attributes:
        order: Every tensor, the most sensitive first.
        alone_db: Tensor -> the SQNR with it alone in 8 bits; what the budget left no time for is missing.
        steps: The mixes measured, by the number of wide tensors.
        wide: The tensors that need 16 bits.
        reached: Whether the tolerance is reached.
        stopped: Whether the budget ended the measuring of single tensors.
    """

    order: tuple[str, ...]
    alone_db: Mapping[str, float]
    steps: tuple[Step, ...]
    wide: tuple[str, ...]
    reached: bool
    stopped: bool


def search(
    tensors: Sequence[str],
    measure: Measure,
    tolerance_db: float,
    *,
    known: Mapping[str, float] | None = None,
    over_budget: Callable[[], bool] = lambda: False,
    note: Callable[[str, float], None] = lambda tensor, sqnr_db: None,
) -> Found:
    """Find the fewest tensors, in the order of their sensitivity, that have to have 16 bits.

    Args:
        tensors: The tensors to decide on.
        measure: See `Measure`.
        tolerance_db: The SQNR to reach.
        known: What an earlier search, ended midway, had measured of single tensors.
        over_budget: Asked before each single tensor: whether to stop there. A tensor that was not measured counts as
            the most sensitive, so that a short search gives a wider mix, never a worse one.
        note: Told of each single tensor that was measured.
    """
    alone = {name: sqnr_db for name, sqnr_db in (known or {}).items() if name in set(tensors)}
    everything, stopped = frozenset(tensors), False
    for name in tensors:
        if name in alone:
            continue
        if over_budget():
            stopped = True
            break
        alone[name] = measure(everything - {name})
        note(name, alone[name])
    order = tuple(sorted(tensors, key=lambda name: (alone.get(name, -inf), tensors.index(name))))
    measured: dict[int, float] = {}

    def reaches(count: int) -> bool:
        if count not in measured:
            measured[count] = measure(frozenset(order[:count]))
        return measured[count] >= tolerance_db

    low, high = 0, len(order)
    reached = reaches(high)
    if reaches(0):
        high, reached = 0, True
    while reached and low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle + 1, high)
    steps = tuple(Step(count, measured[count]) for count in sorted(measured))
    return Found(order, alone, steps, order[:high], reached, stopped)


def explain(found: Found, tensor: str, tolerance_db: float) -> str:
    """Say why a tensor is in 16 bits, or why 8 are enough."""
    alone = found.alone_db.get(tensor)
    place = f"place {found.order.index(tensor) + 1} of {len(found.order)} in sensitivity"
    measured = (
        "not measured before the budget ended, so it counts as sensitive"
        if alone is None
        else (f"alone in 8 bits it leaves {alone:.1f} dB, {place}")
    )
    if tensor not in found.wide:
        return f"8 bits are enough: {measured}"
    if not found.reached:
        return f"16 bits: {measured}; even with every tensor in 16 bits {tolerance_db:g} dB are not reached"
    before = [step for step in found.steps if step.wide < len(found.wide)]
    fewer = (
        f"; with {before[-1].wide} wide tensors instead of {len(found.wide)} the model has {before[-1].sqnr_db:.1f} dB"
    )
    return f"16 bits: {measured}{fewer if before else ''}, and {tolerance_db:g} dB are asked"
