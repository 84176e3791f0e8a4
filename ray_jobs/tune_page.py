"""A search as a page of its own: how good each trial was, where it was cut, and which values mattered."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from platform_lib.storage import publish_bytes

_WIDTH_IN = 8.0


@dataclass(frozen=True, slots=True)
class TrialLine:
    """One finished trial.

    Attributes:
        value: Its metric where it ended, the smaller the better.
        curve: Its metric by epoch; short where it was cut.
    """

    number: int
    value: float
    values: Mapping[str, Any]
    curve: tuple[float, ...]


def write_page(path: Path, study: str, metric: str, trials: Sequence[TrialLine]) -> None:
    """Write the page; it needs no network.

    Args:
        path: Where.
        study: The study's name.
        metric: What was made small.
        trials: The best first.
    """
    names = sorted(trials[0].values)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("trial", metric, "epochs", *names))
    rows = "".join(
        f"<tr><td>{item.number}</td><td>{item.value:.4g}</td><td>{len(item.curve)}</td>"
        + "".join(f"<td>{escape(_text(item.values.get(name)))}</td>" for name in names)
        + "</tr>"
        for item in trials
    )
    best = trials[0]
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(study)}</title><style>{_CSS}</style>"
        f"<h1>{escape(study)}</h1><p>{len(trials)} trials; the best, number {best.number}, reached "
        f"{escape(metric)} {best.value:.4g}.</p>{_curves(metric, trials)}{_progress(metric, trials)}"
        f"{''.join(_scatter(name, metric, trials) for name in names)}<table><tr>{head}</tr>{rows}</table></html>"
    )
    publish_bytes(path, page.encode())


_CSS = (
    "body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}svg{max-width:100%;height:auto}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ccc}"
)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _curves(metric: str, trials: Sequence[TrialLine]) -> str:
    """Every trial's curve; those that were cut end early."""

    def draw(axes: Any) -> None:
        for item in reversed(trials):
            best = item is trials[0]
            axes.plot(
                range(1, len(item.curve) + 1),
                item.curve,
                color="#c0392b" if best else "#7f8c8d",
                linewidth=2 if best else 0.8,
                marker="." if len(item.curve) == 1 else None,
            )
        axes.set(xlabel="epoch", ylabel=metric, title="trials; the best in red, others end where they were cut")

    return _svg(draw)


def _progress(metric: str, trials: Sequence[TrialLine]) -> str:
    in_order = sorted(trials, key=lambda item: item.number)
    least = [min(other.value for other in in_order[: place + 1]) for place in range(len(in_order))]

    def draw(axes: Any) -> None:
        axes.plot([item.number for item in in_order], [item.value for item in in_order], "o", color="#7f8c8d")
        axes.step([item.number for item in in_order], least, where="post", color="#c0392b")
        axes.set(xlabel="trial", ylabel=metric, title="best so far")

    return _svg(draw)


def _scatter(name: str, metric: str, trials: Sequence[TrialLine]) -> str:
    values: list[Any] = [item.values.get(name) for item in trials]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    def draw(axes: Any) -> None:
        shown = values if numbers else [str(value) for value in values]
        axes.plot(shown, [item.value for item in trials], "o", color="#2c3e50")
        if numbers and min(values) > 0 and max(values) > 20 * min(values):
            axes.set_xscale("log")
        axes.set(xlabel=name, ylabel=metric)

    return _svg(draw)


def _svg(draw: Any) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "drivetrain", "font.family": "sans-serif"}):
        figure = Figure(figsize=(_WIDTH_IN, 3.0), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
