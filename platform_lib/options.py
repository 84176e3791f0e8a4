"""Options that several commands share, declared once so that they read alike everywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.errors import UsageError

_EMPTY_OPTION = re.compile(r"(--[a-z][a-z-]*)=")


def _refuse_option(value: Path | None) -> Path | None:
    if value is not None and str(value).startswith("-"):
        raise UsageError(
            f"--home took '{value}' as its folder",
            where="--home",
            remedy=f"name a folder; one of that name is './{value}'",
        )
    return value


HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        callback=_refuse_option,
        help="Home folder. Default: $DRIVETRAIN_HOME, else the nearest .drivetrain/ upward.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines on standard output.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Run the step even if its artefact is up to date.")]


def refuse_empty_values(arguments: Sequence[str], *, where: str) -> None:
    """Refuse an argument or an option's value that is empty: as a path it would mean the current folder.

    Raises:
        UsageError: One is.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        named = _EMPTY_OPTION.fullmatch(argument)
        if argument and named is None:
            continue
        option = named[1] if named else before if before.startswith("-") else ""
        raise UsageError(
            f"the value of {option} is empty" if option else "an argument is empty",
            where=f"{where} {option}".rstrip(),
            remedy="give a value, or '.' for the current folder; a shell variable that is not set gives an empty one",
        )
