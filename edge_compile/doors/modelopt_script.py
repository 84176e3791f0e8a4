"""Quantizes one ONNX model by nvidia-modelopt, in whatever Python has it; needs nothing of this product.

``python modelopt_script.py request.json`` writes the quantized model and ``answer.json`` beside the request. The request names
``model``, ``calibration`` (an ``.npz``), ``mode`` (``int8`` or ``fp8``) and ``output``.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

_PREFIX = "tensor:"


def main() -> None:
    """Answer the request named on the command line."""
    # By name: it is no part of this product's environment, and of no file's imports here.
    quantize = importlib.import_module("modelopt.onnx.quantization").quantize
    place = Path(sys.argv[1])
    request = json.loads(place.read_text())
    with np.load(request["calibration"], allow_pickle=False) as stored:
        # One axis of samples and batch together, which is what this library feeds in pieces.
        arrays = {
            name[len(_PREFIX) :]: stored[name].reshape(-1, *stored[name].shape[2:])
            for name in stored.files
            if name.startswith(_PREFIX)
        }
    quantize(
        request["model"],
        quantize_mode=request["mode"],
        calibration_data=arrays,
        calibration_method="max",
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=request["output"],
    )
    place.with_name("answer.json").write_text(
        json.dumps({"nvidia-modelopt": metadata.version("nvidia-modelopt"), "python": sys.version.split()[0]})
    )


if __name__ == "__main__":
    main()
