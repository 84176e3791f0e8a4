"""Known agents for the predictive driver model score: each row is one scene whose parts can be worked out by hand.

All rows are scored in one call, so that a scorer which mixes frames up fails too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from platform_lib.errors import ContractError
from platform_lib.evaluation.epdms import (
    PARTS,
    TOTAL,
    DrivenScenes,
    EpdmsScorer,
    Lights,
    PlanPairs,
    score_epdms,
)
from platform_lib.evaluation.frames import NO_AGENTS, STEPS, TIMES_S, Agents, Frames
from platform_lib.evaluation.geometry import Boxes, Doubles, Flags
from platform_lib.evaluation.poses import TICK_S, TICKS
from platform_lib.evaluation.roads import GRID_M, Roads
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, EGO_LENGTH_M, HISTORY_STEPS

SPEED_MPS = 8.0
_TOLERANCE = 1e-6
_BACK_M, _POINTS = 20.0, 121
_LANE_M = 1.75
_NOSE_M = EGO_CENTRE_AHEAD_M + EGO_LENGTH_M / 2
_TURN_M = 60.0
_ALL = dict.fromkeys(PARTS, 1.0)
_SHIFT_TICKS = 5
_TICK_TIMES_S: Doubles = np.arange(TICKS + 1, dtype=np.float64) * np.float64(TICK_S)


@dataclass(frozen=True, slots=True)
class Row:
    """One scene: the ego drives at `speed_mps` along x in the middle of the own left lane, unless said otherwise.

    Attributes:
        plan: (6, 2) metres.
        expected: Parts with known values.
        driven: What the human did; None for the same as the plan.
        before: The plan made half a second earlier, from where the car was then; None for one that the plan keeps to.
        before_mps: The speed then, where `before` is given; None for the present one.
        accel_mps2: Through the last second.
        bend_1pm: Curvature of the road.
        line_m: Where a stop line lies ahead of the rear axle.
        red: At each tick.
    """

    name: str
    plan: Doubles
    expected: Mapping[str, float]
    driven: Doubles | None = None
    agents: Agents = NO_AGENTS
    speed_mps: float = SPEED_MPS
    before: Doubles | None = None
    before_mps: float | None = None
    accel_mps2: float = 0.0
    bend_1pm: float = 0.0
    line_m: float = float("nan")
    red: Flags | None = None


def failed_rows(scorer: EpdmsScorer = score_epdms) -> tuple[str, ...]:
    """Name the cases in which a scorer gives other parts than the known ones."""
    rows = known_rows()
    scenes, plan, before = scenes_of(rows)
    try:
        scores = scorer(plan, before, scenes)
    except ContractError:
        return tuple(row.name for row in rows)
    failed = [row.name for k, row in enumerate(rows) if not _holds(row, {n: v[k] for n, v in scores.items()})]
    return (*failed, *(name for name, holds in _edges(scorer, rows).items() if not holds))


def case_names() -> tuple[str, ...]:
    """Name every case."""
    return (*(row.name for row in known_rows()), *_EDGES)


def _holds(row: Row, found: Mapping[str, float]) -> bool:
    return all(name in found and abs(found[name] - value) <= _TOLERANCE for name, value in row.expected.items())


_EDGES = (
    "a plan with NaN gets no EPDMS",
    "without a map it is unknown",
    "without lights it is unknown",
    "EP is no part",
)


def _edges(scorer: EpdmsScorer, rows: tuple[Row, ...]) -> dict[str, bool]:
    scenes, plan, before = scenes_of(rows[:2])
    frames = scenes.frames
    blank = Frames(frames.drive, frames.slices, frames.future_m, frames.agents)
    unmapped = scorer(plan, before, DrivenScenes(blank, None, scenes.history))
    unlit = scorer(plan, before, DrivenScenes(frames, None, scenes.history))
    alone = scorer(plan, None, scenes)
    broken = plan.copy()
    broken[1, 3, 0] = np.nan
    try:
        scorer(broken, before, scenes)
        refused = False
    except ContractError:
        refused = True
    answers = (
        refused,
        not {"dac", "ddc", "lk", "ep", "tlc", TOTAL} & unmapped.keys() and "nc" in unmapped,
        not {"tlc", TOTAL} & unlit.keys() and "dac" in unlit,
        not {"ec", TOTAL} & alone.keys(),
    )
    return dict(zip(_EDGES, answers, strict=True))


def straight(speed_mps: float = SPEED_MPS, accel_mps2: float = 0.0) -> Doubles:
    """Return (6, 2): straight on with a constant acceleration."""
    return np.stack([speed_mps * TIMES_S + accel_mps2 * TIMES_S**2 / 2, np.zeros(STEPS)], axis=1)


def aside(offset_m: float, by_s: float, speed_mps: float = SPEED_MPS) -> Doubles:
    """Return (6, 2): on to another offset, reached smoothly, and straight on there."""
    share = np.clip(TIMES_S / by_s, 0.0, 1.0)
    return np.stack([speed_mps * TIMES_S, offset_m * share**2 * (3.0 - 2.0 * share)], axis=1)


def _eased(ago_s: float) -> Doubles:
    """Return (6, 2) as planned some time ago: 0.5 s on, then braking that grows by 2 m/s^3 for 1 s and stays."""
    time = TIMES_S - ago_s
    growing, grown = np.clip(time - 0.5, 0.0, 1.0), np.maximum(time - 1.5, 0.0)
    return np.stack([SPEED_MPS * (time + ago_s) - growing**3 / 3 - grown - grown**2, np.zeros(STEPS)], axis=1)


def moving(x_m: float, y_m: float, speed_mps: float, yaw_rad: float = 0.0) -> Agents:
    """Return a car of the ego's size that begins here, now, and goes on."""
    way = speed_mps * TIMES_S
    size = np.ones(STEPS)
    boxes = Boxes(x_m + way * np.cos(yaw_rad), y_m + way * np.sin(yaw_rad), yaw_rad * size, 4.6 * size, 1.9 * size)
    return Agents(np.arange(STEPS), ("vehicle",) * STEPS, boxes)


def known_rows() -> tuple[Row, ...]:
    """Return every scene."""
    return (*_driving_rows(), *_fault_rows(), *_rule_rows(), *_comfort_rows())


def _driving_rows() -> tuple[Row, ...]:
    slower = straight(accel_mps2=-2.0)
    angle = SPEED_MPS * TIMES_S / _TURN_M
    bend = _TURN_M * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=1)
    away, still = straight(0.0, 2.0), np.zeros((STEPS, 2))
    return (
        Row("oracle: every part and the total are 1", straight(), {**_ALL, TOTAL: 1.0}),
        Row("braking at 2 m/s^2 gets 15 of 24 m", slower, {**_ALL, "ep": 0.625, TOTAL: (5 * 0.625 + 11) / 16},
            driven=straight()),
        Row("stopped where the human set off: all but progress", still, {**_ALL, "ep": 0.0, TOTAL: 11 / 16},
            driven=away, speed_mps=0.0),
        Row("stopped where nobody gets anywhere: no fault", still, {**_ALL, TOTAL: 1.0}, driven=still, speed_mps=0.0),
        Row("further than the human is no more than all", straight(accel_mps2=2.0), {"ep": 1.0}, driven=straight()),
        Row("oracle in a bend", bend, {"nc": 1.0, "dac": 1.0, "ddc": 1.0, "lk": 1.0, "ep": 1.0}, bend_1pm=1 / _TURN_M),
        Row("straight on in a bend leaves the road", straight(), {"dac": 0.0, TOTAL: 0.0}, driven=bend,
            bend_1pm=1 / _TURN_M),
    )  # fmt: skip


def _fault_rows() -> tuple[Row, ...]:
    halt = straight(accel_mps2=-1.6)
    late = np.stack([np.array([4.0, 8.0, 12.0, 16.0, 19.0, 20.0]), np.zeros(STEPS)], axis=1)
    wait = moving(20.5 + _NOSE_M + 2.3, 0.0, 0.0)
    # At 45 degrees a corner lies 0.96 m before its middle and 2.3 m to the right: 0.1 m into the way that the ego would go.
    askew = moving(26.5, 3.15, 0.0, np.pi / 4)
    behind = moving(-8.0, 0.0, 14.0)
    # Its front is at the ego's side after 1.03 s, when the ego's middle is at 9.6 m.
    side, further = moving(9.6, -8.4, 5.0, np.pi / 2), moving(9.6, -10.15, 5.0, np.pi / 2)
    return (
        Row("crash into a parked car", straight(), {"nc": 0.0, "ttc": 0.0, TOTAL: 0.0}, driven=halt,
            agents=moving(23.5, 0.0, 0.0)),
        Row("braking late enough to nearly hit it", late, {"nc": 1.0, "ttc": 0.0}, driven=halt, agents=wait),
        Row("nearly hitting the corner of one that stands askew", late, {"nc": 1.0, "ttc": 0.0}, driven=halt,
            agents=askew),
        Row("braking in time", halt, {"nc": 1.0, "ttc": 1.0, TOTAL: 1.0}, driven=halt, agents=wait),
        Row("run into from behind: not the ego's fault", straight(), {"nc": 1.0, "ttc": 1.0}, driven=straight(0.0),
            agents=behind),
        Row("run into at the side, in its lane: not its fault", straight(), {"nc": 1.0}, driven=straight(0.0),
            agents=side),
        Row("the same astride two lanes is", aside(-1.75, 1.0), {"nc": 0.0}, driven=straight(0.0),
            agents=further),
        Row("one that the human hits too is not held against it", straight(), {"nc": 1.0}, driven=straight(),
            agents=moving(22.0, 0.0, 0.0)),
        Row("oncoming in its own lane", straight(), {"nc": 1.0, "ttc": 1.0}, driven=straight(0.0),
            agents=moving(40.0, 3.5, 10.0, np.pi)),
        Row("oncoming in ours", straight(), {"nc": 0.0}, driven=straight(0.0), agents=moving(40.0, 0.0, 10.0, np.pi)),
    )  # fmt: skip


def _rule_rows() -> tuple[Row, ...]:
    red, green = np.ones(TICKS + 1, dtype=np.bool_), np.zeros(TICKS + 1, dtype=np.bool_)
    crossed_s = (12.0 - _NOSE_M) / SPEED_MPS
    keep = straight()
    return (
        Row("off the road to the right", aside(-5.3, 2.0), {"dac": 0.0, TOTAL: 0.0}, driven=keep),
        Row("at its edge, still on it", aside(-3.8, 3.0), {"dac": 1.0}, driven=keep),
        Row("off the road to the left", aside(9.0, 2.0), {"dac": 0.0, TOTAL: 0.0}, driven=keep),
        Row("wrong way at 8 m/s", aside(3.5, 1.0), {"ddc": 0.0, "dac": 1.0, TOTAL: 0.0}, driven=keep),
        Row("wrong way at 5 m/s costs half", aside(3.5, 1.0, 5.0), {"ddc": 0.5}, driven=straight(5.0), speed_mps=5.0),
        Row("wrong way at 1.5 m/s costs nothing", aside(2.2, 3.0, 1.5), {"ddc": 1.0}, driven=straight(1.5),
            speed_mps=1.5),
        Row("over a red light", keep, {"tlc": 0.0, TOTAL: 0.0}, driven=straight(0.0), line_m=12.0, red=red),
        Row("over a green light", keep, {"tlc": 1.0}, driven=straight(0.0), line_m=12.0, red=green),
        Row("it turns red behind the front", keep, {"tlc": 1.0}, driven=straight(0.0), line_m=12.0,
            red=crossed_s + TICK_S < _TICK_TIMES_S),
        Row("it turns red before the front", keep, {"tlc": 0.0}, driven=straight(0.0), line_m=12.0,
            red=crossed_s - TICK_S < _TICK_TIMES_S),
        Row("stopping before it", straight(accel_mps2=-4.0), {"tlc": 1.0}, driven=straight(0.0), line_m=12.0, red=red),
        Row("0.8 m off the lane's middle, long", aside(0.8, 0.5), {"lk": 0.0, "dac": 1.0, "ddc": 1.0}, driven=keep),
        Row("0.4 m off it", aside(0.4, 0.5), {"lk": 1.0}, driven=keep),
        Row("into the other own lane", aside(-3.5, 2.0), {"lk": 1.0, "dac": 1.0, "ddc": 1.0}, driven=keep),
    )  # fmt: skip


def _comfort_rows() -> tuple[Row, ...]:
    hard, soft = straight(accel_mps2=-5.0), straight(accel_mps2=-3.9)
    push, keen = straight(accel_mps2=2.3), straight(accel_mps2=2.6)
    keep = straight()
    harder = straight(16.0) - np.array([1.0, 0.0]) * (2.5 / 6.0 * TIMES_S**3)[:, None]
    return (
        Row("braking harder and harder is felt", harder, {"hc": 0.0}, driven=straight(16.0), speed_mps=16.0),
        Row("a braking that was planned before", _eased(0.0), {"ec": 1.0}, driven=keep, before=_eased(0.5)),
        Row("braking at 5 m/s^2 is felt", hard, {"hc": 0.0}, driven=keep),
        Row("at 3.9 it is not", soft, {"hc": 1.0}, driven=straight(accel_mps2=-3.0), accel_mps2=-3.9),
        Row("speeding up at 2.6 m/s^2 is felt", keen, {"hc": 0.0}, driven=straight(accel_mps2=1.5), accel_mps2=2.0),
        Row("at 2.3 it is not", push, {"hc": 1.0}, driven=straight(accel_mps2=1.5), accel_mps2=2.3),
        Row("a sharp swerve is felt", aside(2.0, 1.0), {"hc": 0.0}, driven=keep),
        Row("another mind than half a second ago", straight(accel_mps2=2.0), {"ec": 0.0}, driven=keep,
            before=keep),
        Row("the same mind", straight(accel_mps2=1.0), {"ec": 1.0}, driven=keep),
    )  # fmt: skip


def scenes_of(rows: tuple[Row, ...]) -> tuple[DrivenScenes, Doubles, PlanPairs]:
    """Return the rows as the scorer takes them."""
    n = len(rows)
    plan = np.stack([row.plan for row in rows])
    driven = np.stack([row.plan if row.driven is None else row.driven for row in rows])
    history = np.zeros((n, HISTORY_STEPS, 3))
    accel = np.array([row.accel_mps2 for row in rows])
    back_s = np.arange(HISTORY_STEPS - 1, -1, -1) * TICK_S
    speed = np.array([row.speed_mps for row in rows])
    history[:, :, 0] = np.maximum(speed[:, None] - accel[:, None] * back_s, 0.0)
    history[:, :, 2] = accel[:, None]
    lights = Lights(
        np.array([row.line_m + _BACK_M for row in rows]),
        np.stack([np.zeros(TICKS + 1, dtype=np.bool_) if row.red is None else row.red for row in rows]),
    )
    frames = Frames(("drive",) * n, (frozenset(),) * n, driven, tuple(row.agents for row in rows), _roads(rows))
    earlier = np.stack([_earlier(row) if row.before is None else row.before for row in rows])
    # A plan that begins 0.5 s earlier began at another speed where the car was gaining or losing some.
    began = speed - np.array([_lately(row) for row in rows]) * _SHIFT_TICKS * TICK_S
    began = np.array([b if row.before_mps is None else row.before_mps for b, row in zip(began, rows, strict=True)])
    return DrivenScenes(frames, lights, history), plan, PlanPairs(earlier, began, _SHIFT_TICKS)


def _lately(row: Row) -> float:
    """Return the acceleration of a plan that is straight and even, else 0."""
    return float(np.diff(row.plan[:, 0], n=2).mean() / 0.25) if row.before is None and _is_even(row.plan) else 0.0


def _is_even(plan: Doubles) -> bool:
    return bool(np.allclose(plan[:, 1], 0.0) and np.allclose(np.diff(plan[:, 0], n=3), 0.0))


def _earlier(row: Row) -> Doubles:
    """Return the plan of half a second ago that leads to the same motion, for a straight and even one."""
    if not _is_even(row.plan):
        return row.plan
    accel = _lately(row)
    return straight(row.speed_mps - accel * _SHIFT_TICKS * TICK_S, accel)


def _roads(rows: tuple[Row, ...]) -> Roads:
    """Return for each row a road of one curvature whose own left lane the ego is in the middle of, heading along it."""
    n = len(rows)
    s = np.arange(_POINTS) * GRID_M - _BACK_M
    bend = np.array([row.bend_1pm for row in rows])[:, None]
    # The centre line lies to the left of the ego, on a circle whose radius is smaller by as much in a left bend.
    own = 1.0 / np.where(bend == 0.0, 1.0, bend) - _LANE_M
    heading = np.where(bend == 0.0, 0.0, s / own)
    x = np.where(bend == 0.0, s, own * np.sin(heading))
    y = np.where(bend == 0.0, _LANE_M, _LANE_M + own * (1.0 - np.cos(heading)))
    return Roads(
        x, y * np.ones_like(x), heading * np.ones_like(x),
        np.tile([-7.0, 7.0], (n, 1)), np.tile([-7.0, 0.0], (n, 1)), np.tile([-1.75, -5.25], (n, 1)),
    )  # fmt: skip


def wrong_scorers() -> dict[str, EpdmsScorer]:
    """Return scorers with mistakes, as arguments that are changed on their way in or scores on their way out."""

    def turned(change: Callable[[Doubles], Doubles]) -> EpdmsScorer:
        return lambda plan, before, scenes: score_epdms(change(plan), before, scenes)

    def weighed_alike(plan: Doubles, before: PlanPairs | None, scenes: DrivenScenes) -> dict[str, Doubles]:
        scores = score_epdms(plan, before, scenes)
        return {**scores, TOTAL: np.mean([scores[name] for name in PARTS if name in scores], axis=0)}

    def unknown_is_one(plan: Doubles, before: PlanPairs | None, scenes: DrivenScenes) -> dict[str, Doubles]:
        scores = score_epdms(plan, before, scenes)
        return {**dict.fromkeys((*PARTS, TOTAL), np.ones(len(scenes))), **scores}

    return {
        "EPDMS: left taken for right": turned(lambda plan: plan * [1.0, -1.0]),
        "EPDMS: feet taken for metres": turned(lambda plan: plan * 0.3048),
        "EPDMS: half a second late": turned(lambda plan: np.concatenate([plan[:, :1] * 0.0, plan[:, :-1]], axis=1)),
        "EPDMS: a mean in place of a product": weighed_alike,
        "EPDMS: unknown counted as fine": unknown_is_one,
    }
