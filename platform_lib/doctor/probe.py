"""`python -m platform_lib.doctor.probe NAME`: start one part for real and say what answered.

Each probe runs in a process of its own, so that a part that crashes or hangs takes nothing else with it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path


def _postgres() -> str:
    from sqlalchemy import NullPool, create_engine, text

    from platform_lib.catalog.postgres import embedded_postgres
    from platform_lib.home import open_home

    with tempfile.TemporaryDirectory(prefix="drivetrain-doctor-") as folder:
        home = open_home(Path(folder) / "home", own_lake=True)
        # A pooled connection would outlive its use, and the server wait for it while stopping.
        with embedded_postgres(home) as uri, create_engine(uri, poolclass=NullPool).connect() as connection:
            version = connection.execute(text("show server_version")).scalar_one()
    return f"PostgreSQL {version} starts, answers and stops"


def _ray() -> str:
    import ray

    return f"Ray {ray.__version__} can be imported; no cluster was started"


def _torch() -> str:
    import torch

    product = torch.ones(2, 2) @ torch.ones(2, 2)
    if product.sum().item() != 8.0:
        raise RuntimeError(f"torch {torch.__version__} multiplies wrongly: {product.tolist()}")
    return f"torch {torch.__version__} multiplies, {'with' if torch.cuda.is_available() else 'without'} CUDA"


def _qnn() -> str:
    import onnxruntime
    import onnxruntime_qnn

    onnxruntime.register_execution_provider_library("QNNExecutionProvider", onnxruntime_qnn.get_library_path())
    devices = [item for item in onnxruntime.get_ep_devices() if item.ep_name == "QNNExecutionProvider"]
    if not devices or not Path(onnxruntime_qnn.get_qnn_htp_path()).is_file():
        raise RuntimeError("the QNN provider registers but offers no device, or the HTP backend is not there")
    return "the QNN provider registers and offers its device, and the HTP backend is there; nothing was compiled"


PROBES: Mapping[str, Callable[[], str]] = {"postgresql": _postgres, "ray": _ray, "torch": _torch, "qnn": _qnn}

if __name__ == "__main__":
    sys.stdout.write(PROBES[sys.argv[1]]() + "\n")
