"""Options that several commands share, declared once so that they read alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Home folder. Default: $DRIVETRAIN_HOME, else the nearest .drivetrain/ upward.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines on standard output.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Run the step even if its artefact is up to date.")]
