"""Stand-ins of makers' programs: they record the command line and print what the makers document, or one fault of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from boards import executable
from onnx import TensorProto, helper, numpy_helper

# Answers `linear_model` by its weights; as TensorRT 10 documents its output. FAULT spoils one part.
TRTEXEC = """
import json, os, struct, sys, time
fault, options = os.environ.get("FAULT", ""), dict(a.lstrip("-").partition("=")[::2] for a in sys.argv[1:])
open({calls!r}, "a").write(json.dumps(sys.argv[1:]) + "\\n")
head = "[11/30/2026-20:00:00] [I] "
print("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec " + " ".join(sys.argv[1:]))
if fault == "hangs": time.sleep(60)
if fault == "fails":
    print(head[:-4] + "[E] Error[4]: no kernel for node last"); print("&&&& FAILED TensorRT.trtexec"); sys.exit(1)
print(head + "=== Device Information ===")
print(head + "Selected Device: " + ("NVIDIA H200" if fault == "another gpu" else "Orin"))
print(head + "Compute Capability: " + ("9.0" if fault == "another gpu" else "8.7"))
if fault != "no version": print(head + "TensorRT version: 10.3.0")
if "onnx" in options:
    if fault != "no engine": open(options["saveEngine"], "wb").write(open(options["onnx"], "rb").read())
    open(options["timingCacheFile"], "ab").write(b"t")
    kind = "Half" if fault == "no int8" or "int8" not in options else "Int8 NC/32HW32"
    layer = {{"Name": "mm", "Outputs": [{{"Name": "y", "Format/Datatype": kind}}]}}
    open(options["exportLayerInfo"], "w").write("{{" if fault == "no layers" else json.dumps({{"Layers": [layer]}}))
elif "exportOutput" in options:
    x = struct.unpack("<4f", open(options["loadInputs"].partition(":")[2], "rb").read())
    y = [max(0.0, sum(a * row[j] for a, row in zip(x, {weights}))) + (5.0 if fault == "drifts" else 0.001) for j in range(3)]
    if fault == "short": y = y[:2]
    name = "z" if fault == "other output" else "y"
    if fault != "no outputs":
        open(options["exportOutput"], "w").write(json.dumps([{{"name": name, "dimensions": "1x3", "values": y}}]))
else:
    figures = "min = 0.081 ms, max = 0.4 ms, mean = 0.1 ms, median = 0.093 ms, percentile(90%) = 0.1 ms, percentile(99%) = 0.2 ms"
    if fault == "nan": figures = figures.replace("0.093", "nan")
    if fault != "no latency": print(head + "Latency: " + figures)
    print(head + "GPU Compute Time: min = 0.05 ms, max = 0.1 ms, mean = 0.07 ms, median = 0.06 ms, percentile(99%) = 0.1 ms")
if fault != "not passed": print("&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec")
"""
QAIC = """
import json, os, sys
open({calls!r}, "a").write(json.dumps(sys.argv[1:]) + "\\n")
if os.environ.get("FAULT") == "fails": print("Error: unsupported operator"); sys.exit(2)
folder = [a.partition("=")[2] for a in sys.argv if a.startswith("-aic-binary-dir=")][0]
os.mkdir(folder)
if os.environ.get("FAULT") != "no engine": open(folder + "/programqpc.bin", "wb").write(b"qpc")
"""
MODELOPT = """
import os, shutil
def quantize(onnx_path, quantize_mode, calibration_data, calibration_method, calibration_eps, high_precision_dtype, output_path):
    assert calibration_eps == ["cpu"] and all(value.shape[1:] == (4,) for value in calibration_data.values())
    if os.environ.get("FAULT") == "no quantizer": shutil.copyfile(onnx_path, output_path)
    elif os.environ.get("FAULT") != "no model": shutil.copyfile({qdq!r}, output_path)
"""


def linear_model(path: Path) -> Path:
    """Write y = relu(x @ w) in float."""
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"], name="mm"), helper.make_node("Relu", ["h"], ["y"], name="last")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def conv_model(path: Path) -> Path:
    """Write a convolution that a quantizer takes for worth its while: 32 to 64 channels, then ReLU."""
    weights = np.random.default_rng(0).normal(size=(64, 32, 3, 3)).astype(np.float32) / 17
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["h"], name="conv"), helper.make_node("Relu", ["h"], ["y"], name="last")],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, 14, 14])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def linear_samples(count: int = 8) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)}


def weights_of(model: Path) -> list[list[float]]:
    """Return its weights."""
    found: list[list[float]] = numpy_helper.to_array(onnx.load(model).graph.initializer[0]).tolist()
    return found


def qdq_model(path: Path, weights: list[list[float]]) -> Path:
    """Write the linear model with its weights in 8 bits."""
    scale = np.float32(np.abs(weights).max() / 127)
    integers = np.round(np.asarray(weights, np.float32) / scale).astype(np.int8)
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "xs", "z"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "xs", "z"], ["xd"]),
            helper.make_node("DequantizeLinear", ["wq", "ws", "z"], ["w"]),
            helper.make_node("MatMul", ["xd", "w"], ["h"]),
            helper.make_node("Relu", ["h"], ["y"]),
        ],
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(integers, "wq"),
            numpy_helper.from_array(scale, "ws"),
            numpy_helper.from_array(np.float32(0.03), "xs"),
            numpy_helper.from_array(np.int8(0), "z"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def write_trtexec(folder: Path, model: Path) -> Path:
    text = TRTEXEC.format(calls=str(folder / "calls"), weights=weights_of(model))
    return executable(folder / "trtexec", f"#!{sys.executable} -IS\n{text}")


def write_qaic(folder: Path) -> Path:
    return executable(folder / "qaic-exec", f"#!{sys.executable} -IS\n{QAIC.format(calls=str(folder / 'calls'))}")


def write_modelopt(folder: Path, model: Path) -> Path:
    """Write a Python that has a stand-in of nvidia-modelopt."""
    qdq = qdq_model(folder / "prepared.onnx", weights_of(model))
    package = folder / "packages" / "modelopt" / "onnx" / "quantization"
    package.mkdir(parents=True)
    for part in (package.parent.parent, package.parent):
        (part / "__init__.py").touch()
    (package / "__init__.py").write_text(MODELOPT.format(qdq=str(qdq)))
    info = folder / "packages" / "nvidia_modelopt-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nvidia-modelopt\nVersion: 0.0.1\n")
    line = f'#!/bin/sh\nPYTHONPATH="{folder / "packages"}" exec "{sys.executable}" "$@"\n'
    return executable(folder / "modelopt-python", line)


def calls_of(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
