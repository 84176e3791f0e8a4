"""The `drivetrain` command: names every command, loads each one only when it runs.

This is the only place of `platform_lib` that knows rooms beside it, and it knows them by name alone.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as typer_command

from platform_lib.console import print_error
from platform_lib.errors import MissingPartError, PlatformError


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: where its Typer function or app lives, what the help page says, and the extra it needs."""

    module: str
    attribute: str
    help: str
    panel: str
    extra: str | None = None


_START, _DATA, _MODEL, _EDGE = "Start here", "Logs and data", "Training", "Vehicle"
COMMANDS: dict[str, Entry] = {
    "demo": Entry(
        "platform_lib.demo.commands", "demo", "From raw logs to a verified, signed bundle.", _START, "train,edge"
    ),
    "doctor": Entry(
        "platform_lib.doctor.commands", "doctor", "What is installed, what is missing, how to mend it.", _START
    ),
    "simulate": Entry(
        "platform_lib.scenario.commands",
        "simulate",
        "Write synthetic drives with ground truth (MDF4 + MCAP).",
        _DATA,
        "data",
    ),
    "log": Entry("platform_lib.logs.commands", "app", "Look into one drive log: info, head, export.", _DATA, "data"),
    "ingest": Entry(
        "ray_jobs.commands.ingest",
        "ingest",
        "Read a folder of drive logs into the lake, each file once.",
        _DATA,
        "data",
    ),
    "drives": Entry("platform_lib.catalog.commands", "drives", "List the drives in the catalogue.", _DATA, "data"),
    "query": Entry("platform_lib.lake.commands", "query", "Run SQL over the lake's tables.", _DATA, "data"),
    "dataset": Entry(
        "ray_jobs.commands.dataset",
        "dataset",
        "Align, join and split ingested drives into training samples.",
        _MODEL,
        "data",
    ),
    "train": Entry(
        "ray_jobs.commands.train", "train", "Train a planner; resumes from its last checkpoint.", _MODEL, "train"
    ),
    "evaluate": Entry(
        "ray_jobs.commands.evaluate", "evaluate", "Score a planner by slice, open and closed loop.", _MODEL, "train"
    ),
    "compile": Entry(
        "edge_compile.commands",
        "compile_command",
        "Quantize and compile an ONNX model, and prove it equal.",
        _EDGE,
        "edge",
    ),
    "gate": Entry("edge_compile.commands.gate", "gate", "Judge the evidence against written thresholds.", _EDGE),
    "bundle": Entry(
        "edge_compile.commands.bundle",
        "bundle",
        "Pack and sign artefacts, evidence and bill of materials.",
        _EDGE,
        "edge",
    ),
    "verify": Entry(
        "platform_lib.handoff.commands", "verify", "Verify a bundle offline: every byte, signature, evidence.", _EDGE
    ),
}


class _LazyGroup(TyperGroup):
    """Lists commands from the table; imports a command's module only to run it, or to show its own help."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return TyperCommand(cmd_name, help=entry.help, short_help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = _load(name, COMMANDS[name])
        return name, command, rest


def _load(name: str, entry: Entry) -> Any:
    try:
        target = getattr(importlib.import_module(entry.module), entry.attribute)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("platform_lib", "ray_jobs", "edge_compile"):
            raise
        extra = entry.extra or "data"
        raise MissingPartError(
            f"the Python package '{error.name}' is not installed",
            where=f"drivetrain {name}",
            remedy=f"pip install -c constraints.txt 'drivetrain[{extra}]'; `drivetrain doctor` shows all that is missing",
        ) from error
    if isinstance(target, typer.Typer):
        app = target
    else:
        app = typer.Typer(add_completion=False)
        app.command(name=name)(target)
    command = typer_command(app)
    command.name = name
    return command


app = typer.Typer(
    cls=_LazyGroup,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]drivetrain demo[/], or [bold]drivetrain doctor[/] if something is missing. "
    "Every command has --help and --json.",
)


@app.callback()
def _root(
    ctx: typer.Context,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, ids first, on stderr.")] = False,
) -> None:
    """[bold]Drivetrain[/]: raw drive logs in, a signed, parity-proven vehicle bundle out."""
    del ctx
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def main() -> None:
    """Run the command line; a refusal ends with status 1 and one clear message, never a traceback."""
    try:
        app(prog_name="drivetrain")
    except PlatformError as error:
        print_error(error, as_json="--json" in sys.argv)
        raise SystemExit(1) from error
    except BrokenPipeError:
        # The reader of a pipe went away (`drivetrain ... | head`): not an error worth a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None


if __name__ == "__main__":
    main()
