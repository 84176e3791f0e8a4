"""Which drives may enter a dataset: every file held against its contracts, and the lake's views once more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from platform_lib.catalog.model import ContractRun, Drive, Finding
from platform_lib.contracts import CHECKS_VERSION
from platform_lib.contracts.evidence import DatasetEvidence, evidence_of
from platform_lib.contracts.files import binds, check_files, is_pattern
from platform_lib.contracts.model import Contract
from platform_lib.contracts.rules import rules_of
from platform_lib.contracts.tables import check_lake
from platform_lib.errors import ContractError
from platform_lib.lake.lake import Lake

REASON = "contract "
"""How the reason begins why a contract left a drive out."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What contracts say of a lake's drives.

    Attributes:
        drives: Those that may enter a dataset.
        left_out: Drive id -> why not.
        uncovered: Drives that lack a file under some contract on their vehicle, or are under none of their own.
        files: Drive id -> the runs on its files.
        lake: The runs on the lake's views.
    """

    drives: tuple[Drive, ...]
    left_out: Mapping[str, str]
    uncovered: frozenset[str]
    files: Mapping[str, Sequence[ContractRun]]
    lake: tuple[ContractRun, ...]

    def evidence(self, used: Collection[str], dataset: Sequence[ContractRun]) -> DatasetEvidence:
        """Return what the manifest says of a dataset with samples of these drives.

        Args:
            used: Ids of the drives that gave samples.
            dataset: The runs on its rows.
        """
        files = [run for drive_id in used for run in self.files.get(drive_id, ())]
        return evidence_of(
            drives=used,
            uncovered=self.uncovered & set(used),
            left_out=self.left_out,
            runs={"file": files, "lake": self.lake, "dataset": dataset},
        )


def admit(lake: Lake, contracts: Sequence[Contract], drives: Sequence[Drive]) -> Admission:
    """Check what was not checked yet, and say which drives may enter a dataset.

    Raises:
        ContractError: A view of the lake breaks its contract, and no drive can be named for it.
    """
    check_files(lake, contracts, drive_ids=[item.drive_id for item in drives])
    of_drive = {
        item.ingest_id: item.drive_id for item in lake.catalog.view([drive.drive_id for drive in drives]).ingests
    }
    current = {item.sha256 for item in contracts}
    files: dict[str, list[ContractRun]] = defaultdict(list)
    for run in lake.catalog.contract_runs(ingest_ids=list(of_drive)):
        if run.ingest_id is not None and run.contract_sha256 in current and run.checks_version == CHECKS_VERSION:
            files[of_drive[run.ingest_id]].append(run)
    of_lake = check_lake(lake, contracts, drive_ids=[item.drive_id for item in drives])
    left_out = {
        item.drive_id: why
        for item in drives
        if (why := _why_not(item.drive_id, files[item.drive_id], of_lake)) is not None
    }
    refuse_broken(of_lake, where="lake")
    return Admission(
        drives=tuple(item for item in drives if item.drive_id not in left_out),
        left_out=left_out,
        uncovered=frozenset(item.drive_id for item in drives if not covered(item, files[item.drive_id], contracts)),
        files=dict(files),
        lake=tuple(of_lake),
    )


def _why_not(drive_id: str, files: Sequence[ContractRun], of_lake: Sequence[ContractRun]) -> str | None:
    errors = [(run, item) for run in files for item in run.findings if item.is_error]
    errors += [(run, item) for run in of_lake for item in run.findings if item.is_error and item.drive_id == drive_id]
    if not errors:
        return None
    run, first = errors[0]
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{REASON}{run.contract_id} {run.contract_version}: {first.sentence}{more}"


def refuse_broken(runs: Sequence[ContractRun], *, where: str) -> None:
    """Refuse to go on when a table breaks its contract and no single drive can be left out for it.

    Raises:
        ContractError: One does.
    """
    broken: list[tuple[ContractRun, Finding]] = [
        (run, item) for run in runs for item in run.findings if item.is_error and item.drive_id is None
    ]
    if broken:
        run, first = broken[0]
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise ContractError(
            f"contract {run.contract_id} {run.contract_version} is broken: {first.sentence}{more}",
            where=where,
            remedy="`drivetrain contract check` shows all of it; mend the data, or change the contract as a new version",
        )


def covered(drive: Drive, files: Sequence[ContractRun], contracts: Sequence[Contract]) -> bool:
    """Whether every contract that names streams of this vehicle found them in a file of the drive, and there is one."""
    due = {
        item.id
        for item in contracts
        if binds(item, drive.vehicle)
        and any(rule.kind == "stream" and not is_pattern(rule.source) for rule in rules_of(item))
    }
    return bool(due) and due <= {run.contract_id for run in files if run.figures}
