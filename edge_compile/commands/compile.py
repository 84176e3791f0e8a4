"""`drivetrain compile`: the thin command over `edge_compile.compile_model`."""

from __future__ import annotations

import dataclasses
import logging
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from edge_compile.compiler import REPORT, SEARCHING, CompileResult, compile_model
from edge_compile.explaining import Reason, reasons_of
from edge_compile.job import PRECISIONS, SEARCH_BUDGET_S
from edge_compile.layer_stage import BY_LAYER
from edge_compile.messages import Objective, Technique
from edge_compile.onnx_model import read_model
from edge_compile.preprocessing import read_preprocessing
from edge_compile.task_files import is_beside, task_of
from edge_compile.task_metric import BUILT_IN
from edge_compile.task_slices import ENOUGH_SAMPLES
from edge_compile.waivers import read_waivers
from platform_lib.catalog.elsewhere import note_elsewhere
from platform_lib.catalog.liveness import orderly_termination
from platform_lib.console import ERR, OUT, print_json, progress
from platform_lib.errors import ConfigError, ContractError, HomeError, MissingPartError
from platform_lib.evidence import CompiledPrecision, CompileReport, ParityRung
from platform_lib.home import Home, open_home
from platform_lib.manifest import up_to_date
from platform_lib.options import ForceOption, HomeOption, JsonOption

logger = logging.getLogger(__name__)

_Word = TypeVar("_Word")
_Arrays = dict[str, NDArray[np.generic]]
# What a frozen.npz may hold beside the model's inputs and outputs.
_BYSTANDERS = frozenset({"sample_id"})
_COLOURS: dict[str, str] = {"pass": "green", "fail": "red", "not_run": "yellow"}
# What numpy raises on a file that is no NPZ (a lone array is a TypeError), a damaged one, or one that holds pickles.
_UNREADABLE = (ValueError, TypeError, KeyError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def compile_command(
    model: Annotated[Path, typer.Argument(help="Float ONNX model with static shapes.")],
    target: Annotated[
        str,
        typer.Option(
            help="Chip, for example sa8255p; orin, thor or aic100 where their makers' compilers are installed."
        ),
    ],
    calibration: Annotated[Path, typer.Option(help="NPZ: model input -> float32 (N, *shape).")],
    out: Annotated[Path, typer.Option(help="Folder to publish.")],
    frozen: Annotated[
        Path | None, typer.Option(help="NPZ of inputs for the parity ladder; may hold torch's outputs by name.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="w8a16, w8a8, w8mixed, mixed or w4a16; int8 or fp8 for NVIDIA; repeatable. Default: the first two, or int8.",
            show_default=False,
        ),
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(
            help="The precision to choose, if it passes. Default: the fastest that passes, of equally fast ones the closest."
        ),
    ] = None,
    tolerance_db: Annotated[
        float | None, typer.Option(help="SQNR the chip has to keep against the float model. Default: by precision.")
    ] = None,
    emulator_samples: Annotated[
        int | None, typer.Option(min=1, help="Frozen inputs to run on the emulator. Default: all, up to 64.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Compiler option KEY=VALUE, for example vtcm_mb=8.", show_default=False)
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another chip, for one binary that serves both; repeatable.", show_default=False),
    ] = None,
    waivers: Annotated[
        Path | None, typer.Option(help="YAML of nodes that may compute in float until a day.", show_default=False)
    ] = None,
    search_budget_s: Annotated[
        float, typer.Option(min=0.0, help="Seconds that the search of `mixed` may measure single tensors.")
    ] = SEARCH_BUDGET_S,
    task_metric: Annotated[
        str | None,
        typer.Option(
            help=f"What every slice has to keep: {', '.join(BUILT_IN)}, or module:function. "
            "The frozen file's `slice` names each sample's slice, `label_OUTPUT` the truth.",
            show_default=False,
        ),
    ] = None,
    task_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="How much worse than float each slice may be, in the metric's unit.", show_default=False
        ),
    ] = None,
    task_output: Annotated[
        str | None, typer.Option(help="The output that the metric looks at.", show_default=False)
    ] = None,
    task_scores: Annotated[
        str | None, typer.Option(help="The output whose scores say which boxes count.", show_default=False)
    ] = None,
    slice_samples: Annotated[int, typer.Option(min=1, help="Samples that a slice needs to pass.")] = ENOUGH_SAMPLES,
    technique: Annotated[
        list[str] | None,
        typer.Option(
            help="plain, cle, seqmse or adaround for every precision; repeatable. "
            "Default: tried where a precision misses its tolerance in simulation.",
            show_default=False,
        ),
    ] = None,
    minimise: Annotated[
        str, typer.Option(help="What to choose for, of what is within the tolerance: latency or size.")
    ] = "latency",
    compiler: Annotated[
        Path | None,
        typer.Option(help="trtexec or qaic-exec, where it is not on PATH.", show_default=False),
    ] = None,
    target_file: Annotated[
        Path | None, typer.Option(help="YAML of targets of your own, for --target and --also.", show_default=False)
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of every tensor why it is in 16 bits, or why 8 are enough.")
    ] = False,
    preprocess: Annotated[
        Path | None,
        typer.Option(help="YAML of what turns raw samples into inputs, in the graph or outside.", show_default=False),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare the emulator layer by layer, where nothing failed too.")
    ] = False,
    accept_unconfirmed: Annotated[
        bool, typer.Option("--accept-unconfirmed", help="Accept a target whose compiler id is a guess.")
    ] = False,
    home: HomeOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Quantize and compile an ONNX model, and prove it equal. Status 1 when no precision passes.

    Where there is a home, its lineage knows of it, wherever --out lies.
    """
    precisions = tuple(precision) if precision else PRECISIONS
    inputs = read_model(model)
    names = ({item.name for item in inputs.inputs}, {item.name for item in inputs.outputs})
    # What torch answered for an output that was cut off has nothing to be compared with.
    left_out = _BYSTANDERS | set(inputs.cut_off)
    frozen_inputs, reference = (None, None) if frozen is None else split_samples(frozen, *names, left_out=left_out)
    calibrated, _ = split_samples(calibration, *names, left_out=left_out)
    options = _options(option or [])
    task = task_of(
        task_metric,
        task_tolerance,
        read_arrays,
        frozen=frozen,
        calibration=calibration,
        output=task_output,
        scores=task_scores,
        enough=slice_samples,
    )
    stages = 2 + 2 * (1 + len(precisions)) + bool(also)
    where = _home(home)
    with orderly_termination(), progress("compiling", total=stages) as bar:
        said: list[str] = []

        def on_stage(stage: str) -> None:
            if stage.startswith((SEARCHING, BY_LAYER)):  # a part of another stage, or one that few compiles have
                bar.advance(0, note=stage)
                return
            bar.advance(1 if said else 0, note=stage)
            said.append(stage)

        result = compile_model(
            model,
            target,
            calibrated,
            out,
            tolerance_db,
            accept_unconfirmed,
            frozen=frozen_inputs,
            reference=reference,
            precisions=precisions,
            options=options,
            emulator_samples=emulator_samples,
            choose=choose,
            also=tuple(also or ()),
            waivers=() if waivers is None else read_waivers(waivers),
            search_budget_s=search_budget_s,
            layers=layers,
            preprocessing=None if preprocess is None else read_preprocessing(preprocess),
            task=task,
            minimise=_known(minimise, get_args(Objective), "--minimise"),
            techniques=tuple(_known(name, get_args(Technique), "--technique") for name in technique or ()),
            compiler=compiler,
            target_file=target_file,
            force=force,
            on_stage=on_stage,
        )
        if where is not None:
            note_elsewhere(where, result.manifest, result.folder)
        bar.advance(stages - len(said) + 1, note="up to date" if result.skipped else "done")
    reasons = reasons_of(result.folder, result.report) if explain else ()
    if as_json:
        said_json = {"folder": str(result.folder), "skipped": result.skipped, **result.report.model_dump(mode="json")}
        print_json(said_json | ({"explained": [dataclasses.asdict(row) for row in reasons]} if explain else {}))
    else:
        _show(result)
        if explain:
            OUT.print()
            OUT.print(_reasons(reasons))
    if result.report.chosen is None:
        raise typer.Exit(1)


def _home(named: Path | None) -> Home | None:
    """Return the home that made this, if there is one: a compile needs none."""
    try:
        return open_home(named, make=False)
    except HomeError as error:
        if named is not None:
            raise
        logger.info("no home notes this compile: %s", error.what)
        return None


def read_arrays(path: Path) -> _Arrays:
    """Read an NPZ of plain arrays."""
    if not path.is_file():
        raise MissingPartError(
            "no such NPZ file",
            where=path,
            remedy="write it with numpy.savez: model input -> float32 (N, *shape); `drivetrain train` writes both",
        )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except _UNREADABLE as error:
        raise ContractError(
            "not a readable NPZ of plain arrays", where=path, remedy="write it with numpy.savez"
        ) from error


def split_samples(
    path: Path, inputs: set[str], outputs: set[str], *, left_out: frozenset[str] = _BYSTANDERS
) -> tuple[_Arrays, _Arrays | None]:
    """Read an NPZ and part it into the model's inputs and outputs (None when it holds no output)."""
    model = inputs | outputs
    arrays = {
        name: array
        for name, array in read_arrays(path).items()
        if name in model or not (name in left_out or is_beside(name, outputs))
    }
    if unknown := sorted(set(arrays) - inputs - outputs):
        raise ContractError(
            f"array '{unknown[0]}' is neither an input nor an output of the model",
            where=path,
            remedy=f"inputs: {', '.join(sorted(inputs))}; outputs: {', '.join(sorted(outputs))}",
        )
    found = {name: array for name, array in arrays.items() if name in outputs}
    return {name: array for name, array in arrays.items() if name in inputs}, found or None


def _known(name: str, known: tuple[_Word, ...], where: str) -> _Word:
    found = next((word for word in known if word == name), None)
    if found is None:
        raise ConfigError(f"'{name}' is not known", where=where, remedy=f"choose from {', '.join(map(str, known))}")
    return found


def _options(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or name in found:
            raise ConfigError(f"'{pair}' is not KEY=VALUE, each key once", where="--option", remedy="try vtcm_mb=8")
        found[name] = value
    return found


def _show(result: CompileResult) -> None:
    report = result.report
    if result.skipped:
        ERR.print(up_to_date(result.manifest.step_sha256), highlight=False)
    confirmed = "" if report.id_confirmed else " [yellow](id unconfirmed)[/]"
    OUT.print(f"{report.model_name} for {report.target} (chip id {report.soc_model}, {report.architecture}){confirmed}")
    tables = [_precision_table(report), _ladder(report.parity), *([_task_table(report)] if report.task else [])]
    for table in tables:
        OUT.print()
        OUT.print(table)
    OUT.print()
    for item in report.precisions:
        for check in item.checks:
            if check.status == "fail":
                OUT.print(f"[red]failed[/] {item.precision} {check.name}: ", check.detail, markup=True, highlight=False)
    for rung in report.parity:
        if rung.reason:
            OUT.print(f"{rung.status} {rung.precision} {rung.name}: {rung.reason}", markup=False, highlight=False)
    for change in report.rewrites:
        OUT.print(
            f"rewritten: {change.name} {change.layer}".rstrip(),
            f": {change.what}",
            markup=False,
            highlight=False,
            sep="",
        )
    for note in report.notes:
        OUT.print("note: ", note, markup=False, highlight=False, sep="")
    if report.shared is not None:
        chips = ", ".join(report.shared.targets)
        OUT.print(f"one binary for {chips}: {report.shared.context[0]}; parity not run", markup=False, highlight=False)
    verdict = f"chosen: {report.chosen}" if report.chosen else "[red]no precision passed; nothing was chosen[/]"
    OUT.print(f"{verdict}  ({result.folder / REPORT})", highlight=False)


def _reasons(reasons: tuple[Reason, ...]) -> Table:
    table = _table("precision", "layer", "tensor", "bits")
    table.add_column("why")
    for row in reasons:
        table.add_row(row.precision, row.layer, row.tensor, str(row.bits), row.why)
    return table


def _precision_table(report: CompileReport) -> Table:
    table = _table("precision", "SQNR at target", "simulated us", "kB", "NPU/CPU", "checks", "chosen")
    for item in report.precisions:
        rung = next((r for r in report.parity if (r.name, r.precision) == ("onnx->target", item.precision)), None)
        graph = item.graph
        failed = sum(check.status == "fail" for check in item.checks)
        sound = "pass" if all(check.status == "pass" for check in item.checks) else "[yellow]not run[/]"
        table.add_row(
            item.precision,
            _sqnr(rung),
            _latency(item),
            f"{item.context_bytes / 1000:.2f}" if item.context else "-",
            f"{graph.npu_nodes}/{graph.cpu_nodes}" if graph else "-",
            f"[red]{failed} failed[/]" if failed else sound,
            "yes" if item.precision == report.chosen else "",
        )
    return table


def _ladder(rungs: tuple[ParityRung, ...]) -> Table:
    table = _table("rung", "model", "verdict", "n", "SQNR", "needs", "max err", "cosine")
    for rung in rungs:
        table.add_row(
            rung.name,
            rung.precision,
            f"[{_COLOURS[rung.status]}]{rung.status}[/]",
            str(rung.samples),
            _sqnr(rung),
            _or_dash(rung.threshold_db, ".0f"),
            _or_dash(rung.max_abs_error, ".2e"),
            _or_dash(rung.cosine, ".4f"),
        )
    return table


def _task_table(report: CompileReport) -> Table:
    """Show each precision's slices; the reason stands beside what did not pass."""
    table = _table("task metric", "model", "engine", "slice", "verdict", "n", "float", "here", "loss", "may lose")
    table.add_column("reason")
    for item in report.task:
        values = (_or_dash(value, ".4g") for value in (item.float_value, item.value, item.loss))
        verdict = f"[{_COLOURS[item.status]}]{item.status}[/]"
        table.add_row(
            *(item.metric, item.precision, item.engine, item.slice, verdict, str(item.n), *values),
            *(f"{item.tolerance:g}", item.reason or ""),
        )
    return table


def _sqnr(rung: ParityRung | None) -> str:
    if rung is None or rung.status == "not_run":
        return "not run"
    if rung.sqnr_db is None:
        return "identical" if rung.status == "pass" else "-"
    return f"{rung.sqnr_db:.1f} dB"


def _latency(item: CompiledPrecision) -> str:
    found = item.performance.latency_us
    if found is None:
        return "unknown"
    bounds = "" if found.low is None or found.high is None else f" ({found.low:g}-{found.high:g})"
    return f"{found.value:g}{bounds}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table
