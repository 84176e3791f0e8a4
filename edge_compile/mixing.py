"""Runs the precision search on AIMET's simulation; loaded by the quantization worker alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from aimet_onnx.common import libpymo

from edge_compile.messages import SearchedTensor, SearchReport, SearchRequest, SearchStep
from edge_compile.parity import distance
from edge_compile.precision_search import Found, explain, search
from edge_compile.samples import Samples
from edge_compile.search_notes import noting, read_notes

Run = Callable[[Samples], Samples]


@dataclass(frozen=True, slots=True)
class Unit:
    """Tensors that share one quantizer, so that they have one width.

    Attributes:
        tensors: Their names; the first is the unit's own.
        narrow: Its encodings in 8 bits.
        wide: The same range in 16 bits.
    """

    tensors: tuple[str, ...]
    quantizer: Any
    narrow: list[Any]
    wide: list[Any]


def units_of(simulation: Any) -> dict[str, Unit]:
    """Return what can be widened, by name; the simulation has its encodings."""
    shared: dict[int, list[str]] = {}
    for name in simulation.activation_names:
        quantizer = simulation.qc_quantize_op_dict.get(name)
        if quantizer is not None and quantizer.enabled and quantizer.get_encodings():
            shared.setdefault(id(quantizer), []).append(name)
    found = {}
    for names in shared.values():
        quantizer = simulation.qc_quantize_op_dict[names[0]]
        narrow = list(quantizer.get_encodings())
        found[names[0]] = Unit(tuple(names), quantizer, narrow, [_widened(item) for item in narrow])
    return found


def find_mix(
    simulation: Any,
    run_float: Run,
    run_simulation: Run,
    samples: Samples,
    request: SearchRequest,
    layers: dict[str, str],
) -> tuple[SearchReport, tuple[str, ...]]:
    """Search, and return the account of it with the names of all tensors that need 16 bits.

    Args:
        simulation: In 8 bits, with its encodings.
        run_float: Runs the float model.
        run_simulation: Runs the simulation.
        samples: Inputs to measure on, name -> (N, *shape).
        request: Tolerance, budget, and where single measurements are kept.
        layers: Tensor -> the operator that makes it.
    """
    units = units_of(simulation)
    reference = run_float(samples)
    started_s = time.monotonic()

    def measure(wide: frozenset[str]) -> float:
        for name, unit in units.items():
            _set(unit, wide=name in wide)
        found = distance(reference, run_simulation(samples)).sqnr_db
        return inf if found is None else found

    notes = Path(request.notes)
    known = read_notes(notes, request.key)

    def over_budget() -> bool:
        return time.monotonic() - started_s > request.budget_s

    with noting(notes, request.key, known, of=len(units)) as note:
        found = search(tuple(units), measure, request.tolerance_db, known=known, over_budget=over_budget, note=note)
    report = _report(found, units, request, layers)
    return report, tuple(name for unit in found.wide for name in units[unit].tensors)


def evenly(samples: Samples, count: int) -> Samples:
    """Return `count` of the samples, evenly spaced; all where there are fewer."""
    total = len(next(iter(samples.values())))
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    return {name: values[rows] for name, values in samples.items()}


def _widened(narrow: Any) -> Any:
    found = libpymo.TfEncoding()
    found.bw, found.min, found.max = 16, narrow.min, narrow.max
    found.delta = (narrow.max - narrow.min) / (2**16 - 1)
    found.offset = round(narrow.min / found.delta)
    return found


def _set(unit: Unit, *, wide: bool) -> None:
    unit.quantizer.set_bitwidth(16 if wide else 8)
    unit.quantizer.load_encodings(unit.wide if wide else unit.narrow)


def _report(found: Found, units: dict[str, Unit], request: SearchRequest, layers: dict[str, str]) -> SearchReport:
    wide = set(found.wide)
    return SearchReport(
        tolerance_db=request.tolerance_db,
        reached=found.reached,
        stopped=found.stopped,
        steps=tuple(SearchStep(wide=step.wide, sqnr_db=_finite(step.sqnr_db)) for step in found.steps),
        tensors=tuple(
            SearchedTensor(
                tensor=name,
                shared_with=units[name].tensors[1:],
                layer=layers.get(name, "an input of the model"),
                bits=16 if name in wide else 8,
                alone_db=_finite(found.alone_db.get(name, inf)),
                why=explain(found, name, request.tolerance_db),
            )
            for name in found.order
        ),
    )


def _finite(value: float) -> float | None:
    return None if value == inf else value
