"""Is the challenger not worse than the champion, on every slice where it matters: paired differences, Holm's correction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from platform_lib.errors import ContractError
from platform_lib.evaluation.bootstrap import cluster_interval
from platform_lib.evaluation.closed_loop import Episode
from platform_lib.evaluation.frames import Frames
from platform_lib.evaluation.geometry import Doubles
from platform_lib.evaluation.open_loop import SCENE_SLICES, Scores, in_slice
from platform_lib.evidence import Comparison, Interval, Status

ALPHA = 0.05
SAFETY_SLICES = ("all", *SCENE_SLICES, "night", "rain")
MARGINS = {"ade_m": 0.10, "collision_rate": 0.02}
"""So much worse on a slice is still taken for not worse: 10 cm of mean displacement, 2 of 100 frames."""
CLOSED_MARGINS = {"at_fault_rate": 0.05, "offroad_rate": 0.05}
"""The same of driven worlds: 5 of 100."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger less champion on the same (N,) frames or worlds of one slice; `clusters` (N,) is what repeats."""

    slice: str
    metric: str
    values: Doubles
    clusters: np.ndarray[tuple[int], np.dtype[np.str_]]
    margin: float


def open_differences(challenger: Scores, champion: Scores, frames: Frames) -> Iterator[Difference]:
    """Pair the scores of two planners on the same frames, by safety slice."""
    drives = np.array(frames.drive)
    for name in SAFETY_SLICES:
        chosen = in_slice(frames, name)
        if chosen.any():
            for metric, margin in MARGINS.items():
                values = challenger[metric][chosen] - champion[metric][chosen]
                yield Difference(name, f"open_loop {metric}", values, drives[chosen], margin)


def closed_differences(episodes: Sequence[Episode], challenger: str, champion: str) -> Iterator[Difference]:
    """Pair what became of two planners in the same worlds, by safety slice.

    Raises:
        ContractError: They did not drive the same worlds.
    """
    by_planner = {name: {e.world: e for e in episodes if e.planner == name} for name in (challenger, champion)}
    one, other = by_planner[challenger], by_planner[champion]
    if one.keys() != other.keys():
        raise ContractError("champion and challenger did not drive the same worlds", where="closed loop")
    for name in SAFETY_SLICES:
        worlds = [world for world, episode in one.items() if name == "all" or name in episode.slices]
        if worlds:
            told: Mapping[str, list[float]] = {
                "at_fault_rate": [float(one[w].at_fault) - float(other[w].at_fault) for w in worlds],
                "offroad_rate": [float(one[w].offroad) - float(other[w].offroad) for w in worlds],
            }
            for metric, margin in CLOSED_MARGINS.items():
                yield Difference(name, f"closed_loop {metric}", np.array(told[metric]), np.array(worlds), margin)


def compared(differences: Sequence[Difference], *, seed: int, alpha: float = ALPHA) -> tuple[Comparison, ...]:
    """Judge every difference, all of them together at `alpha`.

    A challenger is not inferior where the hypothesis that it is worse by the margin or more is refuted. The chance that
    one of several true such hypotheses is refuted by luck is held at `alpha` by Holm's procedure.
    """
    ps = [p_worse(item) for item in differences]
    known = [p for p in ps if p is not None]
    corrected = iter(holm(known))
    found = []
    for item, p in zip(differences, ps, strict=True):
        interval = cluster_interval(item.values, item.clusters, seed=seed)
        p_holm = None if p is None else next(corrected)
        status, reason = _judged(item, interval, p_holm, alpha)
        found.append(
            Comparison(
                slice=item.slice,
                metric=item.metric,
                n=len(item.values),
                drives=len(np.unique(item.clusters)),
                difference=interval,
                margin=item.margin,
                p=p,
                p_holm=p_holm,
                status=status,
                reason=reason,
            )
        )
    return tuple(found)


def _judged(item: Difference, interval: Interval, p_holm: float | None, alpha: float) -> tuple[Status, str]:
    if interval.low is not None and interval.low > item.margin:
        return "fail", "worse beyond the margin, and beyond doubt"
    if p_holm is None:
        return "not_run", "a single drive says nothing of others"
    if p_holm < alpha:
        return "pass", "not worse by the margin"
    if not item.values.any():
        return "not_run", "the two do the same everywhere, in too few drives to show that they always do"
    return "not_run", "neither better nor worse is shown; it takes more drives"


def p_worse(item: Difference) -> float | None:
    """Return the one-sided p-value of "worse by the margin or more"; None of a single cluster.

    Student's t of the mean over clusters of unequal size (a ratio estimate, linearised).
    Source: Cochran, Sampling Techniques (1977), section 6.4; Wellek, Testing Statistical Hypotheses of Equivalence and
    Noninferiority (2010), section 2. Where the two never differ there is no spread to measure: then it is the chance of
    seeing no drive that differs, if a share of `margin` of them did.
    """
    _, index = np.unique(item.clusters, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    clusters = len(counts)
    if clusters < 2:
        return None
    if not item.values.any():
        return float((1.0 - min(item.margin, 1.0)) ** clusters)
    sums = np.bincount(index, weights=item.values)
    mean = sums.sum() / counts.sum()
    spread = float(((sums - mean * counts) ** 2).sum()) * clusters / (clusters - 1)
    error = spread**0.5 / counts.sum()
    if error < 1e-12:
        return 0.0 if mean < item.margin else 1.0
    return float(student_t.cdf((mean - item.margin) / error, clusters - 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in their own order.

    The k-th smallest of m is multiplied by m - k + 1; none is smaller than one before it.
    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(ps)), key=lambda k: ps[k])
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[k]))
        corrected[k] = highest
    return corrected
