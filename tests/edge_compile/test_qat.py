"""Quantization-aware training: what is refused anywhere, and its effect where aimet_torch lies in a folder of its own."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from edge_compile.commands.qat import _note, _source
from edge_compile.messages import QatAnswer
from edge_compile.onnx_model import read_model
from edge_compile.parity import sqnr_db
from edge_compile.qat import fine_tune
from edge_compile.quantize import Quantized, quantize
from edge_compile.run_module import network_of
from edge_compile.worker import Limits
from platform_lib.errors import ConfigError, ContractError, MissingPartError, PlatformError
from platform_lib.manifest import changed_outputs, manifest_path_of, read_manifest

# pip install --no-deps --target FOLDER aimet-torch==2.42.0
FOLDER = os.environ.get("AIMET_TORCH_FOLDER")
NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(32, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 8, 1))
"""


def samples(count: int) -> dict[str, np.ndarray]:
    """Give pictures whose 32 channels have three causes: many weights say the same, so that they can make up for each other."""
    rng = np.random.default_rng(1)
    values = np.einsum("nkij,kc->ncij", rng.normal(size=(count, 3, 4, 4)), rng.normal(size=(3, 32)))
    return {"x": values.astype(np.float32)}


def test_without_the_tool_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="holds no aimet_torch") as caught:
        fine_tune("m:f", samples(8), "w4a8", tmp_path / "o.onnx", outputs=["y"], aimet_torch=tmp_path)
    assert "pip install --no-deps --target FOLDER aimet-torch==2.42.0" in str(caught.value.remedy)
    assert list(tmp_path.iterdir()) == []


WRONG: dict[str, tuple[dict, type[PlatformError]]] = {
    "precision": ({"precision": "w2a2"}, ConfigError),
    "no steps": ({"steps": 0}, ConfigError),
    "a rate that is none": ({"learning_rate": float("nan")}, ConfigError),
    "few samples": ({"calibration": samples(3)}, ContractError),
    "doubles": ({"calibration": {"x": np.ones((8, 32, 4, 4))}}, ContractError),
}


@pytest.mark.parametrize("name", WRONG)
def test_nonsense_is_refused_at_once(name: str, tmp_path: Path) -> None:
    changes, kind = WRONG[name]
    (tmp_path / "aimet_torch").mkdir()
    (tmp_path / "aimet_torch" / "__init__.py").touch()  # far enough that only what was asked is wrong
    given = {"calibration": samples(8), "precision": "w4a8", **changes}
    with pytest.raises(kind) as caught:
        fine_tune("m:f", out=tmp_path / "o.onnx", outputs=["y"], aimet_torch=tmp_path, **given)
    assert caught.value.remedy
    assert not (tmp_path / "o.onnx").exists()


# The command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a training run leaves, of a network with fresh weights."""
    import torch

    from platform_lib.models.model import Normalisation
    from platform_lib.models.onnx_export import export_onnx
    from platform_lib.models.planner import PlannerConfig
    from platform_lib.models.registry import build_model, saved

    torch.manual_seed(0)
    config = PlannerConfig("camera", channels=(4, 4, 4, 4), squeeze=2, hidden=8, ego_hidden=8, dropout=0.0)
    normalisation = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), tuple((1.0, 1.0) for _ in range(6)))
    network = build_model(config, normalisation).network
    folder = tmp_path / "home" / "runs" / "mine"
    folder.mkdir(parents=True)
    export_onnx(network, folder / "model.onnx")
    torch.save(saved(config, normalisation, network), folder / "weights.pt")
    rng = np.random.default_rng(0)
    shapes = {"image": (3, 64, 192), "ego_history": (10, 3), "command": (3,)}
    arrays = {name: rng.normal(size=(16, *shape)).astype(np.float32) for name, shape in shapes.items()}
    for name in ("calibration", "frozen"):
        np.savez(folder / f"{name}.npz", **arrays, slice=np.array(["clear", "night"] * 8))
    (folder / "manifest.json").write_text("{}")  # of a run it is only digested here
    return folder


def called(*arguments: str) -> int:
    from platform_lib import cli

    try:
        return cli.run(["qat", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_command_says_what_to_install_and_trains_no_onnx_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "home"), "--out", str(tmp_path / "trained.onnx")]
    for source in ("mine", str(run)):
        assert called(source, *home, "--aimet-torch", str(tmp_path)) == 1
        # Rich breaks lines where the terminal ends.
        assert "pip install --no-deps --target FOLDER aimet-torch==2.42.0" in " ".join(capsys.readouterr().err.split())
    assert called(str(run / "model.onnx"), *home) == 1
    assert "no run of that name" in capsys.readouterr().err
    assert called("nets.py:build", *home) == 2
    assert "--calibration FILE and --output NAME" in capsys.readouterr().err
    assert not (tmp_path / "trained.onnx").exists()


def test_a_run_s_network_is_built_with_its_weights(run: Path, tmp_path: Path) -> None:
    import onnxruntime
    import torch

    with np.load(run / "frozen.npz") as frozen:
        sample = {name: frozen[name][:1] for name in ("image", "ego_history", "command")}
    with torch.no_grad():
        answer = network_of(str(run)).eval()(*(torch.from_numpy(values) for values in sample.values())).numpy()
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    assert np.allclose(answer, session.run(None, sample)[0], atol=1e-4)
    with pytest.raises(MissingPartError, match="no weights"):
        network_of(str(tmp_path))
    (run / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(ContractError, match="not the weights"):
        network_of(str(run))


def test_frozen_inputs_that_the_network_does_not_take_are_refused(tmp_path: Path) -> None:
    (tmp_path / "aimet_torch").mkdir()
    (tmp_path / "aimet_torch" / "__init__.py").touch()
    with pytest.raises(ContractError, match="frozen inputs lack 'x'"):
        fine_tune(*("m:f", samples(8), "w4a8", tmp_path / "o.onnx"), outputs=["y"], frozen={}, aimet_torch=tmp_path)


def test_what_a_training_came_from_lies_beside_it(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "trained.onnx"
    out.write_bytes((run / "model.onnx").read_bytes())
    numbers = {"before_db": 20.0, "after_db": 30.0, "float_db": 90.0, "best_step": 3, "learned_from": 12, "held_out": 4}
    source = _source("mine", None, run / "none.npz", (), tmp_path / "home")
    source = dataclasses.replace(source, frozen=None)
    _note(source, "w8a8", out, QatAnswer(**numbers), tmp_path, {"steps": 5})
    manifest = read_manifest(manifest_path_of(out))
    assert (manifest.kind, set(manifest.outputs), set(manifest.inputs)) == ("qat", {"onnx"}, {"calibration", "run"})
    assert manifest.metrics == numbers
    assert (manifest.config["precision"], manifest.config["aimet-torch"]) == ("w8a8", None)
    out.write_bytes(b"another")
    assert changed_outputs(manifest, tmp_path) == ["trained.onnx"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(FOLDER is None, reason="AIMET_TORCH_FOLDER names no folder of aimet_torch")
def test_a_run_is_trained_by_its_name_and_keeps_what_its_float_network_answered(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    out = tmp_path / "trained.onnx"
    few = ["--steps", "10", "--precision", "w4a16", "--aimet-torch", str(FOLDER), "--json"]
    assert called("mine", "--home", str(tmp_path / "home"), "--out", str(out), *few) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["after_db"] >= said["before_db"]
    with np.load(said["frozen"]) as frozen:
        inputs = [torch.from_numpy(frozen[name]) for name in ("image", "ego_history", "command")]
        with torch.no_grad():
            wanted = network_of(str(run)).eval()(*inputs).numpy()
        assert np.allclose(frozen["label_plan"], wanted, atol=1e-4)
        assert frozen["plan"].shape == wanted.shape
        assert list(frozen["slice"][:2]) == ["clear", "night"]
    assert [item.name for item in read_model(out).outputs] == ["plan"]
    manifest = read_manifest(manifest_path_of(out))
    assert (manifest.kind, set(manifest.outputs)) == ("qat", {"onnx", "frozen"})
    assert set(manifest.inputs) == {"calibration", "frozen", "run"}
    assert manifest.config["aimet-torch"] == "2.42.0"
    assert changed_outputs(manifest, out.parent) == []


def quantized(model: Path, folder: Path, values: dict[str, np.ndarray]) -> Quantized:
    folder.mkdir()
    batched = {name: array[:, np.newaxis] for name, array in values.items()}
    return quantize(
        model,
        batched,
        batched,
        architecture="v73",
        precisions=("w4a16",),
        scratch=folder / "quantize",
        log=folder / "tools.log",
        limits=Limits(time_s=1800.0),
    )


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")  # torch announces that this exporter is the older one
@pytest.mark.skipif(FOLDER is None, reason="AIMET_TORCH_FOLDER names no folder of aimet_torch")
def test_training_brings_what_quantizing_does_not_and_the_compile_finds_it_again(tmp_path: Path) -> None:
    import torch

    module = tmp_path / "net.py"
    module.write_text(NET)
    scope: dict = {}
    exec(NET, scope)  # noqa: S102 - the text above
    net = scope["build"]().eval()
    values = samples(64)
    answer = fine_tune(
        f"{module}:build",
        values,
        "w4a16",
        tmp_path / "trained.onnx",
        outputs=["y"],
        aimet_torch=FOLDER,
        steps=300,
        learning_rate=1e-3,
    )
    assert answer.best_step > 0
    assert answer.after_db > answer.before_db + 1.5
    assert (answer.learned_from, answer.held_out) == (48, 16)
    before = tmp_path / "before.onnx"
    torch.onnx.export(
        net,
        (torch.from_numpy(values["x"][:1]),),
        before,
        input_names=["x"],
        output_names=["y"],
        opset_version=20,
        dynamo=False,
    )
    with torch.no_grad():
        wanted = net(torch.from_numpy(values["x"])).numpy()[:, np.newaxis]
    plain, trained = (
        sqnr_db(wanted, quantized(path, tmp_path / name, values).qdq["w4a16"]["y"])
        for name, path in (("plain", before), ("trained", tmp_path / "trained.onnx"))
    )
    assert trained > plain + 1.0
    print(f"\nplain {plain:.1f} dB, trained {trained:.1f} dB; in training {answer}")  # noqa: T201 - what a soak is read for
