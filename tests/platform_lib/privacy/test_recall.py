from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from platform_lib.privacy.recall import Box, covered_share, lower_bound


@pytest.mark.parametrize(("hits", "trials"), [(1, 1), (9, 10), (95, 100), (299, 299), (950, 1000), (3, 40)])
def test_the_bound_is_that_of_clopper_and_pearson(hits: int, trials: int) -> None:
    assert lower_bound(hits, trials) == pytest.approx(beta.ppf(0.05, hits, trials - hits + 1), abs=1e-9)


def test_nothing_measured_proves_nothing() -> None:
    assert lower_bound(0, 0) == 0.0
    assert lower_bound(0, 50) == 0.0
    with pytest.raises(ValueError, match="7 of 6"):
        lower_bound(7, 6)


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_bound_lies_below_the_share_and_more_evidence_raises_it(trials: int, hits: int) -> None:
    hits = min(hits, trials)
    assert lower_bound(hits, trials) <= hits / trials
    assert lower_bound(2 * hits, 2 * trials) >= lower_bound(hits, trials)


def test_coverage_is_of_the_union_and_not_the_sum() -> None:
    box = Box(10, 10, 20, 10)
    half = Box(0, 0, 20, 100)
    assert covered_share(box, [half]) == pytest.approx(0.5)
    assert covered_share(box, [half, half]) == pytest.approx(0.5)
    assert covered_share(box, [half, Box(20, 10, 10, 5)]) == pytest.approx(0.75)
    assert covered_share(box, [Box(0, 0, 100, 100)]) == 1.0
    assert covered_share(box, []) == 0.0
    assert covered_share(Box(0, 0, 0, 5), [half]) == 0.0
