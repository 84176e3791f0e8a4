"""`drivetrain device`: the thin commands over the door to a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_compile.commands.compile import split_samples
from edge_compile.device.importing import import_measurement
from edge_compile.device.kit import COMMAND, make_kit
from edge_compile.device.measurement import FACTS, read_facts, sign_results
from edge_compile.device.measuring import Claim, measure
from edge_compile.device.transport import Adb, Ssh, Transport
from edge_compile.onnx_model import read_model
from platform_lib.console import OUT, print_json, progress
from platform_lib.errors import MissingPartError, UsageError
from platform_lib.evidence import ParityRung
from platform_lib.evidence.measurements import Measurement, performance_of, tail_of
from platform_lib.handoff.keys import PublicKey, ensure_signing_key, read_public_key, trusted_keys
from platform_lib.home import Home, find_home, open_home
from platform_lib.options import HomeOption, JsonOption

app = typer.Typer(help="Measure a compiled model on a board, and take the signed result into its evidence.")

CompileArgument = Annotated[Path, typer.Argument(help="Folder that `compile` wrote.", show_default=False)]
KitArgument = Annotated[Path, typer.Argument(help="Folder that `device kit` wrote.", show_default=False)]
FrozenOption = Annotated[
    Path, typer.Option(help="NPZ that the compile was given as --frozen, else as --calibration.", show_default=False)
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Which precision, fp16 too. Default: the one that was chosen.", show_default=False)
]
BoardOption = Annotated[str, typer.Option(help="Which board it is: type and serial number.", show_default=False)]
ByOption = Annotated[str, typer.Option(help="Who measured; signed with the home's key.", show_default=False)]
OutOption = Annotated[Path, typer.Option(help="Folder to publish, new.", show_default=False)]


@app.command("kit")
def kit_command(
    compiled: CompileArgument,
    frozen: FrozenOption,
    out: OutOption,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the kit that goes to a board: the compiled model, the frozen inputs, what runs them there."""
    model = compiled / "fp32.onnx"
    if not model.is_file():
        raise MissingPartError("no compile here", where=compiled, remedy="name the folder that `compile` wrote")
    interface = read_model(model)
    names = ({item.name for item in interface.inputs}, {item.name for item in interface.outputs})
    kit = make_kit(compiled, precision, split_samples(frozen, *names)[0], out)
    if as_json:
        print_json({"folder": str(out), **kit.model_dump(mode="json")})
        return
    OUT.print(f"{kit.precision} for {kit.target}, {kit.samples} inputs: {out}", highlight=False, soft_wrap=True)
    OUT.print(f"on the board, in that folder: sh facts.sh > {FACTS} && {COMMAND}", highlight=False, soft_wrap=True)


@app.command("measure")
def measure_command(
    kit: KitArgument,
    board: BoardOption,
    by: ByOption,
    out: OutOption,
    ssh: Annotated[str | None, typer.Option(help="HOST or USER@HOST that ssh reaches.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Its SSH port.", min=1, max=65535, show_default=False)] = None,
    identity: Annotated[Path | None, typer.Option(help="Private key to log in with.", show_default=False)] = None,
    known_hosts: Annotated[
        Path | None, typer.Option(help="File that holds the board's SSH key.", show_default=False)
    ] = None,
    adb: Annotated[str | None, typer.Option(help="Serial number that adb knows, or 'any'.", show_default=False)] = None,
    command: Annotated[str, typer.Option(help="What runs in the kit's folder on the board.")] = COMMAND,
    timeout_s: Annotated[float, typer.Option(min=1.0, help="How long it may run there.")] = 900.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a kit on a board over SSH or ADB, and publish what it answered, signed. Never the emulator, nor this machine."""
    transport = _transport(ssh, adb, port, identity, known_hosts)
    claim = Claim(board, by, ensure_signing_key(open_home(home)))
    with progress("measuring", total=3) as task:
        found = measure(
            kit,
            transport,
            out,
            claim,
            command=command,
            timeout_s=timeout_s,
            say=lambda stage: task.advance(1, note=stage),
        )
    _show(found, out, as_json=as_json)


@app.command("sign")
def sign_command(
    kit: KitArgument,
    board: BoardOption,
    by: ByOption,
    out: OutOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign what a kit brought back that was carried to a board by hand: its outputs, and what the board said of itself."""
    facts = kit / FACTS
    if not facts.is_file():
        raise MissingPartError(
            "the board said nothing of itself", where=facts, remedy=f"in the kit's folder there: sh facts.sh > {FACTS}"
        )
    found = sign_results(
        kit,
        kit,
        read_facts(facts.read_text(errors="replace")),
        out,
        key=ensure_signing_key(open_home(home)),
        board=board,
        by=by,
        transport="by hand",
        command=None,
    )
    _show(found, out, as_json=as_json)


@app.command("import")
def import_command(
    measurement: Annotated[Path, typer.Argument(help="Folder that was signed.", show_default=False)],
    compiled: Annotated[Path, typer.Option("--compile", help="Folder that `compile` wrote.", show_default=False)],
    public_key: Annotated[
        Path | None, typer.Option(help="Signer's public key. Default: those the home trusts.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a signed measurement into a compile's report, and judge the rung target->device. Status 1 when it fails."""
    rung = import_measurement(measurement, compiled, _keys(public_key, home))
    if as_json:
        print_json({"folder": str(compiled), **rung.model_dump(mode="json")})
    else:
        OUT.print(f"{rung.name} {rung.precision}: {_judged(rung)}", highlight=False, markup=False, soft_wrap=True)
    if rung.status != "pass":
        raise typer.Exit(1)


def _transport(
    ssh: str | None, adb: str | None, port: int | None, identity: Path | None, known_hosts: Path | None
) -> Transport:
    if (ssh is None) == (adb is None):
        raise UsageError("name one way to the board", where="device measure", remedy="give --ssh HOST or --adb SERIAL")
    if ssh is not None:
        return Ssh(ssh, port, identity, known_hosts)
    if port or identity or known_hosts:
        raise UsageError(
            "an option of SSH with --adb", where="device measure", remedy="leave it out, or give --ssh HOST"
        )
    return Adb(None if adb == "any" else adb)


def _keys(public_key: Path | None, home: Path | None) -> tuple[PublicKey, ...]:
    return (read_public_key(public_key),) if public_key is not None else trusted_keys(Home(find_home(home)).keys)


def _show(found: Measurement, out: Path, *, as_json: bool) -> None:
    performance, (p99_us, max_us) = performance_of(found), tail_of(found)
    if as_json:
        said = performance.model_dump(mode="json") | {"p99_us": p99_us, "max_us": max_us}
        print_json({"folder": str(out), "precision": found.precision, "samples": found.samples, "performance": said})
        return
    latency = performance.latency_us
    timed = (
        performance.reason
        if latency is None
        else f"median {latency.value:.0f} us of {len(found.timings_us)} inferences"
    )
    OUT.print(
        f"{found.precision} on {found.board} ({found.facts['machine']}): {found.samples} inputs answered, {timed}; signed in {out}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _judged(rung: ParityRung) -> str:
    if rung.sqnr_db is None:
        return (
            f"{rung.status}, bit-identical on {rung.samples} inputs"
            if rung.status == "pass"
            else f"{rung.status}: {rung.reason}"
        )
    return f"{rung.status}, {rung.sqnr_db:.1f} dB on {rung.samples} inputs, needs {rung.threshold_db:g} dB"
