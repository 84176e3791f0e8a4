"""Compiles a folder of models for several targets: one Ray task a model and target, each skipped where it is up to date.

1. plan      models x targets, each with its samples                    1 folder : N cells
2. compile   `drivetrain compile` in a process of its own, as a task    1 : 1
3. collect   what each compile published, or why it was refused         N : 1 page

The compiler lives in another room: what it made is read from its reports, typed in `platform_lib.evidence`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray

from platform_lib.abilities import COMPILES
from platform_lib.errors import ConfigError, MissingPartError, PlatformError
from platform_lib.evidence import CompileReport, read_evidence
from platform_lib.home import Home
from platform_lib.matrix import Cell, Matrix, Row, matrix_page
from platform_lib.processes import PARENT_VARIABLE
from platform_lib.storage import publish_bytes
from ray_jobs.placement import resources_for
from ray_jobs.session import answer_of, local_ray

MATRIX, PAGE = "matrix.json", "matrix.html"
_SHOWN_TARGETS = "the targets of `drivetrain compile`"


class MatrixError(PlatformError):
    """A worker died while it compiled."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell to compile: a model for a target, with the samples that lie beside the model."""

    model: Path
    target: str
    calibration: Path
    frozen: Path | None
    out: Path


@dataclass(frozen=True, slots=True)
class Told:
    """What one `drivetrain compile` said: its exit status and its JSON document."""

    status: int
    document: str


def plan(models: Path, targets: Sequence[str], out: Path) -> tuple[Planned, ...]:
    """Return the cells, in order of model and target.

    ``NAME.onnx`` has its samples in ``NAME.calibration.npz`` and, if there are any, ``NAME.frozen.npz`` beside it.

    Raises:
        MissingPartError: There is no such folder, no model in it, or a model has no samples.
        ConfigError: No target was named, or one twice.
    """
    if not targets or len({name.lower() for name in targets}) < len(targets):
        raise ConfigError(f"targets {', '.join(targets) or 'none'}", remedy=f"name {_SHOWN_TARGETS}, each once")
    if not models.is_dir():
        raise MissingPartError("no such folder", where=models, remedy="name a folder of float models")
    found = sorted(models.glob("*.onnx"))
    if not found:
        raise MissingPartError("no .onnx file in this folder", where=models, remedy="name a folder of float models")
    cells = []
    for model in found:
        calibration, frozen = (model.with_name(f"{model.stem}.{role}.npz") for role in ("calibration", "frozen"))
        if not calibration.is_file():
            raise MissingPartError(
                "no calibration samples beside the model",
                where=calibration,
                remedy="write them with numpy.savez: model input -> float32 (N, *shape)",
            )
        asked = frozen if frozen.is_file() else None
        cells += [Planned(model, name, calibration, asked, out / model.stem / name.lower()) for name in targets]
    return tuple(cells)


def compile_matrix(
    home: Home,
    cells: Sequence[Planned],
    out: Path,
    extra: Sequence[str] = (),
    *,
    cpus: int | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Matrix:
    """Compile every cell, publish ``matrix.json`` and ``matrix.html`` in `out`, and return what was found.

    Args:
        home: Whose short folder Ray works in.
        cells: From `plan`.
        out: The folder of the whole.
        extra: More arguments of `drivetrain compile`, the same for each.
        cpus: How many cells are compiled at once; the CPUs by default.
        note: Told of each cell that ends.

    Raises:
        MatrixError: A worker died; what the other cells made stays, and is skipped the next time.
        MissingPartError: Nodes of this cluster say what they can do, and none can compile.
    """
    with local_ray(home, cpus):
        task = ray.remote(num_cpus=1, max_retries=0, resources=resources_for(COMPILES))(run_compile)
        waiting = {task.remote(_arguments(cell, extra)): cell for cell in cells}
        told: dict[Planned, Told] = {}
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(ready)
            where = f"{cell.model.name} for {cell.target}"
            told[cell] = answer_of(ready, died=partial(_died, where))
            note(where)
    matrix = Matrix(cells=tuple(read_cell(cell, told[cell], out) for cell in cells))
    publish_bytes(out / MATRIX, (matrix.model_dump_json(indent=2) + "\n").encode())
    publish_bytes(out / PAGE, matrix_page(matrix).encode())
    return matrix


def _died(where: str, why: str) -> MatrixError:
    return MatrixError(why, where=where, remedy="run the command again; what was compiled is skipped")


def run_compile(arguments: list[str]) -> Told:
    """Run one `drivetrain compile` to its end; it ends when this process does."""
    command = [sys.executable, "-m", "platform_lib.cli", "compile", *arguments]
    environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - our own
    return Told(done.returncode, done.stdout or json.dumps({"error": {"what": done.stderr.strip()[-400:]}}))


def read_cell(cell: Planned, told: Told, out: Path) -> Cell:
    """Turn what a compile said into a cell; what it published is read from its report, not from what it said."""
    refused = None
    try:
        document = json.loads(told.document)
    except ValueError:
        document = {"error": {"what": "it ended without a word"}}
    if "error" in document or told.status not in (0, 1):
        error = document.get("error", {})
        parts = [str(error[key]) for key in ("what", "where", "remedy") if error.get(key)]
        refused = "; ".join(parts) or f"status {told.status}"
    report = None if refused else read_evidence(CompileReport, cell.out / "report.json")
    return Cell(
        model=cell.model.stem,
        target=cell.target,
        refused=refused,
        skipped=bool(document.get("skipped", False)),
        chosen=None if report is None else report.chosen,
        folder=cell.out.relative_to(out).as_posix(),
        rows=() if report is None else Row.of(report),
    )


def _arguments(cell: Planned, extra: Sequence[str]) -> list[str]:
    frozen = [] if cell.frozen is None else ["--frozen", str(cell.frozen)]
    return [
        str(cell.model),
        *("--target", cell.target, "--calibration", str(cell.calibration), "--out", str(cell.out)),
        *frozen,
        *extra,
        "--json",
    ]
