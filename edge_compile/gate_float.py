"""What the float model has to reach: limits by slice, the camera's worth, collisions, and the champion."""

from __future__ import annotations

import math

from edge_compile.gate_case import Case, Verdict, figures, left_open, passes
from platform_lib.evaluation.rates import wilson
from platform_lib.evidence import Interval, MetricsRow
from platform_lib.handoff.thresholds import FloatModel

# The camera's ADE less the baseline's on the same frames, as the evaluation pairs them.
PAIRED = "ade_vs_ego_only_m"


def judge_limits(case: Case) -> list[Verdict]:
    """G3 limits: errors under the limits on every slice."""
    asked, found = case.thresholds.float_model, []
    for name, limits in asked.slices.items():
        row = case.evaluation.row(asked.planner, name)
        for metric, limit in (("ade_m", limits.ade_m), ("fde_m", limits.fde_m)):
            found.append(_within(row, f"{asked.planner}/{name} {metric}", metric, limit, asked))
    return found


def _within(row: MetricsRow | None, where: str, metric: str, limit: float, asked: FloatModel) -> Verdict:
    if row is None or metric not in row.metrics:
        return Verdict("not_run", f"{where} was not scored")
    interval = row.metrics[metric]
    said = f"{where} {figures(interval)}, limit {limit:g}, n {row.n}, {row.drives} drives"
    if not 0.0 <= interval.value <= limit:  # a mean beyond the limit needs no interval to fail
        return Verdict("fail", said)
    if (thin := _too_thin(row, asked)) or interval.high is None:
        return Verdict("not_run", f"{said}: {thin or 'no interval'}")
    if limit < interval.high < math.inf:
        return Verdict("not_run", f"{said}: within the limit, but too few drives to show it")
    return passes(interval.high <= limit, said)


def _too_thin(row: MetricsRow, asked: FloatModel) -> str:
    """Say what a slice lacks before its figures are believed; nothing if it has enough."""
    if not row.drives >= asked.min_drives:
        return f"too few drives (at least {asked.min_drives})"
    return "" if row.n >= asked.min_samples else f"too few samples (at least {asked.min_samples})"


def judge_camera(case: Case) -> list[Verdict]:
    """G3 camera: seeing beats not seeing where the scene matters."""
    asked, found = case.thresholds.float_model, []
    for name in (asked.scene, *asked.scene_slices):
        row = case.evaluation.row(asked.planner, name)
        pair = None if row is None else row.metrics.get(PAIRED)
        if row is None or pair is None or not row.n > 0:
            found.append(Verdict("not_run", f"{name}: {asked.planner} and {asked.baseline} were not paired"))
            continue
        said = f"{name} ({row.n} frames of {row.drives} drives): {PAIRED} {figures(pair)}"
        thin = _too_thin(row, asked)
        found.append(Verdict("not_run", f"{said}: {thin}") if thin else _paired(pair, said, pooled=name == asked.scene))
    return found


def _paired(pair: Interval, said: str, *, pooled: bool) -> Verdict:
    """Judge camera less baseline: the pooled slice has to be better beyond doubt, its parts not worse beyond doubt."""
    if pair.low is None or pair.high is None:
        return Verdict("not_run", f"{said}: no interval")
    if not all(math.isfinite(number) for number in (pair.value, pair.low, pair.high)) or pair.low > 0:
        return Verdict("fail", f"{said}: worse beyond doubt")
    if pooled and not (pair.high < 0 and pair.value < 0):
        return Verdict(
            "not_run", f"{said}: neither better nor worse is shown, it takes more drives or a better planner"
        )
    return Verdict("pass", f"{said}: {'better beyond doubt' if pair.high < 0 else 'not shown to be worse'}")


def judge_closed_loop(case: Case) -> list[Verdict]:
    """G3 closed loop: how often the planner collides, by the upper bound of that rate."""
    asked = case.thresholds.float_model
    limit = asked.closed_loop_max_collision_rate
    rows = [r for r in case.evaluation.closed_loop if (r.planner, r.slice) == (asked.planner, "all")]
    if len(rows) != 1 or "collision_rate" not in rows[0].metrics or not rows[0].n > 0:
        return left_open(f"{asked.planner} was not driven in closed loop")
    rate = rows[0].metrics["collision_rate"]
    if not 0.0 <= rate.value <= 1.0:
        return [Verdict("fail", f"collision_rate {rate.value} is no rate")]
    high = wilson(rate.value, rows[0].n)[1]
    said = (
        f"{asked.planner} collision_rate {rate.value:.3f} in {rows[0].n} episodes, "
        f"95 % upper bound {high:.3f}, limit {limit:g}"
    )
    if not rate.value <= limit:
        return [Verdict("fail", said)]
    return [Verdict("pass", said) if high <= limit else Verdict("not_run", f"{said}: too few episodes to show it")]


def judge_champion(case: Case) -> list[Verdict]:
    """G3 champion: not inferior to the champion on any slice."""
    report = case.evaluation.champion
    if report is None:
        return left_open("there is no champion to compare with")
    if report.champion_sha256 == case.compiled.onnx_sha256:
        return left_open(f"{report.champion} is this model itself: nothing is not inferior to itself")
    found = [
        Verdict(
            item.status,
            f"{report.champion}: {item.metric} on {item.slice} {figures(item.difference)}, margin {item.margin:g}: {item.reason}",
        )
        for item in report.comparisons
    ]
    compared = {item.slice for item in report.comparisons}
    missing = sorted({"all", *case.thresholds.float_model.scene_slices} - compared)
    return found + [Verdict("not_run", f"{report.champion}: not compared on {name}") for name in missing]
