from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from boards import SAMPLES, Board, Compiled, edit_json

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.bundle_sources import Places, _measured
from edge_compile.device.importing import check_runs, import_measurement
from edge_compile.device.kit import _measurable, make_kit
from edge_compile.device.measuring import Claim, measure
from edge_compile.device.transport import Ssh
from platform_lib.errors import ContractError, IntegrityError, MissingPartError
from platform_lib.evidence import CompileReport, DeviceRun, Interval, Performance, read_evidence
from platform_lib.handoff.keys import SigningKey, ensure_signing_key, read_public_key
from platform_lib.handoff.signing import sign_folder
from platform_lib.home import open_home
from platform_lib.manifest import changed_outputs, read_manifest
from platform_lib.storage import sha256_file


@pytest.fixture
def measured(board: Board, kit: Path, key: SigningKey, tmp_path: Path) -> Path:
    measure(kit, Ssh("b"), tmp_path / "measured", Claim("bench 7", "A. Person", key), command=board.command())
    return tmp_path / "measured"


def sign_again(folder: Path, key: SigningKey) -> None:
    """What a liar with a trusted key can do; what he says is still compared with the compile."""
    (folder / "bundle.sig").unlink()
    sign_folder(folder, key)


def report_of(compiled: Compiled) -> CompileReport:
    return read_evidence(CompileReport, compiled.folder / "report.json")


def test_a_signed_measurement_becomes_the_rung(measured: Path, compiled: Compiled, key: SigningKey) -> None:
    rung = import_measurement(measured, compiled.folder, (key.public,))
    assert (rung.name, rung.precision, rung.status, rung.samples) == ("target->device", "w8a16", "pass", SAMPLES)
    assert rung.sqnr_db > 60
    report, manifest = report_of(compiled), read_manifest(compiled.folder / "manifest.json")
    run = report.on_device("w8a16")
    assert report.parity == (rung,)
    assert (run.measured_by, run.board, run.key_id) == ("A. Person", "bench 7", key.public.key_id)
    latency = run.performance.latency_us
    assert (run.performance.measured_on, latency.value, run.max_us) == ("device", 103.0, 106.0)
    assert latency.low <= latency.value <= latency.high
    assert report.precision("w8a16").performance.measured_on == "simulator"  # what was simulated stays so
    assert changed_outputs(manifest, compiled.folder) == []
    assert "bench 7" in (compiled.folder / "report.html").read_text()
    check_runs(compiled.folder, report)
    assert import_measurement(measured, compiled.folder, (key.public,)) == rung  # again: replaced, not doubled
    assert len(report_of(compiled).device) == 1


def test_a_board_that_answers_otherwise_fails_the_rung(
    board: Board, compiled: Compiled, kit: Path, key: SigningKey, tmp_path: Path
) -> None:
    claim = Claim("bench 7", "A. Person", key)
    measure(kit, Ssh("b"), tmp_path / "measured", claim, command=board.command(noise=0.5))
    rung = import_measurement(tmp_path / "measured", compiled.folder, (key.public,))
    assert rung.status == "fail"
    assert "below 40.0 dB" in rung.reason
    assert report_of(compiled).parity == (rung,)


def test_only_a_trusted_key_counts(measured: Path, compiled: Compiled, tmp_path: Path) -> None:
    stranger = ensure_signing_key(open_home(tmp_path / "other")).public
    for trusted in ((), (stranger,)):
        with pytest.raises(IntegrityError, match="not trusted here"):
            import_measurement(measured, compiled.folder, trusted)
    with pytest.raises(IntegrityError, match="lies in the measurement"):
        import_measurement(measured, compiled.folder, (read_public_key(measured / "public-key.pem"),))
    # The name of a trusted key on another's signature
    text = (measured / "bundle.sig").read_text()
    (measured / "bundle.sig").write_text(
        text.replace(json.loads(text)["verificationMaterial"]["publicKey"]["hint"], stranger.key_id)
    )
    with pytest.raises(IntegrityError, match="was not made by key"):
        import_measurement(measured, compiled.folder, (stranger,))
    assert report_of(compiled).device == ()


def _unsigned(folder: Path) -> None:
    (folder / "bundle.sig").unlink()


def _other_output(folder: Path) -> None:
    outputs = load_arrays(folder / "outputs.npz")
    save_arrays(folder / "outputs.npz", {name: array + 1 for name, array in outputs.items()})


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "unsigned": (_unsigned, "nobody signed"),
    "no signature": (lambda f: (f / "bundle.sig").write_text("{}"), "no signature of a measurement"),
    "another board": (lambda f: edit_json(f / "measurement.json", board="another"), "changed after it was signed"),
    "another output": (_other_output, "changed after it was signed"),
    "a file more": (lambda f: (f / "more").touch(), "changed after it was signed"),
    "a simulator": (lambda f: edit_json(f / "measurement.json", measured_on="simulator"), "not a measurement"),
    "a key more": (lambda f: edit_json(f / "measurement.json", speed="high"), "not a measurement"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_after_signing_is_refused(
    change: str, measured: Path, compiled: Compiled, key: SigningKey
) -> None:
    act, words = CHANGES[change]
    act(measured)
    with pytest.raises(IntegrityError, match=words):
        import_measurement(measured, compiled.folder, (key.public,))
    assert report_of(compiled).device == ()


LIES: dict[str, tuple[dict[str, object], str]] = {
    "another artefact": ({"artefact": {"w8a16.ctx.onnx": "0" * 64}}, "another artefact"),
    "another model": ({"onnx_sha256": "1" * 64}, "another artefact"),
    "another precision": ({"precision": "w8a8"}, "another artefact"),
    "other inputs": ({"inputs_sha256": "1" * 64}, "other inputs"),
    "another chip": ({"soc_model": 72, "target": "sa8797p"}, "measured for sa8797p"),
    "fewer samples": ({"samples": 2}, "not the model's"),
    "an emulator": ({"facts": {"machine": "x86_64"}}, "emulator"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_measurement_of_something_else_is_refused(
    lie: str, measured: Path, compiled: Compiled, key: SigningKey
) -> None:
    changes, words = LIES[lie]
    edit_json(measured / "measurement.json", **changes)
    sign_again(measured, key)
    with pytest.raises(Exception, match=words) as caught:
        import_measurement(measured, compiled.folder, (key.public,))
    assert caught.type.__name__ in ("IntegrityError", "ContractError")
    assert report_of(compiled).device == ()


def test_a_report_cannot_say_other_than_the_measurement(measured: Path, compiled: Compiled, key: SigningKey) -> None:
    rung = import_measurement(measured, compiled.folder, (key.public,))
    report = report_of(compiled)
    better = rung.model_copy(update={"sqnr_db": 99.0})
    with pytest.raises(IntegrityError, match="says other than the measurement"):
        check_runs(compiled.folder, report.model_copy(update={"parity": (better,)}))
    swapped = report.device[0].model_copy(update={"key_id": "0" * 64})
    with pytest.raises(IntegrityError, match="another key"):
        check_runs(compiled.folder, report.model_copy(update={"device": (swapped,)}))
    _other_output(compiled.folder / "device" / "w8a16")
    with pytest.raises(IntegrityError, match="not as it was signed"):
        check_runs(compiled.folder, report)
    shutil.rmtree(compiled.folder / "device")
    with pytest.raises(IntegrityError, match="is not there"):
        check_runs(compiled.folder, report)


def test_a_rung_without_a_measurement_is_no_evidence(measured: Path, compiled: Compiled, key: SigningKey) -> None:
    import_measurement(measured, compiled.folder, (key.public,))
    edit_json(compiled.folder / "report.json", device=[])
    with pytest.raises(IntegrityError, match="not a valid CompileReport"):
        report_of(compiled)
    simulated = Performance(
        measured_on="simulator",
        latency_us=Interval(value=1.0, low=None, high=None),
        ddr_read_bytes=None,
        ddr_write_bytes=None,
    )
    run = {
        "precision": "w8a16",
        "folder": "device/w8a16",
        "measured_by": "A",
        "key_id": "0",
        "board": "b",
        "machine": "m",
    }
    with pytest.raises(ValueError, match="measured on 'simulator'"):
        DeviceRun(**run, measured_utc="2026-01-01T00:00:00Z", performance=simulated, p99_us=None, max_us=None, timed=1)


def test_a_bundle_takes_the_signed_measurement_along(measured: Path, compiled: Compiled, key: SigningKey) -> None:
    import_measurement(measured, compiled.folder, (key.public,))
    report, nowhere = report_of(compiled), measured
    places = Places(nowhere, nowhere, compiled.folder, nowhere, nowhere, nowhere)
    packed = _measured(places, report)
    names = ("bundle.sig", "measurement.json", "outputs.npz", "public-key.pem")
    assert [item.path for item in packed] == [f"evidence/device/w8a16/{name}" for name in names]
    assert all(sha256_file(item.source) == item.sha256 for item in packed)


def test_a_kit_is_of_one_compile_and_its_inputs(compiled: Compiled, tmp_path: Path) -> None:
    others = {"x": compiled.frozen["x"] + np.float32(1)}
    with pytest.raises(IntegrityError, match="not the frozen inputs"):
        make_kit(compiled.folder, None, others, tmp_path / "kit")
    with pytest.raises(MissingPartError, match="w4a16 was not compiled"):
        make_kit(compiled.folder, "w4a16", compiled.frozen, tmp_path / "kit")
    engine = report_of(compiled).precision("w8a16").model_copy(update={"context": ("int8.engine",)})
    with pytest.raises(ContractError, match="no context model"):
        _measurable(report_of(compiled).model_copy(update={"precisions": (engine,)}), "w8a16", compiled.folder)
    (compiled.folder / "w8a16.ctx_qnn.bin").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="changed after it was compiled"):
        make_kit(compiled.folder, None, compiled.frozen, tmp_path / "kit")
    with pytest.raises(MissingPartError, match="no compile here"):
        make_kit(tmp_path / "none", None, compiled.frozen, tmp_path / "kit")


def test_a_kit_can_be_carried_and_its_answers_signed(
    board: Board, kit: Path, compiled: Compiled, key: SigningKey, tmp_path: Path
) -> None:
    """The commands themselves, as somebody types them who has the board at hand."""
    import subprocess

    from edge_compile.commands.device import import_command, sign_command

    environment = {"PATH": f"{board.folder}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    with pytest.raises(MissingPartError, match="said nothing of itself"):
        sign_command(kit, "bench", "A. Person", tmp_path / "signed")
    line = f"sh facts.sh > facts.txt && {board.command()}"
    subprocess.run(["sh", "-c", line], cwd=kit, env=environment, check=True)
    sign_command(kit, "bench", "A. Person", tmp_path / "signed")
    import_command(tmp_path / "signed", compiled.folder)  # the home's own key is trusted
    assert [rung.status for rung in report_of(compiled).parity] == ["pass"]


def test_both_precisions_can_be_measured(board: Board, compiled: Compiled, key: SigningKey, tmp_path: Path) -> None:
    for precision in ("fp16", "w8a16"):
        kit = tmp_path / f"kit-{precision}"
        make_kit(compiled.folder, precision, compiled.frozen, kit)
        program = board.command().replace("w8a16.target", f"{precision}.target")
        (board.folder / "program.py").write_text(
            (board.folder / "program.py").read_text().replace("w8a16.target", f"{precision}.target")
        )
        measure(kit, Ssh("b"), tmp_path / precision, Claim("bench 7", "A. Person", key), command=program)
        import_measurement(tmp_path / precision, compiled.folder, (key.public,))
    report = report_of(compiled)
    assert [(run.precision, run.performance.measured_on) for run in report.device] == [
        ("fp16", "device"),
        ("w8a16", "device"),
    ]
