"""One precision through a maker's own compiler: built, and run where there is something to run it on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_compile.doors import qaic, trtexec
from edge_compile.doors.tool import Tool, run_tool
from edge_compile.samples import Samples
from edge_compile.targets.doors import NVIDIA, DoorTarget
from edge_compile.worker import Limits
from platform_lib.errors import CompileError
from platform_lib.evidence import Check, Interval, Performance

_NO_CARD = "to run it takes a Cloud AI 100 card and its Platform SDK; the compiler needs none"


@dataclass(frozen=True, slots=True)
class Bench:
    """What a maker's compiler is run with.

    Attributes:
        inputs: Input name -> (N, 1, *shape); the samples to run.
        shapes: Output name -> shape.
        log: Where the program's words go.
    """

    target: DoorTarget
    tool: Tool
    inputs: Samples
    shapes: Mapping[str, tuple[int, ...]]
    scratch: Path
    log: Path
    limits: Limits


@dataclass(frozen=True, slots=True)
class Built:
    """What came of one precision.

    Attributes:
        files: Name to publish under -> file; the first is what the target loads.
        outputs: What the target answered, None where it was not run.
        not_run: Why it was not.
        versions: What the program says of itself and of the device it ran on.
    """

    files: Mapping[str, Path]
    performance: Performance
    checks: tuple[Check, ...]
    outputs: Samples | None = None
    not_run: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def build(bench: Bench, precision: str, model: Path) -> Built:
    """Compile a model for the bench's target, and run it if this machine has that chip.

    Args:
        bench: The compiler and the samples.
        precision: ``fp16``, ``int8`` or ``fp8``.
        model: The float model for ``fp16``, else its QDQ model.

    Raises:
        CompileError: The compiler failed, or did not write what it was asked for.
    """
    folder = bench.scratch / precision
    folder.mkdir()
    return (_tensorrt if bench.target.door is NVIDIA else _qaic)(bench, precision, model, folder)


def _tensorrt(bench: Bench, precision: str, model: Path, folder: Path) -> Built:
    engine, cache = folder / f"{precision}.engine", bench.scratch / trtexec.TIMING_CACHE
    arguments = trtexec.build_arguments(precision, str(model), engine.name, str(cache))
    said = trtexec.said_of(_run(bench, arguments, folder))
    if not engine.is_file() or not engine.stat().st_size:
        raise CompileError(f"trtexec says it passed and wrote no {engine.name}")
    versions = {
        "runner": f"trtexec, TensorRT {said.version}",
        "runner_sha256": bench.tool.sha256,
        "device": f"{said.device} ({said.capability})",
    }
    layers = (folder / trtexec.LAYERS).read_text() if (folder / trtexec.LAYERS).is_file() else ""
    types = trtexec.layer_types(layers)
    layer_file = folder / f"{precision}.layers.json"
    layer_file.write_text(json.dumps(types))
    checks = [_device_check(bench.target, said), _types_check(precision, types)]
    files = {engine.name: engine, f"{precision}.layers.json": layer_file}
    if checks[0].status != "pass":
        return Built(files, _untimed(checks[0].detail), tuple(checks), None, checks[0].detail, versions)
    times = trtexec.times_of(_run(bench, trtexec.time_arguments(engine.name), folder))
    latency = Interval(value=times.median_us, low=None, high=None)
    performance = Performance(
        measured_on="device", latency_us=latency, ddr_read_bytes=None, ddr_write_bytes=None, reason=None
    )
    tail = f"min {times.min_us:g} us, 99 % {times.p99_us:g} us, max {times.max_us:g} us on {versions['device']}"
    checks.append(Check(name="latency_parsed", status="pass", detail=f"median {times.median_us:g} us, {tail}"))
    return Built(files, performance, tuple(checks), _answers(bench, engine, folder), "", versions)


def _answers(bench: Bench, engine: Path, folder: Path) -> Samples:
    rows = []
    for index in range(len(next(iter(bench.inputs.values())))):
        files = {}
        for number, (name, array) in enumerate(bench.inputs.items()):
            files[name] = f"in{number}.raw"
            (folder / files[name]).write_bytes(array[index].astype("<f4").tobytes())
        (folder / trtexec.OUTPUTS).unlink(missing_ok=True)  # what is read is of this sample, or nothing
        trtexec.said_of(_run(bench, trtexec.answer_arguments(engine.name, files), folder))
        if not (folder / trtexec.OUTPUTS).is_file():
            raise CompileError("trtexec says it passed and wrote no outputs")
        rows.append(trtexec.outputs_of((folder / trtexec.OUTPUTS).read_text(), bench.shapes))
    return {name: np.stack([row[name] for row in rows]) for name in bench.shapes}


def _device_check(target: DoorTarget, said: trtexec.Said) -> Check:
    wanted = " or ".join(target.capabilities)
    here = f"trtexec ran on {said.device}, compute capability {said.capability}"
    if said.capability in target.capabilities:
        return Check(name="device_readback", status="pass", detail=f"{here}, which is {target.name}'s")
    return Check(
        name="device_readback",
        status="fail",
        detail=f"{here}; {target.name} is {wanted}: an engine serves the GPU it was built on, so build it on the board",
    )


def _types_check(precision: str, types: Mapping[str, int]) -> Check:
    listed = ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
    found = types.get(precision, 0) > 0
    return Check(
        name="not_float_by_accident",
        status="pass" if found else "fail",
        detail=f"outputs of layers: {listed or 'none'}",
    )


def _qaic(bench: Bench, precision: str, model: Path, folder: Path) -> Built:
    _run(bench, qaic.compile_arguments(precision, str(model), "qpc"), folder)
    program = folder / "qpc" / qaic.PROGRAM
    if not program.is_file() or not program.stat().st_size:
        raise CompileError(f"{bench.tool.path.name} says it passed and wrote no {qaic.PROGRAM}")
    copy = folder / f"{precision}.{qaic.PROGRAM}"
    shutil.copyfile(program, copy)
    check = Check(name="device_readback", status="not_run", detail=_NO_CARD)
    versions = {"runner": bench.tool.path.name, "runner_sha256": bench.tool.sha256}
    return Built({copy.name: copy}, _untimed(_NO_CARD), (check,), None, _NO_CARD, versions)


def _run(bench: Bench, arguments: tuple[str, ...], folder: Path) -> str:
    return run_tool(bench.tool.path, arguments, scratch=folder, log=bench.log, time_s=bench.limits.time_s)


def _untimed(reason: str) -> Performance:
    return Performance(measured_on="not_run", latency_us=None, ddr_read_bytes=None, ddr_write_bytes=None, reason=reason)
