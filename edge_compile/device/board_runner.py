"""Runs on the board, alone: loads the compiled model there, answers the kit's inputs, and times it.

Needs Python 3.9, numpy, onnxruntime and onnxruntime-qnn on the board; nothing of this product. It is started in the kit's
folder, ``python3 board_runner.py``, and leaves there ``outputs/Result_<i>/<output>.raw``, ``timings_us.txt`` and ``tools.json``.
A program of your own may take its place, if it leaves the first of them in the same form.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import onnxruntime_qnn

_PROVIDER = "QNNExecutionProvider"
_LOG_WARNINGS = 2


def main(repeats: int = 10) -> None:
    """Run every input of the kit in the current folder, each once unmeasured and then `repeats` times against the clock."""
    kit = json.loads(Path("kit.json").read_text())
    session = _session(kit["context"])
    names = [item["name"] for item in kit["outputs"]]
    timings_us: list[float] = []
    for index in range(kit["samples"]):
        feeds = {item["name"]: _read(f"inputs/{index}/{item['file']}", item["shape"]) for item in kit["inputs"]}
        answers = session.run(names, feeds)
        for _ in range(repeats):
            start_ns = time.perf_counter_ns()
            session.run(names, feeds)
            timings_us.append((time.perf_counter_ns() - start_ns) / 1000)
        folder = Path("outputs") / f"Result_{index}"
        folder.mkdir(parents=True, exist_ok=True)
        for item, answer in zip(kit["outputs"], answers):  # noqa: B905 - Python 3.9 has no strict
            (folder / item["file"]).write_bytes(np.ascontiguousarray(answer, dtype="<f4").tobytes())
    Path("timings_us.txt").write_text("".join(f"{value:.3f}\n" for value in timings_us))
    Path("tools.json").write_text(
        json.dumps(
            {
                "onnxruntime": ort.__version__,
                "onnxruntime-qnn": getattr(onnxruntime_qnn, "__version__", "unknown"),
                "python": platform.python_version(),
                "backend": Path(onnxruntime_qnn.get_qnn_htp_path()).name,
            }
        )
    )


def _session(context: str) -> Any:
    ort.register_execution_provider_library(_PROVIDER, onnxruntime_qnn.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == _PROVIDER]
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_WARNINGS
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices, {"backend_path": onnxruntime_qnn.get_qnn_htp_path()})
    return ort.InferenceSession(context, options)


def _read(path: str, shape: list[int]) -> Any:
    return np.frombuffer(Path(path).read_bytes(), dtype="<f4").reshape(shape)


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:2]))
