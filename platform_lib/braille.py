"""Small maps drawn in braille characters, two by four dots each (pure)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
# Source: Unicode 17.0, block U+2800: bits of the dots by row, left and right.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800


def braille_map(x: Doubles, y: Doubles, *, columns: int, rows: int, plain: bool = False) -> list[str]:
    """Draw a path, x to the right and y upward, both to the same scale.

    Args:
        x: (N,) finite, at least one.
        y: (N,) likewise, in the same unit.
        columns: Most characters a line.
        rows: Most lines; as few as the path's height needs are returned.
        plain: With asterisks, where braille cannot be shown.
    """
    across, down = 2 * columns - 1, 4 * rows - 1
    span = max(float(np.ptp(x)) / across, float(np.ptp(y)) / down) or 1.0
    at_x, at_y = (x - x.min()) / span, (y.max() - y) / span
    steps = np.maximum(np.abs(np.diff(at_x)), np.abs(np.diff(at_y)))
    # As many points between two as it takes to leave no gap; never more than a map has dots.
    parts = np.minimum(np.ceil(steps).astype(np.int64), across + down)
    dots = np.zeros((4 * rows, 2 * columns), bool)
    dots[np.rint(at_y).astype(np.int64), np.rint(at_x).astype(np.int64)] = True
    for number in np.flatnonzero(parts > 1):
        share = np.linspace(0.0, 1.0, int(parts[number]) + 1)
        between = [at[number] + share * (at[number + 1] - at[number]) for at in (at_y, at_x)]
        dots[tuple(np.rint(line).astype(np.int64) for line in between)] = True
    lines = [_line(dots[top : top + 4], plain=plain) for top in range(0, 4 * rows, 4)]
    while len(lines) > 1 and not lines[-1].strip(chr(_BLANK) + " "):
        lines.pop()
    return [line.rstrip(chr(_BLANK) + " ") for line in lines]


def _line(dots: npt.NDArray[np.bool_], *, plain: bool) -> str:
    cells = dots.reshape(4, -1, 2).transpose(1, 0, 2)
    if plain:
        return "".join("*" if cell.any() else " " for cell in cells)
    weights = np.array(_DOTS)
    return "".join(chr(_BLANK + int(weights[cell].sum())) for cell in cells)
