"""Charts are the page's own: its colours, its text, the same bytes each time, and nothing is drawn that was not measured."""

from __future__ import annotations

import re

from evaluation_reports import report_of

from platform_lib.demo import charts
from platform_lib.evidence import EvaluationReport, Interval, MetricsRow

CURVES = {
    "camera": [{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 0.5}],
    "ego_only": [{"epoch": 1, "train_loss": 3.0}, {"epoch": 2, "train_loss": 1.5}],
}


def report(*planners: str) -> EvaluationReport:
    metrics = {"ade_m": Interval(value=1.0, low=0.5, high=1.5)}
    rows = tuple(MetricsRow(planner=name, slice="night", n=12, drives=3, metrics=metrics) for name in planners)
    return report_of(*rows)


def drawn() -> list[str]:
    return [
        charts.curve(CURVES, value="train_loss", title="training loss", logarithmic=True),
        charts.metric_by_slice([report("camera", "ego_only"), report("w8mixed")], metric="ade_m", title="ADE, m"),
    ]


def test_colours_are_the_pages_and_follow_light_and_dark():
    for svg in drawn():
        fixed = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]+)", svg))
        assert fixed == set()
        assert "var(--camera)" in svg
    assert "var(--compressed)" in drawn()[1]


def test_the_same_figures_give_the_same_bytes():
    assert drawn() == drawn()


def test_text_stays_text_and_counts_the_frames():
    loss, ade = drawn()
    assert ">training loss<" in loss
    assert ">night  (12)<" in ade


def test_what_was_not_measured_is_not_drawn():
    measured = charts.metric_by_slice([report("camera")], metric="ade_m", title="ADE, m")
    missing = charts.metric_by_slice([report("camera")], metric="fde_m", title="FDE, m")
    assert "var(--camera)" in measured
    assert "var(--camera)" not in missing
