"""One binary for several chips: compiled once, its chips read back, and run as each of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_compile import parity
from edge_compile.arrays import load_arrays
from edge_compile.job import Job
from edge_compile.qnn import compile_precision, run_on_emulator
from edge_compile.quantize import Quantized
from edge_compile.workplace import Workplace
from platform_lib.errors import IntegrityError
from platform_lib.evidence import ParityRung, SharedContext


def compile_shared(
    job: Job, precision: str, quantized: Quantized, workplace: Workplace, folder: Path
) -> tuple[SharedContext, list[ParityRung]]:
    """Compile a precision for the job's target and its others in one binary, and compare each with the QDQ model.

    Quantized by the rules of the job's own target: another generation may like other encodings better, and its rung
    says what these give.

    Raises:
        IntegrityError: The binary says that it is for other chips than were asked for.
        CompileError: The compiler or the emulator failed.
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
    rungs = []
    for target in targets:
        outputs = workplace.scratch / f"shared-{target.name}.npz"
        run_on_emulator(
            compiled.context,
            compiled.digests,
            target,
            quantized.frozen,
            outputs,
            samples=job.emulated,
            scratch=workplace.scratch / f"shared-{target.name}",
            log=workplace.log,
            limits=job.settings.limits,
        )
        rungs.append(
            parity.rung(
                f"qdq->{target.name} (shared)",
                precision,
                quantized.qdq[precision],
                load_arrays(outputs),
                threshold_db=parity.thresholds_db(precision, None)[parity.QDQ_TARGET],
            )
        )
    names = (compiled.context.name, *compiled.info.binaries)
    for name in names:
        shutil.copyfile(scratch / name, folder / name)
    size = sum((scratch / name).stat().st_size for name in compiled.info.binaries)
    shared = SharedContext(
        precision=precision,
        targets=tuple(item.name for item in targets),
        soc_models=compiled.info.soc_models,
        context=names,
        context_bytes=size,
    )
    return shared, rungs
