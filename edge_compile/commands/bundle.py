"""`drivetrain bundle`: the thin command over the bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edge_compile.bundle import build_bundle
from edge_compile.bundle_sources import Places
from platform_lib.catalog.elsewhere import note_elsewhere
from platform_lib.catalog.liveness import orderly_termination
from platform_lib.console import ERR, OUT, print_json
from platform_lib.home import open_home
from platform_lib.manifest import manifest_path_of, read_manifest, up_to_date
from platform_lib.options import HomeOption, JsonOption


def bundle(
    run: Annotated[Path, typer.Option(help="The training run's folder.", show_default=False)],
    dataset: Annotated[Path, typer.Option(help="The dataset's folder.", show_default=False)],
    compile_: Annotated[Path, typer.Option("--compile", help="Folder that `compile` wrote.", show_default=False)],
    evaluation: Annotated[Path, typer.Option(help="evaluation.json of the float model.", show_default=False)],
    compressed_evaluation: Annotated[
        Path, typer.Option(help="evaluation.json of the compressed model.", show_default=False)
    ],
    gates: Annotated[Path, typer.Option(help="gates.json that `gate` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The bundle's folder; an earlier bundle is replaced.", show_default=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pack artefacts, evidence and bill of materials into one folder, and sign every file in it.

    Every source is checked against its own manifest, and the gates are judged again. What they rejected is not packed.
    The signing key is made on first use in the home's keys/ folder. Signed is not approved.
    """
    places = Places(
        run=run,
        dataset=dataset,
        compiled=compile_,
        evaluation=evaluation,
        compressed=compressed_evaluation,
        gates=gates,
    )
    with orderly_termination():
        where = open_home(home)
        made = build_bundle(places, out, where)
        note_elsewhere(where, read_manifest(manifest_path_of(made.folder)), made.folder)
    if as_json:
        print_json(dataclasses.asdict(made))
        return
    if made.skipped:
        ERR.print(up_to_date(read_manifest(manifest_path_of(made.folder)).step_sha256), highlight=False)
    done = f"{made.files} files, signed by key {made.key_id[:16]}"
    OUT.print(f"[green]{escape(made.package_id)}[/]: {done}", highlight=False)
    OUT.print(f"  in {escape(str(made.folder))}", highlight=False)
    if made.state != "approved":
        OUT.print(f"  [yellow]{made.state}[/]: blocked by {escape(', '.join(made.blocking))}", highlight=False)
