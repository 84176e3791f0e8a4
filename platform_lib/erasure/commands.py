"""`drivetrain erase`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from platform_lib.console import ERR, OUT, print_json
from platform_lib.erasure.erasing import ErasureReport
from platform_lib.erasure.erasing import erase as erase_scope
from platform_lib.erasure.scope import make_scope, this_user
from platform_lib.errors import ConfigError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption

_SHOWN = 5


def erase(
    drive: Annotated[str | None, typer.Option("--drive", help="One drive; all by default.", show_default=False)] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From this moment, UTC (ISO 8601).", show_default=False)
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Before this moment, UTC (ISO 8601).", show_default=False)
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(
            "--area", metavar="PLACE", help="LAT,LON,METRES, or corners 'LAT,LON LAT,LON ...'.", show_default=False
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the tombstone.", show_default=False)] = "",
    by: Annotated[str | None, typer.Option("--by", help="Who asks; kept in the tombstone.", show_default="you")] = None,
    home: HomeOption = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Only finish what a kill left.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase what lies in all of --drive, --from/--to and --area, everywhere in the home, and prove that it is gone.

    Rows, samples, raw and blurred frames, datasets made from them, pictures, older versions of every table. Models and
    signed bundles stay and are marked. A tombstone without content stays, and the same logs are never taken in again.

    Killed, it is finished by running it again, or with --resume.
    """
    asked = (drive, start, stop, area)
    if resume and any(item is not None for item in asked):
        raise ConfigError(
            "--resume only finishes what was begun", where="--resume", remedy="leave the other options out"
        )
    if not resume and not dry_run and not reason.strip():
        raise ConfigError("no reason is given", where="--reason", remedy="write why; it is kept in the tombstone")
    scope = None if resume else make_scope(*asked)
    report = erase_scope(
        open_home(home, make=False), scope, reason=reason or "-", requested_by=by or this_user(), dry_run=dry_run
    )
    if as_json:
        print_json(_document(report))
    else:
        _show(report)


def _document(report: ErasureReport) -> dict[str, Any]:
    return {**asdict(report), "marked": [{"sha256": digest, "kind": kind} for digest, kind in report.marked]}


def _show(report: ErasureReport) -> None:
    for number in report.finished:
        OUT.print(f"erasure {number}, which was left unfinished, is finished", highlight=False)
    if not report.drives:
        OUT.print("nothing else to do" if report.finished else "no erasure is unfinished", highlight=False)
        return
    verb = "would erase" if report.dry_run else "erased"
    lines = [
        f"{verb} {report.files} log files whole and {report.files_in_part} in part, of {_some(report.drives)}",
        _gone(report),
        f"  datasets that {'would go' if report.dry_run else 'went'}: {_some(report.datasets)}"
        if report.datasets
        else "",
        f"  made from it and marked: {_kinds(report)}" if report.marked else "",
    ]
    lines += _pieces(report)
    for line in filter(None, lines):
        OUT.print(line, markup=False, highlight=False)
    if report.tombstone is not None and report.proof is not None:
        OUT.print(
            f"  proven: {report.proof.needles} pieces looked for in {report.proof.bytes / 1e6:,.0f} MB, none found; "
            f"tombstone {report.tombstone.erasure_id}",
            highlight=False,
        )
        if report.proof.bundles:
            ERR.print(
                f"the name, and nothing else: {_some(report.proof.bundles)}; a signed file is not changed",
                markup=False,
                highlight=False,
            )
        for place in report.proof.beyond:
            ERR.print(f"not looked at: {place}; erase there too", markup=False, highlight=False)
    if report.logs_outside:
        ERR.print(
            f"{len(report.logs_outside)} recorded logs lie outside the home and are yours to delete; they are never "
            f"taken in again: {_some(report.logs_outside)}",
            markup=False,
            highlight=False,
        )
    if report.exports_outside:
        ERR.print(
            f"{len(report.exports_outside)} exports that hold it were written outside the home and are yours to delete, with "
            f"every copy: {_some(report.exports_outside)}",
            markup=False,
            highlight=False,
        )
    if report.sharing:
        ERR.print(
            f"{len(report.sharing)} drives hold some of the same pictures, bit for bit; they were not named, and stay: "
            f"{_some(report.sharing)}",
            markup=False,
            highlight=False,
        )
    for stream, drives in report.sharing_samples.items():
        ERR.print(
            f"{len(drives)} drives hold some of the same samples of {stream} (no pictures), bit for bit; they were not "
            f"named, and stay: {_some(drives)}",
            markup=False,
            highlight=False,
        )
    if report.unplaced:
        ERR.print(
            f"{len(report.unplaced)} drives carry no position, so nobody can say whether they were there; they stay: "
            f"{_some(report.unplaced)}",
            markup=False,
            highlight=False,
        )


def _gone(report: ErasureReport) -> str:
    """Say of which drives everything goes, but for their names in what is signed."""
    if not report.gone:
        return ""
    bundles = 0 if report.proof is None else len(report.proof.bundles)
    files = "1 file" if bundles == 1 else f"{bundles} files"
    but = f", but the name in {files} of signed bundles" if bundles else ""
    return f"  nothing stays of {_some(report.gone)}{but}"


def _pieces(report: ErasureReport) -> list[str]:
    """Say how strong the proof is: what is looked for, and what cannot be."""
    told = report.pieces
    verb = "would look" if report.dry_run else "looked"
    lines = [f"  the proof {verb} for {told['searched']:,} pieces of {told['samples']:,} samples and frames"]
    if told["shared"]:
        lines.append(f"    {told['shared']:,} other pieces stay with drives that hold them too, so they tell nothing")
    if told["samples_without"]:
        without = f"{told['samples_without']:,} of the samples have no piece of their own"
        lines.append(f"    {without}: too small, too uniform, or held by others")
    return lines


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _kinds(report: ErasureReport) -> str:
    kinds = sorted({kind for _, kind in report.marked})
    return ", ".join(f"{sum(item == kind for _, item in report.marked)} {kind}" for kind in kinds)
