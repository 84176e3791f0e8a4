"""What contracts say of a home now: checked anew, or as the catalogue has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platform_lib.catalog.model import ContractRun, Drive
from platform_lib.contracts import CHECKS_VERSION
from platform_lib.contracts.admission import covered
from platform_lib.contracts.document import read_contracts
from platform_lib.contracts.files import check_files
from platform_lib.contracts.model import Contract
from platform_lib.contracts.summary import ContractSummary, summarise
from platform_lib.contracts.tables import check_dataset, check_lake
from platform_lib.datasets.reader import MANIFEST_FILE, DrivingDataset
from platform_lib.errors import ConfigError, PlatformError
from platform_lib.home import Home
from platform_lib.lake.lake import Lake
from platform_lib.manifest import read_manifest


@dataclass(frozen=True, slots=True)
class DriveState:
    """One drive: contract -> errors and warnings of its files; a contract that found no file of it is not there."""

    drive_id: str
    files: int
    findings: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Checked:
    """What contracts say of a home.

    Attributes:
        uncovered: Drives that lack a file under a contract on their vehicle, or are under none of their own; None where
            one contract alone was looked at, which cannot tell.
        unchecked: Files that no present contract was held against yet.
    """

    lake_sha256: str
    contracts: tuple[ContractSummary, ...]
    drives: tuple[DriveState, ...]
    uncovered: tuple[str, ...] | None
    unchecked: int


def check_home(
    home: Home, *, contract_id: str | None, drive_ids: Sequence[str] | None, dataset: str | None, again: bool
) -> Checked:
    """Check what was not checked yet, and return all of it.

    Args:
        home: Whose lake.
        contract_id: One contract; all by default.
        drive_ids: Only these drives' files, and no table.
        dataset: The rows of this dataset too.
        again: Measure files again that were checked by the same contract.

    Raises:
        ConfigError: There is no such contract or drive.
    """
    contracts = [item for item in read_contracts(home.root) if contract_id in (None, item.id)]
    if not contracts:
        raise ConfigError(f"no contract '{contract_id}'", remedy="`drivetrain contract list` names them")
    with Lake.open(home) as lake:
        drives = lake.drives()
        if unknown := sorted(set(drive_ids or ()) - {item.drive_id for item in drives}):
            raise ConfigError(f"no drive '{unknown[0]}' in the lake", remedy="`drivetrain drives` lists them")
        chosen = [item for item in drives if drive_ids is None or item.drive_id in drive_ids]
        check_files(lake, contracts, drive_ids=[item.drive_id for item in chosen], again=again)
        tables = [] if drive_ids is not None else check_lake(lake, contracts)
        if dataset is not None:
            rows = _check_dataset(home.datasets / dataset, contracts)
            lake.catalog.record_contract_runs(rows)
            tables += rows
        datasets = _datasets(home)
        if drive_ids is None:
            known = {run.artefact_sha256 for run in tables}
            tables += lake.catalog.contract_runs(artefacts=datasets.keys() - known)
        return _state(lake, contracts, chosen, tables, datasets, every=contract_id is None)


def recorded_state(home: Home) -> Checked:
    """Return what the catalogue holds of the present contracts; nothing is measured."""
    contracts = read_contracts(home.root)
    with Lake.open(home) as lake:
        datasets = _datasets(home)
        tables = lake.catalog.contract_runs(artefacts=[lake.version().sha256, *datasets])
        return _state(lake, contracts, lake.drives(), tables, datasets, every=True)


def _datasets(home: Home) -> dict[str, str]:
    """Return the datasets that lie in the home now: digest -> what to call it."""
    found = {}
    for path in sorted(home.datasets.glob(f"*/{MANIFEST_FILE}")):
        with suppress(OSError, PlatformError):  # one that is being replaced, or of another release, was not checked
            found[read_manifest(path).step_sha256] = f"dataset {path.parent.name}"
    return found


def _check_dataset(folder: Path, contracts: Sequence[Contract]) -> list[ContractRun]:
    with DrivingDataset.open(folder) as found:
        return check_dataset(found.folder / "samples.lance", contracts, sha256=found.sha256)


def _state(
    lake: Lake,
    contracts: Sequence[Contract],
    drives: Sequence[Drive],
    tables: Sequence[ContractRun],
    datasets: Mapping[str, str],
    *,
    every: bool,
) -> Checked:
    ingests = lake.catalog.view([item.drive_id for item in drives]).ingests
    of_drive = {item.ingest_id: item.drive_id for item in ingests}
    digests = {item.ingest_id: item.key.file_sha256 for item in ingests}
    paths = {file.file_sha256: (drive, file.paths) for drive in drives for file in drive.files}
    ids = [ingest_id for ingest_id, digest in digests.items() if digest in paths]
    files = [run for run in lake.catalog.contract_runs(ingest_ids=ids) if run.checks_version == CHECKS_VERSION]
    names: dict[int | str, str] = {ingest_id: _name(*paths[digests[ingest_id]]) for ingest_id in ids}
    names.update(datasets)
    present = {item.sha256 for item in contracts}
    files = [run for run in files if run.contract_sha256 in present]
    by_drive: dict[str, list[ContractRun]] = {item.drive_id: [] for item in drives}
    for run in files:
        by_drive[of_drive[run.ingest_id or 0]].append(run)
    return Checked(
        lake_sha256=lake.version().sha256,
        contracts=tuple(summarise(item, [*files, *tables], names) for item in contracts),
        drives=tuple(_drive_state(item, by_drive[item.drive_id]) for item in drives),
        uncovered=tuple(item.drive_id for item in drives if not covered(item, by_drive[item.drive_id], contracts))
        if every
        else None,
        unchecked=len(set(ids) - {run.ingest_id for run in files}),
    )


def _name(drive: Drive, paths: Sequence[str]) -> str:
    return f"{drive.drive_id}/{Path(paths[0]).name}"


def _drive_state(drive: Drive, runs: Sequence[ContractRun]) -> DriveState:
    findings: dict[str, tuple[int, int]] = {}
    for run in runs:
        if run.figures:
            errors, warnings = findings.get(run.contract_id, (0, 0))
            findings[run.contract_id] = (errors + run.count("error"), warnings + run.count("warning"))
    return DriveState(drive.drive_id, len(drive.files), findings)
