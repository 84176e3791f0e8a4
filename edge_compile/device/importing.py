"""Takes a signed measurement into a compile: the rung ``target->device``, judged from the board's own outputs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_compile import parity
from edge_compile.device.kit import read_compile, target_outputs
from edge_compile.device.measurement import check_board, outputs_of, read_measurement, signing_key_id
from edge_compile.messages import SearchReport
from edge_compile.report_page import page
from edge_compile.workplace import open_workplace
from platform_lib.errors import IntegrityError
from platform_lib.evidence import TARGET_DEVICE, CompileReport, DeviceRun, ParityRung, write_evidence
from platform_lib.evidence.measurements import DEVICE_FOLDER, Measurement, run_of
from platform_lib.handoff.keys import PublicKey, read_public_key
from platform_lib.handoff.model import PUBLIC_KEY_NAME
from platform_lib.handoff.signing import signature_problem
from platform_lib.manifest import Manifest, describe_outputs, read_manifest
from platform_lib.storage import publish_folder, sha256_file

_REMEDY = "measure this compile, with its own frozen inputs: `drivetrain device kit` makes the kit"


def import_measurement(measurement: Path, compiled: Path, trusted: Sequence[PublicKey]) -> ParityRung:
    """Verify a measurement, judge it, and publish the compile anew with it; a rung that fails is kept and says so.

    Args:
        measurement: The signed folder.
        compiled: The folder that ``compile`` wrote.
        trusted: Whose signature counts; a key that lies in the measurement vouches for nothing.

    Raises:
        MissingPartError: There is no measurement, or no such compile.
        IntegrityError: It is not signed by one of these keys, was changed since, or is of another artefact, of other inputs
            or of another chip.
        ContractError: It was measured on something that is no board.
    """
    _verify(measurement, trusted)
    with open_workplace(compiled.resolve()):
        report, inputs_sha256 = read_compile(compiled)
        run, rung = judged(measurement, compiled, report, inputs_sha256)
        _publish(measurement, compiled.resolve(), report, run, rung)
    return rung


def judged(
    measurement: Path, compiled: Path, report: CompileReport, inputs_sha256: str
) -> tuple[DeviceRun, ParityRung]:
    """Compare a verified measurement with the compile it is of, and return its run and its rung.

    Raises:
        IntegrityError: It is of another artefact, of other inputs or of another chip, or its outputs are others.
        ContractError: It was measured on something that is no board.
    """
    said = read_measurement(measurement)
    check_board(said.facts, files=None)
    _same(said, report, inputs_sha256, measurement)
    target, device = target_outputs(compiled, said.precision), outputs_of(measurement)
    if shapes := _other_shapes(target, device, said.samples):
        raise IntegrityError(f"its outputs are not the model's: {shapes}", where=measurement, remedy=_REMEDY)
    rung = parity.rung(
        TARGET_DEVICE, said.precision, target, device, threshold_db=parity.DEVICE_THRESHOLDS_DB[said.precision]
    )
    return run_of(said, key_id=signing_key_id(measurement)), rung


def check_runs(compiled: Path, report: CompileReport) -> None:
    """Derive again what a report says of boards, from the signed folders beside it.

    Raises:
        IntegrityError: A signature does not hold, or the report says other than the measurement.
    """
    if not report.device:
        return
    inputs_sha256 = read_manifest(compiled / "manifest.json").inputs["frozen"].sha256
    for run in report.device:
        folder = compiled / DEVICE_FOLDER / run.precision
        if not (folder / PUBLIC_KEY_NAME).is_file():
            raise IntegrityError("the signed measurement is not there", where=folder, remedy="import it again")
        key = read_public_key(folder / PUBLIC_KEY_NAME)
        problem = "another key" if key.key_id != run.key_id else signature_problem(folder, key)
        if problem is not None:
            raise IntegrityError(f"the measurement is not as it was signed: {problem}", where=folder)
        rungs = [item for item in report.parity if (item.name, item.precision) == (TARGET_DEVICE, run.precision)]
        if judged(folder, compiled, report, inputs_sha256) != (run, *rungs):
            raise IntegrityError("the report says other than the measurement", where=folder, remedy="import it again")


def _verify(measurement: Path, trusted: Sequence[PublicKey]) -> None:
    read_measurement(measurement)
    key_id = signing_key_id(measurement)
    key = next((item for item in trusted if item.key_id == key_id), None)
    if key is None:
        raise IntegrityError(
            f"signed by key {key_id[:16]}, which is not trusted here",
            where=measurement,
            remedy="name the signer's key with --public-key, from a source you trust, or put it in keys/trusted/ of the home",
        )
    if key.path.resolve().is_relative_to(measurement.resolve()):
        raise IntegrityError(
            "the public key lies in the measurement it is to vouch for",
            where=key.path,
            remedy="take the signer's key from a place that you trust",
        )
    if (problem := signature_problem(measurement, key)) is not None:
        raise IntegrityError(f"changed after it was signed: {problem}", where=measurement, remedy="measure again")


def _same(said: Measurement, report: CompileReport, inputs_sha256: str, where: Path) -> None:
    item = report.precision(said.precision)
    expected = None if item is None else {name: report.digests.get(name) for name in item.context}
    if (said.target, said.soc_model) != (report.target, report.soc_model):
        raise IntegrityError(
            f"measured for {said.target} ({said.soc_model}), and this is compiled for {report.target} ({report.soc_model})",
            where=where,
            remedy=_REMEDY,
        )
    if said.onnx_sha256 != report.onnx_sha256 or not expected or said.artefact != expected:
        raise IntegrityError(
            f"it ran another artefact than {said.precision} of this compile", where=where, remedy=_REMEDY
        )
    if said.inputs_sha256 != inputs_sha256:
        raise IntegrityError("it answered other inputs than this compile's frozen ones", where=where, remedy=_REMEDY)


def _other_shapes(
    target: Mapping[str, NDArray[np.float32]], device: Mapping[str, NDArray[np.float32]], samples: int
) -> str:
    if set(target) != set(device):
        return f"{', '.join(sorted(device))} instead of {', '.join(sorted(target))}"
    wrong = [name for name in target if device[name].shape != (samples, *target[name].shape[1:])]
    return "" if not wrong else f"'{wrong[0]}' is {device[wrong[0]].shape}"


def _publish(measurement: Path, compiled: Path, report: CompileReport, run: DeviceRun, rung: ParityRung) -> None:
    """Exchange the compile's folder for one that holds the measurement as well; made from the same inputs, by the same code."""
    manifest = read_manifest(compiled / "manifest.json")
    with publish_folder(compiled) as folder:
        shutil.copytree(compiled, folder, dirs_exist_ok=True)
        place = folder / run.folder
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(measurement, place)
        kept = [item for item in report.parity if (item.name, item.precision) != (TARGET_DEVICE, run.precision)]
        digests = report.digests | {
            path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(place.iterdir())
        }
        new = CompileReport.model_validate(
            report.model_dump()
            | {
                "parity": (*kept, rung),
                "device": (*(item for item in report.device if item.precision != run.precision), run),
                "digests": digests,
            }
        )
        write_evidence(folder / "report.json", new)
        search = folder / "mixed.search.json"
        found = SearchReport.model_validate_json(search.read_bytes()) if search.is_file() else None
        (folder / "report.html").write_bytes(page(new, found).encode())
        (folder / "manifest.json").unlink()
        outputs = {item.name: item for item in sorted(folder.iterdir())}
        renewed: Manifest = manifest.model_copy(update={"outputs": describe_outputs(outputs, folder)})
        renewed.write(folder / "manifest.json")
