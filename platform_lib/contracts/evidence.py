"""What a dataset's manifest says of contracts: written when it is built, judged by the gate (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from platform_lib.catalog.model import ContractRun

METRIC = "contracts"
"""Where the manifest's metrics keep it."""
Level = Literal["file", "lake", "dataset"]
_MOST_TOLD = 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ContractEvidence(_Strict):
    """One contract, held against all that it binds of what the dataset was made from.

    Attributes:
        level: Whether files, the lake's views or the dataset's rows were checked.
        subjects: How many of them: files, or one.
        rules: Rules that were judged, summed over the subjects.
        errors: Error-severity rules that were not kept.
        warnings: The same of warnings.
        not_run: Error-severity rules that found nothing to measure.
    """

    contract_id: str
    version: str
    sha256: str
    level: Level
    subjects: NonNegativeInt
    rules: NonNegativeInt
    errors: NonNegativeInt
    warnings: NonNegativeInt
    not_run: NonNegativeInt


class DatasetEvidence(_Strict):
    """All contracts of one dataset.

    Attributes:
        drives: Drives whose samples are in it.
        uncovered: Those of them that lack a file under some contract that binds their vehicle, or are bound by none
            but those on every vehicle.
        left_out: Drives that a contract kept out.
        findings: What was not kept and did not keep out, a sentence each; the first of them.
    """

    schema_version: Literal[1] = 1
    drives: NonNegativeInt
    contracts: tuple[ContractEvidence, ...]
    uncovered: tuple[str, ...]
    left_out: tuple[str, ...]
    findings: tuple[str, ...]


def evidence_of(
    *,
    drives: Collection[str],
    uncovered: Iterable[str],
    left_out: Iterable[str],
    runs: Mapping[Level, Collection[ContractRun]],
) -> DatasetEvidence:
    """Sum up the runs on what a dataset was made from.

    Args:
        drives: Those whose samples are in it.
        uncovered: See `DatasetEvidence`.
        left_out: See `DatasetEvidence`.
        runs: Level -> runs on the files of these drives, on the lake, on the dataset.
    """
    found = []
    for level, of_level in runs.items():
        bound = [run for run in of_level if run.figures]
        for contract_id in sorted({run.contract_id for run in bound}):
            found.append(_sum(level, [run for run in bound if run.contract_id == contract_id]))
    told = sorted(
        {
            f"{run.contract_id} {item.severity}: {item.sentence}"
            for of in runs.values()
            for run in of
            for item in run.findings
        }
    )
    return DatasetEvidence(
        drives=len(drives),
        contracts=tuple(found),
        uncovered=tuple(sorted(uncovered)),
        left_out=tuple(sorted(left_out)),
        findings=tuple(told[:_MOST_TOLD]),
    )


def _sum(level: Level, runs: list[ContractRun]) -> ContractEvidence:
    return ContractEvidence(
        contract_id=runs[0].contract_id,
        version=runs[0].contract_version,
        sha256=runs[0].contract_sha256,
        level=level,
        subjects=len(runs),
        rules=sum(len(run.figures) for run in runs),
        errors=sum(run.count("error") for run in runs),
        warnings=sum(run.count("warning") for run in runs),
        not_run=sum(run.count("error", "not_run") for run in runs),
    )
