"""What a compile publishes of the float model: itself, what was cut off it, and what has to be done before it."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from edge_compile.job import Job
from platform_lib.errors import IntegrityError
from platform_lib.storage import publish_bytes, sha256_file

FLOAT_MODEL, TAIL, PREPROCESSING = "fp32.onnx", "suppression.onnx", "preprocessing.json"


def save_float(job: Job, folder: Path) -> tuple[Path, Path | None]:
    """Write the float model as it is quantized, and return it with what was cut off it, if anything was.

    Raises:
        IntegrityError: The file changed while it was read.
    """
    if (asked := job.settings.preprocessing) is not None:
        publish_bytes(folder / PREPROCESSING, (asked.model_dump_json(indent=2) + "\n").encode())
    return _copy(job, folder), _save_tail(job, folder)


def _copy(job: Job, folder: Path) -> Path:
    copy = folder / FLOAT_MODEL
    if job.model.external or job.model.rewrites:
        onnx.save(job.model.proto, copy)
        return copy
    shutil.copyfile(job.model.path, copy)
    if sha256_file(copy) != job.onnx_sha256:
        raise IntegrityError("the model changed while it was read", where=job.model.path, remedy="compile again")
    return copy


def _save_tail(job: Job, folder: Path) -> Path | None:
    """Publish what was cut off the model, if anything was, to run beside the chip."""
    if job.model.tail is None:
        return None
    onnx.save(job.model.tail, folder / TAIL)
    return folder / TAIL
