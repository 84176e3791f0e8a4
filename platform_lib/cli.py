"""The `drivetrain` command: names every command, loads each one only when it runs.

This is the only place of `platform_lib` that knows rooms beside it, and it knows them by name alone.
"""

from __future__ import annotations

import errno
import importlib
import logging
import sys
import traceback
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as typer_command

from platform_lib.code_digest import OWN_PACKAGES
from platform_lib.console import OUT, print_error
from platform_lib.errors import MissingPartError, PlatformError
from platform_lib.processes import obey_parent


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: where its Typer function or app lives, what the help page says, and the extra it needs."""

    module: str
    attribute: str
    help: str
    panel: str
    extra: str | None = None


_OS_REMEDIES = {
    errno.ENOSPC: "free some disk space and run the command again; what was finished is kept",
    errno.EDQUOT: "free some of the disk quota and run the command again; what was finished is kept",
    errno.EROFS: "name a writable place with --home or --out",
    errno.EACCES: "name a place this user may use, or change its permissions",
    errno.EPERM: "name a place this user may use, or change its permissions",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name: a part of it is a file",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
}

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
        "edge_compile.commands.compile",
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

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in COMMANDS.items():
            self.commands[name] = TyperCommand(
                name, help=entry.help, short_help=entry.help, rich_help_panel=entry.panel
            )

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            try:
                command = _load(name, COMMANDS[name])
            except MissingPartError:
                if not ctx.resilient_parsing:  # completing a line: stay silent
                    raise
        return name, command, rest


def _load(name: str, entry: Entry) -> Any:
    try:
        target = getattr(importlib.import_module(entry.module), entry.attribute)
    except ModuleNotFoundError as error:
        raise _missing_package(error, name) from error
    if isinstance(target, typer.Typer):
        app = target
    else:
        app = typer.Typer(add_completion=False)
        app.command(name=name)(target)
    command = typer_command(app)
    command.name = name
    return command


def _missing_package(error: ModuleNotFoundError, command: str) -> Exception:
    """Turn a missing third-party package into its remedy; a missing module of our own stays the defect it is."""
    if error.name is None or error.name.partition(".")[0] in OWN_PACKAGES:
        return error
    extra = COMMANDS[command].extra if command in COMMANDS else None
    return MissingPartError(
        f"the Python package '{error.name}' is not installed",
        where=f"drivetrain {command}",
        remedy=f"in the checkout: pip install -c constraints.txt -e '.[{extra or 'data'}]'; "
        "`drivetrain doctor` shows all that is missing",
    )


app = typer.Typer(
    cls=_LazyGroup,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]drivetrain demo[/], or [bold]drivetrain doctor[/] if something is missing. "
    "Every command has --help and --json.",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the shape Typer calls
    if wanted:
        OUT.print(f"drivetrain {metadata.version('drivetrain')}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, ids first, on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """[bold]Drivetrain[/]: raw drive logs in, a signed, parity-proven vehicle bundle out."""
    del ctx, version
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def main() -> None:
    """Run the command line; a refusal ends with status 1 and one clear message, never a traceback."""
    obey_parent()
    arguments = sys.argv[1:]
    command = next((item for item in arguments if item in COMMANDS), "")
    try:
        app(prog_name="drivetrain")
    except Exception as error:  # the one broad catch: every error ends here, said in one form
        if not {"-v", "--verbose"}.isdisjoint(arguments):
            traceback.print_exc()
        explained = _explain(error, command)
        try:
            print_error(explained, as_json="--json" in arguments)
        except OSError:  # standard output itself is what fails
            print_error(explained, as_json=False)
        raise SystemExit(1) from error


def _explain(error: Exception, command: str) -> PlatformError:
    where = f"drivetrain {command}".rstrip()
    if isinstance(error, ModuleNotFoundError):
        error = _missing_package(error, command)
    if isinstance(error, PlatformError):
        return error
    if isinstance(error, OSError) and error.strerror is not None:
        return PlatformError(error.strerror, where=error.filename or where, remedy=_OS_REMEDIES.get(error.errno or 0))
    return PlatformError(
        f"a defect of drivetrain itself: {type(error).__name__}: {error}",
        where=where,
        remedy="run `drivetrain --verbose ...` for the traceback, and report it",
    )


if __name__ == "__main__":
    main()
