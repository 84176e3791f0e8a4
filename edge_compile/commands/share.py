"""`drivetrain share`: the thin command over `edge_compile.sharing.share_models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_compile.sharing import REPORT, share_models
from platform_lib.catalog.liveness import orderly_termination
from platform_lib.console import OUT, print_json, progress
from platform_lib.options import JsonOption


def share(
    compiled: Annotated[list[Path], typer.Argument(help="Folders that `compile` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to publish, new.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Put several compiled models into one binary for their chip; weights that they share lie there once.

    Parity of that binary is not run: the vendor's emulator cannot load it.
    """
    with orderly_termination(), progress("compiling", total=1) as task:
        found = share_models(compiled, out)
        task.advance(1, note="done")
    if as_json:
        print_json({"folder": str(out), "alone_bytes": found.alone_bytes, **found.model_dump(mode="json")})
        return
    names = ", ".join(item.model_name for item in found.models)
    OUT.print(
        f"{names} for {found.target}: {found.binary_bytes / 1000:.2f} kB in one binary, {found.alone_bytes / 1000:.2f} kB apart; "
        f"parity not run: {found.models[0].parity.reason}  ({out / REPORT})",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
