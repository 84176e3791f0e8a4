"""What the edge compiler costs beyond the tools it drives, and how close its results come to their simulation.

One side is ours without the ladder; the other is what a person writes by hand: AIMET and onnxruntime-qnn in one script. Each
runs in a fresh process, imports included, in turns. Then the whole ladder runs once a model, for its decibels.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.bench.measure import BenchError

TARGET = "sa8255p"
WITHIN = 1.15
"""Ours may take so many times the hand-written script's wall time."""
LADDER_SAMPLES = 2
# What the same engines gave when the work was begun, and what is asked. Source: measured on 2026-11-20, random weights.
ASKED_DB = {("bev", "w8a16"): (52.2, 50.0), ("bev", "w8a8"): (30.8, 30.0), ("resnet18", "w8a8"): (31.4, 30.0)}
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """One model: medians of both sides, in seconds, and the ladder's last rung before the device, in dB."""

    model: str
    precision: str
    ours_wall_s: float
    theirs_wall_s: float
    ours_cpu_s: float
    theirs_cpu_s: float
    target_db: float | None
    noted_db: float | None
    asked_db: float | None

    @property
    def ratio(self) -> float:
        """How many times the hand-written script's wall time ours takes."""
        return self.ours_wall_s / self.theirs_wall_s

    @property
    def outcome(self) -> str:
        """Return what is to be said of this row."""
        close = self.asked_db is None or (self.target_db is not None and self.target_db >= self.asked_db)
        return "holds" if close and self.ratio <= WITHIN else "NOT MET"


def measure_edge(folder: Path, tell: Tell, *, rounds: int, whole: bool) -> list[EdgeRow]:
    """Measure both models, resnet18 at its full size if `whole`, else a small one of its layout."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "builders"))
    from edge_models import bring, resnet, vit_bev

    nets = {"bev": vit_bev, "resnet18": partial(resnet, 64, 224) if whole else partial(resnet, 8, 32)}
    rows = []
    for name, net in nets.items():
        place = folder / f"edge-{name}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        brought = bring(name, place, net=net, count=LADDER_SAMPLES * 2)
        np.savez(place / "calibration.npz", **brought.calibration)
        for precision in ("w8a8", "w8a16") if name == "bev" else ("w8a8",):
            sides: dict[str, list[tuple[float, float]]] = {"ours": [], "by_hand": []}
            for turn in range(rounds):
                for side, found in sides.items():
                    found.append(_run(side, brought.path, place, precision))
                    tell(f"edge: {name} {precision} {side} {turn + 1} of {rounds}: {found[-1][0]:.1f} s")
            rows.append(_row(name, precision, sides, _ladder(brought, place, precision)))
    return rows


def _row(model: str, precision: str, sides: dict[str, list[tuple[float, float]]], target_db: float | None) -> EdgeRow:
    (ours_wall_s, ours_cpu_s), (theirs_wall_s, theirs_cpu_s) = (
        tuple(statistics.median(values) for values in zip(*sides[side], strict=True)) for side in ("ours", "by_hand")
    )
    noted, asked = ASKED_DB.get((model, precision), (None, None))
    return EdgeRow(model, precision, ours_wall_s, theirs_wall_s, ours_cpu_s, theirs_cpu_s, target_db, noted, asked)


def _run(side: str, model: Path, place: Path, precision: str) -> tuple[float, float]:
    out = place / side
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.bench.edge_sides",
        side,
        str(model),
        str(place / "calibration.npz"),
        precision,
    ]
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command,
        cwd=out,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or not any(item.suffix == ".bin" for item in out.rglob("*")):
        raise BenchError(f"edge, {side}: no context binary ({done.stderr.strip()[-300:]})")
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _ladder(brought: object, place: Path, precision: str) -> float | None:
    from edge_models import Brought

    from edge_compile import compile_model
    from edge_compile.parity import QDQ_TARGET

    assert isinstance(brought, Brought)
    report = compile_model(
        brought.path,
        TARGET,
        brought.calibration,
        place / f"ladder-{precision}",
        frozen=brought.frozen,
        reference=brought.reference,
        precisions=(precision,),
        emulator_samples=LADDER_SAMPLES,
        force=True,
    ).report
    found = [rung for rung in report.parity if (rung.name, rung.precision) == (QDQ_TARGET, precision)]
    return found[0].sqnr_db if found else None


def edge_table(rows: list[EdgeRow]) -> str:
    """Return the rows as a Markdown table."""
    heads = (
        "model",
        "precision",
        "ours / by hand, wall s",
        "ratio (asked)",
        "CPU s",
        "target vs QDQ dB (noted, asked)",
        "holds?",
    )
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        decibel = "identical" if row.target_db is None else f"{row.target_db:.1f}"
        beside = "" if row.asked_db is None else f" ({row.noted_db:.1f}, >= {row.asked_db:.0f})"
        cells = (
            row.model,
            row.precision,
            f"{row.ours_wall_s:.1f} / {row.theirs_wall_s:.1f}",
            f"{row.ratio:.2f} (<= {WITHIN})",
            f"{row.ours_cpu_s:.1f} / {row.theirs_cpu_s:.1f}",
            f"{decibel}{beside}",
            row.outcome,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
