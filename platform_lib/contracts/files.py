"""Holds every file of the lake against the contracts that bind it, once for each contract's content."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from platform_lib.catalog.due_checks import DueCheck, DueChecks
from platform_lib.catalog.model import ContractRun, Finding, StreamRecord
from platform_lib.contracts import CHECKS_VERSION
from platform_lib.contracts.measures import StreamData, measure
from platform_lib.contracts.model import Contract, Result, Rule, judge, shown
from platform_lib.contracts.rules import rules_of
from platform_lib.contracts.streams import Wanted, read_streams
from platform_lib.lake.lake import Lake

logger = logging.getLogger(__name__)

_BATCH_ROWS = 20_000_000
"""Values of the files that are checked together: their times and measured columns are held at once."""
_BATCH_FILES = 64
_PAGE_FILES = 1024
_PATTERN_SIGNS = frozenset("*?[")
_VALUE_CHECKS = frozenset({"nullValues", "missingValues", "invalidValues", "stuck"})


def check_files(
    lake: Lake, contracts: Sequence[Contract], *, drive_ids: Iterable[str] | None = None, again: bool = False
) -> list[ContractRun]:
    """Check the committed files that these contracts have not been held against, and record what was found.

    Args:
        lake: Whose files.
        contracts: Those that bind the home: all of them, unless drives are named.
        drive_ids: Only files of these drives. By default those of the whole lake that carry another mark than that of these
            contracts, found by an index: of files that were checked nothing is read.
        again: Check those too that were checked by the same contract and code.

    Returns:
        The runs made now: one for each file and contract that binds its vehicle, in order of their files.
    """
    rules = {item.sha256: [rule for rule in rules_of(item) if rule.kind == "stream"] for item in contracts}
    bound = [item for item in contracts if rules[item.sha256]]
    if drive_ids is None and not again:
        return _check_due(lake, bound, rules)
    named = None if drive_ids is None else sorted(set(drive_ids))
    runs: list[ContractRun] = []
    for due in _in_batches(DueChecks(lake.catalog.engine).of_drives(named)):
        runs += _check(lake, bound, rules, due, again=again)
    return runs


def _check_due(lake: Lake, contracts: Sequence[Contract], rules: Mapping[str, Sequence[Rule]]) -> list[ContractRun]:
    marks, mark = DueChecks(lake.catalog.engine), _mark(contracts)
    runs: list[ContractRun] = []
    while due := marks.next(mark, _PAGE_FILES):
        for batch in _in_batches(due):
            runs += _check(lake, contracts, rules, batch, again=False)
            marks.done(mark, [item.ingest_id for item in batch])
    return runs


def _mark(contracts: Sequence[Contract]) -> str:
    """Digest what decides whether a file was checked: the contracts, and the code of the checks."""
    told = "\n".join([str(CHECKS_VERSION), *sorted(item.sha256 for item in contracts)])
    return hashlib.sha256(told.encode()).hexdigest()


def binds(contract: Contract, vehicle: str | None) -> bool:
    """Whether a contract is about a vehicle; one that the log does not name is bound by ``*`` alone."""
    return any(pattern == "*" or (vehicle and fnmatchcase(vehicle, pattern)) for pattern in contract.vehicles)


def _check(
    lake: Lake,
    contracts: Sequence[Contract],
    rules: Mapping[str, Sequence[Rule]],
    due: Sequence[DueCheck],
    *,
    again: bool,
) -> list[ContractRun]:
    """Check some files, as many as may be held at once, against what they were not held against yet."""
    todo = _todo(lake, due, contracts, again=again)
    if not todo:
        return []
    found = _check_batch(lake, todo, rules)
    lake.catalog.record_contract_runs(found)
    logger.info("files=%d checked against their contracts", len(todo))
    return found


def _todo(
    lake: Lake, due: Sequence[DueCheck], contracts: Sequence[Contract], *, again: bool
) -> dict[int, list[Contract]]:
    known: set[tuple[int | None, str]] = set()
    if not again:
        known = {
            (run.ingest_id, run.contract_sha256)
            for run in lake.catalog.contract_runs(ingest_ids=[item.ingest_id for item in due])
            if run.checks_version == CHECKS_VERSION
        }
    todo: dict[int, list[Contract]] = defaultdict(list)
    for item in due:
        for contract in contracts:
            if binds(contract, item.vehicle) and (item.ingest_id, contract.sha256) not in known:
                todo[item.ingest_id].append(contract)
    return dict(todo)


def _in_batches(due: Iterable[DueCheck]) -> Iterator[list[DueCheck]]:
    batch: list[DueCheck] = []
    rows = 0
    for item in due:
        if batch and (rows + item.signal_rows > _BATCH_ROWS or len(batch) >= _BATCH_FILES):
            yield batch
            batch, rows = [], 0
        batch.append(item)
        rows += item.signal_rows
    if batch:
        yield batch


def _check_batch(
    lake: Lake, todo: Mapping[int, Sequence[Contract]], rules_by: Mapping[str, Sequence[Rule]]
) -> list[ContractRun]:
    listed = lake.catalog.streams(todo)
    bound: dict[int, list[tuple[Contract, list[Rule]]]] = {}
    wanted: dict[int, Wanted] = {}
    for ingest_id, contracts in todo.items():
        streams = {item.stream: item for item in listed.get(ingest_id, ()) if item.kept_as != "nothing" and item.rows}
        bound[ingest_id] = [(contract, _binding(rules_by[contract.sha256], streams)) for contract in contracts]
        wanted[ingest_id] = _wanted([rule for _, rules in bound[ingest_id] for rule in rules], streams)
    head = lake.catalog.head()
    if head is None:
        return []
    return [
        run_of(contract, evaluate(rules, streams), ingest_id=ingest_id)
        for ingest_id, streams in read_streams(lake, head, wanted)
        for contract, rules in bound[ingest_id]
    ]


def _binding(rules: Sequence[Rule], streams: Mapping[str, StreamRecord]) -> list[Rule]:
    """Return the rules if the file holds a stream that they name, or if they name none; else it is another recorder's."""
    named = {rule.source for rule in rules if not is_pattern(rule.source)}
    return list(rules) if not named or not named.isdisjoint(streams) else []


def _wanted(rules: Sequence[Rule], streams: Mapping[str, StreamRecord]) -> Wanted:
    matching = {source: _matching(source, streams) for source in {rule.source for rule in rules}}
    values: dict[str, set[str]] = defaultdict(set)
    samples: set[str] = set()
    for rule in rules:
        for name in matching[rule.source]:
            if streams[name].kept_as == "samples":
                samples.add(name)
            else:
                values[name] |= {rule.column} if rule.column is not None and rule.check in _VALUE_CHECKS else set()
    return Wanted({name: frozenset(found) for name, found in values.items()}, frozenset(samples))


def is_pattern(name: str) -> bool:
    """Whether an object names streams by a pattern."""
    return not _PATTERN_SIGNS.isdisjoint(name)


def _matching(name: str, streams: Collection[str]) -> list[str]:
    if name in streams:
        return [name]
    return [item for item in streams if fnmatchcase(item, name)] if is_pattern(name) else []


def evaluate(rules: Sequence[Rule], streams: Sequence[StreamData]) -> list[Result]:
    """Hold the rules of one contract against the streams of one file; of several streams the worst stands for a rule."""
    by_name = {item.name: item for item in streams}
    matching = {source: _matching(source, by_name) for source in {rule.source for rule in rules}}
    found: list[Result] = []
    for rule in rules:
        names = matching[rule.source]
        if not names:
            if rule.check == "present" and rule.column is None:
                found.append(judge(rule, 0.0, f"no stream {rule.source}"))
            continue
        results = [measure(rule, by_name[name], by_name.get(str(rule.argument("with")))) for name in names]
        if len(names) > 1:
            results = [item for item in results if item.verdict != "not_run"]
        lost = rule.column is not None and rule.check != "present" and rule.column not in by_name[names[0]].columns
        if results and not lost:  # of a column that is not there its absence is told, once
            found.append(max(results, key=_badness))
    return found


def _badness(result: Result) -> tuple[int, float]:
    figure = result.figure if isinstance(result.figure, (int, float)) else 0.0
    less_is_worse = result.rule.limit.operator.startswith("mustBeGreater")
    return ("pass", "not_run", "fail").index(result.verdict), -figure if less_is_worse else figure


def run_of(
    contract: Contract,
    results: Sequence[Result],
    *,
    ingest_id: int | None = None,
    artefact_sha256: str | None = None,
) -> ContractRun:
    """Return results as the catalogue keeps them."""
    return ContractRun(
        contract_id=contract.id,
        contract_version=contract.version,
        contract_sha256=contract.sha256,
        checks_version=CHECKS_VERSION,
        ingest_id=ingest_id,
        artefact_sha256=artefact_sha256,
        figures=_figures(results),
        findings=tuple(_finding(item) for item in results if item.verdict != "pass"),
    )


def _figures(results: Sequence[Result]) -> dict[str, float | str | None]:
    """Return each rule's figure; of a rule that gave several, the worst."""
    found: dict[str, float | str | None] = {}
    for item in sorted(results, key=_badness):
        figure = item.figure
        if isinstance(figure, str) or (isinstance(figure, float) and not abs(figure) < float("inf")):
            figure = _storable(str(figure))  # neither JSON nor the database holds an infinity
        found[item.rule.id] = figure
    return found


def _storable(text: str) -> str:
    """Return text that the database holds: a value from a log may have a NUL in it."""
    return text.replace("\x00", "\\0")


def _finding(result: Result) -> Finding:
    return Finding(
        rule=result.rule.id,
        severity=result.rule.severity,
        verdict=result.verdict,
        figure=_storable(shown(result.figure)),
        unit=result.rule.unit,
        required=str(result.rule.limit),
        place=_storable(result.where),
        drive_id=result.drive_id,
    )
