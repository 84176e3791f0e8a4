"""Which tensors need 16 bits, and which weights do with 4, for a model to stay within its tolerance. Pure but for what it is given.

Quantization errors of single tensors add up nearly independently. So each tensor is first measured alone, in 8 bits with
every other in 16: what hurts most is widened first, and of this order the shortest beginning that reaches the tolerance
is found by halving. Weights likewise: each alone in 4 bits, the ones that hurt least for the bytes they save first.

The fewest bits are not the least time: where widths meet, something converts. So the search gives several mixes, the uniform
precisions among them, and what they cost is for the compiler to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

_SHARES = (1 / 3, 2 / 3)


@dataclass(frozen=True, slots=True)
class Mix:
    """The tensors that have 16 bits, where others have 8, and the weights that have 4."""

    wide: frozenset[str]
    coarse: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Closeness:
    """How close a mix is to the float model.

    Attributes:
        sqnr_db: The worst output's; infinite where there is no error.
        loss: What the worst slice loses by the task's metric; None where there is no task.
        slice: That slice.
    """

    sqnr_db: float
    loss: float | None = None
    slice: str = "all"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a mix has to reach: so many dB, and so little loss on every slice where there is a task."""

    tolerance_db: float
    loss: float | None = None

    def enough(self, found: Closeness) -> bool:
        """Say whether a mix is within the tolerance."""
        kept = self.loss is None or (found.loss is not None and found.loss <= self.loss)
        return found.sqnr_db >= self.tolerance_db and kept

    def __str__(self) -> str:
        return f"{self.tolerance_db:g} dB" + (
            "" if self.loss is None else f" and a loss of {self.loss:.3g} in each slice"
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One mix that was measured: how many tensors, in the order of their sensitivity, have 16 bits, and the SQNR."""

    wide: int
    closeness: Closeness


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mix that is worth compiling, or that others are compared with."""

    name: str
    mix: Mix
    closeness: Closeness
    enough: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found.

    Attributes:
        order: Every tensor, the most sensitive first.
        alone: Tensor or weight -> the closeness with it alone in few bits; what the budget left no time for is missing.
        steps: The mixes measured, by the number of wide tensors.
        wide: The fewest tensors that need 16 bits.
        reached: Whether the tolerance is reached.
        stopped: Whether the budget ended the measuring.
        candidates: Uniform precisions and mixes.
    """

    order: tuple[str, ...]
    alone: Mapping[str, Closeness]
    steps: tuple[Step, ...]
    wide: tuple[str, ...]
    reached: bool
    stopped: bool
    candidates: tuple[Candidate, ...] = ()


Measure = Callable[[Mix], Closeness]
Note = Callable[[str, Closeness], None]
Widen = Callable[[frozenset[str]], frozenset[str]]


@dataclass(slots=True)
class _Search:
    """What one search asks with; each mix is measured once."""

    measure: Measure
    asked: Asked
    over_budget: Callable[[], bool]
    note: Note
    alone: dict[str, Closeness]
    stopped: bool = False
    measured: dict[Mix, Closeness] = field(default_factory=dict)

    def ask(self, mix: Mix) -> Closeness:
        if mix not in self.measured:
            self.measured[mix] = self.measure(mix)
        return self.measured[mix]

    def enough(self, mix: Mix) -> bool:
        return self.asked.enough(self.ask(mix))

    def measure_alone(self, names: Sequence[str], mix_of: Callable[[str], Mix]) -> None:
        for name in names:
            if name in self.alone:
                continue
            if self.over_budget():
                self.stopped = True
                return
            self.alone[name] = self.measure(mix_of(name))
            self.note(name, self.alone[name])

    def harm(self, name: str) -> tuple[float, float]:
        """Return what orders by sensitivity, the most sensitive first; what was not measured counts as that."""
        found = self.alone.get(name)
        return (-inf, -inf) if found is None else (-(found.loss or 0.0), found.sqnr_db)

    def fewest(self, order: Sequence[str], mix_of: Callable[[frozenset[str]], Mix]) -> int | None:
        """Return how long a beginning of an order is enough, by halving; None where all of it is not."""
        low, high = 0, len(order)
        if self.enough(mix_of(frozenset())):
            return 0
        if not self.enough(mix_of(frozenset(order))):
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.enough(mix_of(frozenset(order[:middle]))) else (middle + 1, high)
        return high


def search(
    tensors: Sequence[str],
    measure: Measure,
    asked: Asked,
    *,
    weights: Mapping[str, int] | None = None,
    widen: Widen = lambda wide: wide,
    known: Mapping[str, Closeness] | None = None,
    over_budget: Callable[[], bool] = lambda: False,
    note: Note = lambda tensor, closeness: None,
) -> Found:
    """Find the fewest tensors, in the order of their sensitivity, that have to have 16 bits, and mixes around them.

    Args:
        tensors: The tensors to decide on, in the order in which the model makes them.
        measure: Measures one mix.
        asked: What has to be reached.
        weights: Weights that may have 4 bits -> bytes that each saves.
        widen: Widens what lies between wide tensors, so that there is less to convert.
        known: What an earlier search, ended midway, had measured of single tensors.
        over_budget: Asked before each single tensor: whether to stop there. A tensor that was not measured counts as
            the most sensitive, so that a short search gives a wider mix, never a worse one.
        note: Told of each single tensor that was measured.
    """
    weights = weights or {}
    names = {*tensors, *weights}
    alone = {name: closeness for name, closeness in (known or {}).items() if name in names}
    state = _Search(measure, asked, over_budget, note, alone)
    everything = frozenset(tensors)
    state.measure_alone(tensors, lambda name: Mix(everything - {name}))
    order = tuple(sorted(tensors, key=lambda name: (*state.harm(name), tensors.index(name))))
    count = state.fewest(order, Mix)
    reached, wide = count is not None, order[: len(order) if count is None else count]
    mixes = {"w8a8": Mix(frozenset()), "w8a16": Mix(everything)}
    if weights:
        mixes["w4a16"] = Mix(everything, frozenset(weights))
    if reached:
        mixes |= _mixes(state, tensors, order, len(wide), widen)
        mixes |= _coarser(state, mixes, weights)
    steps = tuple(
        Step(length, state.measured[mix])
        for length, mix in ((length, Mix(frozenset(order[:length]))) for length in range(len(order) + 1))
        if mix in state.measured
    )
    return Found(order, state.alone, steps, wide, reached, state.stopped, _distinct(state, mixes))


def _mixes(state: _Search, tensors: Sequence[str], order: Sequence[str], count: int, widen: Widen) -> dict[str, Mix]:
    """Return mixes of 8 and 16 bits with weights of 8: the fewest wide tensors, more of them, and whole ends of the model."""
    found = {"fewest wide": Mix(frozenset(order[:count]))}
    if state.over_budget():
        state.stopped = True
        return found
    for name, way in (("wide end", tuple(reversed(tensors))), ("wide beginning", tuple(tensors))):
        length = state.fewest(way, Mix)
        if length is not None:
            found[name] = Mix(frozenset(way[:length]))
    for share in _SHARES:
        more = count + round((len(order) - count) * share)
        found[f"{more} wide"] = Mix(frozenset(order[:more]))
    return found | {f"{name}, joined": Mix(widen(mix.wide)) for name, mix in found.items()}


def _coarser(state: _Search, mixes: Mapping[str, Mix], weights: Mapping[str, int]) -> dict[str, Mix]:
    """Return the same with as many weights in 4 bits as the tolerance allows, what costs least for its bytes first."""
    if not weights:
        return {}
    base = mixes["w8a16"]
    state.measure_alone(tuple(weights), lambda name: Mix(base.wide, frozenset({name})))
    order = sorted(
        (name for name in weights if name in state.alone), key=lambda name: _noise_per_byte(state, name, weights[name])
    )
    found = {}
    for name in ("w8a16", "fewest wide", "wide end", "w8a8"):
        mix = mixes.get(name)
        if mix is None or not state.enough(mix) or state.over_budget():
            continue
        wide = mix.wide
        # By halving from the other end: from all of them coarse, the fewest that have to go back to 8 bits.
        back = state.fewest(order[::-1], lambda fine, wide=wide: Mix(wide, frozenset(order) - fine))  # type: ignore[misc]
        if back is not None and back < len(order):
            found[f"{name}, {len(order) - back} weights in 4 bits"] = Mix(wide, frozenset(order[: len(order) - back]))
    return found


def _noise_per_byte(state: _Search, name: str, saved_bytes: int) -> tuple[float, float]:
    closeness = state.alone[name]
    noise = 0.0 if closeness.sqnr_db == inf else 10 ** (-closeness.sqnr_db / 10)
    return (closeness.loss or 0.0) / max(saved_bytes, 1), noise / max(saved_bytes, 1)


def _distinct(state: _Search, mixes: Mapping[str, Mix]) -> tuple[Candidate, ...]:
    found: dict[Mix, Candidate] = {}
    for name, mix in mixes.items():
        if mix not in found:
            closeness = state.ask(mix)
            found[mix] = Candidate(name, mix, closeness, state.asked.enough(closeness))
    return tuple(found.values())


def explain(found: Found, tensor: str, asked: Asked) -> str:
    """Say why a tensor is in 16 bits in the mix of the fewest wide ones, or why 8 are enough."""
    alone = found.alone.get(tensor)
    place = f"place {found.order.index(tensor) + 1} of {len(found.order)} in sensitivity"
    measured = (
        "not measured before the budget ended, so it counts as sensitive"
        if alone is None
        else f"alone in 8 bits it leaves {_said(alone)}, {place}"
    )
    if tensor not in found.wide:
        return f"8 bits are enough: {measured}"
    if not found.reached:
        return f"16 bits: {measured}; even with every tensor in 16 bits {asked} are not reached"
    before = [step for step in found.steps if step.wide < len(found.wide)]
    fewer = (
        f"; with {before[-1].wide} wide tensors instead of {len(found.wide)} the model has {_said(before[-1].closeness)}"
        if before
        else ""
    )
    return f"16 bits: {measured}{fewer}, and {asked} are asked"


def explain_weight(found: Found, weight: str) -> str:
    """Say what 4 bits cost a weight."""
    alone = found.alone.get(weight)
    if alone is None:
        return "not measured before the budget ended, so it stays in 8 bits"
    return f"alone in 4 bits it leaves {_said(alone)}"


def _said(closeness: Closeness) -> str:
    loss = "" if closeness.loss is None else f" and loses {closeness.loss:.3g} in slice '{closeness.slice}'"
    return f"{closeness.sqnr_db:.1f} dB{loss}"
