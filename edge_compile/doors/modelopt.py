"""Finds nvidia-modelopt, here or in a Python of its own, and has it quantize."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edge_compile.doors.tool import run_tool
from platform_lib.errors import CompileError, ConfigError

PYTHON = "DRIVETRAIN_MODELOPT_PYTHON"
MISSING = (
    "nvidia-modelopt is not available here: make an environment of its own (pip install 'nvidia-modelopt[onnx]') and name its "
    f"Python in {PYTHON}"
)
_PACKAGE = "nvidia-modelopt"
_ASK_S = 60.0
_SCRIPT = Path(__file__).with_name("modelopt_script.py")


@dataclass(frozen=True, slots=True)
class Quantizer:
    """A Python that has nvidia-modelopt, and which release of it."""

    python: Path
    version: str


def find_modelopt() -> Quantizer | None:
    """Return the Python that has it: the one the environment names, else this one, None if neither does.

    Raises:
        ConfigError: What the environment names is no Python that has it.
    """
    named = os.environ.get(PYTHON)
    if not named:
        here = importlib.util.find_spec("modelopt") is not None
        return Quantizer(Path(sys.executable), metadata.version(_PACKAGE)) if here else None
    ask = f"from importlib.metadata import version; print(version('{_PACKAGE}'))"
    try:
        said = subprocess.run([named, "-c", ask], check=True, capture_output=True, text=True, timeout=_ASK_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"is no Python that has {_PACKAGE}", where=f"{PYTHON}={named}", remedy=MISSING) from error
    return Quantizer(Path(named).absolute(), said.stdout.strip())


def quantize(
    python: Path, model: Path, calibration: Path, mode: str, out: Path, *, log: Path, time_s: float
) -> dict[str, str]:
    """Quantize a float model into a QDQ model; return the versions of what did it.

    Args:
        python: The Python that has nvidia-modelopt.
        model: The float model.
        calibration: ``.npz`` of input name -> (N, *shape).
        mode: ``int8`` or ``fp8``.
        out: The model to write, in a folder that is scratch.
        log: Where its words go.
        time_s: How long it may take.

    Raises:
        CompileError: It failed, or wrote nothing.
    """
    request = out.with_name("request.json")
    request.write_text(
        json.dumps({"model": str(model), "calibration": str(calibration), "mode": mode, "output": str(out)})
    )
    # From a folder of its own: beside this module, `import modelopt` would find this module.
    script = out.with_name(_SCRIPT.name)
    shutil.copyfile(_SCRIPT, script)
    run_tool(python, [str(script), str(request)], scratch=out.parent, log=log, time_s=time_s)
    answer = out.with_name("answer.json")
    if not out.is_file() or not answer.is_file():
        raise CompileError(f"nvidia-modelopt wrote no {mode} model")
    versions: dict[str, str] = json.loads(answer.read_text())
    return versions
