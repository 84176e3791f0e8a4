"""`drivetrain verify`: the thin command over the offline verification."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from platform_lib.console import OUT, print_json
from platform_lib.handoff.keys import PublicKey, read_public_key, trusted_keys
from platform_lib.handoff.model import HandoffManifest, Unknown
from platform_lib.handoff.verify import Verification, verify_bundle
from platform_lib.home import Home, find_home
from platform_lib.options import HomeOption, JsonOption

BundleArgument = Annotated[Path, typer.Argument(help="The bundle: a folder with manifest.json.", show_default=False)]
PublicKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--public-key",
        help="PEM file of the signer's public key, from a source you trust. Then no other key counts.",
        show_default=False,
    ),
]


def verify(
    bundle: BundleArgument, public_key: PublicKeyOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Verify a bundle offline: every file, the signature, and the manifest against its evidence.

    The key is --public-key if given, else the home's own signing key and those in its keys/trusted/ folder. A key that
    lies in the bundle vouches for nothing: if only that one fits, the bundle is unauthenticated and the exit status 1.
    """
    keys = _keys(public_key, home)
    found = verify_bundle(bundle, keys, only_these=public_key is not None)
    if as_json:
        print_json(_document(bundle, found, keys))
    else:
        _print(bundle, found, keys)
    if found.verdict != "verified":
        raise typer.Exit(1)


def _keys(public_key: Path | None, home: Path | None) -> tuple[PublicKey, ...]:
    if public_key is not None:
        return (read_public_key(public_key),)
    return trusted_keys(Home(find_home(home)).keys)  # never made here: an integrator has no home


def _document(bundle: Path, found: Verification, keys: tuple[PublicKey, ...]) -> dict[str, Any]:
    manifest = found.manifest
    document: dict[str, Any] = {
        "bundle": str(bundle),
        "folder": str(found.folder),
        "verdict": found.verdict,
        "problems": list(found.problems),
        "files_checked": found.files,
        "bytes_checked": found.size_bytes,
        "signed_by_key_id": found.key_id,
        "trusted_key": None if found.trusted is None else str(found.trusted.path),
    }
    if manifest is None or found.verdict == "failed":
        return document  # what a broken bundle says of itself is no statement to pass on
    return document | {
        "package_id": manifest.header.package_id,
        "state": manifest.header.state,
        "blocking": list(manifest.header.blocking),
        "model": manifest.model.name,
        "targets": [{"soc": item.soc, "precision": item.precision} for item in manifest.targets],
        "measured": [
            {"precision": run.precision, "board": run.board, "by": run.measured_by, "key_id": run.key_id}
            | {"trusted": any(key.key_id == run.key_id for key in keys)}
            for run in found.device
        ],
        "evidence": [entry.path for entry in manifest.files if entry.path.startswith("evidence/")],
    }


def _print(bundle: Path, found: Verification, keys: tuple[PublicKey, ...]) -> None:
    place = escape(str(bundle) if not bundle.is_symlink() else f"{bundle} -> {found.folder}")
    if found.verdict == "failed":
        OUT.print(f"[bold red]FAILED[/]  {place}: do not install this bundle", highlight=False)
        for problem in found.problems:
            OUT.print("  - ", problem, markup=False, highlight=False, sep="")
        return
    if found.verdict == "verified" and found.trusted is not None:
        OUT.print(f"[bold green]VERIFIED[/]  {place}", highlight=False)
        OUT.print(f"  signed by  key {found.key_id}, trusted as {escape(str(found.trusted.path))}", highlight=False)
    else:
        OUT.print(f"[bold yellow]UNAUTHENTICATED[/]  {place}", highlight=False)
        OUT.print(
            f"  whole, and signed by key {found.key_id}, which lies in the bundle itself: whoever made the bundle made "
            f"it too.\n  None of the {len(keys)} keys trusted here fits. Get the signer's public key from a source you "
            "trust, and run again with --public-key.",
            highlight=False,
        )
    if found.manifest is not None:
        _print_summary(found.manifest, found, keys)


def _print_summary(manifest: HandoffManifest, found: Verification, keys: tuple[PublicKey, ...]) -> None:
    header, model = manifest.header, manifest.model
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("bundle", escape(header.package_id))
    colour = "green" if header.state == "approved" else "yellow"
    table.add_row(
        "state", f"[{colour}]{header.state}[/]" + ("" if header.state == "approved" else ": signed is not approved")
    )
    for gate in manifest.gates:
        if gate.status != "pass":
            table.add_row("  blocks", escape(f"{gate.gate}: {gate.reason}"))
    table.add_row("model", escape(f"{model.name}, run {model.run_id}, weights {model.weights_sha256[:12]}"))
    for target in manifest.targets:
        confirmed = "" if target.id_confirmed else ", chip id not confirmed on a board"
        where = f"{target.soc} ({target.architecture}), {target.precision}{confirmed}"
        latency = target.latency.estimate_us
        timing = latency.reason if isinstance(latency, Unknown) else f"{latency:.0f} us, {target.measured_on}"
        table.add_row("target", escape(f"{where}; latency {timing}"))
    for run in found.device:
        known = next((f"trusted as {key.path}" for key in keys if key.key_id == run.key_id), "not trusted here")
        who = f"{run.precision} on {run.board} ({run.machine}) by {run.measured_by}, key {run.key_id[:16]}, {known}"
        table.add_row("measured", escape(who))
    table.add_row("checked", f"{found.files} files, {found.size_bytes / 1e6:.1f} MB, offline")
    for entry in manifest.files:
        if entry.path.startswith("evidence/"):
            table.add_row("evidence", escape(f"{entry.path}  {entry.sha256[:12]}"))
    OUT.print(table)
