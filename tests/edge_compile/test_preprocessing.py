"""In the graph and outside of it the same numbers reach the model; what does not fit it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from edge_compile.job import Job, Settings, check_job, step_of
from edge_compile.preprocessing import Preprocessing, apply, into_graph, raw_specs, read_preprocessing
from edge_compile.samples import TensorSpec
from edge_compile.targets.table import find_target
from platform_lib.errors import ConfigError, ContractError, MissingPartError

IMAGE = {"layout": "NHWC", "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SPECS = (TensorSpec("image", (1, 3, 2, 4)), TensorSpec("speed", (1, 2)))
RAW = {
    "image": np.random.default_rng(0).integers(0, 256, (5, 1, 2, 4, 3)).astype(np.float32),
    "speed": np.random.default_rng(1).normal(size=(5, 1, 2)).astype(np.float32),
}


def asked(where: str = "graph", **inputs: dict) -> Preprocessing:
    return Preprocessing.model_validate({"where": where, "inputs": inputs or {"image": IMAGE, "speed": {"scale": 0.1}}})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    ends = {"image": (TensorProto.FLOAT, [1, 3, 2, 4]), "speed": (TensorProto.FLOAT, [1, 2])}
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["seen"]), helper.make_node("Neg", ["speed"], ["y"])],
        "net",
        [helper.make_tensor_value_info(name, *spec) for name, spec in ends.items()],
        [
            helper.make_tensor_value_info("seen", *ends["image"]),
            helper.make_tensor_value_info("y", *ends["speed"]),
        ],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def answers(model: onnx.ModelProto, samples: dict[str, np.ndarray], row: int) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: values[row] for name, values in samples.items()})


def test_both_ways_give_the_model_the_same_numbers(model: Path) -> None:
    before = onnx.load(model)
    changed, found = into_graph(asked(), before, SPECS)
    onnx.checker.check_model(changed)
    assert [(item.name, item.layer) for item in found] == [("preprocessing", "image"), ("preprocessing", "speed")]
    ready = apply(asked(), RAW)
    assert {name: values.shape for name, values in ready.items()} == {"image": (5, 1, 3, 2, 4), "speed": (5, 1, 2)}
    for row in range(5):
        for inside, outside in zip(answers(changed, RAW, row), answers(before, ready, row), strict=True):
            np.testing.assert_allclose(inside, outside, rtol=0, atol=1e-6)
    by_hand = (RAW["image"][0, 0] / 255 - IMAGE["mean"]) / IMAGE["std"]
    np.testing.assert_allclose(ready["image"][0, 0], by_hand.transpose(2, 0, 1), atol=1e-5)


def job(model: Path, preprocessing: Preprocessing | None, samples: dict[str, np.ndarray]) -> Job:
    settings = Settings(preprocessing=preprocessing)
    return check_job(model, find_target("sa8255p"), settings, calibration=samples, frozen=None, reference=None)


def test_a_job_takes_raw_samples_both_ways_and_says_so_in_its_manifest(model: Path) -> None:
    samples = {"image": RAW["image"][:, 0].astype(np.uint8), "speed": RAW["speed"][:, 0]}
    inside, outside = (job(model, asked(where), samples) for where in ("graph", "outside"))
    np.testing.assert_array_equal(inside.frozen["image"], RAW["image"])
    np.testing.assert_array_equal(inside.ready["image"], outside.frozen["image"])
    assert outside.model.rewrites == ()
    said = [step_of(item).config["preprocessing"] for item in (inside, outside)]
    assert [item["where"] for item in said] == ["graph", "outside"]
    assert said[0]["sha256"] == said[1]["sha256"] == asked().sha256
    assert len({step_of(item).sha256 for item in (inside, outside)}) == 2
    with pytest.raises(ContractError, match="shape"):  # ready to use, where raw ones are asked for
        job(model, asked(), {"image": apply(asked(), RAW)["image"], "speed": RAW["speed"]})


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"lidar": {}}, "'lidar', which is no input"),
        ({"speed": {"layout": "NHWC"}}, "'speed' has 2 axes"),
        ({"image": {**IMAGE, "mean": [0.5, 0.5]}}, "'image' has 3 channels, mean has 2"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(inputs: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        raw_specs(asked(**inputs), SPECS)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "where: graph",
        "{where: somewhere, inputs: {image: {}}}",
        "{where: graph, inputs: {}}",
        "{where: graph, inputs: {image: {sdt: [1.0]}}}",
        "{where: graph, inputs: {image: {std: [0.0]}}}",
        "{where: graph, inputs: {image: {scale: .nan}}}",
        "{where: graph, inputs: {image: {scale: -1}}}",
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "preprocess.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_preprocessing(path)
    assert caught.value.remedy
    with pytest.raises(MissingPartError):
        read_preprocessing(tmp_path / "none.yaml")
