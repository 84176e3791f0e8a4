"""Paths as tokens: the round trip's error is bounded, and said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from driving_family import NORMAL
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import ConfigError
from platform_lib.models.path_head import PathHead
from platform_lib.models.trajectory_tokens import TrajectoryTokens


@given(st.integers(2, 512), st.floats(0.5, 8.0), st.integers(0, 2**31))
def test_the_round_trip_stays_within_half_a_bin(bins, reach, seed):
    tokens = TrajectoryTokens(bins, reach)
    residual = torch.as_tensor(np.random.default_rng(seed).uniform(-reach, reach, (8, 12)), dtype=torch.float32)
    again = tokens.decode(tokens.encode(residual))
    assert float((again - residual).abs().max()) <= tokens.error_bound * (1 + 1e-4) + 1e-6
    assert torch.equal(tokens.encode(again), tokens.encode(residual))


def test_the_bound_in_metres_holds_for_paths():
    tokens, path = TrajectoryTokens(128, 4.0), PathHead(NORMAL)
    history = torch.randn(64, 10, 3)
    driven = path(history, torch.rand(64, 12) * 7.9 - 3.95)
    planned = path(history, tokens.decode(tokens.encode(path.residual(history, driven))))
    bound = torch.tensor(tokens.error_bound_m(NORMAL))
    assert bool(((planned - driven).abs() <= bound + 1e-5).all())
    assert bound[5].tolist() == pytest.approx([1.8 * 4 / 128, 0.6 * 4 / 128])


def test_what_lies_beyond_is_put_into_the_outermost_bin_and_told():
    tokens = TrajectoryTokens(8, 2.0)
    far = torch.tensor([[-9.0, 9.0, 1.99]])
    assert tokens.encode(far).tolist() == [[0, 7, 7]]
    assert tokens.beyond(far).tolist() == [[True, True, False]]
    assert float((tokens.decode(tokens.encode(far)) - far).abs().max()) > tokens.error_bound


@pytest.mark.parametrize(("bins", "reach"), [(1, 1.0), (8, 0.0), (8, float("nan"))])
def test_no_bins_or_no_reach_is_refused(bins, reach):
    with pytest.raises(ConfigError):
        TrajectoryTokens(bins, reach)
