"""The catalogue's rows of contract runs: written in one transaction, the newest of each kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, Row, Text, any_, delete, func, insert, literal, select, tuple_

from platform_lib.catalog.model import ContractRun, Finding
from platform_lib.catalog.schema import CONTRACT_FINDINGS, CONTRACT_RUNS

_BATCH = 500
_LOCK = 0x6472_6976_6574_7263  # any constant of ours: commands that check the same files write one after the other


def write_runs(connection: Connection, runs: Sequence[ContractRun]) -> None:
    """Write runs; each replaces the one of the same contract on the same subject."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    for start in range(0, len(runs), _BATCH):
        _write(connection, runs[start : start + _BATCH])


def _write(connection: Connection, runs: Sequence[ContractRun]) -> None:
    for subject in ("ingest_id", "artefact_sha256"):
        pairs = [
            (value, run.contract_id)
            for run in runs
            if (value := run.ingest_id if subject == "ingest_id" else run.artefact_sha256) is not None
        ]
        if pairs:
            columns = tuple_(CONTRACT_RUNS.c[subject], CONTRACT_RUNS.c.contract_id)
            connection.execute(delete(CONTRACT_RUNS).where(columns.in_(pairs)))
    statement = insert(CONTRACT_RUNS).returning(CONTRACT_RUNS.c.run_id, sort_by_parameter_order=True)
    run_ids = list(connection.execute(statement, [_columns(run) for run in runs]).scalars())
    findings = [
        {"run_id": run_id, "number": number, **{name: getattr(item, name) for name in Finding.__slots__}}
        for run_id, run in zip(run_ids, runs, strict=True)
        for number, item in enumerate(run.findings)
    ]
    if findings:
        connection.execute(insert(CONTRACT_FINDINGS), findings)


def _columns(run: ContractRun) -> dict[str, Any]:
    return {
        "contract_id": run.contract_id,
        "contract_version": run.contract_version,
        "contract_sha256": run.contract_sha256,
        "checks_version": run.checks_version,
        "ingest_id": run.ingest_id,
        "artefact_sha256": run.artefact_sha256,
        "errors": run.count("error"),
        "warnings": run.count("warning"),
        "figures": dict(run.figures),
    }


def read_runs(
    connection: Connection, *, ingest_ids: Collection[int] = (), artefacts: Collection[str] = ()
) -> list[ContractRun]:
    """Read the runs on these files, lake versions and datasets, in order of contract and subject."""
    # As arrays: a list of parameters ends at 65,535.
    files = CONTRACT_RUNS.c.ingest_id == any_(literal(list(ingest_ids), ARRAY(BigInteger)))
    others = CONTRACT_RUNS.c.artefact_sha256 == any_(literal(list(artefacts), ARRAY(Text)))
    wanted = files | others
    rows = connection.execute(
        select(CONTRACT_RUNS)
        .where(wanted)
        .order_by(CONTRACT_RUNS.c.contract_id, CONTRACT_RUNS.c.ingest_id, CONTRACT_RUNS.c.artefact_sha256)
    ).all()
    findings: dict[int, list[Finding]] = defaultdict(list)
    for row in connection.execute(
        select(CONTRACT_FINDINGS)
        .join(CONTRACT_RUNS, CONTRACT_RUNS.c.run_id == CONTRACT_FINDINGS.c.run_id)
        .where(wanted)
        .order_by(CONTRACT_FINDINGS.c.run_id, CONTRACT_FINDINGS.c.number)
    ):
        findings[row.run_id].append(Finding(**{name: getattr(row, name) for name in Finding.__slots__}))
    return [_run(row, findings[row.run_id]) for row in rows]


def _run(row: Row[Any], findings: Sequence[Finding]) -> ContractRun:
    return ContractRun(
        contract_id=row.contract_id,
        contract_version=row.contract_version,
        contract_sha256=row.contract_sha256,
        checks_version=row.checks_version,
        ingest_id=row.ingest_id,
        artefact_sha256=row.artefact_sha256,
        figures=row.figures,
        findings=tuple(findings),
    )
