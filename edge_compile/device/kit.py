"""The kit that goes to a board: the compiled model, the frozen inputs as raw files, and what runs and describes it there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_compile.arrays import TARGET_OUTPUTS, load_arrays
from edge_compile.samples import Samples, TensorSpec, check_samples, samples_sha256
from platform_lib.errors import ConfigError, ContractError, IntegrityError, MissingPartError
from platform_lib.evidence import CompileReport, read_evidence
from platform_lib.manifest import changed_outputs, read_manifest
from platform_lib.refusals import first_problem
from platform_lib.storage import publish_folder, sha256_file

KIT = "kit.json"
FACTS_SCRIPT = "facts.sh"
RUNNER = Path(__file__).with_name("board_runner.py")
COMMAND = f"python3 {RUNNER.name}"
_DIGESTS = "files.sha256"

# POSIX sh, so that it runs on Linux, Android and QNX. It ends by comparing every file with its digest: the runtime checks
# nothing, and would load a file that was cut short on its way.
_FACTS = f"""#!/bin/sh
say() {{ printf '%s=%s\\n' "$1" "$(printf '%s' "$2" | tr -d '\\000\\r\\n')"; }}
say machine "$(uname -m)"
say system "$(uname -sr)"
say name "$(uname -n)"
say boot_id "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
say soc_id "$(cat /sys/devices/soc0/soc_id 2>/dev/null)"
say soc "$(cat /sys/devices/soc0/machine 2>/dev/null)"
say model "$(tr -d '\\000' 2>/dev/null </proc/device-tree/model)"
say android_soc "$(getprop ro.soc.model 2>/dev/null)"
whole=0
while read -r digest file; do
  found=$( (sha256sum "$file" 2>/dev/null || openssl dgst -r -sha256 "$file" 2>/dev/null) | cut -c1-64)
  if [ "$found" = "$digest" ]; then whole=$((whole + 1)); else say changed "$file"; fi
done <{_DIGESTS}
say whole "$whole"
"""
_README = """Measuring a compiled model on a board
=====================================

1. Copy this folder to the board.
2. In it, run:   sh facts.sh > facts.txt && python3 board_runner.py
   board_runner.py needs numpy, onnxruntime and onnxruntime-qnn there. Another program may take its place: it reads
   input_list.txt (a line a sample, NAME:=FILE, float32 little-endian) and leaves outputs/Result_<i>/<file of kit.json>, the
   same form; and timings_us.txt, the microseconds of each inference, a line each, if it can tell.
3. Copy the folder back, and sign what it says:   drivetrain device sign THIS_FOLDER --board ... --by ... --out MEASUREMENT
"""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KitTensor(_Strict):
    """One input or output: its name in the model, and the name of its raw file."""

    name: str
    file: str = Field(pattern=r"^[A-Za-z0-9_]+\.raw$")
    shape: tuple[int, ...]


class Kit(_Strict):
    """``kit.json``: what is to be measured.

    Attributes:
        artefact: File -> sha256 of the context model and its binaries.
        context: Which of them is loaded.
        inputs_sha256: Of all frozen inputs of the compile; the kit holds the first `samples` of them.
    """

    target: str
    soc_model: int
    precision: str
    onnx_sha256: str
    artefact: dict[str, str]
    context: str
    inputs_sha256: str
    samples: int = Field(ge=1)
    inputs: tuple[KitTensor, ...]
    outputs: tuple[KitTensor, ...]


def make_kit(compiled: Path, precision: str | None, frozen: Mapping[str, NDArray[np.generic]], out: Path) -> Kit:
    """Write the kit of one precision of a compile.

    Args:
        compiled: The folder that ``compile`` wrote.
        precision: Which; None for the one that was chosen.
        frozen: The frozen inputs of that compile, name -> (N, *shape).
        out: The folder to publish, new or empty.

    Raises:
        MissingPartError: There is no such compile, or no such precision in it.
        IntegrityError: The compile changed, or `frozen` are other inputs than it saw.
        ContractError: It is an engine of another maker's.
        ConfigError: `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("is not an empty folder", where=out, remedy="name a new folder")
    report, inputs_sha256 = read_compile(compiled)
    item = _measurable(report, precision or report.chosen, compiled)
    answers = target_outputs(compiled, item)
    samples = len(next(iter(answers.values())))
    context = next(name for name in report.precision(item).context if name.endswith(".onnx"))  # type: ignore[union-attr]
    specs = _inputs_of(compiled / context)
    checked = check_samples("frozen", frozen, specs)
    if samples_sha256(checked) != inputs_sha256:
        raise IntegrityError(
            "these are not the frozen inputs that the compile saw",
            where=compiled,
            remedy="give the NPZ that was given as --frozen (or --calibration, where there was none)",
        )
    kit = Kit(
        target=report.target,
        soc_model=report.soc_model,
        precision=item,
        onnx_sha256=report.onnx_sha256,
        artefact={name: report.digests[name] for name in report.precision(item).context},  # type: ignore[union-attr]
        context=context,
        inputs_sha256=inputs_sha256,
        samples=samples,
        inputs=_tensors({spec.name: spec.shape for spec in specs}),
        outputs=_tensors({name: array.shape[1:] for name, array in answers.items()}),
    )
    with publish_folder(out) as folder:
        _fill(folder, kit, compiled, checked)
    return kit


def read_kit(folder: Path) -> Kit:
    """Read a kit's account of itself.

    Raises:
        MissingPartError: There is none.
        IntegrityError: It is none.
    """
    try:
        return Kit.model_validate_json((folder / KIT).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPartError("no kit", where=folder, remedy="`drivetrain device kit` makes one") from error
    except ValidationError as error:
        raise IntegrityError(f"not a kit: {first_problem(error)}", where=folder / KIT) from error


def read_compile(folder: Path) -> tuple[CompileReport, str]:
    """Return a compile's report, intact, and the digest of its frozen inputs.

    Raises:
        MissingPartError: There is no compile.
        IntegrityError: It changed after it was made.
    """
    try:
        manifest = read_manifest(folder / "manifest.json")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPartError("no compile here", where=folder, remedy="name the folder `compile` wrote") from error
    if manifest.kind != "compile" or "frozen" not in manifest.inputs:
        raise IntegrityError(f"the manifest of a {manifest.kind}, not of a compile", where=folder)
    if changed := changed_outputs(manifest, folder):
        raise IntegrityError(f"changed after it was compiled: {', '.join(changed)}", where=folder)
    return read_evidence(CompileReport, folder / "report.json"), manifest.inputs["frozen"].sha256


def target_outputs(compiled: Path, precision: str) -> Samples:
    """Return what the emulator answered to the first frozen inputs.

    Raises:
        MissingPartError: The compile did not keep it.
    """
    path = compiled / f"{precision}{TARGET_OUTPUTS}"
    if not path.is_file():
        raise MissingPartError(
            f"the emulator's outputs of {precision} are not beside the compile", where=compiled, remedy="compile again"
        )
    return load_arrays(path)


def _measurable(report: CompileReport, precision: str | None, compiled: Path) -> str:
    found = None if precision is None else report.precision(precision)
    if found is None or not found.context:
        made = [item.precision for item in report.precisions if item.context]
        raise MissingPartError(
            f"{precision or 'the chosen precision'} was not compiled",
            where=compiled,
            remedy=f"name one of: {', '.join(made)}",
        )
    if not any(name.endswith(".onnx") for name in found.context):
        raise ContractError(
            f"{found.context[0]} is no context model of the Qualcomm chips, which alone are measured this way",
            where=compiled,
            remedy="an engine of TensorRT's is timed and compared on its board by the compile itself",
        )
    return found.precision


def _inputs_of(context: Path) -> tuple[TensorSpec, ...]:
    graph = onnx.load(context, load_external_data=False).graph
    return tuple(
        TensorSpec(item.name, tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim)) for item in graph.input
    )


def _tensors(shapes: dict[str, tuple[int, ...]]) -> tuple[KitTensor, ...]:
    """Name each tensor's file as the vendor's own runner would."""
    found = tuple(KitTensor(name=name, file=_file_of(name), shape=shape) for name, shape in shapes.items())
    if len({item.file for item in found}) < len(found):
        raise ContractError("two tensors have the same file name", where=", ".join(shapes), remedy="rename one of them")
    return found


def _file_of(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name) + ".raw"


def _fill(folder: Path, kit: Kit, compiled: Path, frozen: Samples) -> None:
    for name in kit.artefact:
        shutil.copyfile(compiled / name, folder / name)
    lines = []
    for index in range(kit.samples):
        (folder / "inputs" / str(index)).mkdir(parents=True)
        for item in kit.inputs:
            path = f"inputs/{index}/{item.file}"
            (folder / path).write_bytes(frozen[item.name][index].astype("<f4").tobytes())
        lines.append(" ".join(f"{item.name}:=inputs/{index}/{item.file}" for item in kit.inputs) + "\n")
    (folder / "input_list.txt").write_text("".join(lines))
    (folder / KIT).write_text(kit.model_dump_json(indent=2) + "\n")
    shutil.copyfile(RUNNER, folder / RUNNER.name)
    (folder / FACTS_SCRIPT).write_text(_FACTS)
    (folder / "README.txt").write_text(_README)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    (folder / _DIGESTS).write_text("".join(f"{sha256_file(folder / name)} {name}\n" for name in names))


def listed_files(folder: Path) -> dict[str, str]:
    """Return the digest of every file that left with the kit."""
    lines = (folder / _DIGESTS).read_text().splitlines()
    return {name: digest for digest, _, name in (line.partition(" ") for line in lines)}
