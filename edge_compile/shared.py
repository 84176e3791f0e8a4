"""One binary for several chips: compiled once, its chips read back; what it computes is for a board to show."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_compile import parity
from edge_compile.job import Job
from edge_compile.qnn import compile_precision
from edge_compile.quantize import Quantized
from edge_compile.workplace import Workplace
from platform_lib.errors import IntegrityError
from platform_lib.evidence import ParityRung, SharedContext

# Source: QNN 2.51.0 refuses to load such a binary on x86, as either chip and as none; seen on 2026-11-30.
_WHY_NOT_RUN = "the vendor's emulator loads no binary for several chips; run it on the board"


def compile_shared(job: Job, precision: str, quantized: Quantized, workplace: Workplace, folder: Path) -> SharedContext:
    """Compile a precision for the job's target and its others in one binary, and read its chips back.

    Quantized by the rules of the job's own target: another generation may like other encodings better.

    Raises:
        IntegrityError: The binary says that it is for other chips than were asked for.
        CompileError: The compiler failed.
    """
    targets = (job.target, *job.settings.also)
    scratch = workplace.scratch / "shared"
    compiled = compile_precision(
        quantized.models[precision],
        f"{precision}.shared",
        job.target,
        job.settings.options or {},
        scratch=scratch,
        log=workplace.log,
        limits=job.settings.limits,
        also=job.settings.also,
        rules=precision,
    )
    asked = tuple(item.soc_model for item in targets)
    if compiled.info.soc_models != asked:
        raise IntegrityError(
            f"the binary is for chip ids {compiled.info.soc_models}, and {asked} were asked for",
            where=precision,
            remedy="compile for each chip alone, without --also",
        )
    names = (compiled.context.name, *compiled.info.binaries)
    for name in names:
        shutil.copyfile(scratch / name, folder / name)
    size = sum((scratch / name).stat().st_size for name in compiled.info.binaries)
    return SharedContext(
        precision=precision,
        targets=tuple(item.name for item in targets),
        soc_models=compiled.info.soc_models,
        context=names,
        context_bytes=size,
        parity=tuple(_not_run(item.name, precision) for item in targets),
    )


def _not_run(target: str, precision: str) -> ParityRung:
    threshold_db = parity.thresholds_db(precision, None)[parity.QDQ_TARGET]
    return parity.rung(f"qdq->{target}", precision, None, None, threshold_db=threshold_db, missing=_WHY_NOT_RUN)
