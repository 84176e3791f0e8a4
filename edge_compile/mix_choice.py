"""Which candidate of a search becomes `mixed`: each is compiled, and the vendor's estimate or the binary's size decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from edge_compile.job import Job, OnStage
from edge_compile.messages import LayerReport, Message, Objective, SearchCandidate, SearchReport, candidate_name
from edge_compile.qnn import compile_precision
from edge_compile.quantize import Quantized
from edge_compile.worker import WorkerStoppedError
from edge_compile.workplace import Workplace
from platform_lib.errors import CompileError
from platform_lib.storage import publish_bytes, sha256_file

_NOT_COMPILED = "the budget ended before it was compiled"


class Cost(Message):
    """What the compiler said of one candidate."""

    latency_us: float | None
    latency_high_us: float | None
    size_bytes: int | None
    refused: str | None


class _Costs(Message):
    key: str
    found: dict[str, Cost]


def choose_mix(
    job: Job, quantized: Quantized, workplace: Workplace, say: OnStage, over_budget: Callable[[], bool]
) -> Quantized:
    """Compile the candidates, and return what was quantized with the best of them as ``mixed``.

    What was compiled is noted beside the search's notes, so that a command that is ended goes on there.

    Args:
        job: The compile.
        quantized: With the candidates of a search.
        workplace: Where to compile.
        say: Told how far it is.
        over_budget: Whether to stop compiling candidates; the first is always compiled.
    """
    search = quantized.search
    if search is None:
        return quantized
    made = [item for item in search.candidates if item.made]
    if len(made) == 1:
        costs = [Cost(latency_us=None, latency_high_us=None, size_bytes=None, refused=None)]
    else:
        costs = _costs(job, quantized, made, workplace, say, over_budget)
    priced = [item.model_copy(update=cost.model_dump()) for item, cost in zip(made, costs, strict=True)]
    # Where none can be taken, the first is judged as any precision is, and says why.
    best = best_of(priced, job.settings.minimise) or 0
    report = settled(search, priced, best, job.settings.minimise)
    name = candidate_name(best)
    return replace(
        quantized,
        search=report,
        simulation={**quantized.simulation, "mixed": quantized.simulation[name]},
        qdq={**quantized.qdq, "mixed": quantized.qdq[name]},
        models={**quantized.models, "mixed": quantized.models[name]},
        encodings={**quantized.encodings, "mixed": quantized.encodings[name]},
        layers=_layers_of(quantized, name),
        notes=(*quantized.notes, _said(report)),
    )


def _layers_of(quantized: Quantized, chosen: str) -> tuple[LayerReport, ...]:
    """Return the reports layer by layer, of all candidates that of the chosen one alone, as ``mixed``."""
    candidates = {candidate_name(row) for row in range(len(quantized.models))} - {chosen}
    return tuple(
        item.model_copy(update={"precision": "mixed"}) if item.precision == chosen else item
        for item in quantized.layers
        if item.precision not in candidates
    )


def best_of(candidates: Sequence[SearchCandidate], minimise: Objective) -> int | None:
    """Return the place of the best candidate, None if none can be taken.

    For latency the closest of those that lie within the fastest's bounds, which decide nothing between them; where the
    vendor gives no latency the smallest. For size the smallest, of equally small ones the fastest.
    """
    left = [row for row, item in enumerate(candidates) if item.refused is None]
    if not left:
        return None
    times = {row: time for row in left if (time := candidates[row].latency_us) is not None}

    def closeness(row: int) -> tuple[float, float]:
        item = candidates[row]
        return -(item.loss or 0.0), float("inf") if item.sqnr_db is None else item.sqnr_db

    def size(row: int) -> float:
        return candidates[row].size_bytes or 0.0

    if minimise == "size" or len(times) < len(left):
        return min(left, key=lambda row: (size(row), times.get(row, 0.0), tuple(-value for value in closeness(row))))
    fastest = min(left, key=lambda row: times[row])
    limit = candidates[fastest].latency_high_us or times[fastest]
    return max((row for row in left if times[row] <= limit), key=closeness)


def settled(search: SearchReport, made: Sequence[SearchCandidate], best: int, minimise: Objective) -> SearchReport:
    """Return the account of a search with what its candidates cost, and the widths of the one that was chosen."""
    chosen = made[best]
    fewest = {item.tensor for item in search.tensors if item.bits == 16}
    wide, coarse = set(chosen.wide), set(chosen.coarse)
    tensors = []
    for item in search.tensors:
        bits, before = (16 if item.tensor in wide else 8), (16 if item.tensor in fewest else 8)
        why = item.why if bits == before else f"{bits} bits in the mix '{chosen.name}', which costs less; {item.why}"
        tensors.append(item.model_copy(update={"bits": bits, "why": why}))
    weights = [item.model_copy(update={"bits": 4 if item.weight in coarse else 8}) for item in search.weights]
    marked = {item.name: item.model_copy(update={"chosen": row == best}) for row, item in enumerate(made)}
    return search.model_copy(
        update={
            "minimise": minimise,
            "tensors": tuple(tensors),
            "weights": tuple(weights),
            "candidates": tuple(marked.get(item.name, item) for item in search.candidates),
        }
    )


def _said(search: SearchReport) -> str:
    chosen = next(item for item in search.candidates if item.chosen)
    kind = "the uniform precision" if chosen.uniform else "the mix"
    tried = sum(item.latency_us is not None or item.size_bytes is not None for item in search.candidates)
    return f"mixed is {kind} '{chosen.name}', the best by {search.minimise} of {max(tried, 1)} candidates compiled"


def _costs(
    job: Job,
    quantized: Quantized,
    made: Sequence[SearchCandidate],
    workplace: Workplace,
    say: OnStage,
    over_budget: Callable[[], bool],
) -> list[Cost]:
    notes = workplace.mixes
    key = _key(job)
    known = dict(_read(notes, key))
    costs: list[Cost] = []
    for row, item in enumerate(made):
        model = quantized.models[candidate_name(row)]
        digest = sha256_file(model)
        if digest not in known:
            if costs and over_budget():
                nothing = {"latency_us": None, "latency_high_us": None, "size_bytes": None}
                costs.append(Cost(**nothing, refused=_NOT_COMPILED))
                continue
            say(f"searching: compiling '{item.name}', {row + 1} of {len(made)} candidates")
            known[digest] = _cost(job, model, candidate_name(row), workplace)
            publish_bytes(notes, _Costs(key=key, found=known).model_dump_json().encode())
        costs.append(known[digest])
    return costs


def _cost(job: Job, model: Path, name: str, workplace: Workplace) -> Cost:
    scratch = workplace.scratch / f"search-{name}"
    try:
        compiled = compile_precision(
            model,
            "mixed",
            job.target,
            job.settings.options or {},
            scratch=scratch,
            log=workplace.log,
            limits=job.settings.limits,
        )
    except WorkerStoppedError:
        raise  # out of its limits or killed: that says nothing about the mix
    except CompileError as error:
        return Cost(latency_us=None, latency_high_us=None, size_bytes=None, refused=error.what)
    latency = compiled.performance.latency_us
    excused = {waiver.node for waiver in job.settings.waivers if waiver.precision == "mixed"}
    floats = [node for node in compiled.graph.float_nodes if node not in excused]
    return Cost(
        latency_us=None if latency is None else latency.value,
        latency_high_us=None if latency is None else latency.high,
        size_bytes=sum((scratch / binary).stat().st_size for binary in compiled.info.binaries),
        refused=f"{len(floats)} node(s) compute in float: {', '.join(floats[:3])}" if floats else None,
    )


def _key(job: Job) -> str:
    of = {"soc_model": job.target.soc_model, "options": dict(job.settings.options or {})}
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()


def _read(path: Path, key: str) -> Mapping[str, Cost]:
    try:
        found = _Costs.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
    return found.found if found.key == key else {}
