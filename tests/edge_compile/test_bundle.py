from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import handoff_sources as sources
import pytest

from edge_compile.bundle import build_bundle
from edge_compile.bundle_sources import Places, read_sources
from platform_lib.catalog.elsewhere import notes
from platform_lib.errors import ConfigError, ContractError, IntegrityError, MissingPartError, PlatformError
from platform_lib.evidence import CompileReport, EvaluationReport, read_evidence, write_evidence
from platform_lib.handoff.keys import ensure_signing_key
from platform_lib.handoff.verify import verify_bundle
from platform_lib.home import Home, open_home
from platform_lib.manifest import Step, manifest_path_of, read_manifest
from platform_lib.storage import sha256_tree


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Places]:
    root = tmp_path_factory.mktemp("sources")
    return root, sources.write_sources(root)


@pytest.fixture
def places(_written: tuple[Path, Places], tmp_path: Path) -> Places:
    root, places = _written
    shutil.copytree(root, tmp_path / "work")
    return sources.moved(places, root, tmp_path / "work")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_bundle_holds_what_was_promised_and_verifies(places: Places, home: Home, tmp_path: Path) -> None:
    made = build_bundle(places, tmp_path / "bundle", home)
    assert (made.state, made.skipped) == ("candidate", False)
    assert "G7 approval" in made.blocking
    digests = _digests(made.folder)
    assert len(digests) == made.files
    promised = (
        *("compiled/w8a16.ctx.bin", "compiled/w8a16.ctx.onnx", "compiled/w8a16.qdq.onnx", "compiled/w8a16.encodings"),
        *("model/model.onnx", "inputs/frozen.npz", "evidence/evaluation.json", "evidence/gates.json", "README.txt"),
        *("evidence/manifests/run.json", "bom.cdx.json", "manifest.json", "bundle.sig", "public-key.pem"),
    )
    assert set(promised) <= digests.keys()
    assert not any("fp16" in name or "weights.pt" in name for name in digests)
    key = ensure_signing_key(home).public
    assert verify_bundle(made.folder, (key,), only_these=True).verdict == "verified"
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert {item["path"]: item["sha256"] for item in manifest["files"]} == {
        name: digest for name, digest in digests.items() if name not in ("manifest.json", "bundle.sig")
    }
    assert manifest["model"]["inputs"][0]["layout"] == "NCHW, RGB"
    assert manifest["targets"][0]["measured_on"] == "simulator"
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_second_build_differs_in_its_signature_alone(places: Places, home: Home, tmp_path: Path) -> None:
    first = _digests(build_bundle(places, tmp_path / "one", home).folder)
    second = _digests(build_bundle(places, tmp_path / "two", home).folder)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == {"bundle.sig"}


def test_an_up_to_date_bundle_is_skipped_and_a_harmed_one_made_again(
    places: Places, home: Home, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    first = build_bundle(places, out, home)
    before = _digests(out)
    again = build_bundle(places, out, home)
    assert again == replace(first, skipped=True)
    assert _digests(out) == before
    (out / "README.txt").write_text("harmed")
    assert not build_bundle(places, out, home).skipped
    assert (out / "README.txt").read_text() != "harmed"


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _evaluate(path: Path, **changes: Any) -> None:
    write_evidence(path, read_evidence(EvaluationReport, path).model_copy(update=changes))


HARM: dict[str, tuple[Callable[[Places], object], type[PlatformError], str]] = {
    "model changed": (lambda p: _append(p.run / "model.onnx"), IntegrityError, "model.onnx"),
    "frozen inputs changed": (lambda p: _append(p.run / "frozen.npz"), IntegrityError, "frozen.npz"),
    "context changed": (lambda p: _append(p.compiled / "w8a16.ctx.bin"), IntegrityError, "w8a16.ctx.bin"),
    "encodings gone": (lambda p: (p.compiled / "w8a16.encodings").unlink(), IntegrityError, "w8a16.encodings"),
    "compile report changed": (lambda p: _append(p.compiled / "report.json"), IntegrityError, "report.json"),
    "dataset changed": (lambda p: _append(p.dataset / "samples.lance/data.bin"), IntegrityError, "samples.lance"),
    "evaluation changed": (
        lambda p: _evaluate(p.evaluation, findings=(sources.SELF_TEST, "better")), IntegrityError, "after it was evaluated"),
    "evaluation changed with its manifest": (
        lambda p: (_evaluate(p.evaluation, findings=()), sources.write_evaluation_manifest(p)), IntegrityError,
        "other evidence"),
    "compressed evaluation changed": (
        lambda p: _evaluate(p.compressed, seeds=(2,)), IntegrityError, "after it was evaluated"),
    "compressed evaluation changed with its manifest": (
        lambda p: (_evaluate(p.compressed, seeds=(2,)), sources.write_evaluation_manifest(p)), IntegrityError,
        "other evidence"),
    "compressed evaluation changed, its manifest gone, judged again": (
        lambda p: (_evaluate(p.compressed, seeds=(1,)), manifest_path_of(p.compressed).unlink(), sources.judge_again(p)),
        MissingPartError, "as it was scored"),
    "evaluation without a manifest, judged again": (
        lambda p: (p.evaluation.with_name("manifest.json").unlink(), sources.judge_again(p)),
        MissingPartError, "as it was scored"),
    "gates edited": (lambda p: p.gates.write_text(p.gates.read_text() + "\n"), IntegrityError, "changed after it was judged"),
    "gates missing": (lambda p: p.gates.unlink(), MissingPartError, "GateReport"),
    "gates without a manifest": (
        lambda p: p.gates.with_name("gates.json.manifest.json").unlink(), MissingPartError, "no gate here"),
    "no run": (lambda p: shutil.rmtree(p.run), MissingPartError, "no run here"),
    "no dataset": (lambda p: shutil.rmtree(p.dataset), MissingPartError, "no dataset here"),
    "manifest of another kind": (
        lambda p: shutil.copyfile(p.dataset / "manifest.json", p.run / "manifest.json"), IntegrityError, "not of a run"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_a_source_that_changed_is_refused_and_nothing_is_published(
    places: Places, home: Home, tmp_path: Path, harm: str
) -> None:
    plant, kind, said = HARM[harm]
    plant(places)
    with pytest.raises(kind, match=said):
        build_bundle(places, tmp_path / "bundle", home)
    assert not (tmp_path / "bundle").exists()
    assert not list(tmp_path.glob(".tmp-*"))


def _forge_gates(places: Places, **changes: Any) -> None:
    """Rewrite gates.json and its manifest alike: only judging again gives it away."""
    report = json.loads(places.gates.read_text()) | changes
    places.gates.write_text(json.dumps(report))
    beside = places.gates.with_name("gates.json.manifest.json")
    manifest = json.loads(beside.read_text())
    manifest["outputs"]["gates.json"]["sha256"] = hashlib.sha256(places.gates.read_bytes()).hexdigest()
    beside.write_text(json.dumps(manifest))


def test_gates_forged_with_their_manifest_are_judged_again(places: Places, home: Home, tmp_path: Path) -> None:
    gates = json.loads(places.gates.read_text())["gates"]
    passed = [item | {"status": "pass"} for item in gates]
    _forge_gates(places, state="approved", blocking=[], gates=passed)
    with pytest.raises(IntegrityError, match="say other than their evidence"):
        build_bundle(places, tmp_path / "bundle", home)


def test_what_the_gates_rejected_is_not_packed(places: Places, home: Home, tmp_path: Path) -> None:
    worse = read_evidence(EvaluationReport, places.compressed)
    rows = [
        row.model_copy(update={"metrics": {"ade_m": sources.interval(3.0), "fde_m": sources.interval(6.0)}})
        for row in worse.open_loop
    ]
    _evaluate(places.compressed, open_loop=tuple(rows))
    sources.write_evaluation_manifest(places)
    sources.judge_again(places)
    with pytest.raises(ContractError, match="rejected it: G4 margins"):
        build_bundle(places, tmp_path / "bundle", home)


def _of_another_model(places: Places) -> None:
    other = places.run.with_name("other")
    sources.write_run(other, read_manifest(places.dataset / "manifest.json"))
    (other / "weights.pt").write_bytes(b"other weights")
    step = Step("run", inputs=read_manifest(places.run / "manifest.json").inputs, config={}, modules=())
    outputs = {name: other / name for name in ("model.onnx", "weights.pt", "frozen.npz")}
    step.finish(other / "manifest.json", outputs, {})


def test_a_run_that_the_evidence_is_not_of_is_refused(places: Places, home: Home, tmp_path: Path) -> None:
    _of_another_model(places)
    with pytest.raises(IntegrityError, match="evaluation is not of the run's weights"):
        build_bundle(replace(places, run=places.run.with_name("other")), tmp_path / "bundle", home)


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01", b"MZ\x90\x00", b"\xcf\xfa\xed\xfe"])
def test_a_program_or_library_is_never_packed(places: Places, home: Home, tmp_path: Path, content: bytes) -> None:
    """The vendor's libraries may not travel, whatever name they are given."""
    target = places.compiled / "w8a16.ctx.bin"
    target.write_bytes(content + b"library")
    report = read_evidence(CompileReport, places.compiled / "report.json")
    digests = report.digests | {target.name: hashlib.sha256(target.read_bytes()).hexdigest()}
    write_evidence(places.compiled / "report.json", report.model_copy(update={"digests": digests}))
    before = read_manifest(places.compiled / "manifest.json")
    step = Step("compile", inputs=before.inputs, config={}, modules=())
    step.finish(
        places.compiled / "manifest.json", {name: places.compiled / name for name in [*digests, "report.json"]}, {}
    )
    sources.judge_again(places)
    with pytest.raises(ContractError, match="program or library"):
        build_bundle(places, tmp_path / "bundle", home)


def test_a_folder_of_something_else_is_never_replaced(places: Places, home: Home, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="something other than a bundle"):
        build_bundle(places, precious, home)
    with pytest.raises(ConfigError, match="something other than a bundle"):
        build_bundle(places, places.run, home)
    (tmp_path / "link").symlink_to(precious)
    with pytest.raises(ConfigError, match="not a folder"):
        build_bundle(places, tmp_path / "link", home)
    assert (precious / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    assert build_bundle(places, tmp_path / "empty", home).state == "candidate"


def test_sources_are_complete_before_anything_is_written(places: Places) -> None:
    sources = read_sources(places)
    assert sources.state == "candidate"
    assert sources.created_utc == max(manifest.created_utc for manifest in sources.step_manifests.values())
    assert len({item.path for item in sources.packed}) == len(sources.packed)


# --- the command ------------------------------------------------------------------------------------------------


def _command(places: Places, out: Path, home: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "platform_lib.cli", "bundle", "--run", str(places.run)),
        *("--dataset", str(places.dataset), "--compile", str(places.compiled), "--evaluation", str(places.evaluation)),
        *("--compressed-evaluation", str(places.compressed), "--gates", str(places.gates), "--out", str(out)),
        *("--home", str(home), "--json"),
    ]


@pytest.mark.slow
def test_the_command_prints_one_document(places: Places, tmp_path: Path) -> None:
    done = subprocess.run(
        _command(places, tmp_path / "b", tmp_path / "home"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["package_id"].startswith("planner-sa8255p-w8a16-")
    (left,) = notes(open_home(tmp_path / "home"))  # the home knows what was written outside it
    assert (left.place, left.sha256) == (str(tmp_path / "b"), sha256_tree(tmp_path / "b"))
    (places.compiled / "w8a16.ctx.bin").write_bytes(b"x")
    done = subprocess.run(
        _command(places, tmp_path / "b", tmp_path / "home"), capture_output=True, text=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout)["error"]["kind"]) == (1, "IntegrityError")


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_bundle_or_none(places: Places, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    out = home.bundles / "demo"
    command = _command(places, out, home.root)
    key = ensure_signing_key(home).public
    killed = 0
    for wait_s in (0.0, 0.05, 0.2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(home.bundles.glob(".tmp-*/*")):
            time.sleep(0.005)
        time.sleep(wait_s)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        if out.exists():
            assert verify_bundle(out, (key,), only_these=True).verdict == "verified"
            shutil.rmtree(out)
    assert killed > 0
    subprocess.run(command, check=True, capture_output=True)
    assert verify_bundle(out, (key,), only_these=True).verdict == "verified"
    assert [path.name for path in sorted(home.bundles.iterdir())] == ["demo", "demo.manifest.json"]
