"""Clocks from events that both recorders stamped, against the truth they were made from."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.errors import ContractError
from platform_lib.timeline import AlignmentOptions, ClockEstimate, estimate_clock_from_events, pair_events

T0 = 1_780_000_000_000_000_000
CASES = 60
RAW = AlignmentOptions(floor_s=0.0, max_sigma_s=0.05)
"""Without the floor, which would hide whether the statistical uncertainty is right."""


def ns(seconds: np.ndarray) -> np.ndarray:
    return T0 + np.rint(seconds * 1e9).astype(np.int64)


def pairs(seed: int, *, wrong: float = 0.25) -> tuple[np.ndarray, np.ndarray, float, float, float]:
    """Draw pairs: up to 2 s and 50 ppm, jitter, a tenth lost, a quarter late or mismatched."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(rng.integers(30, 400)) * float(rng.choice([0.1, 1.0]))
    time_s = time_s[rng.random(len(time_s)) > 0.1]
    offset_s, drift, jitter_s = rng.uniform(-2.0, 2.0), rng.uniform(-50e-6, 50e-6), 10.0 ** rng.uniform(-4.5, -2.7)
    source_s = time_s + offset_s + drift * time_s + rng.normal(0.0, jitter_s, len(time_s))
    late = rng.random(len(time_s)) < wrong
    reference_s = time_s + np.where(late, rng.uniform(0.01, 0.4, len(time_s)) * (1.0 if seed % 2 else -1.0), 0.0)
    return ns(source_s), ns(reference_s), offset_s, drift, float(time_s[-1])


def errors(estimate: ClockEstimate, offset_s: float, drift: float, last_s: float) -> np.ndarray:
    """Error over its uncertainty at the beginning and the end, where a wrong drift shows."""
    assert estimate.model is not None, estimate.reason
    true_s = np.array([0.0, last_s])
    shown = ns(true_s + offset_s + drift * true_s)
    error_s = (estimate.model.reference_from_source_ns(shown) - ns(true_s)) * 1e-9
    return np.stack([error_s, error_s / estimate.model.sigma_s(shown)])


def measured(**planted: float) -> np.ndarray:
    """Return errors and ratios (cases, 2, 2); `planted` falsifies each model before it is judged."""
    found = []
    for seed in range(CASES):
        source_ns, reference_ns, offset_s, drift, last_s = pairs(seed)
        estimate = estimate_clock_from_events(source_ns, reference_ns, RAW)
        found.append(errors(falsified(estimate, **planted), offset_s, drift, last_s))
    return np.array(found)


def falsified(estimate: ClockEstimate, *, drift_sign: float = 1.0, certainty: float = 1.0) -> ClockEstimate:
    from dataclasses import replace

    model = estimate.model
    assert model is not None, estimate.reason
    wrong = replace(
        model,
        drift=drift_sign * model.drift,
        offset_sigma_s=model.offset_sigma_s / certainty,
        drift_sigma=model.drift_sigma / certainty,
        covariance_s=model.covariance_s / certainty**2,
    )
    return replace(estimate, model=wrong)


def holds(found: np.ndarray) -> bool:
    ratios = found[:, 1].ravel()
    exact = float(np.quantile(np.abs(found[:, 0]), 0.99)) <= 0.005
    return exact and bool(np.mean(np.abs(ratios) <= 3.0) >= 0.98) and 0.75 < float(np.sqrt(np.mean(ratios**2))) < 1.3


def test_within_5_ms_and_the_uncertainty_is_right() -> None:
    assert holds(measured())


def test_a_drift_of_the_wrong_sign_would_be_caught() -> None:
    assert not holds(measured(drift_sign=-1.0))


def test_half_the_uncertainty_would_be_caught() -> None:
    assert not holds(measured(certainty=2.0))


def test_the_least_uncertainty_is_that_of_messages() -> None:
    source_ns, reference_ns, *_ = pairs(1)
    assert estimate_clock_from_events(source_ns, reference_ns).offset_sigma_s >= AlignmentOptions().floor_s


@pytest.mark.parametrize(
    ("wrong", "said"), [(0.7, "agree on one clock"), (1.0, "agree on one clock")], ids=["most are wrong", "all are"]
)
def test_pairs_that_do_not_agree_are_no_clock(wrong: float, said: str) -> None:
    for seed in range(8):
        estimate = estimate_clock_from_events(*pairs(seed, wrong=wrong)[:2])
        assert estimate.model is None
        assert said in str(estimate.reason)


def test_too_few_or_too_far_is_no_clock() -> None:
    source_ns, reference_ns, *_ = pairs(3)
    assert estimate_clock_from_events(source_ns[:5], reference_ns[:5]).model is None
    far = estimate_clock_from_events(source_ns, reference_ns + 3600 * 10**9)
    assert "0 of" in str(far.reason)
    nothing = np.zeros(0, dtype=np.int64)
    assert estimate_clock_from_events(nothing, nothing).model is None


def test_two_pairs_at_one_moment_do_not_upset_the_line() -> None:
    moment = np.full(20, T0, dtype=np.int64)
    estimate = estimate_clock_from_events(moment, moment + 100_000_000)
    assert estimate.model is not None
    assert estimate.model.offset_s == pytest.approx(0.1)
    assert estimate.model.drift_sigma == pytest.approx(50e-6, rel=0.01)  # nothing but what was assumed


def test_delays_that_wander_count_as_few() -> None:
    rng = np.random.default_rng(5)
    time_s = np.arange(600) * 0.1
    wander_s = np.cumsum(rng.normal(0.0, 2e-4, 600))
    plain = estimate_clock_from_events(ns(time_s + rng.normal(0.0, wander_s.std(), 600)), ns(time_s), RAW)
    wandering = estimate_clock_from_events(ns(time_s + wander_s), ns(time_s), RAW)
    assert wandering.offset_sigma_s > 2.0 * plain.offset_sigma_s


def test_events_are_paired_by_number_and_doubtful_ones_left_out() -> None:
    source, reference = pair_events(
        np.array([10, 20, 30, 40, 41]),
        np.array([7, 5, 9, 6]),
        source_number=np.array([3, 1, 2, 4, 4]),
        reference_number=np.array([2, 1, 4, 9]),
    )
    assert source.tolist() == [20, 30]
    assert reference.tolist() == [5, 7]


def test_lengths_that_differ_are_refused() -> None:
    one, two = np.array([1]), np.array([1, 2])
    with pytest.raises(ContractError):
        estimate_clock_from_events(one, two)
    with pytest.raises(ContractError):
        pair_events(one, two, source_number=one, reference_number=one)
