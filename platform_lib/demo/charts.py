"""The demo page's charts, as SVG text made by matplotlib; their colours are the page's, light or dark."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from platform_lib.evidence import EvaluationReport, Interval, MetricsRow

LABELS = {"camera": "camera planner", "ego_only": "ego-only", "constant_velocity": "constant velocity"}
# What matplotlib draws -> the page's variable, which has a value for light and one for dark.
_PLANNERS = {
    "camera": ("#0b6bcb", "--camera"),
    "ego_only": ("#d9730d", "--ego-only"),
    "constant_velocity": ("#8a8f98", "--constant"),
}
_COMPRESSED = ("#7b3fb5", "--compressed")
_TITLE, _TEXT, _AXIS, _GRID = ("#3c4149", "--ink"), ("#6b7280", "--soft"), ("#c9cdd3", "--axis"), ("#eceef1", "--line")
_VARIABLES = dict([*_PLANNERS.values(), _COMPRESSED, _TITLE, _TEXT, _AXIS, _GRID])
# Half the page, so that two stand side by side, and one fills a phone at nearly its own size.
_WIDTH_IN = 5.3


def label_of(planner: str) -> str:
    """Return a planner's name for people."""
    return LABELS.get(planner, planner)


def variable_of(planner: str) -> str:
    """Return the page's variable that holds a planner's colour; compressed artefacts share one."""
    return _PLANNERS.get(planner, _COMPRESSED)[1]


def curve(curves: Mapping[str, Sequence[Mapping[str, float]]], *, value: str, title: str, logarithmic: bool) -> str:
    """Draw one value of the training curves by epoch.

    Args:
        curves: Planner -> rows with ``epoch`` and `value`.
        value: Which of the rows' values.
        title: The chart's title, with the unit.
        logarithmic: Whether the value's axis is.
    """
    figure = Figure(figsize=(_WIDTH_IN, 3.0), layout="constrained")
    axes = figure.subplots()
    for planner, rows in curves.items():
        axes.plot([row["epoch"] for row in rows], [row[value] for row in rows], color=_colour_of(planner))
    _dress(axes, title=title, x_label="epoch")
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    return _svg(figure)


def metric_by_slice(reports: Sequence[EvaluationReport], *, metric: str, title: str) -> str:
    """Draw one open-loop metric by slice for every planner, with its 95 % intervals."""
    rows = [row for report in reports for row in report.open_loop]
    slices = list(dict.fromkeys(row.slice for row in rows))
    planners = list(dict.fromkeys(row.planner for row in rows))
    figure = Figure(figsize=(_WIDTH_IN, 0.6 + 0.46 * len(slices)), layout="constrained")
    axes = figure.subplots()
    for rank, planner in enumerate(planners):
        shift = (rank - (len(planners) - 1) / 2) * 0.17
        for place, name in enumerate(slices):
            found = next((row for row in rows if (row.planner, row.slice) == (planner, name)), None)
            if found is not None and metric in found.metrics:
                _dot(axes, found.metrics[metric], y=place + shift, colour=_colour_of(planner))
    axes.set_yticks(range(len(slices)), [_slice_label(name, rows) for name in slices])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    _dress(axes, title=title, x_label=None)
    return _svg(figure)


def _colour_of(planner: str) -> str:
    return _PLANNERS.get(planner, _COMPRESSED)[0]


def _slice_label(name: str, rows: Sequence[MetricsRow]) -> str:
    count = next((row.n for row in rows if row.slice == name), 0)
    return f"{name.replace('_', ' ')}  ({count})"


def _dot(axes: Axes, value: Interval, *, y: float, colour: str) -> None:
    if value.low is not None and value.high is not None:
        axes.plot([value.low, value.high], [y, y], color=colour, linewidth=1.6, alpha=0.55, solid_capstyle="round")
    axes.plot([value.value], [y], "o", color=colour, markersize=5)


def _dress(axes: Axes, *, title: str, x_label: str | None) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=_TITLE[0])
    if x_label:
        axes.set_xlabel(x_label, fontsize=9, color=_TEXT[0])
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_AXIS[0])
    axes.tick_params(which="both", colors=_TEXT[0], labelsize=9)
    axes.grid(visible=True, color=_GRID[0], linewidth=0.8)
    axes.set_axisbelow(True)


def _svg(figure: Figure) -> str:
    # Text stays text, so the page can be searched; a fixed salt makes the same figure the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "drivetrain", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")), transparent=True
        )
    text = buffer.getvalue()
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text[text.index("<svg") :]
