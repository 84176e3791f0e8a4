"""Which process holds the others up."""

from __future__ import annotations

import pytest

from platform_lib.models.slow_ranks import slow_ranks


def test_the_one_that_takes_twice_as_long_is_named():
    (found,) = slow_ranks([0.1, 0.21, 0.1, 0.11])
    assert found.rank == 1
    assert "rank 1 holds the others up: 210 ms" in str(found)
    assert "2.1 times the others' 100 ms" in str(found)


@pytest.mark.parametrize("own_s", [[0.1], [0.1, 0.14], [0.001, 0.004], [0.1, 0.1, 0.1], []])
def test_usual_differences_are_not(own_s):
    assert slow_ranks(own_s) == ()
