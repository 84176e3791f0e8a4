"""Whether what a bundle says of boards is what somebody signed who measured there.

The compile report repeats each measurement; the measurement itself lies beside it with a signature of its own, made by
whoever stood at the board. So not even the bundle's signer can say other than that person did. How close the board's
answers came was computed when the measurement was imported and again when the bundle was made; it takes the emulator's
answers, which do not travel, and is not repeated here.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from platform_lib.errors import ConfigError
from platform_lib.evidence import TARGET_DEVICE, CompileReport, DeviceRun
from platform_lib.evidence.measurements import DEVICE_FOLDER, MEASUREMENT, Measurement, is_board, run_of
from platform_lib.handoff import strict_json
from platform_lib.handoff.consistency import MAX_JSON_BYTES
from platform_lib.handoff.contents import SignedFiles, shown
from platform_lib.handoff.envelope import read_envelope
from platform_lib.handoff.keys import read_public_key
from platform_lib.handoff.model import COMPILE_REPORT, PUBLIC_KEY_NAME, SIGNATURE_NAME
from platform_lib.handoff.signing import signature_problem
from platform_lib.manifest import Manifest

COMPILE_MANIFEST = "evidence/manifests/compile.json"
_EVIDENCE = PurePosixPath(COMPILE_REPORT).parent


def measured_of(files: SignedFiles) -> tuple[tuple[DeviceRun, ...], list[str]]:
    """Return what a bundle says was measured on boards, and what of it no signed measurement bears out.

    Args:
        files: The bundle's files; none of them is a link.
    """
    try:
        compiled = strict_json.parse(CompileReport, files.read(COMPILE_REPORT, MAX_JSON_BYTES))
    except (OSError, ValueError):
        return (), []  # said already, by who compares the manifest with its evidence
    prefix = f"{_EVIDENCE}/{DEVICE_FOLDER}/"
    ran = {run.precision for run in compiled.device}
    there = {PurePosixPath(name).relative_to(prefix).parts[0] for name in files.sha256 if name.startswith(prefix)}
    problems = [
        f"{shown(prefix + name)} is a measurement that the compile report does not know" for name in there - ran
    ]
    for run in compiled.device:
        problems += [f"measurement of {shown(run.precision)}: {said}" for said in _problems(files, compiled, run)]
    return compiled.device, sorted(problems)


def _problems(files: SignedFiles, compiled: CompileReport, run: DeviceRun) -> list[str]:
    folder = _EVIDENCE / DEVICE_FOLDER / run.precision
    parts = [f"{folder}/{name}" for name in (MEASUREMENT, SIGNATURE_NAME, PUBLIC_KEY_NAME)]
    if PurePosixPath(run.precision).name != run.precision or not files.sha256.keys() >= set(parts):
        return ["no signed measurement lies in the bundle"]
    try:
        signed = read_envelope(files.read(parts[1], MAX_JSON_BYTES))
        measurement = strict_json.parse(Measurement, files.read(parts[0], MAX_JSON_BYTES))
        manifest = strict_json.parse(Manifest, files.read(COMPILE_MANIFEST, MAX_JSON_BYTES))
        key = read_public_key(files.root / parts[2])
        problem = "by another key" if key.key_id != signed.key_id else signature_problem(files.root / folder, key)
    except (OSError, ValueError, ConfigError) as error:
        return [f"cannot be read: {shown(str(error))[:400]}"]
    if problem is not None:
        return [f"not as it was signed: {shown(problem)}"]
    return _said_otherwise(measurement, compiled, run, manifest, signed.key_id)


def _said_otherwise(
    measurement: Measurement, compiled: CompileReport, run: DeviceRun, manifest: Manifest, key_id: str
) -> list[str]:
    """Name what the report says and its measurement does not."""
    item = compiled.precision(run.precision)
    loaded = {} if item is None else {name: compiled.digests.get(name) for name in item.context}
    rungs = [r for r in compiled.parity if (r.name, r.precision) == (TARGET_DEVICE, run.precision)]
    frozen = manifest.inputs.get("frozen")
    statements = {
        "the compile report says other than what was signed": run == run_of(measurement, key_id=key_id),
        f"of another chip ({shown(measurement.target)})": (measurement.target, measurement.soc_model)
        == (compiled.target, compiled.soc_model),
        "of another artefact": measurement.onnx_sha256 == compiled.onnx_sha256
        and bool(loaded)
        and measurement.artefact == loaded,
        "of other inputs": frozen is not None and measurement.inputs_sha256 == frozen.sha256,
        "of another number of inputs": [rung.samples for rung in rungs] == [measurement.samples],
        "on no board": is_board(run.machine) and "changed" not in measurement.facts,
    }
    return [what for what, holds in statements.items() if not holds]
