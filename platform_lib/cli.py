"""The `drivetrain` command: names every command, loads each one only when it runs.

This is the only place of `platform_lib` that knows rooms beside it, and it knows them by name alone.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as typer_command

from platform_lib.code_digest import OWN_PACKAGES
from platform_lib.console import OUT, print_error
from platform_lib.environment import leave_out_foreign
from platform_lib.errors import MissingPartError, OutputError, PlatformError, StoppedError, UsageError
from platform_lib.interrupts import keep_interrupts
from platform_lib.options import refuse_empty_values
from platform_lib.processes import obey_parent
from platform_lib.refusals import refused_by_system
from platform_lib.standard_streams import (
    READER_GONE_STATUS,
    ReaderGone,
    abandon_standard_output,
    own_standard_streams,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: where its Typer function or app lives, what the help page says, and the extra it needs."""

    module: str
    attribute: str
    help: str
    panel: str
    extra: str | None = None


_START, _DATA, _MODEL, _EDGE, _CLOUD = "Start here", "Logs and data", "Training", "Vehicle", "Cluster and cost"
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
    "quarantine": Entry(
        "ray_jobs.commands.quarantine",
        "app",
        "What could not be read, and why: list, show, release, retry.",
        _DATA,
        "data",
    ),
    "lake": Entry(
        "ray_jobs.commands.lake", "app", "Look after the lake's files: check, compact, expire.", _DATA, "data"
    ),
    "metadata": Entry(
        "platform_lib.catalog.backup_commands", "app", "Back up the metadata database, and restore it.", _DATA, "data"
    ),
    "drives": Entry("platform_lib.catalog.commands", "drives", "List the drives in the catalogue.", _DATA, "data"),
    "clips": Entry(
        "platform_lib.catalog.clip_commands",
        "clips",
        "List clips of 20 s: by drive, tag, place, dataset.",
        _DATA,
        "data",
    ),
    "timeline": Entry(
        "platform_lib.datasets.commands",
        "timeline",
        "Show how each drive's clocks relate: offset, drift, how surely.",
        _DATA,
        "data",
    ),
    "query": Entry("platform_lib.lake.commands", "query", "Run SQL over the lake's tables.", _DATA, "data"),
    "blur": Entry("ray_jobs.commands.blur", "app", "Blur people in raw frames; measure how well.", _DATA, "data"),
    "erase": Entry(
        "platform_lib.erasure.commands",
        "erase",
        "Erase drives, times or places everywhere, and prove it.",
        _DATA,
        "data",
    ),
    "lineage": Entry(
        "platform_lib.catalog.lineage_commands",
        "lineage",
        "What saw a clip: datasets, runs, models, bundles.",
        _DATA,
        "data",
    ),
    "contract": Entry(
        "platform_lib.contracts.commands",
        "app",
        "Hold data against its contracts (ODCS): lint, check, diff, report.",
        _DATA,
        "data",
    ),
    "dataset": Entry(
        "ray_jobs.commands.dataset",
        "app",
        "Align, join and split ingested drives into training samples.",
        _MODEL,
        "data",
    ),
    "capacity": Entry(
        "ray_jobs.commands.capacity",
        "capacity",
        "What a fleet's logs need: nodes, requests, rows, dollars.",
        _DATA,
        "data",
    ),
    "train": Entry(
        "ray_jobs.commands.train",
        "app",
        "Train a planner; resumes from its last checkpoint. Compare runs.",
        _MODEL,
        "train",
    ),
    "tune": Entry(
        "ray_jobs.commands.tune", "tune", "Search a recipe's values; a killed search goes on.", _MODEL, "train"
    ),
    "submit": Entry(
        "ray_jobs.commands.submit", "app", "Hand a training to a cluster, its price shown first.", _MODEL, "train"
    ),
    "jobs": Entry("ray_jobs.commands.jobs", "app", "Submitted jobs: list, logs, cancel, resume.", _MODEL, "train"),
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
    "qat": Entry(
        "edge_compile.commands.qat",
        "qat",
        "Train a run's network, or a torch module, with quantizers in it.",
        _EDGE,
        "edge",
    ),
    "share": Entry(
        "edge_compile.commands.share",
        "share",
        "Put several compiled models into one binary; shared weights lie there once.",
        _EDGE,
        "edge",
    ),
    "device": Entry(
        "edge_compile.commands.device",
        "app",
        "Measure a compiled model on a board: kit, measure, sign, import.",
        _EDGE,
        "edge",
    ),
    "matrix": Entry(
        "ray_jobs.commands.matrix",
        "matrix",
        "Compile a folder of models for several targets; one page of all.",
        _EDGE,
        "data",
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
    "cost": Entry(
        "cost.commands", "app", "What a plan costs a month, from dated prices; what was paid beside it.", _CLOUD, "cost"
    ),
    "infra": Entry(
        "cdk.delivery.commands", "app", "Plan, approve and apply the AWS infrastructure; find drift.", _CLOUD, "infra"
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

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # Typer takes it for a gone reader, and ends without a word
            raise refused_by_system(error, where="drivetrain") from error


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
    for leaf in getattr(command, "commands", {"": command}).values():
        _make_readable(leaf)
    return command


def _make_readable(command: Any) -> None:
    """Let a help page wrap its paragraphs to the window, and name arguments and lists as people do."""
    command.help = "\n\n".join(" ".join(text.split()) for text in (command.help or "").split("\n\n"))
    for parameter in command.params:
        if parameter.metavar is None and parameter.param_type_name == "argument":
            parameter.metavar = parameter.name.upper()
        elif parameter.metavar is None and getattr(parameter, "multiple", False):
            parameter.metavar = "<path>" if "Path" in parameter.bare_type() else "<str>"


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
    keep_interrupts()
    leave_out_foreign(os.environ, own_server=not os.environ.get("DRIVETRAIN_DATABASE_URL"))
    try:
        own_standard_streams()
        try:
            status = run(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except ReaderGone:
        abandon_standard_output()
        status = READER_GONE_STATUS
    except OutputError as error:  # said too late for standard output itself
        abandon_standard_output()
        print_error(error, as_json=False)
        status = 1
    except SystemExit as ended:
        if ended.code == StoppedError.exit_status:
            _leave_at_once()
        raise
    if status == StoppedError.exit_status:
        _leave_at_once()
    raise SystemExit(status)


def _leave_at_once() -> None:
    """End an interrupted process without the interpreter's own end, where Ray was loaded.

    What the command started is stopped by now. Threads of Ray that an interrupt met while they came up may still run,
    and have ended the process by a segmentation fault when the interpreter was taken down around them.
    """
    if "ray" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(StoppedError.exit_status)


def run(arguments: list[str]) -> int:
    """Run one command, and say in one form what went wrong; return its exit status, or raise it."""
    as_json = "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
    command = next((item for item in arguments if item in COMMANDS), "")
    where = f"drivetrain {command}".rstrip()
    try:
        refuse_empty_values(arguments, where=where)
        ended = app(arguments, prog_name="drivetrain", standalone_mode=False)
    except (ReaderGone, OutputError):
        raise
    except typer.TyperException as error:
        if error.format_message():  # else it was a group without its command, and the help is printed
            print_error(_usage_error(error, where=where), as_json=as_json)
        return error.exit_code
    except Exception as error:  # the one broad catch: every error ends here, said in one form
        if not {"-v", "--verbose"}.isdisjoint(arguments):
            traceback.print_exc()
        explained = _explain(error, command, where=where)
        print_error(explained, as_json=as_json)
        raise SystemExit(explained.exit_status) from error
    if ended == StoppedError.exit_status:  # Typer's answer to Ctrl-C, where the command had none of its own
        print_error(StoppedError("interrupted").completed(where=where), as_json=as_json)
    return ended if isinstance(ended, int) else 0


def answer_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Run another command, in a process of its own, and return its JSON: here rooms meet that may not import each other.

    Raises:
        PlatformError: The command refused; with its own words.
    """
    command = [sys.executable, "-m", "platform_lib.cli", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise PlatformError(f"answered nothing that can be read: {said}", where=f"drivetrain {arguments[0]}") from error
    told = found.get("error")
    if told is not None:
        raise PlatformError(told["what"], where=told["where"], remedy=told["remedy"])
    return found


def _usage_error(error: typer.TyperException, *, where: str) -> UsageError:
    context = getattr(error, "ctx", None)
    where = where if context is None else context.command_path
    return UsageError(error.format_message().rstrip("."), where=where, remedy=f"see `{where} --help`")


def _explain(error: Exception, command: str, *, where: str) -> PlatformError:
    if isinstance(error, typer.Abort) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # Typer's word for an input that ended too early, whichever it was
    if isinstance(error, ModuleNotFoundError):
        error = _missing_package(error, command)
    if isinstance(error, PlatformError):
        return error.completed(where=where)
    if isinstance(error, OSError):
        return refused_by_system(error, where=where)
    said = str(error).strip().splitlines() or [""]  # of a worker's whole traceback the last line
    return PlatformError(
        f"a defect of drivetrain itself: {type(error).__name__}: {said[-1]}",
        where=where,
        remedy="run `drivetrain --verbose ...` for the traceback, and report it",
    )


if __name__ == "__main__":
    main()
