"""The front of what can be had: cost against closeness to the float model, as a picture of its own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _EDGE = 640, 320, 56


@dataclass(frozen=True, slots=True)
class Point:
    """One thing in the picture: what it costs, the less the better, how close it comes to the float model, and its caption."""

    name: str
    cost: float
    closeness_db: float
    said: str


@dataclass(frozen=True, slots=True)
class Axes:
    """What is drawn across and up."""

    across: str
    up: str


def front_of(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in cost and in closeness both, the cheapest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda item: (item.cost, -item.closeness_db)):
        if not found or point.closeness_db > found[-1].closeness_db:
            found.append(point)
    return tuple(found)


def picture(points: Sequence[Point], chosen: str | None, axes: Axes, *, kind: str) -> str:
    """Draw the points and their front as SVG, or say that there are too few; `kind` is what the points are."""
    if len(points) < 2:
        return f"<p>No picture: fewer than two {kind} have both a cost and an SQNR.</p>"
    front = front_of(points)
    across = _scale([point.cost for point in points], _EDGE, _WIDTH - _EDGE)
    up = _scale([point.closeness_db for point in points], _HEIGHT - _EDGE, _EDGE)
    line = " ".join(f"{across(point.cost):.1f},{up(point.closeness_db):.1f}" for point in front)
    marks = []
    for point in points:
        x, y = across(point.cost), up(point.closeness_db)
        colour = "#176b2c" if point.name == chosen else "#1f5fa8"
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{escape(point.said)}</title></circle>'
            f'<text {_beside(x)} y="{y - 8:.1f}" font-size="13">{escape(point.name)}</text>'
        )
    floor, left = _HEIGHT - _EDGE + 24, _EDGE - 24
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="cost against closeness">'
        f'<path d="M{left} {_EDGE // 2}V{floor}H{_WIDTH - 8}" fill="none" stroke="#999"/>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 4}" text-anchor="end" font-size="12">{escape(axes.across)}</text>'
        f'<text x="{left + 6}" y="{_EDGE // 2 - 4}" font-size="12">{escape(axes.up)}</text>'
        f"{_ends(points, floor, left)}"
        f'<polyline points="{line}" fill="none" stroke="#bbb" stroke-dasharray="4 3"/>{"".join(marks)}</svg>'
        f"<p>On the front: {escape(', '.join(point.name for point in front))}.</p>"
    )


def _beside(x: float) -> str:
    """Write a name to the right of its point, and to the left of one in the right half: a long one would be cut off."""
    return f'x="{x + 8:.1f}"' if x <= _WIDTH / 2 else f'x="{x - 8:.1f}" text-anchor="end"'


def _ends(points: Sequence[Point], floor: float, left: float) -> str:
    """Write the smallest and the largest value at each axis: without them a picture is a shape of no size."""
    costs, ratios = [point.cost for point in points], [point.closeness_db for point in points]
    across = ((min(costs), _EDGE), (max(costs), _WIDTH - _EDGE)) if max(costs) > min(costs) else ((costs[0], _EDGE),)
    up = (
        ((min(ratios), _HEIGHT - _EDGE), (max(ratios), _EDGE))
        if max(ratios) > min(ratios)
        else ((ratios[0], _HEIGHT - _EDGE),)
    )
    marks = [
        f'<text x="{x}" y="{floor + 11}" text-anchor="middle" font-size="11" fill="#666">{value:.3g}</text>'
        for value, x in across
    ]
    marks += [
        f'<text x="{left - 3}" y="{y + 4}" text-anchor="end" font-size="11" fill="#666">{value:.0f}</text>'
        for value, y in up
    ]
    return "".join(marks)


def _scale(values: Sequence[float], start: float, stop: float) -> Callable[[float], float]:
    low = min(values)
    span = (max(values) - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)
