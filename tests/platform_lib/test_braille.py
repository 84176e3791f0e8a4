from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.braille import braille_map


def test_a_line_to_the_right_is_one_line_of_characters() -> None:
    assert braille_map(np.array([0.0, 9.0]), np.zeros(2), columns=5, rows=3) == ["⠉⠉⠉⠉⠉"]
    assert braille_map(np.array([0.0, 9.0]), np.zeros(2), columns=5, rows=3, plain=True) == ["*****"]


def test_upward_is_up_and_both_axes_have_one_scale() -> None:
    climbing = braille_map(np.array([0.0, 7.0]), np.array([0.0, 7.0]), columns=10, rows=2)
    assert climbing == ["⠀⠀⡠⠊", "⡠⠊"]
    assert braille_map(np.array([3.0]), np.array([4.0]), columns=10, rows=4) == ["⠁"]


@given(st.lists(st.tuples(st.floats(-1e7, 1e7), st.floats(-1e7, 1e7)), min_size=1, max_size=40), st.booleans())
def test_whatever_is_drawn_stays_inside(points: list[tuple[float, float]], plain: bool) -> None:
    x, y = (np.array(axis) for axis in zip(*points, strict=True))
    lines = braille_map(x, y, columns=20, rows=5, plain=plain)
    assert 1 <= len(lines) <= 5
    assert all(len(line) <= 20 for line in lines)
    assert any(line.strip() for line in lines)
