"""The tracking server, really started as its Deployment says, on the database that its init container makes."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clusters import place_of

from cdk.cluster.catalogue import objects_of
from cdk.cluster.kinds.core import Deployment
from platform_lib.catalog.addresses import database_uri
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import open_home

ROOT = Path(__file__).resolve().parents[3]
MLFLOW = Path(sys.executable).with_name("mlflow")
STARTS_WITHIN_S = 150


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _status(port: int, path: str, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_the_server_starts_as_its_deployment_says_and_answers_its_probes(tmp_path: Path) -> None:
    deployment = next(
        item for item in objects_of(place_of("dev")) if isinstance(item, Deployment) and item.metadata.name == "mlflow"
    )
    container = deployment.spec.template.spec.containers[0]
    assert container.args is not None
    assert container.liveness_probe is not None
    assert container.liveness_probe.http_get is not None
    port = _free_port()
    arguments = [
        item.replace("5000", str(port)).replace("--host=0.0.0.0", "--host=127.0.0.1") for item in container.args
    ]
    with embedded_postgres(open_home(tmp_path / "home")) as uri:
        environment = {
            **os.environ,
            "MLFLOW_BACKEND_STORE_URI": database_uri(uri, "of-a-server"),
            "HOME": str(tmp_path),
        }
        script = ROOT / "images/mlflow/make_database.py"
        subprocess.run([sys.executable, script], env=environment, check=True)
        with (tmp_path / "log").open("wb") as log:
            server = subprocess.Popen([MLFLOW, "server", *arguments], env=environment, stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + STARTS_WITHIN_S
                while True:
                    assert server.poll() is None, (tmp_path / "log").read_text()
                    try:
                        if _status(port, "/health", "mlflow") == 200:
                            break
                    except OSError:
                        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                    time.sleep(0.5)
                asks = container.liveness_probe.http_get.path
                # By service, by the pod's own address as probes come, and by another name, as a page of elsewhere would.
                assert _status(port, asks, f"mlflow.mlflow.svc.cluster.local:{port}") == 200
                assert _status(port, asks, f"100.72.3.4:{port}") == 200
                assert _status(port, asks, f"evil.example:{port}") == 403
            finally:
                server.terminate()
                try:
                    server.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()
