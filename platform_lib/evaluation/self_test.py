"""The scorer's own test, run before every evaluation: known agents must get known scores, wrong scorers must fail.

A scorer that is wrong in silence makes every figure behind it worthless, so its verdict travels with the report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from platform_lib.errors import ContractError
from platform_lib.evaluation import self_test_epdms
from platform_lib.evaluation.bootstrap import cluster_interval
from platform_lib.evaluation.epdms import EpdmsScorer, score_epdms
from platform_lib.evaluation.frames import NO_AGENTS, STEPS, TIMES_S, Agents, Frames
from platform_lib.evaluation.geometry import Boxes, Doubles
from platform_lib.evaluation.open_loop import MISS_M, Scorer, Scores, score_frames
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, EGO_LENGTH_M, EGO_WIDTH_M

SPEED_MPS = 8.0
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the self-test found.

    Attributes:
        cases: Names of the cases that were run.
        failed: Those in which the scorer gave another score than the known one.
        caught: Planted wrong scorers that failed at least one case.
        missed: Planted wrong scorers that passed all: the cases are too weak.
    """

    cases: tuple[str, ...]
    failed: tuple[str, ...]
    caught: tuple[str, ...]
    missed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Say whether the scorer may be believed."""
        return not self.failed and not self.missed

    @property
    def sha256(self) -> str:
        """Digest of the verdict, to be joined with the scorer's code digest."""
        fields = [self.cases, self.failed, self.caught, self.missed]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Case:
    """One agent with known scores; `expected` None means that the scorer must refuse."""

    name: str
    plan_m: Doubles
    frames: Frames
    expected: Mapping[str, Doubles] | None


def run_self_test(scorer: Scorer = score_frames, epdms: EpdmsScorer = score_epdms) -> Verdict:
    """Run every case on the scorers, and every case on each planted wrong scorer.

    Args:
        scorer: The open-loop scorer under test; the one used for reports by default.
        epdms: The predictive driver model scorer under test; likewise.
    """
    cases, intervals = _cases(), _interval_cases()
    wrong, wrong_epdms = _wrong_scorers(), self_test_epdms.wrong_scorers()
    caught = [name for name, planted in wrong.items() if not all(_holds(case, planted) for case in cases)]
    caught += [name for name, planted in wrong_epdms.items() if self_test_epdms.failed_rows(planted)]
    return Verdict(
        cases=(*(case.name for case in cases), *intervals, *self_test_epdms.case_names()),
        failed=failed_cases(scorer, epdms),
        caught=tuple(caught),
        missed=tuple(name for name in (*wrong, *wrong_epdms) if name not in caught),
    )


def failed_cases(scorer: Scorer, epdms: EpdmsScorer) -> tuple[str, ...]:
    """Name the cases in which the scorers give another score than the known one."""
    failed = [case.name for case in _cases() if not _holds(case, scorer)]
    failed += [name for name, holds in _interval_cases().items() if not holds]
    return (*failed, *self_test_epdms.failed_rows(epdms))


def _holds(case: _Case, scorer: Scorer) -> bool:
    try:
        scores = scorer(case.plan_m, case.frames)
    except ContractError:
        return case.expected is None
    if case.expected is None:
        return False
    return all(
        name in scores and np.allclose(scores[name], value, rtol=0, atol=_TOLERANCE)
        for name, value in case.expected.items()
    )


def _straight(count: int = 1) -> Doubles:
    path = np.zeros((count, STEPS, 2))
    path[:, :, 0] = SPEED_MPS * TIMES_S
    return path


def _frames(future_m: Doubles, agents: Agents = NO_AGENTS) -> Frames:
    n = len(future_m)
    return Frames(("drive",) * n, (frozenset(),) * n, future_m, (agents,) * n)


def _agent(kind: str, track: list[tuple[int, float, float, float]], length_m: float, width_m: float) -> Agents:
    """One agent from (step, x, y, yaw) samples."""
    step, x, y, yaw = (np.array(column, dtype=np.float64) for column in zip(*track, strict=True))
    size = np.ones(len(track))
    return Agents(step.astype(np.int64), (kind,) * len(track), Boxes(x, y, yaw, size * length_m, size * width_m))


def _parked(x_m: float, y_m: float, yaw_rad: float = 0.0, kind: str = "vehicle") -> Agents:
    return _agent(kind, [(step, x_m, y_m, yaw_rad) for step in range(STEPS)], 4.6, 1.9)


def _cases() -> tuple[_Case, ...]:
    return (*_distance_cases(), *_collision_cases(), *_refusal_cases())


def _distance_cases() -> tuple[_Case, ...]:
    driven = _straight()
    braking = driven.copy()
    braking[:, :, 0] -= 0.5 * 2.0 * TIMES_S**2
    brake_error = 0.5 * 2.0 * TIMES_S**2
    aside = driven + np.array([0.6, 0.8])
    late = driven.copy()
    late[:, -1, 1] = MISS_M
    later = driven.copy()
    later[:, -1, 1] = MISS_M + 1e-3
    strayed = driven.copy()
    strayed[:, 2, 1] = MISS_M + 1e-3
    zero, one = np.zeros(1), np.ones(1)
    return (
        _Case(
            "oracle has no error",
            driven,
            _frames(driven),
            {"ade_m": zero, "fde_m": zero, "miss_rate": zero, "collision_rate": zero, "max_accel_mps2": zero},
        ),
        _Case(
            "constant velocity against braking at 2 m/s^2: half a t squared",
            driven,
            _frames(braking),
            {
                "ade_m": brake_error.mean()[None],
                "fde_m": brake_error[-1:],
                "miss_rate": one,
                "ade_1s_m": one * 0.625,
                "ade_2s_m": one * 1.875,
                "fde_1s_m": one,
                "fde_2s_m": one * 4.0,
                "any_miss_rate": one,
                "nuscenes_l2_m": one * (1.0 + 4.0 + 9.0) / 3,
                "nuscenes_l2_mean_m": (0.625 + 1.875 + brake_error.mean()[None]) / 3,
            },
        ),
        _Case(
            "a miss on the way is one, if not at the end",
            strayed,
            _frames(driven),
            {"miss_rate": zero, "any_miss_rate": one},
        ),
        _Case("braking at 2 m/s^2 is felt as such", braking, _frames(braking), {"max_accel_mps2": one * 2.0}),
        _Case("one metre aside, everywhere", aside, _frames(driven), {"ade_m": one, "fde_m": one, "miss_rate": zero}),
        _Case("exactly the miss distance is no miss", late, _frames(driven), {"miss_rate": zero}),
        _Case("a little more is one", later, _frames(driven), {"miss_rate": one}),
        _Case(
            "each frame keeps its own score",
            np.concatenate([driven, aside]),
            _frames(np.concatenate([driven, driven])),
            {"ade_m": np.array([0.0, 1.0])},
        ),
    )


def _collision_cases() -> tuple[_Case, ...]:
    driven = _straight()
    hit, free = {"collision_rate": np.ones(1)}, {"collision_rate": np.zeros(1)}
    beside = (EGO_WIDTH_M + 1.9) / 2
    nose = SPEED_MPS * 3.0 + EGO_CENTRE_AHEAD_M + (EGO_LENGTH_M + 4.6) / 2
    # The nose is 3.7 m ahead of the rear axle, the parked car's tail 2.3 m before its middle: met after (x - 6) / 8 s.
    within = {f"collision_{s}s_rate": np.array([float(s >= 2)]) for s in (1, 2)}
    cases = [
        ("a car parked on the path is hit", _parked(14.0, 0.0), hit),
        ("one that is met after 1.5 s is not hit within 1 s", _parked(18.0, 0.0), hit | within),
        ("and counts in two of three horizons", _parked(18.0, 0.0), {"nuscenes_collision_share": np.ones(1) * 2 / 3}),
        ("a car 5 cm beside the path is not", _parked(14.0, beside + 0.05), free),
        ("a car 5 cm into the path is", _parked(14.0, beside - 0.05), hit),
        ("the same car across the road is hit", _parked(14.0, beside + 0.5, np.pi / 2), hit),
        ("the nose reaches a car 5 cm too near at the end", _parked(nose - 0.05, 0.0), hit),
        ("and not one 5 cm further", _parked(nose + 0.05, 0.0), free),
        ("a traffic light hangs over the road", _parked(14.0, 0.0, kind="traffic_light_red"), free),
        (
            "a pedestrian who crosses between two samples is hit",
            _agent("pedestrian", [(1, 11.9, -4.0, 1.57), (2, 11.9, 4.0, 1.57)], 0.6, 0.6),
            hit,
        ),
        (
            "a car ahead at the same speed is not",
            _agent("vehicle", [(k, 8.0 + SPEED_MPS * TIMES_S[k], 0.0, 0.0) for k in range(STEPS)], 4.6, 1.9),
            free,
        ),
        ("a place that is taken only later is free now", _agent("vehicle", [(5, 8.0, 0.0, 0.0)], 4.6, 1.9), free),
    ]
    turning = np.stack([10.0 * np.sin(TIMES_S * 0.8), 10.0 * (1 - np.cos(TIMES_S * 0.8))], axis=1)[None]
    return (
        *(_Case(name, driven, _frames(driven, agents), expected) for name, agents, expected in cases),
        _Case(
            "each frame has its own agents",
            np.concatenate([driven, driven]),
            Frames(("a", "b"), (frozenset(),) * 2, np.concatenate([driven, driven]), (NO_AGENTS, _parked(14.0, 0.0))),
            {"collision_rate": np.array([0.0, 1.0])},
        ),
        _Case("a turn is swept with its heading", turning, _frames(turning, _parked(8.5, 12.0, np.pi / 2)), hit),
    )


def _refusal_cases() -> tuple[_Case, ...]:
    driven = _straight(2)
    nan = driven.copy()
    nan[1, 3, 0] = np.nan
    infinite = driven.copy()
    infinite[0, 5, 1] = np.inf
    return (
        _Case("a plan with NaN gets no score", nan, _frames(driven), None),
        _Case("an infinite plan gets no score", infinite, _frames(driven), None),
        _Case("a plan for fewer frames gets no score", driven[:1], _frames(driven), None),
    )


def _interval_cases() -> dict[str, bool]:
    steady = cluster_interval(np.full(12, 2.0), np.repeat(np.arange(6), 2), seed=1)
    single = cluster_interval(np.array([1.0, 3.0]), np.array(["a", "a"]), seed=1)
    never = cluster_interval(np.zeros(9), np.arange(9), seed=1, rate=True)
    values = np.repeat([0.0, 1.0, 0.0, 1.0, 1.0, 0.0], 50)
    by_drive = cluster_interval(values, np.repeat(np.arange(6), 50), seed=1)
    by_frame = cluster_interval(values, np.arange(300), seed=1)
    return {
        "equal scores have a point for an interval": (steady.value, steady.low, steady.high) == (2.0, 2.0, 2.0),
        "0 of 9 may be one in four": never.low == 0.0 and _width(never.low, never.high) > 0.25,
        "one drive has no interval": (single.value, single.low, single.high) == (2.0, None, None),
        "alike frames of one drive do not narrow the interval": _width(by_drive.low, by_drive.high)
        > 4 * _width(by_frame.low, by_frame.high),
    }


def _width(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else high - low


def _wrong_scorers() -> dict[str, Scorer]:
    """Return scorers with mistakes that were made in published ones; each must fail a case."""

    def changed(change: Callable[[Doubles, Frames], tuple[Doubles, Frames]]) -> Scorer:
        return lambda plan, frames: score_frames(*change(plan, frames))

    def nan_blind(plan: Doubles, frames: Frames) -> Scores:
        return score_frames(np.nan_to_num(plan, posinf=0.0, neginf=0.0), frames)

    def first_second_only(plan: Doubles, frames: Frames) -> Scores:
        distance = np.linalg.norm(plan - frames.future_m, axis=2)
        return {**score_frames(plan, frames), "ade_m": distance[:, :2].mean(axis=1)}

    def pooled(plan: Doubles, frames: Frames) -> Scores:
        scores = score_frames(plan, frames)
        return {name: np.full_like(value, value.mean()) for name, value in scores.items()}

    def without_agents(plan: Doubles, frames: Frames) -> tuple[Doubles, Frames]:
        return plan, Frames(frames.drive, frames.slices, frames.future_m, (NO_AGENTS,) * len(frames))

    def at_samples_only(plan: Doubles, frames: Frames) -> Scores:
        lonely = [_unfollowed(agents) for agents in frames.agents]
        return score_frames(plan, Frames(frames.drive, frames.slices, frames.future_m, tuple(lonely)))

    def at_horizon_for_up_to(plan: Doubles, frames: Frames) -> Scores:
        scores = score_frames(plan, frames)
        return {**scores, "nuscenes_l2_m": scores["nuscenes_l2_mean_m"]}

    return {
        "error up to a horizon for that at it": at_horizon_for_up_to,
        "sideways error ignored": changed(lambda plan, frames: (plan * [1, 0] + frames.future_m * [0, 1], frames)),
        "plan shifted by one step": changed(lambda plan, frames: (np.roll(plan, 1, axis=1), frames)),
        "x and y exchanged": changed(lambda plan, frames: (plan[..., ::-1], frames)),
        "NaN read as zero": nan_blind,
        "first second only": first_second_only,
        "frames pooled": pooled,
        "collisions never seen": changed(without_agents),
        "collisions at the samples only": at_samples_only,
    }


def _unfollowed(agents: Agents) -> Agents:
    """Give every sample another size by a hair, so that none is followed between the samples."""
    hair = 1e-2 * agents.step
    boxes = agents.boxes
    return Agents(
        agents.step, agents.kind, Boxes(boxes.x_m, boxes.y_m, boxes.yaw_rad, boxes.length_m, boxes.width_m - hair)
    )
