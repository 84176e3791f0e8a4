"""Mistakes planted in the scorer's own source: the self-test catches each of them, and passes on the source as it is.

Every mutant is a fresh copy of the scoring modules in which one piece of text is another; they import each other, not the
real ones. A mutant whose text is no longer in the source fails, so that the list cannot go stale.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import platform_lib.evaluation

ROOT = Path(platform_lib.evaluation.__file__).parent
# In the order in which they import each other.
SCORER = ("geometry", "roads", "frames", "poses", "swept", "motion", "comfort", "faults", "open_loop", "epdms")
COPIED = (*SCORER, "self_test_epdms", "self_test")

MUTANTS: dict[str, tuple[str, str, str]] = {
    "sign of the turn of the ego's box": (
        "geometry",
        "y = boxes.y_m[:, None] + local[..., 0] * sine + local",
        "y = boxes.y_m[:, None] - local[..., 0] * sine + local",
    ),
    "ego box centred on its rear axle": (
        "geometry",
        "x_m=x_m + EGO_CENTRE_AHEAD_M * np.cos(yaw_rad)",
        "x_m=x_m",
    ),
    "ego box of half its width": ("geometry", "width_m=size * EGO_WIDTH_M", "width_m=size * EGO_WIDTH_M / 2"),
    "length and width of the ego exchanged": ("geometry", "length_m=size * EGO_LENGTH_M", "length_m=size * EGO_WIDTH_M"),
    "heading from x by y": ("geometry", "np.arctan2(steps[..., 1], steps[..., 0])", "np.arctan2(steps[..., 0], steps[..., 1])"),
    "other boxes of half their size": (
        "swept",
        "return 0.5 * (boxes.length_m * np.abs(np.cos(angle_rad))",
        "return 0.25 * (boxes.length_m * np.abs(np.cos(angle_rad))",
    ),
    "sine and cosine of the half extent exchanged": (
        "swept",
        "boxes.length_m * np.abs(np.cos(angle_rad)) + boxes.width_m * np.abs(np.sin(angle_rad))",
        "boxes.length_m * np.abs(np.sin(angle_rad)) + boxes.width_m * np.abs(np.cos(angle_rad))",
    ),
    "agents one step early": ("swept", "own_s = (step + 1.0) * STEP_S", "own_s = step * STEP_S"),
    "agents not followed between samples": ("swept", "(gap <= _MATCH_M) &", "(gap <= -1.0) &"),
    "frames of agents shifted by one": (
        "swept",
        "np.minimum.at(found, sweeps.frame, contact_times",
        "np.minimum.at(found, sweeps.frame - 1, contact_times",
    ),
    "motion of agents reversed": ("swept", "(a + part * (b - a) for a, b in columns)", "(a - part * (b - a) for a, b in columns)"),
    "plan one step ahead in the sweep": (
        "poses",
        "path = np.concatenate([np.zeros((len(plan_m), 1, 2)), plan_m], axis=1)",
        "path = np.concatenate([plan_m, plan_m[:, -1:]], axis=1)",
    ),
    "mean over the wrong axis": ("open_loop", "np.linalg.norm(plan - frames.future_m, axis=2)", "np.linalg.norm(plan - frames.future_m, axis=2).mean(axis=0)[None].repeat(len(plan), 0)"),
    "horizon of 1 s is 1.5 s": ("open_loop", "{1: 2, 2: 4, 3: 6}", "{1: 3, 2: 4, 3: 6}"),
    "end taken one step early": ("open_loop", "distance[:, k - 1]", "distance[:, k - 2]"),
    "first step left out of the mean": ("open_loop", "distance[:, :k].mean(axis=1)", "distance[:, 1:k].mean(axis=1)"),
    "squared distance": ("open_loop", "np.linalg.norm(plan - frames.future_m, axis=2)", "np.square(plan - frames.future_m).sum(axis=2)"),
    "miss at 2 m and not beyond": ("open_loop", "(fde[3] > MISS_M)", "(fde[3] >= MISS_M)"),
    "collision within any horizon is within all": ("open_loop", "(contact_s <= s)", "(contact_s < np.inf)"),
    "no finite plan asked for": ("open_loop", "    if broken:\n", "    if broken < 0:\n"),
    "acceleration per step, not per second": ("open_loop", "n=2, axis=1) / STEP_S**2", "n=2, axis=1) / STEP_S"),
    "left and right of the road exchanged": ("roads", "dy * cosine - dx * sine, curvature", "dx * sine - dy * cosine, curvature"),
    "away from the nearest point of the road": ("roads", "s = s + along", "s = s - along"),
    "one corner on the road is enough": ("roads", "(offset <= high)).all(axis=2)", "(offset <= high)).any(axis=2)"),
    "time between two knots doubled": ("motion", "left, right = np.zeros((count, count)), np", "h = h * 2\n    left, right = np.zeros((count, count)), np"),
    "present speed forgotten": ("motion", "knots[:, -1, 0] = speed_mps", "knots[:, -1, 0] = 0.0"),
    "everybody is at fault": ("faults", "return (ego_mps > STANDS_MPS) & fault", "return ego_mps > STANDS_MPS"),
    "nobody is at fault at its side": ("faults", "(lateral & _astride(road, frame, ego))", "(lateral & (frame < 0))"),
    "ahead and behind exchanged": ("faults", "dx * np.cos(ego.yaw_rad) + dy", "-dx * np.cos(ego.yaw_rad) - dy"),
    "no look ahead for time to collision": ("faults", "_LOOKS_TICKS = (0, 3, 6, 9)", "_LOOKS_TICKS = (0, 1, 2, 3)"),
    "NC added, not multiplied": ("epdms", "np.prod([parts[name]", "np.mean([parts[name]"),
    "weights of progress and comfort exchanged": ("epdms", '"ep": 5.0, "ttc": 5.0, "lk": 2.0, "hc": 2.0', '"ep": 2.0, "ttc": 5.0, "lk": 2.0, "hc": 5.0'),
    "not held against the human": ("epdms", "np.where(human.get(name, 1.0) == 0.0, 1.0, value)", "value"),
    "oncoming lanes on the right": ("epdms", "(offset_m > road.own_m[:, 1:])", "(offset_m < road.own_m[:, 1:])"),
    "red and green exchanged": ("epdms", "lights.red[:, 1:]", "~lights.red[:, 1:]"),
    "the light is asked half a second late": ("epdms", "& lights.red[:, 1:]", "& np.roll(lights.red, 5, axis=1)[:, 1:]"),
    "the stop line holds the rear axle": ("epdms", "traffic_lights(s + EGO_LENGTH_M / 2, scenes", "traffic_lights(s - 1.4, scenes"),
    "progress against the plan's own": ("epdms", "np.maximum(own, np.maximum(human_m, 0.0) * human_allowed)", "np.maximum(own, 0.0 * human_m * human_allowed)"),
    "lane keeping in half the time": ("epdms", "_LANE_OFF_M = 0.5", "_LANE_OFF_M = 0.3"),
    "braking is no discomfort": ("comfort", "_ACCEL_MPS2 = (-4.05, 2.40)", "_ACCEL_MPS2 = (-40.5, 2.40)"),
    "the plan before is compared without its shift": ("epdms", "old[name][:, shift:] - now[:, : TICKS + 1 - shift]", "old[name] - now"),
}  # fmt: skip


@contextmanager
def copied(module: str = "", old: str = "", new: str = "") -> Iterator[types.SimpleNamespace]:
    """Give copies of the scoring modules, one of them with `new` in place of `old`."""
    prefix = "mutant_of_evaluation"
    package = types.ModuleType(prefix)
    package.__path__ = []
    sys.modules[prefix] = package
    found = {}
    try:
        for name in COPIED:
            text = (ROOT / f"{name}.py").read_text(encoding="utf-8")
            if name == module:
                assert text.count(old) >= 1, f"'{old}' is no longer in {name}.py"
                text = text.replace(old, new)
            for other in COPIED:
                text = text.replace(f"platform_lib.evaluation.{other} import", f"{prefix}.{other} import")
            text = text.replace("from platform_lib.evaluation import", f"from {prefix} import")
            made = types.ModuleType(f"{prefix}.{name}")
            sys.modules[made.__name__] = made
            exec(compile(text, f"<{name} with a mistake>", "exec"), made.__dict__)  # noqa: S102 - our own source
            setattr(package, name, made)
            found[name] = made
        yield types.SimpleNamespace(**found)
    finally:
        for name in [key for key in sys.modules if key == prefix or key.startswith(f"{prefix}.")]:
            del sys.modules[name]


def verdict_of(module: str = "", old: str = "", new: str = "") -> tuple[str, ...]:
    """Name the cases that a copy fails; one that breaks down fails as well."""
    with copied(module, old, new) as made, np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a plan that is no number, which a mistake lets through
        try:
            return made.self_test.failed_cases(made.open_loop.score_frames, made.epdms.score_epdms)
        except (ValueError, IndexError, TypeError, KeyError) as error:
            return (f"breaks down: {error}",)


def test_the_source_as_it_is_passes_as_a_copy():
    assert verdict_of() == ()


def test_there_are_enough_mutants_of_every_module():
    assert len(MUTANTS) >= 20
    assert {module for module, _, _ in MUTANTS.values()} == set(SCORER) - {"frames"}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_in_the_source_is_caught(name):
    failed = verdict_of(*MUTANTS[name])
    assert failed, f"no case notices: {name}"
