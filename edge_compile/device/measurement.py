"""A measurement: what one board answered to a kit, in a folder that is signed by who measured."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.device.kit import FACTS_SCRIPT, Kit, listed_files, read_kit
from edge_compile.samples import Samples
from platform_lib.errors import ContractError, IntegrityError, MissingPartError
from platform_lib.evidence.measurements import MEASUREMENT, Measurement, is_board
from platform_lib.handoff.envelope import read_envelope
from platform_lib.handoff.keys import SigningKey, canonical_public_pem
from platform_lib.handoff.model import PUBLIC_KEY_NAME, SIGNATURE_NAME
from platform_lib.handoff.signing import sign_folder
from platform_lib.refusals import first_problem
from platform_lib.storage import publish_folder

OUTPUTS = "outputs.npz"
FACTS = "facts.txt"
RESULTS = ("outputs", "timings_us.txt", "tools.json")
_LONGEST_FIGURES = 10_000_000


def read_facts(text: str) -> dict[str, str]:
    """Read what ``facts.sh`` printed, KEY=VALUE a line; what is empty is left out."""
    pairs = (line.strip().partition("=") for line in text.splitlines())
    return {key: value.strip() for key, sign, value in pairs if sign and value.strip()}


def check_board(facts: Mapping[str, str], *, files: int | None, here: str | None = None) -> None:
    """Refuse what is no board, or has other files than left with the kit.

    Args:
        facts: What it says of itself.
        files: How many files left with the kit; None where only the machine is judged.
        here: This machine's own boot id; None to leave it out.

    Raises:
        ContractError: It is this machine, an emulator, or says nothing.
        IntegrityError: A file changed on its way.
    """
    machine = facts.get("machine", "")
    if here is not None and facts.get("boot_id") == here:
        raise ContractError(
            "that is this machine itself, not a board",
            remedy="name the board; the emulator ran with the compile already",
        )
    if not is_board(machine):
        raise ContractError(
            f"the board says it is '{machine or 'nothing'}', and the chips compiled for are ARM: on x86 the vendor's runtime "
            "is its emulator",
            remedy="run the kit on the board itself",
        )
    if "changed" in facts:
        raise IntegrityError(f"{facts['changed']} is another on the board", remedy="copy the kit there again")
    if files is not None and facts.get("whole") != str(files):
        raise IntegrityError(
            f"{facts.get('whole', 'none')} of {files} files could be compared on the board",
            remedy=f"the board needs sha256sum or openssl; run {FACTS_SCRIPT} in the kit's folder there",
        )


def sign_results(
    kit: Path,
    results: Path,
    facts: Mapping[str, str],
    out: Path,
    *,
    key: SigningKey,
    board: str,
    by: str,
    transport: Literal["ssh", "adb", "by hand"],
    command: str | None,
) -> Measurement:
    """Turn what came back from a board into a signed measurement.

    Args:
        kit: The kit that went there.
        results: The folder that holds ``outputs/``.
        facts: What the board says of itself.
        out: The folder to publish.
        key: Who vouches for it.
        board: Which board it was.
        by: Who measured.
        transport: How the kit got there.
        command: What was run; None where nobody says.

    Raises:
        MissingPartError: An output is missing.
        IntegrityError: An output has another size, or is no numbers.
        ContractError: It was no board.
    """
    account = read_kit(kit)
    check_board(facts, files=len(listed_files(kit)))
    outputs = _outputs(account, results)
    measurement = Measurement(
        measured_utc=datetime.now(UTC),
        measured_by=by,
        board=board,
        timings_us=_timings(results / RESULTS[1]),
        facts=dict(facts),
        tools=_tools(results / RESULTS[2]),
        transport=transport,
        command=command,
        **account.model_dump(include=set(_FROM_KIT)),
    )
    if out.exists():
        raise ContractError(
            "is there already", where=out, remedy="a measurement is never overwritten: name another folder"
        )
    with publish_folder(out) as temporary:
        folder = temporary / out.name  # signed under its own name, then moved up
        folder.mkdir()
        (folder / MEASUREMENT).write_text(measurement.model_dump_json(indent=2) + "\n")
        save_arrays(folder / OUTPUTS, outputs)
        (folder / PUBLIC_KEY_NAME).write_bytes(canonical_public_pem(key.public.path.read_bytes(), key.public.path))
        sign_folder(folder, key)
        for item in sorted(folder.iterdir()):
            item.rename(temporary / item.name)
        folder.rmdir()
    return measurement


def read_measurement(folder: Path) -> Measurement:
    """Read a measurement's account, which is worth what its signature is.

    Raises:
        MissingPartError: There is none.
        IntegrityError: It is none, or says that it is of something other than a board.
    """
    try:
        return Measurement.model_validate_json((folder / MEASUREMENT).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPartError("no measurement", where=folder, remedy="`drivetrain device sign` makes one") from error
    except ValidationError as error:
        raise IntegrityError(f"not a measurement: {first_problem(error)}", where=folder / MEASUREMENT) from error


def signing_key_id(folder: Path) -> str:
    """Return the id of the key that a measurement's signature names, which is not verified here.

    Raises:
        IntegrityError: It is not signed, or not by a signature of that kind.
    """
    try:
        return read_envelope((folder / SIGNATURE_NAME).read_bytes()).key_id
    except FileNotFoundError as error:
        raise IntegrityError(
            "nobody signed this measurement", where=folder, remedy="`drivetrain device sign` signs a kit that came back"
        ) from error
    except ValueError as error:
        raise IntegrityError(f"no signature of a measurement ({error})", where=folder / SIGNATURE_NAME) from error


def outputs_of(folder: Path) -> Samples:
    """Return what the board answered."""
    return load_arrays(folder / OUTPUTS)


_FROM_KIT = ("target", "soc_model", "precision", "onnx_sha256", "artefact", "inputs_sha256", "samples")


def _outputs(kit: Kit, results: Path) -> Samples:
    found = {}
    for item in kit.outputs:
        rows = [_row(results / "outputs" / f"Result_{index}" / item.file, item.shape) for index in range(kit.samples)]
        found[item.name] = np.stack(rows)
    return found


def _row(path: Path, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingPartError(
            "the board left no such output", where=path, remedy="run every input of input_list.txt there"
        ) from error
    if len(data) != 4 * int(np.prod(shape)):
        raise IntegrityError(
            f"{len(data)} bytes, and {shape} in float32 takes {4 * int(np.prod(shape))}",
            where=path,
            remedy="have the board's program write float32",
        )
    values = np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(values).all():
        raise IntegrityError("holds NaN or infinity", where=path, remedy="look at what ran on the board")
    return values


def _timings(path: Path) -> tuple[float, ...]:
    if not path.is_file():
        return ()
    try:
        found = tuple(float(line) for line in path.read_text()[:_LONGEST_FIGURES].split())
    except (ValueError, UnicodeDecodeError) as error:
        raise IntegrityError("not one number a line", where=path, remedy="write microseconds, a line each") from error
    if not all(isfinite(value) and value > 0.0 for value in found):
        raise IntegrityError("a time that is not above zero", where=path, remedy="write microseconds, a line each")
    return found


class _Tools(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str]


def _tools(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        return dict(_Tools.model_validate_json(path.read_bytes()).__pydantic_extra__)
    except ValidationError as error:
        raise IntegrityError(f"not tool and version: {first_problem(error)}", where=path) from error
