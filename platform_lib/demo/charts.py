"""The demo page's charts, as SVG text made by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from platform_lib.evidence import EvaluationReport, Interval, MetricsRow

COLOURS = {
    "camera": "#0b6bcb",
    "ego_only": "#d9730d",
    "constant_velocity": "#8a8f98",
    "driven": "#1a9850",
    "expert": "#1a9850",
}
LABELS = {"camera": "camera planner", "ego_only": "ego-only", "constant_velocity": "constant velocity"}
_COMPRESSED_COLOUR = "#7b3fb5"


def colour_of(planner: str) -> str:
    """Return a planner's colour; compressed artefacts share one."""
    return COLOURS.get(planner, _COMPRESSED_COLOUR)


def label_of(planner: str) -> str:
    """Return a planner's name for people."""
    return LABELS.get(planner, planner)


def training_curve(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Draw training loss and validation ADE by epoch.

    Args:
        curves: Planner -> rows with ``epoch``, ``train_loss``, ``val_ade_m``.
    """
    figure = Figure(figsize=(11.0, 3.2), layout="constrained")
    loss, ade = figure.subplots(1, 2)
    for planner, rows in curves.items():
        epochs = [row["epoch"] for row in rows]
        loss.plot(epochs, [row["train_loss"] for row in rows], color=colour_of(planner), label=label_of(planner))
        ade.plot(epochs, [row["val_ade_m"] for row in rows], color=colour_of(planner), label=label_of(planner))
    _dress(loss, title="training loss", x_label="epoch")
    _dress(ade, title="validation ADE, m", x_label="epoch")
    loss.set_yscale("log")
    ade.legend(frameon=False, fontsize=9)
    return _svg(figure)


def metric_by_slice(report: EvaluationReport, *, metric: str, title: str, compressed: EvaluationReport | None) -> str:
    """Draw one open-loop metric by slice for every planner, with its 95 % intervals."""
    rows = [*report.open_loop, *(compressed.open_loop if compressed else ())]
    slices = list(dict.fromkeys(row.slice for row in rows))
    planners = list(dict.fromkeys(row.planner for row in rows))
    figure = Figure(figsize=(11.0, 0.6 + 0.46 * len(slices)), layout="constrained")
    axes = figure.subplots()
    for rank, planner in enumerate(planners):
        shift = (rank - (len(planners) - 1) / 2) * 0.17
        for place, name in enumerate(slices):
            found = next((row for row in rows if (row.planner, row.slice) == (planner, name)), None)
            if found is not None and metric in found.metrics:
                _dot(axes, found.metrics[metric], y=place + shift, colour=colour_of(planner))
        axes.plot([], [], "o", color=colour_of(planner), label=label_of(planner))
    axes.set_yticks(range(len(slices)), [_slice_label(name, rows) for name in slices])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    _dress(axes, title=title, x_label=None)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _svg(figure)


def _slice_label(name: str, rows: Sequence[MetricsRow]) -> str:
    count = next((row.n for row in rows if row.slice == name), 0)
    return f"{name.replace('_', ' ')}  ({count})"


def _dot(axes: Axes, value: Interval, *, y: float, colour: str) -> None:
    if value.low is not None and value.high is not None:
        axes.plot([value.low, value.high], [y, y], color=colour, linewidth=1.6, alpha=0.55, solid_capstyle="round")
    axes.plot([value.value], [y], "o", color=colour, markersize=5)


def _dress(axes: Axes, *, title: str, x_label: str | None) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color="#3c4149")
    if x_label:
        axes.set_xlabel(x_label, fontsize=9, color="#6b7280")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c9cdd3")
    axes.tick_params(colors="#6b7280", labelsize=9)
    axes.grid(visible=True, color="#eceef1", linewidth=0.8)
    axes.set_axisbelow(True)


def _svg(figure: Figure) -> str:
    # Text stays text, so the page can be searched; a fixed salt makes the same figure the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "drivetrain", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
