"""Two finished runs side by side: what went in, what came out, and how they got there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from platform_lib.errors import MissingPartError
from platform_lib.home import Home
from platform_lib.manifest import Manifest, read_manifest
from ray_jobs.named import valid_name
from ray_jobs.training_journal import CURVE, read_lines

Row = tuple[str, str, str]
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs.

    Attributes:
        tables: Title -> rows of name, first run's and second run's value.
        curves: Drawn in text.
        document: The same for machines.
    """

    tables: dict[str, list[Row]]
    curves: list[str]
    document: dict[str, Any]


def compare_runs(home: Home, one: str, other: str) -> Comparison:
    """Compare two runs of a home.

    Raises:
        MissingPartError: One is not finished, or not there.
    """
    manifests = [_manifest(home.runs / valid_name(name, what="run")) for name in (one, other)]
    curves = [read_lines(home.runs / name / CURVE) for name in (one, other)]
    first, second = manifests
    differs = _differences(_flat(first.config), _flat(second.config))
    inputs = [
        ("dataset", *(item.inputs["dataset"].sha256 for item in manifests)),
        ("code", *(item.code.sha256 for item in manifests)),
        ("commit", *(_commit(item) for item in manifests)),
        ("weights", *(item.outputs["weights.pt"].sha256 for item in manifests)),
    ]
    packages = _differences(first.environment, second.environment)
    metrics = [
        (name, first.metrics.get(name), second.metrics.get(name))
        for name in sorted({*first.metrics, *second.metrics})
        if name not in ("order_sha256", "mlflow_run_id")
    ]
    same_order = first.metrics.get("order_sha256") == second.metrics.get("order_sha256")
    document = {
        "runs": [one, other],
        "inputs": {name: list(values) for name, *values in inputs},
        "same_dataset": inputs[0][1] == inputs[0][2],
        "same_sample_order": same_order,
        "configuration": {name: list(values) for name, *values in differs},
        "environment": {name: list(values) for name, *values in packages},
        "metrics": {name: list(values) for name, *values in metrics},
        "curves": curves,
    }
    tables = {
        "what went in": [
            *((name, a[:_SHORT], b[:_SHORT] if a != b else "same") for name, a, b in inputs[:3]),
            ("sample order", "", "same" if same_order else "differs"),
        ],
        "configuration" if differs else "configuration: the same": _shown(differs),
        "packages" if packages else "packages: the same": _shown(packages),
        "what came out": _shown(metrics),
    }
    return Comparison(tables, _drawn((one, other), curves), document)


def _manifest(folder: Path) -> Manifest:
    try:
        return read_manifest(folder / "manifest.json")
    except FileNotFoundError as error:
        raise MissingPartError(
            f"run '{folder.name}' is not finished",
            where=folder,
            remedy="`drivetrain train` it to its end; `ls HOME/runs` shows the runs",
        ) from error


def _commit(manifest: Manifest) -> str:
    if manifest.code.git_sha is None:
        return "none"
    return manifest.code.git_sha[:_SHORT] + ("+" if manifest.code.dirty else "")


def _flat(value: JsonValue, prefix: str = "") -> dict[str, JsonValue]:
    if isinstance(value, dict):
        return {key: found for name, item in value.items() for key, found in _flat(item, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): value}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = sorted({*one, *other})
    return [(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)]


def _shown(rows: Sequence[tuple[str, Any, Any]]) -> list[Row]:
    return [(name, _text(one), _text(other)) for name, one, other in rows]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _drawn(names: Sequence[str], curves: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Draw each value of the curves, both runs on one scale."""
    values = (
        [name for name in curves[0][0] if name not in ("epoch", "step", "seconds", "order_sha256")] if curves[0] else []
    )
    lines = []
    for value in values:
        series = [[float(row[value]) for row in curve if value in row] for curve in curves]
        every = [item for one in series for item in one]
        if not every:
            continue
        low, high = min(every), max(every)
        lines.append(f"{value}: {low:.4g} to {high:.4g}")
        lines += [f"  {_line(one, low, high)}  {name}" for name, one in zip(names, series, strict=True)]
    return lines


def _line(series: Sequence[float], low: float, high: float) -> str:
    count = min(_WIDTH, len(series))
    chosen = [series[round(place * (len(series) - 1) / max(1, count - 1))] for place in range(count)]
    spread = high - low or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int((item - low) / spread * len(_BARS)))] for item in chosen)
