"""MLflow's own page on the runs of a home: its database runs only while somebody uses it, so this holds it open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from platform_lib.catalog.addresses import TRACKING_DATABASE, database_uri
from platform_lib.catalog.liveness import orderly_termination
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.errors import HomeError
from platform_lib.home import Home

_WORKERS = 1


def serve(home: Home, *, port: int, started: Callable[[str], None]) -> None:
    """Serve MLflow's page on the loopback interface until Ctrl-C.

    Args:
        home: Whose runs.
        port: Where.
        started: Told the address before it is up.

    Raises:
        HomeError: MLflow ended by itself, as when the port is taken.
    """
    with orderly_termination(), embedded_postgres(home) as uri:
        environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Not as an argument, which every user of the machine could read.
            "MLFLOW_BACKEND_STORE_URI": database_uri(uri, TRACKING_DATABASE),
        }
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", str(_WORKERS), "--default-artifact-root", home.mlflow.as_uri()]
        started(f"http://127.0.0.1:{port}")
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter
        try:
            status = process.wait()
        except KeyboardInterrupt:
            return
        finally:
            process.terminate()
            process.wait()
    raise HomeError(
        f"MLflow's server ended with status {status}",
        where=f"port {port}",
        remedy="its message is above; take another --port if this one is taken",
    )
