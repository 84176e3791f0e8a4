"""Runs of a contract over many files, summed up rule by rule (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from platform_lib.catalog.model import ContractRun, Finding
from platform_lib.contracts.model import Contract, Rule, Severity, Verdict, shown
from platform_lib.contracts.rules import rules_of

_RANK = {"pass": 0, "not_run": 1, "fail": 2}


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule over all that was checked.

    Attributes:
        verdict: The worst of all.
        figure: The worst figure, for people.
        required: What it has to be.
        where: The place of the worst, its file or drive before it.
        checked: How many files or tables it was judged on.
        failed: How many files do not keep it; of a table, how many rows of its query's answer.
    """

    rule: str
    severity: Severity
    verdict: Verdict
    figure: str
    unit: str
    required: str
    where: str
    checked: int
    failed: int

    @property
    def failed_of(self) -> str:
        """How many do not keep it, for people."""
        return str(self.failed) if self.failed > self.checked else f"{self.failed} of {self.checked}"


@dataclass(frozen=True, slots=True)
class ContractSummary:
    """One contract over all that was checked.

    Attributes:
        files: Files that it binds.
        rows: Its rules that were judged, those that are not kept first.
        findings: All that is not kept: subject and finding.
    """

    contract_id: str
    version: str
    sha256: str
    product: str
    domain: str
    owner: str
    files: int
    rows: tuple[RuleRow, ...]
    findings: tuple[tuple[str, Finding], ...]

    def count(self, severity: Severity) -> int:
        """Count the rules of one severity that are not kept."""
        return sum((item.severity, item.verdict) == (severity, "fail") for item in self.rows)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "id": self.contract_id,
            "version": self.version,
            "sha256": self.sha256,
            "product": self.product,
            "domain": self.domain,
            "files": self.files,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "rules": [asdict(item) for item in self.rows],
            "findings": [{"subject": subject, **asdict(item)} for subject, item in self.findings],
        }


def summarise(contract: Contract, runs: Iterable[ContractRun], names: Mapping[int | str, str]) -> ContractSummary:
    """Sum up the runs of one contract.

    Args:
        contract: Which.
        runs: Those of its present content.
        names: Ingest -> what to call its file; digest of a dataset -> what to call it.
    """
    own = [run for run in runs if run.contract_sha256 == contract.sha256 and run.figures]
    rows = [row for rule in rules_of(contract) if (row := _row(rule, own, names)) is not None]
    rows.sort(key=lambda item: (-_RANK[item.verdict], ("error", "warning", "info").index(item.severity)))
    team = contract.document.team
    members = [] if team is None or isinstance(team, list) else team.members or []
    return ContractSummary(
        contract_id=contract.id,
        version=contract.version,
        sha256=contract.sha256,
        product=str(contract.document.dataProduct),
        domain=str(contract.document.domain),
        owner=", ".join(str(item.username) for item in members if item.role == "owner"),
        files=sum(run.ingest_id is not None for run in own),
        rows=tuple(rows),
        findings=tuple((_subject(run, names), item) for run in own for item in run.findings),
    )


def _subject(run: ContractRun, names: Mapping[int | str, str]) -> str:
    if run.ingest_id is None:
        return names.get(run.artefact_sha256 or "", "")
    return names.get(run.ingest_id, f"ingest {run.ingest_id}")


def _row(rule: Rule, runs: Iterable[ContractRun], names: Mapping[int | str, str]) -> RuleRow | None:
    judged = [run for run in runs if rule.id in run.figures]
    found = [(run, item) for run in judged for item in run.findings if item.rule == rule.id]
    if not judged:
        return None
    failed = [(run, item) for run, item in found if item.verdict == "fail"]
    if found:
        run, worst = max(failed or found, key=lambda pair: _size(rule, pair[0].figures[rule.id]))
        verdict: Verdict = "fail" if failed else "not_run"
        figure = worst.figure
        places = [item for item in (_subject(run, names), worst.place) if item]
    else:
        run = max(judged, key=lambda item: _size(rule, item.figures[rule.id]))
        verdict, figure, places = "pass", shown(run.figures[rule.id]), [_subject(run, names)]
    where = ": ".join(item for item in places if item)
    return RuleRow(rule.id, rule.severity, verdict, figure, rule.unit, str(rule.limit), where, len(judged), len(failed))


def _size(rule: Rule, figure: float | str | None) -> float:
    """Return by how much a figure is to be looked at: the greater the worse."""
    if not isinstance(figure, (int, float)):
        return 0.0
    return -figure if rule.limit.operator.startswith("mustBeGreater") else figure
