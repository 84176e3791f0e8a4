import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.checkpoint import best_interval, saxena_s, useful_fraction, young_daly_s
from platform_lib.errors import ConfigError


def test_young_daly_by_hand():
    assert young_daly_s(30, 3600 * 2) == pytest.approx(math.sqrt(2 * 30 * 7200))  # 657 s


def test_saxena_by_hand():
    # Ts 30, Tf 7200, Tr 780: 30 + sqrt(2 * 7980 * 30 + 900)
    assert saxena_s(30, 7200, 780) == pytest.approx(30 + math.sqrt(478_800 + 900))


def test_useful_fraction_by_hand():
    # 100 s of restart, then rounds of 50 + 10: two fit into 140 s, the third is lost; the second life is too short.
    assert useful_fraction(50, 10, 100, [240.0, 100.0]) == pytest.approx(100 / 340)


@settings(deadline=None)  # a pause of the machine is no defect
@given(st.floats(1, 300), st.floats(600, 90000), st.lists(st.floats(60, 90000), min_size=1, max_size=20))
def test_the_kept_share_is_a_share(write_s, interval_s, lives):
    assert 0 <= useful_fraction(interval_s, write_s, 780, lives) <= 1


def test_a_rule_beats_extremes_on_heavy_tails():
    lives = [60 * 6.0 * 1.35**power for power in range(20)]
    chosen = best_interval(30, 195, lives)
    assert chosen.useful_fraction is not None
    assert chosen.useful_fraction > useful_fraction(6 * 3600, 30, 195, lives)
    assert chosen.useful_fraction > useful_fraction(30, 30, 195, lives)


def test_nothing_to_count_on_is_refused():
    with pytest.raises(ConfigError, match="life"):
        best_interval(30, 195, [])
    with pytest.raises(ConfigError, match="more than 0"):
        young_daly_s(0, 100)
