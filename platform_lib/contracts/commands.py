"""`drivetrain contract`: lint, check, diff and report."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.console import OUT, plain_line, print_json
from platform_lib.contracts.columns import columns_of_log, columns_of_tables
from platform_lib.contracts.diff import diff as diff_contracts
from platform_lib.contracts.diff import version_problem
from platform_lib.contracts.document import (
    contract_paths,
    read_contract,
    read_contracts,
    read_document,
    schema_problems,
)
from platform_lib.contracts.lint import LINT_RULES, Lint, lint, streams_without
from platform_lib.contracts.model import Contract
from platform_lib.contracts.page import render_page
from platform_lib.contracts.rules import rules_of
from platform_lib.contracts.state import Checked, check_home, recorded_state
from platform_lib.contracts.summary import ContractSummary, RuleRow
from platform_lib.errors import ConfigError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.storage import publish_bytes
from platform_lib.table import Column, print_table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Hold data against its contracts (ODCS): lint, check, diff, report.",
)
_SHOWN = 5
_COLUMNS = (
    Column("rule"),
    Column("severity"),
    Column("verdict"),
    Column("figure", right=True),
    Column("has to be"),
    Column("failed", right=True),
    Column("where"),
)
SCHEMA_CODE = "ODCS"


@app.command("list")
def list_contracts(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the contracts that bind a home: id, version, product, domain, whom they bind, their file."""
    contracts = read_contracts(open_home(home).root)
    if as_json:
        print_json({"contracts": [_described(item) for item in contracts]})
        return
    columns = ("contract", "version", "domain", "rules", "vehicles", "file")
    rows = [[str(_described(item)[name]) for name in columns] for item in contracts]
    print_table([Column(name, right=name == "rules") for name in columns], rows)


def _described(contract: Contract) -> dict[str, object]:
    return {
        "contract": contract.id,
        "version": contract.version,
        "product": contract.document.dataProduct,
        "domain": contract.document.domain,
        "rules": len(rules_of(contract)),
        "vehicles": ", ".join(contract.vehicles),
        "sha256": contract.sha256,
        "file": contract.path,
    }


@app.command("lint")
def lint_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILES]...", help="Contract files. Default: all that bind the home.", show_default=False
        ),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="A drive log: properties of its streams have to be columns it has.")
    ] = None,
    dbc: Annotated[list[str] | None, typer.Option("--dbc", help="CAN database for the log; may be repeated.")] = None,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Hold contract files against the official schema of ODCS and the rules of the house.

    Each finding has a code that stays: ODCS for the official schema, DC01 and on for the house. Exits with 1 if there is
    any.
    """
    in_log = None if log is None else columns_of_log(log, dbc or ())
    paths = files or contract_paths(open_home(home).root)
    both = {path: _lint_one(path, in_log) for path in paths}
    found, absent = {path: one for path, (one, _) in both.items()}, {path: other for path, (_, other) in both.items()}
    if as_json:
        listed = [
            {"file": path, "findings": [asdict(item) for item in items], "streams_not_in_log": absent[path]}
            for path, items in found.items()
        ]
        print_json({"files": listed, "findings": sum(map(len, found.values()))})
    else:
        for path, items in found.items():
            _say(f"{path}: {'sound' if not items else f'{len(items)} findings'}")
            if absent[path]:
                _say(f"  not looked up, since {log} has no such stream: {', '.join(absent[path])}")
            for item in items:
                _say(f"  {item.code} {item.where}: {item.what}{_rule_said(item)}")
    if any(found.values()):
        raise typer.Exit(1)


def _lint_one(path: Path, in_log: Mapping[str, Collection[str]] | None) -> tuple[list[Lint], list[str]]:
    """Return what is wrong with a contract, and which of its streams a log does not have."""
    values, _ = read_document(path)
    if problems := schema_problems(values):
        return [Lint(SCHEMA_CODE, *problem.split(": ", 1)) for problem in problems], []
    document = read_contract(path).document
    found = lint(document, {**columns_of_tables(), **(in_log or {})})
    absent = [] if in_log is None else streams_without(document, in_log)
    if absent and absent == streams_without(document, ()):
        found.append(Lint("DC19", "schema", "the log has none of its streams, so nothing of it was looked up"))
    return found, absent


def _rule_said(item: Lint) -> str:
    return f" ({LINT_RULES[item.code]})" if item.code in LINT_RULES else ""


@app.command()
def check(
    contract: Annotated[
        str | None, typer.Argument(help="Id of one contract; all of its rules are shown.", show_default=False)
    ] = None,
    drive: Annotated[
        list[str] | None, typer.Option("--drive", help="Only the files of this drive; may be repeated.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="The rows of this dataset too.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Files too that were checked before.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show the rules that are kept as well.")] = False,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Hold the lake against its contracts: each rule, its verdict, the worst figure, and where that is.

    A file that was checked by the same contract is not measured again; tables are asked anew. What is found is recorded
    in the catalogue. Exits with 1 if a rule of severity error is not kept.
    """
    opened = open_home(home, make=False)
    state = check_home(opened, contract_id=contract, drive_ids=drive, dataset=dataset, again=again)
    if as_json:
        print_json(_document(state))
    else:
        for item in state.contracts:
            _show(item, every=every or contract is not None)
        if state.uncovered:
            more = ", ..." if len(state.uncovered) > _SHOWN else ""
            some = ", ".join(state.uncovered[:_SHOWN])
            _say(f"{len(state.uncovered)} drives lack files under contract: {some}{more}")
        if not every and contract is None:
            _say("rules that are kept: --all; a page: `drivetrain contract report`")
    if any(item.count("error") for item in state.contracts):
        raise typer.Exit(1)


def _document(state: Checked) -> dict[str, object]:
    return {
        "contracts": [item.as_json() for item in state.contracts],
        "errors": sum(item.count("error") for item in state.contracts),
        "warnings": sum(item.count("warning") for item in state.contracts),
        "uncovered": None if state.uncovered is None else list(state.uncovered),
        "lake": state.lake_sha256,
    }


def _show(item: ContractSummary, *, every: bool) -> None:
    if not item.rows:
        _say(f"{item.contract_id} {item.version} ({item.domain}): binds nothing that was checked")
        return
    kept = sum(row.verdict == "pass" for row in item.rows)
    said = f"{item.files} files" if item.files else "tables"
    _say(
        f"{item.contract_id} {item.version} ({item.domain}): {said}, {kept} of {len(item.rows)} rules kept, "
        f"{item.count('error')} errors, {item.count('warning')} warnings"
    )
    rows = [row for row in item.rows if every or row.verdict != "pass"]
    if rows:
        print_table(_COLUMNS, [_cells(row) for row in rows])


def _cells(row: RuleRow) -> list[str]:
    return [
        row.rule,
        row.severity,
        row.verdict.replace("_", " "),
        f"{row.figure} {row.unit}".strip() if row.figure else "nothing",
        row.required,
        row.failed_of,
        row.where,
    ]


@app.command("diff")
def diff_command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The version that holds now.", show_default=False)],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The version that is to follow.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Name what changes between two versions of a contract, and for whom it breaks.

    Exits with 1 if the version does not tell: breaking changes take a new major version, any change a new version.
    """
    before, after = read_contract(old), read_contract(new)
    changes = diff_contracts(before, after)
    problem = version_problem(before, after, changes)
    if as_json:
        listed = [asdict(item) for item in changes]
        print_json({"old": before.version, "new": after.version, "changes": listed, "problem": problem})
    else:
        _say(f"{before.id} {before.version} -> {after.id} {after.version}: {len(changes)} changes")
        for item in changes:
            side = "compatible" if item.breaks == "nobody" else f"breaks {item.breaks}"
            _say(f"  {side}: {item.where}: {item.what}")
        if problem is not None:
            _say(f"refused: {problem}")
    if problem is not None:
        raise typer.Exit(1)


@app.command()
def report(
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the page. Default: HOME/reports/contracts.html.")
    ] = None,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write one page of what the catalogue holds of contracts: products, drives, findings. Nothing is measured."""
    opened = open_home(home, make=False)
    state = recorded_state(opened)
    path = opened.reports / "contracts.html" if out is None else out
    if path.is_dir():
        raise ConfigError("a folder, not a file", where=path, remedy="name a file: --out contracts.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_bytes(path, render_page(state).encode())
    if as_json:
        print_json({"page": path, **_document(state)})
    else:
        _say(str(path))


def _say(line: str) -> None:
    OUT.print(plain_line(line), markup=False, highlight=False)
