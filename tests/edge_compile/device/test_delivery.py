"""From the kit to the vehicle maker's desk, as it is typed: kit, measure, import, gate, bundle, verify; and a lie at each door."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import handoff_sources as sources
import numpy as np
import onnx
import pytest
from boards import SAMPLES, Board, Compiled, edit_json
from onnx import helper

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.bundle_sources import Places
from edge_compile.samples import samples_sha256
from platform_lib import cli
from platform_lib.evidence import write_evidence
from platform_lib.handoff.keys import SigningKey, ensure_signing_key
from platform_lib.handoff.signing import sign_folder
from platform_lib.home import Home, open_home
from platform_lib.manifest import Input, Step
from platform_lib.storage import sha256_file

MEASURED = "evidence/device/w8a16"


def _context(path: Path, weights: str) -> None:
    """Write a context model of the planner's own inputs and output, as the compiler leaves one."""
    model = sources.tiny_model()
    node = helper.make_node(
        "EPContext", ["image", "command"], ["plan"], domain="com.microsoft", ep_cache_context=weights
    )
    graph = helper.make_graph([node], "context", model.graph.input, model.graph.output)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Everything a bundle needs, with a compile of which a kit can be made."""
    places, rng = sources.write_sources(tmp_path), np.random.default_rng(0)
    folder, report = places.compiled, sources.compile_report(sha256_file(places.run / "model.onnx"), {})
    frozen = {
        "image": rng.normal(size=(SAMPLES, 1, 3, 4, 8)).astype(np.float32),
        "command": rng.normal(size=(SAMPLES, 1, 3)).astype(np.float32),
    }
    np.savez(tmp_path / "frozen.npz", **frozen)
    model = sources.tiny_model()
    model.ir_version = 10
    onnx.save(model, folder / "fp32.onnx")
    for item in report.precisions:
        _context(folder / item.context[0], item.context[1])
        save_arrays(folder / f"{item.precision}.target.npz", {"plan": frozen["command"]})
    (folder / "report.html").write_text("page")
    made = [item for item in sorted(folder.iterdir()) if item.name not in ("report.json", "manifest.json")]
    report = report.model_copy(update={"digests": {item.name: sha256_file(item) for item in made}})
    write_evidence(folder / "report.json", report)
    inputs = {"onnx": report.onnx_sha256, "calibration": sources.sha("c"), "frozen": samples_sha256(frozen)}
    step = Step("compile", inputs={k: Input(sha256=v, uri=k) for k, v in inputs.items()}, config={}, modules=())
    step.finish(folder / "manifest.json", {item.name: item for item in [*made, folder / "report.json"]}, {})
    return places


@pytest.fixture
def compiled(places: Places, tmp_path: Path) -> Compiled:
    with np.load(tmp_path / "frozen.npz") as frozen:
        return Compiled(places.compiled, dict(frozen))


@pytest.fixture
def bench(tmp_path: Path) -> Home:
    """The home of who measures; another than that of who packs."""
    home = open_home(tmp_path / "bench")
    ensure_signing_key(home)
    return home


def run(arguments: list[str]) -> int:
    """Run one command as the shell does, and return its status."""
    try:
        return cli.run(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def _measure(board: Board, places: Places, bench: Home, root: Path) -> Path:
    kit, measured = root / "kit", root / "measured"
    assert run(["device", "kit", str(places.compiled), "--frozen", str(root / "frozen.npz"), "--out", str(kit)]) == 0
    said = ["--board", "bench 7", "--by", "A. Person", "--out", str(measured), "--home", str(bench.root)]
    assert run(["device", "measure", str(kit), "--ssh", "board", "--command", board.command(), *said]) == 0
    return measured


def _import(measured: Path, places: Places, bench: Home) -> int:
    key = str(bench.keys / "bundle-signing.pub.pem")
    return run(["device", "import", str(measured), "--compile", str(places.compiled), "--public-key", key])


def _judge(places: Places) -> int:
    evidence = ["--evaluation", str(places.evaluation), "--compressed-evaluation", str(places.compressed)]
    steps = ["--compile", str(places.compiled), "--dataset", str(places.dataset), "--out", str(places.gates)]
    return run(["gate", *evidence, *steps])


def _pack(places: Places, out: Path, home: Home) -> int:
    evidence = ["--evaluation", str(places.evaluation), "--compressed-evaluation", str(places.compressed)]
    steps = ["--run", str(places.run), "--dataset", str(places.dataset), "--compile", str(places.compiled)]
    return run(["bundle", *steps, *evidence, "--gates", str(places.gates), "--out", str(out), "--home", str(home.root)])


def _sign_again(folder: Path, key: SigningKey) -> None:
    """List every file anew and sign, as whoever packs bundles can."""
    document = json.loads((folder / "manifest.json").read_text())
    for entry in document["files"]:
        data = (folder / entry["path"]).read_bytes()
        entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(document))
    (folder / "bundle.sig").unlink()
    named = folder.with_name(document["header"]["package_id"])
    folder.rename(named)
    sign_folder(named, key)
    named.rename(folder)


def _better(path: Path) -> None:
    save_arrays(path / "outputs.npz", {name: array + 1 for name, array in load_arrays(path / "outputs.npz").items()})


def test_a_measurement_goes_from_the_board_into_a_bundle_that_verifies(
    places: Places, board: Board, bench: Home, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, bundle = _measure(board, places, bench, tmp_path), tmp_path / "bundle"
    # Planted: a figure changed after it was signed is refused at the first door, and the compile is as it was.
    lie = tmp_path / "lie"
    shutil.copytree(measured, lie)
    edit_json(lie / "measurement.json", timings_us=[1.0] * 50)
    assert _import(lie, places, bench) == 1
    assert "changed after it was signed" in capsys.readouterr().err
    assert json.loads((places.compiled / "report.json").read_text())["device"] == []
    assert _import(measured, places, bench) == 0
    assert _judge(places) == 0
    gates = {item["gate"]: item for item in json.loads(places.gates.read_text())["gates"]}
    assert gates["G5 device"]["status"] == "pass"
    assert "G5 device" not in json.loads(places.gates.read_text())["blocking"]
    assert _pack(places, bundle, home) == 0
    capsys.readouterr()
    key = str(ensure_signing_key(home).public.path)
    assert run(["verify", str(bundle), "--public-key", key, "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["measured"]
    bench_id = ensure_signing_key(bench).public.key_id
    assert (said["board"], said["by"], said["key_id"], said["trusted"]) == ("bench 7", "A. Person", bench_id, False)
    assert json.loads((bundle / "manifest.json").read_text())["targets"][0]["measured_on"] == "device"
    (home.keys / "trusted").mkdir()
    shutil.copyfile(bench.keys / "bundle-signing.pub.pem", home.keys / "trusted" / "bench.pem")
    for more, known in ((["--public-key", key], "not trusted here"), (["--home", str(home.root)], "trusted as")):
        assert run(["verify", str(bundle), *more]) == 0
        words = " ".join(capsys.readouterr().out.split())
        assert f"w8a16 on bench 7 (aarch64) by A. Person, key {bench_id[:16]}, {known}" in words

    # Planted: the same figure changed in the compile, and in the bundle.
    _better(places.compiled / "device" / "w8a16")
    assert (_judge(places), _pack(places, bundle, home)) == (1, 1)
    assert "changed after" in capsys.readouterr().err
    for harm, words in HARM.items():
        copy = tmp_path / "harmed"
        shutil.copytree(bundle, copy)
        harm(copy)
        if words.startswith("measurement of"):  # by the bundle's own signer, who cannot sign for the bench
            _sign_again(copy, ensure_signing_key(home))
        assert run(["verify", str(copy), "--public-key", key, "--json"]) == 1
        problems = json.loads(capsys.readouterr().out)["problems"]
        assert any(problem.startswith(words) for problem in problems), (words, problems)
        shutil.rmtree(copy)


def _faster(bundle: Path) -> None:
    """Say of the board, in the report and in the manifest alike, that it took a tenth of the time."""
    report = json.loads((bundle / "evidence/compile_report.json").read_text())
    latency = report["device"][0]["performance"]["latency_us"]
    latency |= {name: value / 10 for name, value in latency.items()}
    edit_json(bundle / "evidence/compile_report.json", device=report["device"])
    document = json.loads((bundle / "manifest.json").read_text())
    places = document["targets"][0]["latency"]
    places |= {"estimate_us": latency["value"], "low_us": latency["low"], "high_us": latency["high"]}
    places |= {"p50_us": latency["value"]}
    (bundle / "manifest.json").write_text(json.dumps(document))


def _unsigned(bundle: Path) -> None:
    (bundle / MEASURED / "bundle.sig").unlink()
    document = json.loads((bundle / "manifest.json").read_text())
    document["files"] = [item for item in document["files"] if item["path"] != f"{MEASURED}/bundle.sig"]
    (bundle / "manifest.json").write_text(json.dumps(document))


HARM = {
    lambda bundle: _better(bundle / MEASURED): f"{MEASURED}/outputs.npz was changed",
    lambda bundle: _better(bundle / MEASURED): "measurement of w8a16: not as it was signed",
    _faster: "measurement of w8a16: the compile report says other than what was signed",
    _unsigned: "measurement of w8a16: no signed measurement lies in the bundle",
}
