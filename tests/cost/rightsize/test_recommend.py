from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from usage_laws import LAWS, law_fleet, law_usage

from cost.rightsize import krr
from cost.rightsize.conformal import LEAST_WEEKS, TooFew, calibrate, held_out, needed, quantile
from cost.rightsize.model import MIB, Requested, Sizes, Usage
from cost.rightsize.recommend import Bound, Refused, Risk, recommend
from cost.rightsize.weeks import level, outlook, weeks_of

STEP_S = 3600.0
WEEK = 168


def without_last_week(usage: Usage) -> Usage:
    return replace(usage, cpu_cores=usage.cpu_cores[:-WEEK], memory_bytes=usage.memory_bytes[:-WEEK])


def missed(fleet: list[Usage], sizes: Callable[[list[Usage]], list[Sizes]], risk: Risk) -> tuple[float, float]:
    """Return the shares of containers whose held-out week came above its CPU bound, and above its memory bound."""
    given_ = sizes([without_last_week(usage) for usage in fleet])
    cpu = [
        level(usage.cpu_cores[-WEEK:], risk.throttled_windows) > (size.cpu_cores or 0)
        for usage, size in zip(fleet, given_, strict=True)
    ]
    memory = [
        float(usage.memory_bytes[-WEEK:].max()) > (size.memory_bytes or 0)
        for usage, size in zip(fleet, given_, strict=True)
    ]
    return float(np.mean(cpu)), float(np.mean(memory))


def ours(risk: Risk) -> Callable[[list[Usage]], list[Sizes]]:
    def sizes(fleet: list[Usage]) -> list[Sizes]:
        found = recommend(fleet, risk)
        assert all(isinstance(item.cpu, Bound) and isinstance(item.memory, Bound) for item in found)
        return [Sizes(item.cpu.value, item.memory.value) for item in found]  # type: ignore[union-attr]

    return sizes


RISK = Risk(0.01, 0.05, 0.03)
FLEETS = [law_fleet(25, weeks=6, step_s=STEP_S, seed=seed) for seed in (1, 2, 3)]


def test_held_out_weeks_stay_within_the_stated_risk_over_all_laws() -> None:
    found = np.mean([missed(fleet, ours(RISK), RISK) for fleet in FLEETS], axis=0)
    # 450 containers, calibrated on as many: three standard deviations of both together.
    for share, chance in zip(found, (RISK.throttled_chance, RISK.oom_chance), strict=True):
        assert share <= chance + 3 * math.sqrt(chance * (1 - chance) * 2 / 450)


@pytest.mark.soak
def test_many_held_out_weeks_stay_within_the_default_risk() -> None:
    risk = Risk()
    fleets = (law_fleet(100, weeks=8, step_s=STEP_S, seed=seed) for seed in range(10, 16))
    found = np.mean([missed(fleet, ours(risk), risk) for fleet in fleets], axis=0)
    for share, chance in zip(found, (risk.throttled_chance, risk.oom_chance), strict=True):
        assert share <= chance + 3 * math.sqrt(chance * (1 - chance) * 2 / 3600), found


def test_the_measure_of_coverage_sees_what_does_not_cover() -> None:
    cpu, memory = missed(FLEETS[0], lambda fleet: [krr.recommend(usage) for usage in fleet], RISK)
    assert cpu > 0.3
    assert memory > 0.06
    halved = missed(
        FLEETS[0],
        lambda fleet: [Sizes((each.cpu_cores or 0) / 2, (each.memory_bytes or 0) / 2) for each in ours(RISK)(fleet)],
        RISK,
    )
    assert min(halved) > 0.5


@pytest.mark.parametrize("law", LAWS)
def test_each_law_of_its_own_stays_within_the_stated_risk(law: str) -> None:
    fleets = [law_fleet(40, weeks=6, laws=(law,), step_s=STEP_S, seed=seed) for seed in (4, 5)]
    found = np.mean([missed(fleet, ours(RISK), RISK) for fleet in fleets], axis=0)
    for share, chance in zip(found, (RISK.throttled_chance, RISK.oom_chance), strict=True):
        assert share <= chance + 3 * math.sqrt(chance * (1 - chance) * 2 / 80)


def test_growth_is_followed_and_chance_is_not_taken_for_it() -> None:
    growing = weeks_of(law_usage("growing", 1, weeks=8, step_s=STEP_S), "memory", share=0.0)
    assert 0.03 <= outlook(growing, 0, 8).trend <= 0.12
    steady = [
        weeks_of(law_usage("diurnal", number, weeks=8, step_s=STEP_S), "memory", share=0.0) for number in range(30)
    ]
    assert np.mean([outlook(each, 0, 8).trend > 0 for each in steady]) < 0.15


def test_a_short_history_is_refused_with_what_is_missing() -> None:
    fleet = [*law_fleet(5, weeks=6, step_s=STEP_S), law_usage("diurnal", 99, weeks=2.9, step_s=STEP_S)]
    *others, short = recommend(fleet, Risk(0.01, 0.1, 0.1))
    assert all(isinstance(item.cpu, Bound) for item in others)
    assert isinstance(short.cpu, Refused)
    assert "20.3 days" in short.cpu.reason
    assert f"{LEAST_WEEKS} whole weeks are needed" in short.memory.reason  # type: ignore[union-attr]


def test_a_fleet_too_small_for_its_chance_is_refused_with_the_numbers() -> None:
    found = recommend(law_fleet(1, weeks=4, laws=("idle",), step_s=STEP_S), Risk(0.01, 0.05, 0.01))
    assert isinstance(found[0].cpu, Refused)
    assert found[0].cpu.reason == "2 held-out weeks in all, and a chance this small needs 19"
    assert found[0].memory.reason == "2 held-out weeks in all, and a chance this small needs 99"  # type: ignore[union-attr]


def test_few_containers_give_several_weeks_each() -> None:
    found = recommend(law_fleet(8, weeks=6, laws=("diurnal",), step_s=STEP_S), Risk(0.01, 0.05, 0.05))
    assert isinstance(found[0].cpu, Bound)
    assert (found[0].cpu.weeks_each, found[0].cpu.scores) == (3, 24)


def test_usage_held_down_by_its_limit_is_refused_and_teaches_nothing() -> None:
    fleet = law_fleet(12, weeks=4, laws=("diurnal",), step_s=STEP_S)
    first = fleet[0]
    limit = float(np.quantile(first.cpu_cores, 0.8))
    fleet[0] = replace(first, cpu_cores=np.minimum(first.cpu_cores, np.float32(limit)))
    fleet[1] = replace(fleet[1], throttled=0.2)
    found = recommend(fleet, Risk(0.01, 0.1, 0.1), {first.key: Requested(cpu_limit_cores=limit)})
    assert isinstance(found[0].cpu, Refused)
    assert "at its CPU limit" in found[0].cpu.reason
    assert isinstance(found[1].cpu, Refused)
    assert found[1].cpu.reason == "throttled in 20.0% of its periods already"
    assert isinstance(found[2].cpu, Bound)
    assert found[2].cpu.scores == 10  # of 12
    assert isinstance(found[0].memory, Bound)


def test_a_kill_for_memory_raises_its_week() -> None:
    usage = law_usage("idle", 1, weeks=4, step_s=STEP_S)
    peak = float(usage.memory_bytes.max())
    killed = replace(usage, oom_kills_utc_s=(usage.start_utc_s + 3.5 * 7 * 86400,))
    calm, raised = (weeks_of(each, "memory", share=0.0, limit_bytes=peak).weekly for each in (usage, killed))
    assert raised[:3] == pytest.approx(calm[:3])
    assert math.exp(raised[3]) == pytest.approx(max(peak * 1.2, peak + 100 * MIB), rel=1e-3)


def test_what_was_not_measured_is_not_zero() -> None:
    usage = law_usage("diurnal", 1, weeks=4, step_s=STEP_S)
    cpu = usage.cpu_cores.copy()
    cpu[WEEK : WEEK + 100] = np.nan
    weeks = weeks_of(replace(usage, cpu_cores=cpu), "cpu", share=0.01)
    assert np.isnan(weeks.weekly[1])
    assert weeks.whole == 2
    idle_half = usage.cpu_cores.copy()
    idle_half[::3] = np.nan
    kept = weeks_of(replace(usage, cpu_cores=idle_half), "cpu", share=0.01)
    assert kept.whole == 4
    assert kept.measured == pytest.approx(2 / 3, abs=0.01)


@given(st.integers(1, 400), st.floats(0.005, 0.5))
@settings(max_examples=80, deadline=None)
def test_the_rank_of_a_margin_keeps_its_chance(count: int, chance: float) -> None:
    scores = [float(value) for value in range(count)]
    found = quantile(scores, chance)
    if count < needed(chance):
        assert found is None
    if found is not None:
        # Of count + 1 equally likely ranks, those above the margin's.
        assert (count - scores.index(found)) / (count + 1) <= chance + 1e-9


def test_margins_are_learnt_from_the_past_alone() -> None:
    fleet = [weeks_of(usage, "cpu", share=0.01) for usage in law_fleet(6, weeks=6, step_s=STEP_S)]
    before = calibrate([held_out(each) for each in fleet], 0.1)
    assert not isinstance(before, TooFew)
    for each in fleet:
        latest = held_out(each)[0]
        changed = replace_week(each.weekly, 9.0)
        assert outlook(type(each)(changed, each.daily, each.measured), 0, 5) == latest.seen


def replace_week(weekly: np.ndarray, value: float) -> np.ndarray:
    found = weekly.copy()
    found[-1] = value
    return found
