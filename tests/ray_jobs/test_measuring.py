"""What a commit costs, told apart from what its logs add."""

from __future__ import annotations

import pytest

from ray_jobs.measuring import split_commits


def test_a_commit_and_its_logs_are_told_apart() -> None:
    assert split_commits([(0.15, 0.25)], 3) == pytest.approx((0.1, 0.05))
    # Two of the three pairs met other work; by the first alone a commit would take nothing, and each log 0.35 s.
    assert split_commits([(0.15, 0.85), (0.4, 0.25), (0.15, 0.3)], 3) == pytest.approx((0.1, 0.05))


def test_nothing_is_less_than_nothing() -> None:
    assert split_commits([(0.3, 0.2)], 3) == pytest.approx((0.3, 0.0))
    assert split_commits([(0.01, 0.9)], 3) == pytest.approx((1e-4, 0.3))
