"""`drivetrain qat`: the thin command over `edge_compile.qat.fine_tune`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from pydantic import JsonValue

from edge_compile.commands.compile import read_arrays
from edge_compile.messages import QatAnswer
from edge_compile.onnx_model import read_model
from edge_compile.qat import fine_tune, frozen_beside
from platform_lib.catalog.liveness import orderly_termination
from platform_lib.console import OUT, print_json, progress
from platform_lib.errors import MissingPartError, UsageError
from platform_lib.home import Home, find_home
from platform_lib.manifest import Step, input_of, manifest_path_of
from platform_lib.options import HomeOption, JsonOption

_RUN_MODULE = "edge_compile.run_module:network_of"
_Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class _Source:
    """What is trained: the function that makes it, its argument, its outputs' names, and where its samples lie."""

    module: str
    argument: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    calibration: Path
    frozen: Path | None


def qat(
    source: Annotated[
        str,
        typer.Argument(
            help="A run, by its name or folder; or module:function, file.py:function that returns a torch module.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The trained ONNX model to write, NAME.onnx.", show_default=False)],
    precision: Annotated[str, typer.Option(help="What to train for: w8a8, w8a16, w4a8 or w4a16.")] = "w8a8",
    calibration: Annotated[
        Path | None, typer.Option(help="NPZ of inputs to learn from. Default: the run's own.", show_default=False)
    ] = None,
    frozen: Annotated[
        Path | None,
        typer.Option(help="NPZ of inputs to compile with afterwards. Default: the run's own.", show_default=False),
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option(help="What to call an output, in their order; repeatable.", show_default=False)
    ] = None,
    aimet_torch: Annotated[
        Path | None,
        typer.Option(
            envvar="DRIVETRAIN_AIMET_TORCH",
            help="Folder of `pip install --no-deps --target FOLDER aimet-torch==2.42.0`.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 500,
    batch: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="At the first step; it falls to 0.")] = 1e-3,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a torch module to answer, quantized, as it does in float, where no post-training technique reaches the tolerance.

    An ONNX file cannot be trained. What is written is a new float model: compile it, and judge it by what the old one
    answered, which lies beside it as `label_OUTPUT`. A run that it came from stays as it was.
    """
    found = _source(source, calibration, frozen, tuple(output or ()), home)
    samples = read_arrays(found.calibration)
    inputs = found.inputs or tuple(name for name in samples if name not in ("slice", "sample_id", *found.outputs))
    with orderly_termination(), progress("training", total=1) as bar:
        bar.advance(0, note=f"{steps} steps for {precision}")
        answer = fine_tune(
            found.module,
            {name: samples[name] for name in inputs if name in samples},
            precision,
            out,
            outputs=found.outputs,
            argument=found.argument,
            frozen=None if found.frozen is None else read_arrays(found.frozen),
            aimet_torch=aimet_torch,
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
        )
        _note(
            found, precision, out, answer, aimet_torch, {"steps": steps, "batch": batch, "learning_rate": learning_rate}
        )
        bar.advance(1, note="done")
    beside = None if found.frozen is None else str(frozen_beside(out))
    if as_json:
        print_json({"onnx": str(out), "frozen": beside, "precision": precision, **answer.model_dump(mode="json")})
        return
    gained = (
        "nothing was gained: the old weights, put on their grid"
        if not answer.best_step
        else f"step {answer.best_step} kept"
    )
    said = f"{precision}: {answer.before_db:.1f} dB before, {answer.after_db:.1f} dB after training, {gained}"
    OUT.print(
        f"{said} ({answer.held_out} samples held out of {answer.learned_from + answer.held_out})", highlight=False
    )
    samples_said = f" --frozen {beside}" if beside else ""
    next_step = f"drivetrain compile {out} --precision {precision} --calibration {found.calibration}{samples_said}"
    OUT.print(f"compile it: {next_step} ...", highlight=False, markup=False, soft_wrap=True)


def _note(
    source: _Source, precision: str, out: Path, answer: QatAnswer, tool: Path | None, config: dict[str, JsonValue]
) -> None:
    """Write the manifest beside the trained model: what it came from. What a module of somebody's own imports is not in it."""
    files = {"calibration": source.calibration, "frozen": source.frozen}
    if source.argument is not None:
        files["run"] = Path(source.argument) / "manifest.json"
    else:
        files["module"] = Path(source.module.rpartition(":")[0])
    found = metadata.distributions(path=[str(tool)]) if tool is not None else metadata.distributions(name="aimet-torch")
    versions = [item.version for item in found if item.metadata["Name"].lower().replace("_", "-") == "aimet-torch"]
    step = Step(
        "qat",
        inputs={name: input_of(path) for name, path in files.items() if path is not None and path.is_file()},
        config={
            "source": source.module,
            "precision": precision,
            "aimet-torch": versions[0] if versions else None,
            **config,
        },
        modules=("edge_compile.qat", "edge_compile.qat_worker", "edge_compile.run_module"),
    )
    outputs = {"onnx": out} | ({} if source.frozen is None else {"frozen": frozen_beside(out)})
    step.finish(manifest_path_of(out), outputs, answer.model_dump(mode="json"))


def _source(
    source: str, calibration: Path | None, frozen: Path | None, outputs: tuple[str, ...], home: Path | None
) -> _Source:
    if ":" in source:
        if calibration is None or not outputs:
            raise UsageError(
                "a module of your own comes without samples and names",
                where="qat",
                remedy="give --calibration FILE and --output NAME",
            )
        return _Source(source, None, (), outputs, calibration, frozen)
    run = Path(source) if Path(source).is_dir() else Home(find_home(home)).runs / source
    if not (run / "model.onnx").is_file():
        raise MissingPartError(
            "no run of that name", where=run, remedy="name a training run, or module:function of a torch module"
        )
    model = read_model(run / "model.onnx")
    own = run / "frozen.npz"
    return _Source(
        module=_RUN_MODULE,
        argument=str(run.resolve()),
        inputs=tuple(item.name for item in model.inputs),
        outputs=outputs or tuple(item.name for item in model.outputs),
        calibration=calibration or run / "calibration.npz",
        frozen=frozen or (own if own.is_file() else None),
    )
